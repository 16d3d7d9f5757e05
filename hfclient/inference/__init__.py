"""Hugging Face inference, and every server that speaks the same protocol: answers as streams of events, pictures, videos."""

from hfclient.inference.catalogue import ServedModel
from hfclient.inference.client import InferenceClient
from hfclient.inference.images import Image, Video
from hfclient.inference.jobs import Job
from hfclient.inference.stream import CompletionStream

__all__ = ["CompletionStream", "Image", "InferenceClient", "Job", "ServedModel", "Video"]
