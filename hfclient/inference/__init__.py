"""Hugging Face inference, and every server that speaks the same protocol: answers as streams of events, pictures, videos."""

from hfclient.inference.client import InferenceClient
from hfclient.inference.completions.roles import AssistantMessage, SystemMessage, ToolMessage, UserMessage
from hfclient.inference.completions.stream import CompletionStream
from hfclient.inference.composed.structured import ParseStream
from hfclient.inference.composed.toolloop import ToolStream
from hfclient.inference.media.images import Image, Video
from hfclient.inference.media.jobs import Job
from hfclient.inference.models.catalogue import Offer, ServedModel
from hfclient.inference.models.hub import DefaultModels, HubModel
from hfclient.inference.schemas.functions import Tool
from hfclient.inference.tasks import Transcript
from hfclient.inference.tasks.audio import Audio
from hfclient.inference.text.generation_events import TextStream

__all__ = [
    "AssistantMessage",
    "Audio",
    "CompletionStream",
    "DefaultModels",
    "HubModel",
    "Image",
    "InferenceClient",
    "Job",
    "Offer",
    "ParseStream",
    "ServedModel",
    "SystemMessage",
    "TextStream",
    "Tool",
    "ToolMessage",
    "ToolStream",
    "Transcript",
    "UserMessage",
    "Video",
]
