"""Tables of other libraries: pandas, polars, pyarrow and datasets. None of them is imported: the objects have all that is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from hfclient.batch.formats.sources import Line, Source
from hfclient.errors import InvalidInputError

__all__ = ["Table", "open_table"]

_CHUNK = 1024  # rows


class Table(Source):
    """The rows of a table; see `Source`.

    Args:
        columns: Their names.
        count: Number of rows; None if it is not known.
        rows: Returns the rows: dicts.
    """

    name = "the table"
    is_checked = False

    def __init__(self, columns: Sequence[str] | None, count: int | None, rows: Callable[[], Iterable[dict[str, Any]]]) -> None:
        self.columns = columns
        self.count = count
        self._rows = rows

    def place(self, line: int) -> str:
        return f"row {line}"

    def __iter__(self) -> Iterator[Line]:
        for number, row in enumerate(self._rows()):
            yield number, row, None


def open_table(given: Any) -> Table | None:
    """Return the source for an object of one of the libraries; None for any other.

    Raises:
        InvalidInputError: It has rows only after another step, which the message names.
    """
    for cls in type(given).__mro__:
        library = cls.__module__.partition(".")[0]
        if (opens := _KINDS.get((library, cls.__name__))) is not None:
            table: Table = opens(given)
            return table
    return None


def _pandas_frame(frame: Any) -> Table:
    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        raise InvalidInputError(f"two columns of the table have the name {Counter(names).most_common(1)[0][0]!r}")
    table = Table(
        names, len(frame), lambda: (dict(zip(names, row, strict=True)) for row in frame.itertuples(index=False, name=None))
    )
    table.row_names = frame.index
    return table


def _series(series: Any) -> Table:
    name = str(series.name) if series.name not in (None, "") else "text"
    table = Table([name], len(series), lambda: ({name: value} for value in series))
    table.row_names = getattr(series, "index", None)  # a Series of polars has none
    return table


def _polars_frame(frame: Any) -> Table:
    return Table(list(frame.columns), len(frame), lambda: frame.iter_rows(named=True))


def _arrow_table(table: Any) -> Table:
    def rows() -> Iterator[dict[str, Any]]:
        batches = table.to_batches(max_chunksize=_CHUNK) if hasattr(table, "to_batches") else [table]
        for batch in batches:
            for start in range(0, batch.num_rows, _CHUNK):
                yield from batch.slice(start, _CHUNK).to_pylist()

    return Table(list(table.schema.names), table.num_rows, rows)


def _arrow_array(array: Any) -> Table:
    return Table(["text"], len(array), lambda: ({"text": value.as_py()} for value in array))


def _dataset(dataset: Any) -> Table:
    return Table(list(dataset.column_names), len(dataset), lambda: dataset)


def _iterable_dataset(dataset: Any) -> Table:
    names = dataset.column_names  # None if they are not known before the first row
    return Table(None if names is None else list(names), None, lambda: dataset)


def _splits(splits: Any) -> Table:
    raise InvalidInputError(f"this has several datasets; pass one of them: {', '.join(map(repr, splits))}")


def _lazy(frame: Any) -> Table:
    raise InvalidInputError("a LazyFrame has no rows yet; pass frame.collect()")


_KINDS: dict[tuple[str, str], Callable[[Any], Table]] = {
    ("pandas", "DataFrame"): _pandas_frame,
    ("pandas", "Series"): _series,
    ("polars", "DataFrame"): _polars_frame,
    ("polars", "Series"): _series,
    ("polars", "LazyFrame"): _lazy,
    ("pyarrow", "Table"): _arrow_table,
    ("pyarrow", "RecordBatch"): _arrow_table,
    ("pyarrow", "ChunkedArray"): _arrow_array,
    ("pyarrow", "Array"): _arrow_array,
    ("datasets", "Dataset"): _dataset,
    ("datasets", "IterableDataset"): _iterable_dataset,
    ("datasets", "DatasetDict"): _splits,
    ("datasets", "IterableDatasetDict"): _splits,
}
