"""The media type of a file by its first bytes, which count more than a server's header or the suffix of a name.

Not filetype (1.2) or puremagic (1.30): both call an MP4 or a WebM that holds only audio a video, an Ogg video audio (or neither),
and FLAC behind an ID3 tag MP3; filetype also lacks SVG, AVIF, 3GP, AIFF and AMR-WB.

Reference: the signatures are those of the formats' own specifications (PNG, JFIF, GIF89a, RIFF, ISO 14496-12, EBML).
"""

from __future__ import annotations

import re
import struct

__all__ = ["SUFFIXES", "dimensions", "media_type", "sniff"]

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
    "video/ogg": (".ogv",),
    "video/3gpp": (".3gp",),
    "audio/wav": (".wav",),
    "audio/flac": (".flac",),
    "audio/mpeg": (".mp3", ".mpga"),
    "audio/ogg": (".ogg", ".oga", ".opus"),
    "audio/mp4": (".m4a", ".m4b"),
    "audio/webm": (".webm", ".weba"),
    "audio/x-matroska": (".mka",),
    "audio/aac": (".aac",),
    "audio/aiff": (".aiff", ".aif", ".aifc"),
    "audio/amr": (".amr",),
    "audio/amr-wb": (".awb",),
    "audio/3gpp": (".3gp",),
    "audio/basic": (".au", ".snd"),
    "audio/x-caf": (".caf",),
}
"""The file suffixes of each media type, the usual one first."""

_BY_SUFFIX = {suffix: mime for mime, suffixes in reversed(SUFFIXES.items()) for suffix in suffixes}
# Other names of the same types, from callers, browsers and mimetypes.guess_type.
_ALIASES = {
    "application/ogg": "audio/ogg",
    "audio/aacp": "audio/aac",
    "audio/m4a": "audio/mp4",
    "audio/mp3": "audio/mpeg",
    "audio/mp4a-latm": "audio/mp4",
    "audio/mpeg3": "audio/mpeg",
    "audio/opus": "audio/ogg",
    "audio/vnd.wave": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/x-aac": "audio/aac",
    "audio/x-aiff": "audio/aiff",
    "audio/x-flac": "audio/flac",
    "audio/x-m4a": "audio/mp4",
    "audio/x-mp3": "audio/mpeg",
    "audio/x-mpeg-3": "audio/mpeg",
    "audio/x-wav": "audio/wav",
    "image/jpg": "image/jpeg",
    "image/x-ms-bmp": "image/bmp",
}
# Video containers, which may hold only audio.
_AS_AUDIO = {
    "video/3gpp": "audio/3gpp",
    "video/mp4": "audio/mp4",
    "video/quicktime": "audio/mp4",
    "video/webm": "audio/webm",
    "video/x-matroska": "audio/x-matroska",
}

_AMBIGUOUS = ("video/webm", "video/3gpp", "application/octet-stream")  # types that are also given for audio recordings

_STARTS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"fLaC", "audio/flac"),
    (b"#!AMR-WB", "audio/amr-wb"),
    (b"#!AMR", "audio/amr"),
    (b"ADIF", "audio/aac"),
    (b"caff", "audio/x-caf"),
    (b".snd", "audio/basic"),
)
_BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heic",
    b"qt  ": "video/quicktime",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
    b"M4P ": "audio/mp4",
    b"F4A ": "audio/mp4",
}
_CODECS = re.compile(rb"\x86[\x81-\xa0]([VA])_[A-Z]")  # element, size, text
_MATROSKA_HEAD = 1 << 16  # bytes that describe the tracks, before the first frames
_MAX_BOXES = 64
_MAX_MARKERS = 10_000  # a JPEG has a few dozen; a limit for files with megabytes of fill bytes
# JPEG's markers c0 to cf, except DHT (c4), JPG (c8) and DAC (cc), begin a frame, which holds the size.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def media_type(data: bytes, name: str = "", claimed: str = "", *, is_audio: bool = False) -> str | None:
    """Return the media type of an image, a video or audio; None if it is unknown.

    The content counts first. If it is ambiguous (an MP4 or a WebM without readable tracks may be video or audio) or unknown,
    *claimed* decides, then the suffix of *name*, then *is_audio*.

        >>> media_type(b"....ftypisom", "memo.m4a"), media_type(b"....ftypisom", "clip.mp4")
        ('audio/mp4', 'video/mp4')
        >>> media_type(b"?", claimed="audio/x-wav"), media_type(b"?", "notes.txt")
        ('audio/wav', None)
    """
    found = sniff(data)
    if found is not None and (found not in _AS_AUDIO or _tracks(data, found)):
        return found
    given = claimed.partition(";")[0].strip().lower()
    hints = [_ALIASES.get(given, given), _by_name(name)]
    if found is None:
        return next((hint for hint in hints if hint.startswith(("audio/", "video/", "image/"))), None)
    hint = next(filter(None, hints), "")
    is_audio = hint.startswith("audio/") or (is_audio and hint in ("", *_AMBIGUOUS))
    return _AS_AUDIO[found] if is_audio else found


