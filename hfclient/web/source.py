"""What a body, an async iterator or a relay can read: a stream of hfclient, the call that opens one, or a follower of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeAlias, runtime_checkable

from attrs import define

from hfclient.events import AnyEvent

__all__ = ["Entry", "Opener", "Source", "SourceLike", "events_of", "needs_no_body"]


@define  # not frozen, as events: that would take twice as long, for each event of an answer
class Entry:
    """An event of a run with its id.

    Attributes:
        id: The value of ``Last-Event-ID`` that continues behind this event: ``"<run id>:<number>"``, with its position behind the run id
            if the store may not have the event yet. Opaque.
        event: The event.
    """

    id: str
    event: AnyEvent


@runtime_checkable
class Source(Protocol):
    """A source of events: `hfclient.Stream`, or what `Relay.follow` returns."""

    def ticks(self, seconds: float) -> Iterator[AnyEvent | Entry | None]:
        """Yield the events; None each time that nothing came for *seconds*. Raises the error that ends the answer early."""

    def close(self) -> None:
        """Leave the answer now; idempotent, from any thread."""


Opener: TypeAlias = Callable[[], Source]
"""A call that returns a source, such as ``lambda: client.chat(prompt)``. It runs apart from the request that needs its events."""

SourceLike: TypeAlias = Source | Opener

_LONG = 3600.0  # seconds between ticks that are not needed


def events_of(source: Source) -> Iterator[AnyEvent | Entry]:
    """Return an iterator over the events of *source*, without ticks, which cost a little for each event."""
    if isinstance(source, Iterable):
        return iter(source)
    return (event for event in source.ticks(_LONG) if event is not None)


def needs_no_body(source: SourceLike, last_event_id: str | None) -> bool:
    """Whether a request is answered with 204, after which a browser does not reconnect.

    So is one that has the last event of a run, and one that repeats a request whose *source* is not a follower: that would send the prompt again.

    Args:
        source: What the view would stream.
        last_event_id: The request's ``Last-Event-ID``; None if it has none.
    """
    return last_event_id is not None and bool(getattr(source, "at_end", True))
