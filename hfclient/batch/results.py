"""`BatchResult`: the answer to one item, or the error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from hfclient.display import Displayed
from hfclient.errors import HFClientError
from hfclient.events import Usage
from hfclient.types import Reply

__all__ = ["BatchResult"]

_MAX_REPR = 100  # characters of the value


@frozen(kw_only=True, repr=False)
class BatchResult(Displayed):
    """The answer to one item of a batch, or the error instead of it.

    Attributes:
        index: Number of the item in the input, from 0.
        id: Its own name, such as a ``custom_id``; None without one.
        input: The item's input.
        value: What the call returns: a `Reply`, an object, a vector, ...; None if it failed.
        error: Why there is no value; None if there is one. ``error.partial`` has what was received.
        attempts: Number of times that the item was sent; 0 if the checkpoint or the cache had the answer.
        seconds: Time from the first attempt to the end, without pauses for the server's limits; of a stored answer, when it was asked.
        stored: Whether the answer comes from the checkpoint or the cache.
        source: The item as it was given, such as a row; None if that is *input*.
    """

    index: int
    id: str | None = None
    input: Any = None
    value: Any = None
    error: HFClientError | None = None
    attempts: int = 0
    seconds: float = 0.0
    stored: bool = False
    source: Any = None
    _reply: Reply | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        outcome = f"{type(self.error).__name__}: {self.error.message}" if self.error is not None else _short(repr(self.value))
        return f"<BatchResult {self.index}{'' if self.id is None else f' {self.id!r}'}: {outcome}>"

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return self.error is None

    @property
    def usage(self) -> Usage | None:
        """The tokens of the answer, if the server sent them; also of one that failed."""
        return None if self.reply is None else self.reply.usage

    @property
    def reply(self) -> Reply | None:
        """The answer of a model: the value of a chat, what was received before an error, or what an object was read from.

        The last has no text. None for calls without such an answer.
        """
        answer = self.error.partial if self.error is not None else self._reply or self.value
        return answer if isinstance(answer, Reply) else None

    if not TYPE_CHECKING:  # for type checkers there are no other attributes

        def __getattr__(self, name: str) -> Any:
            hint = ""
            if not name.startswith("_"):
                hint = "; the answer is .value, such as .value.text" if self.error is None else f"; it failed: {self!r}"
            raise AttributeError(f"'BatchResult' object has no attribute {name!r}{hint}", name=name, obj=self)

    def get(self) -> Any:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value


def _short(text: str) -> str:
    return text if len(text) <= _MAX_REPR else f"{text[: _MAX_REPR - 3]}..."
