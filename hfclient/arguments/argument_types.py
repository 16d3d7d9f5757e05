"""Type checks of arguments: a wrong one raises at the call and by its name, not somewhere below it.

The annotations of public methods are the source. Only plain types are checked here. A parameter with a type of its own
(a prompt, a file) is checked by the function that reads it.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from hfclient.arguments.option_hints import refuse_unknown
from hfclient.errors import InvalidInputError

__all__ = ["check_arguments", "check_limit"]

_Check = Callable[[Any], bool]


def check_limit(limit: int | None) -> int | None:
    """Return *limit* if it is None, or a whole number that is not negative.

    Raises:
        InvalidInputError: It is something else.
    """
    if limit is not None and (not _is_whole(limit) or limit < 0):
        raise InvalidInputError(f"limit must be a whole number, 0 or more, not {limit!r}")
    return limit


def _is_number(value: Any) -> bool:
    return hasattr(type(value), "__float__") and not isinstance(value, (bool, str))


def _is_whole(value: Any) -> bool:  # numpy's integers are not int
    return hasattr(type(value), "__index__") and not isinstance(value, bool)


def _is_truth(value: Any) -> bool:  # 1 and 0 equal them; numpy's are not bool
    return type(value).__name__ in ("bool", "bool_") or (isinstance(value, int) and value in (0, 1))


def _has_text_keys(value: Mapping[Any, Any]) -> bool:
    return all(isinstance(key, str) for key in value)


_KNOWN: dict[str, tuple[_Check, str]] = {
    "None": (lambda value: value is None, "None"),
    "str": (lambda value: isinstance(value, str), "a string"),
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
_KNOWN["SchemaFormat"] = (lambda value: type(value).__name__ == "SchemaFormat", "what parse() makes of a class")
_KNOWN["OnElicitation"] = _KNOWN["Approve"] = _KNOWN["Callable"]


def check_arguments(function: Callable[..., object], given: Mapping[str, Any]) -> None:
    """Check the arguments that *function* was called with; its first line calls this with ``locals()``.

        def rename(self, title: str, **options: Unpack[RenameOptions]) -> None:
            check_arguments(Conversation.rename, locals())

    Args:
        function: The function as its class has it. Its annotations are read at its first call, not at import.
        given: Arguments by their names. If *function* has ``**options: Unpack[SomeTypedDict]``, they stand under the name
            ``options``, and are checked against that `TypedDict`.

    Raises:
        TypeError: An option does not exist. The message says which one may have been meant.
        InvalidInputError: A value has another type than the annotation; the message names the argument.
    """
    parameters = _parameters_of(function)
    options = given.get(parameters.options_name)
    if options:
        refuse_unknown(function.__name__, options, parameters.names)
        _check_types(parameters.checks, options)
    _check_types(parameters.checks, given)


class _Parameters(NamedTuple):
    checks: dict[str, tuple[list[_Check], str]]  # by the name of the argument: any of these accepts it; what they want
    names: dict[str, None]  # all that can be passed by name, in order
    options_name: str  # of the parameter with two stars


@functools.cache
def _parameters_of(function: Callable[..., object]) -> _Parameters:
    annotations: dict[str, Any] = {}
    options_name = ""
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            options_name, text = name, str(parameter.annotation)
            if text.startswith("Unpack["):
                options = inspect.unwrap(function).__globals__[text.removeprefix("Unpack[").removesuffix("]")].__annotations__
                annotations.update((option, getattr(known, "__forward_arg__", known)) for option, known in options.items())
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            annotations[name] = parameter.annotation
    checks = {}
    for name, annotation in annotations.items():
        parts = [_KNOWN.get(part) or _KNOWN.get(part.partition("[")[0]) for part in _alternatives(annotation)]
        if parts and None not in parts:
            known = [part for part in parts if part is not None]
            checks[name] = [check for check, _ in known], " or ".join(words for _, words in known)
    return _Parameters(checks, dict.fromkeys(name for name in annotations if name not in ("self", "cls")), options_name)


def _check_types(checks: Mapping[str, tuple[list[_Check], str]], given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        found = checks.get(name)
        if found is None:
            continue
        for check in found[0]:
            if check(value):
                break
        else:
            raise InvalidInputError(f"{name} must be {found[1]}, not {_kind(value)}")


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


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__
