"""The calls of embeddings, speech and pipelines: the choice of providers, and the next one if one fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from hfclient.errors import HFClientError, InvalidInputError, ModelNotFound, Unsupported
from hfclient.events import AnyEvent
from hfclient.inference.endpoints import bare_url, refuse_url
from hfclient.inference.models.mapping import ProviderEntry
from hfclient.inference.providers import Target
from hfclient.inference.routing.candidates import Candidate, ProviderLike
from hfclient.inference.routing.failover import try_each
from hfclient.inference.routing.provider_client import ProviderClient
from hfclient.inference.service import InferenceService
from hfclient.inference.tasks.sending import try_routes

__all__ = ["HF", "TEI", "ProviderCalls"]

_T = TypeVar("_T")

HF = "hf-inference"
TEI = "tei"
"""text-embeddings-inference on a server of the caller's own; the Hub does not have it as a provider."""


class ProviderCalls:
    """The base of the capabilities that call one provider after the other: embeddings, speech, pipelines."""

    def __init__(self, service: InferenceService) -> None:
        self._service = service

    def _serving(self, task: str, model: str | None, provider: ProviderLike, able: Iterable[str]) -> list[Candidate]:
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
                raise InvalidInputError(f"name a model with model=: the Hub shows none for {task}")
        return self._service.routes.candidates(task, model, provider, able=frozenset(able))

    def _pipelines(self, model: str) -> Candidate:
        """Return the server itself, with hf-inference's protocol: an Inference Endpoint has it at its base URL."""
        refuse_url(model)
        # /v1 is for chat only.
        return Candidate(ProviderEntry(HF, model, model=model), Target(bare_url(self._service.base_url)))

    def _or_pipelines(self, attempt: Callable[[Candidate, bool], _T]) -> Callable[[Candidate, bool], _T]:
        """Return *attempt* with a fallback for an Inference Endpoint of one model without OpenAI's routes."""

        def asking(candidate: Candidate, is_last: bool) -> _T:
            if candidate.provider != "openai-compatible" or candidate.entry.model:
                return attempt(candidate, is_last)
            other = self._pipelines("")
            return try_routes(partial(attempt, candidate, is_last), partial(attempt, other, is_last))

        return asking

    def _tei(self, model: str) -> Candidate:
        if not self._service.routes.own_server:
            raise Unsupported("provider='tei' is for a server of your own: Client(inference_url=...)")
        return Candidate(ProviderEntry(TEI, model, model=model), Target(bare_url(self._service.base_url)))

    def _each(
        self, client: ProviderClient, candidates: Sequence[Candidate], attempt: Callable[[Candidate, bool], _T], *, billed: bool
    ) -> tuple[_T, Candidate, tuple[Any, ...]]:
        def billing(candidate: Candidate, is_last: bool) -> _T:
            client.headers = self._service.headers(candidate)
            try:
                return attempt(candidate, is_last)
            except HFClientError as error:
                if isinstance(error, ModelNotFound):  # the Hub's list of providers is out of date
                    self._service.routes.forget(candidate.entry.model)
                client.identify(error)
                raise

        return try_each(candidates, billing, client.clock, billed=billed, tell=self._service.on_event or _ignore)


def _ignore(event: AnyEvent) -> None:
    """Do nothing with it."""
