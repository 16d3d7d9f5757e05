"""replicate: predictions, whose result comes with the first answer if they are quick."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hfclient.inference.providers.addresses import Target
from hfclient.inference.providers.base import (
    MediaRequest,
    Provider,
    QueuedJob,
    child,
    id_path,
    pruned,
    word,
)
from hfclient.inference.providers.results import Answer, MediaResult, result_in
from hfclient.transport import Request

__all__ = ["Replicate", "prediction"]

_STATES: dict[str | None, str] = {"starting": "queued", "processing": "running"}


def prediction(provider_id: str, inputs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the path and the body of a request for a prediction of a model, or of one version of it (``model:version``)."""
    model, _, version = provider_id.partition(":")
    body: dict[str, Any] = {"input": pruned(inputs)}
    if version:
        return "/v1/predictions", {"version": version, **body}
    return f"/v1/models/{id_path(model)}/predictions", body


class Replicate(Provider):
    """``POST /v1/models/{owner}/{name}/predictions`` with ``Prefer: wait``, which holds the answer for up to a minute.

    Reference: docs/protocol/inference ("queued jobs").
    """

    name = "replicate"

    def build(self, wanted: MediaRequest, target: Target) -> Request:
        inputs: dict[str, Any] = {"prompt": wanted.prompt or None}
        if wanted.image is not None:
            url = wanted.image.as_url()  # its models have different names for it
            inputs |= {"image": url, "images": [url], "input_image": url, "input_images": [url]}
        if wanted.entry.adapter == "lora":
            inputs["lora_weights"] = f"https://huggingface.co/{wanted.entry.model}"
        path, body = prediction(wanted.entry.provider_id, {**inputs, **self.settings(wanted), **wanted.extra})
        return self.post(target.url(path), body, {"Prefer": "wait"})

    def decode(self, wanted: MediaRequest, target: Target, answer: Answer) -> MediaResult | QueuedJob:
        data = answer.json()
        if "id" not in data and data.get("output"):
            return result_in(data)
        job, links = self.job_id(data, "id"), child(data, "urls")
        path = f"/v1/predictions/{job}"
        queued = QueuedJob(
            provider=self.name,
            id=job,
            url=target.resolve_link(links.get("get") or path),
            cancel=("POST", target.resolve_link(links.get("cancel") or f"{path}/cancel")),
            wanted=wanted.count,
        )
        return self.decode_poll(queued, target, answer)

    def decode_poll(self, queued: QueuedJob, target: Target, answer: Answer) -> MediaResult | QueuedJob:
        data = answer.json()
        state = word(data, "status")
        files = {"output": data.get("output")}
        found = self.found(files, state, done=("succeeded",), waiting=_STATES, why=data.get("detail"))
        if found is not None and not (state in _STATES and len(found.outputs) < queued.wanted):
            return found
        return queued.waiting(_STATES.get(state, "running"))
