"""Chat completions as OpenAI's clients read them: chunks of a stream, whole bodies, errors.

Reference: https://platform.openai.com/docs/api-reference/chat-streaming, of November 2026; fields that other servers add:
``reasoning_content`` (DeepSeek, SGLang, llama.cpp), ``reasoning`` (OpenRouter, vLLM, Ollama), ``annotations`` in deltas (OpenRouter)
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable
from typing import Any, ClassVar

from hfclient.events import (
    AnyEvent,
    FinalAnswer,
    Finish,
    Reasoning,
    Route,
    Source,
    Sources,
    Token,
    ToolCall,
    ToolError,
    ToolResult,
    Usage,
)
from hfclient.types import Reply
from hfclient.web.formats.base import json_line
from hfclient.web.formats.common import Missing, is_web_link
from hfclient.web.problems import Problem

__all__ = ["ChatCompletionChunks", "chat_completion", "error_body"]

_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})


class ChatCompletionChunks:
    """Chat completion chunks and ``[DONE]``.

    Calls of tools that the server or the application runs itself (their results are in the stream, too) are left out: a client would
    run them again. So calls are written at the end.

    Args:
        model: The model's name in the chunks; empty: the one that answers, if the service names it.
        include_usage: Write a chunk with the usage and without choices, as a client asks with ``stream_options``.
        reasoning_field: The name of the reasoning in a delta.
        id: The id of the completion; empty: a new one.
    """

    headers: ClassVar[dict[str, str]] = {"Content-Type": "text/event-stream; charset=utf-8"}
    heartbeat = b": ping\n\n"
    can_resume = False

    def __init__(
        self, model: str = "", *, include_usage: bool = False, reasoning_field: str = "reasoning_content", id: str = ""
    ) -> None:
        self._model = model
        self._include_usage = include_usage
        self._reasoning = json_line(reasoning_field)
        self._id = id or _new_id()
        self._created = int(time.time())
        self._prefix = b""
        self._reason: str | None = None
        self._usage: Usage | None = None
        self._calls: dict[str, ToolCall] = {}
        self._missing = Missing()
        self._set_model(model)

    def _set_model(self, model: str) -> None:
        head = {"id": self._id, "object": "chat.completion.chunk", "created": self._created, "model": model or "default"}
        self._prefix = b"data: " + json_line(head)[:-1]
        before, after = self._delta(b'{"content":""}').replace(b"%", b"%%").rsplit(b'""', 1)
        self._token = before + b"%b" + after

    def begin(self) -> bytes:
        """Return nothing: the first chunk names the model, which may not be known yet."""
        return b""

    def event(self, event: AnyEvent, event_id: str | None) -> bytes:
        """Return the chunk of an event, or nothing."""
        if type(event) is Token and self._has_begun and event.text:  # most events
            self._missing.add(event)
            return self._token % json_line(event.text)
        self._missing.saw(event_id)
        match event:
            case Token(text):
                self._missing.add(event)
                return self._begun() + self._delta(b'{"content":%b}' % json_line(text)) if text else b""
            case Reasoning(text):
                return self._begun() + self._delta(b"{%b:%b}" % (self._reasoning, json_line(text))) if text else b""
            case Route(model=model) if model and not self._model:
                self._model = model
                self._set_model(model)
            case ToolCall():
                self._calls[event.uuid] = event
            case ToolResult() | ToolError():
                self._calls.pop(event.uuid, None)
            case Finish(reason):
                self._reason = reason
            case Usage():
                self._usage = event
            case Sources(sources) if annotations := _annotations(sources):
                return self._begun() + self._delta(json_line({"annotations": annotations}))
            case FinalAnswer() if text := self._missing.after(event):
                return self._begun() + self._delta(b'{"content":%b}' % json_line(text))
            case _:
                pass
        return b""

    def problem(self, problem: Problem, error: Exception) -> bytes:
        """Return the error as an object of its own: clients raise it."""
        return b"data: %b\n\n" % json_line(error_body(problem))

    def end(self, status: str) -> bytes:
        """Return the last chunk, with ``finish_reason``, the usage and ``[DONE]``; only that after an error."""
        if status == "failed":
            return b"data: [DONE]\n\n"
        written = self._begun()
        calls = _tool_calls(self._calls.values())
        if calls:
            written += self._delta(json_line({"tool_calls": [{"index": number, **call} for number, call in enumerate(calls)]}))
        written += self._delta(b"{}", _finish_reason(self._reason, has_calls=bool(calls)))
        if self._include_usage and self._usage is not None:
            written += b'%b,"choices":[],"usage":%b}\n\n' % (self._prefix, json_line(_usage(self._usage)))
        return written + b"data: [DONE]\n\n"

    _has_begun = False

    def _begun(self) -> bytes:
        """Return the chunk with the role, which comes first."""
        if self._has_begun:
            return b""
        self._has_begun = True
        return self._delta(b'{"role":"assistant","content":""}')

    def _delta(self, delta: bytes, reason: str | None = None) -> bytes:
        finish = b"null" if reason is None else json_line(reason)
        return b'%b,"choices":[{"index":0,"delta":%b,"logprobs":null,"finish_reason":%b}]}\n\n' % (self._prefix, delta, finish)


def chat_completion(reply: Reply, *, model: str = "", id: str = "") -> dict[str, Any]:
    """Return *reply* as the body of a response to a request without ``stream``, as plain JSON types.

    Args:
        reply: The answer, as ``stream.result()`` returns it.
        model: The model's name; empty: the one that answered.
        id: The id of the completion; empty: a new one.
    """
    run = {item.uuid for item in reply.tool_results} | {item.uuid for item in reply.tool_errors}
    calls = _tool_calls(call for call in reply.tool_calls if call.uuid not in run)
    message: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": reply.refusal}
    if reply.reasoning:
        message["reasoning_content"] = reply.reasoning
    if calls:
        message["tool_calls"] = calls
        message["content"] = reply.text or None
    if annotations := _annotations(reply.sources):
        message["annotations"] = annotations
    reason = _finish_reason(reply.finish_reason, has_calls=bool(calls))
    completion: dict[str, Any] = {
        "id": id or _new_id(),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model or (reply.route and reply.route.model) or reply.model or "default",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
    }
    if reply.usage is not None:
        completion["usage"] = _usage(reply.usage)
    return completion


def error_body(problem: Problem) -> dict[str, Any]:
    """Return a problem as the body of a response with an error, as plain JSON types.

    Send it with the status of the problem, its ``Retry-After`` and ``Content-Type: application/json``.
    """
    message = problem.body["title"]
    if "detail" in problem.body:
        message = f"{message} {problem.body['detail']}"
    return {"error": {"message": message, "type": problem.code, "param": None, "code": problem.code}}


def _new_id() -> str:
    return f"chatcmpl-{secrets.token_hex(12)}"


def _finish_reason(reason: str | None, *, has_calls: bool) -> str:
    if has_calls:
        return "tool_calls"
    # "tool_calls" without calls: those of an earlier round, which were run.
    return reason if reason in _REASONS and reason != "tool_calls" else "stop"


def _tool_calls(calls: Iterable[ToolCall]) -> list[dict[str, Any]]:
    return [
        {
            "id": call.call_id or call.uuid,
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.parameters) if call.arguments is None else call.arguments},
        }
        for call in calls
    ]


def _annotations(sources: Iterable[Source]) -> list[dict[str, Any]]:
    return [
        {
            "type": "url_citation",
            # The services do not say which part of the answer a source belongs to.
            "url_citation": {"url": source.link, "title": source.title or "", "start_index": 0, "end_index": 0},
        }
        for source in sources
        if is_web_link(source.link)
    ]


def _usage(usage: Usage) -> dict[str, Any]:
    found: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.cached_tokens is not None:
        found["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.reasoning_tokens is not None:
        found["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return found
