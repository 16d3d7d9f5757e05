"""Tables in Markdown, verdicts on our marks, and a plot in SVG."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from html import escape

from benchmarks.measure import Figure, Section

__all__ = ["markdown", "marks", "plot"]


def markdown(section: Section) -> str:
    """Return *section* as a heading and a table: median, middle half of the rounds, ratios."""
    unit = f", {section.unit}" if section.unit else ""
    lines = [
        f"### {section.title}{unit}",
        "",
        f"| | {' | '.join(section.columns)} |",
        "|---" * (len(section.columns) + 1) + "|",
    ]
    for name, row in section.rows.items():
        cells = [_cell(row.get(column), section.digits) for column in section.columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for attribute, title in (("of_floor", "times the floor (attrs)"), ("of_plain", "times requests + json")):
        if any(getattr(figure, attribute) for row in section.rows.values() for figure in row.values()):
            lines += ["", f"{title[0].upper()}{title[1:]}, median of the ratios round by round:", ""]
            lines += [f"| | {' | '.join(section.columns)} |", "|---" * (len(section.columns) + 1) + "|"]
            for name, row in section.rows.items():
                cells = [_ratio(getattr(row[column], attribute)) if column in row else "" for column in section.columns]
                lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, *("\n" + note for note in section.notes), ""])


def _cell(figure: Figure | None, digits: int) -> str:
    if figure is None:
        return ""
    if len(figure.values) == 1:
        return f"{figure.median:.{digits}f}"
    low, high = figure.spread
    return f"{figure.median:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def _ratio(ratios: Sequence[float]) -> str:
    return f"{statistics.median(ratios):.2f}" if ratios else ""


def marks(sections: dict[str, Section]) -> str:
    """Return a table of what hfclient set itself, what came, and whether that is reached."""
    lines = ["### Marks", "", "| mark | measured | |", "|---|---|---|"]

    def add(
        text: str,
        section: str,
        column: str,
        limit: float,
        *,
        of: str = "median",
        more: bool = False,
        who: str = "hfclient",
    ) -> None:
        figure = sections[section].rows.get(who, {}).get(column) if section in sections else None
        if figure is None:
            return
        if of == "median":
            value = figure.median
        elif ratios := getattr(figure, of):
            value = statistics.median(ratios)
        else:
            return
        reached = value >= limit if more else value <= limit
        lines.append(f"| {text} | {value:.2f} | {'reached' if reached else '**not reached**'} |")

    for column in ("chat framed", "chat big"):
        add(f"{column}: at most 1.5 times the floor (attrs)", "per_event", column, 1.5, of="of_floor")
        add(f"{column}: at most 1.5 µs", "per_event", column, 1.5)
    for column in ("sse framed", "sse big"):
        add(f"{column}: at most 1.5 times the floor (attrs)", "per_event", column, 1.5, of="of_floor")
        add(f"{column}: at most 2.2 µs", "per_event", column, 2.2)
    for wire in ("chat", "sse"):
        add(f"delay, {wire}: at most 1.3 times requests'", "delay", wire, 1.3, of="of_plain")
    add("small request, sse: at most 1.1 times requests'", "small", "sse", 1.1, of="of_plain")
    add("small request, chat: at most 1.1 times requests'", "small", "chat", 1.1, of="of_plain")
    for wire in ("chat", "sse"):
        add(f"32 threads, {wire}: at least 2 times requests'", "threads", wire, 2.0, of="of_plain", more=True)
    add("import: at most 110 ms over bare Python", "imports", "over bare, ms", 110)
    add("import: at most 32 MiB", "imports", "memory, MiB", 32)
    for wire in ("chat", "sse"):
        add(f"connections of 20 answers, {wire}: 1", "connections", wire, 1)
        add(f"80,000 events, {wire}: at most 2 MiB gained", "memory", wire, 2)
    add("upload of 10 MiB: at most 1 MiB extra", "upload", "memory, MiB", 1)
    return "\n".join([*lines, ""])


_WIDTH, _BAR, _LEFT = 720, 18, 160


def plot(section: Section, columns: Sequence[str]) -> str:
    """Return bars of *columns* as SVG, one panel a column, lengths on a logarithmic scale."""
    parts: list[str] = []
    top = 0.0
    figures = [figure for row in section.rows.values() for column, figure in row.items() if column in columns]
    low, high = 10 ** math.floor(math.log10(min(f.median for f in figures))), max(f.median for f in figures) * 1.6
    scale = (_WIDTH - _LEFT - 20) / math.log10(high / low)

    def x(value: float) -> float:
        return _LEFT + max(1.0, math.log10(value / low) * scale)

    for column in columns:
        rows = sorted(
            ((row[column], name) for name, row in section.rows.items() if column in row), key=lambda r: r[0].median
        )
        parts.append(f'<text x="{_LEFT}" y="{top + 16:.0f}" font-weight="bold">{escape(column)}</text>')
        top += 24
        bottom = top + len(rows) * (_BAR + 4)
        for power in range(round(math.log10(low)), math.ceil(math.log10(high))):
            mark = 10.0**power
            parts.append(f'<path d="M{x(mark):.1f} {top:.0f}V{bottom:.0f}" stroke="#ccc"/>')
            parts.append(
                f'<text x="{x(mark):.1f}" y="{bottom + 14:.0f}" text-anchor="middle" fill="#777">{mark:g}</text>'
            )
        for figure, name in rows:
            colour = "#d9822b" if name.startswith("hfclient") else "#b8c4ce" if name.startswith("floor") else "#5c7080"
            end, (first, last) = x(figure.median), figure.spread
            middle = top + _BAR / 2
            parts += [
                f'<text x="{_LEFT - 8}" y="{middle + 5:.0f}" text-anchor="end">{escape(name)}</text>',
                f'<rect x="{_LEFT}" y="{top:.0f}" width="{end - _LEFT:.1f}" height="{_BAR}" fill="{colour}"/>',
                f'<path d="M{x(first):.1f} {middle:.0f}H{x(last):.1f}" stroke="#222"/>',
                f'<text x="{max(end, x(last)) + 6:.1f}" y="{middle + 5:.0f}">{figure.median:.1f}</text>',
            ]
            top += _BAR + 4
        top += 34
    title = f"{section.title}, {section.unit} (logarithmic; less is better)"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top + 24:.0f}" role="img" '
        f'font-family="sans-serif" font-size="13" fill="#222"><title>{escape(title)}</title>'
        f'<rect width="100%" height="100%" fill="#fff"/><text x="8" y="18">{escape(title)}</text><g transform="translate(0 28)">'
    )
    return "\n".join([head, *parts, "</g></svg>", ""])
