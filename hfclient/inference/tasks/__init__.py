"""Embeddings, speech, and the tasks of pipelines: classification, extraction, question answering, ..."""

from hfclient.inference.tasks.table import TASKS, Task, find_task
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
    "find_task",
]
