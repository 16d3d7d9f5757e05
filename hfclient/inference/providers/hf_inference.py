"""hf-inference: Hugging Face's own backend, and dedicated endpoints that speak its language."""

from __future__ import annotations

from hfclient.inference.providers.base import Provider, Work, id_path, pruned
from hfclient.inference.providers.places import Target
from hfclient.transport import Request

__all__ = ["HFInference"]


class HFInference(Provider):
    """``POST /models/{model}`` with ``inputs`` and ``parameters``; the answer is the picture's bytes.

    A model without a name is a dedicated endpoint, which has one model and no path. Knows no pictures by their URLs.

    Reference: docs/protocol/inference ("images and video").
    """

    name = "hf-inference"
    takes_urls = False

    def build(self, work: Work, target: Target) -> Request:
        model = work.entry.model or work.entry.provider_id  # the Hub's name
        url = target.url(f"/models/{id_path(model)}" if model else "")
        parameters = self.settings(work)
        if work.picture is None:
            parameters = pruned({**parameters, **work.extra})
            return self.post(url, {"inputs": work.prompt, "parameters": parameters}, {"Accept": "image/png"})
        width, height = parameters.pop("width", None), parameters.pop("height", None)
        size = None if width is None else {"width": width, "height": height}
        parameters = pruned({"prompt": work.prompt or None, **parameters, "target_size": size, **work.extra})
        encoded = work.picture.as_base64()
        if parameters:
            return self.post(url, {"inputs": encoded, "parameters": parameters}, {"Accept": "image/png"})
        return Request(
            method="POST",
            url=url,
            body=work.picture.content,
            headers={"Accept": "image/png", "Content-Type": work.picture.mime},
            stream=True,
        )
