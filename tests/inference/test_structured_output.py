"""Structured output over real HTTP: requests, validation, repairs and errors."""

from __future__ import annotations

import enum
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any, Literal, NamedTuple, TypedDict

import attrs
import msgspec
import pytest
from attrs import define, field

from hfclient.credentials import Credentials, Secret
from hfclient.errors import (
    Cancelled,
    GenerationError,
    InvalidInputError,
    ParseError,
    ServerError,
    StreamConsumed,
    TransportTimeout,
)
from hfclient.inference import InferenceClient
from hfclient.inference.providers.addresses import ADDRESSES
from hfclient.inference.structured_output import ParseStream
from hfclient.transport import Retry, Session, Timeouts
from hfclient.transport.requests_transport import RequestsTransport
from tests.clock import FakeTime
from tests.inference.answers import CHAT, DONE, SSE, begun, call, calls, data, delta, says
from tests.server import CLOSE, PATIENCE, SOON, UNTIL_GONE, Script, Server, chunk, chunked, json_answer, plain


@define
class City:
    """A city.

    Attributes:
        name: As its people call it.
        inhabitants: Rounded.
    """

    name: str
    inhabitants: int = 0


@dataclass
class DataCity:
    name: str
    inhabitants: int = 0


class DictCity(TypedDict):
    name: str
    inhabitants: int


class TupleCity(NamedTuple):
    name: str
    inhabitants: int


class StructCity(msgspec.Struct):
    name: str
    inhabitants: int = 0


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


PARIS = '{"name": "Paris", "inhabitants": 2100000}'
SCHEMA = {
    "description": "A city.",
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "As its people call it."},
        "inhabitants": {"type": "integer", "description": "Rounded."},
    },
    "required": ["name", "inhabitants"],
    "additionalProperties": False,
}


@pytest.fixture
def client(server: Server) -> Iterator[InferenceClient]:
    transport = RequestsTransport()
    session = Session(transport, Credentials(), timeouts=Timeouts(idle=PATIENCE), retry=Retry(attempts=1))
    yield InferenceClient(session, base_url=server.url)
    transport.close()


Ask = Callable[..., ParseStream[Any]]


@pytest.fixture
def ask(server: Server, client: InferenceClient) -> Ask:
    """Serves answers, given as texts or as scripts, and calls parse()."""

    def ask(*answers: str | Script, into: Any = City, prompt: Any = "The capital of France?", **options: Any) -> Any:
        server.on(CHAT, *[says(answer) if isinstance(answer, str) else answer for answer in answers])
        return client.parse_stream(prompt, into, model="m", **options)

    return ask


def test_body(server: Server, ask: Ask) -> None:
    """The schema is sent in OpenAI's strict form, with every option of chat()."""
    assert ask(PARIS, temperature=0.0, system_prompt="Be exact.").result() == City("Paris", 2_100_000)
    assert server.last.json() == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be exact."},
            {"role": "user", "content": "The capital of France?"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.0,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "City", "strict": True, "schema": SCHEMA},
        },
    }


def test_parse_and_parse_stream(server: Server, client: InferenceClient) -> None:
    """parse() is parse_stream().result()."""
    server.on(CHAT, says(PARIS))
    assert client.parse("The capital of France?", into=City, model="m") == City("Paris", 2_100_000)


