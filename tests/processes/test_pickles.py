"""Pickles of every class of the package, found by walking it, so that a new class cannot be forgotten."""

from __future__ import annotations

import collections.abc
import copy
import importlib
import inspect
import json
import pickle
import pkgutil
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

import hfclient
from hfclient import Client, events
from hfclient.credentials import Secret
from hfclient.errors import HFClientError
from hfclient.events import Event
from hfclient.transport import Retry, Timeouts
from tests.chat.conftest import PATIENT
from tests.processes.helpers import PromptedChatUI, text_for
from tests.server import json_answer
from tests.web.django_site import set_up

set_up()  # modules of hfclient.web.django hold Django's settings

MakeClient = Callable[..., Client]

# Classes that are not values: each belongs to one process.
WORKINGS = {
    "Backend": "the store, the threads and the model of the embedded server",
    "JournalEntry": "a job of a batch service, as the process read it in its checkpoint",
    "RequestFile": "an open file of requests that the process writes",
    "Tick": "a signal of a read to the loop of its own thread",
}
# Values that a validator requires.
SAMPLES: dict[tuple[str, str], Any] = {
    ("McpServer", "url"): "https://tools.example/mcp",
    ("RemoteFile", "url"): "https://files.example/a.png",
    ("McpServer", "headers"): {"X-Key": Secret("geheim")},
    ("TextParameters", "grammar"): {"type": "regex", "value": "a+"},
    ("Multipart", "boundary"): "b0undary",
}
# Fields that exclude the other fields.
LEFT_OUT = {("TextParameters", "best_of")}


def _classes() -> Iterator[type]:
    found: dict[type, None] = {}
    for info in pkgutil.walk_packages(hfclient.__path__, "hfclient."):
        # Objects of the command line do not leave its process.
        if not info.name.startswith(("hfclient.__main__", "hfclient.cli")):
            for member in vars(importlib.import_module(info.name)).values():
                if inspect.isclass(member) and member.__module__.startswith("hfclient"):
                    found[member] = None
    yield from sorted(found, key=lambda cls: (cls.__module__, cls.__qualname__))


ALL = list(_classes())
# Private classes are local to a module.
VALUES = [cls for cls in ALL if attrs.has(cls) and not cls.__name__.startswith("_") and cls.__name__ not in WORKINGS]
EXCEPTIONS = [
    cls for cls in ALL if issubclass(cls, BaseException) and not cls.__name__.startswith("_") and cls.__name__ not in WORKINGS
]


def _sample(kind: Any) -> Any:
    """Return a value of a type, with a value in every field."""
    simple = {str: "é\u2028☃", int: 3, float: 0.5, bool: True, bytes: b"\x00\xff", Secret: Secret("geheim"), Any: {"a": [1]}}
    try:
        if kind in simple:
            return simple[kind]
    except TypeError:  # unhashable
        pass
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return arguments[0]
    if origin in (typing.Union, types.UnionType):
        for option in arguments:
            if option is not type(None):
                try:
                    return _sample(option)
                except NotImplementedError:
                    continue
        return None
    if origin is collections.abc.Callable:
        return len
    if origin in (dict, collections.abc.Mapping):
        return {_sample(arguments[0]): _sample(arguments[1])}
    if origin in (list, collections.abc.Sequence):
        return [_sample(arguments[0])]
    if origin is tuple:
        return tuple(_sample(part) for part in arguments if part is not Ellipsis)
    if origin is frozenset or kind is frozenset:
        return frozenset({503})
    if inspect.isclass(kind) and attrs.has(kind):
        return _filled(kind)
    if inspect.isclass(kind) and issubclass(kind, BaseException):
        return kind("é") if issubclass(kind, HFClientError) else ValueError("é")
    if hasattr(kind, "__supertype__"):
        return _sample(kind.__supertype__)
    if inspect.isclass(kind) and kind.__module__ == "datetime":
        return kind(2026, 11, 21, tzinfo=__import__("datetime").timezone.utc)
    raise NotImplementedError(kind)


def _hints(cls: type) -> dict[str, Any]:
    spaces: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        spaces.update(vars(importlib.import_module(base.__module__)))
    everything = {member.__name__: member for member in ALL}
    return typing.get_type_hints(cls, {**everything, "TYPE_CHECKING": True, **typing.__dict__, **spaces})


