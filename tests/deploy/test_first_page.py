"""The chat in twenty lines of docs/web.rst, with Flask and with Django, as a reader copies it, in Chromium."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gunicorn", reason="gunicorn does not run on this system")
pytest.importorskip("waitress", reason="the embedded server needs the extra: local")
pytest.importorskip("playwright")

from hfclient.local import LocalServer
from tests.deploy.gunicorn import Gunicorn
from tests.deploy.test_flask_chat import Chat, server, upstream
from tests.local.upstream import ScriptedUpstream
from tests.processes.helpers import ROOT, environment

__all__ = ["server", "upstream"]

PAGE = (ROOT / "docs" / "web.rst").read_text("utf-8")


def block(start: str) -> str:
    """The code block of the page whose first line begins with *start*."""
    for found in re.findall(r"^( *)\.\. code-block:: .+\n\n((?:\1 +.*\n|\n)+)", PAGE, re.MULTILINE):
        code = textwrap.dedent(found[1])
        if code.startswith(start):
            return code
    pytest.fail(f"docs/web.rst has no block that begins with {start!r}")


def flask_site(folder: Path) -> str:
    (folder / "app.py").write_text(block("# app.py"))
    return "app:app"


def django_site(folder: Path) -> str:
    def manage(*command: str) -> None:
        subprocess.run([sys.executable, "-m", "django", *command], cwd=folder, check=True, capture_output=True, env=env)

    env = environment(PYTHONPATH=f"{folder}:{ROOT}")
    manage("startproject", "config", ".")
    settings = folder / "config" / "settings.py"
    # Static files come from the web server; the development server's view stands for it.
    serve = 'from django.contrib.staticfiles.urls import staticfiles_urlpatterns\nurlpatterns += staticfiles_urlpatterns()\n'
    settings.write_text(settings.read_text("utf-8") + block("# config/settings.py"))
    (folder / "config" / "urls.py").write_text(block("# config/urls.py") + serve)
    manage("migrate", "--settings", "config.settings")
    return "config.wsgi"


@pytest.mark.parametrize("make", [flask_site, django_site])
def test_twenty_lines(make: Any, page: Any, server: LocalServer, upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """The code of the page is a chat: it shows an answer, continues the conversation, and its buttons hold their words."""
    upstream.say("Hi", ["Hello", " there."])
    upstream.say("And now?", ["More."])
    app = make(tmp_path)
    for path in tmp_path.rglob("*.py"):  # the scripted model instead of the small one
        path.write_text(path.read_text("utf-8").replace("Client.local", "Client"))
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "chat.html").write_text(block("<!doctype html>"))
    with Gunicorn(app, "gthread", tmp_path, workers=1, HFCLIENT_BASE_URL=server.url, PYTHONPATH=f"{tmp_path}:{ROOT}") as site:
        chat = Chat(page, site)
        chat.ask("Hi")
        chat.ends("Hello there.")
        chat.ask("And now?")
        chat.ends("More.")
        assert [message["role"] for message in upstream.requests[-1]["messages"]][-3:] == ["user", "assistant", "user"]
        button = page.locator("button[type=submit]")
        assert button.evaluate("one => one.scrollWidth <= one.clientWidth && one.scrollHeight <= one.clientHeight")
        assert chat.problems == []
