"""A message is sent once, also after broken connections, refusals, and messages of other clients."""

from __future__ import annotations

import pickle
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client
from hfclient.chat.files.uploads import MAX_FILE
from hfclient.errors import (
    APIStatusError,
    ConnectError,
    ConversationBusy,
    GenerationError,
    HFClientError,
    InvalidInputError,
    StreamInterrupted,
    Unsupported,
)
from hfclient.events import Token
from hfclient.transport import Retry
from tests.chat.conftest import GIVES_UP, MakeClient
from tests.chat.recordings import recording
from tests.chat.replay import FINISHED, STARTED, ChatUI, cut, final, form_data, lines, token, wait_until
from tests.server import PATIENCE, RST, SOON, head, json_answer, plain

HELLO = "Hello, world!"


@pytest.fixture(autouse=True)
def _says_hello(ui: ChatUI) -> None:
    ui.says(recording("plain"))


# Requests


def test_the_requests_of_a_first_turn(ui: ChatUI, any_client: Client) -> None:
    """Two requests: create and send. The form has the id of the parent, a new id, and no tools."""
    stream = any_client.conversation(system_prompt="Be terse.").send("Hi\u2028there 😀")
    assert stream.text == HELLO
    assert [kind for kind, _ in ui.seen] == ["models", "create", "send"]
    created, sent = ui.of("create")[0], ui.of("send")[0]
    assert created.json() == {"model": "org/first", "preprompt": "Be terse."}
    assert form_data(sent) == {
        "inputs": "Hi\u2028there 😀",
        "id": ui.chat.messages[0]["id"],
        "is_retry": False,
        "generationId": stream.generation_id,
        "selectedMcpServerNames": [],
    }
    for request in (created, sent):
        assert request.headers["origin"] == ui.url
        assert request.headers["accept"] == "application/json"
        assert request.headers["cookie"].startswith("hf-chat=")
    assert {request.headers["cookie"] for _, request in ui.seen} == {sent.headers["cookie"]}


def test_without_the_conversation_in_the_answer(ui: ChatUI, client: Client) -> None:
    """Servers before July 2026 do not send the conversation along: the first parent is requested."""
    ui.sends_conversation = False
    assert client.chat("Hi").text == HELLO
    assert [kind for kind, _ in ui.seen] == ["models", "create", "read", "send"]


def test_a_named_model_needs_no_list(ui: ChatUI, client: Client) -> None:
    """The list of models is requested only if the caller named no model."""
    client.chat("Hi", model="org/second").result()
    assert ui.count("models") == 0
    assert ui.chat.model == "org/second"


def test_the_next_parent_is_the_answer(ui: ChatUI, client: Client) -> None:
    """A second message is attached to the answer to the first, which is found by the id of its run."""
    conversation = client.conversation()
    conversation.ask("one")
    ours = ui.chat.messages[-1]
    # Another client continues in another branch, which is then the newest.
    other = ui._add(ui.chat, ui.chat.messages[0], {"from": "user", "content": "from elsewhere"})
    ui._add(ui.chat, other, {"from": "assistant", "content": "x", "generationId": "another", "interrupted": False})
    conversation.ask("two")
    assert form_data(ui.of("send")[1])["id"] == ours["id"]
    assert [message.content for message in conversation.messages()] == ["", "one", HELLO, "two", HELLO]
    ids = [form_data(request)["generationId"] for request in ui.of("send")]
    assert len(set(ids)) == 2


def test_generation_ids_are_fresh(ui: ChatUI, client: Client) -> None:
    """No two messages have the same id, not even those with the same text."""
    conversation = client.conversation()
    for _ in range(3):
        conversation.ask("again")
    assert len({form_data(request)["generationId"] for request in ui.of("send")}) == 3
    assert [message["ancestors"][-1] for message in ui.chat.users[1:]] == [
        message["id"] for message in ui.chat.messages if message["from"] == "assistant"
    ][:2]


# Prompts as lists


def test_a_list_in_a_new_conversation(ui: ChatUI, client: Client) -> None:
    """System messages become the system prompt, earlier turns become part of the prompt."""
    prompt = [
        {"role": "system", "content": "Be terse."},
        {"role": "developer", "content": [{"type": "text", "text": "In "}, {"type": "text", "text": "English."}]},
        {"role": "user", "content": "Who wrote Faust?"},
        {"role": "assistant", "content": "Goethe."},
        {"role": "user", "content": "When?"},
    ]
    client.chat(prompt).result()
    assert ui.chat.preprompt == "Be terse.\n\nIn English."
    text = ui.chat.users[0]["content"]
    assert text.endswith("User: When?")
    assert text.index("User: Who wrote Faust?") < text.index("Assistant: Goethe.") < text.index("User: When?")


