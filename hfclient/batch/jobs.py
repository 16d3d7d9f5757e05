"""`Job`: one item on its way through an engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import frozen

from hfclient.batch.items import Item
from hfclient.errors import HFClientError
from hfclient.types import Reply

if TYPE_CHECKING:
    from hfclient.transport.response import Headers

__all__ = ["Job", "Outcome"]


@frozen
class Outcome:
    """What a call returns instead of its value alone, if that is only a part of the answer, such as an object.

    Attributes:
        value: The value.
        reply: The rest: model, provider and the tokens of all requests; without the text, which is in the value.
    """

    value: Any
    reply: Reply


class Job:
    """One item, its key, and what came of it.

    Attributes:
        number: Which item of the batch, from 0 in the order of reading.
        item: The item.
        key: Identifies it in a checkpoint.
        value, error: The outcome.
        reply: As in `Outcome`; None if the value has all.
        attempts: How often it was started.
        seconds: In all attempts.
        asked: The item as it is asked now: with one of its providers.
        refusal: The error that it gets without being asked.
        watch: Gets the headers of its successful answers.
        group, server, began, failures, reserved: Of the pace.
    """

    __slots__ = (
        "asked",
        "attempts",
        "began",
        "error",
        "failures",
        "group",
        "item",
        "key",
        "number",
        "refusal",
        "reply",
        "reserved",
        "seconds",
        "server",
        "value",
        "watch",
    )

    def __init__(self, number: int, item: Item, key: str) -> None:
        self.number = number
        self.item = item
        self.key = key
        self.value: Any = None
        self.error: HFClientError | None = None
        self.reply: Reply | None = None
        self.attempts = 0
        self.seconds = 0.0
        self.asked = item
        self.refusal: HFClientError | None = None
        self.watch: Callable[[Headers], None] | None = None
        self.group: Any = None
        self.server: Any = None
        self.began = 0.0
        self.failures = 0.0
        self.reserved = 0.0
