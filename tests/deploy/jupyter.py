"""JupyterLab with real kernels, and a page of it in Chromium.

    with JupyterLab(folder, HFCLIENT_BASE_URL=server.url) as lab:
        notebook = lab.open(page, ["%load_ext hfclient", "%%chat\\nHi"])
        notebook.run(0)
        notebook.output(1).inner_text()
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Error

from tests import services
from tests.processes.helpers import ROOT, environment

__all__ = ["JupyterLab", "Notebook"]

_PROMPT = "number => {}.test(document.querySelectorAll('.jp-Notebook .jp-Cell')[number].querySelector('.jp-InputPrompt').textContent)"
_SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}


class JupyterLab(services._Service):
    """A server of JupyterLab in a folder of its own; a context manager.

    Args:
        variables: Environment of the server, and of its kernels.
    """

    name = "jupyterlab"

    def __init__(self, **variables: str) -> None:
        super().__init__()
        folders = {name: str(self.folder / name.lower()) for name in ("IPYTHONDIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")}
        for folder in folders.values():
            Path(folder).mkdir()
        settings = self.folder / "jupyter_config_dir" / "labconfig"
        settings.mkdir()
        (settings / "default_setting_overrides.json").write_text(json.dumps(_SETTINGS))
        (self.folder / "notebooks").mkdir()
        self._environment = environment(PYTHONPATH=str(ROOT), HOME=str(self.folder), **folders, **variables)

    def command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--LabApp.news_url=", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"),
            *(f"--ServerApp.port={self.port}", "--ServerApp.port_retries=0", "--ServerApp.ip=127.0.0.1"),
            *("--IdentityProvider.token=", "--ServerApp.password=", f"--ServerApp.root_dir={self.folder / 'notebooks'}"),
            *(f"--LabApp.workspaces_dir={self.folder / 'workspaces'}", f"--LabApp.user_settings_dir={self.folder / 'user'}"),
            "--ServerApp.log_level=WARN",
        ]

    def user(self) -> dict[str, Any]:
        return {"env": self._environment}

    def open(self, page: Any, cells: list[str], name: str = "test") -> Notebook:
        """Open a new notebook with these *cells* in *page*, with a kernel that is ready."""
        import nbformat

        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        path = self.folder / "notebooks" / f"{name}.ipynb"
        nbformat.write(notebook, path)
        page.set_default_timeout(services.STARTING * 1000)
        page.goto(f"http://127.0.0.1:{self.port}/lab/workspaces/{name}/tree/{name}.ipynb?reset")
        page.wait_for_selector(f".jp-Notebook .jp-Cell:nth-child({len(cells)})")
        page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status='idle']")
        return Notebook(page, path)


class Notebook:
    """A notebook that is open in JupyterLab.

    Attributes:
        page: Playwright's ``Page``.
        path: The file.
    """

    def __init__(self, page: Any, path: Path) -> None:
        self.page = page
        self.path = path

    def cell(self, number: int) -> Any:
        """The cell, as a locator."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(number)

    def output(self, number: int) -> Any:
        """The whole output of a cell."""
        return self.cell(number).locator(".jp-Cell-outputArea")

    def start(self, number: int) -> None:
        """Start a cell, as Shift+Enter does."""
        for _ in range(20):  # JupyterLab loses keys while it lays out its page
            self.cell(number).locator(".cm-content").click()
            self.page.keyboard.press("Control+Enter")
            with contextlib.suppress(Error):
                self.page.wait_for_function(_PROMPT.format("/[*\\d]/"), arg=number, timeout=3000)
                return

    def run(self, number: int) -> Any:
        """Run a cell to its end; return its output."""
        self.start(number)
        self.wait(number)
        return self.output(number)

    def wait(self, number: int) -> None:
        """Wait until the cell has run."""
        self.page.wait_for_function(_PROMPT.format("/\\d/"), arg=number)

    def save(self) -> dict[str, Any]:
        """Save the notebook; return what the file holds."""
        with self.page.expect_response(lambda answer: answer.request.method == "PUT" and "/api/contents/" in answer.url):
            self.page.click("[data-command='docmanager:save']")
        saved: dict[str, Any] = json.loads(self.path.read_text("utf-8"))
        return saved
