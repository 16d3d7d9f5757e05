"""Runs whose process has died: another one continues or ends them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias

from attrs import evolve

from hfclient import reply_from_events
from hfclient.events import AnyEvent
from hfclient.web.errors import StoreUnavailable
from hfclient.web.relay.encoding import Encoder, count, decode, lengths_before, unpack
from hfclient.web.relay.generation import Generation, apart
from hfclient.web.relay.mirror import PAGE_BYTES
from hfclient.web.relay.runs import End, Run, described, generator_lost
from hfclient.web.relay.store import Record, Status, Write
from hfclient.web.relay.takeover import Replay
from hfclient.web.source import Source

if TYPE_CHECKING:
    from hfclient.web.relay.relay import Relay

__all__ = ["Recover", "Rescue"]

_log = logging.getLogger("hfclient")

Recover: TypeAlias = Callable[[Run], Source]
"""Returns a stream of the same answer, from its start: ``lambda run: client.restore(run.state["conversation"]).attach(run.state["generation_id"])``."""


class Rescue:
    """Takes over runs for one relay.

    Args:
        relay: The relay.
        recover: The application's function, or None.
    """

    def __init__(self, relay: Relay, recover: Recover | None) -> None:
        self._relay = relay
        self.recover = recover

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
        if record.ended or record.gone or record.lease_left > 0 or relay.closing or record.id in relay.writer.generations:
            return False
        continues = self.recover is not None and record.state is not None and record.status == "running" and not record.stop
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
            assert self.recover is not None
            try:
                return self.recover(Run.of(record))
            except Exception as error:
                raise generator_lost() from error

        def filtered(events: Iterable[AnyEvent]) -> Iterator[AnyEvent]:
            return replay[0].new(events)

        generation = Generation(
            record, attach, state=unpack(record.state) if record.state else None, on_end=relay.on_end, changed=relay.writer.changed,
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
        state = unpack(record.state) if record.state else None
        end = End(status, record.last, described(error) if error is not None else None, None, state)
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
