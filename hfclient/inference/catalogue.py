"""Which LLMs an inference server offers."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from hfclient.errors import ProtocolError

__all__ = ["ServedModel", "parse_models"]


@frozen
class ServedModel:
    """An LLM that an inference server offers.

    Attributes:
        id: What to pass as ``model``.
        owned_by: Who made it or who runs it, in the server's words, or None.
        raw: The entry as the server sent it; the router's has providers, prices and context lengths.
    """

    id: str
    owned_by: str | None = None
    raw: dict[str, Any] = field(factory=dict, repr=False, eq=False)


def parse_models(data: Any) -> list[ServedModel]:
    """Return the entries of ``GET /v1/models``: ``{"data": [...]}``, ``{"models": [...]}`` or a bare list.

    Raises:
        ProtocolError: It is none of these.
    """
    entries = data
    if isinstance(data, dict):
        entries = data["data"] if isinstance(data.get("data"), list) else data.get("models")
    if not isinstance(entries, list):
        raise ProtocolError("the server's list of models is no list")
    return [model for entry in entries if (model := _model(entry)) is not None]


def _model(entry: Any) -> ServedModel | None:
    if isinstance(entry, str):
        entry = {"id": entry}
    if not isinstance(entry, dict):
        return None
    name = next((entry[key] for key in ("id", "name", "model") if isinstance(entry.get(key), str) and entry[key]), None)
    owner = entry.get("owned_by")
    return None if name is None else ServedModel(name, owner if isinstance(owner, str) else None, entry)
