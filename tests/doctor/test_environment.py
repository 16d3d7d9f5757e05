"""Checks of variables, files and packages of this machine."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hfclient.doctor import Check, check, environment, installation
from hfclient.doctor.results import run, shown_path, summary
from hfclient.errors import InvalidInputError
from tests.doctor.conftest import SECRET, diagnosed
from tests.server import CERTIFICATE, Server, plain

COOKIE = "cookie-secret-value"


def _only(*names: str, **options: Any) -> dict[str, Check]:
    results = {result.name: result for result in check(url="http://127.0.0.1:1", skip=["network", "chat", "hub", "inference"], **options)}
    return {name: results[name] for name in names} if names else results


@pytest.mark.parametrize(
    ("variables", "text", "remedy"),
    [
        ({"HF_TOKEN": SECRET, "HUGGING_FACE_HUB_TOKEN": f"{SECRET}x"}, "HF_TOKEN and HUGGING_FACE_HUB_TOKEN differ", "Unset one of them."),
        ({"HF_TOKEN": f'"{SECRET}"'}, "HF_TOKEN has more than the token", "Set HF_TOKEN to the token alone."),
        ({"HF_TOKEN": f"Bearer {SECRET}"}, "HF_TOKEN has more than the token", "Set HF_TOKEN to the token alone."),
        ({"HF_TOKEN": "sk-abcdefghijkl"}, "does not begin with hf_", "https://huggingface.co/settings/tokens"),
        ({"HF_TOKEN": SECRET, "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}, "is not used", "Unset it"),
        ({"HFCLIENT_BASE_UR": "x"}, "HFCLIENT_BASE_UR is not a variable of hfclient", "Rename it to HFCLIENT_BASE_URL."),
        ({"HFCLIENT_BASE_URL": "https://hugginface.co/chat"}, "looks like huggingface.co", "Use https://huggingface.co/chat"),
        ({"HFCLIENT_BASE_URL": "https://huggingface.co"}, "the Hub, not HuggingChat", "Use https://huggingface.co/chat"),
        ({"HFCLIENT_BASE_URL": "localhost:3000"}, "must begin with http", "Write http://localhost:3000"),
        ({"HFCLIENT_BASE_URL": "hugginface.co/chat"}, "must begin with http", "Use https://huggingface.co/chat"),
        ({"HFCLIENT_BASE_URL": "chat.example"}, "must begin with http", "Write https://chat.example"),
        ({"HFCLIENT_BASE_URL": "http://chat.example/api/v2/models"}, "is a page of a chat-ui", "Use http://chat.example"),
        ({"HF_ENDPOINT": "hub"}, "HF_ENDPOINT is not a URL", "https://huggingface.co"),
    ],
)
def test_variables(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], text: str, remedy: str) -> None:
    """Contradictions and mistakes are warnings that name the variable, and never its secret."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = environment.variables()
    assert found.status == "warning"
    assert text in found.detail
    assert remedy in (found.remedy or "")
    assert SECRET not in f"{found}"


def test_a_token_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A token in the environment that differs from that of huggingface_hub is a frequent surprise."""
    (tmp_path / "token").write_text(f"{SECRET}\n")
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("HF_TOKEN", f"{SECRET}-other")
    assert "have different tokens" in environment.variables().detail
    monkeypatch.setenv("HF_TOKEN", SECRET)
    assert environment.variables().status == "ok"


def test_other_programs_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other names with the prefix are not reported; variables of other clients are explained."""
    monkeypatch.setenv("HFCLIENT_RELAY_LIMIT_OF_MY_APP", "1")
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    found = environment.variables()
    assert found.status == "ok"
    assert "OPENAI_API_KEY (not used by hfclient by itself" in found.detail


def _logins(folder: Path, content: str | None = None, mode: int = 0o600) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    entry = {"cookies": {"hf-chat": COOKIE}, "user_id": "1", "username": "ann", "saved_at": time.time() - 3 * 86400 - 60}
    path = folder / "logins.json"
    path.write_text(content if content is not None else json.dumps({"version": 1, "logins": {"https://chat.example": entry}}))
    path.chmod(mode)


