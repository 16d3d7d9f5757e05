"""The least that any client can do: a raw socket, httptools, msgspec, and with or without one attrs object an event.

None of this is fit for use. It knows this server and one answer at a time, has no deadlines and raises nothing. What it
leaves out is what a client costs.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import httptools
import msgspec

__all__ = ["Floor", "Pace"]

_PATHS = {"chat": "/conversation/0123456789abcdef01234567", "sse": "/v1/chat/completions", "tgi": "/generate_stream"}


class _Line(msgspec.Struct, gc=False):
    type: str
    token: str = ""


class _Delta(msgspec.Struct, gc=False):
    content: str = ""


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice]


class _Token(msgspec.Struct, gc=False):
    text: str
    special: bool


class _Generated(msgspec.Struct, gc=False):
    token: _Token


_decoders: dict[str, Any] = {
    "chat": msgspec.json.Decoder(_Line).decode_lines,
    "sse": msgspec.json.Decoder(_Chunk).decode_lines,
    "tgi": msgspec.json.Decoder(_Generated).decode_lines,
}


@attrs.define
class _Event:
    """What a user would get: the fields that hfclient's Token has."""

    text: str
    id: int | None = None
    logprob: float | None = None
    special: bool | None = None


class Pace:
    """What the events of a paced answer cost; each one's text is the time at which it was written.

    Attributes:
        delays: How long each event took to come here, in ns.
        cpu: This process's CPU time from the first event to the last, in seconds: without the request.
    """

    def __init__(self) -> None:
        self.delays: list[int] = []
        self.cpu = 0.0
        self._cpu_before = 0.0

    def note(self, text: str) -> None:
        """Take the text of the next event."""
        self.delays.append(time.monotonic_ns() - int(text.rstrip("\0")))
        cpu = time.process_time()
        if len(self.delays) == 1:
            self._cpu_before = cpu
        self.cpu = cpu - self._cpu_before


class _Body:
    """Collects what httptools finds."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.on_body = self.pieces.append
        self.over = False

    def on_message_complete(self) -> None:
        self.over = True


class Floor:
    """One connection, used again and again.

    Args:
        origin: Where the replay server is.
        objects: Make an attrs object of each event.
    """

    wires = ("chat", "sse", "tgi")
    leaf = ("known",)

    def __init__(self, origin: str, *, objects: bool) -> None:
        parts = urlsplit(origin)
        self._address = (parts.hostname or "", parts.port or 0)
        self._objects = objects
        self._socket: socket.socket | None = None

    def prepare(self, url: str, times: int, leaf: str) -> None:
        """Nothing has to be known before."""

    def close(self) -> None:
        """Let go of the connection."""
        if self._socket is not None:
            self._socket.close()

    def drain(self, wire: str, url: str) -> tuple[int, int]:
        """Return how many events with text came, and how many characters."""
        if self._objects:
            return self._drain_objects(wire, url)
        count = size = 0
        for lines in self._blocks(wire, url):
            if wire == "chat":
                for line in lines:
                    if line.type == "stream":
                        count += 1
                        size += len(line.token.replace("\0", ""))
            elif wire == "sse":
                for line in lines:
                    if line.choices and (text := line.choices[0].delta.content):
                        count += 1
                        size += len(text)
            else:
                for line in lines:
                    if not line.token.special:
                        count += 1
                        size += len(line.token.text)
        return count, size

    def _drain_objects(self, wire: str, url: str) -> tuple[int, int]:
        count = size = 0
        for lines in self._blocks(wire, url):
            if wire == "chat":
                events = [_Event(line.token.replace("\0", "")) for line in lines if line.type == "stream"]
            elif wire == "sse":
                events = [_Event(one.choices[0].delta.content) for one in lines if one.choices]
            else:
                events = [_Event(one.token.text) for one in lines if not one.token.special]
            for event in events:
                if event.text:
                    count += 1
                    size += len(event.text)
        return count, size

    def paced(self, wire: str, url: str) -> Pace:
        """Read one answer whose events come one by one."""
        pace = Pace()
        for lines in self._blocks(wire, url):
            for line in lines:
                text = line.token if wire == "chat" else line.choices[0].delta.content if line.choices else ""
                if text:
                    pace.note(_Event(text).text if self._objects else text)
        return pace

    def download(self, url: str, target: Path) -> None:
        """Save what is at *url*."""
        receive, feed, body = self._ask("GET", urlsplit(url).path + "/output/0123456789abcdef")
        with target.open("wb") as file:
            while not body.over:
                feed(receive(65536))
                file.writelines(body.pieces)
                body.pieces.clear()

    def _ask(self, method: str, target: str) -> tuple[Any, Any, _Body]:
        if self._socket is None:
            self._socket = socket.create_connection(self._address)
        self._socket.sendall(f"{method} {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        body = _Body()
        return self._socket.recv, httptools.HttpResponseParser(body).feed_data, body

    def _blocks(self, wire: str, url: str) -> Iterator[list[Any]]:
        """Yield the lines of an answer, as many at a time as have come."""
        receive, feed, body = self._ask("POST", urlsplit(url).path + _PATHS[wire])
        decode, pieces = _decoders[wire], body.pieces
        held = b""
        while not body.over:
            feed(receive(65536))
            held = b"".join([held, *pieces])
            pieces.clear()
            cut = len(held) if held.endswith(b"\n") else held.rfind(b"\n") + 1
            block, held = held[:cut], held[cut:]
            if wire != "chat":
                block = block.replace(b"data: ", b"").replace(b"\n\n", b"\n").removesuffix(b"[DONE]\n")
            if block:
                yield decode(block)
