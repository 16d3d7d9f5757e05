"""Options that several commands share, and the client that they describe."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from attrs import fields, frozen

from hfclient.cli.completion import complete_names

if TYPE_CHECKING:
    from hfclient import Client

__all__ = [
    "InferenceCall",
    "call_options",
    "impersonate_option",
    "inference_options",
    "json_option",
    "open_client",
    "open_inference",
    "server_options",
    "url_option",
]

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
json_option = click.option("--json", "as_lines", is_flag=True, help="Print JSON, one object per line.")


def server_options(command: _F) -> _F:
    """Add the options that select the server and the transport."""
    return url_option(_local_option(impersonate_option(_timeout_option(command))))


def open_client(url: str | None, local: bool, impersonate: str | None, timeout: float | None) -> Client:
    """Return the client for the options of `server_options`."""
    from hfclient import Client, Timeouts  # imported late: help needs no client

    if local and url:
        raise click.UsageError("--local and --url exclude each other")
    if local and impersonate:
        raise click.UsageError("--local and --impersonate exclude each other")
    timeouts = Timeouts() if timeout is None else Timeouts(total=timeout)
    if local:
        return Client.local(timeouts=timeouts, database=_database())
    return Client(url, timeouts=timeouts, impersonate=impersonate or None)


def _database() -> str | None:
    """Return the file of the conversations of ``--local``, which ``hfclient serve`` has, too; None if it cannot be written."""
    try:
        from hfclient.local.sqlite_store import default_path

        path = default_path()
    except (ImportError, RuntimeError):  # without the extra, or a home folder
        return None
    exists = next((place for place in (path, *path.parents) if place.exists()), None)
    return str(path) if exists is not None and os.access(exists, os.W_OK) else None


@frozen
class InferenceCall:
    """The options of a call to a model, as `inference_options` adds them.

    Attributes:
        inference_url, local: The server.
        model, provider: As they were given.
        timeout: Maximum time of the whole call, in seconds.
        as_lines: Print JSON, one object per line.
    """

    inference_url: str | None
    local: bool
    model: str | None
    provider: str | None
    timeout: float | None
    as_lines: bool

    def client(self) -> Client:
        """Return the client."""
        return open_inference(self.inference_url, self.local, self.timeout)

    def arguments(self, **options: Any) -> dict[str, Any]:
        """Return the arguments of the call: the model, the provider and those of *options* that were given."""
        return call_options(self.model, self.provider, **options)


def inference_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a call to a model; *command* gets them as one `InferenceCall`, the argument *call*."""
    names = [field.name for field in fields(InferenceCall)]

    @functools.wraps(command)
    def with_call(*args: Any, **options: Any) -> None:
        command(*args, call=InferenceCall(**{name: options.pop(name) for name in names}), **options)

    decorated: Callable[..., None] = with_call
    for option in reversed(
        (
            click.option(
                "--inference-url",
                metavar="URL",
                help="OpenAI-compatible server or Inference Endpoint (default: Hugging Face's router).",
            ),
            _local_option,
            click.option("-m", "--model", metavar="NAME", help="Model to use, by its name on the Hub."),
            click.option(
                "--provider",
                metavar="NAME",
                help='Inference provider, such as "fal-ai"; several, with commas, in the order to try.',
            ),
            _timeout_option,
            json_option,
        )
    ):
        decorated = option(decorated)
    return decorated


def open_inference(inference_url: str | None, local: bool, timeout: float | None) -> Client:
    """Return the client of an inference server; its chat server is not used."""
    from hfclient import Client, Timeouts

    if local and inference_url:
        raise click.UsageError("--local and --inference-url exclude each other")
    timeouts = Timeouts() if timeout is None else Timeouts(total=timeout)
    if local:
        return Client.local(timeouts=timeouts, database=_database())
    return Client(cookies="", session="private", inference_url=inference_url, timeouts=timeouts)


def call_options(model: str | None, provider: str | None, **options: Any) -> dict[str, Any]:
    """Return the arguments of a call to a model: those that were given."""
    names = [name.strip() for name in (provider or "").split(",") if name.strip()]
    chosen = names if len(names) > 1 else names[0] if names else None
    given = {"model": model, "provider": chosen, **options}
    return {name: value for name, value in given.items() if value is not None}
