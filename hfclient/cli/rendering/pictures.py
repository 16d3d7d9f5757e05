"""Pictures inside a terminal: kitty's graphics protocol, iTerm2's inline images, and sixel.

The bytes of a picture come from a model. Only PNG, JPEG, GIF and WebP are sent, encoded in base64 or drawn again as pixels, so
that nothing in them can be an escape sequence. With Pillow a picture is decoded here, made small enough, and sent as a new PNG.
Without Pillow a terminal gets the file itself, if its protocol takes the format; sixel needs Pillow.

The environment says which protocol a terminal has. If it does not, the terminal is asked whether it has sixel, with a short
timeout. tmux draws sixels itself, if it was built for that. Other sequences go through tmux to the terminal behind it if its
option ``allow-passthrough`` is on.

Reference: https://sw.kovidgoyal.net/kitty/graphics-protocol, https://iterm2.com/documentation-images.html,
https://vt100.net/docs/vt3xx-gp/chapter14.html (sixel)
"""

from __future__ import annotations

import base64
import contextlib
import io
import math
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from attrs import frozen

from hfclient.cli.rendering.sixel import sixel
from hfclient.cli.rendering.terminal_queries import passes_through_tmux, supports_sixel, terminal_behind_tmux
from hfclient.files.media_types import dimensions, sniff

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

    from hfclient.cli.output import Output

__all__ = ["VARIABLE", "Area", "Protocol", "detect", "draw", "encode"]

Protocol: TypeAlias = Literal["kitty", "iterm", "sixel"]

VARIABLE = "HFCLIENT_PICTURES"
"""The environment variable that names the protocol, or ``none``, for terminals that are not recognised."""

_FORMATS = ("image/png", "image/jpeg", "image/gif", "image/webp")
_MAX_BYTES = 20 * 1024 * 1024
_MAX_UNSCALED = 4 * 1024 * 1024
"""Bytes of a picture that is sent as it is, without Pillow."""
_MAX_PIXELS = 50_000_000
_CHUNK = 4096
"""Characters of base64 in one sequence of kitty's protocol, by its specification."""
_CELL = (9, 18)
"""Pixels of a character, if the terminal does not say."""
_MAX_COLUMNS, _MAX_SHARE = 80, 0.6
"""The largest preview: columns, and share of the rows."""


