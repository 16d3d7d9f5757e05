"""Logins at a chat server: saved, rotated, expired, renewed and ended ones, and tokens alone."""

from __future__ import annotations

import logging
import pickle
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client
from hfclient.credentials import LoginStore, SavedLogin, Secret
from hfclient.errors import (
    AuthenticationError,
    CloudflareChallenge,
    ConnectError,
    CredentialsError,
    HFClientError,
    NotFoundError,
    PermissionDeniedError,
    ServerError,
    SessionExpired,
)
from hfclient.transport.requests_transport import RequestsTransport
from tests.chat.login_server import ANN, CONVERSATION, GENERIC, Elsewhere, LoginServer
from tests.chat.programs import run_at_once
from tests.conftest import make_transport
from tests.server import RST, Server, chunked, json_answer, plain

GOOD = {"hf-chat": "s1", "token": "t1"}
BAD = {"hf-chat": "s1", "token": "expired-secret"}
HF = "https://huggingface.co"


@pytest.fixture
def chat(server: Server) -> LoginServer:
    """A chat-ui with a login."""
    return LoginServer(server)


@pytest.fixture
def make(chat: LoginServer) -> Iterator[Any]:
    """Make clients of it, closed at the end."""
    made: list[Client] = []

    def client(cookies: Any = None, *, token: str | None = "", **options: Any) -> Client:
        made.append(Client(chat.url, cookies=cookies, token=token, **options))
        return made[-1]

    yield client
    for one in made:
        one.close()


@pytest.fixture
def hub(chat: LoginServer) -> Iterator[Any]:
    """Make clients of huggingface.co/chat, which the same server plays."""
    made: list[Client] = []

    def client(cookies: Any = None, *, token: str = "", name: str = "plain") -> Client:
        transport = Elsewhere(make_transport(name), HF, chat.server.url)
        made.append(Client(cookies=cookies, token=token, transport=transport))
        return made[-1]

    yield client
    for one in made:
        one.close()


def _save(chat: LoginServer, value: str = "s1", user: str = str(ANN["id"])) -> LoginStore:
    store = LoginStore.find()
    assert store is not None
    store.put(chat.url, SavedLogin({"hf-chat": Secret(value), "token": Secret("t1")}, user, "ann"))
    return store


def _saved(chat: LoginServer) -> dict[str, str] | None:
    store = LoginStore.find()
    login = store.get(chat.url) if store is not None else None
    return {name: value.reveal() for name, value in login.cookies.items()} if login is not None else None


# Who am I


def test_whoami(chat: LoginServer, make: Any) -> None:
    """A login is its user, an anonymous client is None; one request each, and none before."""
    client = make(GOOD)
    assert chat.server.requests == []
    user = client.whoami()
    assert (user.id, user.username, user.email) == (ANN["id"], "ann", "ann@example.com")
    for cookies in (BAD, {"hf-chat": "s1"}, {"hf-chat": "unknown"}, ""):
        assert make(cookies).whoami() is None
    assert make("", token="hf_ann").whoami().username == "ann"
    assert chat.asked() == len(chat.server.requests) == 6


def test_whoami_behind_an_automatic_login(chat: LoginServer, make: Any) -> None:
    """On a server that sends anonymous requests to its login page, whoami() is None, too."""
    chat.automatic = True
    assert make(GOOD).whoami().username == "ann"
    assert make(BAD).whoami() is None
    assert make("").whoami() is None


def test_login_enabled(chat: LoginServer, make: Any) -> None:
    """One request is sent; a server that shows nothing to anonymous users has a login."""
    client = make("")
    assert client.login.enabled is client.login.enabled is True
    assert chat.asked("/api/v2/feature-flags") == 1
    chat.enabled = False
    assert make("").login.enabled is False
    chat.automatic = chat.enabled = True
    assert make("").login.enabled is True
    assert Client(token="", cookies="").login.enabled is True  # huggingface.co: known


