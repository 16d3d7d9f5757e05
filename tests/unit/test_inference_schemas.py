"""Schemas and dialects as values: pure functions on dicts."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import pytest
from attrs import define

from hfclient.errors import InvalidInputError
from hfclient.inference.schemas.dialects import DIALECTS, PROVIDER_DIALECTS, dialect_for, response_format
from hfclient.inference.schemas.json_schema import can_be_strict, map_schema, standalone_schema, strict_schema
from hfclient.inference.schemas.type_schemas import SchemaMismatch, convert, schema_of

INTEGER = {"type": "integer"}
OPEN = {"type": "object", "properties": {"a": INTEGER}}
CLOSED = {**OPEN, "required": ["a"], "additionalProperties": False}


class Cat(msgspec.Struct, tag=True):
    lives: int


class Dog(msgspec.Struct, tag=True):
    name: str


@define
class Node:
    """A node."""

    value: int
    next: Node | None = None


@define
class Title:
    title: str


def test_references_are_resolved() -> None:
    """References are replaced by definitions, also those of nested schemas; keywords next to them stay."""
    schema = {
        "$ref": "#/$defs/A",
        "$defs": {
            "A": {"title": "A", "type": "object", "properties": {"b": {"$ref": "#/$defs/B", "description": "x"}}},
            "B": {"title": "B", **INTEGER},
        },
    }
    assert standalone_schema(schema) == {
        "type": "object",
        "properties": {"b": {"type": "integer", "description": "x"}},
    }
    nested = {"type": "array", "items": {"$ref": "#/$defs/B", "$defs": {"B": INTEGER}}, "$defs": {"B": OPEN}}
    assert standalone_schema(nested) == {"type": "array", "items": INTEGER}
    odd = {"anyOf": [{"$ref": "#/$defs/a~1b~0c"}, {"$ref": "http://x/y"}, {"$ref": "#/$defs/none"}, True]}
    assert standalone_schema({**odd, "$defs": {"a/b~c": INTEGER}}) == {"anyOf": [INTEGER, *odd["anyOf"][1:]]}


def test_recursive_definitions_stay_references() -> None:
    """A recursive definition is kept once, and the root is an object."""
    schema = standalone_schema(schema_of(Node))
    assert (schema["type"], list(schema["$defs"])) == ("object", ["Node"])
    assert schema["properties"]["next"] == {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}], "default": None}
    strict = strict_schema(schema)
    assert strict["$defs"]["Node"]["required"] == ["value", "next"]
    assert can_be_strict(strict)


def test_many_expansions_end() -> None:
    """Definitions that would grow to a million copies stay references after some hundred."""
    defs = {f"L{n}": {"anyOf": [{"$ref": f"#/$defs/L{n + 1}"}, {"$ref": f"#/$defs/L{n + 1}"}]} for n in range(20)}
    schema = standalone_schema({"$ref": "#/$defs/L0", "$defs": {**defs, "L20": INTEGER}})
    assert len(str(schema)) < 200_000


def test_titles_are_removed_but_not_fields_named_title() -> None:
    """A field called title stays."""
    assert standalone_schema(schema_of(Title)) == {
        "type": "object",
        "properties": {"title": {"type": "string"}},
        "required": ["title"],
    }


def test_strict() -> None:
    """All objects, at any depth, require all their properties and allow no others; unsupported keywords are removed."""
    schema = {
        "type": "object",
        "properties": {
            "list": {"type": "array", "items": OPEN, "uniqueItems": True},
            "either": {"oneOf": [OPEN, INTEGER], "discriminator": {"propertyName": "type"}},
            "pair": {"type": "array", "prefixItems": [INTEGER, {"type": "string"}], "items": False, "minItems": 2},
            "same": {"type": "array", "prefixItems": [INTEGER, INTEGER], "items": False},
            "word": {"type": "string", "default": "x"},
            "properties": INTEGER,
        },
        "required": ["list"],
        "$defs": {"D": OPEN},
    }
    before = map_schema(schema, dict)
    assert strict_schema(schema) == {
        "type": "object",
        "properties": {
            "list": {"type": "array", "items": CLOSED},
            "either": {"anyOf": [CLOSED, INTEGER]},
            "pair": {"type": "array", "items": {"anyOf": [INTEGER, {"type": "string"}]}, "minItems": 2},
            "same": {"type": "array", "items": INTEGER},
            "word": {"type": "string"},
            "properties": INTEGER,
        },
        "required": ["list", "either", "pair", "same", "word", "properties"],
        "additionalProperties": False,
        "$defs": {"D": CLOSED},
    }
    assert schema == before
    assert strict_schema(strict_schema(schema)) == strict_schema(schema)


@pytest.mark.parametrize(
    ("annotation", "possible"),
    [
        (Title, True),
        (Node, True),
        (Cat | Dog, True),
        (list[Title], True),
        (Literal["a"], True),
        (dict[str, int], False),
        (list[dict[str, int]], False),
        (dict, False),
        (Any, False),
        (list[Any], False),
        (list, False),
    ],
    ids=str,
)
def test_what_can_be_strict(annotation: Any, possible: bool) -> None:
    """Schemas with arbitrary keys or values cannot be strict."""
    assert can_be_strict(strict_schema(standalone_schema(schema_of(annotation)))) is possible


def test_tagged_unions() -> None:
    """A union of tagged Structs has a schema and converts to the right class."""
    schema = strict_schema(standalone_schema(schema_of(Cat | Dog)))
    assert [part["properties"]["type"] for part in schema["anyOf"]] == [
        {"type": "string", "enum": ["Cat"]},
        {"type": "string", "enum": ["Dog"]},
    ]
    assert convert({"type": "Dog", "name": "Rex"}, Cat | Dog) == Dog("Rex")


@pytest.mark.parametrize("annotation", [object, type, msgspec.json.Decoder, Title | Node, list[object]], ids=str)
def test_types_without_schema(annotation: Any) -> None:
    """Types without a JSON form are refused with a reason."""
    with pytest.raises(InvalidInputError, match=r"has no JSON schema: ."):
        schema_of(annotation)


def test_mismatches() -> None:
    """A value that does not fit gives the reason and the position; so does extreme nesting."""
    for value, annotation, path, reason in [
        ([1, "x"], list[int], "$[1]", "Expected `int`, got `str`"),
        ({"value": 1, "next": {"value": "x"}}, Node, "$.next.value", "Expected `int`, got `str`"),
        ({}, Title, "$", "Object missing required field `title`"),
    ]:
        with pytest.raises(SchemaMismatch) as caught:
            convert(value, annotation)
        assert (caught.value.path, caught.value.reason) == (path, reason)
    deep: Any = {"value": 0}
    for _ in range(100_000):
        deep = {"value": 0, "next": deep}
    with pytest.raises(SchemaMismatch, match="too deeply"):
        convert(deep, Node)
    while deep:  # released level by level
        deep = deep.pop("next", None)


# Dialects


def test_every_dialect_has_a_form() -> None:
    """Each dialect gives request fields; unknown ones are refused; all dialects of providers exist."""
    for dialect in DIALECTS:
        assert isinstance(response_format(CLOSED, name="x", dialect=dialect), dict)
    assert set(PROVIDER_DIALECTS.values()) <= set(DIALECTS)
    with pytest.raises(InvalidInputError, match="unknown dialect"):
        response_format(CLOSED, name="x", dialect="latin")


@pytest.mark.parametrize(
    ("name", "sent"),
    [("Person", "Person"), ("list[Person]", "list_Person"), ("Größe", "Gr_e"), ("", "answer"), ("x" * 99, "x" * 64)],
)
def test_names(name: str, sent: str) -> None:
    """Names are made of characters that servers accept."""
    fields = response_format(CLOSED, name=name, dialect="openai")
    assert fields["response_format"]["json_schema"]["name"] == sent


@pytest.mark.parametrize(
    ("base_url", "provider", "dialect"),
    [
        ("https://router.huggingface.co/v1", None, "openai"),
        ("https://router.huggingface.co/v1/", None, "openai"),
        ("https://router.huggingface.co/cohere/compatibility/v1", None, "json_object"),
        ("https://router.huggingface.co/hf-inference/models/a/b/v1", None, "tgi"),
        ("https://router.huggingface.co/groq/openai/v1", None, "openai"),
        ("https://api.together.xyz/v1", None, "together"),
        ("https://api.fireworks.ai/inference/v1/chat/completions", None, "json_object"),
        ("http://localhost:8080", None, "openai"),
        ("https://x.us-east-1.aws.endpoints.huggingface.cloud", None, "openai"),
        ("http://localhost:8080", "hf-inference", "tgi"),
        ("http://localhost:8080", "new-provider", "openai"),
    ],
)
def test_dialects_by_address(base_url: str, provider: str | None, dialect: str) -> None:
    """The address, or a provider's name, determines the dialect."""
    assert dialect_for(base_url, provider) == dialect
