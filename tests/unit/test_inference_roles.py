"""Messages as objects: each converts to one dict, and dicts stay unchanged."""

from __future__ import annotations

from typing import Any

import pytest

from hfclient.errors import InvalidInputError
from hfclient.events import ToolCall, ToolError, ToolResult
from hfclient.inference.completions.messages import build_messages
from hfclient.inference.completions.roles import AssistantMessage, SystemMessage, ToolMessage, UserMessage
from hfclient.types import Message, Reply

CALL = ToolCall("a", "add", {"x": 1}, '{"x":1}')
WIRE = {"id": "a", "type": "function", "function": {"name": "add", "arguments": '{"x":1}'}}


class Foreign:
    """A message of another library."""

    def model_dump(self, exclude_none: bool = False) -> dict[str, Any]:
        return {"role": "assistant", "content": "hi", "refusal": None} if not exclude_none else {"role": "assistant", "content": "hi"}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (SystemMessage("Be terse."), {"role": "system", "content": "Be terse."}),
        (UserMessage("hi"), {"role": "user", "content": "hi"}),
        (UserMessage("hi", name="Ada"), {"role": "user", "content": "hi", "name": "Ada"}),
        (UserMessage([{"type": "text", "text": "hi"}]), {"role": "user", "content": [{"type": "text", "text": "hi"}]}),
        (AssistantMessage("hi"), {"role": "assistant", "content": "hi"}),
        (AssistantMessage("hi", reasoning="hm"), {"role": "assistant", "content": "hi"}),
        (AssistantMessage(tool_calls=[CALL]), {"role": "assistant", "content": "", "tool_calls": [WIRE]}),
        (AssistantMessage(tool_calls=[ToolCall("a", "add", {"x": 1})]), {"role": "assistant", "content": "", "tool_calls": [WIRE]}),
        (ToolMessage({"sum": 3}, "a"), {"role": "tool", "tool_call_id": "a", "content": '{"sum":3}'}),
        (ToolMessage("3", "a"), {"role": "tool", "tool_call_id": "a", "content": "3"}),
        (Reply("hi", "hm"), {"role": "assistant", "content": "hi"}),
        (Reply(tool_calls=(CALL,)), {"role": "assistant", "content": "", "tool_calls": [WIRE]}),
        (Reply("hi", tool_calls=(CALL,), tool_results=(ToolResult("a", "success"),)), {"role": "assistant", "content": "hi"}),
        (Reply("hi", tool_calls=(CALL,), tool_errors=(ToolError("a", "no"),)), {"role": "assistant", "content": "hi"}),
        (Message(id="1", role="user", content="hi", reasoning="hm"), {"role": "user", "content": "hi"}),
        (Foreign(), {"role": "assistant", "content": "hi"}),
        (
            {"role": "user", "content": "hi", "extra_body": {"custom": 1}},
            {"role": "user", "content": "hi", "custom": 1},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_messages(message: Any, expected: dict[str, Any]) -> None:
    """Objects and dicts may be in one list."""
    first = {"role": "user", "content": "first"}
    assert build_messages([first, message, first]) == [first, expected, first]


def test_reasoning_is_kept_on_demand() -> None:
    """Reasoning is sent only if requested."""
    for message in (AssistantMessage("hi", reasoning="hm"), Reply("hi", "hm")):
        kept = build_messages([UserMessage("a"), message, UserMessage("b")], keep_reasoning=True)
        assert kept[1] == {"role": "assistant", "content": "hi", "reasoning_content": "hm"}


def test_invalid_messages() -> None:
    """Anything else is refused with its position."""
    for wrong in (5, "text", object(), ["user", "hi"], None):
        with pytest.raises(InvalidInputError, match=r"messages\[1\]"):
            build_messages([UserMessage("hi"), wrong])
    with pytest.raises(InvalidInputError):
        build_messages(UserMessage("hi"))  # type: ignore[arg-type]
