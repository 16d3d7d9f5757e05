"""Undoes gzip and deflate, and knows whether the packed bytes were all there.

urllib3 and libcurl take a packed body that ends too early for a whole one, as long as HTTP's own framing is in order: a
proxy whose server died while it packed, for instance. A text that is cut like that shows at once, a file does not.

Reference: RFC 9110, section 8.4.1; RFC 1952, section 2.2 (several members in a row).
"""

from __future__ import annotations

import zlib

from hfclient.errors import ConnectError, ProtocolError
from hfclient.transport.response import Body, Headers

__all__ = ["Unpacked", "is_ours", "unpacked"]

_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS
_AT_ONCE = 1024 * 1024  # bytes that are unpacked at a time: a few can become a thousand times as many
_CODINGS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}


def unpacked(body: Body, headers: Headers) -> Body:
    """Return what gives the content of *body*, which came as it was on the wire; itself if it is not packed."""
    return Unpacked(body, _CODINGS[_coding(headers)]) if is_ours(headers) else body


def is_ours(headers: Headers) -> bool:
    """Whether an answer with these headers is packed in a way that is undone here."""
    return _coding(headers) in _CODINGS


def _coding(headers: Headers) -> str:
    return headers.get("content-encoding", "").strip().lower()


class Unpacked:
    """A `Body` that unpacks another one as it comes.

    Args:
        body: The packed bytes.
        window: zlib's *wbits*, which tell the format.
    """

    def __init__(self, body: Body, window: int) -> None:
        self._body = body
        self._window = window
        self._zlib = zlib.decompressobj(window)
        self._rest = b""
        self._start = b""  # the first byte of what two bytes tell: a format, or whether another member follows
        self._begun = self._full = self._over = False

    def read_some(self) -> bytes:
        """Return the next bytes; see `Body.read_some`.

        Raises:
            ProtocolError: The packed bytes are damaged.
            ConnectError: They end too early.
        """
        while True:
            data = self._rest
            if not data and not self._full:
                data = self._body.read_some()
                if not data:
                    if self._start == b"\x1f" or ((self._begun or self._start) and not self._zlib.eof):
                        raise ConnectError("the connection failed: the packed answer ended before it was complete")
                    return b""
            if out := self._unpack(data):
                return out

    def _unpack(self, data: bytes) -> bytes:
        if self._zlib.eof or not self._begun:
            data, self._start, self._rest = self._start + data, b"", b""
            if len(data) < 2 and not self._over:
                self._start = data
                return b""
        if self._zlib.eof:
            if self._over or self._window != _GZIP or not data.startswith(b"\x1f\x8b"):
                self._over = True
                return b""  # padding, which some servers add
            self._zlib = zlib.decompressobj(self._window)
        try:
            out = self._zlib.decompress(data, _AT_ONCE)
        except zlib.error:
            if self._window != _ZLIB or self._begun:
                raise ProtocolError("the answer's compression is broken") from None
            self._window = _RAW  # what many servers understand by "deflate"
            self._zlib = zlib.decompressobj(_RAW)
            return self._unpack(data)
        self._begun = True
        self._full = len(out) == _AT_ONCE and not self._zlib.eof
        self._rest = self._zlib.unused_data if self._zlib.eof else self._zlib.unconsumed_tail
        return out

    def close(self) -> None:
        self._body.close()

    def abort(self) -> None:
        self._body.abort()
