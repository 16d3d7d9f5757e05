"""Anonymous sessions: to a chat server without logins all programs of a user are the same user."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import stat
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client, errors
from hfclient.credentials import AnonymousSession, LoginStore, SavedLogin, Secret
from hfclient.credentials import session_store as sessions
from hfclient.credentials.secret_files import SecretsFile
from tests.chat.programs import run_at_once
from tests.chat.replay import ChatUI
from tests.conftest import make_transport
from tests.server import PATIENCE, Recorded, Server, json_answer

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


class NoLogin:
    """A chat-ui without login on a `Server`: every session cookie has conversations of its own.

    Attributes:
        owners: Whose each conversation is, by id.
        sets: What the next writes set as their cookie; None is what came.
        ends: Sessions that are refused with 401 and this Set-Cookie.
        gives: The server takes no session that it has not given itself; in a cookie of this name.
    """

    def __init__(self, server: Server, base: str = "") -> None:
        self.url = server.url + base
        self.owners: dict[str, str] = {}
        self.sets: list[str | None] = []
        self.ends: dict[str, str] = {}
        self.gives = ""
        self.given: set[str] = set()
        self._lock = threading.Lock()
        server.on("*", [self._answer])

    def _answer(self, request: Recorded) -> bytes:
        cookie = SimpleCookie(request.headers.get("cookie", "")).get(self.gives or "hf-chat")
        owner = cookie.value if cookie is not None else ""
        if self.gives and owner not in self.given:
            owner = uuid.uuid4().hex
            self.given |= {owner} if request.method == "POST" else set()
        if owner in self.ends:
            return json_answer({"message": "unknown session"}, 401, f"Set-Cookie: {self.ends[owner]}")
        if request.path.endswith("/api/v2/models"):
            return json_answer({"json": [{"id": "org/one"}]})
        if request.path.endswith("/api/v2/feature-flags"):
            return json_answer({"json": {"loginEnabled": False}})
        if request.path.endswith("/api/v2/user"):
            return json_answer({"json": None})
        if request.method == "GET":
            mine = [{"id": key, "title": "t", "model": "org/one"} for key, name in self.owners.items() if name == owner]
            return json_answer({"json": {"conversations": mine, "hasMore": False}})
        with self._lock:
            key = f"{len(self.owners) + 1:024x}"
            self.owners[key] = owner
            value = (self.sets.pop(0) if self.sets else None) or f"{self.gives or 'hf-chat'}={owner}; Path=/; Max-Age=1209600"
        return json_answer({"conversationId": key}, 200, f"Set-Cookie: {value}")


@pytest.fixture
def chat(server: Server) -> NoLogin:
    """The server."""
    return NoLogin(server)


@pytest.fixture(autouse=True)
def _no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_in_memory", {})
    monkeypatch.setattr(sessions, "_logged", set())
    monkeypatch.setattr(sessions, "_LOCK_TIMEOUT", PATIENCE)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where sessions are kept."""
    return tmp_path / "home" / "hfclient" / "sessions.json"


def _write(client: Client) -> str:
    """Create a conversation and return its id."""
    created = client.conversation(model="org/one").create().id
    assert created is not None
    return created


def _mine(client: Client) -> list[str]:
    return [info.id for info in client.conversations.list()]


# One user


def test_the_next_client_is_the_same_user(chat: NoLogin, transport_name: str, file: Path):
    """The next client finds what one client creates, over both transports; only its owner can read the file."""
    made = [_write(Client(chat.url, token="", transport=make_transport(transport_name))) for _ in range(2)]
    assert len(set(chat.owners.values())) == 1
    assert _mine(Client(chat.url, token="", transport=make_transport(transport_name))) == made
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


PROGRAM = """
import sys
from hfclient import Client
print(*[info.id for info in Client(sys.argv[1], token="").conversations])
"""


def test_the_next_program_is_the_same_user(chat: NoLogin):
    """The next program finds it, too, even if its first call is a read."""
    made = _write(Client(chat.url, token=""))
    line = [sys.executable, "-c", PROGRAM, chat.url]
    run = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True, stdin=subprocess.DEVNULL)
    assert run.stdout.split() == [made]


WRITES = """
import sys
from hfclient import Client
from hfclient.credentials import session_store
session_store._LOCK_TIMEOUT = 30
client = Client(sys.argv[1], token="")
client.models.list()
print("ready", flush=True)
input()
made = client.conversation(model="org/one").create().id
assert made in [info.id for info in client.conversations.list()]
"""


