r"""``{name}`` in a prompt: the value of a variable of the notebook.

IPython's own expansion evaluates everything between braces and reads ``$`` as well, so code, JSON and LaTeX would change. Here a
``{name}`` is replaced only if

- it is a name, with attributes or indices (``{city}``, ``{row.title}``, ``{scores[0]}``, ``{data["x"]}``), and a format or
  conversion (``{price:.2f}``, ``{text!r}``);
- the notebook has a variable of that name that is not a module, a class or a function;
- no brace, backslash, letter, digit, ``_``, ``^``, ``$`` or ``}`` is directly before it, and no brace after it: ``{{name}}``,
  ``\frac{a}{b}``, ``x_{i}`` and ``${HOME}`` stay.

All other braces stay as they are. Nothing is called except what an attribute, an index and ``format`` call.
"""

from __future__ import annotations

import ast
import builtins
import re
import types
from collections.abc import Callable, Mapping
from typing import Any

from IPython.core.error import UsageError

__all__ = ["expand", "value_of"]

_NAME = r"(?P<name>[A-Za-z_]\w*)"
_INDEX = r"""-?\d+|"[^"\\{}\n]*"|'[^'\\{}\n]*'"""
_PATH = rf"(?P<path>(?:\.[A-Za-z_]\w*|\[(?:{_INDEX})\])*)"
_FORM = r"(?:!(?P<conversion>[rsa]))?(?::(?P<format>[^{}\n]*))?"
_FIELD = re.compile(rf"(?<![{{}}\\\w^$])\{{{_NAME}{_PATH}{_FORM}\}}(?!\}})")
_STEP = re.compile(rf"\.(\w+)|\[({_INDEX})\]")
_HUGE = re.compile(r"\d{5}")  # a width or a precision
_CONVERSIONS: dict[str, Callable[[Any], str]] = {"r": repr, "s": str, "a": ascii}


def expand(text: str, variables: Mapping[str, Any]) -> str:
    """Return *text* with each ``{name}`` of *variables* replaced.

    Raises:
        UsageError: The variable exists, and has no such attribute, index or format.
    """

    def replaced(found: re.Match[str]) -> str:
        if not _is_value(found["name"], variables):
            return found[0]
        value = _follow(found, variables)
        if _HUGE.search(found["format"] or ""):
            raise UsageError(f"{found[0]}: the format makes a text of a huge length (--raw sends braces as they are)")
        try:
            if found["conversion"]:
                value = _CONVERSIONS[found["conversion"]](value)
            return format(value, found["format"] or "") if found["format"] else str(value)
        except (TypeError, ValueError) as error:
            raise _wrong(found[0], error) from None

    return _FIELD.sub(replaced, text)


def value_of(text: str, variables: Mapping[str, Any]) -> Any:
    """Return the object if *text* is one ``{name}`` and nothing else, and the expanded text otherwise."""
    found = _FIELD.fullmatch(text)
    if found is None or found["conversion"] or found["format"] or not _is_value(found["name"], variables):
        return expand(text, variables)
    return _follow(found, variables)


def _is_value(name: str, variables: Mapping[str, Any]) -> bool:
    if name not in variables:
        return False
    kinds = (types.ModuleType, type, types.FunctionType, types.BuiltinFunctionType, types.MethodType)
    return not isinstance(variables[name], kinds) and not hasattr(builtins, name)


def _follow(found: re.Match[str], variables: Mapping[str, Any]) -> Any:
    value = variables[found["name"]]
    for attribute, index in _STEP.findall(found["path"]):
        try:
            value = getattr(value, attribute) if attribute else value[ast.literal_eval(index)]
        except Exception as error:  # noqa: BLE001 (of the user's class)
            raise _wrong(found[0], error) from None
    return value


def _wrong(field: str, error: Exception) -> UsageError:
    return UsageError(f"{field}: {type(error).__name__}: {error} (--raw sends braces as they are)")
