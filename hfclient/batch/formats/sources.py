"""Sources: anything that has rows, which are read one by one."""

from __future__ import annotations

import itertools
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hfclient.errors import InvalidInputError

__all__ = ["ENDINGS", "First", "Line", "Source", "Values", "open_source"]

Line = tuple[int, Any, "str | None"]
"""The number of a line or item, its value, and why it cannot be read (then the value is what there is of it)."""

ENDINGS = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".txt")
"""Files that can be read."""

_OTHER_ENDINGS = (".json", ".xlsx", ".xls", ".feather", ".arrow", ".pkl", ".gz", ".zst", ".yaml")


class Source(ABC):
    """Rows in their order. It may be iterated again, except for a `Values` of an iterator."""

    name: str
    """For messages, such as the name of the file."""
    count: int | None
    """Number of rows; None if it is only known at the end."""
    columns: Sequence[str] | None
    """The names of all columns; None if each row may have others, or is not a row of a table."""
    is_checked: bool
    """Whether to read all of it before the first request."""
    row_names: Any = None
    """The index of a pandas DataFrame or Series."""

    @abstractmethod
    def place(self, line: int) -> str:
        """Return where a row is, for messages."""

    @abstractmethod
    def __iter__(self) -> Iterator[Line]: ...


class Values(Source):
    """The values of any iterable; see `Source`."""

    name = "the input"
    columns: Sequence[str] | None = None

    def __init__(self, values: Iterable[Any]) -> None:
        self._values = values
        self.is_checked = isinstance(values, (list, tuple)) and bool(values)
        self.count = len(values) if isinstance(values, (list, tuple)) else None

    def place(self, line: int) -> str:
        return f"item {line}"

    def __iter__(self) -> Iterator[Line]:
        for number, value in enumerate(self._values):
            try:
                copied, problem = _copied(value), None
            except RecursionError:
                copied, problem = None, "a value is nested too deeply, or contains itself"
            yield number, copied, problem


def _copied(value: Any) -> Any:
    """Return *value* with its lists and dicts copied: the caller may change them before the item is asked or written."""
    kind = type(value)
    if kind is list:
        return [_copied(inner) for inner in value]
    if kind is dict:
        return {name: _copied(inner) for name, inner in value.items()}
    if kind is tuple:
        return tuple(map(_copied, value))
    return value


class First(Source):
    """The first rows of another source; see `Source`."""

    def __init__(self, source: Source, count: int) -> None:
        self._source = source
        self._most = count
        self.name = source.name
        self.columns = source.columns
        self.is_checked = source.is_checked
        self.count = None if source.count is None else min(source.count, count)

    def place(self, line: int) -> str:
        return self._source.place(line)

    def __iter__(self) -> Iterator[Line]:
        return itertools.islice(self._source, self._most)


def open_source(given: Any) -> Source:
    """Return the source for what the caller passed; see `read_items`.

    Raises:
        InvalidInputError: It has no rows.
        MissingDependencyError: The package for this kind of file is not installed.
    """
    if isinstance(given, Source):
        return given
    if isinstance(given, os.PathLike) or (isinstance(given, str) and _is_file(given)):
        from hfclient.batch.formats.files import open_file

        return open_file(Path(given))
    if isinstance(given, str):
        if given.lower().endswith(ENDINGS) and not any(mark in given for mark in "\n\t"):
            raise InvalidInputError(f"there is no file {given}")
        if given.lower().endswith(_OTHER_ENDINGS) and not any(mark in given for mark in "\n\t"):
            raise InvalidInputError(f"map reads files that end in {', '.join(ENDINGS)}, not {given}; load it, and pass a list or a DataFrame")
        raise InvalidInputError("map takes several prompts, not one string: put it into a list, [prompt]")
    if isinstance(given, (bytes, bytearray)):
        raise InvalidInputError("map takes several items, not one of bytes: put it into a list, [data]")
    from hfclient.batch.formats.tables import open_table

    if (table := open_table(given)) is not None:
        return table
    if isinstance(given, Mapping):
        raise InvalidInputError("map takes several items, not one dict: put it into a list, [item]")
    if not isinstance(given, Iterable):
        raise InvalidInputError(f"map takes an iterable of prompts, a table or the path of a file, not {type(given).__name__}")
    return Values(given)


def _is_file(text: str) -> bool:
    return text.lower().endswith(ENDINGS) and len(text) < 4096 and "\0" not in text and Path(text).is_file()
