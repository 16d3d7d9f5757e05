"""How many functions of this package a call goes through before its request reaches the transport."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

import hfclient
from hfclient.credentials import Credentials
from hfclient.inference import InferenceClient
from hfclient.transport import Request, Session

HOME = str(Path(hfclient.__file__).parent)


class _Sent(BaseException):
    """Ends a call when its request arrives."""

    def __init__(self, frames: list[str]) -> None:
        super().__init__("\n".join(frames))
        self.frames = frames


class _Counting:
    """A transport that raises the names of the callers of `open`, the first caller first."""

    def open(self, request: Request, *args: Any) -> Any:
        if request.method != "POST":
            raise AssertionError(f"the call should not need {request}")
        frame, frames = sys._getframe(1), []
        while frame is not None:
            if frame.f_code.co_filename.startswith(HOME):
                frames.append(f"{frame.f_code.co_filename.removeprefix(HOME)}: {frame.f_code.co_name}")
            frame = frame.f_back  # type: ignore[assignment]
        raise _Sent(frames[::-1])

    def close(self) -> None:
        """There is nothing to close."""


@attrs.define
class City:
    """A city."""

    name: str


def _double(number: int) -> int:
    return 2 * number


@pytest.mark.parametrize(
    ("most", "call"),
    [
        (6, lambda client: client.chat("hi", model="m")),
        (7, lambda client: client.text("hi", model="m", provider="hf-inference")),
        (8, lambda client: client.parse("hi", City, model="m")),
        (8, lambda client: client.run_tools("hi", [_double], model="m")),
        (5, lambda client: client.image("hi", model="m")),
        (7, lambda client: client.embed(["hi"], model="m", provider="hf-inference")),
    ],
    ids=["chat", "text", "parse", "run_tools", "image", "embed"],
)
def test_call_depth(most: int, call: Callable[[InferenceClient], Any]) -> None:
    """A call goes through few functions, so that a traceback of a failed one can be read."""
    session = Session(_Counting(), Credentials())
    with pytest.raises(_Sent) as caught:
        call(InferenceClient(session, base_url="http://localhost:1/v1"))
    assert len(caught.value.frames) <= most, str(caught.value)
