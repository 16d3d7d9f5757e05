"""The generated half of docs/performance.rst: tables and plots, made from the values of one run."""

from __future__ import annotations

from pathlib import Path

from benchmarks.plot import Panel, plot
from benchmarks.report import Results, marks, tables

__all__ = ["page", "picture", "write_page"]

_PANELS = (
    ("an event of chat-ui's lines, µs of CPU", "events_chat", "framed"),
    ("an event of chat completions, µs of CPU", "events_sse", "framed"),
    ("a whole answer of 10 tokens (SSE), ms of CPU", "small", "sse"),
    ("an event of chat completions every 5 ms, µs of CPU", "paced", "sse"),
)

# Under which name the page includes them, and what they are made of.
_PARTS = {
    "events": ("events_chat", "events_sse", "events_tgi"),
    "growth": ("growth_chat", "growth_sse"),
    "paced": ("paced", "delay"),
    "small": ("small",),
    "threads": ("threads", "threads_cpu"),
    "imports": ("imports",),
    "memory": ("memory",),
    "connections": ("connections",),
    "relay": ("relay", "relay_ratio"),
    "transfers": ("upload", "transcribe", "download"),
    "profile": (
        "profile_chat_20000", "profile_sse_20000", "profile_tgi_20000", "profile_chat_10", "profile_sse_10",
        "profile_import",
    ),
}  # fmt: skip


def page(results: Results) -> dict[str, str]:
    """Return the contents of the files that docs/performance.rst includes, by name."""
    about = results.about
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    load = f", with a load of {about['load']} from other work too" if (about["load"] or 0) > 2 else ""
    revision = f" at revision {about['revision']}" if about.get("revision") else ""
    run = (
        f"Measured {about['date']}{revision} with {about['python']} on {about['platform']}, {about['cores']} cores{load}; "
        f"{versions}." + (" A quick run: take it for a look." if about["quick"] else "")
    )
    found = {"run": "\n".join([run, *(f"\nLeft out: {reason}." for reason in results.skipped), ""])}
    found["marks"] = marks(results.sections)
    for name, parts in _PARTS.items():
        found[name] = "\n".join(tables(results.sections[part]) for part in parts if part in results.sections)
    return found


def picture(results: Results) -> str:
    """Return the plot of the page."""
    sections = results.sections
    return plot(
        [
            Panel(title, sections[section], column)
            for title, section, column in _PANELS
            if section in sections and any(column in row for row in sections[section].rows.values())
        ]
    )


def write_page(results: Results, docs: Path) -> list[Path]:
    """Write them below *docs* and return what was written."""
    written = [docs / "images" / "performance.svg"]
    written[0].write_text(picture(results), encoding="utf-8")
    for name, text in page(results).items():
        written.append(docs / "performance" / f"{name}.inc")
        written[-1].parent.mkdir(exist_ok=True)
        written[-1].write_text(text, encoding="utf-8")
    return written
