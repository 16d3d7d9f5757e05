"""Transformations of JSON schemas: pure functions. `type_schemas` makes the schema of a Python type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

__all__ = ["can_be_strict", "map_schema", "standalone_schema", "strict_schema"]

Schema = dict[str, Any]

# Keywords with schemas in them: by name, in a list, or a single one.
_BY_NAME = ("properties", "patternProperties", "$defs")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_ALONE = ("items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else")
_DEFS = "#/$defs/"
_MAX_EXPANSIONS = 500  # references that are expanded; the rest stay references, so that the schema does not grow without limit


def map_schema(schema: Any, change: Callable[[Schema], Schema]) -> Any:
    """Return *schema* with *change* applied to it and to all schemas in it, the inner ones first."""
    if not isinstance(schema, dict):
        return schema  # true and false are schemas, too
    new = dict(schema)
    for key in _BY_NAME:
        if isinstance(new.get(key), dict):
            new[key] = {name: map_schema(inner, change) for name, inner in new[key].items()}
    for key in _LISTS:
        if isinstance(new.get(key), list):
            new[key] = [map_schema(inner, change) for inner in new[key]]
    for key in _ALONE:
        if isinstance(new.get(key), dict):
            new[key] = map_schema(new[key], change)
    return change(new)


def _parts(schema: Any) -> Iterator[Schema]:
    """Yield *schema* and all schemas in it."""
    found: list[Schema] = []
    map_schema(schema, lambda part: found.append(part) or part)  # type: ignore[func-returns-value]
    yield from found


class _Expander:
    """Replaces references by their definitions; a recursive definition stays a reference."""

    def __init__(self) -> None:
        self.kept: dict[int, str] = {}  # definitions that stay, by identity, with their names in the result
        self.defs: Schema = {}
        self._waiting: list[tuple[Schema, Any]] = []
        self._scopes: dict[bytes, dict[str, Any]] = {}
        self._count = 0

    def expand(self, schema: Any, scope: dict[str, Any], around: frozenset[int]) -> Any:
        if not isinstance(schema, dict):
            return schema
        if isinstance(schema.get("$defs"), dict):
            scope = self._scope_of(schema["$defs"])
            schema = {key: value for key, value in schema.items() if key != "$defs"}
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference.startswith(_DEFS):
            name = reference.removeprefix(_DEFS).replace("~1", "/").replace("~0", "~")
            if name in scope:
                beside = {key: value for key, value in schema.items() if key != "$ref"}
                return {**self._follow(name, scope, around), **self._inside(beside, scope, around)}
        return self._inside(schema, scope, around)

    def _scope_of(self, defs: Schema) -> dict[str, Any]:
        """Return the definitions of a schema, each with those that it may refer to.

        Schemas of nested types have their own definitions. Equal definitions are shared, so that each is kept once.
        """
        known = msgspec.json.encode(defs, order="deterministic")
        if known not in self._scopes:
            scope = self._scopes[known] = {}
            scope.update((name, (inner, scope)) for name, inner in defs.items())
        return self._scopes[known]

    def _inside(self, schema: Schema, scope: dict[str, Any], around: frozenset[int]) -> Schema:
        new = dict(schema)
        for key in ("properties", "patternProperties"):
            if isinstance(new.get(key), dict):
                new[key] = {name: self.expand(inner, scope, around) for name, inner in new[key].items()}
        for key in _LISTS:
            if isinstance(new.get(key), list):
                new[key] = [self.expand(inner, scope, around) for inner in new[key]]
        for key in _ALONE:
            if key in new:
                new[key] = self.expand(new[key], scope, around)
        return new

    def _follow(self, name: str, scope: dict[str, Any], around: frozenset[int]) -> Schema:
        target, inner_scope = scope[name]
        self._count += 1
        if id(target) in around or self._count > _MAX_EXPANSIONS:
            if id(target) not in self.kept:
                unique = name
                while unique in self.kept.values():
                    unique += "_"
                self.kept[id(target)] = unique
                self._waiting.append((target, inner_scope))
            return {"$ref": _DEFS + self.kept[id(target)]}
        body: Schema = self.expand(target, inner_scope, around | {id(target)})
        return body

    def finish(self) -> Schema:
        while self._waiting:
            target, scope = self._waiting.pop()
            self.defs[self.kept[id(target)]] = self.expand(target, scope, frozenset({id(target)}))
        return self.defs


def standalone_schema(schema: Schema) -> Schema:
    """Return *schema* without references and titles: each reference is replaced by its definition.

        >>> standalone_schema({"$ref": "#/$defs/P", "$defs": {"P": {"type": "object", "title": "P"}}})
        {'type': 'object'}

    Some servers do not support references, text-generation-inference requires ``properties`` at the root, and OpenAI refuses
    a reference there. Recursive definitions stay under ``$defs``.
    """
    expander = _Expander()
    root = expander.expand(schema, {}, frozenset())
    if defs := expander.finish():
        root = {**root, "$defs": defs}
    result: Schema = map_schema(root, _tidy)
    return result


def _tidy(schema: Schema) -> Schema:
    new = {key: value for key, value in schema.items() if key != "title"}
    if new.get("required") == []:  # early drafts of JSON schema forbid an empty list
        del new["required"]
    if isinstance(new.get("enum"), list) and "type" not in new:  # several servers require a type
        kinds = {type(value) for value in new["enum"]}
        if kinds in ({str}, {int}):
            new = {"type": "string" if kinds == {str} else "integer", **new}
    return new


def strict_schema(schema: Schema) -> Schema:
    """Return *schema* in the form that OpenAI's strict mode requires.

    All properties are required and no others are allowed; defaults are removed, ``oneOf`` becomes ``anyOf``, and a tuple
    becomes a list of any of its types.

        >>> strict_schema({"type": "object", "properties": {"a": {"type": "integer", "default": 1}}})
        {'type': 'object', 'properties': {'a': {'type': 'integer'}}, 'required': ['a'], 'additionalProperties': False}
    """
    result: Schema = map_schema(schema, _strict)
    return result


def _strict(schema: Schema) -> Schema:
    new = {key: value for key, value in schema.items() if key not in ("default", "discriminator", "uniqueItems")}
    if isinstance(new.get("properties"), dict) and new["properties"]:
        new["required"] = list(new["properties"])
        new["additionalProperties"] = False
    if "oneOf" in new:
        new["anyOf"] = [*new.get("anyOf", []), *new.pop("oneOf")]
    if isinstance(new.get("prefixItems"), list):
        parts: list[Any] = []
        for part in new.pop("prefixItems"):
            if part not in parts:
                parts.append(part)
        rest = new.get("items", False)
        parts += [rest] if isinstance(rest, dict) and rest not in parts else []
        new["items"] = parts[0] if len(parts) == 1 else {"anyOf": parts}
    return new


def can_be_strict(schema: Schema) -> bool:
    """Return whether *schema*, after :func:`strict_schema`, may be sent with ``"strict": true``.

    Not allowed are objects with arbitrary keys (a ``dict``), and values or lists of any type.
    """
    for part in _parts(schema):
        if not part.keys() - {"description", "$defs"}:
            return False
        if part.get("type") == "object" and part.get("additionalProperties") is not False:
            return False
        if part.get("type") == "array" and not isinstance(part.get("items"), dict):
            return False
        if "patternProperties" in part or "allOf" in part or "not" in part:
            return False
    return True
