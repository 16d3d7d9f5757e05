"""What ``hfclient batch`` writes: a file, or lines on standard output."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hfclient.batch.formats.openai_results import answer_line, error_line
from hfclient.batch.formats.result_files import ResultFile, check_columns, output_row, plain_row
from hfclient.cli.output import Output

if TYPE_CHECKING:
    from hfclient.batch import Batch, BatchResult

__all__ = ["printer_or_file"]


@contextlib.contextmanager
def printer_or_file(made: Batch, path: Path | None, prefix: str, *, writes: bool) -> Iterator[Callable[[BatchResult], None]]:
    """Return what writes the results of *made*; a file gets its name when all of them are written.

    Args:
        made: The batch.
        path: The file; None prints lines of JSON.
        prefix: Of the new columns.
        writes: False writes nothing.
    """
    if not writes:
        yield lambda result: None
    elif path is not None:
        with ResultFile(path, made.columns, are_requests=made.are_requests, overwrite=True, prefix=prefix) as file:
            yield file.add
            file.complete()
    else:
        output = Output()
        if not made.are_requests:
            check_columns(made.columns or (), prefix)

        def print_line(result: BatchResult) -> None:
            if made.are_requests:
                output.write_json(answer_line(result) if result.ok else error_line(result))
            else:
                output.write_json(plain_row(output_row(result, prefix)))

        yield print_line
