"""Checks that an object has the keys of its schema. `type_schemas` checks types and required keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hfclient.inference.schemas.json_schema import Schema
from hfclient.inference.schemas.type_schemas import SchemaMismatch

__all__ = ["check_keys"]

_DEFS = "#/$defs/"
_KINDS: Mapping[type, tuple[str, ...]] = {
    dict: ("object",),
    list: ("array",),
    str: ("string",),
    bool: ("boolean",),
    int: ("integer", "number"),
    float: ("number",),
    type(None): ("null",),
}


def check_keys(value: Any, schema: Schema, *, strict: bool) -> None:
    """Check the objects in a JSON value of the right type.

    Args:
        value: A decoded JSON value.
        schema: The schema of its type, from `standalone_schema`, before `strict_schema`.
        strict: Refuse keys that are not in the schema, unless it allows additional ones.

    Raises:
        SchemaMismatch: An object has none of the keys of its schema, even if each has a default; or, if *strict*, it has
            another key.
    """
    try:
        _check(value, schema, schema.get("$defs", {}), strict, "$")
    except RecursionError:
        raise SchemaMismatch("it is nested too deeply") from None


def _resolved(schema: Any, defs: Schema) -> Schema:
    if not isinstance(schema, dict):
        return {}
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith(_DEFS):
        target = defs.get(reference.removeprefix(_DEFS))
        return target if isinstance(target, dict) else {}
    return schema


def _check(value: Any, schema: Any, defs: Schema, strict: bool, path: str) -> None:
    if not isinstance(value, (dict, list)):
        return
    schema = _resolved(schema, defs)
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list):
            _check_any(value, schema[key], defs, strict, path)
    if isinstance(value, list):
        firsts = schema.get("prefixItems") or []
        for number, item in enumerate(value):
            inner = firsts[number] if number < len(firsts) else schema.get("items")
            _check(item, inner, defs, strict, f"{path}[{number}]")
        return
    known = schema.get("properties") or {}
    patterns = schema.get("patternProperties") or {}
    others = schema.get("additionalProperties")
    if known and (value or path == "$") and known.keys().isdisjoint(value):  # below the root, an empty object means the defaults
        raise SchemaMismatch(f"the object has none of the requested keys: {', '.join(known)}", path)
    for key, item in value.items():
        inner = known.get(key)
        if inner is None:
            inner = next((found for pattern, found in patterns.items() if re.search(pattern, key)), others)
        if known and strict and not inner and key not in known:
            raise SchemaMismatch(f"unknown key {key!r}; known are: {', '.join(known)}", path)
        _check(item, inner, defs, strict, f"{path}.{key}")


def _check_any(value: Any, schemas: list[Any], defs: Schema, strict: bool, path: str) -> None:
    """Check a value against several schemas: it must pass for one that matches its type."""
    trouble: SchemaMismatch | None = None
    for schema in sorted(schemas, key=lambda schema: _overlap(value, _resolved(schema, defs)), reverse=True):
        kind = _resolved(schema, defs).get("type")
        kinds = kind if isinstance(kind, list) else [kind]
        if kind is not None and not any(name in kinds for name in _KINDS.get(type(value), ())):
            continue
        if _excludes(value, _resolved(schema, defs)):
            continue
        try:
            _check(value, schema, defs, strict, path)
        except SchemaMismatch as misfit:
            trouble = trouble or misfit
        else:
            return
    if trouble is not None:
        raise trouble


def _excludes(value: Any, schema: Schema) -> bool:
    """Return whether a field of an object, such as a tag, excludes *schema*."""
    known = schema.get("properties")
    if not isinstance(value, dict) or not isinstance(known, dict):
        return False
    fields = [(value[key], inner) for key, inner in known.items() if key in value and isinstance(inner, dict)]
    return any(
        ("const" in inner and inner["const"] != item) or (isinstance(inner.get("enum"), list) and item not in inner["enum"])
        for item, inner in fields
    )


def _overlap(value: Any, schema: Schema) -> int:
    """Return how many keys of an object are in a schema: errors are reported for the most similar schema."""
    known = schema.get("properties")
    return len(known.keys() & value.keys()) if isinstance(value, dict) and isinstance(known, dict) else 0
