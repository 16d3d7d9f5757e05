"""`check_connections`: what an application needs from other servers, tried out: the chat server, inference, the stores.

``manage.py hfclient_check`` prints the results. Each check reads only, and takes a limited time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any, Literal

from attrs import asdict, frozen

from hfclient import Client, deadline, errors
from hfclient.web.errors import StoreUnavailable

if TYPE_CHECKING:
    from hfclient.web.guard import Guard
    from hfclient.web.relay.store import Store

__all__ = ["ConnectionCheck", "check_connections"]


@frozen
class ConnectionCheck:
    """The result of one check. It has no secret.

    Attributes:
        name: What was checked: ``"chat server"``, ``"login"``, ``"features"``, ``"models"``, ``"inference"``, ``"relay store"`` or
            ``"guard store"``.
        status: ``"ok"``, ``"failed"``, or ``"skipped"`` because a check before it failed.
        detail: What was found, or what went wrong.
        remedy: What to do about it, or None.
        seconds: How long it took.
    """

    name: str
    status: Literal["ok", "failed", "skipped"]
    detail: str
    remedy: str | None = None
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types."""
        return asdict(self)


CHECKS = ("chat server", "login", "features", "models", "inference", "relay store", "guard store")
_NAME = "hfclient_check"  # a user and a key that have used nothing


class _Failed(Exception):
    """A check that found what cannot work."""

    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy


_REMEDIES: tuple[tuple[type[BaseException], str], ...] = (
    (errors.CredentialsError, "Pass cookies= or set HFCLIENT_COOKIE, or run: hfclient login"),
    (errors.PasswordRequired, "A proxy in front of the server requires a password: put it into the base URL."),
    (errors.AuthenticationError, "Renew the cookie or the token; hfclient login saves a new cookie."),
    (errors.CloudflareChallenge, 'Pass impersonate="chrome" (extra: impersonate).'),
    (errors.PermissionDeniedError, "The account has no access to this: check its rights."),
    (errors.RateLimitError, "Wait, then try again."),
    (errors.NotAChatServer, "Check the base URL: the server there is not a chat-ui."),
    (errors.NotFoundError, "Check the base URL: it may lack a path."),
    (errors.ServerError, "The server fails: look into its log."),
    (StoreUnavailable, "Check the URL of the store, and that it runs."),
    (errors.TransportError, "Check the URL, the network, the proxy and the firewall, and that the server runs."),
)


def check_connections(
    client: Client, *, store: Store | None = None, guard: Guard | None = None, seconds: float = 10.0, skip: Collection[str] = ()
) -> Iterator[ConnectionCheck]:
    """Yield the result of each check, as soon as it is known. No message is sent to a model.

    Args:
        client: Its chat server, login and inference service are checked.
        store: The store of a relay.
        guard: Its store is checked.
        seconds: Time limit of each check.
        skip: Names of checks that are not made: ``"inference"`` for an application that only chats.
    """
    checks: dict[str, Callable[[], str]] = {
        "chat server": lambda: f"{client.base_url} answers in {client.ping() * 1000:.0f} ms",
        "login": lambda: _login(client),
        "features": lambda: _features(client),
        "models": lambda: _models(client),
        "inference": lambda: f"{client.inference_url} serves {len(client.inference.models())} models",
    }
    if store is not None:
        checks["relay store"] = lambda: f"{len(store.active())} runs are active"
    if guard is not None:
        checks["guard store"] = lambda: f"{len(guard.usage(_NAME, key=_NAME))} limits can be read"
    is_reached = True
    for name, check in checks.items():
        if name in skip:
            continue
        if not is_reached and name in ("login", "features", "models"):
            yield ConnectionCheck(name, "skipped", "the chat server cannot be reached")
            continue
        result = _run(name, check, seconds)
        if name == "chat server":
            is_reached = result.status == "ok"
        yield result


def _login(client: Client) -> str:
    if client.login.missing:
        raise errors.CredentialsError("there is no cookie for this server, which requires a login")
    user = client.whoami()
    if user is not None:
        return f"logged in as {user.username}"
    if client.login.enabled:
        raise _Failed(
            "not logged in, and the server has a login: chats may be refused, or limited",
            f"Log in at {client.login.page} and pass its cookies, or run: hfclient login",
        )
    return "the server has no login: an anonymous session"


def _features(client: Client) -> str:
    flags = client.server.features()
    return ", ".join(sorted(name for name, value in flags.items() if value is True)) or "none"


def _models(client: Client) -> str:
    models = client.models.list()
    if not models:
        raise _Failed("the chat server has no models", "Configure a model at the chat server.")
    return f"{len(models)}, the first is {models[0].id}"


def _run(name: str, check: Callable[[], str], seconds: float) -> ConnectionCheck:
    """Run one check in a thread; one that is late is left behind."""
    results: list[ConnectionCheck] = []
    started = time.monotonic()

    def run() -> None:
        status: Literal["ok", "failed"] = "failed"
        remedy: str | None = None
        try:
            with deadline(seconds):  # ends a request of a check that is late
                detail, status = check(), "ok"
        except _Failed as failure:
            detail, remedy = failure.detail, failure.remedy
        except errors.TransportTimeout as error:
            detail = f"no result within {seconds:g} s" if error.deadline == "total" else error.message
            remedy = _REMEDIES[-1][1]
        except errors.HFClientError as error:
            detail = error.message or type(error).__name__
            remedy = next((text for cls, text in _REMEDIES if isinstance(error, cls)), None)
        except Exception as error:  # noqa: BLE001 (a store of the application's own)
            detail = f"{type(error).__name__}: see the log of the store"
        results.append(ConnectionCheck(name, status, detail, remedy, round(min(time.monotonic() - started, seconds), 3)))

    thread = threading.Thread(target=run, name="hfclient-check", daemon=True)
    thread.start()
    thread.join(seconds)
    late = ConnectionCheck(name, "failed", f"no result within {seconds:g} s", _REMEDIES[-1][1], round(seconds, 3))
    return results[0] if results else late