@frozen
class Area:
    """The size of a terminal.

    Attributes:
        columns, rows: In characters.
        cell: Width and height of a character in pixels.
    """

    columns: int = 80
    rows: int = 24
    cell: tuple[int, int] = _CELL

    @classmethod
    def of_terminal(cls) -> Area:
        """Return the size of the terminal that is standard output."""
        with contextlib.suppress(ImportError, OSError, ValueError):
            import fcntl
            import struct
            import termios

            answer = fcntl.ioctl(sys.stdout.fileno(), termios.TIOCGWINSZ, b"\0" * 8)
            rows, columns, width, height = struct.unpack("HHHH", answer)
            if rows and columns:
                has_pixels = width >= columns and height >= rows
                return cls(columns, rows, (width // columns, height // rows) if has_pixels else _CELL)
        return cls()

    def fit(self, width: int, height: int) -> tuple[int, int]:
        """Return the size in pixels at which a picture is shown; never larger than it is."""
        across = self.cell[0] * max(1, min(self.columns - 1, _MAX_COLUMNS))
        down = self.cell[1] * max(1, int(self.rows * _MAX_SHARE))
        scale = min(1.0, across / width, down / height)
        return max(1, round(width * scale)), max(1, round(height * scale))

    def cells(self, width: int, height: int) -> tuple[int, int]:
        """Return the columns and rows that a picture of this size covers."""
        return max(1, math.ceil(width / self.cell[0])), max(1, math.ceil(height / self.cell[1]))


def detect(output: Output, environ: Mapping[str, str] = os.environ) -> Protocol | None:
    """Return the protocol for pictures of the terminal that is standard output, or None."""
    term, program = environ.get("TERM", ""), environ.get("TERM_PROGRAM", "")
    if not output.is_terminal or term == "dumb":
        return None
    wanted = environ.get(VARIABLE, "").strip().lower()
    if wanted in ("kitty", "iterm", "sixel"):
        return wanted  # type: ignore[return-value]
    if wanted:
        return None
    if environ.get("TMUX") or environ.get("STY"):  # GNU Screen has nothing for pictures
        return _detect_in_tmux(environ) if environ.get("TMUX") else None
    if (found := _by_name(term, program, environ)) is not None:
        return found
    return "sixel" if _has_pillow() and supports_sixel() else None


def _by_name(term: str, program: str, environ: Mapping[str, str]) -> Protocol | None:
    if program in ("iTerm.app", "WezTerm", "mintty") or environ.get("LC_TERMINAL") == "iTerm2":
        return "iterm"
    is_kitty = environ.get("KITTY_WINDOW_ID") or "kitty" in term or "ghostty" in term or program == "ghostty"
    version = environ.get("KONSOLE_VERSION", "")
    return "kitty" if is_kitty or (version.isdecimal() and int(version) >= 220400) else None


def _detect_in_tmux(environ: Mapping[str, str]) -> Protocol | None:
    # The environment may be that of another terminal, in which tmux was started; tmux knows the one that is attached now.
    if passes_through_tmux():
        found = _by_name(terminal_behind_tmux(), "", {"LC_TERMINAL": environ.get("LC_TERMINAL", "")})
        if found is not None:
            return found
    return "sixel" if _has_pillow() and supports_sixel() else None


def draw(output: Output, content: bytes, protocol: Protocol | None) -> bool:
    """Draw a picture at the beginning of a line and end the line; returns False if nothing was drawn.

    Args:
        output: Standard output.
        content: The file, PNG, JPEG, GIF or WebP.
        protocol: Of :func:`detect`.
    """
    if protocol is None:
        return False
    in_tmux = bool(os.environ.get("TMUX")) and protocol != "sixel"
    data = encode(content, protocol, Area.of_terminal(), in_tmux=in_tmux)
    if not data:
        return False
    sys.stdout.flush()
    # Base64 and digits: not output.write, which would remove the escape sequences.
    sys.stdout.buffer.write(data)
    sys.stdout.flush()
    return True


def encode(content: bytes, protocol: Protocol, area: Area, *, in_tmux: bool = False) -> bytes:
    """Return the sequences that draw a picture, with a line end; empty if it is not one, or cannot be sent."""
    kind, size = sniff(content), dimensions(content)
    if kind not in _FORMATS or size is None or len(content) > _MAX_BYTES:
        return b""
    if min(size) < 1 or size[0] * size[1] > _MAX_PIXELS:
        return b""
    shown = area.fit(*size)
    picture = _decoded(content, shown)
    if picture is not None:
        if protocol == "sixel":
            return sixel(picture) + b"\r\n"
        content, kind = _as_png(picture), "image/png"
    elif protocol == "sixel" or len(content) > _MAX_UNSCALED or (protocol == "kitty" and kind != "image/png"):
        return b""
    columns, rows = area.cells(*shown)
    encoded = base64.b64encode(content)
    wrap = _through_tmux if in_tmux else bytes
    if protocol == "kitty":
        data = _kitty(encoded, columns, wrap, keep_cursor=in_tmux)
    else:
        data = wrap(_iterm(encoded, len(content), columns))
    if not in_tmux:
        return data + b"\r\n"
    # tmux does not see that the cursor moves: space is made below, and the cursor is set by tmux itself.
    return b"\r\n" * rows + b"\x1b[%dA" % rows + b"\x1b7" + data + b"\x1b8" + b"\x1b[%dB" % rows


def _kitty(encoded: bytes, columns: int, wrap: Callable[[bytes], bytes], *, keep_cursor: bool) -> bytes:
    keys = b"a=T,f=100,q=2,c=%d" % columns + (b",C=1" if keep_cursor else b"")  # q=2: no answers
    pieces = [encoded[start : start + _CHUNK] for start in range(0, len(encoded), _CHUNK)]
    return b"".join(
        wrap(b"\x1b_G%s,m=%d;%s\x1b\\" % (keys if number == 0 else b"q=2", number < len(pieces) - 1, piece))
        for number, piece in enumerate(pieces)
    )


def _iterm(encoded: bytes, size: int, columns: int) -> bytes:
    keys = b"inline=1;size=%d;width=%d;preserveAspectRatio=1" % (size, columns)
    return b"\x1b]1337;File=%s:%s\x07" % (keys, encoded)


def _through_tmux(data: bytes) -> bytes:
    return b"\x1bPtmux;" + data.replace(b"\x1b", b"\x1b\x1b") + b"\x1b\\"


def _has_pillow() -> bool:
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        return False
    return True


def _decoded(content: bytes, size: tuple[int, int]) -> PILImage | None:
    """Return the picture, in that size; None without Pillow, or if Pillow cannot read it."""
    if not _has_pillow():
        return None
    import PIL.Image

    # A model's bytes can make Pillow raise nearly anything; the picture is then not drawn.
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        picture: Any = PIL.Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "GIF", "WEBP"))
        picture.draft("RGB", size)  # a JPEG is decoded in a smaller size at once
        return picture.convert("RGBA").resize(size, PIL.Image.Resampling.BICUBIC)  # type: ignore[no-any-return]
    return None


def _as_png(picture: PILImage) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
