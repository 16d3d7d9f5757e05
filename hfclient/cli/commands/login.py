"""``hfclient login``, ``logout`` and ``whoami``. A login is the cookies of a browser; hfclient never asks for a password."""

from __future__ import annotations

import os
import sys
import webbrowser
from typing import TYPE_CHECKING, Any

import click

from hfclient.cli.ask import ask_hidden
from hfclient.cli.completion import complete_names
from hfclient.cli.options import impersonate_option, json_option, url_option
from hfclient.cli.output import as_json
from hfclient.credentials import HUGGING_CHAT, AnonymousSession, LoginStore, SavedLogin, is_hugging_face, server_key
from hfclient.errors import CredentialsError
from hfclient.redaction.control_characters import collapsed

if TYPE_CHECKING:
    from hfclient import Client
    from hfclient.types import User

__all__ = ["login", "logout", "whoami"]


@click.command()
@url_option
@impersonate_option
@click.option("--no-browser", is_flag=True, help="Do not open the login page.")
@click.option(
    "--from-browser",
    metavar="NAME",
    help='Read the cookies from a browser such as "firefox" (extra: browser).',
    shell_complete=complete_names(
        "brave", "chrome", "chromium", "edge", "firefox", "opera", "safari", "vivaldi", "whale"
    ),
)
@click.option("--hub", "with_token", is_flag=True, help="Save a Hub token instead, in the file of huggingface_hub; it is asked for.")
def login(
    url: str | None, impersonate: str | None, no_browser: bool, from_browser: str | None, with_token: bool
) -> None:
    """Save a browser's login, so that hfclient can use your account.

    Log in with a browser, then paste its cookies here: the text of a Cookie header, the value of the session cookie, or
    the path of an export (cookies.txt or JSON). The input is not shown. It can also be piped to standard input.

    Inference needs a Hub token, not a login: --hub asks for one, checks it and saves it, as "hf auth login" does.
    """
    if with_token:
        from hfclient.cli.commands.hub_token import save_token

        _without_server(url, impersonate, from_browser)
        save_token()
        return
    base = _base(url)
    with _client(url, "", impersonate) as anonymous:
        page = anonymous.login.page
        if not anonymous.login.enabled:
            click.echo(f"{base} has no login: it can be used without one.")
            return
    if from_browser:
        given: Any = f"browser:{from_browser}"
    elif sys.stdin is None:  # closed
        given = ""
    elif sys.stdin.isatty():
        _explain(base, page, open_page=not no_browser)
        given = _prompt_for_cookies(base)
    else:
        given = sys.stdin.buffer.read().decode("utf-8", "replace").strip()
    if not given:
        raise CredentialsError("the input is empty; nothing was saved")
    with _client(url, given, impersonate) as client:
        user = client.login.save()
    click.echo(f"Logged in to {base} as {_name(user)}; saved in {_store().path}.")


@click.command()
@url_option
@impersonate_option
@click.option("--hub", "with_token", is_flag=True, help="Delete the Hub token in the file of huggingface_hub instead.")
def logout(url: str | None, impersonate: str | None, with_token: bool) -> None:
    """Log out and delete the saved login. Without one, delete the anonymous session of that server."""
    if with_token:
        from hfclient.cli.commands.hub_token import delete_token

        _without_server(url, impersonate)
        delete_token()
        return
    base = _base(url)
    saved = _saved(base)
    if saved is None:
        if AnonymousSession.find(base).forget():
            click.echo(f"Deleted the anonymous session of {base}: its conversations are no longer yours.")
        else:
            click.echo(f"There is no saved login for {base}.")
        return
    with _client(url, saved.cookies, impersonate) as client:
        ended = client.login.log_out()
    click.echo(f"Logged out of {base}.")
    if not ended:
        click.echo("The server did not confirm it; there the login stays valid until it expires.", err=True)


@click.command()
@url_option
@impersonate_option
@json_option
@click.pass_context
def whoami(context: click.Context, url: str | None, impersonate: str | None, as_lines: bool) -> None:
    """Show the logged-in user. The exit code is 1 if you are not logged in, on a server with a login."""
    base = _base(url)
    with _client(url, None, impersonate) as client:
        user = client.whoami()
        if user is not None:
            click.echo(as_json(user.to_dict()) if as_lines else _name(user))
            return
        enabled = client.login.enabled
    if as_lines:
        click.echo("null")
    elif not enabled:
        click.echo(f"Anonymous: {base} has no login.")
    if enabled:
        command = "hfclient login" if base == HUGGING_CHAT else f"hfclient login --url {base}"
        click.echo(f"hfclient: not logged in to {base}, or the login has expired; run: {command}", err=True)
        context.exit(1)


def _without_server(*options: str | None) -> None:
    if any(options):
        raise click.UsageError("--hub is about the token of the Hub; the other options are for chat servers")


def _address(url: str | None) -> str:
    return url or os.environ.get("HFCLIENT_BASE_URL") or HUGGING_CHAT


def _base(url: str | None) -> str:
    """Return the base URL without user name and password, for display and as the key of a saved login."""
    return server_key(_address(url))


def _client(url: str | None, cookies: Any, impersonate: str | None) -> Client:
    from hfclient import Client  # imported late: help needs no client

    options: dict[str, Any] = {"impersonate": impersonate} if impersonate else {}
    # A login consists of cookies; the token counts only for `whoami` without a login.
    return Client(_address(url), cookies=cookies, token="" if cookies is not None else None, **options)


def _store() -> LoginStore:
    store = LoginStore.find()
    if store is None:
        raise CredentialsError("this user has no home folder for the login; set HFCLIENT_HOME to a folder")
    return store


def _saved(base: str) -> SavedLogin | None:
    store = LoginStore.find()
    return store.get(base) if store is not None else None


def _name(user: User) -> str:
    return collapsed(user.username or user.email or user.id)


def _explain(base: str, page: str, *, open_page: bool) -> None:
    opened = open_page and _has_display() and webbrowser.open(page)
    click.echo(f"{'Your browser opens' if opened else 'Open'} {page} ; log in there.")
    cookies = (
        "the cookies hf-chat and token" if is_hugging_face(base) else "the cookie hf-chat (or its name on that server)"
    )
    click.echo(
        f"Then find {cookies}: developer tools (F12), Application or Storage, Cookies. Paste one of these:\n"
        '  the text of a Cookie header, as in "hf-chat=...; token=..."\n'
        "  the value of hf-chat alone\n"
        "  the path of an export, as cookies.txt or JSON"
    )


def _has_display() -> bool:
    """Return whether a browser would open a window instead of running in this terminal."""
    if sys.platform in ("win32", "darwin") or os.environ.get("BROWSER"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _prompt_for_cookies(base: str) -> Any:
    given = ask_hidden("Cookies")
    # On HuggingChat a login needs both cookies.
    if given and is_hugging_face(base) and not any(mark in given for mark in "=;/\\.{"):
        token = ask_hidden("Value of the cookie token")
        return {"hf-chat": given, "token": token} if token else given
    return given
