"""The fault server itself."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any

import pytest

from hfclient import Client
from tests.batch.fault_server import FaultServer


def ask(server: FaultServer, prompt: str) -> Any:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": prompt}]}).encode()
    request = urllib.request.Request(f"{server.url}/chat/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def test_counts_and_limits() -> None:
    """It counts prompts, refuses above the limit with the time to wait, and hfclient reads its answers and streams."""
    with FaultServer(limit=3, window=60) as server:
        with Client(server.url, token="", cookies="", session="", inference_url=server.url) as client:
            assert client.inference.ask("one", model="m").text == "ONE"
            assert client.inference.chat("two", model="m").result().text == "TWO"
        assert ask(server, "two")["choices"][0]["message"]["content"] == "TWO"
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(server, "three")
        caught.value.close()
        assert 55 <= int(caught.value.headers["Retry-After"]) <= 60
        assert server.asked == {"one": 1, "two": 2, "three": 1}
        assert server.answered == {"one": 1, "two": 2}
        assert server.outcomes == {"200": 3, "429": 1}


@pytest.mark.parametrize("fault", ["503", "reset", "cut", "garbage"])
def test_faults(fault: str) -> None:
    """Each fault happens as often as it may for one prompt, and then the prompt is answered."""
    with FaultServer(faults={fault: 1.0}, most_faults=1) as server:
        with pytest.raises((OSError, ValueError, http.client.HTTPException)) as caught:
            ask(server, "hi")
        if isinstance(caught.value, urllib.error.HTTPError):
            caught.value.close()
        assert ask(server, "hi")["choices"]
        assert server.outcomes == {fault: 1, "200": 1}


def test_dies_and_comes_back() -> None:
    """A server that died refuses connections, and answers again at the same port after its restart."""
    with FaultServer() as server:
        ask(server, "one")
        server.die()
        with pytest.raises(OSError, match="refused"):
            ask(server, "two")
        server.restart()
        ask(server, "three")
        assert server.answered == {"one": 1, "three": 1}


def test_process_of_its_own() -> None:
    """As a program it prints its URL, and other processes read its counts."""
    with subprocess.Popen([sys.executable, "-m", "tests.batch.fault_server", "--fault", "503=0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with urllib.request.urlopen(f"{url}/counts") as answer:
            assert json.load(answer)["asked"] == {}
        process.terminate()
