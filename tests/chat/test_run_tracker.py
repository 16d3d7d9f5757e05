"""A message waits until no earlier run writes into its conversation, because that run's save would overwrite it."""

from __future__ import annotations

import copy
import datetime
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client, Conversation
from hfclient.chat.conversations import run_tracker
from hfclient.chat.conversations.conversation import ChatStream
from hfclient.chat.conversations.options import checked_options
from hfclient.chat.conversations.run import Run
from hfclient.chat.conversations.send_lock import exclusive
from hfclient.chat.wire.turn import Turn
from hfclient.errors import (
    Cancelled,
    ConnectError,
    ConversationBusy,
    HFClientError,
    InvalidInputError,
    StreamInterrupted,
)
from hfclient.events import Elicitation, FinalAnswer, Token
from hfclient.process.forks import _after_fork
from hfclient.transport import Cancellation, Timeouts
from tests.chat.conftest import MakeClient
from tests.chat.recordings import recording
from tests.chat.replay import (
    FINISHED,
    JSONL,
    SSE,
    STARTED,
    Chat,
    ChatUI,
    final,
    lines,
    log_of,
    token,
    wait_until,
)
from tests.server import LAST_CHUNK, PATIENCE, RST, UNTIL_GONE, Recorded, Step, chunk, head, json_answer

ROOT = Path(__file__).parents[2]
HELLO = "Hello, world!"
FLAGS_010 = {"searchEnabled": True, "loginEnabled": False, "guestMode": False}


class LongRun:
    """A run that is in progress until the test ends it."""

    def __init__(self, chat: Chat, message: dict[str, Any]) -> None:
        self.chat, self.id = chat, message.get("generationId")
        self.over = threading.Event()
        last_words = {key: message.pop(key, None) for key in ("updates", "interrupted")}
        message["createdAt"] = message["updatedAt"] = datetime.datetime.now(datetime.timezone.utc).isoformat()
        self.saves = copy.deepcopy(chat.messages)
        self.saves[-1].update(last_words)

    def end(self) -> None:
        """Save the conversation as it was when the run began, with the answer, as chat-ui does."""
        self.chat.messages[:] = self.saves
        self.over.set()


class LongRuns(ChatUI):
    """A `ChatUI` whose runs continue after their answer, and then save the whole conversation.

    Attributes:
        hold: Whether new runs do.
        runs: Those that did, oldest first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hold = True
        self.runs: list[LongRun] = []

    def _take_message(self, request: Recorded) -> Any:
        answer = super()._take_message(request)
        if self.hold:
            chat = self.chats[request.path.split("/")[2]]
            self.runs.append(LongRun(chat, chat.messages[-1]))
        return answer

    def _log(self, request: Recorded, chat: Chat) -> Any:
        run = next((run for run in self.runs if run.id == request.query.get("generationId")), None)
        return super()._log(request, chat) if run is None else self._follow(run)

    def _follow(self, run: LongRun) -> Iterator[Step]:
        yield head(200, SSE, "Transfer-Encoding: chunked")
        while not run.over.is_set():
            yield chunk(b": heartbeat\n\n")
            yield 0.01
        yield chunk(log_of(end="completed").encode())
        yield LAST_CHUNK


@pytest.fixture
def ui() -> Iterator[LongRuns]:
    """A server whose first run continues after its answer; the next ones do not."""
    with LongRuns() as running:
        updates = [STARTED, token("a"), final("a")]
        live = [head(200, JSONL, "Transfer-Encoding: chunked"), chunk(lines(*updates) + b" " * 4096), UNTIL_GONE]
        running.says(lines(*updates), live, stored={"content": "a", "interrupted": False, "updates": [*updates, FINISHED]})
        running.says(recording("plain"))
        yield running
        for run in running.runs:
            run.end()


def users(ui: ChatUI) -> list[str]:
    return [message["content"] for message in ui.chat.users]


class InThread:
    """A call in its own thread."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.result: Any = None

        def run() -> None:
            try:
                self.result = call()
            except HFClientError as error:
                self.result = error

        self.thread = threading.Thread(target=run)
        self.thread.start()

    def join(self) -> Any:
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        return self.result


def leave_at_the_final_answer(stream: ChatStream) -> None:
    for event in stream:
        if isinstance(event, FinalAnswer):
            break


def leave_in_mid_answer(stream: ChatStream) -> None:
    for event in stream:
        if isinstance(event, Token):
            break


def close_unread(stream: ChatStream) -> None:
    stream.close()


