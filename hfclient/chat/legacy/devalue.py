"""The data behind a page, which a chat-ui without the v2 API (up to June 2025) has instead of JSON.

``GET <page>/__data.json`` holds one *node* for each layer of the page, the layout first. A node's value is flattened in the
"devalue" format: an array in which values refer to each other by index, so that one value may be used several times. A value
that was not ready yet is a promise; it follows in a *chunk*, a line of its own.

Decoded are objects, lists, ``Date`` (an aware `datetime.datetime` in UTC) and ``Promise``: chat-ui's load functions return
no other types. A negative index is ``undefined`` or a number that JSON lacks, and becomes None. Other tags stay a list of the
tag and its contents. A value inside itself is None.

Invalid documents raise only `ProtocolError`. The depth is limited, and so is the size of the decoded value. Twenty
lists, each with two references to the next one, are a short document with a million values.

Reference: docs/protocol/huggingchat ("older servers"); SvelteKit's own format, as chat-ui 0.9.5 sends it (2026-11-21).
"""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from hfclient.decoding.frames import excerpt
from hfclient.decoding.json_repair import loads_repaired
from hfclient.decoding.json_values import date_or_none, int_or_none, is_int
from hfclient.errors import ProtocolError
from hfclient.values import Value

__all__ = ["ChunkError", "NodeError", "PageData", "parse_page", "unflatten"]

_DEPTH = 100
"""How deep values may nest; a conversation's own do so about eight deep."""
_MAX_REPEATED = 8_000_000
"""Maximum number of characters, roughly, that repeated values may add to the decoded value."""
_MIN_COUNTED = 64  # characters; the document pays for each reference to a shorter value
_COST = 16  # characters that a value other than a long string counts for


@frozen(eq=False, repr=False)
class NodeError(Value):
    """A layer of the page that failed. The answer's own status is 200 all the same.

    Attributes:
        message: The server's text.
        status: The layer's own status; None for an unexpected failure.
    """

    message: str
    status: int | None = None


@frozen(eq=False, repr=False)
class ChunkError(Value):
    """A value that was promised and then failed.

    Attributes:
        error: The server's error.
    """

    error: Any


@frozen(eq=False, repr=False)
class PageData(Value):
    """The data of a page.

    Attributes:
        nodes: One entry for each layer, the layout first: its value, `NodeError`, or None for a layer without data and
            one that was not requested.
        redirect: Where the server sends a browser, usually to a login, or None; then there are no nodes.
    """

    nodes: tuple[Any, ...] = field(factory=tuple)
    redirect: str | None = None

    def node(self, index: int) -> dict[str, Any] | NodeError | None:
        """Return a layer's object (-1: the page itself), its failure, or None if there is no such layer."""
        try:
            value = self.nodes[index]
        except IndexError:
            return None
        return value if isinstance(value, (dict, NodeError)) else None


def parse_page(body: bytes) -> PageData:
    """Return the data in the body of a ``__data.json``.

        >>> parse_page(b'{"type":"data","nodes":[null,{"type":"data","data":[{"title":1},"Hello"]}]}').node(-1)
        {'title': 'Hello'}

    Raises:
        ProtocolError: It is not page data.
    """
    first, *rest = body.split(b"\n")
    head = _line(first)
    if not isinstance(head, dict):
        raise _wrong(body)
    match head.get("type"):
        case "redirect":
            return PageData(redirect=str(head.get("location") or ""))
        case "error":  # the whole request failed
            return PageData(nodes=(_node_error(head),))
        case "data" if isinstance(head.get("nodes"), list):
            pass
        case _:
            raise _wrong(body)
    chunks = [_line(text) for text in rest if text.strip()]
    document = _Document({chunk.get("id"): chunk for chunk in chunks if isinstance(chunk, dict) and is_int(chunk.get("id"))})
    return PageData(nodes=tuple(_node(node, document) for node in head["nodes"]))


