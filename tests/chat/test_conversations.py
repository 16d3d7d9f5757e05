"""Conversations as objects and as a list: reading, renaming, deleting, saving for another process, reading streams."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client, Reply
from hfclient.errors import HFClientError, InvalidInputError, NotFoundError, StreamConsumed
from hfclient.events import FinalAnswer, Reasoning, Status, Title, Token, from_dict, to_dict
from tests.chat.conftest import MakeClient
from tests.chat.recordings import RECORDINGS, recording
from tests.chat.replay import Chat, ChatUI, form_data
from tests.server import json_answer
from tests.unit.test_updates import read

HELLO = "Hello, world!"
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _says_hello(ui: ChatUI) -> None:
    ui.says(recording("plain"))


# The stream of an answer


def test_events_in_order(any_client: Client) -> None:
    """Iterating yields the events in order."""
    assert list(any_client.chat("Hi")) == read([recording("plain").stream])[0]


def test_iter_text(ui: ChatUI, any_client: Client) -> None:
    """`iter_text` yields the text of the answer in pieces, without reasoning."""
    assert list(any_client.chat("Hi").iter_text()) == ["Hello", ", ", "world", "!"]
    ui.says(recording("reasoning"))
    assert "".join(any_client.chat("Hi").iter_text()) == "Hello, world!"
    assert "".join(any_client.chat("Hi").iter_text()) == "The answer is 42."


def test_text_and_result(client: Client) -> None:
    """`text` and `result` return the whole answer, also when called again."""
    stream = client.chat("Hi")
    assert stream.text == stream.text == HELLO
    reply = stream.result()
    assert reply is not None
    assert reply == stream.result() == stream.partial
    assert str(reply) == HELLO
    assert (reply.title, reply.model, reply.interrupted) == (HELLO, "org/first", False)
    assert reply.conversation_id == stream.conversation.id
    assert reply.generation_id == stream.generation_id
    assert pickle.loads(pickle.dumps(reply)) == reply
    assert Reply.from_dict(json.loads(json.dumps(reply.to_dict()))) == reply


def test_partial(client: Client) -> None:
    """`partial` has the answer so far, at any time, without reading."""
    stream = client.chat("Hi")
    assert stream.partial.text == ""
    seen = []
    for event in stream:
        if isinstance(event, Token):
            seen.append(event.text)
            assert stream.partial.text.startswith("".join(seen))
    assert stream.partial == stream.result()


def test_next(client: Client) -> None:
    """A stream is its own iterator; a loop continues where `next` stopped."""
    stream = client.chat("Hi")
    assert next(stream) == Status("started")
    assert next(stream) == Token("Hello")
    assert [type(event) for event in stream] == [Title, Token, Token, Token, FinalAnswer, Status]
    with pytest.raises(StopIteration):
        next(stream)
    assert stream.text == HELLO


def test_a_second_pass(client: Client) -> None:
    """A stream can be read once; a second pass raises."""
    for read_all in (list, lambda stream: stream.text, lambda stream: [next(stream), *stream]):
        stream = client.chat("Hi")
        read_all(stream)
        for again in (iter, list, lambda stream: list(stream.iter_text())):
            with pytest.raises(StreamConsumed, match="read once"):
                again(stream)
        assert stream.result().text == HELLO


def test_two_loops_at_once(client: Client) -> None:
    """A second loop while the first one reads raises."""
    stream = client.chat("Hi")
    loop = iter(stream)
    next(loop)
    with pytest.raises(StreamConsumed, match="still reading"):
        iter(stream)
    assert [type(event) for event in loop][:2] == [Token, Title]


def test_on_event(ui: ChatUI, make_client: MakeClient) -> None:
    """The callback of the client gets each event before the reader does, in each way of reading."""
    seen: list[Any] = []
    client = make_client(on_event=seen.append)
    for event in client.chat("Hi"):
        assert seen[-1] is event
    assert seen == read([recording("plain").stream])[0]
    seen.clear()
    assert client.conversation().ask("Hi").text == HELLO
    assert seen == read([recording("plain").stream])[0]


def test_a_callback_that_fails(make_client: MakeClient) -> None:
    """The exception of a callback reaches the reader unchanged, also a ValueError."""

    def callback(event: Any) -> None:
        if isinstance(event, Title):
            raise ValueError("mine")

    stream = make_client(on_event=callback).chat("Hi")
    assert next(stream) == Status("started")
    assert next(stream) == Token("Hello")
    with pytest.raises(ValueError, match="mine"):
        next(stream)


@pytest.mark.parametrize("item", [item for item in RECORDINGS if item.name not in ("empty", "upstream_500")], ids=str)
def test_every_recording(ui: ChatUI, client: Client, item: Any) -> None:
    """Each recorded answer, over a real socket, gives the reply that its server has stored."""
    ui._next.clear()
    ui.says(item)
    ui.has_log = item.version == "0.20"
    stream = client.chat("Hi")
    events = list(stream)
    reply, stored = stream.result(), item.answer
    assert (reply.text, reply.reasoning, reply.title) == (stored.content, stored.reasoning, item.state.title.strip())
    assert [from_dict(to_dict(event)) for event in events] == events
    message = stream.conversation.messages()[-1]
    assert (message.content, message.reasoning) == (reply.text, reply.reasoning)


def test_reasoning_is_apart(ui: ChatUI, client: Client) -> None:
    """Reasoning is kept apart from the text."""
    ui._next.clear()
    ui.says(recording("reasoning"))
    stream = client.chat("Hi")
    assert [event.text for event in stream if isinstance(event, Reasoning)] == ["Let me ", "think."]
    reply = stream.result()
    assert (reply.text, reply.reasoning) == ("The answer is 42.", "Let me think.")
    assert reply.title == "Let me think.The answer is 42."


def test_tool_calls(ui: ChatUI, client: Client) -> None:
    """Calls and results are matched by their ids."""
    ui._next.clear()
    ui.says(recording("tool_echo"))
    reply = client.chat("Hi").result()
    (call,), (result,) = reply.tool_calls, reply.tool_results
    assert (call.name, call.uuid, result.outputs[0]["text"]) == ("echo", result.uuid, "ping")
    assert reply.text == "Tool said ping."


# One conversation


def test_messages_and_tree(ui: ChatUI, client: Client) -> None:
    """`messages` returns the active branch in order, `tree` all branches."""
    conversation = client.conversation(system_prompt="Be terse.")
    conversation.ask("one")
    conversation.ask("two")
    conversation.retry().result()
    assert [message.role for message in conversation.messages()] == ["system", "user", "assistant", "user", "assistant"]
    tree = conversation.tree()
    assert (len(tree), len(tree.leaves)) == (6, 2)
    first = tree.leaves[0]
    assert conversation.choose_branch(first.id)[-1] == first
    conversation.ask("three")
    assert form_data(ui.of("send")[-1])["id"] == first.id
    with pytest.raises(InvalidInputError):
        conversation.choose_branch("nope")


def test_editing(ui: ChatUI, client: Client) -> None:
    """An edited message starts a branch, which becomes the active one."""
    conversation = client.conversation()
    conversation.ask("one")
    assert conversation.edit("two").text == HELLO
    users = ui.chat.users
    assert [message["content"] for message in users] == ["one", "two"]
    assert users[0]["ancestors"] == users[1]["ancestors"]
    assert [message.content for message in conversation.messages()] == ["", "two", HELLO]
    data = form_data(ui.of("send")[-1])
    assert (data["is_retry"], data["inputs"], data["id"]) == (True, "two", users[0]["id"])


def test_rename_and_set_model(ui: ChatUI, any_client: Client) -> None:
    """A new title and a new model are on the server at once."""
    conversation = any_client.conversation()
    conversation.ask("Hi")
    conversation.rename("A title")
    assert ui.chat.title == conversation.title == "A title"
    conversation.set_model("second")
    assert ui.chat.model == conversation.model == "org/second"
    for title in ("", "  ", "x" * 101):
        with pytest.raises(InvalidInputError):
            conversation.rename(title)


def test_delete(ui: ChatUI, any_client: Client) -> None:
    """After a deletion the object starts a new conversation."""
    conversation = any_client.conversation()
    conversation.ask("Hi")
    conversation.delete()
    conversation.delete()
    assert (ui.chats, conversation.id, ui.count("delete")) == ({}, None, 1)
    with pytest.raises(InvalidInputError, match="never created"):
        conversation.rename("x")
    assert conversation.messages() == []
    assert conversation.ask("again").text == HELLO
    assert ui.count("create") == 2


def test_a_conversation_that_was_deleted_elsewhere(ui: ChatUI, client: Client) -> None:
    """Sending to it is a `NotFoundError`."""
    conversation = client.conversation()
    conversation.ask("Hi")
    ui.chats.clear()
    for call in (lambda: conversation.ask("again"), conversation.messages, lambda: conversation.attach().result()):
        with pytest.raises(NotFoundError):
            call()


def test_an_existing_conversation(ui: ChatUI, client: Client) -> None:
    """A conversation opened by its id continues at the end of its newest branch."""
    first = client.conversation()
    first.ask("one")
    again = client.conversations.get(first.id or "")
    assert (again.title, again.model) == (HELLO, "org/first")
    again.ask("two")
    assert [message.content for message in again.messages()] == ["", "one", HELLO, "two", HELLO]


def test_create_and_fetch_message_id(ui: ChatUI, client: Client) -> None:
    """Creating is idempotent; the id is that of the message that the next one is attached to."""
    conversation = client.conversation()
    assert conversation.create() is conversation
    assert conversation.create().id == ui.chat.id
    assert ui.count("create") == 1
    assert conversation.fetch_message_id() == ui.chat.messages[0]["id"]
    conversation.ask("Hi")
    assert conversation.fetch_message_id() == ui.chat.messages[-1]["id"]


def test_nothing_happens_before_the_first_call(ui: ChatUI, client: Client) -> None:
    """Creating objects sends nothing."""
    client.conversation()
    client.conversation("6b010f31c065be6a00896989")
    client.restore(client.conversation().to_dict())
    repr(client.conversations)
    assert ui.connections == 0


def test_saving_for_another_process(ui: ChatUI, client: Client) -> None:
    """Ids are enough to continue in another process: no text, no secrets; the next message is attached to the right answer."""
    conversation = client.conversation(system_prompt="Secret instructions.")
    conversation.ask("A private question")
    state = json.dumps(conversation.to_dict())
    for private in ("Secret", "private", "Hello"):
        assert private not in state
    code = (
        "import json, sys; from hfclient import Client\n"
        "client = Client(sys.argv[1], token='')\n"
        "conversation = client.restore(json.loads(sys.argv[2]))\n"
        "print(conversation.attach(json.loads(sys.argv[2])['generation_id']).text)\n"
        "print(conversation.ask('from elsewhere').text)\n"
        "client.close()\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, ui.url, state]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.stdout.split("\n") == [HELLO, HELLO, ""]
    assert [message["content"] for message in ui.chat.users] == ["A private question", "from elsewhere"]
    assert len(ui.chat.messages[3]["ancestors"]) == 3


def test_saved_before_its_first_message(ui: ChatUI, client: Client) -> None:
    """The options of a conversation that was not created yet are saved, also when it is saved again."""
    conversation = client.conversation(model="org/second", system_prompt="Answer in French.")
    conversation.temporary = True
    state = conversation.to_dict()
    for _ in range(2):
        state = client.restore(json.loads(json.dumps(state))).to_dict()
    assert state == conversation.to_dict()
    again = client.restore(state)
    assert again.temporary
    stream = again.send("Hi")
    assert (ui.chat.model, ui.chat.preprompt) == ("org/second", "Answer in French.")
    stream.result()
    assert ui.chats == {}
    assistant = client.restore(client.conversation(assistant="6b01306c2708438b898c6e81").to_dict())
    assert assistant.assistant == "6b01306c2708438b898c6e81"


@pytest.mark.parametrize("way", ["send", "retry"])
@pytest.mark.parametrize("has_log", [True, False])
def test_the_last_turn_is_saved(ui: ChatUI, client: Client, has_log: bool, way: str) -> None:
    """The ids that find the answer of the last turn are saved, for each kind of turn, also on servers without ids of runs."""
    ui.has_log = has_log
    conversation = client.conversation()
    conversation.ask("one")
    (conversation.send("two") if way == "send" else conversation.retry()).result()
    other = ui._add(ui.chat, ui.chat.messages[0], {"from": "user", "content": "from elsewhere"})
    ui._add(ui.chat, other, {"from": "assistant", "content": "x", "interrupted": False})
    again = client.restore(json.loads(json.dumps(conversation.to_dict())))
    assert again.to_dict() == conversation.to_dict()
    assert again.fetch_message_id() == conversation.fetch_message_id() == ui.chat.messages[-3]["id"]


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"version": 2, "id": "x"},
        {"version": 1, "id": 5},
        {"version": 1, "temporary": "yes"},
        {"version": 1, "known": "abc"},
        {"version": 1, "known": [1]},
        {"version": 1, "system_prompt": ["x"]},
        None,
        "x",
        [1],
    ],
)
def test_invalid_states(client: Client, state: Any) -> None:
    """A state that no release has written is refused."""
    with pytest.raises(InvalidInputError):
        client.restore(state)


# The list


def filled(ui: ChatUI, count: int) -> None:
    for number in range(count):
        ui.chats[f"{number:024x}"] = Chat(f"{number:024x}", "org/first", [], title=f"No. {number}")


@pytest.mark.parametrize("count", [0, 1, 30, 61])
def test_paging(ui: ChatUI, any_client: Client, count: int) -> None:
    """Each page is requested when it is needed, and no more pages than there are."""
    filled(ui, count)
    assert [info.title for info in any_client.conversations] == [f"No. {number}" for number in range(count)]
    assert ui.count("list") == max(1, -(-count // 30))
    assert len(any_client.conversations.list(5)) == min(count, 5)


def test_pages_of_older_servers(ui: ChatUI, client: Client) -> None:
    """Servers of 2025 send the number of conversations instead of whether there are more."""
    entries = [{"_id": f"{number:024x}", "title": "t", "model": "m"} for number in range(60)]
    pages = [{"conversations": entries[i : i + 30], "nConversations": 60} for i in (0, 30, 60)]
    ui.fault("list", *[json_answer({"json": page}) for page in pages])
    assert len(client.conversations.list()) == 60


def test_pages_that_shift(ui: ChatUI, client: Client) -> None:
    """A conversation that moves to the front between two pages is listed once."""
    entries = [{"id": f"{number:024x}", "title": "t", "model": "m"} for number in range(31)]
    ui.fault("list", json_answer({"json": {"conversations": entries[:30], "hasMore": True}}))
    ui.fault("list", json_answer({"json": {"conversations": entries[29:], "hasMore": False}}))
    assert len({info.id for info in client.conversations}) == len(client.conversations.list()) + 31 == 31


def test_the_same_page_again_and_again(ui: ChatUI, client: Client) -> None:
    """If a server announces more conversations and sends no new ones, the list ends."""
    page = {"conversations": [{"id": f"{1:024x}", "title": "t", "model": "m"}], "hasMore": True}
    ui.always("list", json_answer({"json": page}))
    assert [info.id for info in client.conversations] == [f"{1:024x}"]
    assert ui.count("list") == 2


def test_a_malformed_page(ui: ChatUI, client: Client) -> None:
    """An entry without an id raises an error of this package."""
    ui.fault("list", json_answer({"json": {"conversations": [{"title": "t"}], "hasMore": False}}))
    with pytest.raises(HFClientError):
        client.conversations.list()


def test_deleting_from_the_list(ui: ChatUI, client: Client) -> None:
    """`delete` deletes one by its id, `delete_all` all."""
    filled(ui, 3)
    client.conversations.delete(f"{1:024x}")
    assert [info.title for info in client.conversations] == ["No. 0", "No. 2"]
    assert client.conversations.delete_all() == 2
    assert client.conversations.list() == []
