"""Forks at any moment: children have connections, locks and cleanups of their own, and the parent is not affected."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hfclient import Client
from hfclient.chat.conversations.conversation import ChatStream
from hfclient.errors import ConversationBusy
from hfclient.events import Token
from hfclient.inference.media.jobs import Job
from hfclient.process.forks import reset_after_fork
from hfclient.transport import Cancellation
from hfclient.transport.connections import Wire
from tests.chat.replay import FINISHED, STARTED, final, log_of, token
from tests.processes.helpers import PromptedChatUI, in_child, needs_fork, run_script, succeeded, text_for
from tests.server import CLOSE, PATIENCE

pytestmark = [needs_fork, pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")]

MakeClient = Callable[..., Client]


@pytest.fixture
def any_client(prompted: PromptedChatUI, make_client: MakeClient, transport_name: str) -> Client:
    """A client over each transport."""
    return make_client(transport_name, base_url=prompted.url)


def half_read(client: Client, prompt: str, **options: Any) -> ChatStream:
    """A stream whose first word has been read."""
    stream = client.chat(prompt, **options)
    while type(next(stream)) is not Token:
        pass
    return stream


def test_four_children_stream_at_once(prompted: PromptedChatUI, any_client: Client) -> None:
    """Fork after use: four children and their parent stream at the same time, each gets only its own answer."""
    assert any_client.chat("count before").text == text_for("count before")
    before = {request.connection for request in prompted.requests}
    prompted.together = len(prompted.begun) + 6
    own = half_read(any_client, "count parent")

    def work(name: str) -> None:
        assert any_client.chat(f"count {name}").text == text_for(f"count {name}")
        any_client.close()
        gc.collect()

    children = [in_child(lambda name=name: work(name)) for name in "abcd"]  # type: ignore[misc]
    assert any_client.chat("count beside").text == text_for("count beside")
    assert own.text == text_for("count parent")
    assert succeeded(*children)
    assert any_client.chat("count after").text == text_for("count after")
    owners: dict[int, set[str]] = {}
    for kind, request in prompted.seen:
        if kind == "send":
            child = next((name for name in "abcd" if f"count {name}\r\n".encode() in request.body), "parent")
            child = next((name for name in "abcd" if f'"count {name}"'.encode() in request.body), child)
            owners.setdefault(request.connection, set()).add(child)
    assert all(len(names) == 1 for names in owners.values())
    assert set().union(*owners.values()) == {"parent", *"abcd"}
    assert not before & {number for number, names in owners.items() if names != {"parent"}}
    assert prompted.stops == []


def test_children_exit_cleanly(prompted: PromptedChatUI) -> None:
    """A child that exits normally, with copies of the parent's stream and client, prints nothing and affects nothing."""
    code = """
import os, sys
from hfclient import Client
client = Client({url}, token="", impersonate={browser})
stream = client.chat("hold on", temporary=True)
next(stream), next(stream)
pid = os.fork()
if not pid:
    print(client.chat("count child").text, flush=True)
    sys.exit(3)
print("child", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
print(len(stream.text), flush=True)
"""
    prompted.goes_after = "count child"
    for browser in (None, "chrome"):
        status, out, err = run_script(code, url=prompted.url, browser=browser)
        assert err == "" or (sys.version_info >= (3, 12) and err.count("Warning") == 1), err
        assert (status, out) == (0, f"{text_for('count child')}\nchild 3\n{len(text_for('hold on'))}\n")
    assert prompted.stops == []


@pytest.mark.parametrize("meddle", ["drop", "close", "cancel", "stop twice"])
def test_a_temporary_conversation_belongs_to_the_parent(prompted: PromptedChatUI, any_client: Client, meddle: str) -> None:
    """A child's copy of the stream of a temporary conversation deletes nothing, however the child ends."""
    held = [half_read(any_client, "hold this", temporary=True)]

    def child() -> None:
        if meddle == "close":
            held[0].close()
        elif meddle == "cancel":
            held[0].cancel()
        elif meddle == "stop twice":
            with held[0]:
                pass
            held[0].close()
        held.clear()
        gc.collect()

    assert succeeded(in_child(child))
    assert prompted.count("delete") == 0
    assert prompted.stops == []
    prompted.go.set()
    assert held[0].text == text_for("hold this")
    assert prompted.count("delete") == 1


def test_a_child_reads_from_the_log(prompted: PromptedChatUI, any_client: Client) -> None:
    """A child that reads its copy of the stream gets the answer from the server's log, on a connection of its own."""
    stream = half_read(any_client, "hold this")
    text = text_for("hold this")
    assert prompted.chat.newest is not None
    prompted.chat.newest.log = log_of(STARTED, token(text), final(text), FINISHED)

    def child() -> None:
        assert stream.result().text == text_for("hold this")

    assert succeeded(in_child(child))
    prompted.go.set()
    assert stream.text == text_for("hold this")
    assert prompted.stops == []


