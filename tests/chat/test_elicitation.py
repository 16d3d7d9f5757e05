"""Tools: which of them a message may use, and their questions, blocking and parked."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from hfclient import Client, ElicitationAnswer, McpServer
from hfclient.chat.conversations import run_tracker
from hfclient.chat.wire.tools import mcp_fields
from hfclient.errors import (
    BadRequestError,
    Cancelled,
    ConflictError,
    InvalidInputError,
    StreamInterrupted,
    TransportTimeout,
)
from hfclient.events import Elicitation, ElicitationResolved, Token
from hfclient.transport import Timeouts
from tests.chat.conftest import GIVES_UP
from tests.chat.replay import (
    FINISHED,
    JSONL,
    KEEP_ALIVE,
    SSE,
    STARTED,
    ChatUI,
    cut,
    final,
    form_data,
    lines,
    log_of,
    token,
    wait_until,
)
from tests.clock import FakeTime
from tests.server import LAST_CHUNK, PATIENCE, RST, SOON, UNTIL_GONE, Recorded, chunk, head, json_answer, plain

ID = "6cff0873-9b03-4a86-9147-c142d6aabb6f"
FIELDS = [{"kind": "number", "name": "seats", "required": True, "integer": True}]
REQUEST = {"elicitationId": ID, "server": "booking", "mode": "form", "message": "How many seats?", "fields": FIELDS}
ASKS = {"type": "elicitation", "subtype": "request", "request": REQUEST, "toolUuid": "t"}
BLOCKS = {**ASKS, "expiresAt": 1795235814881}
RESOLVED = {"type": "elicitation", "subtype": "resolved", "elicitationId": ID, "action": "accept", "resolution": "user"}
CALL = {"type": "tool", "subtype": "call", "uuid": "t", "call": {"name": "book", "parameters": {}}}
RESULT = {"type": "tool", "subtype": "result", "uuid": "t", "result": {"status": "success", "outputs": [{"text": "2"}]}}


# Which tools


def test_no_tools_by_default() -> None:
    """The field must be present and empty: without it all tools of the instance are on."""
    assert mcp_fields(()) == {"selectedMcpServerNames": []}
    assert mcp_fields("all") == {}


def test_tools_by_name_and_url() -> None:
    """Names are those of the instance; URLs and `McpServer` objects are sent along, named after their host."""
    fields = mcp_fields(["exa", "https://mcp.example/x", McpServer("https://h/y", {"X-Key": "k"}, name="mine")])
    assert fields == {
        "selectedMcpServerNames": ["exa", "mcp.example", "mine"],
        "selectedMcpServers": [
            {"name": "mcp.example", "url": "https://mcp.example/x", "headers": []},
            {"name": "mine", "url": "https://h/y", "headers": [{"key": "X-Key", "value": "k"}]},
        ],
    }
    assert mcp_fields("exa") == mcp_fields(["exa"])
    assert mcp_fields(McpServer("https://h/y")) == mcp_fields(["https://h/y"])


@pytest.mark.parametrize("mcp", [[""], [5], [None], ["a", "a"], ["https://h/1", "https://h/2"], [b"x"]])
def test_invalid_tools(mcp: Any) -> None:
    """Invalid tools are refused before anything is sent."""
    with pytest.raises(InvalidInputError):
        mcp_fields(mcp)


@pytest.mark.parametrize("headers", [{"a b": "x"}, {"": "x"}, {"x": "a\r\nb"}, {"x:": "y"}])
def test_invalid_headers_of_tools(headers: dict[str, str]) -> None:
    """Headers that would inject another one are refused."""
    with pytest.raises(InvalidInputError):
        McpServer("https://h", headers)


def test_secrets_of_tools_do_not_show() -> None:
    """The token of an MCP server does not show in a repr."""
    assert "s3cret" not in repr(McpServer("https://h", {"Authorization": "Bearer s3cret"}))


def test_tools_go_into_the_form(ui: ChatUI, client: Client) -> None:
    """Tools are fields of the form."""
    ui.says(lines(STARTED, final("a"), FINISHED))
    client.chat("Hi", mcp=["exa"]).result()
    assert form_data(ui.of("send")[0])["selectedMcpServerNames"] == ["exa"]


# Questions that the run waits for


def waits_for_the_answer(ui: ChatUI) -> Any:
    """A run that asks and continues when it was answered."""

    def steps(request: Recorded) -> Any:
        yield head(200, JSONL, "Transfer-Encoding: chunked")
        yield chunk(lines(STARTED, CALL, BLOCKS))
        while not ui.answered:
            yield 0.01
            yield chunk(lines({"type": "status", "status": "keepAlive"}))
        yield chunk(lines(RESOLVED, RESULT, token("Booked."), final("Booked."), FINISHED))
        yield LAST_CHUNK

    return [steps]


ANSWERS: list[tuple[Any, dict[str, Any]]] = [
    ({"seats": 2}, {"action": "accept", "content": {"seats": 2}}),
    (ElicitationAnswer("accept", {"seats": 2}), {"action": "accept", "content": {"seats": 2}}),
    (ElicitationAnswer("cancel"), {"action": "cancel"}),
    (True, {"action": "accept"}),
    (False, {"action": "decline"}),
    (None, {"action": "decline"}),
]


@pytest.mark.parametrize(("given", "sent"), ANSWERS, ids=str)
def test_a_callback_answers(ui: ChatUI, any_client: Client, given: Any, sent: dict[str, Any]) -> None:
    """The stream waits for the callback, answers on another connection, and continues."""
    ui.says(lines(STARTED), waits_for_the_answer(ui))
    asked: list[Elicitation] = []

    def callback(question: Elicitation) -> Any:
        asked.append(question)
        return given

    stream = any_client.chat("Hi", mcp=["booking"], on_elicitation=callback)
    reply = stream.result()
    assert ui.answered == [{"elicitationId": ID, **sent}]
    assert (reply.text, len(reply.elicitations), asked) == ("Booked.", 1, list(reply.elicitations))
    assert (asked[0].message, asked[0].fields, asked[0].expires_at) == ("How many seats?", FIELDS, 1795235814881)
    assert ui.count("send") == 1


def test_the_reader_answers(ui: ChatUI, any_client: Client) -> None:
    """Without a callback the reader of the events answers."""
    ui.says(lines(STARTED), waits_for_the_answer(ui))
    stream = any_client.chat("Hi", mcp=["booking"])
    for event in stream:
        if isinstance(event, Elicitation):
            assert stream.conversation.answer(event, {"seats": 3}) is None
    assert stream.result().text == "Booked."
    assert ui.answered[0]["content"] == {"seats": 3}


def test_a_reader_of_the_text_alone(ui: ChatUI, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """`result` shows no events, so a warning says why it waits."""
    ui.says(lines(STARTED), waits_for_the_answer(ui))
    stream = client.chat("Hi", mcp=["booking"])
    reader = threading.Thread(target=stream.result)
    reader.start()
    wait_until(lambda: "'How many seats?', and waits for an answer; on_elicitation=" in caplog.text)
    stream.conversation.answer(stream.partial.elicitations[0], {"seats": 3})
    reader.join(PATIENCE)
    assert stream.result().text == "Booked."


def test_ask_declines(ui: ChatUI, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """`ask` without a callback declines, because the question would block for an hour."""
    ui.says(lines(STARTED), waits_for_the_answer(ui))
    assert client.conversation().ask("Hi", mcp=["booking"]).text == "Booked."
    assert ui.answered == [{"elicitationId": ID, "action": "decline"}]
    assert "declined" in caplog.text


def test_values_that_do_not_fit(ui: ChatUI, client: Client) -> None:
    """The server's message reaches the caller; the run is stopped with the stream, and the conversation stays usable."""
    ui.says(lines(STARTED), waits_for_the_answer(ui))
    ui.fault("answer", json_answer({"message": '"seats" is required.'}, 400))
    stream = client.chat("Hi", on_elicitation=lambda question: {})
    with pytest.raises(BadRequestError, match="seats"):
        stream.result()
    wait_until(lambda: len(ui.stops) == 1)  # or the run would wait for an hour
    ui.fault("answer", json_answer({"message": "This request has expired."}, 409))
    with pytest.raises(ConflictError):
        stream.conversation.answer(stream.partial.elicitations[0], True)
    ui._next.clear()
    ui.says(lines(STARTED, final("b"), FINISHED))
    assert stream.conversation.ask("again").text == "b"


