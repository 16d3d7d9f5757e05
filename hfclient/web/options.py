"""Options as frameworks configure them: checked, and made into a client, a relay and a guard.

Messages name the option and its place, and never a value: it may be a secret.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import fields

from hfclient import Client, ClientOptions, Limits, Retry, Timeouts
from hfclient.errors import HFClientError, InvalidInputError

if TYPE_CHECKING:
    from hfclient.web.guard import Guard
    from hfclient.web.relay import Relay

    _R = TypeVar("_R", bound=Relay)

__all__ = [
    "BODY_OPTIONS",
    "CLIENT_OPTIONS",
    "called_client",
    "check_relay_options",
    "grouped",
    "named",
    "new_client",
    "new_guard",
    "new_relay",
    "refuse_unknown",
]

CLIENT_OPTIONS = ("base_url", *ClientOptions.__annotations__)
BODY_OPTIONS = ("details", "heartbeat")
_GROUPS: dict[str, Any] = {"limits": Limits, "retry": Retry, "timeouts": Timeouts}
_STORES = ("redis://", "rediss://", "unix://")


def refuse_unknown(where: str, given: Collection[Any], known: Collection[str], shown: Callable[[Any], Any] = lambda name: name) -> None:
    """Check that all names in *given* are in *known*; *shown* makes a name what the application writes.

    Raises:
        InvalidInputError: One is not. The message has the most similar name.
    """
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(str(name).lower(), known, 1, 0.6)
            hint = f'did you mean "{shown(close[0])}"?' if close else f"it has {', '.join(map(shown, sorted(known)))}"
            raise InvalidInputError(f"{where} has no option {shown(name)!r}; {hint}")


@contextlib.contextmanager
def named(where: str) -> Iterator[None]:
    """Put *where* in front of the messages of errors about options."""
    try:
        yield
    except InvalidInputError as error:
        message = f"{where}: {error}"
    except HFClientError:
        raise
    except (TypeError, ValueError) as error:
        # The text may have a part of a password, as that of urllib for a URL whose password has a slash.
        message = f"{where}: an option has a value that cannot work ({type(error).__name__})"
    else:
        return
    # Not from the error: the frames below it have secrets, and pages for debugging show local values.
    raise InvalidInputError(message) from None


def grouped(options: Mapping[str, Any], where: Callable[[str], str]) -> dict[str, Any]:
    """Return *options* with `Limits`, `Retry` and `Timeouts` instead of their dicts; *where* names an option for messages.

    Raises:
        InvalidInputError: One has an unknown option, or one that cannot work; or the relay or the guard is not a dict.
    """
    made = dict(options)
    for name, cls in _GROUPS.items():
        if isinstance(value := made.get(name), Mapping):
            refuse_unknown(where(name), value, [field.name for field in fields(cls)])
            with named(where(name)):
                made[name] = cls(**value)
    for name in ("relay", "guard"):
        if made.get(name) is not None and not isinstance(made[name], Mapping):
            raise InvalidInputError(f"{where(name)} is a dict of options, not a {type(made[name]).__name__}")
    return made


def new_client(options: Mapping[str, Any], where: str) -> Client:
    """Return a client with *options*, those of `Client`; it sends nothing."""
    with named(where):
        options = dict(options)
        return Client(options.pop("base_url", None), **options)


def called_client(function: Callable[[], Any], where: str) -> Client:
    """Return the client that the application's function returns."""
    client = function()
    if not isinstance(client, Client):
        raise InvalidInputError(f"the function {where} returns a Client, not a {type(client).__name__}")
    return client


def check_relay_options(options: Mapping[str, Any], where: str) -> None:
    """Check the options of a relay, as far as this needs no server."""
    from hfclient.web.relay import Relay

    refuse_unknown(where, options, list(inspect.signature(Relay).parameters))
    store = options.get("store")
    if isinstance(store, str) and not store.startswith((*_STORES, "memory")):  # it may have a password
        raise InvalidInputError(f"{where}: the store is the URL of a Redis server, redis://host:6379/0, or memory://")


def new_relay(kind: type[_R], options: Mapping[str, Any], where: str) -> _R:
    """Return a relay of the class *kind*; its store may be a URL."""
    check_relay_options(options, where)
    options = dict(options)
    with named(where):
        if isinstance(url := options.get("store"), str):
            options["store"] = None
            if url.startswith(_STORES):
                from hfclient.web.relay.redis_store import RedisStore  # needs the extra redis

                options["store"] = RedisStore(url)
        return kind(**options)


def new_guard(options: Mapping[str, Any], where: str, client: Callable[[], Client]) -> Guard:
    """Return a guard; ``"price": "router"`` takes the prices of the router of *client*."""
    from hfclient.web.guard import Guard  # needs the extra web
    from hfclient.web.prices import RouterPrices

    refuse_unknown(where, options, list(inspect.signature(Guard).parameters))
    options = dict(options)
    with named(where):
        if options.get("price") == "router":
            options["price"] = RouterPrices(client().inference)
        return Guard(**options)
