"""What a completion of a batch costs the client, beside other libraries, and how the memory of a batch grows.

    $ python -m benchmarks.batch                   # 5 rounds of 2,000 short completions for each program
    $ python -m benchmarks.batch --checkpoints     # what a checkpoint adds: 15 rounds of 2,000 completions for each kind
    $ python -m benchmarks.batch --rows 1000000    # one batch; its memory after each tenth

A replay server in a process of its own answers at once. Each program runs in its own process with 64 requests in flight, after a
warm-up; they take turns. CPU is that of the client's process, user and system. Where a program is left out, its package is not
installed. The ratios are medians of ratios within a round, so the load of the machine hardly changes them. Kinds of checkpoints take turns
in one process.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

IN_FLIGHT = 64
WARM_UP = 200
PROMPT = "What is the capital of France?"
ANSWER = {
    "id": "c", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "The capital of France is Paris."}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 10, "completion_tokens": 8, "total_tokens": 18},
}


# The server


def serve() -> None:
    """Answer every request at once; print the port."""
    import httptools

    body = json.dumps(ANSWER).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nx-request-id: abc\r\n\r\n" % len(body)

    class Replay(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self._transport = transport
            self._parser = httptools.HttpRequestParser(self)

        def data_received(self, data: bytes) -> None:
            self._parser.feed_data(data)

        def on_message_complete(self) -> None:
            self._transport.write(head + body)

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Replay, "127.0.0.1", 0, backlog=512)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    asyncio.run(main())


# The programs: each returns a function that answers so many prompts


Run = Callable[[int], object]


def _in_workers(count: int, ask: Callable[[], Awaitable[object]]) -> Awaitable[object]:
    numbers = iter(range(count))

    async def work() -> None:
        for _ in numbers:
            await ask()

    return asyncio.gather(*(work() for _ in range(IN_FLIGHT)))


def _aiohttp(url: str) -> Run:
    import aiohttp

    async def main(count: int) -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT)) as session:

            async def ask() -> None:
                question = {"model": "m", "messages": [{"role": "user", "content": PROMPT}]}
                async with session.post(f"{url}/chat/completions", json=question) as answer:
                    assert (await answer.json())["choices"][0]["message"]["content"]

            await _in_workers(count, ask)

    return lambda count: asyncio.run(main(count))


def _huggingface_hub(url: str) -> Run:
    from huggingface_hub import AsyncInferenceClient

    async def main(count: int) -> None:
        async with AsyncInferenceClient(base_url=url, api_key="x", timeout=30) as client:
            messages = [{"role": "user", "content": PROMPT}]
            await _in_workers(count, lambda: client.chat_completion(messages=messages, model="m"))

    return lambda count: asyncio.run(main(count))


def _openai(url: str) -> Run:
    from openai import AsyncOpenAI

    async def main(count: int) -> None:
        async with AsyncOpenAI(base_url=url, api_key="x") as client:
            messages: Any = [{"role": "user", "content": PROMPT}]
            await _in_workers(count, lambda: client.chat.completions.create(messages=messages, model="m"))

    return lambda count: asyncio.run(main(count))


def _client(url: str) -> Any:
    from hfclient import Client

    return Client(url, token="", cookies="", session="", inference_url=url).inference


def _prompts(count: int) -> Iterator[str]:
    return (f"{PROMPT} {number}" for number in range(count))


def _map(url: str) -> Run:
    client = _client(url)
    return lambda count: sum(result.ok for result in client.map(_prompts(count), model="m", workers=IN_FLIGHT))


def _threads(url: str) -> Run:
    client = _client(url)

    def run(count: int) -> object:
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            return sum(1 for _ in pool.map(lambda prompt: client.chat(prompt, model="m").text, _prompts(count)))

    return run


PROGRAMS: dict[str, Callable[[str], Run]] = {
    "aiohttp by hand": _aiohttp,
    "hfclient, map()": _map,
    "hfclient, 64 threads": _threads,
    "huggingface_hub, async": _huggingface_hub,
    "AsyncOpenAI": _openai,
}
CHECKPOINTS = ("", "out.jsonl", "out.sqlite", "out.parquet")
PEERS = ("huggingface_hub, async", "AsyncOpenAI")


def measure(run: Run, count: int) -> tuple[float, float]:
    """Return the milliseconds of CPU for one completion, and completions a second."""
    cpu, clock = time.process_time(), time.perf_counter()
    run(count)
    return (time.process_time() - cpu) / count * 1000, count / (time.perf_counter() - clock)


def measure_checkpoints(url: str, rounds: int, count: int) -> None:
    """Print what a completion costs with each kind of checkpoint, and the ratios to one without."""
    client = _client(url)

    def run(kind: str, count: int) -> object:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / kind if kind else None
            return sum(result.ok for result in client.map(_prompts(count), model="m", workers=IN_FLIGHT, checkpoint=path))

    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in CHECKPOINTS}
    for kind in found:
        run(kind, WARM_UP)
    for number in range(rounds):
        turn = number % len(CHECKPOINTS)
        for kind in CHECKPOINTS[turn:] + CHECKPOINTS[:turn]:
            found[kind].append(measure(functools.partial(run, kind), count))
    bare = found[""]
    print(f"{'checkpoint':12} {'CPU (ms), median':>17} {'least':>7}  {'CPU : none, median':>19} {'of the least':>12}  {'clock':>6}")
    for kind, values in found.items():
        cpu, least = (function(cpu for cpu, _ in values) for function in (statistics.median, min))
        ratio = statistics.median(one[0] / other[0] for one, other in zip(values, bare, strict=True))
        clock = statistics.median(other[1] / one[1] for one, other in zip(values, bare, strict=True))
        print(f"{kind or 'none':12} {cpu:17.3f} {least:7.3f}  {ratio:19.2f} {least / min(cpu for cpu, _ in bare):12.2f}  {clock:6.2f}")


def measure_rows(url: str, count: int) -> None:
    """Run one batch of *count* rows and print the memory after each tenth, in MiB."""
    client = _client(url)
    started = time.perf_counter()
    for number, result in enumerate(client.map(_prompts(count), model="m", workers=IN_FLIGHT), 1):
        assert result.ok
        if number % max(1, count // 10) == 0:
            print(f"{number:10,} rows  {_resident():6.1f} MiB  {number / (time.perf_counter() - started):6,.0f}/s", flush=True)


def _resident() -> float:
    """Return the resident memory; Linux only."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


# The rounds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch", description="The cost of a completion in a batch.")
    parser.add_argument("--rounds", type=int, help="5; 15 for checkpoints")
    parser.add_argument("--count", type=int, default=2000, help="completions of each program in a round")
    parser.add_argument("--checkpoints", action="store_true", help="what a checkpoint adds")
    parser.add_argument("--rows", type=int, help="one batch of so many rows: its memory")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--program", nargs=2, metavar=("NAME", "URL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    if options.program:
        name, url = options.program
        run = PROGRAMS[name](url)
        run(WARM_UP)
        print(json.dumps(measure(run, options.count)))
        return
    command = [sys.executable, "-m", "benchmarks.batch"]
    with subprocess.Popen([*command, "--serve"], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
            if options.rows:
                measure_rows(url, options.rows)
            elif options.checkpoints:
                measure_checkpoints(url, options.rounds or 15, options.count)
            else:
                _rounds(command, url, options.rounds or 5, options.count)
        finally:
            server.terminate()


def _rounds(command: list[str], url: str, rounds: int, count: int) -> None:
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in PROGRAMS}
    for number in range(rounds):
        names = list(found)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            ran = subprocess.run(
                [*command, "--count", str(count), "--program", name, url], capture_output=True, text=True, check=False
            )
            if ran.returncode:
                print(f"Left out: {name}: {ran.stderr.strip().splitlines()[-1]}")
                del found[name]
            else:
                found[name].append(tuple(json.loads(ran.stdout)))
    print(f"{'program':28} {'CPU (ms)':>9} {'1/s':>8}" + "".join(f"  {'CPU : ' + peer:>29}  {'rate':>5}" for peer in PEERS))
    for name, values in found.items():
        line = f"{name:28} {statistics.median(cpu for cpu, _ in values):9.3f} {statistics.median(rate for _, rate in values):8,.0f}"
        for peer in PEERS:
            if peer in found:
                cpu = statistics.median(one[0] / other[0] for one, other in zip(values, found[peer], strict=True))
                rate = statistics.median(one[1] / other[1] for one, other in zip(values, found[peer], strict=True))
                line += f"  {cpu:29.2f}  {rate:5.1f}"
        print(line)


if __name__ == "__main__":
    main()
