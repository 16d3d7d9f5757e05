"""CONTRIBUTING.md and the change notes agree with the project."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
KINDS = re.findall(r"^\[tool\.towncrier\.fragment\.(\w+)\]", (ROOT / "changelog.d" / "towncrier.toml").read_text("utf-8"), re.MULTILINE)
FRAGMENTS = [path for path in sorted((ROOT / "changelog.d").iterdir()) if path.name != "towncrier.toml"]


def test_paths_exist() -> None:
    """Every path that the page names is a file or a folder; names with ``*`` match at least one."""
    top = {path.name for path in ROOT.iterdir()} | {"hfclient"}
    prose = re.sub(r"```.*?```", "", CONTRIBUTING, flags=re.DOTALL)
    code = [*re.findall(r"`([^`\n]+)`", prose), *re.findall(r"[\w./*-]+/[\w./*-]+", CONTRIBUTING)]
    paths = {word for word in code if word.split("/")[0] in top and "SUBJECT" not in word and not word.startswith("docs/_build")}
    assert len(paths) > 30
    missing = [path for path in sorted(paths) if not any(ROOT.glob(path.rstrip("/"))) or (path.endswith("/") and not all(p.is_dir() for p in ROOT.glob(path.rstrip("/"))))]
    assert missing == []


def test_the_map_names_every_module() -> None:
    """Every module and package at the top of hfclient is in the map."""
    table = CONTRIBUTING.partition("## Map")[2].partition("\n## ")[0]
    for entry in (ROOT / "hfclient").iterdir():
        if entry.name.startswith(("_", ".")) or entry.suffix == ".typed":
            continue
        assert f"`{entry.name}{'/' if entry.is_dir() else ''}`" in table, entry.name


@pytest.mark.parametrize("service", ["chat", "inference"])
def test_the_map_names_every_package_of_a_service(service: str) -> None:
    """Every folder of chat and of inference is in the paragraph below the map."""
    section = CONTRIBUTING.partition("## Map")[2].partition("\n## ")[0]
    folders = [path.name for path in (ROOT / "hfclient" / service).iterdir() if path.is_dir() and path.name[0] != "_"]
    assert [name for name in sorted(folders) if f"`{name}`" not in section] == []


@pytest.mark.parametrize("package", ["cli", "notebook", "doctor"])
def test_the_map_names_every_module_of_a_package(package: str) -> None:
    """Every module and folder of these packages is in the table of its package."""
    table = CONTRIBUTING.partition(f"Inside `hfclient/{package}`")[2].partition("\nInside ")[0]
    entries = [entry for entry in (ROOT / "hfclient" / package).iterdir() if entry.name[0] != "_"]
    assert [entry.name for entry in entries if f"`{entry.name}{'/' if entry.is_dir() else ''}`" not in table] == []


def test_at_least_ten_changes_have_a_place() -> None:
    """The table of changes has ten rows or more, each with a folder or a file of the package or the tests."""
    section = CONTRIBUTING.partition("## Where a change goes")[2].partition("\n## ")[0]
    rows = [line for line in section.split("\n") if line.startswith("| a")]
    assert len(rows) >= 10
    assert all(re.search(r"`(hfclient|tests)/", row) for row in rows)


def test_fragments_have_a_kind_and_are_sentences() -> None:
    """Each fragment in changelog.d is named ``+subject.kind.md`` with a known kind, and ends with a period."""
    for path in FRAGMENTS:
        name = re.fullmatch(r"(?:\+[a-z0-9-]+|\d+)\.(\w+)\.md", path.name)
        assert name is not None, f"{path.name} is not named +subject.kind.md"
        assert name[1] in KINDS, path.name
        assert path.read_text("utf-8").rstrip().endswith("."), path.name


def test_kinds_are_told() -> None:
    """CONTRIBUTING.md lists the kinds that towncrier knows."""
    said = CONTRIBUTING.partition("where KIND is ")[2].partition(".")[0]
    assert re.findall(r"`(\w+)`", said) == KINDS
