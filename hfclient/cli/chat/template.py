"""Prompt templates: a text file with ``$name`` or ``${name}``, and ``$input`` for the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import Template

import click

from hfclient.credentials.secret_files import settings_folder

__all__ = ["fill", "read_template", "saved_templates"]

_SUFFIXES = ("", ".txt", ".md")
_MAX_BYTES = 1024 * 1024


def read_template(name: str) -> Template:
    """Return the template in the file *name*, or saved under that name in the folder ``templates`` of the settings.

    Raises:
        click.UsageError: It does not exist, or is not a template.
    """
    saved = _folder()
    places = [Path(name)]
    if saved is not None and Path(name).name == name:
        places += [saved / f"{name}{suffix}" for suffix in _SUFFIXES]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        where = f", and {saved} has {', '.join(saved_templates()[:20]) or 'none'}" if saved is not None else ""
        raise click.UsageError(f"there is no template {name!r}: no file has this path{where}")
    try:
        data = path.read_bytes()
        if len(data) > _MAX_BYTES:
            raise click.UsageError(f"the template {path} has more than {_MAX_BYTES:,} bytes")
        template = Template(data.decode("utf-8-sig"))
    except OSError as error:
        raise click.UsageError(f"the template {path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"the template {path} is not text in UTF-8") from None
    if any(found["invalid"] is not None for found in template.pattern.finditer(template.template)):
        raise click.UsageError(f"the template {path} has a $ that begins no name; write $$ for a dollar sign")
    return template


def fill(template: Template, parameters: Sequence[str], given: str) -> str:
    """Return the prompt: *template* with ``name=value`` *parameters*, and *given* for ``$input`` or else at the end.

    Raises:
        click.UsageError: A parameter is missing, unknown or has no value.
    """
    # Template.get_identifiers() is new in Python 3.11.
    found = template.pattern.finditer(template.template)
    names = {name for match in found if (name := match["named"] or match["braced"])}
    values: dict[str, str] = {}
    for parameter in parameters:
        name, equals, value = parameter.partition("=")
        if not equals:
            raise click.UsageError(f"-p {parameter}: write NAME=VALUE")
        if name not in names:
            known = ", ".join(sorted(names)) or "no parameters"
            raise click.UsageError(f"-p {name}=...: the template has {known}")
        values[name] = value
    needs_input = "input" in names and "input" not in values
    if needs_input:
        if not given.strip():
            raise click.UsageError("the template needs an input: words, or standard input")
        values["input"] = given
    if missing := sorted(names - set(values)):
        raise click.UsageError(f"the template needs {' '.join(f'-p {name}=...' for name in missing)}")
    text = template.substitute(values)
    return text if needs_input or not given.strip() else f"{text.rstrip()}\n\n{given}"


def saved_templates() -> list[str]:
    """Return the names of the saved templates."""
    folder = _folder()
    if folder is None:
        return []
    try:
        return sorted(path.stem for path in folder.iterdir() if path.suffix in _SUFFIXES and path.is_file())
    except OSError:
        return []


def _folder() -> Path | None:
    folder = settings_folder()
    return None if folder is None else folder / "templates"
