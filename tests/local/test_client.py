"""End to end: hfclient's client against the embedded server."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hfclient import (
    Client,
    Conversation,
    ConversationBusy,
    GenerationError,
    ModelNotFound,
    PermissionDeniedError,
    events,
)
from hfclient.credentials import Secret
from hfclient.local import LocalServer
from hfclient.local.upstream import OpenAIUpstream
from tests.local.upstream import CUT, Fail, ScriptedUpstream, Think
from tests.server import PATIENCE, Server, json_answer


@pytest.fixture
def client(chat: LocalServer):
    """A client of the embedded server."""
    with Client(chat.url) as made:
        yield made


def test_chat(client: Client):
    """One line sends a prompt and returns the text; the events are those of every chat-ui server."""
    with client.chat("Hi") as stream:
        received = list(stream)
    assert [event.text for event in received if isinstance(event, events.Token)] == ["Hello", ", ", "world", "!"]
    assert events.Title("Hi") in received
    reply = stream.result()
    assert (reply.text, reply.title, reply.interrupted) == ("Hello, world!", "Hi", False)


def test_reasoning(client: Client, upstream: ScriptedUpstream):
    """Reasoning is separate from the text, although the protocol sends it inline."""
    upstream.say("why", [Think("hm, "), Think("so"), "42"])
    reply = client.chat("why").result()
    assert (reply.text, reply.reasoning) == ("42", "hm, so")


def test_a_conversation(client: Client, upstream: ScriptedUpstream):
    """Messages follow each other, the system prompt is sent, and the messages can be read."""
    conversation = client.conversation(model="test/model", system_prompt="Be terse.")
    conversation.ask("one")
    conversation.ask("two")
    assert [m["content"] for m in upstream.last_messages()] == ["Be terse.", "one", "Hello, world!", "two"]
    assert [m.role for m in conversation.messages()] == ["system", "user", "assistant", "user", "assistant"]


def test_send_waits_for_an_unfinished_answer(client: Client, upstream: ScriptedUpstream):
    """The next message, also of another object, waits until an unfinished answer has ended; the model gets all of it."""
    gate = threading.Event()
    upstream.say("one", ["a", gate, "b"])
    conversation = client.conversation()
    for event in conversation.send("one", on_close="detach"):
        if isinstance(event, events.Token):
            break
    other = client.conversation(conversation.id)
    with pytest.raises(ConversationBusy):
        other.ask("two", wait=0)
    assert len(upstream.requests) == 1
    gate.set()
    assert other.ask("two").text == "Hello, world!"
    assert [m["content"] for m in upstream.last_messages()] == ["one", "ab", "two"]


def test_a_failed_chat_deletes_its_conversation(client: Client, monkeypatch: pytest.MonkeyPatch):
    """The new conversation of a message that was not sent is deleted again."""

    def refuse(*args: Any) -> Any:
        raise GenerationError("refused")

    monkeypatch.setattr("hfclient.chat.conversations.run.Run.post", refuse)
    with pytest.raises(GenerationError):
        client.chat("Hi")
    assert client.conversations.list() == []


def test_files(client: Client, upstream: ScriptedUpstream, tmp_path: Path):
    """A file is uploaded with a message and is part of the prompt."""
    notes = tmp_path / "notes.txt"
    notes.write_text("buy milk")
    client.chat("Read", files=[notes]).result()
    assert "buy milk" in upstream.last_messages()[-1]["content"]


def test_upstream_errors(client: Client, upstream: ScriptedUpstream):
    """A failure of the upstream is a GenerationError with its status and the text so far."""
    upstream.say("pay", [Fail(402, "pay up")])
    with pytest.raises(GenerationError) as caught:
        client.chat("pay").result()
    assert caught.value.status_code == 402
    upstream.say("cut", ["one ", CUT])
    with pytest.raises(GenerationError) as caught:
        client.chat("cut").result()
    assert caught.value.partial is not None
    assert caught.value.partial.text == "one "


def test_models(client: Client):
    """The models are listed, and a misspelt name gets a suggestion."""
    assert [model.id for model in client.models] == ["test/model", "test/other"]
    with pytest.raises(ModelNotFound) as caught:
        client.conversation(model="test/modle").ask("Hi")
    assert caught.value.suggestions[0] == "test/model"


def test_leaving_early_stops_the_generation(client: Client, upstream: ScriptedUpstream):
    """Leaving the with block ends the generation on the server, at the text that was read."""
    gate = threading.Event()
    upstream.say("long", ["one ", gate, "two"])
    with client.chat("long") as stream:
        for event in stream:
            if isinstance(event, events.Token):
                break
    message = _settled(stream.conversation)
    assert (message.content, message.interrupted) == ("one ", True)
    gate.set()


def test_attach_to_a_detached_generation(client: Client, upstream: ScriptedUpstream):
    """After a stream was left with "detach", attach() reads the log from its start to its end."""
    gate = threading.Event()
    upstream.say("long", ["one ", gate, "two"])
    with client.chat("long", on_close="detach") as stream:
        next(event for event in stream if isinstance(event, events.Token))
    attached = stream.conversation.attach()
    gate.set()
    assert attached.result().text == "one two"


def test_the_list_of_conversations(client: Client, chat: LocalServer):
    """Conversations are in their own client's list, newest first, and in no other client's list."""
    first, second = client.conversation(), client.conversation()
    first.ask("one")
    second.ask("two")
    assert [entry.title for entry in client.conversations] == ["two", "one"]
    with Client(chat.url, session="") as other:
        assert list(other.conversations) == []
        with pytest.raises(PermissionDeniedError, match=r"another session than this client's; Client\(session=\.\.\.\)"):
            other.conversation(first.id).ask("Hi")


def test_a_temporary_chat(client: Client):
    """Its conversation is deleted after the answer was read."""
    assert client.chat("Hi", temporary=True).text == "Hello, world!"
    assert list(client.conversations) == []


def test_client_local(upstream: ScriptedUpstream, tmp_path: Path):
    """Client.local() starts a server and closes it; its inference uses the same upstream."""
    with Client.local(upstream=upstream.url, database=str(tmp_path / "c.sqlite3")) as client:
        assert client.chat("Hi").text == "Hello, world!"
        assert client.inference.chat("Hi").text == "Hello, world!"
    assert (tmp_path / "c.sqlite3").exists()


def test_the_upstreams_key_goes_to_the_upstream(upstream: ScriptedUpstream, other_server: Server):
    """client.inference of Client.local() sends the upstream's key to that origin and to no other."""
    other_server.on("*", [json_answer([])])
    keyed: Any = OpenAIUpstream(upstream.url, api_key="local-key")
    with Client.local(upstream=keyed, hub_url=other_server.url) as client:
        assert client.inference.chat("Hi").text == "Hello, world!"
        assert upstream.keys[-1] == "Bearer local-key"
        assert list(client.inference.models(search="x")) == []
        assert "authorization" not in other_server.last.headers
        assert "local-key" not in f"{client._session.credentials!r} {vars(client)!r} {keyed!r} {vars(keyed)!r}"
        copy = pickle.loads(pickle.dumps(client))
        assert copy.inference.chat("Hi").text == "Hello, world!"
        assert upstream.keys[-1] == "Bearer local-key"


