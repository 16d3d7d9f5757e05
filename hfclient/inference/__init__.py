"""Hugging Face inference, and every server that speaks the same protocol: answers as streams of events, pictures, videos."""

from hfclient.inference.catalogue import ServedModel
from hfclient.inference.client import InferenceClient
from hfclient.inference.functions import Tool
from hfclient.inference.images import Image, Video
from hfclient.inference.jobs import Job
from hfclient.inference.roles import AssistantMessage, SystemMessage, ToolMessage, UserMessage
from hfclient.inference.stream import CompletionStream
from hfclient.inference.structured import ParseStream
from hfclient.inference.toolloop import ToolStream

__all__ = [
    "AssistantMessage",
    "CompletionStream",
    "Image",
    "InferenceClient",
    "Job",
    "ParseStream",
    "ServedModel",
    "SystemMessage",
    "Tool",
    "ToolMessage",
    "ToolStream",
    "UserMessage",
    "Video",
]
