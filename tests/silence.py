"""Waits that end because the server says so, and not because time passes.

With the fixture ``silence``, a wait for bytes ends, by its deadline, when the server's script is at `UNTIL_GONE` and all bytes
that were sent have been read. No other wait for bytes ends. So silence takes no time, and a slow machine ends nothing else.

It is for the transports of clients. That these waits also end by the real clock is tested in tests/wire/test_deadlines.py.
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from hfclient.transport import connections, curl_multi
from hfclient.transport.sockets import is_readable
from tests.server import silent

_LOOK = 0.01  # seconds between two looks


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the waits of both transports end as described above."""
    monkeypatch.setattr(connections, "_DeadlineReader", _Reader)
    monkeypatch.setattr(curl_multi, "_MAX_WAIT", _LOOK)
    sleep = curl_multi.Transfer._sleep

    def wait(self: Any, until: float | None) -> bool:
        is_silent = self._multi is not None and _ports_of(self) in silent  # before the look for bytes
        is_ready = sleep(self, None)
        if is_silent and not is_ready and until is not None:
            raise self._deadline.timed_out()
        return is_ready

    monkeypatch.setattr(curl_multi.Transfer, "_sleep", wait)


def _ports_of(transfer: Any) -> tuple[int, int]:
    return transfer._curl.getinfo(transfer._info.LOCAL_PORT), transfer._curl.getinfo(transfer._info.PRIMARY_PORT)


class _Reader(connections._DeadlineReader):
    def __init__(self, raw: Any, sock: Any, *args: Any) -> None:
        super().__init__(raw, _Socket(sock), *args)


class _Socket:
    """The part of a socket that reads of the default transport use."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._waits_forever = False
        self._ports: tuple[int, int] | None = None
        with contextlib.suppress(OSError):  # the server has reset the connection
            self._ports = sock.getsockname()[1], sock.getpeername()[1]

    def settimeout(self, seconds: float | None) -> None:
        self._sock.settimeout(None)
        self._waits_forever = seconds is None

    def recv(self, size: int) -> bytes:
        while not self._waits_forever:
            is_silent = self._ports in silent  # before the look for bytes
            if self._has_bytes():
                break
            if is_silent:
                raise TimeoutError
        data: bytes = self._sock.recv(size)
        return data

    def _has_bytes(self) -> bool:
        pending = getattr(self._sock, "pending", None)  # of TLS
        return bool(pending and pending()) or is_readable(self._sock.fileno(), _LOOK)
