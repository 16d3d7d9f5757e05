"""What the command loads before it knows what to do: its start-up time follows from it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from hfclient.cli.app import COMMANDS
from tests.cli.conftest import ROOT, environment
from tests.server import Server

HEAVY = (
    "rich",
    "prompt_toolkit",
    "pygments",
    "requests",
    "urllib3",
    "ssl",
    "asyncio",
    "hfclient.client",
    "hfclient.chat",
    "hfclient.doctor",
    "hfclient.inference",
    "hfclient.local",
    "hfclient.notebook",
    "hfclient.web",
)
_CODE = """
import json, sys
from hfclient.cli import main
code = main()
sys.stderr.write(json.dumps([code, sorted(sys.modules)]))
"""


def _loaded(*arguments: str, **env: str) -> tuple[int, list[str]]:
    command = [sys.executable, "-c", _CODE, *arguments]
    done = subprocess.run(command, env=environment(**env), capture_output=True, text=True, check=True, cwd=ROOT)
    code, modules = json.loads(done.stderr)
    return code, [name for name in modules if any(f"{name}.".startswith(f"{heavy}.") for heavy in HEAVY)]


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["completion", "bash"], *([name, "--help"] for name in COMMANDS)],
    ids=" ".join,
)
def test_help_loads_little(arguments: list[str]) -> None:
    """Help, the version and the script of completion need no client, no HTTP library and no terminal library."""
    assert _loaded(*arguments) == (0, [])


def test_completion_loads_little() -> None:
    """A completion of commands and options, which runs at each press of the tab key, needs no client either."""
    line = "hfclient chat --sy"
    code, heavy = _loaded(_HFCLIENT_COMPLETE="bash_complete", COMP_LINE=line, COMP_WORDS=line, COMP_CWORD="2")
    assert (code, heavy) == (0, [])


def test_a_chat_in_a_pipe_loads_no_terminal_library(chat_ui: Server) -> None:
    """One answer in a pipe needs neither rich nor inference: the first token does not wait for their import."""
    code, heavy = _loaded("chat", "--url", chat_ui.url, "Hi")
    packages = {
        name.partition(".")[0] if not name.startswith("hfclient.") else ".".join(name.split(".")[:2]) for name in heavy
    }
    assert code == 0
    assert packages <= {"requests", "urllib3", "ssl", "hfclient.client", "hfclient.chat"}
