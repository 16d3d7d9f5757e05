"""JSON in what a model wrote: the values at the top, which may stand in a code block or in prose.

A piece of a value is never one: what stands inside a value that is broken, or cut off, is not looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from hfclient.decoding.json_repair import loads_mended
from hfclient.decoding.utf16 import mend_all
from hfclient.inference.schemas.type_schemas import SchemaMismatch

__all__ = ["json_values"]

_PLACE = re.compile(r"(?P<fence>```[A-Za-z0-9_+-]*[ \t]*\n(?P<block>.*?)```)|[\[{]", re.DOTALL)
# A bracket with this behind it begins a value, or what was meant as one: {"a": 1, {'a': 1, {a: 1, {/* a */, [{, [1, 2
_BEGUN = re.compile(
    r"\{\s*(?:[\"'/{\[]|[\w$-]+\s*(?:[\"']\s*)?:)|\[\s*(?:[\"'\[{/]|-?[0-9][0-9.eE+-]*\s*,|(?:true|false|null|None|True|False)\s*,)"
)
# Behind this stands what belongs to a key: a piece of an object whose own bracket is missing, or is not seen as one.
_KEYED = re.compile(r"(?:\A|[,{\[\n])\s*[\"'\u2018\u201c][^\"'\n\u2018-\u201d]*[\"'\u2019\u201d]\s*:\s*\Z")
_STEP = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)  # to the end if it is not closed, or each quote looks for one
_MOST_PLACES = 50  # brackets in prose that are looked at
_LONGEST_KEY = 120  # characters in front of a value that are looked at
_BROKEN = "the JSON in the answer is broken, or breaks off"


def json_values(text: str) -> Iterator[Any]:
    """Yield the JSON values at the top of *text*, in order; every string in them can be encoded.

        >>> list(json_values('Of course [sic]: {"a": [1]}'))
        [{'a': [1]}]

    If the text is one value as a whole, that is the only one.

    Raises:
        SchemaMismatch: What was meant as a value is none, or breaks off; what stood before it was yielded.
    """
    try:
        value = loads_mended(text.strip().removeprefix("\ufeff").encode("utf-8", "replace"))
    except ValueError:
        pass
    else:
        yield value
        return
    place = looked_at = 0
    broken = False
    while looked_at < _MOST_PLACES and (found := _PLACE.search(text, place)):
        looked_at += 1
        if found["fence"]:
            try:
                value = loads_mended(found["block"].strip().encode("utf-8", "replace"))
            except ValueError:
                place = found.start("block")  # not JSON alone: look at what is in it
                continue
            place = found.end()
            yield value
            continue
        start = found.start()
        try:
            value, place = json.JSONDecoder(strict=False).raw_decode(text, start)
            value = mend_all(value)
        except (ValueError, RecursionError):
            end = _end_of(text, start)
            if end is None and _BEGUN.match(text, start):
                raise SchemaMismatch(_BROKEN) from None
            broken = broken or _BEGUN.match(text, start) is not None
            place = start + 1 if end is None else end  # a bracket in the prose, or several around each other
            continue
        if text[place:].lstrip()[:1] in ("}", "]") or _KEYED.search(text, max(0, start - _LONGEST_KEY), start):
            raise SchemaMismatch(_BROKEN)  # something is around it, whose beginning or end is missing
        yield value
    if broken:
        raise SchemaMismatch(_BROKEN)


def _end_of(text: str, start: int) -> int | None:
    """Return where the bracket at *start* is closed, or None if it is not; brackets in quotes do not count."""
    depth = 0
    for step in _STEP.finditer(text, start):
        if step[0] in "[{":
            depth += 1
        elif step[0] in "]}":
            depth -= 1
        if depth <= 0:
            return step.end()
    return None
