"""``hfclient login``, ``logout`` and ``whoami``: in this process, in a pipe, and at a terminal."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hfclient.credentials import AnonymousSession, LoginStore, SavedLogin, Secret
from tests.chat.login_server import ANN, LoginServer
from tests.cli.conftest import start
from tests.server import LONG, RST, Recorded, Server, json_answer, plain

HEADER = "Cookie: hf-chat=s1; token=t1; _ga=GA1.2"
EXPORT = [
    {"name": "hf-chat", "value": "s1", "domain": "127.0.0.1", "path": "/", "httpOnly": True},
    {"name": "token", "value": "t1", "domain": "127.0.0.1", "path": "/"},
    {"name": "SID", "value": "google-secret", "domain": ".google.com", "path": "/"},
]


@pytest.fixture
def chat(server: Server) -> LoginServer:
    """A chat-ui with a login."""
    return LoginServer(server)


def _store() -> LoginStore:
    store = LoginStore.find()
    assert store is not None
    return store


def _saved(chat: LoginServer) -> dict[str, str] | None:
    login = _store().get(chat.url)
    return {name: value.reveal() for name, value in login.cookies.items()} if login is not None else None


def _piped(text: str, *arguments: str) -> tuple[int, str, str]:
    """Run a command with *text* on its standard input."""
    process = start(*arguments, stdin=subprocess.PIPE)
    out, err = process.communicate(text.encode(), timeout=LONG)
    return process.returncode, out.decode(), err.decode()


# login


def test_login_in_a_pipe(chat: LoginServer) -> None:
    """A header from standard input is checked and saved, and the user's name is printed, but not the cookies."""
    code, out, err = _piped(HEADER + "\n", "login", "--url", chat.url)
    assert (code, err) == (0, "")
    assert out == f"Logged in to {chat.url} as ann; saved in {_store().path}.\n"
    assert _saved(chat) == {"hf-chat": "s1", "token": "t1", "_ga": "GA1.2"}
    assert chat.paths() == ["GET /api/v2/feature-flags", "GET /api/v2/user"]


def test_login_behind_basic_authentication(chat: LoginServer, server: Server) -> None:
    """The user name and password in the URL authenticate at the proxy, and are neither shown nor saved."""

    def gate(request: Recorded) -> bytes:
        if request.headers.get("authorization") != "Basic YW5uOnBhc3Mtd29yZA==":  # ann:pass-word
            return plain("", 401, "WWW-Authenticate: Basic")
        return chat._answer(request)

    server.on("*", [gate])
    url = chat.url.replace("//", "//ann:pass-word@")
    code, out, _ = _piped(HEADER + "\n", "login", "--url", url)
    assert code == 0
    assert "pass-word" not in out + _store().path.read_text()
    assert _saved(chat) is not None
    assert _piped("", "whoami", "--url", url)[:2] == (0, "ann\n")
    assert _piped("", "logout", "--url", url)[0] == 0
    assert chat.sessions.keys() == {("s2", "t2")}
    code, _, err = _piped("", "whoami", "--url", chat.url)
    assert code != 0
    assert "user name and a password" in err


def test_login_with_exports(chat: LoginServer, tmp_path: Path) -> None:
    """The text and the path of an export; cookies of other sites are not saved."""
    file = tmp_path / "cookies.json"
    file.write_text(json.dumps(EXPORT))
    file.chmod(0o600)
    for text in (json.dumps(EXPORT, indent=1), f"{file}\n"):
        _store().remove(chat.url)
        assert _piped(text, "login", "--url", chat.url)[0] == 0
        assert _saved(chat) == {"hf-chat": "s1", "token": "t1"}


def test_login_then_chat(chat: LoginServer, command: Any) -> None:
    """The next commands use the saved login."""
    assert _piped(HEADER, "login", "--url", chat.url)[0] == 0
    assert command("whoami", "--url", chat.url) == (0, "ann\n", "")
    assert command("models", "--url", chat.url)[0] == 0
    assert chat.cookies()["hf-chat"] == "s1"


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        ("hf-chat=s1; token=stale-secret", 1, "expired"),
        ("unknown-secret", 1, "expired"),
        ("", 1, "the input is empty"),
        ("hf_abcdefghijklmnopqrstuvwxyz", 1, "Hub token"),
        ("/no/such/file.txt", 1, "cannot be read"),
        ("not a secret cookie at all", 1, "no cookie was found"),
        (json.dumps(EXPORT[2:]), 1, "belongs to 127.0.0.1"),
    ],
)
def test_invalid_logins(chat: LoginServer, given: str, code: int, message: str) -> None:
    """An invalid login is an error of one line; nothing is saved or shown."""
    found, out, err = _piped(given, "login", "--url", chat.url)
    assert (found, out) == (code, "")
    assert message in err
    assert err.startswith("hfclient: ")
    assert err.count("\n") == 1
    assert "secret" not in err
    assert not _store().path.exists()


