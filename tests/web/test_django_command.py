"""``manage.py hfclient_check``, and the static files of the app."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hfclient.doctor import Check
from hfclient.web import Guard, check_connections
from tests.local.upstream import ScriptedUpstream
from tests.processes.helpers import ROOT, environment
from tests.server import PATIENCE, Server, json_answer
from tests.web.django_site import set_up

set_up()
pytest.importorskip("waitress")

from django.core.management import CommandError, call_command  # noqa: E402
from django.test import override_settings  # noqa: E402

from hfclient import Client  # noqa: E402
from hfclient.local import LocalServer  # noqa: E402

SECRET = "hf_abcdefghijklmnopqrstuvwxyz"


def _call(**options: Any) -> tuple[str, CommandError | None]:
    out = io.StringIO()
    try:
        call_command("hfclient_check", stdout=out, no_color=True, **options)
    except CommandError as error:
        return out.getvalue(), error
    return out.getvalue(), None


def test_everything_works() -> None:
    """Against a real server each check says what it found."""
    with ScriptedUpstream() as upstream, LocalServer(upstream=upstream.url) as chat:
        options = {"base_url": chat.url, "inference_url": upstream.url, "token": "", "cookies": "", "session": "private"}
        with override_settings(HFCLIENT=options):
            text, error = _call()
            report = json.loads(_call(json=True)[0])
    assert error is None, text
    lines = {line.split(":")[0] for line in text.rstrip().split("\n")}
    assert {"ok      chat server", "ok      login", "ok      features", "ok      models", "ok      inference", "skipped token"} <= lines
    assert "an anonymous session" in text
    assert report["ok"]
    assert report["summary"] == "Everything works."
    assert {tuple(check) for check in report["checks"]} == {("group", "name", "status", "detail", "remedy", "seconds")}


def test_a_server_that_is_down() -> None:
    """What does not work is named with a remedy, the rest is skipped, the exit status is 1; no secret is printed."""
    options = {"base_url": "http://127.0.0.1:1", "inference_url": "http://127.0.0.1:1/v1", "token": SECRET, "cookies": {"hf-chat": SECRET}}
    with override_settings(HFCLIENT={**options, "retry": {"attempts": 1}}):
        text, error = _call()
        shown = _call(json=True)[0]
    assert error is not None
    assert (str(error), error.returncode) == ("failed: connection, inference", 1)
    assert "FAILED  connection: 127.0.0.1, port 1 refuses connections" in text
    assert "Start the server" in text
    assert "skipped models: the check of the connection failed" in text
    assert SECRET not in text + shown
    assert json.loads(shown)["ok"] is False


def test_a_missing_login() -> None:
    """HuggingChat without a cookie: the login is named before anything is sent to it."""
    with Client(token="", cookies="") as client:
        from hfclient.doctor.chat_server import ChatChecks
        from hfclient.doctor.results import run

        result, _ = run("chat", "login", ChatChecks(client, 10).login, 10)
    assert (result.status, "hfclient login" in (result.remedy or "")) == ("failed", True)


def test_options_that_cannot_work() -> None:
    """A mistake in the setting is the command's error."""
    with override_settings(HFCLIENT={"base_ulr": "x"}):
        _, error = _call()
    assert 'did you mean "base_url"?' in str(error)


def test_a_server_that_says_nothing(server: Server) -> None:
    """A check that takes too long is given up, and the others are made."""
    server.on("*", [3.0, json_answer({})])
    with Client(server.url, token="", cookies="", inference_url="http://127.0.0.1:1/v1") as client:
        results = {result.name: result for result in check_connections(client, seconds=0.5)}
    late = results["chat server"]
    assert late == Check("chat", "chat server", "failed", "no answer within 0.5 s", late.remedy, late.seconds)
    assert [results[name].status for name in ("connection", "login", "models", "inference")] == ["ok", "skipped", "skipped", "failed"]


class _Store:
    """A store of runs of the application's own."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def active(self) -> list[str]:
        if self.error is not None:
            raise self.error
        return ["a", "b"]


def test_stores() -> None:
    """The stores of relay and guard are read; an exception of theirs does not get out."""
    from hfclient.web.errors import StoreUnavailable

    with Client("http://127.0.0.1:1", token="", cookies="", inference_url="http://127.0.0.1:1/v1") as client:
        for error, status, detail in (
            (None, "ok", "2 runs are active"),
            (StoreUnavailable("the store is down"), "failed", "the store is down"),
            (RuntimeError(SECRET), "failed", "RuntimeError: see the log of the store"),
        ):
            *_, last = check_connections(client, store=_Store(error))  # type: ignore[arg-type]
            assert (last.name, last.status, last.detail) == ("relay store", status, detail)


def test_a_guard_without_its_store() -> None:
    """The store of a guard is asked, whichever limits there are; a check that is not wanted is not made."""
    pytest.importorskip("redis")
    guard = Guard(store="redis://127.0.0.1:1/0", requests="1/minute")
    with Client("http://127.0.0.1:1", token="", cookies="", inference_url="http://127.0.0.1:1/v1") as client:
        *_, last = results = list(check_connections(client, guard=guard, skip=["installation", "environment", "network", "hub", "inference"]))
    assert {result.group for result in results} == {"chat", "stores"}
    assert (last.status, last.remedy) == ("failed", "Check the URL of the store, and that it runs.")


def test_the_command_line(tmp_path: Path) -> None:
    """manage.py finds the command, and its exit status is that of the checks."""
    site = json.dumps({"hfclient": {"base_url": "http://127.0.0.1:1", "inference_url": "http://127.0.0.1:1/v1", "token": "", "cookies": ""}})
    done = subprocess.run(
        [sys.executable, "-m", "django", "hfclient_check", "--seconds", "5"], check=False, capture_output=True, text=True, cwd=ROOT,
        timeout=PATIENCE * 2,
        env=environment(DJANGO_SETTINGS_MODULE="tests.web.django_site.settings", SITE=site, HFCLIENT_HOME=str(tmp_path)),
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "FAILED" in done.stdout
    assert done.stderr.strip() == "CommandError: failed: connection, inference"


def test_static_files(tmp_path: Path) -> None:
    """The ES module is found by the static tag and collected, without any setting."""
    if not (ROOT / "hfclient" / "web" / "static" / "hfclient" / "hfclient.js").exists():
        pytest.skip("the front end")
    from django.contrib.staticfiles import finders
    from django.template import engines

    found = finders.find("hfclient/hfclient.js")
    assert found == os.path.join(ROOT, "hfclient", "web", "static", "hfclient", "hfclient.js")
    template = engines["django"].from_string("{% load static %}{% static 'hfclient/hfclient.js' %}")
    assert template.render() == "/static/hfclient/hfclient.js"
    with override_settings(STATIC_ROOT=str(tmp_path)):
        call_command("collectstatic", interactive=False, verbosity=0)
    assert (tmp_path / "hfclient" / "hfclient.js").is_file()