def unflatten(data: Any) -> Any:
    """Return the value of one flat array; a promise, whose chunk is elsewhere, is None.

        >>> unflatten([{"a": 1, "b": 2}, [2, 2], "x"])
        {'a': ['x', 'x'], 'b': 'x'}

    Raises:
        ProtocolError: It is not a flat array, refers to what is not there, nests too deeply, or is too large.
    """
    return _Document({}).unflatten(data)


def _line(text: bytes) -> Any:
    try:
        return loads_repaired(text)
    except ValueError:
        raise _wrong(text) from None


def _wrong(body: bytes) -> ProtocolError:
    return ProtocolError("the server's answer is not the data of a page", frame=excerpt(body))


def _node(node: Any, document: _Document) -> Any:
    if not isinstance(node, dict):
        return None
    if node.get("type") == "error":
        return _node_error(node)
    return document.unflatten(node["data"]) if node.get("type") == "data" and "data" in node else None


def _node_error(node: dict[str, Any]) -> NodeError:
    error = node.get("error")
    message = error.get("message") if isinstance(error, dict) else error
    return NodeError(str(message or "the page failed"), int_or_none(node.get("status")))


class _Document:
    """One document: its chunks by number, and the size of the values that were built.

    Each value is built once, and its size is noted; a further use of it costs that size.
    """

    def __init__(self, chunks: dict[Any, Any]) -> None:
        self._chunks = chunks
        self._promised: dict[Any, tuple[Any, int | None]] = {}
        self._left = _MAX_REPEATED
        self._size = 0

    def unflatten(self, data: Any, depth: int = 0) -> Any:
        if is_int(data):  # the whole value is a constant
            return None
        if not isinstance(data, list) or not data:
            raise ProtocolError("the data of a page hold something that is not a flat array", frame=str(data)[:200])
        try:
            return self._value(data, {}, 0, depth)
        except RecursionError:  # a caller that is itself deep in its stack
            raise ProtocolError("the data of a page nest too deeply") from None

    def _value(self, data: list[Any], built: dict[Any, tuple[Any, int | None]], reference: Any, depth: int) -> Any:
        if not is_int(reference) or reference >= len(data):
            raise ProtocolError(f"the data of a page refer to {str(reference)[:60]!r}, which is not there")
        if reference < 0:
            return None
        if reference in built:
            return self._again(*built[reference])
        if depth > _DEPTH:
            raise ProtocolError("the data of a page nest too deeply")
        before = self._size
        built[reference] = None, None  # a value inside itself is None
        raw = data[reference]
        value: Any
        if isinstance(raw, dict):
            value = {key: self._value(data, built, item, depth + 1) for key, item in raw.items()}
        elif not isinstance(raw, list):
            value = raw
        elif raw[:1] == ["Date"]:
            text = raw[1] if len(raw) > 1 else None
            value = date_or_none(text) or text or None  # before year 1 or after 9999 it stays text
        elif raw[:1] == ["Promise"]:
            number = self._value(data, built, raw[1] if len(raw) > 1 else None, depth + 1)
            value = self._promise(number, depth + 1)
        elif raw and isinstance(raw[0], str):
            value = raw  # a tag that is not known
        else:
            value = [self._value(data, built, item, depth + 1) for item in raw]
        self._size += _COST + (len(raw) if isinstance(raw, str) else 0)
        built[reference] = value, self._size - before
        return value

    def _promise(self, number: Any, depth: int) -> Any:
        if not is_int(number):
            raise ProtocolError("the data of a page promise something without a number")
        if number in self._promised:
            return self._again(*self._promised[number])
        before = self._size
        self._promised[number] = None, None
        chunk = self._chunks.get(number) or {}
        value = self.unflatten(chunk["data"], depth) if "data" in chunk else None
        if "error" in chunk:
            value = ChunkError(self.unflatten(chunk["error"], depth))
        self._promised[number] = value, self._size - before
        return value

    def _again(self, value: Any, size: int | None) -> Any:
        """Return a value that is used again."""
        self._size += size or 0
        if size and size > _MIN_COUNTED:
            self._left -= size
        if self._left < 0:
            raise ProtocolError("a page's data is too large when it is written out")
        return value
