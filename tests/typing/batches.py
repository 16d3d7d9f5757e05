"""The calls of batches that users write, as mypy sees them. Never run."""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import Unpack, assert_type

from hfclient import Client, Reply, events
from hfclient.batch import Batch, BatchResult
from hfclient.batch.call_options import MapChatOptions


@dataclass
class City:
    name: str


def batches(client: Client) -> None:
    """The options of a batch and of its call are accepted with their types; a batch yields results."""
    inference = client.inference
    assert_type(inference.map(["hi"], model="m", workers=4, ordered=False, errors="raise", checkpoint="a.jsonl", seed=1), Batch)
    assert_type(inference.map(["hi"], "parse", into=City, repair=2, progress=False), Batch)
    assert_type(inference.map(["hi"], "run_tools", tools=[len], max_rounds=2), Batch)
    assert_type(inference.map(["hi"], "embed", batch_size=8, template="query: {text}"), Batch)
    assert_type(inference.map(["hi"], "classify", labels=["a"], top_k=1), Batch)
    assert_type(inference.map([b"x"], "caption", max_new_tokens=5), Batch)
    assert_type(inference.map([b"x"], "transcribe", language="en"), Batch)
    assert_type(inference.map(["hi"], "image", width=64, height=64), Batch)
    assert_type(inference.map(["hi"], "speak", voice="a"), Batch)
    assert_type(inference.map(["hi"], "task", name="fill-mask", targets=["a"]), Batch)
    assert_type(client.map(["hi"], model="m", system_prompt="Be terse.", temporary=True, workers=2, mcp="all"), Batch)
    for result in client.map(["hi"]):
        assert_type(result, BatchResult)
        assert_type(result.usage, events.Usage | None)
        assert_type(result.reply, Reply | None)


def options_of_batches(client: Client, **options: Unpack[MapChatOptions]) -> Batch:
    """A wrapper takes the same options; an option of another call, or of another type, is an error."""
    inference = client.inference
    inference.map(["hi"], tempreature=0)  # type: ignore[call-overload]
    inference.map(["hi"], workers="8")  # type: ignore[call-overload]
    inference.map(["hi"], "embed", temperature=0)  # type: ignore[call-overload]
    inference.map(["hi"], "parse")  # type: ignore[call-overload]
    inference.map(["hi"], "rerank")  # type: ignore[call-overload]
    client.map(["hi"], on_close="stop")  # type: ignore[call-arg]
    client.map(["hi"], temporary="yes")  # type: ignore[arg-type]
    return inference.map(["hi"], **options)
