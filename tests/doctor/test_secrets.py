"""No result of the doctor has a secret, whatever the servers send back, and no control character."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hfclient.doctor import check
from tests.server import Recorded, Server, json_answer, plain

TOKEN = "hf_tokenAAAABBBBCCCCDDDDEEEE"
COOKIE = "cookie-11112222-3333-4444"
PASSWORD = "password-of-basic-9876"
SAVED = "saved-login-55556666-7777"
SECRETS = (TOKEN, COOKIE, PASSWORD, SAVED)


def _echo(shape: str) -> Any:
    """Answer each request with its own headers, in one of several shapes."""

    def answer(request: Recorded) -> bytes:
        text = " ".join(f"{name}: {value}" for name, value in request.headers.items()) + "\x1b]0;x\x07\u202e"
        if shape == "page":
            return plain(f"<html><head><title>{text}</title></head></html>", 404, "Content-Type: text/html")
        if shape == "error":
            return json_answer({"message": text}, 403)
        if shape == "401":
            return json_answer({"error": text}, 401, "WWW-Authenticate: Bearer")
        if shape == "redirect":
            return plain("", 302, f"Location: https://sso.example/login?next={text.encode('ascii', 'replace').decode()}")
        if request.path == "/healthcheck":
            return plain("OK")
        entry = {"id": text, "name": text, "title": text, "displayName": 5, text: text, "url": text}
        found: Any = [entry]
        if request.path.endswith("feature-flags"):
            found = {"loginEnabled": True, "transcriptionEnabled": False, text: True}
        elif request.path.endswith("conversations"):
            found = {"conversations": [entry], "hasMore": True, text: text}
        elif request.path.endswith(("user", "settings", "public-config")):
            found = {**entry, "username": text, "activeModel": text, "PUBLIC_APP_NAME": text, "PUBLIC_ORIGIN": text}
        elif request.path.endswith("whoami-v2"):
            return json_answer({"name": text, "type": "user", "auth": {"accessToken": {"role": text}}, "orgs": [{"name": text, "canPay": True}]})
        elif request.path.endswith("/v1/models"):
            return json_answer({"data": [entry]})
        elif "mcp" in request.path:
            return json_answer([entry])
        return json_answer({"json": found})

    return answer


@pytest.mark.parametrize("shape", ["data", "page", "error", "401", "redirect"])
def test_servers_that_repeat_secrets(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shape: str) -> None:
    """Tokens, cookies and passwords that servers repeat in names, titles and errors are masked in every result."""
    saved = {"cookies": {"hf-chat": SAVED}, "user_id": "1", "username": "ann", "saved_at": 1.0}
    (tmp_path / "logins.json").write_text(json.dumps({"version": 1, "logins": {"https://chat.example": saved}}))
    (tmp_path / "logins.json").chmod(0o600)
    monkeypatch.setenv("HFCLIENT_HOME", str(tmp_path))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HFCLIENT_COOKIE", f"hf-chat={COOKIE}")
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{PASSWORD}@127.0.0.1:9")
    server.on("*", [_echo(shape)])
    url = server.url.replace("http://", f"http://ann:{PASSWORD}@")
    results = list(check(url=url, token=TOKEN, inference_url=f"{server.url}/v1", hub_url=server.url))
    assert any("***" in f"{result}" for result in results) or shape == "redirect"
    for result in results:
        text = json.dumps(result.to_dict(), ensure_ascii=False)
        assert not [secret for secret in SECRETS if secret in text], result
        assert not [mark for mark in "\x1b\x07\u202e\n" if mark in result.detail], result
    assert {result.name for result in results} >= {"token", "login", "models", "inference"}
