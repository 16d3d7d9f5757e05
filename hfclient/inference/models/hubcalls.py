"""What models there are: one wing of `InferenceClient`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypedDict, overload

from hfclient.arguments.argument_types import checks_arguments
from hfclient.arguments.option_hints import refuse_unknown
from hfclient.inference.models.catalogue import ServedModel, parse_models
from hfclient.inference.models.hub import DefaultModels, Hub, HubModel
from hfclient.transport import Request, Session

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["HubCalls", "HubFilters"]


class HubFilters(TypedDict, total=False):
    """What `InferenceClient.models` looks for on the Hub; it describes them. None is no filter."""

    task: str | None
    provider: str | Sequence[str] | None
    search: str | None
    sort: str | None
    limit: int | None
    author: str | None
    tags: str | Iterable[str]
    warm: bool


@checks_arguments
class HubCalls:
    """Questions about models; the base of `InferenceClient` that asks them."""

    models_url: str
    _session: Session
    _hub: Hub

    @overload
    def models(self) -> list[ServedModel]: ...

    @overload
    def models(self, **filters: Unpack[HubFilters]) -> Iterator[HubModel]: ...

    def models(self, **filters: Unpack[HubFilters]) -> list[ServedModel] | Iterator[HubModel]:
        """Return the LLMs that the inference server offers; or, with any argument, the Hub's models that fit.

            for model in inference.models(task="text-to-image", provider="all", sort="trending", limit=10):
                print(model.id, model.live_providers)

        Without arguments it is the list of the server: of the router with prices and context lengths. With arguments,
        whatever their values, it is an iterator over the Hub's pages, which asks for a page when its first entry is wanted.

        Args:
            task: Such as ``"text-to-image"``.
            provider: Only what this provider serves, or one of several; ``"all"`` for what anybody serves.
            search: A part of the name.
            sort: ``"trending"``, ``"likes"``, ``"downloads"``, ``"created"`` or ``"modified"``.
            limit: At most so many.
            author: Only this user's or organisation's.
            tags: Only models with all of these tags.
            warm: Only what is served right now.

        Raises:
            InvalidInputError: An argument cannot work.
            ProtocolError: The answer is no list of models.
            APIStatusError, TransportError: The server refused, or did not answer; raised by the iterator where there is one.

        Reference: GET {base}/v1/models, GET {hub}/api/models
        """
        if not filters:
            return self._served_models()
        refuse_unknown("models", filters, sorted(HubFilters.__optional_keys__))
        return self._hub.models(**filters)

    def model(self, id: str) -> HubModel:
        """Return a model of the Hub with who serves it.

            inference.model("Qwen/Qwen3-8B").live_providers

        Args:
            id: Its name; a short one such as ``"llama-3.3-70b"`` works.

        Raises:
            ModelNotFound: There is none, or it is private; ``suggestions`` has similar names.
            APIStatusError, TransportError: The Hub refused, or did not answer.

        Reference: GET {hub}/api/models/{id}
        """
        return self._hub.model(id)

    def default_models(self) -> DefaultModels:
        """Return models to offer somebody who named none: fresh from the Hub, or built in if it does not answer."""
        return self._hub.default_models()

    def _served_models(self) -> list[ServedModel]:
        return parse_models(self._session.send(Request.read(self.models_url)).json())
