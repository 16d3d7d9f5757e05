"""Formats of other libraries: chat completion chunks and the UI message stream, part by part.

The libraries themselves read them in tests/deploy/test_openai.py and tests/deploy/test_ai_sdk.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from hfclient import errors, events
from hfclient.types import Reply
from hfclient.web import problem, sse
from hfclient.web.formats import ChatCompletionChunks, Format, UIMessageStream, chat_completion, error_body
from hfclient.web.source import Entry
from tests.web.sources import Scripted, parsed

Token, Reasoning = events.Token, events.Reasoning
CALL = events.ToolCall("u1", "search", {"q": "x"}, arguments='{"q": "x"}', call_id="call_1")
SOURCES = events.Sources((events.Source("https://a.example/", title="A"), events.Source("javascript:alert(1)"), events.Source("/x")))


def _read(format: Callable[[], Format], *given: Any, error: Exception | None = None) -> list[Any]:
    source = Scripted(*given, end=error is None)
    if error is not None:
        source.say(error)
    found = parsed(b"".join(sse(source, format=format)))
    assert all(list(event) == ["data"] for event in found)
    assert found[-1]["data"] == "[DONE]"
    return [json.loads(event["data"]) for event in found[:-1]]


def test_chunks() -> None:
    """The role comes first, then the deltas, then the reason; all have the same id and model."""
    model = '50%b ""'
    given = [Reasoning("hm"), Token("Hi"), Token(""), Token(' 5%b ""\u2028'), events.Finish("length"), events.Usage(1, 2, 3)]
    chunks = _read(lambda: ChatCompletionChunks(model), *given)
    assert {(chunk["id"], chunk["model"], chunk["object"], chunk["created"]) for chunk in chunks} == {
        (chunks[0]["id"], model, "chat.completion.chunk", chunks[0]["created"])
    }
    assert chunks[0]["id"].startswith("chatcmpl-")
    assert [(chunk["choices"][0]["delta"], chunk["choices"][0]["finish_reason"]) for chunk in chunks] == [
        ({"role": "assistant", "content": ""}, None),
        ({"reasoning_content": "hm"}, None),
        ({"content": "Hi"}, None),
        ({"content": ' 5%b ""\u2028'}, None),
        ({}, "length"),
    ]


def test_chunk_options() -> None:
    """The usage comes on request, the model from the service if none is given, the name of the reasoning as wanted."""
    given = [events.Route(model="served"), Reasoning("hm"), events.Usage(1, 2, 3, cached_tokens=1, reasoning_tokens=2)]
    chunks = _read(lambda: ChatCompletionChunks(include_usage=True, reasoning_field="reasoning", id="i"), *given)
    assert {chunk["model"] for chunk in chunks} == {"served"}
    assert {chunk["id"] for chunk in chunks} == {"i"}
    assert chunks[1]["choices"][0]["delta"] == {"reasoning": "hm"}
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "total_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    assert _read(ChatCompletionChunks)[-1]["model"] == "default"


def test_chunks_of_tools() -> None:
    """Calls that the client has to run are deltas; calls that were run already are left out."""
    done = events.ToolCall("u0", "clock", {})
    given = [done, events.Finish("tool_calls"), events.ToolResult("u0", "success"), Token("a"), CALL, events.Finish("tool_calls")]
    chunks = _read(ChatCompletionChunks, *given)
    assert chunks[-2]["choices"][0]["delta"] == {
        "tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "search", "arguments": '{"q": "x"}'}}]
    }
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    chunks = _read(ChatCompletionChunks, done, events.Finish("tool_calls"), events.ToolError("u0", "no"), Token("a"))
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, "stop"]
    assert "tool_calls" not in json.dumps(chunks)


def test_chunks_of_sources_and_errors() -> None:
    """Sources are annotations, if they are links; an error is an object of its own, without a reason after it."""
    chunks = _read(ChatCompletionChunks, SOURCES, error=errors.RateLimitError("http://10.0.0.1", retry_after=3))
    assert [item["url_citation"]["url"] for item in chunks[1]["choices"][0]["delta"]["annotations"]] == ["https://a.example/"]
    assert chunks[-1] == {
        "error": {"message": problem(errors.RateLimitError()).body["title"], "type": "rate-limited", "param": None, "code": "rate-limited"}
    }
    assert error_body(problem(errors.RateLimitError("told"), details=True))["error"]["message"].endswith(" told")


def test_completion_body() -> None:
    """A reply as one body has text, reasoning, calls, sources and usage."""
    reply = Reply(text="Hi", reasoning="hm", tool_calls=(CALL,), sources=SOURCES.sources, usage=events.Usage(1, 2, 3), model="m")
    body = json.loads(json.dumps(chat_completion(reply)))
    assert body["object"] == "chat.completion"
    assert body["model"] == "m"
    assert body["usage"]["total_tokens"] == 3
    (choice,) = body["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "Hi"
    assert choice["message"]["reasoning_content"] == "hm"
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "search", "arguments": '{"q": "x"}'}
    assert len(choice["message"]["annotations"]) == 1
    done = Reply(text="Hi", tool_calls=(CALL,), tool_results=(events.ToolResult("u1", "success"),), finish_reason="stop")
    choice = chat_completion(done, model="x")["choices"][0]
    assert (choice["finish_reason"], "tool_calls" in choice["message"]) == ("stop", False)
    assert chat_completion(Reply(tool_calls=(CALL,)))["choices"][0]["message"]["content"] is None


@pytest.mark.parametrize("format", [ChatCompletionChunks, UIMessageStream])
@pytest.mark.parametrize(
    ("tokens", "final", "said"),
    [
        (["Hel"], events.FinalAnswer("Hello"), "Hello"),
        ([], events.FinalAnswer("<think>hm</think>\nHello"), "Hello"),
        (["Hello"], events.FinalAnswer("Hello"), "Hello"),
        (["Other"], events.FinalAnswer("Hello"), "Other"),
        (["Hel"], events.FinalAnswer("Hello", interrupted=True), "Hel"),
    ],
)
def test_the_end_that_only_the_final_answer_has(
    format: Callable[[], Format], tokens: list[str], final: events.FinalAnswer, said: str
) -> None:
    """Text that came in no token is written when the final answer has it, and nothing is written twice."""
    parts = _read(format, *map(Token, tokens), final)
    assert _text(parts) == said
    numbered = [Entry(f"r:{number}", event) for number, event in enumerate([*map(Token, tokens), final], 1)]
    assert _text(_read(format, *numbered)) == said
    assert _text(_read(format, Entry("r:7", final))) == ""  # a follower that knows the text already


def _text(parts: list[Any]) -> str:
    return "".join(
        part["choices"][0]["delta"].get("content", "") if "choices" in part else part["delta"] if part["type"] == "text-delta" else ""
        for part in parts
    )


def test_parts() -> None:
    """Reasoning and text are parts with a start and an end; a step encloses them."""
    parts = _read(lambda: UIMessageStream(message_id="m1"), Reasoning("hm"), Token("Hi"), Token(""), Token("!"), events.Finish("length"))
    assert parts == [
        {"type": "start", "messageId": "m1"},
        {"type": "start-step"},
        {"type": "reasoning-start", "id": "reasoning-1"},
        {"type": "reasoning-delta", "id": "reasoning-1", "delta": "hm"},
        {"type": "reasoning-end", "id": "reasoning-1"},
        {"type": "text-start", "id": "text-2"},
        {"type": "text-delta", "id": "text-2", "delta": "Hi"},
        {"type": "text-delta", "id": "text-2", "delta": "!"},
        {"type": "text-end", "id": "text-2"},
        {"type": "finish-step"},
        {"type": "finish", "finishReason": "length"},
    ]
    assert sse(Scripted(), format=UIMessageStream).headers["x-vercel-ai-ui-message-stream"] == "v1"


def test_parts_of_tools() -> None:
    """Calls, results and failures are tool parts; the text after them is another step; a result without a call gets one."""
    parts = _read(
        UIMessageStream,
        Token("a"),
        CALL,
        events.ToolResult("u1", "success", [{"text": "r"}]),
        events.ToolError("u2", "broken"),
        events.ToolResult("u1", "error", message=None),
        Token("b"),
    )
    assert [part["type"] for part in parts] == [
        *("start", "start-step", "text-start", "text-delta", "text-end", "tool-input-available", "tool-output-available"),
        *("tool-input-available", "tool-output-error", "tool-output-error"),
        *("finish-step", "start-step", "text-start", "text-delta", "text-end", "finish-step", "finish"),
    ]
    assert parts[5] == {
        "type": "tool-input-available",
        "toolCallId": "u1",
        "toolName": "search",
        "input": {"q": "x"},
        "dynamic": True,
        "providerExecuted": True,
    }
    assert parts[6]["output"] == [{"text": "r"}]
    assert (parts[7]["toolName"], parts[8]["errorText"], parts[9]["errorText"]) == ("tool", "broken", "The tool failed.")
    own = _read(lambda: UIMessageStream(client_tools=True), CALL, events.Finish("tool_calls"))
    assert own[2] == {"type": "tool-input-available", "toolCallId": "u1", "toolName": "search", "input": {"q": "x"}}
    assert own[-1]["finishReason"] == "tool-calls"


def test_parts_of_links_and_files() -> None:
    """Sources are links of the web only; a file has the application's URL, or is data without the service's."""
    file = events.File("f.png", "5a", "image/png", "http://10.0.0.1/f")
    parts = _read(lambda: UIMessageStream(file_url=lambda file: f"/files/{file.sha}"), SOURCES, file)
    assert parts[2:4] == [
        {"type": "source-url", "sourceId": "source-1", "url": "https://a.example/", "title": "A"},
        {"type": "file", "url": "/files/5a", "mediaType": "image/png"},
    ]
    (part,) = [part for part in _read(UIMessageStream, file) if part["type"] == "data-file"]
    assert part == {"type": "data-file", "data": {"event": "File", "name": "f.png", "sha": "5a", "mime": "image/png"}}


def test_other_parts() -> None:
    """All other events are transient data parts; a question of a tool stays in the message until its answer replaces it."""
    question = events.Elicitation("e1", "s", "form", "Which?")
    parts = _read(UIMessageStream, events.Title("T"), events.ToolProgress("u", 0.5), question, events.ElicitationResolved("e1", "accept"))
    assert parts[2] == {"type": "data-title", "data": {"event": "Title", "title": "T"}, "transient": True}
    assert parts[3]["type"] == "data-tool-progress"
    assert [(part["type"], part["id"], "transient" in part) for part in parts[4:6]] == [("data-elicitation", "e1", False)] * 2


def test_parts_of_failures_and_stops() -> None:
    """A failure is the title of the problem; a stop is ``abort``. Both end the open part."""
    parts = _read(UIMessageStream, Token("a"), error=errors.GenerationError("http://10.0.0.1", status_code=402))
    assert [part["type"] for part in parts][-6:] == ["text-delta", "text-end", "data-problem", "error", "finish-step", "finish"]
    assert parts[-3] == {"type": "error", "errorText": problem(errors.CreditsExhausted()).body["title"]}
    assert parts[-4]["data"]["code"] == "credits-exhausted"
    assert parts[-1]["finishReason"] == "error"
    assert "10.0.0.1" not in json.dumps(parts)
    parts = _read(UIMessageStream, Token("a"), error=errors.Cancelled("stop"))
    assert [part["type"] for part in parts][-3:] == ["text-end", "abort", "finish-step"]


@pytest.mark.parametrize("said", ["\n\ndata: [DONE]\n\n", "\u2028\x00\r", "\ud800", "%b %s", '"}'])
@pytest.mark.parametrize("form", [ChatCompletionChunks, UIMessageStream])
def test_hostile_text(form: Callable[[], Format], said: str) -> None:
    """Text that looks like the framing arrives unchanged, and as nothing else."""
    assert _text(_read(form, Token(said))) == said
    _read(form, Reasoning(said), events.ToolCall(said, said, {said: said}), events.ToolError(said, said), events.Title(said))
