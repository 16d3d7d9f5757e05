"""What every request passes before its handler, and every answer after it: hosts, form origins, sessions, error shapes.

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
from hfclient.local.refusals import Refused, broken, error_body, page

__all__ = ["as_json", "as_superjson", "guard", "json_body", "owner"]

_log = logging.getLogger("hfclient.local")
_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded", "text/plain")
_COOKIE = re.compile(r"[!#-+\--:<-\[\]-~]{1,1000}")  # RFC 6265, cookie-octet
_COOKIE_LIFE = 14 * 24 * 3600
THE_USER = "user"
"""Owner of what the user who runs the server has, whatever cookie it is done with: cookies end, the database stays."""


def owner() -> str:
    """Return whose request this is: the hash of the session cookie, or the one owner whom `guard` was told of.

    The cookie itself is stored nowhere.
    """
    found = hashlib.sha256(g.cookie.encode("utf-8", "replace")).hexdigest()
    return THE_USER if found in g.sessions else found


def json_body() -> Any:
    """Return the request's JSON body.

    Raises:
        Refused: 500 if it is no JSON, or has no content type, in which case chat-ui does not look at it.
    """
    if not request.content_type:
        raise broken()
    try:
        return json.loads(request.get_data())
    except (ValueError, RecursionError):
        raise broken() from None


def as_json(data: Any) -> Response:
    """Return an answer of plain JSON."""
    return Response(msgspec.json.encode(data), content_type="application/json")


def as_superjson(data: Any) -> Response:
    """Return an answer of superjson."""
    return as_json(superjson.encode(data))


def guard(app: Flask, hosts: Iterable[str], sessions: Collection[str] = ()) -> None:
    """Put the front door into *app*.

    Args:
        app: The application.
        hosts: Names under which the server may be addressed, besides ``localhost``, this machine's name and IP addresses.
        sessions: SHA-256 of the session cookies of the user who runs the server; may grow.
    """
    known = {"localhost", socket.gethostname().lower(), *(host.lower() for host in hosts)}

    @app.before_request
    def enter() -> Response | None:
        g.sessions = sessions
        g.cookie = request.cookies.get(SESSION_COOKIE) or str(uuid.uuid4())
        g.entered = False
        if not _is_known_host(request.host, known):
            # A page on the internet whose name was pointed at this machine must not read what is here.
            return Response("This server does not go by that name", 403, content_type="text/plain")
        if (refusal := _foreign_form()) is not None:
            return refusal
        path = request.path
        if path.endswith("/") and path != "/":
            query = f"?{request.query_string.decode('latin-1')}" if request.query_string else ""
            # Encoded, because browsers leave out tabs and line ends and read a backslash as a slash: two slashes in front
            # would name another host.
            there = quote(path.strip("/"), safe="/:@!$&'()*+,;=~")
            return redirect(f"{request.script_root}/{there}{query}", 308)  # type: ignore[return-value]
        g.entered = request.url_rule is not None
        return None

    @app.after_request
    def leave(response: Response) -> Response:
        # Never another value than the caller's own: it is who the caller is.
        if request.method == "POST" and g.get("entered") and _COOKIE.fullmatch(g.cookie):
            until = email.utils.formatdate(time.time() + _COOKIE_LIFE, usegmt=True)
            cookie = f"{SESSION_COOKIE}={g.cookie}; Path=/; Expires={until}; HttpOnly; SameSite=Lax"
            response.headers["Set-Cookie"] = cookie
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        return response

    @app.errorhandler(Refused)
    def refuse(refusal: Refused) -> Response:
        body, content_type = error_body(refusal, request.headers.get("Accept"))
        return Response(body, refusal.status, content_type=content_type)

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(error: RequestEntityTooLarge) -> Response:
        return refuse(broken(413))

    @app.errorhandler(MethodNotAllowed)
    def wrong_method(error: MethodNotAllowed) -> Response:
        allowed = ", ".join(sorted(set(error.valid_methods or ()) - {"OPTIONS"}))
        return Response(
            f"{request.method} method not allowed", 405, headers={"Allow": allowed}, content_type="text/plain"
        )

    @app.errorhandler(HTTPException)
    def other(error: HTTPException) -> Response:
        if error.code == 404:
            return Response(page(404, f"Page {request.path} not found"), 404, content_type="text/html; charset=utf-8")
        return refuse(broken(500 if error.code in (None, 400) else error.code))

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        _log.error("%s %s failed", request.method, request.path, exc_info=error)
        return refuse(broken())


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
    return True  # an address cannot be pointed elsewhere, as a name can


def _foreign_form() -> Response | None:
    """Refuse a form that another site's page may have sent: browsers send forms anywhere, with the user's cookies."""
    if request.method != "POST" or request.mimetype not in _FORMS:
        return None
    origin = request.headers.get("Origin")
    if origin is None:
        return _front_door("Non-JSON form requests need to have an origin")
    try:
        parts = urlsplit(origin)
        port = {"http": 80, "https": 443}.get(parts.scheme) if parts.port is None else parts.port
    except ValueError:
        raise broken() from None
    if not parts.scheme or not parts.hostname:
        raise broken()
    here = urlsplit(f"//{request.host}")
    own_port = here.port or (80 if parts.scheme == "http" else 443)
    if (parts.hostname, port) != (here.hostname, own_port):
        return _front_door("Invalid referer for POST request")
    return None


def _front_door(text: str) -> Response:
    """Return a 403 in the shape of chat-ui's checks before any handler."""
    if "application/json" in request.headers.get("Accept", "") or "application/json" in (request.content_type or ""):
        return Response(msgspec.json.encode({"error": text}), 403, content_type="application/json")
    return Response(text, 403, content_type="text/plain")
