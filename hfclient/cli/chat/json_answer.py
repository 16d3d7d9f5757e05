"""Answers as JSON that fits a schema (``--schema``).

The schema is part of the prompt, so that every server can be asked, and of the request where inference has a field for it. The
answer is validated with jsonschema. One that does not fit is sent back once, with the error.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from hfclient.errors import MissingDependencyError, ParseError
from hfclient.inference.schemas.json_in_text import json_values
from hfclient.inference.schemas.type_schemas import SchemaMismatch
from hfclient.types import Reply

__all__ = ["JSONSchema"]

_LONGEST_REASON = 300
_ATTEMPTS = 2


class JSONSchema:
    """A schema for answers.

    Args:
        given: The path of a JSON file, or the JSON itself.

    Raises:
        click.UsageError: It is not a JSON schema.
        MissingDependencyError: jsonschema is not installed.
    """

    def __init__(self, given: str) -> None:
        self.schema = _read(given)
        try:
            import jsonschema.validators  # type: ignore[import-untyped]
            import referencing
        except ModuleNotFoundError:
            raise MissingDependencyError('--schema needs the package jsonschema: pip install "hfclient[cli]"') from None
        kind = jsonschema.validators.validator_for(self.schema, default=jsonschema.validators.Draft202012Validator)
        try:
            kind.check_schema(self.schema)
        except jsonschema.SchemaError as error:
            raise click.UsageError(f"--schema: {error.json_path}: {_short(error.message)}") from None
        # A registry of its own: without one, references to other sites would be requested.
        self._validator = kind(self.schema, registry=referencing.Registry())

    @property
    def instruction(self) -> str:
        """What to add to the prompt."""
        return f"Answer with JSON only, without any other text. It must fit this JSON schema: {self._text}"

    @property
    def response_format(self) -> dict[str, Any] | None:
        """The field of a chat completion; None if its root is not an object, which OpenAI's servers refuse."""
        if not isinstance(self.schema, dict) or self.schema.get("type") != "object":
            return None
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": self.schema, "strict": False}}

    @property
    def _text(self) -> str:
        return json.dumps(self.schema, ensure_ascii=False)

    def read(self, text: str) -> Any:
        """Return the JSON in *text*, which may be in a code block or within prose.

        Raises:
            SchemaMismatch: None of it fits.
        """
        trouble: SchemaMismatch | None = None
        for value in json_values(text):
            if (reason := self._misfit(value)) is None:
                return value
            trouble = trouble or reason
        raise trouble or SchemaMismatch("there is no JSON in the answer" if text.strip() else "the answer is empty")

    def ask(self, prompt: str, send: Callable[[str, Reply | None], Reply]) -> Any:
        """Ask for JSON and return it.

        Args:
            prompt: The user's prompt.
            send: Called with a text and the answer that it is about (None for the first one); returns the answer.

        Raises:
            ParseError: No answer fits.
        """
        text, reply = f"{prompt}\n\n{self.instruction}", None
        for _ in range(_ATTEMPTS):
            reply = send(text, reply)
            try:
                return self.read(reply.text)
            except SchemaMismatch as misfit:
                reason, path = misfit.reason, misfit.path
            text = f"That does not fit: {reason}{_at(path)}. Answer again, with nothing but JSON that fits the schema: {self._text}"
        assert reply is not None
        raise ParseError(
            f"the answer does not fit the schema{_at(path)}: {reason} ({_ATTEMPTS} answers)",
            raw=reply.text,
            path=path,
            reason=reason,
            attempts=_ATTEMPTS,
            partial=reply,
        )

    def _misfit(self, value: Any) -> SchemaMismatch | None:
        import jsonschema
        import referencing.exceptions

        try:
            error = jsonschema.exceptions.best_match(self._validator.iter_errors(value))
        except (referencing.exceptions.Unresolvable, RecursionError) as failure:
            raise click.UsageError(f"--schema: a reference cannot be followed: {_short(str(failure))}") from None
        return None if error is None else SchemaMismatch(_short(error.message), error.json_path)


def _read(given: str) -> Any:
    text, name = given, "--schema"
    if not given.lstrip().startswith(("{", "[")):
        path = Path(given)
        name = f"--schema: {path}"
        try:
            text = path.read_text("utf-8-sig")
        except OSError as error:
            raise click.UsageError(f"{name} cannot be read: {error.strerror or error}") from None
        except UnicodeDecodeError:
            raise click.UsageError(f"{name} is not text in UTF-8") from None
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"{name} is not JSON: {_short(str(error))}") from None
    if not isinstance(schema, (dict, bool)):
        raise click.UsageError(f"{name} is not a JSON schema, which is an object")
    return schema


def _at(path: str) -> str:
    return "" if path in ("", "$") else f" at {path}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."
