"""superjson: JSON with a second document beside it that says which strings are dates, which lists are sets, and so on.

Both directions live here, because both sides of the wire do: the chat wing decodes what a server answers, the embedded
server encodes. A document is ``{"json": <plain JSON>, "meta"?: {"values"?, "referentialEqualities"?, "v"?}}``.

What Python gets: ``Date`` an aware `datetime.datetime` in UTC, ``undefined`` None, ``bigint`` int, ``number`` float
(NaN, infinities, negative zero), ``set`` a set, or a list if a member cannot be hashed, ``map`` a dict, or a list of
pairs if a key cannot be hashed, typed arrays of bytes `bytes`. All else keeps its plain JSON form: a regexp its
``"/source/flags"``, a URL its text, an Error its object, and every type that is not known here. Annotations for places
that do not exist are ignored.

Nothing in a document may do worse than a `ProtocolError`: nesting is bounded, and so is what it stands for when it is written
out (`hfclient.chat.wire.growth`); a place inside of what stands there becomes None; no pattern is compiled and no class is
looked up.

Reference: docs/protocol/huggingchat ("superjson").
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable
from typing import Any

from hfclient.chat.wire.growth import Budget, settled
from hfclient.decoding.frames import excerpt
from hfclient.decoding.json_repair import loads_mended
from hfclient.errors import ProtocolError

__all__ = ["UNDEFINED", "ObjectId", "Undefined", "decode", "encode", "loads"]

_DEPTH = 200
"""How deep annotations (when decoding) and values (when encoding) may nest."""
_MOST_LARGE = 1000
"""How many integers that need not differ in their hash (Python's is the rest by 2**61 - 1) a set or a dict may hold: looking each
of them up takes as many steps as there are others."""
_LARGE = 2**61 - 1
_SAFE_INTEGER = 2**53 - 1
_INTEGER = re.compile(r"-?[0-9]{1,1000}")
_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf, "-0": -0.0}
_BYTE_ARRAYS = {"Uint8Array", "Uint8ClampedArray"}

_Path = tuple[str, ...]


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
        data = loads_mended(document.encode("utf-8", "surrogatepass") if isinstance(document, str) else document)
    except ValueError:
        raw = document if isinstance(document, bytes) else document[:200].encode("utf-8", "replace")
        raise ProtocolError("a superjson document is not JSON", frame=excerpt(raw)) from None
    return decode(data)


def decode(document: Any) -> Any:
    """Return the value that an already parsed superjson document describes.

    The document's containers are taken over and changed in place.

    Raises:
        ProtocolError: It has no ``json``, it or its annotations nest too deeply, or it is too large when it is written out.
    """
    if not isinstance(document, dict) or "json" not in document:
        raise ProtocolError("a superjson document has no 'json'", frame=str(document)[:200])
    meta = document.get("meta")
    if not isinstance(meta, dict):
        return document["json"]
    version = meta.get("v")
    escapes_backslash = isinstance(version, (int, float)) and version >= 1
    decoder = _Decoder(document["json"], escapes_backslash)
    try:
        decoder.annotate(meta.get("values"))
        if decoder.join(meta.get("referentialEqualities")):
            return settled(decoder.root, Budget("a superjson document"), _DEPTH)
    except RecursionError:  # a caller that is itself deep in its stack
        raise ProtocolError("a superjson document nests too deeply") from None
    return decoder.root


class _Decoder:
    """Converts one value in place.

    A place is a container and a key or index in it, so that the value there can be replaced; the root's container is a
    list of one.
    """

    def __init__(self, root: Any, escapes_backslash: bool) -> None:
        self._top = [root]
        self._escapes_backslash = escapes_backslash
        # Rows of converted sets and maps, by identity of what they became: later paths count rows, not keys. What they
        # became is kept too, so that its identity stays its own.
        self._rows: dict[int, tuple[Any, list[Any]]] = {}

    @property
    def root(self) -> Any:
        return self._top[0]

    def annotate(self, tree: Any, container: Any = None, key: Any = 0, depth: int = 0) -> None:
        """Apply annotations to one place: an object maps paths to subtrees, a list is ``[TYPE]`` or ``[TYPE, CHILDREN]``."""
        container = self._top if container is None else container
        if depth > _DEPTH:
            raise ProtocolError("the annotations of a superjson document nest too deeply")
        if isinstance(tree, dict):
            for path, subtree in tree.items():
                place = self._place(container[key], self._split(path))
                if place is not None:
                    self.annotate(subtree, *place, depth + 1)
        elif isinstance(tree, list) and tree:
            if len(tree) > 1:  # members first, while the container is still a plain list
                self.annotate(tree[1], container, key, depth + 1)
            container[key] = self._convert(tree[0], container[key])

    def join(self, equalities: Any) -> bool:
        """Make places that held one object on the other side hold one object here; tell whether there are any."""
        if not equalities:
            return False
        if isinstance(equalities, list) and equalities:
            self._share(self.root, equalities[0])
            equalities = equalities[1] if len(equalities) > 1 else None
        if isinstance(equalities, dict):
            for path, others in equalities.items():
                place = self._place(self.root, self._split(path))
                if place is not None:
                    self._share(place[0][place[1]], others)
        return True

    def _share(self, value: Any, paths: Any) -> None:
        for path in paths if isinstance(paths, list) else ():
            place = self._place(self.root, self._split(path)) if isinstance(path, str) else None
            if place is None:
                continue
            container, key = place
            container[key] = value
            owner = self._owner_of_row(path, container)
            if owner is not None and key == 1:
                owner[container[0]] = value

    def _owner_of_row(self, path: str, row: Any) -> Any:
        """Return the dict that a map's *row* belongs to, if it is one."""
        steps = self._split(path) or ()
        if not self._rows or len(steps) < 2 or not isinstance(row, list):
            return None
        place = self._place(self._top, ("0", *steps[:-2]))
        owner = place[0][place[1]] if place else None
        return owner if isinstance(owner, dict) and id(owner) in self._rows else None

    def _split(self, text: str) -> _Path | None:
        """Return the steps of a path; None if its escapes are not those of this version."""
        if "\\" not in text:
            return tuple(text.split("."))
        steps: list[str] = []
        step: list[str] = []
        position = 0
        while position < len(text):
            char = text[position]
            following = text[position + 1 : position + 2]
            if char == "\\" and (following == "." or (following == "\\" and self._escapes_backslash)):
                step.append(following)
                position += 1
            elif char == "\\" and self._escapes_backslash:
                return None
            elif char == ".":
                steps.append("".join(step))
                step = []
            else:
                step.append(char)
            position += 1
        steps.append("".join(step))
        return tuple(steps)

    def _place(self, value: Any, path: _Path | None) -> tuple[Any, Any] | None:
        """Return the place that *path* leads to from *value*; None if there is none."""
        place: tuple[Any, Any] | None = None
        for step in path or ():
            if place is not None:
                value = place[0][place[1]]
            if id(value) in self._rows:
                value = self._rows[id(value)][1]
            if isinstance(value, dict) and step in value:
                place = (value, step)
            elif isinstance(value, list) and (index := _index(step, len(value))) is not None:
                place = (value, index)
            else:
                return None
        return place

    def _convert(self, kind: Any, value: Any) -> Any:
        if isinstance(kind, list):
            if len(kind) == 2 and kind[0] == "typed-array" and kind[1] in _BYTE_ARRAYS:
                return _bytes(value)
            return value
        if kind == "Date":
            return _date(value)
        if kind == "undefined":
            return None
        if kind == "bigint":
            return int(value) if isinstance(value, str) and _INTEGER.fullmatch(value) else value
        if kind == "number":
            return _NUMBERS.get(value, value) if isinstance(value, str) else value
        if kind == "set" and isinstance(value, list):
            return self._keep_rows(value, lambda: set(value))
        if kind == "map" and isinstance(value, list) and all(isinstance(row, list) and len(row) == 2 for row in value):
            return self._keep_rows(value, lambda: {row[0]: row[1] for row in value})
        return value

    def _keep_rows(self, rows: list[Any], build: Callable[[], Any]) -> Any:
        hashed = (row[0] if isinstance(row, list) and row else row for row in rows)
        if sum(isinstance(item, int) and abs(item) >= _LARGE for item in hashed) > _MOST_LARGE:
            return rows
        try:
            container = build()
        except TypeError:  # a member or key that cannot be hashed: the list is what Python can have
            return rows
        self._rows[id(container)] = (container, rows)
        return container


def _index(step: str, length: int) -> int | None:
    if not (step.isascii() and step.isdigit() and len(step) < 10):
        return None
    index = int(step)
    return index if index < length else None


def _date(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        # Python 3.10 knows neither "Z" nor fractions of any other length than three and six digits.
        date = datetime.datetime.fromisoformat(value[:-1] + "+00:00" if value.endswith("Z") else value)
        return (
            date.replace(tzinfo=datetime.timezone.utc)
            if date.tzinfo is None
            else date.astimezone(datetime.timezone.utc)
        )
    except (ValueError, OverflowError):  # a date before year 1 or after 9999, or none at all
        return value


def _bytes(value: Any) -> Any:
    try:
        return bytes(value) if isinstance(value, list) else value
    except (TypeError, ValueError):
        return value


# Encoding


def encode(value: Any) -> dict[str, Any]:
    """Return *value* as a superjson document of plain JSON types.

    Takes None, bool, int, float, str, lists, tuples, dicts (with keys that are no strings: a ``map``), sets, `bytes`,
    `datetime.datetime` (without a time zone: UTC; milliseconds are what the wire keeps), :class:`ObjectId` and :data:`UNDEFINED`. One object in several
    places is written out in each and noted in ``referentialEqualities``; a cycle becomes null there.

        >>> encode({"at": datetime.datetime(2026, 8, 21, tzinfo=datetime.timezone.utc)})["meta"]["values"]
        {'at': ['Date']}

    Raises:
        ValueError: A value of another type, or nesting deeper than 200.
    """
    encoder = _Encoder()
    plain, tree = encoder.walk(value, None, ())
    meta: dict[str, Any] = {}
    if tree:
        meta["values"] = tree
    if equalities := encoder.equalities():
        meta["referentialEqualities"] = equalities
    if not meta:
        return {"json": plain}
    return {"json": plain, "meta": {**meta, "v": 1}}


class _Encoder:
    def __init__(self) -> None:
        # Paths by identity, with the object itself so that its identity is not given to another one meanwhile.
        self._seen: dict[int, tuple[Any, list[str | None]]] = {}

    def equalities(self) -> Any:
        """Return ``referentialEqualities``, or None."""
        root: list[str] = []
        groups: dict[str, list[str]] = {}
        for _, paths in self._seen.values():
            inner = [path for path in paths if path is not None]
            if len(inner) < len(paths):
                root = inner
            elif len(inner) > 1:
                groups[inner[0]] = inner[1:]
        if root:
            return [root, groups] if groups else [root]
        return groups or None

    def walk(self, value: Any, path: str | None, above: tuple[int, ...]) -> tuple[Any, Any]:
        """Return the plain form of *value* and its annotations: None, a leaf ``[TYPE]``, ``[TYPE, CHILDREN]`` or a dict."""
        if len(above) > _DEPTH:
            raise ValueError(f"cannot encode a value that nests deeper than {_DEPTH}")
        if value is None or (isinstance(value, (bool, str)) and not isinstance(value, ObjectId)):
            return value, None
        if isinstance(value, int):
            return (value, None) if abs(value) <= _SAFE_INTEGER else (str(value), ["bigint"])
        if isinstance(value, float):
            return _float(value)
        if isinstance(value, Undefined):
            return None, ["undefined"]
        _, paths = self._seen.setdefault(id(value), (value, []))
        paths.append(path)
        if isinstance(value, ObjectId):
            return "".join(value), [["custom", "ObjectId"]]
        if isinstance(value, datetime.datetime):
            return _iso(value), ["Date"]
        if isinstance(value, (bytes, bytearray)):
            return list(value), [["typed-array", "Uint8Array"]]
        if id(value) in above:
            return None, None
        above = (*above, id(value))
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return self._members(((key, item) for key, item in value.items()), path, above, {})
        if isinstance(value, dict):
            rows = [[key, item] for key, item in value.items()]
            plain, tree = self._members(enumerate(rows), path, above, None)
            return plain, ["map", tree] if tree else ["map"]
        if isinstance(value, (set, frozenset)):
            plain, tree = self._members(enumerate(value), path, above, None)
            return plain, ["set", tree] if tree else ["set"]
        if isinstance(value, (list, tuple)):
            return self._members(enumerate(value), path, above, None)
        raise ValueError(f"cannot encode a {type(value).__name__} as superjson")

    def _members(
        self, items: Any, path: str | None, above: tuple[int, ...], plain: dict[str, Any] | None
    ) -> tuple[Any, Any]:
        values: list[Any] = []
        tree: dict[str, Any] = {}
        for key, item in items:
            step = str(key).replace("\\", "\\\\").replace(".", "\\.")
            value, subtree = self.walk(item, step if path is None else f"{path}.{step}", above)
            if plain is None:
                values.append(value)
            else:
                plain[str(key)] = value
            if isinstance(subtree, dict):  # plain containers have no annotation of their own: their members' come up
                tree.update({f"{step}.{inner}": leaf for inner, leaf in subtree.items()})
            elif subtree:
                tree[step] = subtree
        return (values if plain is None else plain), tree or None


def _float(value: float) -> tuple[Any, Any]:
    if value != value:
        return "NaN", ["number"]
    if value in (math.inf, -math.inf):
        return ("Infinity" if value > 0 else "-Infinity"), ["number"]
    if value == 0 and math.copysign(1, value) < 0:
        return "-0", ["number"]
    return value, None


def _iso(value: datetime.datetime) -> str:
    if value.tzinfo is None:
        value = value.replace(tzinfo=datetime.timezone.utc)
    return value.astimezone(datetime.timezone.utc).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
