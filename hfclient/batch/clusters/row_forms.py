"""Batches of rows as engines pass them: read a column, and return the same form with more columns.

numpy arrays by column (Ray), pandas and polars DataFrames, pyarrow Tables, lists by column (datasets), lists of dicts or strings (Dask bags). The
libraries are not imported unless the batch is theirs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from attrs import frozen

from hfclient.errors import InvalidInputError

__all__ = ["Column", "Table", "read_table", "rows_of"]


@frozen
class Column:
    """A column to add.

    Attributes:
        name: Its name.
        kind: ``"text"``, ``"count"`` (whole numbers) or ``"vector"`` (lists of numbers): its type in every batch, whatever it holds.
        values: One for each row; a text or a vector that is missing is None.
    """

    name: str
    kind: Literal["text", "count", "vector"]
    values: Sequence[Any]


class Table(Protocol):
    """A batch of rows."""

    names: list[str]
    """The columns."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def column(self, name: str) -> list[Any]:
        """Return the values of a column as plain Python objects."""

    def extended(self, columns: Sequence[Column]) -> Any:
        """Return the batch in its own form with *columns* added."""


def read_table(batch: Any, *, text: str) -> Table:
    """Return the rows of *batch*.

    Args:
        batch: In one of the forms above; an iterable of dicts or strings is read.
        text: The name of the column for strings.

    Raises:
        InvalidInputError: It has another form.
    """
    for cls in type(batch).__mro__:
        library, name = cls.__module__.partition(".")[0], cls.__name__
        if (library, name) == ("pandas", "DataFrame"):
            return _Pandas(batch)
        if (library, name) == ("polars", "DataFrame"):
            return _Polars(batch)
        if library == "pyarrow" and name in ("Table", "RecordBatch"):
            return _Arrow(batch)
    if isinstance(batch, Mapping):
        return _Columns(batch)
    if isinstance(batch, Iterable) and not isinstance(batch, (str, bytes)):
        return _Records(batch, text)
    raise InvalidInputError(
        "a batch is a DataFrame, a table, a dict of columns or a list of dicts or strings, "
        f"not {type(batch).__name__}{'; for single prompts use client.inference.ask()' if isinstance(batch, str) else ''}"
    )


def rows_of(table: Table) -> Iterator[dict[str, Any]]:
    """Yield each row as a dict."""
    columns = [table.column(name) for name in table.names]
    for values in zip(*columns, strict=True):
        yield dict(zip(table.names, values, strict=True))


def _plain(value: Any) -> Any:
    """Return a value of numpy, or one inside of lists and arrays, as a plain object; a missing value as None."""
    if isinstance(value, (str, bytes, bool, int)) or value is None:
        # A string of numpy is a subclass of str, which JSON and keys need not know.
        return str(value) if isinstance(value, str) and type(value) is not str else value
    if isinstance(value, float):
        return None if value != value else float(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if callable(convert := getattr(value, "tolist", None)):
        return _plain(convert())
    pandas = sys.modules.get("pandas")
    return None if pandas is not None and (value is pandas.NA or value is pandas.NaT) else value


class _Pandas:
    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self.names = [str(name) for name in frame.columns]

    def __len__(self) -> int:
        return len(self._frame)

    def column(self, name: str) -> list[Any]:
        return [_plain(value) for value in self._frame[name].tolist()]

    def extended(self, columns: Sequence[Column]) -> Any:
        import pandas as pd  # type: ignore[import-untyped,unused-ignore]

        added = {
            column.name: pd.Series(list(column.values), index=self._frame.index, dtype="int64" if column.kind == "count" else "object")
            for column in columns
        }
        return self._frame.assign(**added)


class _Polars:
    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self.names = list(frame.columns)

    def __len__(self) -> int:
        return len(self._frame)

    def column(self, name: str) -> list[Any]:
        return [_plain(value) for value in self._frame[name].to_list()]

    def extended(self, columns: Sequence[Column]) -> Any:
        import polars as pl

        kinds: dict[str, Any] = {"text": pl.String, "count": pl.Int64, "vector": pl.List(pl.Float64)}
        return self._frame.with_columns([pl.Series(column.name, list(column.values), dtype=kinds[column.kind]) for column in columns])


class _Arrow:
    def __init__(self, table: Any) -> None:
        self._table = table
        self.names = list(table.schema.names)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def column(self, name: str) -> list[Any]:
        return [_plain(value) for value in self._table.column(name).to_pylist()]

    def extended(self, columns: Sequence[Column]) -> Any:
        import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]

        kinds = {"text": pa.string(), "count": pa.int64(), "vector": pa.list_(pa.float64())}
        arrays, fields = list(self._table.columns), list(self._table.schema)
        for column in columns:
            arrays.append(pa.array(column.values, type=kinds[column.kind]))
            fields.append(pa.field(column.name, kinds[column.kind]))
        return type(self._table).from_arrays(arrays, schema=pa.schema(fields, metadata=self._table.schema.metadata))


class _Columns:
    def __init__(self, columns: Mapping[str, Any]) -> None:
        self._columns = columns
        self.names = [str(name) for name in columns]
        # `datasets` reads a column when it is used; it keeps those that are not returned as they are.
        self._is_lazy = type(columns).__module__.startswith("datasets.")

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()))) if self.names else 0

    def column(self, name: str) -> list[Any]:
        return [_plain(value) for value in self._columns[name]]

    def extended(self, columns: Sequence[Column]) -> Any:
        if self._is_lazy:
            return {column.name: list(column.values) for column in columns}
        is_numpy = any(type(values).__module__ == "numpy" for values in self._columns.values())
        added = {column.name: _array(column) if is_numpy else list(column.values) for column in columns}
        return {**self._columns, **added}


class _Records:
    def __init__(self, records: Iterable[Any], text: str) -> None:
        self._records = [record if isinstance(record, Mapping) else {text: record} for record in records]
        self.names = list(self._records[0]) if self._records else [text]

    def __len__(self) -> int:
        return len(self._records)

    def column(self, name: str) -> list[Any]:
        return [_plain(record.get(name)) for record in self._records]

    def extended(self, columns: Sequence[Column]) -> Any:
        names = [column.name for column in columns]
        added = zip(*(column.values for column in columns), strict=True)
        return [{**record, **dict(zip(names, values, strict=True))} for record, values in zip(self._records, added, strict=True)]


def _array(column: Column) -> Any:
    import numpy as np

    if column.kind == "count":
        return np.array(column.values, dtype=np.int64)
    found = np.empty(len(column.values), dtype=object)
    for at, value in enumerate(column.values):  # an assignment of all would make a matrix of lists
        found[at] = value
    return found
