"""``python -m benchmarks``: measure, print the tables; README.md here tells how to read them."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import attrs

from benchmarks.bench import Bench
from benchmarks.measure import MEASUREMENTS
from benchmarks.page import write_page
from benchmarks.report import Results, marks, tables
from benchmarks.server import ReplayServer

_HERE = Path(__file__).parent
_NEIGHBOURS = ("g4f", "huggingface_hub", "hugchat", "openai")
_PACKAGES = ("requests", "urllib3", "curl_cffi", "msgspec", "attrs", "httptools", *_NEIGHBOURS)
_RESULTS = _HERE / "results.json"


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="hfclient's speed, beside its neighbours'."
    )
    parser.add_argument("--quick", action="store_true", help="a look, in a fraction of the time")
    parser.add_argument("--only", action="append", choices=list(MEASUREMENTS), help="this measurement; may be repeated")
    parser.add_argument("--client", action="append", default=[], help="this client (and the floor); may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write all values of all rounds")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help="measure nothing, show these values")
    parser.add_argument(
        "--write-docs",
        action="store_true",
        help="put values into benchmarks/results.json, tables and plot into docs/; with --only, the others stay",
    )
    options = parser.parse_args()
    results = _read(options.source) if options.source else _measure(options)
    print(_told(results))
    for section in results.sections.values():
        print(tables(section))
    print(marks(results.sections))
    for reason in results.skipped:
        print(f"Left out: {reason}")
    if options.write_docs:
        if options.only and _RESULTS.exists():
            old = _read(_RESULTS)
            results = Results(old.about | results.about, results.skipped, {**old.sections, **results.sections})
        _write(results, _RESULTS)
        for path in write_page(_read(_RESULTS), _HERE.parent / "docs"):
            print(f"wrote {path}")
    if options.json:
        _write(results, options.json)


def _read(path: Path) -> Results:
    return Results.from_dict(json.loads(path.read_text(encoding="utf-8")))


def _write(results: Results, path: Path) -> None:
    text = json.dumps(attrs.asdict(results), ensure_ascii=False, indent=1)
    # A line for each list and for each cell, not for each value.
    for inner in (r"\[[^][{}]*\]", r'\{\s*"values"[^{}]*\}'):
        text = re.sub(inner, lambda found: re.sub(r"\s+", " ", found[0]), text)
    path.write_text(text + "\n", encoding="utf-8")


def _measure(options: argparse.Namespace) -> Results:
    # No proxy of the environment may stand between the clients and the server, and no token of it go along.
    for name in [
        name for name in os.environ if name.lower().endswith("_proxy") or name.startswith(("HF_", "HFCLIENT_"))
    ]:
        del os.environ[name]
    started = time.monotonic()
    results = Results({}, [], {})
    with ReplayServer() as server:
        bench = Bench(server, only=options.client, quick=options.quick)
        try:
            for name in options.only or MEASUREMENTS:
                results.sections.update(MEASUREMENTS[name](bench))
        finally:
            bench.close()
    results.skipped = bench.skipped
    results.about = _about(options.quick, time.monotonic() - started)
    return results


def _about(quick: bool, took: float) -> dict[str, Any]:
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    try:
        git = ["git", "-C", str(_HERE), "rev-parse", "--short", "HEAD"]
        revision = subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        revision = None  # not a clone
    return {
        "revision": revision,
        "date": time.strftime("%Y-%m-%d"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": sys.platform,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[1], 1) if hasattr(os, "getloadavg") else None,
        "seconds": round(took),
        "quick": quick,
        "versions": versions,
    }


def _told(results: Results) -> str:
    about = results.about
    return (
        f"{about['date']}, {about['python']}, {about['platform']}, {about['cores']} cores, load {about['load']}, "
        f"{about['seconds']} s{', --quick' if about['quick'] else ''}. "
        "Medians of the rounds, in brackets the middle half of them.\n"
    )


if __name__ == "__main__":
    main()
