"""Python functions as tools: their JSON schema from signature and docstring, and calls with a model's arguments."""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import msgspec
from attrs import field, frozen

from hfclient.decoding.utf16 import repair_surrogates
from hfclient.errors import InvalidInputError
from hfclient.files.media_types import sniff
from hfclient.inference.schemas.docstrings import Docstring, parse_docstring
from hfclient.inference.schemas.json_schema import Schema, standalone_schema
from hfclient.inference.schemas.type_schemas import SchemaMismatch, annotated_description, convert, schema_of

__all__ = ["Tool", "ToolLike", "as_tools", "is_async", "tool_result_text", "wire_tools"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # function names that servers accept

ToolLike: TypeAlias = "Callable[..., Any] | Tool | Mapping[str, Any]"
"""A function, a `Tool`, or a JSON schema ``{"type": "function", "function": {...}}``."""


@frozen
class _Parameter:
    """One parameter of a tool."""

    annotation: Any
    required: bool = True
    positional: bool = False


@frozen
class Tool:
    """A tool that a model may call.

        Tool.of(get_weather)                       # as run_tools does with a plain function
        Tool("lookup", "Look a word up.", {"type": "object", "properties": {...}}, function=lookup)

    Attributes:
        name: Letters, digits, ``_`` and ``-``, at most 64.
        description: What it does and when to use it, for the model.
        parameters: JSON schema of the arguments, an object.
        function: Called with the arguments as keywords; None for a tool that the caller runs.
    """

    name: str
    description: str = ""
    parameters: Schema = field(factory=lambda: {"type": "object", "properties": {}}, repr=False)
    function: Callable[..., Any] | None = field(default=None, repr=False)
    _signature: Mapping[str, _Parameter] | None = field(default=None, repr=False, eq=False)
    _raw: Mapping[str, Any] | None = field(default=None, repr=False, eq=False)

    @classmethod
    def of(cls, function: Callable[..., Any], *, name: str | None = None, description: str | None = None) -> Tool:
        """Return a tool for *function*.

        The schema comes from its signature: type hints (builtins, ``Literal``, enums, unions, ``list[...]``, dataclasses,
        attrs classes, TypedDicts, pydantic models, ...), defaults, and the descriptions of parameters in the docstring
        (Google, Sphinx or NumPy layout) or in ``Annotated[int, "..."]``. Arguments that a `functools.partial` sets are not
        shown to the model.

        Args:
            function: A function, a bound method, a partial, or an object with ``__call__``.
            name: The tool's name; None uses the function's.
            description: The tool's description; None uses the docstring's.

        Raises:
            InvalidInputError: The function is asynchronous, has ``*args`` or ``**kwargs``, has an invalid name, or a
                parameter's type has no JSON schema.
        """
        if isinstance(function, type) or not callable(function):
            raise InvalidInputError(f"a tool is a function, a Tool or a dict, not {function!r}")
        plain, fixed = _unwrapped(function)
        own_name = name or getattr(plain, "__name__", "") or type(plain).__name__
        if is_async(function):
            raise InvalidInputError(
                f"the tool {own_name!r} is asynchronous; give a plain function, such as one that calls asyncio.run()"
            )
        docstring = parse_docstring(_doc_of(plain))
        parameters, schema = _parameters(plain, fixed, own_name, docstring)
        return cls(
            name=_checked_name(own_name),
            description=docstring.description if description is None else description,
            parameters=schema,
            function=function,
            signature=parameters,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the tool as an entry of ``tools`` in a request."""
        if self._raw is not None:
            return dict(self._raw)
        shown: dict[str, Any] = {"name": self.name, "description": self.description, "parameters": self.parameters}
        if not self.description:
            del shown["description"]
        return {"type": "function", "function": shown}

    def call(self, arguments: Mapping[str, Any]) -> Any:
        """Call the function with a model's *arguments*, converted to the types in its signature, and return its result.

        Raises:
            SchemaMismatch: The arguments do not fit the signature; the message lists all problems.
            Exception: Any exception of the function.
        """
        if self.function is None:
            raise InvalidInputError(f"the tool {self.name!r} has no function to call")
        positional: list[Any] = []
        keywords: dict[str, Any] = dict(arguments)
        if self._signature is not None:
            positional, keywords = _converted(arguments, self._signature)
        result = self.function(*positional, **keywords)
        if inspect.iscoroutine(result):
            result.close()
            raise TypeError(f"the tool {self.name!r} is asynchronous: it returned a coroutine instead of a result")
        return result


def as_tools(tools: Iterable[ToolLike]) -> list[Tool]:
    """Return *tools* as `Tool` objects.

    Raises:
        InvalidInputError: An entry cannot be a tool, or two have the same name.
    """
    if isinstance(tools, (str, Mapping)) or not isinstance(tools, Iterable):
        raise InvalidInputError("tools is a list of functions, Tool objects or dicts")
    made = [_as_tool(tool) for tool in tools]
    names = [tool.name for tool in made]
    for name in names:
        if name and names.count(name) > 1:
            raise InvalidInputError(f"two tools are called {name!r}; rename one with Tool.of(f, name=...)")
    return made


def wire_tools(tools: Iterable[ToolLike] | None) -> list[dict[str, Any]] | None:
    """Return the ``tools`` of a request; None without tools."""
    return [tool.to_dict() for tool in as_tools(tools)] or None if tools is not None else None


def _as_tool(tool: ToolLike) -> Tool:
    if isinstance(tool, Tool):
        return tool
    if isinstance(tool, Mapping):
        shown = tool.get("function")
        shown = shown if isinstance(shown, Mapping) else tool  # built-in tools of servers have no function
        name = shown.get("name")
        return Tool(name if isinstance(name, str) else "", raw=tool)
    return Tool.of(tool)


# A function's signature


def _unwrapped(function: Callable[..., Any]) -> tuple[Callable[..., Any], inspect.Signature]:
    """Return the function inside of partials, and the signature without the arguments that they set."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"the signature of {function!r} is not available; wrap it in a Python function") from error
    hidden: set[str] = set()
    plain = function
    while isinstance(plain, functools.partial):
        hidden |= plain.keywords.keys()
        plain = plain.func
    kept = [parameter for name, parameter in signature.parameters.items() if name not in hidden]
    if kept and kept[0].name in ("self", "cls") and kept[0].annotation is kept[0].empty:
        raise InvalidInputError(f"{function!r} is an unbound method; pass the method of an object: thing.method")
    return plain, signature.replace(parameters=kept)


def is_async(function: Callable[..., Any]) -> bool:
    """Return whether a call of *function* returns an awaitable."""
    plain = function
    while isinstance(plain, functools.partial):
        plain = plain.func
    called = plain if inspect.isroutine(plain) else type(plain).__call__
    # Without inspect.unwrap: a wrapper may exist to make the function synchronous.
    return any(inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one) for one in (plain, called))


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"{name!r} is not a valid name of a tool (letters, digits, _ and -, at most 64); set one with Tool.of(f, name=...)"
        )
    return name


