"""Draw docs/images/terminal.svg: a terminal in which the small model of ``--local`` answers.

    $ python docs/images/terminal.py

The commands run in a pseudo-terminal (POSIX only). Each piece of an answer appears in the image when it appeared there. A
viewer without animations, or one that prefers reduced motion, shows the whole answer at once. Lines break between words.
"""

from __future__ import annotations

import fcntl
import html
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
import textwrap
import time
from pathlib import Path

COMMANDS = [
    ["hfclient", "chat", "--local", "Explain rain to a child in two sentences."],
    ["hfclient", "chat", "--local", "Write a line of a song about rain."],
]
COLUMNS = 78
CHARACTER, LINE, FONT = 8.4, 21, 14  # width of a character, height of a line and size of the font, in pixels
LEFT, TOP = 20, 62  # where the text begins

STYLE = """
text { font: %dpx ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace;
       fill: #d7dde5; white-space: pre }
.prompt { fill: #7ee08a } .dim { fill: #8b97a5 }
@keyframes appear { from { opacity: 0 } }
.piece { animation: appear 1ms step-end backwards }
@media (prefers-reduced-motion: reduce) { .piece { animation: none } }
"""


def run(command: list[str]) -> list[tuple[float, str]]:
    """Run *command* in a terminal and return each piece of its output with the seconds since the first one."""
    reader, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 500, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-m", *command], stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal, env=environment
    )
    os.close(terminal)
    pieces: list[tuple[float, str]] = []
    while True:
        try:
            data = os.read(reader, 65536)
        except OSError:  # the process has ended
            break
        if not data:
            break
        pieces.append((time.monotonic(), data.decode()))
    os.close(reader)
    if process.wait():
        raise SystemExit(f"{shlex.join(command)} failed: {''.join(text for _, text in pieces)}")
    return [(moment - pieces[0][0], text) for moment, text in pieces]


def lines_of(pieces: list[tuple[float, str]]) -> list[list[tuple[float, str, str]]]:
    """Return the lines of a screen, each a list of (moment, style, text)."""
    shown: list[tuple[float, str, str]] = []
    style = ""
    for moment, piece in pieces:
        for part in re.split(r"(\x1b\[[0-9;]*m)", piece.replace("\r", "")):
            if part.startswith("\x1b["):
                style = "dim" if part == "\x1b[2m" else ""
            else:
                shown += [(moment, style, character) for character in part]
    text = "".join(character for _, _, character in shown)
    lines: list[list[tuple[float, str, str]]] = []
    position = 0
    for paragraph in text.rstrip("\n").split("\n"):
        for words in textwrap.wrap(paragraph, COLUMNS, replace_whitespace=False) or [""]:
            position = text.index(words, position)
            line: list[tuple[float, str, str]] = []
            for moment, style, character in shown[position : position + len(words)]:
                if line and line[-1][:2] == (moment, style):
                    line[-1] = (moment, style, line[-1][2] + character)
                else:
                    line.append((moment, style, character))
            lines.append(line)
            position += len(words)
    return lines


def screen() -> list[list[tuple[float, str, str]]]:
    """Run all commands and return the lines of one screen."""
    lines: list[list[tuple[float, str, str]]] = []
    start = 0.0
    for command in COMMANDS:
        lines.append([(start, "prompt", "$ "), (start, "", shlex.join(command).replace("'", '"'))])
        answer = lines_of([(start + 0.8 + moment, text) for moment, text in run(command)])
        lines += answer
        start = max(moment for line in answer for moment, _, _ in line) + 0.8
    return lines


def drawn(lines: list[list[tuple[float, str, str]]]) -> str:
    """Return the image as SVG."""
    width, height = round(LEFT * 2 + COLUMNS * CHARACTER), TOP + len(lines) * LINE + 8
    rows = []
    for number, line in enumerate(lines):
        column = 0
        for moment, style, text in line:
            # A fixed width for each text: the image is the same in every monospaced font.
            x, length = LEFT + column * CHARACTER, len(text) * CHARACTER
            rows.append(
                f'<text class="{f"{style} piece".strip()}" x="{x:.1f}" y="{TOP + number * LINE}" textLength="{length:.1f}"'
                f' lengthAdjust="spacingAndGlyphs" style="animation-delay:{moment:.2f}s">{html.escape(text, quote=False)}</text>'
            )
            column += len(text)
    words = "\n".join("".join(text for _, _, text in line) for line in lines)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" xml:space="preserve">',
            "<title>hfclient on the command line</title>",
            f"<desc>{html.escape(words, quote=False)}</desc>",
            f"<style>{STYLE % FONT}</style>",
            f'<rect x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="9" fill="#171b21" stroke="#3a424d"/>',
            *(
                f'<circle cx="{LEFT + 5 + 18 * i}" cy="20" r="5.5" fill="{colour}"/>'
                for i, colour in enumerate(("#ff5f57", "#febc2e", "#28c840"))
            ),
            *rows,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    path = Path(__file__).with_suffix(".svg")
    path.write_text(drawn(screen()), "utf-8")
    print(path)
