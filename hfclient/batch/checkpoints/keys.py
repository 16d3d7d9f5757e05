"""Keys: a hash of all that decides an answer, equal in each process, on each machine and in each version of Python.

A key is the hash of the settings of a call (`Call.settings`) as canonical JSON. Files, bytes and images count by their content, classes
and functions by their schema and name. A value without a content of its own is an error: its ``repr`` may have an address, so that
the next process would not recognise the item, and ask and pay for it again.

Items of one input that are equal are samples of their own: their keys have a number (``#2``), or the item's id (``:a7``).
"""

from __future__ import annotations

import datetime
import decimal
import enum
import functools
import hashlib
import json
import os
import typing
import uuid
from collections.abc import Iterable, Mapping, Set
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import attrs

from hfclient.batch.checkpoints.row_index import RowIndex
from hfclient.errors import HFClientError, InvalidInputError
from hfclient.inference.schemas.tools import Tool
from hfclient.inference.structured_output import Shape

if TYPE_CHECKING:
    from hfclient.batch.items import Item

__all__ = ["Keys", "content_key", "file_content", "key_of", "plain"]

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_quoted = json.encoder.encode_basestring_ascii  # what the encoder makes of a string, without making an encoder
_LENGTH = 32  # hex digits: 128 bits
_SCALARS = frozenset((str, int, bool, type(None)))


class Keys:
    """Makes the keys of one input. Memory does not grow with the number of items."""

    def __init__(self) -> None:
        self._keys = RowIndex()
        self._ids = RowIndex()

    def key(self, item: Item, settings: Mapping[str, Any] | None) -> str:
        """Return the key of *item*; an empty one without *settings*, which only a checkpoint or a cache needs.

        Raises:
            InvalidInputError: An earlier item has the same id, or a value has no content that a key can be made of.
        """
        try:
            key = "" if settings is None else key_of(settings)
        except InvalidInputError as error:
            raise InvalidInputError(f"item {item.index}: {error.message}") from error
        if item.id is not None:
            if (first := self._ids.get(item.id)) is not None:
                text = f"the items {first[0]} and {item.index} (numbered from 0) have the same id {item.id!r}; an id names one item"
                raise InvalidInputError(text)
            self._ids.put(item.id, item.index)
            return f"{key}:{item.id}"
        if not key:
            return key
        (last, _) = self._keys.get(key) or (0, 0)
        self._keys.put(key, last + 1)
        return f"{key}#{last + 1}" if last else key

    def close(self) -> None:
        """Delete the temporary files."""
        self._keys.close()
        self._ids.close()


def key_of(settings: Mapping[str, Any]) -> str:
    """Return the hash of *settings*, 32 hex digits. The order of names does not matter, and 1.0 is 1.

    Raises:
        InvalidInputError: A value has no content that a key can be made of; the message has its name.
    """
    try:
        # Most settings are strings, so the object is put together here: half the time of an encoder of the whole.
        parts = [
            f"{_quoted(name)}:{_quoted(value) if type(value) is str else _encode(plain(value, name))}"
            for name, value in sorted(settings.items())
        ]
    except RecursionError as error:
        raise InvalidInputError("a value is nested too deeply, or contains itself") from error
    return hashlib.sha256(f"{{{','.join(parts)}}}".encode()).hexdigest()[:_LENGTH]


def content_key(key: str) -> str:
    """Return *key* without the number or id of an item: equal questions have equal content keys."""
    return key[:_LENGTH]


