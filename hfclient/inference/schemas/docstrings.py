"""Descriptions of parameters in docstrings of the three common layouts: Google, Sphinx, NumPy.

The result is for models, not for a reference: text that fits no layout stays part of the description.

Not docstring_parser (0.18): one line without a colon in ``Args:`` loses the descriptions of all parameters, a docstring that
begins with ``Args:`` or ends with an empty section is not parsed, and indented code loses its indentation.
"""

from __future__ import annotations

import re

from attrs import field, frozen

__all__ = ["Docstring", "parse_docstring"]

_PARAMETERS = {"args", "arguments", "attributes", "keyword args", "keyword arguments", "other parameters", "parameters"}
_PARAMETERS |= {"params", "fields"}
_OTHERS = {"example", "examples", "note", "notes", "raises", "references", "return", "returns", "see also", "todo"}
_OTHERS |= {"warning", "warnings", "warns", "yield", "yields"}

_HEADING = re.compile(r"([A-Za-z][A-Za-z ]*?)\s*:\s*")
_GOOGLE_ENTRY = re.compile(r"(\*{0,2}[\w, *]*\w)\s*(?:\([^()]*(?:\([^()]*\)[^()]*)*\))?\s*:(?:\s+(.*)|\s*)")
_SPHINX_FIELD = re.compile(r":([a-z]+)(?:\s+([^:]*?))?\s*:(?:\s+(.*))?")
_SPHINX_PARAMETERS = {"param", "parameter", "arg", "argument", "key", "keyword", "ivar", "var", "cvar"}
_NUMPY_ENTRY = re.compile(r"(\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?")


@frozen
class Docstring:
    """A parsed docstring.

    Attributes:
        description: The text before the first section, with the lines of each paragraph joined.
        parameters: Name to description, for parameters and attributes.
    """

    description: str = ""
    parameters: dict[str, str] = field(factory=dict)


def parse_docstring(text: str | None) -> Docstring:
    """Parse *text*, which `inspect.cleandoc` has cleaned; an empty `Docstring` for None.

        >>> parse_docstring("Add.\\n\\nArgs:\\n    a (int): One.\\n    b: The\\n        other.").parameters
        {'a': 'One.', 'b': 'The other.'}
    """
    lines = (text or "").expandtabs().split("\n")
    prose: list[str] = []
    parameters: dict[str, str] = {}
    number, in_prose = 0, True
    while number < len(lines):
        line = lines[number]
        following = lines[number + 1] if number + 1 < len(lines) else ""
        title = line.strip().lower()
        heading = _HEADING.fullmatch(line)
        sphinx = _SPHINX_FIELD.fullmatch(line)
        if set(following.strip()) == {"-"} and title in _PARAMETERS | _OTHERS:
            end = _numpy_end(lines, number + 2)
            if title in _PARAMETERS:
                parameters.update(_numpy(lines[number + 2 : end]))
        elif heading and heading[1].lower() in _PARAMETERS | _OTHERS:
            end = _block_end(lines, number + 1)
            if heading[1].lower() in _PARAMETERS:
                parameters.update(_google(lines[number + 1 : end]))
        elif sphinx:
            end = _block_end(lines, number + 1)
            if sphinx[1] in _SPHINX_PARAMETERS and sphinx[2]:
                name = sphinx[2].split()[-1].lstrip("*")  # a type may stand before the name
                parameters[name] = _joined([sphinx[3] or "", *lines[number + 1 : end]])
        else:
            if in_prose:
                prose.append(line)
            number += 1
            continue
        in_prose = False
        number = end
    return Docstring(_paragraphs(prose), {name: text for name, text in parameters.items() if text})


def _block_end(lines: list[str], start: int) -> int:
    """Return the end of the block that began before *start*: the first line that is not indented."""
    for number in range(start, len(lines)):
        if lines[number].strip() and not lines[number].startswith(" "):
            return number
    return len(lines)


def _numpy_end(lines: list[str], start: int) -> int:
    """Return the end of a NumPy section: the next underlined title."""
    for number in range(start, len(lines) - 1):
        if lines[number].strip() and set(lines[number + 1].strip()) == {"-"}:
            return number
    return len(lines)


def _google(lines: list[str]) -> dict[str, str]:
    """Return the entries of a Google section: ``name (type): text``, each with its indented continuation lines."""
    first = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    entries: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lines:
        entry = _GOOGLE_ENTRY.fullmatch(line.strip())
        if entry and len(line) - len(line.lstrip()) == first:
            current = [entry[2] or ""]
            for name in entry[1].split(","):
                entries[name.strip().lstrip("*")] = current
        else:
            current.append(line)
    return {name: _joined(text) for name, text in entries.items()}


def _numpy(lines: list[str]) -> dict[str, str]:
    """Return the entries of a NumPy section: ``name : type`` with the text indented below."""
    entries: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lines:
        entry = _NUMPY_ENTRY.fullmatch(line)
        if entry:
            current = []
            for name in entry[1].split(","):
                entries[name.strip().lstrip("*")] = current
        else:
            current.append(line)
    return {name: _joined(text) for name, text in entries.items()}


def _joined(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines if line.strip())


def _paragraphs(lines: list[str]) -> str:
    """Return text with the lines of each paragraph joined; indented lines (code) and list items stay lines."""
    out: list[str] = []
    fresh = True
    for line in lines:
        text = line.rstrip()
        if not text:
            fresh = True
            if out and out[-1]:
                out.append("")
        elif fresh or text.startswith((" ", "- ", "* ", ">>>")):
            out.append(text)
            fresh = text.startswith((" ", ">>>"))
        else:
            out[-1] = f"{out[-1]} {text.strip()}"
    return "\n".join(out).strip()
