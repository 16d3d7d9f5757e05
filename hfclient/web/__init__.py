"""Answers of hfclient in web applications: bodies for WSGI and ASGI, errors as responses, answers that outlive a request, limits.

This package uses the public API of hfclient only, and `import hfclient` does not import it. `hfclient.web.flask` and
`hfclient.web.django` are imported only by applications that use them.
"""

import importlib
from typing import TYPE_CHECKING, Any

import hfclient.redaction.logs  # noqa: F401 (installs the filter of the loggers)

if TYPE_CHECKING:
    from hfclient.web.admission import Admission, Watched
    from hfclient.web.allowances import Allowance
    from hfclient.web.asgi import asgi_events
    from hfclient.web.bodies import Body, ndjson, sse, text
    from hfclient.web.connection_checks import check_connections
    from hfclient.web.guard import Guard
    from hfclient.web.prices import RouterPrices
    from hfclient.web.problems import Kind, Problem, problem
    from hfclient.web.relay.follower import Follower
    from hfclient.web.relay.memory import MemoryStore
    from hfclient.web.relay.redis_store import RedisStore
    from hfclient.web.relay.relay import Relay
    from hfclient.web.relay.runs import Run
    from hfclient.web.users import Clients

_MODULES = {
    "Admission": "admission",
    "Allowance": "allowances",
    "Body": "bodies",
    "Clients": "users",
    "Follower": "relay.follower",
    "Guard": "guard",
    "Kind": "problems",
    "MemoryStore": "relay.memory",
    "Problem": "problems",
    "RedisStore": "relay.redis_store",
    "Relay": "relay.relay",
    "RouterPrices": "prices",
    "Run": "relay.runs",
    "Watched": "admission",
    "asgi_events": "asgi",
    "check_connections": "connection_checks",
    "ndjson": "bodies",
    "problem": "problems",
    "sse": "bodies",
    "text": "bodies",
}
"""The module of each name."""

__all__ = [
    "Admission",
    "Allowance",
    "Body",
    "Clients",
    "Follower",
    "Guard",
    "Kind",
    "MemoryStore",
    "Problem",
    "RedisStore",
    "Relay",
    "RouterPrices",
    "Run",
    "Watched",
    "asgi_events",
    "check_connections",
    "ndjson",
    "problem",
    "sse",
    "text",
]


def __getattr__(name: str) -> Any:
    """Import the module of a name when the name is used: an application needs few of them."""
    if name in _MODULES:
        return getattr(importlib.import_module(f"hfclient.web.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return all names, including those that are imported late, for completion in a shell."""
    return sorted({*globals(), *__all__})
