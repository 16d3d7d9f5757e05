"""What can go wrong with one request, as scripts for the server. Each takes a `Place` and returns what is played there."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

from attrs import frozen

from tests.faults.server import FaultServer, Good, took
from tests.server import CLOSE, HALF_CLOSE, LAST_CHUNK, RST, UNTIL_GONE, Server, Step, head, plain

Fault = Callable[["Place"], list[Step]]

_MEGABYTE = b"x" * (1 << 20)
_CHALLENGE = "<!DOCTYPE html><title>Just a moment...</title><script src='/cdn-cgi/challenge-platform/x'></script>"
_PAGE = b"<html><head><title>504 Gateway Time-out</title></head></html>\n"


@frozen
class Place:
    """Where something goes wrong.

    Attributes:
        kind: The kind of request.
        server: Who gets it.
        elsewhere: A server at another origin, whose every answer is the right one.
    """

    kind: str
    server: FaultServer
    elsewhere: Server

    @property
    def good(self) -> Good:
        return self.server.good(self.kind)

    @property
    def took(self) -> list[Step]:
        """The server takes the message over, if it is one."""
        return took(self.server, self.kind)


def played(*steps: Step) -> Fault:
    """Play *steps* instead of an answer."""
    return lambda place: [*place.took, *steps]


def in_head(end: Step) -> Fault:
    """Break off within the answer's head."""
    return lambda place: [*place.took, place.good.head()[:25], end]


def after_head(*ends: Step) -> Fault:
    """Break off between head and body."""
    return lambda place: [*place.took, place.good.head(), *ends]


def in_body(*ends: Step) -> Fault:
    """Break off in mid-line, after the first content."""
    return lambda place: [*place.took, place.good.first, *ends]


def alive(place: Place) -> list[Step]:
    """Send nothing but keep-alives."""
    return _kept_alive(place, b"")


def stalled(place: Place) -> list[Step]:
    """Send nothing but keep-alives after the first content."""
    good = place.good
    start = good.body[: good.cut]
    return _kept_alive(place, start[: start.rindex(b"\n") + 1] if good.streams else start)


def _kept_alive(place: Place, start: bytes) -> list[Step]:
    good = place.good
    length = None if good.streams else 10_000

    def steps(request: Any) -> Iterable[Step]:
        yield good.head(length=length)
        if start:
            yield good.piece(start)
        while True:
            yield good.piece(good.alive)
            yield 0.02

    return [*place.took, steps]  # type: ignore[list-item]


def body(change: Callable[[Good], bytes], *headers: str) -> Fault:
    """Answer with another body, whose length is as it says."""

    def script(place: Place) -> list[Step]:
        changed = change(place.good)
        mime = f"Content-Type: {place.good.mime}"
        return [*place.took, plain(changed, 200, *headers, *([] if "Content-Type" in "".join(headers) else [mime]))]

    return script


def in_mid_body(junk: Callable[[Good], bytes]) -> Fault:
    """Put *junk* where a line begins, or into what is no stream; what follows is as it was."""

    def change(good: Good) -> bytes:
        if good.streams:
            place = good.body.rindex(b"\n", 0, good.cut) + 1
        else:
            place = good.body.find(b":") + 1 if "json" in good.mime else good.cut
        return good.body[:place] + junk(good) + good.body[place:]

    return body(change)


def invalid_utf8(good: Good) -> bytes:
    """A line whose text is no UTF-8, in the form of the stream."""
    if "jsonl" in good.mime:
        return b'{"type":"stream","token":"\xff\xfe"}\n'
    step = b'{"choices":[{"index":0,"delta":{"content":"\xff\xfe"}}],"token":{"id":9,"text":"\xff\xfe","special":false}}'
    return b"data: " + step + b"\n\n" if good.streams else b"\xff\xfe"


def invalid_json(good: Good) -> bytes:
    """A line that is no JSON, in the form of the stream."""
    return (b'data: {"type":\n\n' if "event-stream" in good.mime else b'{"type":\n')


def packed(good: Good) -> bytes:
    """The body as gzip, but only half of it."""
    whole = gzip.compress(good.body, mtime=0)
    return whole[: len(whole) // 2]


def length(said: Callable[[Good], int], end: Step) -> Fault:
    """A Content-Length that is wrong."""

    def script(place: Place) -> list[Step]:
        good = place.good
        return [*place.took, good.head(length=said(good)), good.body, end]

    return script


def chunks(write: Callable[[Good], bytes]) -> Fault:
    """A chunked body that *write* makes wrong."""

    def script(place: Place) -> list[Step]:
        good = place.good
        coding = head(200, f"Content-Type: {good.mime}", "Transfer-Encoding: chunked")
        return [*place.took, coding, write(good), LAST_CHUNK, CLOSE]

    return script


def long_line(place: Place) -> list[Step]:
    """A hundred megabytes in one line."""
    good = place.good
    start = good.body[: good.cut]
    size = len(start) + 100 * len(_MEGABYTE)
    begin = [good.head(), b"%x\r\n" % size] if good.streams else [good.head(length=size)]
    return [*place.took, *begin, start, *[_MEGABYTE] * 100]


def promise(place: Place) -> list[Step]:
    """A Content-Length of four gigabytes over an answer that is all there will be."""
    return [*place.took, place.good.head(length=4 << 30), place.good.body, CLOSE]


def loop(place: Place) -> list[Step]:
    """Lead back to where the request came to."""
    return [lambda request: head(307, f"Location: {request.target}", "Content-Length: 0")]


def early(*lines: bytes) -> Fault:
    """Say something before the answer."""
    return lambda place: [*place.took, *lines, *place.good.whole()]


def status(code: int, data: Any = None, *headers: str) -> Fault:
    """Answer with a status and, as JSON, the reason."""
    text = json.dumps({"error": f"status {code}"} if data is None else data)

    def script(place: Place) -> list[Step]:
        kept = [header.format(date=_soon()) for header in headers]
        return [plain(text, code, "Content-Type: application/json", *kept)]

    return script


def _soon() -> str:
    return format_datetime(datetime.now(timezone.utc) + timedelta(hours=1), usegmt=True)


def page(code: int, text: str) -> Fault:
    """Answer with a page."""
    return lambda place: [plain(text, code, "Content-Type: text/html")]


def redirect(code: int, where: str) -> Fault:
    """Lead elsewhere."""

    def script(place: Place) -> list[Step]:
        to = where.format(here=place.server.url, elsewhere=place.elsewhere.url)
        return [head(code, f"Location: {to}", "Content-Length: 0")]

    return script


def refused(place: Place) -> list[Step]:
    """Nobody listens; what the tests do about it they do themselves."""
    return []


FIN, RESET, HALF, SILENCE = CLOSE, RST, HALF_CLOSE, UNTIL_GONE
CHALLENGE, PAGE = _CHALLENGE, _PAGE
CONTINUE, HINTS = b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
UPGRADE, EMPTY = head(101, "Upgrade: x", "Connection: upgrade"), head(204)
