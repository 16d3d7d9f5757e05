"""``hfclient login --hub`` and ``logout --hub``: a Hub token in huggingface_hub's file."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import environment, start
from tests.cli.screens import on_screen
from tests.server import LONG, Recorded, Server, json_answer

TOKEN = "hf_abcdefghijklmnop"


@pytest.fixture
def hub(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A Hub that knows one token."""

    def answer(request: Recorded) -> bytes:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return json_answer({"error": "Invalid credentials"}, 401)
        return json_answer({"name": "ann\x1b[2J", "type": "user"})

    server.on("/api/whoami-v2", [answer])
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return server


def token_file() -> Path:
    return Path(os.environ["HF_TOKEN_PATH"])


def piped(text: str, *arguments: str, **env: str) -> tuple[int, str, str]:
    process = start(*arguments, stdin=subprocess.PIPE, env=environment(**env))
    out, err = process.communicate(text.encode(), timeout=LONG)
    return process.returncode, out.decode(), err.decode()


def test_in_a_pipe(hub: Server) -> None:
    """The token is checked and saved for its owner alone; it is not printed."""
    code, out, err = piped(f"{TOKEN}\n", "login", "--hub")
    assert (code, err) == (0, "")
    assert out == f"The token of ann[2J is in {token_file()}, where huggingface_hub finds it, too.\n"
    assert token_file().read_text() == TOKEN
    assert stat.S_IMODE(token_file().stat().st_mode) == 0o600


def test_at_a_terminal(hub: Server) -> None:
    """The prompt does not show what is typed; another token is replaced only after a question."""
    token_file().write_text("hf_other")
    def typing(last: bytes) -> Callable[[bytes], bytes]:
        return lambda data: f"{TOKEN}\n".encode() if b"Token: " in data else last if b"[y/N]" in data else b""

    shown = on_screen("login", "--hub", answer=typing(b"n\n"))
    assert shown.code == 1
    assert "Replace it? [y/N]" in shown.text
    assert token_file().read_text() == "hf_other"
    shown = on_screen("login", "--hub", answer=typing(b"y\n"))
    assert shown.code == 0
    assert TOKEN.encode() not in shown.raw
    assert token_file().read_text() == TOKEN


def test_a_refused_token(hub: Server) -> None:
    """Nothing is saved, and the token is not in the error."""
    code, out, err = piped("hf_wrongwrongwrong\n", "login", "--hub")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "does not accept the token" in err
    assert "hf_wrong" not in err
    assert not token_file().exists()


def test_another_token_stays(hub: Server) -> None:
    """In a pipe an existing token is not replaced."""
    token_file().write_text("hf_other")
    code, _, err = piped(TOKEN, "login", "--hub")
    assert (code, "logout --hub" in err) == (1, True)
    assert token_file().read_text() == "hf_other"
    assert piped("", "login", "--hub")[0] == 1


def test_logout(hub: Server) -> None:
    """The file is deleted; the environment's token is named, because it stays in use."""
    token_file().write_text(TOKEN)
    code, out, err = piped("", "logout", "--hub", HF_TOKEN="hf_env")
    assert (code, token_file().exists()) == (0, False)
    assert "stays valid" in out
    assert "HF_TOKEN" in err
    assert "hf_env" not in out + err
    assert piped("", "logout", "--hub")[1].startswith("There is no token in ")


def test_options_of_chat_servers(hub: Server) -> None:
    """They do not go together with --hub."""
    assert piped(TOKEN, "login", "--hub", "--url", hub.url)[0] == 2
    assert piped(TOKEN, "logout", "--hub", "--impersonate", "chrome")[0] == 2
    assert not hub.requests
