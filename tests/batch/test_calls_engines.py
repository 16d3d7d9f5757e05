"""The kinds of calls in other engines: executors, `BatchCall`, and threads without the extra."""

from __future__ import annotations

import concurrent.futures
import json
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from hfclient import Client
from hfclient.batch import BatchCall
from hfclient.batch import engines as batch_engines
from tests.batch.test_calls_values import CHAT, PNG, Typed, asked, client, embed, says, server  # noqa: F401 (fixtures)
from tests.server import Server, json_answer


@pytest.fixture(params=["greenlets", "threads", "executor"])
def options(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Options of `map` for an engine."""
    if request.param == "threads":
        monkeypatch.setattr(batch_engines, "_transport_for", lambda call: None)
    if request.param == "executor":
        with concurrent.futures.ThreadPoolExecutor(2) as executor:
            yield {"executor": executor}
    else:
        yield {}


def test_engines(client: Client, server: Server, options: dict[str, Any]) -> None:  # noqa: F811
    """Objects, vectors, tools and files come through every engine."""
    import base64

    server.on("/v1/embeddings", [embed])
    server.on("/v1/images/generations", json_answer({"data": [{"b64_json": base64.b64encode(PNG).decode()}]}))
    server.on(CHAT, [lambda request: says(json.dumps({"name": asked(request)}))])
    inference = client.inference
    texts = [f"{'x' * number}" for number in range(1, 51)]
    results = inference.map(texts, "embed", model="m", workers=4, **options).results()
    assert [result.get()[0] for result in results] == [float(number) for number in range(1, 51)]
    assert len(server.requests) < len(texts)
    objects = inference.map(["a", "b"], "parse", into=Typed, model="m", **options).results()
    assert [result.get() for result in objects] == [{"name": "a"}, {"name": "b"}]
    assert [result.reply.usage.total_tokens for result in objects if result.reply and result.reply.usage] == [9, 9]
    assert [result.get().text for result in inference.map(["a"], "run_tools", tools=[len], model="m", **options)] == ['{"name": "a"}']
    assert [result.get().content for result in inference.map(["a"], "image", model="m", **options)] == [PNG]


def test_rows_of_other_engines(server: Server) -> None:  # noqa: F811
    """`BatchCall` takes the calls too, also from a pickle."""
    server.on("/v1/embeddings", [embed])
    server.on(CHAT, [lambda request: says(json.dumps({"name": asked(request)}))])
    url = f"{server.url}/v1"
    embeds = pickle.loads(pickle.dumps(BatchCall("embed", inference_url=url, model="m")))
    vectors = embeds({"prompt": ["a", "bb"]})
    assert vectors["answer"] == [[1.0, 0.1], [2.0, 0.1]]
    parses = BatchCall("parse", into=Typed, inference_url=url, model="m")
    objects = parses({"prompt": ["a"]})
    assert objects["answer"] == ['{"name":"a"}']
    assert objects["tokens"] == [9]
    embeds.close()
    parses.close()
