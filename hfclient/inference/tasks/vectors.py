"""Embeddings: texts in, vectors out, in the same order; long lists in several requests.

There are three protocols, with one decoder for all: hf-inference's ``feature-extraction``, OpenAI's ``/embeddings``, and
text-embeddings-inference's ``/embed``. Pure functions; `hfclient.inference.tasks.embeddings` sends the requests.

Reference: docs/protocol/inference ("Embeddings").
"""

from __future__ import annotations

import importlib
import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from hfclient.decoding.frames import excerpt
from hfclient.errors import InvalidInputError, MissingDependencyError, ProtocolError, Unsupported
from hfclient.files.data_urls import decode_base64
from hfclient.inference.providers import Answer
from hfclient.inference.providers.base import pruned
from hfclient.inference.providers.results import keep_body
from hfclient.inference.tasks.decoders import json_of

__all__ = ["MAX_CHARACTERS", "batches", "check_texts", "embedding_body", "need_numpy", "normalized", "parse_vectors", "to_numpy"]

MAX_CHARACTERS = 200_000
"""Maximum number of characters of one request, except for a single text; servers refuse bodies of a few megabytes."""

_MAX_DEPTH = 8
# Keys of vectors in the answers of gateways, old servers and other APIs.
_PLACES = (
    *("data", "embeddings", "embedding", "vectors", "vector", "values", "float", "floats", "dense", "dense_embedding"),
    *("dense_vecs", "sentence_embedding", "base64", "output", "outputs", "result", "results", "response", "predictions"),
)
_OPENAI, _TEI = "openai", "tei"
# The settings of each protocol. OpenAI's would ignore the others.
_TAKES = {
    _OPENAI: ("dimensions",),
    _TEI: ("normalize", "truncate", "truncation_direction", "prompt_name", "dimensions"),
    "hf-inference": ("normalize", "truncate", "truncation_direction", "prompt_name", "dimensions"),
}


class _Item(msgspec.Struct):
    embedding: list[float] | str
    index: int | float | str | None = None


class _VectorList(msgspec.Struct):
    data: list[_Item]


def check_texts(texts: str | Iterable[str]) -> list[str]:
    """Return the texts as a list; one text is a list of one.

    Raises:
        InvalidInputError: One of them is not a string, or they are not a list.
    """
    if not isinstance(texts, Iterable) or isinstance(texts, (bytes, bytearray, Mapping)):
        raise InvalidInputError(f"texts are strings in a list, or one string, not {type(texts).__name__}")
    found = [texts] if isinstance(texts, str) else list(texts)
    for number, text in enumerate(found):
        if not isinstance(text, str):
            raise InvalidInputError(f"text {number} is not a string, but {type(text).__name__}")
    return found


