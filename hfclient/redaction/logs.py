"""What the loggers of hfclient write: one record, one line, and no secret in it.

The loggers are ``"hfclient"`` and ``"hfclient.local"``. A filter on them, put in place when the package is imported, sees each
record before any handler does, so it holds for every handler and formatter that an application attaches.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from typing import Any

from hfclient.redaction.control_characters import escaped
from hfclient.redaction.masking import masked

__all__ = ["install_log_filter"]


_LONGEST = 8000  # characters of one value


class _OneLine(logging.Filter):
    """Escapes control characters in a record's message and values, masks secrets, and marks the lines of a traceback.

    The exception itself stays on the record as it is, for handlers that show it in ways of their own.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = _line(record.msg)
        if isinstance(record.args, Mapping):
            record.args = {key: _line(value) for key, value in record.args.items()}
        elif record.args:
            record.args = tuple(_line(value) for value in record.args)
        if record.exc_info and not record.exc_text:
            text = "".join(traceback.format_exception(*record.exc_info))
            # The text of an exception may hold line ends, of which no one may begin a line of the log.
            record.exc_text = "\n".join(f"  {_line(line)}" for line in text.rstrip("\n").split("\n"))
        return True


def _line(value: Any) -> Any:
    if value is None or isinstance(value, (int, float)):
        return value
    text = str(value)
    return escaped(masked(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"))


_ONE_LINE = _OneLine()


def install_log_filter(name: str) -> None:
    """Put the filter on a logger; one that has it already stays as it is."""
    logging.getLogger(name).addFilter(_ONE_LINE)
