"""`Client.map`: conversations of their own on a chat-ui, which a later run finds again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client
from hfclient.batch import Batch, read_results
from hfclient.batch.calls import conversations
from hfclient.batch.checkpoints import open_checkpoint
from hfclient.errors import ConversationLimit, InvalidInputError
from hfclient.types import Reply
from tests.chat.conftest import PATIENT, _short_pauses  # noqa: F401
from tests.chat.replay import FINISHED, STARTED, ChatUI, cut, final, lines, log_of, token
from tests.server import PATIENCE, RST, chunk, head, json_answer

ANSWER = (STARTED, token("Hello"), token(" there"), final("Hello there"), FINISHED)
STORED = {"content": "Hello there", "updates": [final("Hello there")], "interrupted": False}


@pytest.fixture
def ui() -> Iterator[ChatUI]:
    with ChatUI() as ui:
        yield ui


@pytest.fixture
def client(ui: ChatUI) -> Iterator[Client]:
    with Client(ui.url, token="", timeouts=PATIENT) as client:
        yield client


def answers(ui: ChatUI, **options: Any) -> None:
    ui.says(lines(*ANSWER), log=log_of(*ANSWER), stored=STORED, **options)


def test_conversations(client: Client, ui: ChatUI, tmp_path: Path) -> None:
    """Each prompt has a conversation, with its own options; a checkpoint gives the replies back without a request."""
    answers(ui)
    items: list[Any] = ["a", {"prompt": "b", "id": "two", "model": "org/second", "system_prompt": "Be terse."}]
    items += [[{"role": "system", "content": "Be kind."}, {"role": "user", "content": "c"}]]

    def ask() -> Batch:
        return client.map(items, checkpoint=tmp_path / "out.jsonl", workers=3)

    first = ask().results()
    assert [result.get().text for result in first] == ["Hello there"] * 3
    assert first[1].id == "two"
    chats = {chat.id: chat for chat in ui.chats.values()}
    asked = [chats[result.value.conversation_id] for result in first]
    assert [chat.users[0]["content"] for chat in asked] == ["a", "b", "c"]
    assert [(chat.model, chat.preprompt) for chat in asked] == [
        ("org/first", ""),
        ("org/second", "Be terse."),
        ("org/first", "Be kind."),
    ]
    count = len(ui.seen)
    again = ask().results()
    assert [result.value for result in again] == [result.value for result in first]
    assert {kind for kind, _ in ui.seen[count:]} <= {"models"}
    stored = sorted(read_results(tmp_path / "out.jsonl"), key=lambda result: result.index)
    assert [result.value for result in stored] == [result.value for result in first]


def test_several_turns(client: Client, ui: ChatUI, tmp_path: Path) -> None:
    """A list of strings is one conversation; its value is the list of replies."""
    answers(ui)
    items: list[Any] = [["a", "and b?"], {"prompts": ["c", "and d?", "and e?"]}]
    results = client.map(items, checkpoint=tmp_path / "out.jsonl").results()
    assert [[reply.text for reply in result.get()] for result in results] == [["Hello there"] * 2, ["Hello there"] * 3]
    texts = [[message["content"] for message in chat.users] for chat in ui.chats.values()]
    assert sorted(texts) == [["a", "and b?"], ["c", "and d?", "and e?"]]
    again = client.map(items, checkpoint=tmp_path / "out.jsonl").results()
    assert [result.value for result in again] == [result.value for result in results]


def test_temporary(client: Client, ui: ChatUI) -> None:
    """With ``temporary`` the conversations are deleted once they are answered."""
    answers(ui)
    assert all(result.ok for result in client.map(["a", "b"], temporary=True))
    assert ui.chats == {}


def test_limits_cost_time(client: Client, ui: ChatUI) -> None:
    """A message that is refused for a limit is sent later, in a new conversation: the empty one is deleted."""
    answers(ui)
    busy = json_answer({"message": "You are sending too many messages"}, 429, "Retry-After: 1")
    ui.fault("send", [busy], None, [busy])
    results = client.map(["a", "b", "c"], workers=2).results()
    assert ui.count("models") == 1
    assert [result.get().text for result in results] == ["Hello there"] * 3
    assert len(ui.chats) == 3
    assert all(len(chat.users) == 1 for chat in ui.chats.values())
    assert ui.count("delete") == 2


def test_too_many_conversations(client: Client, ui: ChatUI) -> None:
    """The limit of conversations does not pass by waiting: it is an error at once."""
    answers(ui)
    ui.always("create", json_answer({"message": "You have reached the maximum number of conversations"}, 429))
    with pytest.raises(ConversationLimit):
        client.map(["a"]).results()[0].get()


def test_a_broken_answer_is_read_again(client: Client, ui: ChatUI, tmp_path: Path) -> None:
    """An answer that breaks off without a log is an error; the next run reads the finished answer, and sends nothing."""
    answers(ui, live=cut(120))
    ui.always("log", [RST])
    ui.always("read", [RST])
    impatient = Client(ui.url, token="", timeouts=PATIENT, retry=_one_attempt())
    path = tmp_path / "out.jsonl"
    batch = impatient.map(["a"], checkpoint=path)
    failed = batch.results()[0]
    assert failed.error is not None
    ui._always.clear()
    [result] = batch.retry_failed().results()
    assert result.get().text == "Hello there"
    assert ui.count("send") == 1
    assert ui.count("create") == 1


def _one_attempt() -> Any:
    from hfclient.transport import Retry

    return Retry(attempts=1, resume=0.0)


@pytest.mark.parametrize("state", ["empty", "answered", "interrupted", "deleted", "no log"])
def test_what_a_killed_run_left(client: Client, ui: ChatUI, tmp_path: Path, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A noted conversation is continued: an empty one gets its message, an answer is read, a stopped one is generated again."""
    monkeypatch.setattr(conversations, "_ARRIVAL", 0.0)
    answers(ui)
    path = tmp_path / "out.jsonl"
    if state == "empty":
        ui.fault("send", [RST])  # of the first run, which is killed
        conversation = client.conversation().create()
    else:
        conversation = client.chat("a").result() and next(iter(client.conversations))  # type: ignore[assignment]
    chat = ui.chat
    if state == "interrupted":
        chat.messages[-1].update(interrupted=True, content="Hel")
        next(iter(chat.answers.values())).log = log_of(STARTED, token("Hel"), final("Hel", True), end="interrupted")
    if state == "deleted":
        ui.chats.clear()
    if state == "no log":
        ui.has_log = False
    with_note(client, path, {"conversation": chat.id, "at": 0.0})
    if state == "empty":
        ui._faults.clear()
    sent = ui.count("send")
    [result] = client.map(["a"], checkpoint=path).results()
    assert result.get().text == "Hello there"
    assert ui.count("send") - sent == (0 if state in ("answered", "no log") else 1)
    assert ui.count("create") == (2 if state == "deleted" else 1)
    del conversation


