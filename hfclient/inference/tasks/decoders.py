"""Decodes the answers of pipelines: pure functions, one for each form.

A task answers with a list or an object, nested once or twice, depending on the server's release. A missing or invalid field
of an entry raises an error, a new field is kept in ``raw``.

Reference: docs/protocol/inference ("Other tasks").
"""

from __future__ import annotations

from typing import Any

import msgspec

from hfclient.decoding.frames import excerpt
from hfclient.decoding.html_pages import describe_body, unexpected_content
from hfclient.decoding.json_repair import loads_repaired
from hfclient.decoding.json_values import int_or_none, number_or_none
from hfclient.errors import ProtocolError
from hfclient.files.data_urls import decode_base64, decode_data_url
from hfclient.inference.generation_errors import generation_error
from hfclient.inference.providers import Answer
from hfclient.inference.tasks.values import (
    Box,
    BoxedObject,
    Classification,
    ExtractedAnswer,
    MaskFill,
    Ranking,
    Segment,
    Span,
    TableAnswer,
)

__all__ = [
    "answers",
    "boxes",
    "classifications",
    "json_of",
    "mask_fills",
    "numbers",
    "objects",
    "plain_list",
    "rankings",
    "segments",
    "spans",
    "table_answer",
    "text_decoder",
    "unexpected_answer",
]


def json_of(answer: Answer) -> Any:
    """Return the JSON of an answer with status 200.

    Raises:
        ProtocolError: It is not JSON.
        GenerationError: It reports an error.
    """
    try:
        data = loads_repaired(answer.body)
    except ValueError:
        what = describe_body(answer.body, answer.content_type)
        raise unexpected_content(f"the answer should be JSON but is {what}", answer.body) from None
    if isinstance(data, dict) and data.get("error"):
        raise generation_error(data)
    return data


def unexpected_answer(data: Any, what: str) -> ProtocolError:
    """Return the error for an answer that is not *what* it should be."""
    try:
        shown = msgspec.json.encode(data)[:400]
    except (TypeError, ValueError, RecursionError):
        shown = repr(type(data)).encode()
    return ProtocolError(f"the answer is not {what}", frame=excerpt(shown))


def objects(data: Any, what: str) -> list[dict[str, Any]]:
    """Return the objects of a list; a single object is a list of one, a list in a list is that list."""
    while isinstance(data, list) and len(data) == 1 and isinstance(data[0], list):
        data = data[0]
    if isinstance(data, dict):
        data = [data]
    if not isinstance(data, list) or not all(isinstance(entry, dict) for entry in data):
        raise unexpected_answer(data, what)
    return data


def classifications(data: Any) -> list[Classification]:
    """Return labels with scores, best first; also from the older ``{"labels": [...], "scores": [...]}``."""
    what = "a list of labels with scores"
    entries = objects(data, what)
    if len(entries) == 1 and isinstance(entries[0].get("labels"), list):
        labels, scores = entries[0]["labels"], entries[0].get("scores")
        if not isinstance(scores, list) or len(scores) != len(labels):
            raise unexpected_answer(data, what)
        entries = [{"label": label, "score": score} for label, score in zip(labels, scores, strict=True)]
    found = [Classification(_text(e, "label", what), _number(e, "score", what), raw=e) for e in entries]
    return sorted(found, key=lambda one: -one.score)


def spans(data: Any) -> list[Span]:
    """Return the entities of a text; single tokens have ``entity``, groups ``entity_group``."""
    what = "a list of entities"
    return [
        Span(
            _text(entry, "entity_group" if isinstance(entry.get("entity_group"), str) else "entity", what),
            _text(entry, "word", what),
            _number(entry, "score", what),
            int_or_none(entry.get("start")),
            int_or_none(entry.get("end")),
            raw=entry,
        )
        for entry in objects(data, what)
    ]


def answers(data: Any) -> list[ExtractedAnswer]:
    """Return answers, best first."""
    what = "a list of answers"
    found = [
        ExtractedAnswer(
            _text(entry, "answer", what),
            None if entry.get("score") is None else _number(entry, "score", what),
            int_or_none(entry.get("start")),
            int_or_none(entry.get("end")),
            raw=entry,
        )
        for entry in objects(data, what)
    ]
    return sorted(found, key=lambda one: -(one.score or 0.0))


