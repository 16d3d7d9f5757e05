"""Tables: as wide as the terminal with rich, and as aligned text in a pipe, where nothing is cut off.

Cells hold texts of servers and models. Each is one line without control characters, on a terminal and in a pipe.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from hfclient.cli.output import Output
from hfclient.redaction.control_characters import collapsed

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["bar", "cell", "print_table"]

_MAX_SHOWN = 1000
"""Characters of a cell on a terminal; more than any line has."""

_MAX_ALIGNED = 100
"""Characters up to which the cells of a column in a pipe have the same width: one huge cell would make all others as long."""

_MIN_WIDTH = 8
"""Characters below which a column is left out instead of being cut."""


def cell(value: object) -> str:
    r"""Return *value* as one line without control characters; ``-`` for None and an empty text.

    >>> cell("a\x1b[2J\n b"), cell(None), cell(0)
    ('a[2J b', '-', '0')
    """
    return ("" if value is None else collapsed(str(value))) or "-"


def print_table(
    output: Output, titles: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = (), whole: int = 1
) -> None:
    """Print *rows* below *titles*.

    On a narrow terminal the columns after the first *whole* ones end with an ellipsis, and the last ones are left out.

    Args:
        output: Standard output.
        titles: Names of the columns.
        rows: One value for each column; None is an empty cell.
        right: Names of the columns with numbers.
        whole: How many columns, such as ids, are never cut.
    """
    texts = [[cell(value) for value in row] for row in rows]
    console = _console_for(output)
    count = len(titles) if console is None else _fitting(titles, texts, whole, console.width)
    if console is None or count == 0:
        output.write(_aligned(titles, texts, right))
        return
    from rich.table import Table
    from rich.text import Text

    style = "bold" if output.has_colour else "none"
    cut: Any = "ellipsis" if _is_unicode() else "crop"
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=style)
    for number, title in enumerate(titles[:count]):
        table.add_column(
            Text(title, no_wrap=True, overflow=cut),
            justify="right" if title in right else "left",
            no_wrap=number < whole,
            overflow=cut,
        )
    for row in texts:
        table.add_row(*(Text(text[:_MAX_SHOWN], no_wrap=True, overflow=cut) for text in row[:count]))
    console.print(table)


def _console_for(output: Output) -> Console | None:
    if not output.is_terminal:
        return None
    try:
        return output.console()
    except ImportError:
        return None


def _fitting(titles: Sequence[str], rows: Sequence[Sequence[str]], whole: int, width: int) -> int:
    """Return how many columns a terminal of *width* has space for; 0 if not even the first *whole* ones."""
    widths = [max(len(row[number]) for row in (titles, *rows)) for number in range(len(titles))]
    needed = [own if number < whole else min(own, _MIN_WIDTH) for number, own in enumerate(widths)]
    count = len(titles)
    while count and sum(needed[:count]) + 2 * (count - 1) > width:
        count -= 1
    return count if count >= whole else 0


def bar(share: float, width: int) -> str:
    """Return a bar for *share*, 0 to 1, of at most *width* characters.

    >>> bar(0.5, 4)
    '██'
    """
    filled = max(0.0, min(1.0, share)) * width if share == share else 0.0  # not NaN
    if not _is_unicode():
        return "#" * round(filled)
    return "█" * int(filled) + ("▌" if filled % 1 >= 0.5 else "")


def _is_unicode() -> bool:
    try:
        "█…".encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True


def _aligned(titles: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> str:
    lines = [titles, *rows]
    widths = [min(_MAX_ALIGNED, max(len(row[number]) for row in lines)) for number in range(len(titles))]
    last = len(titles) - 1
    return "".join(
        "  ".join(
            text.rjust(width) if title in right else text if number == last else text.ljust(width)
            for number, (text, width, title) in enumerate(zip(row, widths, titles, strict=True))
        ).rstrip()
        + "\n"
        for row in lines
    )
