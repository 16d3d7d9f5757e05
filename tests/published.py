"""Test of the published packages: run as ``python -m tests.published`` in the project's root (``tox -e package`` does).

The sdist is built, and the wheel from it. The sdist has the project, the wheel has the package and nothing else. The sdist is
installed into a new virtual environment outside of the checkout. There the command runs, and a call goes through the embedded
server to a scripted model.
"""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from email.parser import HeaderParser
from pathlib import Path

from tests.local.upstream import ScriptedUpstream

ROOT = Path(__file__).parents[1]
NOT_PUBLISHED = (".ci/", ".gitignore")

CALLS = """
import subprocess, sys
from pathlib import Path
import hfclient
from hfclient import Client
assert Path(hfclient.__file__).is_relative_to(sys.prefix), hfclient.__file__
with Client.local(upstream=sys.argv[1]) as client:
    assert client.chat("Hi").text == "Hello, world!"
    assert client.inference.chat("Hi").text == "Hello, world!"
    command = Path(sys.executable).with_name("hfclient")
    said = subprocess.run([command, "chat", "--url", client.base_url, "Hi"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (0, "Hello, world!\\n"), said
"""


def files(*options: str) -> set[str]:
    """The files of the project, if this is a clone."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        return set()
    names = subprocess.check_output([git, "ls-files", "-z", *options], cwd=ROOT).decode().split("\0")
    return {name for name in names if name and not name.startswith(NOT_PUBLISHED)}


def check_sdist(path: Path) -> None:
    """The sdist has the whole project, and no other files."""
    with tarfile.open(path) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    missing = files() - names
    assert not missing, f"not in the sdist: {sorted(missing)}"
    more = names - files("--cached", "--others", "--exclude-standard")
    more = {name for name in more if name not in ("PKG-INFO", "setup.cfg") and not name.startswith("hfclient.egg-info/")}
    assert not files() or not more, f"in the sdist, and not in the project: {sorted(more)}"


def check_wheel(path: Path) -> None:
    """The wheel has all modules of the package, py.typed, the front end, the license and the command, and no tests."""
    found = [*(ROOT / "hfclient").rglob("*.py"), ROOT / "hfclient" / "py.typed", *(ROOT / "hfclient" / "web" / "static" / "hfclient").iterdir()]
    package = {file.relative_to(ROOT).as_posix() for file in found}
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        about = next(name for name in names if name.endswith(".dist-info/METADATA")).removesuffix("METADATA")
        fields = HeaderParser().parsestr(archive.read(about + "METADATA").decode())
        commands = configparser.ConfigParser()
        commands.read_string(archive.read(about + "entry_points.txt").decode())
        licences = [name for name in names if name.startswith(about) and name.endswith("/LICENSE")]
        assert [archive.read(name) for name in licences] == [(ROOT / "LICENSE").read_bytes()]
    held = {name for name in names if not name.startswith(about)}
    assert held == package, f"the wheel and the package differ in {sorted(held ^ package)}"
    assert commands["console_scripts"]["hfclient"] == "hfclient.cli:main"
    assert (fields["Name"], fields["Requires-Python"]) == ("hfclient", ">=3.10")
    assert "# hfclient" in fields.get_payload(), "the page is the README"
    assert set(fields.get_all("Provides-Extra")) >= {"impersonate", "local", "cli", "browser", "web", "redis", "all"}


def check_install(sdist: Path, folder: Path) -> None:
    """The sdist installs into an empty environment, and works there."""
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    python = programs / "python"
    # The packages of the extra "local", without llama.cpp: a scripted model answers here.
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{sdist}[cli]", "flask", "waitress"]
    subprocess.run(install, cwd=folder, check=True)
    away = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HFCLIENT_", "HF_"))}
    away |= {"HOME": str(folder), "HF_HOME": str(folder / "hf")}
    help_text = subprocess.check_output([programs / "hfclient", "--help"], cwd=folder, env=away, text=True)
    assert "Usage: hfclient" in help_text, help_text
    with ScriptedUpstream() as upstream:
        subprocess.run([python, "-c", CALLS, upstream.url], cwd=folder, env=away, check=True, timeout=120)


def main() -> None:
    """Build, check and install."""
    with tempfile.TemporaryDirectory() as work:
        built = Path(work) / "dist"
        subprocess.run([sys.executable, "-m", "build", "--outdir", built, ROOT], cwd=work, check=True, stdout=subprocess.DEVNULL)
        (sdist,) = built.glob("*.tar.gz")
        (wheel,) = built.glob("*.whl")
        check_sdist(sdist)
        check_wheel(wheel)
        check_install(sdist, Path(work))
        print(f"{sdist.name} ({sdist.stat().st_size} bytes) and {wheel.name} ({wheel.stat().st_size} bytes) are in order")


if __name__ == "__main__":
    main()