def mask_fills(data: Any) -> list[MaskFill] | list[list[MaskFill]]:
    """Return words for a mask; for several masks a list of words for each."""
    what = "a list of words"
    if isinstance(data, list) and len(data) > 1 and all(isinstance(entry, list) for entry in data):
        return [[_fill(entry, what) for entry in objects(gap, what)] for gap in data]
    return [_fill(entry, what) for entry in objects(data, what)]


def _fill(entry: dict[str, Any], what: str) -> MaskFill:
    sequence = entry.get("sequence")
    return MaskFill(
        _text(entry, "token_str", what),
        _number(entry, "score", what),
        sequence if isinstance(sequence, str) else "",
        int_or_none(entry.get("token")),
        raw=entry,
    )


def boxes(data: Any) -> list[BoxedObject]:
    """Return the objects in an image."""
    what = "a list of boxes"
    found = []
    for entry in objects(data, what):
        box = entry.get("box")
        if not isinstance(box, dict):
            raise unexpected_answer(data, what)
        edges = [_number(box, edge, what) for edge in ("xmin", "ymin", "xmax", "ymax")]
        found.append(BoxedObject(_text(entry, "label", what), _number(entry, "score", what), Box(*edges), raw=entry))
    return found


def segments(data: Any) -> list[Segment]:
    """Return the segments of an image with decoded masks."""
    what = "a list of masks"
    found = []
    for entry in objects(data, what):
        packed = _text(entry, "mask", what)
        mask = decode_data_url(packed) if packed.startswith("data:") else decode_base64(packed)
        if mask is None:
            raise unexpected_answer(data, what)
        score = None if entry.get("score") is None else _number(entry, "score", what)
        rest = {key: value for key, value in entry.items() if key != "mask"}
        found.append(Segment(_text(entry, "label", what), mask, score, raw=rest))
    return found


def table_answer(data: Any) -> TableAnswer:
    """Return the answer to a question about a table."""
    what = "an answer from a table"
    entries = objects(data, what)
    if not entries:
        raise unexpected_answer(data, what)
    entry = entries[0]
    cells, places = entry.get("cells"), entry.get("coordinates")
    aggregator = entry.get("aggregator")
    return TableAnswer(
        _text(entry, "answer", what),
        tuple(str(cell) for cell in cells) if isinstance(cells, list) else (),
        tuple((place[0], place[1]) for place in places if isinstance(place, list) and len(place) == 2)
        if isinstance(places, list)
        else (),
        aggregator if isinstance(aggregator, str) and aggregator.upper() != "NONE" else None,
        raw=entry,
    )


def text_decoder(*keys: str) -> Any:
    """Return a decoder for answers with a text under one of *keys*."""

    def decode(data: Any) -> str:
        if isinstance(data, str):
            return data
        entries = objects(data, "a text")
        for entry in entries[:1]:
            for key in keys:
                if isinstance(entry.get(key), str):
                    return str(entry[key])
        raise unexpected_answer(data, "a text")

    return decode


def numbers(data: Any) -> list[float]:
    """Return a list of numbers."""
    try:
        return msgspec.convert(data, list[float])
    except msgspec.ValidationError:
        raise unexpected_answer(data, "a list of numbers") from None


def plain_list(data: Any) -> list[Any]:
    """Return a list as it is: labels, or numbers."""
    if not isinstance(data, list):
        raise unexpected_answer(data, "a list")
    return data


def rankings(data: Any) -> list[Ranking]:
    """Return the ranking of texts, best first; also from ``{"results": [{"relevance_score": ...}]}``."""
    what = "a ranking"
    if isinstance(data, dict) and isinstance(data.get("results"), list):
        data = data["results"]
    found = []
    for entry in objects(data, what):
        index = int_or_none(entry.get("index"))
        if index is None:
            raise unexpected_answer(data, what)
        text = entry.get("text")
        score = _number(entry, "score" if "score" in entry else "relevance_score", what)
        found.append(Ranking(index, score, text if isinstance(text, str) else None, raw=entry))
    return sorted(found, key=lambda one: -one.score)


def _text(entry: dict[str, Any], key: str, what: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str):
        raise unexpected_answer(entry, what)
    return value


def _number(entry: dict[str, Any], key: str, what: str) -> float:
    value = entry.get(key)
    if (number := number_or_none(value)) is None:
        raise unexpected_answer(entry, what)
    return number
