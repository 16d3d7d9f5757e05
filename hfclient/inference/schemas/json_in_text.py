"""JSON in the text of a model: the top-level values, also in code blocks or prose.

Values inside a value that is broken or cut off are not returned.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from hfclient.decoding.json_repair import loads_repaired
from hfclient.decoding.utf16 import repair_all
from hfclient.inference.schemas.type_schemas import SchemaMismatch

__all__ = ["json_values"]

_PLACE = re.compile(r"(?P<fence>```[A-Za-z0-9_+-]*[ \t]*\n(?P<block>.*?)```)|[\[{]", re.DOTALL)
# A bracket followed by this begins a value, or a malformed one: {"a": 1, {'a': 1, {a: 1, {/* a */, [{, [1, 2
_BEGUN = re.compile(
    r"\{\s*(?:[\"'/{\[]|[\w$-]+\s*(?:[\"']\s*)?:)|\[\s*(?:[\"'\[{/]|-?[0-9][0-9.eE+-]*\s*,|(?:true|false|null|None|True|False)\s*,)"
)
# A value after this belongs to a key: it is part of an object whose own bracket is missing or not recognized.
_KEYED = re.compile(r"(?:\A|[,{\[\n])\s*[\"'\u2018\u201c][^\"'\n\u2018-\u201d]*[\"'\u2019\u201d]\s*:\s*\Z")
# A string without an end matches up to the end of the text, so that the search stays linear.
_STEP = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_MAX_BRACKETS = 50  # brackets in prose that are tried
_MAX_KEY = 120  # characters before a value that are searched for a key
_BROKEN = "the JSON in the answer is broken or cut off"


def json_values(text: str) -> Iterator[Any]:
    """Yield the top-level JSON values in *text*, in order; all strings in them can be encoded.

        >>> list(json_values('Of course [sic]: {"a": [1]}'))
        [{'a': [1]}]

    If the whole text is one value, only that is yielded.

    Raises:
        SchemaMismatch: A value is malformed or cut off; the values before it have been yielded.
    """
    try:
        value = loads_repaired(text.strip().removeprefix("\ufeff").encode("utf-8", "replace"))
    except ValueError:
        pass
    else:
        yield value
        return
    place = looked_at = 0
    broken = False
    while looked_at < _MAX_BRACKETS and (found := _PLACE.search(text, place)):
        looked_at += 1
        if found["fence"]:
            try:
                value = loads_repaired(found["block"].strip().encode("utf-8", "replace"))
            except ValueError:
                place = found.start("block")  # the block is not JSON alone: search in it
                continue
            place = found.end()
            yield value
            continue
        start = found.start()
        try:
            value, place = json.JSONDecoder(strict=False).raw_decode(text, start)
            value = repair_all(value)
        except (ValueError, RecursionError):
            end = _end_of(text, start)
            if end is None and _BEGUN.match(text, start):
                raise SchemaMismatch(_BROKEN) from None
            broken = broken or _BEGUN.match(text, start) is not None
            place = start + 1 if end is None else end  # a bracket in the prose, or nested ones
            continue
        if text[place:].lstrip()[:1] in ("}", "]") or _KEYED.search(text, max(0, start - _MAX_KEY), start):
            raise SchemaMismatch(_BROKEN)  # part of a larger value without its start or end
        yield value
    if broken:
        raise SchemaMismatch(_BROKEN)


def _end_of(text: str, start: int) -> int | None:
    """Return the position after the bracket that closes the one at *start*, or None; brackets in strings do not count."""
    depth = 0
    for step in _STEP.finditer(text, start):
        if step[0] in "[{":
            depth += 1
        elif step[0] in "]}":
            depth -= 1
        if depth <= 0:
            return step.end()
    return None