def test_the_settings_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Saved logins are listed with their age and without a value; damaged and open files have a remedy."""
    folder = tmp_path / "settings"
    monkeypatch.setenv("HFCLIENT_HOME", str(folder))
    assert (environment.settings().status, "does not exist yet" in environment.settings().detail) == ("ok", True)
    _logins(folder)
    found = environment.settings()
    assert (found.status, "logins: https://chat.example (saved 3 days ago)" in found.detail) == ("ok", True), found
    assert COOKIE not in f"{found}"
    _logins(folder, mode=0o644)
    assert environment.settings().remedy == f"Run: chmod 600 {folder / 'logins.json'}"
    _logins(folder, '{"version": 1, "logins": ')
    assert (environment.settings().status, "is damaged" in environment.settings().detail) == ("failed", True)
    _logins(folder, '{"version": 99, "logins": {}}')
    assert "a later release" in environment.settings().detail


def test_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A settings folder that cannot be written is a warning: logins and sessions are not kept."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HFCLIENT_HOME", str(tmp_path / "file" / "settings"))
    found = environment.settings()
    assert (found.status, "cannot be written" in found.detail) == ("warning", True)


def test_damaged_logins_do_not_hide_the_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Server) -> None:
    """Logins that cannot be read are a problem of the client, and the servers are checked without them."""
    monkeypatch.setenv("HFCLIENT_HOME", str(tmp_path))
    _logins(tmp_path, "nonsense")
    server.on("/healthcheck", plain("OK"))
    results = diagnosed(server.url, skip=("installation", "hub", "inference"), cookies=None, session=None)
    assert results["client"].status == "failed"
    assert "checks below are made without credentials" in results["client"].detail
    assert results["chat server"].status == "ok"


def test_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy of each server is shown without its password; two variables that differ are a warning."""
    monkeypatch.setenv("HTTPS_PROXY", "http://user:proxy-secret@proxy.example:3128")
    found = environment.proxies("http://127.0.0.1:3000")
    assert (found.status, found.detail) == ("ok", "http://proxy.example:3128 for router.huggingface.co (HTTPS_PROXY)")
    monkeypatch.setenv("NO_PROXY", "huggingface.co")
    assert environment.proxies("https://huggingface.co/chat").detail.startswith("none for these servers")
    monkeypatch.setenv("https_proxy", "http://other.example")
    assert environment.proxies("https://huggingface.co/chat").status == "warning"
    assert environment.proxies("https://huggingface.co/chat", "").detail == "none for these servers"


def test_certificates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file of certificates that is missing, or is not one, fails with the name of its variable."""
    assert environment.certificates().status == "ok"
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    assert "does not exist" in environment.certificates().detail
    (tmp_path / "bad.pem").write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "bad.pem"))
    assert environment.certificates().status == "failed"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    assert (environment.certificates().status, "1 certificate" in environment.certificates().detail) == ("ok", True)


def _metadata(folder: Path, *requirements: str) -> None:
    place = folder / "hfclient-0.0.1.dist-info"
    place.mkdir()
    lines = ["Metadata-Version: 2.1", "Name: hfclient", "Version: 0.0.1", *(f"Requires-Dist: {one}" for one in requirements)]
    (place / "METADATA").write_text("\n".join(lines) + "\n")


def test_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Packages outside of the bounds in the metadata are named, and another copy of hfclient."""
    _metadata(tmp_path, "requests<3,>=2.32.3", "urllib3>=99.0", "no-such-package>=1", 'click<2,>=1; extra == "cli"')
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    found = installation.packages()
    assert found.status == "failed"
    assert "no-such-package is missing (>=1)" in found.detail
    assert "urllib3 " in found.detail
    assert "requests" not in found.detail
    assert installation.hfclient_itself().status == "warning"
    extras = installation.extras()
    assert (extras.status, "not as required: click" in extras.detail) == ("warning", True)


def test_python_and_weights() -> None:
    """Python is described; weights are only needed by the local model."""
    assert "64 bit" in installation.python().detail
    assert installation.weights(needed=False).status in ("ok", "skipped")
    assert installation.weights(needed=True).status in ("ok", "failed")


