"""together: images at once, videos as jobs."""

from __future__ import annotations

from typing import Any

from hfclient.errors import InvalidInputError
from hfclient.inference.providers.addresses import Target
from hfclient.inference.providers.base import (
    MediaRequest,
    Provider,
    QueuedJob,
    word,
)
from hfclient.inference.providers.parameters import IMAGE_TO_IMAGE, TEXT_TO_IMAGE
from hfclient.inference.providers.results import Answer, MediaResult, find_result, parse_result
from hfclient.transport import Request

__all__ = ["Together"]

_IMAGES, _VIDEOS = "/v1/images/generations", "/v2/videos"
_MAX_FRAME = 60 * 1024  # bytes of the first frame of a video; a larger one must be a URL
_STATES: dict[str | None, str] = {None: "queued", "queued": "queued", "in_progress": "running"}


class Together(Provider):
    """``POST /v1/images/generations`` and ``POST /v2/videos``.

    Reference: docs/protocol/inference ("images and video").
    """

    name = "together"

    def build(self, wanted: MediaRequest, target: Target) -> Request:
        settings = self.settings(wanted)
        body: dict[str, Any] = {"model": wanted.entry.provider_id, "prompt": wanted.prompt}
        if wanted.task in (TEXT_TO_IMAGE, IMAGE_TO_IMAGE):
            # It is asked for "base64" and answers with `b64_json`.
            body |= {"response_format": "base64", **_images(wanted), **settings, **wanted.extra}
            return self.post(target.url(_IMAGES), body)
        if wanted.image is not None:
            if wanted.image.content is not None and len(wanted.image.content) > _MAX_FRAME:
                raise InvalidInputError(
                    f"together takes an image of at most {_MAX_FRAME // 1024} KB for a video; pass a URL of it"
                )
            body["prompt"] = wanted.prompt or None
            body["frame_images"] = [{"input_image": wanted.image.as_url(), "frame": "first"}]
        return self.post(target.url(_VIDEOS), {**body, **settings, **wanted.extra})

    def decode(self, wanted: MediaRequest, target: Target, answer: Answer) -> MediaResult | QueuedJob:
        if wanted.task in (TEXT_TO_IMAGE, IMAGE_TO_IMAGE) or answer.is_media:
            return parse_result(answer)
        data = answer.json()
        if "id" not in data and (found := find_result(data)) is not None:
            return found
        job = self.job_id(data, "id")
        queued = QueuedJob(provider=self.name, id=job, url=target.url(f"{_VIDEOS}/{job}"), every=2.0)
        return self.decode_poll(queued, target, answer)

    def decode_poll(self, queued: QueuedJob, target: Target, answer: Answer) -> MediaResult | QueuedJob:
        data = answer.json()
        state = word(data, "status")
        found = self.found(data, state, done=("completed",), waiting=_STATES, why=data.get("error"))
        return found or queued.waiting(_STATES.get(state, "running"))


def _images(wanted: MediaRequest) -> dict[str, Any]:
    if wanted.image is None:
        return {}
    url = wanted.image.as_url()
    name = wanted.entry.provider_id.lower()
    return {"image_url": url} if "kontext" in name and "flux.1" in name else {"reference_images": [url]}