def test_a_list_in_a_running_conversation(ui: ChatUI, client: Client) -> None:
    """The server has the earlier turns already: only the last user message is sent."""
    conversation = client.conversation()
    conversation.ask("Who wrote Faust?")
    conversation.ask(
        [
            {"role": "user", "content": "Who?"},
            {"role": "assistant", "content": "G."},
            {"role": "user", "content": "When?"},
        ]
    )
    assert [message["content"] for message in ui.chat.users] == ["Who wrote Faust?", "When?"]


def test_two_system_prompts(ui: ChatUI, client: Client) -> None:
    """Two different system prompts are an error; the same one twice is not."""
    prompt = [{"role": "system", "content": "Be terse."}, {"role": "user", "content": "Hi"}]
    with pytest.raises(InvalidInputError, match="twice"):
        client.chat(prompt, system_prompt="Be verbose.")
    assert ui.connections == 0
    client.chat(prompt, system_prompt="Be terse.").result()


# Before anything is sent


def _bad_calls(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "empty.txt").write_bytes(b"")
    with (tmp_path / "large.txt").open("wb") as file:
        file.write(b"x" * 5000)
        file.truncate(MAX_FILE + 1)
    sent = {"role": "user", "content": "x"}
    return {
        "an empty prompt": ((" \n",), {}),
        "an empty list": (([],), {}),
        "no user message": (([{"role": "system", "content": "x"}],), {}),
        "the assistant last": (([sent, {"role": "assistant", "content": "x"}],), {}),
        "an unknown role": (([{"role": "robot", "content": "x"}],), {}),
        "no content": (([{"role": "user"}],), {}),
        "a picture in the prompt": (([{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}],), {}),
        "half a character": (("\ud83d",), {}),
        "bytes": ((b"hi",), {}),
        "a missing file": (("x",), {"files": [tmp_path / "nope.txt"]}),
        "a folder": (("x",), {"files": [tmp_path]}),
        "an empty file": (("x",), {"files": [tmp_path / "empty.txt"]}),
        "a large file": (("x",), {"files": [tmp_path / "large.txt"]}),
        "files too large together": (("x",), {"files": [("a.txt", b"a" * 6_000_000), ("b.txt", b"b" * 6_000_000)]}),
        "a URL": (("x",), {"files": ["https://example.com/x.png"]}),
        "an open text file": (("x",), {"files": [(tmp_path / "empty.txt").open()]}),
        "a number as a file": (("x",), {"files": [5]}),
        "an odd on_close": (("x",), {"on_close": "burn"}),
        "an empty MCP server": (("x",), {"mcp": [""]}),
    }


CALLS = """an empty prompt, an empty list, no user message, the assistant last, an unknown role, no content,
a picture in the prompt, half a character, bytes, a missing file, a folder, an empty file, a large file,
files too large together, a URL, an open text file, a number as a file, an odd on_close, an empty MCP server"""


@pytest.mark.parametrize("what", [what.strip() for what in CALLS.split(",")])
def test_bad_input_is_refused_before_anything_is_sent(ui: ChatUI, client: Client, tmp_path: Path, what: str) -> None:
    """No connection is opened, and the conversation stays usable."""
    calls = _bad_calls(tmp_path)
    arguments, options = calls[what]
    conversation = client.conversation()
    with calls["an open text file"][1]["files"][0]:
        for call in (client.chat, conversation.send):
            with pytest.raises(InvalidInputError):
                call(*arguments, **options)
    assert ui.connections == 0
    assert conversation.ask("Hi").text == HELLO


def test_a_file_no_model_would_see(ui: ChatUI, client: Client) -> None:
    """A file that the server would store and never show to the model is refused at once."""
    with pytest.raises(Unsupported, match="neither an image nor text"):
        client.chat("x", files=[("a.bin", b"\0\1\2")])
    assert ui.connections == 0


# No connection


