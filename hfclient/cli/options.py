"""Options that several commands share, and the client that they describe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from hfclient import Client, Timeouts
from hfclient.cli.completion import complete_names

__all__ = ["impersonate_option", "open_client", "server_options", "url_option"]

_F = TypeVar("_F", bound=Callable[..., Any])

url_option = click.option("--url", metavar="URL", help="Base URL of a chat-ui server (default: HuggingChat).")
impersonate_option = click.option(
    "--impersonate",
    metavar="BROWSER",
    help='Impersonate a browser such as "chrome" (extra: impersonate).',
    shell_complete=complete_names("chrome", "edge", "firefox", "safari"),
)
_local_option = click.option("--local", is_flag=True, help="Use a small model on this machine (extra: local).")
_timeout_option = click.option("--timeout", type=float, metavar="SECONDS", help="Maximum time of the whole call.")


def server_options(command: _F) -> _F:
    """Add the options that select the server and the transport."""
    return url_option(_local_option(impersonate_option(_timeout_option(command))))


def open_client(url: str | None, local: bool, impersonate: str | None, timeout: float | None) -> Client:
    """Return the client for the options of `server_options`."""
    if local and url:
        raise click.UsageError("--local and --url exclude each other")
    if local and impersonate:
        raise click.UsageError("--local and --impersonate exclude each other")
    timeouts = Timeouts() if timeout is None else Timeouts(total=timeout)
    if local:
        return Client.local(timeouts=timeouts)
    return Client(url, timeouts=timeouts, impersonate=impersonate or None)
