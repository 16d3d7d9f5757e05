"""What a file is, by its first bytes: a server's word or a name's ending is worth less.

Reference: the signatures are those of the formats' own specifications (PNG, JFIF, GIF89a, RIFF, ISO 14496-12, EBML).
"""

from __future__ import annotations

import struct

__all__ = ["SUFFIXES", "dimensions", "sniff"]

SUFFIXES = {
    "image/png": (".png",),
    "image/jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "image/gif": (".gif",),
    "image/webp": (".webp",),
    "image/avif": (".avif",),
    "image/heic": (".heic", ".heif"),
    "image/bmp": (".bmp",),
    "image/tiff": (".tif", ".tiff"),
    "image/svg+xml": (".svg",),
    "video/mp4": (".mp4", ".m4v"),
    "video/webm": (".webm",),
    "video/x-matroska": (".mkv",),
    "video/quicktime": (".mov",),
    "video/x-msvideo": (".avi",),
    "audio/wav": (".wav",),
    "audio/flac": (".flac",),
    "audio/mpeg": (".mp3",),
    "audio/ogg": (".ogg", ".oga", ".opus"),
    "audio/mp4": (".m4a",),
    "audio/aac": (".aac",),
}
"""The endings of each media type, the usual one first."""

_STARTS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
)
_BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"mif1": "image/heic",
    b"qt  ": "video/quicktime",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
}
_MOST_MARKERS = 10_000  # a picture has a few dozens; megabytes of fill bytes are no reason to look at each of them
# Of JPEG's frame markers all but DHT (c4), JPG (c8) and DAC (cc) begin a frame, which holds the size.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def sniff(data: bytes) -> str | None:
    """Return the media type of a picture, a video or a sound, or None if its first bytes say nothing.

    >>> sniff(b"GIF89a..."), sniff(b"<html>")
    ('image/gif', None)
    """
    for start, mime in _STARTS:
        if data.startswith(start):
            return mime
    if data[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"AVI ": "video/x-msvideo", b"WAVE": "audio/wav"}.get(data[8:12])
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], "video/mp4")
    if data[:4] == b"\x1a\x45\xdf\xa3":
        return "video/webm" if b"webm" in data[:64] else "video/x-matroska"
    if data[:1] == b"\xff" and len(data) > 1:  # an MPEG frame; a UTF-16 text begins with ff fe, which is none of these
        return "audio/aac" if data[1] & 0xF6 == 0xF0 else "audio/mpeg" if data[1] & 0xE6 == 0xE2 else None
    return "image/svg+xml" if _is_svg(data) else None


def _is_svg(data: bytes) -> bool:
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    return start.startswith((b"<svg", b"<?xml")) and b"<svg" in start


def dimensions(data: bytes) -> tuple[int, int] | None:
    """Return width and height in pixels of a PNG, JPEG, GIF or WebP; None for all others and for what is broken."""
    try:
        if data.startswith(b"\x89PNG"):
            return struct.unpack(">II", data[16:24])
        if data.startswith(b"GIF8"):
            return struct.unpack("<HH", data[6:10])
        if data.startswith(b"\xff\xd8"):
            return _jpeg(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
    except (struct.error, IndexError):
        pass
    return None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    for _ in range(_MOST_MARKERS):
        if data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:  # fill bytes
            at += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers that stand alone
            at += 2
            continue
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    return None


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        bits = struct.unpack("<I", data[21:25])[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None