def test_a_refused_connection(any_client: Client, make_client: MakeClient, transport_name: str) -> None:
    """Nothing can have arrived, so the request is repeated; then the error is raised."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    client = make_client(transport_name, base_url=url, retry=Retry(attempts=3, backoff=0.01))
    with pytest.raises(ConnectError) as caught:
        client.chat("Hi")
    assert (caught.value.attempts, caught.value.sent) == (3, False)
    assert url in (caught.value.url or "")


def test_a_connection_refused_for_the_send_only(ui: ChatUI, any_client: Client) -> None:
    """The server stops between creating and sending; once it runs again, the conversation continues."""
    conversation = any_client.conversation().create()
    port, chats = ui.port, ui.chats
    ui.close()
    with pytest.raises(ConnectError) as caught:
        conversation.send("Hi")
    assert not caught.value.sent
    again = ChatUI.__new__(ChatUI)
    create_server = socket.create_server
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "create_server", lambda address, **options: create_server(("127.0.0.1", port), **options))
        again.__init__()  # type: ignore[misc]
    with again:
        again.chats = chats
        again.says(recording("plain"))
        assert conversation.ask("again").text == HELLO
        assert [message["content"] for message in again.chat.users] == ["again"]


@GIVES_UP
def test_requests_inside_an_except_block(ui: ChatUI, client: Client) -> None:
    """An error that the caller is handling does not become the context of the next one."""
    conversation = client.conversation()
    ui.fault("send", json_answer({"message": "Message too long."}, 400), [RST], [RST])

    def send_twice() -> None:
        try:
            conversation.send("x" * 100)
        except APIStatusError:
            conversation.send("x")

    with pytest.raises(StreamInterrupted, match="connection"):
        send_twice()


# One at a time


def test_the_same_thread_must_read_first(ui: ChatUI, client: Client) -> None:
    """A second send of the thread that has not read the first answer would wait for itself, so it is refused at once."""
    conversation = client.conversation()
    stream = conversation.send("one")
    started = time.monotonic()
    with pytest.raises(ConversationBusy, match="this thread"):
        conversation.send("two")
    assert time.monotonic() - started < SOON
    assert stream.text == HELLO
    assert conversation.ask("two").text == HELLO
    assert [message["content"] for message in ui.chat.users] == ["one", "two"]


@GIVES_UP
def test_other_threads_take_turns(ui: ChatUI, any_client: Client) -> None:
    """Messages of many threads are sent one after the other, each attached to the answer before it, also when some fail."""
    ui.fault("send", None, json_answer({"message": "slow down"}, 500), None, [RST])
    conversation = any_client.conversation()

    def ask(number: int) -> str:
        try:
            return conversation.ask(f"message {number}").text
        except (APIStatusError, StreamInterrupted) as error:
            return type(error).__name__

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(8)))
    assert sorted(answers) == [HELLO] * 6 + ["ServerError", "StreamInterrupted"]
    users = ui.chat.users
    assert len(users) == 6
    for before, after in zip(ui.chat.messages, ui.chat.messages[1:], strict=False):
        assert after["ancestors"][-1] == before["id"]  # no branches


def test_how_long_another_thread_waits(ui: ChatUI, client: Client) -> None:
    """It waits for *wait* seconds, and sends when the other thread has read its answer."""
    conversation = client.conversation()
    stream = conversation.send("one")
    errors: list[HFClientError] = []

    def impatient() -> None:
        try:
            conversation.send("two", wait=0.05)
        except HFClientError as error:
            errors.append(error)

    thread = threading.Thread(target=impatient)
    thread.start()
    thread.join()
    (error,) = errors
    assert isinstance(error, ConversationBusy)
    assert "another thread" in error.message
    texts: list[str] = []
    patient = threading.Thread(target=lambda: texts.append(conversation.ask("three").text))
    patient.start()
    time.sleep(0.05)
    assert not texts
    stream.result()
    patient.join(PATIENCE)
    assert texts == [HELLO]
    assert [message["content"] for message in ui.chat.users] == ["one", "three"]


def test_two_threads_create_one_conversation(ui: ChatUI, client: Client) -> None:
    """One conversation is created, however many threads start at once."""
    conversation = client.conversation()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda call: call(), [conversation.create, conversation.fetch_message_id] * 4))
        list(pool.map(conversation.ask, "abcd"))
    assert ui.count("create") == 1


REFUSALS = [
    json_answer({"message": "You are sending too many messages. Try again later."}, 429),
    json_answer({"message": "Model not available anymore"}, 410),
    json_answer({"message": "An error occurred", "errorId": "x"}, 500),
    plain(b"Bad Gateway", 502),
    plain(b"<html>", 200, "Content-Type: text/html"),
    head(302, "Location: https://huggingface.co/oauth/authorize?x", "Content-Length: 0"),
]


@pytest.mark.parametrize("label", ["text/html; charset=UTF-8", "text/plain", "application/octet-stream", "application/json"])
def test_an_answer_under_another_label(ui: ChatUI, any_client: Client, label: str) -> None:
    """An answer is recognized by its bytes: one with another content type, from a gateway, is read and not requested again."""
    stream = lines(token("Hi"), final("Hi"), {"type": "status", "status": "finished"})
    ui.says(stream, lambda stream: [plain(stream, 200, f"Content-Type: {label}")])
    conversation = any_client.conversation()
    conversation.ask("zero")
    assert conversation.ask("one").text == "Hi"
    assert ui.count("send") == 2


@GIVES_UP
@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal[9:12].decode() + str(len(refusal)))
def test_after_a_refusal(ui: ChatUI, any_client: Client, refusal: bytes) -> None:
    """A refused message raises at the call, is not sent again, and leaves the conversation as it was."""
    conversation = any_client.conversation()
    conversation.ask("one")
    ui.fault("send", refusal)
    with pytest.raises(HFClientError):
        conversation.send("two")
    assert ui.count("send") == 2
    conversation.ask("three")
    assert [message["content"] for message in ui.chat.users] == ["one", "three"]
    assert ui.chat.users[1]["ancestors"][-1] == ui.chat.messages[2]["id"]


# Errors inside the stream


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ({"message": "402 pay up", "statusCode": 402}, 402, "402 pay up"),
        ({"message": "terminated"}, None, "terminated"),
        ({"statusCode": 404}, 404, "the generation failed with status 404"),
    ],
)
def test_an_error_inside_the_stream(
    ui: ChatUI, any_client: Client, error: dict[str, Any], code: int | None, message: str
) -> None:
    """It is raised at the end of the stream, with the server's message and the partial answer."""
    ui._next.clear()
    ui.says(
        lines(
            STARTED,
            token("half an ans"),
            {"type": "status", "status": "error", **error},
            {"type": "title", "title": "T"},
        )
    )
    stream = any_client.chat("Hi")
    events = []
    with pytest.raises(GenerationError) as caught:
        events.extend(stream)
    found = caught.value
    assert (found.message, found.status_code) == (message, code)
    assert (found.conversation_id, found.generation_id) == (ui.chat.id, stream.generation_id)
    assert found.partial is not None
    assert (found.partial.text, found.partial.title) == ("half an ans", "T")
    with pytest.raises(GenerationError) as again:
        stream.result()
    assert again.value is found
    copy = pickle.loads(pickle.dumps(found))
    assert (copy.to_dict(), copy.partial) == (found.to_dict(), found.partial)
    assert ui.stops == []
    ui._next.clear()
    ui.says(recording("plain"))
    assert stream.conversation.ask("again").text == HELLO


