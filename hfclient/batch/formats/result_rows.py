"""A result as a row of a table: for data frames and files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from attrs import frozen

from hfclient.batch.results import BatchResult
from hfclient.errors import InvalidInputError, MissingDependencyError
from hfclient.types import Reply

__all__ = ["AnswerFields", "columns_of", "data_frame", "row_of"]

_BEFORE, _AFTER = ("index", "id", "input"), ("error", "finish_reason", "prompt_tokens", "completion_tokens", "attempts", "seconds")


@frozen
class AnswerFields:
    """The fields of answers that are objects, for a column of each.

    Attributes:
        names: Their names.
        encode: Returns an answer as a dict.
    """

    names: tuple[str, ...]
    encode: Callable[[Any], Any]


def columns_of(fields: AnswerFields | None = None) -> list[str]:
    """Return the names of all columns; *fields* are in the place of ``answer``.

    Raises:
        InvalidInputError: A field has the name of another column.
    """
    names = ("answer",) if fields is None else fields.names
    if twice := [name for name in names if name in _BEFORE or name in _AFTER]:
        raise InvalidInputError(f"the answers have a field {twice[0]!r}, which is the name of another column; leave out expand=True")
    return [*_BEFORE, *names, *_AFTER]


def data_frame(read: Callable[[], Iterable[BatchResult]], fields: AnswerFields | None, row_names: Any) -> Any:
    """Return the results that *read* returns as a pandas DataFrame whose rows are named as *row_names*, or numbered.

    Raises:
        InvalidInputError: See `columns_of`; nothing was read.
        MissingDependencyError: pandas is not installed; nothing was read.
    """
    try:
        import pandas as pd  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        raise MissingDependencyError("to_dataframe() needs pandas: pip install pandas") from None
    columns = columns_of(fields)
    frame = pd.DataFrame([row_of(result, fields) for result in read()], columns=columns).set_index("index")
    if row_names is not None and not row_names.equals(pd.RangeIndex(len(row_names))):
        frame.index = row_names.take(frame.index)
    return frame


def row_of(result: BatchResult, fields: AnswerFields | None = None) -> dict[str, Any]:
    """Return *result* as a row.

    ``answer`` is the text of a reply and otherwise the value; ``error`` the class and the message. *fields* replace ``answer``.
    """
    value, error, reply = result.value, result.error, result.reply
    usage = result.usage
    if fields is None:
        answer = {"answer": value.text if isinstance(value, Reply) else value}
    else:
        given = {} if error is not None else fields.encode(value)
        answer = {name: given.get(name) for name in fields.names}
    return {
        "index": result.index,
        "id": result.id,
        "input": result.input,
        **answer,
        "error": None if error is None else f"{type(error).__name__}: {error.message}",
        "finish_reason": None if reply is None else reply.finish_reason,
        "prompt_tokens": None if usage is None else usage.prompt_tokens,
        "completion_tokens": None if usage is None else usage.completion_tokens,
        "attempts": result.attempts,
        "seconds": result.seconds,
    }
