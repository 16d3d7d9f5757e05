"""What the README says is what happens."""

from __future__ import annotations

import configparser
import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.docs.scripted import LocalScripted

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_script_prints_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """The README's script runs unchanged, and prints one line for each answer, as below it; a real model's words vary."""
    ((script, output),) = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.DOTALL)
    with LocalScripted():
        exec(compile(script, "README.md", "exec"), {})
    assert capsys.readouterr().out == "Paris.\nRome."  # the scripted model's answers
    assert [city in line for city, line in zip(("Paris", "Rome"), output.splitlines(), strict=True)] == [True, True]


def test_the_web_application_answers() -> None:
    """The README's Flask application runs unchanged and streams an answer."""
    (script,) = re.findall(r"```python\n(from flask .*?)```", README, re.DOTALL)
    names: dict[str, Any] = {"__name__": "app"}
    with LocalScripted():
        exec(compile(script, "README.md", "exec"), names)
        try:
            response = names["app"].test_client().post("/ask", json={"prompt": "What is the capital of France?"})
            assert (response.status_code, response.mimetype) == (200, "text/event-stream")
            assert '"Paris.' in response.text
            assert response.text.endswith('event: end\ndata: {"status":"completed"}\n\n')
        finally:
            names["hf"].close(names["app"])


def test_commands_exist() -> None:
    """The tox environments that the README names exist; plain tox runs all but those that ask a service or only print.

    The script of CI finds its two commands in the README.
    """
    assert re.findall(r"^\$ tox.*", README, re.MULTILINE) == ['$ tox -e demo -- "Why is the sky blue?"', "$ tox"]
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "tox.ini", "utf-8")
    plain = re.split(r"[,\s]+", config["tox"]["env_list"].strip())
    for name in re.findall(r"tox -e (\w+)", README + (ROOT / "CONTRIBUTING.md").read_text("utf-8")):
        assert f"testenv:{name}" in config or name.startswith("py"), name
    sections = {name.partition(":")[2] for name in config.sections() if name.startswith("testenv:")}
    assert sections - set(plain) == {"audit", "changelog", "demo", "web"}


def test_tox_leaves_no_test_out() -> None:
    """What the environments of each Python ignore exists, and is run by another environment of plain tox."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "tox.ini", "utf-8")
    ignored = re.findall(r"--ignore=(\S+)", config["testenv"]["commands"])
    plain = re.split(r"[,\s]+", config["tox"]["env_list"].strip())
    others = " ".join(config[f"testenv:{name}"]["commands"] for name in plain if f"testenv:{name}" in config)
    assert ignored
    assert [path for path in ignored if not (ROOT / path).exists() or not re.search(rf"(?<=[ :]){path}(?=[ }}])", others)] == []


def test_links_lead_to_files() -> None:
    """Every relative link of the README is a file of the project."""
    links = re.findall(r"\]\(((?!https?:)[^)#]+)\)", README)
    assert links
    for target in links:
        assert (ROOT / target).exists(), target


def test_readme_is_short() -> None:
    """The README fits on two screens; the rest is in docs/ and CONTRIBUTING.md."""
    assert len(README.split("\n")) < 90


@pytest.mark.parametrize("source", ["", "https://example.org/hfclient/"])
def test_the_page_on_pypi_has_no_relative_links(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The long description has absolute links if setup.cfg names the repository, and else no relative ones."""
    given: dict[str, Any] = {}
    monkeypatch.setitem(sys.modules, "setuptools", SimpleNamespace(setup=lambda **arguments: given.update(arguments)))
    read = configparser.ConfigParser.read

    def with_source(config: configparser.ConfigParser, *arguments: Any) -> None:
        read(config, *arguments)
        if source:
            config["metadata"]["project_urls"] = f"\nSource = {source}"

    monkeypatch.setattr(configparser.ConfigParser, "read", with_source)
    runpy.run_path(str(ROOT / "setup.py"))
    page = given["long_description"]
    assert "# hfclient" in page
    targets = re.findall(r"\]\(([^)]+)\)", page)
    assert all(target.startswith("https://") for target in targets)
    if source:
        assert "https://example.org/hfclient/raw/HEAD/docs/images/terminal.svg" in targets
        assert "https://example.org/hfclient/blob/HEAD/CONTRIBUTING.md" in targets


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "images").glob("terminal*.svg")), ids=lambda path: path.stem)
def test_the_terminals_are_self_contained(path: Path) -> None:
    """A terminal is well-formed, fetches nothing (sites that show READMEs block that), is small, and shows no path of a machine."""
    from xml.etree import ElementTree

    image = path.read_text("utf-8")
    root = ElementTree.fromstring(image)
    assert root.tag.endswith("svg")
    assert not re.search(r"url\(|@import|<script|<image|href=", image)
    assert not re.search(r"/(?:home|root|tmp|work|Users)/", image)
    assert len(image) < 20_000
    assert "hfclient " in image


def test_the_terminal_of_the_readme() -> None:
    """The README shows the small model."""
    assert "hfclient chat --local" in (ROOT / "docs" / "images" / "terminal.svg").read_text("utf-8")
