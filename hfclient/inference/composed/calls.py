"""Calls that are made of several chats: tools in a loop, answers as objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, overload

from hfclient.arguments.argument_types import checks_arguments
from hfclient.inference.completions.messages import Prompt
from hfclient.inference.completions.options import composed_options
from hfclient.inference.schemas.dialects import detect_dialect
from hfclient.inference.schemas.functions import ToolLike
from hfclient.inference.structured_output import ParseStream, parse_stream
from hfclient.inference.tool_loop import Approve, ToolStream, run_tools
from hfclient.stream import Stream
from hfclient.transport import Session, Timeouts

__all__ = ["ComposedCalls"]

T = TypeVar("T")


@checks_arguments
class ComposedCalls:
    """What `InferenceClient` builds on its own `chat`."""

    base_url: str
    chat: Callable[..., Stream]
    _session: Session
    # What the server said of itself, once it was asked. Two threads may ask at once; that does no harm.
    _detected: str | None = None
    _asked = False

    def run_tools(
        self,
        prompt: Prompt,
        tools: Iterable[ToolLike],
        *,
        max_rounds: int = 8,
        approve: Approve | None = None,
        parallel: bool = True,
        keep_reasoning: bool = False,
        timeouts: Timeouts | None = None,
        **options: Any,
    ) -> ToolStream:
        """Return the stream of an answer for which the model may call functions.

            def get_weather(city: str) -> str:
                "The weather in a city."

            for event in inference.run_tools("Is it warm in Paris?", [get_weather], model="Qwen/Qwen3-8B"):
                match event:
                    case events.ToolCall(name=name, parameters=parameters): ...
                    case events.ToolResult(outputs=outputs): ...
                    case events.Token(text): print(text, end="")

        The model sees name, docstring and signature of each function (`Tool.of`). Its arguments arrive converted to the
        annotated types. What goes wrong with a call is told to the model and comes out as a `ToolError`: a tool that does
        not exist, arguments that do not fit, a function that raises. Ids of calls are unique over all rounds.

        Args:
            prompt: A question or a list of messages.
            tools: Functions, methods, partials, `Tool` objects, or ready JSON schemas as dicts. A call of one without a
                function ends the stream: it is in ``result().tool_calls``, and ``messages`` go on from there.
            max_rounds: How many times over tools may be called.
            approve: Called with each `ToolCall` before it is run, in the reader's thread; anything but True declines, and
                a string tells the model why.
            parallel: Run several calls that come at once in threads, up to 8; False runs them one after the other in the
                reader's thread, as a single one always is.
            keep_reasoning: Send the text of the model's reasoning back with its calls (some models want it: DeepSeek, Kimi).
                What a server signed or encrypted goes back in any case.
            timeouts: Deadlines; ``total`` is for all rounds together, tools included.
            options: Everything else that `chat` takes. A ``tool_choice`` that demands a call holds for the first round.

        Returns:
            One stream over all rounds. ``result()`` has the last answer's text, all calls and results, and the sum of
            the usage; ``messages`` the whole conversation.

        Raises:
            InvalidInputError: A function cannot be a tool (asynchronous, ``*args``, types without a JSON schema).
            TooManyRounds: The model goes on calling tools; raised by the iterator, as are the two below.
            Unsupported: *tool_choice* demanded a call and none came: the server ignores tools.
            GenerationError: An answer broke off in the middle of a call (max_tokens, a filter, a failure of the server's); what
                it called is not run.
            HFClientError: As `chat` does, in any round; ``partial`` holds what had come.

        Reference: POST {base}/v1/chat/completions
        """
        composed_options("run_tools", options, ("max_rounds", "approve", "parallel"), self.chat)
        return run_tools(
            self.chat,
            prompt,
            tools,
            max_rounds=max_rounds,
            approve=approve,
            parallel=parallel,
            keep_reasoning=keep_reasoning,
            timeouts=self._session.deadlines(timeouts),
            options=options,
        )

    @overload
    def parse(
        self,
        prompt: Prompt,
        into: type[T],
        *,
        repair: int = 1,
        strict: bool = True,
        dialect: str | None = None,
        timeouts: Timeouts | None = None,
        **options: Any,
    ) -> T: ...

    @overload
    def parse(
        self,
        prompt: Prompt,
        into: Any,
        *,
        repair: int = 1,
        strict: bool = True,
        dialect: str | None = None,
        timeouts: Timeouts | None = None,
        **options: Any,
    ) -> Any: ...

    def parse(self, prompt: Prompt, into: Any, **options: Any) -> Any:
        """Return an object of a class: the model's answer, validated.

            @attrs.define
            class City:
                name: str
                inhabitants: int

            inference.parse("The largest city of France?", into=City, model="Qwen/Qwen3-8B")
            inference.parse("Three large cities?", into=list[City], model="Qwen/Qwen3-8B")

        The class becomes a JSON schema that the server is asked to keep to. Descriptions in the docstring's
        ``Attributes:`` (or in ``Annotated[int, "..."]``) are part of it, and tell the model what you mean.

        Args:
            prompt: A question or a list of messages.
            into: An attrs class, dataclass, TypedDict, NamedTuple, msgspec Struct or pydantic model; or ``list[Class]``,
                ``Literal[...]``, an enum, ``int``, ... Unions of several dataclasses or attrs classes do not work; tagged
                Structs and pydantic models do.
            repair: How many times an answer that does not fit goes back to the model with what is wrong.
            strict: Require every field and allow no others, as OpenAI's strict mode does. An answer with a key that the class
                does not have is none then; one without a field takes its default. False sends the schema as it is, and leaves
                out other keys. In both cases an object with none of the keys is no answer.
            dialect: How the schema is asked for (see `hfclient.inference.schemas.dialects.DIALECTS`); None goes by the server's
                address, ``"detect"`` asks the server whether it is text-generation-inference, ``"prompt"`` tells the
                model in words.
            timeouts: Deadlines; ``total`` is for all answers together.
            options: Everything else that `chat` takes.

        Raises:
            ParseError: No answer fitted, it was cut off (whatever can be read of it), or the model refused; ``raw`` has its
                text, ``path`` and ``reason`` say what was wrong.
            InvalidInputError: *into* has no JSON schema.
            HFClientError: As `chat` does.

        Reference: POST {base}/v1/chat/completions, ``response_format``
        """
        return self.parse_stream(prompt, into, **options).result()

    @overload
    def parse_stream(
        self,
        prompt: Prompt,
        into: type[T],
        *,
        repair: int = 1,
        strict: bool = True,
        dialect: str | None = None,
        timeouts: Timeouts | None = None,
        **options: Any,
    ) -> ParseStream[T]: ...

    @overload
    def parse_stream(
        self,
        prompt: Prompt,
        into: Any,
        *,
        repair: int = 1,
        strict: bool = True,
        dialect: str | None = None,
        timeouts: Timeouts | None = None,
        **options: Any,
    ) -> ParseStream[Any]: ...

    def parse_stream(
        self,
        prompt: Prompt,
        into: Any,
        *,
        repair: int = 1,
        strict: bool = True,
        dialect: str | None = None,
        timeouts: Timeouts | None = None,
        **options: Any,
    ) -> ParseStream[Any]:
        """Return the answer to come as an object; iterating it gives what is there so far, ``result()`` the object.

        Arguments and errors are those of `parse`; the request has been sent when this returns.
        """
        composed_options("parse", options, ("into", "repair", "strict", "dialect"), self.chat)
        return parse_stream(
            self.chat,
            prompt,
            into,
            repair=repair,
            strict=strict,
            dialect=self._dialect_of(dialect),
            timeouts=self._session.deadlines(timeouts),
            options=options,
        )

    def _dialect_of(self, dialect: str | None) -> str | None:
        if dialect != "detect":
            return dialect
        if not self._asked:
            self._detected, self._asked = detect_dialect(self._session, self.base_url), True
        return self._detected
