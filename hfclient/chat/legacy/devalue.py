"""The data behind a page: what a chat-ui without the v2 API (up to June 2025) answers instead of an API's JSON.

``GET <page>/__data.json`` holds one *node* for each layer of the page, the layout first. A node's value is flattened in the
"devalue" manner: an array in which everything refers to everything else by index, so that one value may stand in several
places. A value that was not ready yet is a promise; it follows in a *chunk*, a line of its own.

What Python gets: ``Date`` an aware `datetime.datetime` in UTC (its text if Python has no such date), ``undefined`` and holes
None, ``BigInt`` int, ``Set`` a list, ``Map`` a dict if its keys are text or numbers, else a list of pairs, a regexp its
``"/source/flags"``, a URL its text, an `ArrayBuffer` bytes and a view on one the bytes that it shows. Tags that are not
known here become a list of the tag and its plain contents. A place inside of what stands there is None.

No index, loop, depth or length in a document may do worse than a `ProtocolError`, and what it stands for when it is written
out is bounded (`hfclient.chat.wire.growth`).

Reference: docs/protocol/huggingchat ("older servers"); the framework's own format, as chat-ui 0.9.5 sends it.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import math
import re
from typing import Any

from attrs import field, frozen

from hfclient.chat.wire.growth import Budget, settled
from hfclient.decoding.frames import excerpt
from hfclient.decoding.json_repair import loads_mended
from hfclient.errors import ProtocolError

__all__ = ["ChunkError", "NodeError", "PageData", "Redirected", "parse_page", "unflatten"]

_DEPTH = 100
"""How deep values may nest; a conversation's own do so about eight deep."""
_HOLE_COST = 16
"""What each place of a sparse array counts for: its length is just a number in the document."""
_MOST_LARGE = 1000  # keys of a map that are integers beyond those whose hash is their own: see superjson

_UNDEFINED, _HOLE, _NAN, _INFINITY, _MINUS_INFINITY, _MINUS_ZERO, _SPARSE = -1, -2, -3, -4, -5, -6, -7
_CONSTANTS: dict[int, Any] = {
    _UNDEFINED: None,
    _HOLE: None,
    _NAN: math.nan,
    _INFINITY: math.inf,
    _MINUS_INFINITY: -math.inf,
    _MINUS_ZERO: -0.0,
}
_INTEGER = re.compile(r"-?[0-9]{1,1000}")
_VIEWS = {
    "DataView",
    "Int8Array",
    "Uint8Array",
    "Uint8ClampedArray",
    "Int16Array",
    "Uint16Array",
    "Float16Array",
    "Int32Array",
    "Uint32Array",
    "Float32Array",
    "Float64Array",
    "BigInt64Array",
    "BigUint64Array",
}


@frozen
class NodeError:
    """A layer of the page that failed. The answer's own status is 200 all the same.

    Attributes:
        message: The server's text.
        status: What the layer's status would have been; None for a failure that was not foreseen.
    """

    message: str
    status: int | None = None


@frozen
class Redirected:
    """The whole page is elsewhere: usually a login.

    Attributes:
        location: Where the server sends a browser.
    """

    location: str


@frozen
class ChunkError:
    """A value that was promised and then failed.

    Attributes:
        error: What the server said about it.
    """

    error: Any


@frozen
class PageData:
    """What a page's data hold.

    Attributes:
        nodes: One entry for each layer, the layout first: its value, `NodeError`, or None for a layer without data and
            one that was not asked for.
        redirect: The page is elsewhere, or None; then there are no nodes.
    """

    nodes: tuple[Any, ...] = field(factory=tuple)
    redirect: Redirected | None = None

    def node(self, index: int) -> dict[str, Any] | NodeError | None:
        """Return a layer's object (-1: the page itself), its failure, or None if there is no such thing."""
        try:
            value = self.nodes[index]
        except IndexError:
            return None
        return value if isinstance(value, (dict, NodeError)) else None


def parse_page(body: bytes) -> PageData:
    """Return what the body of a ``__data.json`` says.

        >>> parse_page(b'{"type":"data","nodes":[null,{"type":"data","data":[{"title":1},"Hello"]}]}').node(-1)
        {'title': 'Hello'}

    Raises:
        ProtocolError: It is no page data.
    """
    first, *rest = body.split(b"\n")
    head = _line(first)
    if not isinstance(head, dict):
        raise _wrong(body)
    match head.get("type"):
        case "redirect":
            return PageData(redirect=Redirected(str(head.get("location") or "")))
        case "error":  # the whole request failed
            return PageData(nodes=(_node_error(head),))
        case "data" if isinstance(head.get("nodes"), list):
            pass
        case _:
            raise _wrong(body)
    chunks: dict[int, Any] = {}
    for text in rest:
        chunk = _line(text) if text.strip() else None
        if isinstance(chunk, dict) and chunk.get("type") == "chunk" and _is_index(chunk.get("id")):
            chunks[chunk["id"]] = chunk
    promises = _Promises(chunks)
    nodes = promises.settled([_node(node, promises) for node in head["nodes"]])
    return PageData(nodes=tuple(nodes))


