"""JSON schemas of Python types, and conversion of JSON values to these types.

msgspec handles builtins, ``Literal``, enums, unions, dataclasses, attrs classes, TypedDicts, NamedTuples and its own Structs;
pydantic handles pydantic's classes. pydantic is not imported here: a program with such a class has imported it already.
"""

from __future__ import annotations

import dataclasses
import inspect
import pathlib
import sys
import typing
from typing import Any

import attrs
import msgspec
import msgspec.structs
from attrs import has as is_attrs_class

from hfclient.errors import InvalidInputError
from hfclient.inference.schemas.docstrings import parse_docstring
from hfclient.inference.schemas.json_schema import Schema

__all__ = ["SchemaMismatch", "annotated_description", "convert", "schema_of"]

_UNION_HINT = (
    ". Make them pydantic models, or msgspec Structs with tag=True (then a field of the object names its class), or one "
    "class with a field for each, all but one of them None"
)


class SchemaMismatch(ValueError):
    """A JSON value does not fit a type.

    Attributes:
        reason: The reason, as a sentence without a final dot.
        path: The position, such as ``$.people[0].age``; ``$`` is the whole value.
    """

    def __init__(self, reason: str, path: str = "$") -> None:
        super().__init__(reason if path == "$" else f"{reason} - at `{path}`")
        self.reason = reason
        self.path = path


def schema_of(annotation: Any) -> Schema:
    """Return the JSON schema of a type as a new dict; `standalone_schema` resolves its references.

    The descriptions of fields come from the ``Attributes:`` section of the class's docstring, or a string in ``Annotated``.

    Raises:
        InvalidInputError: The type has no JSON schema, or a name in an annotation is undefined.
    """
    if isinstance(annotation, (str, dict)):
        what = "a name" if isinstance(annotation, str) else "a schema, which goes into chat(response_format=...)"
        raise InvalidInputError(f"a type is expected, such as a class, not {what}: {annotation!r}")
    try:
        if _is_pydantic(annotation):
            return dict(_pydantic().TypeAdapter(annotation).json_schema())
        (schema,), defs = msgspec.json.schema_components(
            [annotation], schema_hook=_schema_hook, ref_template="#/$defs/{name}"
        )
        _add_descriptions(annotation, defs)
        return {**schema, "$defs": defs} if defs else schema
    except NameError as error:
        raise InvalidInputError(
            f"{_name(annotation)} has an annotation with an undefined name ({error}); define it at the top level of a module"
        ) from error
    except (TypeError, msgspec.MsgspecError) as error:
        line = _first_line(error)
        # A JSON object would not show which of the classes it is.
        hint = _UNION_HINT if "may not contain more than one" in line else ""
        raise InvalidInputError(f"{_name(annotation)} has no JSON schema: {line}{hint}") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "pydantic":
            raise
        raise InvalidInputError(f"{_name(annotation)} has no JSON schema: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(":- ")


def _name(annotation: Any) -> str:
    named = None if typing.get_args(annotation) else getattr(annotation, "__qualname__", None)
    return named or str(annotation)


# Descriptions


def annotated_description(annotation: Any) -> str | None:
    """Return the description in ``Annotated``: a string, or the description of pydantic's ``Field``."""
    for note in getattr(annotation, "__metadata__", ()):
        text = note if isinstance(note, str) else getattr(note, "description", None)
        if isinstance(text, str) and text:
            return text
    return None


def _add_descriptions(annotation: Any, defs: Schema) -> None:
    """Describe the classes among *defs* and their fields, in place."""
    classes: dict[str, list[type]] = {}
    seen: set[int] = set()
    waiting = [annotation]
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        waiting += typing.get_args(found)
        if isinstance(found, type) and found.__name__ in defs:
            classes.setdefault(found.__name__, []).append(found)
            waiting += _hints(found).values()
    for name, candidates in classes.items():
        if len(candidates) == 1:  # otherwise msgspec uses longer names
            _add_description(candidates[0], defs[name])


def _add_description(cls: type, schema: Schema) -> None:
    docstring = parse_docstring(inspect.cleandoc(schema.pop("description", "")))
    if docstring.description:
        schema["description"] = docstring.description
    for name, hint in _hints(cls).items():
        text = annotated_description(hint) or docstring.parameters.get(name)
        field = schema.get("properties", {}).get(name)
        if text and isinstance(field, dict):
            field.setdefault("description", text)
    if is_attrs_class(cls):
        for attribute in attrs.fields(cls):
            if not attribute.init:
                schema.get("properties", {}).pop(attribute.name, None)


def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except Exception:  # noqa: BLE001 (annotations may raise anything; msgspec reports invalid ones)
        return {}


# JSON to objects


def convert(value: Any, annotation: Any, *, lax: bool = False) -> Any:
    """Return the JSON value *value* as *annotation*.

    Args:
        value: A decoded JSON value.
        annotation: A type that `schema_of` supports.
        lax: Accept ``"5"`` for 5 and the like, if the strict conversion fails.

    Raises:
        SchemaMismatch: The value does not fit.
    """
    try:
        if _is_pydantic(annotation):
            return _validate(annotation, value)
        try:
            return _reconstructed(msgspec.convert(value, annotation, dec_hook=_dec_hook))
        except msgspec.ValidationError:
            if not lax:
                raise
            try:
                loose = msgspec.convert(value, annotation, dec_hook=_dec_hook, strict=False)
            except msgspec.ValidationError:
                loose = None
            else:
                return _reconstructed(loose)
            raise
    except msgspec.ValidationError as error:
        raise _mismatch(error) from error
    except RecursionError:
        raise SchemaMismatch("it is nested too deeply") from None


def _mismatch(error: msgspec.ValidationError) -> SchemaMismatch:
    reason, at, path = str(error).rpartition(" - at `")
    reason, path = (reason, path[:-1]) if at and path.endswith("`") else (str(error), "$")
    inner = error.__cause__  # from a pydantic class inside another class
    if isinstance(inner, SchemaMismatch):
        return SchemaMismatch(inner.reason, path + inner.path[1:])
    return SchemaMismatch(reason, path)


def _reconstructed(value: Any, path: str = "$") -> Any:
    """Return *value* with attrs objects created by their own constructors where necessary.

    msgspec sets the fields of attrs objects one by one: validators run, but converters do not, and the model could set fields
    with ``init=False``.
    """
    cls = type(value)
    if cls is list or cls is tuple:
        items = [_reconstructed(item, f"{path}[{number}]") for number, item in enumerate(value)]
        return value if all(new is old for new, old in zip(items, value, strict=True)) else cls(items)
    if cls is dict:
        changed = {key: _reconstructed(item, f"{path}.{key}") for key, item in value.items()}
        return value if all(changed[key] is value[key] for key in value) else changed
    names = _field_names(cls)
    now = {name: _reconstructed(getattr(value, name), f"{path}.{name}") for name in names}
    changed = {name: item for name, item in now.items() if item is not getattr(value, name)}
    if is_attrs_class(cls):
        fields = attrs.fields(cls)
        if changed or any(field.converter or not field.init for field in fields):
            try:
                return cls(**{field.alias: now[field.name] for field in fields if field.init})
            except (TypeError, ValueError) as error:
                raise SchemaMismatch(str(error), path) from error
    for name, item in changed.items():
        if isinstance(value, msgspec.Struct):
            msgspec.structs.force_setattr(value, name, item)
        else:
            object.__setattr__(value, name, item)
    return value


def _field_names(cls: type) -> list[str]:
    if is_attrs_class(cls):
        return [field.name for field in attrs.fields(cls)]
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls)]
    return list(cls.__struct_fields__) if issubclass(cls, msgspec.Struct) else []


