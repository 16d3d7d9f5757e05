"""One client in a process of its own: reads jobs from its standard input, answers each with a line of JSON."""

from __future__ import annotations

import cProfile
import gc
import json
import os
import sys
import sysconfig
import tempfile
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


def _forget_peak() -> int:
    """Start the highest memory anew, where the system can; return from where it is to be counted."""
    gc.collect()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return resident("VmHWM")
    return resident()


def _drain(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    times = job.get("times", 1)
    if job["wire"] == "chat":
        client.prepare(job["url"], times, job.get("leaf", "known"))
    gc.collect()
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


def _paced(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    if job["wire"] == "chat":
        client.prepare(job["url"], 1, "known")
    gc.collect()
    pace = client.paced(job["wire"], job["url"])
    return {"delays": pace.delays, "cpu": pace.cpu}


def _threads(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    found: list[tuple[int, int]] = []
    clients = [make(job["client"], job["origin"]) for _ in range(job["threads"])] if job["own"] else None
    if job["wire"] == "chat":
        client.prepare(job["url"], job["threads"], "known")
    ready = threading.Barrier(job["threads"] + 1)

    def run(number: int) -> None:
        one = clients[number] if clients else client
        ready.wait()
        found.append(one.drain(job["wire"], job["url"]))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(job["threads"])]
    for thread in threads:
        thread.start()
    cpu, wall = time.process_time(), time.perf_counter()
    ready.wait()
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
    for _ in client.events(job["wire"], job["url"]):
        count += 1
        if count % job["step"] == 0:
            seen.append(resident())
    return {"resident": seen, "events": count}


def _relayed(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    gc.collect()
    found: dict[str, Any] = client.relayed(job["wire"], job["url"], job["paced"])
    return found


def _upload(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    send = client.transcribe if job["wire"] == "speech" else client.upload
    small = Path(job["path"]).with_name(f"small{Path(job['path']).suffix}")
    send(job["url"], str(small))  # so that everything is loaded
    before = _forget_peak()
    cpu = time.process_time()
    got = send(job["url"], job["path"])
    return {"cpu": time.process_time() - cpu, "extra": max(0, resident("VmHWM") - before), "characters": got}


def _download(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "file")
        client.download(job["small"], target)  # so that everything is loaded
        before = _forget_peak()
        cpu = time.process_time()
        client.download(job["url"], target)
        cpu = time.process_time() - cpu
        return {"cpu": cpu, "extra": max(0, resident("VmHWM") - before), "bytes": target.stat().st_size}


def _profile(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Say which functions take how much of the time; what they call in C counts as their own."""
    if job["wire"] == "chat":
        client.prepare(job["url"], 2 * job["times"], "known")
    for _ in range(job["times"]):
        client.drain(job["wire"], job["url"])
    profile = cProfile.Profile(time.process_time, builtins=False)
    profile.enable()
    for _ in range(job["times"]):
        client.drain(job["wire"], job["url"])
    profile.disable()
    found: dict[str, list[float]] = {}  # own time, time with what it calls, calls
    for entry in profile.getstats():
        code = entry.code
        if isinstance(code, str) or code.co_filename == __file__:
            continue
        shown = found.setdefault(f"{_module(code.co_filename)}: {code.co_name}", [0.0, 0.0, 0])
        shown[0] += entry.inlinetime
        shown[1] += entry.totaltime
        shown[2] += entry.callcount
    return {"functions": found}


def _module(path: str) -> str:
    """Return the name of the module that the code of *path* belongs to."""
    if path.startswith("<"):  # "<frozen os>", "<attrs generated methods hfclient.events.Token>"
        return path.strip("<>").rpartition(" ")[2]
    for name in ("purelib", "platlib", "stdlib"):
        folder = sysconfig.get_paths()[name] + os.sep
        if path.startswith(folder):
            path = path[len(folder) :]
            break
    else:
        path = os.path.relpath(path, Path(__file__).parent.parent)
    return path.removesuffix(".py").replace(os.sep, ".").removesuffix(".__init__")


_JOBS: dict[str, Callable[[Any, dict[str, Any]], dict[str, Any]]] = {
    "drain": _drain,
    "paced": _paced,
    "threads": _threads,
    "memory": _memory,
    "relayed": _relayed,
    "upload": _upload,
    "download": _download,
    "profile": _profile,
}


def _main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints goes to stderr
    name, origin = sys.argv[1:]
    try:
        client = make(name, origin)
    except Exception as error:  # noqa: BLE001 (a neighbour of another version fails in ways of its own)
        print(json.dumps({"missing": f"{type(error).__name__}: {error}"[:200]}), file=answers, flush=True)
        return
    print(json.dumps({}), file=answers, flush=True)
    gc.freeze()  # imported objects are not part of the cost of an event
    for line in sys.stdin:
        job = json.loads(line)
        try:
            answer = _JOBS[job["do"]](client, job)
        except Exception as error:  # noqa: BLE001 (a neighbour may fail in any way; the report says so)
            answer = {"failed": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    _main()
