"""The types that the public API returns or takes, found by walking annotations, and those that docs/api shows."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hfclient.inference
import hfclient.local

PAGES = Path(__file__).parents[2] / "docs" / "api"


def _imported_for_types(module: types.ModuleType) -> dict[str, tuple[str, str]]:
    """The names that a module imports anywhere, also under ``TYPE_CHECKING``: module and name of each."""
    names: dict[str, tuple[str, str]] = {}
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
    return names


class Walk:
    """All classes of the package that can be reached from its public names."""

    def __init__(self) -> None:
        self.found: dict[type, str] = {}  # a class, and where it was seen first
        self._imports: dict[str, dict[str, tuple[str, str]]] = {}
        for module in (hfclient, hfclient.events, hfclient.errors, hfclient.types, hfclient.inference, hfclient.local):
            for name in module.__all__:
                self._value(getattr(module, name), f"{module.__name__}.{name}", module)

    def _value(self, value: Any, place: str, module: types.ModuleType) -> None:
        """Follow an annotation, or a part of one."""
        if isinstance(value, str):
            self._text(value, place, module)
        elif isinstance(value, type) and not isinstance(value, types.GenericAlias):
            if value.__module__.split(".")[0] == "hfclient" and value not in self.found:
                self.found[value] = place
                self._class(value)
        elif isinstance(value, typing.ForwardRef):
            self._text(value.__forward_arg__, place, module)
        elif typing.get_origin(value) is not typing.Literal:
            for part in (typing.get_origin(value), *typing.get_args(value)):
                if part is not None and part is not Ellipsis:
                    self._value(part, place, module)

    def _text(self, annotation: str, place: str, module: types.ModuleType) -> None:
        """Look up each name of an annotation where its module has it."""
        try:
            tree = ast.parse(annotation.strip(), mode="eval")
        except SyntaxError:
            return
        literals = {id(part) for node in ast.walk(tree) if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal" for part in ast.walk(node.slice)}
        for node in ast.walk(tree):
            if id(node) in literals:
                continue
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                self._text(node.value, place, module)
            elif isinstance(node, ast.Name):
                self._name(node.id, place, module)
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                owner = getattr(module, node.value.id, None)
                if isinstance(owner, types.ModuleType) and owner.__name__.startswith("hfclient"):
                    self._name(node.attr, place, owner)

    def _name(self, name: str, place: str, module: types.ModuleType) -> None:
        if hasattr(module, name):
            self._value(getattr(module, name), place, module)
            return
        imports = self._imports.setdefault(module.__name__, _imported_for_types(module))
        source, original = imports.get(name, ("", ""))
        if source.startswith("hfclient"):
            other = importlib.import_module(source)
            self._value(getattr(other, original), place, other)

    def _class(self, cls: type) -> None:
        """Look at the public attributes, properties and methods that a class has itself or inherits from the package."""
        for owner in cls.__mro__:
            if owner.__module__.split(".")[0] != "hfclient":
                continue
            module = sys.modules[owner.__module__]
            for name, annotation in vars(owner).get("__annotations__", {}).items():
                if not name.startswith("_"):
                    self._value(annotation, f"{cls.__name__}.{name}", module)
            for name, member in vars(owner).items():
                # Of the constructors users call that of Client; they get most other objects, and values list their fields.
                special = ("__init__",) if cls is hfclient.Client else ("__iter__", "__next__", "__enter__", "__getitem__")
                if name.startswith("_") and name not in special:
                    continue
                for function in _functions(member):
                    defined = sys.modules.get(function.__module__, module)
                    takes = name == "__init__" or getattr(cls, "_is_protocol", False)
                    for argument, annotation in getattr(function, "__annotations__", {}).items():
                        # Callers import what they pass to a method; options and the methods of protocols are only named here.
                        if argument == "return" or takes or "Unpack[" in str(annotation):
                            self._value(annotation, f"{cls.__name__}.{name}", defined)


def _functions(member: Any) -> Iterator[Any]:
    """The functions behind a member of a class."""
    if isinstance(member, property):
        yield from (inspect.unwrap(part) for part in (member.fget, member.fset) if part is not None)
    elif isinstance(member, (classmethod, staticmethod)):
        yield inspect.unwrap(member.__func__)
    elif hasattr(member, "func") and not isinstance(member, type):  # functools.cached_property
        yield inspect.unwrap(member.func)
    elif inspect.isfunction(member):
        yield inspect.unwrap(member)


def shown() -> dict[str, set[str]]:
    """The classes on the pages of the reference, by page: what autodoc shows, as the names that it imports."""
    pages: dict[str, set[str]] = {}
    for path in sorted(PAGES.glob("*.rst")):
        text = path.read_text("utf-8")
        names = pages.setdefault(path.name, set())
        current = "hfclient"
        for kind, target, members in re.findall(r"^\.\. (currentmodule|autoclass|autofunction|automodule):: (\S+)((?:\n +.*)*)", text, re.MULTILINE):
            if kind == "currentmodule":
                current = target
            elif kind == "automodule":
                if ":members:" in members:
                    listed = re.search(r":members: *((?:[\w, \n]|\n )*)", members)
                    chosen = [name.strip() for name in listed[1].split(",") if name.strip()] if listed else []
                    names |= {f"{target}.{name}" for name in chosen or importlib.import_module(target).__all__}
            else:
                names.add(target if target.startswith("hfclient.") else f"{current}.{target}")
    return pages


def resolved(name: str) -> Any:
    """The object with a dotted name."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def options_of(function: Any) -> set[str] | None:
    """The names of the arguments that a function takes, those of an unpacked `TypedDict` included; None if it takes any."""
    plain = inspect.unwrap(getattr(function, "__func__", function))
    parameters = inspect.signature(plain).parameters
    names = set(parameters)
    rest = next((one for one in parameters.values() if one.kind is one.VAR_KEYWORD), None)
    if rest is None:
        return names
    unpacked = re.fullmatch(r"Unpack\[(\w+)\]", str(rest.annotation))
    if unpacked is None:
        return None
    module = sys.modules[plain.__module__]
    source, original = _imported_for_types(module).get(unpacked[1], ("", ""))
    options = getattr(module, unpacked[1], None) or getattr(importlib.import_module(source), original)
    return names | set(options.__required_keys__ | options.__optional_keys__)