def test_answers_that_json_cannot_represent(ui: ChatUI, client: Client) -> None:
    """Values that JSON cannot represent are refused before anything is sent."""
    ui.says(lines(STARTED), waits_for_the_answer(ui))
    with pytest.raises(InvalidInputError):
        client.chat("Hi", on_elicitation=lambda question: {"seats": object()}).result()
    assert ui.count("answer") == 0
    wait_until(lambda: len(ui.stops) == 1)


def test_a_question_that_the_log_repeats(ui: ChatUI, any_client: Client) -> None:
    """A stream that broke after its question was answered does not ask it again."""
    live = lines(STARTED, CALL, BLOCKS)
    updates = [STARTED, CALL, BLOCKS, RESOLVED, RESULT, token("Booked."), final("Booked."), FINISHED]
    ui.says(live, cut(len(live)), log=log_of(*updates))
    calls: list[Elicitation] = []
    stream = any_client.chat("Hi", on_elicitation=lambda question: calls.append(question) or {"seats": 1})
    assert stream.result().text == "Booked."
    assert len(calls) == 1
    in_one_piece = [head(200, SSE, "Transfer-Encoding: chunked"), chunk(log_of(*updates).encode()), LAST_CHUNK]
    ui.fault("log", in_one_piece)
    looked = stream.conversation.attach(on_elicitation=calls.append)
    assert looked.result().text == "Booked."
    assert len(calls) == 1  # already answered, as the log shows