def test_a_killed_run_between_two_turns(client: Client, ui: ChatUI, tmp_path: Path) -> None:
    """Of several prompts in one conversation, those that have been sent are not sent again."""
    answers(ui)
    path = tmp_path / "out.jsonl"
    client.chat("a").result()
    with_note(client, path, {"conversation": ui.chat.id, "at": 0.0}, ["a", "and b?"])
    [result] = client.map([["a", "and b?"]], checkpoint=path).results()
    assert [reply.text for reply in result.get()] == ["Hello there"] * 2
    assert [message["content"] for message in ui.chat.users] == ["a", "and b?"]
    assert ui.count("send") == 2


def test_a_killed_run_after_its_conversation_was_deleted(client: Client, ui: ChatUI, tmp_path: Path) -> None:
    """The answers of a temporary conversation are noted before it is deleted, so a kill after that does not lose them."""
    answers(ui)
    path = tmp_path / "out.jsonl"
    notes = []
    real = conversations.Notes.note

    def note(self: Any, data: Any) -> None:
        notes.append(data)
        real(self, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversations.Notes, "note", note)
        client.map(["a"], temporary=True, checkpoint=tmp_path / "other.jsonl").results()
    assert ui.chats == {}
    with_note(client, path, notes[-1])
    [result] = client.map(["a"], temporary=True, checkpoint=path).results()
    assert result.get().text == "Hello there"
    assert ui.count("send") == 1