def _schema_hook(cls: type) -> Schema:
    if _is_pydantic(cls):
        schema: Schema = _pydantic().TypeAdapter(cls).json_schema()
        return schema
    if issubclass(cls, pathlib.PurePath):
        return {"type": "string"}
    raise TypeError(f"{cls.__module__}.{cls.__qualname__} cannot be represented in JSON")


def _dec_hook(cls: type, value: Any) -> Any:
    if _is_pydantic(cls):
        return _validate(cls, value)
    if issubclass(cls, pathlib.PurePath) and isinstance(value, str):
        return cls(value)
    raise ValueError(f"Expected `{cls.__qualname__}`, got `{type(value).__name__}`")


# pydantic


def _pydantic() -> Any:
    return sys.modules["pydantic"]


def _is_pydantic(annotation: Any) -> bool:
    """Return whether *annotation* is a pydantic class, or a list, a union, ... of one."""
    if "pydantic" not in sys.modules:
        return False
    if isinstance(annotation, type) and hasattr(annotation, "__pydantic_validator__"):
        return True
    return any(_is_pydantic(argument) for argument in typing.get_args(annotation) if argument is not annotation)


def _validate(annotation: Any, value: Any) -> Any:
    """Return *value* as pydantic reads it from JSON: in JSON mode, a strict model accepts a string for a date, too."""
    try:
        return _pydantic().TypeAdapter(annotation).validate_json(msgspec.json.encode(value))
    except _pydantic().ValidationError as error:
        raise _pydantic_mismatch(error) from error


def _pydantic_mismatch(error: Any) -> SchemaMismatch:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    paths = ["$" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in item["loc"]) for item in problems]
    first = problems[0]["msg"] if problems else str(error)
    others = [f"{item['msg']} (at {path})" for path, item in zip(paths[1:], problems[1:], strict=False)]
    return SchemaMismatch("; ".join([first, *others[:4]]), paths[0] if paths else "$")


