"""The real ``openai`` package reads our view in a real gunicorn: streams, whole answers, tools, usage, errors, time limits."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.chat.replay import wait_until
from tests.deploy.web_servers import gunicorn
from tests.processes.helpers import PromptedChatUI, text_for
from tests.services import REQUIRED

if REQUIRED:
    import openai
else:
    openai = pytest.importorskip("openai")
pytest.importorskip("gunicorn")
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def upstream() -> Iterator[PromptedChatUI]:
    """A chat-ui behind the application."""
    with PromptedChatUI() as ui:
        yield ui


@pytest.fixture(scope="module")
def url(upstream: PromptedChatUI) -> Iterator[str]:
    """The URL of the application."""
    with gunicorn("tests.deploy.formats_app:app", UPSTREAM=upstream.url) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[Any]:
    """The client of the real package."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0, timeout=60) as client:
        yield client


def ask(client: Any, prompt: str, **options: Any) -> Any:
    """Ask for a completion."""
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": prompt}], **options)


def test_a_stream(client: Any) -> None:
    """Chunks with text, reasoning, sources and usage; tools that the server ran are not asked of the client."""
    from tests.deploy.formats_app import HOSTILE

    chunks = list(ask(client, "all of it", stream=True, stream_options={"include_usage": True}))
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert deltas[0].role == "assistant"
    text = "".join(delta.content or "" for delta in deltas)
    assert text == "Let me look. Here: " + HOSTILE.encode("utf-16", "surrogatepass").decode("utf-16")
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == "I think."
    assert [delta.tool_calls for delta in deltas if delta.tool_calls] == []
    assert [delta.annotations[0]["url_citation"]["url"] for delta in deltas if hasattr(delta, "annotations")] == ["https://a.example/"]
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 3
    assert {chunk.model for chunk in chunks} == {"m"}
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_without_usage(client: Any) -> None:
    """A client that did not ask for the usage finds a choice in each chunk; the package's own helper puts them together."""
    assert all(chunk.choices for chunk in ask(client, "all of it", stream=True))
    with client.chat.completions.stream(model="m", messages=[{"role": "user", "content": "count a"}]) as stream:
        completion = stream.get_final_completion()
    assert completion.choices[0].message.content == text_for("count a")


def test_calls_of_tools(client: Any) -> None:
    """Calls that the client has to run come with the reason "tool_calls", in a stream and in a whole answer."""
    with client.chat.completions.stream(model="m", messages=[{"role": "user", "content": "calls"}]) as stream:
        (streamed,) = stream.get_final_completion().choices
    (whole,) = ask(client, "calls").choices
    for choice in (streamed, whole):
        assert choice.finish_reason == "tool_calls"
        assert [(call.function.name, call.function.arguments) for call in choice.message.tool_calls] == [("search", '{"q": "x"}')]


def test_a_whole_answer(client: Any) -> None:
    """Without ``stream`` there is one body."""
    completion = ask(client, "count b")
    assert completion.object == "chat.completion"
    assert completion.choices[0].message.content == text_for("count b")
    assert completion.choices[0].finish_reason == "stop"


def test_errors(client: Any) -> None:
    """A refusal has its status and class, a failure in mid-answer is raised there, and neither shows internals."""
    for stream in (True, False):
        with pytest.raises(openai.RateLimitError) as caught:
            ask(client, "refuse", stream=stream)
        assert caught.value.code == "rate-limited"
        assert caught.value.response.headers["retry-after"] == "1"
        assert "10.0.0.1" not in str(caught.value)
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="m", messages=[])
    stream = ask(client, "break", stream=True)
    assert [next(stream).choices[0].delta.content for _ in range(2)] == ["", "half"]
    with pytest.raises(openai.APIError, match="no credits left") as broken:
        next(stream)
    assert broken.value.code == "credits-exhausted"
    with pytest.raises(openai.APIError):
        list(ask(client, "fail", stream=True))


def test_the_client_retries(url: str) -> None:
    """The client waits and repeats a refused request, as its own retries say."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=1, timeout=60) as client, pytest.raises(openai.RateLimitError):
        ask(client, "refuse", stream=True)


def test_leaving(client: Any, url: str, upstream: PromptedChatUI) -> None:
    """A client that leaves a silent answer, or whose time is up, leaves it on the server, too."""

    def left() -> int:
        with urllib.request.urlopen(f"{url}/left", timeout=60) as response:
            return int(response.read())

    before = left()
    stream = ask(client, "silent", stream=True)
    next(stream)
    stream.close()
    wait_until(lambda: left() == before + 1)
    stream = ask(client, "hold on", stream=True)
    next(stream)
    stream.close()
    wait_until(lambda: len(upstream.stops_for("hold on")) == 1)
    upstream.go.set()


def test_a_silent_model_outlasts_the_time_limit_of_the_client(url: str) -> None:
    """The client's limit is for the time between two reads; heartbeats are read, so a model may be silent for longer."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0, timeout=3.0) as hurried:
        chunks = list(ask(hurried, "slow", stream=True))
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "half", "late", None]
