"""Embeddings and rankings: one wing of `InferenceClient`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, overload

from hfclient.arguments.argument_types import checks_arguments
from hfclient.errors import HFClientError, InvalidInputError, RequestTooLargeError, Unsupported
from hfclient.inference.endpoints import refuse_url, root_url
from hfclient.inference.media.jobs import Line
from hfclient.inference.models.mapping import ProviderEntry
from hfclient.inference.providers import Answer, Target
from hfclient.inference.providers.base import id_path
from hfclient.inference.providers.results import bodied
from hfclient.inference.routing.candidates import Candidate, ProviderLike
from hfclient.inference.tasks import Ranking
from hfclient.inference.tasks.decoders import json_of, rankings
from hfclient.inference.tasks.errand import ask, errand, through
from hfclient.inference.tasks.pipeline_requests import json_request, without_none
from hfclient.inference.tasks.provider_calls import HF, TEI, Wing
from hfclient.inference.tasks.speech_requests import OPENAI_ROOTS
from hfclient.inference.tasks.vectors import (
    batches,
    check_texts,
    embedding_body,
    need_numpy,
    normalised,
    parse_vectors,
    to_numpy,
)
from hfclient.transport import Request, Timeouts

__all__ = ["EMBEDDERS", "EmbedCalls"]

_Body = Mapping[str, Any]

EMBEDDERS = ("deepinfra", "hf-inference", "openai", "openai-compatible", "scaleway", "together")
"""Who makes vectors."""


@checks_arguments
class EmbedCalls(Wing):
    """Vectors and rankings; the base of `InferenceClient` that asks for them."""

    _embeds_as: str | None = None  # learnt from the server: the provider whose language it speaks

    @overload
    def embed(
        self,
        texts: str | Iterable[str],
        *,
        model: str | None = None,
        provider: ProviderLike = None,
        normalize: bool | None = None,
        truncate: bool | None = None,
        truncation_direction: str | None = None,
        prompt_name: str | None = None,
        dimensions: int | None = None,
        batch_size: int = 32,
        as_numpy: Literal[False] = False,
        extra_body: _Body | None = None,
        timeouts: Timeouts | None = None,
    ) -> list[list[float]]: ...

    @overload
    def embed(
        self,
        texts: str | Iterable[str],
        *,
        model: str | None = None,
        provider: ProviderLike = None,
        normalize: bool | None = None,
        truncate: bool | None = None,
        truncation_direction: str | None = None,
        prompt_name: str | None = None,
        dimensions: int | None = None,
        batch_size: int = 32,
        as_numpy: bool,
        extra_body: _Body | None = None,
        timeouts: Timeouts | None = None,
    ) -> Any: ...

    def embed(
        self,
        texts: str | Iterable[str],
        *,
        model: str | None = None,
        provider: ProviderLike = None,
        normalize: bool | None = None,
        truncate: bool | None = None,
        truncation_direction: str | None = None,
        prompt_name: str | None = None,
        dimensions: int | None = None,
        batch_size: int = 32,
        as_numpy: bool = False,
        extra_body: _Body | None = None,
        timeouts: Timeouts | None = None,
    ) -> Any:
        """Return one vector per text, in the order given.

            query, *documents = inference.embed(["a cat?", "on cats", "on dogs"], model="BAAI/bge-m3")

        Long lists go in several requests, one after the other; one that the server finds too large is cut in halves.

        Args:
            texts: N strings, or one, which gives one vector; with N = 0 nothing is sent and the result is empty.
            model: Hub id of an embedding model; None takes what the Hub shows for the task, or what a server of your own has.
            provider: Who shall do it; ``"tei"`` for a text-embeddings-inference server of your own, which is also tried where
                a server has no ``/v1/embeddings``.
            normalize: Vectors of length 1.
            truncate: Cut texts that are too long; None leaves it to the server, which may refuse them.
            truncation_direction: ``"left"`` or ``"right"``: the side that is cut.
            prompt_name: Which of the model's own prompts to put in front, such as ``"query"``.
            dimensions: Length of the vectors, for models that can choose.
            batch_size: Most texts of one request.
            as_numpy: Return an array of shape (N, D) and type float32 (needs numpy).
            extra_body: Fields of the server's own, over all others; None removes one.
            timeouts: Deadlines; ``total`` is for all requests together, 300 s where it is None.

        Returns:
            N lists of D floats.

        Raises:
            InvalidInputError: One of *texts* is no string, or no model is known.
            MissingDependencyError: *as_numpy* without numpy; nothing was sent.
            Unsupported: The provider would ignore a setting, or the model gives a vector for each token.
            ModelNotFound: Nobody serves the model.
            ProtocolError: There came back more or fewer vectors than texts. ``completed`` on whatever is raised holds the vectors
                of the texts before, which may have been paid for.
            APIStatusError, TransportError: The provider refused, or did not answer.

        Reference: POST {base}/v1/embeddings, POST {base}/models/{model}/pipeline/feature-extraction, POST {base}/embed
        """
        found = check_texts(texts)
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
            raise InvalidInputError(f"batch_size is a whole number above 0, not {batch_size!r}")
        if as_numpy:
            need_numpy()  # before anything is paid for
        settings = {
            "normalize": normalize,
            "truncate": truncate,
            "truncation_direction": truncation_direction,
            "prompt_name": prompt_name,
            "dimensions": dimensions,
        }
        vectors: list[list[float]] = []
        if found:
            line = errand(self._session, timeouts)
            candidates = self._serving("feature-extraction", model, provider, EMBEDDERS)
            for batch in batches(found, batch_size):
                try:
                    part, used = self._embedded(line, candidates, batch, settings, extra_body)
                except HFClientError as error:
                    error.completed = (*vectors, *error.completed)
                    raise
                candidates = [used]  # vectors of two providers do not belong into one list
                vectors += normalised(part) if normalize and _dialect(used) == "openai" else part
        return to_numpy(vectors) if as_numpy else vectors

    def _embedded(
        self,
        line: Line,
        candidates: Sequence[Candidate],
        texts: Sequence[str],
        settings: Mapping[str, Any],
        extra: _Body | None,
    ) -> tuple[list[list[float]], Candidate]:
        def request(candidate: Candidate) -> Request:
            dialect, model = _dialect(candidate), candidate.entry.provider_id
            if dialect == "openai":
                path = f"{OPENAI_ROOTS[candidate.provider]}/embeddings"
            elif dialect == TEI:
                path = "/embed"
            else:
                path = f"/models/{id_path(model)}/pipeline/feature-extraction" if model else ""
            return json_request(candidate.target.url(path), embedding_body(dialect, model, texts, settings, extra))

        def attempt(candidate: Candidate, is_last: bool) -> tuple[list[list[float]], Candidate]:
            built = request(candidate)

            def send() -> tuple[list[list[float]], Candidate]:
                return parse_vectors(ask(line, candidate, built, patient=is_last)[0], len(texts)), candidate

            if candidate.provider != "openai-compatible":
                return send()

            def as_other(other: Candidate) -> tuple[list[list[float]], Candidate]:
                answer, _ = ask(line, other, request(other))
                self._embeds_as = other.provider
                return parse_vectors(answer, len(texts)), other

            # Servers have one of these three; a deployment of a single model has the last one, without a path.
            model = candidate.entry.model
            others = [self._tei(model)] if model else [self._tei(""), self._pipelines("")]
            if learnt := [one for one in others if one.provider == self._embeds_as]:
                return as_other(learnt[0])
            return through(send, *(partial(as_other, one) for one in others))

        try:
            (vectors, used), _, _ = self._each(line, candidates, attempt, billed=False)
        except RequestTooLargeError:
            if len(texts) == 1:
                raise
            middle = len(texts) // 2
            left, used = self._embedded(line, candidates, texts[:middle], settings, extra)
            try:
                right, used = self._embedded(line, [used], texts[middle:], settings, extra)
            except HFClientError as error:
                error.completed = (*left, *error.completed)
                raise
            return left + right, used
        return vectors, used

    def rerank(
        self,
        query: str,
        texts: Sequence[str],
        *,
        model: str | None = None,
        provider: str | None = None,
        extra_body: _Body | None = None,
        timeouts: Timeouts | None = None,
    ) -> list[Ranking]:
        """Return how well each of *texts* fits *query*, best first. For a server of your own.

            best = inference.rerank("a cat?", ["on dogs", "on cats"])[0].index

        Args:
            query: What is looked for.
            texts: N strings; with N = 0 nothing is sent.
            model: What the server calls it, if it has several.
            provider: ``"tei"`` for text-embeddings-inference, which is also tried where a server has no ``/v1/rerank``.
            extra_body: Fields of the server's own.
            timeouts: Deadlines; ``total`` is 300 s where it is None.

        Raises:
            Unsupported: The router does not rank texts.
            APIStatusError, TransportError: The server refused, or did not answer.

        Reference: POST {base}/v1/rerank (llama.cpp, vLLM), POST {base}/rerank (text-embeddings-inference)
        """
        refuse_url(model)
        if not self._routes.own_server:
            raise Unsupported("the router does not rank texts; point Client(inference_url=...) at a server that does")
        self._routes.check_able("text-ranking")
        if not isinstance(query, str) or not query.strip():
            raise InvalidInputError("the query is empty")
        found = check_texts(texts)
        if not found:
            return []
        line, extra = errand(self._session, timeouts), dict(extra_body or {})

        def as_tei() -> list[Ranking]:
            place = self._tei(model or "")
            body = without_none({"query": query, "texts": found, **extra})
            return ranked(ask(line, place, json_request(place.target.url("/rerank"), body))[0])

        def ranked(answer: Answer) -> list[Ranking]:
            with bodied(answer):
                return rankings(json_of(answer))

        def usual() -> list[Ranking]:
            place = Candidate(ProviderEntry("openai-compatible", model or ""), Target(root_url(self.base_url)))
            body = without_none({"model": model, "query": query, "documents": found, **extra})
            return ranked(ask(line, place, json_request(place.target.url("/rerank"), body))[0])

        return as_tei() if provider == TEI else through(usual, as_tei)


def _dialect(candidate: Candidate) -> str:
    return candidate.provider if candidate.provider in (HF, TEI) else "openai"
