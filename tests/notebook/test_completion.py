"""Completion of the magics, in a shell and through the messages of a real kernel."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("IPython")
pytest.importorskip("waitress", reason="the embedded server needs the extra: local")

from hfclient import Client
from hfclient.local import LocalServer
from tests.local.upstream import ScriptedUpstream
from tests.notebook.test_magics import client, notebook, shell, upstream
from tests.processes.helpers import ROOT
from tests.server import PATIENCE

__all__ = ["client", "notebook", "shell", "upstream"]


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of models are waited for, however busy this machine is."""
    monkeypatch.setattr("hfclient.notebook.completion._WAIT", PATIENCE)


def complete(shell: Any, line: str, above: str = "") -> list[str]:
    """What the extension offers at the end of a cell."""
    from IPython.core.completer import provisionalcompleter

    with provisionalcompleter():
        return [one.text for one in shell.Completer.completions(above + line, len(above + line)) if one.type in ("option", "value")]


def test_options(notebook: Any) -> None:
    """Options that are not given yet are offered; after the first word of the question nothing is."""
    assert complete(notebook, "%%chat --m") == ["--model"]
    assert "--new" in complete(notebook, "%chat ")
    assert complete(notebook, "    %chat --ne") == ["--new"]
    assert complete(notebook, "%chat --new --model x --ne") == []
    assert complete(notebook, "%chat --file a --fi") == ["--file"]
    assert complete(notebook, "%chat Hi --mo") == []
    assert complete(notebook, "%chat_models --lo") == ["--local"]
    assert complete(notebook, "%chat_login --u") == ["--url"]
    assert complete(notebook, "%%chat --m", "x = 1\n") == []
    assert complete(notebook, "%chat --m", "x = 1\n") == ["--model"]
    assert complete(notebook, "--m", "%%chat\n") == []


def test_values(notebook: Any) -> None:
    """Names of models are found by any part; names of variables are those of the right class."""
    names = ["test/model", "test/other"]
    assert complete(notebook, "%%chat --model ") == names
    assert complete(notebook, "%%chat -m MOD") == ["test/model"]
    assert complete(notebook, "%%chat --model=test/o") == ["test/other"]
    notebook.user_ns |= {"story": notebook.user_ns["client"].conversation(), "store": 1}
    assert complete(notebook, "%chat --name sto") == ["story"]
    assert complete(notebook, "%chat --client ") == ["client"]


def test_models_of_an_inference_server(shell: Any, upstream: ScriptedUpstream) -> None:
    """With ``--inference``, or if the conversation is a list, the names are those of the inference server."""
    upstream.models = {"object": "list", "data": [{"id": "org/served"}]}
    with Client("https://chat.example", token="", cookies="", inference_url=upstream.url) as client:
        shell.user_ns["client"] = client
        assert complete(shell, "%%chat --inference -m ") == ["org/served"]
        shell.user_ns["conversation"] = []
        assert complete(shell, "%%chat -m SERV") == ["org/served"]


def test_files(notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are completed by IPython itself."""
    from IPython.core.completer import provisionalcompleter

    (tmp_path / "picture.png").touch()
    monkeypatch.chdir(tmp_path)
    with provisionalcompleter():
        assert "picture.png" in [one.text for one in notebook.Completer.completions("%chat --file pict", 17)]


def test_a_silent_server(shell: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not answer, a wrong URL and a closed port give no names, no traceback and no wait for the server."""
    monkeypatch.setattr("hfclient.notebook.completion._WAIT", 0.5)
    monkeypatch.setattr("hfclient.notebook.completion._LIMIT", 2 * PATIENCE)
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        shell.user_ns["client"] = Client(url, token="", session="private")
        start = time.monotonic()
        assert complete(shell, "%%chat --model ") == []
        assert time.monotonic() - start < PATIENCE
    shell.user_ns["client"] = Client(url, token="", session="private")
    assert complete(shell, "%%chat --model ") == []
    shown = capsys.readouterr()
    assert shown.out + shown.err == ""


def test_an_odd_variable(notebook: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A variable whose class cannot be asked for gives no traceback."""

    class Odd:
        @property
        def __class__(self) -> type:
            raise RuntimeError("odd")

    notebook.user_ns["odd"] = Odd()
    complete(notebook, "%chat --name o")
    del notebook.user_ns["odd"]
    shown = capsys.readouterr()
    assert shown.out + shown.err == ""


# A kernel


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of a real kernel in which the extension is loaded, with a client of the embedded server."""
    manager_module = pytest.importorskip("jupyter_client.manager")
    for name in ("IPYTHONDIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with ScriptedUpstream() as upstream, LocalServer(upstream=upstream.url) as server:
        upstream.say("Hi", ["Hello", " there."])
        monkeypatch.setenv("HFCLIENT_BASE_URL", server.url)
        manager, running = manager_module.start_new_kernel(kernel_name="python3")
        try:
            execute(running, "%load_ext hfclient")
            yield running
        finally:
            running.stop_channels()
            manager.shutdown_kernel(now=True)
            manager.cleanup_resources()


def execute(kernel: Any, code: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Run a cell; return the reply, and the messages of its output."""
    outputs: list[dict[str, Any]] = []
    reply = kernel.execute_interactive(code, timeout=PATIENCE, output_hook=outputs.append, allow_stdin=False)
    return reply["content"], outputs


def test_a_complete_request(kernel: Any) -> None:
    """What JupyterLab sends for the Tab key returns the options, and the names of models of the environment's server."""

    def offers(cell: str) -> list[str]:
        reply = kernel.complete(cell, len(cell), reply=True, timeout=PATIENCE)["content"]
        assert reply["status"] == "ok"
        start = reply["cursor_start"]
        return [cell[:start] + match for match in reply["matches"]]

    assert offers("%%chat --mod") == ["%%chat --model"]
    model = ["%%chat --model test/model"]
    end = time.monotonic() + PATIENCE
    while (found := offers("%%chat --model test/m")) != model and time.monotonic() < end:  # a slow server is not waited for
        time.sleep(0.1)
    assert found == model
    assert "%%chat" in offers("%%cha")
    execute(kernel, "client = 1")
    assert offers("%%chat --model test/m") == model


def test_a_cell_in_a_kernel(kernel: Any) -> None:
    """A cell with ``%%chat`` shows the answer in a kernel, and an error of it is one line that ends ``Run all``."""
    reply, outputs = execute(kernel, "%%chat --into answer\nHi")
    assert reply["status"] == "ok"
    assert execute(kernel, "print(answer.text)")[1][-2]["content"]["text"] == "Hello there.\n"
    assert outputs
    reply, outputs = execute(kernel, "%chat --file /no/such.png Hi")
    assert reply["status"] == "error"
    errors = [message["content"] for message in outputs if message["msg_type"] == "error"]
    assert [error["ename"] for error in errors] == ["InvalidInputError"]
    assert len(errors[0]["traceback"]) == 1
    assert errors[0]["traceback"][0].startswith("InvalidInputError: ")
    reply, _ = execute(kernel, "%chat --zzz Hi")
    assert (reply["status"], reply["ename"]) == ("error", "UsageError")


def test_login_in_a_kernel_without_input(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A front end without input, such as nbclient, gets one line that says what to do instead."""
    execute(kernel, "import hfclient.chat.resources.login as module; module.Login.enabled = True")
    reply, outputs = execute(kernel, "%chat_login")
    assert reply["status"] == "error"
    assert "run hfclient login in a terminal" in str(outputs)
