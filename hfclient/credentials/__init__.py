"""Tokens and cookies: where they are found, to which URLs they are sent, how they are saved and hidden.

A token is sent to the Hub, the router and ``/api/`` of a chat server; a cookie to the chat server only. The credentials of a
request depend on its URL alone (`Credentials.headers_for`), so they never follow a redirect or a link to another host. A
token from the environment or a file is sent to Hugging Face's sites only.

Sources in order: the argument, the environment (``HF_TOKEN``, ``HUGGING_FACE_HUB_TOKEN``, ``HFCLIENT_COOKIE``), the saved
login (cookies only), and huggingface_hub's own token file (``$HF_TOKEN_PATH``, else ``$HF_HOME/token``).
"""

import hfclient.redaction.logs  # noqa: F401 (installs the filter of the loggers)
from hfclient.credentials.cookie_matching import SESSION_COOKIE
from hfclient.credentials.cookies import CookiesLike, find_cookies, parse_cookies
from hfclient.credentials.credentials import Credentials, reference_to
from hfclient.credentials.origins import (
    HUB_URL,
    HUGGING_CHAT,
    ROUTER_URL,
    host_origin,
    is_deployment,
    is_hugging_face,
    is_loopback,
    is_space,
    normalize_url,
    origin_of,
    server_key,
    without_user_info,
)
from hfclient.credentials.saved_logins import LoginStore, SavedLogin
from hfclient.credentials.secret import Secret, hidden_header
from hfclient.credentials.session_store import AnonymousSession
from hfclient.credentials.tokens import find_token

__all__ = [
    "HUB_URL",
    "HUGGING_CHAT",
    "ROUTER_URL",
    "SESSION_COOKIE",
    "AnonymousSession",
    "CookiesLike",
    "Credentials",
    "LoginStore",
    "SavedLogin",
    "Secret",
    "find_cookies",
    "find_token",
    "hidden_header",
    "host_origin",
    "is_deployment",
    "is_hugging_face",
    "is_loopback",
    "is_space",
    "normalize_url",
    "origin_of",
    "parse_cookies",
    "reference_to",
    "server_key",
    "without_user_info",
]
