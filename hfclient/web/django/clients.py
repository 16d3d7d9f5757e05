"""`get_client`, `get_relay` and `get_guard`: one of each per process, made from the setting ``HFCLIENT`` when it is first used."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from hfclient import Client, InvalidInputError
from hfclient.web import options as web_options
from hfclient.web.django.conf import explained, imported, read_options, revealed, where

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
    options = read_options()
    factory = options.get("client")
    with explained():
        if factory is not None:
            function = imported("client", factory) if isinstance(factory, str) else factory
            if not callable(function):
                raise InvalidInputError('HFCLIENT["client"] is a function that returns a Client, or its dotted path')
            return web_options.called_client(function, where("client"))
        return web_options.new_client(
            revealed({name: value for name, value in options.items() if name in web_options.CLIENT_OPTIONS}), "HFCLIENT"
        )


def new_relay(**defaults: Any) -> DjangoRelay:
    """Return a new relay from ``HFCLIENT["relay"]`` and *defaults*; `get_relay` keeps one. Creating it opens nothing."""
    from hfclient.web.django.relays import DjangoRelay

    options = {**defaults, **read_options().get("relay", {})}
    for name in ("on_end", "recover"):
        if isinstance(options.get(name), str):
            options[name] = imported(f"relay.{name}", options[name])
    store = options.get("store")
    if isinstance(store, str) and store != "memory" and "://" not in store:
        options["store"] = imported("relay.store", store)()
    with explained():
        return web_options.new_relay(DjangoRelay, revealed(options), where("relay"))


def new_guard() -> Guard:
    """Return a new guard from ``HFCLIENT["guard"]``; `get_guard` keeps one."""
    options = read_options().get("guard")
    if options is None:
        raise ImproperlyConfigured('there are no limits to guard: set HFCLIENT["guard"], such as {"requests": "20/minute"}')
    with explained():
        return web_options.new_guard(revealed(options), where("guard"), get_client)


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
