"""`check_connections`: the checks of `hfclient.doctor`, and those of an application's stores.

``manage.py hfclient_check`` prints the results. Each check reads only, and takes a limited time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

from hfclient import Client
from hfclient.doctor import CHECKS as DOCTOR_CHECKS
from hfclient.doctor import Check, check
from hfclient.doctor.results import Finding, failed, ok, run
from hfclient.errors import InvalidInputError
from hfclient.web.errors import StoreUnavailable

if TYPE_CHECKING:
    from hfclient.web.guard import Guard
    from hfclient.web.relay.store import Store

__all__ = ["CHECKS", "check_connections"]

_OTHERS = ("hfclient", "packages", "extras", "weights", "client")
"""Checks of an installation for interactive use."""

CHECKS = (
    *(group for group in DOCTOR_CHECKS),
    *(name for names in DOCTOR_CHECKS.values() for name in names if name not in (*_OTHERS, "message") and name not in DOCTOR_CHECKS),
    *("stores", "relay store", "guard store"),
)
"""Names of checks, and of groups of them, that can be left out."""

_NAME = "hfclient_check"  # a user and a key that have used nothing


def check_connections(
    client: Client, *, store: Store | None = None, guard: Guard | None = None, seconds: float = 10.0, skip: Collection[str] = ()
) -> Iterator[Check]:
    """Yield the result of each check, as soon as it is known. No message is sent to a model.

    Args:
        client: Its chat server, login, token and inference service are checked, as by `hfclient.doctor.check`.
        store: The store of a relay.
        guard: Its store is checked.
        seconds: Time limit of each check.
        skip: Names of checks that are not made: ``"inference"`` for an application that only chats.

    Raises:
        InvalidInputError: *skip* has a name that does not exist.
    """
    if unknown := sorted(set(skip) - {*CHECKS, *_OTHERS}):
        raise InvalidInputError(f"there is no check {unknown[0]!r}; the checks are {', '.join(CHECKS)}")
    return _checks(client, store, guard, seconds, set(skip))


def _checks(client: Client, store: Store | None, guard: Guard | None, seconds: float, skip: set[str]) -> Iterator[Check]:
    yield from check(client, seconds=seconds, skip={*_OTHERS, *skip} - {"stores", "relay store", "guard store"})
    stores: dict[str, Callable[[], str]] = {}
    if store is not None:
        stores["relay store"] = lambda: f"{len(store.active())} runs are active"
    if guard is not None:
        stores["guard store"] = lambda: f"{len(guard.usage(_NAME, key=_NAME))} limits can be read"
    for name, read in stores.items():
        if not {name, "stores"} & skip:
            yield run("stores", name, lambda read=read: _found(read), seconds)[0]  # type: ignore[misc]


def _found(read: Callable[[], str]) -> Finding:
    try:
        return ok(read())
    except StoreUnavailable as error:
        return failed(error.message, "Check the URL of the store, and that it runs.")
