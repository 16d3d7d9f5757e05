"""The notebooks run, and the outputs in their files, which GitHub shows, are those of today."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("waitress", reason="the embedded server needs the extra: local")

import nbformat

from tests.docs.notebooks import NOTEBOOKS, TUTORIAL, executed


def shown(notebook: Any) -> list[Any]:
    """What each cell of code shows, without ids, times and dates."""
    return [
        (cell.source, [(one.output_type, sorted(one.get("data", {})), masked(one.get("text") or one.data["text/plain"])) for one in cell.outputs])
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def masked(text: str) -> str:
    return re.sub(r"\d+", "N", re.sub(r"\b[0-9a-f]{24}\b", "ID", text))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_outputs_are_those_of_today(path: Path, tmp_path: Path) -> None:
    """A fresh run shows what the file holds; `python -m docs.images.notebook` writes it anew."""
    if "import pandas" in path.read_text("utf-8"):
        pytest.importorskip("pandas")
    assert shown(executed(path, tmp_path)) == shown(nbformat.read(path, as_version=4))


def test_the_file_suits_readers() -> None:
    """The file has a live answer, folded reasoning, tables, pictures and no path of a machine, error or script."""
    text = TUTORIAL.read_text("utf-8")
    for part in ("<details><summary>Reasoning", "```python", "<table", "data:image/png;base64,", "Rome."):
        assert part.replace('"', '\\"') in text
    for part in ("/tmp/", "/home/", "Traceback", "<script", '"stderr"'):
        assert part not in text
    assert len(text) < 100_000


def test_a_batch_of_a_data_frame() -> None:
    """The notebook with a data frame has a table of results, its errors and counts, and no path, failed cell or second request."""
    text = NOTEBOOKS[1].read_text("utf-8")
    for part in ("2 items have failed", "59 of 60", "ParseError", "0 tokens", "<th>delivery"):
        assert part in text
    for part in ("/tmp/", "/home/", "Traceback", '"stderr"'):
        assert part not in text
    assert len(text) < 100_000
