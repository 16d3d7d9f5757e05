"""The setting ``HFCLIENT``: its options, checked, with values that do not show secrets.

    HFCLIENT = {
        "base_url": "https://chat.example.org",
        "cookies": os.environ["CHAT_COOKIE"],
        "timeouts": {"total": 120},
        "relay": {"store": "redis://localhost:6379/0", "ttl": 600},
        "guard": {"requests": "20/minute"},
    }

The options are those of `hfclient.Client`, by the same names, and ``client``, ``relay``, ``guard``, ``heartbeat`` and ``details``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from hfclient import HFClientError
from hfclient.web import options as web_options

__all__ = ["HiddenText", "explained", "hidden", "imported", "read_options", "revealed", "where"]

_OPTIONS = (*web_options.CLIENT_OPTIONS, *web_options.BODY_OPTIONS, "client", "guard", "relay")
_SECRET = ("cookie", "key", "pass", "secret", "token")


class HiddenText(str):
    """A text whose representation is stars: Django's debug page and ``manage.py diffsettings`` show settings and local values."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'********'"


def read_options() -> dict[str, Any]:
    """Return the options of the setting ``HFCLIENT``, with secrets as `HiddenText`.

    Raises:
        ImproperlyConfigured: It is not a dict, or has an unknown option or a value of the wrong kind. No value is in the message.
    """
    given = getattr(settings, "HFCLIENT", None)
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"HFCLIENT is a dict of options, not a {type(given).__name__}")
    with explained():
        web_options.refuse_unknown("HFCLIENT", given, _OPTIONS)
        options: dict[str, Any] = web_options.grouped(hidden(given), where)
    if isinstance(options.get("on_event"), str):
        options["on_event"] = imported("on_event", options["on_event"])
    if options.get("client") is not None and (others := sorted(set(options) & set(web_options.CLIENT_OPTIONS))):
        raise ImproperlyConfigured(
            f'HFCLIENT has "client", a function that returns the client, so {", ".join(others)} would have no effect; '
            "pass them to the client in that function"
        )
    return options


def where(name: str) -> str:
    """Return how messages name the option *name*."""
    return f'HFCLIENT["{name}"]'


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn errors of options into `ImproperlyConfigured`. Their messages have no secrets."""
    try:
        yield
    except (HFClientError, ImportError) as error:
        message = str(error)
    else:
        return
    # Without the error: the frames below it have secrets as they were passed, and Django's debug page shows local values.
    raise ImproperlyConfigured(message) from None


def imported(name: str, path: str) -> Any:
    """Return what the dotted *path* of the option *name* leads to.

    Raises:
        ImproperlyConfigured: It cannot be imported.
    """
    try:
        return import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(f"{where(name)}: {error}") from error


def hidden(value: Any, *, secret: bool = False) -> Any:
    """Return *value* with the texts that are, or may contain, secrets as `HiddenText`.

    These are the texts under a name such as ``token``, ``cookies`` or ``provider_keys``, at any depth, and URLs with a user name or
    password.
    """
    if isinstance(value, Mapping):
        return {
            name: hidden(item, secret=secret or any(word in str(name).lower() for word in _SECRET)) for name, item in value.items()
        }
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(hidden(item, secret=secret) for item in value)
    if isinstance(value, str) and value and (secret or ("://" in value and "@" in value)):
        return HiddenText(value)
    return value


def revealed(value: Any) -> Any:
    """Return *value* with plain texts instead of `HiddenText`. Do not keep it in a local variable."""
    if isinstance(value, dict):
        return {name: revealed(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(revealed(item) for item in value)
    return str(value) if isinstance(value, HiddenText) else value
