"""Where the answers come from: the seam between the chat server and whoever writes.

An `Upstream` is small on purpose, so that a test can be one: it lists models and answers messages with a stream of
events. `OpenAIUpstream` is the one that is used, over any OpenAI-compatible API; the small model on this machine is
just another one of those (`hfclient.local.model`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from attrs import evolve, field, frozen

from hfclient.credentials import Credentials, Secret
from hfclient.errors import HFClientError
from hfclient.events import AnyEvent
from hfclient.inference import InferenceClient, ServedModel
from hfclient.transport import Retry, Session, Timeouts
from hfclient.transport.requests_transport import PlainTransport

__all__ = ["Answer", "OpenAIUpstream", "Upstream", "UpstreamModel"]

_FRESH = 60.0  # seconds that a list of models is good for
_QUICK = Timeouts(idle=10.0)
# A model on a small machine may think about a long prompt for minutes before it says a word.
_PATIENT = Timeouts(first_token=600.0, idle=120.0)

Message = dict[str, Any]
"""A chat message as OpenAI-compatible APIs take it: ``role`` and ``content``."""


@frozen(kw_only=True)
class UpstreamModel:
    """An LLM that can be asked.

    Attributes:
        id: What clients pass as ``model``.
        description: A sentence about it, or None.
        multimodal: It takes images.
        providers: Who serves it, as the upstream says.
        default_prompt: System prompt for conversations that have none, or None.
        temperature: What to ask with; None leaves it to the upstream.
        max_tokens: Longest answer; None leaves it to the upstream.
        prompt_tokens: Most tokens of a prompt; None if unknown.
    """

    id: str
    description: str | None = None
    multimodal: bool = False
    providers: list[dict[str, Any]] = field(factory=list)
    default_prompt: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    prompt_tokens: int | None = None


class Answer(Protocol):
    """A stream of events, such as `hfclient.stream.Stream`."""

    def __iter__(self) -> Iterator[AnyEvent]:
        """Return the events; an `HFClientError` says why it failed."""

    def cancel(self) -> None:
        """Stop the reader, from any thread; returns at once."""

    def close(self) -> None:
        """Free the connection; idempotent."""


class Upstream(Protocol):
    """Whoever writes the answers. Threads share it."""

    url: str | None
    """Base URL of its OpenAI-compatible API, or None if it has none."""

    def models(self) -> Sequence[UpstreamModel]:
        """Return what can be asked, the default first; an `HFClientError` says that it cannot be told now."""

    def answer(self, messages: list[Message], model: UpstreamModel) -> Answer:
        """Return the answer to *messages*; an `HFClientError` says that there will be none."""

    def close(self) -> None:
        """Give everything back."""


class OpenAIUpstream:
    """Any server with ``/v1/models`` and ``/v1/chat/completions``.

    Args:
        url: Its base URL, with or without ``/v1``.
        api_key: Its key, if it needs one; sent nowhere else.
        model: The model to offer first; the only one if the server does not list any.
        adapt: Completes what is known of each model.

    Raises:
        InvalidInputError: *url* is no http(s) URL.
        CredentialsError: *api_key* holds characters that no header can carry.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        model: str | None = None,
        adapt: Callable[[UpstreamModel], UpstreamModel] = lambda model: model,
    ) -> None:
        self.url: str | None = url
        self.key = Secret(api_key) if api_key else None
        # An empty token means "none": the environment's belongs to Hugging Face.
        credentials = Credentials(token=self.key, explicit=True, token_urls=[url])
        self._session = Session(PlainTransport(), credentials, timeouts=_QUICK, retry=Retry(attempts=2))
        self._client = InferenceClient(self._session, base_url=url)
        self._wanted = model
        self._adapt = adapt
        self._lock = threading.Lock()
        self._known: tuple[float, list[UpstreamModel]] | None = None

    def models(self) -> list[UpstreamModel]:
        """Return the server's models, asked for at most once a minute; the last ones known if it does not answer now."""
        with self._lock:
            known = self._known
            if known is not None and time.monotonic() - known[0] < _FRESH:
                return known[1]
            try:
                models = self._put_first([self._adapt(_parse(served)) for served in self._client.models()])
            except HFClientError:
                if known is None and self._wanted is None:
                    raise
                models = known[1] if known is not None else self._put_first([])
            self._known = (time.monotonic(), models)
            return models

    def _put_first(self, models: list[UpstreamModel]) -> list[UpstreamModel]:
        if self._wanted is None:
            return models
        wanted = _named(self._wanted, models) or self._adapt(UpstreamModel(id=self._wanted))
        return [wanted, *(model for model in models if model.id != wanted.id)]

    def answer(self, messages: list[Message], model: UpstreamModel) -> Answer:
        """Return the stream of the answer; the request has been sent when this returns."""
        return self._client.chat(
            messages, model=model.id, temperature=model.temperature, max_tokens=model.max_tokens, timeouts=_PATIENT
        )

    def close(self) -> None:
        """Close idle connections."""
        self._session.close()


def _named(name: str, models: list[UpstreamModel]) -> UpstreamModel | None:
    """Return the model with that id, or else the only one whose id is it in any case, or ends in it after a slash."""
    wanted = name.lower()
    for name_of in (str, str.lower, lambda known: known.lower().rpartition("/")[2]):
        found = [model for model in models if name_of(model.id) in (name, wanted)]
        if len(found) == 1:
            return found[0]
    return None


def _parse(served: ServedModel) -> UpstreamModel:
    """Return what a list of models says about one; routers say more than others."""
    raw = served.raw
    architecture = raw.get("architecture")
    modalities = architecture.get("input_modalities") if isinstance(architecture, dict) else None
    providers = raw.get("providers")
    model = UpstreamModel(id=served.id, multimodal=isinstance(modalities, list) and "image" in modalities)
    return evolve(
        model,
        description=raw["description"] if isinstance(raw.get("description"), str) else None,
        providers=[entry for entry in providers if isinstance(entry, dict)] if isinstance(providers, list) else [],
    )
