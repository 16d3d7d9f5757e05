"""What a command works on: a text from its arguments or standard input, or a file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from hfclient.cli.chat.prompt import read_prompt

__all__ = ["file_from", "lines_from", "text_from"]

_MAX_FILE = 100 * 1024 * 1024
"""Bytes of a file on standard input."""


def text_from(words: Sequence[str], example: str) -> str:
    """Return the words as one text; standard input without words or for ``-``.

    With words standard input is not read, so that a command in a loop over the lines of a file leaves that file alone.

    Args:
        words: The arguments of the command.
        example: A call that works, for the errors.

    Raises:
        click.UsageError: The text is empty.
    """
    if not words or list(words) == ["-"]:
        return read_prompt(words, example=example).rstrip("\r\n")
    text = _joined(words)
    if not text.strip():
        raise click.UsageError(f"the text is empty: {example}")
    return text


def lines_from(texts: Sequence[str], path: str | None, example: str) -> list[str]:
    """Return *texts*, or without them the lines of a file (``-`` or None: of standard input) that are not empty."""
    if texts and path is not None:
        raise click.UsageError("pass texts or --file, not both")
    if texts and list(texts) != ["-"]:
        return [_joined([text]) for text in texts]
    if path in (None, "-"):
        content = read_prompt(texts or (["-"] if path else []), example=example)
    else:
        content = _bytes_of(Path(path or "")).decode("utf-8-sig", "replace")
    found = [line for line in content.replace("\r\n", "\n").split("\n") if line.strip()]
    if not found:
        raise click.UsageError(f"there are no texts: {example}")
    return found


def file_from(name: str) -> Path | str | bytes:
    """Return the file *name* as the library takes it: a path, a URL, or for ``-`` the bytes of standard input.

    Raises:
        click.UsageError: Standard input is a terminal, empty or too large.
    """
    if name != "-":
        return name if name.lower().startswith(("http://", "https://")) else Path(name)
    if sys.stdin is None or sys.stdin.isatty():
        raise click.UsageError("- is a file on standard input, as in: hfclient transcribe - < speech.mp3")
    try:
        data = sys.stdin.buffer.read(_MAX_FILE + 1)
    except OSError as error:
        raise click.UsageError(f"standard input cannot be read: {error.strerror or error}") from None
    if not data:
        raise click.UsageError("standard input is empty")
    if len(data) > _MAX_FILE:
        raise click.UsageError(f"standard input holds more than {_MAX_FILE:,} bytes")
    return data


def _joined(words: Sequence[str]) -> str:
    # Arguments with invalid UTF-8 have lone surrogates, which UTF-8 cannot encode.
    return " ".join(words).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _bytes_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(data) > _MAX_FILE:
        raise click.UsageError(f"{path} holds more than {_MAX_FILE:,} bytes")
    return data
