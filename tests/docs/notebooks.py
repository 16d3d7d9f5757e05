"""Runs a notebook of the documentation with the scripted model: in its kernel ``Client.local()`` has the answers of `scripted`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest import mock

__all__ = ["NOTEBOOKS", "TUTORIAL", "executed", "kernel_environment"]

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.ipynb"
NOTEBOOKS = [TUTORIAL, ROOT / "docs" / "batches-dataframe.ipynb"]
STARTUP = "from tests.docs.scripted import start_in_kernel\nstart_in_kernel()\ndel start_in_kernel\n"


def kernel_environment(folder: Path) -> dict[str, str]:
    """Return the variables for kernels with the scripted model, without a login of this user; IPython's files are in *folder*."""
    startup = folder / "profile_default" / "startup"
    startup.mkdir(parents=True, exist_ok=True)
    (startup / "scripted.py").write_text(STARTUP)
    # A bar would appear on a busy machine only.
    return {"HFCLIENT_PROGRESS": "0", "IPYTHONDIR": str(folder), "HFCLIENT_HOME": str(folder / "hfclient"), "PYTHONPATH": str(ROOT)}


def executed(path: Path, folder: Path) -> Any:
    """Return the notebook with the outputs of a fresh run."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    runner = NotebookClient(notebook, timeout=120, kernel_name="python3", record_timing=False, coalesce_streams=True)
    with mock.patch.dict(os.environ, kernel_environment(folder)):
        runner.execute()
    notebook.metadata["language_info"] = {"name": "python"}  # without the version of this Python
    return notebook
