"""Generations: stop, detach, resume, the event log and the live feed."""

from __future__ import annotations

import json
import threading
import time
import uuid

import pytest
import requests

from hfclient.local import LocalServer
from tests.local.caller import Caller, events, frames, kinds, text_of
from tests.local.upstream import Fail, ScriptedUpstream
from tests.server import PATIENCE, SOON


def wait_for(condition, seconds: float = PATIENCE):
    """Return the result of *condition* as soon as it is true."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def read_until(stream, text: str) -> list[dict]:
    """Read events until their tokens make *text*."""
    received = []
    while text_of(received) != text:
        received.append(next(stream))
    return received


@pytest.fixture
def gate():
    """The model waits for this event; set at the end of every test."""
    event = threading.Event()
    yield event
    event.set()


# Stopping


def stop(caller: Caller, conversation: str, **body) -> requests.Response:
    return caller.post(f"/conversation/{conversation}/stop-generating", **({"json": body} if body else {}))


def test_a_stop_keeps_the_text_so_far(caller: Caller, upstream: ScriptedUpstream, gate):
    """The stream ends at once with an interrupted final answer, which is stored; the stop does not wait for the model."""
    upstream.say("long", ["w0 ", "w1 ", gate, "w2"])
    conversation = caller.create()
    stream = events(caller.send(conversation, "long"))
    read_until(stream, "w0 w1 ")
    answer = stop(caller, conversation)
    assert (answer.status_code, answer.content) == (200, b"")
    rest = [event for event in stream if event.get("status") != "keepAlive"]
    assert rest == [
        {"type": "finalAnswer", "text": "w0 w1 ", "interrupted": True},
        {"type": "status", "status": "finished"},
    ]
    message = caller.messages(conversation)[-1]
    assert (message["content"], message["interrupted"]) == ("w0 w1 ", True)
    assert caller.log(conversation)[-1] == (None, "end", {"status": "interrupted"})


@pytest.mark.parametrize(
    ("seen", "kept"), [(0, ""), (2, "a"), (3, "a😀"), (4, "a😀b"), (999, "a😀b c"), (None, "a😀b c"), (-1, "a😀b c")]
)
def test_a_stop_point_counts_utf16_units(caller: Caller, upstream: ScriptedUpstream, gate, seen, kept):
    """The stored text is cut to what the reader had seen, never in the middle of a character."""
    upstream.say("long", ["a😀", "b c", gate])
    conversation, generation = caller.create(), str(uuid.uuid4())
    stream = events(caller.send(conversation, "long", generationId=generation))
    read_until(stream, "a😀b c")
    stop(caller, conversation, generationId=generation, seenContentLength=seen)
    assert [event["text"] for event in stream if event["type"] == "finalAnswer"] == [kept]
    assert caller.messages(conversation)[-1]["content"] == kept


def test_a_stop_with_another_generation_id(caller: Caller, upstream: ScriptedUpstream, gate):
    """A stop is for the conversation: with another id it also stops, but ignores the stop point."""
    upstream.say("long", ["one two", gate])
    conversation = caller.create()
    stream = events(caller.send(conversation, "long"))
    read_until(stream, "one two")
    stop(caller, conversation, generationId=str(uuid.uuid4()), seenContentLength=1)
    assert [event["text"] for event in stream if event["type"] == "finalAnswer"] == ["one two"]


def test_a_stop_before_the_first_token(caller: Caller, upstream: ScriptedUpstream, gate):
    """If the model has not sent a token yet, the interrupted answer is empty, and not an error."""
    upstream.say("long", [gate, "late"])
    conversation = caller.create()
    stream = events(caller.send(conversation, "long"))
    next(stream)
    stop(caller, conversation)
    assert kinds([event for event in stream if event.get("status") != "keepAlive"])[-2:] == ["finalAnswer", "finished"]
    assert caller.messages(conversation)[-1]["content"] == ""


def test_a_stop_without_a_generation(caller: Caller):
    """It is 200 too, with any body, and the next message works."""
    conversation = caller.create()
    url = f"/conversation/{conversation}/stop-generating"
    for options in ({}, {"json": []}, {"data": "x", "headers": {"Content-Type": "application/json"}}):
        assert caller.post(url, **options).status_code == 200
    assert kinds(caller.turn(conversation, "Hi"))[-2:] == ["finalAnswer", "finished"]


def test_two_stops_at_once(caller: Caller, upstream: ScriptedUpstream, gate):
    """Concurrent stops end a generation once, with one final answer."""
    upstream.say("long", ["x", gate])
    conversation = caller.create()
    stream = events(caller.send(conversation, "long"))
    read_until(stream, "x")

    def stop_too():
        with Caller(caller.url, caller.cookie) as other:
            assert stop(other, conversation).status_code == 200

    threads = [threading.Thread(target=stop_too) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert kinds(list(stream)).count("finalAnswer") == 1
    for thread in threads:
        thread.join()


# Detach and resume


def test_a_generation_continues_without_its_reader(caller: Caller, upstream: ScriptedUpstream, gate):
    """Closing the connection stops nothing: the whole answer is stored."""
    upstream.say("long", ["one ", gate, "two"])
    conversation = caller.create()
    response = caller.send(conversation, "long")
    read_until(events(response), "one ")
    response.close()
    gate.set()
    message = wait_for(lambda: [m for m in caller.messages(conversation) if m.get("interrupted") is False])[0]
    assert message["content"] == "one two"


def test_a_running_answer_can_be_read(caller: Caller, upstream: ScriptedUpstream, gate):
    """While it is generated, the message holds the text so far and the number from which to follow the log."""
    upstream.say("long", ["one ", "two ", gate, "three"])
    conversation = caller.create()
    stream = events(caller.send(conversation, "long"))
    read_until(stream, "one two ")
    message = caller.messages(conversation)[-1]
    assert message["content"] == "one two "
    assert "interrupted" not in message
    gate.set()
    list(stream)
    rest = caller.log(conversation, f"?fromSeq={message['materializedSeq']}")
    assert "".join(data["token"] for _, _, data in rest if data.get("type") == "stream") == "three"


def test_the_log_of_a_finished_generation(caller: Caller, upstream: ScriptedUpstream, monkeypatch):
    """Numbered from 1, tokens merged and unpadded, the same text; it starts after any number, by query or by header."""
    monkeypatch.setattr("hfclient.local.generations._MERGE_SECONDS", PATIENCE)
    conversation, generation = caller.create(), str(uuid.uuid4())
    caller.turn(conversation, "Hi", generationId=generation)
    response = caller.get(f"/conversation/{conversation}/stream?generationId={generation}")
    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert response.headers["Cache-Control"] == "no-cache, no-transform"
    whole = frames(response.text)
    assert [number for number, _, _ in whole] == ["1", "2", "3", "4", "5", None]
    assert [data for _, _, data in whole] == [
        {"type": "status", "status": "started"},
        {"type": "title", "title": "Hi"},
        {"type": "stream", "token": "Hello, world!"},
        {"type": "finalAnswer", "text": "Hello, world!", "interrupted": False},
        {"type": "status", "status": "finished"},
        {"status": "completed"},
    ]
    assert caller.log(conversation) == whole
    for query in ("?fromSeq=x", "?fromSeq=-3", "?fromSeq=%D9%A3"):
        assert caller.log(conversation, query) == whole
    assert caller.log(conversation, "?fromSeq=3") == whole[3:]
    assert caller.log(conversation, "?fromSeq=1", headers={"Last-Event-ID": "4"}) == whole[4:]
    assert caller.log(conversation, "?fromSeq=99") == whole[-1:]
    assert caller.log(conversation, f"?generationId={uuid.uuid4()}") == [(None, "end", {"status": "gone"})]


def test_the_log_of_a_running_generation(caller: Caller, upstream: ScriptedUpstream, gate):
    """A second reader gets the entries so far, then new ones as they arrive, with heartbeats in between, up to the end frame."""
    upstream.say("long", ["one ", gate, "two"])
    conversation, generation = caller.create(), str(uuid.uuid4())
    live = events(caller.send(conversation, "long", generationId=generation))
    read_until(live, "one ")
    log = caller.get(f"/conversation/{conversation}/stream?generationId={generation}", stream=True)
    text = ""
    for piece in log.iter_content(None):
        text += piece.decode()
        if ": heartbeat\n\n" in text:
            gate.set()
    list(live)
    assert ": heartbeat\n\n" in text
    followed = frames(text)
    assert "".join(data["token"] for _, _, data in followed if data.get("type") == "stream") == "one two"
    assert followed[-1] == (None, "end", {"status": "completed"})
    assert caller.log(conversation) == followed


def test_the_log_of_a_failed_generation(caller: Caller, upstream: ScriptedUpstream):
    """An error is an entry of the log, and the end frame has the status."""
    upstream.say("fail", [Fail(500, "no")])
    conversation = caller.create()
    caller.turn(conversation, "fail")
    assert caller.log(conversation)[-2][2] == {
        "type": "status",
        "status": "error",
        "message": "500 no",
        "statusCode": 500,
    }
    assert caller.log(conversation)[-1][2] == {"status": "error"}


def test_a_generation_id_used_twice(caller: Caller):
    """The later generation replaces the log; both answers are stored."""
    conversation, generation = caller.create(), str(uuid.uuid4())
    caller.turn(conversation, "one", generationId=generation)
    caller.turn(conversation, "two", generationId=generation)
    assert "title" not in [data.get("type") for _, _, data in caller.log(conversation, f"?generationId={generation}")]
    assert [m["content"] for m in caller.messages(conversation)[2::2]] == ["Hello, world!"] * 2


def test_two_generations_in_one_conversation(caller: Caller, upstream: ScriptedUpstream, gate):
    """Concurrent sends lose nothing: each becomes a branch."""
    upstream.say("slow", ["a", gate, "b"])
    conversation = caller.create()
    root = caller.leaf(conversation)
    first = events(caller.send(conversation, "slow", id=root))
    read_until(first, "a")
    assert text_of(caller.turn(conversation, "Hi", id=root)) == "Hello, world!"
    gate.set()
    list(first)
    contents = [message["content"] for message in caller.messages(conversation)[1:]]
    assert contents == ["slow", "ab", "Hi", "Hello, world!"]


def test_deleting_a_conversation_during_a_generation(caller: Caller, upstream: ScriptedUpstream, gate):
    """The stream finishes normally, and the result is not stored."""
    upstream.say("long", ["one ", gate, "two"])
    conversation = caller.create()
    stream = events(caller.send(conversation, "long"))
    read_until(stream, "one ")
    caller.ask("DELETE", f"/api/v2/conversations/{conversation}")
    gate.set()
    assert kinds(list(stream))[-1] == "finished"
    assert caller.get(f"/api/v2/conversations/{conversation}").status_code == 404


def test_the_live_feed(caller: Caller, upstream: ScriptedUpstream, gate, monkeypatch):
    """Running generations, then ended ones, then idle after two empty frames; generations of other sessions are not in it."""
    monkeypatch.setattr("hfclient.local.message_routes._FEED_INTERVAL", 0.1)
    upstream.say("long", ["one ", gate])
    conversation = caller.create()
    stream = events(caller.send(conversation, "long"))
    read_until(stream, "one ")
    entry = {"conversationId": conversation, "title": "long"}
    with Caller(caller.url) as other:
        assert frames(other.get("/api/v2/generations/live").text) == [
            *[(None, "sync", {"running": [], "ended": []})] * 2,
            (None, "idle", {}),
        ]
    text = ""
    for piece in caller.get("/api/v2/generations/live", stream=True).iter_content(None):
        text += piece.decode()
        if "running" in text:
            gate.set()
    feed = [data for _, _, data in frames(text)]
    assert feed[0] == {"running": [entry], "ended": []}
    assert {"running": [], "ended": [{**entry, "status": "completed"}]} in feed
    assert feed[-1] == {}


def test_closing_the_server_breaks_streams(upstream: ScriptedUpstream, gate):
    """Readers get a broken body instead of an end, and close() returns soon."""
    upstream.say("long", ["one ", gate])
    with LocalServer(upstream=upstream.url) as server, Caller(server.url) as caller:
        conversation = caller.create()
        stream = events(caller.send(conversation, "long"))
        read_until(stream, "one ")
        log = caller.get(f"/conversation/{conversation}/stream", stream=True)
        started = time.monotonic()
        server.close()
        assert time.monotonic() - started < SOON
        for reading in (lambda: list(stream), lambda: log.content):
            with pytest.raises(Exception, match=r"IncompleteRead|prematurely|broken"):
                reading()


def test_lines_are_complete_json(caller: Caller, upstream: ScriptedUpstream):
    """Every line of a stream, keep-alives included, parses on its own."""
    upstream.say("slow", ["a\nb", 0.25, "c"])
    lines = caller.send(caller.create(), "slow").content.split(b"\n")
    assert lines[-1] == b""
    assert all(json.loads(line) for line in lines[:-1])
