"""CPU time and output of an answer that grows on a terminal as Markdown, compared with rich's ``Live(Markdown(...))``.

    $ python -m benchmarks.terminal              # 1, 4, 20 and 200 kB
    $ python -m benchmarks.terminal 1000 50000   # characters

The answer comes in tokens of 4 characters, 100 a second, on a clock of the benchmark's own: nothing waits, and both programs
draw ten times for each second of the answer. Each run is a process of its own on a pseudo-terminal of 100 columns; the two
take turns, and the least CPU of three rounds counts. rich draws the whole answer each time, so it is left out where that
takes minutes. ``burst`` is an answer that comes at once, on the real clock, such as one that was stored.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import Any

ROUNDS = 3
SIZES = (1_000, 4_000, 20_000, 200_000)
TOKEN, TOKEN_SECONDS, DRAW_EVERY = 4, 0.01, 10
LONGEST_OF_RICH = 4_000
_TREE = Path(__file__).parent.parent
_SECTION = """## Step {number}: a heading

A paragraph with **strong**, *emphasized* and `inline` text, a [link](https://example.org/{number}) and enough words
to fill more than one line of a terminal, as the answers of models do. It continues with one more sentence.

- The first item of a list, with some words in it.
- The second one, with `code`.

```python
def step_{number}(values: list[int]) -> int:
    total = sum(value for value in values if value > {number})  # a comment
    return total or {number}
```

| name | value | unit |
| --- | ---: | --- |
| speed | {number} | m/s |
| mass | 12.5 | kg |

"""


def answer(size: int) -> str:
    """Return *size* characters of Markdown as a model writes it: prose, lists, code and tables."""
    sections = -(-size // len(_SECTION)) + 1
    return "".join(_SECTION.replace("{number}", str(number)) for number in range(1, sections + 1))[:size]


class _Clock:
    """A clock that only the benchmark moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def _ours(text: str, clock: Any) -> None:
    from hfclient.cli.output import Output
    from hfclient.cli.rendering import markdown
    from hfclient.events import Token

    tokens = [Token(text[at : at + TOKEN]) for at in range(0, len(text), TOKEN)]
    if clock is not None:
        markdown.time = clock
    with markdown.MarkdownPrinter(Output()) as printer:
        for token in tokens:
            if clock is not None:
                clock.now += TOKEN_SECONDS
            printer.show(token)


def _rich(text: str, clock: Any) -> None:
    from rich.live import Live
    from rich.markdown import Markdown

    with Live(auto_refresh=False, vertical_overflow="visible") as live:
        shown = ""
        for number, at in enumerate(range(0, len(text), TOKEN), 1):
            shown += text[at : at + TOKEN]
            if number % DRAW_EVERY == 0:
                live.update(Markdown(shown), refresh=True)
        live.update(Markdown(shown), refresh=True)


def _run(client: str, size: int) -> None:
    """Show one answer; put the CPU time and the peak of memory on standard error."""
    import resource

    show, clock = {"hfclient": (_ours, _Clock()), "burst": (_ours, None), "rich": (_rich, _Clock())}[client]
    show("warm **up**", clock)
    text = answer(size)
    before = time.process_time()
    show(text, clock)
    cpu = time.process_time() - before
    print(json.dumps({"cpu": cpu, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}), file=sys.stderr)


def measure(client: str, size: int, tree: Path = _TREE) -> dict[str, float]:
    """Return CPU seconds, bytes written and peak memory (kB) of one process on a pseudo-terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(tree)}
    command = [sys.executable, "-m", "benchmarks.terminal", "--run", client, str(size)]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE, env=environment, cwd=_TREE
    )
    os.close(theirs)
    count = 0

    def drain() -> None:
        nonlocal count
        try:
            while data := os.read(ours, 1 << 16):
                count += len(data)
        except OSError:
            pass  # the process has ended

    reader = threading.Thread(target=drain)
    reader.start()
    _, errors = process.communicate()
    reader.join()
    os.close(ours)
    if process.returncode:
        raise SystemExit(errors.decode())
    return {**json.loads(errors.decode().splitlines()[-1]), "bytes": count}


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--run"]:
        _run(sys.argv[2], int(sys.argv[3]))
        return
    print(f"{'characters':>10}  {'program':10}{'CPU s':>8}{'us/char':>9}{'bytes':>12}{'peak MB':>9}{'ratio':>8}")
    for size in [int(size) for size in sys.argv[1:]] or SIZES:
        clients = ["hfclient", "burst", *(["rich"] if size <= LONGEST_OF_RICH else [])]
        rounds = [{client: measure(client, size) for client in clients} for _ in range(ROUNDS)]
        best = {client: min((found[client] for found in rounds), key=lambda run: run["cpu"]) for client in clients}
        for client, run in best.items():
            ratio = run["cpu"] / best["hfclient"]["cpu"]
            per_character = run["cpu"] / size * 1e6
            print(
                f"{size:>10,}  {client:10}{run['cpu']:>8.3f}{per_character:>9.1f}{run['bytes']:>12,.0f}"
                f"{run['peak'] / 1024:>9.0f}{ratio:>8.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
