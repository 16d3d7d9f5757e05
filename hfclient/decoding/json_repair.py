"""JSON as servers really write it."""

from __future__ import annotations

from typing import Any

import msgspec

from hfclient.decoding.utf16 import repair_all, repair_surrogates

__all__ = ["is_deep", "loads", "loads_repaired", "scrub"]

_DEEPEST_DOCUMENT = 200  # levels; pickle and copy fail at some 300, json at some 900, wherever the caller is
_DEEPEST = 100  # levels of nesting kept of an object that nobody here understands


def loads(data: bytes) -> Any:
    """Return what *data* means as JSON.

    Forgives what msgspec does not: lone surrogates, NaN and Infinity, raw control characters and broken UTF-8.
    Strings in the result may hold lone surrogates, as the other half of a character may be in the next piece of a stream;
    :func:`scrub` mends them.

    Raises:
        ValueError: It is no JSON, or nested too deeply.
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
    """Return what *data*, which is complete in itself, means as JSON: as :func:`loads`, and every string can be encoded.

    >>> loads_repaired(b'["cut off in a smile: \\\\ud83d"]')
    ['cut off in a smile: \ufffd']

    Raises:
        ValueError: It is no JSON, or nested too deeply.
    """
    try:
        value = msgspec.json.decode(data)  # gives no half characters, so there is nothing to mend
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            value = repair_all(loads(data))
        except RecursionError:
            raise ValueError("nested too deeply") from None
    if data.count(b"{") + data.count(b"[") > _DEEPEST_DOCUMENT and is_deep(value, _DEEPEST_DOCUMENT):
        raise ValueError("nested too deeply")
    return value


def is_deep(value: Any, levels: int) -> bool:
    """Tell whether a JSON value nests in more than so many *levels*.

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


def scrub(value: Any, depth: int = _DEEPEST) -> Any:
    """Return a JSON value with all its strings fit to be encoded; what is nested deeper than *depth* becomes ``"…"``."""
    if isinstance(value, str):
        return value if value.isascii() else repair_surrogates(value)
    if isinstance(value, dict):
        return {repair_surrogates(key): scrub(item, depth - 1) for key, item in value.items()} if depth else "…"
    if isinstance(value, list):
        return [scrub(item, depth - 1) for item in value] if depth else "…"
    return value
