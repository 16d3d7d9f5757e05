"""The WSGI application: routes, request hooks, and the base path.

Reference: docs/protocol/huggingchat; it behaves like chat-ui 0.20 of August 2026.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask

from hfclient.local.backend import Backend
from hfclient.local.conversation_routes import conversation_routes
from hfclient.local.message_routes import message_routes
from hfclient.local.request_hooks import add_request_hooks
from hfclient.local.server_routes import server_routes

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["MAX_BODY", "create_app"]

MAX_BODY = 15_728_640
"""Maximum bytes of a request body; chat-ui's default."""


def create_app(
    backend: Backend, *, base_path: str = "", hosts: Iterable[str] = (), user_sessions: Collection[str] = ()
) -> Flask:
    """Return the application.

    Args:
        backend: Store, running generations and upstream.
        base_path: Path prefix of all routes, such as ``"/chat"``; empty for none.
        hosts, user_sessions: See `add_request_hooks`.
    """
    app = Flask("hfclient.local", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.config["MAX_FORM_MEMORY_SIZE"] = MAX_BODY  # Flask's default for one field is 500 kB
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    add_request_hooks(app, hosts, user_sessions)
    for routes in (server_routes(backend), conversation_routes(backend), message_routes(backend)):
        app.register_blueprint(routes)
    if base_path:
        app.wsgi_app = _under_base_path(base_path, app.wsgi_app)  # type: ignore[method-assign, assignment]
    return app


def _under_base_path(base: str, inner: WSGIApplication) -> Callable[[WSGIEnvironment, StartResponse], Any]:
    """Return *inner* under the path prefix *base*; other paths are 404."""

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
