"""The providers of a model: the Hub's ``inferenceProviderMapping`` in its two forms. No network.

Reference: docs/protocol/inference ("providers").
"""

from __future__ import annotations

from typing import Any

from attrs import frozen

from hfclient.decoding.json_values import text_or_none

__all__ = ["ProviderEntry", "parse_mapping"]


@frozen
class ProviderEntry:
    """One provider's offer of one model.

    Attributes:
        provider: The provider's id, such as ``"fal-ai"``.
        provider_id: The provider's name of the model.
        status: ``"live"``, ``"staging"`` (not public yet) or ``"error"`` (its last check failed).
        task: Its task there, such as ``"text-to-image"``; ``"conversational"`` for chat models. Empty if unknown.
        model: The model's name on the Hub.
        adapter: ``"lora"`` if the model is an adapter that runs on top of another one, else None.
        adapter_weights: The adapter's file in its repository, or None.
    """

    provider: str
    provider_id: str
    status: str = "live"
    task: str = ""
    model: str = ""
    adapter: str | None = None
    adapter_weights: str | None = None


def parse_mapping(value: Any, model: str) -> list[ProviderEntry]:
    """Return the entries of ``inferenceProviderMapping``, in the Hub's order, which is the caller's preference.

    It is an object keyed by provider for one model, and a list of entries in lists of models. Invalid entries are skipped; an
    empty one means that no provider serves the model.

        >>> parse_mapping({"groq": {"status": "live", "providerId": "m", "task": "conversational"}}, "org/m")[0].provider
        'groq'
    """
    if isinstance(value, dict):
        pairs = [(name, entry) for name, entry in value.items()]
    elif isinstance(value, list):
        pairs = [(entry.get("provider"), entry) for entry in value if isinstance(entry, dict)]
    else:
        pairs = []
    return [found for name, entry in pairs if (found := _entry(name, entry, model)) is not None]


def _entry(provider: Any, entry: Any, model: str) -> ProviderEntry | None:
    if not isinstance(provider, str) or not provider or not isinstance(entry, dict):
        return None
    provider_id = text_or_none(entry.get("providerId"))
    if provider_id is None:
        return None
    name = text_or_none(entry.get("hfModelId")) or model
    return ProviderEntry(
        provider=provider,
        provider_id=name if provider == "hf-inference" else provider_id,  # its routes contain the Hub's names
        status=text_or_none(entry.get("status")) or "live",
        task=text_or_none(entry.get("task")) or "",
        model=name,
        adapter=text_or_none(entry.get("adapter")),
        adapter_weights=text_or_none(entry.get("adapterWeightsPath")),
    )