def unflatten(data: Any) -> Any:
    """Return the value of one flat array; a promise, whose chunk is elsewhere, is None.

        >>> unflatten([{"a": 1, "b": 2}, [2, 2], "x"])
        {'a': ['x', 'x'], 'b': 'x'}

    Raises:
        ProtocolError: It is no flat array, refers to what is not there, nests too deeply, or is too large.
    """
    promises = _Promises({})
    return promises.settled(promises.unflatten(data))


def _line(text: bytes) -> Any:
    try:
        return loads_mended(text)
    except ValueError:
        raise _wrong(text) from None


def _wrong(body: bytes) -> ProtocolError:
    return ProtocolError("the server sent something else than the data of a page", frame=excerpt(body))


def _node(node: Any, promises: _Promises) -> Any:
    if not isinstance(node, dict):
        return None
    if node.get("type") == "error":
        return _node_error(node)
    return promises.unflatten(node["data"]) if node.get("type") == "data" and "data" in node else None


def _node_error(node: dict[str, Any]) -> NodeError:
    error = node.get("error")
    message = error.get("message") if isinstance(error, dict) else error
    status = node.get("status")
    return NodeError(str(message or "the page failed"), status if _is_index(status) else None)


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


class _Promises:
    """The chunks of a document by number; each is unpacked when something asks for it, once."""

    def __init__(self, chunks: dict[int, Any]) -> None:
        self._chunks = chunks
        self._values: dict[int, Any] = {}
        self.budget = Budget("a page's data")

    def unflatten(self, data: Any, depth: int = 0) -> Any:
        try:
            return _Unflattener(data, self).value(depth)
        except RecursionError:  # a caller that is itself deep in its stack
            raise ProtocolError("the data of a page nest too deeply") from None

    def value(self, number: int, depth: int) -> Any:
        if number not in self._values:
            self._values[number] = None  # a chunk that promises itself holds nothing there
            chunk = self._chunks.get(number) or {}
            value = self.unflatten(chunk["data"], depth) if "data" in chunk else None
            if "error" in chunk:
                value = ChunkError(self.settled(self.unflatten(chunk["error"], depth)))
            self._values[number] = value
        return self._values[number]

    def settled(self, value: Any) -> Any:
        try:
            return settled(value, self.budget, _DEPTH + 2)  # the list of nodes, and the level that is just allowed
        except RecursionError:
            raise ProtocolError("the data of a page nest too deeply") from None


