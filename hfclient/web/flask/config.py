"""The keys ``HFCLIENT_*`` of ``app.config``, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from hfclient import Client
from hfclient.errors import InvalidInputError
from hfclient.web import options
from hfclient.web.errors import WebError

if TYPE_CHECKING:
    from hfclient.web.guard import Guard
    from hfclient.web.relay import Relay

__all__ = ["Settings", "read_settings"]

_PREFIX = "HFCLIENT_"
_OWN = ("client", "error_handler", "guard", "relay", *options.BODY_OPTIONS)


@frozen(repr=False)  # the options may have secrets
class Settings:
    """What the configuration says.

    Attributes:
        client: Options of `Client`, or a function that returns one.
        relay: Options of the relay.
        guard: Options of the guard, or None.
        body_options: Options of all streams.
        error_handler: Whether to register a handler for errors of hfclient.
    """

    client: Any
    relay: dict[str, Any]
    guard: dict[str, Any] | None
    body_options: dict[str, Any]
    error_handler: bool

    def new_client(self) -> Client:
        """Return a new client; it sends nothing."""
        if callable(self.client):
            return options.called_client(self.client, "HFCLIENT_CLIENT")
        return options.new_client(self.client, _PREFIX + "*")

    def new_relay(self, in_context: Callable[[Any], Any], client: Callable[[], Client]) -> Relay:
        """Return a new relay, whose functions run in the context of the application; chats are recovered with *client*."""
        from hfclient.web.relay import Relay

        given = dict(self.relay)
        for name in ("on_end", "recover"):
            if callable(given.get(name)):
                given[name] = in_context(given[name])
        if "recover" not in given:
            given["recover"] = client()
        return options.new_relay(Relay, given, "HFCLIENT_RELAY")

    def new_guard(self, client: Callable[[], Client]) -> Guard:
        """Return a new guard."""
        if self.guard is None:
            raise WebError('the application has no limits: set HFCLIENT_GUARD, such as {"requests": "20/minute"}')
        return options.new_guard(self.guard, "HFCLIENT_GUARD", client)

    def check(self) -> None:
        """Find mistakes at start-up rather than in the first request. Nothing is sent or kept."""
        if not callable(self.client):
            self.new_client().close()
        if self.relay:
            options.check_relay_options(self.relay, "HFCLIENT_RELAY")
        if self.guard is not None and self.guard.get("price") != "router":
            self.new_guard(Client)


def read_settings(config: Mapping[str, Any]) -> Settings:
    """Return the settings in *config*.

    Raises:
        InvalidInputError: A key is unknown, or a value is of the wrong kind; the message has the most similar key, and no value.
    """
    found = {key[len(_PREFIX) :].lower(): value for key, value in config.items() if key.startswith(_PREFIX)}
    options.refuse_unknown("app.config", found, (*options.CLIENT_OPTIONS, *_OWN), _key)
    given = options.grouped({name: value for name, value in found.items() if value is not None}, _key)
    own = {name: given.pop(name) for name in _OWN if name in given}
    factory = own.get("client")
    if factory is not None and not callable(factory):
        raise InvalidInputError(f"HFCLIENT_CLIENT is a function that returns a Client, not a {type(factory).__name__}")
    if factory is not None and given:
        raise InvalidInputError(
            f"HFCLIENT_CLIENT is a function that returns the client, so {', '.join(map(_key, sorted(given)))} would have no effect"
        )
    settings = Settings(
        client=factory if factory is not None else given,
        relay=dict(own.get("relay") or {}),
        guard=own.get("guard"),
        body_options={name: own[name] for name in options.BODY_OPTIONS if name in own},
        error_handler=bool(own.get("error_handler", True)),
    )
    settings.check()
    return settings


def _key(name: str) -> str:
    return _PREFIX + name.upper()
