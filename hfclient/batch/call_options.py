"""The options of `map` for each call: those of the batch and those of the method, for type checkers and editors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfclient.batch.options import MapOptions
from hfclient.chat import MessageOptions
from hfclient.inference.options import (
    ChatOptions,
    EmbedOptions,
    ImageOptions,
    ParseOptions,
    SpeakOptions,
    TaskOptions,
    ToolOptions,
    TranscribeOptions,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "MapChatOptions", "MapClassifyOptions", "MapConversationOptions", "MapEmbedOptions", "MapImageOptions", "MapParseOptions",
    "MapSpeakOptions", "MapTaskOptions", "MapToolOptions", "MapTranscribeOptions",
]  # fmt: skip


class MapConversationOptions(MapOptions, MessageOptions, total=False):  # progress is that of the batch
    """Options of `Client.map`: those of `MapOptions` and `MessageOptions`, and three more.

    Args:
        model: LLM that answers; None takes the server's default, which is looked up once.
        system_prompt: System prompt; None takes the model's own.
        temporary: Delete each conversation once its answer is complete. One that failed stays, so that it can continue.
    """

    model: str | None
    system_prompt: str | None
    temporary: bool


class MapChatOptions(MapOptions, ChatOptions, total=False):
    """Options of ``map(call="chat")``: those of `MapOptions` and `.ChatOptions`."""


class MapParseOptions(MapOptions, ParseOptions, total=False):
    """Options of ``map(call="parse")``: those of `MapOptions` and `.ParseOptions`."""


class MapToolOptions(MapOptions, ToolOptions, total=False):
    """Options of ``map(call="run_tools")``: those of `MapOptions` and `.ToolOptions`."""


class MapEmbedOptions(MapOptions, EmbedOptions, total=False):
    """Options of ``map(call="embed")``: those of `MapOptions` and `.EmbedOptions`."""


class MapTaskOptions(MapOptions, TaskOptions, total=False):
    """Options of ``map(call="task")`` and ``map(call="caption")``: those of `MapOptions` and `.TaskOptions`."""


class MapClassifyOptions(MapTaskOptions, total=False):
    """Options of ``map(call="classify")``: those of `MapTaskOptions`, and one more.

    Args:
        labels: The labels to choose from; None takes the model's own.
    """

    labels: Iterable[str] | None


class MapTranscribeOptions(MapOptions, TranscribeOptions, total=False):
    """Options of ``map(call="transcribe")``: those of `MapOptions` and `.TranscribeOptions`."""


class MapImageOptions(MapOptions, ImageOptions, total=False):  # progress is that of the batch
    """Options of ``map(call="image")``: those of `MapOptions` and `.ImageOptions`, without *on_progress*."""


class MapSpeakOptions(MapOptions, SpeakOptions, total=False):
    """Options of ``map(call="speak")``: those of `MapOptions` and `.SpeakOptions`."""