def batches(texts: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    """Split *texts* into batches of at most *most* texts and `MAX_CHARACTERS` characters, in order.

    >>> [list(batch) for batch in batches(["a", "b", "c"], 2)]
    [['a', 'b'], ['c']]
    """
    start = size = 0
    for number, text in enumerate(texts):
        if number > start and (number - start >= most or size + len(text) > MAX_CHARACTERS):
            yield texts[start:number]
            start, size = number, 0
        size += len(text)
    if start < len(texts):
        yield texts[start:]


def embedding_body(
    dialect: str, model: str, texts: Sequence[str], settings: Mapping[str, Any], extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the body of one request; settings that the protocol would ignore are refused.

    Args:
        dialect: ``"openai"``, ``"tei"`` or ``"hf-inference"``.
        model: The provider's name of the model; empty for a server with one model.
        texts: The texts.
        settings: ``normalize``, ``truncate``, ``truncation_direction``, ``prompt_name``, ``dimensions``.
        extra: Fields that override all others; None removes one.

    Raises:
        Unsupported: The protocol does not have one of *settings*.
    """
    given = pruned(settings)
    if dialect == _OPENAI and given.get("normalize") is True:
        del given["normalize"]  # the caller normalizes the result
    if ignored := [name for name in given if name not in _TAKES[dialect]]:
        raise Unsupported(
            f"{', '.join(ignored)} would be ignored by an OpenAI-compatible server; provider='hf-inference' (and 'tei', for a "
            "server of your own) takes it, and a server's own fields go into extra_body"
        )
    if dialect == _OPENAI:
        return pruned(
            {"model": model or None, "input": list(texts), "encoding_format": "float", **given, **(extra or {})}
        )
    return pruned({"inputs": list(texts), **given, **(extra or {})})


def parse_vectors(answer: Answer, count: int) -> list[list[float]]:
    """Return the vectors of *count* texts, from any of the protocols.

    Raises:
        ProtocolError: There are more or fewer of them, they differ in length, or they are not vectors.
        Unsupported: The model gives a vector for each token.
        GenerationError: The answer reports an error.
    """
    with keep_body(answer):
        return _checked(_vectors(answer, count), count)


def _in_order(items: list[_Item]) -> list[_Item]:
    """Return *items* by their indexes, from 0 or 1, also as floats or text; as they came if these are missing or not different."""
    try:
        numbers = [int(item.index) for item in items]  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return items
    if len(set(numbers)) < len(numbers):
        return items
    return [item for _, item in sorted(zip(numbers, items, strict=True), key=lambda pair: pair[0])]


def _checked(vectors: list[list[float]], count: int) -> list[list[float]]:
    if len(vectors) != count:
        raise ProtocolError(f"{count} texts were sent, but {len(vectors)} vectors came back")
    if not all(vectors) or len({len(vector) for vector in vectors}) > 1:
        raise ProtocolError("the vectors differ in length")
    return vectors


def _vectors(answer: Answer, count: int) -> list[list[float]]:
    try:
        return msgspec.json.decode(answer.body, type=list[list[float]])  # directly into floats, because this may be megabytes
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        items = msgspec.json.decode(answer.body, type=_VectorList).data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    else:
        return [_decode_vector(item.embedding) for item in _in_order(items)]
    data = json_of(answer)
    vectors = _found_in(data, count, _MAX_DEPTH)
    if vectors is None:
        raise ProtocolError("the answer has no embeddings", frame=excerpt(answer.body))
    return vectors


def _found_in(value: Any, count: int, depth: int) -> list[list[float]] | None:
    """Return the vectors in a value of any other form: inside objects, each in an object, in base64, or nested."""
    if depth <= 0:
        return None
    if isinstance(value, str):
        return [_decode_vector(value)]
    if isinstance(value, dict):
        if value and all(str(key).isdigit() for key in value):  # {"0": [...], "1": [...]}
            return _of_each([value[key] for key in sorted(value, key=int)], count, depth)
        return next((found for key in _PLACES if value.get(key) and (found := _found_in(value[key], count, depth - 1))), None)
    if not isinstance(value, list) or not value:
        return None
    if isinstance(value[0], (int, float)) and not isinstance(value[0], bool):
        return [_converted(value)]
    indexes = {item.get("index") for item in value if isinstance(item, dict) and isinstance(item.get("index"), int)}
    if indexes == set(range(len(value))):
        value = sorted(value, key=lambda item: int(item["index"]))
    return _of_each(value, count, depth)


def _of_each(values: list[Any], count: int, depth: int) -> list[list[float]] | None:
    vectors: list[list[float]] = []
    wanted = count if len(values) == 1 else 1
    for value in values:
        found = _found_in(value, wanted, depth - 1)
        if found is None:
            return None
        if len(found) > wanted == 1:
            raise Unsupported(
                "this model gives one vector for each token, not one for each text; task('feature-extraction', ...) returns "
                "them as they are"
            )
        vectors += found
    return vectors


def _converted(value: Any) -> list[float]:
    try:
        return msgspec.convert(value, list[float])
    except msgspec.ValidationError:
        raise ProtocolError("an embedding is not a list of numbers", frame=str(value[:10])[:200]) from None


def _decode_vector(value: list[float] | str) -> list[float]:
    """Return a vector that may be base64 of little-endian 32-bit floats."""
    if not isinstance(value, str):
        return value
    content = decode_base64(value)
    if not content or len(content) % 4:
        raise ProtocolError("an embedding is not valid base64", frame=value[:200])
    return list(struct.unpack(f"<{len(content) // 4}f", content))


def normalized(vectors: list[list[float]]) -> list[list[float]]:
    """Return the vectors with a length of 1; a vector of zeros stays.

    >>> normalized([[3.0, 4.0]])
    [[0.6, 0.8]]
    """
    found = []
    for vector in vectors:
        length = math.sqrt(math.fsum(value * value for value in vector))
        found.append([value / length for value in vector] if length else vector)
    return found


def need_numpy() -> Any:
    """Return numpy.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        return importlib.import_module("numpy")  # imported late: it is optional
    except ImportError as exc:
        raise MissingDependencyError("as_numpy=True needs numpy: pip install numpy") from exc


def to_numpy(vectors: list[list[float]]) -> Any:
    """Return the vectors as an array of shape (N, D) and type float32.

    Raises:
        MissingDependencyError: numpy is not installed.
    """
    np = need_numpy()
    return np.asarray(vectors, dtype=np.float32).reshape(len(vectors), len(vectors[0]) if vectors else 0)