LEAVE = [leave_at_the_final_answer, leave_in_mid_answer, close_unread]
GO_ON: dict[str, Callable[[Client, Conversation], Any]] = {
    "the same object": lambda client, first: first.ask("two").text,
    "another object": lambda client, first: client.conversation(first.id).ask("two").text,
    "a restored object": lambda client, first: client.restore(first.to_dict()).ask("two").text,
}


@pytest.mark.parametrize("on_close", ["stop", "detach"])
@pytest.mark.parametrize("go_on", GO_ON)
@pytest.mark.parametrize("leave", LEAVE)
def test_a_message_after_an_answer_that_was_left(
    ui: LongRuns, client: Client, leave: Callable[[ChatStream], None], go_on: str, on_close: Any
) -> None:
    """The message is sent after the run has ended, and both are kept."""
    conversation = client.conversation()
    leave(conversation.send("one", on_close=on_close))
    ui.hold = False
    second = InThread(lambda: GO_ON[go_on](client, conversation))
    wait_until(lambda: ui.count("log") > 0)
    assert ui.count("send") == 1
    ui.runs[0].end()
    assert second.join() == HELLO
    assert users(ui) == ["one", "two"]
    assert ui.chat.users[1]["ancestors"][-1] == ui.chat.messages[2]["id"]


def test_both_transports(ui: LongRuns, any_client: Client) -> None:
    """Both transports wait in the same way."""
    conversation = any_client.conversation()
    leave_at_the_final_answer(conversation.send("one"))
    ui.hold = False
    second = InThread(lambda: conversation.ask("two").text)
    wait_until(lambda: ui.count("log") > 0)
    ui.runs[0].end()
    assert (second.join(), users(ui)) == (HELLO, ["one", "two"])


def test_another_process(ui: LongRuns, client: Client) -> None:
    """A process that knows only the id waits, too."""
    conversation = client.conversation()
    leave_in_mid_answer(conversation.send("one", on_close="detach"))
    ui.hold = False
    code = (
        "import sys; from hfclient import Client\n"
        "client = Client(sys.argv[1], token='', cookies={'hf-chat': 'me'})\n"
        "print(client.conversation(sys.argv[2]).ask('two').text)\n"
    )
    command = [sys.executable, "-c", code, ui.url, conversation.id or ""]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        wait_until(lambda: ui.count("log") > 0)
        assert ui.count("send") == 1
        ui.runs[0].end()
        out, _ = worker.communicate(timeout=PATIENCE)
    finally:
        worker.kill()
        worker.wait()
    assert out.strip() == HELLO
    assert users(ui) == ["one", "two"]


@pytest.mark.parametrize("way", ["retry", "edit", "delete_message", "rename"])
def test_other_changes_wait(ui: LongRuns, client: Client, way: str) -> None:
    """Changes that the save of a run would undo are made after it."""
    conversation = client.conversation()
    ui.hold = False
    ui._next.insert(0, ui._next[1])
    conversation.ask("zero")
    ui.hold = True
    leave_at_the_final_answer(conversation.send("one"))
    ui.hold = False
    calls: dict[str, Callable[[], Any]] = {
        "retry": lambda: conversation.retry().text,
        "edit": lambda: conversation.edit("other words").text,
        "delete_message": lambda: conversation.delete_message("x"),
        "rename": lambda: conversation.rename("A title"),
    }
    call = InThread(calls[way])
    wait_until(lambda: ui.count("log") > 0)
    assert (ui.count("send"), ui.count("rename"), ui.count("other")) == (2, 0, 0)
    ui.runs[0].end()
    assert not isinstance(call.join(), ConversationBusy)
    assert "one" in users(ui)
    assert (ui.count("send"), ui.count("rename"), ui.count("other")) != (2, 0, 0)


def test_after_an_interrupted_stream(ui: LongRuns, client: Client) -> None:
    """A run whose answer could not be resumed may still be in progress."""
    ui._next[0].live = [head(200, JSONL, "Transfer-Encoding: chunked"), chunk(lines(STARTED, token("a"))), RST]
    ui.always("log", json_answer({"message": "no"}, 403))
    ui.always("read", json_answer({"message": "no"}, 403))
    conversation = client.conversation()
    with pytest.raises(StreamInterrupted):
        conversation.ask("one")
    ui._always.clear()
    ui.hold = False
    before = ui.count("log")
    second = InThread(lambda: conversation.ask("two").text)
    wait_until(lambda: ui.count("log") > before)
    assert ui.count("send") == 1
    ui.runs[0].end()
    assert (second.join(), users(ui)) == (HELLO, ["one", "two"])


