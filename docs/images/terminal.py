"""Draw the terminals of the documentation, docs/images/terminal*.svg.

    $ python -m docs.images.terminal              # all of them, in the folder of the project
    $ python -m docs.images.terminal doctor       # one

The README's shows the small model of ``--local``, as its answers grow. The others show a chat-ui on this machine whose model
is scripted (tests/docs/scripted.py): the same answers always.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from docs.images.terminal_screen import Keys, Session
from hfclient.local import LocalServer
from tests.docs.scripted import MODEL, ScriptedModel
from tests.docs.scripted_batches import DATA
from tests.server import Server, json_answer

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent
PORT = 3000
MODELS = [
    {
        "id": name,
        "architecture": {"input_modalities": inputs, "output_modalities": ["text"]},
        "providers": [
            {"provider": provider, "status": "live", "context_length": context, "supports_tools": True}
            | {"pricing": {"input": price, "output": price * 3}}
        ],
    }
    for name, inputs, provider, context, price in (
        ("Qwen/Qwen3-8B", ["text"], "nscale", 40_960, 0.06),
        ("Qwen/Qwen2.5-VL-72B-Instruct", ["text", "image"], "nebius", 131_072, 0.25),
        ("meta-llama/Llama-3.3-70B-Instruct", ["text"], "groq", 131_072, 0.59),
        ("openai/gpt-oss-120b", ["text"], "cerebras", 131_072, 0.25),
    )
]
HFCLIENT = [sys.executable, "-m", "hfclient"]


@contextlib.contextmanager
def _session(columns: int = 88, *, has_server: bool = True) -> Iterator[Session]:
    """A screen, with the settings of a new user and, as its chat server, a chat-ui with the scripted model."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as servers:
        environment = {"HOME": folder, "HFCLIENT_HOME": f"{folder}/settings", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
        if has_server:
            model = servers.enter_context(ScriptedModel())
            server = servers.enter_context(LocalServer(port=PORT, upstream=model.url))
            environment["HFCLIENT_BASE_URL"] = server.url
        yield Session(columns, environment, Path(folder))


def _run(session: Session, line: str, *, keys: Keys = (), fails: bool = False, hidden: str = "", until: str = "") -> None:
    """Run the line of a shell; *hidden* options are not shown."""
    real = line.replace("hfclient", f"{shlex.join(HFCLIENT)}", 1)
    name, _, rest = real.partition(" -m hfclient ")
    first, _, more = rest.partition(" ")
    real = f"{name} -m hfclient {first} {hidden} {more}"
    session.run(line, ["sh", "-c", real], keys=keys, fails=fails, until=until)


def terminal() -> str:
    """The small model answers two prompts."""
    with _session(78, has_server=False) as session:
        for prompt in ("Explain rain to a child in two sentences.", "Write a line of a song about rain."):
            _run(session, f'hfclient chat --local "{prompt}"')
        return session.draw("hfclient on the command line", moving=True)


def markdown() -> str:
    """An answer with code and a table."""
    with _session() as session:
        _run(session, 'hfclient chat "How do I read a CSV file in Python?"')
        return session.draw("An answer of hfclient chat, with code and a table")


def pipes() -> str:
    """An answer in a pipe: only its code, JSON, the last conversation."""
    with _session() as session:
        _run(session, 'hfclient chat -x "How do I read a CSV file in Python?" > read.py; cat read.py')
        schema = '{"type": "object", "required": ["city", "country"]}'
        _run(session, f"hfclient chat --schema '{schema}' \"Paris is the capital of France.\" | jq .city")
        _run(session, 'hfclient chat "What is the capital of France?"')
        _run(session, 'hfclient chat -c "And of Italy?"')
        return session.draw("hfclient chat in pipes")


def conversation() -> str:
    """A conversation: a question, another answer of it as code, and the list of commands."""
    with _session() as session:
        keys = [
            ("Ctrl-D exits", "How do I read a CSV file in Python?\r"),
            ("the system", "And with pandas?\r"),
            ("read_csv", "/save pandas.md\r"),
            ("pandas.md", "\x04"),
        ]
        _run(session, "hfclient chat", keys=keys)
        return session.draw("A conversation in the terminal")


def doctor() -> str:
    """The report of a server that does not answer."""
    with _session() as session:
        hidden = "--skip installation --skip environment --skip hub --skip inference"
        _run(session, "hfclient doctor --url http://127.0.0.1:3001", hidden=hidden, fails=True)
        return session.draw("The report of hfclient doctor")


def models() -> str:
    """The models of the router, with prices."""
    with _session(has_server=False) as session, Server() as router:
        router.on("/v1/models", json_answer({"data": MODELS}))
        _run(session, "hfclient models --inference", hidden=f"--inference-url {router.url}")
        return session.draw("The models of the router")


def batch() -> str:
    """A batch, in the middle of its work."""
    with _session(100, has_server=False) as session, ScriptedModel(pause=0.5) as model:
        shutil.copy(DATA / "reviews.csv", session.folder)
        line = 'hfclient batch reviews.csv -o opinions.csv --workers 8 --template "Good or bad? A review: {text}"'
        hidden = f"--inference-url {model.url} --model {MODEL}"
        _run(session, line, hidden=hidden, until=" 44/60")
        return session.draw("hfclient batch in the middle of its work")


PICTURES: dict[str, Callable[[], str]] = {
    "terminal": terminal,
    "terminal-markdown": markdown,
    "terminal-pipes": pipes,
    "terminal-conversation": conversation,
    "terminal-models": models,
    "terminal-doctor": doctor,
    "terminal-batch": batch,
}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        if not sys.argv[1:] or {name, name.removeprefix("terminal-")} & set(sys.argv[1:]):
            path = FOLDER / f"{name}.svg"
            path.write_text(draw(), "utf-8")
            print(path.name, f"{path.stat().st_size:,} bytes", flush=True)
