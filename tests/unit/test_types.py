"""Values from a server: frozen, equal by value, and serializable."""

from __future__ import annotations

import datetime
import inspect
import json
import pickle
from typing import Any

import attrs
import pytest

from hfclient import events, types
from hfclient.types import Message, Model, PromptExample, Reply, StoredFile

CLASSES = [
    cls
    for _, cls in inspect.getmembers(types, inspect.isclass)
    if cls.__module__ == "hfclient.types" and not cls.__name__.startswith("_") and attrs.has(cls)
]
WHEN = datetime.datetime(2026, 11, 21, 4, 38, 1, 500000, tzinfo=datetime.timezone.utc)
SAMPLES: dict[str, Any] = {
    "datetime": WHEN,
    "tuple[Source": (events.Source("http://a"),),
    "tuple[File": (events.File("n", "s", "image/png"),),
    "tuple[ToolCall": (events.ToolCall("u", "n", {"a": 1}),),
    "tuple[ToolResult": (events.ToolResult("u", "success", [{"text": "x"}]),),
    "tuple[ToolError": (events.ToolError("u", "m"),),
    "tuple[Elicitation": (events.Elicitation("e", "s", "form", "m"),),
    "tuple[Failover": (events.Failover("a", "b", "down", 503),),
    "tuple[StoredFile": (StoredFile("n", "image/png", "s"),),
    "tuple[PromptExample": (PromptExample("t", "p"),),
    "tuple[ModelProvider": (types.ModelProvider("p", True, 8192),),
    "tuple[str": ("a", "b"),
    "Usage": events.Usage(1, 2, 3),
    "Route": events.Route("r", "m"),
    "dict": {"a": [1, None]},
    "bool": True,
    "float": 1.5,
    "int": 3,
    "str": "é\u2028",
}


def _filled(cls: type) -> Any:
    return cls(
        **{
            field.name: next(value for name, value in SAMPLES.items() if name in str(field.type))
            for field in attrs.fields(cls)
        }
    )


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_round_trips(cls: type) -> None:
    """A value from a pickle, or from its dict via JSON, is equal."""
    value = _filled(cls)
    assert pickle.loads(pickle.dumps(value)) == value
    if not hasattr(value, "to_dict"):
        return
    again = cls.from_dict(json.loads(json.dumps(value.to_dict())))  # type: ignore[attr-defined]
    assert (again, type(again)) == (value, cls)
    if hasattr(value, "raw"):
        assert again.raw == value.raw


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_shape(cls: type) -> None:
    """Frozen, documented and exported."""
    value = _filled(cls)
    name = attrs.fields(cls)[0].name
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(value, name, "other")
    assert cls.__name__ in types.__all__
    assert inspect.getdoc(cls)


def test_reply_is_its_text() -> None:
    """``str`` and ``print`` give the answer."""
    assert str(Reply(text="hi")) == f"{Reply(text='hi')}" == "hi"
    assert Reply() == Reply(text="")
    assert Reply().to_dict()["text"] == ""


def test_raw_is_hidden() -> None:
    """The server's data is kept but neither shown nor compared."""
    first, second = Model(id="m", raw={"a": "b"}), Model(id="m")
    assert first == second
    assert "raw" not in repr(first)
    assert hash(Message(id="1", role="user", content="x", raw={"a": []})) == hash(
        Message(id="1", role="user", content="x")
    )


def test_values_hash() -> None:
    """Values without events in them can be keys."""
    assert len({Reply(text="a"), Reply(text="a"), Reply(text="b")}) == 2


@pytest.mark.parametrize("data", [{"text": 5}, {"sources": [{"title": "no link"}]}, {"usage": "x"}])
def test_dicts_that_do_not_fit(data: dict[str, Any]) -> None:
    """A dict that does not fit is a `ValueError`; an unknown field is ignored."""
    with pytest.raises(ValueError, match=r"Expected|Object missing"):
        Reply.from_dict(data)
    assert Reply.from_dict({"text": "a", "future": 1}) == Reply(text="a")
