"""`CompletionStream`: the events of one answer of chat completions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from attrs import evolve

from hfclient.decoding.think_tags import split_unopened
from hfclient.events import AnyEvent
from hfclient.inference.completions.answer_reader import AnswerReader
from hfclient.stream import LastReply, Stream
from hfclient.types import Reply

__all__ = ["CompletionStream", "split_reasoning"]


class CompletionStream(Stream):
    """A blocking iterator over the events of one answer; see `hfclient.stream.Stream`.

    If the answer fails before it has begun, the request is repeated, or another provider gets it; a `Failover` event reports
    the latter.
    """

    def __init__(
        self,
        reader: AnswerReader,
        *,
        on_event: Callable[[AnyEvent], object] | None = None,
        last: LastReply | None = None,
    ) -> None:
        self._answer = reader
        super().__init__(reader.response, on_event=on_event, last=last)

    def _wake(self) -> None:
        self._answer.cancel()

    @property
    def partial(self) -> Reply:
        """The answer so far, as a `Reply`. Never reads, never raises.

        Reasoning whose ``<think>`` is part of the prompt comes as tokens, because only its ``</think>`` shows what it is;
        here it is separate from the text.
        """
        return split_reasoning(super().partial)

    def _known(self) -> dict[str, Any]:
        # Closing the connection stops the generation.
        return {**self._answer.fields(), "interrupted": self._state == "closed" and not self._builder.is_finished}

    def _blocks(self) -> Iterator[list[AnyEvent]]:
        return self._answer.blocks(self._use)


def split_reasoning(reply: Reply) -> Reply:
    """Return *reply* with the reasoning before an unopened ``</think>`` separated from its text."""
    if reply.reasoning or "</think>" not in reply.text:
        return reply
    text, reasoning = split_unopened(reply.text)
    return evolve(reply, text=text, reasoning=reasoning)
