"""The calls of embeddings, speech and pipelines: the choice of providers, and the next one if one fails."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from hfclient.errors import InvalidInputError, Unsupported
from hfclient.inference.models.mapping import ProviderEntry
from hfclient.inference.providers import Target
from hfclient.inference.routing.candidates import Candidate, ProviderLike
from hfclient.inference.server_urls import bare_url, refuse_url
from hfclient.inference.service import InferenceService

__all__ = ["HF", "TEI", "ProviderCalls"]

_T = TypeVar("_T")

HF = "hf-inference"
TEI = "tei"
"""text-embeddings-inference on a server of the caller's own; the Hub does not have it as a provider."""


class ProviderCalls:
    """The base of the capabilities that call one provider after the other: embeddings, speech, pipelines."""

    def __init__(self, service: InferenceService) -> None:
        self._service = service

    def _candidates_for(self, task: str, model: str | None, provider: ProviderLike, able: Iterable[str]) -> list[Candidate]:
        """Return the providers that can do *task*, best first."""
        if provider in (TEI, HF, [HF]):
            self._service.routes.check_able(task)
        if provider == TEI:
            return [self._tei(model or "")]
        own = self._service.routes.own_server
        if own and provider in (HF, [HF]):
            return [self._pipelines(model or "")]
        if model is None and not own:
            model = self._service.hub.recommended(task)
            if model is None:
                raise InvalidInputError(f"name a model with model= (-m NAME): the Hub shows none for {task}")
        return self._service.routes.candidates(task, model, provider, able=frozenset(able))

    def _pipelines(self, model: str) -> Candidate:
        """Return the server itself, with hf-inference's protocol: an Inference Endpoint has it at its base URL."""
        refuse_url(model)
        # /v1 is for chat only.
        return Candidate(ProviderEntry(HF, model, model=model), Target(bare_url(self._service.base_url)))

    def _or_pipelines(self, candidate: Candidate) -> list[Candidate]:
        """Return *candidate*, and a fallback if it may be an Inference Endpoint of one model without OpenAI's routes."""
        is_unknown = candidate.provider == "openai-compatible" and not candidate.entry.model
        return [candidate, self._pipelines("")] if is_unknown else [candidate]

    def _tei(self, model: str) -> Candidate:
        if not self._service.routes.own_server:
            raise Unsupported("provider='tei' is for a server of your own: Client(inference_url=...)")
        return Candidate(ProviderEntry(TEI, model, model=model), Target(bare_url(self._service.base_url)))
