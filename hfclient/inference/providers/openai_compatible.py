"""Images over OpenAI's API, which most servers have, hosted or your own."""

from __future__ import annotations

from typing import Any

from hfclient.inference.providers.addresses import Target
from hfclient.inference.providers.base import MediaRequest, Provider, size_text
from hfclient.transport import Multipart, Part, Request

__all__ = ["OpenAI", "OpenAICompatible"]


class OpenAICompatible(Provider):
    """``POST {base}/images/generations``, and ``{base}/images/edits`` with a form; the base has its ``/v1`` already.

    Reference: docs/protocol/inference ("images and video").
    """

    name = "openai-compatible"
    takes_urls = False
    root = ""
    response_format: str | None = "b64_json"

    def build(self, wanted: MediaRequest, target: Target) -> Request:
        settings = self.settings(wanted)
        size = size_text(settings)
        body: dict[str, Any] = {
            "model": wanted.entry.provider_id or None,
            "prompt": wanted.prompt,
            "response_format": self.response_format,
            "size": size,
            "n": wanted.count,
            **settings,
            **wanted.extra,
        }
        if wanted.image is None:
            return self.post(target.url(f"{self.root}/images/generations"), body)
        content, mime = wanted.image.content, wanted.image.mime
        if content is None:
            wanted.image.as_base64()  # raises the error
        fields = [Part(name=name, content=str(value).encode("utf-8", "replace")) for name, value in body.items() if value is not None]
        file = Part(name="image", content=content or b"", filename="image." + mime.partition("/")[2], content_type=mime)
        return Request(
            method="POST",
            url=target.url(f"{self.root}/images/edits"),
            body=Multipart((*fields, file)),
            headers={"Accept": "application/json"},
            stream=True,
        )


class OpenAI(OpenAICompatible):
    """OpenAI itself: its newer models refuse ``response_format`` and answer with base64 anyway."""

    name = "openai"
    root = "/v1"
    response_format = None
