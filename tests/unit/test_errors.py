"""All errors; new classes are found automatically."""

from __future__ import annotations

import copy
import inspect
import json
import pickle

import pytest

from hfclient import errors
from hfclient.errors import HFClientError, from_dict
from hfclient.events import Source, Token, ToolCall, Usage
from hfclient.types import Reply


def _all(cls: type[HFClientError] = HFClientError) -> list[type[HFClientError]]:
    return [cls, *(found for child in cls.__subclasses__() for found in _all(child))]


CLASSES = [cls for cls in dict.fromkeys(_all()) if cls.__module__ == "hfclient.errors"]
VALUES = {"str": "text", "int": 7, "float": 1.5, "bool": False}


def _filled(cls: type[HFClientError]) -> HFClientError:
    """An instance with a value in each field, including those of the class body."""
    options = {}
    for name, parameter in inspect.signature(cls).parameters.items():
        if name not in ("message", "partial"):
            options[name] = next(value for kind, value in VALUES.items() if kind in str(parameter.annotation))
    reply = Reply(
        text="half é",
        sources=(Source(link="http://x"),),
        tool_calls=(ToolCall("u", "n", {"a": [1, None]}),),
        usage=Usage(1, 2, 3),
    )
    error = cls("what happened", partial=reply, **options)
    for base in cls.__mro__:
        for name, annotation in inspect.get_annotations(base).items():
            setattr(error, name, ("a", "b") if "tuple" in str(annotation) else "text")
    return error


def _fields(error: HFClientError) -> dict[str, object]:
    return {**vars(error), "args": error.args, "str": str(error), "type": type(error)}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_round_trips(cls: type[HFClientError]) -> None:
    """Pickling, copying, and the dict via JSON keep class, text and all fields."""
    for error in (cls(), cls("text"), _filled(cls)):
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            assert _fields(pickle.loads(pickle.dumps(error, protocol))) == _fields(error)
        assert _fields(copy.copy(error)) == _fields(error)
        assert _fields(copy.deepcopy(error)) == _fields(error)
        assert _fields(from_dict(error.to_dict())) == _fields(error)
        assert _fields(from_dict(json.loads(json.dumps(error.to_dict())))) == _fields(error)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_public(cls: type[HFClientError]) -> None:
    """Each class is exported, documented, and in the tree at the top of the module."""
    assert cls.__name__ in errors.__all__
    assert inspect.getdoc(cls)
    assert cls.__name__ in (errors.__doc__ or "").split()
    assert issubclass(cls, HFClientError)


def test_tree() -> None:
    """The indentation of the tree shows the inheritance."""
    lines = [line for line in (errors.__doc__ or "").splitlines() if line.startswith("    ") and line.strip()]
    parents: list[tuple[int, type]] = []
    for line in lines:
        name = line.split()[0]
        cls = getattr(errors, name, None)
        if not inspect.isclass(cls):
            continue
        depth = len(line) - len(line.lstrip())
        parents = [(level, parent) for level, parent in parents if level < depth]
        if parents:
            assert parents[-1][1] in cls.__bases__, name
        parents.append((depth, cls))


def test_all_is_sorted() -> None:
    """``__all__`` is sorted and has existing names."""
    assert sorted(errors.__all__) == errors.__all__ or sorted(errors.__all__, key=str.lower) == errors.__all__
    assert all(hasattr(errors, name) for name in errors.__all__)


def test_builtins() -> None:
    """Errors with a matching builtin class derive from it."""
    assert issubclass(errors.TransportTimeout, TimeoutError)
    assert issubclass(errors.InvalidInputError, ValueError)
    assert issubclass(errors.MissingDependencyError, ImportError)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_texts(cls: type[HFClientError]) -> None:
    """The text is the message, for any builtin class in between; the attribute message is the message alone."""
    error = cls("what happened")
    assert (str(error), error.message, error.partial) == ("what happened", "what happened", None)
    assert "what happened" in repr(error)


def test_status_errors_name_the_request() -> None:
    """A status error names the status, the request and the server's request id."""
    error = errors.NotFoundError("no such model", status_code=404, method="GET", url="http://x/m", request_id="r1")
    assert str(error) == "no such model (404 from GET http://x/m, request r1)"
    assert (
        str(errors.NotFoundError("gone", status_code=404, method="GET", url="http://x/m"))
        == "gone (404 from GET http://x/m)"
    )


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"error": "NoSuchClass", "message": "m"},
        {"error": None},
        {"error": 5, "message": None},
        {"error": "RateLimitError", "message": "m", "future_field": [1]},
        {"error": "HFClientError", "message": "m", "partial": None},
        {"error": ["x"]},
    ],
)
def test_foreign_dicts(data: dict[str, object]) -> None:
    """A dict of a newer release, or any other, becomes an hfclient error."""
    error = from_dict(dict(data))
    assert isinstance(error, HFClientError)
    assert isinstance(str(error), str)


def test_dicts_cannot_set_internals() -> None:
    """A dict sets fields, and not methods or private attributes."""
    error = from_dict(
        {"error": "ServerError", "message": "m", "__class__": "x", "to_dict": "y", "args": ["z"], "_p": 1}
    )
    assert type(error) is errors.ServerError
    assert callable(error.to_dict)
    assert error.args == ("m",)
    assert not hasattr(error, "_p")


def test_dicts_do_not_share() -> None:
    """The dict is a copy: changing it does not change the error."""
    error = errors.ModelNotFound("m")
    error.suggestions = ("a",)
    data = error.to_dict()
    data["message"] = "changed"
    assert error.message == "m"
    assert json.loads(json.dumps(data))["suggestions"] == ["a"]


def test_events_in_partial() -> None:
    """A partial answer is part of the dict, and is restored."""
    error = errors.GenerationError("x", partial=Reply(text="half"), status_code=429)
    again = from_dict(error.to_dict())
    assert (again.partial, type(again.partial)) == (Reply(text="half"), Reply)
    assert Token("a") == Token("a")


def test_user_subclasses() -> None:
    """A user's subclass pickles and converts to a dict like others, if it keeps the constructor."""
    again = pickle.loads(pickle.dumps(_Mine("m", status_code=500)))
    assert (type(again), again.status_code, again.message) == (_Mine, 500, "m")
    assert type(from_dict(_Mine("m").to_dict())) is _Mine


class _Mine(errors.ServerError):
    pass
