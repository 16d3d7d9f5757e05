"""Hugging Face inference, and every OpenAI-compatible server: answers as streams of events, images, videos, speech.

The names are imported when they are used first, because all modules together take long to import.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import hfclient.redaction.logs  # noqa: F401 (installs the filter of the loggers)

if TYPE_CHECKING:
    from hfclient.inference.client import InferenceClient
    from hfclient.inference.completions.roles import AssistantMessage, SystemMessage, ToolMessage, UserMessage
    from hfclient.inference.completions.stream import CompletionStream
    from hfclient.inference.media.image_lists import Images
    from hfclient.inference.media.images import Image, Video
    from hfclient.inference.media.jobs import Job
    from hfclient.inference.models.account import Account, Organisation
    from hfclient.inference.models.hub import DefaultModels, HubModel, HubModels
    from hfclient.inference.models.mapping import ProviderEntry
    from hfclient.inference.models.served_models import Offer, ServedModel
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

_MODULES = {
    "client": ("InferenceClient",),
    "completions.roles": ("AssistantMessage", "SystemMessage", "ToolMessage", "UserMessage"),
    "completions.stream": ("CompletionStream",),
    "media.image_lists": ("Images",),
    "media.images": ("Image", "Video"),
    "media.jobs": ("Job",),
    "models.account": ("Account", "Organisation"),
    "models.served_models": ("Offer", "ServedModel"),
    "models.hub": ("DefaultModels", "HubModel", "HubModels"),
    "models.mapping": ("ProviderEntry",),
    "schemas.tools": ("Tool",),
    "structured_output": ("ParseStream",),
    "tasks.audio": ("Audio",),
    "tasks.values": (
        *("Box", "BoxedObject", "Classification", "ExtractedAnswer", "MaskFill", "Ranking", "Segment", "Span"),
        *("TableAnswer", "Transcript", "TranscriptChunk"),
    ),
    "text.generation_events": ("TextStream",),
    "tool_loop": ("ToolStream",),
}

__all__ = [
    "Account",
    "AssistantMessage",
    "Audio",
    "Box",
    "BoxedObject",
    "Classification",
    "CompletionStream",
    "DefaultModels",
    "ExtractedAnswer",
    "HubModel",
    "HubModels",
    "Image",
    "Images",
    "InferenceClient",
    "Job",
    "MaskFill",
    "Offer",
    "Organisation",
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


def __getattr__(name: str) -> Any:
    """Import the module of a name."""
    for module, names in _MODULES.items():
        if name in names:
            value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return all names, including those that are not imported yet."""
    return sorted({*globals(), *__all__})
