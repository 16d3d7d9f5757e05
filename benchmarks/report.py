"""Tables in reStructuredText (which a terminal shows well, too), and the results for our targets."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from benchmarks.bench import Figure, Section
from benchmarks.clients import IMPORTS

__all__ = ["Results", "marks", "spread", "table", "tables"]


@attrs.define
class Results:
    """One run.

    Attributes:
        about: When, where and how it was made.
        skipped: Which clients were left out, and why.
        sections: The tables, by name.
    """

    about: dict[str, Any]
    skipped: list[str]
    sections: dict[str, Section]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Results:
        """Undo `attrs.asdict`."""
        sections = {}
        for name, section in data["sections"].items():
            rows = {
                row: {column: Figure(**figure) for column, figure in figures.items()}
                for row, figures in section["rows"].items()
            }
            sections[name] = Section(**{**section, "rows": rows})
        return cls(data["about"], data["skipped"], sections)


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the middle half of *values*."""
    if len(values) < 3:
        return min(values), max(values)
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def tables(section: Section) -> str:
    """Return *section*: medians with the middle half of the rounds, the ratios, its notes."""
    head = section.title + (f", {section.unit}" if section.unit else "")
    lines = [f"**{head}**", "", *_table(section, lambda figure: _cell(figure.values, section.digits))]
    if any(figure.of_floor or figure.of_plain for row in section.rows.values() for figure in row.values()):
        lines += ["", "As a multiple of the floor (attrs) / of plain requests:", "", *_table(section, _ratios)]
    return "\n".join([*lines, *(f"\n{note}" for note in section.notes), ""])


def _table(section: Section, cell: Callable[[Figure], str]) -> list[str]:
    rows = [
        [name, *(cell(row[column]) if column in row else "" for column in section.columns)]
        for name, row in section.rows.items()
    ]
    used = [0] + [number for number in range(1, len(section.columns) + 1) if any(row[number] for row in rows)]
    head = ["", *section.columns]
    return list(table([head[number] for number in used], [[row[number] for number in used] for row in rows]))


def _ratios(figure: Figure) -> str:
    shown = [f"{statistics.median(ratios):.2f}" if ratios else "-" for ratios in (figure.of_floor, figure.of_plain)]
    return "" if shown == ["-", "-"] else " / ".join(shown)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a simple table."""
    head, rows = [head[0] or "\\", *head[1:]], [[row[0], *(cell or "\\" for cell in row[1:])] for row in rows]
    widths = [max(len(row[number]) for row in [head, *rows]) for number in range(len(head))]
    rule = "  ".join("=" * width for width in widths)
    yield rule
    for row in [head, *rows]:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        if row is head:
            yield rule
    yield rule


def _cell(values: Sequence[float], digits: int) -> str:
    if not values:
        return ""
    middle = f"{statistics.median(values):,.{digits}f}"
    if len(values) == 1:
        return middle
    low, high = spread(values)
    return f"{middle} ({low:,.{digits}f}-{high:,.{digits}f})"


@attrs.frozen
class _Mark:
    text: str
    section: str
    column: str
    limit: float
    of: str = "values"
    more: bool = False
    who: str = "hfclient"


def _marks() -> Iterator[_Mark]:
    for wire in ("chat", "sse"):
        yield _Mark(f"an event every 5 ms, {wire}: CPU at most 1.25 times the floor's", "paced", wire, 1.25, "of_floor")
    for wire in ("chat", "sse"):
        yield _Mark(
            f"an event every 5 ms, {wire}: delay at most 1.1 times plain requests'",
            "delay",
            f"{wire} p50",
            1.1,
            "of_plain",
        )
    for wire in ("chat", "sse"):
        yield _Mark(
            f"32 threads, a write an event, {wire}: at least 2 times plain requests'", "threads", f"{wire} each", 2.0,
            "of_plain", more=True,
        )  # fmt: skip
    for wire in ("chat", "sse"):
        for form in ("framed", "big"):
            yield _Mark(
                f"an event, {wire} {form}: at most 1.4 times the floor", f"events_{wire}", form, 1.4, "of_floor"
            )
    for wire in ("chat", "sse"):
        yield _Mark(
            f"an event late in 100,000, {wire}: at most 1.1 times one in 1,000",
            f"growth_{wire}",
            "100,000 to 1,000",
            1.1,
        )
    for who in ("relay, memory", "relay, Redis"):
        for column in ("chat, every 5 ms", "chat, framed", "sse, every 5 ms", "sse, framed"):
            text = f"{who}, {column}: CPU of an event at most 1.2 times that without a relay"
            yield _Mark(text, "relay_ratio", column, 1.2, who=who)
    for column in ("chat, with a look-up", "sse"):
        yield _Mark(f"a short answer, {column}: at most 0.7 times plain requests'", "small", column, 0.7, "of_plain")
    for who, limit in (("hfclient", 1.0), ("hfclient, and inference", 1.2)):
        text = f"{IMPORTS[who]}: at most {limit} times import requests"
        yield _Mark(text, "imports", "over bare, ms", limit, "of_plain", who=who)
    for wire in ("chat", "sse"):
        yield _Mark(f"20 streams in a row, {wire}: 1 connection", "connections", wire, 1)
    for wire in ("chat", "sse"):
        yield _Mark(f"80,000 events of 100,000, {wire}: at most 1 MiB gained", "memory", wire, 1)
    yield _Mark("a file of 10 MiB with a message: less than 1 MiB of extra memory", "upload", "memory, MiB", 1)
    yield _Mark("a file of 10 MiB saved: less than 1 MiB of extra memory", "download", "memory, MiB", 1)


def marks(sections: Mapping[str, Section]) -> str:
    """Return a table of what hfclient set itself, what came, and whether that is reached."""
    rows = []
    for mark in _marks():
        section = sections.get(mark.section)
        figure = section.rows.get(mark.who, {}).get(mark.column) if section else None
        values: list[float] = getattr(figure, mark.of) if figure else []
        if values:
            middle = statistics.median(values)
            reached = middle >= mark.limit if mark.more else middle <= mark.limit
            rows.append([mark.text, _cell(values, 2), "reached" if reached else "**not reached**"])
    return "\n".join([*table(["target", "measured", "result"], rows), ""]) if rows else ""
