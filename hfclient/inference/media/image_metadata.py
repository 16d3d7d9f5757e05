"""Prompt, model, provider and seed inside an image's file: written, and read back.

A PNG gets one text chunk for each. JPEG and WebP get a packet of XMP, with the properties of IPTC for generated images, so
photo programs show them. The pixels stay as they are, and nothing is decoded.

Reference: https://www.w3.org/TR/png-3/#11iTXt, https://developers.google.com/speed/webp/docs/riff_container,
https://www.iptc.org/std/photometadata/specification (2025.1), Adobe's XMP specification, part 3
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape, unescape

from hfclient.errors import InvalidInputError, Unsupported
from hfclient.files.media_types import dimensions

__all__ = ["read_facts", "with_facts"]

_NAMES = ("prompt", "model", "provider", "seed")
_PNG_HEAD = 8 + 25  # the signature and IHDR, which comes first and always has this length
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_MAX_SEGMENT = 65_533  # bytes of a segment of a JPEG, without its length
_MAX_CHUNKS = 100_000
_FACTS = re.compile(rb'hfclient:facts="([^"]{1,200000})"')
_QUOTES = {'"': "&quot;", "\n": "&#10;", "\t": "&#9;", "\r": "&#13;"}
_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:hfclient="urn:hfclient:image"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
 Iptc4xmpExt:AIPromptInformation="{prompt}" Iptc4xmpExt:AISystemUsed="{model}" hfclient:facts="{facts}">
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{prompt}</rdf:li></rdf:Alt></dc:description>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""
# What XML 1.0 cannot hold.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def with_facts(content: bytes, mime: str, facts: Mapping[str, Any]) -> bytes:
    """Return the image with *facts*; those that are None or empty are left out.

    Raises:
        Unsupported: It is neither a PNG, a JPEG nor a WebP, or is not complete.
        InvalidInputError: The prompt is too long for a JPEG.
    """
    known = {name: str(facts[name]) for name in _NAMES if facts.get(name) not in (None, "")}
    if mime == "image/png":
        return _png(content, known)
    if mime == "image/jpeg":
        return _jpeg(content, _packet(known))
    if mime == "image/webp":
        return _webp(content, _packet(known))
    raise Unsupported(f"PNG, JPEG and WebP have a place for such text, {mime} has not; convert it with to_pil()")


def read_facts(content: bytes, mime: str) -> dict[str, Any]:
    """Return what `with_facts` wrote: ``prompt``, ``model``, ``provider`` and ``seed``, those that are there."""
    if mime == "image/png":
        found: dict[str, Any] = {}
        for start, end, kind in _chunks(content):
            keyword, _, rest = content[start : min(end, start + 80)].partition(b"\0")
            name = keyword.decode("latin-1")
            if kind == b"iTXt" and name in _NAMES and rest[:4] == b"\0\0\0\0":  # neither compressed nor in a language
                found[name] = content[start + len(keyword) + 5 : end].decode("utf-8", "replace")
    else:
        packet = _FACTS.search(content) if mime in ("image/jpeg", "image/webp") else None
        try:
            entities = {entity: character for character, entity in _QUOTES.items()}
            data = json.loads(unescape(packet[1].decode(), entities)) if packet else {}
        except (ValueError, RecursionError):
            data = {}
        found = {name: text for name, text in data.items() if name in _NAMES and isinstance(text, str)} if isinstance(data, dict) else {}
    if "seed" in found:
        seed = found.pop("seed")
        if seed.isascii() and seed.isdecimal() and len(seed) <= 20:
            found["seed"] = int(seed)
    return found


# PNG


def _png(content: bytes, facts: Mapping[str, str]) -> bytes:
    if content[12:16] != b"IHDR":
        raise Unsupported("this PNG has no header to put the metadata behind")
    chunks = b"".join(_text_chunk(name, text) for name, text in facts.items())
    return content[:_PNG_HEAD] + chunks + content[_PNG_HEAD:]


def _text_chunk(keyword: str, text: str) -> bytes:
    """Return an iTXt chunk: text in UTF-8, not compressed."""
    data = keyword.encode("latin-1") + b"\0\0\0\0\0" + text.replace("\0", "").encode("utf-8", "replace")
    body = b"iTXt" + data
    return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")


def _chunks(content: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield the start and the end of the data of each chunk, and its kind, up to the pixels."""
    at = 8
    for _ in range(_MAX_CHUNKS):
        size, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        if len(kind) < 4 or kind == b"IDAT":
            return
        yield at + 8, at + 8 + size, kind
        at += 12 + size


# JPEG and WebP


def _packet(facts: Mapping[str, str]) -> bytes:
    clean = {name: _NOT_XML.sub("\ufffd", text) for name, text in facts.items()}
    texts = {"prompt": clean.get("prompt", ""), "model": clean.get("model", ""), "facts": json.dumps(clean, ensure_ascii=False)}
    return _PACKET.format(**{name: escape(text, _QUOTES) for name, text in texts.items()}).encode()


def _jpeg(content: bytes, packet: bytes) -> bytes:
    segment = _XMP + packet
    if len(segment) > _MAX_SEGMENT:
        raise InvalidInputError("the prompt is too long for the metadata of a JPEG, which holds 64 kB")
    at = 2
    while content[at : at + 2] == b"\xff\xe0":  # JFIF comes first
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    if content[at : at + 1] != b"\xff" or len(content) < at + 4:
        raise Unsupported("this JPEG has no segment to put the metadata before")
    return content[:at] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + content[at:]


def _webp(content: bytes, packet: bytes) -> bytes:
    size = dimensions(content)
    if size is None or not (0 < size[0] <= 1 << 24 and 0 < size[1] <= 1 << 24):
        raise Unsupported("this WebP has no readable size")
    head, body = _extended(content, size)
    xmp = b"XMP " + len(packet).to_bytes(4, "little") + packet + b"\0" * (len(packet) % 2)
    chunks = b"WEBP" + head + body + b"\0" * (len(body) % 2) + xmp
    return b"RIFF" + len(chunks).to_bytes(4, "little") + chunks


def _extended(content: bytes, size: tuple[int, int]) -> tuple[bytes, bytes]:
    """Return the header of an extended WebP, which says that there is XMP, and the chunks that follow it, without XMP."""
    if content[12:16] != b"VP8X":
        # Bit 28 after the signature of a lossless image: it uses transparency.
        alpha = 0x10 if content[12:16] == b"VP8L" and int.from_bytes(content[21:25], "little") >> 28 & 1 else 0
        width, height = (number - 1 for number in size)
        flags = bytes([alpha | 0x04, 0, 0, 0])
        head = b"VP8X\x0a\0\0\0" + flags + width.to_bytes(3, "little") + height.to_bytes(3, "little")
        return head, content[12:]
    head = content[12:20] + bytes([content[20] | 0x04]) + content[21:30]
    kept, at = bytearray(), 30
    for _ in range(_MAX_CHUNKS):
        if at + 8 > len(content):
            break
        length = int.from_bytes(content[at + 4 : at + 8], "little")
        end = at + 8 + length + length % 2
        if content[at : at + 4] != b"XMP ":
            kept += content[at:end]
        at = end
    return head, bytes(kept)
