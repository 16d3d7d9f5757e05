"""The calls of `InferenceClient` about models and the account, with their documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from hfclient.arguments.argument_types import check_arguments
from hfclient.inference.base_client import BaseClient
from hfclient.inference.options import ModelFilters

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from hfclient.inference.models.account import Account
    from hfclient.inference.models.hub import DefaultModels, HubModel, HubModels
    from hfclient.inference.models.served_models import ServedModel

__all__ = ["ModelsClient"]


class ModelsClient(BaseClient):
    """A client for lists of models, and for the account."""

    @overload
    def models(self) -> list[ServedModel]: ...

    @overload
    def models(self, **filters: Unpack[ModelFilters]) -> HubModels: ...

    def models(self, **filters: Unpack[ModelFilters]) -> list[ServedModel] | HubModels:
        """Return the models of the inference server; or, with any filter, those of the Hub.

            for model in inference.models(task="text-to-image", provider="all", sort="trending", limit=10):
                print(model.id, model.live_providers)
            inference.models(search="qwen").list(20)    # a table in a notebook

        Without filters it is the server's list; the router's has prices and context lengths. With filters, even if they
        are None, it is an iterator over the Hub's pages. A page is requested when its first entry is needed.

        Args:
            filters: task, provider, search, sort, limit, author, tags, warm; see `.ModelFilters`.

        Raises:
            InvalidInputError: A filter is invalid.
            ProtocolError: The answer is not a list of models.
            APIStatusError, TransportError: The server refused, or did not answer; raised by the iterator if there is one.

        Reference: GET {base}/v1/models, GET {hub}/api/models
        """
        check_arguments(ModelsClient.models, locals())
        return self._service.hub.models(**filters) if filters else self._service.served_models()

    def model(self, id: str) -> HubModel:
        """Return a model of the Hub with its providers.

            inference.model("Qwen/Qwen3-8B").live_providers

        Args:
            id: Its name; a short one such as ``"llama-3.3-70b"`` works.

        Raises:
            ModelNotFound: It does not exist, or is private; ``suggestions`` has similar names.
            APIStatusError, TransportError: The Hub refused, or did not answer.

        Reference: GET {hub}/api/models/{id}
        """
        check_arguments(ModelsClient.model, locals())
        return self._service.hub.model(id)

    def default_models(self) -> DefaultModels:
        """Return models to suggest to a user: current ones from the Hub, or built-in ones if it does not answer."""
        return self._service.hub.default_models()

    def account(self) -> Account:
        """Return the account that the Hub token belongs to, with its plan and its organisations.

        The Hub limits these requests strictly: ask once, not before each call. It does not say how many credits are left.

        Raises:
            CredentialsError: There is no token for the Hub; nothing was sent.
            AuthenticationError: The Hub does not accept the token.
            ProtocolError: The answer is not an account.
            APIStatusError, TransportError: The Hub refused, or did not answer.

        Reference: GET {hub}/api/whoami-v2 (the type ApiWhoAmI of huggingface.js)
        """
        from hfclient.inference.models.account import fetch_account

        return fetch_account(self._service.session, self._service.hub.url)
