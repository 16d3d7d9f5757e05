"""What callers pass, looked at before it is used: a wrong argument is told at the call and by its name.

`checks_arguments` reads the annotations of a public method when it is called first, so that an import does not pay for it, and
refuses a value of another type with `InvalidInputError`. It knows plain types only: what a parameter with a type of its own takes (a prompt, a
file) is looked at by the function that reads it.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from hfclient.errors import InvalidInputError

__all__ = ["checked_limit", "checks_arguments"]

_C = TypeVar("_C", bound=type)
_Check = Callable[[Any], bool]


def checked_limit(limit: int | None) -> int | None:
    """Return *limit* if a list can have it: None, or a whole number that is not negative.

    Raises:
        InvalidInputError: It is something else.
    """
    if limit is not None and (not _is_whole(limit) or limit < 0):
        raise InvalidInputError(f"a limit is a whole number, 0 or more, not {limit!r}")
    return limit


def _is_number(value: Any) -> bool:
    return hasattr(type(value), "__float__") and not isinstance(value, (bool, str))


def _is_whole(value: Any) -> bool:  # numpy's numbers are no int
    return hasattr(type(value), "__index__") and not isinstance(value, bool)


def _is_truth(value: Any) -> bool:  # 1 and 0 are equal to them; numpy's are no bool
    return type(value).__name__ in ("bool", "bool_") or (isinstance(value, int) and value in (0, 1))


def _has_text_keys(value: Mapping[Any, Any]) -> bool:
    return all(isinstance(key, str) for key in value)


_KNOWN: dict[str, tuple[_Check, str]] = {
    "None": (lambda value: value is None, "None"),
    "str": (lambda value: isinstance(value, str), "a text"),
    "bool": (_is_truth, "True or False"),
    "int": (_is_whole, "a whole number"),
    "float": (_is_number, "a number"),
    "os.PathLike[str]": (lambda value: isinstance(value, os.PathLike), "a path"),
    "Iterable": (lambda value: isinstance(value, Iterable) and not isinstance(value, (str, bytes)), "a list"),
    "Mapping[str, Any]": (lambda value: isinstance(value, Mapping) and _has_text_keys(value), "a mapping of names to values"),
    "Mapping": (lambda value: isinstance(value, Mapping), "a mapping"),
    "Callable": (callable, "a function"),
}
_KNOWN["Sequence"] = _KNOWN["Iterable"]
_KNOWN["_Body"] = _KNOWN["Mapping[str, Any]"]
_KNOWN["SchemaFormat"] = (lambda value: type(value).__name__ == "SchemaFormat", "what parse() makes of a class")
_KNOWN["OnElicitation"] = _KNOWN["Approve"] = _KNOWN["Callable"]


def checks_arguments(cls: _C) -> _C:
    """Have the public methods of *cls* refuse arguments of another type than they are annotated with."""
    for name, member in list(vars(cls).items()):
        if inspect.isfunction(member) and not name.startswith("_"):
            setattr(cls, name, _checking(member))
    return cls


def _checks_of(function: Callable[..., Any]) -> dict[str, tuple[list[_Check], str]]:
    annotations: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        text = str(parameter.annotation)
        if parameter.kind is parameter.VAR_KEYWORD and text.startswith("Unpack["):  # options that a TypedDict lists
            options = function.__globals__[text.removeprefix("Unpack[").removesuffix("]")].__annotations__
            annotations.update((option, getattr(known, "__forward_arg__", known)) for option, known in options.items())
        elif parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            annotations[name] = parameter.annotation
    checks = {}
    for name, annotation in annotations.items():
        parts = [_KNOWN.get(part) or _KNOWN.get(part.partition("[")[0]) for part in _alternatives(annotation)]
        if parts and None not in parts:
            known = [part for part in parts if part is not None]
            checks[name] = [check for check, _ in known], " or ".join(words for _, words in known)
    return checks


def _alternatives(annotation: Any) -> list[str]:
    """Return the types of a union that is written with bars; empty for no annotation.

    >>> _alternatives("str | Mapping[str, int | None] | None")
    ['str', 'Mapping[str, int | None]', 'None']
    """
    found: list[str] = []
    if isinstance(annotation, str):
        for part in annotation.split(" | "):
            if found and found[-1].count("[") > found[-1].count("]"):
                found[-1] += f" | {part}"
            else:
                found.append(part)
    return found


def _checking(function: Callable[..., Any]) -> Callable[..., Any]:
    names: list[str] = []
    checks: dict[str, tuple[list[_Check], str]] = {}

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal names, checks
        if not names:
            checks = _checks_of(function)
            names = list(inspect.signature(function).parameters)
        for given in (zip(names, args, strict=False), kwargs.items()):
            for name, value in given:
                found = checks.get(name)
                if found is not None and not any(check(value) for check in found[0]):
                    raise InvalidInputError(f"{name} is {found[1]}, not {_kind(value)}")
        return function(*args, **kwargs)

    return call


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__
