"""`image` and `speak`: files that models make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve

from hfclient.batch.calls.base import MethodCall
from hfclient.batch.items import Item
from hfclient.inference.media.images import Image, Media, Video
from hfclient.inference.options import ImageOptions, SpeakOptions
from hfclient.inference.tasks.audio import Audio

__all__ = ["ImageCall", "SpeakCall", "decode_media", "encode_media"]

_CLASSES: dict[str, type[Media]] = {"Image": Image, "Video": Video, "Audio": Audio}


class ImageCall(MethodCall):
    """`InferenceClient.image` for each item, a prompt."""

    name = "image"
    has_files = True
    options_type = ImageOptions

    def run(self, item: Item) -> Image:
        return self._client.image(item.input, progress=False, **self.options_for(item))

    def encode(self, value: Image) -> Any:
        return encode_media(value)

    @staticmethod
    def from_json(data: Any) -> Media:
        return decode_media("Image", data)


class SpeakCall(MethodCall):
    """`InferenceClient.speak` for each item, a text."""

    name = "speak"
    has_files = True
    options_type = SpeakOptions

    def run(self, item: Item) -> Audio:
        return self._client.speak(item.input, **self.options_for(item))

    def find_model(self, kind: Any, options: Mapping[str, Any]) -> str | None:
        return self.recommended("text-to-speech")

    def encode(self, value: Audio) -> Any:
        return encode_media(value)

    @staticmethod
    def from_json(data: Any) -> Media:
        return decode_media("Audio", data)


def encode_media(value: Media) -> dict[str, Any]:
    """Return a file as JSON, but its content as bytes: a checkpoint stores these apart."""
    return {**evolve(value, content=b"").to_dict(), "content": value.content}


def decode_media(kind: str, data: Mapping[str, Any]) -> Media:
    """Return the file from :func:`encode_media`."""
    return _CLASSES[kind].from_dict(dict(data))
