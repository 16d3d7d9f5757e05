"""Results of tasks: labels with bars, entities, boxes, transcripts with times, rankings, embeddings, jobs."""

from __future__ import annotations

import math
from typing import Any

from hfclient.notebook.bundles import Forms
from hfclient.notebook.escaping import amount, line
from hfclient.notebook.tables import Cell, Table, bar
from hfclient.redaction.control_characters import stripped

__all__ = ["finding_forms", "findings_forms", "job_forms", "progress_forms", "transcript_forms", "vectors_forms"]

_MAX_TEXT = 100_000  # characters
_FIRST = 5  # numbers of a vector
_MAX_VECTORS = 10
_NOT_COLUMNS = ("raw", "mask", "failovers", "request_id", "box")


def finding_forms(finding: Any) -> Forms:
    """Return the forms of one result."""
    return findings_forms([finding])


def findings_forms(findings: list[Any]) -> Forms:
    """Return the forms of the results of a task: a table with a column for each field, and a bar for the score."""

    def table() -> Table:
        names = [name for name in _fields(findings[0]) if name not in _NOT_COLUMNS]
        boxes = hasattr(findings[0], "box")
        largest = max((abs(score) for one in findings if (score := _score(one)) is not None), default=1.0)
        # Scores are shares of 1, unless the model has a scale of its own.
        scale = largest if largest > 1 else 1.0
        headings = [
            f"{name.capitalize()}#" if name in ("score", "index", "start", "end", "token") else name.capitalize()
            for name in names
        ]
        headings += ["Left#", "Top#", "Right#", "Bottom#"] if boxes else []
        bars = "score" in names
        rows = (
            [
                *(_cell(getattr(one, name)) for name in names),
                *(
                    [_number(edge) for edge in (one.box.xmin, one.box.ymin, one.box.xmax, one.box.ymax)]
                    if boxes
                    else []
                ),
                *([bar((_score(one) or 0.0) / scale)] if bars else []),
            ]
            for one in findings
        )
        return Table([*headings, *([" "] if bars else [])], rows, total=len(findings))

    return {"text/plain": lambda: table().text(), "text/html": lambda: table().html()}


def _fields(value: Any) -> list[str]:
    return [field.name for field in type(value).__attrs_attrs__]


def _score(finding: Any) -> float | None:
    score = getattr(finding, "score", None)
    return float(score) if isinstance(score, (int, float)) and math.isfinite(score) else None


def _cell(value: Any) -> Cell:
    if value is None:
        return Cell()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return Cell(", ".join(map(str, value)) if isinstance(value, tuple) else str(value))
    return _number(value)


def _number(value: float) -> Cell:
    if not math.isfinite(value):
        return Cell(str(value))
    return Cell(f"{value:,}" if isinstance(value, int) else f"{value:.3f}", float(value))


def transcript_forms(transcript: Any) -> Forms:
    """Return the forms of a transcript: its text; with timestamps a table of its parts."""
    forms: Forms = {"text/plain": lambda: _transcript_text(transcript)}
    if transcript.chunks:
        forms["text/html"] = lambda: _parts(transcript).html()
    return forms


def _transcript_text(transcript: Any) -> str:
    if transcript.chunks:
        return _parts(transcript).text()
    more = len(transcript.text) - _MAX_TEXT
    return stripped(transcript.text[:_MAX_TEXT]) + (f"\n… and {more:,} more characters" if more > 0 else "")


def _parts(transcript: Any) -> Table:
    rows = ([_clock(part.start), _clock(part.end), Cell(part.text.strip())] for part in transcript.chunks)
    language = f"language: {line(transcript.language, 40)}" if transcript.language else ""
    return Table(["From#", "To#", "Text"], rows, total=len(transcript.chunks), caption=language)


def _clock(seconds: float | None) -> Cell:
    if seconds is None or not math.isfinite(seconds):
        return Cell()
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return Cell(f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}", seconds)


def vectors_forms(vectors: list[list[float]]) -> Forms:
    """Return the forms of embeddings: how many, their length, and the first numbers."""

    def text() -> str:
        lengths = sorted({len(vector) for vector in vectors})
        size = f"{lengths[0]:,}" if len(lengths) == 1 else f"{lengths[0]:,} to {lengths[-1]:,}" if lengths else "0"
        rows = []
        for vector in vectors[:_MAX_VECTORS]:
            first = ", ".join(f"{number:.4f}" for number in vector[:_FIRST])
            rows.append(f"  [{first}{', …' if len(vector) > _FIRST else ''}]")
        more = [f"  … and {len(vectors) - _MAX_VECTORS:,} more"] if len(vectors) > _MAX_VECTORS else []
        return "\n".join([f"{amount(len(vectors), 'embedding')} of {size} numbers", *rows, *more])

    return {"text/plain": text}


def progress_forms(progress: Any) -> Forms:
    """Return the forms of the state of a job."""
    words = [line(progress.state, 40), f"at {line(progress.provider, 60)}"]
    words += [f"{progress.position} before it"] if progress.position is not None else []
    words += [f"{progress.progress:.0%}"] if progress.progress is not None else []
    words += [f"{progress.elapsed:.0f} s"]
    words += [line(progress.message, 200)] if progress.message else []
    return {"text/plain": lambda: "Job " + " · ".join(words)}


def job_forms(job: Any) -> Forms:
    """Return the forms of a job: its state as of the last poll, and how to get the result."""
    facts = [job.task, job.model, f"at {job.provider}", job.state]
    words = " · ".join(line(str(fact), 120) for fact in facts if fact)
    return {"text/plain": lambda: f"Job {words}\n  job.result() waits for the result, job.refresh() polls once."}
