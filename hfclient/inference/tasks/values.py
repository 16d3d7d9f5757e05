"""Results of tasks: values with a label, a score and a position, and the server's entry in ``raw``."""

from __future__ import annotations

from typing import Any

import msgspec
from attrs import field, frozen

from hfclient.display import Displayed
from hfclient.events import Failover

__all__ = [
    "Box",
    "BoxedObject",
    "Classification",
    "ExtractedAnswer",
    "Finding",
    "MaskFill",
    "Ranking",
    "Segment",
    "Span",
    "TableAnswer",
    "Transcript",
    "TranscriptChunk",
]


@frozen
class Finding(Displayed):
    """One result of a task.

    Attributes:
        raw: The entry as the server sent it, with unknown fields.
    """

    raw: dict[str, Any] = field(factory=dict, repr=False, eq=False, kw_only=True)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON types, without *raw*; bytes become base64."""
        fields: dict[str, Any] = _without_raw(msgspec.to_builtins(self))
        return fields


def _without_raw(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_raw(item) for key, item in value.items() if key != "raw"}
    return [_without_raw(item) for item in value] if isinstance(value, (list, tuple)) else value


@frozen
class Classification(Finding):
    """A label for a text, an image or audio.

    Attributes:
        label: The label.
        score: Confidence, 0 to 1 unless *function_to_apply* says otherwise.
    """

    label: str
    score: float


@frozen
class Span(Finding):
    """An entity in a text, such as a name, or a word with its part of speech.

    Attributes:
        label: Such as ``"PER"``.
        word: The text, as the model's tokens spell it.
        score: Confidence, 0 to 1.
        start, end: Position in the text, in characters; None if unknown.
    """

    label: str
    word: str
    score: float
    start: int | None = None
    end: int | None = None


@frozen
class ExtractedAnswer(Finding):
    """An answer that was found in a text, an image or a document.

    Attributes:
        answer: The words.
        score: Confidence, 0 to 1; None if unknown.
        start, end: Position: characters of the text, or words of the document; None for images.
    """

    answer: str
    score: float | None = None
    start: int | None = None
    end: int | None = None


@frozen
class MaskFill(Finding):
    """A word for the mask in a text.

    Attributes:
        word: The word.
        score: Probability, 0 to 1.
        sequence: The whole text with it.
        token: Its id in the model's vocabulary, or None.
    """

    word: str
    score: float
    sequence: str = ""
    token: int | None = None


@frozen
class Box:
    """A rectangle in an image, in pixels from its upper left corner.

    Attributes:
        xmin, ymin, xmax, ymax: Its edges.
    """

    xmin: float
    ymin: float
    xmax: float
    ymax: float


@frozen
class BoxedObject(Finding):
    """An object in an image.

    Attributes:
        label: The label.
        score: Confidence, 0 to 1.
        box: Position.
    """

    label: str
    score: float
    box: Box


@frozen
class Segment(Finding):
    """A segment of an image.

    Attributes:
        label: The label.
        mask: A PNG of the image's size, white inside the segment.
        score: Confidence, 0 to 1; None if unknown.
    """

    label: str
    mask: bytes = field(repr=False)
    score: float | None = None


@frozen
class TableAnswer(Finding):
    """An answer to a question about a table.

    Attributes:
        answer: The answer as text.
        cells: The cells that it uses.
        coordinates: Row and column of each of them, from 0.
        aggregator: The operation on them, such as ``"SUM"``, or None.
    """

    answer: str
    cells: tuple[str, ...] = ()
    coordinates: tuple[tuple[int, int], ...] = ()
    aggregator: str | None = None


@frozen
class TranscriptChunk(Finding):
    """A part of a transcript.

    Attributes:
        text: The words.
        start, end: In seconds; None if unknown, such as the end of audio that breaks off.
    """

    text: str
    start: float | None = None
    end: float | None = None


@frozen
class Transcript(Finding):
    """A transcript of speech.

    Attributes:
        text: All of it.
        chunks: Its parts with their times, if *timestamps* was given.
        language: The language that the server detected, or None.
        provider: The provider.
        request_id: The provider's id for the request, if it gave one.
        failovers: The providers that failed before this one.
    """

    text: str
    chunks: tuple[TranscriptChunk, ...] = ()
    language: str | None = None
    provider: str = ""
    request_id: str | None = None
    failovers: tuple[Failover, ...] = ()

    def __str__(self) -> str:
        return self.text


@frozen
class Ranking(Finding):
    """How well one of several texts fits a query.

    Attributes:
        index: Index of the text, from 0, in the order given.
        score: Relevance.
        text: The text, if the server returned it.
    """

    index: int
    score: float
    text: str | None = None