def test_a_body_without_its_end(ui: LongRuns, client: Client) -> None:
    """``finished`` comes before the save: only the end of the body, or of the log, means that the run is over."""
    updates = [STARTED, token("a"), final("a"), FINISHED]
    ui._next[0].live = [head(200, JSONL, "Transfer-Encoding: chunked"), chunk(lines(*updates)), UNTIL_GONE]
    conversation = client.conversation()
    assert conversation.ask("one").text == "a"
    ui.hold = False
    second = InThread(lambda: conversation.ask("two").text)
    wait_until(lambda: ui.count("log") > 0)
    assert ui.count("send") == 1
    ui.runs[0].end()
    assert (second.join(), users(ui)) == (HELLO, ["one", "two"])


@pytest.mark.parametrize("wait", [0, 0.05])
def test_how_long_it_waits(ui: LongRuns, client: Client, wait: float) -> None:
    """After *wait* seconds the call raises and nothing was sent; later the message can be sent."""
    conversation = client.conversation()
    leave_at_the_final_answer(conversation.send("one"))
    ui.hold = False
    for call in (conversation.send, conversation.ask, conversation.edit):
        with pytest.raises(ConversationBusy, match="still being written"):
            call("two", wait=wait)
    with pytest.raises(ConversationBusy, match="still being written"):
        conversation.retry(wait=wait)
    assert ui.count("send") == 1
    ui.runs[0].end()
    assert conversation.ask("two", wait=wait).text == HELLO
    assert users(ui) == ["one", "two"]


def test_the_total_deadline_ends_the_wait(ui: LongRuns, client: Client) -> None:
    """``Timeouts.total`` ends the wait, however long *wait* is."""
    conversation = client.conversation()
    leave_at_the_final_answer(conversation.send("one"))
    for wait in (60.0, None):
        with pytest.raises(ConversationBusy):
            conversation.send("two", wait=wait, timeouts=Timeouts(total=0.1))
    assert ui.count("send") == 1


@pytest.mark.parametrize("wait", [None, float("inf"), 1e10, 10**400], ids=["None", "inf", "1e10", "10**400"])
def test_waiting_without_end(ui: LongRuns, client: Client, wait: Any) -> None:
    """None, infinity and numbers beyond any clock wait without limit, for a run and for another thread."""
    conversation = client.conversation()
    stream = conversation.send("one")
    second = InThread(lambda: conversation.ask("two", wait=wait).text)
    leave_at_the_final_answer(stream)
    wait_until(lambda: ui.count("log") > 0)
    ui.hold = False
    ui.runs[0].end()
    assert (second.join(), users(ui)) == (HELLO, ["one", "two"])


@pytest.mark.parametrize("wait", [-1, -0.1, float("nan"), float("-inf"), "60", "soon", True, [], object()])
def test_invalid_waits(ui: LongRuns, client: Client, wait: Any) -> None:
    """An invalid *wait* is refused before anything is sent, in each call that has one."""
    conversation = client.conversation("6b010f31c065be6a00896989")
    question = Elicitation("x", "server", "form", "message")
    for call in (
        lambda: conversation.send("x", wait=wait),
        lambda: conversation.ask("x", wait=wait),
        lambda: conversation.edit("x", wait=wait),
        lambda: conversation.retry(wait=wait),
        lambda: conversation.answer(question, wait=wait),
    ):
        with pytest.raises(InvalidInputError, match="wait"):
            call()
    assert ui.connections == 0


def test_objects_that_send_at_once(ui: LongRuns, make_client: MakeClient) -> None:
    """Threads with their own objects and clients send one after the other, each after the run before."""
    conversation = make_client().conversation().create()
    cookies = {"hf-chat": "me"}
    ui._next.pop(0)
    ending = threading.Event()

    def end_runs() -> None:
        done = 0
        while not ending.wait(0.01):
            for run in ui.runs[done:]:
                time.sleep(0.03)  # a run takes a while
                run.end()
                done += 1

    ender = InThread(end_runs)
    try:
        with ThreadPoolExecutor(4) as pool:
            clients = [make_client(cookies=cookies) for _ in range(4)]
            answers = list(pool.map(lambda client: client.conversation(conversation.id).ask("x").text, clients))
    finally:
        ending.set()
        ender.join()
    assert answers == [HELLO] * 4
    assert users(ui) == ["x"] * 4
    assert ui.count("send") == 4