@pytest.mark.parametrize("gives", ["", "hf-chat", "their-chat"])
def test_processes_that_start_at_once(chat: NoLogin, gives: str):
    """Processes that need their first session at the same moment are one user, also if the server sets the session."""
    chat.gives = gives
    run_at_once(WRITES, chat.url, count=3)
    assert (len(chat.owners), len(set(chat.owners.values()))) == (3, 1)
    assert len(_mine(Client(chat.url, token=""))) == 3


@pytest.mark.parametrize("gives", ["", "hf-chat", "their-chat"])
def test_threads_that_start_at_once(chat: NoLogin, gives: str):
    """Threads are one user, with one client or with one each."""
    chat.gives = gives
    shared = Client(chat.url, token="")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: _write(shared if number % 2 else Client(chat.url, token="")), range(8)))
    assert len(set(chat.owners.values())) == 1


def test_a_session_that_is_replaced_just_after_it_was_stored(chat: NoLogin, monkeypatch: pytest.MonkeyPatch):
    """A client that is slow after it has stored its session uses the one that the server has given another client meanwhile."""
    chat.gives = "hf-chat"
    fast, slow = (Client(chat.url, token="") for _ in range(2))
    edit = SecretsFile.edit

    @contextmanager
    def edit_slowly(file: SecretsFile, timeout: float) -> Iterator[dict[str, Any]]:
        monkeypatch.setattr(SecretsFile, "edit", edit)
        with edit(file, timeout) as entries:
            yield entries
        _write(fast)

    monkeypatch.setattr(SecretsFile, "edit", edit_slowly)
    _write(slow)
    assert (len(chat.owners), len(set(chat.owners.values()))) == (2, 1)


def test_a_thread_that_finds_a_new_session(chat: NoLogin, monkeypatch: pytest.MonkeyPatch):
    """The first write of a client waits for a thread that has found a newer session, and does not use it yet."""
    chat.gives = "hf-chat"
    shared, other = (Client(chat.url, token="") for _ in range(2))
    shared._session.credentials.use_session(begin=True)
    _write(other)
    changes, found, go = AnonymousSession.changes, threading.Event(), threading.Event()

    def find_slowly(session: AnonymousSession) -> Any:
        news = changes(session)
        if not found.is_set():
            found.set()
            assert go.wait(PATIENCE)
        return news

    monkeypatch.setattr(AnonymousSession, "changes", find_slowly)
    with ThreadPoolExecutor(2) as pool:
        reading = pool.submit(_mine, shared)
        assert found.wait(PATIENCE)
        writing = pool.submit(_write, shared)
        wait([writing], 0.5)
        go.set()
        reading.result(PATIENCE)
        writing.result(PATIENCE)
    assert (len(chat.owners), len(set(chat.owners.values()))) == (2, 1)


@needs_fork
@pytest.mark.parametrize("keeps", [True, False])
def test_children_of_a_client_that_has_not_been_used(chat: NoLogin, monkeypatch: pytest.MonkeyPatch, keeps: bool):
    """Children forked before the first request are one user, whether or not the session can be stored."""
    if not keeps:
        monkeypatch.setattr(sessions, "settings_folder", lambda environ: None)
    idle = Client(chat.url, token="")
    for _ in range(2):
        child = os.fork()
        if not child:
            try:
                _write(idle)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
    assert (len(chat.owners), len(set(chat.owners.values()))) == (2, 1)


@pytest.mark.parametrize("session", [None, "", "bob"])
def test_pickled_clients(chat: NoLogin, session: str | None):
    """A pickled copy is the same user as its original, used before or not, stored or not."""
    client = Client(chat.url, token="", session=session)
    unused = pickle.loads(pickle.dumps(client))
    made = [_write(client), _write(unused), _write(pickle.loads(pickle.dumps(client)))]
    assert _mine(unused) == made


def test_first_reads(chat: NoLogin, server: Server):
    """Every read of a new client uses the stored session."""
    made = _write(Client(chat.url, token=""))
    (owner,) = chat.owners.values()
    calls = [
        lambda client: client.conversations.list(),
        lambda client: client.conversations.running(),
        lambda client: client.conversation(made).attach(),
        lambda client: client.conversation(made).messages(),
        lambda client: client.settings.get(),
        lambda client: client.conversations.delete(made),
    ]
    for call in calls:
        del server.requests[:]
        with contextlib.suppress(errors.HFClientError):  # this server knows few routes
            call(Client(chat.url, token=""))
        assert {request.headers.get("cookie") for request in server.requests} == {f"hf-chat={owner}"}


# Several users


