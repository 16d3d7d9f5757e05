"""Who serves a model: the Hub's ``inferenceProviderMapping``, in both of its shapes.

Reference: docs/protocol/inference ("providers").
"""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

from attrs import frozen

from hfclient.transport import Request, Session

__all__ = ["Mappings", "ProviderEntry", "parse_mapping"]

_MOST_KNOWN = 1000  # models whose answers are kept; somebody who asks about more goes through a catalogue


@frozen
class ProviderEntry:
    """One provider's offer of one model.

    Attributes:
        provider: The provider's id, such as ``"fal-ai"``.
        provider_id: What the model is called there.
        status: ``"live"``, ``"staging"`` (not public yet) or ``"error"`` (its last check failed).
        task: What the model does there, such as ``"text-to-image"``; chat models say ``"conversational"``. Empty if the
            Hub does not say.
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

    It is an object keyed by provider for one model and a list of entries in lists of models. What is no entry in it is
    passed over; nothing at all means that nobody serves the model.

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
    provider_id = _text(entry.get("providerId"))
    if provider_id is None:
        return None
    return ProviderEntry(
        provider=provider,
        provider_id=provider_id,
        status=_text(entry.get("status")) or "live",
        task=_text(entry.get("task")) or "",
        model=_text(entry.get("hfModelId")) or model,
        adapter=_text(entry.get("adapter")),
        adapter_weights=_text(entry.get("adapterWeightsPath")),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


class Mappings:
    """The Hub's mapping of each model that was asked about, kept for a while: a provider that failed may be back later.

    Args:
        session: The way to the network.
        hub_url: Base URL of the Hub.
        keep: How long an answer is used, in seconds.
    """

    def __init__(self, session: Session, hub_url: str, *, keep: float = 600.0) -> None:
        self._session = session
        self._hub_url = hub_url
        self._keep = keep
        self._known: dict[str, tuple[float, list[ProviderEntry]]] = {}

    def __call__(self, model: str) -> list[ProviderEntry]:
        """Return who serves *model*, in the Hub's order.

        Raises:
            NotFoundError: There is no such model.
            APIStatusError, TransportError: The Hub refused, or did not answer.

        Reference: GET {hub}/api/models/{id}?expand[]=inferenceProviderMapping
        """
        known = self._known.get(model)
        now = time.monotonic()
        if known is not None and now - known[0] < self._keep:
            return known[1]
        url = f"{self._hub_url.rstrip('/')}/api/models/{quote(model, safe='/')}"
        data = self._session.send(Request.read(url, params={"expand[]": "inferenceProviderMapping"})).json()
        entries = parse_mapping(data.get("inferenceProviderMapping") if isinstance(data, dict) else None, model)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[model] = (now, entries)
        return entries

    def forget(self, model: str) -> None:
        """Ask the Hub again next time: what it said about *model* turned out to be wrong."""
        self._known.pop(model, None)
