"""`InferenceClient.map`: a batch over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client
from hfclient.errors import InvalidInputError
from tests.server import Recorded, Server, json_answer


def echo(request: Recorded) -> bytes:
    """Answer with the prompt, in capitals."""
    prompt = request.json()["messages"][0]["content"]
    message = {"role": "assistant", "content": prompt.upper()}
    return json_answer({"id": "c", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})


def test_results_in_order(tmp_path: Path) -> None:
    """Results come in the order of the items; a second run takes all of them from the checkpoint."""
    prompts = [f"prompt {number}" for number in range(50)]
    with Server() as server:
        server.on("/v1/chat/completions", [echo])
        with Client(server.url, token="", cookies="", session="", inference_url=f"{server.url}/v1") as client:
            for stored in (False, True):
                results = list(client.inference.map(prompts, model="m", workers=8, checkpoint=tmp_path / "out.jsonl"))
                assert [result.value.text for result in results] == [prompt.upper() for prompt in prompts]
                assert {result.stored for result in results} == {stored}
        assert len(server.requests) == len(prompts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers"),
        ({"workers": "8"}, "workers must be a whole number"),
        ({"errors": "ignore"}, "errors is"),
        ({"call": "chatt"}, "chatt"),
        ({"call": ["a"]}, "comes after the items"),
        ({"checkpoint": True}, r"checkpoint= is a path such as .*, not True"),
        ({"checkpoint": "out"}, "checkpoint='out' has no known ending"),
        ({"cache": "out"}, "cache='out' has no known ending"),
        ({"executor": "ray"}, "executor= is an executor"),
    ],
)
def test_mistakes_raise_at_the_call(options: dict[str, Any], message: str) -> None:
    """An option of another type raises at ``map``, before anything is read or sent."""

    def unread() -> Iterator[str]:
        raise AssertionError("the items are not read")
        yield ""

    client = Client("http://127.0.0.1:1", token="", cookies="", session="", inference_url="http://127.0.0.1:1/v1")
    with client, pytest.raises(InvalidInputError, match=message):
        client.inference.map(unread(), model="m", **options)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("max_workers", "did you mean workers?"),
        ("n_jobs", "did you mean workers?"),
        ("output", 'did you mean checkpoint="answers.jsonl"?'),
        ("rpm", 'did you mean rate="500/minute"?'),
        ("tpm", 'did you mean tokens="100000/minute"?'),
        ("return_exceptions", 'did you mean errors="raise"?'),
        ("prompts", "the items are the first argument"),
        ("batch_size", "workers= is how many are in flight"),
        ("base_url", "inference_url="),
    ],
)
def test_names_of_other_libraries(name: str, hint: str) -> None:
    """An option by its name in another library: the error says what it is called here."""
    client = Client("http://127.0.0.1:1", token="", cookies="", session="", inference_url="http://127.0.0.1:1/v1")
    with client, pytest.raises(TypeError) as caught:
        client.inference.map(["a"], model="m", **{name: 4})
    assert hint in str(caught.value)


@pytest.mark.parametrize("name", ["prompts.json", "data/prompts.xlsx"])
def test_files_that_are_not_read(name: str) -> None:
    """The name of a file of another kind is not taken for a prompt."""
    client = Client("http://127.0.0.1:1", token="", cookies="", session="", inference_url="http://127.0.0.1:1/v1")
    with client, pytest.raises(InvalidInputError, match=r"files that end in \.jsonl, .*, not .*; load it"):
        client.inference.map(name, model="m")


def test_items_that_cannot_be_read(tmp_path: Path) -> None:
    """A wrong item of a generator is a failed result; a wrong line of a file is an error before the first request."""
    with Server() as server:
        server.on("/v1/chat/completions", [echo])
        with Client(server.url, token="", cookies="", session="", inference_url=f"{server.url}/v1") as client:
            batch = client.inference.map((item for item in ["a", {"label": 1}, "b"]), model="m")
            first, wrong, last = batch
            assert (first.get().text, last.get().text) == ("A", "B")
            assert (wrong.index, wrong.attempts, wrong.input) == (1, 0, {"label": 1})
            assert batch.errors == [wrong]
            path = tmp_path / "in.jsonl"
            path.write_text('{"text": "c"}\n{"text": "d"\n')
            with pytest.raises(InvalidInputError, match="line 2"):
                client.inference.map(path, model="m")
            path.write_text('{"text": "c", "label": 1}\n')
            (only,) = client.inference.map(path, model="m", template="say {text}")
            assert only.get().text == "SAY C"
        assert len(server.requests) == 3
