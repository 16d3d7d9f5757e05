"""Persistence: restarts, killed servers, and the permissions of the database."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hfclient.errors import LocalServerError
from hfclient.local import LocalServer
from hfclient.local.sqlite_store import Store, default_path
from tests.local.caller import Caller, events, kinds, text_of
from tests.local.upstream import ScriptedUpstream
from tests.server import PATIENCE

SERVE = """
import sys
from hfclient.local import serve
serve(port=int(sys.argv[1]), upstream=sys.argv[2], database=sys.argv[3])
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "new" / "chats.sqlite3"


def test_conversations_survive_a_restart(upstream: ScriptedUpstream, database: Path):
    """Messages, files, shares, settings and logs are found under the same ids, and the conversation continues."""
    cookie = "a-session"
    with LocalServer(upstream=upstream.url, database=database) as server, Caller(server.url, cookie) as caller:
        conversation = caller.create(preprompt="P")
        caller.turn(conversation, "Hi", files=[("base64;a.txt", b"aGk=", "text/plain")])
        share = caller.post(f"/conversation/{conversation}/share").json()["shareId"]
        caller.post("/settings", json={"directPaste": True})
        before, log = caller.read(conversation), caller.log(conversation)
    with LocalServer(upstream=upstream.url, database=database) as server, Caller(server.url, cookie) as caller:
        assert caller.read(conversation) == before
        assert caller.log(conversation) == log
        assert caller.read(share)["messages"] == before["messages"]
        assert caller.value("/api/v2/user/settings")["directPaste"] is True
        sha = before["messages"][1]["files"][0]["value"]
        assert caller.get(f"/conversation/{conversation}/output/{sha}").content == b"hi"
        caller.turn(conversation, "More")
        assert len(caller.messages(conversation)) == 5


def test_one_server_can_be_started_again(upstream: ScriptedUpstream, database: Path):
    """close() and start() on the same object: a new port, the same conversations."""
    server = LocalServer(upstream=upstream.url, database=database)
    with server, Caller(server.url, "c") as caller:
        conversation = caller.create()
    with pytest.raises(LocalServerError, match="not running"):
        _ = server.url
    with server, Caller(server.url, "c") as caller:
        assert caller.read(conversation)["title"] == "New Chat"


def test_closing_during_an_answer(upstream: ScriptedUpstream, database: Path):
    """The unfinished answer is stored, marked as interrupted."""
    gate = threading.Event()
    upstream.say("long", ["one ", "two ", gate])
    with LocalServer(upstream=upstream.url, database=database) as server, Caller(server.url, "c") as caller:
        conversation = caller.create()
        stream = events(caller.send(conversation, "long"))
        received = []
        while text_of(received) != "one two ":
            received.append(next(stream))
    gate.set()
    with LocalServer(upstream=upstream.url, database=database) as server, Caller(server.url, "c") as caller:
        message = caller.messages(conversation)[-1]
        assert (message["content"], message["interrupted"]) == ("one two ", True)
        assert caller.log(conversation)[-1][2] == {"status": "interrupted"}


