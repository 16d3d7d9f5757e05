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

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from hfclient import ClientOptions, Limits, Retry, Timeouts

__all__ = ["HiddenText", "hidden", "imported", "read_options", "refuse_unknown", "revealed"]

_GROUPS = {"limits": Limits, "retry": Retry, "timeouts": Timeouts}
_CLIENT = ("base_url", *ClientOptions.__annotations__)
_OPTIONS = (*_CLIENT, "client", "details", "guard", "heartbeat", "relay")
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
    refuse_unknown("HFCLIENT", given, _OPTIONS)
    options: dict[str, Any] = hidden(given)
    for name, cls in _GROUPS.items():
        if isinstance(value := options.get(name), Mapping):
            options[name] = _group(name, cls, value)
    if isinstance(options.get("on_event"), str):
        options["on_event"] = imported("on_event", options["on_event"])
    for name in ("relay", "guard"):
        if name in options and not isinstance(options[name], Mapping):
            raise ImproperlyConfigured(f'HFCLIENT["{name}"] is a dict of options, not a {type(options[name]).__name__}')
    if options.get("client") is not None and (others := sorted(set(options) & set(_CLIENT))):
        raise ImproperlyConfigured(
            f'HFCLIENT has "client", a function that returns the client, so {", ".join(others)} would have no effect; '
            "pass them to the client in that function"
        )
    return options


def refuse_unknown(where: str, given: Collection[Any], known: Collection[str]) -> None:
    """Check that all names in *given* are in *known*.

    Raises:
        ImproperlyConfigured: One is not. The message has the most similar name.
    """
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(str(name).lower(), known, 1, 0.6)
            hint = f'did you mean "{close[0]}"?' if close else f"it has {', '.join(sorted(known))}"
            raise ImproperlyConfigured(f"{where} has no option {name!r}; {hint}")


def imported(name: str, path: str) -> Any:
    """Return what the dotted *path* of the option *name* leads to.

    Raises:
        ImproperlyConfigured: It cannot be imported.
    """
    try:
        return import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(f'HFCLIENT["{name}"]: {error}') from error


def _group(name: str, cls: Any, given: Mapping[str, Any]) -> Any:
    known = [field.name for field in cls.__attrs_attrs__]
    refuse_unknown(f'HFCLIENT["{name}"]', given, known)
    try:
        return cls(**given)
    except (TypeError, ValueError) as error:  # InvalidInputError is a ValueError
        raise ImproperlyConfigured(f'HFCLIENT["{name}"]: {error}') from error


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
