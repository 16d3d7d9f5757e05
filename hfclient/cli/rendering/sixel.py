"""A picture as sixels: six rows of pixels in each line, one colour after the other.

Reference: https://vt100.net/docs/vt3xx-gp/chapter14.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["sixel"]

_COLOURS = 128
_OPAQUE = 128
"""Alpha from which a pixel is drawn."""


def sixel(picture: Image) -> bytes:
    """Return the sequence that draws *picture*, an RGBA image of Pillow; transparent pixels are left out."""
    width, height = picture.size
    indexed = picture.convert("RGB").quantize(_COLOURS)
    palette = indexed.getpalette() or []
    pixels, alpha = indexed.tobytes(), picture.getchannel("A").tobytes()
    parts = [b'\x1bP0;1q"1;1;%d;%d' % (width, height)]  # 1: pixels without a colour stay as they are
    for number in range(len(palette) // 3):
        red, green, blue = (round(value * 100 / 255) for value in palette[3 * number : 3 * number + 3])
        parts.append(b"#%d;2;%d;%d;%d" % (number, red, green, blue))
    bands = (_band(pixels, alpha, width, top, min(top + 6, height)) for top in range(0, height, 6))
    return b"".join([*parts, *bands, b"\x1b\\"])


def _band(pixels: bytes, alpha: bytes, width: int, top: int, bottom: int) -> bytes:
    """Return six rows: each colour's line of bits, with ``$`` back to the left, and ``-`` to the next six."""
    lines: dict[int, bytearray] = {}
    for bit, row in enumerate(range(top, bottom)):
        start = row * width
        for column in range(width):
            if alpha[start + column] >= _OPAQUE:
                colour = pixels[start + column]
                line = lines.get(colour)
                if line is None:
                    line = lines[colour] = bytearray(b"?") * width
                line[column] += 1 << bit
    return b"$".join(b"#%d" % colour + _packed(bytes(line.rstrip(b"?"))) for colour, line in lines.items()) + b"-"


def _packed(line: bytes) -> bytes:
    """Return a line with runs of a character as ``!count``."""
    parts = []
    start = 0
    for at in range(1, len(line) + 1):
        if at == len(line) or line[at] != line[start]:
            run = line[start:at]
            parts.append(b"!%d%c" % (len(run), run[0]) if len(run) > 3 else run)
            start = at
    return b"".join(parts)
