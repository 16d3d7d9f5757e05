"""The engines of a batch: which one runs, and what happens when it is stopped, forked or forgotten."""

from __future__ import annotations

import contextvars
import gc
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hfclient
from hfclient import Client
from hfclient.batch import engines
from hfclient.batch.engines.green import GreenEngine
from hfclient.batch.engines.threads import ThreadEngine
from hfclient.errors import InvalidInputError, TransportTimeout
from hfclient.transport.green_threads import GreenThreads
from hfclient.transport.requests_transport import RequestsTransport
from tests.server import PATIENCE, SOON, UNTIL_GONE, Recorded, Server, json_answer

ENGINES = pytest.mark.parametrize("engine", ["green", "threads"])


def answer(request: Recorded) -> bytes:
    """Answer with the prompt."""
    message = {"role": "assistant", "content": request.json()["messages"][0]["content"]}
    return json_answer({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """A client of the server."""
    with new_client(server) as opened:
        yield opened


def new_client(server: Server, **options: Any) -> Client:
    """Return a client of *server*, which answers."""
    server.on("/v1/chat/completions", [answer])
    return Client(server.url, token="", cookies="", session="", inference_url=f"{server.url}/v1", **options)


def use(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run batches with *engine*."""
    if engine == "threads":
        monkeypatch.setattr(engines, "_transport_for", lambda call: None)


class _Own(RequestsTransport):
    """A transport of the caller's."""


def _refuse(*_: object, **__: object) -> None:
    raise AssertionError("not sent")


@pytest.mark.parametrize(
    ("options", "green"),
    [
        ({}, True),
        ({"transport": "requests"}, True),
        ({"transport": _Own()}, False),
        ({"on_event": print}, False),
        ({"proxy": "socks5://127.0.0.1:1"}, False),
        ({"proxy": "http://127.0.0.1:1"}, True),
    ],
)
def test_which_engine(server: Server, options: dict[str, Any], green: bool) -> None:
    """What the caller chose for connections or callbacks is used, in threads; everything else runs in greenlets."""
    with new_client(server, **options) as client:
        batch = client.inference.map(["a"], model="m")
        engine = batch._own_engine()
        assert isinstance(engine, GreenEngine if green else ThreadEngine)
        engine.close()


def test_a_greenlet_takes_the_next_item(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call in flight has one greenlet, also where the next item comes only after the answer has been stored."""
    spawned: list[object] = []
    spawn = GreenThreads.spawn
    monkeypatch.setattr(GreenThreads, "spawn", lambda green, function: (spawned.append(function), spawn(green, function)))
    results = client.inference.map([str(number) for number in range(30)], model="m", workers=2, checkpoint=tmp_path / "out.jsonl")
    assert [result.get().text for result in results] == [str(number) for number in range(30)]
    assert len(spawned) <= 2


def test_a_proxy_is_used(server: Server) -> None:
    """The proxy of the client gets the requests of the batch."""
    server.on("*", [answer])
    with Client("http://chat.example", token="", cookies="", session="", inference_url="http://chat.example/v1", proxy=server.url) as client:
        (result,) = client.inference.map(["through"], model="m")
    assert result.get().text == "through"
    assert server.last.headers["host"] == "chat.example"


def test_replaced_adapters_are_used(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mock of requests' adapter sees the requests of a batch."""
    from requests.adapters import HTTPAdapter

    seen = []
    original = HTTPAdapter.send

    def send(self: Any, request: Any, *args: Any, **options: Any) -> Any:
        seen.append(request.url)
        return original(self, request, *args, **options)

    monkeypatch.setattr(HTTPAdapter, "send", send)
    assert [result.get().text for result in client.inference.map(["a", "b"], model="m")] == ["a", "b"]
    assert len(seen) == 2


def test_without_the_extra(client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A batch works without aiohttp, and a line of the log says once that the extra is faster."""
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None)
    engines._log_once.cache_clear()
    with caplog.at_level(logging.INFO, "hfclient"):
        for _ in range(2):
            assert [result.get().text for result in client.inference.map(["a", "b"], model="m")] == ["a", "b"]
    assert [record.message.count("hfclient[batch]") for record in caplog.records if "extra" in record.message] == [1]


@ENGINES
def test_events_and_the_last_answer(server: Server, engine: str) -> None:
    """ask() calls on_event, and its answer is the last one of the thread, also if it fails."""
    seen: list[Any] = []
    with new_client(server, **({"on_event": seen.append} if engine == "threads" else {})) as client:
        assert client.inference.ask("a", model="m").text == "a"
        assert client.last is not None
        assert client.last.text == "a"
    assert [type(event).__name__ for event in seen] == (["Token", "Finish"] if engine == "threads" else [])


@ENGINES
def test_deadline_of_the_caller(client: Client, server: Server, monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    """The jobs have the deadline of the block in which the batch is iterated."""
    use(engine, monkeypatch)
    server.on("/v1/chat/completions", [UNTIL_GONE])
    with hfclient.deadline(0.3):
        results = client.inference.map(["a", "b"], model="m", errors="return").results()
    assert [type(result.error) for result in results] == [TransportTimeout] * 2
    assert "hfclient.deadline(0.3)" in str(results[0].error)


@ENGINES
def test_closing_with_stalled_requests(client: Client, server: Server, monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    """close() ends requests whose server does not answer; they are not results."""
    use(engine, monkeypatch)
    server.on("/v1/chat/completions", *[[answer]] * 4, [UNTIL_GONE])
    batch = client.inference.map((str(number) for number in range(1000)), model="m", workers=16, ordered=False)
    got = [next(batch) for _ in range(4)]
    started = time.monotonic()
    batch.close()
    assert time.monotonic() - started < SOON
    assert all(result.ok for result in got)
    assert batch.errors == []


@ENGINES
def test_forgotten_batches(client: Client, monkeypatch: pytest.MonkeyPatch, engine: str, recwarn: pytest.WarningsRecorder) -> None:
    """A batch that is left and collected ends its threads and connections, without a warning."""
    use(engine, monkeypatch)
    batch = client.inference.map((str(number) for number in range(1000)), model="m", workers=4)
    assert next(batch).ok
    del batch
    gc.collect()
    assert not recwarn.list


@ENGINES
def test_two_batches_interleaved(client: Client, monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    """Two batches of one thread do not disturb each other."""
    use(engine, monkeypatch)
    one, two = (client.inference.map([f"{name}{number}" for number in range(30)], model="m", workers=4) for name in "ab")
    texts = [(first.get().text, second.get().text) for first, second in zip(one, two, strict=True)]
    assert texts == [(f"a{number}", f"b{number}") for number in range(30)]


@ENGINES
@pytest.mark.parametrize("name", ["next", "ended"])
def test_a_bug_does_not_hang(client: Client, monkeypatch: pytest.MonkeyPatch, engine: str, name: str) -> None:
    """An unexpected error in the threads of an engine is raised in the loop of the caller, which would wait for ever."""
    use(engine, monkeypatch)

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(f"hfclient.batch.pacing.pace.Pace.{name}", broken)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        client.inference.map(["a", "b"], model="m").results()


@ENGINES
def test_a_batch_inside_an_event_loop(client: Client, monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    """A notebook has a running loop; a batch blocks there as every call does."""
    import asyncio

    use(engine, monkeypatch)

    async def cell() -> list[str]:
        return [result.get().text for result in client.inference.map(["a", "b"], model="m")]

    assert asyncio.run(cell()) == ["a", "b"]


@ENGINES
def test_context_variables_of_the_caller(client: Client, server: Server, monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    """The jobs see the context variables of the code that iterates."""
    from hfclient.batch.calls import ChatCall

    use(engine, monkeypatch)
    variable = contextvars.ContextVar("variable", default="")
    seen = []
    run = ChatCall.run

    def noting(self: Any, item: Any) -> Any:
        seen.append(variable.get())
        return run(self, item)

    monkeypatch.setattr(ChatCall, "run", noting)
    variable.set("of the caller")
    assert len(list(client.inference.map(["a", "b"], model="m"))) == 2
    assert seen == ["of the caller"] * 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@ENGINES
def test_forks_while_a_batch_runs(client: Client, monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    """A child cannot continue its parent's batch, and does not disturb it."""
    use(engine, monkeypatch)
    batch = client.inference.map((str(number) for number in range(200)), model="m", workers=4)
    assert next(batch).ok
    child = os.fork()
    if child == 0:
        try:
            for _ in batch:
                pass
        except InvalidInputError:
            code = 0
        except BaseException:
            code = 2
        else:
            code = 1
        batch.close()
        gc.collect()
        os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert [result.index for result in batch] == list(range(1, 200))


SCRIPT = """
    import sys, hfclient
    client = hfclient.Client(sys.argv[1], token="", cookies="", session="", inference_url=sys.argv[1] + "/v1")
    batch = client.inference.map((str(n) for n in range(1000)), model="m", workers=64, ordered=False)
    next(batch)
    print("begun", flush=True)
    print(next(batch).get().text, flush=True) if sys.argv[2] == "wait" else None
"""


@pytest.mark.parametrize("end", ["wait", "exit"])
def test_the_end_of_a_process(server: Server, end: str) -> None:
    """Ctrl-C with stalled requests, and an exit in the middle of a batch, end the process at once and without noise."""
    server.on("/v1/chat/completions", [answer], [UNTIL_GONE])
    script = textwrap.dedent(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, "-W", "default", "-c", script, server.url, end], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    if end == "wait":
        deadline = time.monotonic() + PATIENCE
        while len(server.requests) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=2 * PATIENCE)
    assert ("KeyboardInterrupt" in errors) == (end == "wait")
    assert "never retrieved" not in errors
    assert "Warning" not in errors
    assert "loop is closed" not in errors
    if end == "exit":
        assert (process.returncode, errors) == (0, "")


def test_a_second_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while a batch ends leaves a thread that the end of the process waits for, also if Ctrl-C comes again."""
    pytest.importorskip("greenlet")
    from hfclient.transport import green_threads

    interrupts = 2
    join = threading.Thread.join

    def interrupted(thread: threading.Thread, timeout: float | None = None) -> None:
        nonlocal interrupts
        if thread.name == "hfclient-batch" and interrupts:
            interrupts -= 1
            raise KeyboardInterrupt
        join(thread, timeout)

    async def stop() -> None:
        pass

    green = green_threads.GreenThreads(stop, lambda error: None)
    green.call(lambda: None)
    monkeypatch.setattr(threading.Thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        green.close()
    assert green.is_running
    green_threads._close_all()
    assert not green.is_running
    assert interrupts == 0
