"""chat-ui's message updates become events: the JSON Lines that answer ``POST /conversation/{id}``.

Almost all lines of a long answer are ``stream`` lines and keep-alives. So a block of lines is decoded at once into structs
of that type; a block with any other line (another type, a new field, half a character) is decoded line by line.

Reference: chat-ui, src/lib/types/MessageUpdate.ts, seen 2026-11-21 (0.20); older forms from 0.9.5 and 0.10 recordings.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from hfclient.chat.wire.update_events import parse_update
from hfclient.decoding.frames import MAX_LINE, LineFramer, excerpt
from hfclient.decoding.json_repair import is_deep
from hfclient.decoding.think_tags import ThinkSplitter
from hfclient.decoding.utf16 import SurrogateJoiner, repair_all, utf16_length
from hfclient.errors import GenerationError, ProtocolError, StreamInterrupted
from hfclient.events import AnyEvent, Elicitation, FinalAnswer, Reasoning, Status, Token

__all__ = ["UpdateDecoder", "decode_update", "kind_of"]

_MAX_DEPTH = 200
_KEEP_ALIVE = b'{"type":"status","status":"keepAlive"}\n'  # every 100 ms while a model thinks


class _StreamLine(msgspec.Struct, tag_field="type", tag="stream", gc=False, forbid_unknown_fields=True):
    token: str


_TOKEN_LINES = re.compile(rb'^(?:\{"type":"stream",.*\n)+', re.MULTILINE)
_token_decoder = msgspec.json.Decoder(_StreamLine)
_decode_token, _decode_tokens = _token_decoder.decode, _token_decoder.decode_lines
_MISFITS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_decode_line = msgspec.json.Decoder().decode


class UpdateDecoder:
    """Turns the bytes of one answer into events.

    Args:
        file_url: Gives the URL of a produced file by its sha, or None.
        limit: Most bytes of one line.
    """

    def __init__(self, *, file_url: Callable[[str], str] | None = None, limit: int = MAX_LINE) -> None:
        self._framer = LineFramer(limit)
        self._thinking = ThinkSplitter()
        self._halves = SurrogateJoiner()
        self._thought_halves = SurrogateJoiner()
        self._file_url = file_url
        self._limit = limit
        self._is_between = False  # two lines
        self._tail_is_broken = False
        self.broken: ProtocolError | None = None
        """The error of a line that is not JSON, after other events; the next call raises it."""
        self.error: Status | None = None
        """The error that the server reported inside the stream; raised at its end, because more may follow."""
        self.ended = False
        """A final answer, ``finished`` or a durable question came: the run is over."""
        self.finished = False
        """``finished`` came: nothing follows. Servers before February 2026 do not send it."""
        self.answered = False
        """A final answer came; only a title, a route and ``finished`` can follow."""
        self.kept_alive = False
        """Keep-alives came, so their absence is meaningful; servers before August 2024 send none."""
        self.text_units = 0
        """UTF-16 units of ``stream`` tokens taken so far, tags and all: the position in the resume log."""
        self.thought_units = 0
        """The same of ``reasoning`` tokens, which the log merges like those of the text."""
        self.others = 0
        """How many updates of other types were taken, keep-alives not counted."""
        self.kinds: Counter[str] = Counter()
        """How many updates of each kind (:func:`kind_of`): the log may hold them in another order, or not all of them."""

    def feed(self, data: bytes) -> list[AnyEvent]:
        """Return the events of the lines that *data* completes.

        Raises:
            ProtocolError: A line is not JSON, or too long. Events before it in *data* are returned first; the next call
                raises.
        """
        # A server that sends a token in each piece is the most common case: one line, one event.
        if self._is_between and data.find(b"\n") == len(data) - 1 and len(data) <= self._limit:
            try:
                text = _decode_token(data).token.rstrip("\0")
            except _MISFITS:
                pass
            else:
                if "<" not in text and "\0" not in text:
                    self.text_units += len(text) if text.isascii() else utf16_length(text)
                    return [Reasoning(text) if self._thinking.inside else Token(text)] if text else []
        if self.broken is not None:
            raise self.broken
        self._is_between = False
        block = self._framer.feed(data)
        is_whole = block is data
        events: list[AnyEvent] = []
        if block and not self._feed_tokens(block, events):
            if _KEEP_ALIVE in block:
                self.kept_alive = True
                block = block.replace(_KEEP_ALIVE, b"")
            self._feed_mixed(block, events)
        self._is_between = is_whole and self.broken is None and not self._halves.held and not self._thinking.held
        return events

    def _feed_tokens(self, block: bytes, events: list[AnyEvent]) -> bool:
        """Decode a block of ``stream`` lines; False if it holds another line, or half a character."""
        if self._halves.held:
            return False
        try:
            lines = _decode_tokens(block)
        except _MISFITS:
            return False
        texts = [line.token.rstrip("\0") for line in lines]  # the server pads tokens to 16 characters
        whole = "".join(texts)
        if "\0" in whole:
            whole, texts = whole.replace("\0", ""), [text.replace("\0", "") for text in texts]
        self.text_units += utf16_length(whole)
        thinking = self._thinking
        kind: type[Token] | type[Reasoning] = Reasoning if thinking.inside else Token
        if "<" not in whole and not thinking.held:
            events.extend(map(kind, texts if all(texts) else filter(None, texts)))
            return True
        for text in texts:
            if "<" in text or thinking.held:
                self._add_text(text, events)
                kind = Reasoning if thinking.inside else Token
            elif text:
                events.append(kind(text))
        return True

    def _feed_mixed(self, block: bytes, events: list[AnyEvent]) -> None:
        """Decode a block of any lines; token lines between the others are decoded as blocks: a short answer is one block."""
        done = 0
        for run in _TOKEN_LINES.finditer(block):
            self._feed_lines(block[done : run.start()], events)
            if self.broken is None and not self._feed_tokens(run[0], events):
                self._feed_lines(run[0], events)
            if self.broken is not None:
                return
            done = run.end()
        self._feed_lines(block[done:], events)

    def end_of_body(self) -> list[AnyEvent]:
        """Return the events of a last line without its end; half a line is dropped, see `check_end`."""
        if self.broken is not None:
            raise self.broken
        events: list[AnyEvent] = []
        rest = self._framer.finish()
        if rest.strip():
            try:
                self._feed_lines(rest, events)
            except ProtocolError:
                self._tail_is_broken = True
        return events

    def finish(self) -> list[AnyEvent]:
        """Return the events of a last line without its end, and the text that was held back."""
        events = self.end_of_body()
        self._add_text(self._halves.finish(), events)
        for inside, piece in self._thinking.finish():
            events.append(Reasoning(piece) if inside else Token(piece))
        if thought := self._thought_halves.finish():
            events.append(Reasoning(thought))
        return events

    def check_end(self) -> None:
        """Raise the error that the end of the body means, if any.

        Raises:
            GenerationError: The server reported an error; the message is its own.
            StreamInterrupted: The body ended before the answer did.
        """
        if self.error is not None:
            raise GenerationError(
                self.error.message or f"the generation failed with status {self.error.status_code}",
                status_code=self.error.status_code,
            )
        if not self.complete:
            raise StreamInterrupted("the answer ended before the server said that it was complete")

    @property
    def complete(self) -> bool:
        """Whether the body ended where an answer may end."""
        return (self.ended or self.error is not None) and not self._tail_is_broken

    @property
    def is_cut(self) -> bool:
        """Whether the body ended inside a line."""
        return self._tail_is_broken

    def drop_line(self) -> None:
        """Drop the beginning of a line that will not be completed."""
        self._framer.finish()
        self._tail_is_broken = False
        self.broken = None

    def _feed_lines(self, block: bytes, events: list[AnyEvent]) -> None:
        for line in block.split(b"\n"):
            line = line.strip()
            if line:
                try:
                    update = decode_update(line)
                except ProtocolError as error:
                    if not events:
                        raise
                    self.broken = error
                    return
                self.add(update, events)

    def add(self, update: Any, events: list[AnyEvent]) -> None:
        """Append the events of one decoded update, from the answer or from the resume log."""
        self._is_between = False  # only `feed` knows
        match update:
            case {"type": "stream", "token": str(token)}:
                before = len(events)
                token = token.replace("\0", "")
                self.text_units += utf16_length(token)
                self._add_text(_joined_text(self._halves, token), events)
                if len(update) > 2:
                    extra = {key: value for key, value in update.items() if key not in ("type", "token")}
                    for event in events[before:]:
                        event.extra = extra
            case {"type": "reasoning", "subtype": "stream", "token": str(token)}:
                self.thought_units += utf16_length(token)
                if text := _joined_text(self._thought_halves, token):
                    extra = {key: value for key, value in update.items() if key not in ("type", "subtype", "token")}
                    events.append(Reasoning(text, extra=extra or None))
            case {"type": "status", "status": "keepAlive"}:
                self.kept_alive = True
            case _:
                self.others += 1
                self.kinds[kind_of(update)] += 1
                event = parse_update(update, file_url=self._file_url)
                self._note(event)
                if isinstance(event, FinalAnswer) and "webSources" in (event.extra or ()):
                    from hfclient.chat.legacy.updates import web_sources  # not loaded for today's servers

                    events += filter(None, [web_sources(event)])
                events.append(event)

    def _note(self, event: AnyEvent) -> None:
        if isinstance(event, FinalAnswer):
            self.ended = self.answered = True
        elif isinstance(event, Elicitation) and event.expires_at is None:
            self.ended = True
        elif isinstance(event, Status):
            if event.status == "error":
                self.error = event
            elif event.status == "finished":
                self.ended = self.finished = True

    @property
    def held_units(self) -> int:
        """UTF-16 units that wait for further text: half a character, or the possible start of a tag."""
        return len(self._halves.held) + utf16_length(self._thinking.held)

    def _add_text(self, text: str, events: list[AnyEvent]) -> None:
        for inside, piece in self._thinking.feed(text):
            events.append(Reasoning(piece) if inside else Token(piece))


def _joined_text(joiner: SurrogateJoiner, text: str) -> str:
    return joiner.feed(text) if joiner.held or not text.isascii() else text


def kind_of(update: Any) -> str:
    """Return a key that is equal for two records of the same update."""
    if not isinstance(update, dict):
        return ""
    return "/".join(str(update.get(name) or "") for name in ("type", "subtype", "status", "uuid"))


def decode_update(line: bytes) -> Any:
    """Return the update in one line, or in one frame of the resume log.

    Raises:
        ProtocolError: It is not JSON, or nests too deeply to be encoded again.
    """
    try:
        update = _decode_line(line)
        if line.count(b"{") + line.count(b"[") > _MAX_DEPTH and is_deep(update, _MAX_DEPTH):
            raise ProtocolError("the server sent a line that nests too deeply", frame=excerpt(line))
        return update
    except _MISFITS:
        try:
            import json  # imported late: rarely needed

            update = json.loads(line)  # takes half characters and NaN, which msgspec does not
            if isinstance(update, dict):  # the other half of a token's character may be in the next token; other texts are complete
                return {repair_all(key): value if key == "token" else repair_all(value) for key, value in update.items()}
            return repair_all(update)
        except (ValueError, RecursionError):
            raise ProtocolError("the server sent a line that is not JSON", frame=excerpt(line)) from None