# Saving


def test_save(chat: LoginServer, make: Any) -> None:
    """A saved login is found by the next client of the same server, and of no other one."""
    assert make(GOOD).login.save().username == "ann"
    assert _saved(chat) == GOOD
    assert make().whoami().username == "ann"
    with Client(f"{chat.server.url}/other", token="") as other, Client(token="") as hub:
        for client in (other, hub):
            assert not client._session.credentials.has_session


@pytest.mark.parametrize("cookies", [BAD, {"hf-chat": "unknown"}])
def test_only_a_login_is_saved(chat: LoginServer, make: Any, cookies: dict[str, str]) -> None:
    """Cookies that the server does not accept as a login are not saved."""
    with pytest.raises(SessionExpired, match=re.escape(f"hfclient login --url {chat.url}")) as caught:
        make(cookies).login.save()
    assert _saved(chat) is None
    assert "expired-secret" not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(CredentialsError, match="no login to save"):
        make("", token="hf_ann").login.save()
    chat.enabled = False
    with pytest.raises(CredentialsError, match="server has no login"):
        make(cookies).login.save()


def test_save_without_a_home(chat: LoginServer, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a home folder the error names the variable to set."""
    monkeypatch.setattr(LoginStore, "find", classmethod(lambda cls, environ=None: None))
    with pytest.raises(CredentialsError, match="HFCLIENT_HOME"):
        make(GOOD).login.save()


def test_the_missing_cookie_is_named(chat: LoginServer, hub: Any) -> None:
    """On HuggingChat the error names the missing cookie."""
    with pytest.raises(SessionExpired, match=r"'token' is missing.*run \"hfclient login\""):
        hub({"hf-chat": "s1"}).login.save()


# Rotation


@pytest.mark.parametrize("name", ["plain", "impersonate"])
def test_rotation_is_kept_and_saved(chat: LoginServer, make: Any, name: str) -> None:
    """A rotated cookie is used and saved after the server has confirmed its user, with one request."""
    _save(chat)
    client = make(transport=make_transport(name))
    chat.sessions["s1-next", "t1"] = ANN
    chat.rotate_to = ["s1-next"]
    client.conversation().create()
    assert _saved(chat) == {"hf-chat": "s1-next", "token": "t1"}
    assert chat.asked() == 1
    client.conversation().create()
    assert chat.cookies() == {"hf-chat": "s1-next", "token": "t1"}
    assert chat.asked() == 1
    assert chat.created == ["ann", "ann"]


def test_renewal_costs_nothing(chat: LoginServer, make: Any) -> None:
    """As long as a renewed cookie keeps its value, no request is sent and nothing is written."""
    store = _save(chat)
    before = store.path.stat()
    client = make()
    for _ in range(3):
        client.conversation().create()
    after = store.path.stat()
    assert chat.asked() == 0
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_an_anonymous_cookie_is_refused(chat: LoginServer, make: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A rotated cookie that is not logged in changes nothing, neither in memory nor on disk; it is checked once."""
    _save(chat)
    client = make()
    chat.rotate_to = ["anonymous-a", "anonymous-b", "anonymous-c"]
    with caplog.at_level(logging.INFO, "hfclient"):
        for _ in range(3):
            client.conversation().create()
            assert client._session.credentials.cookies() == GOOD
    assert _saved(chat) == GOOD
    assert chat.created == ["ann"] * 3
    assert chat.asked() == 1
    assert "login may have expired" in caplog.text
    assert "anonymous-" not in caplog.text


def test_another_users_cookie_is_refused(chat: LoginServer, make: Any) -> None:
    """A rotated cookie of another user changes nothing."""
    _save(chat)
    client = make()
    chat.sessions["s-bob", "t1"] = {**ANN, "id": "b" * 24, "username": "bob"}
    chat.rotate_to = ["s-bob"]
    client.conversation().create()
    assert client._session.credentials.cookies() == GOOD
    assert _saved(chat) == GOOD


@pytest.mark.parametrize("broken", [plain(b"", 502), json_answer(GENERIC, 500), plain(b"<html>", 200)], ids=range(3))
def test_the_user_cannot_be_asked_for(chat: LoginServer, make: Any, broken: bytes) -> None:
    """If the user of a new value cannot be read, the call continues and nothing is saved."""
    _save(chat)
    client = make()
    chat.sessions["s1-next", "t1"] = ANN
    chat.rotate_to = ["s1-next"]
    chat.user_answer = broken
    assert client.conversation().create().id == CONVERSATION
    assert _saved(chat) == GOOD
    chat.user_answer = None
    client._chat.auth._next_check = 0.0  # a minute later
    client.conversation().create()
    assert _saved(chat) == {"hf-chat": "s1-next", "token": "t1"}


@pytest.mark.parametrize("name", ["plain", "impersonate"])
def test_rotation_while_an_answer_streams(chat: LoginServer, make: Any, name: str) -> None:
    """An answer whose head rotated the cookie is read to its end after the request for the user."""
    _save(chat)
    chat.sessions["s1-next", "t1"] = ANN
    answer = chunked(
        b'{"type":"status","status":"started"}\n{"type":"stream","token":"Hel"}\n',
        lambda request: (chat.server.wait_for(2), b"")[1],
        b'{"type":"stream","token":"lo"}\n{"type":"finalAnswer","text":"Hello","interrupted":false}\n',
        headers=["Content-Type: application/jsonl", "Set-Cookie: hf-chat=s1-next; Path=/"],
    )
    chat.server.on(f"/chat/conversation/{CONVERSATION}", answer)
    client = make(transport=make_transport(name))
    conversation = client.conversation(CONVERSATION)
    assert conversation.ask("Hi").text == "Hello"
    assert _saved(chat) == {"hf-chat": "s1-next", "token": "t1"}


def test_given_cookies_are_not_saved(chat: LoginServer, make: Any) -> None:
    """A client with cookies of the caller keeps rotated values in memory only."""
    _save(chat)
    client = make(GOOD)
    chat.sessions["s1-next", "t1"] = ANN
    chat.rotate_to = ["s1-next"]
    client.conversation().create()
    assert client._session.credentials.cookies() == {"hf-chat": "s1-next", "token": "t1"}
    assert _saved(chat) == GOOD


def test_a_redirect_sets_nothing(chat: LoginServer, make: Any) -> None:
    """The cookie that a redirect to a login page sets is not kept."""
    client = make(BAD)
    with pytest.raises(SessionExpired):
        client.conversation().create()
    assert client._session.credentials.cookies() == BAD
    chat.sessions["s1", "expired-secret"] = ANN  # both correct cookies again
    client.conversation().create()
    assert chat.created == ["ann"]


def test_clients_are_separate(chat: LoginServer, make: Any) -> None:
    """Two clients of one process have two users: no cookie of one is sent with a request of the other."""
    ann, bob, anonymous = make(GOOD), make({"hf-chat": "s2", "token": "t2"}), make("")
    for _ in range(2):
        assert [ann.whoami().username, bob.whoami().username, anonymous.whoami()] == ["ann", "bob", None]
        ann.conversation().create()
        bob.conversation().create()
    assert chat.created == ["ann", "bob"] * 2


CHATS = """
import sys
from hfclient import Client
from hfclient.credentials import saved_logins
saved_logins._RENEW_LOCK_TIMEOUT = 30
with Client(sys.argv[1], token="") as client:
    print("ready", flush=True)
    input()
    for _ in range(8):
        client.conversation().create()
"""


def test_two_processes(chat: LoginServer) -> None:
    """Two processes whose cookies are rotated with every write keep their user, and leave a valid login."""
    _save(chat)
    for number in range(40):
        chat.sessions[f"next-{number}", "t1"] = ANN
    chat.rotate_to = [f"next-{number}" for number in range(40)]
    run_at_once(CHATS, chat.url, count=2)
    assert chat.created == ["ann"] * 16
    saved = _saved(chat)
    assert saved is not None
    assert saved["hf-chat"].startswith("next-")
    with Client(chat.url, token="") as client:
        assert client.whoami() is not None


# Expired


def _writes(client: Client) -> list[Any]:
    conversation = client.conversation(CONVERSATION)
    return [
        client.conversation(model="org/one").create,
        lambda: conversation.rename("x"),
        conversation.delete,
        conversation.share,
        client.conversations.delete_all,
    ]


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("name", ["plain", "impersonate"])
def test_expired_on_a_write(chat: LoginServer, make: Any, number: int, name: str) -> None:
    """A write refused with 401 or redirected to a login page is an error about the expired login, with how to renew it."""
    write = _writes(make(BAD, transport=make_transport(name)))[number]
    with pytest.raises(SessionExpired, match=re.escape(f'run "hfclient login --url {chat.url}"')) as caught:
        write()
    assert caught.value.status_code in (302, 401)
    shown = "".join(traceback.format_exception(caught.value)) + str(caught.value.to_dict()) + repr(caught.value)
    assert "expired-secret" not in shown
    assert "secret-state" not in shown
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), again.message) == (SessionExpired, caught.value.message)
    assert b"expired-secret" not in pickle.dumps(caught.value)


