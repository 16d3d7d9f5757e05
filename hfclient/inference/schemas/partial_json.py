"""JSON that is still being written: what is certain of it so far.

Not jiter (0.19): its partial mode takes a number that may go on for a whole one, loses all that came before a mistake, raises
for an escape that is cut (``\\ud83d\\ude``), and does not say where the value ends.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any

from hfclient.decoding.json_repair import loads, scrub

__all__ = ["NOTHING", "PartialJSON"]

NOTHING: Any = type("Nothing", (), {"__repr__": lambda self: "NOTHING", "__bool__": lambda self: False})()
"""What there is before anything has come (None would be JSON's null)."""

_DEEPEST = 500  # no decoder reads much deeper; and what is open is written down anew for every value
_PLAIN = re.compile(r'[^"\\]*')
_SCALAR = re.compile(r"[^\s,\]}\"{\[:]*")
_WORD = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null|NaN|-?Infinity")
_ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})')
_CLOSERS = {"{": "}", "[": "]"}


class PartialJSON:
    """Reads one JSON object or array that comes in pieces; :meth:`value` is what is certain of it.

        >>> partial = PartialJSON()
        >>> partial.feed('Sure: {"name": "Ada", "born": 18')
        >>> partial.value()
        {'name': 'Ada'}

    Text in front of the first ``{`` or ``[`` is skipped, and so is everything behind its end. A string is certain as far
    as it has come; a number, a key, ``true`` and the like only when whole. What is not JSON ends the reading, and the
    value stays as it was; only a bracket with nothing in it yet is taken back, as one of the prose, such as "[sic]".

    Args:
        openers: The brackets that it may begin with.

    Attributes:
        complete: The end has come.
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
        self._half = 0  # length of the escaped first half of a character that waits for its second
        # What can be cut out and closed: everything up to `_safe`, with these brackets.
        self._safe = 0
        self._safe_closers = ""
        self._progress = False  # a key or an item has come
        self._last: Any = NOTHING

    def feed(self, text: str) -> None:
        """Take the next piece."""
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
                text = text[place:]  # a bracket in the prose, as in "[sic]": the next one may be it
                self._begin()
            else:
                text = ""

    def _step(self, text: str, place: int) -> int:
        """Read on at *place*; return where the next step begins."""
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
            case ("value" | "first"), ("{" | "[") if len(self._closers) < _DEEPEST:
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
                self._state = "end"  # that is no JSON
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
            if not self._is_key:  # what was certain of the string stays
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
        """Return what is certain so far, as a fresh value; `NOTHING` before the first bracket."""
        text = "".join(self._pieces)
        self._pieces[:] = [text]
        if self._state == "string" and not self._is_key:
            end = len(text) - len(self._escape) - self._half
            whole = text[:end] + '"' + "".join(reversed(self._closers))
        elif self._safe:
            whole = text[: self._safe] + self._safe_closers
        else:
            return NOTHING
        with contextlib.suppress(ValueError):  # nested too deeply, or a number too long; what was there before still is
            self._last = scrub(loads(whole.encode("utf-8", "surrogatepass")))
        return self._last


def _end_of(pattern: re.Pattern[str], text: str, place: int) -> int:
    """Return where the characters end that *pattern* takes at *place*; it may take none."""
    found = pattern.match(text, place)
    return place if found is None else found.end()
