"""Tests once whether the installed curl_cffi works as `curl_multi.py` requires.

`curl_multi.py` calls functions of libcurl that curl_cffi exports without documenting them, and a release may change them. So
one request with a body is sent over loopback, in this thread alone, before the first real one.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

from hfclient.errors import HFClientError
from hfclient.transport.curl_multi import NEEDED, Multi, Transfer, UploadReader, WriteBuffer
from hfclient.transport.deadline import Clock, Deadline, Timeouts

__all__ = ["incompatibility"]

_TIMEOUTS = Timeouts(connect=5, idle=5, total=10)
_ANSWER = b"HTTP/1.1 200 OK\r\nX-Check: yes\r\nContent-Length: 5\r\n\r\nhello"
_tested: list[Any] = []


class _RespondingBody:
    """A body whose first read sends the response: libcurl reads it once it is connected."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.served: socket.socket | None = None

    def __len__(self) -> int:
        return 4

    def __iter__(self) -> Iterator[bytes]:
        self.served, _ = self._listener.accept()
        self.served.sendall(_ANSWER)
        yield b"body"

    def close(self) -> None:
        if self.served is not None:
            self.served.close()


def incompatibility(curl_cffi: Any) -> str | None:
    """Return what is missing or different in the package *curl_cffi*, or None; tested only once."""
    missing = [name for name in NEEDED if not hasattr(curl_cffi.lib, name)]
    if missing:
        return f"it has no {missing[0]}"
    if curl_cffi.lib in _tested:
        return None
    trouble = _test(curl_cffi)
    if trouble is None:
        _tested.append(curl_cffi.lib)
    return trouble


def _test(curl_cffi: Any) -> str | None:
    try:
        listener = socket.create_server(("127.0.0.1", 0), backlog=1)
    except Exception:  # noqa: BLE001 (a sandbox, or a test suite that allows no sockets): then it cannot be tested
        return None
    with listener, contextlib.closing(_RespondingBody(listener)) as body:
        listener.settimeout(5)
        try:
            return _exchange(curl_cffi, body, listener.getsockname()[1])
        except Exception as exc:  # noqa: BLE001 (a changed function may raise anything)
            return exc.message if isinstance(exc, HFClientError) else f"{type(exc).__name__}: {exc}"


def _exchange(curl_cffi: Any, body: _RespondingBody, port: int) -> str | None:
    kept: list[Multi] = []
    opt = curl_cffi.CurlOpt

    def prepare(curl: Any, head: WriteBuffer, content: WriteBuffer) -> UploadReader:
        upload = UploadReader(body)
        for option, value in (
            (opt.URL, f"http://127.0.0.1:{port}/"),
            (opt.PROXY, ""),
            (opt.NOSIGNAL, 1),
            (opt.HEADERDATA, head),
            (opt.WRITEDATA, content),
            (opt.POST, 1),
            (opt.READDATA, upload),
            (opt.POSTFIELDSIZE_LARGE, upload.size),
            (opt.HTTPHEADER, [b"Expect:"]),
        ):
            curl.setopt(option, value)
        return upload

    transfer = Transfer(curl_cffi, Multi(curl_cffi, "", 0), Deadline(Clock(_TIMEOUTS)), return_multi=kept.append)
    try:
        status, headers = transfer.send(prepare)
        content = b"".join(iter(transfer.read_some, b""))
        transfer.abort()
    finally:
        transfer.close()
    if (status, headers.get("x-check"), content) != (200, "yes", b"hello"):
        return "an answer does not come as it was sent"
    if not kept or not kept[0].is_quiet():
        return "a connection is not kept"
    body.close()
    if kept[0].is_quiet():
        return "the end of a kept connection is not seen"
    return None
