"""Objects that the garbage collector finalizes: during other calls, in any order, in any thread."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hfclient import Client
from hfclient.process.garbage_collection import in_gc_finalizer
from hfclient.transport import Response, Timeouts
from tests.chat.replay import FINISHED, JSONL, STARTED, ChatUI, final, lines, token, wait_until
from tests.conftest import make_transport
from tests.inference.answers import CHAT, says
from tests.processes.helpers import wait_for_stops
from tests.server import LAST_CHUNK, Server, chunk, head, plain
from tests.wire.helpers import send

# Python's own finalizer of a socket may run first, and warns.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

PATIENT = Timeouts(connect=10, first_token=10, idle=10, total=20)
TEXT = "one two three"


class Knot:
    """An object with a reference to itself, which only the garbage collector can free."""

    def __init__(self, **held: Any) -> None:
        self.__dict__.update(held, me=self)


@pytest.fixture(autouse=True)
def _by_hand() -> Iterator[None]:
    """The collector runs only when the test calls it, and then visits only objects of the test."""
    gc.disable()
    gc.freeze()
    yield
    gc.collect()
    gc.enable()


@pytest.fixture(params=["chat", "completion"])
def ask(request: pytest.FixtureRequest, transport_name: str) -> Iterator[Callable[[], Any]]:
    """Start an answer of each kind, over each transport, up to its last byte."""
    before = threading.enumerate()
    with ChatUI() as ui, Server() as server:
        updates = [STARTED, *(token(word) for word in ("one ", "two ", "three")), final(TEXT), FINISHED]
        ui.says(lines(STARTED), [head(200, JSONL, "Transfer-Encoding: chunked"), *(chunk(lines(u)) for u in updates), LAST_CHUNK])
        server.on(CHAT, says("one ", "two ", "three"))
        client = Client(
            ui.url, inference_url=f"{server.url}/v1", token="", transport=make_transport(transport_name), timeouts=PATIENT
        )
        yield (lambda: client.chat("Hi")) if request.param == "chat" else (lambda: client.inference.chat("Hi", model="m"))
        client.close()
        wait_for_stops(before)


@pytest.mark.parametrize("before", [(), (0,), (1,), (0, 0), (0, 1)], ids=str)
@pytest.mark.parametrize("read", [0, 1, 2])
def test_calls_during_a_collection(ask: Callable[[], Any], before: tuple[int, ...], read: int) -> None:
    """A stream in a cycle, read partly or not at all, is finalized in any order of its parts; every other call works."""
    for after in (0, 1, 2):
        knot = Knot(stream=ask())
        for _ in range(read):
            next(knot.stream)
        assert ask().text == TEXT
        for generation in before:
            gc.collect(generation)
        del knot
        gc.collect(after)
        assert ask().text == TEXT


def test_a_loop_in_a_cycle(ask: Callable[[], Any]) -> None:
    """The same for the generator of a loop, which an exception keeps alive with its traceback."""

    def fail() -> Knot:
        iterator = iter(ask())
        next(iterator)
        knot = Knot(iterator=iterator)
        try:
            raise ValueError(iterator)
        except ValueError as error:
            knot.error = error
        return knot

    for _ in range(5):
        del_me = [fail()]
        del_me.clear()
        gc.collect()
        assert ask().text == TEXT


def test_the_collector_does_not_wait(ask: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """It closes a stream without reading another byte, and its connection is not used again."""
    reads: list[bool] = []
    chunks = Response.chunks

    def watched(self: Response, within: Any = None) -> Iterator[bytes]:
        reads.append(in_gc_finalizer())
        return chunks(self, within)

    stream = ask()
    knot = Knot(stream=stream)
    next(stream)
    monkeypatch.setattr(Response, "chunks", watched)
    del knot, stream
    gc.collect()
    assert not any(reads)
    assert ask().text == TEXT


def test_is_collecting() -> None:
    """It is true in the thread of the collector while it runs, and only there."""
    seen: list[bool] = []
    other: list[bool] = []

    class Watching:
        def __del__(self) -> None:
            seen.append(in_gc_finalizer())
            thread = threading.Thread(target=lambda: other.append(in_gc_finalizer()))
            thread.start()
            thread.join()

    Watching()
    Knot(watching=Watching())
    assert seen == [False]
    gc.collect()
    assert (seen, other) == ([False, True], [False, False])
    assert not in_gc_finalizer()


def test_a_collection_runs_no_python_code_of_ours() -> None:
    """A signal that comes during a collection is handled after it: what its handler raises in a callback would be lost."""
    ours = [callback for callback in gc.callbacks if str(getattr(callback, "__module__", "")).startswith("hfclient")]
    assert ours == []


def test_a_freed_handle() -> None:
    """A freed handle of libcurl is recognised, and not used again."""
    import curl_cffi

    from hfclient.transport.curl_multi import Multi
    from hfclient.transport.curl_transport import ImpersonateTransport

    opened = ImpersonateTransport()
    with Server() as server:
        server.on("/s", plain(b"ok"))
        origin = f"http://127.0.0.1:{server.port}"
        saved = Multi(curl_cffi, origin, 0)
        saved.socket = 0
        saved.__del__()
        saved.__del__()
        opened._return_multi(saved)
        assert send(opened, f"{server.url}/s").read() == b"ok"
    opened.close()


def test_a_temporary_conversation_that_is_collected(transport_name: str) -> None:
    """It is deleted by another thread: the thread of the collector may hold locks that a request needs."""
    with ChatUI() as ui:
        ui.says(lines(STARTED, token("one "), final("one "), FINISHED))
        client = Client(ui.url, token="", transport=make_transport(transport_name), timeouts=PATIENT)
        knot = Knot(stream=client.chat("Hi", temporary=True))
        next(knot.stream)
        with client._session.credentials._lock:
            del knot
            gc.collect()
        wait_until(lambda: ui.count("delete") == 1)
        client.close()
