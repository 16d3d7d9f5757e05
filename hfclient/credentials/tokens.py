"""Lookup of the Hub token."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from hfclient.credentials.secret import Secret
from hfclient.errors import CredentialsError

__all__ = ["find_token", "read_token_file", "token_file"]

_FORBIDDEN = re.compile(r"[\s\x00-\x1f\x7f]")
_TRUE = {"1", "on", "yes", "true"}


def find_token(argument: str | None = None, environ: Mapping[str, str] | None = None) -> tuple[Secret | None, bool]:
    """Return ``(token, explicit)``: the argument, else the token in the environment, in huggingface_hub's file or among Colab's secrets.

    An empty string as *argument* means no token, also if the environment has one; so does a true
    ``HF_HUB_DISABLE_IMPLICIT_TOKEN``. Reads at most one small file; no network. In a Colab notebook
    Colab may ask the user for access to the secret.

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
    return _checked(_clean(read_token_file(env)) or _clean(_colab_secret(env))), False


def _clean(token: str | None) -> Secret:
    return Secret("".join(token or "").replace("\r", "").replace("\n", "").strip())


def _checked(token: Secret) -> Secret | None:
    if not token.isascii() or _FORBIDDEN.search(token):
        raise CredentialsError("the token has characters that a token never has; was something else pasted?")
    return token or None


def _colab_secret(env: Mapping[str, str]) -> str | None:
    if env is not os.environ or "google.colab" not in sys.modules:
        return None
    from hfclient.credentials.colab_secret import colab_token

    return colab_token()


def token_file(environ: Mapping[str, str] | None = None) -> Path:
    """Return huggingface_hub's file of the token, whether or not it exists.

    Raises:
        RuntimeError: This user has no home folder.
    """
    env = os.environ if environ is None else environ
    path = env.get("HF_TOKEN_PATH")
    if not path:
        home = env.get("HF_HOME") or f"{env.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
        path = f"{home}/token"
    return Path(os.path.expandvars(path)).expanduser()


def read_token_file(env: Mapping[str, str]) -> str | None:
    """Return the content of huggingface_hub's file, or None if it cannot be read."""
    try:
        return token_file(env).read_text("utf-8")
    except (OSError, UnicodeDecodeError, RuntimeError):  # RuntimeError: no home directory
        return None
