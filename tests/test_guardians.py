"""Checks of the whole package: imports, ``__all__``, documentation, dependencies and file sizes."""

from __future__ import annotations

import ast
import configparser
import importlib
import importlib.metadata
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import hfclient
import hfclient.web.errors
from tests.chat.recordings import recording
from tests.chat.replay import ChatUI

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "hfclient").rglob("*.py"))
HEAVY = ("curl_cffi", "PIL", "click", "flask", "waitress", "xllamacpp", "numpy", "sqlite3", "asyncio", "django", "redis", "limits", "hfclient.web",
         "hfclient.cli", "hfclient.doctor", "hfclient.notebook", "IPython", "prompt_toolkit", "rich", "tqdm")
FEATURES = ("yt_dlp", "pydantic")


def _modules() -> list[str]:
    found = [info.name for info in pkgutil.walk_packages(hfclient.__path__, "hfclient.")]
    return sorted(name for name in found if name != "hfclient.__main__")


def test_import_is_light() -> None:
    """Importing hfclient imports nothing that a plain call does not use."""
    code = f"import hfclient, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_a_plain_chat_loads_no_optional_package() -> None:
    """A chat with a session cookie imports none of the packages that only some calls need."""
    code = (
        "import sys, hfclient\n"
        "with hfclient.Client(sys.argv[1], token='', cookies={'hf-chat': 'c'}) as client: assert client.chat('hi').result().text\n"
        f"print([name for name in {(*HEAVY, *FEATURES)!r} if name in sys.modules])"
    )
    with ChatUI() as ui:
        ui.says(recording("plain"))
        command = [sys.executable, "-c", code, ui.url]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_import_opens_nothing() -> None:
    """Importing hfclient and creating a client starts no thread and opens no file or socket."""
    code = (
        "import hfclient, os, threading, gc, io, socket\n"
        "client = hfclient.Client(token='')\n"
        "assert threading.active_count() == 1\n"
        "assert not [o for o in gc.get_objects() if isinstance(o, socket.socket)]\n"
        "if os.path.isdir('/proc/self/fd'): assert len(os.listdir('/proc/self/fd')) <= 4, os.listdir('/proc/self/fd')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("name", ["hfclient", *_modules()])
def test_all_is_sorted_and_exists(name: str) -> None:
    """Each ``__all__`` is sorted (constants, classes, functions), without repetition, and has existing names."""
    module = importlib.import_module(name)
    names = list(getattr(module, "__all__", []))
    assert names == sorted(set(names), key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert [missing for missing in names if not hasattr(module, missing)] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_all_is_complete(path: Path) -> None:
    """A module with an ``__all__`` lists each public class and function that it defines."""
    tree = ast.parse(path.read_text("utf-8"))
    listed = None
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            listed = set(ast.literal_eval(node.value))
    if listed is None:
        return
    defined = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    ours = {name for name in defined if not name.startswith("_")}
    assert ours - listed == set()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_references_lead_to_sections(path: Path) -> None:
    """The sections of protocol pages that the code names exist."""
    for page, sections in re.findall(r"docs/(protocol/\w+) \(([^)]*)\)", path.read_text("utf-8")):
        text = (ROOT / "docs" / f"{page}.rst").read_text("utf-8").lower()
        headings = re.findall(r"^(.+)\n--+$", text, re.MULTILINE)
        for section in re.findall(r'"([^"]+)"', sections):
            assert any(section.lower() in heading for heading in headings), section


def test_promises_are_kept() -> None:
    """Each test that the page on security names exists, and each promise names one."""
    page = (ROOT / "docs" / "security.rst").read_text("utf-8")
    named = re.findall(r"``(tests/[\w/]+\.py)::(\w+)``", page)
    assert named
    for path, name in named:
        assert re.search(rf"^def {name}\(", (ROOT / path).read_text("utf-8"), re.MULTILINE), f"{path}::{name}"
    rows = re.split(r"^   \* - ", page, flags=re.MULTILINE)[1:]
    assert [row for row in rows if "``tests/" not in row and not row.startswith("Promise")] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_small(path: Path) -> None:
    """A file of the package has at most 500 lines."""
    assert len(path.read_text("utf-8").split("\n")) <= 501


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_splitlines(path: Path) -> None:
    """The package does not call ``splitlines``: it cuts at U+2028 and U+0085, which JSON does not escape."""
    calls = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "splitlines"
    ]
    assert calls == []


def test_wheel_is_complete() -> None:
    """The wheel has all files of the package (the tests themselves run on the sources)."""
    found = [dist for dist in importlib.metadata.distributions(name="hfclient") if dist.read_text("RECORD")]
    if not found or any("__editable__" in str(file) for file in found[0].files or ()):
        pytest.skip("hfclient is not installed from a wheel")
    installed = {str(file) for file in found[0].files or ()}
    sources = {str(path.relative_to(ROOT)) for path in [*SOURCES, ROOT / "hfclient" / "py.typed"]}
    assert sources - installed == set()
    assert any(name.endswith("LICENSE") for name in installed)


def test_every_error_pickles_by_default() -> None:
    """Each class of error can be created without arguments, so that it pickles."""
    exported = [getattr(module, name) for module in (hfclient.errors, hfclient.web.errors) for name in module.__all__]
    for cls in exported:
        if isinstance(cls, type):
            assert issubclass(cls, hfclient.HFClientError)
            cls()


def _requirements() -> dict[str, list[Requirement]]:
    """The requirements in setup.cfg, by extra ("" for install_requires)."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    texts = {"": config["options"]["install_requires"], **config["options.extras_require"]}
    return {
        extra: [Requirement(line) for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")]
        for extra, text in texts.items()
    }


@pytest.mark.parametrize("extra", ["", "impersonate", "local", "cli", "browser", "web", "redis", "batch", "ray", "dask", "parquet", "docs"])
def test_dependencies_are_bounded(extra: str) -> None:
    """Requirements of users, and of the documentation, have a lower and an upper bound; the installed versions are between them."""
    for requirement in _requirements()[extra]:
        if requirement.name == "hfclient":
            continue
        operators = {bound.operator for bound in requirement.specifier}
        assert operators == {">=", "<"}, f"{requirement} lacks a bound"
        try:
            installed = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            continue  # not installed here: llama.cpp, what builds the documentation
        assert installed in requirement.specifier, f"the tests run with {requirement.name} {installed}"


def test_all_extras_are_checked() -> None:
    """All extras for users are in the list above; the others are "all" of them, and those for development."""
    extras = set(_requirements()) - {"", "impersonate", "local", "cli", "browser", "web", "redis", "batch", "ray", "dask", "parquet", "docs"}
    assert extras == {"all", "test"}


def test_versions_of_curl_cffi_agree() -> None:
    """The range in setup.cfg is the one in the error for another version."""
    (requirement,) = _requirements()["impersonate"]
    assert str(requirement.specifier) == "<0.18,>=0.15"
    source = (ROOT / "hfclient" / "transport" / "curl_transport.py").read_text("utf-8")
    assert "versions 0.15 to 0.17 are known to" in source


def test_the_suite_leaves_the_users_files_alone(tmp_path: Path) -> None:
    """Tests read and write logins and sessions in their own folder."""
    from hfclient.credentials.secret_files import settings_folder

    folder = settings_folder()
    assert folder is not None
    assert folder.is_relative_to(tmp_path)


def test_the_paths_in_contributing_exist() -> None:
    """Each path of CONTRIBUTING.md, and each module in its maps, exists."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    paths = set(re.findall(r"`((?:hfclient|tests|docs|examples|benchmarks)/[\w./-]*)`", text))
    missing = sorted(path for path in paths if not (ROOT / path).exists())
    for folder, rows in re.findall(r"^Inside `(hfclient/[\w/]+)`.*\n\n((?:\|.*\n)+)", text, re.MULTILINE):
        names = [name for row in rows.splitlines()[2:] for name in re.findall(r"`([\w./*]+)`", row.split("|")[1])]
        assert names
        missing += [f"{folder}/{name}" for name in names if not list((ROOT / folder).glob(name.rstrip("/")))]
    assert missing == []
