"""CPU time of a start: the interpreter alone, imports, the help of command lines, and one answer of 200 tokens.

    $ python -m benchmarks.startup              # this tree
    $ python -m benchmarks.startup OTHER_TREE   # and another one, alternately, with the ratio

Other programs (``hf`` of huggingface_hub, ``llm``, scripts with openai and huggingface_hub) take part if they are installed in
the same environment. The answer comes from a replay server on this machine. Each row is the least of the rounds, in seconds of CPU (user and system) of one process: other processes on the machine only
ever add to it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.server import ReplayServer

ROUNDS = 15
ROWS = {
    "python": ["-c", "pass"],
    "import click": ["-c", "import click"],
    "import hfclient": ["-c", "import hfclient"],
    "from hfclient import Client": ["-c", "from hfclient import Client"],
    "a client": ["-c", "from hfclient import Client; Client(token='', cookies='', session='')"],
    "hfclient --help": ["-m", "hfclient", "--help"],
    "hfclient chat --help": ["-m", "hfclient", "chat", "--help"],
    "hfclient completion bash": ["-m", "hfclient", "completion", "bash"],
    "script, hfclient": [
        "-c",
        "from hfclient import Client\n"
        "for text in Client(inference_url={url!r}, token='').inference.chat('hi', model='org/model').iter_text():\n"
        "    print(text, end='', flush=True)",
    ],
    "hfclient chat": ["-m", "hfclient", "chat", "--inference-url", "{url}", "--model", "org/model", "hi"],
}
_CREATE = (
    "for part in client.chat.completions.create(model='org/model', messages=[dict(role='user', content='hi')], stream=True):\n"
    "    if part.choices: print(part.choices[0].delta.content or '', end='', flush=True)"
)
OTHERS = {
    "hf --help": ["hf", "--help"],
    "llm --help": ["llm", "--help"],
    "script, openai": ["-c", "from openai import OpenAI\nclient = OpenAI(base_url={url!r}, api_key='x')\n" + _CREATE],
    "script, huggingface_hub": [
        "-c",
        "from huggingface_hub import InferenceClient\nclient = InferenceClient(base_url={url!r}, api_key='x')\n"
        + _CREATE,
    ],
    "llm": ["llm", "--model", "replay", "hi"],
}


def cpu(arguments: list[str], tree: str) -> float:
    """Return the seconds of CPU of one process."""
    environment = {**os.environ, "PYTHONPATH": tree}
    command = [sys.executable, *arguments] if arguments[0].startswith("-") else arguments
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment, cwd=tree)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{arguments} failed in {tree}")
    return usage.ru_utime + usage.ru_stime


def _with_url(argument: str, url: str) -> str:
    return argument.replace("{url!r}", repr(url)).replace("{url}", url)


def _measure(rows: dict[str, list[str]], trees: list[str]) -> None:
    for name, arguments in rows.items():
        rounds = [[cpu(arguments, tree) for tree in trees] for _ in range(ROUNDS)]
        best = [min(column) for column in zip(*rounds, strict=True)]
        ratio = f"  {best[1] / best[0]:.2f} times" if len(best) > 1 else ""
        print(f"{name:30}{''.join(f'{seconds:8.3f}' for seconds in best)}{ratio}", flush=True)


def main() -> None:
    """Measure all rows and print them."""
    trees = [str(Path(tree).resolve()) for tree in (Path(__file__).parent.parent, *sys.argv[1:])]
    with ReplayServer() as server, tempfile.TemporaryDirectory() as folder:
        url = f"{server.url('sse', 'framed', 200)}/v1"
        os.environ["LLM_USER_PATH"] = folder
        Path(folder, "extra-openai-models.yaml").write_text(
            f"- model_id: replay\n  model_name: org/model\n  api_base: {url}\n  can_stream: true\n", encoding="utf-8"
        )
        os.environ.update(OPENAI_API_KEY="x", HF_HUB_DISABLE_TELEMETRY="1")
        _measure({name: [_with_url(part, url) for part in row] for name, row in ROWS.items()}, trees)
        for name, row in OTHERS.items():
            program = row[0] if row[0].startswith("-") else shutil.which(row[0], path=str(Path(sys.executable).parent))
            command = [program or "", *(_with_url(part, url) for part in row[1:])]
            try:
                cpu(command, trees[0])
            except (SystemExit, OSError):
                print(f"{name:30}  left out: it is not installed, or it fails")
                continue
            _measure({name: command}, trees[:1])


if __name__ == "__main__":
    main()
