"""Base64 and ``data:`` URLs, in the variants that providers send."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_to_bytes

__all__ = ["data_url", "data_url_media_type", "decode_base64", "decode_data_url"]


def data_url(content: bytes, mime: str) -> str:
    """Return *content* as a ``data:`` URL.

    >>> data_url(b"ab", "text/plain")
    'data:text/plain;base64,YWI='
    """
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


def decode_data_url(url: str) -> bytes | None:
    """Return the content of a ``data:`` URL, or None if it is malformed.

    >>> decode_data_url("data:text/plain,a%20b"), decode_data_url("data:text/plain;base64,YWI=")
    (b'a b', b'ab')
    """
    head, comma, rest = url.partition(",")
    if not comma:
        return None
    return decode_base64(rest) if head.lower().endswith(";base64") else unquote_to_bytes(rest)


def data_url_media_type(url: str) -> str:
    """Return the media type in a ``data:`` URL, in lower case without parameters; empty if it has none.

    >>> data_url_media_type("data:audio/webm;codecs=opus;base64,AAAA")
    'audio/webm'
    """
    return url[:200].partition(":")[2].partition(",")[0].partition(";")[0].strip().lower()


def decode_base64(text: str) -> bytes | None:
    """Return the bytes that base64 text encodes, or None if it is malformed; white space and missing padding are accepted."""
    if "-" in text or "_" in text:
        text = text.translate(str.maketrans("-_", "+/"))
    if "%" in text:  # inside a URL
        text = unquote_to_bytes(text).decode("latin-1")
    try:
        content = binascii.a2b_base64(text)  # without a copy as bytes: the text may have tens of megabytes
    except binascii.Error:
        try:
            content = base64.b64decode(text + "==")
        except binascii.Error:
            return None
    except ValueError:  # not ASCII
        return None
    return content or None
