"""superjson: JSON with annotations that tell which strings are dates.

A document is ``{"json": <plain JSON>, "meta"?: {"values"?, "referentialEqualities"?, "v"?}}``. Of the format's types chat-ui
sends ``Date``, ``undefined`` (null in the plain JSON) and ids (text), see its src/routes/api/v2, seen 2026-08-21. So dates
are decoded, into an aware `datetime.datetime` in UTC, and every other type keeps its plain JSON form. Equalities only repeat
what the plain JSON holds in full.

Reference: docs/protocol/huggingchat ("superjson").
"""

from __future__ import annotations

import datetime
from typing import Any

from hfclient.decoding.frames import excerpt
from hfclient.decoding.json_repair import loads_repaired
from hfclient.decoding.json_values import date_or_none
from hfclient.errors import ProtocolError

__all__ = ["UNDEFINED", "ObjectId", "Undefined", "decode", "encode", "loads"]

_DEPTH = 200
"""How deep values may nest when they are encoded."""


class Undefined:
    """JavaScript's ``undefined``, for :func:`encode`; decoding gives None instead."""

    _only: Undefined | None = None

    def __new__(cls) -> Undefined:
        if cls._only is None:
            cls._only = super().__new__(cls)
        return cls._only

    def __repr__(self) -> str:
        return "UNDEFINED"

    def __bool__(self) -> bool:
        return False


UNDEFINED = Undefined()


class ObjectId(str):
    """An id that :func:`encode` marks as a database's ObjectId; decoding gives a plain str."""

    __slots__ = ()


# Decoding


def loads(document: bytes | str) -> Any:
    """Return the value that a superjson document describes.

        >>> loads('{"json":{"at":"2026-08-21T03:27:06.397Z"},"meta":{"values":{"at":["Date"]},"v":1}}')["at"].year
        2026

    Raises:
        ProtocolError: It is not superjson.
    """
    try:
        # A text that JavaScript cut may end with half a character.
        data = loads_repaired(document.encode("utf-8", "surrogatepass") if isinstance(document, str) else document)
    except ValueError:
        raw = document if isinstance(document, bytes) else document[:200].encode("utf-8", "replace")
        raise ProtocolError("a superjson document is not JSON", frame=excerpt(raw)) from None
    return decode(data)


def decode(document: Any) -> Any:
    """Return the value that an already parsed superjson document describes; its containers are changed in place.

    Raises:
        ProtocolError: It has no ``json``.
    """
    if not isinstance(document, dict) or "json" not in document:
        raise ProtocolError("a superjson document has no 'json'", frame=str(document)[:200])
    root = [document["json"]]
    meta = document.get("meta")
    kinds = meta.get("values") if isinstance(meta, dict) else None
    if kinds == ["Date"]:
        _read_date(root, 0)
    elif isinstance(kinds, dict):
        version = meta.get("v") if isinstance(meta, dict) else None
        escapes_backslash = isinstance(version, (int, float)) and version >= 1
        for path, kind in kinds.items():
            if kind == ["Date"] and (place := _place(root[0], _steps(path, escapes_backslash))):
                _read_date(*place)
    return root[0]


def _read_date(container: Any, key: Any) -> None:
    container[key] = date_or_none(container[key]) or container[key]  # before year 1 or after 9999 it stays text


def _steps(path: str, escapes_backslash: bool) -> list[str]:
    r"""Return the steps of a path: dots separate them, ``\.`` is a dot in a key, and since version 1 ``\\`` a backslash."""
    if "\\" not in path:
        return path.split(".")
    # Lone surrogates mark what is escaped: no string of a document holds any.
    if escapes_backslash:
        path = path.replace("\\\\", "\ud800")
    steps = path.replace("\\.", "\ud801").split(".")
    return [step.replace("\ud801", ".").replace("\ud800", "\\") for step in steps]


def _place(value: Any, steps: list[str]) -> tuple[Any, Any] | None:
    """Return the container and the key or index that *steps* lead to from *value*; None if it does not exist."""
    place: tuple[Any, Any] | None = None
    for step in steps:
        if place is not None:
            value = place[0][place[1]]
        if isinstance(value, dict) and step in value:
            place = (value, step)
        elif isinstance(value, list) and step.isascii() and step.isdigit() and len(step) < 10 and int(step) < len(value):
            place = (value, int(step))
        else:
            return None
    return place


# Encoding


def encode(value: Any) -> dict[str, Any]:
    """Return *value* as a superjson document of plain JSON types.

    Takes None, bool, int, float, str, lists, tuples, dicts with text as keys, `datetime.datetime` (without a time zone: UTC;
    to the millisecond), :class:`ObjectId` and :data:`UNDEFINED`.

        >>> encode({"at": datetime.datetime(2026, 8, 21, tzinfo=datetime.timezone.utc)})["meta"]["values"]
        {'at': ['Date']}

    Raises:
        ValueError: A value of another type, or nesting deeper than 200.
    """
    kinds: dict[str, Any] = {}
    plain = _plain(value, "", kinds, 0)
    if "" in kinds:
        return {"json": plain, "meta": {"values": kinds[""], "v": 1}}
    return {"json": plain, "meta": {"values": {path[1:]: kind for path, kind in kinds.items()}, "v": 1}} if kinds else {"json": plain}


def _plain(value: Any, path: str, kinds: dict[str, Any], depth: int) -> Any:
    """Return the plain form of *value*; add its kind under its path, which begins with a dot, to *kinds*."""
    if depth > _DEPTH:
        raise ValueError(f"cannot encode a value that nests deeper than {_DEPTH}")
    if isinstance(value, Undefined):
        kinds[path] = ["undefined"]
        return None
    if isinstance(value, ObjectId):
        kinds[path] = [["custom", "ObjectId"]]
        return "".join(value)
    if isinstance(value, datetime.datetime):
        kinds[path] = ["Date"]
        utc = datetime.timezone.utc
        value = value.replace(tzinfo=utc) if value.tzinfo is None else value.astimezone(utc)
        return value.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(item, f"{path}.{_escaped(key)}", kinds, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{path}.{index}", kinds, depth + 1) for index, item in enumerate(value)]
    raise ValueError(f"cannot encode a {type(value).__name__} as superjson")


def _escaped(key: str) -> str:
    return key.replace("\\", "\\\\").replace(".", "\\.")