def test_names(chat: NoLogin, monkeypatch: pytest.MonkeyPatch, file: Path):
    """A name is another user, who is stored; a private session is not stored."""
    for session in (None, "ann", "bob", "", "private"):
        for _ in range(2):
            _write(Client(chat.url, token="", session=session))
    owners = list(chat.owners.values())
    assert owners[0] == owners[1]
    assert owners[2] == owners[3]
    assert owners[4] == owners[5]
    assert len(set(owners)) == 3 + 4
    monkeypatch.setenv("HFCLIENT_SESSION", "ann")
    assert len(_mine(Client(chat.url, token=""))) == 2
    monkeypatch.setenv("HFCLIENT_SESSION", "private")
    assert _mine(Client(chat.url, token="")) == []
    kept = json.loads(file.read_text())["sessions"]
    assert sorted(kept) == [chat.url, f"{chat.url}#ann", f"{chat.url}#bob"]


def test_cookies_are_not_stored_as_a_session(chat: NoLogin, monkeypatch: pytest.MonkeyPatch, file: Path):
    """With cookies of the caller, or explicitly without any, no session is stored."""
    chat.sets = ["hf-chat=new"] * 3
    _write(Client(chat.url, token="", cookies="hf-chat=mine"))
    _write(Client(chat.url, token="", cookies=""))
    monkeypatch.setenv("HFCLIENT_COOKIE", "hf-chat=env")
    _write(Client(chat.url, token=""))
    assert not file.exists()
    _write(Client(chat.url, token="", session="ann"))  # what is passed goes before the environment
    assert len(set(chat.owners.values())) == 4
    assert file.exists()


def test_servers_are_separate(server: Server, other_server: Server):
    """Another port, path or host name, https instead of http: a session is sent to its own server only."""
    chats = [NoLogin(server), NoLogin(other_server)]
    for chat in chats:
        _write(Client(chat.url, token=""))
    _write(Client(server.url + "/chat", token=""))
    assert len({*chats[0].owners.values(), *chats[1].owners.values()}) == 3
    values = set()
    for url in ("http://h", "https://h", "http://h:81", "http://h/chat", "http://i"):
        values |= set(AnonymousSession.find(url).load_or_create()[0].values())
    assert len(values) == 5
    assert set(AnonymousSession.find("HTTP://H:80/").load_or_create()[0].values()) <= values


@pytest.mark.parametrize("session", ["a b", "a#b", "x" * 101, "new\nline", 5, b"ann", ["ann"]])
def test_invalid_names(session: Any):
    """Invalid names are refused when the client is made."""
    with pytest.raises(errors.InvalidInputError, match="session"):
        Client("http://localhost:1", session=session)


def test_session_and_cookies():
    """Cookies and a session together are refused; cookies="" may be combined with a session."""
    with pytest.raises(errors.InvalidInputError, match="either cookies= or session="):
        Client("http://localhost:1", cookies="hf-chat=me", session="ann")
    Client("http://localhost:1", cookies="", session="ann")


# Renewal


def test_rotation_is_followed(chat: NoLogin, server: Server):
    """A renewed session is stored, and running clients take it over."""
    first, second = (Client(chat.url, token="") for _ in range(2))
    _write(first)
    _write(second)
    chat.sets = ["hf-chat=renewed"]
    _write(first)
    for client in (first, second, Client(chat.url, token="")):
        _mine(client)
        assert server.last.headers["cookie"] == "hf-chat=renewed"


def test_of_two_rotations_one_is_kept(chat: NoLogin, server: Server, file: Path):
    """Two clients whose session is renewed at the same time agree on one of the two."""
    first, second = (Client(chat.url, token="") for _ in range(2))
    _write(first)
    _write(second)
    for client, value in ((first, "a"), (second, "b")):  # both answers left before either was read
        client._session.credentials.keep_cookies(f"{chat.url}/conversation", [f"hf-chat={value}; Path=/"])
    seen = set()
    for client in (first, second):
        _mine(client)
        seen.add(server.last.headers["cookie"])
    assert seen == {"hf-chat=a"}


@pytest.mark.parametrize("kept", [True, False])
def test_a_session_that_the_server_ends(chat: NoLogin, kept: bool):
    """A deleted cookie ends the session: the next one is new, and is stored."""
    session = None if kept else ""
    client = Client(chat.url, token="", session=session)
    _write(client)
    chat.sets = ["hf-chat=; Max-Age=0; Path=/"]
    _write(client)
    made = _write(client)
    assert chat.owners[made] not in list(chat.owners.values())[:2]
    if kept:
        assert _mine(Client(chat.url, token="")) == [made]


