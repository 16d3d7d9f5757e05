"""The upstream: the inference service that generates the answers of the embedded server.

The `Upstream` protocol is small, so that a test can implement it: it lists models and answers messages with a stream of events.
`OpenAIUpstream` is a client of any OpenAI-compatible API; the local model is one of those (`hfclient.local.llama_cpp`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from attrs import field, frozen

from hfclient.credentials import Credentials, Secret
from hfclient.decoding.json_values import list_or_empty, text_or_none
from hfclient.errors import HFClientError
from hfclient.events import AnyEvent
from hfclient.inference import InferenceClient, ServedModel
from hfclient.transport import Retry, Session, Timeouts
from hfclient.transport.requests_transport import RequestsTransport

__all__ = ["EventStream", "OpenAIUpstream", "Upstream", "UpstreamModel"]

_MODELS_MAX_AGE = 60.0  # seconds to cache the list of models
_MODELS_TIMEOUTS = Timeouts(idle=10.0)
# On a small machine a model may process a long prompt for minutes before its first token.
_CHAT_TIMEOUTS = Timeouts(first_token=600.0, idle=120.0)

ChatMessage = dict[str, Any]
"""A chat message of an OpenAI-compatible API: ``role`` and ``content``."""


@frozen(kw_only=True)
class UpstreamModel:
    """An LLM of the upstream.

    Attributes:
        id: The value of ``model`` in requests.
        description: One sentence, or None.
        multimodal: Whether it accepts images.
        providers: Its providers, as the upstream lists them.
        default_prompt: System prompt for conversations without one, or None.
        temperature: Sampling temperature; None takes the upstream's default.
        max_tokens: Maximum length of an answer; None takes the upstream's default.
        prompt_tokens: Maximum length of a prompt; None if unknown.
    """

    id: str
    description: str | None = None
    multimodal: bool = False
    providers: list[dict[str, Any]] = field(factory=list)
    default_prompt: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    prompt_tokens: int | None = None


class EventStream(Protocol):
    """The events of one answer, such as a `hfclient.stream.Stream`."""

    def __iter__(self) -> Iterator[AnyEvent]:
        """Return the events; raises an `HFClientError` if the answer fails."""

    def cancel(self) -> None:
        """Wake and stop the reader, from any thread; returns at once."""

    def close(self) -> None:
        """Close the connection; idempotent."""


class Upstream(Protocol):
    """Generates the answers; shared by threads."""

    url: str | None
    """Base URL of its OpenAI-compatible API, or None if it has none."""

    def models(self) -> Sequence[UpstreamModel]:
        """Return the models, the default first; raises an `HFClientError` if they cannot be listed."""

    def answer(self, messages: list[ChatMessage], model: UpstreamModel) -> EventStream:
        """Return the answer to *messages*; raises an `HFClientError` if the request fails."""

    def close(self) -> None:
        """Close connections and free resources."""


class OpenAIUpstream:
    """Any server with ``/v1/models`` and ``/v1/chat/completions``.

    Args:
        url: Its base URL, with or without ``/v1``.
        api_key: Its API key, if it needs one; sent to no other host.
        model: The default model; the only one if the server does not list its models.
        adapt: Called for each model of the list, to set further attributes.

    Raises:
        InvalidInputError: *url* is not an http(s) URL.
        CredentialsError: *api_key* has characters that are not allowed in a header.
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
        # Never the token of the environment: that one belongs to Hugging Face.
        credentials = Credentials(token=self.key, explicit=True, token_urls=[url])
        self._session = Session(RequestsTransport(), credentials, timeouts=_MODELS_TIMEOUTS, retry=Retry(attempts=2))
        self._client = InferenceClient(self._session, base_url=url)
        self._default = model
        self._adapt = adapt
        self._lock = threading.Lock()
        self._cached: tuple[float, list[UpstreamModel]] | None = None

    def models(self) -> list[UpstreamModel]:
        """Return the server's models, cached for a minute; the cached list if the server does not answer."""
        with self._lock:
            cached = self._cached
            if cached is not None and time.monotonic() - cached[0] < _MODELS_MAX_AGE:
                return cached[1]
            try:
                models = self._default_first([self._adapt(_parse(served)) for served in self._client.models()])
            except HFClientError:
                if cached is None and self._default is None:
                    raise
                models = cached[1] if cached is not None else self._default_first([])
            self._cached = (time.monotonic(), models)
            return models

    def _default_first(self, models: list[UpstreamModel]) -> list[UpstreamModel]:
        if self._default is None:
            return models
        default = _find_model(self._default, models) or self._adapt(UpstreamModel(id=self._default))
        return [default, *(model for model in models if model.id != default.id)]

    def answer(self, messages: list[ChatMessage], model: UpstreamModel) -> EventStream:
        """Send the request and return the stream of the answer."""
        return self._client.chat(
            messages, model=model.id, temperature=model.temperature, max_tokens=model.max_tokens, timeouts=_CHAT_TIMEOUTS
        )

    def close(self) -> None:
        """Close idle connections."""
        self._session.close()


def _find_model(name: str, models: list[UpstreamModel]) -> UpstreamModel | None:
    """Return the model with that id; else the only one whose id matches case-insensitively, or whose part after the slash does."""
    wanted = name.lower()
    for name_of in (str, str.lower, lambda known: known.lower().rpartition("/")[2]):
        found = [model for model in models if name_of(model.id) in (name, wanted)]
        if len(found) == 1:
            return found[0]
    return None


def _parse(served: ServedModel) -> UpstreamModel:
    """Return a model of the list; routers give more fields than other servers."""
    return UpstreamModel(
        id=served.id,
        multimodal=served.supports_images,
        description=text_or_none(served.raw.get("description")),
        providers=[entry for entry in list_or_empty(served.raw.get("providers")) if isinstance(entry, dict)],
    )
