"""Incomplete JSON: the values that are certain so far.

Not jiter (0.19): its partial mode returns an incomplete number, loses all values before a syntax error, raises for an
incomplete escape (``\\ud83d\\ude``), and does not say where the value ends.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any

from hfclient.decoding.json_repair import loads, scrub

__all__ = ["NOTHING", "PartialJSON"]

NOTHING: Any = type("Nothing", (), {"__repr__": lambda self: "NOTHING", "__bool__": lambda self: False})()
"""The value before the first bracket (None is JSON's null)."""

_MAX_DEPTH = 500  # decoders do not read much deeper, and all open brackets are closed for each value
_PLAIN = re.compile(r'[^"\\]*')
_SCALAR = re.compile(r"[^\s,\]}\"{\[:]*")
_WORD = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null|NaN|-?Infinity")
_ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})')
_CLOSERS = {"{": "}", "[": "]"}


class PartialJSON:
    """Reads one JSON object or array in chunks; :meth:`value` returns what is certain so far.

        >>> partial = PartialJSON()
        >>> partial.feed('Sure: {"name": "Ada", "born": 18')
        >>> partial.value()
        {'name': 'Ada'}

    Text before the first ``{`` or ``[`` and after the end is skipped. A string is certain as far as it has arrived; a number,
    a key, ``true`` and the like only when complete. A syntax error ends the reading, and the value stays. A bracket
    without a value in it counts as prose then, such as "[sic]".

    Args:
        openers: The brackets that it may begin with.

    Attributes:
        complete: Whether the end has arrived.
        size: Characters read so far, from the first bracket on.
    """

    def __init__(self, openers: str = "{[") -> None:
        self._openers = openers
        self._begin()

    def _begin(self) -> None:
        self.complete = False
        self.size = 0
        self._pieces: list[str] = []
        self._closers: list[str] = []
        self._state = "start"  # start, value, first (value or end), key, first_key, colon, after, string, scalar, end
        self._is_key = False
        self._escape = ""  # an escape sequence that has begun
        self._scalar = ""  # a number or a word that has begun
        self._half = 0  # length of an escaped high surrogate that waits for its low one
        # The text up to `_safe` is valid JSON with these brackets appended.
        self._safe = 0
        self._safe_closers = ""
        self._progress = False  # a key or an item has arrived
        self._last: Any = NOTHING

    def feed(self, text: str) -> None:
        """Read the next chunk."""
        while text and self._state != "end":
            if self._state == "start":
                places = [place for opener in self._openers if (place := text.find(opener)) >= 0]
                if not places:
                    return
                text = text[min(places) :]
                self._state = "value"
            self._pieces.append(text)
            place = 0
            while place < len(text) and self._state != "end":
                place = self._step(text, place)
            self.size += place
            if self._state == "end" and not self.complete and not self._progress:
                text = text[place:]  # a bracket in the prose, as in "[sic]": try the next one
                self._begin()
            else:
                text = ""

    def _step(self, text: str, place: int) -> int:
        """Read at *place*; return the position of the next step."""
        if self._state == "string":
            return self._in_string(text, place)
        if self._state == "scalar":
            end = _end_of(_SCALAR, text, place)
            self._scalar += text[place:end]
            if end < len(text):
                self._end_scalar(end)
            return end
        char = text[place]
        if char in " \t\r\n":
            return place + 1
        match self._state, char:
            case ("value" | "first"), ("{" | "[") if len(self._closers) < _MAX_DEPTH:
                self._closers.append(_CLOSERS[char])
                self._state = "first_key" if char == "{" else "first"
                self._mark(place + 1)
            case ("value" | "first"), '"':
                self._state, self._is_key = "string", False
            case ("key" | "first_key"), '"':
                self._state, self._is_key = "string", True
            case ("first" | "after"), "]":
                self._close(char, place)
            case ("first_key" | "after"), "}":
                self._close(char, place)
            case "after", ",":
                self._state = "key" if self._closers[-1] == "}" else "value"
            case "colon", ":":
                self._state = "value"
            case ("value" | "first"), char if char in "-0123456789tfnNI":
                self._state, self._scalar = "scalar", ""
                return place
            case _:
                self._state = "end"  # a syntax error
        return place + 1

    def _end_scalar(self, place: int) -> None:
        if _WORD.fullmatch(self._scalar):
            self._progress = True
            self._state = "after"
            self._mark(place)
        else:
            self._state = "end"

    def _close(self, char: str, place: int) -> None:
        if self._closers[-1] != char:
            self._state = "end"
            return
        self._closers.pop()
        self._mark(place + 1)
        self._state = "after" if self._closers else "end"
        self.complete = not self._closers

    def _in_string(self, text: str, place: int) -> int:
        if self._escape:
            self._escape += text[place]
            if len(self._escape) == (6 if self._escape[1] == "u" else 2):
                self._end_escape(place + 1)
            return place + 1
        end = _end_of(_PLAIN, text, place)
        if end > place:
            self._half = 0
        if end < len(text):
            if text[end] == "\\":
                self._escape = "\\"
            else:
                self._half = 0
                self._progress = True
                self._state = "colon" if self._is_key else "after"
                if not self._is_key:
                    self._mark(end + 1)
            end += 1
        return end

    def _end_escape(self, place: int) -> None:
        if not _ESCAPE.fullmatch(self._escape):
            if not self._is_key:  # the string up to here stays
                self._mark(place - len(self._escape) - self._half)
                self._safe_closers = '"' + self._safe_closers
            self._state = "end"
        first_half = self._escape[1] == "u" and self._escape[2:4].lower() in ("d8", "d9", "da", "db")
        self._half = len(self._escape) if first_half else 0
        self._escape = ""

    def _mark(self, place: int) -> None:
        self._safe = self.size + place
        self._safe_closers = "".join(reversed(self._closers))

    def value(self) -> Any:
        """Return what is certain so far, as a new value; `NOTHING` before the first bracket."""
        text = "".join(self._pieces)
        self._pieces[:] = [text]
        if self._state == "string" and not self._is_key:
            end = len(text) - len(self._escape) - self._half
            whole = text[:end] + '"' + "".join(reversed(self._closers))
        elif self._safe:
            whole = text[: self._safe] + self._safe_closers
        else:
            return NOTHING
        with contextlib.suppress(ValueError):  # nested too deeply, or a number is too long: the last value stays
            self._last = scrub(loads(whole.encode("utf-8", "surrogatepass")))
        return self._last


def _end_of(pattern: re.Pattern[str], text: str, place: int) -> int:
    """Return the end of the match of *pattern* at *place*; *place* if it does not match."""
    found = pattern.match(text, place)
    return place if found is None else found.end()
