"""Decodes text generation: text-generation-inference's own stream, and ``/v1/completions``.

Framing, documents instead of streams and all forms of errors are those of chat completions (`ChunkDecoder`); only the
objects differ. One reader accepts both kinds, so the protocol of the server need not be known.

Reference: docs/protocol/inference ("text generation").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec
from attrs import evolve

from hfclient.decoding.json_repair import loads, scrub
from hfclient.decoding.json_values import int_or_none, number_or_none
from hfclient.decoding.utf16 import repair_surrogates
from hfclient.errors import GenerationError
from hfclient.events import AnyEvent, FinalAnswer, Reasoning, Token, Usage
from hfclient.inference.completions.chunks import ChunkDecoder
from hfclient.inference.completions.deltas import DeltaReader, failure_for
from hfclient.inference.completions.finish_reasons import has_failed
from hfclient.inference.completions.plain_chunks import MISFITS
from hfclient.inference.completions.stream import CompletionStream
from hfclient.inference.generation_errors import generation_error
from hfclient.redaction.masking import sanitized
from hfclient.transport import Response
from hfclient.types import Reply

__all__ = ["GenerationReader", "TextStream", "decoder_for", "status_of"]

_STATUSES = {
    "validation": 422,
    "template_error": 422,
    "missing_template_variable": 422,
    "tool_error": 422,
    "suffix not supported": 422,
    "batch size exceeded": 422,
    "generation": 424,
    "overloaded": 429,
    "stream_serialization_error": 500,
    "healthcheck": 503,
}
_INCOMPLETE = "incomplete_generation"


def status_of(error_type: str) -> int | None:
    """Return the HTTP status that text-generation-inference gives an error outside of streams, or None.

    >>> status_of("overloaded"), status_of("incomplete_generation_stream")
    (429, 500)
    """
    return 500 if error_type.startswith(_INCOMPLETE) else _STATUSES.get(error_type)


class _Token(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    text: str
    id: int | None = None
    logprob: float | None = None
    special: bool = False


class _TextChoice(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    text: str
    index: Literal[0] = 0
    finish_reason: Literal[""] | None = None
    logprobs: None = None
    delta: None = None
    message: None = None
    usage: None = None
    seed: int | None = None
    stop_reason: None = None
    prompt_logprobs: None = None
    token_ids: None = None
    prompt_token_ids: None = None


class _Step(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """An object with a piece of text and nothing else, in either protocol."""

    token: _Token | None = None
    choices: tuple[_TextChoice] | None = None
    generated_text: None = None
    details: None = None
    top_tokens: None = None
    usage: None = None
    error: None = None
    index: int | None = None
    id: Any = None  # the last object, which is read in full, repeats this field and the four below
    object: Any = None
    created: Any = None
    model: Any = None
    system_fingerprint: Any = None


_decode = msgspec.json.Decoder(_Step).decode
_STEP_KEYS = {"index", "token", "generated_text", "details", "top_tokens"}


class GenerationReader(DeltaReader):
    """Turns the objects of one answer into events; see `DeltaReader`.

    Special tokens have no text: ``Token("", id=2, special=True, extra={"text": "</s>"})``. If the pieces do not add up to
    ``generated_text`` (half characters, the prompt in front), it follows as a `FinalAnswer`.

    Args:
        splits_reasoning: ``<think>`` spans are reasoning; otherwise they are text.
        strips: White space at the beginning is left out.
    """

    noun = "text"
    known = DeltaReader.known | {"token"}

    def __init__(self, *, splits_reasoning: bool = False, strips: bool = False) -> None:
        super().__init__()
        self._splits = splits_reasoning
        self._strips = strips
        self._blank = strips  # nothing but white space so far
        self._pieces: list[str] = []
        self._last_special = False

    @staticmethod
    def is_answer(document: Any) -> bool:
        """Return whether a JSON document, sent instead of a stream, is a whole answer."""
        document = document[0] if isinstance(document, list) and len(document) == 1 else document
        return DeltaReader.is_answer(document) or (
            isinstance(document, dict) and isinstance(document.get("generated_text"), str)
        )

    def take_plain_answer(self, document: dict[str, Any], out: list[AnyEvent]) -> bool:
        """Return False: documents of these servers have other fields."""
        return False

    def take_plain(self, parts: Iterable[bytes], out: list[AnyEvent]) -> bytes | None:
        """Read objects as long as they are plain; see `DeltaReader.take_plain`."""
        splits, inside = self._splits, self._splitter.inside
        is_open = self._blank or self._splitter.held or self._texts.held
        for part in parts:
            if is_open:
                return part
            try:
                step = _decode(part)
            except MISFITS:
                return part
            token, choices = step.token, step.choices
            if token is not None:
                text = token.text
                if not text or token.special or choices is not None or (splits and "<" in text):
                    return part
                self._pieces.append(text)
                self._last_special = False
                out.append(Reasoning(text) if inside else Token(text, token.id, token.logprob, False))
            elif choices is not None:
                text = choices[0].text
                if not text or (splits and "<" in text):
                    return part
                out.append(Reasoning(text) if inside else Token(text))
            else:
                return part
        return None

    def _message(self, data: bytes, out: list[AnyEvent], name: str, last: bool) -> None:
        if name == "message" and data[:1] == b"[":
            try:
                value = loads(data)
            except ValueError:
                value = None
            if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
                self.chunk(value[0], out)
                return
        super()._message(data, out, name, last)

    def chunk(self, chunk: dict[str, Any], out: list[AnyEvent], *, name: str = "message") -> None:
        """Read one object."""
        kind = chunk.get("error_type")
        if chunk.get("error") and isinstance(kind, str):
            self.fail(_typed_error(chunk, kind), out)
        elif chunk.get("choices") is None and ("token" in chunk or isinstance(chunk.get("generated_text"), str)):
            self._step(chunk, out)
        else:
            super().chunk(chunk, out, name=name)

    def text(self, text: str, out: list[AnyEvent]) -> None:
        """Read a piece of the answer."""
        if self._blank:
            text = text.lstrip()
            self._blank = not text
        if self._splits:
            super().text(text, out)
            return
        if self._texts.held or not text.isascii():
            text = self._texts.feed(text)
        if text:
            out.append(Token(text))

    def _flush(self, out: list[AnyEvent]) -> None:
        if not self._splits and (rest := self._texts.finish()):
            out.append(Token(rest))
        super()._flush(out)

    # text-generation-inference

    def _step(self, step: dict[str, Any], out: list[AnyEvent]) -> None:
        start = len(out)
        self._kept.keep(step, _STEP_KEYS)
        self._any_token(step.get("token"), out)
        self._kept.attach(out, start)
        if step.get("top_tokens") and len(out) > start:
            out[start].extra = {**(out[start].extra or {}), "top_tokens": scrub(step["top_tokens"])}
        text = step.get("generated_text")
        if not isinstance(text, str):
            return
        details = step["details"] if isinstance(step.get("details"), dict) else {}
        tokens = details.get("tokens")
        if "token" not in step and isinstance(tokens, list):
            for token in tokens:
                self._any_token(token, out)
        self._settle(text, out)
        reason = details.get("finish_reason")
        if not isinstance(reason, str) or not reason:
            reason = "stop" if self._last_special or "token" not in step else "length"
        if has_failed(reason):
            self.fail(failure_for(repair_surrogates(reason)), out)
            return
        self._finish(repair_surrogates(reason), out)
        rest = {key: value for key, value in details.items() if key not in ("finish_reason", "tokens") and value}
        if rest:
            self._kept.note({"details": rest})
            out[-1].extra = {**(out[-1].extra or {}), "details": scrub(rest)}
        self._usage = _usage_of(details)
        self.end(out)

    def _any_token(self, token: Any, out: list[AnyEvent]) -> None:
        if not isinstance(token, dict) or not isinstance(token.get("text"), str):
            return
        logprob = number_or_none(token.get("logprob"))
        self._token(
            token["text"],
            int_or_none(token.get("id")),
            None if logprob is None else float(logprob),
            token.get("special") is True,
            out,
        )

    def _token(self, text: str, number: int | None, logprob: float | None, special: bool, out: list[AnyEvent]) -> None:
        self._last_special = special
        if special:
            out.append(Token("", number, logprob, True, extra={"text": repair_surrogates(text)}))
            return
        self._pieces.append(text)
        start = len(out)
        self.text(text, out)
        for event in out[start:]:
            if type(event) is Token:
                event.id, event.logprob, event.special = number, logprob, False
                break

    def _settle(self, whole: str, out: list[AnyEvent]) -> None:
        """Add a `FinalAnswer` if the server's whole text differs from the pieces."""
        said = "".join(self._pieces)
        if said == whole:
            return
        if not self._pieces:
            self.text(whole, out)
        else:
            self._flush(out)
            text = repair_surrogates(whole)
            out.append(FinalAnswer(text.lstrip() if self._strips else text))

    # /v1/completions

    def _choice(self, choice: dict[str, Any], out: list[AnyEvent]) -> GenerationError | None:
        start = len(out)
        error = super()._choice(choice, out)
        probabilities = choice.get("logprobs")
        token = next((event for event in out[start:] if type(event) is Token), None)
        if token is not None and isinstance(probabilities, dict):
            _add_details(token, probabilities)
        return error


