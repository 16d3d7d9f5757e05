"""Hugging Face inference, and every server that speaks the same protocol: answers as streams of events, pictures, videos."""

from hfclient.inference.client import InferenceClient
from hfclient.inference.completions.roles import AssistantMessage, SystemMessage, ToolMessage, UserMessage
from hfclient.inference.completions.stream import CompletionStream
from hfclient.inference.media.images import Image, Video
from hfclient.inference.media.jobs import Job
from hfclient.inference.models.catalogue import Offer, ServedModel
from hfclient.inference.models.hub import DefaultModels, HubModel
from hfclient.inference.models.mapping import ProviderEntry
from hfclient.inference.schemas.tools import Tool
from hfclient.inference.structured_output import ParseStream
from hfclient.inference.tasks import (
    Box,
    BoxedObject,
    Classification,
    ExtractedAnswer,
    MaskFill,
    Ranking,
    Segment,
    Span,
    TableAnswer,
    Transcript,
    TranscriptChunk,
)
from hfclient.inference.tasks.audio import Audio
from hfclient.inference.text.generation_events import TextStream
from hfclient.inference.tool_loop import ToolStream

__all__ = [
    "AssistantMessage",
    "Audio",
    "Box",
    "BoxedObject",
    "Classification",
    "CompletionStream",
    "DefaultModels",
    "ExtractedAnswer",
    "HubModel",
    "Image",
    "InferenceClient",
    "Job",
    "MaskFill",
    "Offer",
    "ParseStream",
    "ProviderEntry",
    "Ranking",
    "Segment",
    "ServedModel",
    "Span",
    "SystemMessage",
    "TableAnswer",
    "TextStream",
    "Tool",
    "ToolMessage",
    "ToolStream",
    "Transcript",
    "TranscriptChunk",
    "UserMessage",
    "Video",
]
