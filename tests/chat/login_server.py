"""A scripted chat-ui with logins: cookies, tokens, refusals, redirects.

It behaves as chat-ui 0.20 with hf.co's configuration does (docs/protocol/huggingchat): a session is valid with its second
cookie only; anonymous requests get empty lists, a 401, or a redirect to a login page with an anonymous cookie; tokens are
accepted below ``/api/`` without a session cookie.
"""

from __future__ import annotations

import itertools
import json
import threading
from http.cookies import SimpleCookie
from typing import Any

from attrs import evolve

from hfclient.transport import Deadline, Request, Response, Transport
from tests.server import Recorded, Server, json_answer, plain

CONVERSATION = "65f000000000000000000001"
PROVIDER = "https://provider.example/oauth/authorize?state=secret-state"
GENERIC = {"message": "An error occurred", "errorId": "8e1f7b2a-0000-4000-8000-000000000000"}

ANN = {"id": "6b0112bce864afa729d50bca", "username": "ann", "email": "ann@example.com", "isAdmin": False}
BOB = {"id": "6b0112bce864afa729d50bcb", "username": "bob", "email": None, "isAdmin": False}

_ROOT = {"id": "5e097ef1-bb47-4631-944b-4696fc8d0a69", "from": "system", "content": "", "children": []}
_STATE = {"messages": [_ROOT], "title": "Ann's", "model": "org/one", "rootMessageId": _ROOT["id"]}


class LoginServer:
    """Answers every request below *base* of a `Server`.

    Attributes:
        sessions: Users by session cookie and second cookie.
        tokens: Users by token.
        titles: The titles of each user's conversations.
        enabled: Whether the server has logins.
        automatic: Every anonymous request is redirected to the login page (AUTOMATIC_LOGIN).
        rotate_to: Cookies that the next writes set, instead of renewing the request's own; "" renews.
        user_answer: The answer of ``/api/v2/user``, if it is to fail.
        created: The users who created conversations.
    """

    def __init__(self, server: Server, base: str = "/chat") -> None:
        self.server = server
        self.base = base
        self.url = server.url + base
        self.sessions: dict[tuple[str, str], dict[str, Any]] = {("s1", "t1"): ANN, ("s2", "t2"): BOB}
        self.tokens = {"hf_ann": ANN}
        self.titles = {ANN["id"]: ["Ann's"], BOB["id"]: []}
        self.enabled = True
        self.automatic = False
        self.rotate_to: list[str] = []
        self.user_answer: bytes | None = None
        self.created: list[str] = []
        self._anonymous = itertools.count(1)
        self._lock = threading.Lock()
        server.on("*", [self._answer])

    def asked(self, path: str = "/api/v2/user") -> int:
        """The number of requests for *path*."""
        return sum(request.path == self.base + path for request in self.server.requests)

    def paths(self) -> list[str]:
        """Method and path of every request, without the base."""
        return [f"{request.method} {request.path.removeprefix(self.base)}" for request in self.server.requests]

    def cookies(self, index: int = -1) -> dict[str, str]:
        """The cookies of a request."""
        return _cookies(self.server.requests[index])

    def _user(self, request: Recorded, path: str) -> dict[str, Any] | None:
        cookies = _cookies(request)
        if "hf-chat" in cookies:
            return self.sessions.get((cookies["hf-chat"], cookies.get("token", "")))
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if bearer and path.startswith("/api/"):
            if bearer not in self.tokens:
                raise LookupError
            return self.tokens[bearer]
        return None

    def _answer(self, request: Recorded) -> bytes:
        with self._lock:
            path = request.path.removeprefix(self.base)
            if path == "/healthcheck":
                return plain("OK")
            try:
                user = self._user(request, path)
            except LookupError:
                return json_answer(GENERIC, 500)
            if self.automatic and user is None:
                return self._to_login()
            if request.method == "GET":
                return self._read(path, user)
            return self._write(request, path, user)

    def _read(self, path: str, user: dict[str, Any] | None) -> bytes:
        if path == "/api/v2/user":
            return self.user_answer or json_answer({"json": user})
        if path == "/api/v2/feature-flags":
            return json_answer({"json": {"loginEnabled": self.enabled, "transcriptionEnabled": False}})
        if path == "/api/v2/models":
            return json_answer({"json": [{"id": "org/one"}]})
        if path == "/api/v2/conversations":
            titles = self.titles[user["id"]] if user else []
            found = [{"id": f"{number:024x}", "title": title} for number, title in enumerate(titles)]
            return json_answer({"json": {"conversations": found, "hasMore": False}})
        if path == f"/api/v2/conversations/{CONVERSATION}":
            if user is None:
                return json_answer({"message": "You don't have access to this conversation."}, 403)
            return json_answer({"json": _STATE})
        return json_answer({"message": "Conversation not found"}, 404)

    def _write(self, request: Recorded, path: str, user: dict[str, Any] | None) -> bytes:
        if path == "/logout":
            for key in [key for key in self.sessions if key[0] == _cookies(request).get("hf-chat")]:
                del self.sessions[key]
            gone = "Set-Cookie: hf-chat=; Max-Age=0; Path=/"
            return plain(b"", 302, f"Location: {self.base}/", gone)
        if user is None and self.enabled:
            if path == "/conversation":
                return self._to_login()
            return json_answer({"error": "You have to be logged in."}, 401)
        cookie = self._set_cookie(request)
        if path == "/conversation":
            self.created.append(user["username"] if user else "anonymous")
            created = {"conversationId": CONVERSATION, "conversation": json.dumps({"json": _STATE})}
            return json_answer(created, 200, cookie)
        return json_answer({"json": {"success": True}}, 200, cookie)

    def _to_login(self) -> bytes:
        anonymous = f"Set-Cookie: hf-chat=anonymous-{next(self._anonymous)}; Path=/"
        return plain(b"", 302, f"Location: {PROVIDER}", anonymous)

    def _set_cookie(self, request: Recorded) -> str:
        value = _cookies(request).get("hf-chat", "f" * 64)  # a token's session: 64 hex digits
        if self.rotate_to:
            value = self.rotate_to.pop(0) or value
        return f"Set-Cookie: hf-chat={value}; Path=/; Expires=Sat, 05 Dec 2099 03:25:37 GMT; HttpOnly; SameSite=Lax"


def _cookies(request: Recorded) -> dict[str, str]:
    return {name: morsel.value for name, morsel in SimpleCookie(request.headers.get("cookie", "")).items()}


class Elsewhere:
    """A transport that brings what is meant for one origin to another: huggingface.co can be played on loopback."""

    def __init__(self, inner: Transport, origin: str, there: str) -> None:
        self._inner, self._origin, self._there = inner, origin, there

    def open(self, request: Request, headers: Any, deadline: Deadline) -> Response:
        assert request.url.startswith(self._origin), request.url
        return self._inner.open(evolve(request, url=request.url.replace(self._origin, self._there, 1)), headers, deadline)

    def close(self) -> None:
        self._inner.close()
