"""Flask hooks for every request: checks of host and form origin, session cookie, error handlers; JSON bodies.

Reference: docs/protocol/huggingchat ("base URL, headers, cookies", "errors").
"""

from __future__ import annotations

import email.utils
import hashlib
import ipaddress
import json
import logging
import re
import socket
import time
import uuid
from collections.abc import Collection, Iterable
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
from flask import Flask, Response, g, redirect, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from hfclient.chat.wire import superjson
from hfclient.credentials import SESSION_COOKIE
from hfclient.local.error_responses import HTTPError, error_body, html_page, internal_error

__all__ = ["add_request_hooks", "as_json", "as_superjson", "json_body", "owner"]

_log = logging.getLogger("hfclient.local")
_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded", "text/plain")
_COOKIE = re.compile(r"[!#-+\--:<-\[\]-~]{1,1000}")  # RFC 6265, cookie-octet
_COOKIE_SECONDS = 14 * 24 * 3600
SERVER_USER = "user"
"""Owner of the conversations of the user who runs the server. Session cookies expire; the database stays."""


def owner() -> str:
    """Return the owner of this request's conversations: the hash of the session cookie, or `SERVER_USER`.

    The cookie itself is not stored.
    """
    session = hashlib.sha256(g.cookie.encode("utf-8", "replace")).hexdigest()
    return SERVER_USER if session in g.user_sessions else session


def json_body() -> Any:
    """Return the request's JSON body.

    Raises:
        HTTPError: 500 if it is not JSON, or has no content type: chat-ui does not read such a body.
    """
    if not request.content_type:
        raise internal_error()
    try:
        return json.loads(request.get_data())
    except (ValueError, RecursionError):
        raise internal_error() from None


def as_json(data: Any) -> Response:
    """Return a response with plain JSON."""
    return Response(msgspec.json.encode(data), content_type="application/json")


def as_superjson(data: Any) -> Response:
    """Return a response with superjson."""
    return as_json(superjson.encode(data))


def add_request_hooks(app: Flask, hosts: Iterable[str], user_sessions: Collection[str] = ()) -> None:
    """Add the checks of every request and the error handlers to *app*.

    Args:
        app: The application.
        hosts: Host names to accept, besides ``localhost``, this machine's name and IP addresses.
        user_sessions: SHA-256 of the session cookies of the user who runs the server; may grow.
    """
    known = {"localhost", socket.gethostname().lower(), *(host.lower() for host in hosts)}

    @app.before_request
    def check_request() -> Response | None:
        g.user_sessions = user_sessions
        g.cookie = request.cookies.get(SESSION_COOKIE) or str(uuid.uuid4())
        g.reached_route = False
        if not _is_known_host(request.host, known):
            # DNS rebinding: a page whose host name resolves to this machine must not read conversations.
            return Response("Unknown host name: add it to allowed_hosts", 403, content_type="text/plain")
        if (forbidden := _check_form_origin()) is not None:
            return forbidden
        path = request.path
        if path.endswith("/") and path != "/":
            query = f"?{request.query_string.decode('latin-1')}" if request.query_string else ""
            # Encoded, because browsers drop tabs and line ends and read a backslash as a slash: a path that starts with
            # two slashes would name another host.
            target = quote(path.strip("/"), safe="/:@!$&'()*+,;=~")
            return redirect(f"{request.script_root}/{target}{query}", 308)  # type: ignore[return-value]
        g.reached_route = request.url_rule is not None
        return None

    @app.after_request
    def add_headers(response: Response) -> Response:
        # Only the caller's own value: it identifies the caller.
        if request.method == "POST" and g.get("reached_route") and _COOKIE.fullmatch(g.cookie):
            until = email.utils.formatdate(time.time() + _COOKIE_SECONDS, usegmt=True)
            cookie = f"{SESSION_COOKIE}={g.cookie}; Path=/; Expires={until}; HttpOnly; SameSite=Lax"
            response.headers["Set-Cookie"] = cookie
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        return response

    @app.errorhandler(HTTPError)
    def http_error(error: HTTPError) -> Response:
        body, content_type = error_body(error, request.headers.get("Accept"))
        return Response(body, error.status, content_type=content_type)

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(error: RequestEntityTooLarge) -> Response:
        return http_error(internal_error(413))

    @app.errorhandler(MethodNotAllowed)
    def method_not_allowed(error: MethodNotAllowed) -> Response:
        allowed = ", ".join(sorted(set(error.valid_methods or ()) - {"OPTIONS"}))
        return Response(
            f"{request.method} method not allowed", 405, headers={"Allow": allowed}, content_type="text/plain"
        )

    @app.errorhandler(HTTPException)
    def other(error: HTTPException) -> Response:
        if error.code == 404:
            return Response(html_page(404, f"Page {request.path} not found"), 404, content_type="text/html; charset=utf-8")
        return http_error(internal_error(500 if error.code in (None, 400) else error.code))

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        _log.error("%s %s failed", request.method, request.path, exc_info=error)
        return http_error(internal_error())


def _is_known_host(host: str, known: set[str]) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in known or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True  # DNS rebinding needs a name


def _check_form_origin() -> Response | None:
    """Return a 403 for a form from another site: browsers send forms to any host, with the user's cookies."""
    if request.method != "POST" or request.mimetype not in _FORMS:
        return None
    origin = request.headers.get("Origin")
    if origin is None:
        return _forbidden("Non-JSON form requests need to have an origin")
    try:
        parts = urlsplit(origin)
        port = {"http": 80, "https": 443}.get(parts.scheme) if parts.port is None else parts.port
    except ValueError:
        raise internal_error() from None
    if not parts.scheme or not parts.hostname:
        raise internal_error()
    here = urlsplit(f"//{request.host}")
    own_port = here.port or (80 if parts.scheme == "http" else 443)
    if (parts.hostname, port) != (here.hostname, own_port):
        return _forbidden("Invalid referer for POST request")
    return None


def _forbidden(text: str) -> Response:
    """Return a 403 in the form that SvelteKit gives it before any handler."""
    if "application/json" in request.headers.get("Accept", "") or "application/json" in (request.content_type or ""):
        return Response(msgspec.json.encode({"error": text}), 403, content_type="application/json")
    return Response(text, 403, content_type="text/plain")
