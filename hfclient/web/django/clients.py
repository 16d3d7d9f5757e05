"""`get_client`, `get_relay` and `get_guard`: one of each per process, made from the setting ``HFCLIENT`` when it is first used."""

from __future__ import annotations

import contextlib
import inspect
import os
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from hfclient import Client, HFClientError, InvalidInputError
from hfclient.web.django.conf import imported, read_options, refuse_unknown, revealed

if TYPE_CHECKING:
    from hfclient.web.django.relays import DjangoRelay
    from hfclient.web.guard import Guard

__all__ = ["get_client", "get_guard", "get_relay", "new_client", "new_guard", "new_relay"]

_made: dict[str, Any] = {}
_making = threading.RLock()  # not held while a request is sent: none of the three sends anything when it is made


def _after_fork() -> None:
    global _making  # noqa: PLW0603 (another thread may have held it in the parent)
    _making = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def get_client() -> Client:
    """Return the client of this process, from the options of ``HFCLIENT``. Creating it sends nothing.

    Raises:
        ImproperlyConfigured: ``HFCLIENT`` has an unknown option, or a value that cannot work.
    """
    client: Client = _once("client", new_client)
    return client


def get_relay() -> DjangoRelay:
    """Return the relay of this process, from the options in ``HFCLIENT["relay"]``.

    Chats of a process that has died are recovered with `get_client`; with a client for each user set ``recover``.

    Raises:
        ImproperlyConfigured: An option is unknown or cannot work, or the package redis is not installed.
    """
    relay: DjangoRelay = _once("relay", lambda: new_relay(recover=get_client()))
    return relay


def get_guard() -> Guard:
    """Return the guard of this process, from the options in ``HFCLIENT["guard"]``.

    Raises:
        ImproperlyConfigured: There are no such options, or one is unknown or cannot work.
    """
    guard: Guard = _once("guard", new_guard)
    return guard


def _once(name: str, make: Callable[[], Any]) -> Any:
    made = _made.get(name)
    if made is None:
        with _making:
            made = _made.get(name)
            if made is None:
                made = _made[name] = make()
    return made


def new_client() -> Client:
    """Return a new client from the options of ``HFCLIENT``; `get_client` keeps one."""
    options = {name: value for name, value in read_options().items() if name not in ("details", "guard", "heartbeat", "relay")}
    factory = options.pop("client", None)
    if factory is not None:
        return _from_function(imported("client", factory) if isinstance(factory, str) else factory)
    with _explained("HFCLIENT"):
        return Client(options.pop("base_url", None), **revealed(options))


def _from_function(factory: Any) -> Client:
    if not callable(factory):
        raise ImproperlyConfigured('HFCLIENT["client"] is a function that returns a Client, or its dotted path')
    client = factory()
    if not isinstance(client, Client):
        raise ImproperlyConfigured(f'the function HFCLIENT["client"] returns a Client, not a {type(client).__name__}')
    return client


def new_relay(**defaults: Any) -> DjangoRelay:
    """Return a new relay from ``HFCLIENT["relay"]`` and *defaults*; `get_relay` keeps one. Creating it opens nothing."""
    from hfclient.web.django.relays import DjangoRelay
    from hfclient.web.relay import Relay

    options = {**defaults, **read_options().get("relay", {})}
    refuse_unknown('HFCLIENT["relay"]', options, list(inspect.signature(Relay).parameters))
    for name in ("on_end", "recover"):
        if isinstance(options.get(name), str):
            options[name] = imported(f"relay.{name}", options[name])
    with _explained('HFCLIENT["relay"]'):
        options["store"] = _store(revealed(options.get("store")))
        return DjangoRelay(**options)


def _store(given: Any) -> Any:
    """Return the store that the option names; None for memory."""
    if given is None or given in ("memory", "memory://"):
        return None
    if not isinstance(given, str):
        return given
    if given.startswith(("redis://", "rediss://", "unix://")):
        from hfclient.web.relay.redis_store import RedisStore  # needs the extra redis

        return RedisStore(given)
    if "://" in given:  # it may have a password
        raise InvalidInputError("the store is the URL of a Redis server, redis://host:6379/0, or memory://, or a dotted path")
    return imported("relay.store", given)()


def new_guard() -> Guard:
    """Return a new guard from ``HFCLIENT["guard"]``; `get_guard` keeps one. ``"price": "router"`` takes the prices of the client's router."""
    options = read_options().get("guard")
    if options is None:
        raise ImproperlyConfigured('there are no limits to guard: set HFCLIENT["guard"], such as {"requests": "20/minute"}')
    from hfclient.web.guard import Guard  # needs the extra web
    from hfclient.web.prices import RouterPrices

    refuse_unknown('HFCLIENT["guard"]', options, list(inspect.signature(Guard).parameters))
    prices = {"price": RouterPrices(get_client().inference)} if options.get("price") == "router" else {}
    with _explained('HFCLIENT["guard"]'):
        return Guard(**{**revealed(options), **prices})


@contextlib.contextmanager
def _explained(where: str) -> Iterator[None]:
    """Turn errors of options into `ImproperlyConfigured`, which names the setting. Their messages have no secrets."""
    try:
        yield
    except HFClientError as error:
        problem = f"{where}: {error}"
    except ImportError as error:
        problem = f"{where}: {error}"
    except (TypeError, ValueError) as error:
        # Its text may have a part of a password, as that of urllib for a URL whose password has a slash.
        problem = f"{where}: an option has a value that cannot work ({type(error).__name__})"
    else:
        return
    # Without the error: the frames below it have secrets as they were passed, and Django's debug page shows local values.
    raise ImproperlyConfigured(problem) from None


def _reset(*, setting: str, **_: object) -> None:
    if setting != "HFCLIENT":
        return
    with _making:
        made = list(_made.values())
        _made.clear()
    for each in made[::-1]:  # a relay stops its answers through the client
        close = getattr(each, "close", None)
        if close is not None:
            close()


setting_changed.connect(_reset, dispatch_uid="hfclient.web.django")
