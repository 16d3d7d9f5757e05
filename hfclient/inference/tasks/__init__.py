"""The smaller tasks: classification, extraction, question answering, speech. One table, and pure functions around it."""

from hfclient.inference.tasks.table import TASKS, Task, task_named
from hfclient.inference.tasks.values import (
    Box,
    BoxedObject,
    Classification,
    ExtractedAnswer,
    Finding,
    MaskFill,
    Ranking,
    Segment,
    Span,
    TableAnswer,
    Transcript,
    TranscriptChunk,
)

__all__ = [
    "TASKS",
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
    "Task",
    "Transcript",
    "TranscriptChunk",
    "task_named",
]
