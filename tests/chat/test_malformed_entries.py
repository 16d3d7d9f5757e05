"""One malformed entry of a server's answer does not affect the others: it is left out with a warning."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client, HFClientError, Retry
from hfclient.errors import (
    AuthenticationError,
    NotFoundError,
    ProtocolError,
    RateLimitError,
    ServerError,
)
from tests.server import Server, chunked, json_answer, plain

ID, OTHER, GONE = "65a000000000000000000001", "65a000000000000000000002", "65a000000000000000000003"
SHA = "ab" * 32
ROOT = {"id": "r", "from": "system", "content": "", "ancestors": [], "children": ["u"]}


@pytest.fixture
def client(server: Server) -> Client:
    """A client without retries."""
    server.on("/api/v2/feature-flags", json_answer({"json": {"loginEnabled": True, "transcriptionEnabled": False}}))
    return Client(server.url, cookies="hf-chat=some-session", token="", retry=Retry(attempts=1))


def _state(conversation_id: str, *files: Any) -> bytes:
    user = {
        "id": "u",
        "from": "user",
        "content": "what is it?",
        "ancestors": ["r"],
        "children": [],
        "files": list(files),
    }
    state = {"id": conversation_id, "title": "t", "model": "m", "messages": [ROOT, user], "rootMessageId": "r"}
    return json_answer({"json": state})


def _file(sha: Any, name: Any = "odd.png", mime: Any = "image/png") -> dict[str, Any]:
    return {"type": "hash", "value": sha, "name": name, "mime": mime}


@pytest.mark.parametrize("bad", [None, 3, "x", [], {}, {"id": ""}, {"title": "no id"}])
def test_lists(server: Server, client: Client, caplog: pytest.LogCaptureFixture, bad: Any) -> None:
    """Models and conversations with an id are listed, and malformed entries are left out."""
    good = [{"id": ID, "title": "a"}, {"id": OTHER, "title": "b"}]
    server.on("/api/v2/conversations", json_answer({"json": {"conversations": [bad, *good], "hasMore": False}}))
    server.on("/api/v2/models", json_answer({"json": [{"id": "m"}, bad, {"id": "n", "name": "n", "providers": [bad]}]}))
    with caplog.at_level(logging.WARNING, "hfclient"):
        assert [info.id for info in client.conversations.list()] == [ID, OTHER]
        assert [model.id for model in client.models.list()] == ["m", "n"]
    assert [record.args[0] for record in caplog.records if record.args] == [1, 1]


def test_lists_without_a_valid_entry(server: Server, client: Client) -> None:
    """A list without any valid entry is another kind of list."""
    server.on("/api/v2/conversations", json_answer({"json": {"conversations": [{}, 3], "hasMore": False}}))
    server.on("/api/v2/models", json_answer({"json": [None, {}]}))
    for call in (client.conversations.list, client.models.list):
        with pytest.raises(ProtocolError, match="without an id"):
            call()


def test_the_live_feed(server: Server, client: Client) -> None:
    """A generation without its conversation is left out."""
    sync = {"running": [{"conversationId": ID}, 3, {"title": "x"}], "ended": [None, {"conversationId": OTHER}]}
    frame = f"event: sync\ndata: {json.dumps(sync)}\n\n".encode()
    server.on("/api/v2/generations/live", chunked(frame, headers=["Content-Type: text/event-stream"]))
    assert [run.conversation_id for run in client.conversations.running()] == [ID]


@pytest.mark.parametrize("sha", ["a b", "é", "../../x", "..", "", "x" * 300, "%2e", "\x1b[2J", None, 5, ["a"]])
def test_files_with_malformed_ids(server: Server, client: Client, tmp_path: Path, sha: Any) -> None:
    """An export holds the conversation and every file that can be fetched, and names the others."""
    server.on(f"/api/v2/conversations/{ID}", _state(ID, _file(sha), "\n", 7, _file(SHA, "good.png")))
    server.on("*", plain("<!doctype html><title>Not found</title>", 404, "Content-Type: text/html"))
    server.on(f"/conversation/{ID}/output/{SHA}", plain(b"DATA", 200, "Content-Type: image/png"))
    path = client.conversation(ID).export(tmp_path)
    assert "what is it?" in path.read_text("utf-8")
    assert "(odd.png, not saved)" in path.read_text("utf-8")
    assert [file.read_bytes() for file in tmp_path.rglob("*good.png")] == [b"DATA"]


ANSWERS = {
    "gone": plain('{"message":"gone"}', 404, "Content-Type: application/json"),
    "a page": plain("<!doctype html><title>x</title>", 404, "Content-Type: text/html"),
    "refused": plain('{"message":"no"}', 403, "Content-Type: application/json"),
    "failed": plain('{"message":"no"}', 500, "Content-Type: application/json"),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_refused_files_and_conversations(
    server: Server, client: Client, tmp_path: Path, answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A refused file, or one refused conversation of many, is left out with a warning."""
    listed = [{"id": GONE, "title": "gone"}, {"id": ID, "title": "a"}, {"id": "not an id", "title": "b"}]
    server.on("/api/v2/conversations", json_answer({"json": {"conversations": listed, "hasMore": False}}))
    server.on(f"/api/v2/conversations/{ID}", _state(ID, _file("cd" * 32), _file(SHA, "good.png")))
    server.on(f"/api/v2/conversations/{GONE}", ANSWERS[answer])
    server.on(f"/conversation/{ID}/output/{'cd' * 32}", ANSWERS[answer])
    server.on(f"/conversation/{ID}/output/{SHA}", plain(b"DATA", 200, "Content-Type: image/png"))
    with caplog.at_level(logging.WARNING, "hfclient"):
        (path,) = client.conversations.export(tmp_path, progress=False)
    assert "what is it?" in path.read_text("utf-8")
    assert len([*tmp_path.rglob("*good.png")]) == 1
    assert GONE in caplog.text
    assert caplog.text.count("left out") == 3


@pytest.mark.parametrize(
    ("status", "error"), [(401, AuthenticationError), (429, RateLimitError), (502, ServerError), (503, ServerError)]
)
def test_errors_that_end_an_export(
    server: Server, client: Client, tmp_path: Path, status: int, error: type[HFClientError]
) -> None:
    """An expired login, a limit and a server that is down are not errors of one entry."""
    failure = plain('{"message":"no"}', status, "Content-Type: application/json")
    server.on(
        "/api/v2/conversations", json_answer({"json": {"conversations": [{"id": ID}, {"id": GONE}], "hasMore": False}})
    )
    server.on("*", failure)
    server.on(f"/api/v2/conversations/{ID}", _state(ID, _file(SHA)))
    with pytest.raises(error):
        client.conversations.export(tmp_path / "files", progress=False)
    with pytest.raises(error):
        client.conversations.export(tmp_path / "none", files=False, progress=False)
    assert len([*(tmp_path / "none").glob("*.md")]) == 1


def test_nothing_can_be_read(server: Server, client: Client, tmp_path: Path) -> None:
    """If no conversation can be exported, the first error is raised."""
    server.on("/api/v2/conversations", json_answer({"json": {"conversations": [{"id": GONE}], "hasMore": False}}))
    server.on(f"/api/v2/conversations/{GONE}", ANSWERS["gone"])
    with pytest.raises(NotFoundError):
        client.conversations.export(tmp_path, progress=False)
