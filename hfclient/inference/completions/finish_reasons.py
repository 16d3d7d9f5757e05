"""What a finish_reason says about an answer: a good end, a cut, or a failure.

Servers have many words for the same end. Those below are from the API pages and sources of OpenAI, Anthropic, Bedrock,
Cohere, DeepSeek, Fireworks, Gemini, Mistral, OpenRouter, Z.AI, llama.cpp, SGLang, text-generation-inference and vLLM.

Reference: docs/protocol/inference ("stream chunks").
"""

from __future__ import annotations

import re

__all__ = ["STOPS", "has_failed", "is_cut", "normal_reason"]

STOPS = frozenset({"stop", "tool_calls"})
"""The good ends, in their normal spelling: the model said all that it wanted to say."""

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
# What ended before its end through no fault of the server: a limit, a filter. Other words of this kind stay as they are.
_CUTS = re.compile(
    r"length|max_?tokens|token_?limit|context_?window|filter|sensitive|safety|refus|guardrail|prohibited|blocklist|"
    r"recitation|spii|incomplete|truncat",
    re.IGNORECASE,
)
# The server, or what it asked, gave up. "error" (OpenRouter, Mistral, Fireworks), "network_error" (Z.AI), "abort" (vLLM,
# SGLang), "insufficient_system_resource" (DeepSeek), "ERROR_TOXIC", "USER_CANCEL", "TIMEOUT" (Cohere),
# "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL" (Gemini), "malformed_model_output" (Bedrock), "time_limit" (watsonx).
_FAILURES = re.compile(
    r"error|fail|abort|cancel|time_?d?_?out|time_limit|insufficient|malformed|network|interrupt|preempt|overload|"
    r"unavailable|disconnect|exhausted|rate_?limit|unexpected_tool_call|too_many_tool_calls|missing_thought_signature",
    re.IGNORECASE,
)


def normal_reason(reason: str) -> str:
    """Return the usual spelling of a finish_reason; one that is not known is returned as it is.

    >>> normal_reason("end_turn"), normal_reason("STOP"), normal_reason("sensitive")
    ('stop', 'stop', 'sensitive')
    """
    lower = reason.lower()
    if lower in _NORMAL:
        return _NORMAL[lower]
    return lower if lower in ("stop", "length", "tool_calls", "content_filter") else reason


def has_failed(reason: str) -> bool:
    """Tell whether an answer with this end is none: the server gave up.

    >>> has_failed("network_error"), has_failed("length"), has_failed("a_new_word")
    (True, False, False)
    """
    return normal_reason(reason) == reason and bool(_FAILURES.search(reason))


def is_cut(reason: str | None) -> bool:
    """Tell whether an answer with this end is known to lack its rest: a limit was reached, or a filter took it away.

    >>> is_cut("length"), is_cut("sensitive"), is_cut("stop"), is_cut(None)
    (True, True, False, False)
    """
    return reason is not None and bool(_CUTS.search(reason))
