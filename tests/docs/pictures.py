"""Pictures for the examples of the documentation, drawn without a library: a lighthouse by the sea, at four times of a day."""

from __future__ import annotations

import functools
import struct
import zlib

__all__ = ["lighthouse"]

WIDTH, HEIGHT, HORIZON = 240, 160, 104
SKIES = [  # the top and the bottom of the sky, the sun, the sea
    ((60, 84, 140), (250, 186, 140), (255, 226, 180), (46, 82, 120)),
    ((86, 156, 220), (200, 228, 246), (255, 250, 220), (30, 110, 150)),
    ((70, 50, 110), (244, 120, 90), (255, 190, 110), (52, 56, 96)),
    ((10, 14, 40), (40, 50, 96), (240, 240, 220), (12, 22, 48)),
]


def _pixel(x: int, y: int, time: int) -> tuple[int, ...]:
    top, bottom, sun, sea = SKIES[time]
    half_width = 11 - (y - 40) * -0.05
    if 40 <= y < 112 and abs(x - 176) < half_width:
        return (206, 60, 52) if (y - 40) // 12 % 2 else (244, 240, 232)
    if 30 <= y < 40 and abs(x - 176) < 7:
        return (255, 220, 120)
    if 22 <= y < 30 and abs(x - 176) < y - 20:
        return (90, 40, 40)
    if y >= 108 and (x - 176) ** 2 / 58**2 + (y - 130) ** 2 / 22**2 < 1:
        return (74, 70, 66)
    if y >= HORIZON:
        shine = 26 if (x * 7 + y * 13) % 29 < 3 and abs(x - 70) < 40 else 0
        return tuple(min(255, part + shine + (y - HORIZON) // 4) for part in sea)
    if (x - 70) ** 2 + (y - (86, 30, 84, 36)[time]) ** 2 < (18, 14, 20, 12)[time] ** 2:
        return sun
    return tuple(a + (b - a) * y // HORIZON for a, b in zip(top, bottom, strict=True))


@functools.cache
def lighthouse(time: int) -> bytes:
    """Return the picture as PNG, of 240 by 160 pixels."""
    rows = b"".join(b"\0" + bytes(part for x in range(WIDTH) for part in _pixel(x, y, time % 4)) for y in range(HEIGHT))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + body