# Parked questions


def parked(ui: ChatUI) -> None:
    """The run ends with its question; the next one continues in the same message."""
    ui.parks = True
    ui.says(lines(STARTED, CALL, ASKS, FINISHED), stored={"content": "", "updates": [STARTED, CALL, ASKS, FINISHED]})
    going_on = [RESOLVED, RESULT, STARTED, token("Booked."), final("Booked."), FINISHED]
    ui.says(
        lines(*going_on),
        log=log_of(*going_on),
        stored={"content": "Booked.", "updates": going_on, "interrupted": False},
    )


def check_parked(ui: ChatUI, run: str | None) -> None:
    """Check that one question was asked and answered once, and that the next run continued its message."""
    first, second = (form_data(request) for request in ui.of("send"))
    assert len(ui.chat.users) == 1
    assert second["id"] == ui.chat.messages[-1]["id"]
    assert (second["resumeElicitationId"], second["selectedMcpServerNames"]) == (ID, ["booking"])
    assert "inputs" not in second
    assert second["generationId"] == run != first["generationId"]


def test_a_callback_answers_a_parked_question(ui: ChatUI, any_client: Client) -> None:
    """The stream continues with the next run."""
    parked(ui)
    stream = any_client.chat("Hi", mcp=["booking"], on_elicitation=lambda question: {"seats": 2})
    events = list(stream)
    assert [type(event) for event in events if isinstance(event, (Elicitation, ElicitationResolved, Token))] == [
        Elicitation,
        ElicitationResolved,
        Token,
    ]
    reply = stream.result()
    assert (reply.text, reply.interrupted) == ("Booked.", False)
    assert reply.generation_id == stream.generation_id
    check_parked(ui, reply.generation_id)
    assert ui.answered == [{"elicitationId": ID, "action": "accept", "content": {"seats": 2}}]
    assert not stream.conversation._runs.lock.locked()


def test_a_parked_question_is_answered_later(ui: ChatUI, any_client: Client) -> None:
    """Another client may answer later: it gets the stream of the run that continues."""
    parked(ui)
    stream = any_client.chat("Hi", mcp=["booking"])
    (question,) = stream.result().elicitations
    assert question.expires_at is None
    later = any_client.restore(stream.conversation.to_dict())
    going_on = later.answer(question, {"seats": 2}, mcp=["booking"])
    assert going_on is not None
    assert going_on.text == "Booked."
    check_parked(ui, going_on.generation_id)


@GIVES_UP
@pytest.mark.parametrize("stored", [True, False], ids=["stored", "not stored"])
def test_a_continuing_run_of_unknown_delivery(ui: ChatUI, any_client: Client, stored: bool) -> None:
    """The continuing run is posted once, too: it is found by the run that its message belongs to now."""
    parked(ui)
    stream = any_client.chat("Hi", mcp=["booking"], on_elicitation=lambda question: {"seats": 2})
    ui.fault("send", *([[ui.store, RST]] if stored else [[RST]]))
    if stored:
        assert stream.result().text == "Booked."
    else:
        with pytest.raises(StreamInterrupted, match="not known") as caught:
            stream.result()
        assert caught.value.generation_id == form_data(ui.of("send")[1])["generationId"]
        assert caught.value.partial is not None
        assert caught.value.partial.elicitations
    assert ui.count("send") == 2
    assert len(ui.chat.users) == 1


LOST_ANSWERS: dict[str, Any] = {
    "rst": RST,
    "504": plain(b"<html>", 504, "Content-Type: text/html"),
    "524": plain(b"error code: 524", 524),
}


