"""What clients of these formats post: UI messages of the AI SDK, chat completion requests of OpenAI's clients.

All of it was written by a browser: it is checked before it is used, and what cannot be used is an `InvalidRequest`. Files come as
``data:`` URLs only. Any other URL, and a path, could make the application fetch or read what the browser must not see.

Reference: the npm package ``ai``, version 6.0.326: ``src/ui/ui-messages.ts``, ``src/ui/http-chat-transport.ts``;
https://platform.openai.com/docs/api-reference/chat/create, of November 2026
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any
from urllib.parse import unquote_to_bytes

from attrs import field, frozen

from hfclient.web.errors import InvalidRequest

__all__ = ["CompletionRequest", "UIRequest", "parse_completion_request", "parse_ui_request"]

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w.+-]+=[^;,]*)*(;base64)?,", re.IGNORECASE | re.ASCII)
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
_LONGEST_HEAD = 256  # characters of a data: URL before its data
_OPTIONS = frozenset({
    "frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens", "parallel_tool_calls",
    "presence_penalty", "reasoning_effort", "response_format", "seed", "stop", "temperature", "tool_choice", "tools",
    "top_logprobs", "top_p",
})  # fmt: skip


@frozen
class UIRequest:
    """What ``useChat`` posts.

    Attributes:
        prompt: The text of the last message of the user; empty if it has only files.
        files: Its files, as ``(name, content, media type)``: for ``files=`` of `Conversation.send`.
        messages: The whole conversation, for `InferenceClient.chat`. System messages are left out: the application sets them.
        chat_id: The browser's id of the chat, or None.
        message_id: The message to generate again, or None.
        trigger: ``"submit-message"`` or ``"regenerate-message"``.
    """

    prompt: str
    files: list[tuple[str, bytes, str]] = field(repr=False)
    messages: list[dict[str, Any]] = field(repr=False)
    chat_id: str | None
    message_id: str | None
    trigger: str


@frozen
class CompletionRequest:
    """A request for a chat completion.

    Attributes:
        messages: For `InferenceClient.chat`, which checks them further.
        model: The requested model; empty if none is named.
        stream: Whether the answer is wanted in chunks.
        include_usage: Whether the chunks end with the usage.
        options: Further arguments for `InferenceClient.chat`, such as ``temperature``. Those without an effect there (``user``,
            ``metadata``, ``store``, ...) are left out.
    """

    messages: list[dict[str, Any]] = field(repr=False)
    model: str
    stream: bool
    include_usage: bool
    options: dict[str, Any]


def parse_completion_request(body: object) -> CompletionRequest:
    """Return the request for a chat completion in the JSON *body*.

    Raises:
        InvalidRequest: It is not one, or asks for several answers (``n``).
    """
    data = _object(body, "the body")
    messages = _objects(data.get("messages"), "messages")
    if not messages:
        raise InvalidRequest("messages is empty")
    for message in messages:
        _text(message.get("role"), "role")
    if data.get("n") not in (None, 1):
        raise InvalidRequest("n: one answer at a time")
    usage = _object(data.get("stream_options") or {}, "stream_options").get("include_usage", False)
    options = {name: data[name] for name in _OPTIONS & set(data) if data[name] is not None}
    return CompletionRequest(messages, _text(data.get("model") or "", "model"), data.get("stream") is True, usage is True, options)


def parse_ui_request(body: object, *, max_text: int = 1_000_000, max_files: int = 10, max_file_bytes: int = 20_000_000) -> UIRequest:
    """Return what ``useChat`` posted, from the JSON *body*.

    Args:
        body: The body as Python objects: ``request.get_json(silent=True)``, ``json.loads(request.body)``.
        max_text: The most characters of text in all messages.
        max_files: The most files in all messages.
        max_file_bytes: The most bytes of one file.

    Raises:
        InvalidRequest: It is not a list of UI messages with a last one of the user, a file is not a ``data:`` URL, or a limit is
            exceeded.
    """
    data = _object(body, "the body")
    trigger = data.get("trigger", "submit-message")
    if trigger not in ("submit-message", "regenerate-message"):
        raise InvalidRequest("trigger is submit-message or regenerate-message")
    reader = _Messages(max_text, max_files, max_file_bytes)
    messages: list[dict[str, Any]] = []
    last: tuple[str, list[tuple[str, bytes, str]]] | None = None
    for message in _objects(data.get("messages"), "messages"):
        parts = _objects(message.get("parts"), "parts")
        match message.get("role"):
            case "user":
                last = reader.user(parts, messages)
            case "assistant":
                reader.assistant(parts, messages)
                # Only with results of tools that the browser ran is there something to answer behind it.
                last = ("", []) if messages and messages[-1]["role"] == "tool" else None
            case "system":
                pass
            case _:
                raise InvalidRequest("role is user, assistant or system")
    if last is None:
        raise InvalidRequest("the last message is not one of the user")
    return UIRequest(*last, messages, _id(data.get("id"), "id"), _id(data.get("messageId"), "messageId"), trigger)


class _Messages:
    """Turns UI messages into messages of a chat completion, within limits."""

    def __init__(self, max_text: int, max_files: int, max_file_bytes: int) -> None:
        self._text_left = max_text
        self._files_left = max_files
        self._max_file_bytes = max_file_bytes

    def user(self, parts: list[dict[str, Any]], messages: list[dict[str, Any]]) -> tuple[str, list[tuple[str, bytes, str]]]:
        """Add a message of the user; return its text and files."""
        texts: list[str] = []
        files: list[tuple[str, bytes, str]] = []
        content: list[dict[str, Any]] = []
        for part in parts:
            match part.get("type"):
                case "text":
                    texts.append(self._read(part.get("text")))
                case "file":
                    files.append(self._file(part))
                    content.append(_content_part(files[-1]))
                case _:
                    pass  # data parts of the application's own
        text = "\n".join(texts)
        if not text.strip() and not files:
            raise InvalidRequest("a message of the user is empty")
        first = [{"type": "text", "text": text}] if text else []
        messages.append({"role": "user", "content": [*first, *content] if content else text})
        return text, files

    def assistant(self, parts: list[dict[str, Any]], messages: list[dict[str, Any]]) -> None:
        """Add an answer and the calls that the browser ran; reasoning, sources, and calls that the server ran are left out."""
        texts: list[str] = []
        calls: list[dict[str, Any]] = []
        results: list[dict[str, Any]] = []
        for part in parts:
            kind = part.get("type")
            if kind == "text":
                texts.append(self._read(part.get("text")))
            elif isinstance(kind, str) and kind.startswith("tool-") and not part.get("providerExecuted"):
                if part.get("state") not in ("output-available", "output-error"):
                    continue
                call_id = _text(part.get("toolCallId"), "toolCallId")
                output = part.get("output") if part["state"] == "output-available" else part.get("errorText")
                written = self._read(output if isinstance(output, str) else _json(output))
                arguments = self._read(_json(part.get("input", {})))
                function = {"name": kind.removeprefix("tool-"), "arguments": arguments}
                calls.append({"id": call_id, "type": "function", "function": function})
                results.append({"role": "tool", "tool_call_id": call_id, "content": written})
        text = "".join(texts)
        if calls:
            messages.append({"role": "assistant", "content": text or None, "tool_calls": calls})
            messages.extend(results)
        elif text:
            messages.append({"role": "assistant", "content": text})

    def _read(self, value: object) -> str:
        text = _text(value, "text")
        self._text_left -= len(text)
        if self._text_left < 0:
            raise InvalidRequest("the messages are too long")
        return text

    def _file(self, part: dict[str, Any]) -> tuple[str, bytes, str]:
        self._files_left -= 1
        if self._files_left < 0:
            raise InvalidRequest("there are too many files")
        url = _text(part.get("url"), "url")
        match = _DATA_URL.match(url[:_LONGEST_HEAD])
        if match is None:
            raise InvalidRequest("a file is a data: URL")
        if len(url) - match.end() > self._max_file_bytes * (4 / 3) + 4:
            raise InvalidRequest("a file is too large")
        try:
            content = base64.b64decode(url[match.end() :], validate=True) if match[2] else unquote_to_bytes(url[match.end() :])
        except (binascii.Error, ValueError):
            raise InvalidRequest("a file is not valid base64") from None
        if len(content) > self._max_file_bytes:
            raise InvalidRequest("a file is too large")
        name = part.get("filename")
        claimed = part.get("mediaType")
        media_type = claimed if isinstance(claimed, str) and _MEDIA_TYPE.fullmatch(claimed) else match[1]
        # The name is shown to the model and to other programs: without folders and control characters.
        name = re.sub(r"[\x00-\x1f\x7f]", "", re.split(r"[\\/]", name)[-1])[:255] if isinstance(name, str) else ""
        return name or "file", content, media_type or "application/octet-stream"


def _content_part(file: tuple[str, bytes, str]) -> dict[str, Any]:
    name, content, media_type = file
    url = f"data:{media_type};base64,{base64.b64encode(content).decode()}"
    if media_type.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": "file", "file": {"filename": name, "file_data": url}}


def _json(value: object) -> str:
    try:
        return json.dumps(value)
    except RecursionError:
        raise InvalidRequest("a message nests too deeply") from None


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidRequest(f"{what} is a JSON object")
    return value


def _objects(value: object, what: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InvalidRequest(f"{what} is a list of JSON objects")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise InvalidRequest(f"{what} is a string")
    return value


def _id(value: object, what: str) -> str | None:
    return None if value is None else _text(value, what)[:256]
