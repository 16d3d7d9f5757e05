"""A live answer in a cell of a notebook: one display, which is updated.

JupyterLab, Notebook 7, VS Code and Colab update a display by its id; no widgets are needed. jupyter console (6.6, seen in November
2026) ignores updates, and a kernel cannot know its front end. So the first state has a text, which only such front ends show, that
says where the answer is.

Each update sends and renders the whole display, so the pauses between updates grow with it: the cost of an answer grows with the time
that it takes, not with the square of its length.

Displays of values send nothing. A live answer requests the pictures that it consists of, from its own server with the credentials
of its conversation, and embeds them.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import IPython.display
from attrs import evolve

from hfclient import Timeouts
from hfclient.display import shorten
from hfclient.errors import HFClientError
from hfclient.events import AnyEvent, File, ToolResult
from hfclient.files.media_types import dimensions, sniff
from hfclient.notebook.growing import GrowingAnswer, object_as_markdown
from hfclient.notebook.replies import plain_reply, reply_markdown
from hfclient.notebook.times import Times
from hfclient.redaction.control_characters import one_line
from hfclient.types import Reply

__all__ = ["CellOutput"]

_display: Any = IPython.display  # without types
_IF_IT_STAYS = "(if this line stays, client.last has the answer: this front end does not update displays)"
_PAUSE = 0.1  # least seconds between two updates
_BYTES_PER_SECOND = 64_000  # of updates
_SHARE = 10  # an update may take one part in so many of the time
_SILENCE = 3.0  # seconds without content that are mentioned
_MAX_PICTURES = 20
_MAX_PICTURE = 10_000_000  # bytes
_MAX_PIXELS = 50_000_000
_PICTURE_TIMEOUTS = Timeouts(connect=5, first_token=10, idle=10, total=20)
_PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})  # not SVG, which may have scripts


class CellOutput:
    """Shows the answer of *stream*.

    Args:
        stream: Its conversation, if it has one, has the files.
        before: What had been read of the answer.
    """

    def __init__(self, stream: Any, before: Reply) -> None:
        self._stream = stream
        self._answer = GrowingAnswer(before)
        self._rounds = getattr(stream, "rounds", 0)
        self._handle: Any = None
        self._pictures = 0
        self._shown = ""
        self._due = 0.0

    def begin(self, times: Times) -> None:
        """Show that the answer is awaited."""
        self.tick(times)

    def add(self, event: AnyEvent, times: Times) -> None:
        """Take what *event* adds, and show it if an update is due."""
        if self._rounds != (rounds := getattr(self._stream, "rounds", 0)):
            self._rounds = rounds
            self._answer.end_round()
        self._answer.add(event)
        if isinstance(event, File):
            self._show_picture(event)
        elif isinstance(event, ToolResult):
            for data in _images_in(event.outputs):
                self._show_image(data)
        self.tick(times)

    def add_object(self, value: Any, times: Times) -> None:
        """Take the object so far, and show it if an update is due."""
        self._answer.draft = object_as_markdown(value)
        self.tick(times)

    def tick(self, times: Times) -> None:
        """Show the state, if an update is due."""
        now = time.monotonic()
        if now >= self._due:
            state = self._state(times)
            plain = state if self._handle is not None else f"{state} {_IF_IT_STAYS}"
            size = self._publish(lambda: reply_markdown(self._stream.partial, self._answer.live(state)), plain)
            taken = time.monotonic() - now
            self._due = now + max(_PAUSE, size / _BYTES_PER_SECOND, taken * _SHARE)

    def end(self, reply: Reply, times: Times | None, error: BaseException | None = None) -> None:
        """Show the whole answer, or as much of it as has come."""
        try:
            self._end(reply, times, error)
        except KeyboardInterrupt as interrupt:  # the display would stay as it was in the middle of the answer
            shorten(interrupt, has_answer=True)
            self._end(reply, times, error)
            raise

    def _end(self, reply: Reply, times: Times | None, error: BaseException | None) -> None:
        words = "" if times is None else times.in_words()
        if error is not None:
            words = f"{words} · ended by {type(error).__name__}"
        shown = evolve(reply, text=self._answer.draft) if self._answer.draft and reply.text else reply
        self._publish(lambda: reply_markdown(shown, times=words), plain_reply(reply, words))

    def _state(self, times: Times) -> str:
        answer, seconds = self._answer, f"{int(times.total())} s"
        if answer.running is not None:
            return f"{one_line(answer.running)[:60]} is running · {seconds}"
        if answer.reasoning.length and not answer.text.length:
            return f"thinking · {seconds}"
        if not answer.text.length:
            return f"waiting for the answer · {seconds}"
        silence = times.silence()
        return f"{answer.text.length} characters · {seconds}" + (f" · nothing for {int(silence)} s" if silence >= _SILENCE else "")

    def _publish(self, make: Callable[[], str], plain: str) -> int:
        """Show the Markdown that *make* returns, unless it is shown already, and return its length."""
        try:
            markdown = make()
        except Exception:  # noqa: BLE001 (a display does not end the answer)
            markdown = ""
        if markdown and markdown == self._shown:
            return len(markdown)
        bundle = {"text/markdown": markdown, "text/plain": plain} if markdown else {"text/plain": plain}
        if self._handle is None:
            self._handle = _display.display(bundle, raw=True, display_id=True)
        else:
            _display.update_display(bundle, raw=True, display_id=self._handle.display_id)
        self._shown = markdown  # after it was shown: an interrupt may come in between
        return len(markdown)

    def _show_picture(self, file: File) -> None:
        conversation = getattr(self._stream, "conversation", None)
        if conversation is None or not file.mime.startswith("image/") or self._pictures >= _MAX_PICTURES:
            return
        try:
            data = conversation.read_file(file, max_bytes=_MAX_PICTURE, timeouts=_PICTURE_TIMEOUTS, progress=False)
        except HFClientError:
            self._pictures += 1
            return  # its name is in the list of files
        self._show_image(data)

    def _show_image(self, data: bytes) -> None:
        if self._pictures >= _MAX_PICTURES:
            return
        self._pictures += 1
        kind, size = sniff(data), dimensions(data)
        if kind in _PICTURES and size is not None and size[0] * size[1] <= _MAX_PIXELS:
            plain = f"<{kind}, {size[0]} x {size[1]}>"
            _display.display({kind: base64.b64encode(data).decode("ascii"), "text/plain": plain}, raw=True)


def _images_in(outputs: Iterable[Any]) -> Iterator[bytes]:
    """Yield the images of a tool's result, which MCP sends inside of it."""
    for output in outputs:
        content = output.get("content") if isinstance(output, dict) else None
        for part in content if isinstance(content, list) else ():
            match part:
                case {"type": "image", "data": str(encoded)} if len(encoded) <= _MAX_PICTURE * 4 // 3 + 4:
                    with contextlib.suppress(binascii.Error, ValueError):
                        yield base64.b64decode(encoded)
                case _:
                    pass
