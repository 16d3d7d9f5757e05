"""The progress bar in a real kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

CODE = """
import time
{without}from hfclient import progress
progress._DELAY = {delay}
ProgressBar = progress.ProgressBar
with ProgressBar({progress}, total=20, unit="file", label="Upload") as bar:
    for number in range(20):
        time.sleep(0.05)
        bar.add(1)
"""


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
        (tmp_path / name.lower()).mkdir()


def outputs(tmp_path: Path, code: str) -> list[Any]:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    return list(notebook.cells[0].outputs)


def test_in_a_kernel(tmp_path: Path) -> None:
    """A notebook shows a bar by itself, as text where it has no widgets, without a warning about them; its last state stays."""
    pytest.importorskip("tqdm")
    blocked = "import sys; sys.modules['ipywidgets'] = None\n"
    found = outputs(tmp_path, CODE.format(without=blocked, progress="None", delay=0.5))
    text = "".join(output.get("text", "") for output in found)
    assert {output.output_type for output in found} == {"stream"}
    assert "Upload" in text
    assert "/20" in text
    assert "Warning" not in text
    assert "20/20" in text.rpartition("\r")[2]
    assert text.endswith("\n")


@pytest.mark.parametrize("given", [("", "None", 3600), ("", "False", 0.5), ("import sys; sys.modules['tqdm'] = None\n", "None", 0.5)])
def test_silent_cells(tmp_path: Path, given: tuple[str, str, float]) -> None:
    """A cell shows nothing for short work, where it was refused, and without a package that needs no widgets."""
    without, progress, delay = given
    blocked = "import sys; sys.modules['ipywidgets'] = None\n" + without
    assert outputs(tmp_path, CODE.format(without=blocked, progress=progress, delay=delay)) == []
