"""The call stack of a chat call is short: few frames down to the transport, few up from the bytes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

import pytest

import hfclient
from hfclient import Client
from hfclient.chat.wire.updates import UpdateDecoder
from hfclient.events import AnyEvent
from hfclient.transport import Deadline, Request, Response
from tests.chat.recordings import recording
from tests.chat.replay import ChatUI
from tests.conftest import make_transport

PACKAGE = str(Path(hfclient.__file__).parent)


def own_frames(frame: FrameType | None) -> list[str]:
    """Return the functions of this package that are being called, outermost first."""
    names = []
    while frame is not None:
        if frame.f_code.co_filename.startswith(PACKAGE):
            names.append(frame.f_code.co_name)
        frame = frame.f_back
    return names[::-1]


class CountingTransport:
    """Notes the frames above `open` for each request."""

    def __init__(self) -> None:
        self.calls: dict[str, list[str]] = {}
        self._inner = make_transport("plain")

    def open(self, request: Request, headers: Mapping[str, str], deadline: Deadline) -> Response:
        self.calls[f"{request.method} {request.url.split('/', 3)[-1]}"] = own_frames(sys._getframe(1))
        return self._inner.open(request, headers, deadline)

    def close(self) -> None:
        self._inner.close()


def test_frames_down(ui: ChatUI) -> None:
    """From `Client.chat` to the transport there are 5 frames, for the new conversation and for the message."""
    ui.says(recording("plain"))
    transport = CountingTransport()
    with Client(ui.url, token="", session="", transport=transport) as client:
        assert client.chat("Hi").text
    assert transport.calls["POST conversation"] == ["chat", "send", "create", "create_conversation", "send"]
    assert transport.calls[f"POST conversation/{ui.chat.id}"] == ["chat", "send", "post", "post", "send"]
    assert len(transport.calls["GET api/v2/models"]) <= 8  # the default model, once a minute


def test_frames_up(ui: ChatUI, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block of bytes is decoded 2 frames below the loop over the events."""
    ui.says(recording("plain"))
    frames: list[list[str]] = []
    feed = UpdateDecoder.feed

    def noting(decoder: UpdateDecoder, data: bytes) -> list[AnyEvent]:
        frames.append(own_frames(sys._getframe(1)))
        return feed(decoder, data)

    monkeypatch.setattr(UpdateDecoder, "feed", noting)
    with Client(ui.url, token="", session="") as client:
        assert list(client.chat("Hi"))
    assert {len(names) for names in frames} == {2}
