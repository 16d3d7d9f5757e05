"""Results of a batch: a table with a row for each item."""

from __future__ import annotations

from typing import Any

from hfclient.notebook.bundles import Forms
from hfclient.notebook.escaping import amount, line
from hfclient.notebook.tables import Cell, Table

__all__ = ["batch_result_forms", "batch_results_forms"]


def batch_result_forms(result: Any) -> Forms:
    """Return the forms of one result."""
    return batch_results_forms([result])


def batch_results_forms(results: list[Any]) -> Forms:
    """Return the forms of several results."""

    def table() -> Table:
        names = any(result.id is not None for result in results)
        failed = sum(not result.ok for result in results)
        headings = ["Item#", *(["Id"] if names else []), "Input", "Answer", "Tokens#", "Seconds#"]
        rows = (
            [
                Cell(str(result.index), result.index),
                *([Cell(line(result.id or ""))] if names else []),
                Cell(_text(result.input)),
                Cell(_text(result.value) if result.ok else line(f"{type(result.error).__name__}: {result.error.message}")),
                _tokens(result.usage),
                Cell("stored") if result.stored else Cell(f"{result.seconds:.1f}", result.seconds),
            ]
            for result in results
        )
        caption = f"{amount(failed, 'item has', 'items have')} failed" if failed else ""
        return Table(headings, rows, total=len(results), caption=caption)

    return {"text/plain": lambda: table().text(), "text/html": lambda: table().html()}


def _text(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[-1], dict) and "content" in value[-1]:  # messages
        value = value[-1]["content"]
    return line(value if isinstance(value, str) else str(getattr(value, "text", None) or repr(value)))


def _tokens(usage: Any) -> Cell:
    return Cell() if usage is None else Cell(f"{usage.total_tokens:,}", usage.total_tokens)
