"""All events: new classes are found automatically, compared by value, pickled, and converted to a dict and back."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from typing import Any

import attrs
import pytest

from hfclient import events
from hfclient.events import AnyEvent, Event, Source, Token, Unknown, from_dict, to_dict

CLASSES: list[type] = list(AnyEvent.__args__)  # type: ignore[attr-defined]


def _value(kind: str) -> Any:
    samples = {
        "tuple[Source": (Source("http://a", "A"), Source("http://b", text="é\u2028")),
        "tuple[str": ("a", "b"),
        "list[dict": [{"a": [1, None, {"b": "c"}]}],
        "dict": {"a": [1, 2.5, None], "b": {"c": True}},
        "bool": True,
        "float": 1.5,
        "int": 7,
        "str": "é\u2028☃",
    }
    return next(value for name, value in samples.items() if name in kind)


def _filled(cls: type) -> Any:
    return cls(**{field.name: _value(str(field.type)) for field in attrs.fields(cls)})


def _bare(cls: type) -> Any:
    return cls(**{field.name: _value(str(field.type)) for field in attrs.fields(cls) if field.default is attrs.NOTHING})


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_round_trips(cls: type) -> None:
    """With all fields or with the required ones, an event from a pickle, a copy, or its dict via JSON is equal."""
    for event in (_filled(cls), _bare(cls)):
        assert pickle.loads(pickle.dumps(event)) == event
        assert copy.deepcopy(event) == event
        assert from_dict(to_dict(event)) == event
        again = from_dict(json.loads(json.dumps(to_dict(event))))
        assert (again, type(again)) == (event, cls)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_shape(cls: type) -> None:
    """Small (slots), documented with all fields and the wire type, exported, and usable with ``match``."""
    assert not hasattr(_bare(cls), "__dict__")
    assert cls.__name__ in events.__all__
    assert issubclass(cls, Event)
    doc = inspect.getdoc(cls) or ""
    assert "Wire:" in doc
    names = [field.name for field in attrs.fields(cls) if field.name != "extra"]
    assert all(name in doc for name in names)
    assert list(cls.__match_args__) == names  # type: ignore[attr-defined]
    assert "extra" not in repr(_filled(cls))


def test_all_events_are_exported() -> None:
    """`AnyEvent` has all event classes of the module, and ``__all__`` all public names."""
    found = {
        cls for _, cls in inspect.getmembers(events, inspect.isclass) if issubclass(cls, Event) and cls is not Event
    }
    assert found == set(CLASSES)
    assert all(hasattr(events, name) for name in events.__all__)


def test_values() -> None:
    """Events compare by class and fields, `extra` included."""
    assert Token("a") == Token("a")
    assert Token("a") != Token("b")
    assert Token("a") != events.Reasoning("a")
    assert Token("a", extra={"x": 1}) != Token("a")


def test_defaults_are_not_shared() -> None:
    """Each event has its own containers."""
    first, second = events.ToolCall("u", "n"), events.ToolCall("u", "n")
    first.parameters["a"] = 1
    assert second.parameters == {}


def test_to_dict_does_not_share() -> None:
    """Changing the dict does not change the event."""
    event = Unknown("x", {"a": {"b": 1}})
    to_dict(event)["raw"]["a"]["b"] = 2
    assert event.raw == {"a": {"b": 1}}


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"event": "Nothing"},
        {"event": None},
        {"event": ["Token"], "text": "a"},
        {"event": "Token"},
        {"event": "Token", "text": 5},
        {"event": "Event"},
        {"event": "Source", "link": "x"},
    ],
)
def test_dicts_that_do_not_fit(data: dict[str, Any]) -> None:
    """A dict of an unknown event, or with wrong fields, is a `ValueError` that names the problem."""
    with pytest.raises(ValueError, match=r"event|expected|missing|Expected|Object"):
        from_dict(data)


def test_a_newer_field() -> None:
    """A field of a newer release is ignored."""
    assert from_dict({"event": "Token", "text": "a", "future": 1}) == Token("a")
