"""together: images at once, videos as jobs."""

from __future__ import annotations

from typing import Any

from hfclient.errors import InvalidInputError
from hfclient.inference.providers.base import (
    Provider,
    Ticket,
    Work,
    word,
)
from hfclient.inference.providers.parameters import IMAGE_TO_IMAGE, TEXT_TO_IMAGE
from hfclient.inference.providers.places import Target
from hfclient.inference.providers.results import Answer, Outcome, found_in, outcome_of
from hfclient.transport import Request

__all__ = ["Together"]

_IMAGES, _VIDEOS = "/v1/images/generations", "/v2/videos"
_LARGEST_FRAME = 60 * 1024  # bytes of an image that a video may begin with; larger ones must be hosted somewhere
_STATES: dict[str | None, str] = {None: "queued", "queued": "queued", "in_progress": "running"}


class Together(Provider):
    """``POST /v1/images/generations`` and ``POST /v2/videos``.

    Reference: docs/protocol/inference ("images and video").
    """

    name = "together"

    def build(self, work: Work, target: Target) -> Request:
        settings = self.settings(work)
        body: dict[str, Any] = {"model": work.entry.provider_id, "prompt": work.prompt}
        if work.task in (TEXT_TO_IMAGE, IMAGE_TO_IMAGE):
            # It is asked for "base64" and answers with `b64_json`.
            body |= {"response_format": "base64", **_images(work), **settings, **work.extra}
            return self.post(target.url(_IMAGES), body)
        if work.image is not None:
            if work.image.content is not None and len(work.image.content) > _LARGEST_FRAME:
                raise InvalidInputError(
                    f"together takes an image of at most {_LARGEST_FRAME // 1024} KB for a video; pass a URL of it"
                )
            body["prompt"] = work.prompt or None
            body["frame_images"] = [{"input_image": work.image.as_url(), "frame": "first"}]
        return self.post(target.url(_VIDEOS), {**body, **settings, **work.extra})

    def decode(self, work: Work, target: Target, answer: Answer) -> Outcome | Ticket:
        if work.task in (TEXT_TO_IMAGE, IMAGE_TO_IMAGE) or answer.is_media:
            return outcome_of(answer)
        data = answer.json()
        if "id" not in data and (found := found_in(data)) is not None:
            return found
        job = self.job_id(data, "id")
        ticket = Ticket(provider=self.name, id=job, url=target.url(f"{_VIDEOS}/{job}"), every=2.0)
        return self.follow(ticket, target, answer)

    def follow(self, ticket: Ticket, target: Target, answer: Answer) -> Outcome | Ticket:
        data = answer.json()
        state = word(data, "status")
        found = self.found(data, state, done=("completed",), waiting=_STATES, why=data.get("error"))
        return found or ticket.waiting(_STATES.get(state, "running"))


def _images(work: Work) -> dict[str, Any]:
    if work.image is None:
        return {}
    url = work.image.as_url()
    name = work.entry.provider_id.lower()
    return {"image_url": url} if "kontext" in name and "flux.1" in name else {"reference_images": [url]}
