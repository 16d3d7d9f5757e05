"""``hfclient usage``: the account, and the counts of this machine in a private file."""

from __future__ import annotations

import datetime
import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client, errors
from hfclient.cli import usage_counts
from hfclient.cli.usage_counts import add_count, read_counts, usage_file
from hfclient.inference import Account, Organisation
from hfclient.inference.models.account import parse_account
from tests.cli.conftest import environment, start
from tests.cli.screens import on_screen
from tests.cli.test_image import made
from tests.inference.answers import CHAT, says
from tests.server import PATIENCE, Server, json_answer

EVIL = "\x1b]0;owned\x07\x1b[2J"
WHOAMI = {
    "type": "user",
    "id": "64",
    "name": "ann",
    "fullname": "Ann",
    "email": "ann@example.org",
    "canPay": True,
    "periodEnd": 1790000000,
    "isPro": True,
    "billingMode": "postpaid",
    "orgs": [
        {"type": "org", "name": "acme", "canPay": True, "isEnterprise": True, "roleInOrg": "admin"},
        {"name": EVIL, "roleInOrg": EVIL},
        "?",
    ],
    "auth": {"type": "access_token", "accessToken": {"displayName": "laptop", "role": "fineGrained", "createdAt": "2026-01-01T00:00:00.000Z"}},
}


