"""Structured output: the answer is an object of a class.

The class becomes a JSON schema that the server is asked to follow. The answer is validated all the same, because many servers
ignore schemas. An invalid answer is sent back to the model with the error, a limited number of times.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from typing import Any, Generic, NoReturn, TypeVar

from attrs import evolve, field, frozen

from hfclient.decoding.frames import excerpt
from hfclient.display import LiveDisplayed
from hfclient.errors import Cancelled, HFClientError, InvalidInputError, ParseError, StreamConsumed
from hfclient.events import Token, Usage
from hfclient.inference.completions.chat import ChatCompletions
from hfclient.inference.completions.finish_reasons import is_cut
from hfclient.inference.completions.messages import Prompt, build_messages
from hfclient.inference.completions.roles import AssistantMessage
from hfclient.inference.completions.stream import CompletionStream
from hfclient.inference.completions.token_counts import sum_of
from hfclient.inference.content.attachments import with_attachments
from hfclient.inference.schemas.dialects import DIALECTS, SchemaFormat, instruction_for, schema_text
from hfclient.inference.schemas.json_in_text import json_values
from hfclient.inference.schemas.json_schema import Schema, standalone_schema, strict_schema
from hfclient.inference.schemas.key_checks import check_keys
from hfclient.inference.schemas.partial_json import NOTHING, PartialJSON
from hfclient.inference.schemas.type_schemas import SchemaMismatch, convert, schema_of
from hfclient.stream import Stream
from hfclient.transport import Clock
from hfclient.types import Reply

__all__ = ["ParseStream", "Parsed", "Shape", "parse_stream", "parse_whole"]

T = TypeVar("T")

_WRAP = "value"  # the root must be an object: any other value is put into one under this key
_CUT = {
    "length": "the answer was cut off at its maximum length (max_tokens)",
    "content_filter": "the answer was cut off by a content filter",
}
_STEP = 64  # a long answer has a draft each time it grew by a 64th


@frozen
class Shape:
    """A type and its schema.

    Attributes:
        into: The type.
        schema: Its JSON schema without external references, an object at its root.
        name: The type's name.
        wrapped: The value is under the key ``value`` of that object.
        bare: The schema of the type itself, without the additions of strict mode.
        strict: An answer with unknown keys is invalid.
    """

    into: Any
    schema: Schema
    name: str
    wrapped: bool
    bare: Schema = field(factory=dict, repr=False)
    strict: bool = True

    @classmethod
    def of(cls, into: Any, *, strict: bool = True) -> Shape:
        """Return the shape of *into*, any type with a JSON schema.

        Raises:
            InvalidInputError: *into* has no JSON schema.
        """
        raw = schema_of(into)
        schema = bare = standalone_schema(raw)
        wrapped = schema.get("type") != "object" or "properties" not in schema
        if wrapped:
            inner = {key: value for key, value in raw.items() if key != "$defs"}
            raw = {"type": "object", "properties": {_WRAP: inner}, "required": [_WRAP], "$defs": raw.get("$defs", {})}
            schema = standalone_schema(raw)
        name = into.__name__ if isinstance(into, type) and not typing.get_args(into) else str(into)
        return cls(into, strict_schema(schema) if strict else schema, name, wrapped, bare, strict)

    def read(self, text: str) -> Any:
        """Return the object in *text*, which may be in a code block or within prose.

        Raises:
            SchemaMismatch: It has no JSON, none that fits, or several different objects that fit.
        """
        trouble: SchemaMismatch | None = None
        fitting: list[tuple[Any, Any]] = []
        for value in json_values(text):
            try:
                fitting.append((value, self._convert(value)))
            except SchemaMismatch as misfit:
                trouble = trouble or misfit
        if not fitting:
            raise trouble or SchemaMismatch("there is no JSON in the answer" if text.strip() else "the answer is empty")
        if any(value != fitting[0][0] for value, _ in fitting):
            raise SchemaMismatch("the answer has several different ones")
        return fitting[0][1]

    def _convert(self, value: Any) -> Any:
        if self.wrapped and isinstance(value, dict) and value.keys() == {_WRAP}:
            try:
                return self._checked(value[_WRAP])
            except SchemaMismatch as misfit:
                raise SchemaMismatch(misfit.reason, f"$.{_WRAP}{misfit.path[1:]}") from misfit
        return self._checked(value)  # without the key: the server ignored the schema, but the model's answer may fit

    def _checked(self, value: Any) -> Any:
        made = convert(value, self.into)
        check_keys(value, self.bare, strict=self.strict)
        return made

    def unwrapped(self, value: Any) -> Any:
        """Return the object so far, of an answer that is still being received."""
        if self.wrapped and isinstance(value, dict):
            return value.get(_WRAP, NOTHING)
        return value


@frozen
class _ParseCall:
    """One call, with the messages that it has so far."""

    completions: ChatCompletions
    options: Mapping[str, Any]
    shape: Shape
    messages: list[dict[str, Any]]
    repair: int
    clock: Clock

    def send(self) -> Stream:
        """Send the messages and return the stream of the answer."""
        self.clock.check()
        answer = self.completions.send(self.messages, self.options, self.clock)
        service = self.completions.service
        return CompletionStream(answer, on_event=service.on_event, last=service.last)

    def ask(self) -> Reply:
        """Send the messages and return the whole answer."""
        self.clock.check()
        return self.completions.ask(self.messages, self.options, self.clock)

    def read(self, reply: Reply) -> Any:
        """Return the object in an answer; raises `SchemaMismatch` if it has none."""
        if is_cut(reply.finish_reason):  # even if it can be read
            raise SchemaMismatch(_CUT.get(reply.finish_reason or "", f"the answer was cut off ({reply.finish_reason})"))
        if reply.refusal:
            raise SchemaMismatch(f"the model refused: {reply.refusal}")
        return self.shape.read(reply.text)

    def correct(self, reply: Reply, misfit: SchemaMismatch, attempts: int) -> None:
        """Add a request for a better answer to the messages.

        Raises:
            ParseError: There were enough attempts, or another answer would be cut off or refused again.
        """
        if attempts > self.repair or is_cut(reply.finish_reason) or reply.refusal:
            raise self._error(reply, misfit, attempts) from misfit
        if reply.text.strip():
            self.messages.append(AssistantMessage(reply.text, provider_fields=reply.provider_fields).to_dict())
        self.messages.append({
            "role": "user",
            "content": f"That does not fit: {misfit}. Answer again, with nothing but JSON that fits this schema: "
            f"{schema_text(self.shape.schema)}",
        })

    def _error(self, reply: Reply, misfit: SchemaMismatch, attempts: int) -> ParseError:
        reason = misfit.reason
        if reply.tool_calls and not reply.text.strip():
            reason = f"the model called the tool {reply.tool_calls[0].name!r} instead"
        times = "" if attempts == 1 else f" ({attempts} answers)"
        where = "" if misfit.path == "$" else f" at {misfit.path}"
        return ParseError(
            f"the answer does not fit {self.shape.name}{where}: {reason}{times}; it begins {excerpt(reply.text.encode())!r}",
            raw=reply.text,
            path=misfit.path,
            reason=reason,
            finish_reason=reply.finish_reason,
            attempts=attempts,
            partial=reply,
        )


class ParseStream(LiveDisplayed, Generic[T]):
    """An answer that becomes an object; iterating yields the object so far.

        for draft in inference.parse_stream("Three cities?", into=Cities, model=...):
            print(draft)                    # {'names': ['Par']}, {'names': ['Paris', 'L']}, ...

    Each item is a new JSON value (a dict, for a class): strings so far, numbers once they are complete, keys once they have
    a value. It is not validated; :meth:`result` is. A repaired answer starts again.
    """

    def __init__(self, call: _ParseCall, first: Stream) -> None:
        self._call = call
        self._attempts = 1
        self._error: HFClientError | None = None
        self._value: Any = NOTHING
        self._state = "open"  # open, reading, done, failed, closed
        self._drafts: Iterator[Any] | None = None
        self._asking = False  # a request is on its way
        self._inner = first
        self._seconds: float | None = None  # between two ticks

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._state}>"

    def __str__(self) -> str:
        is_left = self._state in ("open", "reading")
        hint = "show() shows the object as it comes, result() returns it" if is_left else "its text is in .partial"
        return f"{self!r}: {'result() has the object' if self._state == 'done' else hint}"

    def __getstate__(self) -> NoReturn:
        raise TypeError("an answer that is being read cannot be copied or pickled; what result() returns can")

    def __iter__(self) -> Iterator[Any]:
        """Return an iterator over the object so far.

        Raises:
            StreamConsumed: It was read already.
        """
        self._seconds = None
        if self._drafts is not None and self._state == "reading":  # next() was used before: continue
            return self._drafts
        if self._state != "open":
            raise StreamConsumed("an answer is read once; result() has the object", partial=self.partial)
        self._state = "reading"
        return self._read()

    def __next__(self) -> Any:
        if self._drafts is None:
            self._drafts = iter(self)
        return next(self._drafts)

    def ticks(self, seconds: float) -> Iterator[Any]:
        """Iterate over the object so far; yield None each time that nothing came for *seconds*.

        See `Stream.ticks`. An object that is None so far is left out.

        Raises:
            InvalidInputError: *seconds* is not a positive number.
            StreamConsumed: It was read already.
        """
        from hfclient.ticking import checked_seconds

        seconds = checked_seconds(seconds)
        drafts = iter(self)
        self._seconds = seconds
        return drafts

    def result(self) -> T:
        """Return the object; reads the answer to its end. May be called again.

        Raises:
            ParseError: Neither the answer nor a repaired one is valid.
            HFClientError: The error that ended the answer early.
        """
        if self._state == "open":
            for _ in self:
                pass
        if self._error is not None:
            raise self._error
        if self._value is NOTHING:
            raise StreamConsumed("the answer was closed before its end, or is still being read", partial=self.partial)
        value: T = self._value
        return value

    @property
    def partial(self) -> Reply:
        """The answer so far, as a `Reply` with its text; after the end, the whole of the last one."""
        return self._inner.partial

    @property
    def attempts(self) -> int:
        """Number of answers that were requested."""
        return self._attempts

    def close(self) -> None:
        """Stop reading and free the connection at once; idempotent."""
        if self._asking:  # another thread waits for an answer
            self.cancel()
            return
        if self._state in ("open", "reading"):
            self._state = "closed"
        self._inner.close()

    def cancel(self) -> None:
        """Stop the reader, from any thread: it raises `Cancelled`. Returns at once."""
        self._call.clock.cancellation.cancel()
        self._inner.cancel()

    def __enter__(self) -> ParseStream[T]:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _read(self) -> Iterator[Any]:
        try:
            while True:
                yield from self._drafts_of(self._inner)
                if self._state == "closed":
                    return  # by the loop that reads it
                reply = self._inner.result()
                try:
                    self._value = self._call.read(reply)
                    break
                except SchemaMismatch as misfit:
                    self._call.correct(reply, misfit, self._attempts)
                    yield from self._ask_again(reply)
            self._state = "done"
        except HFClientError as error:
            self._error = error
            self._state = "failed"
            raise
        finally:
            if self._state == "reading":  # left early
                self.close()

    def _drafts_of(self, stream: Stream) -> Iterator[Any]:
        partial = PartialJSON("{[" if self._call.shape.wrapped else "{")
        last: Any = NOTHING
        due = 0
        ticks = self._seconds is not None
        for event in stream if self._seconds is None else stream.ticks(self._seconds):
            if event is None:
                yield None
            if type(event) is not Token:
                continue
            partial.feed(event.text)
            # Each draft is decoded from the start, so a long answer has fewer of them.
            if partial.size < due and not partial.complete:
                continue
            draft = self._call.shape.unwrapped(partial.value())
            if draft is not NOTHING and draft != last and not (ticks and draft is None):
                last = draft
                due = partial.size + partial.size // _STEP
                yield draft

    def _ask_again(self, reply: Reply) -> Iterator[None]:
        """Request another answer; yield None at each tick."""
        self._attempts += 1
        self._asking = True
        try:
            if self._seconds is None:
                self._inner = self._call.send()
            else:
                from hfclient.ticking import apart

                cancel = self._call.clock.cancellation.cancel
                self._inner = yield from apart(self._call.send, self._seconds, cancel=cancel, drop=Stream.close)
        finally:
            self._asking = False
        if self._call.clock.cancellation.requested or self._state == "closed":  # cancelled or closed while the request was sent
            self._inner.close()
            raise Cancelled("the call was cancelled", partial=reply)


@frozen
class Parsed:
    """An object, and the last answer without its text; ``usage`` is the sum of all answers that it took."""

    value: Any
    reply: Reply


def parse_stream(
    completions: ChatCompletions, prompt: Prompt, into: Any, options: Mapping[str, Any]
) -> ParseStream[Any]:
    """Send the first request and return the answer to come; see `InferenceClient.parse_stream`."""
    call = _call_for(completions, prompt, Shape.of(into, strict=options.get("strict", True)), options)
    return ParseStream(call, call.send())


def parse_whole(completions: ChatCompletions, prompt: Prompt, shape: Shape, options: Mapping[str, Any]) -> Parsed:
    """Return the object of a call whose answers come in one piece; see `InferenceClient.parse`.

    Raises:
        ParseError: Neither the answer nor a repaired one is valid.
    """
    call = _call_for(completions, prompt, shape, options)
    usages: list[Usage] = []
    attempts = 0
    while True:
        reply = call.ask()
        attempts += 1
        usages += [reply.usage] if reply.usage is not None else []
        reply = evolve(reply, usage=sum_of(usages))
        try:
            return Parsed(call.read(reply), evolve(reply, text=""))
        except SchemaMismatch as misfit:
            call.correct(reply, misfit, attempts)


def _call_for(completions: ChatCompletions, prompt: Prompt, shape: Shape, options: Mapping[str, Any]) -> _ParseCall:
    options = dict(options)
    repair, dialect = options.pop("repair", 1), options.pop("dialect", None)
    options.pop("strict", None)  # the shape has it
    if not isinstance(repair, int) or repair < 0:
        raise InvalidInputError(f"repair is a number of at least 0, not {repair!r}")
    if dialect == "detect":
        dialect = completions.service.schema_dialect()
    if dialect is not None and dialect not in DIALECTS:
        raise InvalidInputError(f"unknown dialect {dialect!r}; known are {', '.join(DIALECTS)}, and 'detect'")
    clock = completions.service.session.clock(options.pop("timeouts", None))
    messages = build_messages(prompt, options.pop("system_prompt", None))
    messages = with_attachments(messages, options.pop("images", None), options.pop("files", None))
    if instruction := instruction_for(shape.schema, dialect):
        _add_instruction(messages, instruction)
    options["response_format"] = SchemaFormat(shape.schema, shape.name, shape.strict, dialect)
    return _ParseCall(completions, options, shape, messages, repair, clock)


def _add_instruction(messages: list[dict[str, Any]], instruction: str) -> None:
    """Add the instruction to the system message: many templates allow only one."""
    first = messages[0]
    if first["role"] == "system" and isinstance(first["content"], str):
        messages[0] = {**first, "content": f"{first['content']}\n\n{instruction}"}
    else:
        messages.insert(0, {"role": "system", "content": instruction})
