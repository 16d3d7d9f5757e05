"""Files with a row in each line: JSON lines, CSV, text; and Parquet."""

from __future__ import annotations

import csv
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from hfclient.batch.formats.sources import ENDINGS, Line, Source
from hfclient.errors import InvalidInputError, MissingDependencyError

__all__ = ["CsvFile", "JsonLinesFile", "ParquetFile", "TextFile", "open_file"]

_BOM = b"\xef\xbb\xbf"
_CHUNK = 1024  # rows
_LONGEST_FIELD = 2**31 - 1  # characters; the csv module refuses fields of more than 131,072, and prompts are longer


class _File(Source):
    """A file with lines; see `Source`."""

    count: int | None = None
    columns: Sequence[str] | None = None
    is_checked = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)

    def place(self, line: int) -> str:
        return f"{self.name}, line {line}"

    def _open(self) -> BinaryIO:
        try:
            return self.path.open("rb")
        except OSError as error:
            raise InvalidInputError(f"{self.name} cannot be read: {error.strerror or error}") from error

    def _lines(self) -> Iterator[bytes]:
        """Yield the lines with their ends, without a byte order mark."""
        with self._open() as file:
            try:
                start = file.read(3)
                if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
                    raise InvalidInputError(f"{self.name} is UTF-16; save it as UTF-8")
                file.seek(len(_BOM) if start == _BOM else 0)
                yield from file
            except OSError as error:
                raise InvalidInputError(f"{self.name} cannot be read: {error.strerror or error}") from error


class JsonLinesFile(_File):
    """A file with a JSON value in each line; empty lines are left out."""

    def __iter__(self) -> Iterator[Line]:
        decode = msgspec.json.decode
        for number, line in enumerate(self._lines(), 1):
            try:
                yield number, decode(line), None
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                if line.strip():
                    yield number, *_second_reading(line)


def _second_reading(line: bytes) -> tuple[Any, str | None]:
    """Return the value of a line that msgspec refuses: it accepts neither lone surrogates nor NaN, which Python writes."""
    try:
        text = line.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        return None, f"this is not UTF-8 (byte {error.start + 1})"
    try:
        return json.loads(text), None
    except json.JSONDecodeError as error:
        return text, f"this is not JSON: {error.msg} (character {error.colno})"
    except (ValueError, RecursionError) as error:
        return text, f"this is not JSON that can be read: {error}"


class TextFile(_File):
    """A file with a prompt in each line; empty lines are left out."""

    def __iter__(self) -> Iterator[Line]:
        for number, line in enumerate(self._lines(), 1):
            try:
                text = line.decode().rstrip("\r\n")
            except UnicodeDecodeError as error:
                yield number, None, f"this is not UTF-8 (byte {error.start + 1})"
                continue
            if text.strip():
                yield number, text, None


class CsvFile(_File):
    """A file with a header and a row in each line, or in several if quoted fields have line breaks (RFC 4180).

    Args:
        path: The file.
        delimiter: Between two fields. Without a comma in the first line it may be a semicolon, as spreadsheets of many countries
            write it.
    """

    def __init__(self, path: Path, delimiter: str = ",") -> None:
        super().__init__(path)
        self._delimiter = delimiter
        first = next(self._lines(), b"")
        if self._delimiter == "," and b"," not in first and b";" in first:
            self._delimiter = ";"
        found = next(iter(self._rows()), None)
        if found is None:
            raise InvalidInputError(f"{self.name} is empty: a table has a line with the names of its columns")
        line, names, problem = found
        if problem is not None:
            raise InvalidInputError(f"{self.place(line)}: {problem}")
        if len(set(names)) < len(names):
            raise InvalidInputError(f"{self.place(line)}: two columns have the name {Counter(names).most_common(1)[0][0]!r}")
        self.columns = names

    def __iter__(self) -> Iterator[Line]:
        names = list(self.columns or ())
        for number, fields, problem in itertools.islice(self._rows(), 1, None):
            if problem is None and len(fields) != len(names):
                problem = f"the row has {len(fields)} fields, and the header has {len(names)}"
            yield number, dict(zip(names, fields, strict=False)), problem

    def _rows(self) -> Iterator[tuple[int, list[str], str | None]]:
        """Yield each row with the number of its first line; nothing can be read after a problem with quotes."""
        reader = csv.reader(self._texts(), delimiter=self._delimiter, strict=True)
        while True:
            rows: list[tuple[int, list[str], str | None]] = []
            problem = None
            old = csv.field_size_limit(_LONGEST_FIELD)  # of the process, so not while the caller's code runs
            try:
                while len(rows) < _CHUNK:
                    start = reader.line_num + 1
                    fields = next(reader)
                    if fields:
                        rows.append((start, fields, None))
            except StopIteration:
                yield from rows
                return
            except csv.Error as error:
                problem = f"this is not CSV: {error}"
            except UnicodeDecodeError as error:
                start, problem = reader.line_num + 1, f"this is not UTF-8 (byte {error.start + 1})"
            finally:
                csv.field_size_limit(old)
            yield from rows
            if problem is not None:
                yield start, [], problem
                return

    def _texts(self) -> Iterator[str]:
        for line in self._lines():
            yield line.decode()


class ParquetFile(_File):
    """A Parquet file, by pyarrow."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            import pyarrow.parquet as parquet
        except ImportError:
            raise MissingDependencyError("Parquet files need pyarrow: pip install pyarrow") from None
        self._open().close()  # for its errors
        try:
            with parquet.ParquetFile(path) as file:
                self.columns = list(file.schema_arrow.names)
                self.count = file.metadata.num_rows
        except (OSError, ValueError) as error:  # pyarrow's errors are these
            raise InvalidInputError(f"{self.name} cannot be read as Parquet: {error}") from error

    def place(self, line: int) -> str:
        return f"{self.name}, row {line}"

    def __iter__(self) -> Iterator[Line]:
        import pyarrow.parquet as parquet

        number = 0
        try:
            with parquet.ParquetFile(self.path) as file:
                for batch in file.iter_batches(batch_size=_CHUNK):
                    for row in batch.to_pylist():
                        yield number, row, None
                        number += 1
        except (OSError, ValueError) as error:
            raise InvalidInputError(f"{self.place(number)}: it cannot be read: {error}") from error


def open_file(path: Path, ending: str | None = None) -> JsonLinesFile | CsvFile | ParquetFile | TextFile:
    """Return the source for a file.

    Args:
        path: The file.
        ending: Of a file with that form; None takes the ending of *path*.

    Raises:
        InvalidInputError: There is no such file, it is a folder, or it has another ending.
        MissingDependencyError: It is Parquet, and pyarrow is not installed.
    """
    if path.is_dir():
        raise InvalidInputError(f"{path} is a folder; pass one file")
    match (ending or path.suffix).lower():
        case ".jsonl" | ".ndjson":
            file: JsonLinesFile | CsvFile | ParquetFile | TextFile = JsonLinesFile(path)
        case ".csv":
            file = CsvFile(path)
        case ".tsv":
            file = CsvFile(path, "\t")
        case ".parquet":
            file = ParquetFile(path)
        case ".txt":
            file = TextFile(path)
        case _:
            raise InvalidInputError(f"{path} is not a file that a batch can read: these end in {', '.join(ENDINGS)}")
    return file
