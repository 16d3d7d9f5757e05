"""Embeddings as values: batches, bodies of three dialects, and all forms of vectors."""

from __future__ import annotations

import base64
import struct
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfclient.errors import GenerationError, InvalidInputError, MissingDependencyError, ProtocolError, Unsupported
from hfclient.inference.providers import Answer
from hfclient.inference.tasks.vectors import (
    MAX_CHARACTERS,
    batches,
    check_texts,
    embedding_body,
    normalized,
    parse_vectors,
    to_numpy,
)


def answer(data: Any) -> Answer:
    return Answer(msgspec.json.encode(data))


@given(st.lists(st.text(max_size=5)), st.integers(1, 7))
def test_batches_lose_nothing(texts: list[str], most: int) -> None:
    """The batches together are the texts in order; no batch is empty or too long."""
    found = [list(batch) for batch in batches(texts, most)]
    assert [text for batch in found for text in batch] == texts
    assert all(0 < len(batch) <= most for batch in found)


def test_batches_are_bounded_in_size() -> None:
    """Long texts make smaller batches; one that is too long by itself is sent alone."""
    half, long = "x" * (MAX_CHARACTERS // 2), "x" * (MAX_CHARACTERS + 1)
    assert [len(batch) for batch in batches([half, half, "a", long, "b"], 32)] == [2, 1, 1, 1]


def test_texts() -> None:
    """One string is one text; a text that is not a string is refused with its position."""
    assert check_texts("a") == ["a"]
    assert check_texts(iter(["a", "b"])) == ["a", "b"]
    with pytest.raises(InvalidInputError, match="text 1"):
        check_texts(["a", 5])  # type: ignore[list-item]
    for nothing in (None, 5, b"abc", {"a": 1}):
        with pytest.raises(InvalidInputError, match="strings in a list"):
            check_texts(nothing)  # type: ignore[arg-type]


def test_bodies() -> None:
    """Each dialect's body follows the protocol; the model comes first."""
    settings = {"normalize": None, "dimensions": 8}
    body = embedding_body("openai", "m", ["a"], settings)
    assert body == {"model": "m", "input": ["a"], "encoding_format": "float", "dimensions": 8}
    assert next(iter(body)) == "model"
    assert embedding_body("openai", "", ["a"], {"normalize": True}) == {"input": ["a"], "encoding_format": "float"}
    settings = {"normalize": True, "truncate": False, "prompt_name": "query", "truncation_direction": "left"}
    for dialect in ("tei", "hf-inference"):
        assert embedding_body(dialect, "m", ["a"], settings, {"x": 1}) == {"inputs": ["a"], **settings, "x": 1}
    assert embedding_body("openai", "m", ["a"], {}, {"encoding_format": None}) == {"model": "m", "input": ["a"]}


@pytest.mark.parametrize("setting", [{"truncate": True}, {"prompt_name": "q"}, {"normalize": False}], ids=str)
def test_settings_that_would_be_ignored(setting: Any) -> None:
    """An OpenAI-compatible server supports neither prompts nor truncation."""
    with pytest.raises(Unsupported, match=next(iter(setting))):
        embedding_body("openai", "m", ["a"], setting)


@pytest.mark.parametrize(
    "data",
    [
        [[1.0, 2.0], [3.0, 4]],
        {"data": [{"index": 1, "embedding": [3, 4]}, {"index": 0, "embedding": [1, 2]}], "usage": {}},
        {"data": [{"embedding": [1, 2]}, {"embedding": [3, 4]}]},
        {"data": [{"index": 0, "embedding": [1, 2]}, {"index": 0, "embedding": [3, 4]}]},
        {
            "data": [
                {"index": i, "embedding": base64.b64encode(struct.pack("<2f", *v)).decode()}
                for i, v in enumerate([(1, 2), (3, 4)])
            ]
        },
        {"embeddings": [[1, 2], [3, 4]]},
        [[[1, 2]], [[3, 4]]],
        [[[1, 2], [3, 4]]],
        [{"embedding": [1, 2]}, {"embedding": [3, 4]}],
        [{"index": 1, "embedding": [[3, 4]]}, {"index": 0, "embedding": [[1, 2]]}],
        {"embeddings": {"float": [[1, 2], [3, 4]]}},
        {"embeddings": [{"values": [1, 2]}, {"values": [3, 4]}]},
        {"data": [[1, 2], [3, 4]]},
        {"data": {"embeddings": [[1, 2], [3, 4]]}},
        {"data": [{"embedding": {"float": [1, 2]}}, {"embedding": {"float": [3, 4]}}]},
        {"output": {"embeddings": [[1, 2], [3, 4]]}},
        {"predictions": [[1, 2], [3, 4]]},
        {"0": [1, 2], "1": [3, 4]},
        {"embeddings": [base64.b64encode(struct.pack("<2f", *v)).decode() for v in [(1, 2), (3, 4)]]},
        {"dense_vecs": [[1, 2], [3, 4]]},
    ],
    ids=range(20),
)
def test_forms_of_two_vectors(data: Any) -> None:
    """Lists, indexed objects in any order, base64: the vectors are in the order of the texts."""
    assert parse_vectors(answer(data), 2) == [[1.0, 2.0], [3.0, 4.0]]


def test_one_vector() -> None:
    """The vector of one text may be a bare list of numbers."""
    assert parse_vectors(answer([1, 2.5]), 1) == [[1.0, 2.5]]


def test_a_vector_for_each_token() -> None:
    """Three levels are vectors of tokens, and refused with that reason."""
    with pytest.raises(Unsupported, match="each token"):
        parse_vectors(answer([[[1, 2], [3, 4]]]), 1)


@pytest.mark.parametrize(
    "data",
    [
        [],
        [[1]],
        [[1], [2], [3]],
        [[1], [2, 3]],
        [[], []],
        [1, 2],
        {"data": []},
        None,
        "x",
        [["a"], ["b"]],
        [[None], [1]],
        {"x": 1},
    ],
    ids=str,
)
def test_broken_vectors(data: Any) -> None:
    """Too few, too many, of different lengths, or empty: never silently wrong."""
    with pytest.raises(ProtocolError):
        parse_vectors(answer(data), 2)


def test_an_answer_of_an_unknown_form_is_kept() -> None:
    """The error has the answer, at most 64 kB of it."""
    with pytest.raises(ProtocolError) as caught:
        parse_vectors(answer({"strange": [1, 2], "rest": "x" * 100_000}), 1)
    assert caught.value.body is not None
    assert caught.value.body.startswith('{"strange"')
    assert len(caught.value.body) == 64 * 1024


def test_broken_bytes() -> None:
    """HTML, an incomplete document, broken base64, an error."""
    for body in (b"<html>", b"[[1.0,", b"", b'{"data":[{"embedding":"AAA","index":0}]}'):
        with pytest.raises(ProtocolError):
            parse_vectors(Answer(body), 1)
    with pytest.raises(GenerationError, match="too long"):
        parse_vectors(answer({"error": {"message": "input too long"}}), 1)


def test_normalized() -> None:
    """Vectors are normalized to a length of 1; zeros stay."""
    assert normalized([[3.0, 4.0], [0.0, 0.0]]) == [[0.6, 0.8], [0.0, 0.0]]


def test_numpy() -> None:
    """As an array the vectors have float32 and a fixed shape, also without any texts."""
    np = pytest.importorskip("numpy")
    found = to_numpy([[1.0, 2.0], [3.0, 4.5]])
    assert isinstance(found, np.ndarray)
    assert (found.shape, found.dtype, found.tolist()) == ((2, 2), np.float32, [[1.0, 2.0], [3.0, 4.5]])
    assert to_numpy([]).shape == (0, 0)


def test_numpy_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without numpy, the error names the package to install."""
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(MissingDependencyError, match="pip install numpy"):
        to_numpy([[1.0]])


@pytest.mark.parametrize("form", [int, float, str, lambda index: index + 1], ids=["int", "float", "str", "from 1"])
def test_order_by_index(form: Any) -> None:
    """The indexes decide the order, as whole numbers, as floats or as text, from 0 or from 1."""
    data = [{"index": form(index), "embedding": [float(index)]} for index in (2, 0, 1)]
    assert parse_vectors(answer({"data": data}), 3) == [[0.0], [1.0], [2.0]]


@pytest.mark.parametrize("indexes", [[0, 0, 0], [0, 1, 0], [None, 1, None], ["a", "b", "c"]], ids=str)
def test_indexes_that_do_not_differ(indexes: list[Any]) -> None:
    """Vectors stay in the order in which they came."""
    data = [{"index": index, "embedding": [float(place)]} for place, index in enumerate(indexes)]
    assert parse_vectors(answer({"data": data}), 3) == [[0.0], [1.0], [2.0]]
