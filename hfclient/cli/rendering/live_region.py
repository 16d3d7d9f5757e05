"""`LiveRegion`: the last lines of a terminal, which are drawn again while an answer grows; all lines above are final.

`FinalLines` has the same methods, and writes lines only when they are final. A live region uses only relative movements: no
alternate screen, no saved position. What scrolls off is never touched, so the scrollback has each line once.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

from rich.cells import cell_len

__all__ = ["FinalLines", "LiveRegion", "terminal_size"]

_ESCAPES = re.compile(r"\x1b\][^\x1b]*\x1b\\|\x1b\[[0-9;?]*[a-zA-Z]")
# Without automatic line wrap, each line of the region is one row, even if the terminal and we disagree about the width of
# a character.
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"


def terminal_size() -> tuple[int, int]:
    """Return columns and rows of the terminal; 80 and 24 if it does not say."""
    try:
        columns, rows = os.get_terminal_size(sys.stdout.fileno())
    except (OSError, ValueError):
        columns = rows = 0
    return columns or 80, rows or 24


class FinalLines:
    """Lines that are written once, without any escape sequence: for terminals whose user does not want colours.

    It has the methods of `LiveRegion`.
    """

    columns = 0  # nothing is drawn again when the width changes

    @staticmethod
    def size() -> tuple[int, int]:
        """Return columns and rows of the terminal."""
        return terminal_size()

    def update(self, final: Sequence[str], lines: Sequence[str]) -> None:
        """Write *final*; *lines*, which still grow, come when they are final."""
        if final:
            sys.stdout.write("".join(f"{line}\n" for line in final))
            sys.stdout.flush()

    def erase_echo(self) -> None:
        """Begin a new line after what the terminal has echoed, such as ``^C``."""
        sys.stdout.write("\n")

    def clear(self) -> None:
        """Do nothing: all lines are final."""


class LiveRegion:
    """The lines at the end of the terminal that may still change.

    Between two calls the cursor is at the end of the last line of the region, or at the start of an empty line.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._size = self.size()

    @staticmethod
    def size() -> tuple[int, int]:
        """Return columns and rows of the terminal."""
        return terminal_size()

    def update(self, final: Sequence[str], lines: Sequence[str]) -> None:
        """Write *final* above the region for good, and make *lines* the content of the region.

        Args:
            final: Lines without line ends; long ones are wrapped by the terminal.
            lines: Lines without line ends, which the terminal cuts at its width. Only the last ones that fit are shown.
        """
        columns, rows = self.size()
        shown = list(lines)[-max(1, rows - 2) :]
        if not final and shown == self._lines and columns == self._size[0]:
            return
        out = [_NO_WRAP]
        same = 0
        if final or len(shown) < len(self._lines) or columns != self._size[0]:
            out.append(self._erase(columns))
        else:
            while same < len(self._lines) and self._lines[same] == shown[same]:
                same += 1
            out.append("\n" if 0 < same == len(self._lines) else self._to_line(same, columns))
        if final:
            out += [_WRAP, *(f"{line}\n" for line in final), _NO_WRAP]
        # Erased before it is written: at the end of a line as wide as the screen, EL would erase its last character.
        out += ["\n".join(f"\x1b[K{line}" for line in shown[same:]), _WRAP]
        self._lines, self._size = shown, (columns, rows)  # before the write, which Ctrl-C may interrupt
        sys.stdout.write("".join(out))
        sys.stdout.flush()

    def erase_echo(self) -> None:
        """Remove what the terminal has echoed at the cursor, such as ``^C``."""
        if self._lines:
            self._lines[-1] = ""
        sys.stdout.write("\r\x1b[J")

    @property
    def columns(self) -> int:
        """The width that the region was drawn for."""
        return self._size[0]

    def clear(self) -> None:
        """Remove the region; the cursor is then at the start of an empty line."""
        if self._lines:
            self.update((), ())

    def _erase(self, columns: int) -> str:
        """Return what removes the region."""
        if not self._lines:
            return ""
        # Not ED at the top left of the screen: tmux then copies the screen into its history.
        below = "\x1b[B\x1b[J\x1b[A" if self._rows_above(0, columns) else ""
        return f"{self._to_line(0, columns)}\x1b[K{below}"

    def _to_line(self, index: int, columns: int) -> str:
        """Return the movement from the end of the region to the start of one of its lines."""
        rows = self._rows_above(index, columns)
        return f"\r\x1b[{rows}A" if rows else "\r"

    def _rows_above(self, index: int, columns: int) -> int:
        """Return the rows from the start of a line to the end of the region, without the last one."""
        below = self._lines[index:]
        # The terminal has wrapped the lines that do not fit any more. What it has scrolled off meanwhile stays there.
        if columns < self._size[0] and _reflows():
            return sum(max(1, -(-cell_len(_ESCAPES.sub("", line)) // columns)) for line in below) - 1
        return max(0, len(below) - 1)


def _reflows() -> bool:
    """Whether the terminal wraps its lines again when it becomes narrower. xterm, the console of Linux and screen do not."""
    if os.environ.get("TMUX"):
        return True
    term = os.environ.get("TERM", "")
    return not (os.environ.get("XTERM_VERSION") or term.startswith(("linux", "screen", "vt", "rxvt")))