def _doc_of(plain: Callable[..., Any]) -> str | None:
    if inspect.isroutine(plain):
        return inspect.getdoc(plain)
    # For an object, the docstring of __call__ is preferred to the class's; type.__call__ has one of its own.
    own = type(plain).__call__.__doc__
    docstring = own if own and own != type.__call__.__doc__ else type(plain).__doc__
    return inspect.cleandoc(docstring) if docstring else None


def _parameters(
    plain: Callable[..., Any], signature: inspect.Signature, name: str, docstring: Docstring
) -> tuple[dict[str, _Parameter], Schema]:
    hints = _hints(plain, name)
    parameters: dict[str, _Parameter] = {}
    for key, parameter in signature.parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise InvalidInputError(
                f"the tool {name!r} has {parameter}, which a model cannot fill in; name its parameters (a decorator hides "
                "them unless it uses functools.wraps)"
            )
        annotation = hints.get(key, Any)
        if parameter.default is None and annotation is not Any:
            annotation = typing.Optional[annotation]  # noqa: UP045 (a value, not a hint)
        parameters[key] = _Parameter(
            annotation, parameter.default is parameter.empty, parameter.kind is parameter.POSITIONAL_ONLY
        )
    properties: Schema = {}
    for key, taken in parameters.items():
        schema = _schema(key, taken, name)
        if text := annotated_description(hints.get(key)) or docstring.parameters.get(key):
            schema["description"] = text
        default = signature.parameters[key].default
        if not taken.required and default is not None:
            schema.update(_default(default))
        properties[key] = schema
    whole: Schema = {"type": "object", "properties": properties}
    if required := [key for key, taken in parameters.items() if taken.required]:
        whole["required"] = required
    return parameters, standalone_schema(whole)


