"""What a `Guard` admits: one request, and the source whose events are counted."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from hfclient.errors import (
    APIStatusError,
    Cancelled,
    ConversationBusy,
    CredentialsError,
    HFClientError,
    InvalidInputError,
    MissingDependencyError,
    TransportError,
    Unsupported,
)
from hfclient.events import AnyEvent, FinalAnswer, Reasoning, Route, Token, ToolCall, Usage
from hfclient.types import Reply
from hfclient.web.allowances import Allowance, rate_limit_headers
from hfclient.web.errors import LimitExceeded, StoreUnavailable
from hfclient.web.limit_store import CREDIT, Counter
from hfclient.web.source import Source, events_of
from hfclient.web.text_sizes import BYTES_PER_TOKEN, size_of, size_of_texts

if TYPE_CHECKING:
    from typing_extensions import Self

    from hfclient.web.guard import Guard

__all__ = ["Admission", "Watched"]

_log = logging.getLogger("hfclient.web")
_MOST = 2**40  # of one answer; a server's or an application's mistake must not overflow the store's 64 bits
_NOT_SENT = (ConversationBusy, CredentialsError, InvalidInputError, MissingDependencyError, Unsupported)


class Admission:
    """One admitted request: what it has reserved and used. A context manager; leaving it counts the use.

    Attributes:
        counted: False if the store was down and the request was admitted uncounted.
    """

    def __init__(self, guard: Guard, user: object, key: object, prompt: object, model: str, tokens: int | None) -> None:
        self._guard = guard
        self._owners = {"user": user, "key": key, "total": ""}
        self._model = model
        self._provider: str | None = None
        self._prompt = size_of_texts(prompt) if any(limit.scope != "requests" for limit in guard.limits) else 0
        expected = math.ceil(self._prompt / BYTES_PER_TOKEN) + guard.reserve["tokens"] if tokens is None else tokens
        self._reserved = {
            "requests": 1,
            "tokens": _bounded(max(1, expected)),
            "credits": _bounded(max(1, guard.reserve["credits"] * CREDIT)),
        }
        self._counters: dict[Counter, int] = {}  # with their sums at the admission
        self._usages: list[Usage] = []
        self._extra = {"tokens": 0.0, "credits": 0.0}
        self._pending = 0  # bytes since the last report
        self._begun = self._unsent = False
        self._closing = threading.Lock()  # taken by the thread that corrects the counters; never given back
        self.counted = True

    def _enter(self) -> None:
        guard, now = self._guard, time.time()
        counters = [guard.counter(limit, self._owners[limit.per], now) for limit in guard.limits]
        try:
            for counter in counters:
                limit = counter.limit
                amount = self._reserved[limit.scope]
                total = self._counters[counter] = guard.store.add(counter, amount)
                if total - amount >= limit.amount:
                    raise LimitExceeded(
                        f"the limit of {limit} is used up", retry_after=max(1.0, counter.end - now), scope=limit.scope
                    )
        except LimitExceeded:
            self._give_back()
            raise
        except StoreUnavailable:
            if guard.on_store_error == "refuse":
                self._give_back()
                raise
            self.counted = False

    def watch(self, stream: Source) -> Watched:
        """Return *stream* as a source that is counted here."""
        self._begun = True
        return Watched(lambda: stream, lambda: self)

    def headers(self) -> dict[str, str]:
        """Return the header fields of `Guard.headers` as they were at the admission."""
        now = time.time()
        return rate_limit_headers(Allowance.of(counter, total, now) for counter, total in self._counters.items())

    def count(self, used: Reply | Usage | None = None, *, tokens: float = 0, credits: float = 0) -> None:
        """Add what a call used that is not read with `watch`. Without this, only the request is counted.

        Args:
            used: A reply, or the server's report. A reply without a report is estimated.
            tokens: Further tokens.
            credits: Further credits, such as those of an image.
        """
        if isinstance(used, Reply):
            if used.route is not None:
                self._route(used.route)
            self._model = self._model or used.model or ""
            used = used.usage or self._estimate(size_of_texts((used.text, used.reasoning)))
        if used is not None:
            self._usages.append(used)
        self._extra["tokens"] += tokens
        self._extra["credits"] += credits

    def close(self) -> None:
        """Replace the reservation by what was used; idempotent, never raises."""
        if not self._closing.acquire(blocking=False):
            return
        now = time.time()
        try:
            used = self._used()
            for counter in self._counters:
                scope = counter.limit.scope
                change = used[scope] - self._reserved[scope]
                if change and counter.end > now:
                    self._guard.store.add(counter, change)
                elif change > 0:  # the window of the admission is over, and so is its reservation
                    self._guard.store.add(self._guard.counter(counter.limit, self._owners[counter.limit.per], now), change)
        except StoreUnavailable:
            _log.info("the use of an answer could not be counted: its reservation remains")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            self._failed(error)
        self.close()

    def _event(self, event: AnyEvent) -> None:
        """Count an event other than a token."""
        match event:
            case Reasoning(text):
                self._add_text(text)
            case Usage():
                self._report(event)
            case Route():
                self._route(event)
            case ToolCall():
                self._add_text(event.arguments or "")
            case FinalAnswer(text):  # repeats the tokens, or has more of them
                self._pending = max(self._pending, size_of(text))
            case _:
                pass

    def _add_text(self, text: str) -> None:
        self._pending += size_of(text)

    def _report(self, usage: Usage) -> None:
        self._usages.append(usage)
        self._pending = 0

    def _route(self, route: Route) -> None:
        self._model, self._provider = route.model or self._model, route.provider or self._provider

    def _failed(self, error: BaseException) -> None:
        """Note why the call was not answered, or why the answer ended early."""
        self._guard.provider_refused(error)
        if self._begun or isinstance(error, APIStatusError):
            return
        if isinstance(error, _NOT_SENT) or (isinstance(error, TransportError) and not error.sent):
            self._unsent = True
        else:  # cancelled, or a timeout: the server may have read the prompt
            self._begun = True

    def _estimate(self, size: int) -> Usage:
        prompt, answer = math.ceil(self._prompt / BYTES_PER_TOKEN), math.ceil(size / BYTES_PER_TOKEN)
        return Usage(prompt, answer, prompt + answer)

    def _used(self) -> dict[str, int]:
        """Return what was used, in units of the counters."""
        if self._unsent:
            return {"requests": 0, "tokens": 0, "credits": 0}
        usages = list(self._usages)
        if self._pending or (self._begun and not usages):
            usages.append(self._estimate(self._pending))
        tokens = sum(usage.total_tokens or usage.prompt_tokens + usage.completion_tokens for usage in usages)
        return {
            "requests": 1,
            "tokens": _bounded(tokens + self._extra["tokens"]),
            "credits": _bounded(self._cost(usages) + self._extra["credits"] * CREDIT),
        }

    def _cost(self, usages: list[Usage]) -> float:
        price = self._guard.price
        if price is None:
            return 0
        try:
            costs = [price(usage, self._model, self._provider) for usage in usages]
        except Exception as error:  # noqa: BLE001 (a function of the application)
            _log.warning("the price of an answer is unknown: %s", type(error).__name__)
            costs = [None] * len(usages)
        reserved = self._reserved["credits"]
        # Also for a price that is negative or not a number.
        return sum(cost * CREDIT if cost is not None and 0 <= cost < math.inf else reserved for cost in costs)

    def _give_back(self) -> None:
        self._closing.acquire(blocking=False)
        try:
            for counter in self._counters:
                self._guard.store.add(counter, -self._reserved[counter.limit.scope])
        except StoreUnavailable:
            _log.info("a refused request could not be taken from the counters")


class Watched:
    """A source whose call is admitted by a `Guard` and whose use is counted: iterate, use ``ticks``, or call it to open it.

    Other attributes are those of the stream, once it is open.
    """

    def __init__(self, open: Callable[[], Source], admit: Callable[[], Admission]) -> None:
        self._open = open
        self._admit = admit
        self._admission: Admission | None = None
        self._source: Source | None = None
        self._is_closed = self._is_opening = False
        self._admitting = threading.Lock()

    def admit(self) -> Self:
        """Admit the request now, in this thread; idempotent. Close the source if it is not opened after that.

        Raises:
            LimitExceeded, StoreUnavailable: As for `Guard.admit`.
        """
        with self._admitting:
            if self._admission is None:
                self._admission = self._admit()
        return self

    def wrap(self, wrapper: Callable[[Callable[[], Source]], Callable[[], Source]]) -> None:
        """Replace the call by what *wrapper* returns for it: one that runs in a context of a framework, for instance."""
        self._open = wrapper(self._open)

    def headers(self) -> dict[str, str]:
        """Return the header fields of `Guard.headers` as they were at the admission; empty before it."""
        return {} if self._admission is None else self._admission.headers()

    def __call__(self) -> Source:
        """Admit and open the source, and return it.

        Raises:
            LimitExceeded, StoreUnavailable: As for `Guard.admit`.
            HFClientError: The server refused the call.
        """
        self.admit()
        if self._source is None:
            self._source = self._opened()
            if self._is_closed:
                self._source.close()
        return self

    def _opened(self) -> Source:
        admission = self._admission
        assert admission is not None
        self._is_opening = True  # before the check: close() sees this, or this sees close()
        try:
            if self._is_closed:
                admission._unsent = True
                raise Cancelled("the source was closed before it was opened")
            source = self._open()
        except BaseException as error:
            admission._failed(error)
            admission.close()
            raise
        admission._begun = True
        if not admission._model and admission._guard.price is not None:
            admission._model = str(getattr(getattr(source, "partial", None), "model", None) or "")
        return source

    def ticks(self, seconds: float) -> Iterator[AnyEvent | None]:
        """Yield the events, and None each time that nothing came for *seconds*, also before the call is answered."""
        self.admit()
        if self._source is None:
            from hfclient import ticks

            return self._counted(ticks(self._opened_here, seconds))
        return self._counted(self._source.ticks(seconds))

    def _opened_here(self) -> Any:
        self()
        return self._source

    def __iter__(self) -> Iterator[AnyEvent]:
        self()
        source = self._source
        assert source is not None
        return self._counted(events_of(source))

    def _counted(self, events: Iterator[Any]) -> Iterator[Any]:
        admission = self._admission
        assert admission is not None
        try:
            for event in events:
                if type(event) is Token:
                    admission._pending += size_of(event.text)
                elif event is not None:
                    admission._event(event)
                yield event
        except HFClientError as error:
            admission._failed(error)
            raise
        finally:
            # Leaving the loop stops the answer first; the report of its use may still be on its way, and is not waited for.
            close = getattr(events, "close", None)
            if close is not None:
                close()
            self._end()

    def close(self) -> None:
        """Leave the answer and count what was used; idempotent, from any thread."""
        self._is_closed = True
        try:
            if self._source is not None:
                self._source.close()
        finally:
            if self._admission is not None:
                if not self._is_opening:
                    self._admission._unsent = True
                self._end()

    def _end(self) -> None:
        admission = self._admission
        assert admission is not None
        if not (admission._usages or admission._pending):
            # Read by `text` or `result()`, or a stream without events: that of `parse_stream` yields objects.
            reply = getattr(self._source, "partial", None)
            if isinstance(reply, Reply) and (reply.usage is not None or reply.text or reply.reasoning):
                admission.count(reply)
        admission.close()

    def __enter__(self) -> Self:
        self()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or self._source is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}, or the source is not open")
        return getattr(self._source, name)

    def __repr__(self) -> str:
        return f"<Watched {self._source!r}>"


def _bounded(amount: float) -> int:
    return round(min(max(amount, 0), _MOST))
