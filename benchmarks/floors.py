"""The least that any client can do: a raw socket, the chunks undone, msgspec, and with or without one object an event.

None of this is fit for use. It trusts the replay server to put no CR LF into an event and to send whole chunks sooner or
later, raises nothing and knows one answer. What it leaves out is what a client costs.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import attrs
import msgspec

__all__ = ["Floor"]


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


_decoders = {
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


class Floor:
    """One connection, used again and again."""

    wires = ("chat", "sse", "tgi")

    def __init__(self, origin: str, *, objects: bool) -> None:
        parts = urlsplit(origin)
        self._address = (parts.hostname, parts.port)
        self._objects = objects
        self._socket: socket.socket | None = None

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

    def delays(self, url: str, wire: str) -> list[int]:
        """Return for each event of a paced answer how long it took to come here, in ns."""
        found = []
        for lines in self._blocks(wire, url):
            for line in lines:
                text = line.token if wire == "chat" else line.choices[0].delta.content if line.choices else ""
                if text:
                    found.append(time.monotonic_ns() - int(text.rstrip("\0")))
        return found

    def _blocks(self, wire: str, url: str) -> Iterator[list[object]]:
        if self._socket is None:
            self._socket = socket.create_connection(self._address)
        path = {
            "chat": "/conversation/0123456789abcdef01234567",
            "sse": "/v1/chat/completions",
            "tgi": "/generate_stream",
        }
        target = urlsplit(url).path + path[wire]
        self._socket.sendall(f"POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        decode = _decoders[wire]
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._socket.recv(65536)
        raw = data.partition(b"\r\n\r\n")[2]
        held = b""
        while True:
            # size, content, size, content, ..., and what is not complete yet
            parts = raw.split(b"\r\n")
            over = parts[-3:] == [b"0", b"", b""]
            if over:
                held += b"".join(parts[1:-3:2])
            elif len(parts) % 2:
                held += b"".join(parts[1:-1:2])
                raw = parts[-1]
            else:
                held += b"".join(parts[1:-2:2])
                raw = parts[-2] + b"\r\n" + parts[-1]
            cut = len(held) if held.endswith(b"\n") else held.rfind(b"\n") + 1
            block, held = held[:cut], held[cut:]
            if wire != "chat":
                block = block.replace(b"data: ", b"").replace(b"\n\n", b"\n").removesuffix(b"[DONE]\n")
            if block:
                yield decode(block)
            if over:
                return
            raw += self._socket.recv(65536)