class _Unflattener:
    """Builds one value. What was built is remembered before its members are, so that cycles close."""

    def __init__(self, data: Any, promises: _Promises) -> None:
        self._data = data
        self._promises = promises
        self._built: dict[int, Any] = {}

    def value(self, depth: int = 0) -> Any:
        if isinstance(self._data, int) and not isinstance(self._data, bool):  # the whole value is a constant
            return self._at(self._data, depth)
        if not isinstance(self._data, list) or not self._data:
            raise ProtocolError("the data of a page hold something that is no flat array", frame=str(self._data)[:200])
        return self._at(0, depth)

    def _at(self, reference: Any, depth: int) -> Any:
        if not isinstance(reference, int) or isinstance(reference, bool):
            raise ProtocolError(
                "the data of a page refer to something by what is no number", frame=str(reference)[:200]
            )
        if reference < 0:
            if reference not in _CONSTANTS:
                raise ProtocolError(f"the data of a page hold a constant that is not known: {reference}")
            return _CONSTANTS[reference]
        if reference in self._built:
            return self._built[reference]
        if not isinstance(self._data, list) or reference >= len(self._data):
            raise ProtocolError(f"the data of a page refer to place {reference}, which is not there")
        if depth > _DEPTH:
            raise ProtocolError("the data of a page nest too deeply")
        value = self._build(reference, self._data[reference], depth)
        self._built[reference] = value
        return value

    def _build(self, reference: int, raw: Any, depth: int) -> Any:
        if isinstance(raw, dict):
            return self._object(reference, raw.items(), depth)
        if not isinstance(raw, list):
            return raw
        if raw and isinstance(raw[0], str):
            self._built[reference] = None  # a map or a box that holds itself has nothing there
            return self._tagged(reference, raw[0], raw[1:], depth)
        items: list[Any] = []
        self._built[reference] = items
        if raw and raw[0] == _SPARSE:
            items += self._sparse(raw, depth)
        else:
            items.extend(self._at(item, depth + 1) for item in raw)
        return items

    def _object(self, reference: int, pairs: Any, depth: int) -> dict[str, Any]:
        built: dict[str, Any] = {}
        self._built[reference] = built
        for key, item in pairs:
            built[key] = self._at(item, depth + 1)
        return built

    def _sparse(self, raw: list[Any], depth: int) -> list[Any]:
        length = raw[1] if len(raw) > 1 else None
        if not isinstance(length, int) or length < 0 or len(raw) % 2:
            raise ProtocolError("the data of a page hold a sparse array without a sensible length")
        self._promises.budget.spend(_HOLE_COST * length)
        items: list[Any] = [None] * length
        for index, item in zip(raw[2::2], raw[3::2], strict=True):
            if not _is_index(index) or not 0 <= index < length:
                raise ProtocolError("the data of a page hold a sparse array with a place outside of it")
            items[index] = self._at(item, depth + 1)
        return items

    def _tagged(self, reference: int, tag: str, rest: list[Any], depth: int) -> Any:
        first = rest[0] if rest else None
        if tag == "Date":
            return _date(first)
        if tag == "Set":
            members: list[Any] = []
            self._built[reference] = members
            members.extend(self._at(item, depth + 1) for item in rest)
            return members
        if tag == "Map":
            return self._map(rest, depth)
        if tag == "null":
            keys = rest[::2]
            if len(rest) % 2 or not all(isinstance(key, str) for key in keys):
                raise ProtocolError("the data of a page hold an object whose keys and values do not pair up")
            return self._object(reference, zip(keys, rest[1::2], strict=True), depth)
        if tag == "BigInt":
            return int(first) if isinstance(first, str) and _INTEGER.fullmatch(first) else first
        if tag == "RegExp":
            return f"/{first}/{rest[1] if len(rest) > 1 else ''}"
        if tag == "Object":
            return self._at(first, depth + 1) if _is_index(first) else first
        if tag in ("URL", "URLSearchParams"):
            return first
        if tag == "ArrayBuffer":
            return _bytes(first)
        if tag in _VIEWS:
            return self._view(rest, depth)
        if tag == "Promise":
            number = self._at(first, depth + 1)
            if not _is_index(number):
                raise ProtocolError("the data of a page promise something without a number")
            return self._promises.value(number, depth + 1)
        return [tag, *rest]  # something that only this server knows: its members stay references

    def _map(self, rest: list[Any], depth: int) -> Any:
        if len(rest) % 2:
            raise ProtocolError("the data of a page hold a map whose keys and values do not pair up")
        members = [self._at(item, depth + 1) for item in rest]
        pairs = list(zip(members[::2], members[1::2], strict=True))
        if sum(isinstance(key, int) and abs(key) >= 2**61 - 1 for key, _ in pairs) > _MOST_LARGE:
            return list(map(list, pairs))
        return dict(pairs) if all(isinstance(key, (str, int, float)) for key, _ in pairs) else list(map(list, pairs))

    def _view(self, rest: list[Any], depth: int) -> Any:
        """Return the bytes that a view shows; the buffer is a reference, or (before 2025) its base64 text itself."""
        first = rest[0] if rest else None
        buffer = _bytes(first) if isinstance(first, str) else self._at(first, depth + 1)
        numbers = [number for number in rest[1:3] if _is_index(number) and number >= 0]
        if not isinstance(buffer, bytes) or not numbers:
            return buffer
        end = numbers[0] + numbers[1] if len(numbers) > 1 else None
        self._promises.budget.spend(max(0, min(end or len(buffer), len(buffer)) - numbers[0]))
        return buffer[numbers[0] : end]


def _date(value: Any) -> Any:
    if not isinstance(value, str) or not value:
        return None  # JavaScript's "Invalid Date"
    try:
        # Python 3.10 knows neither "Z" nor fractions of any other length than three and six digits.
        date = datetime.datetime.fromisoformat(value[:-1] + "+00:00" if value.endswith("Z") else value)
        utc = datetime.timezone.utc
        return date.replace(tzinfo=utc) if date.tzinfo is None else date.astimezone(utc)
    except (ValueError, OverflowError):  # before year 1 or after 9999
        return value


def _bytes(value: Any) -> Any:
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else value
    except (binascii.Error, ValueError):
        return value
