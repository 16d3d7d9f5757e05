"""Hugging Face inference, and every server that speaks the same protocol: answers as streams of events, pictures, videos."""

from hfclient.inference.audio import Audio
from hfclient.inference.catalogue import Offer, ServedModel
from hfclient.inference.client import InferenceClient
from hfclient.inference.functions import Tool
from hfclient.inference.generation_events import TextStream
from hfclient.inference.hub import DefaultModels, HubModel
from hfclient.inference.images import Image, Video
from hfclient.inference.jobs import Job
from hfclient.inference.roles import AssistantMessage, SystemMessage, ToolMessage, UserMessage
from hfclient.inference.stream import CompletionStream
from hfclient.inference.structured import ParseStream
from hfclient.inference.tasks import Transcript
from hfclient.inference.toolloop import ToolStream

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