def test_client_local_with_the_same_database(upstream: ScriptedUpstream, tmp_path: Path):
    """The next client with the same database finds the conversations, and can continue them."""
    options: Any = {"upstream": upstream.url, "database": str(tmp_path / "c.sqlite3")}
    with Client.local(**options) as client:
        stream = client.chat("Hi")
        assert stream.text == "Hello, world!"
        state = stream.conversation.to_dict()
    with Client.local(**options) as client:
        assert [info.id for info in client.conversations] == [state["id"]]
        assert client.restore(state).ask("More").text == "Hello, world!"
        with Client(client.base_url, session="") as other:
            assert other.conversations.list() == []


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_hfclient_serve_with_the_same_database(upstream: ScriptedUpstream, tmp_path: Path):
    """Clients in other programs find their conversations after a restart too, on another port and under the other host name."""
    database = str(tmp_path / "c.sqlite3")
    for turn in range(2):
        code = f"from hfclient.local import serve; serve(port=0, upstream={upstream.url!r}, database={database!r})"
        line = [sys.executable, "-c", code]
        process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            assert process.stderr is not None
            url = next(word for word in process.stderr.readline().split() if word.startswith("http://"))
            for name in (url, url.replace("127.0.0.1", "localhost")):
                with Client(name, token="") as client:
                    client.chat("Hi").result()
                    found = len(client.conversations.list())
            assert found == 2 * (turn + 1)
            with Client(url, token="", session="") as other:
                assert other.conversations.list() == []
        finally:
            process.terminate()
            process.communicate(timeout=2 * PATIENCE)
    with Client.local(upstream=upstream.url, database=database) as client:
        assert len(client.conversations.list()) == 4


def test_a_session_with_conversations_is_not_adopted(upstream: ScriptedUpstream, tmp_path: Path):
    """A session that has conversations of its own in the database does not become the user who runs the server."""
    database = tmp_path / "c.sqlite3"
    with LocalServer(upstream=upstream.url, database=database) as server, Client(server.url, cookies="hf-chat=a") as client:
        made = client.conversation().create().id
        server.allow_session(Secret("a"))
        server.allow_session(Secret("b"))
        assert [info.id for info in client.conversations] == [made]
        with Client(server.url, cookies={"hf-chat": server.session.reveal()}) as user:
            mine = user.conversation().create().id
            assert [info.id for info in user.conversations] == [mine]
        with Client(server.url, cookies="hf-chat=b") as user:
            assert [info.id for info in user.conversations] == [mine]


def _settled(conversation: Conversation):
    """Return the last message after its generation has ended."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        message = conversation.messages()[-1]
        if message.finished:
            return message
        time.sleep(0.02)
    raise AssertionError("the run did not end")
