"""The base of `InferenceClient`: its configuration, and the modules that carry out its calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from hfclient.credentials import HUB_URL, ROUTER_URL, reference_to
from hfclient.events import AnyEvent
from hfclient.stream import LastReply
from hfclient.transport import Retry, Session, Timeouts, Transport
from hfclient.transport.request import safe_url

if TYPE_CHECKING:
    from typing_extensions import Self

    from hfclient.inference.completions.chat import ChatCompletions
    from hfclient.inference.media.generation import MediaGeneration
    from hfclient.inference.tasks.embeddings import Embeddings
    from hfclient.inference.tasks.pipelines import Pipelines
    from hfclient.inference.tasks.speech import Speech
    from hfclient.inference.text.text_generation import TextGeneration

__all__ = ["BaseClient"]


class BaseClient:
    """What `InferenceClient` consists of; it describes the arguments.

    Attributes:
        base_url: As given.
        chat_url: URL of the chat completions.
        models_url: URL of the list of models.
    """

    def __init__(
        self,
        session: Session,
        *,
        base_url: str = ROUTER_URL,
        bill_to: str | None = None,
        on_event: Callable[[AnyEvent], object] | None = None,
        hub_url: str = HUB_URL,
        router_url: str | None = None,
        provider_keys: Mapping[str, str] | None = None,
        embedded: Literal["model", "upstream"] | None = None,
        last: LastReply | None = None,
    ) -> None:
        from hfclient.inference.service import InferenceService

        self._session = session
        self._options: dict[str, Any] = {
            "base_url": base_url,
            "bill_to": bill_to,
            "on_event": on_event,
            "hub_url": hub_url,
            "router_url": router_url,
            "provider_keys": provider_keys,
            "embedded": embedded,
            "last": last,
        }
        self._service = InferenceService(session, **self._options)
        self.base_url = base_url
        self.chat_url = self._service.chat_url
        self.models_url = self._service.models_url

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {safe_url(vars(self).get('base_url', ''))}>"

    @property
    def is_router(self) -> bool:
        """Whether *base_url* is Hugging Face's router."""
        return self._service.is_router

    @property
    def transport(self) -> Transport:
        """The transport that sends the requests, which clients of one `Client` share."""
        return self._session.transport

    @property
    def on_event(self) -> Callable[[AnyEvent], object] | None:
        """The function that gets every event of every stream, or None."""
        found: Callable[[AnyEvent], object] | None = self._options["on_event"]
        return found

    def with_options(
        self, *, timeouts: Timeouts | None = None, retry: Retry | None = None, transport: Transport | None = None
    ) -> Self:
        """Return a client of the same server and account with other options.

            patient = inference.with_options(timeouts=Timeouts(first_token=600))

        Args:
            timeouts: Deadlines of calls that have none of their own; None takes those of this client.
            retry: When and how often requests are retried; None as this client.
            transport: Another transport, with its own connections; None shares those of this client.

        Raises:
            InvalidInputError: An option has another type.
        """
        return type(self)(self._session.with_options(transport=transport, timeouts=timeouts, retry=retry), **self._options)

    def worker_options(self) -> dict[str, Any]:
        """Return the options of a `Client` for the same server and account in another process, without secrets.

            Client(**{name: os.environ[value[4:]] if str(value).startswith("env:") else value for name, value in options.items()})

        A key that was passed to this client is the name of the environment variable that has it, ``"env:HF_TOKEN"``. A token that
        was found is left out, because the other process finds its own.

        Raises:
            CredentialsError: No environment variable has the key.
        """
        session = self._session
        options = {
            "inference_url": self.base_url,
            "hub_url": self._options["hub_url"],
            "bill_to": self._options["bill_to"],
            "timeouts": session.timeouts,
            "retry": session.retry,
            "limits": session.limits,
        }
        keys = self._options["provider_keys"] or {}
        if keys:
            options["provider_keys"] = {name: reference_to(key, f"the key of {name}") for name, key in keys.items() if key}
        return {**options, **session.credentials.references(self.base_url)}

    # Each module is imported at the first call that needs it: all of them together take as long to import as the rest of
    # this package.

    @cached_property
    def _completions(self) -> ChatCompletions:
        from hfclient.inference.completions.chat import ChatCompletions

        return ChatCompletions(self._service)

    @cached_property
    def _text(self) -> TextGeneration:
        from hfclient.inference.text.text_generation import TextGeneration

        return TextGeneration(self._service)

    @cached_property
    def _media(self) -> MediaGeneration:
        from hfclient.inference.media.generation import MediaGeneration

        return MediaGeneration(self._service)

    @cached_property
    def _embeddings(self) -> Embeddings:
        from hfclient.inference.tasks.embeddings import Embeddings

        return Embeddings(self._service)

    @cached_property
    def _speech(self) -> Speech:
        from hfclient.inference.tasks.speech import Speech

        return Speech(self._service)

    @cached_property
    def _pipelines(self) -> Pipelines:
        from hfclient.inference.tasks.pipelines import Pipelines

        return Pipelines(self._service, self._media)
