"""The base of `InferenceClient`: its configuration, and the modules that carry out its calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from hfclient.credentials import HUB_URL, ROUTER_URL
from hfclient.events import AnyEvent
from hfclient.transport import Session
from hfclient.transport.request import safe_url

if TYPE_CHECKING:
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
    ) -> None:
        from hfclient.inference.service import InferenceService

        self._service = InferenceService(
            session,
            base_url=base_url,
            bill_to=bill_to,
            on_event=on_event,
            hub_url=hub_url,
            router_url=router_url,
            provider_keys=provider_keys,
            embedded=embedded,
        )
        self.base_url = base_url
        self.chat_url = self._service.chat_url
        self.models_url = self._service.models_url

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {safe_url(vars(self).get('base_url', ''))}>"

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
