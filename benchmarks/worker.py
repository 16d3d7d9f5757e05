"""One client in a process of its own: reads jobs from its standard input, answers each with a line of JSON."""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.clients import make

__all__ = ["resident"]


def resident(what: str = "VmRSS") -> int:
    """Return the memory of this process in bytes: now, or with ``"VmHWM"`` at its highest."""
    try:
        with Path("/proc/self/status").open() as status:
            for line in status:
                if line.startswith(f"{what}:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource  # not on Windows, where there is no figure for memory

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _drain(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    gc.collect()
    times = job.get("times", 1)
    cpu, wall = time.process_time(), time.perf_counter()
    count = size = 0
    for _ in range(times):
        found = client.drain(job["wire"], job["url"])
        count += found[0]
        size += found[1]
    return {
        "cpu": time.process_time() - cpu,
        "wall": time.perf_counter() - wall,
        "events": count,
        "characters": size,
    }


def _delays(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    return {"delays": client.delays(job["url"], job["wire"])}


def _threads(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    found: list[tuple[int, int]] = []
    clients = [make(job["client"], job["origin"]) for _ in range(job["threads"])] if job["own"] else None

    def run(number: int) -> None:
        one = clients[number] if clients else client
        found.append(one.drain(job["wire"], job["url"]))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(job["threads"])]
    cpu, wall = time.process_time(), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        "cpu": time.process_time() - cpu,
        "wall": time.perf_counter() - wall,
        "events": sum(count for count, _ in found),
        "characters": sum(size for _, size in found),
    }


def _memory(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Read the events without keeping any, and look at the memory now and then."""
    gc.collect()
    seen: list[int] = []
    count = 0
    for _ in client.open(job["wire"], job["url"]):
        count += 1
        if count % job["step"] == 0:
            seen.append(resident())
    return {"resident": seen, "events": count}


def _upload(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    client.drain("chat", job["url"])  # so that everything is loaded
    gc.collect()
    before = max(resident(), resident("VmHWM"))
    cpu = time.process_time()
    got = client.upload(job["url"], job["path"])
    return {"extra": resident("VmHWM") - before, "cpu": time.process_time() - cpu, "characters": got}


_JOBS: dict[str, Callable[[Any, dict[str, Any]], dict[str, Any]]] = {
    "drain": _drain,
    "delays": _delays,
    "threads": _threads,
    "memory": _memory,
    "upload": _upload,
}


def _main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes elsewhere
    name, origin = sys.argv[1:]
    try:
        client = make(name, origin)
    except ImportError as error:
        print(json.dumps({"missing": str(error)}), file=answers, flush=True)
        return
    print(json.dumps({}), file=answers, flush=True)
    gc.freeze()  # what was imported is no part of what an event costs
    for line in sys.stdin:
        job = json.loads(line)
        try:
            answer = _JOBS[job["do"]](client, job)
        except Exception as error:  # noqa: BLE001 (a neighbour may fail in any way; the report says so)
            answer = {"failed": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    _main()
