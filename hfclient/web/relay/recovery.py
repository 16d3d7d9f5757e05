"""Runs whose process has died: another one continues or ends them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import evolve

from hfclient import Client, reply_from_events
from hfclient.errors import InvalidInputError
from hfclient.events import AnyEvent
from hfclient.web.errors import StoreUnavailable
from hfclient.web.relay.encoding import Encoder, count, decode, lengths_before
from hfclient.web.relay.generation import Generation, apart
from hfclient.web.relay.mirror import PAGE_BYTES
from hfclient.web.relay.replay import Replay
from hfclient.web.relay.runs import End, Run, described, generator_lost, unpack_state
from hfclient.web.relay.store import Record, Status, Write
from hfclient.web.source import Source

if TYPE_CHECKING:
    from hfclient.web.relay.relay import Relay

__all__ = ["Recover", "Recovery"]

_log = logging.getLogger("hfclient.web")

Recover: TypeAlias = Callable[[Run], Source]
"""Returns a stream of the same answer, from its start: ``lambda run: run.attach(clients.get(run.owner))``."""


class Recovery:
    """Takes over runs for one relay.

    Args:
        relay: The relay.
        recover: See `Relay`.

    Raises:
        InvalidInputError: *recover* is something else.
    """

    def __init__(self, relay: Relay, recover: Recover | Client | None) -> None:
        self._relay = relay
        if not (recover is None or callable(recover) or isinstance(recover, Client)):
            raise InvalidInputError(f"recover= is a client, or a function that takes a run and returns a stream, not a {type(recover).__name__}")
        self._recover = recover

    def can_continue(self, state: Any, chat: dict[str, Any] | None) -> bool:
        """Whether a run with this state and chat can be continued by another process."""
        if isinstance(self._recover, Client):
            return chat is not None
        return self._recover is not None and not (state is None and chat is None)

    def _stream(self, run: Run) -> Source:
        if isinstance(self._recover, Client):
            return run.attach(self._recover)
        assert self._recover is not None
        return self._recover(run)

    def look(self, record: Record) -> float:
        """Take a run whose lease has expired; return seconds until it has to be looked at again."""
        if self._relay.on_end is None:
            self.take(record)
        else:  # it may take long, and the scheduler's thread renews the leases
            apart(lambda: self._try(record))
        return self._relay.lease / 3

    def _try(self, record: Record) -> None:
        try:
            self.take(record)
        except StoreUnavailable as error:
            _log.info("run %s is looked at again: %s", record.id, error)

    def take(self, record: Record) -> bool:
        """Take a run if its lease has expired, and continue or end it; True if this process got it."""
        relay = self._relay
        if record.ended or record.gone or record.lease_left > 0 or record.id in relay.writer.generations:
            return False
        with relay.intake:
            if relay.closing:
                return False
            continues = record.status == "running" and not record.stop and self.can_continue(*unpack_state(record.state))
            if continues and relay.is_full:
                return False  # another process may have capacity
            taken = relay.store.take_over(record.id, lease=relay.lease)
            if taken is None:
                return False
            if continues and not taken.stop:
                _log.warning("run %s is continued: the process that generated it has ended", record.id)
                self._continue(taken)
            else:
                self.end(taken, "interrupted" if taken.stop else "failed")
            return True

    def _continue(self, record: Record) -> None:
        relay = self._relay
        encoder = Encoder()
        replay: list[Replay] = []

        def attach() -> Source:
            events, before = self._delivered(record)
            replay.append(Replay(events, *before[:2]))
            encoder.text, encoder.reasoning, encoder.others = generation.log.before = count(before, events)
            try:
                return self._stream(Run.of(record))
            except Exception as error:
                raise generator_lost() from error

        def filtered(events: Iterable[AnyEvent]) -> Iterator[AnyEvent]:
            return replay[0].new(events)

        state, chat = unpack_state(record.state)
        generation = Generation(
            record, attach, state=state, chat=chat, on_end=relay.on_end, changed=relay.writer.changed,
            filtered=filtered, encoder=encoder, most=relay.most,
        )  # fmt: skip
        relay.adopted(generation)
        generation.launch()

    def _delivered(self, record: Record) -> tuple[list[AnyEvent], tuple[int, int, int]]:
        """Return the events that the store has, and what was before them."""
        events: list[AnyEvent] = []
        before = (0, 0, 0)
        number = 0
        while number < record.last:
            found = self._relay.store.read(record.id, number, PAGE_BYTES)
            if found is None or not found[1]:
                break
            for batch in found[1]:
                if not events:
                    before = lengths_before(batch.data)
                events += decode(batch.data)
                number = batch.last
        return events, before

    def end(self, record: Record, status: Status) -> None:
        """End a run that cannot be continued."""
        relay = self._relay
        error = generator_lost() if status == "failed" else None
        end = End(status, record.last, described(error) if error is not None else None)
        if relay.on_end is not None:
            self._tell(record, end, error)
        write = Write(run_id=record.id, fence=record.fence, lease=relay.lease, status=status, end=end.pack())
        relay.store.write([write], relay.bounds)
        relay.store.leave(record.key, record.id)

    def _tell(self, record: Record, end: End, error: BaseException | None) -> None:
        """Call the relay's *on_end* with what the store has."""
        try:
            reply = reply_from_events(self._delivered(record)[0], interrupted=True)
            run = Run.of(evolve(record, status=end.status, end=end.pack()))
            assert self._relay.on_end is not None
            self._relay.on_end(run, reply, error)
        except StoreUnavailable:
            raise
        except Exception:  # noqa: BLE001 (the application's function)
            _log.exception("on_end= failed for run %s", record.id)