def test_a_fork_in_mid_send() -> None:
    """A forked child does not wait for a thread of its parent."""
    with exclusive("http://x", "id", time.monotonic()):
        with pytest.raises(ConversationBusy), exclusive("http://x", "id", time.monotonic()):
            pass
        _after_fork()
        with exclusive("http://x", "id", time.monotonic()):
            pass


# Requests


def test_no_requests_without_need(ui: LongRuns, client: Client) -> None:
    """After an answer that was read to its end, a message needs only the id of its parent."""
    ui.hold = False
    ui._next.pop(0)
    conversation = client.conversation()
    for _ in range(3):
        conversation.ask("x")
    again = client.conversation(conversation.id)
    again.ask("x")
    kinds = [kind for kind, _ in ui.seen]
    assert kinds == ["models", "create", "send", "read", "send", "read", "send", "read", "send"]


# How the end of a run is recognized


def stored(ui: ChatUI, client: Client, message: dict[str, Any], title: str = "T") -> Conversation:
    """A conversation whose last answer is stored like *message*."""
    ui._next.pop(0)
    ui.hold = False  # type: ignore[attr-defined]
    conversation = client.conversation().create()
    asked = ui._add(ui.chat, ui.chat.messages[0], {"from": "user", "content": "one"})
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    ui._add(ui.chat, asked, {"from": "assistant", "content": "", "createdAt": now, "updatedAt": now, **message})
    ui.chat.title = title
    return client.conversation(conversation.id)


OLD = {"createdAt": "2026-01-01T00:00:00.000Z", "updatedAt": "2026-01-01T00:00:00.000Z"}
NO_DATES = {"createdAt": None, "updatedAt": None}
ERROR = {"type": "status", "status": "error", "message": "boom"}
TITLE = {"type": "title", "title": "T"}
RUN = "11111111-1111-4111-8111-111111111111"
OVER: dict[str, tuple[dict[str, Any], str]] = {
    "finished": ({"updates": [STARTED, FINISHED], "generationId": RUN}, "T"),
    "failed": ({"updates": [STARTED, ERROR], "generationId": RUN}, "T"),
    "died long ago": ({"updates": [STARTED], "generationId": RUN, **OLD}, "T"),
    "finished, no ids": ({"updates": [STARTED, FINISHED]}, "New Chat"),
    "failed, no ids": ({"updates": [ERROR]}, "New Chat"),
    "with its title, no ids": ({"interrupted": False, "updates": [STARTED, final("a"), TITLE]}, "New Chat"),
    "a later one, no ids": ({"interrupted": False, "updates": [STARTED, final("a")]}, "T"),
    "died long ago, no ids": ({"content": "half", **OLD}, "T"),
    "of 2023": ({"content": "an answer", **NO_DATES}, "T"),
}


@pytest.mark.parametrize("what", OVER)
def test_complete_answers(ui: LongRuns, client: Client, what: str) -> None:
    """The conversation shows that the run is over: nothing is waited for, and no log is requested."""
    message, title = OVER[what]
    assert stored(ui, client, message, title).ask("two", wait=0).text == HELLO
    assert ui.count("log") == 0


LIVE: dict[str, tuple[dict[str, Any], str]] = {
    "its title is pending": ({"interrupted": False, "updates": [STARTED, final("a")]}, "New Chat"),
    "begun": ({}, "New Chat"),
    "in the middle": ({"content": "half", "updates": [STARTED]}, "T"),
}


@pytest.mark.parametrize("what", LIVE)
def test_running_answers_on_a_server_without_logs(ui: LongRuns, client: Client, what: str) -> None:
    """The conversation is read again until the run has ended."""
    message, title = LIVE[what]
    conversation = stored(ui, client, message, title)
    with pytest.raises(ConversationBusy):
        conversation.ask("two", wait=0)
    before = ui.count("read")
    second = InThread(lambda: conversation.ask("two").text)
    wait_until(lambda: ui.count("read") > before + 2)
    assert ui.count("send") == 0
    ui.chat.messages[-1].update(interrupted=False, updates=[STARTED, final("a"), TITLE])
    assert second.join() == HELLO
    assert users(ui) == ["one", "two"]


@pytest.mark.parametrize(
    ("message", "is_over"),
    [({}, False), ({"content": "half"}, True), ({"updates": [STARTED]}, True), ({"interrupted": False}, True)],
)
def test_servers_whose_runs_end_with_their_connection(
    ui: LongRuns, client: Client, message: dict[str, Any], is_over: bool
) -> None:
    """Version 0.10 and before: a stored answer is complete; while a run has a reader, nothing is stored."""
    ui.always("features", json_answer({"json": FLAGS_010}))
    conversation = stored(ui, client, message, "New Chat")
    if is_over:
        assert conversation.ask("two", wait=0).text == HELLO
    else:
        with pytest.raises(ConversationBusy):
            conversation.ask("two", wait=0)


