"""Lookup of the Hub token."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from hfclient.credentials.secret import Secret
from hfclient.errors import CredentialsError

__all__ = ["find_token"]

_FORBIDDEN = re.compile(r"[\s\x00-\x1f\x7f]")
_TRUE = {"1", "on", "yes", "true"}


def find_token(argument: str | None = None, environ: Mapping[str, str] | None = None) -> tuple[Secret | None, bool]:
    """Return ``(token, explicit)``: the argument, else the token in the environment or in huggingface_hub's file.

    An empty string as *argument* means no token, also if the environment has one; so does a true
    ``HF_HUB_DISABLE_IMPLICIT_TOKEN``. Reads at most one small file; no network.

    Raises:
        CredentialsError: The token has characters that an HTTP header cannot carry.
    """
    env = os.environ if environ is None else environ
    if argument is not None:
        return _checked(_clean(argument)), True
    if env.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").lower() in _TRUE:
        return None, False
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if token := _clean(env.get(name)):
            return _checked(token), False
    return _checked(_clean(_read_token_file(env))), False


def _clean(token: str | None) -> Secret:
    return Secret("".join(token or "").replace("\r", "").replace("\n", "").strip())


def _checked(token: Secret) -> Secret | None:
    if not token.isascii() or _FORBIDDEN.search(token):
        raise CredentialsError("the token has characters that a token never has; was something else pasted?")
    return token or None


def _read_token_file(env: Mapping[str, str]) -> str | None:
    path = env.get("HF_TOKEN_PATH")
    if not path:
        home = env.get("HF_HOME") or f"{env.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
        path = f"{home}/token"
    try:
        return Path(os.path.expandvars(path)).expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError, RuntimeError):  # RuntimeError: no home directory
        return None
