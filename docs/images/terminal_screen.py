"""A terminal session as a picture: programs run behind a pseudo-terminal, pyte keeps the screen, and SVG shows it.

POSIX only. A cell of the screen remembers the moment of its last change, so that a picture can show an answer as it grew.
"""

from __future__ import annotations

import fcntl
import html
import os
import pty
import re
import select
import shlex
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyte

CHARACTER, LINE, FONT = 8.4, 21, 14  # width of a character, height of a line and size of the font, in pixels
LEFT, TOP = 20, 62  # where the text begins
PATIENCE = 60  # seconds without output, after which a program counts as hanging
ROWS = 60
TEXT, DIM = "#d7dde5", "#8b97a5"
COLOURS = {
    "black": "#171b21",
    "red": "#ff7b72",
    "green": "#7ee08a",
    "brown": "#e3b341",
    "blue": "#79c0ff",
    "magenta": "#d2a8ff",
    "cyan": "#76e3ea",
    "white": TEXT,
    "brightblack": DIM,
    "brightred": "#ffa198",
    "brightgreen": "#a5f0ad",
    "brightbrown": "#f2cc60",
    "brightblue": "#a5d6ff",
    "brightmagenta": "#e2c5ff",
    "brightcyan": "#b3f0ff",
    "brightwhite": "#ffffff",
}
STYLE = """
text { font: %dpx ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace;
       fill: %s; white-space: pre }
.b { font-weight: bold } .i { font-style: italic } .u { text-decoration: underline }
@keyframes appear { from { opacity: 0 } }
.piece { animation: appear 1ms step-end backwards }
@media (prefers-reduced-motion: reduce) { .piece { animation: none } }
"""
Keys = Sequence[tuple[str, str]]


