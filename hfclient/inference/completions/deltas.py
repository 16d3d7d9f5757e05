"""Objects of a chat completion become events, in all the dialects of servers.

Nearly every chunk has one shape: one choice with a piece of text and nothing else (`plain_chunks`). Other chunks are read as
dicts, and their unknown fields are kept (`extra_fields`).

Reference: docs/protocol/inference ("stream chunks"); the names in comments are those of servers that do it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from hfclient.decoding.frames import excerpt
from hfclient.decoding.json_repair import loads, scrub
from hfclient.decoding.json_values import is_int, number_or_none
from hfclient.decoding.think_tags import ThinkSplitter
from hfclient.decoding.utf16 import SurrogateJoiner, repair_surrogates
from hfclient.errors import GenerationError, HFClientError, ProtocolError
from hfclient.events import AnyEvent, Finish, Reasoning, Route, Token, Unknown, Usage
from hfclient.inference.completions.extra_fields import ExtraFields, add_extra
from hfclient.inference.completions.field_merging import has_content
from hfclient.inference.completions.finish_reasons import STOPS, has_failed, normal_reason
from hfclient.inference.completions.plain_answers import plain_answer
from hfclient.inference.completions.plain_chunks import (
    MISFITS,
    PADDING,
    REPEATED,
    Shape,
    has_reasoning,
    plain_decoder,
    shape_of,
)
from hfclient.inference.completions.tool_calls import ToolCallMerger, new_call_id
from hfclient.inference.generation_errors import error_in, generation_error

__all__ = ["DeltaReader", "failure_for", "usage_of"]

_REASONING_KEYS = ("reasoning", "reasoning_content", "reasoning_text", "thinking")
# Fields that are read here; all others are kept as they are.
_CHUNK_KEYS = {"choices", "usage", "error", "x-router-metadata", *PADDING}
# A chunk with only these fields is not an event.
_COMMON_KEYS = {*_CHUNK_KEYS, *REPEATED, "x_groq", "timings", "time_info", "prompt"}
_CHOICE_KEYS = {"index", "delta", "message", "text", "finish_reason", "usage", "error", "logprobs"}
_DELTA_KEYS = {"role", "name", "content", "refusal", "tool_calls", "function_call", "token_id", *_REASONING_KEYS}
_COUNT_KEYS = {"prompt_tokens", "completion_tokens", "total_tokens"}
_USAGE_KEYS = {*_COUNT_KEYS, "reasoning_tokens", "prompt_tokens_details", "completion_tokens_details"}
_USAGE_GROUPS = {"prompt_tokens_details": "cached_tokens", "completion_tokens_details": "reasoning_tokens"}
_PINGS = {"ping", "heartbeat", "keepalive", "keep-alive"}

class DeltaReader:
    """Turns the objects of one answer into events.

    Only the choice with index 0 is the answer; others (option ``n``) become ``Unknown("choice", ...)``.
    Anything after the end, or after an error, is ignored.

    Attributes:
        finished: A finish_reason came: the text is complete.
        done: ``[DONE]`` came, or all of an answer that is not a stream.
        error: The error inside the answer, raised after all events.
        noun: The word for an answer in error messages.
        known: Fields of an object's root that are read.
    """

    noun = "chat completion"
    known = frozenset(_CHUNK_KEYS)

    def __init__(self, *, new_id: Callable[[], str] = new_call_id) -> None:
        self.finished = False
        self.done = False
        self.error: HFClientError | None = None
        self._splitter = ThinkSplitter()
        self._texts = SurrogateJoiner()
        self._thoughts = SurrogateJoiner()
        self._calls = ToolCallMerger(new_id)
        self.call_pieces = 0
        self._reason: str | None = None
        self._usage: Usage | None = None
        # The class of plain text; None while the start of a tag waits for its rest.
        self._plain: type[Token] | type[Reasoning] | None = Token
        self._shape: Shape = frozenset()
        self._decode = plain_decoder(self._shape)
        self._thinks = False  # chunks of this shape have reasoning
        self._kept = ExtraFields()
        self._refusal: list[str] = []
        self._unfinished: GenerationError | None = None

    @property
    def over(self) -> bool:
        """Nothing more can come."""
        return self.done or self.error is not None

    def fields(self) -> dict[str, Any]:
        """Return the fields of a `Reply` that no event has: ``extra``, ``provider_fields`` and ``refusal``."""
        refusal = repair_surrogates("".join(self._refusal))
        return {**self._kept.fields(), **({"refusal": refusal} if refusal else {})}

    def forget(self) -> None:
        """Drop the kept fields: they came in a document that is not an answer."""
        self._kept = ExtraFields()

    @staticmethod
    def is_answer(document: Any) -> bool:
        """Return whether a JSON document, sent instead of a stream, is a whole answer."""
        return isinstance(document, dict) and bool(document.get("choices"))

    # Objects

    def take_plain_answer(self, document: dict[str, Any], out: list[AnyEvent]) -> bool:
        """Read a whole answer, if it is plain and nothing came before; return whether it was.

        Args:
            document: The answer, which came as one document.
            out: Gets the same events as :meth:`message` and :meth:`end` give.
        """
        answer = None if self.over or self._plain is not Token else plain_answer(document)
        if answer is None:
            return False
        self.finished = self.done = True
        self._kept.put(answer.extra)
        out.append(Token(answer.text, extra=answer.waiting or None))
        out.append(Finish(answer.finish_reason))
        if answer.usage is not None:
            out.append(usage_of(answer.usage))
        return True

    def take_plain(self, parts: Iterable[bytes], out: list[AnyEvent]) -> bytes | None:
        """Read objects as long as they are plain; return the first one that is not, or None.

        Args:
            parts: The data of events without a name; an iterator has passed the object that is returned.
            out: Gets the same events as :meth:`message` gives.
        """
        kind, decode, thinks = self._plain, self._decode, self._thinks
        for part in parts:
            if kind is None:
                return part
            try:
                delta = decode(part).choices[0].delta
            except MISFITS:
                return part
            if thinks and (thought := delta.reasoning or delta.reasoning_content or delta.reasoning_text):
                out.append(Reasoning(thought))  # msgspec refuses half characters
            text = delta.content
            if not text:
                continue
            if "<" not in text:
                out.append(kind(text))
            else:
                self.text(text, out)
                kind = self._plain
        return None

    def message(self, data: bytes, out: list[AnyEvent], *, name: str = "message", last: bool = False) -> None:
        """Read the data of one server-sent event, or one JSON document.

        Args:
            data: The undecoded bytes.
            out: Gets the events.
            name: The event's name.
            last: The body ended here without the event's end, so the data may be cut off.
        """
        if self.over:
            return
        data = data.strip()
        if name == "error" and not data:
            self.fail(generation_error(None), out)
        elif data == b"[DONE]":
            self.end(out)
        elif data or name != "message":
            try:
                self._message(data, out, name, last)
            except RecursionError:
                self.fail(ProtocolError("the server sent an object that is nested too deeply", frame=excerpt(data)), out)

    def _message(self, data: bytes, out: list[AnyEvent], name: str, last: bool) -> None:
        try:
            value = loads(data) if data else {}
        except ValueError:
            if last:
                return
            text = data.decode("utf-8", "replace")
            if name == "error":
                self.fail(generation_error(text), out)
            elif name == "message":
                self.fail(ProtocolError("the server sent something that is not JSON", frame=excerpt(data)), out)
            elif name not in _PINGS:
                out.append(Unknown(repair_surrogates(name), {"data": text}))
            return
        if name == "error":
            self.fail(generation_error(value), out)
        elif isinstance(value, dict) and value:
            self.chunk(value, out, name=name)
        elif name not in _PINGS:
            self._unknown(out, "" if name == "message" else name, value if isinstance(value, dict) else {"data": value})

    def chunk(self, chunk: dict[str, Any], out: list[AnyEvent], *, name: str = "message") -> None:
        """Read one object."""
        start = len(out)
        known = False
        route = chunk.get("x-router-metadata")
        if isinstance(route, dict):
            known = True
            out.append(_route(route))
        error = error_in(chunk)
        if error is None:
            self._kept.keep(chunk, self.known)
        choices = chunk.get("choices")
        if isinstance(choices, dict):
            choices = [choices]
        if isinstance(choices, list):
            for choice in choices:
                known = True
                if isinstance(choice, dict) and choice.get("index") in (0, None):
                    failure = self._choice(choice, out)
                    error = error or failure
                else:
                    raw = choice if isinstance(choice, dict) else {"choice": choice}
                    self._kept.keep_choice(raw)
                    self._unknown(out, "choice", raw)
        groq = chunk.get("x_groq")
        for place in (chunk, groq if isinstance(groq, dict) else {}):
            if isinstance(place.get("usage"), dict):
                known = True
                self._usage = usage_of(place["usage"])
        if error is None and not known:
            new = any(has_content(value) for key, value in chunk.items() if key not in _COMMON_KEYS)
            if new or not isinstance(choices, list):
                kind = chunk.get("object") or chunk.get("type") or ("" if name == "message" else name)
                self._unknown(out, kind if isinstance(kind, str) else "", chunk)
                self._kept.mark_reported(chunk)
        self._kept.attach(out, start)
        if error is not None:
            self.fail(error, out)
        # After the end comes the usage, which says nothing about plain chunks.
        if not self.finished and not self._shape.issuperset(shape := shape_of(chunk)):
            self._shape |= shape
            self._decode = plain_decoder(self._shape)
            self._thinks = has_reasoning(self._shape)
        self._check_held()

    def _choice(self, choice: dict[str, Any], out: list[AnyEvent]) -> GenerationError | None:
        """Read one choice; return the error that it ended with, if it did."""
        start = len(out)
        self._kept.keep(choice, _CHOICE_KEYS)
        delta, whole = choice.get("delta"), False
        if not isinstance(delta, dict):
            delta, whole = choice.get("message"), True
        if isinstance(delta, dict):
            self._delta(delta, out, whole)
        elif isinstance(choice.get("text"), str):  # text completions; together repeats the text next to a delta
            self.text(choice["text"], out)
        if choice.get("logprobs"):
            _add_logprobs(choice["logprobs"], out, start)
            self._kept.keep_probabilities(choice["logprobs"])
        if isinstance(choice.get("usage"), dict):  # moonshot
            self._usage = usage_of(choice["usage"])
        reason = choice.get("finish_reason")
        if reason is None or reason in ("", "null"):  # TGI's /v1/completions sends "" until the end, DashScope "null"
            return generation_error(choice) if choice.get("error") else None
        reason = repair_surrogates(reason) if isinstance(reason, str) else _reason_in(reason)
        if has_failed(reason):
            return generation_error(choice) if choice.get("error") else failure_for(reason)
        self._finish(reason, out)
        return None

    def _delta(self, delta: dict[str, Any], out: list[AnyEvent], whole: bool) -> None:
        start = len(out)
        for key in (*_REASONING_KEYS, "reasoning_details"):
            if (value := delta.get(key)) and self._reasoning(value, out):  # two of them may hold the same text
                break
        content = delta.get("content")
        if isinstance(content, str):
            self.text(content, out)
        elif content is not None:  # Mistral sends lists
            for part in content if isinstance(content, list) else [content]:
                self._part(part, out)
        self._refused(delta.get("refusal"), out)
        calls = delta.get("tool_calls") or delta.get("function_call")
        if calls:
            self._calls.add(calls, whole=whole)
            self.call_pieces += self._calls.has_begun
        unknown = {
            key: value
            for key, value in delta.items()
            if has_content(value) and (key not in _DELTA_KEYS or (key in _REASONING_KEYS and not isinstance(value, str)))
        }
        self._kept.keep_delta(unknown, out, start, whole=whole)

    def _refused(self, text: Any, out: list[AnyEvent]) -> None:
        """Read a piece of a refusal, from its own field or from a part of the content."""
        if text and isinstance(text, str):
            self._refusal.append(text)
            out.append(Token(repair_surrogates(text), extra={"refusal": True}))

    def _part(self, part: Any, out: list[AnyEvent]) -> None:
        if isinstance(part, str):
            self.text(part, out)
            return
        start = len(out)
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(kind, str) and ("thinking" in kind or "reasoning" in kind):
            self._kept.keep_reasoning_part(part, kind)
        if kind in ("text", "output_text") and isinstance(part.get("text"), str):
            self.text(part["text"], out)
        elif kind == "refusal" and isinstance(part.get("refusal"), str):
            self._refused(part["refusal"], out)
        elif kind in ("thinking", "reasoning"):
            any(self._reasoning(part.get(key), out) for key in (kind, "summary", "text"))
        else:
            raw = part if isinstance(part, dict) else {"part": part}
            self._kept.keep_part(raw, kind)
            self._unknown(out, kind if isinstance(kind, str) else "", raw)
            return
        if unknown := {key: value for key, value in part.items() if key not in ("type", "text", "summary", kind) and has_content(value)}:
            self._kept.keep_part({"type": kind, **unknown}, kind)
            add_extra(unknown, out, start)

    def _reasoning(self, value: Any, out: list[AnyEvent]) -> bool:
        """Read reasoning in any form: a text, an object with one, or a list of those; return whether there was any."""
        if isinstance(value, str):
            if value:
                self.thought(value, out)
            return bool(value)
        if isinstance(value, dict):
            return any(self._reasoning(value.get(key), out) for key in ("text", "summary", "content", "thinking"))
        found = [self._reasoning(item, out) for item in value] if isinstance(value, list) else []
        return any(found)

    def text(self, text: str, out: list[AnyEvent]) -> None:
        """Read a piece of content; ``<think>`` spans are reasoning."""
        if self._texts.held or not text.isascii():
            text = self._texts.feed(text)
        if text:
            self._split(self._splitter.feed(text), out)
        self._check_held()

    def thought(self, text: str, out: list[AnyEvent]) -> None:
        """Read a piece of reasoning."""
        if self._thoughts.held or not text.isascii():
            text = self._thoughts.feed(text)
        if text:
            out.append(Reasoning(text))
        self._check_held()

    def _check_held(self) -> None:
        is_open = self._splitter.held or self._texts.held or self._thoughts.held or self._kept.has_waiting_fields
        self._plain = None if is_open else Reasoning if self._splitter.inside else Token

    @staticmethod
    def _split(pieces: list[tuple[bool, str]], out: list[AnyEvent]) -> None:
        for inside, piece in pieces:
            out.append(Reasoning(piece) if inside else Token(piece))

    @staticmethod
    def _unknown(out: list[AnyEvent], kind: str, raw: dict[str, Any]) -> None:
        out.append(Unknown(repair_surrogates(kind), scrub(raw)))

    # The end

    def _finish(self, reason: str, out: list[AnyEvent]) -> None:
        self.finished = True
        self._flush(out)
        reason = normal_reason(reason)
        self._take_calls(out, reason, good=reason in STOPS)
        if reason == "stop" and self.call_pieces:
            reason = "tool_calls"  # TGI ends a tool call with "stop"
        if reason != self._reason:  # some servers repeat it on the usage chunk
            self._reason = reason
            out.append(Finish(reason))

    def _take_calls(self, out: list[AnyEvent], reason: str | None, *, good: bool) -> None:
        events, broken = self._calls.finish(good=good)
        out.extend(events)
        if broken and self._unfinished is None:
            ended = f"with finish_reason {reason!r}" if reason else "without a finish_reason"
            hint = "; raise max_tokens" if reason == "length" else ""
            names = ", ".join(map(repr, broken))
            self._unfinished = GenerationError(
                f"the answer ended {ended} in the middle of a call of the tool {names}, which is incomplete{hint}",
                code=reason,
            )

    def end(self, out: list[AnyEvent], *, whole: bool = False) -> None:
        """End the answer: ``[DONE]`` came, or the end of the body after a finish_reason.

        Args:
            out: Gets the events.
            whole: The answer was one document, so nothing can be missing.
        """
        self.done = True
        self._flush(out)
        self._take_calls(out, self._reason, good=self._reason in STOPS or (whole and self._reason is None))
        self._report_usage(out)
        self._kept.attach(out, len(out), last=True)
        self.error = self.error or self._unfinished

    def fail(self, error: HFClientError, out: list[AnyEvent]) -> None:
        """Keep *error* if it is the first one; the rest of the answer is ignored."""
        if self.error is None:
            self.error = error
            self.stop(out)

    def stop(self, out: list[AnyEvent]) -> None:
        """End an incomplete answer: return the text that is held back, but not tool calls, whose arguments may be incomplete."""
        self._flush(out)
        self._report_usage(out)

    def _flush(self, out: list[AnyEvent]) -> None:
        if rest := self._thoughts.finish():
            out.append(Reasoning(rest))
        if rest := self._texts.finish():
            self._split(self._splitter.feed(rest), out)
        self._split(self._splitter.finish(), out)
        self._check_held()

    def _report_usage(self, out: list[AnyEvent]) -> None:
        # At the end only: some servers send one with every chunk, and the last one counts.
        if self._usage is not None:
            out.append(self._usage)
            self._kept.attach(out, len(out) - 1)
            self._usage = None


def usage_of(usage: dict[str, Any]) -> Usage:
    """Return the event for a ``usage`` object."""
    prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    total = _count(usage.get("total_tokens"))
    if total is None:
        total = (prompt or 0) + (completion or 0)
    if usage.keys() == _COUNT_KEYS:
        return Usage(prompt or 0, completion or 0, total)
    reasoning = _detail(usage, "completion_tokens_details", "reasoning_tokens")
    extra = {key: value for key, value in usage.items() if key not in _USAGE_KEYS and has_content(value)}
    for group, read in _USAGE_GROUPS.items():
        details = usage.get(group)
        if isinstance(details, dict) and (rest := {key: value for key, value in details.items() if key != read and value}):
            extra[group] = rest
    return Usage(
        prompt_tokens=prompt or 0,
        completion_tokens=completion or 0,
        total_tokens=total,
        cached_tokens=_detail(usage, "prompt_tokens_details", "cached_tokens"),
        reasoning_tokens=_count(usage.get("reasoning_tokens")) if reasoning is None else reasoning,
        extra=(scrub(extra) or None) if extra else None,
    )


def _count(value: Any) -> int | None:
    return value if is_int(value) and value >= 0 else None


def _detail(usage: dict[str, Any], group: str, key: str) -> int | None:
    details = usage.get(group)
    return _count(details.get(key)) if isinstance(details, dict) else None


def _route(data: dict[str, Any]) -> Route:
    def text(key: str) -> str:
        value = data.get(key)
        return repair_surrogates(value) if isinstance(value, str) else ""

    extra = {key: value for key, value in data.items() if key not in ("route", "model", "provider") and has_content(value)}
    return Route(text("route"), text("model"), text("provider") or None, extra=scrub(extra) or None)


def _reason_in(reason: Any) -> str:
    """Return a finish_reason as text: SGLang sends objects with a type."""
    kind = reason.get("type") if isinstance(reason, dict) else None
    return repair_surrogates(kind) if isinstance(kind, str) and kind else str(scrub(reason))


def failure_for(reason: str) -> GenerationError:
    """Return the error for an answer that ended with *reason* and no error message."""
    error = generation_error({"type": reason, "message": f"the server ended the answer with finish_reason {reason!r}"})
    error.code = reason
    return error


def _add_logprobs(logprobs: Any, out: list[AnyEvent], start: int) -> None:
    """Set the probabilities of the chunk's token: ``logprob``, and all details in ``extra["logprobs"]``."""
    entries = logprobs.get("content") if isinstance(logprobs, dict) else None
    if isinstance(logprobs, dict) and not any(has_content(value) for value in logprobs.values()):
        return
    token = next((event for event in out[start:] if type(event) is Token), None)
    if token is not None and isinstance(entries, list) and len(entries) == 1 and isinstance(entries[0], dict):
        value = number_or_none(entries[0].get("logprob"))
        if value is not None:
            token.logprob = float(value)
            if not entries[0].get("top_logprobs"):
                return
    details = {"logprobs": scrub(entries if isinstance(entries, list) else logprobs)}
    if token is not None:
        token.extra = {**(token.extra or {}), **details}
    else:
        out.append(Unknown("logprobs", details))
