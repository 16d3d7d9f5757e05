"""Streams under a real uvicorn: a hundred on one loop, browsers that leave, and browsers that are slow."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.chat.replay import wait_until
from tests.deploy.web_servers import uvicorn
from tests.processes.helpers import PromptedChatUI, text_for
from tests.web.sources import parsed

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def upstream() -> Iterator[PromptedChatUI]:
    """A chat-ui behind the application."""
    with PromptedChatUI() as ui:
        yield ui
        ui.go.set()


@pytest.fixture
def url(upstream: PromptedChatUI) -> Iterator[str]:
    """The URL of the application."""
    with uvicorn("tests.deploy.asgi_app:app", UPSTREAM=upstream.url) as url:
        yield url


def get(url: str, path: str, **query: str) -> bytes:
    """Return the body of a response."""
    with urllib.request.urlopen(f"{url}{path}?{urllib.parse.urlencode(query)}", timeout=60) as response:
        body: bytes = response.read()
        return body


def state(url: str) -> dict[str, Any]:
    """Return what the loop and the sources have done."""
    found: dict[str, Any] = json.loads(get(url, "/state"))
    return found


@contextlib.contextmanager
def browser(url: str, prompt: str) -> Iterator[socket.socket]:
    """Open a stream whose body the test reads by hand."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as sock:
        sock.sendall(f"GET /chat?prompt={urllib.parse.quote(prompt)} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        yield sock


def test_a_hundred_streams(url: str, upstream: PromptedChatUI) -> None:
    """A hundred answers at once on one loop: while all are open the loop serves other requests, and each is complete."""
    answers: dict[int, bytes] = {}

    def read(number: int) -> None:
        answers[number] = get(url, "/chat" if number % 2 else "/words", prompt=f"hold {number}")

    threads = [threading.Thread(target=read, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(upstream.begun) == 100)
    before = state(url)["turns"]
    wait_until(lambda: state(url)["turns"] > before + 20)
    upstream.go.set()
    for thread in threads:
        thread.join(60)
    for number in range(100):
        text = answers[number].decode()
        if number % 2:
            found = [json.loads(event["data"]) for event in parsed(answers[number]) if "id" in event]
            text = "".join(event["text"] for event in found if event["event"] == "Token")
            assert parsed(answers[number])[-1] == {"event": "end", "data": '{"status":"completed"}'}
        assert text == text_for(f"hold {number}")


def test_a_browser_leaves_while_the_model_is_silent(url: str, upstream: PromptedChatUI) -> None:
    """The source is left at a heartbeat, and the generation is stopped on its server."""
    with browser(url, "silent") as sock:
        while b": ping" not in sock.recv(4096):
            pass
    wait_until(lambda: state(url)["closed"] == 1)
    with browser(url, "hold a") as sock:
        upstream.wait_for_prompt("hold a")
        while b"Token" not in sock.recv(4096):
            pass
    wait_until(lambda: len(upstream.stops_for("hold a")) == 1)
    with browser(url, "mute a") as sock:  # the service has not answered yet
        while b": ping" not in sock.recv(4096):
            pass
    wait_until(lambda: len(upstream.stops_for("mute a")) == 1)


def test_a_slow_browser(url: str) -> None:
    """A browser that does not read slows its source down: nothing piles up in the application."""
    with browser(url, "endless") as sock:
        assert sock.recv(1)
        counts = [0, state(url)["read"]]
        while counts[-1] != counts[-2]:
            assert counts[-1] < 30_000  # kilobytes; the buffers of the system hold a few thousand
            time.sleep(0.5)
            counts.append(state(url)["read"])
        assert state(url)["closed"] == 0
    wait_until(lambda: state(url)["closed"] == 1)