def _hints(plain: Callable[..., Any], name: str) -> dict[str, Any]:
    function = plain if inspect.isroutine(plain) else type(plain).__call__
    function = inspect.unwrap(function)
    known: dict[str, Any] = {}
    code = getattr(function, "__code__", None)
    for free, cell in zip(getattr(code, "co_freevars", ()), getattr(function, "__closure__", None) or (), strict=False):
        try:
            known[free] = cell.cell_contents
        except ValueError:
            continue  # not assigned yet
    try:
        return typing.get_type_hints(function, localns=known or None, include_extras=True)
    except Exception as error:
        raise InvalidInputError(f"an annotation of the tool {name!r} cannot be evaluated: {error}") from error


def _schema(key: str, parameter: _Parameter, name: str) -> Schema:
    try:
        return schema_of(parameter.annotation)
    except InvalidInputError as error:
        raise InvalidInputError(
            f"a model cannot fill in the parameter {key!r} of the tool {name!r}: {error.message}; functools.partial can set "
            "its value"
        ) from error


def _default(value: Any) -> Schema:
    try:
        return {"default": msgspec.to_builtins(value)}
    except (TypeError, ValueError):
        return {}  # not a JSON value; the parameter stays optional


# Calls


def _converted(arguments: Mapping[str, Any], parameters: Mapping[str, _Parameter]) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments by position and by keyword; raises `SchemaMismatch` with all problems."""
    problems = [
        f"unknown argument {key!r}; known are: {', '.join(parameters) or 'none'}"
        for key in arguments
        if key not in parameters
    ]
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    skipped = False
    for key, parameter in parameters.items():
        if key not in arguments:
            if parameter.required:
                problems.append(f"the argument {key!r} is missing")
            skipped = skipped or parameter.positional
            continue
        if skipped and parameter.positional:
            problems.append(f"the argument {key!r} needs those before it")
            continue
        try:
            value = convert(arguments[key], parameter.annotation, lax=True)
        except SchemaMismatch as misfit:
            problems.append(f"{misfit.reason} - at `{key}{misfit.path[1:]}`")
            continue
        if parameter.positional:
            positional.append(value)
        else:
            keywords[key] = value
    if problems:
        raise SchemaMismatch("; ".join(problems))
    return positional, keywords


def tool_result_text(result: Any) -> tuple[str, Any]:
    """Return the result of a function as text for the model and as a JSON value (None for plain text and for bytes).

        >>> tool_result_text("18 degrees"), tool_result_text({"temp": 18})
        (('18 degrees', None), ('{"temp":18}', {'temp': 18}))
    """
    if isinstance(result, str):
        return repair_surrogates(result), None
    if isinstance(result, Iterator):
        result = list(result)
    content = getattr(result, "content", None) if hasattr(result, "mime") else result
    if isinstance(content, (bytes, bytearray, memoryview)):
        return _describe_bytes(bytes(content)), None
    try:
        data = msgspec.json.encode(result, enc_hook=_plain)
        return data.decode(), msgspec.json.decode(data)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return repair_surrogates(str(result)), None


def _describe_bytes(content: bytes) -> str:
    """Return text as it is, and a description of other bytes: base64 would fill the model's context."""
    with contextlib.suppress(UnicodeDecodeError):
        if b"\0" not in content:
            return content.decode()
    return f"{len(content):,} bytes ({sniff(content) or 'of unknown type'}), which are not shown"


def _plain(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)  # pydantic
    return dump(mode="json") if callable(dump) else str(value)
