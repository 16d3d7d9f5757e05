"""``client.models``: the LLMs that a chat server offers."""

from __future__ import annotations

from collections.abc import Iterator

from hfclient.arguments.argument_types import check_arguments
from hfclient.chat.servers.service import ChatService
from hfclient.chat.wire.messages import parse_model
from hfclient.types import Model

__all__ = ["Models"]


class Models:
    """The LLMs that the server offers, its default first; the list is cached for a minute.

    ``name in client.models`` is true for every name that `get` finds, and for a `Model` of the list.
    """

    def __init__(self, service: ChatService) -> None:
        self._service = service

    def __repr__(self) -> str:
        return "<Models>"

    def __iter__(self) -> Iterator[Model]:
        return iter(self._service.models.all())

    def __len__(self) -> int:
        return len(self._service.models.all())

    def __contains__(self, model: object) -> bool:
        if isinstance(model, Model):
            return model in self._service.models.all()
        if not isinstance(model, str):
            raise TypeError(f"a model is found by its name, not by {type(model).__name__}")
        return self._service.models.find(model) is not None

    def list(self, *, fresh: bool = False) -> list[Model]:
        """Return all models; *fresh* bypasses the cache.

        Reference: GET {base}/api/v2/models
        """
        check_arguments(Models.list, locals())
        return self._service.models.all(fresh=fresh)

    def get(self, name: str, *, details: bool = False) -> Model:
        """Return the LLM called *name*: its id in any case, the last part of its id, or its label.

        Args:
            name: Its name.
            details: Also fetch its providers, with their context lengths.

        Raises:
            ModelNotFound: It does not exist; the message and ``suggestions`` hold the nearest names.
        """
        check_arguments(Models.get, locals())
        model = self._service.models.get(name)
        return parse_model(self._service.read(self._service.endpoints.model(model.id))) if details else model

    @property
    def default(self) -> Model:
        """The server's default LLM."""
        return self._service.models.default()