@pytest.mark.parametrize("line", ["hf-chat=given; Path=/", "hf-chat=; Max-Age=0; Path=/"])
def test_a_session_that_the_server_has_forgotten(chat: NoLogin, server: Server, line: str):
    """If a server refuses an old session and sets or deletes its cookie, the request is sent once more with the new one."""
    _write(Client(chat.url, token=""))
    (old,) = chat.owners.values()
    chat.ends = {old: line}
    made = _write(Client(chat.url, token=""))
    assert chat.owners[made] not in (old, "")
    assert _mine(Client(chat.url, token="")) == [made]
    chat.ends = {chat.owners[made]: f"hf-chat={chat.owners[made]}; Path=/"}
    before = len(server.requests)
    with pytest.raises(errors.AuthenticationError):
        _mine(Client(chat.url, token=""))
    assert len(server.requests) == before + 1


def test_a_session_that_was_never_accepted(server: Server, file: Path):
    """On a server with a login no session stays that would take precedence over a token later."""
    NoLogin(server)
    server.on("/conversation", [json_answer({"error": "You have to be logged in."}, 401)])
    client = Client(server.url, token="")
    assert _mine(client) == []
    assert not file.exists()
    with pytest.raises(errors.AuthenticationError):
        _write(client)
    assert json.loads(file.read_text())["sessions"] == {}
    _mine(Client(server.url, token="hf_given"))
    assert server.last.headers["authorization"] == "Bearer hf_given"


def test_a_session_that_is_refused_once(chat: NoLogin, server: Server, file: Path):
    """A 401 of a broken gateway in a later program loses no conversation; with a token that takes precedence it does."""
    made = _write(Client(chat.url, token=""))
    kept = file.read_bytes()
    server.on("/conversation", [json_answer({"error": "no"}, 401)])
    for _ in range(2):
        client = Client(chat.url, token="")
        with pytest.raises(errors.AuthenticationError):
            _write(client)
        assert file.read_bytes() == kept
        assert _mine(client) == [made]
    with pytest.raises(errors.AuthenticationError):
        _write(Client(chat.url, token="hf_given"))
    assert json.loads(file.read_text())["sessions"] == {}


def test_a_token_that_a_gateway_refuses(chat: NoLogin, server: Server, file: Path, transport_name: str):
    """A wrong token for a gateway in front of the server loses no conversation, and the error is about the token."""
    made = _write(Client(chat.url, token="hf_given"))
    kept = file.read_bytes()
    server.on("/healthcheck", [json_answer({"error": "Invalid token"}, 401)])
    server.on("/conversation", [json_answer({"error": "Invalid token"}, 401)])
    client = Client(chat.url, token="hf_wrong", transport=make_transport(transport_name))
    with pytest.raises(errors.AuthenticationError, match="in front of the server does not accept the token"):
        _write(client)
    assert file.read_bytes() == kept
    assert _mine(Client(chat.url, token="hf_given")) == [made]


def test_a_message_that_is_refused_with_401_leaves_nothing(ui: ChatUI):
    """The conversation is deleted as the user that made it; the session stays in use."""
    ui.always("send", json_answer({"message": "Unauthorized"}, 401))
    client = Client(ui.url, token="")
    for _ in range(2):
        with pytest.raises(errors.AuthenticationError):
            client.chat("Hi")
    assert ui.chats == {}
    assert len({request.headers["cookie"] for kind, request in ui.seen if kind in ("create", "send", "delete")}) == 1


def test_a_token_beside_a_session(chat: NoLogin):
    """If something was written without the token, the next client with the token finds it."""
    made = _write(Client(chat.url, token="hf_given"))
    assert _mine(Client(chat.url, token="hf_given")) == [made]


# Logins


def test_logins_and_sessions_are_separate(chat: NoLogin, server: Server):
    """A saved login takes precedence over the session, and neither replaces the other."""
    _write(Client(chat.url, token=""))
    (owner,) = chat.owners.values()
    store = LoginStore.find()
    assert store is not None
    store.put(chat.url, SavedLogin({"hf-chat": Secret("login")}, "u1"))
    _mine(Client(chat.url, token=""))
    assert server.last.headers["cookie"] == "hf-chat=login"
    _mine(Client(chat.url, token="", session="bob"))
    assert server.last.headers["cookie"] not in ("hf-chat=login", f"hf-chat={owner}")
    store.remove(chat.url)
    _mine(Client(chat.url, token=""))
    assert server.last.headers["cookie"] == f"hf-chat={owner}"


