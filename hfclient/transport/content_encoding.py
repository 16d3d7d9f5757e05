"""Decodes gzip and deflate, and detects a compressed body that ends too early.

urllib3 and libcurl accept such a body as complete if HTTP's own framing is valid, for instance if a server fails behind
a proxy that compresses. A truncated file would not be noticed.

Reference: RFC 9110, section 8.4.1; RFC 1952, section 2.2 (several members in a row).
"""

from __future__ import annotations

import zlib

from hfclient.errors import ConnectError, ProtocolError
from hfclient.transport.response import Body, Headers

__all__ = ["DecodedBody", "decoded", "is_decodable"]

_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS
_AT_ONCE = 1024 * 1024  # bytes that are decoded at a time: they can expand a thousandfold
_CODINGS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}


def decoded(body: Body, headers: Headers) -> Body:
    """Return a body that decodes *body*; *body* itself if it is not compressed."""
    return DecodedBody(body, _CODINGS[_coding(headers)]) if is_decodable(headers) else body


def is_decodable(headers: Headers) -> bool:
    """Whether the content coding in these headers is decoded here."""
    return _coding(headers) in _CODINGS


def _coding(headers: Headers) -> str:
    return headers.get("content-encoding", "").strip().lower()


class DecodedBody:
    """A `Body` that decodes another one while it is read.

    Args:
        body: The compressed bytes.
        window: zlib's *wbits*, which select the format.
    """

    def __init__(self, body: Body, window: int) -> None:
        self._body = body
        self._window = window
        self._zlib = zlib.decompressobj(window)
        self._rest = b""
        self._start = b""  # the first of two bytes that identify the format or the next member
        self._begun = self._full = self._over = False
        self.can_tick: bool = getattr(body, "can_tick", False)

    def read_some(self) -> bytes:
        """Return the next bytes; see `Body.read_some`.

        Raises:
            ProtocolError: The compressed bytes are damaged.
            ConnectError: They end too early.
        """
        while True:
            data = self._rest
            if not data and not self._full:
                data = self._body.read_some()
                if not data:
                    if self._start == b"\x1f" or ((self._begun or self._start) and not self._zlib.eof):
                        message = "the connection failed: the compressed response ended before it was complete"
                        raise ConnectError(message)
                    return b""
            if out := self._decode(data):
                return out

    def _decode(self, data: bytes) -> bytes:
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
            self._window = _RAW  # raw deflate, which many servers send as "deflate"
            self._zlib = zlib.decompressobj(_RAW)
            return self._decode(data)
        self._begun = True
        self._full = len(out) == _AT_ONCE and not self._zlib.eof
        self._rest = self._zlib.unused_data if self._zlib.eof else self._zlib.unconsumed_tail
        return out

    def close(self) -> None:
        self._body.close()

    def abort(self) -> None:
        self._body.abort()
