"""The real client of the Vercel AI SDK (npm packages ``ai`` and ``@ai-sdk/react``) reads our view in a real gunicorn."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hfclient.events import to_dict
from tests.chat.replay import wait_until
from tests.deploy.web_servers import gunicorn
from tests.processes.helpers import PromptedChatUI, text_for
from tests.services import find, missing

pytest.importorskip("gunicorn")
pytestmark = pytest.mark.timeout(240)

PACKAGES = ("ai@6", "@ai-sdk/react@3", "react@19")
Send = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the npm packages and the program that uses them."""
    npm = find("npm", package="npm")
    folder = tmp_path_factory.mktemp("ai-sdk")
    (folder / "package.json").write_text('{"private": true}', "utf-8")
    install = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", *PACKAGES]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True, check=False, timeout=200)
    if done.returncode:
        missing(f"npm packages {' '.join(PACKAGES)} ({done.stderr.strip()[-300:]})")
    shutil.copy(Path(__file__).with_name("ai_sdk_client.mjs"), folder)
    return folder


@pytest.fixture(scope="module")
def upstream() -> Iterator[PromptedChatUI]:
    """A chat-ui behind the application."""
    with PromptedChatUI() as ui:
        yield ui


@pytest.fixture(scope="module")
def url(upstream: PromptedChatUI) -> Iterator[str]:
    """The URL of the application."""
    with gunicorn("tests.deploy.formats_app:app", UPSTREAM=upstream.url) as url:
        yield url


@pytest.fixture(scope="module")
def send(folder: Path, url: str) -> Send:
    """Send prompts, each in a chat of its own; returns what the client has of each answer."""
    node = find("node", package="nodejs")

    def send(*prompts: str) -> list[dict[str, Any]]:
        command = [node, "ai_sdk_client.mjs", f"{url}/ai", *prompts]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=100)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.strip().split("\n")]

    return send


def _parts(answer: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [part for part in answer["message"]["parts"] if part["type"] == kind]


def _left(url: str) -> int:
    with urllib.request.urlopen(f"{url}/left", timeout=60) as response:
        return int(response.read())


def test_every_kind_of_part(send: Send) -> None:
    """Text, reasoning, tools with results and errors, sources, files, data: the client has them all, in their order."""
    from tests.deploy.formats_app import ANSWER, HOSTILE

    (answer,) = send("all of it")
    assert (answer["status"], answer["error"]) == ("ready", None)
    assert answer["finished"] == {"isAbort": False, "isError": False, "finishReason": "stop"}
    assert answer["message"]["id"] == "from-server"
    assert [part["type"] for part in answer["message"]["parts"]] == [
        *("step-start", "reasoning", "text", "dynamic-tool", "dynamic-tool", "source-url", "file", "data-elicitation"),
        *("step-start", "text"),
    ]
    assert [(part["text"], part["state"]) for part in _parts(answer, "reasoning")] == [("I think.", "done")]
    first, second = _parts(answer, "text")
    assert (first["text"], first["state"]) == ("Let me look. ", "done")
    assert second["text"] == "Here: " + HOSTILE.encode("utf-16", "surrogatepass").decode("utf-16")
    search, broken = _parts(answer, "dynamic-tool")
    assert (search["toolName"], search["input"], search["state"], search["output"]) == (
        "search",
        {"q": "x"},
        "output-available",
        [{"text": "found"}],
    )
    assert (broken["state"], broken["errorText"]) == ("output-error", "no such page")
    assert [(part["url"], part["title"]) for part in _parts(answer, "source-url")] == [("https://a.example/", "A")]
    assert [(part["url"], part["mediaType"]) for part in _parts(answer, "file")] == [("/files/5a", "image/png")]
    assert [part["type"] for part in answer["data"]] == [
        *("data-status", "data-title", "data-route", "data-tool-progress", "data-elicitation", "data-usage")
    ]
    assert answer["data"][1]["data"] == to_dict(ANSWER[1])
    assert answer["toolCalls"] == []  # the server ran them


def test_a_real_answer(send: Send) -> None:
    """An answer of a chat-ui is complete, and a file that was posted reaches the application."""
    first, second = send("count one", "file count two")
    assert _parts(first, "text")[0]["text"] == text_for("count one")
    assert _parts(second, "text")[0]["text"] == text_for("count two 1")


def test_failures(send: Send) -> None:
    """A failure in mid-answer, a refusal before it, and a body that is not a chat are errors of the client, without internals."""
    broken, refused, failed = send("break off", "refuse this", "fail now")
    assert broken["status"] == "error"
    assert broken["error"] == "The service has no credits left."
    assert _parts(broken, "text")[0]["text"] == "half"
    assert [part["data"]["code"] for part in broken["data"]] == ["credits-exhausted"]
    assert refused["status"] == "error"
    problem = json.loads(refused["error"])  # the client shows the body of a response that is not ok
    assert (problem["status"], problem["code"], problem["retry_after"]) == (429, "rate-limited", 1)
    assert failed["status"] == "error"
    assert "10.0.0.1" not in json.dumps([broken, refused, failed])


def test_stops(send: Send, url: str, upstream: PromptedChatUI) -> None:
    """A client that stops leaves the answer, also while the model is silent; an answer that was stopped elsewhere ends in good order."""
    before = _left(url)
    left, stopped = send("leave silent", "stopped elsewhere")
    assert left["finished"]["isAbort"]
    assert _parts(left, "text")[0]["text"] == "half"
    assert (stopped["status"], stopped["error"]) == ("ready", None)
    wait_until(lambda: _left(url) == before + 2)
    send("leave hold it")
    wait_until(lambda: len(upstream.stops_for("hold it")) == 1)
    upstream.go.set()


def test_a_page_that_is_loaded_again(send: Send, url: str, upstream: PromptedChatUI) -> None:
    """``resumeStream`` reads the running answer of a relay from its beginning, to its end; nothing is asked twice."""
    upstream.go.clear()

    def resumed() -> bool:
        with urllib.request.urlopen(f"{url}/resumed", timeout=60) as response:
            return int(response.read()) == 1

    def finish() -> None:
        wait_until(resumed)
        upstream.go.set()

    thread = threading.Thread(target=finish)
    thread.start()
    try:
        (answer,) = send("resume hold run")
    finally:
        thread.join()
    assert (answer["status"], answer["error"]) == ("ready", None)
    assert _parts(answer, "text")[0]["text"] == text_for("hold run")
    assert upstream.begun.count("hold run") == 1