def _add_details(token: Token, probabilities: dict[str, Any]) -> None:
    """Set a token's id and probability from its choice: OpenAI's lists, or llama.cpp's objects."""
    entries, values = probabilities.get("content"), probabilities.get("token_logprobs")
    if isinstance(values, list) and len(values) == 1 and isinstance(values[0], (int, float)):
        token.logprob = float(values[0])
    if isinstance(entries, list) and len(entries) == 1 and isinstance(entries[0], dict):
        number = int_or_none(entries[0].get("id"))
        if number is not None:
            token.id = number


def _typed_error(chunk: dict[str, Any], kind: str) -> GenerationError:
    error = generation_error(chunk)
    error.code = sanitized(repair_surrogates(kind))
    error.status_code = status_of(kind) or error.status_code
    return error


def _usage_of(details: dict[str, Any]) -> Usage | None:
    made, read = details.get("generated_tokens"), details.get("input_length")
    if not isinstance(made, int) or isinstance(made, bool):
        return None
    if not isinstance(read, int) or isinstance(read, bool):
        prefill = details.get("prefill")
        read = len(prefill) if isinstance(prefill, list) else 0
    return Usage(prompt_tokens=read, completion_tokens=made, total_tokens=read + made)


def decoder_for(
    response: Response, *, first: Iterable[AnyEvent] = (), splits_reasoning: bool = False, strips: bool = False
) -> ChunkDecoder:
    """Return a decoder for *response*; see `GenerationReader` and `ChunkDecoder`."""
    reader = GenerationReader(splits_reasoning=splits_reasoning, strips=strips)
    return ChunkDecoder(first=first, reader=reader, limits=response.limits)


class TextStream(CompletionStream):
    """A blocking iterator over the events of one generated text; see `hfclient.stream.Stream`.

    Attributes:
        is_raw: ``text`` is the generated text with its tags; otherwise the reasoning is separate.
    """

    is_raw = True

    @property
    def partial(self) -> Reply:
        """The answer so far, as a `Reply`. Never reads, never raises."""
        if not self.is_raw:
            return super().partial
        reply, final = super(CompletionStream, self).partial, self._builder.final
        return reply if final is None else evolve(reply, text=final.text, reasoning="")

    def iter_text(self) -> Iterator[str]:
        """Yield the pieces of the text as they come."""
        return (piece for piece in super().iter_text() if piece)
