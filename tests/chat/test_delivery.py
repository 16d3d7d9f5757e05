"""A message of unknown delivery is looked up and never sent twice; one that cannot have arrived is sent again."""

from __future__ import annotations

import pickle
import threading
import time
from typing import Any

import pytest

from hfclient import Client
from hfclient.chat.conversations import run, run_tracker
from hfclient.chat.conversations.options import OnClose
from hfclient.errors import (
    APIStatusError,
    ConnectError,
    HFClientError,
    InvalidInputError,
    NotAChatServer,
    RateLimitError,
    ServerError,
    StreamInterrupted,
    TransportTimeout,
)
from hfclient.events import Status
from hfclient.transport import Retry, Timeouts
from tests.chat.conftest import GIVES_UP, MakeClient
from tests.chat.recordings import recording
from tests.chat.replay import ChatUI, form_data, too_late, wait_until
from tests.clock import FakeTime
from tests.server import CLOSE, PATIENCE, RST, SOON, Recorded, json_answer, plain

HELLO = "Hello, world!"
HTML = "Content-Type: text/html"
PAGE = b"<html><head><title>Gateway Time-out</title></head></html>"


@pytest.fixture(autouse=True)
def _says_hello(ui: ChatUI) -> None:
    ui.says(recording("plain"))


LOST: dict[str, list[Any]] = {
    "rst": [RST],
    "fin": [CLOSE],
    "half a head": [b"HTTP/1.1 200 OK\r\nContent-Ty", RST],
    "no http": [b"SSH-2.0\r\n", CLOSE],
    **{str(status): [plain(PAGE, status, HTML)] for status in (408, 499, 500, 502, 503, 504, 520, 522, 524, 527, 530)},
    "504 without a body": [plain(b"", 504)],
    "504 in JSON": [json_answer({"message": "Endpoint request timed out"}, 504)],
    "502 in text": [plain(b"error code: 502", 502)],
}
"""Failures that do not say whether a message arrived."""


def answers(ui: ChatUI) -> list[str]:
    """The runs that the server has started."""
    return [message["generationId"] for message in ui.chat.messages if message["from"] == "assistant"]


@pytest.mark.parametrize("how", LOST)
def test_a_stored_message_is_found(ui: ChatUI, any_client: Client, how: str) -> None:
    """The answer of a stored message is returned; the next one is attached to it; each is stored once."""
    ui.fault("send", [ui.store, *LOST[how]])
    stream = any_client.chat("Hi")
    assert [event for event in stream if isinstance(event, Status)] == [Status("started"), Status("finished")]
    assert stream.result().text == HELLO
    assert (ui.count("send"), ui.count("log")) == (1, 1)
    assert stream.conversation.ask("again").text == HELLO
    assert [message["content"] for message in ui.chat.users] == ["Hi", "again"]
    assert ui.chat.users[1]["ancestors"][-1] == ui.chat.messages[2]["id"]


@GIVES_UP
@pytest.mark.parametrize("how", LOST)
def test_a_message_that_is_not_found_is_not_sent_again(ui: ChatUI, any_client: Client, how: str) -> None:
    """The error has the ids for attach(), and the next message gets the parent that this one was to get."""
    conversation = any_client.conversation()
    conversation.ask("one")
    ui.fault("send", LOST[how])
    with pytest.raises(StreamInterrupted, match=r"not known .*attach\(") as caught:
        conversation.send("two")
    assert ui.count("send") == 2
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.conversation_id, error.generation_id) == (
        conversation.id,
        form_data(ui.of("send")[1])["generationId"],
    )
    assert conversation.ask("three").text == HELLO
    assert [message["content"] for message in ui.chat.users] == ["one", "three"]
    assert ui.chat.users[1]["ancestors"][-1] == ui.chat.messages[2]["id"]


