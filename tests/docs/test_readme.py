"""What README and the documentation say is what happens; the examples on the pages are run by Sphinx (tox -e docs)."""

from __future__ import annotations

import configparser
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from hfclient.cli.app import app
from tests.docs.scripted import Bent

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.rst"))]


SCRIPTS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_readme_scripts_run(capsys: pytest.CaptureFixture[str]) -> None:
    """The README's scripts run as they stand and print the answers."""
    chat, inference = SCRIPTS
    with Bent():
        exec(compile(inference, "README.md", "exec"), {"__name__": __name__})
        said = capsys.readouterr().out
        assert said == "Because air scatters blue light more than red.\nParis (France)\n"
        exec(compile(chat, "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert "Because air scatters blue light more than red.\n" in said
    assert "Water that falls from clouds." in said
    assert said.endswith("Paris.\nRome.\n")


def test_readme_scripts_are_the_examples() -> None:
    """The README's scripts and the files that it names as the same are the same."""
    for script, name in zip(SCRIPTS, ("first_script", "inference"), strict=True):
        assert (ROOT / "examples" / f"{name}.py").read_text("utf-8").endswith(script)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_command_lines_parse(path: Path) -> None:
    """Every ``hfclient ...`` line that the documentation shows has commands and options that exist."""
    for line in re.findall(
        r"^ *\$ (?:[^#\n]* \| )?(hfclient (?:chat|models|serve).*)$", path.read_text("utf-8"), re.MULTILINE
    ):
        words = shlex.split(line.partition(" | ")[0], comments=True)
        app.commands[words[1]].make_context(words[1], words[2:])


def test_readme_commands_exist() -> None:
    """The environments of tox that README and CI name are there, and plain tox runs all of them but demo and audit."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "tox.ini", "utf-8")
    plain = re.split(r"[,\s]+", config["tox"]["env_list"].strip())
    for name in re.findall(r"tox -e (\w+)", README):
        assert f"testenv:{name}" in config or name.startswith("py")
    sections = {name.partition(":")[2] for name in config.sections() if name.startswith("testenv:")}
    assert sections - set(plain) == {"audit", "demo"}, "the one is to be looked at, the other asks a service"


def test_links_of_readme_lead_somewhere() -> None:
    """Every relative link of the README is a file of the project."""
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_map_names_every_module() -> None:
    """Every module and package at the top of hfclient stands in the README's map."""
    table = README.partition("## Map")[2]
    for entry in (ROOT / "hfclient").iterdir():
        if entry.name.startswith(("_", ".")) or entry.suffix == ".typed":
            continue
        assert f"`{entry.name}{'/' if entry.is_dir() else ''}`" in table, entry.name


def test_examples_compile() -> None:
    """The examples are valid Python and import nothing that is not there."""
    for path in sorted((ROOT / "examples").glob("*.py")):
        compile(path.read_text("utf-8"), str(path), "exec")


def test_flask_example_streams() -> None:
    """The Flask example answers with server-sent events, and with JSON where the prompt cannot work."""
    code = (
        "import os, sys; sys.path.insert(0, 'examples')\n"
        "from hfclient import Client\n"
        "from tests.docs.scripted import Bent\n"
        "with Bent():\n"
        "    os.environ['HFCLIENT_BASE_URL'] = Client.local().base_url\n"
        "    import flask_sse\n"
        "    test = flask_sse.app.test_client()\n"
        "    good = test.post('/ask', data={'prompt': 'And of Italy?'})\n"
        "    assert good.mimetype == 'text/event-stream'\n"
        "    print(good.get_data(as_text=True))\n"
        "    bad = test.post('/ask')\n"
        "    print(bad.status_code, bad.json['message'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60, check=True
    )
    assert 'data: {"text": "Rome."}' in done.stdout
    assert "400 This prompt cannot be answered." in done.stdout
