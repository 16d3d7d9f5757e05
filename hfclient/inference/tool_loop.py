"""Tools in a loop: the model calls functions, gets their results, and goes on until it has an answer.

One `ToolStream` goes over the answers of all rounds. Its events are those of the answers, by the block as they come,
and a `ToolResult` or `ToolError` for every call. What goes wrong with a call (no such tool, arguments that do not fit, a
function that raises, a user who declines) is told to the model, which often does better the next time; only what goes
wrong with the answers themselves is raised.

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
from hfclient.decoding.utf16 import mend_surrogates
from hfclient.errors import Cancelled, InvalidInputError, ProtocolError, TooManyRounds, Unsupported
from hfclient.events import AnyEvent, ToolCall, ToolError, ToolResult, Usage
from hfclient.inference.completions.chat import ChatCompletions
from hfclient.inference.completions.messages import Prompt, build_messages
from hfclient.inference.completions.roles import AssistantMessage, arguments_of
from hfclient.inference.completions.stream import without_thoughts
from hfclient.inference.completions.tool_calls import new_call_id
from hfclient.inference.content.attachments import with_attachments
from hfclient.inference.schemas.tools import Tool, ToolLike, as_tools, is_async, tool_result_text
from hfclient.inference.schemas.type_schemas import SchemaMismatch
from hfclient.stream import ReplyBuilder, Stream
from hfclient.transport import Clock
from hfclient.types import Reply

__all__ = ["Approve", "ToolStream", "run_tools"]

_log = logging.getLogger("hfclient")
_MOST_THREADS = 8
_CANCELLED = "the run was cancelled"

Approve: TypeAlias = "Callable[[ToolCall], bool | str | None]"
"""Asked before each call: True runs it; anything else does not, and a string tells the model why."""


def run_tools(
    completions: ChatCompletions, prompt: Prompt, tools: Iterable[ToolLike], options: Mapping[str, Any]
) -> ToolStream:
    """Send the first request and return the stream over all rounds; see `InferenceClient.run_tools`."""
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
    )
    return ToolStream(run, run.begin_round(0))


@frozen
class _Run:
    """What one run goes by, and the messages that it has gathered."""

    completions: ChatCompletions
    tools: Mapping[str, Tool]
    messages: list[dict[str, Any]]
    options: Mapping[str, Any]
    max_rounds: int
    approve: Approve | None
    parallel: bool
    keep_reasoning: bool
    clock: Clock

    def begin_round(self, number: int) -> Stream:
        """Send the messages as they stand."""
        options = dict(self.options)
        if number and options.get("tool_choice") not in (None, "auto", "none"):
            options["tool_choice"] = "auto"  # or it would call for ever
        self.clock.check()
        return self.completions.start(self.messages, options, self.clock)

    @property
    def must_call(self) -> bool:
        """The model was told that it has to call a tool."""
        return self.options.get("tool_choice") not in (None, "auto", "none")


@frozen
class _Job:
    """One call of a round, with its place among the others."""

    place: int
    call: ToolCall
    tool: Tool
    arguments: dict[str, Any]


@frozen
class _Outcome:
    """What came of a call: an event, and the text that the model gets. A fatal one ends the run."""

    place: int
    event: ToolResult | ToolError | None
    text: str = ""
    fatal: BaseException | None = field(default=None, eq=False)


class ToolStream(Stream):
    """A blocking iterator over the events of all rounds; see `hfclient.stream.Stream`.

    ``result()`` is the last round's answer: its ``text`` and ``reasoning``, with the calls and results of every round and
    the sum of their ``usage``. A single call runs in the thread that reads; of several at once each gets a thread of its
    own. `cancel` and the total deadline end the wait for those; a function that is running cannot be stopped by anybody.
    """

    def __init__(self, run: _Run, first: Stream) -> None:
        super().__init__(first._response, first._decoder, on_event=first._on_event)
        self._run = run
        self._inner = first
        self._round = ReplyBuilder()
        self._rounds = 0
        self._usages: list[Usage] = []
        self._used = {call["id"] for message in run.messages for call in _calls_in(message)}
        self._cancelled = False
        self._outcomes: queue.SimpleQueue[_Outcome | None] = queue.SimpleQueue()

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation so far, as sent to the server: the prompt, then the rounds that are complete.

        With another user message it makes the next prompt. Calls of tools without a function are the last ones in it and
        wait for their results.
        """
        return list(self._run.messages)

    @property
    def rounds(self) -> int:
        """How many rounds of calls were run."""
        return self._rounds

    @property
    def partial(self) -> Reply:
        """What has come so far, as a `Reply`. Never reads, never raises."""
        whole = self._builder.reply(**self._inner._known())
        last = evolve(whole, text=self._round.text(), reasoning=self._round.thoughts())
        return evolve(without_thoughts(last), usage=_sum(self._usages) or whole.usage)

    def cancel(self) -> None:
        """Stop the reader, from any thread: its loop raises `Cancelled`. Returns at once.

        Functions in threads of their own are left to themselves; one in the reader's thread is waited for.
        """
        super().cancel()

    def _interrupt(self) -> None:
        self._cancelled = True
        self._run.clock.cancellation.cancel()
        self._inner.cancel()
        self._outcomes.put(None)

    def _release(self) -> None:
        self._inner.close()

    # The rounds

    def _blocks(self) -> Iterator[list[AnyEvent]]:
        run = self._run
        while True:
            calls: list[ToolCall] = []
            yield from self._answer(calls)
            self._inner.close()
            if not calls:
                if run.must_call and not self._rounds:
                    raise Unsupported(
                        "the model had to call a tool but did not: this server, or the model's template, ignores tools"
                    )
                if self._round.reply().finish_reason == "tool_calls" and not self._round.text().strip():
                    raise ProtocolError("the answer ended with finish_reason 'tool_calls', but no call of a tool came")
                self._remember([])
                return
            if self._rounds >= run.max_rounds:
                raise TooManyRounds(
                    f"the model called tools {run.max_rounds} times over and wants to go on (max_rounds)",
                    rounds=self._rounds,
                )
            self._rounds += 1
            outcomes: dict[int, _Outcome] = {}
            yield from self._work(calls, outcomes)
            self._remember(calls, outcomes)
            if len(outcomes) < len(calls):
                return  # somebody else runs the rest
            self._check_cancelled()
            inner = run.begin_round(self._rounds)
            self._round, self._inner, self._response = ReplyBuilder(), inner, inner._response
            self._waiting = True
            if self._cancelled:  # meanwhile: that reached the answer before this one
                inner.close()
                self._check_cancelled()

    def _answer(self, calls: list[ToolCall]) -> Iterator[list[AnyEvent]]:
        """Yield the blocks of one answer, and gather the calls in it, with ids that no other call has."""
        for events in self._inner._blocks():
            self._response = self._inner._response  # another one after a failover
            for number, event in enumerate(events):
                if type(event) is ToolCall:
                    if event.uuid in self._used:  # such as servers that count from "call_0" in every answer
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
            attached = self._inner._known().get("provider_fields")
            self._run.messages.append(AssistantMessage(text, calls, thoughts, attached).to_dict())
        for number, call in enumerate(calls):
            if outcome := (outcomes or {}).get(number):
                self._run.messages.append({"role": "tool", "tool_call_id": call.uuid, "content": outcome.text})

    def _check_cancelled(self) -> None:
        if self._cancelled:
            raise Cancelled(_CANCELLED)

    # The calls of a round

    def _work(self, calls: list[ToolCall], outcomes: dict[int, _Outcome]) -> Iterator[list[AnyEvent]]:
        """Run the calls, yield what comes of each as it comes, and gather it in *outcomes* by place."""
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
        """Return a call that can be run, what is wrong with it, or None if the caller shall run it."""
        tools = self._run.tools
        tool = tools.get(call.name)
        if tool is None or not call.name:  # tools of a server's own may have no name
            names = ", ".join(filter(None, tools))
            return _failed(place, call, f"there is no tool {call.name!r}; known are: {names or 'none'}")
        if tool.function is None:
            return None
        arguments = arguments_of(call)
        if arguments is None:
            text = excerpt((call.arguments or "").encode("utf-8", "replace"))
            return _failed(place, call, f"the arguments are no JSON object: {text}")
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
        for _ in range(min(len(jobs), _MOST_THREADS)):
            # Daemons: a tool that hangs must not keep the program from ending. Each gets the reader's context variables.
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
            over.set()  # whatever has not begun does not begin any more

    def _serve(self, waiting: queue.SimpleQueue[_Job], over: threading.Event) -> None:
        with contextlib.suppress(queue.Empty):
            while not over.is_set() and not self._cancelled:
                self._outcomes.put(_run_job(waiting.get_nowait()))