@pytest.mark.parametrize("how", ["rst", "504"])
def test_a_message_that_is_stored_late(ui: ChatUI, make_client: MakeClient, transport_name: str, how: str) -> None:
    """The message is looked up repeatedly, and found once the server has stored it."""
    looks: list[Recorded] = []

    def store_late(request: Recorded) -> None:
        def reading(read: Recorded) -> None:
            looks.append(read)
            if len(looks) == 5:
                ui.store(request)

        ui.fault("read", *[[reading, lambda read: ui._read(read, ui.chat)]] * 5)

    ui.fault("send", [store_late, *LOST[how]])
    client = make_client(transport_name, retry=Retry(attempts=1, resume=PATIENCE))
    pytest.MonkeyPatch().setattr(run, "_MAX_PAUSE", 0.02)
    assert client.chat("Hi").text == HELLO
    assert (len(ui.chat.users), ui.count("send"), len(looks)) == (1, 1, 5)


@GIVES_UP
def test_a_message_that_is_stored_too_late(ui: ChatUI, client: Client) -> None:
    """The next message finds one that the caller gave up on, and is attached to its answer."""
    requests: list[Recorded] = []
    ui.fault("send", [requests.append, RST])
    conversation = client.conversation()
    with pytest.raises(StreamInterrupted) as caught:
        conversation.send("Hi")
    ui.store(requests[0])
    assert conversation.attach(caught.value.generation_id).text == HELLO
    assert conversation.ask("again").text == HELLO
    assert [message["content"] for message in ui.chat.users] == ["Hi", "again"]
    assert ui.chat.users[1]["ancestors"][-1] == ui.chat.messages[2]["id"]


WAYS: dict[str, Any] = {
    "retry": lambda conversation: conversation.retry(),
    "edit": lambda conversation: conversation.edit("Hi again"),
}


@GIVES_UP
@pytest.mark.parametrize("stored", [True, False], ids=["stored", "not stored"])
@pytest.mark.parametrize("has_log", [True, False], ids=["log", "no log"])
@pytest.mark.parametrize("how", ["rst", "504", "524"])
@pytest.mark.parametrize("way", WAYS)
def test_other_turns(ui: ChatUI, client: Client, way: str, how: str, has_log: bool, stored: bool) -> None:
    """Retries and edits are looked up like messages, also on servers without ids of runs."""
    ui.has_log = has_log
    conversation = client.conversation()
    conversation.ask("Hi")
    ui.fault("send", [*([ui.store] if stored else []), *LOST[how]])
    if stored:
        assert WAYS[way](conversation).text == HELLO
    else:
        with pytest.raises(StreamInterrupted) as caught:
            WAYS[way](conversation)
        assert caught.value.generation_id == form_data(ui.of("send")[1])["generationId"]
    assert ui.count("send") == 2
    assert len([message for message in ui.chat.messages if message["from"] == "assistant"]) == 1 + stored


@GIVES_UP
@pytest.mark.parametrize("stored", [True, False], ids=["stored", "not stored"])
def test_looks_that_fail(ui: ChatUI, client: Client, stored: bool) -> None:
    """The error says how to find the answer, and the next message is attached to it."""
    conversation = client.conversation()
    conversation.ask("one")
    first_answer = ui.chat.messages[-1]["id"]
    ui.fault("send", [*([ui.store] if stored else []), lambda request: ui.always("read", [RST]), RST])
    with pytest.raises(StreamInterrupted, match="attach") as caught:
        conversation.send("two")
    ui._always.clear()
    assert ui.count("send") == 2
    assert caught.value.generation_id == form_data(ui.of("send")[1])["generationId"]
    if stored:
        assert conversation.attach(caught.value.generation_id).result().text == HELLO
    conversation.ask("three")
    assert [message["content"] for message in ui.chat.users] == (
        ["one", "two", "three"] if stored else ["one", "three"]
    )
    parent = form_data(ui.of("send")[2])["id"]
    assert parent == (ui.chat.messages[4]["id"] if stored else first_answer)


