"""Keys of items: equal for equal questions, in each process, and only for these."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import io
import json
import os
import random
import resource
import string
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfclient.batch.checkpoints.keys import Keys, content_key, key_of
from hfclient.batch.items import Item
from hfclient.errors import InvalidInputError

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class Colour(enum.Enum):
    RED = "red"


class Person(pydantic.BaseModel):
    name: str


@attrs.frozen
class Place:
    name: str


@dataclasses.dataclass
class Point:
    x: int


def get_weather(city: str) -> str:
    """The weather in a city."""
    return city


def key(value: Any) -> str:
    return key_of({"value": value})


EQUAL = [
    (1, 1.0),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({50256: -1, 9: 0}, {"9": 0, "50256": -1}),
    ([1, "a"], (1, "a")),
    (b"abc", bytearray(b"abc")),
    (b"abc", io.BytesIO(b"abc")),
    (Colour.RED, "red"),
    ({"a", "b"}, frozenset(("b", "a"))),
    (datetime.date(2026, 1, 2), "2026-01-02"),
]
DIFFERENT = [
    (1, "1"), (True, 1), (None, False), ("", None), ([], {}), ([[1], 2], [1, [2]]), (b"abc", "abc"), (1, 1.5), ("\u00e9", "e\u0301"),
    (Person, Place), (get_weather, len), (list[Person], Person), (Literal["a"], Literal["b"]), (Place("a"), Place("b")), (Point(1), Point(2)),
    (Person(name="a"), Person(name="b")),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equal(one: Any, other: Any) -> None:
    """What is equal for the server has one key."""
    assert key(one) == key(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different(one: Any, other: Any) -> None:
    """What may have another answer has another key."""
    assert key(one) != key(other)


@settings(deadline=None)
@given(JSON, JSON)
def test_any_json(one: Any, other: Any) -> None:
    """A key has 32 hex digits and belongs to one value."""
    assert len(key(one)) == 32
    assert set(key(one)) <= set(string.hexdigits)
    if json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True):
        assert key(one) == key(other)


def test_fixed_keys() -> None:
    """Keys stay the same from one version to the next: a checkpoint of today is read in years."""
    assert key_of({}) == "44136fa355b3678a1146ad16f7e8649e"
    question = {"call": "chat", "model": "m", "temperature": 0.7, "seed": 1.0, "input": "Grüße 🙂", "stop": ("a", None, True)}
    assert key_of(question) == "4ff9869d013273517a801220d2285850"


def test_every_process_makes_the_same_keys(tmp_path: Path) -> None:
    """Classes, functions, sets and files have the same key in a process with another seed of hashes."""
    (tmp_path / "cat.png").write_bytes(b"cat")
    code = (
        "from tests.batch.test_keys import *\n"
        "values = [Person, Place, list[Person], get_weather, {'a', 'b', 'c'}, Colour.RED, lambda x: x, Literal['b', 'a']]\n"
        f"print([key(value) for value in [*values, Path({str(tmp_path / 'cat.png')!r})]])"
    )
    outputs = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        outputs.add(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment).stdout)
    assert len(outputs) == 1


def test_files_count_by_their_content(tmp_path: Path) -> None:
    """A file that moves has the same key; one that changes has another. A file object stays where it is."""
    one, other = tmp_path / "a.png", tmp_path / "b.png"
    one.write_bytes(b"cat")
    other.write_bytes(b"cat")
    assert key(one) == key(other) == key(b"cat")
    other.write_bytes(b"dog")
    assert key(one) != key(other)
    with one.open("rb") as file:
        file.seek(1)
        assert key(file) == key(b"at")
        assert file.tell() == 1
    with pytest.raises(InvalidInputError, match="cannot be read"):
        key(tmp_path / "missing.png")


def test_images_and_arrays() -> None:
    """Images of Pillow and arrays of NumPy count by their content."""
    image = pytest.importorskip("PIL.Image")
    np = pytest.importorskip("numpy")
    assert key(image.new("RGB", (2, 2), "red")) == key(image.new("RGB", (2, 2), "red")) != key(image.new("RGB", (2, 2), "blue"))
    assert key(np.array([1, 2])) == key(np.array([1, 2])) != key(np.array([1.0, 2.0]))
    assert key(np.float64(0.5)) == key(0.5)
    assert key(np.int64(3)) == key(3)


def test_values_without_content() -> None:
    """An object whose repr has an address is an error with its name: another process could not recognise it."""
    with pytest.raises(InvalidInputError, match=r"extra_body\.user is a object"):
        key_of({"extra_body": {"user": object()}})
    with pytest.raises(InvalidInputError, match="generator"):
        key(number for number in ())
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InvalidInputError, match="nested too deeply"):
        key(endless)


def test_equal_items_are_samples_of_their_own() -> None:
    """The second equal item has a number; one with an id has the id, wherever it is in the input."""
    keys = Keys()
    asked: Mapping[str, Any] = {"input": "hi"}
    first, second, third = (keys.key(Item(index, "hi"), asked) for index in range(3))
    assert (second, third) == (f"{first}#2", f"{first}#3")
    assert keys.key(Item(3, "hi", id="a"), asked) == f"{first}:a"
    assert content_key(second) == content_key(f"{first}:a") == first
    with pytest.raises(InvalidInputError, match=r"the items 3 and 9 .* have the same id 'a'"):
        keys.key(Item(9, "ho", id="a"), asked)
    keys.close()


@pytest.mark.timeout(240)  # much work for a slow machine
def test_memory_is_flat() -> None:
    """The numbers of 200,000 items take a few megabytes, whatever their ids."""
    keys = Keys()
    choose = random.Random(1)

    def add(count: int) -> None:
        for index in range(count):
            keys.key(Item(index, "", id=None if index % 2 else f"{choose.random()}"), {"input": choose.random()})

    add(20_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    add(100_000)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    keys.close()
    assert grown < 16_000  # kB
