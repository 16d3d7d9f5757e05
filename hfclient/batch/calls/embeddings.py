"""`embed`: many texts in one request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hfclient.batch.calls.base import MethodCall
from hfclient.batch.items import Item
from hfclient.errors import InvalidInputError
from hfclient.inference.options import EmbedOptions

if TYPE_CHECKING:
    from hfclient.inference import InferenceClient

__all__ = ["EmbedCall"]

_BATCH_SIZE = 32


class EmbedCall(MethodCall):
    """`InferenceClient.embed`: an item is a text, its value a vector. The engine asks for ``pack_size`` texts with one request."""

    name = "embed"
    options_type = EmbedOptions
    shared = (*MethodCall.shared, "batch_size")

    def __init__(self, client: InferenceClient, options: Mapping[str, Any]) -> None:
        super().__init__(client, options)
        self.pack_size: int = options.get("batch_size", _BATCH_SIZE)
        if self.pack_size < 1:
            raise InvalidInputError(f"batch_size is a number of at least 1, not {self.pack_size}")

    def pack(self, items: Sequence[Item]) -> Item:
        first = items[0]
        return Item(first.index, [item.input for item in items], first.options)

    def run(self, item: Item) -> Any:
        options = {**self.options_for(item), "batch_size": self.pack_size}
        if isinstance(item.input, list):
            return list(self._client.embed(item.input, **options))
        return self._client.embed([item.input], **options)[0]

    def check(self, item: Item) -> None:
        super().check(item)
        if not isinstance(item.input, str):
            raise InvalidInputError(f"a text to embed is a string, not {type(item.input).__name__}")

    def find_model(self, kind: Any, options: Mapping[str, Any]) -> str | None:
        return self.recommended("feature-extraction")