@pytest.mark.parametrize("arrived", [True, False], ids=["arrived", "lost"])
@pytest.mark.parametrize("parks", [True, False], ids=["parked", "blocking"])
@pytest.mark.parametrize("how", LOST_ANSWERS)
def test_an_answer_of_unknown_delivery(
    ui: ChatUI, any_client: Client, how: str, parks: bool, arrived: bool
) -> None:
    """An answer of unknown delivery is sent again; the server refuses the second one, and the parked run continues."""
    if parks:
        parked(ui)
    else:
        ui.says(lines(STARTED), waits_for_the_answer(ui))
    lost = LOST_ANSWERS[how]
    if arrived:
        ui.fault("answer", [lambda request: ui.answered.append(request.json()), lost])
        ui.fault("answer", json_answer({"message": "Already answered."}, 409))
    else:
        ui.fault("answer", [lost], [lost])
    stream = any_client.chat("Hi", mcp=["booking"], on_elicitation=lambda question: {"seats": 2})
    assert stream.result().text == "Booked."
    assert ui.count("answer") == (2 if arrived else 3)
    assert ui.count("send") == (2 if parks else 1)


def test_a_continuing_run_has_its_own_first_token(ui: ChatUI, any_client: Client, clock: FakeTime) -> None:
    """``first_token`` bounds the wait for the first content of each run."""
    parked(ui)
    go = threading.Event()
    late = [
        head(200, JSONL, "Transfer-Encoding: chunked"),
        chunk(lines(RESOLVED, token("Booked."))),
        go,
        chunk(lines(final("Booked."), FINISHED)),
        LAST_CHUNK,
    ]
    ui._next[1].live = late
    patience = Timeouts(first_token=PATIENCE, idle=PATIENCE)
    stream = any_client.chat("Hi", mcp=["booking"], on_elicitation=lambda question: True, timeouts=patience)
    for event in stream:
        if event == Token("Booked."):
            clock.advance(2 * PATIENCE)  # there was content already
            go.set()
    assert stream.result().text == "Booked."
    ui.chats.clear()
    ui._next.clear()
    parked(ui)
    begun = threading.Event()
    begins = [head(200, JSONL, "Transfer-Encoding: chunked"), chunk(lines(RESOLVED)), begun]
    ui._next[1].live = [*begins, lambda _: clock.advance(PATIENCE), chunk(lines(KEEP_ALIVE)), UNTIL_GONE]
    patience = Timeouts(first_token=PATIENCE, idle=2 * PATIENCE)
    stream = any_client.chat("Hi", mcp=["booking"], on_elicitation=lambda question: True, timeouts=patience)
    while not isinstance(next(stream), ElicitationResolved):
        pass
    begun.set()
    started = time.monotonic()
    with pytest.raises(TransportTimeout) as caught:
        stream.result()
    assert caught.value.deadline == "first_token"
    assert time.monotonic() - started < SOON


@pytest.mark.parametrize("waits_for", ["answer", "read", "send"])
def test_cancel_before_the_continuing_run(ui: ChatUI, any_client: Client, waits_for: str) -> None:
    """`cancel` ends each wait before the next run, and a run that may have started by then is stopped by its own id."""
    parked(ui)
    stream = any_client.chat("Hi", mcp=["booking"], on_elicitation=lambda question: {"seats": 2})
    arrived = threading.Event()
    stored = [ui.store] if waits_for == "send" else []
    before = ui.count(waits_for)
    ui.fault(waits_for, [*stored, lambda _: arrived.set(), UNTIL_GONE])

    def cancel() -> None:
        assert arrived.wait(PATIENCE)
        stream.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        stream.result()
    assert time.monotonic() - started < SOON
    thread.join()
    assert ui.count(waits_for) == before + 1
    if waits_for == "send":
        wait_until(lambda: bool(ui.stops))
    ids = [form_data(request)["generationId"] for request in ui.of("send")[1:]]
    assert [stop["generationId"] for stop in ui.stops] == ids


def test_a_confirmed_stop_of_a_continuing_run(
    ui: ChatUI, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the message shows that this run was stopped, the next message does not wait."""
    monkeypatch.setattr(run_tracker, "_STOP_MARK", PATIENCE)
    monkeypatch.setattr(run_tracker, "_STOP_LOOK", 0.02)
    parked(ui)
    ui._next[1].stored["interrupted"] = True
    stream = client.chat("Hi", on_elicitation=lambda question: True)
    ui.fault("send", [ui.store, lambda _: stream.cancel(), UNTIL_GONE])
    with pytest.raises(Cancelled):
        stream.result()
    assert stream.conversation.ask("again").text == "Booked."
    assert stream.conversation._runs._not_before == 0.0
