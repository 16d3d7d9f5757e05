"""The keys ``HFCLIENT_*`` of ``app.config``, checked."""

from __future__ import annotations

import contextlib
import difflib
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from attrs import fields, frozen

from hfclient import Client, ClientOptions, Limits, Retry, Timeouts
from hfclient.errors import HFClientError, InvalidInputError
from hfclient.web.errors import WebError

if TYPE_CHECKING:
    from hfclient.web.guard import Guard
    from hfclient.web.relay import Relay

__all__ = ["Settings", "read_settings"]

_PREFIX = "HFCLIENT_"
_GROUPS = {"limits": Limits, "retry": Retry, "timeouts": Timeouts}
_CLIENT = ("base_url", *ClientOptions.__annotations__)
_OWN = ("client", "details", "error_handler", "guard", "heartbeat", "relay")


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
            client = self.client()
            if not isinstance(client, Client):
                raise InvalidInputError(f"the function HFCLIENT_CLIENT returns a Client, not a {type(client).__name__}")
            return client
        options = dict(self.client)
        return Client(options.pop("base_url", None), **options)

    def new_relay(self, in_context: Callable[[Any], Any], client: Callable[[], Client]) -> Relay:
        """Return a new relay, whose functions run in the context of the application; chats are recovered with *client*."""
        from hfclient.web.relay import Relay

        options = self._relay_options()
        if "recover" not in options:
            options["recover"] = client()
        for name in ("on_end", "recover"):
            if callable(options.get(name)):
                options[name] = in_context(options[name])
        with _named("HFCLIENT_RELAY"):
            if isinstance(options.get("store"), str):
                options["store"] = _store(options["store"])
            return Relay(**options)

    def _relay_options(self) -> dict[str, Any]:
        from hfclient.web.relay import Relay

        _refuse_unknown("HFCLIENT_RELAY", self.relay, list(inspect.signature(Relay).parameters))
        store = self.relay.get("store")
        if isinstance(store, str) and not store.startswith(("redis://", "rediss://", "unix://", "memory")):
            # The URL may have a password.
            raise InvalidInputError("HFCLIENT_RELAY: the store is the URL of a Redis server, redis://host:6379/0, or memory://")
        return dict(self.relay)

    def check(self) -> None:
        """Find mistakes at start-up rather than in the first request. Nothing is sent or kept."""
        if not callable(self.client):
            with _named(_PREFIX + "*"):
                self.new_client().close()
        if self.relay:
            self._relay_options()
        if self.guard is not None and self.guard.get("price") != "router":
            self.new_guard(Client)

    def new_guard(self, client: Callable[[], Client]) -> Guard:
        """Return a new guard; ``"price": "router"`` takes the prices of the client's router."""
        if self.guard is None:
            raise WebError('the application has no limits: set HFCLIENT_GUARD, such as {"requests": "20/minute"}')
        from hfclient.web.guard import Guard
        from hfclient.web.prices import RouterPrices

        _refuse_unknown("HFCLIENT_GUARD", self.guard, list(inspect.signature(Guard).parameters))
        options = dict(self.guard)
        with _named("HFCLIENT_GUARD"):
            if options.get("price") == "router":
                options["price"] = RouterPrices(client().inference)
            return Guard(**options)


def read_settings(config: Mapping[str, Any]) -> Settings:
    """Return the settings in *config*.

    Raises:
        InvalidInputError: A key is unknown, or a value is of the wrong kind; the message has the most similar key, and no value.
    """
    given = {key[len(_PREFIX) :].lower(): value for key, value in config.items() if key.startswith(_PREFIX)}
    _refuse_unknown(_PREFIX, given, (*_CLIENT, *_OWN))
    for name, cls in _GROUPS.items():
        if isinstance(value := given.get(name), Mapping):
            _refuse_unknown(_key(name), value, [field.name for field in fields(cls)])
            with _named(_key(name)):
                given[name] = cls(**value)
    for name in ("relay", "guard"):
        if given.get(name) is not None and not isinstance(given[name], Mapping):
            raise InvalidInputError(f"{_key(name)} is a dict of options, not a {type(given[name]).__name__}")
    own = {name: given.pop(name) for name in _OWN if given.get(name) is not None}
    options = {name: value for name, value in given.items() if value is not None and name in _CLIENT}
    factory = own.get("client")
    if factory is not None and not callable(factory):
        raise InvalidInputError(f"HFCLIENT_CLIENT is a function that returns a Client, not a {type(factory).__name__}")
    if factory is not None and options:
        raise InvalidInputError(
            f"HFCLIENT_CLIENT is a function that returns the client, so {', '.join(map(_key, sorted(options)))} would have no effect"
        )
    settings = Settings(
        client=factory if factory is not None else options,
        relay=dict(own.get("relay") or {}),
        guard=own.get("guard"),
        body_options={name: own[name] for name in ("details", "heartbeat") if name in own},
        error_handler=bool(own.get("error_handler", True)),
    )
    settings.check()
    return settings


def _store(url: str) -> Any:
    if url.startswith("memory"):
        return None
    from hfclient.web.relay.redis_store import RedisStore  # needs the extra redis

    return RedisStore(url)


def _key(name: str) -> str:
    return _PREFIX + name.upper()


def _refuse_unknown(where: str, given: Collection[Any], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            shown = _key(name) if where == _PREFIX else f"{where}[{name!r}]"
            close = difflib.get_close_matches(str(name).lower(), known, 1, 0.6)
            names = [_key(one) if where == _PREFIX else one for one in (close or sorted(known))]
            hint = f"did you mean {names[0]}?" if close else f"there are {', '.join(names)}"
            raise InvalidInputError(f"{shown} is not an option; {hint}")


@contextlib.contextmanager
def _named(key: str) -> Iterator[None]:
    """Put the key in front of the errors of its options, whose messages have no secrets."""
    try:
        yield
    except InvalidInputError as error:
        message = f"{key}: {error}"
    except HFClientError:
        raise
    except (TypeError, ValueError) as error:
        # The text may have a part of a password, as that of urllib for a URL whose password has a slash.
        message = f"{key}: an option has a value that cannot work ({type(error).__name__})"
    else:
        return
    raise InvalidInputError(message)