def file_content(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what stands for the content of a file in settings.

    Raises:
        InvalidInputError: The file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return _stream_content(file)
    except OSError as error:
        raise InvalidInputError(f"{os.fspath(path)} cannot be read: {error.strerror or error}") from error


def plain(value: Any, name: str = "") -> Any:
    """Return *value* as JSON that is equal in each process; *name* is for errors.

    Raises:
        InvalidInputError: It has no content that a key can be made of.
    """
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is float:
        return int(value) if value.is_integer() else value
    if kind is dict:
        return {
            _name(key): inner if type(inner) in _SCALARS else plain(inner, f"{name}.{key}" if name else str(key))
            for key, inner in value.items()
        }
    if kind is list or kind is tuple:
        return [plain(inner, name) for inner in value]
    return _other(value, name)


def _name(key: Any) -> str:
    if isinstance(key, str):
        return str(key)
    if isinstance(key, (int, float)):  # as JSON writes it: {50256: -1} is {"50256": -1}
        return json.dumps(plain(key))
    return json.dumps(plain(key), sort_keys=True)


def _other(value: Any, name: str) -> Any:
    if isinstance(value, enum.Enum):
        return plain(value.value, name)
    if isinstance(value, (str, bool, int, float)):  # of a derived class
        base = next(base for base in (str, bool, int, float) if isinstance(value, base))
        return plain(base(value), name)
    if isinstance(value, Mapping):
        return plain(dict(value), name)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"sha256": hashlib.sha256(value).hexdigest()}
    if isinstance(value, PurePath):
        return file_content(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (uuid.UUID, decimal.Decimal)):
        return str(value)
    if isinstance(value, Tool):
        return plain({"name": value.name, "description": value.description, "parameters": value.parameters}, name)
    if callable(value) or typing.get_origin(value) is not None:
        return _code(value, name)
    if isinstance(value, (Set, list, tuple)):
        parts = [plain(inner, name) for inner in value]
        return sorted(parts, key=lambda part: json.dumps(part, sort_keys=True)) if isinstance(value, Set) else parts
    if attrs.has(type(value)) or hasattr(type(value), "__dataclass_fields__"):
        names = getattr(type(value), "__dataclass_fields__", None) or attrs.fields_dict(type(value))
        return plain({"class": type(value).__qualname__, **{field: getattr(value, field) for field in names}}, name)
    if callable(dump := getattr(value, "model_dump", None)):  # an instance of a pydantic class
        return plain({"class": type(value).__qualname__, **dump(mode="json")}, name)
    return _binary(value, name)


def _code(value: Any, name: str) -> Any:
    """Return what stands for a class or a function: its schema and its name, not its address."""
    try:
        hash(value)
    except TypeError:
        return _described(value, name)
    return _described_once(value, name)


def _described(value: Any, name: str) -> Any:
    is_generic = typing.get_origin(value) is not None  # list[Person]
    title = "" if is_generic else getattr(value, "__qualname__", None) or type(value).__qualname__
    try:
        if is_generic or isinstance(value, type):
            return {"class": title, "schema": plain(Shape.of(value).schema, name)}
        return {"function": title, **plain(Tool.of(value), name)}
    except (HFClientError, TypeError, ValueError):  # not for answers and tools: its name is all that is known
        return {"code": title}


@functools.lru_cache(256)
def _described_once(value: Any, name: str) -> Any:
    return _described(value, name)


def _binary(value: Any, name: str) -> Any:
    """Return what stands for a file object, an image of Pillow, or an array."""
    if callable(getattr(value, "read", None)) and callable(getattr(value, "seek", None)):
        place = value.tell()
        try:
            return _stream_content(value)
        finally:
            value.seek(place)
    if callable(to_bytes := getattr(value, "tobytes", None)):
        form = [str(getattr(value, field, "")) for field in ("mode", "size", "dtype", "shape")]
        if not getattr(value, "shape", True) and callable(to_python := getattr(value, "item", None)):  # a number of numpy
            return plain(to_python(), name)
        return {"form": form, "sha256": hashlib.sha256(to_bytes()).hexdigest()}
    if isinstance(value, Iterable) and not hasattr(value, "__next__"):
        return [plain(inner, name) for inner in value]
    text = f"{name or 'a value'} is a {type(value).__name__}, which another process could not recognise in a checkpoint or cache; "
    raise InvalidInputError(text + "give JSON values, bytes, paths, images, classes or functions")


def _stream_content(file: Any) -> dict[str, Any]:
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block.encode("utf-8", "surrogatepass") if isinstance(block, str) else block)
    return {"sha256": digest.hexdigest()}
