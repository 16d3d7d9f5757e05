"""The WSGI application: routes, the front door, and the path that all of it hangs below.

Reference: docs/protocol/huggingchat; chat-ui 0.20 of August 2026 is what it behaves like.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask

from hfclient.local.conversation_routes import conversation_routes
from hfclient.local.front import guard
from hfclient.local.parts import Parts
from hfclient.local.server_routes import server_routes
from hfclient.local.turn_routes import turn_routes

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["MAX_BODY", "create_app"]

MAX_BODY = 15_728_640
"""Most bytes of a request, as chat-ui has it by default."""


def create_app(parts: Parts, *, base_path: str = "", hosts: Iterable[str] = (), sessions: Collection[str] = ()) -> Flask:
    """Return the application.

    Args:
        parts: Store, runs and upstream.
        base_path: Path that everything lives below, such as ``"/chat"``; empty for none.
        hosts: Names by which the server may be addressed, besides ``localhost``, the machine's own name and IP addresses.
        sessions: Of the user who runs the server; see `guard`.
    """
    app = Flask("hfclient.local", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.config["MAX_FORM_MEMORY_SIZE"] = MAX_BODY  # Flask's own limit for a field is half a megabyte
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    guard(app, hosts, sessions)
    for routes in (server_routes(parts), conversation_routes(parts), turn_routes(parts)):
        app.register_blueprint(routes)
    if base_path:
        app.wsgi_app = _below(base_path, app.wsgi_app)  # type: ignore[method-assign, assignment]
    return app


def _below(base: str, inner: WSGIApplication) -> Callable[[WSGIEnvironment, StartResponse], Any]:
    """Return *inner*, moved below the path *base*; all else is "Not found"."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        path = environ.get("PATH_INFO", "")
        if path == base:
            start_response("308 Permanent Redirect", [("Location", base + "/"), ("Content-Length", "0")])
            return []
        if not path.startswith(base + "/"):
            start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "9")])
            return [b"Not found"]
        environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + base
        environ["PATH_INFO"] = path[len(base) :]
        return inner(environ, start_response)

    return application
