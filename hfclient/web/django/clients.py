"""`get_client`, `get_relay` and `get_guard`: one of each per process, made from the setting ``HFCLIENT`` when it is first used."""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from hfclient import Client, HFClientError
from hfclient.web.django.conf import imported, read_options, refuse_unknown, revealed

if TYPE_CHECKING:
    from hfclient.web.guard import Guard
    from hfclient.web.relay import Relay  # type: ignore[attr-defined,unused-ignore]

__all__ = ["get_client", "get_guard", "get_relay", "new_client", "new_guard", "new_relay", "relay_options"]

_made: dict[str, Any] = {}
_making = threading.RLock()  # not held while a request is sent: none of the three sends anything when it is made


def get_client() -> Client:
    """Return the client of this process, from the options of ``HFCLIENT``. Creating it sends nothing.

    Raises:
        ImproperlyConfigured: ``HFCLIENT`` has an unknown option, or a value that cannot work.
    """
    client: Client = _once("client", new_client)
    return client


def get_relay() -> Relay:
    """Return the relay of this process, from the options in ``HFCLIENT["relay"]``.

    Raises:
        ImproperlyConfigured: An option is unknown or cannot work, or the package redis is not installed.
    """
    relay: Relay = _once("relay", new_relay)
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
    options = {name: value for name, value in read_options().items() if name not in ("guard", "relay")}
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


def new_relay() -> Relay:
    """Return a new relay from ``HFCLIENT["relay"]``; `get_relay` keeps one."""
    from hfclient.web.relay import Relay  # type: ignore[attr-defined,unused-ignore]

    options = relay_options()
    with _explained('HFCLIENT["relay"]'):
        return Relay(**options)


def relay_options() -> dict[str, Any]:
    """Return the arguments of the relay, with its store. Nothing is sent.

    Raises:
        ImproperlyConfigured: An option is unknown, the store's URL cannot work, or the package redis is not installed.
    """
    options = dict(read_options().get("relay", {}))
    if not options:
        return {}
    from hfclient.web.relay import Relay  # type: ignore[attr-defined,unused-ignore]

    refuse_unknown('HFCLIENT["relay"]', options, list(inspect.signature(Relay).parameters))
    with _explained('HFCLIENT["relay"]["store"]'):
        options["store"] = _store(revealed(options.get("store")))
    return options


def _store(given: Any) -> Any:
    if given is None or given == "memory":
        return None
    if not isinstance(given, str):
        return given() if callable(given) else given
    if given.startswith(("redis://", "rediss://", "unix://")):
        from hfclient.web.relay.redis_store import RedisStore  # type: ignore[import-not-found,unused-ignore]  # needs the extra redis

        return RedisStore(given)
    if "://" in given:
        raise ImproperlyConfigured("the store is the URL of a Redis server (redis://, rediss://, unix://), or \"memory\"")
    return imported("relay.store", given)()


def new_guard() -> Guard:
    """Return a new guard from ``HFCLIENT["guard"]``; `get_guard` keeps one."""
    options = read_options().get("guard")
    if options is None:
        raise ImproperlyConfigured('there are no limits to guard: set HFCLIENT["guard"]')
    from hfclient.web.guard import Guard  # needs the extra web

    refuse_unknown('HFCLIENT["guard"]', options, list(inspect.signature(Guard).parameters))
    with _explained('HFCLIENT["guard"]'):
        return Guard(**revealed(options))


@contextlib.contextmanager
def _explained(where: str) -> Iterator[None]:
    """Turn errors of options into `ImproperlyConfigured`, which names the setting. Their messages have no secrets."""
    try:
        yield
    except (HFClientError, TypeError, ValueError) as error:
        problem = f"{where}: {error}"
    else:
        return
    raise ImproperlyConfigured(problem)


def _reset(*, setting: str, **_: object) -> None:
    if setting != "HFCLIENT":
        return
    with _making:
        made = list(_made.values())
        _made.clear()
    for each in made:
        close = getattr(each, "close", None)
        if close is not None:
            close()


setting_changed.connect(_reset, dispatch_uid="hfclient.web.django")
