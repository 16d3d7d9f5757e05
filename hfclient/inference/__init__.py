"""Hugging Face inference, and every server that speaks the same protocol: chat completions as streams of events."""

from hfclient.inference.catalogue import ServedModel
from hfclient.inference.client import InferenceClient
from hfclient.inference.stream import CompletionStream

__all__ = ["CompletionStream", "InferenceClient", "ServedModel"]
