"""hf-inference: Hugging Face's own backend, and Inference Endpoints with the same API."""

from __future__ import annotations

from hfclient.inference.providers.addresses import Target
from hfclient.inference.providers.base import MediaRequest, Provider, id_path, pruned
from hfclient.transport import Request

__all__ = ["HFInference", "accepted_type"]

# A file of any other type is refused before the pipeline gets it, although Pillow and ffmpeg could decode more types.
# https://github.com/huggingface/huggingface-inference-toolkit (serialization/base.py, 2026-11-28)
_IMAGES = frozenset(f"image/{name}" for name in ("bmp", "gif", "jpeg", "png", "tiff", "webp"))
_AUDIO = {
    **{f"audio/{name}": f"audio/{name}" for name in ("amr", "flac", "mpeg", "ogg", "wav", "webm")},
    "audio/amr-wb": "audio/AMR-WB",
    "audio/mp4": "audio/m4a",
    "video/mp4": "audio/m4a",
    "video/webm": "audio/webm",
}


def accepted_type(mime: str, is_audio: bool = False) -> str:
    """Return the content type for a file as the body: one that hf-inference and Inference Endpoints accept.

    >>> accepted_type("image/avif"), accepted_type("audio/mp4", is_audio=True), accepted_type("audio/aiff", is_audio=True)
    ('image/x-image', 'audio/m4a', 'audio/x-audio')
    """
    if is_audio or mime.startswith("audio/"):
        return _AUDIO.get(mime, "audio/x-audio")
    return "image/x-image" if mime.startswith("image/") and mime not in _IMAGES else mime


class HFInference(Provider):
    """``POST /models/{model}`` with ``inputs`` and ``parameters``; the answer is the image's bytes.

    Without a model's name it is an Inference Endpoint, which has one model and no paths. Images cannot be URLs.

    Reference: docs/protocol/inference ("images and video").
    """

    name = "hf-inference"
    takes_urls = False

    def build(self, wanted: MediaRequest, target: Target) -> Request:
        model = wanted.entry.model or wanted.entry.provider_id  # the Hub's name
        url = target.url(f"/models/{id_path(model)}" if model else "")
        parameters = self.settings(wanted)
        if wanted.image is None:
            parameters = pruned({**parameters, **wanted.extra})
            return self.post(url, {"inputs": wanted.prompt, "parameters": parameters}, {"Accept": "image/png"})
        width, height = parameters.pop("width", None), parameters.pop("height", None)
        size = None if width is None else {"width": width, "height": height}
        parameters = pruned({"prompt": wanted.prompt or None, **parameters, "target_size": size, **wanted.extra})
        encoded = wanted.image.as_base64()
        if parameters:
            return self.post(url, {"inputs": encoded, "parameters": parameters}, {"Accept": "image/png"})
        return Request(
            method="POST",
            url=url,
            body=wanted.image.content,
            headers={"Accept": "image/png", "Content-Type": accepted_type(wanted.image.mime)},
            stream=True,
        )
