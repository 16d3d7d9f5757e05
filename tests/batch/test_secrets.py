"""Secrets and prompts in what a batch writes to a disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from hfclient import Client
from hfclient.batch import read_results
from tests.server import Recorded, Server, json_answer

TOKEN = "hf_" + "kEy7" * 9
QUESTION = "a private question"


def answer(request: Recorded) -> bytes:
    """Answer; refuse a prompt with "wrong" in it, and repeat the token."""
    if b"wrong" in request.body:
        return json_answer({"error": {"message": f"{request.headers['authorization']} may not do this"}}, 400)
    message = {"role": "assistant", "content": "Paris."}
    return json_answer({"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})


@pytest.mark.parametrize("ending", ["jsonl", "sqlite"])
def test_a_checkpoint_has_no_secret(tmp_path: Path, ending: str) -> None:
    """A checkpoint has no token, also if the server repeats it in an error, and inputs only as hashes."""
    path = tmp_path / f"answers.{ending}"
    with Server() as server:
        server.on("/v1/chat/completions", [answer])
        with Client(server.url, token=TOKEN, cookies="", session="", inference_url=f"{server.url}/v1") as client:
            client.inference.map([QUESTION, "wrong"], model="m", checkpoint=path).results()
        assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
    right, wrong = sorted(read_results(path), key=lambda result: result.index)
    assert right.value.text == "Paris."
    assert "may not do this" in str(wrong.error)
    for file in tmp_path.iterdir():
        content = file.read_bytes()
        assert TOKEN.encode() not in content
        assert QUESTION.encode() not in content
