"""A plain answer in one document has the same events and fields as when it is read piece by piece."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hfclient.events import to_dict
from hfclient.inference.completions import deltas
from hfclient.inference.completions.chunks import ChunkDecoder
from hfclient.inference.completions.plain_answers import plain_answer


def document(message: dict[str, Any] | None = None, choice: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """Return an answer with changes."""
    whole = {"role": "assistant", "content": "The capital is Paris.", **(message or {})}
    return {
        "id": "c-1", "object": "chat.completion", "created": 1, "model": "org/m",
        "choices": [{"index": 0, "message": whole, "finish_reason": "stop", **(choice or {})}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}, **fields,
    }


PLAIN = [
    document(),
    document({"content": "Größe \N{SNOWMAN}"}),
    document({"refusal": None, "tool_calls": [], "reasoning_content": None, "annotations": []}),
    document(choice={"finish_reason": "length", "logprobs": None, "stop_reason": None}),
    document(system_fingerprint="fp_1", service_tier="default", prompt_logprobs=None, provider=""),
    document(usage={"prompt_tokens": 3, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 2}, "cost": 0.1}),
    document(usage=None),
    {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]},
]
OTHERS = [
    document({"content": "<think>hm</think>4"}),
    document({"content": "hm</think>4"}),
    document({"content": ""}),
    document({"content": None, "refusal": "No."}),
    document({"content": [{"type": "text", "text": "parts"}]}),
    document({"content": "half \ud83d"}),
    document({"reasoning_content": "hm"}),
    document({"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}, {"finish_reason": "tool_calls"}),
    document({"annotations": [{"url_citation": {"url": "https://e.org"}}]}),
    document(choice={"finish_reason": "error"}),
    document(choice={"finish_reason": None}),
    document(choice={"finish_reason": "end_turn"}),
    document(choice={"index": 1}),
    document(choice={"index": False}),
    document(choice={"logprobs": {"content": [{"token": "The", "logprob": -0.1}]}}),
    document(choices=[]),
    document(error={"message": "overloaded"}),
    document(citations=["https://e.org"]),
    document(id="\ud83d"),
    document(created="now"),
    document(timings={"predicted_ms": 1.5}),
    document(**{"x-router-metadata": {"route": "a", "model": "b"}}),
]


def read(body: bytes) -> Any:
    """Return the events, the fields and the error of an answer."""
    decoder = ChunkDecoder(new_id=lambda: "id")
    events = decoder.feed(body) + decoder.finish()
    error = None
    try:
        decoder.check_end()
    except Exception as caught:
        error = repr(caught)
    return [to_dict(event) for event in events], decoder.fields(), error


@pytest.mark.parametrize("answer", [*PLAIN, *OTHERS])
def test_the_same_events(answer: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A document that is read at once gives the same as one that is read piece by piece."""
    assert (plain_answer(answer) is not None) == any(answer is one for one in PLAIN)  # False == 0
    body = json.dumps(answer).encode()
    quick = read(body)
    monkeypatch.setattr(deltas, "plain_answer", lambda document: None)
    assert quick == read(body)
