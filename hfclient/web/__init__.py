"""Answers of hfclient in web applications: bodies for WSGI and ASGI, errors as responses, answers that outlive a request, limits.

This package uses the public API of hfclient only, and `import hfclient` does not import it. `hfclient.web.flask` and
`hfclient.web.django` are imported only by applications that use them.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hfclient.web.admission import Admission, Watched
    from hfclient.web.allowances import Allowance
    from hfclient.web.asgi import asgi_events
    from hfclient.web.bodies import Body, ndjson, sse, text
    from hfclient.web.guard import Guard
    from hfclient.web.prices import RouterPrices
    from hfclient.web.problems import Kind, Problem, problem

_MODULES = {
    "Admission": "admission",
    "Allowance": "allowances",
    "Body": "bodies",
    "Guard": "guard",
    "Kind": "problems",
    "Problem": "problems",
    "RouterPrices": "prices",
    "Watched": "admission",
    "asgi_events": "asgi",
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
    "Guard",
    "Kind",
    "Problem",
    "RouterPrices",
    "Watched",
    "asgi_events",
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
