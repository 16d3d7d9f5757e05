"""Embeddings and rankings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hfclient.errors import HFClientError, InvalidInputError, RequestTooLargeError, Unsupported
from hfclient.inference.models.mapping import ProviderEntry
from hfclient.inference.providers import Target
from hfclient.inference.providers.base import id_path
from hfclient.inference.providers.results import keep_body
from hfclient.inference.routing.candidates import Candidate
from hfclient.inference.routing.failover import Providers
from hfclient.inference.routing.provider_client import ProviderClient
from hfclient.inference.server_urls import refuse_url, root_url
from hfclient.inference.service import InferenceService
from hfclient.inference.tasks import Ranking
from hfclient.inference.tasks.decoders import json_of, rankings
from hfclient.inference.tasks.pipeline_requests import json_request, without_none
from hfclient.inference.tasks.provider_calls import HF, TEI, ProviderCalls
from hfclient.inference.tasks.sending import provider_client, send_request, try_routes
from hfclient.inference.tasks.speech_requests import OPENAI_ROOTS
from hfclient.inference.tasks.vectors import (
    batches,
    check_texts,
    embedding_body,
    need_numpy,
    normalized,
    parse_vectors,
    to_numpy,
)
from hfclient.transport import Request
from hfclient.types import Results, Vectors

__all__ = ["EMBEDDERS", "Embeddings"]

_Body = Mapping[str, Any]

EMBEDDERS = ("deepinfra", "hf-inference", "openai", "openai-compatible", "scaleway", "together")
"""The providers that have embeddings."""

_SETTINGS = ("normalize", "truncate", "truncation_direction", "prompt_name", "dimensions")


class Embeddings(ProviderCalls):
    """The embeddings and rankings of one service."""

    def __init__(self, service: InferenceService) -> None:
        super().__init__(service)
        self._own_protocol: str | None = None  # the provider whose protocol the server turned out to have

    def embed(self, texts: str | Iterable[str], options: Mapping[str, Any], *, as_numpy: bool) -> Any:
        """Return one vector per text; see `InferenceClient.embed`."""
        batch_size, normalize, extra_body = options.get("batch_size", 32), options.get("normalize"), options.get("extra_body")
        found = check_texts(texts)
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
            raise InvalidInputError(f"batch_size is a whole number above 0, not {batch_size!r}")
        if as_numpy:
            need_numpy()  # before anything is billed
        settings = {name: options.get(name) for name in _SETTINGS}
        vectors: list[list[float]] = []
        if found:
            client = provider_client(self._service.session, options.get("timeouts"))
            candidates = self._candidates_for("feature-extraction", options.get("model"), options.get("provider"), EMBEDDERS)
            for batch in batches(found, batch_size):
                try:
                    part, used = self._embed_batch(client, candidates, batch, settings, extra_body)
                except HFClientError as error:
                    error.completed = (*vectors, *error.completed)
                    raise
                candidates = [used]  # vectors of two providers cannot be compared
                vectors += normalized(part) if normalize and _dialect(used) == "openai" else part
        return to_numpy(vectors) if as_numpy else Vectors(vectors)

    def _embed_batch(
        self,
        client: ProviderClient,
        candidates: Sequence[Candidate],
        texts: Sequence[str],
        settings: Mapping[str, Any],
        extra: _Body | None,
    ) -> tuple[list[list[float]], Candidate]:
        def send(candidate: Candidate) -> tuple[list[list[float]], Candidate]:
            request = _embedding_request(candidate, texts, settings, extra)
            answer, _ = send_request(client, candidate, request, is_last=not providers.left)
            if candidate is not providers.candidate:
                self._own_protocol = candidate.provider
            return parse_vectors(answer, len(texts)), candidate

        providers = Providers(candidates, billed=False)
        try:
            for attempt in self._service.each_provider(providers, client):
                with attempt:
                    protocols = self._protocols(providers.candidate)
                    vectors, used = send(protocols[0]) if len(protocols) == 1 else try_routes(protocols, send)
        except RequestTooLargeError:
            if len(texts) == 1:
                raise
            middle = len(texts) // 2
            left, used = self._embed_batch(client, candidates, texts[:middle], settings, extra)
            try:
                right, used = self._embed_batch(client, [used], texts[middle:], settings, extra)
            except HFClientError as error:
                error.completed = (*left, *error.completed)
                raise
            return left + right, used
        return vectors, used

    def _protocols(self, candidate: Candidate) -> list[Candidate]:
        """Return *candidate* and the other protocols that it may have, or the one that it has, if that is known."""
        if candidate.provider != "openai-compatible":
            return [candidate]
        # Servers have one of these three; an Inference Endpoint of one model has the last one, without a path.
        model = candidate.entry.model
        others = [self._tei(model)] if model else [self._tei(""), self._pipelines("")]
        return [one for one in others if one.provider == self._own_protocol] or [candidate, *others]

    def rerank(self, query: str, texts: Sequence[str], options: Mapping[str, Any]) -> list[Ranking]:
        """Return how well each text fits the query; see `InferenceClient.rerank`."""
        model = options.get("model")
        refuse_url(model)
        if not self._service.routes.own_server:
            raise Unsupported("the router does not rank texts; point Client(inference_url=...) at a server that does")
        self._service.routes.check_able("text-ranking")
        if not isinstance(query, str) or not query.strip():
            raise InvalidInputError("the query is empty")
        found = check_texts(texts)
        if not found:
            return []
        client, extra = provider_client(self._service.session, options.get("timeouts")), dict(options.get("extra_body") or {})

        tei = self._tei(model or "")
        usual = Candidate(ProviderEntry("openai-compatible", model or ""), Target(root_url(self._service.base_url)))

        def send(candidate: Candidate) -> list[Ranking]:
            body = {"query": query, "texts": found} if candidate is tei else {"model": model, "query": query, "documents": found}
            request = json_request(candidate.target.url("/rerank"), without_none({**body, **extra}))
            answer, _ = send_request(client, candidate, request)
            with keep_body(answer):
                return Results(rankings(json_of(answer)))

        return send(tei) if options.get("provider") == TEI else try_routes([usual, tei], send)


def _embedding_request(
    candidate: Candidate, texts: Sequence[str], settings: Mapping[str, Any], extra: Mapping[str, Any] | None
) -> Request:
    dialect, model = _dialect(candidate), candidate.entry.provider_id
    if dialect == "openai":
        path = f"{OPENAI_ROOTS[candidate.provider]}/embeddings"
    elif dialect == TEI:
        path = "/embed"
    else:
        path = f"/models/{id_path(model)}/pipeline/feature-extraction" if model else ""
    return json_request(candidate.target.url(path), embedding_body(dialect, model, texts, settings, extra))


def _dialect(candidate: Candidate) -> str:
    return candidate.provider if candidate.provider in (HF, TEI) else "openai"
