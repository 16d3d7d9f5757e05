"""A filter for the loggers of hfclient: one line per record, without secrets.

The loggers are ``"hfclient"``, ``"hfclient.local"`` and ``"hfclient.web"``. The filter is installed when this module is imported, as
each package that logs does. It sees each record before the handlers do, so it works with all handlers and formatters of an
application.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from typing import Any

from hfclient.redaction.control_characters import escaped
from hfclient.redaction.masking import masked

__all__ = ["install_log_filter"]


_MAX_LENGTH = 8000  # characters of one value


class _OneLine(logging.Filter):
    """Escapes control characters and masks secrets in a record's message and values, and indents the lines of a traceback.

    The record keeps the exception itself, for handlers that format it in other ways.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = _line(record.msg)
        if isinstance(record.args, Mapping):
            record.args = {key: _line(value) for key, value in record.args.items()}
        elif record.args:
            record.args = tuple(_line(value) for value in record.args)
        if record.exc_info and not record.exc_text:
            text = "".join(traceback.format_exception(*record.exc_info))
            # Line ends in the text of an exception must not begin a line of the log.
            record.exc_text = "\n".join(f"  {_line(line)}" for line in text.rstrip("\n").split("\n"))
        return True


def _line(value: Any) -> Any:
    if value is None or isinstance(value, (int, float)):
        return value
    text = str(value)
    return escaped(masked(text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}…"))


_ONE_LINE = _OneLine()


def install_log_filter(name: str) -> None:
    """Install the filter on a logger, once."""
    logging.getLogger(name).addFilter(_ONE_LINE)


for _name in ("hfclient", "hfclient.local", "hfclient.web"):
    install_log_filter(_name)
