"""Lists of values: a table or a grid, by the class of the first value."""

from __future__ import annotations

import importlib
from typing import Any

from hfclient.notebook.bundles import Forms

__all__ = ["list_forms"]

_LISTS = {
    "Message": "conversations:messages_forms",
    "ConversationInfo": "conversations:infos_forms",
    "Model": "models:model_list_forms",
    "ServedModel": "models:served_models_forms",
    "HubModel": "models:hub_models_forms",
    "Image": "media:images_forms",
    "Media": "media:media_forms",
    "BatchResult": "batches:batch_results_forms",
    "Finding": "results:findings_forms",
}


def list_forms(values: list[Any]) -> Forms:
    """Return the forms of a list whose values are of one class."""
    if not values:
        return {}
    first = type(values[0])
    for cls in first.__mro__:
        if cls.__name__ in _LISTS and all(isinstance(value, cls) for value in values):
            module, _, function = _LISTS[cls.__name__].partition(":")
            forms: Forms = getattr(importlib.import_module(f"hfclient.notebook.{module}"), function)(values)
            return forms
    return {}
