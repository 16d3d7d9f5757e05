"""The plot: a panel a measurement, a dot a client, a bar for the middle half of its rounds. SVG, written by hand."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from html import escape

from attrs import frozen

from benchmarks.bench import Section
from benchmarks.report import spread

__all__ = ["Panel", "plot"]

_OURS, _FLOOR, _OTHERS = "#d9600a", "#8a97a3", "#33475b"
_WIDTH, _LEFT, _RIGHT = 460, 140, 48  # of a panel; of the names in it; of the figures behind the dots
_ROW, _GAP = 22, 66


@frozen
class Panel:
    """What one panel shows.

    Attributes:
        title: Over it.
        section: Where the figures are.
        column: Which of them.
    """

    title: str
    section: Section
    column: str


def plot(panels: Sequence[Panel], *, across: int = 2) -> str:
    """Return the panels as SVG, *across* of them in a line; all scales are logarithmic."""
    parts: list[str] = []
    top = 12.0
    for start in range(0, len(panels), across):
        line = panels[start : start + across]
        for number, panel in enumerate(line):
            parts += _panel(panel, number * _WIDTH, top)
        top += max(_count(panel) for panel in line) * _ROW + _GAP
    parts.append(
        f'<text x="12" y="{top + 2:.0f}" fill="#5f6b76">A dot is the median of all rounds, a bar their middle half. '
        "Scales are logarithmic; less is better.</text>"
    )
    top += 18
    width = across * _WIDTH
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top:.0f}" width="{width}" '
            f'height="{top:.0f}" '
            'role="img" font-family="Helvetica, Arial, sans-serif" font-size="12" fill="#222">',
            f"<title>{escape('; '.join(panel.title for panel in panels))}</title>",
            f'<rect width="{width}" height="{top:.0f}" fill="#ffffff"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def _count(panel: Panel) -> int:
    return sum(panel.column in row for row in panel.section.rows.values())


def _panel(panel: Panel, left: float, top: float) -> list[str]:
    rows = [(name, row[panel.column].values) for name, row in panel.section.rows.items() if panel.column in row]
    rows.sort(key=lambda row: statistics.median(row[1]), reverse=panel.section.more_is_better)
    ends = [end for _, values in rows for end in spread(values)]
    low = _round_down(min(ends))
    scale = (_WIDTH - _LEFT - _RIGHT) / math.log(max(ends) * 1.05 / low)
    zero = left + _LEFT

    def x(value: float) -> float:
        return zero + math.log(value / low) * scale

    parts = [
        f'<text x="{left + 12:.0f}" y="{top + 14:.0f}" font-size="14" font-weight="bold">{escape(panel.title)}</text>'
    ]
    first, last = top + 28, top + 28 + len(rows) * _ROW
    for value, shown in _ticks(low, max(ends) * 1.05):
        colour = "#d5dbe0" if shown else "#edf0f2"
        parts.append(f'<path d="M{x(value):.1f} {first:.0f}V{last:.0f}" stroke="{colour}"/>')
        if shown:
            parts.append(
                f'<text x="{x(value):.1f}" y="{last + 15:.0f}" text-anchor="middle" fill="#5f6b76" '
                f'font-size="11">{value:,g}</text>'
            )
    for number, (name, values) in enumerate(rows):
        middle = first + (number + 0.5) * _ROW
        median, (start, end) = statistics.median(values), spread(values)
        colour = _OURS if name.startswith("hfclient") else _FLOOR if name.startswith("floor") else _OTHERS
        weight = ' font-weight="bold"' if colour == _OURS else ""
        behind = max(x(median) + 4.5, x(end)) + 5
        y = f"{middle:.1f}"
        parts += [
            f'<g fill="{colour}" stroke="none"><text x="{zero - 10:.0f}" y="{middle + 4:.1f}" text-anchor="end"{weight}>'
            f"{escape(name)}</text>",
            f'<path d="M{zero:.1f} {y}H{x(median):.1f}" stroke="{colour}" stroke-opacity=".3" stroke-width="2"/>',
            f'<path d="M{x(start):.1f} {y}H{x(end):.1f}" stroke="{colour}" stroke-opacity=".45" stroke-width="7"/>',
            f'<circle cx="{x(median):.1f}" cy="{y}" r="4.5"/>',
            f'<text x="{behind:.1f}" y="{middle + 4:.1f}"{weight}>{_short(median)}</text></g>',
        ]
    return parts


def _round_down(value: float) -> float:
    """Return a place for the left end: a little less than the least, at 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value / 1.1))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= value / 1.1)


def _ticks(low: float, high: float) -> list[tuple[float, bool]]:
    """Return where lines are drawn, and which of them have figures: fewer, if there are many decades."""
    shown = (1.0,) if high / low > 1000 else (1.0, 3.0) if high / low > 100 else (1.0, 2.0, 5.0)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [(factor * 10.0**decade, factor in shown) for decade in decades for factor in (1.0, 2.0, 3.0, 5.0)]
    return [(float(f"{value:.3g}"), is_shown) for value, is_shown in found if low * 0.999 <= value <= high]


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 20 else f"{value:,.0f}"
