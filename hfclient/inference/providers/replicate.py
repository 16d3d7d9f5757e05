"""replicate: predictions, which answer at once if they are quick."""

from __future__ import annotations

from typing import Any

from hfclient.inference.providers.base import (
    Provider,
    Ticket,
    Work,
    child,
    id_path,
    pruned,
    word,
)
from hfclient.inference.providers.places import Target
from hfclient.inference.providers.results import Answer, Outcome, outcome_in
from hfclient.transport import Request

__all__ = ["Replicate"]

_STATES: dict[str | None, str] = {"starting": "queued", "processing": "running"}


class Replicate(Provider):
    """``POST /v1/models/{owner}/{name}/predictions`` with ``Prefer: wait``, which holds the answer for up to a minute.

    Reference: docs/protocol/inference ("queued jobs").
    """

    name = "replicate"

    def build(self, work: Work, target: Target) -> Request:
        inputs: dict[str, Any] = {"prompt": work.prompt or None}
        if work.image is not None:
            url = work.image.as_url()  # under every name that its models have for it
            inputs |= {"image": url, "images": [url], "input_image": url, "input_images": [url]}
        if work.entry.adapter == "lora":
            inputs["lora_weights"] = f"https://huggingface.co/{work.entry.model}"
        body: dict[str, Any] = {"input": pruned({**inputs, **self.settings(work), **work.extra})}
        model, _, version = work.entry.provider_id.partition(":")
        if version:
            path, body = "/v1/predictions", {"version": version, **body}
        else:
            path = f"/v1/models/{id_path(model)}/predictions"
        return self.post(target.url(path), body, {"Prefer": "wait"})

    def decode(self, work: Work, target: Target, answer: Answer) -> Outcome | Ticket:
        data = answer.json()
        if "id" not in data and data.get("output"):
            return outcome_in(data)
        job, links = self.job_id(data, "id"), child(data, "urls")
        path = f"/v1/predictions/{job}"
        ticket = Ticket(
            provider=self.name,
            id=job,
            url=target.follow(links.get("get") or path),
            cancel=("POST", target.follow(links.get("cancel") or f"{path}/cancel")),
            wanted=work.count,
        )
        return self.follow(ticket, target, answer)

    def follow(self, ticket: Ticket, target: Target, answer: Answer) -> Outcome | Ticket:
        data = answer.json()
        state = word(data, "status")
        files = {"output": data.get("output")}
        found = self.found(files, state, done=("succeeded",), waiting=_STATES, why=data.get("detail"))
        if found is not None and not (state in _STATES and len(found.outputs) < ticket.wanted):
            return found
        return ticket.waiting(_STATES.get(state, "running"))
