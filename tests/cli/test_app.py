"""The commands ``models`` and ``serve``, and the command as a program."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from typing import Any

import click
import pytest

import hfclient
from hfclient.cli.app import COMMANDS, app
from tests.cli.conftest import ROOT, environment, start
from tests.docs.scripted import ScriptedModel
from tests.server import PATIENCE, Server, plain


def test_version_and_help(command: Any) -> None:
    """--version prints the version; without a command, and with --help, the commands are listed."""
    assert command("--version")[:2] == (0, f"hfclient, version {hfclient.__version__}\n")
    for arguments in ([], ["--help"]):
        code, out, _ = command(*arguments)
        assert code == 0
        assert all(name in out for name in ("chat", "models", "serve"))


def test_models_as_a_table(chat_ui: Server, command: Any) -> None:
    """One line per model, with its abilities."""
    code, out, err = command("models", "--url", chat_ui.url)
    assert (code, err) == (0, "")
    assert out == ("MODEL    ABILITIES     DESCRIPTION\norg/one  images,tools  The first model\norg/two  reasoning     -\n")


def test_models_as_json(chat_ui: Server, command: Any) -> None:
    """With --json, one object per line."""
    code, out, _ = command("models", "--url", chat_ui.url, "--json")
    assert code == 0
    assert [json.loads(text)["id"] for text in out.split("\n") if text] == ["org/one", "org/two"]


def test_models_of_another_server(server: Server, command: Any) -> None:
    """A URL that is not a chat-ui is an error of one line."""
    server.on("*", plain(b"<html><title>Welcome</title></html>", 200, "Content-Type: text/html"))
    code, out, err = command("models", "--url", server.url)
    assert (code, out) == (1, "")
    assert "chat-ui" in err
    assert err.count("\n") == 1


def test_serve_passes_its_options(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """``serve`` passes its options to the library; the upstream's key is read from the environment."""
    import hfclient.local

    given: dict[str, Any] = {}
    monkeypatch.setattr(hfclient.local, "serve", lambda **options: given.update(options))
    monkeypatch.setenv("HFCLIENT_UPSTREAM_KEY", "sk-1")
    code, _, _ = command(
        *"serve --port 4000 --upstream http://u/v1 --model m --database chats.db --base-path /chat --allowed-host h".split()
    )
    assert code == 0
    assert given == {
        "host": "127.0.0.1",
        "port": 4000,
        "upstream": "http://u/v1",
        "model": "m",
        "database": "chats.db",
        "api_key": "sk-1",
        "base_path": "/chat",
        "allowed_hosts": ("h",),
    }


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_serve_until_ctrl_c(command: Any) -> None:
    """``serve`` prints its URL, answers there, and Ctrl-C stops it cleanly."""
    with ScriptedModel() as upstream:
        arguments = ("serve", "--port", "0", "--upstream", upstream.url, "--database", ":memory:")
        with start(*arguments) as process:
            assert process.stderr is not None
            (url,) = re.findall(r"http://\S+", process.stderr.readline().decode())
            assert command("chat", "--url", url, "What is the capital of France?") == (0, "Paris.\n", "")
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 0
            assert process.stderr.read() == b""


def test_serve_on_a_port_in_use(server: Server, command: Any) -> None:
    """A port in use is an error of one line."""
    code, out, err = command("serve", "--port", str(server.port), "--upstream", server.url, "--database", ":memory:")
    assert (code, out) == (1, "")
    assert str(server.port) in err
    assert err.count("\n") == 1


def test_without_click(tmp_path: Any) -> None:
    """Without the extra the command prints in one line how to install it."""
    blocked = tmp_path / "click.py"
    blocked.write_text("raise ModuleNotFoundError(\"No module named 'click'\", name='click')")
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from hfclient.cli import main; sys.exit(main())"],
        env=environment(PYTHONPATH=f"{tmp_path}:{ROOT}"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == 'hfclient: the command line needs the package click: pip install "hfclient[cli]"\n'


def test_no_secret_is_an_option() -> None:
    """There is no option for a secret: other users of a machine can see the arguments of a process."""
    commands = [command for name in COMMANDS if (command := app.get_command(click.Context(app), name))]
    options = {option for one in commands for parameter in one.params for option in parameter.opts}
    assert {"--model", "--url", "--upstream", "--from-browser"} <= options
    options -= {"--tokens", "--max-tokens"}  # amounts
    assert not [option for option in options for word in ("token", "key", "cookie", "password") if word in option]


def test_the_table_of_commands() -> None:
    """The help of the whole command shows the first sentence of each command's own help."""
    for name, entry in COMMANDS.items():
        command = app.get_command(click.Context(app), name)
        assert command is not None
        assert entry.summary == command.get_short_help_str(1000)


def test_the_nearest_command(command: Any) -> None:
    """For a typo in the command's name the error names the nearest one."""
    assert command("caht", "Hi")[::2] == (
        2,
        "hfclient: No such command 'caht'. Did you mean 'chat'? (see hfclient --help)\n",
    )
    assert command("xyzzy")[0] == 2


@pytest.mark.parametrize(
    ("options", "doctor"),
    [
        (["--url", "http://127.0.0.1:9"], "hfclient doctor --url http://127.0.0.1:9"),
        (["--url=http://127.0.0.1:9"], "hfclient doctor --url http://127.0.0.1:9"),
        (["--url", "http://ann:secret@127.0.0.1:9"], "hfclient doctor"),
        (
            ["--inference-url", "http://127.0.0.1:9/v1", "-m", "m"],
            "hfclient doctor --inference-url http://127.0.0.1:9/v1",
        ),
    ],
)
def test_an_error_names_the_doctor(command: Any, options: list[str], doctor: str) -> None:
    """An error of the connection names the command that checks the same server, without a password."""
    code, _, err = command("chat", *options, "Hi")
    assert code == 1
    assert err.endswith(f"; for the cause, run: {doctor}\n")


@pytest.mark.parametrize(("raised", "code"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143), (ValueError(), None)])
def test_a_signal_while_modules_are_imported(
    raised: BaseException, code: int | None, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python before 3.12 wraps what a handler raises while a class is made; the exit code is that of the signal."""

    def invoke(*values: Any) -> None:
        try:
            raise raised
        except BaseException as error:
            raise RuntimeError("Error calling __set_name__") from error

    monkeypatch.setattr(app, "invoke", invoke)
    if code is None:
        with pytest.raises(RuntimeError):
            command("models")
    else:
        assert command("models") == (code, "", "")
