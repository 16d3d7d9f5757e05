"""The prompt of ``hfclient chat``: from its arguments, standard input, or both."""

from __future__ import annotations

import codecs
import errno
import os
import stat
import sys
from collections.abc import Sequence

import click

__all__ = ["read_input", "read_prompt"]

_MAX_BYTES = 10 * 1024 * 1024
"""Limit of standard input: chat-ui's limit for a file, and more than the context of any model."""
_NOTICE_AFTER = 3.0
"""Seconds without input after which the command prints that it waits for standard input."""


def read_prompt(
    words: Sequence[str],
    *,
    example: str = 'hfclient chat "Why is the sky blue?"',
    with_input: bool = True,
    may_be_empty: bool = False,
) -> str:
    """Return the words, a blank line, and standard input; only one of the two if the other is empty.

    Standard input is read if it is a pipe, a file or a socket, or if *words* is empty or ``-``. A terminal is read only for
    ``-``. A closed input counts as empty.

    Args:
        words: The arguments of the command.
        example: A call that works, for the errors.
        with_input: Standard input may be read.
        may_be_empty: Allow an empty prompt.

    Raises:
        click.UsageError: The prompt is empty, or standard input is not text or too large.
    """
    no_words = not words or list(words) == ["-"]
    # Arguments with invalid UTF-8 have lone surrogates, which UTF-8 cannot encode.
    text = "" if no_words else " ".join(words).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    is_terminal = sys.stdin is not None and sys.stdin.isatty()
    if not words and is_terminal and not may_be_empty:
        raise click.UsageError(f"the prompt is missing: {example}")
    reads = with_input and (_is_piped() or (no_words and not (is_terminal and not words)))
    piped = _text(read_input()) if reads else ""
    if text.strip() and piped.strip():
        return f"{text}\n\n{piped}"
    if not text.strip() and not piped.strip() and not may_be_empty:
        raise click.UsageError(f"the prompt is empty: {example}")
    return text if text.strip() else piped


def read_input() -> bytes:
    """Return the whole of standard input; nothing if it is closed.

    Raises:
        click.UsageError: It cannot be read, or is too large.
    """
    if sys.stdin is None:
        return b""
    _print_if_waiting()
    try:
        data = sys.stdin.buffer.read(_MAX_BYTES + 1)
    except OSError as error:
        if error.errno == errno.EBADF:  # opened for writing only, which some programs pass for an absent input
            return b""
        raise click.UsageError(f"standard input cannot be read: {error.strerror or error}") from None
    if len(data) > _MAX_BYTES:
        raise click.UsageError(f"standard input holds more than {_MAX_BYTES:,} bytes; attach a file with --file PATH")
    return data


def _is_piped() -> bool:
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):  # closed, or replaced by an object that is not a file
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def _print_if_waiting() -> None:
    """Print a line if no input comes for some seconds, as from a pipe that is never written to or closed."""
    if sys.platform == "win32":  # select() supports only sockets there
        return
    import select

    try:
        ready = select.select([sys.stdin.fileno()], [], [], _NOTICE_AFTER)[0]
    except (OSError, ValueError):
        return
    if not ready:
        click.echo("hfclient: waiting for standard input (use < /dev/null for an empty one)", err=True)


def _text(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # PowerShell before version 7
        return data.decode("utf-16", "replace")
    if b"\0" in data:
        raise click.UsageError("standard input is not text; attach a file with --file PATH")
    return data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
