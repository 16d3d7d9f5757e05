"""The messages sent to the model: the path from the root to the new prompt, in the format of OpenAI-compatible APIs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hfclient.decoding.think_tags import split_thinking
from hfclient.files.data_urls import data_url
from hfclient.local.records import FileRecord, MessageRecord
from hfclient.local.upstream import UpstreamModel

__all__ = ["build_messages", "estimate_tokens", "title_of"]

CLIPBOARD = "application/vnd.chatui.clipboard"
_TEXT = ("application/json", "application/xml", "application/csv")

ReadFile = Callable[[str], "bytes | None"]
"""Returns the content of a stored file by its hash."""


def build_messages(path: list[MessageRecord], model: UpstreamModel, read: ReadFile) -> list[dict[str, Any]]:
    """Return the messages for *model*, without the oldest ones if all together exceed its context.

    Reasoning of earlier answers is left out, and empty answers are. The system prompt and the last message are always kept:
    if they are too long, the model's server answers with an error.

    Args:
        path: Messages from the root to the new user message.
        model: The model that answers.
        read: Reads a file by its hash.
    """
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for message in path:
        if message.role == "system":
            text = message.content or model.default_prompt or ""
            if text:
                system.append({"role": "system", "content": text})
        elif message.role == "user":
            turns.append({"role": "user", "content": _user_content(message, model, read)})
        elif answer := split_thinking(message.content)[0].strip():
            turns.append({"role": "assistant", "content": answer})
    if not system and model.default_prompt:
        system.append({"role": "system", "content": model.default_prompt})
    if model.prompt_tokens is not None:
        available = model.prompt_tokens - sum(map(_tokens, system))
        while len(turns) > 1 and sum(map(_tokens, turns)) > available:
            turns.pop(0)
        while len(turns) > 1 and turns[0]["role"] == "assistant":  # an answer without its prompt
            turns.pop(0)
    return system + turns


def _user_content(message: MessageRecord, model: UpstreamModel, read: ReadFile) -> Any:
    text = message.content
    images: list[dict[str, Any]] = []
    documents: list[str] = []
    for file in message.files:
        if file.mime == CLIPBOARD:
            text = f"{_read_text(file, read)}\n\n{text}"
        elif file.mime.startswith("text/") or file.mime in _TEXT:
            documents.append(f"The file {file.name!r} ({file.mime}):\n```\n{_read_text(file, read)}\n```")
        elif file.mime.startswith("image/") and model.multimodal:
            images.append({"type": "image_url", "image_url": {"url": data_url(read(file.sha) or b"", file.mime)}})
    text = "\n\n".join([*documents, text])
    return [{"type": "text", "text": text}, *images] if images else text


def _read_text(file: FileRecord, read: ReadFile) -> str:
    return (read(file.sha) or b"").decode("utf-8", "replace")


def _tokens(message: dict[str, Any]) -> int:
    content = message["content"]
    if not isinstance(content, str):
        content = "".join(part.get("text", "") for part in content)
    return estimate_tokens(content) + 8  # the chat template's tokens around each message


def estimate_tokens(text: str) -> int:
    """Return an upper estimate of the number of tokens in *text*.

    English prose has four or more characters per token, code and numbers about two; scripts outside a small vocabulary take
    up to one token per byte.

        >>> estimate_tokens("Why is the sky blue?")
        7
    """
    ascii_count = sum(char < "\x80" for char in text)
    return (ascii_count + 2) // 3 + len(text.encode("utf-8", "replace")) - ascii_count


def title_of(prompt: str) -> str:
    """Return a conversation's title: the first five words of its first prompt, at most 100 characters.

    >>> title_of("Why is the sky so very blue?")
    'Why is the sky so'
    """
    return " ".join(prompt.split()[:5])[:100].strip() or "New Chat"
