"""`classify`, `caption`, `transcribe` and `task`: results of small models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from hfclient.batch.calls.base import MethodCall, as_files
from hfclient.batch.calls.media import decode_media, encode_media
from hfclient.batch.items import Item
from hfclient.errors import InvalidInputError
from hfclient.files.sources import is_data_url
from hfclient.inference import tasks
from hfclient.inference.media.images import Media
from hfclient.inference.options import TaskOptions, TranscribeOptions
from hfclient.inference.tasks.values import Finding
from hfclient.types import Results

if TYPE_CHECKING:
    from hfclient.inference import InferenceClient

__all__ = ["CaptionCall", "ClassifyCall", "TaskCall", "TranscribeCall"]

_FILE_TASKS = ("image", "video", "audio")


class CaptionCall(MethodCall):
    """`InferenceClient.caption` for each item, an image."""

    name = "caption"
    options_type = TaskOptions
    files = ("input",)

    def run(self, item: Item) -> str:
        return self._client.caption(item.input, **self.options_for(item))

    def find_model(self, kind: Any, options: Mapping[str, Any]) -> str | None:
        return self.recommended("image-to-text")


class TranscribeCall(MethodCall):
    """`InferenceClient.transcribe` for each item, a recording."""

    name = "transcribe"
    options_type = TranscribeOptions
    files = ("input",)

    def run(self, item: Item) -> tasks.Transcript:
        return self._client.transcribe(item.input, **self.options_for(item))

    def find_model(self, kind: Any, options: Mapping[str, Any]) -> str | None:
        return self.recommended("automatic-speech-recognition")

    def encode(self, value: tasks.Transcript) -> Any:
        return _finding_to_json(value)

    @staticmethod
    def from_json(data: Any) -> tasks.Transcript:
        return msgspec.convert(data, tasks.Transcript)


class ClassifyCall(MethodCall):
    """`InferenceClient.classify` for each item: a text, an image or audio."""

    name = "classify"
    options_type = TaskOptions
    own = ("labels",)

    def run(self, item: Item) -> list[tasks.Classification]:
        return self._client.classify(item.input, **self.options_for(item))

    def model_kind(self, item: Item, options: Mapping[str, Any]) -> str:
        is_text = isinstance(item.input, str) and not is_data_url(item.input)
        if options.get("labels") is not None:
            return "zero-shot-classification" if is_text else "zero-shot-image-classification"
        return "text-classification" if is_text else ""

    def find_model(self, kind: Any, options: Mapping[str, Any]) -> str | None:
        return self.recommended(kind) if kind else None  # the bytes of a file decide between image and audio

    def encode(self, value: list[tasks.Classification]) -> Any:
        return [_finding_to_json(one) for one in value]

    @staticmethod
    def from_json(data: Any) -> list[tasks.Classification]:
        return Results(msgspec.convert(data, list[tasks.Classification]))


class TaskCall(MethodCall):
    """`InferenceClient.task` for each item, with ``name=`` for all of them or in each item."""

    name = "task"
    has_files = True
    options_type = TaskOptions
    own = ("name",)

    def __init__(self, client: InferenceClient, options: Mapping[str, Any]) -> None:
        super().__init__(client, options)
        if "name" in options:
            tasks.find_task(options["name"])

    def run(self, item: Item) -> Any:
        options = self.options_for(item)
        return self._client.task(options.pop("name"), item.input, **options)

    def check(self, item: Item) -> None:
        super().check(item)
        if (name := {**self._options, **item.options}.get("name")) is None:
            raise InvalidInputError('there is no task; pass name= to map(), or "name" in each item')
        tasks.find_task(name)

    def settings(self, item: Item) -> dict[str, Any]:
        found = super().settings(item)
        name = found["name"]
        takes = tasks.find_task(name).takes
        is_file = takes in ("image", "audio") or (takes == "any" and name.partition("-")[0] in _FILE_TASKS)
        return {**found, "input": as_files(item.input)} if is_file else found

    def model_kind(self, item: Item, options: Mapping[str, Any]) -> Any:
        return options.get("name")

    def find_model(self, kind: Any, options: Mapping[str, Any]) -> str | None:
        return self.recommended(kind)

    def encode(self, value: Any) -> Any:
        """Return the result with the name of its class, if it has one: which class it is depends on the task."""
        if isinstance(value, Media):
            return {"type": type(value).__name__, "value": encode_media(value)}
        if isinstance(value, Finding):
            return {"type": type(value).__name__, "value": _finding_to_json(value)}
        if isinstance(value, bytes):
            return {"type": "bytes", "value": value}
        if isinstance(value, list):
            listed = [self.encode(one) for one in value]
            return {"type": "Results" if isinstance(value, Results) else "list", "value": listed} if any(
                isinstance(one, (Finding, Media, list)) for one in value
            ) else {"type": "json", "value": value}
        return {"type": "json", "value": value}

    @staticmethod
    def from_json(data: Any) -> Any:
        kind, value = data["type"], data["value"]
        if kind == "json":
            return value
        if kind == "bytes":
            return msgspec.convert(value, bytes)  # base64 in a store without files
        if kind in ("list", "Results"):
            listed = [TaskCall.from_json(one) for one in value]
            return Results(listed) if kind == "Results" else listed
        if kind in ("Image", "Audio", "Video"):
            return decode_media(kind, value)
        return msgspec.convert(value, getattr(tasks, kind))


def _finding_to_json(value: Finding) -> Any:
    return msgspec.to_builtins(value, builtin_types=())