def test_a_failed_login_keeps_the_saved_one(chat: LoginServer) -> None:
    """After a failed login the previous one is unchanged."""
    _store().put(chat.url, SavedLogin({"hf-chat": Secret("s2"), "token": Secret("t2")}, "u", "bob"))
    assert _piped("hf-chat=wrong", "login", "--url", chat.url)[0] == 1
    assert _saved(chat) == {"hf-chat": "s2", "token": "t2"}


def test_login_on_a_server_without_login(chat: LoginServer, command: Any) -> None:
    """On a server without a login the command says so, and does not prompt."""
    chat.enabled = False
    code, out, _ = command("login", "--url", chat.url)
    assert (code, out) == (0, f"{chat.url} has no login: it can be used without one.\n")


def test_login_from_a_browser(chat: LoginServer, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser's cookies are read without a prompt."""
    from hfclient.credentials import cookies
    from hfclient.credentials.cookie_matching import Cookie

    found = [Cookie(str(item["name"]), Secret(str(item["value"])), str(item["domain"])) for item in EXPORT]
    monkeypatch.setattr(cookies, "browser_cookies", lambda name: found if name == "firefox:work" else [])
    assert command("login", "--url", chat.url, "--from-browser", "firefox:work")[0] == 0
    assert _saved(chat) == {"hf-chat": "s1", "token": "t1"}


def test_login_unreachable(command: Any) -> None:
    """A server that is down is an error of one line."""
    with Server() as gone:
        url = gone.url
    code, _, err = command("login", "--url", url)
    assert (code, err.count("\n")) == (1, 1)
    assert "connection" in err


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_login_at_a_terminal(chat: LoginServer, terminal: Any) -> None:
    """At a terminal the command explains what to paste, and the input is not echoed."""
    shell = terminal("login", "--url", chat.url, "--no-browser")
    shown = shell.read_until("Cookies: ")
    assert f"Open {chat.url}/login" in shown
    assert "hf-chat" in shown
    assert "password" not in shown.lower()
    os.write(shell._master, b"hf-chat=s1; token=t1\n")
    code, shown = shell.finish()
    assert code == 0
    assert "Logged in to" in shown
    assert "s1" not in shown.replace(chat.url, "")
    assert _saved(chat) == {"hf-chat": "s1", "token": "t1"}


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("opens", [True, False])
def test_login_page(chat: LoginServer, terminal: Any, tmp_path: Path, opens: bool) -> None:
    """The browser opens the login page, except with --no-browser."""
    note = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {note}\n')
    browser.chmod(0o700)
    shell = terminal("login", "--url", chat.url, *([] if opens else ["--no-browser"]), BROWSER=f"{browser} %s")
    shown = shell.read_until("Cookies: ")
    assert ("Your browser opens" in shown) is opens
    assert (note.read_text() if note.exists() else "") == (f"{chat.url}/login\n" if opens else "")
    os.write(shell._master, b"\x04")  # Ctrl-D: no input
    code, shown = shell.finish()
    assert code in (1, 130)
    assert "Traceback" not in shown
    assert not _store().path.exists()


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_login_interrupted(chat: LoginServer, terminal: Any) -> None:
    """Ctrl-C at the prompt exits cleanly, and the terminal echoes again."""
    import termios

    shell = terminal("login", "--url", chat.url, "--no-browser")
    shell.read_until("Cookies: ")
    shell.interrupt()
    assert shell.finish()[0] == 130
    assert termios.tcgetattr(shell._master)[3] & termios.ECHO


def test_prompt_for_the_second_cookie(monkeypatch: pytest.MonkeyPatch) -> None:
    """On HuggingChat a bare value is one of two cookies."""
    from hfclient.cli.commands import login

    answers = iter(["76197df2-4d6b-47c1-adc4-d8b0638cd088", "second"])
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(answers))
    both = {"hf-chat": "76197df2-4d6b-47c1-adc4-d8b0638cd088", "token": "second"}
    assert login._prompt_for_cookies("https://huggingface.co/chat") == both
    answers = iter(["hf-chat=a; token=b"])
    assert login._prompt_for_cookies("https://huggingface.co/chat") == "hf-chat=a; token=b"
    answers = iter(["bare"])
    assert login._prompt_for_cookies("http://localhost:3000") == "bare"


# logout


def _log_in(chat: LoginServer) -> None:
    login = SavedLogin({"hf-chat": Secret("s1"), "token": Secret("t1")}, str(ANN["id"]), "ann")
    _store().put(chat.url, login)
    _store().put("http://localhost:1/other", login)