def test_expired_on_a_list(chat: LoginServer, make: Any) -> None:
    """If a list is empty, the user is requested, because an expired login reads an empty list."""
    with pytest.raises(SessionExpired, match="expired"):
        list(make(BAD).conversations)
    with pytest.raises(SessionExpired):
        make(BAD).conversations.list(limit=3)


def test_lists_of_users(chat: LoginServer, make: Any) -> None:
    """A user without conversations has an empty list, with one further request; a list with entries needs none."""
    ann = make(GOOD)
    assert [info.title for info in ann.conversations] == ["Ann's"]
    assert chat.asked() == 0
    bob = make({"hf-chat": "s2", "token": "t2"})
    assert list(bob.conversations) == []
    assert chat.asked() == 1


def test_lists_without_a_login(chat: LoginServer, make: Any) -> None:
    """Without a login, or with cookies for a server without logins, an empty list is returned."""
    assert list(make("").conversations) == []
    chat.enabled = False
    assert list(make(BAD).conversations) == []
    assert list(make("").conversations) == []


def test_expired_on_a_read(chat: LoginServer, make: Any) -> None:
    """A conversation that an anonymous user may not read means an expired login, not a missing permission."""
    with pytest.raises(SessionExpired):
        make(BAD).conversations.get(CONVERSATION)
    with pytest.raises(SessionExpired):
        make(BAD).conversations.get("0" * 24)
    with pytest.raises(SessionExpired):
        make(BAD).conversation(CONVERSATION).read_file("f" * 64)
    with pytest.raises(SessionExpired):
        make(BAD).conversation(CONVERSATION).attach("run")
    with pytest.raises(SessionExpired):
        make(BAD).conversations.running()
    with pytest.raises(NotFoundError):
        make(GOOD).conversations.get("0" * 24)
    with pytest.raises(NotFoundError):
        make(GOOD).conversation(CONVERSATION).read_file("f" * 64)
    with pytest.raises(NotFoundError):
        make(GOOD).conversation(CONVERSATION).attach("run")
    with pytest.raises(PermissionDeniedError):
        make("").conversations.get(CONVERSATION)
    chat.enabled = False
    with pytest.raises(PermissionDeniedError):
        make(BAD).conversations.get(CONVERSATION)