def test_logout_forgets(chat: NoLogin):
    """login.log_out() without a login makes this client and later ones a new user."""
    client = Client(chat.url, token="")
    made = _write(client)
    client.login.log_out()
    assert _mine(client) == _mine(Client(chat.url, token="")) == []
    assert _write(client) != made
    assert len(set(chat.owners.values())) == 2
    Client(chat.url, token="").login.log_out()  # one that has not been used yet
    assert _mine(Client(chat.url, token="")) == []


# Files that cannot be used


@pytest.fixture(params=["no home", "a file in the way", "read-only", "not ours"])
def unusable(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: Path) -> str:
    """Ways in which nothing can be kept."""
    if request.param == "no home":
        for name in ("HOME", "USERPROFILE"):
            monkeypatch.setenv(name, str(tmp_path / "missing"))
        monkeypatch.delenv("XDG_CONFIG_HOME")
    elif request.param == "a file in the way":
        (tmp_path / "home").write_text("")
    else:

        def failing(*_: Any) -> bytes:
            raise PermissionError(13, "Permission denied")

        target = "read_secret_file" if request.param == "not ours" else "file_lock"
        monkeypatch.setattr(f"hfclient.credentials.secret_files.{target}", failing)
        if request.param == "read-only":
            return "read-only"
        file.parent.mkdir(parents=True)
        file.write_text("{}")
    return str(request.param)


def test_nothing_can_be_stored(chat: NoLogin, unusable: str, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """All clients of this process are one user still; no error, no warning, one log line at level INFO."""
    with caplog.at_level(logging.INFO, "hfclient.credentials"), caplog.at_level(logging.INFO, "hfclient"):
        made = [_write(Client(chat.url, token="")) for _ in range(2)]
        assert _mine(Client(chat.url, token="")) == made
    lines = [record for record in caplog.records if "session" in record.getMessage()]
    assert [record.levelname for record in lines] == ([] if unusable == "no home" else ["INFO"])
    assert not any(record.levelno >= logging.WARNING for record in lines)
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"version": 1, "sessions": {"http://x": {"cookies": {}, "used_at": 1}}}',
        b'{"version": 1, "sessions": {"http://x": {"cookies": {"hf-chat": "a\\nb"}, "used_at": 1}}}',
        b'{"version": 1, "sessions": {"http://x": {"cookies": {"hf-chat": 5}, "used_at": 1}}}',
        b'{"version": 1, "sessions": {"http://x": {"cookies": {"hf-chat": "a"}}}}',
        b"\xff\xfe" * 100,
        b" " * 2_000_000,
    ],
)
def test_a_damaged_file(chat: NoLogin, file: Path, content: bytes, caplog: pytest.LogCaptureFixture):
    """It is renamed, with a warning that names it, and a new one is begun; saved logins are not affected."""
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    file.chmod(0o600)
    with caplog.at_level(logging.WARNING, "hfclient"):
        made = [_write(Client(chat.url, token="")) for _ in range(2)]
    assert [record.getMessage().count(str(file)) > 0 for record in caplog.records] == [True]
    assert _mine(Client(chat.url, token="")) == made
    assert file.with_name("sessions.json.damaged").read_bytes() == content


def test_a_file_of_a_later_release(chat: NoLogin, file: Path):
    """It is not changed; the session stays in memory."""
    file.parent.mkdir(parents=True)
    file.write_text('{"version": 2, "whatever": []}')
    file.chmod(0o600)
    made = [_write(Client(chat.url, token="")) for _ in range(2)]
    assert _mine(Client(chat.url, token="")) == made
    assert file.read_text() == '{"version": 2, "whatever": []}'


def test_sessions_do_not_grow_without_end(monkeypatch: pytest.MonkeyPatch, file: Path):
    """Beyond a number of sessions the least recently used ones are dropped."""
    monkeypatch.setattr(sessions, "_MAX_ENTRIES", 3)
    clock = iter(range(1_000_000, 2_000_000, 100_000))
    monkeypatch.setattr(sessions.time, "time", lambda: float(next(clock)))
    for number in (1, 2, 3, 1, 4):
        AnonymousSession.find(f"http://h{number}").load_or_create()
        next(clock, None)
    assert sorted(json.loads(file.read_text())["sessions"]) == ["http://h1", "http://h3", "http://h4"]


def test_secrets_do_not_show(chat: NoLogin, caplog: pytest.LogCaptureFixture):
    """No repr and no log record holds the session."""
    with caplog.at_level(logging.DEBUG, "hfclient"):
        client = Client(chat.url, token="", session="ann")
        _write(client)
    (owner,) = chat.owners.values()
    shown = f"{client!r} {client._session.credentials!r} {vars(client._session.credentials)!r} {caplog.text}"
    assert owner not in shown
