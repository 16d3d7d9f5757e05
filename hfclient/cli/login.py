"""``hfclient login``, ``logout`` and ``whoami``. No password is ever asked for: what is pasted is a browser's login."""

from __future__ import annotations

import getpass
import os
import sys
import webbrowser
from typing import Any

import click

from hfclient import Client
from hfclient.cli.completion import browser_names
from hfclient.cli.output import as_json
from hfclient.credentials import HUGGING_CHAT, AnonymousSession, LoginStore, SavedLogin, is_hugging_face, server_key
from hfclient.errors import CredentialsError
from hfclient.redaction.control_characters import stripped
from hfclient.types import User

__all__ = ["login", "logout", "whoami"]

_url = click.option("--url", metavar="URL", help="Base URL of a chat-ui; HuggingChat if it is left out.")
_impersonate = click.option(
    "--impersonate",
    metavar="BROWSER",
    help='Pose as a browser such as "chrome" (extra: impersonate).',
    shell_complete=browser_names("chrome", "edge", "firefox", "safari"),
)


@click.command()
@_url
@_impersonate
@click.option("--no-browser", is_flag=True, help="Do not open the login page.")
@click.option(
    "--from-browser",
    metavar="NAME",
    help='Take the cookies of a browser such as "firefox" (extra: browser).',
    shell_complete=browser_names(
        "brave", "chrome", "chromium", "edge", "firefox", "opera", "safari", "vivaldi", "whale"
    ),
)
def login(url: str | None, impersonate: str | None, no_browser: bool, from_browser: str | None) -> None:
    """Save a browser's login, so that hfclient can chat as you.

    Log in with a browser, then paste its cookies here: the text of a Cookie header, the value of the session cookie, or
    the path of an export (cookies.txt or JSON). What is pasted is not shown. In a pipe it is read from standard input.
    """
    base = _base(url)
    with _client(url, "", impersonate) as stranger:
        page = stranger.login.page
        if not stranger.login.enabled:
            click.echo(f"{base} has no login: everybody may chat there, nothing is to be saved.")
            return
    if from_browser:
        given: Any = f"browser:{from_browser}"
    elif sys.stdin is None:  # it was closed
        given = ""
    elif sys.stdin.isatty():
        _explain(base, page, open_page=not no_browser)
        given = _ask(base)
    else:
        given = sys.stdin.buffer.read().decode("utf-8", "replace").strip()
    if not given:
        raise CredentialsError("nothing was pasted; nothing was saved")
    with _client(url, given, impersonate) as client:
        user = client.login.save()
    click.echo(f"Logged in to {base} as {_name(user)}; saved in {_store().path}.")


@click.command()
@_url
@_impersonate
def logout(url: str | None, impersonate: str | None) -> None:
    """End the saved login, on the server and here; without one, forget the anonymous session at that server."""
    base = _base(url)
    saved = _saved(base)
    if saved is None:
        if AnonymousSession.find(base).forget():
            click.echo(f"Forgot the anonymous session at {base}: from now on you are another user there.")
        else:
            click.echo(f"There is no saved login for {base}.")
        return
    with _client(url, saved.cookies, impersonate) as client:
        told = client.login.end()
    click.echo(f"Logged out of {base}.")
    if not told:
        click.echo("The server could not be told; there the login lives on until it expires.", err=True)


@click.command()
@_url
@_impersonate
@click.option("--json", "as_line", is_flag=True, help="Print the user as JSON.")
@click.pass_context
def whoami(context: click.Context, url: str | None, impersonate: str | None, as_line: bool) -> None:
    """Say who you are to the server; the exit code is 1 for nobody, where there is a login."""
    base = _base(url)
    with _client(url, None, impersonate) as client:
        user = client.whoami()
        if user is not None:
            click.echo(as_json(user.to_dict()) if as_line else _name(user))
            return
        enabled = client.login.enabled
    if as_line:
        click.echo("null")
    elif not enabled:
        click.echo(f"Nobody: {base} has no login, everybody may chat there.")
    if enabled:
        command = "hfclient login" if base == HUGGING_CHAT else f"hfclient login --url {base}"
        click.echo(f"hfclient: not logged in to {base}, or no longer; run: {command}", err=True)
        context.exit(1)


def _address(url: str | None) -> str:
    return url or os.environ.get("HFCLIENT_BASE_URL") or HUGGING_CHAT


def _base(url: str | None) -> str:
    """Return the base URL without a user name and a password: what is shown, and under which a login is kept."""
    return server_key(_address(url))


def _client(url: str | None, cookies: Any, impersonate: str | None) -> Client:
    options: dict[str, Any] = {"impersonate": impersonate} if impersonate else {}
    # A login is somebody's cookies; whom a token belongs to is only of interest where there is nothing else.
    return Client(_address(url), cookies=cookies, token="" if cookies is not None else None, **options)


def _store() -> LoginStore:
    store = LoginStore.find()
    if store is None:
        raise CredentialsError("this user has no home folder to save a login in; set HFCLIENT_HOME to a folder")
    return store


def _saved(base: str) -> SavedLogin | None:
    store = LoginStore.find()
    return store.get(base) if store is not None else None


def _name(user: User) -> str:
    return stripped(" ".join((user.username or user.email or user.id).split()))


def _explain(base: str, page: str, *, open_page: bool) -> None:
    opened = open_page and _has_display() and webbrowser.open(page)
    click.echo(f"{'Your browser opens' if opened else 'Open'} {page} ; log in there.")
    cookies = (
        "the cookies hf-chat and token" if is_hugging_face(base) else "the cookie hf-chat (or what the server calls it)"
    )
    click.echo(
        f"Then look at {cookies}: developer tools (F12), Application or Storage, Cookies. Paste one of these:\n"
        '  the text of a Cookie header, as in "hf-chat=...; token=..."\n'
        "  the value of hf-chat alone\n"
        "  the path of an export, as cookies.txt or JSON"
    )


def _has_display() -> bool:
    """Whether a browser would open a window, rather than take this terminal."""
    if sys.platform in ("win32", "darwin") or os.environ.get("BROWSER"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _ask(base: str) -> Any:
    given = _hidden("Cookies: ")
    # On HuggingChat one without the other is nobody's.
    if given and is_hugging_face(base) and not any(mark in given for mark in "=;/\\.{"):
        token = _hidden("Value of the cookie token: ")
        return {"hf-chat": given, "token": token} if token else given
    return given


def _hidden(prompt: str) -> str:
    try:
        return getpass.getpass(prompt, stream=sys.stderr).strip()
    except EOFError:
        raise click.Abort from None
