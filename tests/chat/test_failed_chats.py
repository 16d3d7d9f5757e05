"""A failed chat deletes the conversation that it created; one that the caller holds, or whose message may have arrived, stays."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from hfclient import Client
from hfclient.chat.conversations.conversation import Conversation
from hfclient.cli.app import run
from hfclient.errors import (
    APIStatusError,
    HFClientError,
    RateLimitError,
    StreamInterrupted,
    TransportTimeout,
)
from hfclient.transport import Timeouts
from tests.chat.conftest import GIVES_UP
from tests.chat.recordings import recording
from tests.chat.replay import ChatUI, too_late
from tests.clock import FakeTime
from tests.server import PATIENCE, RST, json_answer, plain

HELLO = "Hello, world!"
HTML = "Content-Type: text/html"


@pytest.fixture(autouse=True)
def _says_hello(ui: ChatUI) -> None:
    ui.says(recording("plain"))


REFUSALS = {
    "429": json_answer({"message": "You are sending too many messages. Try again later."}, 429),
    "400": json_answer({"message": "Message too long."}, 400),
    "401": json_answer({"message": "Unauthorized"}, 401),
    "410": json_answer({"message": "Model not available anymore"}, 410),
    "413": json_answer({"message": "File too large, should be <10MB"}, 413),
    "413 of a gateway": plain(b"<html>Request Entity Too Large</html>", 413, HTML),
    "500": json_answer({"message": "An error occurred"}, 500),
    "503": json_answer({"message": "Down for maintenance"}, 503),
    "a page": plain(b"<html>", 200, HTML),
}


@pytest.mark.parametrize("temporary", [False, True])
@pytest.mark.parametrize("what", REFUSALS)
def test_a_refused_chat_leaves_nothing(ui: ChatUI, any_client: Client, what: str, temporary: bool) -> None:
    """The conversation that the call created is deleted again, and the refusal is raised."""
    ui.always("send", REFUSALS[what])
    for _ in range(2):
        with pytest.raises(HFClientError) as caught:
            any_client.chat("Hi", temporary=temporary, files=[("a.txt", b"text")])
        if isinstance(caught.value, APIStatusError):
            assert str(caught.value.status_code) == what[:3]
    assert ui.chats == {}
    assert (ui.count("create"), ui.count("delete")) == (2, 2)


def test_a_chat_that_fails_before_sending(ui: ChatUI, client: Client) -> None:
    """The same holds if the parent of the first message cannot be found, as on servers before July 2026."""
    ui.sends_conversation = False
    ui.always("read", json_answer({"message": "no"}, 403))
    with pytest.raises(APIStatusError):
        client.chat("Hi")
    assert ui.chats == {}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_an_interruption_before_the_message(
    ui: ChatUI, client: Client, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """Ctrl-C between creating and sending leaves no conversation."""

    def interrupted(*args: Any, **options: Any) -> Any:
        assert len(ui.chats) == 1
        raise error

    monkeypatch.setattr(Conversation, "_new_run", interrupted)
    with pytest.raises(error):
        client.chat("Hi")
    assert ui.chats == {}


@pytest.mark.parametrize("answer", [[RST], plain(b"no", 500), json_answer({"message": "Conversation not found"}, 404)])
def test_a_deletion_that_fails(
    ui: ChatUI, client: Client, caplog: pytest.LogCaptureFixture, answer: Any
) -> None:
    """A conversation that cannot be deleted is named in the log; the refusal is raised."""
    ui.always("send", REFUSALS["429"])
    ui.always("delete", answer)
    with caplog.at_level(logging.WARNING, logger="hfclient"), pytest.raises(RateLimitError):
        client.chat("Hi")
    assert ui.chat.id in caplog.text


LOST: dict[str, list[Any]] = {
    "a broken connection": [RST],
    "a gateway's 504": [plain(b"<html>", 504, HTML)],
}


@GIVES_UP
@pytest.mark.parametrize("temporary", [False, True])
@pytest.mark.parametrize("how", [*LOST, "a deadline"])
def test_what_may_have_arrived_stays(
    ui: ChatUI, any_client: Client, clock: FakeTime, how: str, temporary: bool
) -> None:
    """A conversation whose message may have arrived is not deleted, and the error names it."""
    ui.always("send", too_late(clock) if how == "a deadline" else LOST[how])
    timeouts = Timeouts(first_token=PATIENCE, idle=PATIENCE) if how == "a deadline" else None
    with pytest.raises((StreamInterrupted, TransportTimeout)) as caught:
        any_client.chat("Hi", temporary=temporary, timeouts=timeouts)
    assert (caught.value.conversation_id, ui.count("delete")) == (ui.chat.id, 0)


def test_what_the_caller_holds_stays(ui: ChatUI, any_client: Client) -> None:
    """A conversation object keeps the conversation that a refused message created, and continues in it."""
    conversation = any_client.conversation()
    ui.fault("send", REFUSALS["429"])
    with pytest.raises(RateLimitError):
        conversation.ask("Hi")
    assert conversation.ask("Hi").text == HELLO
    assert (ui.count("create"), ui.count("delete")) == (1, 0)
    assert [message["content"] for message in ui.chat.users] == ["Hi"]


def test_only_created_conversations_are_deleted(ui: ChatUI, client: Client) -> None:
    """A conversation that could not be created is not deleted, and neither is one with an answer."""
    ui.fault("create", json_answer({"message": "no"}, 403))
    with pytest.raises(APIStatusError):
        client.chat("Hi")
    assert client.chat("Hi").text == HELLO
    assert ui.count("delete") == 0
    assert ui.chat.users


def test_the_command_line(ui: ChatUI) -> None:
    """``hfclient chat`` leaves no conversation after a refusal either."""
    ui.always("send", REFUSALS["429"])
    assert run(["chat", "--url", ui.url, "Hi"]) != 0
    assert (ui.count("create"), ui.chats) == (1, {})
