"""``python -m benchmarks``: measure, print a report in Markdown, write the plot."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

import attrs

from benchmarks.measure import MEASUREMENTS, Bench, Section
from benchmarks.report import markdown, marks, plot
from benchmarks.server import ReplayServer


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="hfclient's speed, beside its neighbours'."
    )
    parser.add_argument("--quick", action="store_true", help="a look, in a fraction of the time")
    parser.add_argument("--only", action="append", choices=list(MEASUREMENTS), help="this measurement; may be repeated")
    parser.add_argument("--client", action="append", default=[], help="this client (and the floor); may be repeated")
    parser.add_argument("--svg", type=Path, help="where to write the plot of CPU per event")
    parser.add_argument("--json", type=Path, help="where to write all values of all rounds")
    options = parser.parse_args()
    # No proxy of the environment may stand between the clients and the server.
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    started = time.monotonic()
    sections: dict[str, Section] = {}
    with ReplayServer() as server:
        bench = Bench(server, only=options.client, quick=options.quick)
        try:
            for name in options.only or MEASUREMENTS:
                sections[name] = MEASUREMENTS[name](bench)
        finally:
            bench.close()
    load = f", load {os.getloadavg()[1]:.1f}" if hasattr(os, "getloadavg") else ""
    print(
        f"{time.strftime('%Y-%m-%d')}, {platform.python_implementation()} {platform.python_version()}, {sys.platform}, "
        f"{os.cpu_count()} cores{load}, {time.monotonic() - started:.0f} s{', --quick' if options.quick else ''}. "
        "Median of the rounds, in brackets the middle half of them.\n"
    )
    for section in sections.values():
        print(markdown(section))
    print(marks(sections))
    for reason in bench.skipped:
        print(f"Left out: {reason}")
    if options.svg and "per_event" in sections:
        options.svg.write_text(plot(sections["per_event"], ["chat framed", "sse framed"]), encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps({n: attrs.asdict(s) for n, s in sections.items()}), encoding="utf-8")


if __name__ == "__main__":
    main()
