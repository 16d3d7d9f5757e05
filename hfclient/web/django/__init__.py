"""hfclient for Django: ``"hfclient.web.django"`` in ``INSTALLED_APPS``, options in the setting ``HFCLIENT``.

The app has no models. It adds system checks and the command ``manage.py hfclient_check``, and serves ``hfclient/hfclient.js`` as a
static file. The names below can be imported before Django is set up.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hfclient.web.django.clients import get_client, get_guard, get_relay
    from hfclient.web.django.fields import ConversationField, ConversationState
    from hfclient.web.django.locks import conversation_lock
    from hfclient.web.django.problems import problem_response
    from hfclient.web.django.requests import read_json, read_prompt
    from hfclient.web.django.responses import astream_response, stream_response
    from hfclient.web.django.runs import follow, start

__all__ = [
    "ConversationField",
    "ConversationState",
    "astream_response",
    "conversation_lock",
    "follow",
    "get_client",
    "get_guard",
    "get_relay",
    "problem_response",
    "read_json",
    "read_prompt",
    "start",
    "stream_response",
]

_MODULES = {
    "astream_response": "responses",
    "ConversationField": "fields",
    "ConversationState": "fields",
    "conversation_lock": "locks",
    "follow": "runs",
    "get_client": "clients",
    "get_guard": "clients",
    "get_relay": "clients",
    "problem_response": "problems",
    "read_json": "requests",
    "read_prompt": "requests",
    "start": "runs",
    "stream_response": "responses",
}


def __getattr__(name: str) -> Any:
    """Import the module of *name* when it is used: Django imports this package before models may be imported."""
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return all names, including those that are imported late."""
    return sorted({*globals(), *__all__})