def _filled(cls: type) -> Any:
    hints = _hints(cls)
    fields = {}
    for field in attrs.fields(cls):
        if field.init and (cls.__name__, field.name) not in LEFT_OUT:
            fields[field.alias] = SAMPLES.get((cls.__name__, field.name)) or _sample(hints[field.name])
    return cls(**fields)


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if attrs.has(type(one)):
        return all(_same(getattr(one, f.name), getattr(other, f.name)) for f in attrs.fields(type(one)))
    if isinstance(one, BaseException):
        return _same(vars(one), vars(other)) and _same(one.args, other.args) and str(one) == str(other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _check_round_trips(value: Any) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert _same(pickle.loads(pickle.dumps(value, protocol)), value)
    assert _same(copy.copy(value), value)
    deep = copy.deepcopy(value)
    assert _same(deep, value)
    for name in attrs.fields_dict(type(value)) if attrs.has(type(value)) else vars(value):
        if isinstance(getattr(value, name), (dict, list)):
            assert getattr(deep, name) is not getattr(value, name)


@pytest.mark.parametrize("cls", VALUES, ids=lambda cls: f"{cls.__module__[9:]}.{cls.__name__}")
def test_values(cls: type) -> None:
    """Every attrs class of the package is equal after a pickle and a copy, and after JSON if it has a JSON form."""
    value = _filled(cls)
    _check_round_trips(value)
    if issubclass(cls, Event) and cls is not Event:
        assert _same(events.from_dict(json.loads(json.dumps(events.to_dict(value)))), value)
    if hasattr(cls, "to_dict") and hasattr(cls, "from_dict"):
        assert _same(cls.from_dict(json.loads(json.dumps(value.to_dict()))), value)
    if "geheim" not in str(pickle.dumps(value)):
        assert "***" not in repr(value)
    else:
        assert "geheim" not in repr(value)


@pytest.mark.parametrize("cls", EXCEPTIONS, ids=lambda cls: cls.__name__)
def test_exceptions(cls: type[BaseException]) -> None:
    """Every exception is equal after a pickle and a copy, with all its fields."""
    parameters = list(inspect.signature(cls).parameters.values())
    needed = {"status": 500, "message": "é", "reason": "no", "path": "$.a"}
    error = cls(*[needed[p.name] for p in parameters if p.name in needed and p.kind is p.POSITIONAL_OR_KEYWORD])
    for name in list(vars(error)):
        if getattr(error, name) is None and name != "partial":
            setattr(error, name, "é")
    if isinstance(error, HFClientError):
        error.partial = hfclient.Reply(text="half")
    _check_round_trips(error)


def test_excluded_classes_exist() -> None:
    """The classes that are excluded above exist."""
    assert set(WORKINGS) <= {cls.__name__ for cls in ALL}


def test_a_client(prompted: PromptedChatUI, make_client: MakeClient, transport_name: str) -> None:
    """A client pickles as its configuration, also while it is in use, and the copy works."""
    options: dict[str, Any] = {
        "token": "hf_geheim",
        "cookies": "hf-chat=mine",
        "timeouts": Timeouts(connect=3, first_token=4, idle=4, total=9),
        "retry": Retry(attempts=1),
        "headers": {"X-Mine": "yes"},
        "bill_to": "org",
        "provider_keys": {"together": "key_geheim"},
        "on_event": print,
    }
    client = make_client(transport_name, base_url=prompted.url, **options)
    stream = client.chat("hold this")
    next(stream)
    assert client.inference is not None
    again = pickle.loads(pickle.dumps(client))
    assert repr(again) == repr(client)
    assert again.chat("count one").text == text_for("count one")
    assert (prompted.last.headers["cookie"], prompted.last.headers["x-mine"]) == ("hf-chat=mine", "yes")
    for name in ("timeouts", "retry", "headers", "limits"):
        assert getattr(again._session, name) == getattr(client._session, name)
    own = {"last": None}  # the last answer of each thread is not copied
    assert {**again._inference_options, **own} == {**client._inference_options, **own}
    assert again.inference is not client.inference
    again.close()
    prompted.go.set()
    assert stream.text == text_for("hold this")


def test_a_client_of_the_embedded_server() -> None:
    """A copy uses the same server, and does not stop it when it is closed."""
    pytest.importorskip("waitress")
    with Client.local(upstream="http://127.0.0.1:9/v1") as client:
        again = pickle.loads(pickle.dumps(client))
        assert again.base_url == client.base_url
        assert again.ping() > 0
        again.close()
        assert client.ping() > 0


def test_what_cannot_be_pickled(prompted: PromptedChatUI, make_client: MakeClient) -> None:
    """Streams and conversations cannot be pickled or copied; the error says what to use instead."""
    client = make_client(base_url=prompted.url)
    stream = client.chat("count one")
    for way in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"result\(\)"):
            way(stream)
        with pytest.raises(TypeError, match="restore"):
            way(stream.conversation)
    assert stream.text == text_for("count one")
    state = json.loads(json.dumps(stream.conversation.to_dict()))
    assert client.restore(pickle.loads(pickle.dumps(state))).ask("count two").text == text_for("count two")


def test_pickles_hold_no_secret(prompted: PromptedChatUI, make_client: MakeClient, transport_name: str) -> None:
    """States, events, replies, messages and errors of a client with a token and a cookie hold neither."""
    client = make_client(transport_name, base_url=prompted.url, token="hf_geheim", cookies="hf-chat=geheim", timeouts=PATIENT)
    conversation = client.conversation()
    stream = conversation.send("count one")
    given: list[Any] = [list(stream), stream.result(), conversation.to_dict(), conversation.messages()]
    given += [client.models.list(), client.conversations.list()]
    calls: list[tuple[str, Callable[[], Any]]] = [("send", lambda: client.chat("fail").text)]
    prompted.always("read", json_answer({"message": "no"}, 403))
    calls.append(("read", conversation.messages))
    for _, call in calls:
        with pytest.raises(HFClientError) as caught:
            call()
        given.append(caught.value)
    client.close()
    prompted.close()
    with pytest.raises(HFClientError) as caught:
        client.chat("count two")
    given.append(caught.value)
    sent = [request.headers for _, request in prompted.seen]
    assert any("geheim" in str(headers) for headers in sent)
    for value in given:
        assert b"geheim" not in pickle.dumps(value)
        assert "geheim" not in repr(value)