def test_a_busy_conversation(prompted: PromptedChatUI, any_client: Client) -> None:
    """A conversation that is busy in the parent is not busy in a child; a send in the child does not free it in the parent."""
    stream = half_read(any_client, "hold this")
    conversation = stream.conversation

    def child() -> None:
        reply = conversation.send("count child", wait=0.5)
        stream.close()  # the parent's stream: it must not release the lock of the child's own send
        try:
            conversation.send("count again", wait=0.0)
        except ConversationBusy:
            pass
        else:
            raise AssertionError("not busy")
        assert reply.text == text_for("count child")
        assert conversation.ask("count more").text == text_for("count more")

    assert succeeded(in_child(child))
    with pytest.raises(ConversationBusy):
        conversation.send("count parent")
    prompted.go.set()
    assert stream.text == text_for("hold this")
    assert conversation.ask("count parent").text == text_for("count parent")


def test_fork_while_another_thread_holds_locks(prompted: PromptedChatUI, any_client: Client) -> None:
    """Locks of hfclient that other threads hold at the fork, briefly or during a request, are free in the child."""
    conversation = any_client.conversation()
    arrived, leave = threading.Event(), threading.Event()
    held = half_read(any_client, "hold this")
    prompted.always("create", [lambda request: arrived.set(), leave, CLOSE])  # type: ignore[list-item, func-returns-value]
    pool = ThreadPoolExecutor(1)
    creating = pool.submit(conversation.create)
    assert arrived.wait(PATIENCE)
    del prompted._always["create"]
    session = any_client._session
    locks = [held._builder._text._joining, session.credentials._lock]
    locks += [session.transport._lock] if hasattr(session.transport, "_lock") else []
    taken, release = threading.Event(), threading.Event()

    def hold_all() -> None:
        for lock in locks:
            lock.acquire()
        taken.set()
        release.wait(PATIENCE)
        for lock in locks:
            lock.release()

    holder = threading.Thread(target=hold_all)
    holder.start()
    assert taken.wait(PATIENCE)

    def child() -> None:
        assert held.partial.text
        held.close()
        assert any_client.chat("count child").text == text_for("count child")
        assert conversation.create().id
        assert conversation.ask("count created").text == text_for("count created")
        any_client.close()

    pid = in_child(child)
    release.set()
    holder.join()
    assert succeeded(pid)
    leave.set()
    prompted.go.set()
    held.close()
    with pytest.raises(Exception):  # noqa: B017 (the script gave no answer)
        creating.result(PATIENCE)
    pool.shutdown()


def test_threads_that_start_during_a_fork(prompted: PromptedChatUI, any_client: Client) -> None:
    """Eight threads send and stream while the process forks six times: every child and every thread gets its own answer."""
    failures: list[str] = []

    def work(name: str) -> None:
        for turn in range(3):
            prompt = f"count {name}{turn}"
            if any_client.chat(prompt).text != text_for(prompt):
                failures.append(prompt)

    threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(8)]
    children = []
    for number, thread in enumerate(threads):
        thread.start()
        if number < 6:
            children.append(in_child(lambda number=number: work(f"c{number}")))  # type: ignore[misc]
    assert succeeded(*children)
    for thread in threads:
        thread.join(PATIENCE)
    assert failures == []


def test_descriptors_of_the_parent_stay_open(prompted: PromptedChatUI, any_client: Client) -> None:
    """A grandchild of a child that used its own connections works as well, and neither affects the first parent's stream."""
    stream = half_read(any_client, "hold this")

    def child() -> None:
        assert any_client.chat("count child").text == text_for("count child")
        inner = any_client.chat("count inner")
        next(inner)
        assert succeeded(in_child(lambda: grandchild(inner)))
        assert inner.text == text_for("count inner")

    def grandchild(inner: ChatStream) -> None:
        inner.close()
        stream.close()
        assert any_client.chat("count grandchild").text == text_for("count grandchild")

    assert succeeded(in_child(child))
    prompted.go.set()
    assert stream.text == text_for("hold this")
    assert prompted.stops == []
    assert os.getpid() == stream._process


def test_a_job_that_another_thread_polls() -> None:
    """A child may poll the job of an image although a thread of the parent held its lock."""
    job: Job[Any] = Job.__new__(Job)
    reset_after_fork(job._reset_after_fork)
    taken, release = threading.Event(), threading.Event()

    def hold() -> None:
        with job._lock:
            taken.set()
            release.wait(PATIENCE)

    holder = threading.Thread(target=hold)
    holder.start()
    assert taken.wait(PATIENCE)
    pid = in_child(lambda: job._lock.acquire(timeout=1) or os._exit(1))
    release.set()
    holder.join()
    assert succeeded(pid)


def test_a_cancellation_by_another_thread() -> None:
    """A child may cancel although a thread of the parent was cancelling at the fork: it does not inherit the locks."""
    parent = os.getpid()
    cancellation, wire = Cancellation(), Wire()
    taken, release = threading.Event(), threading.Event()

    def wake() -> None:
        if os.getpid() == parent:
            with wire._lock:
                taken.set()
                release.wait(PATIENCE)

    def child() -> None:
        cancellation.cancel()
        wire.shut_down()
        assert cancellation.requested

    with cancellation.waking(wake):
        canceller = threading.Thread(target=cancellation.cancel)
        canceller.start()
        assert taken.wait(PATIENCE)
        pid = in_child(child)
        release.set()
        canceller.join()
    assert succeeded(pid)
