"""Answers that are shown as they come: in a cell of a notebook, in a terminal, in a script."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hfclient import Stream
from hfclient.display import shorten
from hfclient.errors import StreamConsumed
from hfclient.events import Elicitation, Reasoning, Token, ToolCall, ToolError, ToolProgress, ToolResult, WebSearch
from hfclient.notebook.text_output import TextOutput
from hfclient.notebook.times import Times
from hfclient.types import Reply

if TYPE_CHECKING:
    from hfclient import ParseStream
    from hfclient.notebook.cell_output import CellOutput
    from hfclient.notebook.questions import Questions

__all__ = ["show", "show_value"]

_TICK = 0.1  # seconds
_CONTENT = (Token, Reasoning, ToolCall, ToolProgress, ToolResult, ToolError, WebSearch)


def show(stream: Stream | ParseStream[Any]) -> None:
    """Read the rest of an answer, or of an object, and show it as it comes; one that was read to its end or closed is shown as it is.

    Raises:
        HFClientError: The error that ended the answer early.
    """
    before = stream.partial
    output, times = _output_for(stream, before), Times(getattr(stream, "opened_after", 0.0))
    try:
        events: Iterator[Any] = stream.ticks(_TICK)
    except StreamConsumed:
        output.end(before, None)
        return
    is_object = not isinstance(stream, Stream)
    questions = _questions_for(stream)
    with stream:
        try:
            output.begin(times)
            for event in events:
                if event is None:
                    output.tick(times)
                    continue
                if is_object or isinstance(event, _CONTENT):
                    times.content_came()
                if is_object:
                    output.add_object(event, times)
                else:
                    output.add(event, times)
                    if questions is not None and isinstance(event, Elicitation):
                        questions.ask(event)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                shorten(error, has_answer=True)  # it may have come while the answer was being shown
            try:
                stream.close()  # the generation is stopped before anything else is done; another Ctrl-C does not wait for that
            finally:
                output.end(stream.partial, times, error)
            raise
    output.end(stream.partial, times)


def show_value(stream: Stream | ParseStream[Any]) -> None:
    """Show *stream*, which is the value of a cell, as it comes. An error makes the cell fail.

    IPython catches exceptions of displays, so that ``Run All`` would continue after one. Ctrl-C is not caught.
    """
    try:
        show(stream)
    except Exception as error:
        result = _result_of_cell()
        if result is None:
            raise
        result.error_in_exec = error
        _shell().showtraceback((type(error), error, error.__traceback__))


def _output_for(stream: Stream | ParseStream[Any], before: Reply) -> CellOutput | TextOutput:
    """Return where the answer is shown."""
    publisher = type(getattr(_shell(), "display_pub", None)).__name__
    if publisher in ("NoneType", "DisplayPublisher"):  # no IPython, or one in a terminal
        return TextOutput(before)
    from hfclient.notebook.cell_output import CellOutput

    return CellOutput(stream, before)


def _questions_for(stream: Stream | ParseStream[Any]) -> Questions | None:
    """Return what asks the user the questions of tools, if the caller has given no function for that."""
    if getattr(stream, "on_elicitation", stream) is not None:  # given, or not a stream of a chat server
        return None
    from hfclient.notebook.questions import Questions

    kernel = getattr(_shell(), "kernel", None)
    can_ask = kernel is not None or all(file is not None and file.isatty() for file in (sys.stdin, sys.stdout))
    stream.on_elicitation = questions = Questions(can_ask=can_ask)  # type: ignore[union-attr]
    return questions


def _shell() -> Any:
    """Return the running IPython, or None."""
    module = sys.modules.get("IPython")
    return None if module is None else module.get_ipython()


def _result_of_cell() -> Any:
    return getattr(getattr(_shell(), "displayhook", None), "exec_result", None)