def test_a_batch_that_is_left(client: Client, ui: ChatUI, tmp_path: Path) -> None:
    """With a checkpoint the server finishes what is in flight when the batch is closed, and the next run reads it."""
    slow = threading.Event()
    started = threading.Event()

    def hold(request: Any) -> bytes:
        started.set()
        slow.wait(PATIENCE)
        return b""

    begin = [head(200, "Content-Type: application/jsonl", "Transfer-Encoding: chunked"), chunk(lines(STARTED, token("Hel"))), hold]
    answers(ui, live=begin)
    path = tmp_path / "out.jsonl"
    batch = client.map(["a"], checkpoint=path)
    interrupt = threading.Thread(target=lambda: (started.wait(PATIENCE), os.kill(os.getpid(), signal.SIGINT)), daemon=True)
    interrupt.start()
    with pytest.raises(KeyboardInterrupt), batch:
        next(batch)
    interrupt.join()
    slow.set()
    assert ui.stops == []
    [result] = client.map(["a"], checkpoint=path).results()
    assert result.get().text == "Hello there"
    assert ui.count("send") == 1


def with_note(client: Client, path: Path, note: dict[str, Any], prompt: Any = "a") -> None:
    """Write a checkpoint with a note of an item, as a killed run leaves it."""
    from hfclient.batch.checkpoints.cache import open_store
    from hfclient.batch.checkpoints.keys import key_of
    from hfclient.batch.items import Item

    call = conversations.ConversationCall(client, {})
    store = open_store(call, path, None, "raise")
    assert store is not None
    store.note(key_of(call.settings(Item(0, prompt))), note)
    store.close()


RUN = """
import sys
from hfclient import Client
with Client(sys.argv[1], token="", session="calls") as client:
    for result in client.map([f"prompt {number}" for number in range(int(sys.argv[3]))], checkpoint=sys.argv[2], workers=4):
        result.get()
"""


def test_killed_again_and_again(ui: ChatUI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is killed while messages are sent and started again sends no message twice: the server counts."""
    answers(ui)
    path, count = tmp_path / "out.jsonl", 18
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    to_kill: list[int] = []  # the numbers of the next messages at which the server kills the run
    processes: list[subprocess.Popen[bytes]] = []
    is_running, changing = threading.Event(), threading.Lock()
    send = ui._send

    def kill(request: Any, chat: Any) -> Any:
        answer = send(request, chat)
        with changing:
            if to_kill and ui.count("send") >= to_kill[0]:
                to_kill.clear()
                assert is_running.wait(PATIENCE)
                processes[-1].kill()
        return answer

    monkeypatch.setattr(ui, "_send", kill)
    for more in (3, 5, 7, None):
        is_running.clear()
        to_kill[:] = [] if more is None else [ui.count("send") + more]
        with subprocess.Popen([sys.executable, "-c", RUN, ui.url, str(path), str(count)], env=environment) as process:
            processes.append(process)
            is_running.set()
            try:
                process.wait(2 * PATIENCE)
            finally:
                process.kill()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
    assert process.returncode == 0
    assert len(processes) > 1
    assert sorted(message["content"] for chat in ui.chats.values() for message in chat.users) == sorted(
        f"prompt {number}" for number in range(count)
    )
    with_values = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert sum("value" in line for line in with_values) == count


@pytest.mark.parametrize(
    ("item", "options", "error", "message"),
    [
        ("a", {"modell": "m"}, TypeError, "did you mean model"),
        ("a", {"on_close": "detach"}, TypeError, "on_close"),
        ("a", {"model": 3}, InvalidInputError, "model must be a string"),
        ("a", {"service": "batch"}, InvalidInputError, "client.inference.map"),
        ({"prompt": "a", "temporary": True}, {}, InvalidInputError, "temporary"),
        ([], {}, InvalidInputError, "the prompt is empty"),
    ],
)
def test_mistakes(client: Client, ui: ChatUI, item: Any, options: dict[str, Any], error: type[Exception], message: str) -> None:
    """A wrong option raises at ``map``, before anything is sent."""
    with pytest.raises(error, match=message):
        client.map([item], **options)
    assert ui.seen == []


def test_values_are_replies(client: Client, ui: ChatUI) -> None:
    """The results know their conversations, so that they can be continued."""
    answers(ui)
    [result] = client.map(["a"]).results()
    assert isinstance(result.value, Reply)
    conversation = client.conversation(result.value.conversation_id)
    assert conversation.ask("and?").text == "Hello there"
    assert open_checkpoint(None) is None
