"""A thread of a batch that cannot start, or that ends by an error: the caller gets the error, and does not wait for ever."""

from __future__ import annotations

import errno
import os
import selectors
import subprocess
import sys
import textwrap
import threading
from typing import Any

import pytest

from hfclient import Client
from hfclient.batch.batch import Batch
from hfclient.batch.engines.threads import ThreadEngine
from hfclient.batch.items import Item, read_items
from hfclient.batch.pacing.pace import Pace
from hfclient.errors import ConnectError
from tests.batch.fault_server import FaultServer
from tests.batch.local_call import LocalCall
from tests.server import PATIENCE

NO_DESCRIPTORS = """
    import os, resource, sys
    from hfclient import Client, ConnectError

    client = Client(token="", cookies="", session="", inference_url=sys.argv[1])

    def run():
        return [result.value.text for result in client.inference.map(["a", "b"], model="m")]

    assert run() == ["A", "B"]  # all modules have been imported
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    for free in range(3):  # the loop needs three
        taken = []
        try:
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        for _ in range(free):
            os.close(taken.pop())
        try:
            run()
        except ConnectError as error:
            print(error)
        for descriptor in taken:
            os.close(descriptor)
        assert run() == ["A", "B"]
"""


@pytest.mark.skipif(os.name != "posix", reason="a limit of POSIX")
def test_no_descriptors() -> None:
    """Without a descriptor for the event loop a batch ends with an error that says so, and the next one works."""
    pytest.importorskip("greenlet")
    with FaultServer() as server:
        line = [sys.executable, "-c", textwrap.dedent(NO_DESCRIPTORS), server.url]
        done = subprocess.run(line, capture_output=True, text=True, timeout=2 * PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["the event loop of the batch failed: Too many open files"] * 3


def test_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a thread for the event loop a batch ends with an error that says so."""
    pytest.importorskip("greenlet")
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if thread.name == "hfclient-batch":
            raise RuntimeError("can't start new thread")
        start(thread)

    with FaultServer() as server, Client(token="", cookies="", session="", inference_url=server.url) as client:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refused)
            with pytest.raises(ConnectError, match="can't start new thread"):
                client.inference.map(["a"], model="m").results()
        assert [result.value.text for result in client.inference.map(["a"], model="m")] == ["A"]


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (OSError(errno.EBADF, os.strerror(errno.EBADF)), ConnectError),
        (SystemExit(3), SystemExit),
        (MemoryError(), MemoryError),
    ],
)
def test_a_loop_that_ends(
    monkeypatch: pytest.MonkeyPatch, failure: BaseException, expected: type[BaseException]
) -> None:
    """The error with which the event loop ends while requests are in flight is raised, and what was received is kept."""
    pytest.importorskip("greenlet")
    select = selectors.DefaultSelector.select
    is_broken = threading.Event()

    def broken(selector: Any, timeout: float | None = None) -> Any:
        if threading.current_thread().name == "hfclient-batch":
            if is_broken.is_set():
                raise failure
            timeout = 0.01 if timeout is None else min(timeout, 0.01)
        return select(selector, timeout)

    monkeypatch.setattr(selectors.DefaultSelector, "select", broken)
    with FaultServer(faults={}) as server, Client(token="", cookies="", session="", inference_url=server.url) as client:
        batch = client.inference.map(["a", "b"], model="m", workers=2)
        assert next(batch).value.text == "A"
        assert next(batch).value.text == "B"
        server.faults["stall"] = 1.0
        batch = client.inference.map(["a", "b"], model="m", workers=2)
        timer = threading.Timer(0.1, is_broken.set)
        timer.start()
        with pytest.raises(expected):
            next(batch)
        batch.close()
        assert batch.unread == []
        timer.join()


class Exits(LocalCall):
    """A call that ends its thread."""

    def run(self, item: Item) -> Any:
        raise SystemExit(3)


def test_a_function_that_exits() -> None:
    """``sys.exit()`` in a function of the caller, which runs in a thread of the batch, is raised where the batch is read."""
    call = Exits()
    batch = Batch(call, read_items(["a"]), workers=1, engine=lambda own: ThreadEngine(call, Pace(1), 1))
    with pytest.raises(SystemExit):
        next(batch)
