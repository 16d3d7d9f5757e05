"""What the wings of `InferenceClient` for small tasks share: who is asked, and the step to the next one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from attrs import evolve

from hfclient.errors import HFClientError, InvalidInputError, ModelNotFound, Unsupported
from hfclient.events import AnyEvent
from hfclient.inference.endpoints import bare_url, refuse_url
from hfclient.inference.media.jobs import Line
from hfclient.inference.models.hub import Hub
from hfclient.inference.models.mapping import ProviderEntry
from hfclient.inference.providers import Answer, Output, Target
from hfclient.inference.providers.places import call_headers
from hfclient.inference.routing.candidates import Candidate, ProviderLike, Routes
from hfclient.inference.routing.failover import try_each
from hfclient.inference.tasks.audio import Audio, audio_from, audio_output
from hfclient.inference.tasks.errand import through
from hfclient.transport import Session

__all__ = ["HF", "TEI", "Wing"]

_T = TypeVar("_T")

HF = "hf-inference"
TEI = "tei"
"""Not a provider of the Hub's: text-embeddings-inference, on a server of the caller's own."""


class Wing:
    """The base of those wings."""

    base_url: str
    _session: Session
    _routes: Routes
    _hub: Hub
    _bill_to: str | None
    _on_event: Callable[[AnyEvent], object] | None

    def _serving(self, task: str, model: str | None, provider: ProviderLike, able: Iterable[str]) -> list[Candidate]:
        """Return who may be asked, best first."""
        if provider in (TEI, HF, [HF]):
            self._routes.check_able(task)
        if provider == TEI:
            return [self._tei(model or "")]
        own = self._routes.own_server
        if own and provider in (HF, [HF]):
            return [self._pipelines(model or "")]
        if model is None and not own:
            model = self._hub.recommended(task)
            if model is None:
                raise InvalidInputError(f"name a model with model=: the Hub shows none for {task}")
        return self._routes.candidates(task, model, provider, able=frozenset(able))

    def _pipelines(self, model: str) -> Candidate:
        """Return the server itself as one that speaks hf-inference's language: a deployment does, at its very URL."""
        refuse_url(model)
        # Its paths do not hang from /v1, which is there for chat.
        return Candidate(ProviderEntry(HF, model, model=model), Target(bare_url(self.base_url)))

    def _or_pipelines(self, attempt: Callable[[Candidate, bool], _T]) -> Callable[[Candidate, bool], _T]:
        """Return *attempt* with another one for a server of one model that does not know OpenAI's routes."""

        def asking(candidate: Candidate, is_last: bool) -> _T:
            if candidate.provider != "openai-compatible" or candidate.entry.model:
                return attempt(candidate, is_last)
            other = self._pipelines("")
            return through(partial(attempt, candidate, is_last), partial(attempt, other, is_last))

        return asking

    def _tei(self, model: str) -> Candidate:
        if not self._routes.own_server:
            raise Unsupported("provider='tei' is for a server of your own: Client(inference_url=...)")
        return Candidate(ProviderEntry(TEI, model, model=model), Target(bare_url(self.base_url)))

    def _each(
        self, line: Line, candidates: Sequence[Candidate], attempt: Callable[[Candidate, bool], _T], *, billed: bool
    ) -> tuple[_T, Candidate, tuple[Any, ...]]:
        def billing(candidate: Candidate, is_last: bool) -> _T:
            line.headers = self._headers(candidate)
            try:
                return attempt(candidate, is_last)
            except HFClientError as error:
                if isinstance(error, ModelNotFound):  # the Hub's mapping is out of date
                    self._routes.forget(candidate.entry.model)
                line.name(error)
                raise

        def tell(event: AnyEvent) -> None:
            if self._on_event is not None:
                self._on_event(event)

        return try_each(candidates, billing, billed=billed, tell=tell)

    def _headers(self, candidate: Candidate) -> dict[str, str]:
        return call_headers(candidate.provider, self._bill_to if candidate.billed else None, candidate.target.base)

    def _audio(self, line: Line, candidate: Candidate, answer: Answer, **facts: Any) -> Audio:
        model = candidate.entry.model or candidate.entry.provider_id
        return self._fetched(line, candidate, audio_output(answer), model=model, provider=candidate.provider, **facts)

    @staticmethod
    def _fetched(line: Line, candidate: Candidate, output: Output, **facts: Any) -> Audio:
        content = output.content
        if content is None:
            content, claimed = line.fetch(output.url or "", candidate.target.own_site)
            output = evolve(output, mime=output.mime or claimed)
        return audio_from(content, output, **facts)
