"""Faults of one request, as scripts for the server. Each function takes a `Target` and returns the steps to play."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

from attrs import frozen

from tests.clock import PassingTime
from tests.faults.server import FaultServer, Good, accept_message
from tests.server import CLOSE, HALF_CLOSE, LAST_CHUNK, RST, UNTIL_GONE, Server, Step, head, plain

Fault = Callable[["Target"], list[Step]]

_MEGABYTE = b"x" * (1 << 20)
_CHALLENGE = "<!DOCTYPE html><title>Just a moment...</title><script src='/cdn-cgi/challenge-platform/x'></script>"
_PAGE = b"<html><head><title>504 Gateway Time-out</title></head></html>\n"


@frozen
class Target:
    """The request that a fault hits.

    Attributes:
        kind: The kind of request.
        server: The server that receives it.
        elsewhere: A server at another origin, without faults.
        time: That of deadlines.
    """

    kind: str
    server: FaultServer
    elsewhere: Server
    time: PassingTime

    @property
    def good(self) -> Good:
        return self.server.good(self.kind)

    @property
    def accept_message(self) -> list[Step]:
        """The server stores the message, if the request is one."""
        return accept_message(self.server, self.kind)


def play(*steps: Step) -> Fault:
    """Play *steps* instead of a response."""
    return lambda target: [*target.accept_message, *steps]


def in_headers(end: Step) -> Fault:
    """End in the middle of the headers."""
    return lambda target: [*target.accept_message, target.good.head()[:25], end]


def after_headers(*ends: Step) -> Fault:
    """End between headers and body."""
    return lambda target: [*target.accept_message, target.good.head(), *ends]


def in_body(*ends: Step) -> Fault:
    """End in the middle of a line, after the first content."""
    return lambda target: [*target.accept_message, target.good.first, *ends]


_GENERATES = {"send", "completions", "generate", "embed", "images"}  # requests with a deadline for content


def keep_alives(target: Target) -> list[Step]:
    """Send only keep-alives."""
    return _kept_alive(target, b"")


def stalled(target: Target) -> list[Step]:
    """Send only keep-alives after the first content."""
    good = target.good
    start = good.body[: good.cut]
    return _kept_alive(target, start[: start.rindex(b"\n") + 1] if good.streams else start)


def _kept_alive(target: Target, start: bytes) -> list[Step]:
    good = target.good
    length = None if good.streams else 10_000
    seconds = 1 if target.kind in _GENERATES else 1000  # after each one

    def steps(request: Any) -> Iterable[Step]:
        yield good.head(length=length)
        if start:
            yield good.piece(start)
        while True:
            yield good.piece(good.alive)
            if target.time.reading.is_set():
                target.time.advance(seconds)
            yield 0.02

    return [*target.accept_message, steps]  # type: ignore[list-item]


def body(change: Callable[[Good], bytes], *headers: str) -> Fault:
    """Respond with another body, and its right length."""

    def script(target: Target) -> list[Step]:
        changed = change(target.good)
        mime = f"Content-Type: {target.good.mime}"
        return [*target.accept_message, plain(changed, 200, *headers, *([] if "Content-Type" in "".join(headers) else [mime]))]

    return script


def in_mid_body(junk: Callable[[Good], bytes]) -> Fault:
    """Insert *junk* at the start of a line, or into a body that is not a stream; the rest is unchanged."""

    def change(good: Good) -> bytes:
        if good.streams:
            position = good.body.rindex(b"\n", 0, good.cut) + 1
        else:
            position = good.body.find(b":") + 1 if "json" in good.mime else good.cut
        return good.body[:position] + junk(good) + good.body[position:]

    return body(change)


def invalid_utf8(good: Good) -> bytes:
    """A line whose text is not UTF-8, in the format of the stream."""
    if "jsonl" in good.mime:
        return b'{"type":"stream","token":"\xff\xfe"}\n'
    step = b'{"choices":[{"index":0,"delta":{"content":"\xff\xfe"}}],"token":{"id":9,"text":"\xff\xfe","special":false}}'
    return b"data: " + step + b"\n\n" if good.streams else b"\xff\xfe"


def invalid_json(good: Good) -> bytes:
    """A line that is not JSON, in the format of the stream."""
    return (b'data: {"type":\n\n' if "event-stream" in good.mime else b'{"type":\n')


def half_gzip(good: Good) -> bytes:
    """The first half of the body as gzip."""
    whole = gzip.compress(good.body, mtime=0)
    return whole[: len(whole) // 2]


def length(length_of: Callable[[Good], int], end: Step) -> Fault:
    """A wrong Content-Length."""

    def script(target: Target) -> list[Step]:
        good = target.good
        return [*target.accept_message, good.head(length=length_of(good)), good.body, end]

    return script


def chunks(write: Callable[[Good], bytes]) -> Fault:
    """A chunked body that *write* makes invalid."""

    def script(target: Target) -> list[Step]:
        good = target.good
        coding = head(200, f"Content-Type: {good.mime}", "Transfer-Encoding: chunked")
        return [*target.accept_message, coding, write(good), LAST_CHUNK, CLOSE]

    return script


def long_line(target: Target) -> list[Step]:
    """A hundred megabytes in one line."""
    good = target.good
    start = good.body[: good.cut]
    size = len(start) + 100 * len(_MEGABYTE)
    begin = [good.head(), b"%x\r\n" % size] if good.streams else [good.head(length=size)]
    later: Step = lambda _: target.time.advance(0.1)  # noqa: E731 (a reader waits no longer for the end of what it does not need)
    return [*target.accept_message, *begin, start, *[_MEGABYTE, later] * 100, SILENCE]


def huge_length(target: Target) -> list[Step]:
    """A Content-Length of four gigabytes for a short body."""
    return [*target.accept_message, target.good.head(length=4 << 30), target.good.body, CLOSE]


def redirect_loop(target: Target) -> list[Step]:
    """Redirect to the same URL."""
    return [lambda request: head(307, f"Location: {request.target}", "Content-Length: 0")]


def before_response(*lines: bytes) -> Fault:
    """Send *lines* before the response."""
    return lambda target: [*target.accept_message, *lines, *target.good.whole()]


def status(code: int, data: Any = None, *headers: str) -> Fault:
    """Respond with a status and, as JSON, the reason."""
    text = json.dumps({"error": f"status {code}"} if data is None else data)

    def script(target: Target) -> list[Step]:
        kept = [header.format(date=_soon()) for header in headers]
        return [plain(text, code, "Content-Type: application/json", *kept)]

    return script


def loading(target: Target) -> list[Step]:
    """Respond that the model is being loaded; a second passes."""
    text = json.dumps({"error": "loading", "estimated_time": 0.01})
    return [lambda _: target.time.advance(1), plain(text, 503, "Content-Type: application/json")]


def _soon() -> str:
    return format_datetime(datetime.now(timezone.utc) + timedelta(hours=1), usegmt=True)


def page(code: int, text: str) -> Fault:
    """Respond with an HTML page."""
    return lambda target: [plain(text, code, "Content-Type: text/html")]


def redirect(code: int, where: str) -> Fault:
    """Redirect."""

    def script(target: Target) -> list[Step]:
        to = where.format(here=target.server.url, elsewhere=target.elsewhere.url)
        return [head(code, f"Location: {to}", "Content-Length: 0")]

    return script


def refused(target: Target) -> list[Step]:
    """No server listens; the tests stop it themselves."""
    return []


FIN, RESET, HALF, SILENCE = CLOSE, RST, HALF_CLOSE, UNTIL_GONE
CHALLENGE, PAGE = _CHALLENGE, _PAGE
CONTINUE, HINTS = b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
UPGRADE, EMPTY = head(101, "Upgrade: x", "Connection: upgrade"), head(204)
