"""Formats of bodies. One of your own is a class with the methods of `Format`."""

from hfclient.web.formats.ai_sdk import UIMessageStream
from hfclient.web.formats.base import Format, event_json, json_line
from hfclient.web.formats.openai import ChatCompletionChunks, chat_completion, error_body
from hfclient.web.formats.own import EventStream, JsonLines, Text
from hfclient.web.formats.requests import CompletionRequest, UIRequest, parse_completion_request, parse_ui_request

__all__ = [
    "ChatCompletionChunks",
    "CompletionRequest",
    "EventStream",
    "Format",
    "JsonLines",
    "Text",
    "UIMessageStream",
    "UIRequest",
    "chat_completion",
    "error_body",
    "event_json",
    "json_line",
    "parse_completion_request",
    "parse_ui_request",
]
