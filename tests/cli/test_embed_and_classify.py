"""``hfclient embed`` and ``hfclient classify``: texts from arguments, files and pipes; tables, JSON and numpy."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.conftest import start
from tests.cli.screens import on_screen
from tests.inference.test_tasks import PNG
from tests.server import LONG, Recorded, Server, json_answer

EVIL = "\x1b]0;owned\x07\x1b[2Jbad\n"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def vectors(request: Recorded) -> bytes:
    """A vector of each text: its length, its number of blanks, and one."""
    texts = request.json()["input"]
    return json_answer({"data": [{"index": i, "embedding": [len(text), text.count(" "), 1]} for i, text in enumerate(texts)]})


@pytest.fixture
def embedder(server: Server) -> Server:
    server.on("/v1/embeddings", [vectors])
    server.on("/predict", json_answer([{"label": "POSITIVE", "score": 0.75}, {"label": EVIL, "score": 0.25}]))
    return server


def embed(server: Server, *arguments: str) -> tuple[str, ...]:
    return ("embed", *arguments, "--inference-url", server.url, "-m", "bge")


def classify(server: Server, *arguments: str) -> tuple[str, ...]:
    return ("classify", *arguments, "--inference-url", server.url, "--provider", "tei")


# embed


def test_embed_in_a_pipe(embedder: Server, command: Any) -> None:
    """One object for each text."""
    code, out, err = command(*embed(embedder, "a cat", "dogs"))
    assert (code, err) == (0, "")
    assert [json.loads(line) for line in out.split("\n")[:-1]] == [
        {"text": "a cat", "embedding": [5.0, 1.0, 1.0]},
        {"text": "dogs", "embedding": [4.0, 0.0, 1.0]},
    ]


def test_embed_lines(embedder: Server, command: Any, tmp_path: Path) -> None:
    """Lines of a file or of standard input, empty ones left out, with any line ends."""
    (tmp_path / "texts.txt").write_bytes(b"\xef\xbb\xbfone\r\n\r\ntwo\n")
    _, out, _ = command(*embed(embedder, "--file", "texts.txt"))
    assert [json.loads(line)["text"] for line in out.split("\n")[:-1]] == ["one", "two"]
    for arguments in ([], ["-"], ["--file", "-"]):
        process = start(*embed(embedder, *arguments), stdin=subprocess.PIPE)
        out, err = process.communicate(b"one\n\ntwo", timeout=LONG)
        assert [json.loads(line)["text"] for line in out.split(b"\n")[:-1]] == ["one", "two"], err


def test_embed_on_a_terminal(embedder: Server) -> None:
    """A table with the first numbers, which fits; a text cannot send escape sequences."""
    shown = on_screen(*embed(embedder, "a cat " * 30, EVIL), columns=60, NO_COLOR="1")
    assert shown.code == 0
    assert b"\x1b" not in shown.raw
    assert len(shown.lines) == 3
    assert "180.0000" in shown.text


def test_embed_to_files(embedder: Server, command: Any, tmp_path: Path) -> None:
    """The format of numpy and JSON lines; other suffixes and existing files are refused before anything is sent."""
    assert command(*embed(embedder, "a", "bc", "-o", "x.npy"))[:2] == (0, "x.npy\n")
    array = np.load(tmp_path / "x.npy")
    assert (array.shape, array.dtype, array[1, 0]) == ((2, 3), np.float32, 2)
    assert command(*embed(embedder, "a", "-o", "x.jsonl"))[0] == 0
    assert json.loads((tmp_path / "x.jsonl").read_text())["text"] == "a"
    embedder.requests.clear()
    assert command(*embed(embedder, "a", "-o", "x.npy"))[0] == 2
    assert command(*embed(embedder, "a", "-o", "x.csv"))[0] == 2
    assert not embedder.requests


def test_similarity(embedder: Server, command: Any) -> None:
    """The texts after the first one, by their similarity to it."""
    _, out, _ = command(*embed(embedder, "--similarity", "abcd", "a b c d e f", "wxyz"))
    assert [line.split()[0] for line in out.split("\n")[1:-1]] == ["1.0000", "0.9002"]
    _, out, _ = command(*embed(embedder, "--similarity", "abcd", "wxyz", "--json"))
    assert json.loads(out) == {"text": "wxyz", "similarity": pytest.approx(1)}
    assert command(*embed(embedder, "--similarity", "abcd"))[0] == 2


def test_embed_keeps_what_came(embedder: Server, command: Any) -> None:
    """If a later request fails, the vectors of the earlier ones are printed."""
    embedder.on("/v1/embeddings", [vectors], json_answer({"error": "no"}, 400))
    code, out, err = command(*embed(embedder, *map(str, range(40))))
    assert (code, out.count("\n")) == (1, 32)
    assert err.split("\n")[0] == "hfclient: 32 of 40 texts were embedded before the error"


def test_embed_usage(embedder: Server, command: Any, tmp_path: Path) -> None:
    """Nothing to embed, two sources, a missing file."""
    (tmp_path / "empty.txt").write_text("\n\n")
    for arguments in (["--file", "empty.txt"], ["a", "--file", "empty.txt"], ["--file", "none.txt"]):
        code, out, err = command(*embed(embedder, *arguments))
        assert (code, out, err.count("\n")) == (2, "", 1)


# classify


def test_classify_in_a_pipe(embedder: Server, command: Any) -> None:
    """A line for each label, or an object; a label cannot begin another line."""
    code, out, _ = command(*classify(embedder, "I", "like", "it."))
    assert code == 0
    assert [line.split() for line in out.split("\n")[:-1]] == [["LABEL", "SCORE"], ["POSITIVE", "0.7500"], ["]0;owned[2Jbad", "0.2500"]]
    assert embedder.last.json()["inputs"] == "I like it."
    _, out, _ = command(*classify(embedder, "I like it.", "--json", "-n", "1"))
    assert [json.loads(line) for line in out.split("\n")[:-1]] == [{"label": "POSITIVE", "score": 0.75}]


@pytest.mark.parametrize(("encoding", "mark"), [("utf-8", "█"), ("ascii", "#")])
def test_bars(embedder: Server, encoding: str, mark: str) -> None:
    """On a terminal each score has a bar, which fits and which the locale has."""
    shown = on_screen(*classify(embedder, "I like it."), columns=50, PYTHONIOENCODING=f"{encoding}:replace")
    bars = [line.count(mark) for line in shown.lines]
    assert bars[0] == 0 < bars[2] < bars[1]
    assert "owned" in shown.lines[2]


def test_labels_of_your_own(server: Server, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """--label may be repeated, for texts and images; files that are neither are refused."""
    seen: list[Any] = []

    def answer(request: Recorded) -> bytes:
        seen.append(request.json())
        return json_answer([{"label": "cat", "score": 0.9}, {"label": "dog", "score": 0.1}])

    server.on("*", [answer])
    Path("cat.png").write_bytes(PNG)
    Path("notes.txt").write_text("hello")
    url = ("--inference-url", server.url)
    code, out, err = command("classify", "--image", "cat.png", "--label", "cat", "--label", "dog", "--top", "1", *url)
    assert (code, out.split()) == (0, ["LABEL", "SCORE", "cat", "0.9000"]), err
    assert seen[0]["parameters"]["candidate_labels"] == ["cat", "dog"]
    for arguments in (["--image", "notes.txt"], ["a text", "--image", "cat.png"], ["--image", "https://x/cat.png"], ["x", "--multi-label"]):
        code, out, err = command("classify", *arguments, *url)
        assert (code, out, err.count("\n")) == (2, "", 1), arguments
    assert len(seen) == 1
