"""The meaning of a finish_reason: a normal end, a cut-off answer, or a failure.

Servers use many words for the same end. These are from the API pages and sources of OpenAI, Anthropic, Bedrock,
Cohere, DeepSeek, Fireworks, Gemini, Mistral, OpenRouter, Z.AI, llama.cpp, SGLang, text-generation-inference and vLLM.

Reference: docs/protocol/inference ("stream chunks").
"""

from __future__ import annotations

import re

__all__ = ["STOPS", "has_failed", "is_cut", "normal_reason"]

STOPS = frozenset({"stop", "tool_calls"})
"""The normal ends in OpenAI's spelling: the answer is complete."""

_NORMAL = {
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "complete": "stop",  # Cohere
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",  # Mistral
    "function_call": "tool_calls",
    "tool_call": "tool_calls",
    "tool_use": "tool_calls",
}
# The answer is cut off, but the server did not fail: a limit, a filter. Other words of this kind stay as they are.
_CUTS = re.compile(
    r"length|max_?tokens|token_?limit|context_?window|filter|sensitive|safety|refus|guardrail|prohibited|blocklist|"
    r"recitation|spii|incomplete|truncat",
    re.IGNORECASE,
)
# The server, or its backend, failed. "error" (OpenRouter, Mistral, Fireworks), "network_error" (Z.AI), "abort" (vLLM,
# SGLang), "insufficient_system_resource" (DeepSeek), "ERROR_TOXIC", "USER_CANCEL", "TIMEOUT" (Cohere),
# "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL" (Gemini), "malformed_model_output" (Bedrock), "time_limit" (watsonx).
_FAILURES = re.compile(
    r"error|fail|abort|cancel|time_?d?_?out|time_limit|insufficient|malformed|network|interrupt|preempt|overload|"
    r"unavailable|disconnect|exhausted|rate_?limit|unexpected_tool_call|too_many_tool_calls|missing_thought_signature",
    re.IGNORECASE,
)


def normal_reason(reason: str) -> str:
    """Return OpenAI's spelling of a finish_reason; an unknown one is returned as it is.

    >>> normal_reason("end_turn"), normal_reason("STOP"), normal_reason("sensitive")
    ('stop', 'stop', 'sensitive')
    """
    lower = reason.lower()
    if lower in _NORMAL:
        return _NORMAL[lower]
    return lower if lower in ("stop", "length", "tool_calls", "content_filter") else reason


def has_failed(reason: str) -> bool:
    """Return whether this finish_reason means that the server failed.

    >>> has_failed("network_error"), has_failed("length"), has_failed("a_new_word")
    (True, False, False)
    """
    return normal_reason(reason) == reason and bool(_FAILURES.search(reason))


def is_cut(reason: str | None) -> bool:
    """Return whether this finish_reason means that the answer is cut off, by a limit or a filter.

    >>> is_cut("length"), is_cut("sensitive"), is_cut("stop"), is_cut(None)
    (True, True, False, False)
    """
    return reason is not None and bool(_CUTS.search(reason))
