"""Every fault in every operation over both transports: the right error or result, with nothing left open."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from hfclient import Client, Limits, errors
from hfclient.chat.conversations import resume, run, run_tracker
from hfclient.chat.conversations import stream as chat_stream
from hfclient.events import Token
from hfclient.inference.completions import answer_reader
from hfclient.inference.media import jobs
from hfclient.stream import Stream
from hfclient.transport import Retry, Timeouts
from tests.clock import FakeTime, PassingTime
from tests.conftest import TRANSPORTS, make_transport
from tests.faults import table
from tests.faults.faults import Target, refused
from tests.faults.operations import OPERATIONS, Operation, set_timeouts
from tests.faults.server import FaultServer
from tests.faults.table import ROWS, Row
from tests.server import CERTIFICATE, PATIENCE, RST, Server, Step

PATIENT = Timeouts(connect=PATIENCE, first_token=PATIENCE, idle=PATIENCE, total=2 * PATIENCE)
"""Deadlines that no cell is meant to meet, except those that its row names. Those pass by word of the server's script."""

_MIB = 1024 * 1024
_LIMITS = Limits(line=_MIB, stream=8 * _MIB, body=2 * _MIB, file=4 * _MIB)  # smaller than the defaults, to be quick

_FIRST = {operation.column: operation for operation in reversed(OPERATIONS)}

CELLS = [
    pytest.param(operation, row, transport, id=f"{row.name}-{operation.name}-{transport}")
    for number, row in enumerate(ROWS)
    for operation in OPERATIONS
    if row.outcome(operation.column) is not None
    for index, transport in enumerate(TRANSPORTS)
    # A second operation of a column alternates between the transports: it runs the same code.
    if operation is _FIRST[operation.column] or (number + index) % len(TRANSPORTS) == 0
]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch, silence: None) -> None:
    for module, name, value in [
        (resume, "_POLL", 0.01),
        (resume, "_MAX_PAUSE", 0.01),
        (run, "_FIRST_PAUSE", 0.01),
        (run_tracker, "_POLL", 0.01),
        (run_tracker, "_PAUSE", 0.01),
        (run_tracker, "_STOP_MARK", 0.0),
        (chat_stream, "_SILENCE", 0.1),
        (answer_reader, "_DRAIN", 0.1),
        (jobs, "_PACE", 0.02),
    ]:
        monkeypatch.setattr(module, name, value)


def descriptors() -> int:
    """The number of open files and sockets of this process, if the system tells it."""
    folder = Path("/proc/self/fd")
    return len(os.listdir(folder)) if folder.is_dir() else 0


@contextlib.contextmanager
def nothing_left_open() -> Iterator[None]:
    """After the block at most as many files and sockets are open as before."""
    before = descriptors()
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("hfclient"):  # a stop request in progress
            thread.join(PATIENCE)
    assert descriptors() <= before


@contextlib.contextmanager
def servers(row: Row) -> Iterator[tuple[FaultServer, Server]]:
    """The server with the fault, and another one."""
    with FaultServer(tls=row.name == "https to http") as server, Server() as elsewhere:
        yield server, elsewhere


def new_client(server: FaultServer, transport: str) -> Client:
    return Client(
        server.url,
        inference_url=server.url,
        hub_url=server.url,
        token="",
        transport=make_transport(transport),
        timeouts=PATIENT,
        retry=Retry(attempts=2, backoff=0.01, max_wait=0.3, resume=1.0),
        limits=_LIMITS,
    )


def outcome(
    operation: Operation, prepared: Any, time: PassingTime | None = None
) -> tuple[Any, errors.HFClientError | None, str]:
    """Run the operation; return its result, its error, and the text before the error."""
    texts: list[str] = []
    time = time or PassingTime(FakeTime())
    try:
        if not operation.good.streams:
            time.reading.set()
        made = operation.run(prepared)
        time.reading.set()
        if isinstance(made, Stream):
            texts.extend(event.text for event in made if isinstance(event, Token))  # keeps the text before an exception
        return operation.result(made), None, "".join(texts)
    except errors.HFClientError as error:
        return None, error, "".join(texts)
    finally:
        time.stop()


def named(error: errors.HFClientError) -> str:
    deadline = f" ({error.deadline})" if isinstance(error, errors.TransportTimeout) else ""
    return type(error).__name__ + deadline


@pytest.mark.parametrize(("operation", "row", "transport"), CELLS)
def test_a_cell(
    operation: Operation,
    row: Row,
    transport: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clock: FakeTime,
    polls: FakeTime,
) -> None:
    """The outcome is that of the table; the text so far is kept, nothing stays open, and the next call works."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    with nothing_left_open(), servers(row) as (server, elsewhere):
        elsewhere.on("*", server.good(operation.kind).whole())
        client = new_client(server, transport)
        prepared = operation.prepare(client, tmp_path)
        time = PassingTime(clock)
        if row.fault is refused:
            server.refuse()
        else:
            script = row.fault(Target(operation.kind, server, elsewhere, time))
            server.always("read", [lambda request: polls.advance(1), lambda request: server._read(request, server.chat)])
            if not operation.resumes:
                too_late: list[Step] = [lambda request: polls.advance(1), RST]
                server.always("log", too_late)
                no_reads = lambda request: server.always("read", too_late)  # noqa: E731 (from the message on)
                script = [no_reads, *([script] if isinstance(script, bytes) else script)]
            server.always(operation.kind, script)
        set_timeouts(client, evolve(PATIENT, **row.timeouts))
        before = server.count(operation.kind)
        answer, error, text = outcome(operation, prepared, time)
        asked = server.count(operation.kind) - before
        expected = row.outcome(operation.column, transport)
        if expected == "answer":
            changed = row.text is not None and operation.column in table.STREAMS
            assert (answer, error) == (row.text if changed else operation.answer, None)
        elif expected == "as sent":
            assert (error, answer is not None) == (None, True)
        else:
            assert error is not None, answer
            assert named(error) == expected, error
        if error is not None:
            if operation.good.streams and text:
                assert error.partial is not None
                assert error.partial.text == text
            assert not row.after_text or not operation.good.streams or text.startswith("Hello, ")
        if isinstance(error, errors.TransportTimeout):
            assert error.seconds == row.timeouts[str(error.deadline)]
        if row.fault is refused:
            assert isinstance(error, errors.ConnectError)
            asked = error.attempts
        assert (asked > 1) == row.is_retried(operation.column, transport), asked
        assert not list(tmp_path.glob(".*"))

        set_timeouts(client, PATIENT)
        if row.fault is refused:
            server.listen()
        server.clear_faults()
        assert outcome(operation, prepared)[:2] == (operation.answer, None)
        server.wait_for_connections(most=2)  # the one that was used last, and that of a stop request
        client.close()
        server.wait_for_connections(most=0)


def test_the_page_is_current() -> None:
    """The table in the documentation is the one that these tests use."""
    text = table.PAGE_OF_DOCS.read_text("utf-8")
    assert table.page(text) == text, "run python -m tests.faults.table"


def test_every_column_has_its_operation() -> None:
    """Every column of the table has an operation."""
    assert {operation.column for operation in OPERATIONS} == set(table.COLUMNS)