def test_looks_that_are_refused(ui: ChatUI, make_client: MakeClient) -> None:
    """A refused look-up is not repeated."""
    client = make_client(retry=Retry(resume=None))
    ui.fault("send", [RST])
    ui.always("read", json_answer({"message": "no"}, 403))
    with pytest.raises(StreamInterrupted, match="not known"):
        client.chat("Hi")
    assert ui.count("read") == 1


def test_a_message_without_ids_is_found_by_text_and_place(ui: ChatUI, any_client: Client) -> None:
    """Servers before July 2026 store no ids of runs."""
    ui.has_log = False
    ui.fault("send", [ui.store, RST])
    assert any_client.chat("Hi\r\nthere").text == HELLO
    assert (len(ui.chat.users), ui.count("send")) == (1, 1)


# Refusals


REFUSED: dict[str, tuple[bytes, type[HFClientError]]] = {
    "429": (json_answer({"message": "You are sending too many messages. Try again later."}, 429), RateLimitError),
    "429 of a gateway": (plain(PAGE, 429, HTML), RateLimitError),
    "503": (json_answer({"message": "Down for maintenance"}, 503), ServerError),
    "500": (json_answer({"message": "An error occurred", "errorId": "x"}, 500), ServerError),
    "501": (plain(b"no", 507), ServerError),
    "400": (json_answer({"message": "Message too long."}, 400), APIStatusError),
    "a page": (plain(b"<!doctype html><title>Welcome</title>", 200, HTML), NotAChatServer),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_the_server_refuses(ui: ChatUI, any_client: Client, what: str) -> None:
    """A refusal of the server itself is raised at once, and nothing is sent again."""
    answer, cls = REFUSED[what]
    conversation = any_client.conversation().create()
    ui.fault("send", answer)
    with pytest.raises(cls) as caught:
        conversation.send("Hi")
    assert not isinstance(caught.value, StreamInterrupted)
    assert ui.count("send") == 1
    assert ui.count("read") == (1 if what.startswith(("4",)) else 2)


@pytest.mark.parametrize("what", ["503", "500", "501", "a page"])
def test_a_refusal_after_all(ui: ChatUI, any_client: Client, what: str) -> None:
    """The server may fail after it has stored the message, so the conversation is read once."""
    ui.fault("send", [ui.store, REFUSED[what][0]])
    assert any_client.chat("Hi").text == HELLO
    assert (len(ui.chat.users), ui.count("send")) == (1, 1)


# Cannot have arrived


@pytest.mark.parametrize("times", [1, 5])
def test_a_body_that_broke_off(
    ui: ChatUI, any_client: Client, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """A form that was not sent completely is sent again, as often as `Retry` says; then the error is raised."""
    read_body, left = ui._read_body, [times]

    def read_or_reset(file: Any, headers: dict[str, str]) -> bytes:
        if int(headers.get("content-length", "0")) > 1_000_000 and left[0]:
            left[0] -= 1
            raise ConnectionResetError
        return read_body(file, headers)

    monkeypatch.setattr(ui, "_read_body", read_or_reset)
    conversation = any_client.conversation().create()
    files = [("large.txt", b"content " * 1_000_000)]  # more than the buffers of a socket hold
    if times == 1:
        assert conversation.send("Hi", files=files).text == HELLO
    else:
        with pytest.raises(ConnectError) as caught:
            conversation.send("Hi", files=files)
        assert (caught.value.sent, caught.value.attempts) == (False, 2)
    assert conversation.ask("again").text == HELLO
    assert [message["content"] for message in ui.chat.users] == (["Hi", "again"] if times == 1 else ["again"])


# Deadlines


def test_a_slow_server_that_has_stored_the_message(ui: ChatUI, any_client: Client, clock: FakeTime) -> None:
    """A deadline that passes before the head of the answer does not lose the stored message."""
    ui.fault("send", [ui.store, *too_late(clock)])
    assert any_client.chat("Hi", timeouts=Timeouts(first_token=PATIENCE, idle=PATIENCE)).text == HELLO
    assert (len(ui.chat.users), ui.count("send")) == (1, 1)


@GIVES_UP
@pytest.mark.parametrize("deadline", ["first_token", "total"])
def test_a_slow_server_that_may_store_it_yet(
    ui: ChatUI, any_client: Client, clock: FakeTime, deadline: str
) -> None:
    """A slow server is not a reason to send a message again: the first one may still arrive."""
    ui.fault("send", too_late(clock))
    conversation = any_client.conversation().create()
    started = time.monotonic()
    with pytest.raises(TransportTimeout) as caught:
        conversation.send("Hi", timeouts=Timeouts(**{"first_token": 2 * PATIENCE, "idle": PATIENCE, deadline: PATIENCE}))
    assert caught.value.deadline == deadline
    assert caught.value.conversation_id == conversation.id
    assert caught.value.generation_id == form_data(ui.of("send")[0])["generationId"]
    assert time.monotonic() - started < SOON
    assert ui.count("send") == 1
    assert conversation.ask("again").text == HELLO


@pytest.mark.parametrize("on_close", ["stop", "detach"])
def test_a_deadline_before_the_head_stops_the_run(
    ui: ChatUI, any_client: Client, clock: FakeTime, on_close: OnClose
) -> None:
    """After the deadline of the call its run is stopped, unless the caller wants it to continue without a reader."""
    ui.fault("send", [ui.store, *too_late(clock)])
    conversation = any_client.conversation().create()
    with pytest.raises(TransportTimeout) as caught:
        conversation.send("Hi", timeouts=Timeouts(total=PATIENCE), on_close=on_close)
    assert caught.value.deadline == "total"
    if on_close == "stop":
        wait_until(lambda: bool(ui.stops))
        assert ui.stops == [{"generationId": ui.chat.messages[-1]["generationId"], "seenContentLength": 0}]
    assert conversation.ask("again").text == HELLO
    assert len(ui.stops) == (on_close == "stop")


def test_an_unconfirmed_stop_delays_the_next_message(
    ui: ChatUI, any_client: Client, clock: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next message waits until the stop cannot hit it, and no longer, even if the server does not confirm the stop."""
    monkeypatch.setattr(run_tracker, "time", clock)
    monkeypatch.setattr(run_tracker, "_STOP_MARK", PATIENCE)
    monkeypatch.setattr(run_tracker, "_STOP_LOOK", 0.01)
    ui.fault("send", [ui.store, *too_late(clock)])
    conversation = any_client.conversation().create()
    with pytest.raises(TransportTimeout):
        conversation.send("Hi", timeouts=Timeouts(total=PATIENCE))
    not_before = clock.monotonic() + PATIENCE
    ui.fault("read", None, too_late(clock))
    sent_at: list[float] = []
    ui.fault("send", [lambda _: sent_at.append(clock.monotonic()), lambda request: ui._send(request, ui.chat)])
    assert conversation.ask("again").text == HELLO
    assert sent_at == [not_before]


def test_resuming_without_end(ui: ChatUI, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """``Retry(resume=None)`` searches until the message is found; ``resume=0`` searches twice."""
    monkeypatch.setattr(run, "_MAX_PAUSE", 0.01)
    ui.fault("send", [RST])
    with pytest.raises(StreamInterrupted):
        make_client(retry=Retry(resume=0)).conversation().create().send("Hi")
    assert ui.count("read") == 1 + 2
    requests: list[Recorded] = []
    ui.fault("send", [requests.append, RST])
    patient = make_client(retry=Retry(resume=None)).conversation()
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(patient.ask("Hi").text))
    thread.start()
    wait_until(lambda: ui.count("read") >= 20)
    ui.store(requests[0])
    thread.join(PATIENCE)
    assert found == [HELLO]


@pytest.mark.parametrize("value", [-1, float("nan"), "soon", True])
def test_resume_is_a_number_of_seconds(value: Any) -> None:
    """Other values are refused when the policy is created."""
    with pytest.raises(InvalidInputError, match="resume"):
        Retry(resume=value)