def test_renewed_by_another_process(chat: LoginServer, make: Any) -> None:
    """A client whose login has expired takes over the one that ``hfclient login`` has saved since."""
    _save(chat)
    client = make()
    assert client.whoami() is not None
    del chat.sessions["s1", "t1"]
    chat.sessions["s1-new", "t1"] = ANN
    with pytest.raises(SessionExpired, match=re.escape(f'not logged in; run "hfclient login --url {chat.url}"')):
        client.conversation(model="org/one").create()
    _save(chat, "s1-new")
    client.conversation(model="org/one").create()
    assert chat.created == ["ann"]
    assert chat.cookies()["hf-chat"] == "s1-new"


def test_renewed_before_a_list(chat: LoginServer, make: Any) -> None:
    """The same holds for reads: the list is the user's."""
    _save(chat)
    client = make()
    del chat.sessions["s1", "t1"]
    chat.sessions["s1-new", "t1"] = ANN
    _save(chat, "s1-new")
    assert [info.title for info in client.conversations] == ["Ann's"]


def test_another_users_login_is_not_taken(chat: LoginServer, make: Any) -> None:
    """A login of another user that was saved since is not taken over."""
    _save(chat)
    client = make()
    del chat.sessions["s1", "t1"]
    chat.sessions["s-bob", "t1"] = {**ANN, "id": "b" * 24}
    _save(chat, "s-bob", "b" * 24)
    with pytest.raises(SessionExpired):
        client.conversation().create()