def _run_job(job: _Job) -> _Outcome:
    """Call the function; what it raises becomes text for the model, but Ctrl-C and the like end the run."""
    call = job.call
    try:
        text, value = tool_result_text(job.tool.call(job.arguments))
    except SchemaMismatch as misfit:
        return _failed(job.place, call, f"the arguments do not fit: {misfit}")
    except Exception as error:  # noqa: BLE001 (whatever it is, the model is told)
        _log.info("the tool %s failed", call.name, exc_info=True)
        return _failed(job.place, call, mend_surrogates(f"{type(error).__name__}: {error}"))
    except BaseException as error:  # noqa: BLE001 (raised again by the reader, whose thread this need not be)
        return _Outcome(job.place, None, fatal=error)
    output = {"text": text} if value is None else {"text": text, "structured": value}
    return _Outcome(job.place, ToolResult(call.uuid, "success", [output], name=call.name), text)


def _failed(place: int, call: ToolCall, message: str) -> _Outcome:
    return _Outcome(place, ToolError(call.uuid, message), f"Error: {message}")


def _calls_in(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    calls = message.get("tool_calls")
    found = calls if isinstance(calls, list) else []
    return [call for call in found if isinstance(call, Mapping) and isinstance(call.get("id"), str)]


def _sum(usages: list[Usage]) -> Usage | None:
    """Return all counts together; those that only some rounds have are the sum of what there is."""
    if len(usages) < 2:
        return usages[0] if usages else None

    def optional(name: str) -> int | None:
        counts = [getattr(usage, name) for usage in usages]
        return sum(count or 0 for count in counts) if any(count is not None for count in counts) else None

    return Usage(
        prompt_tokens=sum(usage.prompt_tokens for usage in usages),
        completion_tokens=sum(usage.completion_tokens for usage in usages),
        total_tokens=sum(usage.total_tokens for usage in usages),
        cached_tokens=optional("cached_tokens"),
        reasoning_tokens=optional("reasoning_tokens"),
    )
