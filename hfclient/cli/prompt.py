"""The prompt of ``hfclient chat``: its words, what is piped in, or both."""

from __future__ import annotations

import codecs
import errno
import os
import stat
import sys
from collections.abc import Sequence

import click

__all__ = ["read_prompt"]

_MOST = 10 * 1024 * 1024
"""Bytes of standard input that are read: what chat-ui takes as a file, and more than any model reads."""
_PATIENCE = 3.0
"""Seconds after which a person is told that the command waits for standard input."""


def read_prompt(words: Sequence[str]) -> str:
    """Return the words, a blank line, and what is piped in; one of the two if there is no other.

    Standard input is read if it is a pipe, a file or a socket, or if there are no words, or ``-`` for them. A terminal is read
    for ``-`` alone; an input that is closed counts as empty.

    Raises:
        click.UsageError: There is no prompt, or standard input holds no text, or too much of it.
    """
    no_words = not words or list(words) == ["-"]
    # Bytes that are no UTF-8 arrive from a shell as lone surrogates, which no JSON can carry.
    said = "" if no_words else " ".join(words).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if not words and sys.stdin is not None and sys.stdin.isatty():
        raise click.UsageError('there is no prompt: hfclient chat "Why is the sky blue?"')
    piped = _standard_input() if no_words or _is_piped() else ""
    if said.strip() and piped.strip():
        return f"{said}\n\n{piped}"
    if not said.strip() and not piped.strip():
        raise click.UsageError('the prompt is empty: hfclient chat "Why is the sky blue?"')
    return said if said.strip() else piped


def _standard_input() -> str:
    if sys.stdin is None:  # it was closed
        return ""
    _tell_of_a_wait()
    try:
        data = sys.stdin.buffer.read(_MOST + 1)
    except OSError as error:
        if error.errno == errno.EBADF:  # open for writing alone, as some give it for none
            return ""
        raise click.UsageError(f"standard input cannot be read: {error.strerror or error}") from None
    if len(data) > _MOST:
        raise click.UsageError(f"standard input holds more than {_MOST:,} bytes; attach a file with --file PATH")
    return _text(data)


def _is_piped() -> bool:
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (
        AttributeError,
        OSError,
        ValueError,
    ):  # closed, or no file: a program that runs the command in its own process
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def _tell_of_a_wait() -> None:
    """Say what the command waits for if nothing comes: a pipe without a writer that stays open would be waited for in silence."""
    if sys.platform == "win32":  # select() takes sockets only there
        return
    import select

    try:
        ready = select.select([sys.stdin.fileno()], [], [], _PATIENCE)[0]
    except (OSError, ValueError):
        return
    if not ready:
        click.echo("hfclient: waiting for standard input (< /dev/null says that there is none)", err=True)


def _text(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # PowerShell before version 7
        return data.decode("utf-16", "replace")
    if b"\0" in data:
        raise click.UsageError("standard input is no text; attach a file with --file PATH")
    return data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
