"""``hfclient login --hub`` and ``logout --hub``: the Hub token in the file that huggingface_hub uses, too."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from hfclient.cli.ask import ask_hidden, confirm
from hfclient.cli.rendering.status import warn
from hfclient.cli.rendering.tables import cell
from hfclient.errors import CredentialsError

__all__ = ["delete_token", "save_token"]

_TOKENS = "https://huggingface.co/settings/tokens"
_MAX = 10_000
"""Bytes of a token on standard input."""


def save_token() -> None:
    """Read a token from a hidden prompt or standard input, check it at the Hub and save it.

    Raises:
        CredentialsError: The input is empty, or the token in the file is another one and must not be replaced.
        AuthenticationError: The Hub does not accept it; nothing was saved.
    """
    from hfclient import Client
    from hfclient.credentials.tokens import read_token_file
    from hfclient.files.saving import write_file

    path = _path()
    is_asked = sys.stdin is not None and sys.stdin.isatty()
    if is_asked:
        click.echo(f"Make a token at {_TOKENS} ; to ask models it needs the right to call inference providers.", err=True)
        given = ask_hidden("Token")
    else:
        given = "" if sys.stdin is None else sys.stdin.buffer.read(_MAX).decode("utf-8", "replace")
    given = given.strip()
    if not given:
        raise CredentialsError("the input is empty; nothing was saved")
    with Client(token=given, cookies="", session="private") as client:
        account = client.inference.account()
    before = (read_token_file(os.environ) or "").strip()
    if before not in ("", given):
        if not is_asked:
            raise CredentialsError(f"{path} holds another token; delete it first: hfclient logout --hub")
        if not confirm(f"{path} holds another token. Replace it?"):
            raise click.exceptions.Exit(1)
    write_file(path, [given.encode()], overwrite=True, mode=0o600)
    click.echo(f"The token of {cell(account.name)} is in {path}, where huggingface_hub finds it, too.")
    _warn_of_environment()


def delete_token() -> None:
    """Delete the file of the token."""
    path = _path()
    try:
        path.unlink()
    except FileNotFoundError:
        click.echo(f"There is no token in {path}.")
    except OSError as error:
        raise CredentialsError(f"{path} cannot be deleted: {error.strerror or error}") from None
    else:
        click.echo(f"Deleted {path}. The token stays valid until you delete it at {_TOKENS}.")
    _warn_of_environment()


def _path() -> Path:
    from hfclient.credentials.tokens import token_file

    try:
        return token_file()
    except RuntimeError:
        raise CredentialsError("this user has no home folder for the token; set HF_TOKEN_PATH to a file") from None


def _warn_of_environment() -> None:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if os.environ.get(name):
            warn(f"the token in the environment variable {name} is used instead of the file")
            return