@pytest.fixture
def hub(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The Hub; the token was found in the environment and is for it, because it is this machine's."""
    server.on("/api/whoami-v2", json_answer(WHOAMI))
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return server


def account_of(server: Server) -> Account:
    with Client(token="hf_x", cookies="", hub_url=server.url) as client:
        return client.inference.account()


# The library's part


def test_account(hub: Server) -> None:
    """The plan, what can pay, and the token; the token is sent to the Hub."""
    account = account_of(hub)
    assert (account.name, account.is_pro, account.can_pay, account.billing_mode) == ("ann", True, True, "postpaid")
    assert account.period_end == datetime.datetime(2026, 9, 21, 14, 13, 20, tzinfo=datetime.timezone.utc)
    assert account.organisations[0] == Organisation("acme", "admin", True, True)
    assert len(account.organisations) == 2
    assert (account.token_name, account.token_role, account.token_end) == ("laptop", "fineGrained", None)
    assert hub.last.headers["authorization"] == "Bearer hf_x"


def test_accounts_of_other_forms(hub: Server) -> None:
    """An OAuth token has an end; fields of other types count as absent; something else is a ProtocolError."""
    found = parse_account({"name": "app", "type": "app", "auth": {"type": "oauth", "expiresAt": "2027-01-01T00:00:00Z"}, "isPro": "yes", "periodEnd": 1e300})
    assert (found.type, found.token_role, found.is_pro, found.period_end) == ("app", "oauth", None, None)
    assert found.token_end is not None
    for wrong in ([], {}, None, {"name": 1}):
        hub.on("/api/whoami-v2", json_answer(wrong))
        with pytest.raises(errors.ProtocolError):
            account_of(hub)


def test_account_errors(hub: Server) -> None:
    """Without a token nothing is sent; a refused one is named with the remedy."""
    with Client(token="", cookies="", hub_url=hub.url) as client, pytest.raises(errors.CredentialsError, match="HF_TOKEN"):
        client.inference.account()
    assert not hub.requests
    hub.on("/api/whoami-v2", json_answer({"error": "Invalid credentials"}, 401))
    with pytest.raises(errors.AuthenticationError, match="does not accept the token"):
        account_of(hub)


# Counts


def test_counts() -> None:
    """Calls of one day, command and model are added up; names from a server are one line without control characters."""
    for number in (1, 3):
        add_count("image", "org/painter", "fal-ai", results=number)
    add_count("chat", EVIL + "\n\tx" * 200, results=1, prompt_tokens=10, completion_tokens=-5)
    chat, image = read_counts()
    assert (image.calls, image.results, image.model, image.provider) == (2, 4, "org/painter", "fal-ai")
    assert (chat.prompt_tokens, chat.completion_tokens) == (10, 0)
    assert chat.model.startswith("]0;owned[2J x")
    assert len(chat.model) <= 120


def test_the_file_is_private() -> None:
    """Only its owner can read it."""
    add_count("image", "m")
    path = usage_file()
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("value", ["0", "off", "No"])
def test_switched_off(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """HFCLIENT_USAGE switches it off: no file is made."""
    monkeypatch.setenv("HFCLIENT_USAGE", value)
    add_count("image", "m")
    path = usage_file()
    assert path is not None
    assert not path.exists()


def test_a_file_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged file is left as it is and has no counts; a folder that cannot be made does not matter."""
    path = usage_file()
    assert path is not None
    path.parent.mkdir(parents=True)
    path.write_text('{"version": 1, "counts": {"a": {"calls": "x"}}}')
    add_count("image", "m")
    assert read_counts() == []
    assert "calls" in path.read_text()
    monkeypatch.setenv("HFCLIENT_HOME", "/dev/null/x")
    add_count("image", "m")
    assert read_counts() == []


def test_the_file_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest entries are removed."""
    monkeypatch.setattr(usage_counts, "_MOST", 3)
    for number in range(5):
        add_count(f"c{number}")
    assert [count.command for count in read_counts()] == ["c2", "c3", "c4"]


def test_several_processes_count(tmp_path: Path) -> None:
    """No count of processes that end at the same time is lost."""
    code = "from hfclient.cli.usage_counts import add_count\nfor _ in range(10): add_count('image', 'm')"
    import sys

    running = [subprocess.Popen([sys.executable, "-c", code], env=environment()) for _ in range(3)]
    assert [process.wait(PATIENCE) for process in running] == [0, 0, 0]
    (count,) = read_counts()
    assert count.calls == 30


def test_commands_count(server: Server, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chat at an inference server counts its tokens, an image itself; no prompt is in the file."""
    monkeypatch.chdir(tmp_path)
    server.on(CHAT, says("Hello", counts=(7, 2)))
    server.on("/v1/images/generations", made())
    assert command("chat", "my secret plan", "--inference-url", server.url, "--model", "llama")[0] == 0
    assert command("image", "my secret plan", "--inference-url", server.url, "-m", "painter")[0] == 0
    chat, image = read_counts()
    assert (chat.command, chat.model, chat.prompt_tokens, chat.completion_tokens) == ("chat", "llama", 7, 2)
    assert (image.command, image.model, image.results) == ("image", "painter", 1)
    path = usage_file()
    assert path is not None
    assert "secret" not in path.read_text()


# The command


def test_without_an_account(command: Any) -> None:
    """--no-account sends nothing; -–json has stable names; --forget deletes the counts."""
    assert "There are no counts" in command("usage", "--no-account")[1]
    add_count("image", "org/painter", "fal-ai", results=2)
    code, out, _ = command("usage", "--no-account")
    assert code == 0
    assert out.split("\n")[1].split()[1:] == ["image", "org/painter", "1", "2", "-", "-", "fal-ai"]
    _, out, _ = command("usage", "--no-account", "--json")
    found = json.loads(out)
    assert found["account"] is None
    assert found["counts"][0] == {
        "day": found["counts"][0]["day"],
        "command": "image", "model": "org/painter", "provider": "fal-ai", "calls": 1, "results": 2,
        "prompt_tokens": 0, "completion_tokens": 0, "cost": None,
    }
    assert command("usage", "--forget")[0] == 0
    assert read_counts() == []


def test_without_a_token(command: Any) -> None:
    """A note says how to get one; the counts are shown."""
    add_count("image", "m")
    code, out, err = command("usage")
    assert (code, "image" in out) == (0, True)
    assert "HF_TOKEN" in err


def test_account_on_a_terminal(hub: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The account, its organisations and the counts; names cannot send escape sequences."""
    add_count("image", "org/painter", results=2)
    shown = on_screen("usage", HF_ENDPOINT=hub.url, HF_TOKEN="hf_abc", NO_COLOR="1")
    if "there is no token for" in shown.text:  # a token from the environment goes to Hugging Face's own sites only
        assert shown.code == 0
    assert b"\x1b" not in shown.raw
    assert "image" in shown.text
    assert "hf_abc" not in shown.text


def test_the_account_is_printed(hub: Server, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fact on a line; --json has all fields."""
    from hfclient.cli.commands import usage

    monkeypatch.setattr(usage, "open_inference", lambda *options: Client(token="hf_x", cookies="", hub_url=hub.url))
    code, out, _ = command("usage")
    assert code == 0
    assert "Account:     ann\nPlan:        PRO\nCan pay:     yes\nBilling:     postpaid\n" in out
    assert "Token:       laptop (fineGrained)\n" in out
    assert "acme" in out
    assert "\x1b" not in out
    _, out, _ = command("usage", "--json")
    found = json.loads(out)["account"]
    assert (found["name"], found["organisations"][0]["name"]) == ("ann", "acme")
    assert "email" not in found
    hub.on("/api/whoami-v2", json_answer({"error": "later"}, 403))
    code, out, err = command("usage")
    assert (code, "no counts" in out, err.count("\n")) == (1, True, 1)


def test_cost(server: Server, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens times the price of the provider that answered; other lines have no cost."""
    from hfclient.cli.commands import usage
    from tests.cli.test_models import ROUTER

    server.on("/v1/models", json_answer(ROUTER))
    monkeypatch.setattr(usage, "open_inference", lambda *options: Client(token="", cookies="", inference_url=server.url))
    add_count("chat", "org/large", "cheap", results=1, prompt_tokens=1_000_000, completion_tokens=500_000)
    add_count("chat", "org/large", "unknown", results=1, prompt_tokens=5)
    add_count("image", "org/painter", results=1)
    _, out, _ = command("usage", "--no-account", "--cost")
    assert [line.split()[-1] for line in out.split("\n")[1:4]] == ["0.5000", "-", "-"]
    assert "Together 0.5000 US dollars for 1 of 3 lines" in out


def test_a_closed_pipe(server: Server) -> None:
    """The reader of the pipe may end first."""
    add_count("image", "m")
    process = start("usage", "--no-account", env=environment(), stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    process.stdout.close()
    process.wait(PATIENCE)
    assert process.returncode == 141