class Session:
    """A screen on which commands run, one after the other.

    Args:
        columns: Its width; the height is as large as needed.
        environment: Variables of the commands, in addition to those of this process.
        folder: Where the commands run.
    """

    def __init__(self, columns: int, environment: Mapping[str, str], folder: Path) -> None:
        self.columns = columns
        self._environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **environment}
        for name in ("NO_COLOR", "COLUMNS", "LINES"):
            self._environment.pop(name, None)
        self.folder = folder
        self._screen = pyte.Screen(columns, ROWS)
        self._screen.set_mode(pyte.modes.LNM)
        self._stream = pyte.ByteStream(self._screen)
        self._before: dict[tuple[int, int], object] = {}
        self._moments: dict[tuple[int, int], float] = {}
        self._now = 0.0

    def run(self, shown: str, command: Sequence[str], *, keys: Keys = (), fails: bool = False, until: str = "") -> None:
        """Show the line *shown* behind a prompt, and run *command*.

        Args:
            shown: What was typed.
            command: What runs.
            keys: Texts to wait for, each with what is typed then.
            fails: The exit code is not 0.
            until: A text with which the picture is complete: the command is ended.
        """
        self._feed(f"\x1b[32m$\x1b[0m {shown}\r\n".encode())
        self._now += 0.8
        reader, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, self.columns, 0, 0))
        process = subprocess.Popen(
            command, stdin=terminal, stdout=terminal, stderr=terminal, env=self._environment, cwd=self.folder,
            preexec_fn=_own_terminal,  # noqa: PLW1509 (this process has one thread that matters)
        )
        os.close(terminal)
        begin, first = self._now, None
        waiting = list(keys)
        for data in _read(reader):
            first = time.monotonic() if first is None else first
            self._now = begin + time.monotonic() - first
            self._feed(data)
            if until and until in "\n".join(self._screen.display):
                process.kill()
                process.wait()
                os.close(reader)
                return
            if waiting and waiting[0][0] in "\n".join(self._screen.display):
                time.sleep(0.3)
                os.write(reader, waiting.pop(0)[1].encode())
        os.close(reader)
        if bool(process.wait()) != fails or waiting:
            raise SystemExit(f"{shlex.join(command)} ended with {process.returncode}:\n" + "\n".join(self._screen.display))
        self._now += 0.8

    def _feed(self, data: bytes) -> None:
        self._stream.feed(_with_dim(data))
        for row, line in self._screen.buffer.items():
            for column, cell in line.items():
                if self._before.get((row, column)) != cell:
                    self._before[row, column] = cell
                    self._moments[row, column] = self._now

    def draw(self, title: str, *, moving: bool = False) -> str:
        """Return the screen as SVG, with *moving* as it grew."""
        lines = [line.rstrip() for line in self._screen.display]
        while lines and not lines[-1]:
            lines.pop()
        width, height = round(LEFT * 2 + self.columns * CHARACTER), TOP + len(lines) * LINE + 8
        words = "\n".join(lines)
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" xml:space="preserve">',
            f"<title>{html.escape(title, quote=False)}</title>",
            f"<desc>{html.escape(words, quote=False)}</desc>",
            f"<style>{STYLE % (FONT, TEXT)}</style>",
            f'<rect x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="9" fill="#171b21" stroke="#3a424d"/>',
            *(
                f'<circle cx="{LEFT + 5 + 18 * i}" cy="20" r="5.5" fill="{colour}"/>'
                for i, colour in enumerate(("#ff5f57", "#febc2e", "#28c840"))
            ),
            *(piece for row in range(len(lines)) for piece in self._draw_line(row, moving=moving)),
            "</svg>\n",
        ])

    def _draw_line(self, row: int, *, moving: bool) -> Iterator[str]:
        runs: list[tuple[int, tuple[object, ...], str]] = []  # first column, style and moment, text
        line = self._screen.buffer[row]
        for column in range(self.columns):
            cell = line[column]
            moment = round(self._moments.get((row, column), 0.0), 2) if moving else 0.0
            style = (*_style(cell), moment)
            if runs and (runs[-1][1] == style or (not cell.data.strip() and style[1] is None)):
                runs[-1] = (runs[-1][0], runs[-1][1], runs[-1][2] + (cell.data or "\0"))
            else:
                runs.append((column, style, cell.data or "\0"))
        y = TOP + row * LINE
        for column, (colour, background, classes, moment), text in runs:
            shown = text if background else text.rstrip(" ")
            x, length = LEFT + column * CHARACTER, len(shown) * CHARACTER
            if background and shown:
                yield f'<rect x="{x:.1f}" y="{y - 15}" width="{length:.1f}" height="{LINE}" fill="{background}"/>'
            shown = shown.replace("\0", "")  # the second half of a wide character
            if not shown.strip():
                continue
            names = f"{classes} piece".strip() if moving else classes
            styles = [f"fill:{colour}"] if colour else []
            if moving:
                styles.append(f"animation-delay:{moment:.2f}s")
            attributes = (f' class="{names}"' if names else "") + (f' style="{";".join(styles)}"' if styles else "")
            # A fixed width for each text: the picture is the same in every monospaced font.
            yield (
                f'<text{attributes} x="{x:.1f}" y="{y}" textLength="{length:.1f}" lengthAdjust="spacingAndGlyphs">'
                f"{html.escape(shown, quote=False)}</text>"
            )


def _own_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _read(reader: int) -> Iterator[bytes]:
    while True:
        if not select.select([reader], [], [], PATIENCE)[0]:
            raise SystemExit("the program shows nothing and does not end")
        try:
            data = os.read(reader, 65536)
        except OSError:  # Linux's error when the program has ended
            return
        if not data:
            return
        yield data


def _with_dim(data: bytes) -> bytes:
    """Replace dim text, which pyte does not know, by grey text."""

    def replaced(found: re.Match[bytes]) -> bytes:
        parts = found[1].split(b";")
        if b"38" in parts or b"48" in parts:
            return found[0]
        return b"\x1b[" + b";".join({b"2": b"90", b"22": b"22;39"}.get(part, part) for part in parts) + b"m"

    return re.sub(rb"\x1b\[([\d;]*)m", replaced, data)


def _style(cell: pyte.screens.Char) -> tuple[str | None, str | None, str]:
    """Return the colour, the background and the CSS classes of a cell; None is the default."""
    colour, background = _colour(cell.fg), _colour(cell.bg)
    if cell.reverse:
        colour, background = background or COLOURS["black"], colour or TEXT
    classes = [name for name, has in (("b", cell.bold), ("i", cell.italics), ("u", cell.underscore)) if has]
    return colour, background, " ".join(classes)


def _colour(name: str) -> str | None:
    return None if name == "default" else COLOURS.get(name, f"#{name}")
