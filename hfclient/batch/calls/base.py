"""`MethodCall`: what the calls of `InferenceClient`'s methods have in common."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hfclient.arguments.argument_types import check_arguments
from hfclient.arguments.option_hints import refuse_unknown
from hfclient.batch.items import Item
from hfclient.batch.options import MapOptions
from hfclient.errors import InvalidInputError
from hfclient.files.sources import is_data_url, is_url

if TYPE_CHECKING:
    from hfclient.inference import InferenceClient
    from hfclient.transport import Retry, Timeouts, Transport

__all__ = ["MethodCall", "as_files"]

# Options that decide how long a call takes, not what it returns.
_WITHOUT_EFFECT = frozenset(("batch_size", "parallel", "timeouts"))


class MethodCall:
    """A method of `InferenceClient` for each item; see `Call`.

    Args:
        client: The client.
        options: Options of the method for all items.

    Raises:
        TypeError: The method has no such option.
        InvalidInputError: An option has another type, or a required one is missing.
    """

    name = ""
    needs_threads = False
    keeps_notes = False
    has_files = False
    options_type: ClassVar[type]
    """The `TypedDict` of the method's options."""
    own: ClassVar[tuple[str, ...]] = ()
    """Arguments of the method besides its first one and its options."""
    files: ClassVar[tuple[str, ...]] = ()
    """Options that are files, where a string may be a path; ``"input"`` for the item itself."""
    shared: ClassVar[tuple[str, ...]] = ("on_progress", "progress")
    """Options that items cannot have of their own."""

    def __init__(self, client: InferenceClient, options: Mapping[str, Any]) -> None:
        self._client = client
        self._options = dict(options)
        self._default_models: dict[Any, str | None] = {}  # shared by all copies for engines
        refuse_unknown("map", options, dict.fromkeys((*self._names, *MapOptions.__annotations__)))
        if "on_progress" in options:
            raise InvalidInputError("map() does not take on_progress: the batch has a progress of its own")
        self._check_types(options)

    @property
    def client(self) -> InferenceClient:
        return self._client

    @property
    def item_options(self) -> list[str]:
        """Names of the options that an item may have."""
        return [name for name in self._names if name not in self.shared]

    def check(self, item: Item) -> None:
        """Check what is known of *item* before it is asked.

        Raises:
            InvalidInputError: It has an unknown option, or one of another type.
        """
        if not item.options:
            return
        for name in item.options:
            if name in self.shared or (name in MapOptions.__annotations__ and name not in self._names):
                raise InvalidInputError(f"{name} is the same for all items; pass it to map()")
        try:
            refuse_unknown("map", item.options, self._names)
        except TypeError as error:
            raise InvalidInputError(str(error)) from None
        self._check_types(item.options)

    def with_client(self, *, transport: Transport | None, timeouts: Timeouts, retry: Retry) -> MethodCall:
        made = copy.copy(self)
        made._client = self._client.with_options(transport=transport, timeouts=timeouts, retry=retry)
        return made

    def prepare(self, item: Item) -> None:
        if self._options.get("model") is None and item.options.get("model") is None:
            self.options_for(item)

    def run(self, item: Item) -> Any:
        raise NotImplementedError

    def shared_settings(self) -> dict[str, Any]:
        options = self._options
        if options.get("model") is None:  # so that a new default model does not ask all items again without a word
            with contextlib.suppress(InvalidInputError):  # there is no default; the items may have models
                options = self.options_for(Item(0, ""))
        return self._settings(options)

    def settings(self, item: Item) -> dict[str, Any]:
        found = self._settings(self.options_for(item))
        return {**found, "input": as_files(item.input) if "input" in self.files else item.input}

    def options_for(self, item: Item) -> dict[str, Any]:
        """Return the options of the batch and of *item*, with a model if there is a choice.

        The default model is looked up once for all items, and is a part of the key.
        """
        options = {**self._options, **item.options}
        if options.get("model") is None:
            kind = self.model_kind(item, options)
            if kind not in self._default_models:
                self._default_models[kind] = self.find_model(kind, options)
            if (model := self._default_models[kind]) is not None:
                options["model"] = model
        return options

    def encode(self, value: Any) -> Any:
        return value

    def decode(self, data: Any) -> Any:
        return self.from_json(data)

    @staticmethod
    def from_json(data: Any) -> Any:
        """Return the value that :meth:`encode` was given, as far as that is known without the call's options."""
        return data

    # The default model

    def model_kind(self, item: Item, options: Mapping[str, Any]) -> Any:
        """Return what the default model depends on."""
        return None

    def find_model(self, kind: Any, options: Mapping[str, Any]) -> str | None:
        """Return the model of items that name none; None if the server has only one, or the method has a constant."""
        return None

    def recommended(self, task: str) -> str | None:
        """Return the model that the Hub recommends for *task*; None for a server of the caller's own, which has a model."""
        service = self._client._service
        return None if service.routes.own_server else service.hub.recommended(task)

    # Helpers

    @property
    def _names(self) -> dict[str, None]:
        return dict.fromkeys((*self.own, *self.options_type.__annotations__))

    def _check_types(self, options: Mapping[str, Any]) -> None:
        method: Callable[..., Any] = getattr(type(self._client), self.name)
        check_arguments(method, {"options": {name: value for name, value in options.items() if value is not None}})

    def _settings(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options that decide the answer; `hfclient.batch.checkpoints.keys` reads files, classes and functions in them."""
        kept = {name: value for name, value in options.items() if value is not None and name not in _WITHOUT_EFFECT}
        files = {name: as_files(kept[name]) for name in self.files if name in kept}
        return {"call": self.name, "server": self._client.base_url, **kept, **files}


def as_files(value: Any) -> Any:
    """Return *value* with paths that are strings as `Path`, so that they count by their content. A URL stays a string."""
    if isinstance(value, str):
        return value if is_url(value) or is_data_url(value) or not os.path.lexists(value) else Path(value)
    return [as_files(one) for one in value] if isinstance(value, list) else value
