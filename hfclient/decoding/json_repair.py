"""JSON with the small errors that servers make: lone surrogates, NaN, raw control characters, broken UTF-8."""

from __future__ import annotations

from typing import Any

import msgspec

from hfclient.decoding.utf16 import repair_all, repair_surrogates

__all__ = ["is_deep", "loads", "loads_repaired", "scrub"]

_MAX_DOCUMENT_DEPTH = 200  # levels; pickle and copy fail at about 300, json at about 900, plus the caller's stack
_MAX_DEPTH = 100  # levels of an unknown object that are kept


def loads(data: bytes) -> Any:
    """Decode *data* as JSON.

    It accepts more than msgspec: lone surrogates, NaN and Infinity, raw control characters and broken UTF-8. Strings in the
    result may have lone surrogates, because the next chunk of a stream may have the other half; :func:`scrub` replaces them.

    Raises:
        ValueError: *data* is not JSON, or is nested too deeply.
    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    except RecursionError:
        raise ValueError("nested too deeply") from None
    import json  # rarely needed

    try:
        return json.loads(data.decode("utf-8", "replace"), strict=False)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def loads_repaired(data: bytes) -> Any:
    """Decode *data*, a complete document, as :func:`loads` does; all strings in the result can be encoded.

    >>> loads_repaired(b'["cut off in a smile: \\\\ud83d"]')
    ['cut off in a smile: \ufffd']

    Raises:
        ValueError: *data* is not JSON, or is nested too deeply.
    """
    try:
        value = msgspec.json.decode(data)  # its results have no lone surrogates
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            value = repair_all(loads(data))
        except RecursionError:
            raise ValueError("nested too deeply") from None
    if data.count(b"{") + data.count(b"[") > _MAX_DOCUMENT_DEPTH and is_deep(value, _MAX_DOCUMENT_DEPTH):
        raise ValueError("nested too deeply")
    return value


def is_deep(value: Any, levels: int) -> bool:
    """Return whether a JSON value has more than *levels* levels of nesting.

    >>> is_deep([[1]], 2), is_deep([[1]], 1)
    (False, True)
    """
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(levels):
        if not level:
            return False
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, (dict, list))
        ]
    return bool(level)


def scrub(value: Any, depth: int = _MAX_DEPTH) -> Any:
    """Return a JSON value without lone surrogates; values nested deeper than *depth* become ``"…"``."""
    if isinstance(value, str):
        return value if value.isascii() else repair_surrogates(value)
    if isinstance(value, dict):
        return {repair_surrogates(key): scrub(item, depth - 1) for key, item in value.items()} if depth else "…"
    if isinstance(value, list):
        return [scrub(item, depth - 1) for item in value] if depth else "…"
    return value
