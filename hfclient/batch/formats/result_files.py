"""`ResultFile`: results in a file, beside the columns of their input."""

from __future__ import annotations

import contextlib
import csv
import datetime
import decimal
import io
import json
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec
from attrs import evolve

from hfclient.batch.formats.openai_results import answer_line, error_line
from hfclient.batch.formats.result_rows import AnswerFields, columns_of, row_of
from hfclient.batch.results import BatchResult
from hfclient.errors import InvalidInputError, MissingDependencyError

__all__ = ["OUTPUTS", "ResultFile", "RowWriter", "check_columns", "errors_path", "output_row", "plain_row", "row_writer"]

OUTPUTS = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
"""Files that can be written."""

_LEFT_OUT = ("index", "id", "input", "attempts", "seconds")  # of the columns of a data frame
_KNOWN_TYPES = 4  # the last columns: error, finish_reason, prompt_tokens, completion_tokens
_KEPT = (bytes, bytearray, datetime.datetime, datetime.date, datetime.time, datetime.timedelta, decimal.Decimal)
_GROUP = 1024  # rows that are written to Parquet at once; the types of its columns are those of the first group


def _columns(fields: AnswerFields | None) -> list[str]:
    return [name for name in columns_of(fields) if name not in _LEFT_OUT]


def check_columns(columns: Collection[str], prefix: str = "", fields: AnswerFields | None = None) -> None:
    """Raise `InvalidInputError` if one of *columns*, those of the input, has the name of one of the results."""
    for name in _columns(fields):
        if prefix + name in columns:
            raise InvalidInputError(
                f"the input has a column {prefix + name!r}, which is one of the results, too; "
                f'pass prefix= (--prefix) to name them differently, such as "model_{name}"'
            )


def output_row(result: BatchResult, prefix: str = "", fields: AnswerFields | None = None) -> dict[str, Any]:
    """Return the row of *result*: the columns of the input, ``answer``, ``error``, ``finish_reason`` and the two counts of tokens.

    Args:
        result: The result.
        prefix: Put in front of these five names.
        fields: Columns for the parts of the answer, instead of ``answer``.

    Raises:
        InvalidInputError: The input has a column of that name.
    """
    source, own = result.source, row_of(result, fields)
    if isinstance(source, Mapping):
        row = {str(name): value for name, value in source.items()}
    else:
        row = {} if result.id is None else {"id": result.id}
        row["input"] = result.input if source is None else source
    check_columns(row, prefix, fields)
    return {**row, **{prefix + name: own[name] for name in _columns(fields)}}


def plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return *row* as plain JSON types."""
    plain: dict[str, Any] = json.loads(_json(row))
    return plain


class RowWriter(Protocol):
    """Writes rows."""

    def write(self, row: Mapping[str, Any]) -> None:
        """Write *row*."""

    def close(self) -> None:
        """Write what is left. The file stays open."""


class _JsonLines:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, row: Mapping[str, Any]) -> None:
        self._file.write(_json(row) + b"\n")

    def close(self) -> None:
        """Nothing is left."""


class _Csv:
    """The columns are those of the first row. Values that are neither texts nor numbers are written as JSON."""

    def __init__(self, file: BinaryIO, delimiter: str) -> None:
        self._text = io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="", write_through=True)
        self._writer = csv.writer(self._text, delimiter=delimiter)  # lines end as RFC 4180 says; a text with half of that is quoted, too
        self._names: list[str] | None = None

    def write(self, row: Mapping[str, Any]) -> None:
        if self._names is None:
            self._names = list(row)
            self._writer.writerow(self._names)
        if further := [name for name in row if name not in self._names]:
            raise InvalidInputError(f"the row has a column {further[0]!r} that the first row does not have; write .jsonl instead")
        self._writer.writerow([_cell(row.get(name)) for name in self._names])

    def close(self) -> None:
        self._text.detach()


class _Parquet:
    def __init__(self, file: BinaryIO) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise MissingDependencyError("Parquet files need pyarrow: pip install pyarrow") from None
        self._arrow: Any = pyarrow
        self._file = file
        self._writer: Any = None
        self._rows: list[Mapping[str, Any]] = []

    def write(self, row: Mapping[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) == _GROUP:
            self._flush()

    def close(self) -> None:
        if self._rows or self._writer is None:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        names = list(dict.fromkeys(name for row in rows for name in row))
        try:
            if self._writer is None:
                self._writer = self._arrow.parquet.ParquetWriter(self._file, self._schema(names, rows))
            schema = self._writer.schema
            if further := [name for name in names if name not in schema.names]:
                raise InvalidInputError(f"a row has a column {further[0]!r} that the first rows do not have; write .jsonl instead")
            columns = [self._column([row.get(field.name) for row in rows], field.type) for field in schema]
            self._writer.write_table(self._arrow.Table.from_arrays(columns, schema=schema))
        except (self._arrow.ArrowException, TypeError) as error:
            raise InvalidInputError(f"the rows cannot be written as Parquet; write .jsonl instead: {error}") from error

    def _schema(self, names: list[str], rows: list[Mapping[str, Any]]) -> Any:
        text, null = self._arrow.string(), self._arrow.null()
        own = list(rows[0])[-_KNOWN_TYPES:] if rows else []  # at the end of each row
        known = {name: self._arrow.int64() if name.endswith("_tokens") else text for name in own}
        found = {name: known.get(name) or self._arrow.array([_built_in(row.get(name)) for row in rows]).type for name in names}
        return self._arrow.schema([(name, text if kind == null else kind) for name, kind in found.items()])

    def _column(self, values: list[Any], kind: Any) -> Any:
        return self._arrow.array([_built_in(value) for value in values], type=kind)


def row_writer(file: BinaryIO, ending: str) -> RowWriter:
    """Return the writer for an ending of `OUTPUTS`.

    Raises:
        InvalidInputError: There is no writer for it.
        MissingDependencyError: pyarrow is not installed.
    """
    match ending.lower():
        case ".jsonl" | ".ndjson":
            return _JsonLines(file)
        case ".csv":
            return _Csv(file, ",")
        case ".tsv":
            return _Csv(file, "\t")
        case ".parquet":
            return _Parquet(file)
    raise InvalidInputError(f"results can be written to files that end in {', '.join(OUTPUTS)}, not {ending or 'without an ending'}")


def errors_path(path: Path) -> Path:
    """Return the file for the failed requests of OpenAI's batch files, beside that of their answers."""
    return path.with_name(f"{path.stem}.errors{path.suffix}")