def test_pickled_clients(chat: LoginServer, make: Any) -> None:
    """A pickled client has the same login, and saves rotated cookies."""
    _save(chat)
    chat.sessions["s1-next", "t1"] = ANN
    chat.rotate_to = ["s1-next"]
    with pickle.loads(pickle.dumps(make())) as client:
        client.conversation().create()
    assert _saved(chat) == {"hf-chat": "s1-next", "token": "t1"}


# Tokens alone


def test_a_token_on_huggingchat(chat: LoginServer, hub: Any) -> None:
    """With a token alone lists and reads work; creating and sending are refused before anything is sent."""
    client = hub("", token="hf_ann")
    assert client.whoami().username == "ann"
    assert [info.title for info in client.conversations] == ["Ann's"]
    assert client.conversations.get(CONVERSATION).title == "Ann's"
    client.conversation(CONVERSATION).rename("x")
    before = len(chat.server.requests)
    for call in (
        lambda: client.chat("Hi"),
        lambda: client.conversation().create(),
        lambda: client.conversation(CONVERSATION).share(),
    ):
        with pytest.raises(CredentialsError, match=r"a token alone reads and lists.*hfclient login"):
            call()
    assert len(chat.server.requests) == before
    with pytest.raises(CredentialsError, match="hfclient login"):
        hub("").chat("Hi")
    assert len(chat.server.requests) == before


@pytest.mark.parametrize("name", ["plain", "impersonate"])
def test_bearer_answers_set_no_cookie(chat: LoginServer, hub: Any, name: str) -> None:
    """A cookie that the answer to a token sets is dropped: next to it the token would be ignored."""
    client = hub("", token="hf_ann", name=name)
    for _ in range(2):
        client.conversation(CONVERSATION).rename("x")
        assert client.whoami().username == "ann"
    assert all("cookie" not in request.headers for request in chat.server.requests)
    assert all(request.headers["authorization"] == "Bearer hf_ann" for request in chat.server.requests)


def test_a_token_on_another_server(chat: LoginServer, make: Any) -> None:
    """On other servers the redirect to a login page is explained, too, and the token still works for reads."""
    client = make("", token="hf_ann")
    assert [info.title for info in client.conversations] == ["Ann's"]
    with pytest.raises(AuthenticationError, match=r"a token alone reads and lists.*hfclient login"):
        client.chat("Hi", model="org/one")
    assert [info.title for info in client.conversations] == ["Ann's"]


def test_a_token_without_logins(chat: LoginServer, make: Any) -> None:
    """On a server without logins anonymous users may chat, with and without a token."""
    chat.enabled = False
    client = make("", token="hf_ann")
    client.conversation().create()
    assert chat.created == ["anonymous"]


