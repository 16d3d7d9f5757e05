"""A `ChatUI` behind a gateway, below a base path, with an origin of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from attrs import evolve

from tests.chat.replay import ChatUI, final, lines, token
from tests.server import Recorded, Step, json_answer, plain

Reply = Callable[[Recorded], "bytes | None"]
"""Returns the answer of the gateway, or None to pass a request on."""

NO_PAGE = "<!doctype html><html><head><title>404 Not Found</title></head></html>"
HELLO = lines(token("Hello."), final("Hello."))


class Gateway(ChatUI):
    """The gateway and the server behind it.

    Attributes:
        reply: The gateway's answer to a request; None passes it on.
        base: The base path; other paths do not exist.
        own_host: The host that the Origin of a form must name; None takes the one in the header Host.
        public_origin: The server's origin in its configuration.
        page_origin: The server's origin on its page.
        set_cookie: Headers that creating a conversation sets.
        sees_tokens: A token without a cookie below ``/api/`` fails, as it does where the Hub does not know it.
    """

    def __init__(self) -> None:
        self.reply: Reply = lambda request: None
        self.base = ""
        self.own_host: str | None = None
        self.public_origin = ""
        self.page_origin = ""
        self.set_cookie: list[str] = []
        self.sees_tokens = False
        super().__init__()
        self.says(HELLO)

    def _route(self, request: Recorded) -> Iterable[Step]:
        refused = self.reply(request)
        if refused is None and not request.path.startswith(f"{self.base}/"):
            refused = plain(NO_PAGE, 404, "Content-Type: text/html")
        if refused is None:
            request = evolve(request, target=request.target.removeprefix(self.base))
            refused = self._own_route(request)
        if refused is not None:
            return [refused]
        answer = list(super()._route(request))
        if self.set_cookie and request.path == "/conversation" and isinstance(answer[0], bytes):
            begin, end = answer[0].split(b"\r\n", 1)
            answer[0] = b"\r\n".join([begin, *(f"Set-Cookie: {one}".encode() for one in self.set_cookie), end])
        return answer

    def _own_route(self, request: Recorded) -> bytes | None:
        headers = request.headers
        if (
            self.sees_tokens
            and "cookie" not in headers
            and "authorization" in headers
            and request.path.startswith("/api/")
        ):
            return json_answer({"message": "An error occurred", "errorId": "1"}, 500)
        if request.method == "POST" and headers.get("content-type", "").startswith("multipart/form-data"):
            _, _, host = headers.get("origin", "").partition("://")
            if host != (self.own_host or headers["host"]):
                return json_answer({"error": "Invalid referer for POST request"}, 403)
        if request.path == "/api/v2/public-config":
            return json_answer({"json": {"PUBLIC_ORIGIN": self.public_origin}})
        if request.path == "/api/v2/user":
            return json_answer({"json": None})
        if request.path == "/healthcheck":
            return plain("OK")
        if request.path == "/" and self.page_origin:
            page = f'<html><head><meta property="og:url" content="{self.page_origin}"/></head></html>'
            return plain(page, 200, "Content-Type: text/html")
        return None

    def origins(self) -> list[str | None]:
        """The header Origin of each message."""
        return [request.headers.get("origin") for request in self.requests if _is_form(request)]

    def cookies(self) -> list[str]:
        """The header Cookie of each request."""
        return [request.headers.get("cookie", "") for request in self.requests]


def _is_form(request: Recorded) -> bool:
    return request.headers.get("content-type", "").startswith("multipart/form-data")


def page(title: str, status: int = 200, body: str = "", *headers: str) -> bytes:
    """An answer that is a page."""
    text = f"<!doctype html><html><head><title>{title}</title></head><body>{body}</body></html>"
    return plain(text, status, "Content-Type: text/html", *headers)


def moved(place: str, status: int = 301) -> Reply:
    """A redirect of everything to the same path at *place*."""
    return lambda request: plain("", status, f"Location: {place}{request.target}")


def always(answer: bytes) -> Reply:
    """The same answer to everything."""
    return lambda request: answer


def refusal(data: object, status: int = 404) -> bytes:
    """A refusal in JSON."""
    return plain(json.dumps(data), status, "Content-Type: application/json")