def _serve(upstream: ScriptedUpstream, database: Path, port: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SERVE, str(port), upstream.url, str(database)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _ready(process: subprocess.Popen[str]) -> str:
    """Return the URL that the server prints."""
    assert process.stderr is not None
    line = process.stderr.readline()
    assert "serves chat-ui's protocol at http://127.0.0.1:" in line, line + process.stderr.read()
    return next(word for word in line.split() if word.startswith("http://"))


def _signal(process: subprocess.Popen[str], number: int) -> tuple[int, str, str]:
    process.send_signal(number)
    output, errors = process.communicate(timeout=PATIENCE)
    return process.returncode, output, errors


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_a_server_killed_during_an_answer(upstream: ScriptedUpstream, database: Path):
    """After kill -9 everything that the reader got is stored, marked as interrupted, and the answer can be retried.

    The model pauses after some tokens: the delivered ones are stored without waiting for the next.
    """
    gate = threading.Event()
    upstream.say("long", ["one ", "two ", "thr", "ee", gate])
    process = _serve(upstream, database, 0)
    try:
        with Caller(_ready(process), "c") as caller:
            conversation = caller.create()
            stream = events(caller.send(conversation, "long"))
            received = []
            while not text_of(received).endswith("three"):
                received.append(next(stream))
            assert _signal(process, signal.SIGKILL)[0] == -signal.SIGKILL
    finally:
        process.kill()
        process.communicate()
        gate.set()
    with LocalServer(upstream=upstream.url, database=database) as server, Caller(server.url, "c") as caller:
        message = caller.messages(conversation)[-1]
        assert message["content"] == "one two three"
        assert message["interrupted"] is True
        assert caller.read(conversation)["title"] == "long"
        log = caller.log(conversation)
        assert "".join(data["token"] for _, _, data in log if data.get("type") == "stream") == message["content"]
        assert log[-1][2] == {"status": "interrupted"}
        upstream.say("long", ["all of it"])
        caller.turn(conversation, id=message["id"], is_retry=True)
        assert caller.messages(conversation)[-1]["content"] == "all of it"


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_on_a_signal(upstream: ScriptedUpstream, database: Path, number):
    """SIGINT and SIGTERM end it cleanly: exit code 0, one line on stderr, nothing on stdout, no traceback."""
    process = _serve(upstream, database, 0)
    with Caller(_ready(process), "c") as caller:
        conversation = caller.create()
        assert kinds(caller.turn(conversation, "Hi"))[-1] == "finished"
        assert _signal(process, number) == (0, "", "")
    with LocalServer(upstream=upstream.url, database=database) as server, Caller(server.url, "c") as caller:
        assert len(caller.messages(conversation)) == 3


# The file


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
def test_only_the_owner_can_read_the_file(database: Path):
    """The folder has mode 0700, the files 0600, with any umask, including those that SQLite creates beside it."""
    before = os.umask(0)
    try:
        store = Store(database)
    finally:
        os.umask(before)
    assert stat.S_IMODE(database.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in database.parent.iterdir()} == {0o600}
    store.close()


def test_the_default_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """In XDG_DATA_HOME if that is an absolute path, else in its default, ~/.local/share."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path({"XDG_DATA_HOME": str(tmp_path / "d")}) == tmp_path / "d" / "hfclient" / "chats.sqlite3"
    for env in ({}, {"XDG_DATA_HOME": ""}, {"XDG_DATA_HOME": "relative"}):
        assert default_path(env) == Path.home() / ".local" / "share" / "hfclient" / "chats.sqlite3"


def test_two_servers_do_not_share_a_file(upstream: ScriptedUpstream, database: Path):
    """The second one gets an error with the reason, and its port is free again."""
    first, second = (LocalServer(upstream=upstream.url, database=database) for _ in range(2))
    with first, pytest.raises(LocalServerError, match="another server is using it"):
        second.start()
    with second:
        assert second.url


def test_a_file_that_is_not_a_database(tmp_path: Path):
    """Another kind of file, a newer release's database and a path that cannot be written are errors, and stay unchanged."""
    other = tmp_path / "notes.txt"
    other.write_text("these are notes " * 100)
    newer = tmp_path / "newer.sqlite3"
    with sqlite3.connect(newer) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    (tmp_path / "file").touch()
    for path in (other, newer, tmp_path / "file" / "x.sqlite3", tmp_path):
        with pytest.raises(LocalServerError, match="cannot be stored in"):
            Store(path)
    assert other.read_text().startswith("these are notes")


def test_old_logs_are_deleted(database: Path, upstream: ScriptedUpstream, monkeypatch):
    """After a day the log of a generation has only its end; after a week the generation is deleted. The message stays."""
    with LocalServer(upstream=upstream.url, database=database) as server, Caller(server.url, "c") as caller:
        conversation = caller.create()
        caller.turn(conversation, "Hi")
    for days, left in ((1.5, "completed"), (8, "gone")):
        monkeypatch.setattr("hfclient.local.sqlite_store.now", lambda days=days: int((time.time() + days * 86400) * 1000))
        with LocalServer(upstream=upstream.url, database=database) as server, Caller(server.url, "c") as caller:
            assert caller.log(conversation) == [(None, "end", {"status": left})]
            assert caller.messages(conversation)[-1]["content"] == "Hello, world!"


def test_cookies_are_not_stored(database: Path, upstream: ScriptedUpstream):
    """The file holds a hash of the session cookie: a reader of the file cannot use the session."""
    with LocalServer(upstream=upstream.url, database=database) as server, Caller(server.url, "secret-cookie") as caller:
        caller.create()
    assert b"secret-cookie" not in database.read_bytes()
