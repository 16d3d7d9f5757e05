"""Models of a chat server, of an inference server, and of the Hub: tables."""

from __future__ import annotations

from typing import Any

from hfclient.notebook.bundles import Forms
from hfclient.notebook.escaping import line
from hfclient.notebook.tables import Cell, Table
from hfclient.types import Model

__all__ = [
    "hub_model_forms",
    "hub_models_forms",
    "model_forms",
    "model_list_forms",
    "models_forms",
    "search_forms",
    "served_model_forms",
    "served_models_forms",
]


def _table_forms(make: Any) -> Forms:
    return {"text/plain": lambda: make().text(), "text/html": lambda: make().html()}


def _number(value: float | None, written: str = "{:,}") -> Cell:
    return Cell() if value is None else Cell(written.format(value), float(value))


def _flag(value: bool | None) -> Cell:
    return Cell("yes" if value else "")


# A chat server


def model_forms(model: Model) -> Forms:
    """Return the forms of one LLM."""
    return model_list_forms([model])


def model_list_forms(models: list[Model], note: str = "") -> Forms:
    """Return the forms of the LLMs of a chat server."""

    def table() -> Table:
        rows = (
            [
                Cell(model.id),
                Cell(model.display_name if model.display_name != model.id else ""),
                _flag(model.multimodal),
                _flag(model.supports_tools),
                _flag(model.supports_reasoning),
                Cell(", ".join(provider.provider for provider in model.providers[:20])),
                Cell(line(model.description, 100)),
            ]
            for model in models
        )
        headings = ["Model", "Name", "Images", "Tools", "Reasoning", "Providers", "Description"]
        return Table(headings, rows, total=len(models), caption=note)

    return _table_forms(table)


def models_forms(models: Any) -> Forms:
    """Return the forms of ``client.models``: the list if it was fetched before, because a display sends nothing."""
    known = models.known
    if known is None:
        return {"text/plain": lambda: "The models of the server: client.models.list() is a table of them."}
    return model_list_forms(known)


# An inference server


def served_model_forms(model: Any) -> Forms:
    """Return the forms of an LLM of an inference server: its providers with their prices."""

    def table() -> Table:
        rows = (
            [
                Cell(offer.provider),
                Cell(offer.status),
                _number(offer.context_length),
                _price(offer, offer.input_price),
                _price(offer, offer.output_price),
                _flag(offer.supports_tools),
                _flag(offer.supports_structured_output),
                _number(offer.first_token, "{:.2f}"),
                _number(offer.throughput, "{:.0f}"),
            ]
            for offer in model.offers
        )
        headings = [
            "Provider",
            "Status",
            "Context#",
            "Input $/M#",
            "Output $/M#",
            "Tools",
            "Schemas",
            "First token, s#",
            "Tokens/s#",
        ]
        return Table(headings, rows, total=len(model.offers), caption=line(model.id, 200))

    return _table_forms(table) if model.offers else served_models_forms([model])


def served_models_forms(models: list[Any]) -> Forms:
    """Return the forms of the LLMs of an inference server, with the prices of the cheapest provider."""

    def row(model: Any) -> list[Cell]:
        best = model.cheapest
        return [
            Cell(model.id),
            _number(model.context_length),
            _price(best, best.input_price) if best else Cell(),
            _price(best, best.output_price) if best else Cell(),
            _flag(model.supports_images),
            _flag(model.supports_tools),
            Cell(", ".join(dict.fromkeys(offer.provider for offer in model.live[:20]))),
            Cell(model.owned_by or ""),
        ]

    def table() -> Table:
        headings = ["Model", "Context#", "Input $/M#", "Output $/M#", "Images", "Tools", "Providers", "Owner"]
        return Table(headings, map(row, models), total=len(models))

    return _table_forms(table)


def _price(offer: Any, price: float | None) -> Cell:
    return Cell("free", 0.0) if offer.is_free else _number(price, "{:.2f}")


# The Hub


def hub_model_forms(model: Any) -> Forms:
    """Return the forms of a model of the Hub."""
    return hub_models_forms([model])


def hub_models_forms(models: list[Any]) -> Forms:
    """Return the forms of models of the Hub."""

    def table() -> Table:
        rows = (
            [
                Cell(model.id),
                Cell(model.task or ""),
                _number(model.downloads),
                _number(model.likes),
                _number(round(model.trending)),
                Cell(", ".join(model.live_providers[:20])),
                Cell("on request" if model.gated else ""),
                Cell((model.modified_at or "")[:10]),
            ]
            for model in models
        )
        headings = ["Model", "Task", "Downloads#", "Likes#", "Trending#", "Providers", "Access", "Modified"]
        return Table(headings, rows, total=len(models))

    return _table_forms(table)


def search_forms(search: Any) -> Forms:
    """Return how to get the results of a search: a display sends nothing."""
    return {
        "text/plain": lambda: (
            "A search on the Hub: .list(20) is a table of the next 20 models, a loop yields all of them."
        )
    }
