"""The tool loop: the model calls functions, gets their results, and continues until it has an answer.

One `ToolStream` covers the answers of all rounds. Its events are those of the answers, in blocks as they come, and a
`ToolResult` or `ToolError` for every call. If a call fails (no such tool, arguments that do not fit, a function that raises, a
user who declines), the model gets the error and may correct itself; only errors of the answers themselves are raised.

Reference: docs/protocol/inference ("tool-call deltas", "messages").
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from attrs import evolve, field, frozen

from hfclient.decoding.frames import excerpt
from hfclient.decoding.utf16 import repair_surrogates
from hfclient.errors import Cancelled, InvalidInputError, ProtocolError, TooManyRounds, Unsupported
from hfclient.events import AnyEvent, ToolCall, ToolError, ToolResult, Usage
from hfclient.inference.completions.answer_reader import AnswerReader
from hfclient.inference.completions.chat import ChatCompletions
from hfclient.inference.completions.messages import Prompt, build_messages
from hfclient.inference.completions.roles import AssistantMessage, arguments_of
from hfclient.inference.completions.stream import split_reasoning
from hfclient.inference.completions.token_counts import sum_of
from hfclient.inference.completions.tool_calls import new_call_id
from hfclient.inference.content.attachments import with_attachments
from hfclient.inference.schemas.tools import Tool, ToolLike, as_tools, is_async, tool_result_text
from hfclient.inference.schemas.type_schemas import SchemaMismatch
from hfclient.reply_builder import ReplyBuilder
from hfclient.stream import Stream
from hfclient.transport import Clock
from hfclient.types import Reply

__all__ = ["Approve", "ToolStream", "run_tools"]

_log = logging.getLogger("hfclient")
_MAX_THREADS = 8
_CANCELLED = "the run was cancelled"

Approve: TypeAlias = "Callable[[ToolCall], bool | str | None]"
"""Called before each tool call: only True runs it; a string is the reason for the model."""


def run_tools(
    completions: ChatCompletions,
    prompt: Prompt,
    tools: Iterable[ToolLike],
    options: Mapping[str, Any],
    *,
    in_pieces: bool = True,
) -> ToolStream:
    """Send the first request and return the stream over all rounds; see `InferenceClient.run_tools`.

    Without *in_pieces* each answer is requested as one document.
    """
    options = dict(options)
    max_rounds, approve = options.pop("max_rounds", 8), options.pop("approve", None)
    parallel, keep_reasoning = options.pop("parallel", True), options.get("keep_reasoning", False)
    clock = completions.service.session.clock(options.pop("timeouts", None))
    if not isinstance(max_rounds, int) or max_rounds < 0:
        raise InvalidInputError(f"max_rounds is a number of at least 0, not {max_rounds!r}")
    if approve is not None and not callable(approve):
        raise InvalidInputError(f"approve is a function that returns True, False or a reason, not {approve!r}")
    if approve is not None and is_async(approve):
        raise InvalidInputError("approve is asynchronous; give a plain function that returns True, False or a reason")
    known = as_tools(tools)
    messages = build_messages(prompt, options.pop("system_prompt", None), keep_reasoning=keep_reasoning)
    messages = with_attachments(messages, options.pop("images", None), options.pop("files", None))
    run = _Run(
        completions=completions,
        tools={tool.name: tool for tool in known},
        messages=messages,
        options={**options, "tools": [tool.to_dict() for tool in known] or None},
        max_rounds=max_rounds,
        approve=approve,
        parallel=parallel,
        keep_reasoning=keep_reasoning,
        clock=clock,
        in_pieces=in_pieces,
    )
    return ToolStream(run, run.begin_round(0))


@frozen
class _Run:
    """The settings of one run, and its messages so far."""

    completions: ChatCompletions
    tools: Mapping[str, Tool]
    messages: list[dict[str, Any]]
    options: Mapping[str, Any]
    max_rounds: int
    approve: Approve | None
    parallel: bool
    keep_reasoning: bool
    clock: Clock
    in_pieces: bool

    def begin_round(self, number: int) -> AnswerReader:
        """Send the messages so far."""
        options = dict(self.options)
        if number and options.get("tool_choice") not in (None, "auto", "none"):
            options["tool_choice"] = "auto"  # otherwise it would call tools forever
        self.clock.check()
        return self.completions.send(self.messages, options, self.clock, in_pieces=self.in_pieces)

    @property
    def must_call(self) -> bool:
        """Whether *tool_choice* requires a call."""
        return self.options.get("tool_choice") not in (None, "auto", "none")


@frozen
class _Job:
    """One call of a round, with its index."""

    place: int
    call: ToolCall
    tool: Tool
    arguments: dict[str, Any]


@frozen
class _Outcome:
    """The result of a call: an event, and the text for the model. A fatal one ends the run."""

    place: int
    event: ToolResult | ToolError | None
    text: str = ""
    fatal: BaseException | None = field(default=None, eq=False)


class ToolStream(Stream):
    """A blocking iterator over the events of all rounds; see `hfclient.stream.Stream`.

    ``result()`` is the last round's answer: its ``text`` and ``reasoning``, with the calls and results of every round and
    the sum of their ``usage``. A single call runs in the reader's thread; several at once run in their own threads.
    `cancel` and the total deadline end the wait for those, but cannot stop a running function.
    """

    def __init__(self, run: _Run, first: AnswerReader) -> None:
        self._run = run
        self._answer = first
        self._round = ReplyBuilder()
        self._rounds = 0
        self._usages: list[Usage] = []
        self._used = {call["id"] for message in run.messages for call in _calls_in(message)}
        self._cancelled = False
        self._outcomes: queue.SimpleQueue[_Outcome | None] = queue.SimpleQueue()
        service = run.completions.service
        super().__init__(first.response, on_event=service.on_event, last=service.last)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation so far, as sent to the server: the prompt, then the rounds that are complete.

        Append a user message to make the next prompt. If tools without a function were called, append their results first:
        their calls are the last ones.
        """
        return list(self._run.messages)

    @property
    def rounds(self) -> int:
        """Number of rounds of tool calls so far."""
        return self._rounds

    @property
    def partial(self) -> Reply:
        """The answer so far, as a `Reply`. Never reads, never raises."""
        whole = self._builder.reply(**self._answer.fields(), interrupted=self._state == "closed")
        last = evolve(whole, text=self._round.text(), reasoning=self._round.thoughts())
        return evolve(split_reasoning(last), usage=sum_of(self._usages) or whole.usage)

    def cancel(self) -> None:
        """Stop the reader, from any thread: its loop raises `Cancelled`. Returns at once.

        Functions in their own threads keep running; one in the reader's thread ends first.
        """
        super().cancel()

    def _wake(self) -> None:
        self._cancelled = True
        self._answer.cancel()
        self._outcomes.put(None)

    # The rounds

    def _blocks(self) -> Iterator[list[AnyEvent]]:
        run = self._run
        while True:
            calls: list[ToolCall] = []
            yield from self._read_answer(calls)
            self._response.close()
            yield []  # from here on there are other waits
            if not calls:
                if run.must_call and not self._rounds:
                    raise Unsupported(
                        "the model had to call a tool but did not: the server or the model's template ignores tools"
                    )
                if self._round.reply().finish_reason == "tool_calls" and not self._round.text().strip():
                    raise ProtocolError("the answer ended with finish_reason 'tool_calls', but no call of a tool came")
                self._remember([])
                return
            if self._rounds >= run.max_rounds:
                raise TooManyRounds(
                    f"the model called tools in {run.max_rounds} rounds and wants to continue (max_rounds)",
                    rounds=self._rounds,
                )
            self._rounds += 1
            outcomes: dict[int, _Outcome] = {}
            yield from self._work(calls, outcomes)
            self._remember(calls, outcomes)
            if len(outcomes) < len(calls):
                return  # the caller runs the rest
            self._check_cancelled()
            self._round, self._answer = ReplyBuilder(), run.begin_round(self._rounds)
            self._use(self._answer.response)
            self._waiting = True
            self._check_cancelled()  # it may have come while the request was sent

    def _read_answer(self, calls: list[ToolCall]) -> Iterator[list[AnyEvent]]:
        """Yield the blocks of one answer, and collect its calls with unique ids."""
        for events in self._answer.blocks(self._use):
            for number, event in enumerate(events):
                if type(event) is ToolCall:
                    if event.uuid in self._used:  # some servers count from "call_0" in every answer
                        events[number] = event = evolve(event, uuid=new_call_id())
                    self._used.add(event.uuid)
                    calls.append(event)
                elif type(event) is Usage:
                    self._usages.append(event)
            self._round.add(events)
            yield events

    def _remember(self, calls: list[ToolCall], outcomes: Mapping[int, _Outcome] | None = None) -> None:
        """Add the round to the messages."""
        text = self._round.text()
        if calls:
            text = text if text.strip() else ""
        thoughts = self._round.thoughts() if self._run.keep_reasoning else ""
        if calls or text:
            attached = self._answer.fields().get("provider_fields")
            self._run.messages.append(AssistantMessage(text, calls, thoughts, attached).to_dict())
        for number, call in enumerate(calls):
            if outcome := (outcomes or {}).get(number):
                self._run.messages.append({"role": "tool", "tool_call_id": call.uuid, "content": outcome.text})

    def _check_cancelled(self) -> None:
        if self._cancelled:
            raise Cancelled(_CANCELLED)

    # The calls of a round

    def _work(self, calls: list[ToolCall], outcomes: dict[int, _Outcome]) -> Iterator[list[AnyEvent]]:
        """Run the calls, yield their events as they come, and collect the outcomes by index."""
        jobs: list[_Job] = []
        for place, call in enumerate(calls):
            self._check_cancelled()
            found = self._prepare(place, call)
            if isinstance(found, _Job):
                jobs.append(found)
            elif found is not None:
                outcomes[place] = found
                yield [found.event] if found.event else []
        for outcome in self._outcomes_of(jobs):
            self._check_cancelled()
            if outcome.fatal is not None:
                raise outcome.fatal
            outcomes[outcome.place] = outcome
            yield [outcome.event] if outcome.event else []

    def _prepare(self, place: int, call: ToolCall) -> _Job | _Outcome | None:
        """Return a job for the call, its failure, or None if the tool has no function."""
        tools = self._run.tools
        tool = tools.get(call.name)
        if tool is None or not call.name:  # built-in tools of a server may have no name
            names = ", ".join(filter(None, tools))
            return _failed(place, call, f"there is no tool {call.name!r}; known are: {names or 'none'}")
        if tool.function is None:
            return None
        arguments = arguments_of(call)
        if arguments is None:
            text = excerpt((call.arguments or "").encode("utf-8", "replace"))
            return _failed(place, call, f"the arguments are not a JSON object: {text}")
        verdict = True if self._run.approve is None else self._run.approve(call)
        if verdict is not True:
            reason = f": {verdict}" if isinstance(verdict, str) and verdict else ""
            return _failed(place, call, f"the user declined this call{reason}")
        return _Job(place, call, tool, arguments)

    def _outcomes_of(self, jobs: list[_Job]) -> Iterator[_Outcome]:
        if len(jobs) < 2 or not self._run.parallel:
            yield from map(_run_job, jobs)
            return
        waiting: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        for job in jobs:
            waiting.put(job)
        over = threading.Event()
        for _ in range(min(len(jobs), _MAX_THREADS)):
            # Daemon threads: a tool that hangs must not block the end of the program. Each gets the reader's context variables.
            run = contextvars.copy_context().run
            threading.Thread(target=run, args=(self._serve, waiting, over), name="hfclient-tool", daemon=True).start()
        try:
            for _ in jobs:
                try:
                    outcome = self._outcomes.get(timeout=self._run.clock.remaining())
                except queue.Empty:
                    raise self._run.clock.expired() from None
                if outcome is None:
                    raise Cancelled(_CANCELLED)
                yield outcome
        finally:
            over.set()  # calls that have not begun do not begin any more

    def _serve(self, waiting: queue.SimpleQueue[_Job], over: threading.Event) -> None:
        with contextlib.suppress(queue.Empty):
            while not over.is_set() and not self._cancelled:
                self._outcomes.put(_run_job(waiting.get_nowait()))


def _run_job(job: _Job) -> _Outcome:
    """Call the function; an exception becomes text for the model, but KeyboardInterrupt and the like end the run."""
    call = job.call
    try:
        text, value = tool_result_text(job.tool.call(job.arguments))
    except SchemaMismatch as misfit:
        return _failed(job.place, call, f"the arguments do not fit: {misfit}")
    except Exception as error:  # noqa: BLE001 (the model gets any error)
        _log.info("the tool %s failed", call.name, exc_info=True)
        return _failed(job.place, call, repair_surrogates(f"{type(error).__name__}: {error}"))
    except BaseException as error:  # noqa: BLE001 (raised again in the reader's thread)
        return _Outcome(job.place, None, fatal=error)
    output = {"text": text} if value is None else {"text": text, "structured": value}
    return _Outcome(job.place, ToolResult(call.uuid, "success", [output], name=call.name), text)


def _failed(place: int, call: ToolCall, message: str) -> _Outcome:
    return _Outcome(place, ToolError(call.uuid, message), f"Error: {message}")


def _calls_in(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    calls = message.get("tool_calls")
    found = calls if isinstance(calls, list) else []
    return [call for call in found if isinstance(call, Mapping) and isinstance(call.get("id"), str)]