def _by_name(name: str) -> str:
    suffix = name[name.rfind(".") :].lower() if "." in name else ""
    if known := _BY_SUFFIX.get(suffix):
        return known
    import mimetypes  # not for a call without files

    guessed = mimetypes.guess_type("x" + suffix)[0] or ""
    return _ALIASES.get(guessed, guessed)


def sniff(data: bytes) -> str | None:
    """Return the media type of an image, a video or audio by its first bytes, or None if they are unknown.

    An MP4 or a WebM with an audio track and without a video track is audio.

    >>> sniff(b"GIF89a..."), sniff(b"<html>")
    ('image/gif', None)
    """
    for start, mime in _STARTS:
        if data.startswith(start):
            return mime
    if data[:4] in (b"RIFF", b"RF64", b"BW64"):
        return {b"WEBP": "image/webp", b"AVI ": "video/x-msvideo", b"WAVE": "audio/wav"}.get(data[8:12])
    if data[:4] == b"FORM" and data[8:12] in (b"AIFF", b"AIFC"):
        return "audio/aiff"
    if data[:4] == b"OggS":
        return "video/ogg" if b"\x80theora" in data[:512] else "audio/ogg"
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        container = "video/3gpp" if brand[:2] == b"3g" else _BRANDS.get(brand, "video/mp4")
        return _AS_AUDIO[container] if container in _AS_AUDIO and _tracks(data, container) == "audio" else container
    if data[:4] == b"\x1a\x45\xdf\xa3":
        container = "video/webm" if b"webm" in data[:64] else "video/x-matroska"
        return _AS_AUDIO[container] if _tracks(data, container) == "audio" else container
    if data[:3] == b"ID3":
        return _behind_id3(data)
    return _mpeg(data) or ("image/svg+xml" if _is_svg(data) else None)


def _mpeg(data: bytes) -> str | None:
    """Return the type of audio that begins with an MPEG frame; UTF-16 text begins with ff fe, which does not match."""
    if data[:1] != b"\xff" or len(data) < 2:
        return None
    return "audio/aac" if data[1] & 0xF6 == 0xF0 else "audio/mpeg" if data[1] & 0xE6 in (0xE2, 0xE4) else None


def _behind_id3(data: bytes) -> str:
    """Return the type of the data after an ID3 tag: nearly always MP3."""
    size = sum((byte & 0x7F) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=False))
    rest = data[10 + size : 14 + size]
    return "audio/flac" if rest == b"fLaC" else _mpeg(rest) or "audio/mpeg"


def _tracks(data: bytes, container: str) -> str | None:
    """Return whether a container holds ``"video"`` or only ``"audio"``; None if *data* does not show it."""
    if container in ("video/webm", "video/x-matroska"):  # CodecID, such as V_VP9 or A_OPUS
        kinds = set(_CODECS.findall(data, 0, _MATROSKA_HEAD))
        return "video" if b"V" in kinds else "audio" if b"A" in kinds else None
    kinds, at = set(), data.find(b"hdlr")
    for _ in range(_MAX_BOXES):
        if at < 0:
            break
        kinds.add(data[at + 12 : at + 16])
        at = data.find(b"hdlr", at + 4)
    return "video" if b"vide" in kinds else "audio" if b"soun" in kinds else None


def _is_svg(data: bytes) -> bool:
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    return start.startswith((b"<svg", b"<?xml")) and b"<svg" in start


def dimensions(data: bytes) -> tuple[int, int] | None:
    """Return width and height in pixels of a PNG, JPEG, GIF or WebP; None for other formats and broken files."""
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
    for _ in range(_MAX_MARKERS):
        if data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:  # fill bytes
            at += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a segment
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
