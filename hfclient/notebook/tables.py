"""`Table`: rows as HTML, which a click on a heading sorts, and as plain text.

The sorting is an attribute of the table's head: JupyterLab, VS Code and Colab run it in the outputs of a session. Where
scripts do not run (GitHub, an untrusted notebook), the table is the same in its first order. Colors are those of the page.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hfclient.notebook.escaping import line, text_in_html

__all__ = ["Cell", "Table", "bar", "width_of"]

_MAX_ROWS = 200
_MAX_CELL = 200  # characters
_MAX_COLUMN = 60  # columns of a terminal
_SORT = (
    "var h=event.target.closest('th');if(h){var t=h.closest('table'),b=t.tBodies[0],i=h.cellIndex,"
    "up=h.getAttribute('aria-sort')=='descending';"
    "if(!h.hasAttribute('aria-sort')){up=!h.hasAttribute('data-number')}"
    "for(var o of h.parentNode.cells)o.removeAttribute('aria-sort');"
    "h.setAttribute('aria-sort',up?'ascending':'descending');"
    "var k=function(r){var c=r.cells[i];return c.dataset.value===undefined?c.textContent:c.dataset.value};"
    "Array.from(b.rows).sort(function(x,y){var p=k(x),q=k(y);"
    "if(p===''||q==='')return p===q?0:p===''?1:-1;"
    "var d=h.hasAttribute('data-number')?p-q:p.localeCompare(q,undefined,{numeric:true});return up?d:-d"
    "}).forEach(function(r){b.appendChild(r)})}"
)
_KEY = "if(event.key=='Enter')event.target.click()"


class Cell(NamedTuple):
    """A cell.

    Attributes:
        text: Its text; escaped where it is shown.
        value: The number that it is sorted by, for a cell with a number.
        html: Its HTML, if it is more than its text. The caller has escaped it.
    """

    text: str = ""
    value: float | None = None
    html: str | None = None


class Table:
    """Rows with headings.

    Args:
        headings: One for each column; a column of numbers ends with ``"#"`` here, which is not shown.
        rows: The rows, or the first of them.
        total: How many rows there are.
        caption: A line above.
    """

    def __init__(
        self, headings: Sequence[str], rows: Iterable[Sequence[Cell]], *, total: int, caption: str = ""
    ) -> None:
        self._numbers = [heading.endswith("#") for heading in headings]
        self._headings = [heading.rstrip("#") for heading in headings]
        self._rows = [list(row) for row, _ in zip(rows, range(_MAX_ROWS))]  # noqa: B905
        self._more = total - len(self._rows)
        self._caption = caption
        # A column in which nothing is known is not shown.
        used = [i for i in range(len(headings)) if i == 0 or any(row[i].text for row in self._rows)]
        self._numbers = [self._numbers[i] for i in used]
        self._headings = [self._headings[i] for i in used]
        self._rows = [[row[i] for i in used] for row in self._rows]

    @property
    def _rest(self) -> str:
        return f"… and {self._more:,} more" if self._more > 0 else ""

    def html(self) -> str:
        """Return the table as HTML."""
        heads = "".join(
            f'<th scope="col" tabindex="0" style="cursor:pointer;text-align:{"right" if number else "left"}"'
            f"{' data-number' if number else ''}>{text_in_html(heading)}</th>"
            for heading, number in zip(self._headings, self._numbers, strict=True)
        )
        rows = "".join(f"<tr>{''.join(map(_html_cell, row, self._numbers))}</tr>" for row in self._rows)
        caption = (
            f'<caption style="text-align:left;caption-side:top">{text_in_html(self._caption)}</caption>'
            if self._caption
            else ""
        )
        rest = f"<p>{self._rest}</p>" if self._rest else ""
        return (
            f'<table cellpadding="6" style="border-collapse:collapse">{caption}<thead title="Click to sort" onclick="{_SORT}" onkeydown="{_KEY}">'
            f"<tr>{heads}</tr></thead><tbody>{rows}</tbody></table>{rest}"
        )

    def text(self) -> str:
        """Return the table as lines for a terminal."""
        cells = [
            [line(heading) for heading in self._headings],
            *([line(cell.text, _MAX_COLUMN) for cell in row] for row in self._rows),
        ]
        widths = [max(width_of(row[i]) for row in cells) for i in range(len(self._headings))]
        lines = [self._caption] if self._caption else []
        for row in cells:
            parts = []
            for text, width, number in zip(row, widths, self._numbers, strict=True):
                space = " " * (width - width_of(text))
                parts.append(space + text if number else text + space)
            lines.append("  ".join(parts).rstrip())
        return "\n".join([*lines, *([self._rest] if self._rest else [])])


def _html_cell(cell: Cell, number: bool) -> str:
    inner = cell.html if cell.html is not None else text_in_html(line(cell.text, _MAX_CELL))
    value = f' data-value="{cell.value if cell.value is not None else ""}"' if number or cell.value is not None else ""
    return f'<td style="text-align:{"right" if number else "left"}"{value}>{inner}</td>'


def bar(share: float) -> Cell:
    """Return a bar for a number from 0 to 1."""
    share = min(1.0, max(0.0, share))
    style = f"background:currentColor;opacity:.5;height:.7em;width:{share * 12:.2f}em;min-width:1px"
    return Cell("█" * round(share * 20) or "▏", share, f'<div style="{style}"></div>')


def width_of(text: str) -> int:
    """Return how many columns of a terminal *text* takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )
