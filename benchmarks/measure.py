"""The measurements: clients take turns, round by round, so that other work on the machine affects all of them."""

from __future__ import annotations

import ast
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import wires
from benchmarks.bench import Bench, Section, check, turns
from benchmarks.clients import IMPORTS
from benchmarks.relayed import DIRECT, RELAYED

__all__ = ["MEASUREMENTS", "SIZE"]

SIZE = 10 * 2**20
"""Bytes of the files that go up and down."""

_SLOW = ("openai", "huggingface_hub")
_OURS = ("hfclient", "hfclient, curl_cffi")
_LOADED_LATE = (
    "asyncio",
    "click",
    "curl_cffi",
    "flask",
    "numpy",
    "PIL",
    "pydantic",
    "requests",
    "sqlite3",
    "ssl",
    "waitress",
)


def per_event(bench: Bench) -> dict[str, Section]:
    """CPU for each event of a long answer."""
    titles = {"chat": "chat-ui's lines", "sse": "chat completions (SSE)", "tgi": "text-generation-inference (SSE)"}
    sections = {}
    for wire, title in titles.items():
        section = sections[f"events_{wire}"] = Section(f"CPU for each event, {title}", "µs", ["big", "framed", "each"])
        for form in section.columns:
            bench.say(f"CPU per event, {wire} {form}")
            for name in bench.each(bench.on(wire), bench.rounds(15) + 1):
                count = 2_000 if name in _SLOW else 20_000  # so many that the cost of the request does not show
                with bench.turn_of(name):
                    section.add(name, form, bench.drain(name, wire, form, count)["cpu"] / count * 1e6)
        section.forget_first().sort(bench.workers).compare()
    return sections


def growth(bench: Bench) -> dict[str, Section]:
    """CPU for each event, in answers of three lengths."""
    counts = {"1,000 events": (1_000, 40), "10,000": (10_000, 4), "100,000": (100_000, 1)}
    sections = {}
    for wire in ("chat", "sse"):
        bench.say(f"cost and length, {wire}")
        section = Section(f"CPU for each event of short and long answers, {wire}", "µs", [*counts, "100,000 to 1,000"])
        names = [name for name in bench.on(wire) if name not in (*_SLOW, "hugchat", "g4f")]
        for name in bench.each(names, bench.rounds(7) + 1):
            with bench.turn_of(name):
                request = bench.drain(name, wire, "framed", 1, 40)["cpu"] / 40
                costs = []
                for column, (count, times) in counts.items():
                    cpu = bench.drain(name, wire, "framed", count, times)["cpu"]
                    costs.append((cpu / times - request) / (count - 1) * 1e6)
                    section.add(name, column, costs[-1])
                section.add(name, section.columns[-1], costs[-1] / costs[0])
        section.notes.append(
            "What a request of one event costs is taken off. The last column is a ratio: above 1, events late in an "
            "answer are dearer."
        )
        sections[f"growth_{wire}"] = section.forget_first().sort(bench.workers).compare(*counts)
    return sections


def paced(bench: Bench) -> dict[str, Section]:
    """An event every 5 ms: what one costs, and how long it takes from the server's write to the consumer."""
    cost = Section("CPU for each event, one every 5 ms", "µs", ["chat", "sse"], digits=0)
    delay = Section("Delay of an event, one every 5 ms", "µs", ["chat p50", "chat p99", "sse p50", "sse p99"], digits=0)
    count = 60 if bench.quick else 200
    for wire in ("chat", "sse"):
        bench.say(f"paced, {wire}")
        for name in bench.each(bench.on(wire), bench.rounds(11) + 1):
            with bench.turn_of(name):
                answer = bench.workers[name].ask("paced", wire=wire, url=bench.server.url(wire, "paced", count))
                delays = sorted(answer["delays"])
                if len(delays) != count:
                    raise SystemExit(f"{name} found {len(delays)} of {count} paced events")
                cost.add(name, wire, answer["cpu"] / (count - 1) * 1e6)
                delay.add(name, f"{wire} p50", statistics.median(delays) / 1e3)
                delay.add(name, f"{wire} p99", delays[count * 99 // 100] / 1e3)
    cost.notes.append("From the first event to the last: the request is not counted.")
    for section in (cost, delay):
        section.forget_first().sort(bench.workers).compare()
    return {"paced": cost, "delay": delay}


def small(bench: Bench) -> dict[str, Section]:
    """What a short answer costs as a whole."""
    columns = {"chat": ("chat", "known"), "chat, with a look-up": ("chat", "looked up"), "sse": ("sse", "known")}
    section = Section("A whole answer of 10 tokens, CPU", "ms", list(columns))
    times = 20 if bench.quick else 50
    for column, (wire, leaf) in columns.items():
        bench.say(f"a small request, {column}")
        names = [name for name in bench.on(wire) if wire != "chat" or leaf in bench.kind(name).leaf]
        for name in bench.each(names, bench.rounds(15) + 1):
            with bench.turn_of(name):
                cpu = bench.drain(name, wire, "framed", 10, times, leaf=leaf)["cpu"]
                section.add(name, column, cpu / times * 1e3)
    section.notes.append(
        "A message is the child of another one. ``chat`` is one request, for a client that gets the parent's id. "
        "With a look-up a second request asks for it first: hfclient and g4f always do that, as another client may have "
        "written into the conversation; hugchat does it after each answer, by loading a page, which is left out here."
    )
    return {"small": section.forget_first().sort(bench.workers).compare()}


def threads(bench: Bench) -> dict[str, Section]:
    """How much 32 threads get through."""
    columns = [f"{wire} {form}" for wire in ("chat", "sse") for form in ("framed", "each")]
    rate = Section("32 threads, an answer each", "thousand events/s", columns, digits=0, more_is_better=True)
    cost = Section("32 threads, CPU for each event", "µs", columns)
    number = 32
    for column in columns:
        wire, form = column.split()
        bench.say(f"32 threads, {column}")
        names = [name for name in bench.on(wire) if name != "g4f"]
        for name in bench.each(names, bench.rounds(7) + 1):
            with bench.turn_of(name):
                count = 200 if name in _SLOW else 5000
                answer = bench.workers[name].ask(
                    "threads", wire=wire, url=bench.server.url(wire, form, count), threads=number,
                    origin=bench.server.origin, own=name.startswith("floor") or name == "hugchat",
                )  # fmt: skip
                check(name, answer, count * number, wires.characters(count) * number)
                rate.add(name, column, answer["events"] / answer["wall"] / 1e3)
                cost.add(name, column, answer["cpu"] / answer["events"] * 1e6)
    rate.notes.append(
        "By the clock. Answers of 5,000 events (200 for huggingface_hub and openai). One client for all threads, except "
        "the floors and hugchat, which have one for each; g4f runs in an event loop instead. In ``each`` the server writes "
        "every event by itself, and its own two system calls an event are the limit of a fast client."
    )
    for section in (rate, cost):
        section.forget_first().sort(bench.workers).compare()
    return {"threads": rate, "threads_cpu": cost}


_IMPORT = """
import time
{statement}
took = time.process_time()
import sys
try:
    with open("/proc/self/status") as status:
        memory = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
except OSError:
    memory = 0  # only Linux says it without a further import
names = sorted({{name.partition(".")[0] for name in sys.modules}})
print((took, memory / 1024, len(sys.modules), names))
"""


@contextlib.contextmanager
def _compiled() -> Iterator[dict[str, str]]:
    """Give an environment in which the first import of a module compiles it."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        yield environment


def imports(bench: Bench) -> dict[str, Section]:
    """What importing costs, in fresh processes."""
    bench.say("imports")
    section = Section(
        "Import, in a fresh process", "", ["CPU, ms", "over bare, ms", "memory, MiB", "modules"], digits=0
    )
    present = {name.partition(",")[0] for name in bench.workers} | {"bare Python"}
    wanted = [name for name in IMPORTS if name.partition(",")[0] in present]
    loaded: dict[str, list[str]] = {}
    with _compiled() as environment:
        for names in turns(wanted, bench.rounds(15) + 1):
            round_: dict[str, float] = {}
            for name in names:
                code = _IMPORT.format(statement=IMPORTS[name])
                run = subprocess.run(
                    [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
                )
                cpu, memory, modules, loaded[name] = ast.literal_eval(run.stdout.splitlines()[-1])
                round_[name] = cpu * 1e3
                for column, value in (("CPU, ms", cpu * 1e3), ("memory, MiB", memory), ("modules", modules)):
                    section.add(name, column, value)
            for name in names:
                section.add(name, "over bare, ms", round_[name] - round_["bare Python"])
    standard = {*loaded["bare Python"], *sys.stdlib_module_names}
    for name in ("hfclient", "hfclient, a client made"):
        if name in loaded:
            brought = ", ".join(top for top in loaded[name] if top not in standard and top != "hfclient")
            early = [top for top in _LOADED_LATE if top in loaded[name]]
            section.notes.append(
                f"``{IMPORTS[name]}`` loads {brought}; of {', '.join(_LOADED_LATE)} it loads "
                f"{', '.join(early) or 'none'}."
            )
    return {"imports": section.forget_first().sort(IMPORTS).compare("over bare, ms", "memory, MiB")}


def memory(bench: Bench) -> dict[str, Section]:
    """Whether memory grows with the stream."""
    bench.say("memory over a long stream")
    section = Section("Memory gained over 80,000 events that are not kept", "MiB", ["chat", "sse"])
    count, step = 100_000, 10_000
    for wire in section.columns:
        names = [name for name in bench.on(wire) if name in (*_OURS, "requests, iter_lines")]
        for name in bench.each(names, bench.rounds(5)):
            with bench.turn_of(name):
                with bench.fresh(name) as worker:
                    worker.ask("drain", wire=wire, url=bench.server.url(wire, "framed", 1000))
                    answer = worker.ask("memory", wire=wire, url=bench.server.url(wire, "framed", count), step=step)
                if answer["events"] < count:
                    raise SystemExit(f"{name} found {answer['events']} of {count} events")
                seen = answer["resident"]
                section.add(name, wire, (seen[8] - seen[0]) / 2**20)  # before the final answer: the whole text again
    section.notes.append(
        f"From event 10,000 to event 90,000. The text that comes meanwhile has {wires.characters(80_000) / 2**20:.2f} "
        "million characters (2^20); hfclient keeps it for the reply."
    )
    return {"memory": section.sort(bench.workers)}


def connections(bench: Bench) -> dict[str, Section]:
    """Whether connections are used again."""
    bench.say("connections")
    section = Section("Connections opened by 20 answers in a row", "", ["chat", "sse"], digits=0)
    for wire in section.columns:
        for name in bench.on(wire):
            with bench.turn_of(name), bench.fresh(name) as worker:
                before = bench.server.connections()
                worker.ask("drain", wire=wire, url=bench.server.url(wire, "framed", 50), times=20)
                section.add(name, wire, bench.server.connections() - before)
    return {"connections": section.sort(bench.workers)}


def transfers(bench: Bench) -> dict[str, Section]:
    """What a file of 10 MiB takes on its way out, and on its way in."""
    columns = ["memory, MiB", "CPU, ms"]
    up = Section("A file of 10 MiB, sent with a message", "", columns, digits=1)
    speech = Section("A recording of 10 MiB, to be transcribed", "", columns, digits=1)
    down = Section("A file of 10 MiB, saved", "", columns, digits=1)
    with tempfile.TemporaryDirectory() as folder:
        text, sound = Path(folder, "big.txt"), Path(folder, "big.wav")
        text.write_text(
            os.urandom(SIZE // 2 - 50_000).hex()
        )  # text, as hfclient sends what models see; and space for a form
        Path(folder, "small.txt").write_text("hello")
        riff = b"RIFF\xff\xff\xff\x7fWAVEfmt "
        sound.write_bytes(riff + os.urandom(SIZE))
        Path(folder, "small.wav").write_bytes(riff + bytes(100))
        jobs = (
            ("upload", up, "upload", {"wire": "chat", "url": bench.server.url("chat", "big", 10), "path": str(text)}),
            ("transcribe", speech, "upload",
             {"wire": "speech", "url": bench.server.url("speech", "big", 0), "path": str(sound)}),
            ("download", down, "download",
             {"small": bench.server.url("chat", "big", 100), "url": bench.server.url("chat", "big", SIZE)}),
        )  # fmt: skip
        for method, section, do, job in jobs:
            bench.say(section.title)
            names = [name for name in bench.able(method) if name not in ("floor (structs)", "requests, pieces")]
            for name in bench.each(names, bench.rounds(7)):
                with bench.turn_of(name):
                    with bench.fresh(name) as worker:
                        answer = worker.ask(do, **job)
                    if answer.get("bytes", SIZE) != SIZE or not answer.get("characters", 1):
                        raise SystemExit(f"{name} moved only a part: {answer}")
                    section.add(name, "memory, MiB", answer["extra"] / 2**20)
                    section.add(name, "CPU, ms", answer["cpu"] * 1e3)
            section.sort(bench.workers).compare("CPU, ms")
    up.notes.append("hfclient writes it as base64, as the server wants it; plain requests sends it raw.")
    return {"upload": up, "transcribe": speech, "download": down}


def profile(bench: Bench) -> dict[str, Section]:
    """Where hfclient's own time goes, function by function."""
    sections = {}
    wanted = (
        ("chat", "framed", 20_000, 2), ("sse", "framed", 20_000, 2), ("tgi", "framed", 20_000, 2),
        ("chat", "framed", 10, 200), ("sse", "framed", 10, 200),
    )  # fmt: skip
    for wire, form, count, times in wanted:
        if "hfclient" not in bench.workers:
            continue
        bench.say(f"profile, {wire} {count}")
        answer = bench.workers["hfclient"].ask(
            "profile", wire=wire, url=bench.server.url(wire, form, count), times=times
        )
        found = answer["functions"]
        whole = sum(own for own, _, _ in found.values())
        columns = ["own time, %", "with all it calls, %", "calls an answer"]
        section = Section(f"Where hfclient's time goes: {wire}, answers of {count:,} events", "", columns, digits=1)
        # In a long answer few functions do the work; in a short one it is spread, and the tree of calls says more.
        order = sorted(found, key=lambda function: -found[function][0 if count > 100 else 1])
        for function in order[: 10 if count > 100 else 24]:
            own, total, calls = found[function]
            for column, value in zip(columns, (own / whole * 100, total / whole * 100, calls / times), strict=True):
                section.add(function, column, value)
        shares: dict[str, float] = {}
        for function, (own, _, _) in found.items():
            package = function.partition(":")[0].partition(".")[0]
            shares[package] = shares.get(package, 0.0) + own / whole * 100
        told = [
            f"{package} {share:.0f} %" for package, share in sorted(shares.items(), key=lambda i: -i[1]) if share >= 1
        ]
        section.notes.append(
            f"Own time by package: {', '.join(told)}. cProfile overstates small functions."
        )
        sections[f"profile_{wire}_{count}"] = section
    return {**sections, "profile_import": _profile_import(bench)}


def _profile_import(bench: Bench) -> Section:
    """Return what the modules of ``import hfclient`` and of a first client take."""
    bench.say("profile, import")
    columns = ["import hfclient", "a client made"]
    section = Section("Where the time of importing hfclient goes", "ms", columns, digits=1)
    statements = ("import hfclient", IMPORTS["hfclient, a client made"])
    with _compiled() as environment:
        for column, statement in zip(columns, statements, strict=True):
            for number in range(bench.rounds(7) + 1):
                run = subprocess.run(
                    [sys.executable, "-X", "importtime", "-c", statement],
                    check=True, capture_output=True, text=True, env=environment,
                )  # fmt: skip
                own: dict[str, float] = {}
                for line in run.stderr.splitlines():
                    took, _, name = line.removeprefix("import time:").split("|")
                    if took.strip().isdigit():
                        top = name.strip().partition(".")[0]
                        for where in {top, name.strip() if top == "hfclient" else top}:
                            own[where] = own.get(where, 0.0) + int(took) / 1e3
                for name, milliseconds in own.items() if number else ():  # the first one compiled everything
                    section.add(name, column, milliseconds)
    largest = {name: max(statistics.median(f.values) for f in row.values()) for name, row in section.rows.items()}
    section.rows = {
        name: section.rows[name] for name in sorted(largest, key=lambda n: -largest[n])[:20] if largest[name] >= 1
    }
    section.notes.append(
        "Own time of each package, and of each module of hfclient's, by the clock as ``python -X importtime`` tells it; "
        "that makes it longer than it is."
    )
    return section


def relay(bench: Bench) -> dict[str, Section]:
    """What a relay adds to the body of a response."""
    columns = [f"{wire}, {how}" for wire in ("chat", "sse") for how in ("every 5 ms", "framed")]
    cost = Section("CPU for each event of a body of server-sent events", "µs", columns, digits=1)
    ratio = Section(f"The same, as a multiple of the body of a stream (``{DIRECT}``)", "", columns)
    for column in columns:
        wire, how = column.split(", ")
        bench.say(f"a body of server-sent events, {column}")
        paced = how == "every 5 ms"
        count = (100 if bench.quick else 200) if paced else 20_000
        url = bench.server.url(wire, "paced" if paced else how, count)
        for names in turns([name for name in RELAYED if name in bench.workers], bench.rounds(11) + 1):
            costs = {}
            for name in names:
                with bench.turn_of(name):
                    answer = bench.workers[name].ask("relayed", wire=wire, url=url, paced=paced)
                    if answer["events"] != count:
                        raise SystemExit(f"{name} found {answer['events']} of {count} events")
                    costs[name] = answer["cpu"]
                    cost.add(name, column, costs[name])
            for name, value in costs.items():
                if DIRECT in costs:
                    ratio.add(name, column, value / costs[DIRECT])
    cost.notes.append(
        "In the process that generates and follows, all its threads. A relay reads the "
        "stream in a thread of its own, keeps the events, writes them into the store every 50 ms, and wakes up the follower."
    )
    for section in (cost, ratio):
        section.forget_first().sort(RELAYED)
    return {"relay": cost, "relay_ratio": ratio}


MEASUREMENTS: dict[str, Callable[[Bench], dict[str, Section]]] = {
    "per_event": per_event,
    "growth": growth,
    "paced": paced,
    "small": small,
    "threads": threads,
    "imports": imports,
    "memory": memory,
    "connections": connections,
    "transfers": transfers,
    "relay": relay,
    "profile": profile,
}
