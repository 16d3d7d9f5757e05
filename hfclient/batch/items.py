"""The items of a batch: what to ask, whatever form it has."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from hfclient.batch.checkpoints.notes import Notes
from hfclient.errors import InvalidInputError

if TYPE_CHECKING:
    from hfclient.batch.formats.row_reader import RowReader
    from hfclient.batch.formats.sources import Source

__all__ = ["Item", "Items", "read_items"]

_SHOWN = 5  # further lines that the error about a file names
_BUCKETS = 256  # of ids, so that few of them are compared at a time


@frozen
class Item:
    """One item of a batch.

    Attributes:
        index: Its number in the input, from 0.
        input: The prompt, the text, the image, ...: the first argument of the call.
        options: Options of this item alone. They replace those of the batch.
        id: The caller's own name of it, such as a ``custom_id``; None without one.
        source: What was given, for the output of the same form; None if that is *input*.
        notes: What a call has noted of it in the checkpoint, and where it notes more; None for other calls.
        error: Why it cannot be asked; None if it can. Such an item becomes a failed result without a request.
        is_empty: The reason is that its input is missing or empty: of all reasons the only one that leaves the source as it is.
    """

    index: int
    input: Any
    options: Mapping[str, Any] = field(factory=dict)
    id: str | None = None
    source: Any = None
    notes: Notes | None = field(default=None, eq=False, repr=False)
    error: InvalidInputError | None = None
    is_empty: bool = False


class Items:
    """The items of a source, read one by one, only when the next one is needed.

    Attributes:
        count: Number of items; None if it is only known at the end.
        columns: The names of all columns or fields of the rows; None if they are not known before the rows are read.
        are_requests: The source is one of OpenAI's batch files: each item is a request with its URL.
        row_names: The index of a pandas DataFrame or Series; None for other sources.
    """

    def __init__(self, source: Source, reader: RowReader) -> None:
        self._source = source
        self._reader = reader
        self.count = source.count
        self.columns: Collection[str] | None = source.columns
        self.are_requests = False
        self.row_names = source.row_names

    def __iter__(self) -> Iterator[Item]:
        read, place = self._reader.item, self._source.place
        for index, (line, value, problem) in enumerate(self._source):
            yield read(index, value, lambda line=line: place(line), problem)  # type: ignore[misc]

    def check(self) -> None:
        """Read all items once, count them, and look for what would fail later.

        Raises:
            InvalidInputError: There are no items, or one of them cannot be read, or two have the same id. The message has the
                line of the first one, and of some others.
        """
        errors: list[InvalidInputError] = []
        failed = count = 0
        names: dict[str, None] = {}
        ids = [array("Q") for _ in range(_BUCKETS)]
        for item in self:
            count += 1
            if self._source.columns is None and isinstance(item.source, Mapping):
                names.update(dict.fromkeys(map(str, item.source)))
            if item.error is not None and not item.is_empty:
                failed += 1
                if len(errors) < _SHOWN:
                    errors.append(item.error)
            if item.id is not None:
                number = hash(item.id) & 0xFFFF_FFFF_FFFF_FFFF
                ids[number % _BUCKETS].append(number)
        self.count = count
        if self._source.columns is None:
            self.columns = names
        self.are_requests = self._reader.are_requests
        if errors:
            more = f" ({failed - 1} more cannot be read)" if failed > 1 else ""
            raise InvalidInputError(f"{errors[0].message}{more}")
        if not count:
            raise InvalidInputError(f"{self._source.name} has no items")
        if repeated := {number for bucket in ids if len(set(bucket)) < len(bucket) for number in _repeated(bucket)}:
            self._refuse_repeated(repeated)

    def _refuse_repeated(self, numbers: Collection[int]) -> None:
        """Raise for the first id that came before; *numbers* are the hashes of ids that came twice."""
        seen: dict[str, int] = {}
        lines = (line for line, _, _ in self._source)
        for item, line in zip(self, lines, strict=False):
            if item.id is not None and hash(item.id) & 0xFFFF_FFFF_FFFF_FFFF in numbers:
                if item.id in seen:
                    first = self._source.place(seen[item.id])
                    raise InvalidInputError(f"{self._source.place(line)}: the id {item.id!r} is that of {first}, too; ids must differ")
                seen[item.id] = line


def _repeated(numbers: array[int]) -> set[int]:
    seen: set[int] = set()
    return {number for number in numbers if number in seen or seen.add(number)}  # type: ignore[func-returns-value]


def read_items(
    source: Any,
    *,
    column: str | Mapping[str, str] | None = None,
    template: str | None = None,
    options: Collection[str] | None = None,
    check: Callable[[Item], object] | None = None,
) -> Items:
    """Return the items of *source*.

    A source that can be read again without cost (a file, a list) is read to its end at once, so that a line that is wrong costs no
    request. A generator is read when its items are needed, and a wrong item becomes a failed result.

    Args:
        source: One of these (an `Item` among the values stays as it is):

            - an iterable of strings, lists of messages, or other inputs of the call; or of dicts: the input under ``"input"``,
              ``"prompt"``, ``"prompts"``, ``"messages"``, ``"text"``, ``"image"`` or ``"audio"``, perhaps an ``"id"`` (or ``"custom_id"``), and
              options of that item;
            - the path of a file, or a string that ends like one and exists: ``.jsonl`` or ``.ndjson`` (each line as above, or a
              request of OpenAI's batch files), ``.csv``, ``.tsv``, ``.parquet``, ``.txt`` (a prompt in each line);
            - a DataFrame or Series of pandas or polars, a pyarrow Table, or a ``datasets.Dataset``;
            - what an earlier call returned, which stays as it is.
        column: The column with the input, where the source has several: then all others are data, not options. Or a mapping of
            what the call takes to columns: ``{"input": "question", "id": "key", "temperature": "t"}``.
        template: Text with the names of columns in braces, such as ``"Translate to German: {text}"``, instead of a column. The
            column of plain strings is ``text``.
        options: The options that an item may have; None does not check them.
        check: Raises `InvalidInputError` for an item that cannot be asked, such as one with an option of another type.

    Raises:
        InvalidInputError: It is not one of these, or something in it cannot be read; the message has the line.
        MissingDependencyError: The package for this kind of file is not installed.
    """
    if isinstance(source, Items):
        return source
    from hfclient.batch.formats.row_reader import RowReader
    from hfclient.batch.formats.sources import open_source

    opened = open_source(source)
    reader = RowReader(opened, column=column, template=template, options=options, check=check)
    items = Items(opened, reader)
    if opened.is_checked:
        items.check()
    return items