def test_a_title_after_the_final_answer(ui: ChatUI, any_client: Client) -> None:
    """The stream is read to its end, so a title that comes last becomes the title of the conversation."""
    ui._next.clear()
    gate = threading.Event()
    stream = lines(STARTED, token("a"), final("a")) + b" " * 4096
    ui.says(
        stream,
        [
            *cut(10_000)(stream)[:-1],
            gate,
            *cut(10_000, "ended")(lines({"type": "title", "title": "Late"}, FINISHED))[1:],
        ],
    )
    answer = any_client.chat("Hi")
    seen = []
    for event in answer:
        seen.append(event)
        if event == Token("a"):
            gate.set()
    assert answer.result().title == answer.conversation.title == "Late"
    assert ui.stops == []


def test_cookies_are_taken_over(ui: ChatUI, make_client: MakeClient) -> None:
    """The server renews its cookie with each success; cookies of refusals are ignored."""
    client = make_client(cookies={"hf-chat": "first", "token": "t"})
    created = {"conversationId": "1" * 24}
    ui.fault("create", head(302, "Location: https://x/login", "Set-Cookie: hf-chat=other", "Content-Length: 0"))
    with pytest.raises(APIStatusError):
        client.chat("Hi")
    ui.fault("create", json_answer({"message": "no"}, 401, "Set-Cookie: hf-chat=other; Path=/"))
    with pytest.raises(APIStatusError):
        client.chat("Hi")
    ui.fault("create", json_answer(created, 200, "Set-Cookie: hf-chat=second; Path=/; HttpOnly; SameSite=Lax"))
    with pytest.raises(HFClientError):
        client.chat("Hi")
    client.chat("Hi").result()
    cookies = [request.headers["cookie"] for _, request in ui.seen]
    assert cookies[0] == "hf-chat=first; token=t"
    assert not any("hf-chat=other" in cookie for cookie in cookies)
    assert cookies[-1] == "hf-chat=second; token=t"


def test_stops_are_not_sent_by_accident(ui: ChatUI, any_client: Client) -> None:
    """After a complete answer, read in any way, no stop is sent."""
    conversation = any_client.conversation()
    conversation.ask("a")
    with conversation.send("b") as stream:
        for _ in stream:
            pass
    conversation.send("c").result()
    conversation.stop()
    stream.stop()
    stream.close()
    stream.cancel()
    for thread in threading.enumerate():
        if thread.name == "hfclient-stop":
            thread.join(PATIENCE)
    assert ui.stops == []
    wait_until(lambda: ui.count("send") == 3)
