"""One token at a time: how many functions a wake-up goes through. What it costs follows from that."""

from __future__ import annotations

import sys
from types import FrameType

import pytest

from benchmarks.server import ReplayServer
from hfclient import Client


@pytest.mark.parametrize("wire", ["chat", "sse"])
def test_calls_of_an_event(wire: str) -> None:
    """From one event to the next there are at most 16 calls of Python functions, the socket's included."""
    calls = 0

    def count(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        calls += event == "call"

    with ReplayServer() as server:
        url = server.url(wire, "paced", 60)
        with Client(url, token="", cookies="", inference_url=url, session=None) as client:
            if wire == "chat":
                stream = client.conversation("0123456789abcdef01234567").send("hi")
            else:
                stream = client.inference.chat("hi", model="org/model")
            texts = stream.iter_text()
            before = [next(texts) for _ in range(10)]  # the first ones teach the decoder what comes
            sys.setprofile(count)
            try:
                after = [next(texts) for _ in range(40)]
            finally:
                sys.setprofile(None)
            texts.close()
            stream.close()
    assert len(before + after) == 50
    assert calls <= 16 * 40
