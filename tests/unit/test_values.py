"""`Value`: comparison, hash and repr are those that attrs would have generated."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import attrs
import pytest
from attrs import field, frozen

from hfclient.events import Token
from hfclient.types import StoredFile
from hfclient.values import Value


def _fields() -> dict[str, Any]:
    return {
        "text": field(),
        "number": field(default=None),
        "raw": field(factory=dict, eq=False, repr=False),
        "names": field(factory=dict, repr=lambda names: repr(sorted(names))),
    }


Ours: Any = attrs.make_class("Thing", _fields(), bases=(Value,), frozen=True, eq=False, repr=False, slots=True)
Generated: Any = attrs.make_class("Thing", _fields(), frozen=True, slots=True)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"text": "a"}, {"text": "a"}),
        ({"text": "a"}, {"text": "b"}),
        ({"text": "a", "raw": {"x": 1}}, {"text": "a"}),
        ({"text": "a", "number": float("nan")}, {"text": "a", "number": float("nan")}),
        ({"text": "a", "names": {"b": 1, "a": 2}}, {"text": "a", "names": {"b": 1}}),
    ],
)
def test_the_same_as_generated(a: dict[str, Any], b: dict[str, Any]) -> None:
    """Two values are equal where those of a class with generated methods are, and are written alike."""
    assert (Ours(**a) == Ours(**b)) is (Generated(**a) == Generated(**b))
    assert (Ours(**a) != Ours(**b)) is (Generated(**a) != Generated(**b))
    assert repr(Ours(**a)) == repr(Generated(**a))


def test_hashes() -> None:
    """Frozen values that are equal have one hash; one with a dict inside has none, and an event, which may change, has none."""

    @frozen(eq=False, repr=False)
    class Pair(Value):
        a: object
        b: object = None

    assert len({Pair(1), Pair(1), Pair(2)}) == 2
    with pytest.raises(TypeError, match="unhashable"):
        hash(Pair({}))
    with pytest.raises(TypeError, match="unhashable"):
        hash(Token("a"))


def test_other_classes_are_not_equal() -> None:
    """Values of two classes differ, though their fields are the same, and so does anything else."""
    assert Ours("a") != Generated("a")
    assert Ours("a") != "a"
    assert Token("a") == Token("a") != Token("b")


def test_copies_are_equal() -> None:
    """Copies and pickles of public values are equal to them."""
    value = StoredFile(name="a.txt", mime="text/plain", sha="s")
    assert copy.deepcopy(value) == pickle.loads(pickle.dumps(value)) == value
