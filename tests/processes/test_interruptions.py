"""close() and cancel() at any moment, as from a signal handler that interrupts the thread which reads the stream.

Python runs signal handlers between any two steps of the main thread, whichever locks it holds. Here the step is chosen, not
random: a trace function makes the calls of the handler.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

import hfclient
from hfclient import Client
from hfclient.errors import Cancelled, HFClientError
from hfclient.transport import Cancellation, Timeouts
from hfclient.transport.connections import Wire
from tests.chat.replay import FINISHED, STARTED, ChatUI, final, lines, token
from tests.conftest import make_transport
from tests.inference.answers import CHAT, call, calls, says
from tests.processes.helpers import wait_for_stops
from tests.server import PATIENCE, Recorded, Server

PACKAGE = str(Path(hfclient.__file__).parent)
PATIENT = Timeouts(connect=10, first_token=10, idle=10, total=20)


class Interruption:
    """Call *act* before line *number* of the lines that the thread runs in the package from now on."""

    def __init__(self, number: int, act: Callable[[], object]) -> None:
        self.left = number
        self._act = act

    def __call__(self, frame: Any, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                sys.settrace(None)
                self._act()
        return self

    def __enter__(self) -> Interruption:
        self._before = sys.gettrace()  # a debugger's or coverage's trace function
        sys.settrace(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.settrace(self._before)


def read(stream: Any) -> None:
    """Read *stream* to its end; the only exceptions allowed are hfclient's."""
    try:
        for _ in stream:
            pass
        stream.result()
    except HFClientError:
        pass


def interrupted(start: Callable[[], Any], number: int, action: str) -> int:
    """Read a stream with an interruption; return how many lines were left before it."""
    stream = start()

    def act() -> None:
        getattr(stream, action)()
        assert stream.partial is not None

    with Interruption(number, act) as interruption:
        read(stream)
    assert stream._state in ("done", "failed", "closed")
    return interruption.left


@pytest.fixture
def starts(transport_name: str) -> Iterator[dict[str, Callable[[], Any]]]:
    """Start a stream of each kind, over each transport."""
    before = threading.enumerate()
    with ChatUI() as ui, Server() as server:
        ui.says(lines(STARTED, token("Hello, "), token("world!"), final("Hello, world!"), FINISHED))

        def complete(request: Recorded) -> bytes:
            asked = json.loads(request.body)
            if asked.get("tools") and asked["messages"][-1]["role"] != "tool":
                return b"".join(step for step in calls(call("double", {"number": 2})) if isinstance(step, bytes))
            steps = says('{"value": ', "4}") if "response_format" in asked else says("Hello, ", "world!")
            return b"".join(step for step in steps if isinstance(step, bytes))

        server.on(CHAT, [complete])
        opened = make_transport(transport_name)
        client = Client(ui.url, inference_url=f"{server.url}/v1", token="", transport=opened, timeouts=PATIENT)
        infer = client.inference
        yield {
            "chat": lambda: client.chat("Hi"),
            "detached chat": lambda: client.chat("Hi", on_close="detach"),
            "temporary chat": lambda: client.chat("Hi", temporary=True),
            "completion": lambda: infer.chat("Hi", model="m"),
            "tools": lambda: infer.run_tools("Hi", model="m", tools=[double]),
            "object": lambda: infer.parse_stream("Hi", model="m", into=Number),
        }
        client.close()
        wait_for_stops(before)


@attrs.frozen
class Number:
    value: int


def double(number: int) -> int:
    """Double it.

    Args:
        number: Any.
    """
    return 2 * number


KINDS = ("chat", "detached chat", "temporary chat", "completion", "tools", "object")


@pytest.mark.parametrize("action", ["close", "cancel"])
@pytest.mark.parametrize("kind", KINDS)
def test_interrupted_at_any_line(starts: dict[str, Callable[[], Any]], kind: str, action: str) -> None:
    """Wherever the reader is interrupted, its loop ends or an error of hfclient is raised, and the next call works."""
    start = starts[kind]
    lines_in_all = 10**6 - interrupted(start, 10**6, action)
    points = max(10, min(25, lines_in_all // 20))
    step = lines_in_all / points
    for point in range(points):
        interrupted(start, 1 + int((point + 0.5 * (action == "cancel")) * step), action)
        whole = start()
        assert whole.result() is not None


@pytest.mark.parametrize("kind", ["chat", "completion"])
def test_interrupted_while_it_is_being_closed(starts: dict[str, Callable[[], Any]], kind: str) -> None:
    """close() and cancel() may interrupt close() itself."""
    for second in ("close", "cancel"):
        for number in range(1, 1000):
            stream = starts[kind]()
            next(stream)
            with Interruption(number, getattr(stream, second)) as interruption:
                stream.close()
            assert stream._state == "closed"
            if interruption.left > 0:
                break
        else:
            pytest.fail("closing does not end")


def test_interrupted_while_a_lock_is_held() -> None:
    """Waking a call never waits for a lock that the interrupted thread may hold, at any line of the code that holds it."""
    for number in range(1, 200):
        wire = Wire()
        with Interruption(number, wire.shut_down) as interruption, contextlib.suppress(Cancelled):
            wire.use(None)
            wire.detach()
        if interruption.left > 0:
            break
    else:
        pytest.fail("it does not end")


def test_a_cancellation_at_any_line() -> None:
    """Before, during or after a wait, it is never lost: the wait ends, and so does the next one."""
    for number in range(1, 100):
        cancellation = Cancellation()
        interruption = Interruption(number, cancellation.cancel)
        with interruption, contextlib.suppress(Cancelled), cancellation.waking(lambda: None):
            cancellation.pause(0)
        if interruption.left > 0:
            break
        with pytest.raises(Cancelled):
            cancellation.pause(60)
    else:
        pytest.fail("it does not end")


def test_a_cancellation_wakes_all_waiters() -> None:
    """Threads that wait at that moment, and those that start to wait afterwards."""
    cancellation = Cancellation()
    woken: list[str] = []

    def wait() -> None:
        try:
            cancellation.pause(60)
        except Cancelled:
            woken.append("cancelled")

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    cancellation.cancel()
    cancellation.cancel()
    wait()
    for thread in threads:
        thread.join(PATIENCE)
    assert woken == ["cancelled"] * 4