@pytest.mark.parametrize(
    ("into", "text", "expected"),
    [
        (DataCity, PARIS, DataCity("Paris", 2_100_000)),
        (DictCity, PARIS, {"name": "Paris", "inhabitants": 2_100_000}),
        (StructCity, PARIS, StructCity("Paris", 2_100_000)),
        (TupleCity, '{"value": ["Paris", 2100000]}', TupleCity("Paris", 2_100_000)),
        (list[City], f'{{"value": [{PARIS}]}}', [City("Paris", 2_100_000)]),
        (list[City], f"[{PARIS}]", [City("Paris", 2_100_000)]),
        (dict[str, int], '{"value": {"a": 1}}', {"a": 1}),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (dict[str, Any], '{"value": {"value": 1}}', {"value": 1}),
        (Literal["a", "b"], '{"value": "b"}', "b"),
        (Mood, '{"value": "good"}', Mood.GOOD),
        (Mood, '"good"', Mood.GOOD),
        (int, '{"value": 4}', 4),
        (int, "4", 4),
        (City | None, '{"value": null}', None),
    ],
    ids=str,
)
def test_types(server: Server, ask: Ask, into: Any, text: str, expected: Any) -> None:
    """Every type with a JSON schema works; a schema without an object at its root is put into one."""
    assert ask(text, into=into).result() == expected
    root = server.last.json()["response_format"]["json_schema"]["schema"]
    assert root["type"] == "object"
    assert root["properties"]
    assert "$ref" not in json.dumps(root)


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{PARIS}\n```",
        f"Sure! Here you are:\n```\n{PARIS}\n```\nAnything else?",
        f"Of course [1]: {PARIS} - that is it.",
        f"{{not this}} but {PARIS}",
        f'The "city": {PARIS}',
        f"`city`: {PARIS}",
        f'First {{"a": 1}}, then {PARIS}',
        f"\n\n  {PARIS}\n",
        f"<think>{{\"name\": 5}}</think>{PARIS}",
    ],
)
def test_json_is_found(ask: Ask, text: str) -> None:
    """JSON is found in code blocks, within prose with brackets, and after reasoning."""
    assert ask(text, repair=0).result() == City("Paris", 2_100_000)


def test_raw_newline_in_a_string(ask: Ask) -> None:
    """Unescaped line breaks in strings, which weak models write, are accepted."""
    assert ask('{"name": "Pa\nris", "inhabitants": 1}').result() == City("Pa\nris", 1)


def test_repair(server: Server, ask: Ask) -> None:
    """The error of an invalid answer is sent to the model once, with the schema."""
    stream = ask('{"name": 5, "inhabitants": 1}', PARIS)
    assert stream.result() == City("Paris", 2_100_000)
    assert stream.attempts == 2
    first, second = (request.json() for request in server.requests)
    *said, complaint = second.pop("messages")
    assert said == [*first.pop("messages"), {"role": "assistant", "content": '{"name": 5, "inhabitants": 1}'}]
    words, _, schema = complaint["content"].partition(" schema: ")
    assert words.startswith("That does not fit: Expected `str`, got `int` - at `$.name`. Answer again")
    assert json.loads(schema) == SCHEMA
    assert second == first


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        ('{"name": 5}', "$.name", "Expected `str`, got `int`"),
        ('{"inhabitants": 5}', "$", "Object missing required field `name`"),
        ("I cannot help with that.", "$", "there is no JSON in the answer"),
        ("", "$", "the answer is empty"),
        (" ", "$", "the answer is empty"),
        ("[1, 2", "$", "the JSON in the answer is broken or cut off"),
        ("{" * 5000, "$", "the JSON in the answer is broken or cut off"),
        ("[" * 5000, "$", "the JSON in the answer is broken or cut off"),
    ],
)
def test_parse_error(server: Server, ask: Ask, text: str, path: str, reason: str) -> None:
    """Two invalid answers raise an error with the text, the path and the reason."""
    stream = ask(text)
    with pytest.raises(ParseError) as caught:
        stream.result()
    error = caught.value
    assert (error.raw, error.path, error.reason, error.attempts) == (text, path, reason, 2)
    assert error.partial is not None
    assert error.partial.text == text
    assert "City" in str(error)
    assert reason in str(error)
    assert len(server.requests) == 2
    assert all(message["content"] for message in server.last.json()["messages"])
    with pytest.raises(ParseError):
        stream.result()


def test_no_repair(server: Server, ask: Ask) -> None:
    """repair=0 sends one request, repair=3 four."""
    for repair in (0, 3):
        server.requests.clear()
        with pytest.raises(ParseError) as caught:
            ask("no", repair=repair).result()
        assert caught.value.attempts == len(server.requests) == repair + 1


@pytest.mark.parametrize(
    ("reason", "word"),
    [("length", "max_tokens"), ("content_filter", "content filter"), ("sensitive", "sensitive"), ("SAFETY", "SAFETY")],
)
@pytest.mark.parametrize("text", ['{"name": "Par', PARIS])
def test_cut_off(server: Server, ask: Ask, reason: str, word: str, text: str) -> None:
    """A cut-off answer is invalid, even if it can be read, and is not repaired; the error says why."""
    with pytest.raises(ParseError, match=word) as caught:
        ask(says(text, reason=reason)).result()
    assert len(server.requests) == 1
    assert caught.value.finish_reason == reason


def test_drafts(ask: Ask) -> None:
    """Iterating yields the object so far, as a new value each time."""
    stream = ask(says('Well [1]: {"na', 'me": "Pa', 'ris", "inh', 'abitants": 21', "00000", "}"))
    drafts = list(stream)
    assert drafts == [{}, {"name": "Pa"}, {"name": "Paris"}, {"name": "Paris", "inhabitants": 2_100_000}]
    assert stream.result() == City("Paris", 2_100_000)
    assert stream.partial.text.startswith("Well")
    with pytest.raises(StreamConsumed):
        iter(stream)


def test_drafts_of_a_list(ask: Ask) -> None:
    """Drafts do not have the object around a list; a repaired answer starts again."""
    stream = ask(says('{"value": [', "1, ", '"x"]}'), says('{"value": [', "1, 2", "]}"), into=list[int])
    assert list(stream) == [[], [1], [1, "x"], [], [1], [1, 2]]
    assert stream.result() == [1, 2]


def test_long_answers_are_drafted_less_often(ask: Ask) -> None:
    """A long answer has fewer drafts, because each one is decoded from the start."""
    words = [f"word{number} " for number in range(4000)]
    stream = ask(says('{"name": "', *words, '", "inhabitants": 1}'))
    drafts = list(stream)
    assert 50 < len(drafts) < 1500
    assert stream.result().name == "".join(words)


# attrs and pydantic


def test_attrs_constructors_run(ask: Ask) -> None:
    """Converters, validators, private names and fields without init behave as in Python."""
    assert ask('{"name": " x ", "secret": 3, "nested": [{"name": " y ", "secret": 0}]}', into=Careful).result() == Careful(
        name="x", secret=3, nested=[Careful(name="y", secret=0)]
    )
    with pytest.raises(ParseError) as caught:
        ask('{"name": "x", "secret": 3, "nested": [{"name": "stop", "secret": 0}]}', into=Careful, repair=0).result()
    assert (caught.value.path, caught.value.reason) == ("$.nested[0]", "not that name")
    with pytest.raises(ParseError, match="must be >= 0"):
        ask('{"name": "x", "secret": -3}', into=Careful, repair=0).result()


def _name(text: str) -> str:
    if text == "stop":
        raise ValueError("not that name")
    return text.strip()


@define
class Careful:
    name: str = attrs.field(converter=_name)
    secret: int = attrs.field(validator=attrs.validators.ge(0))
    nested: list[Careful] = attrs.field(factory=list)
    count: int = attrs.field(init=False, default=7)


def test_pydantic(server: Server, ask: Ask) -> None:
    """Pydantic models use their own schema and validation; errors have its message and path."""
    pydantic = pytest.importorskip("pydantic")

    class Person(pydantic.BaseModel):  # type: ignore[misc,name-defined]
        model_config = pydantic.ConfigDict(strict=True)
        name: str = pydantic.Field(description="Full name.", min_length=2)
        born: Any = None

    class Cat(pydantic.BaseModel):  # type: ignore[misc,name-defined]
        lives: int

    assert ask('{"name": "Ada", "born": null}', into=Person).result() == Person(name="Ada")
    schema = server.last.json()["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["name"] == {"type": "string", "description": "Full name.", "minLength": 2}
    assert schema["required"] == ["name", "born"]
    assert ask('{"value": [{"name": "Ada"}]}', into=list[Person]).result() == [Person(name="Ada")]
    assert ask('{"value": {"lives": 9}}', into=Person | Cat).result() == Cat(lives=9)
    with pytest.raises(ParseError) as caught:
        ask('{"value": [{"name": "A"}]}', into=list[Person], repair=0).result()
    assert caught.value.path == "$.value[0].name"
    assert "at least 2 characters" in caught.value.reason


# Dialects


def test_dialects(server: Server, ask: Ask) -> None:
    """Each server gets its own form of the same schema; servers without one get it in the system prompt."""
    forms = {
        "tgi": {"type": "json_object", "value": SCHEMA},
        "json_object": {"type": "json_object", "schema": SCHEMA},
        "together": {"type": "json_schema", "schema": SCHEMA},
        "sambanova": {"type": "json_schema", "json_schema": {"name": "City", "strict": False, "schema": SCHEMA}},
        "json": {"type": "json_object"},
        "prompt": None,
    }
    for dialect, form in forms.items():
        assert ask(PARIS, dialect=dialect).result().name == "Paris"
        body = server.last.json()
        assert body.get("response_format") == form, dialect
        words = [message["content"] for message in body["messages"] if message["role"] == "system"]
        assert bool(words) == (dialect in ("json", "prompt"))
    assert json.loads(words[0].partition(" schema: ")[2]) == SCHEMA
    ask(PARIS, dialect="prompt", system_prompt="Be exact.").result()
    messages = server.last.json()["messages"]
    assert [message["role"] for message in messages] == ["system", "user"]
    assert messages[0]["content"].startswith("Be exact.\n\nAnswer with JSON only")
    ask(PARIS, dialect="nebius", extra_body={"x": 1}).result()
    assert (server.last.json()["guided_json"], server.last.json()["x"]) == (SCHEMA, 1)


@pytest.mark.parametrize(
    ("info", "form"),
    [
        (json_answer({"model_id": "m", "max_total_tokens": 4096, "router": "text-generation-router"}), "json_object"),
        (json_answer({"model_id": "m", "model_type": {"embedding": {}}}), "json_schema"),
        (plain("Not Found", 404), "json_schema"),
        (plain("<html>"), "json_schema"),
        (json_answer([1]), "json_schema"),
        (b"", "json_schema"),
    ],
    ids=["tgi", "tei", "404", "html", "list", "nothing"],
)
def test_detection(server: Server, ask: Ask, info: bytes, form: str) -> None:
    """With dialect="detect" the server is detected once; no answer is an error."""
    ask(PARIS).result()
    assert [request.path for request in server.requests] == [CHAT]
    server.on("/info", [info] if info else [CLOSE])
    for _ in range(2):
        assert ask(PARIS, dialect="detect").result().name == "Paris"
        assert server.last.json()["response_format"]["type"] == form
    assert [request.path for request in server.requests] == [CHAT, "/info", CHAT, CHAT]


def test_dialect_of_each_provider(
    server: Server, other_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider's own site gets its own form; the next provider, through the router, gets OpenAI's."""
    addresses = {**ADDRESSES, "together": attrs.evolve(ADDRESSES["together"], direct=other_server.url)}
    monkeypatch.setattr("hfclient.inference.routing.candidates.ADDRESSES", addresses)
    monkeypatch.setattr("hfclient.inference.server_urls.ROUTER_URL", f"{server.url}/v1")
    monkeypatch.setattr("hfclient.inference.routing.candidates.ROUTER_URL", f"{server.url}/v1")
    mapping = {"together": {"status": "live", "providerId": "acme/talker-t", "task": "conversational"}}
    server.on("/api/models/acme/talker", json_answer({"id": "acme/talker", "inferenceProviderMapping": mapping}))
    server.on(CHAT, says(PARIS))
    other_server.on(CHAT, json_answer({"error": "busy"}, 503))
    transport = RequestsTransport()
    credentials = Credentials(token=Secret("hf_secret"), explicit=True, token_urls=[server.url])
    client = InferenceClient(
        Session(transport, credentials, retry=Retry(attempts=1)),
        base_url=f"{server.url}/v1",
        hub_url=server.url,
        provider_keys={"together": "tk"},
    )
    assert client.parse("The capital?", City, model="acme/talker", provider=["together", "novita"]).name == "Paris"
    assert other_server.last.json()["response_format"] == {"type": "json_schema", "schema": SCHEMA}
    assert server.last.json()["response_format"]["json_schema"]["schema"] == SCHEMA
    assert next(iter(server.last.json())) == "model"
    transport.close()


def test_not_strict(server: Server, ask: Ask) -> None:
    """strict=False sends the schema of the class; a schema that strict mode does not allow is not sent as strict."""
    assert ask('{"name": "Paris"}', strict=False).result() == City("Paris", 0)
    sent = server.last.json()["response_format"]["json_schema"]
    assert sent["strict"] is False
    assert sent["schema"]["required"] == ["name"]
    assert "additionalProperties" not in sent["schema"]
    ask('{"value": {"a": 1}}', into=dict[str, int]).result()
    assert server.last.json()["response_format"]["json_schema"]["strict"] is False


def test_invalid_arguments(server: Server, client: InferenceClient) -> None:
    """Types without a schema, unknown dialects and contradictions raise before a request is sent."""
    wrong: list[tuple[Any, dict[str, Any]]] = [
        (object, {}),
        (threading.Thread, {}),
        (City | DataCity, {}),
        (City, {"dialect": "klingon"}),
        (City, {"repair": -1}),
        (City, {"repair": None}),
        ({"type": "object"}, {}),
        ("City", {}),
    ]
    for into, options in wrong:
        with pytest.raises(InvalidInputError):
            client.parse("hi", into, model="m", **options)
    with pytest.raises(TypeError, match="the class says what the answer looks like"):
        client.parse("hi", City, model="m", response_format={"type": "json_object"})  # type: ignore[call-overload]
    assert server.requests == []


def test_union_of_plain_classes(client: InferenceClient) -> None:
    """A union of plain classes raises an error with the alternatives."""
    for into in (City | DataCity, list[City | DataCity]):
        with pytest.raises(InvalidInputError, match=r"City \| .*City.*tag=True"):
            client.parse("hi", into, model="m")


def test_reasoning_is_not_the_answer(ask: Ask) -> None:
    """An object in the reasoning is not the answer, even if its ``<think>`` is part of the prompt."""
    drafts = 'Perhaps {"name": "Lyon", "inhabitants": 1}?\n</think>\n{"name": "Paris", "inhabitants": 2}'
    for text in (drafts, f"<think>{drafts}"):
        assert ask(says(text)).result() == City("Paris", 2)


def test_tool_call_instead_of_an_answer(ask: Ask) -> None:
    """If the model calls a tool instead of answering, the error says so."""
    with pytest.raises(ParseError, match="called the tool 'look' instead"):
        ask(calls(call("look", {}, "a")), repair=0).result()


# Errors and cancellation


def test_status_error(ask: Ask) -> None:
    """A status error is raised at the call."""
    with pytest.raises(ServerError):
        ask(json_answer({"error": "down"}, 500))


def test_error_inside_the_answer(ask: Ask) -> None:
    """An error inside the answer is raised unchanged, with the partial answer, and is not repaired."""
    stream = ask([*begun(delta(content='{"name": "Par')), chunk(data({"error": {"message": "oom"}})), CLOSE])
    with pytest.raises(GenerationError) as caught:
        list(stream)
    assert caught.value.partial is not None
    assert caught.value.partial.text == '{"name": "Par'
    with pytest.raises(GenerationError):
        stream.result()


def test_leaving(server: Server, ask: Ask) -> None:
    """Leaving early closes the connection, and result() raises."""
    for leave in ("break", "with", "close"):
        server.client_gone.clear()
        stream = ask([*begun(delta(content='{"name": "Par')), UNTIL_GONE])
        if leave == "with":
            with stream:
                pass
        for draft in stream if leave != "with" else ():
            assert draft == {"name": "Par"}
            if leave == "break":
                break
            stream.close()
        assert server.client_gone.wait(PATIENCE)
        with pytest.raises(StreamConsumed):
            stream.result()


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_cancel(server: Server, ask: Ask, how: str) -> None:
    """Another thread ends the wait for an answer or a repaired one."""
    for answers in ([], ["no"]):
        stream = ask(*answers, [*begun(delta(content='{"name": "Par')), UNTIL_GONE])
        began = time.monotonic()
        with pytest.raises(Cancelled):  # noqa: PT012
            for _ in stream:
                threading.Timer(0.05, getattr(stream, how)).start()
        assert time.monotonic() - began < SOON


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_cancel_before_a_repaired_answer(server: Server, ask: Ask, how: str) -> None:
    """Another thread ends the wait for the head of a repaired answer."""
    asked = threading.Event()
    stream = ask("no", [lambda request: asked.set(), UNTIL_GONE])

    def stop() -> None:
        asked.wait(PATIENCE)
        getattr(stream, how)()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(Cancelled):
        stream.result()
    thread.join(PATIENCE)
    assert server.client_gone.wait(PATIENCE)
    assert len(server.requests) == 2


def test_total_covers_repairs(server: Server, ask: Ask, clock: FakeTime) -> None:
    """Timeouts.total is for all answers together."""
    late = [lambda _: clock.advance(0.4 * PATIENCE), *says("no")]
    with pytest.raises(TransportTimeout) as caught:
        ask(late, repair=50, timeouts=Timeouts(total=PATIENCE)).result()
    assert (caught.value.deadline, caught.value.seconds) == ("total", PATIENCE)
    assert len(server.requests) == 3


# Complete answers only


@define
class Node:
    name: str
    children: list[Node] = field(factory=list)


@define
class Defaults:
    title: str = ""
    tags: list[str] = field(factory=list)
    city: City | None = None


@dataclass
class DataDefaults:
    title: str = ""
    tags: list[str] = dataclass_field(default_factory=list)


class DictDefaults(TypedDict, total=False):
    title: str
    tags: list[str]


class StructDefaults(msgspec.Struct):
    title: str = ""
    tags: list[str] = []


TREE = '{"name": "root", "children": [{"name": "left", "children": []}, '


@pytest.mark.parametrize(
    ("into", "text"),
    [
        (Node, TREE + '{"name": "ri'),
        (Node, TREE + '{"name": "right"}'),
        (Node, TREE + '{"name": "right"} {"name": "x"}]}'),
        (Node, "Sure:\n```json\n" + TREE + "\n```"),
        (Node, "Sure: {'name': 'root', 'children': [{\"name\": \"left\"}]}"),
        (Node, '{name: "root", children: [{"name": "left"}'),
        (Node, '{/* a tree */ "name": "root", "children": [{"name": "left"}'),
        (Node, '{{"name": "root"}}'),
        (Node, '[{"name": "a"}, {"name": '),
        (Node, '{"name": "left", "children": []}]}'),
        (Node, '"name": "root", "left": {"name": "left"}, "size": 2}'),
        (Node, '{\n # a tree\n "name": "root", "left": {"name": "left"}'),
        (Node, "{\u201cname\u201d: \u201croot\u201d, \u201cleft\u201d: {\"name\": \"left\"}"),
        (Node, '{"name": "one"} or {"name": "two"}'),
        (list[Node], '{"value": [{"name": "a", "children": [{"name": "b", "children": []}]}, {"na'),
        (list[Node], '[{"name": "a", "children": [{"name": "b", "children": []}]}, {"na'),
        (list[int], '{"value": [1, [2, 3'),
        (dict[str, int], '{"a": {"b": 1}, "c'),
    ],
)
@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "a_new_word", None])
def test_part_of_broken_json(ask: Ask, into: Any, text: str, reason: str | None) -> None:
    """A value inside JSON that is broken, cut off, or without its start is not the answer."""
    with pytest.raises(ParseError) as caught:
        ask(says(text, reason=reason), into=into, repair=0).result()
    assert caught.value.raw == text


@pytest.mark.parametrize("into", [Defaults, DataDefaults, DictDefaults, StructDefaults, Defaults | None, list[Defaults]])
@pytest.mark.parametrize("text", ['{"error": "I cannot read this."}', "{}", '{"a": {"title": "x"}}'])
@pytest.mark.parametrize("strict", [True, False])
def test_object_without_known_keys(ask: Ask, into: Any, text: str, strict: bool) -> None:
    """An object with none of the class's keys is invalid, even if every field has a default."""
    text = f'{{"value": [{text}]}}' if into == list[Defaults] and text != "{}" else text
    with pytest.raises(ParseError):
        ask(text, into=into, repair=0, strict=strict).result()


@pytest.mark.parametrize("into", [Defaults, DataDefaults, DictDefaults, StructDefaults])
def test_unknown_keys(ask: Ask, into: Any) -> None:
    """With strict=True an unknown key is invalid; with strict=False it is ignored. Missing fields take their defaults."""
    text = '{"title": "x", "note": "y"}'
    with pytest.raises(ParseError, match="unknown key 'note'; known are: t"):
        ask(text, into=into, repair=0).result()
    made = ask(text, into=into, repair=0, strict=False).result()
    assert made == ask('{"title": "x"}', into=into, repair=0).result()


def test_keys_of_nested_objects(ask: Ask) -> None:
    """Keys of nested objects are checked, too, and the error has their path."""
    with pytest.raises(ParseError) as caught:
        ask('{"title": "x", "city": {"name": "Paris", "mayor": "y"}}', into=Defaults, repair=0).result()
    assert caught.value.path == "$.city"
    with pytest.raises(ParseError) as caught:
        ask('{"value": [{"name": "a"}, {"name": "b", "x": 1}]}', into=list[Node], repair=0).result()
    assert caught.value.path == "$.value[1]"
    free = '{"value": {"a": {"b": 1}}}'
    assert ask(free, into=dict[str, dict[str, int]], repair=0).result() == {"a": {"b": 1}}


class Cat(msgspec.Struct, tag="cat"):
    lives: int = 9


class Dog(msgspec.Struct, tag="dog"):
    barks: bool = True


def test_keys_of_a_union(ask: Ask) -> None:
    """For a union, the keys are checked against the class of the object, which the error names."""
    assert ask('{"type": "dog", "barks": false}', into=Cat | Dog, repair=0).result() == Dog(barks=False)
    with pytest.raises(ParseError, match="unknown key 'name'; known are: type, barks"):
        ask('{"value": {"type": "dog", "barks": false, "name": "x"}}', into=Cat | Dog, repair=0).result()
    with pytest.raises(ParseError, match="unknown key 'lives'; known are: type, barks"):  # a key of the other class
        ask('{"type": "dog", "lives": 9}', into=Cat | Dog, repair=0).result()


def test_keys_of_pydantic_models(ask: Ask) -> None:
    """Keys of pydantic models are checked by their aliases, unless the model allows extra keys."""
    pydantic = pytest.importorskip("pydantic")

    class Strict(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        title: str = pydantic.Field("", alias="theTitle")

    class Open(Strict):
        model_config = pydantic.ConfigDict(extra="allow")

    assert ask('{"theTitle": "x"}', into=Strict, repair=0).result().title == "x"
    for text in ('{"theTitle": "x", "note": 1}', '{"error": "no"}', "{}"):
        with pytest.raises(ParseError):
            ask(text, into=Strict, repair=0).result()
    assert ask('{"theTitle": "x", "note": 1}', into=Open, repair=0).result().note == 1


@pytest.mark.parametrize("text", ['{"name": "cut \\ud83d", "inhabitants": 1}', 'Here: {"name": "cut \\ud83d"}'])
def test_half_characters(ask: Ask, text: str) -> None:
    """Half a surrogate pair in the JSON becomes U+FFFD, in values and keys, drafts and objects."""
    stream = ask(text, repair=0)
    assert all(json.dumps(draft, ensure_ascii=False).encode() for draft in stream)
    assert stream.result().name == "cut \ufffd"
    made = ask('{"value": {"\\ud83d": "\\ude00", "b": "\\ud83d\\ude00"}}', into=dict[str, str], repair=0).result()
    assert made == {"\ufffd": "\ufffd", "b": "\U0001f600"}
    with pytest.raises(ParseError) as caught:
        ask('{"nam\\ud83d": "x"}', repair=0).result()
    assert str(caught.value).encode()


def test_refusal(server: Server, ask: Ask) -> None:
    """A refusal raises an error with its text, and is not repaired, even if its text is JSON."""
    for words in ("I cannot help with that.", PARIS):
        server.requests.clear()
        with pytest.raises(ParseError, match="the model refused") as caught:
            ask(chunked(delta(refusal=words), delta("stop"), DONE, headers=[SSE])).result()
        assert len(server.requests) == 1
        assert caught.value.partial is not None
        assert caught.value.partial.refusal == words


@pytest.mark.parametrize("reason", ["network_error", "error", "abort"])
def test_failure_as_finish_reason(ask: Ask, reason: str) -> None:
    """If the server fails, its error is raised, even if an object could be read."""
    with pytest.raises(GenerationError) as caught:
        ask(says(PARIS, reason=reason)).result()
    assert caught.value.partial is not None
    assert caught.value.partial.text == PARIS