def test_home_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths in the home folder do not show the user's name."""
    monkeypatch.setenv("HOME", "/home/ann")
    assert shown_path("/home/ann/.config") == "~/.config"
    assert shown_path("/home/anna") == "/home/anna"


def test_a_check_that_raises() -> None:
    """An exception that is not expected fails its own check only, and its text is not shown."""

    def broken() -> Any:
        raise RuntimeError(SECRET)

    result, _ = run("chat", "x", broken, 5)
    assert (result.status, result.detail) == ("failed", "RuntimeError in this check")


def test_a_check_that_hangs() -> None:
    """A check that cannot be ended is left behind."""
    import threading

    go = threading.Event()
    result, _ = run("chat", "x", lambda: go.wait(30) and None, 0.05)  # type: ignore[arg-type,func-returns-value]
    go.set()
    assert (result.status, result.detail) == ("failed", "no result within 0.05 s")


def test_wrong_arguments() -> None:
    """Names that do not exist are refused at the call."""
    with pytest.raises(InvalidInputError, match="there is no check 'modles'"):
        check(skip=["modles"])
    with pytest.raises(InvalidInputError, match="seconds"):
        check(seconds=0)
    with pytest.raises(TypeError, match="tokn"):
        check(tokn="x")  # type: ignore[call-arg]
    with pytest.raises(InvalidInputError, match="exclude"):
        check(url="http://x", local=True)


def test_a_client_that_cannot_be_made() -> None:
    """Options with which no client can be made are one problem, with the remedy."""
    found = _only("client", cookies={"hf-chat": "a\nb"})["client"]
    assert found.status == "failed"
    (*_, last) = check(url="no url", skip=["installation"])
    assert (last.name, last.status, last.remedy) == ("client", "failed", "Write it like https://huggingface.co/chat")


@pytest.mark.parametrize("url", ["ann:secret@chat.example", "http://ann:secret@chat.example?key=secret", "ftp://ann:secret@chat.example/#secret"])
def test_urls_with_secrets(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """A URL that cannot be used is shown without its password and query, as an argument and in the environment."""
    (*_, last) = check(url=url, skip=["installation", "environment"])
    assert (last.name, last.status) == ("client", "failed")
    assert "chat.example" in f"{last}"
    monkeypatch.setenv("HFCLIENT_BASE_URL", url)
    found = environment.variables()
    assert found.status == "warning"
    assert "secret" not in f"{last}{found}"


def test_impersonation_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    """Without curl_cffi an impersonation is one problem, and the server is checked without it."""
    from hfclient.errors import MissingDependencyError

    def missing(*_: Any, **__: Any) -> Any:
        raise MissingDependencyError('impersonation needs one more package: pip install "hfclient[impersonate]"')

    curl = pytest.importorskip("hfclient.transport.curl_transport")
    monkeypatch.setattr(curl, "ImpersonateTransport", missing)
    server.on("/healthcheck", plain("OK"))
    results = diagnosed(server.url, skip=("installation", "hub", "inference"), impersonate="chrome")
    assert (results["client"].status, results["chat server"].status) == ("failed", "ok")
    assert results["client"].remedy == 'Run: pip install "hfclient[impersonate]"'


def test_a_transport_of_the_callers_own(server: Server) -> None:
    """The network is not checked below a transport that may take another way."""

    class Own:
        def __init__(self) -> None:
            from hfclient.transport.requests_transport import RequestsTransport

            self._inner = RequestsTransport()

        def open(self, *arguments: Any) -> Any:
            return self._inner.open(*arguments)

        def close(self) -> None:
            self._inner.close()

    server.on("/healthcheck", plain("OK"))
    results = diagnosed(server.url, skip=("installation", "hub", "inference"), transport=Own())
    assert results["chat server"].status == "ok"
    assert not {"dns", "connection", "tls"} & set(results)


def test_the_summary() -> None:
    """The summary counts problems and warnings, and has the first remedy."""
    bad = [Check("chat", "login", "failed", "x", "Log in."), Check("hub", "token", "warning", "x", "Renew."), Check("a", "b", "failed", "x")]
    assert summary(bad) == "2 problems (login, b), 1 warning (token). First: Log in."
    assert summary([Check("a", "b", "ok", "x")]) == "Everything works."