def test_a_found_token_does_not_count_elsewhere(
    chat: LoginServer, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token from the environment is not sent to other servers, and their errors do not mention it."""
    monkeypatch.setenv("HF_TOKEN", "hf_ann")
    client = make("", token=None)
    with pytest.raises(AuthenticationError, match="requires a login") as caught:
        client.conversation(model="org/one").create()
    assert "token alone" not in str(caught.value)
    assert all("authorization" not in request.headers for request in chat.server.requests)


@pytest.mark.parametrize("call", ["whoami", "list", "models", "rename"])
def test_a_bad_token(chat: LoginServer, make: Any, call: str) -> None:
    """A server answers an invalid token with 500; the error says that it is the token."""
    client = make("", token="hf_wrong")
    calls = {
        "whoami": client.whoami,
        "list": client.conversations.list,
        "models": client.models.list,
        "rename": lambda: client.conversation(CONVERSATION).rename("x"),
    }
    with pytest.raises(AuthenticationError, match="does not accept the token") as caught:
        calls[call]()
    assert caught.value.status_code == 500
    assert "hf_wrong" not in str(caught.value)


def test_other_failures_stay(chat: LoginServer, make: Any) -> None:
    """A 500 for another reason stays a ServerError: with cookies, with a valid token, with another text."""
    path = f"/chat/api/v2/conversations/{CONVERSATION}"
    chat.server.on(path, json_answer(GENERIC, 500))
    for client in (make(GOOD), make("", token="hf_ann")):
        with pytest.raises(ServerError, match="An error occurred"):
            client.conversations.get(CONVERSATION)
    chat.server.on(path, json_answer({"message": "the database is on fire"}, 500))
    with pytest.raises(ServerError, match="on fire"):
        make("", token="hf_wrong").conversations.get(CONVERSATION)


# Logging out


def test_end(chat: LoginServer, make: Any) -> None:
    """The server confirms the logout, the saved login is removed, and the client is anonymous."""
    _save(chat)
    client = make()
    assert client.login.log_out() is True
    assert chat.paths() == ["POST /logout"]
    assert chat.server.last.headers["origin"] == chat.server.url
    assert ("s1", "t1") not in chat.sessions
    assert _saved(chat) is None
    assert client.whoami() is None
    assert client.login.log_out() is False


@pytest.mark.parametrize("answer", [plain(b"", 500), plain(b"gone", 404), [RST], plain(b"ok")], ids=range(4))
def test_end_is_a_best_effort(chat: LoginServer, make: Any, answer: Any) -> None:
    """For every answer of the server the saved login is removed."""
    _save(chat)
    chat.server.on("/chat/logout", answer)
    assert make().login.log_out() is (answer == plain(b"ok"))
    assert _saved(chat) is None


def test_end_of_other_cookies(chat: LoginServer, make: Any) -> None:
    """A saved login of another user stays; one of the same user is removed."""
    _save(chat)
    make({"hf-chat": "s2", "token": "t2"}).login.log_out()
    assert _saved(chat) == GOOD
    make(GOOD).login.log_out()
    assert _saved(chat) is None


def test_a_logout_is_not_undone(chat: LoginServer, make: Any) -> None:
    """A client that still runs does not save a login again after its logout."""
    store = _save(chat)
    client = make()
    chat.sessions["s1-next", "t1"] = ANN
    chat.rotate_to = ["s1-next"]
    store.remove(chat.url)
    client.conversation().create()
    assert _saved(chat) is None


# Bot checks


@pytest.mark.parametrize(
    "answer",
    [
        plain(b"<html>Just a moment...</html>", 403, "cf-mitigated: challenge", "Content-Type: text/html"),
        plain(b"", 202, "x-amzn-waf-action: challenge"),
        plain(b"<html></html>", 405, "x-amzn-waf-action: captcha", "Content-Type: text/html"),
    ],
    ids=["cloudflare", "challenge", "captcha"],
)
@pytest.mark.parametrize("cookies", [GOOD, ""], ids=["login", "anonymous"])
def test_bot_check(chat: LoginServer, make: Any, answer: bytes, cookies: Any) -> None:
    """A bot check is neither an expired login nor an empty answer; the message says what may help."""
    chat.server.on("*", answer)
    client = make(cookies)
    for call in (client.whoami, client.models.list, client.conversation(model="org/one").create):
        with pytest.raises(CloudflareChallenge, match=r'impersonate="chrome".*hfclient\[impersonate\]') as caught:
            call()
        assert not isinstance(caught.value, AuthenticationError)


# Secrets


@pytest.mark.parametrize("name", ["plain", "impersonate"])
def test_secrets_do_not_show(chat: LoginServer, make: Any, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """No log record at any level, repr or error holds a secret."""
    chat.sessions["chat-secret", "hub-secret"] = ANN
    chat.rotate_to = ["rotated-secret"]
    failures: list[HFClientError] = []
    with caplog.at_level(logging.DEBUG):
        given = {"hf-chat": "chat-secret", "token": "hub-secret"}
        client = make(given, token="hf_token-secret", transport=make_transport(name))
        conversation = client.conversation().create()
        client.login.save()
        chat.sessions.clear()
        for call in (lambda: conversation.rename("x"), lambda: list(client.conversations), client.login.save):
            with pytest.raises(SessionExpired) as caught:
                call()
            failures.append(caught.value)
    shown = [client, client._session, client._session.credentials, client.login, client._chat.auth, conversation]
    texts = [repr(shown), str(conversation.to_dict()), caplog.text]
    for error in failures:
        texts += [f"{error!r} {error} {error.to_dict()} {vars(error)}", str(pickle.dumps(error))]
        texts += traceback.format_exception(error)
    assert caplog.records
    assert [text for text in texts if "-secret" in text] == []


# Constructing


def test_constructing_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client is made without a request, and reads only the saved logins and the token's file."""
    read: list[str] = []
    original = Path.open

    def note(path: Path, *args: Any, **options: Any) -> Any:
        read.append(path.name)
        return original(path, *args, **options)

    monkeypatch.setattr(Path, "open", note)
    monkeypatch.setattr(RequestsTransport, "open", lambda *args: pytest.fail("the network was used"))
    Client().close()
    assert set(read) <= {"logins.json", "no-such-token"}


def test_embedded_servers_get_no_cookies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded server gets no saved cookie, and a damaged store does not keep it from starting."""
    pytest.importorskip("flask")
    store = LoginStore.find()
    assert store is not None
    store.path.parent.mkdir(parents=True)
    store.path.write_text("{")
    monkeypatch.setenv("HFCLIENT_COOKIE", "hf-chat=secret")
    with Server() as upstream:
        upstream.on("*", json_answer({"data": []}))
        try:
            client = Client.local(upstream=f"{upstream.url}/v1")
        except HFClientError as error:
            pytest.skip(f"no embedded server here: {error}")
        with client:
            client.whoami()
            assert "secret" not in str(client._session.credentials.headers_for(f"{client.base_url}/x"))


def test_unreachable(make: Any, chat: LoginServer) -> None:
    """A server that cannot be reached is a ConnectError, not an expired login."""
    chat.server.on("*", [RST])
    with pytest.raises(ConnectError):
        make(GOOD).conversation(model="org/one").create()


def test_a_login_that_is_known_to_be_missing(make: Any) -> None:
    """Without sending anything a client says that HuggingChat requires a login and it has no cookie; other servers may not."""
    for cookies, missing in (("", True), ({"token": "t", "hf-chat": "s"}, False)):
        with Client(cookies=cookies, token="hf_token") as client:
            assert client.login.missing is missing
    assert make("").login.missing is False