def test_logout(chat: LoginServer, command: Any) -> None:
    """The login ends on the server and the saved one is deleted, but not that of another server; repeating it is harmless."""
    _log_in(chat)
    assert command("logout", "--url", chat.url) == (0, f"Logged out of {chat.url}.\n", "")
    assert chat.paths() == ["POST /logout"]
    assert chat.cookies() == {"hf-chat": "s1", "token": "t1"}
    assert _saved(chat) is None
    assert _store().get("http://localhost:1/other") is not None
    assert command("logout", "--url", chat.url) == (0, f"There is no saved login for {chat.url}.\n", "")


def test_logout_of_an_anonymous_session(chat: LoginServer, command: Any) -> None:
    """With only an anonymous session, that one is deleted."""
    AnonymousSession.find(chat.url).load_or_create()
    code, out, err = command("logout", "--url", chat.url)
    assert (code, err) == (0, "")
    assert out.startswith(f"Deleted the anonymous session of {chat.url}")
    assert command("logout", "--url", chat.url) == (0, f"There is no saved login for {chat.url}.\n", "")


def test_logout_uses_the_saved_login(chat: LoginServer, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cookies in the environment are not logged out."""
    _log_in(chat)
    monkeypatch.setenv("HFCLIENT_COOKIE", "hf-chat=s2; token=t2")
    assert command("logout", "--url", chat.url)[0] == 0
    assert chat.cookies() == {"hf-chat": "s1", "token": "t1"}
    assert _saved(chat) is None


@pytest.mark.parametrize("answer", [[RST], plain(b"", 500)], ids=["cut", "500"])
def test_logout_without_the_server(chat: LoginServer, command: Any, answer: Any) -> None:
    """If the server does not answer, a line says so; the saved login is deleted nevertheless."""
    _log_in(chat)
    chat.server.on("*", answer)
    code, out, err = command("logout", "--url", chat.url)
    assert (code, out) == (0, f"Logged out of {chat.url}.\n")
    assert "did not confirm it" in err
    assert _saved(chat) is None


# whoami


def test_whoami(chat: LoginServer, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's name, or its email or id; from the saved login, the environment or a token."""
    _log_in(chat)
    assert command("whoami", "--url", chat.url) == (0, "ann\n", "")
    code, out, _ = command("whoami", "--url", chat.url, "--json")
    assert (code, json.loads(out)["email"]) == (0, "ann@example.com")
    monkeypatch.setenv("HFCLIENT_COOKIE", "hf-chat=s2; token=t2")
    assert command("whoami", "--url", chat.url) == (0, "bob\n", "")
    monkeypatch.setenv("HFCLIENT_BASE_URL", chat.url)
    assert command("whoami") == (0, "bob\n", "")


def test_whoami_without_a_saved_login(chat: LoginServer, command: Any) -> None:
    """Without a login, or with an expired one, the exit code is 1 and the error names the command to run."""
    code, out, err = command("whoami", "--url", chat.url)
    assert (code, out) == (1, "")
    assert f"hfclient login --url {chat.url}" in err
    _log_in(chat)
    chat.sessions.clear()
    assert command("whoami", "--url", chat.url)[0] == 1
    assert command("whoami", "--url", chat.url, "--json")[:2] == (1, "null\n")


def test_whoami_on_a_server_without_login(chat: LoginServer, command: Any) -> None:
    """On a server without a login the command says so."""
    chat.enabled = False
    code, out, err = command("whoami", "--url", chat.url)
    assert (code, err) == (0, "")
    assert "has no login" in out


def test_names_are_printed_without_escape_sequences(chat: LoginServer, command: Any) -> None:
    """Escape sequences in a name are removed."""
    chat.sessions["s1", "t1"] = {**ANN, "username": "\x1b]0;owned\x07ann"}
    _log_in(chat)
    assert command("whoami", "--url", chat.url) == (0, "]0;ownedann\n", "")


def test_a_damaged_store(chat: LoginServer, command: Any) -> None:
    """A damaged file of logins is an error of one line with its path, for every command."""
    _log_in(chat)
    _store().path.write_text("{")
    for arguments in (["whoami"], ["logout"], ["chat", "Hi"], ["models"]):
        code, out, err = command(*arguments, "--url", chat.url)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert str(_store().path) in err


def test_another_server(server: Server, command: Any) -> None:
    """A URL that is not a chat-ui is an error of one line."""
    server.on("*", json_answer({"hello": "world"}))
    code, _, err = command("whoami", "--url", server.url)
    assert (code, err.count("\n")) == (1, 1)
    assert "chat-ui" in err