class ResultFile:
    """A file of results that grows as they come, under its name with ``.part`` at the end, and gets its name when it is complete.

        with ResultFile("out.csv") as file:
            for result in batch:
                file.add(result)
            file.complete()

    Args:
        path: Ends in one of `OUTPUTS`.
        columns: The columns of the input, as far as they are known.
        are_requests: The items are requests of OpenAI's batch files. JSON lines then have OpenAI's form, and failed requests are in a
            file of their own, ``out.errors.jsonl``, if there are any.
        overwrite: Replace an existing file.
        prefix, fields: As for `output_row`.

    Raises:
        InvalidInputError: There is a file already, it cannot be written, or a name of a column would come twice.
        MissingDependencyError: The package for this kind of file is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        columns: Collection[str] | None = None,
        *,
        are_requests: bool = False,
        overwrite: bool = False,
        prefix: str = "",
        fields: AnswerFields | None = None,
    ) -> None:
        self.path = Path(path)
        if os.path.lexists(self.path) and not overwrite:
            raise InvalidInputError(f"{self.path} exists already; choose another name or pass overwrite=True")
        if not are_requests:
            check_columns(columns or (), prefix, fields)
        self._has_lines = are_requests and self.path.suffix.lower() in (".jsonl", ".ndjson")
        self._are_requests = are_requests
        self._prefix = prefix
        self._fields = fields
        self._files: dict[Path, tuple[BinaryIO, RowWriter]] = {}
        self._open(self.path)

    def __enter__(self) -> ResultFile:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def add(self, result: BatchResult) -> None:
        """Write *result*."""
        if self._has_lines:
            path = self.path if result.ok else errors_path(self.path)
            row = answer_line(result) if result.ok else error_line(result)
        else:
            path = self.path
            row = output_row(result if not self._are_requests else _without_body(result), self._prefix, self._fields)
        if path not in self._files:
            self._open(path)
        with _written(path):
            self._files[path][1].write(row)

    def complete(self) -> Path:
        """Give the complete file its name, and return that."""
        files = dict(self._files)
        for path, (file, _) in files.items():
            with _written(path):
                self._end(path)
                file.flush()
                os.fsync(file.fileno())
                file.close()
                _part(path).replace(path)
        if self._has_lines and (old := errors_path(self.path)) not in files:
            with _written(old):
                old.unlink(missing_ok=True)  # of an earlier run
        return self.path

    def close(self) -> None:
        """Close the file. If it is not complete, what there is stays under the name with ``.part``."""
        for path in list(self._files):
            file = self._files[path][0]
            try:
                with _written(path):
                    self._end(path)
            finally:
                with contextlib.suppress(OSError):
                    file.close()

    def _open(self, path: Path) -> None:
        with _written(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = _part(path).open("wb")
        try:
            self._files[path] = file, row_writer(file, path.suffix)
        except BaseException:
            file.close()
            _part(path).unlink()
            raise

    def _end(self, path: Path) -> None:
        self._files.pop(path)[1].close()


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _without_body(result: BatchResult) -> BatchResult:
    return evolve(result, source={"custom_id": result.id})


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error.strerror or error}") from error


def _json(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value, enc_hook=_plain)
    except (UnicodeEncodeError, OverflowError, TypeError, ValueError):  # lone surrogates, and what JSON has no form for
        return json.dumps(_built_in(value), default=str).encode()


def _built_in(value: Any) -> Any:
    """Return *value* as plain Python types; a value that is one stays as it is, with its dates and bytes."""
    if value is None or isinstance(value, (str, int, float, bytes)):
        return None if isinstance(value, float) and value != value else value
    return msgspec.to_builtins(value, enc_hook=_plain, builtin_types=_KEPT)


def _cell(value: Any) -> Any:
    value = None if isinstance(value, float) and value != value else value
    return value if value is None or isinstance(value, (str, int, float)) else _json(value).decode()


def _plain(value: Any) -> Any:
    """Return plain types for a value of another library."""
    for name in ("to_dict", "model_dump", "tolist", "isoformat"):
        if callable(convert := getattr(value, name, None)):
            return convert()
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    return str(value)