def test_an_answer_that_was_left_there(ui: LongRuns, client: Client) -> None:
    """On these servers the run of an answer that this object has left is over, whatever is stored of it."""
    ui.always("features", json_answer({"json": FLAGS_010}))
    ui.has_log = False
    conversation = client.conversation()
    close_unread(conversation.send("one"))
    ui.hold = False
    assert conversation.ask("two", wait=0).text == HELLO


@pytest.mark.parametrize("log", [log_of(end="gone"), None], ids=["gone", "no log"])
def test_an_unknown_log(ui: LongRuns, client: Client, log: str | None) -> None:
    """A run that the server does not know is looked up a few times, because it may be just beginning."""
    conversation = stored(ui, client, {"generationId": RUN})
    if log is None:
        ui.has_log = False
    assert conversation.ask("two", wait=PATIENCE).text == HELLO
    assert ui.count("read") >= 3


@pytest.mark.parametrize("how", [[RST], [head(200, SSE, "Transfer-Encoding: chunked"), chunk(b": heartbeat\n\n"), RST]])
def test_a_log_that_breaks_off(ui: LongRuns, client: Client, how: Any) -> None:
    """The log is requested again, and the message is not sent before its end."""
    conversation = client.conversation()
    leave_at_the_final_answer(conversation.send("one"))
    ui.hold = False
    ui.fault("log", how, how, how)
    second = InThread(lambda: conversation.ask("two").text)
    wait_until(lambda: ui.count("log") > 3)
    assert ui.count("send") == 1
    ui.runs[0].end()
    assert (second.join(), users(ui)) == (HELLO, ["one", "two"])


def test_a_parked_answer_that_continues(ui: LongRuns, client: Client) -> None:
    """A message with a question may be written again after its end, so its log is requested."""
    asks = {"type": "elicitation", "subtype": "request", "request": {"elicitationId": "x", "fields": []}}
    conversation = stored(ui, client, {"generationId": RUN, "updates": [STARTED, asks, FINISHED]})
    run = LongRun(ui.chat, ui.chat.messages[-1])
    ui.chat.messages[-1]["updates"] = [STARTED, asks, FINISHED]
    ui.runs.append(run)
    with pytest.raises(ConversationBusy):
        conversation.ask("two", wait=0)
    run.end()
    assert conversation.ask("two").text == HELLO
    logs = ui.count("log")
    conversation.ask("three")
    assert ui.count("log") == logs  # already known


def test_a_conversation_that_cannot_be_read(ui: LongRuns, client: Client) -> None:
    """If the conversation cannot be read, nothing is sent."""
    conversation = client.conversation()
    leave_at_the_final_answer(conversation.send("one"))
    ui.always("read", [RST])
    with pytest.raises(ConnectError):
        conversation.ask("two")
    assert ui.count("send") == 1


def test_the_wait_for_a_stop_can_be_cancelled(ui: LongRuns, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a stop may still hit another run, cancel() ends the wait, and no request is sent."""
    monkeypatch.setattr(run_tracker, "_STOP_MARK", PATIENCE)
    conversation = client.conversation("0" * 24)
    tracker = conversation._runs
    options = checked_options(conversation.service, {})
    cancellation = Cancellation()
    stopped = Run(conversation.service, Turn("0" * 24, "g"), options, cancellation)
    stopped.stop_unconfirmed = True
    tracker.add_ended(stopped)
    cancellation.cancel()
    with pytest.raises(Cancelled):
        tracker.wait_until_idle("0" * 24, time.monotonic() + PATIENCE, cancellation=cancellation)
    assert not ui.requests


def test_an_overwritten_turn_is_logged(
    ui: LongRuns, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """A turn that the run of another client has overwritten is logged."""
    ui.hold = False
    ui._next.pop(0)
    conversation = client.conversation()
    conversation.ask("zero")
    before = copy.deepcopy(ui.chat.messages)
    run = conversation.send("one")
    run.result()
    ui.chat.messages[:] = before
    with caplog.at_level(logging.WARNING, logger="hfclient"):
        conversation.ask("two")
    assert run.generation_id in caplog.text
    assert users(ui) == ["zero", "two"]
    caplog.clear()
    conversation.ask("three")
    conversation.delete()
    conversation.temporary = True
    for text in ("four", "five"):
        conversation.ask(text)
    assert not caplog.records
