"""``hfclient batch``: files in and out, interruptions, exit codes."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from hfclient.batch import read_results
from tests.batch.test_map import echo
from tests.batch.test_openai_files import chat_line, completion, write
from tests.cli.conftest import start
from tests.server import LONG, UNTIL_GONE, Recorded, Server, json_answer

CHAT = "/v1/chat/completions"
posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def model(server: Server) -> Server:
    server.on(CHAT, [answer])
    server.on("/v1/models", [json_answer({"data": [{"id": "m"}]})])
    return server


def answer(request: Recorded) -> bytes:
    """In capitals, with tokens; "bad" is refused."""
    body = request.json()
    if "bad" in body["messages"][-1]["content"]:
        return json_answer({"error": {"message": "not this one"}}, 400)
    message = {"role": "assistant", "content": body["messages"][-1]["content"].upper()}
    usage = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
    return json_answer({"id": "c", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage})


def batch(server: Server, *arguments: str) -> tuple[str, ...]:
    return ("batch", *arguments, "--inference-url", f"{server.url}/v1", "-m", "m")


def asked(server: Server) -> list[Any]:
    return [request.json() for request in server.requests if request.path == CHAT]


def without_rate(line: str) -> str:
    """The summary of a batch without its answers per second, which a slow one has."""
    return re.sub(r", [\d.e+-]+ a second", "", line)


def answers(path: str) -> list[Any]:
    return [json.loads(line)["answer"] for line in Path(path).read_text().splitlines()]


def test_a_text(model: Server, command: Any) -> None:
    """Each line is a prompt; the summary is one line on standard error."""
    Path("in.txt").write_text("one\ntwo\n")
    code, out, err = command(*batch(model, "in.txt", "-o", "out.jsonl"))
    assert (code, out) == (0, "")
    assert without_rate(err) == "hfclient: 2 of 2 answered, 10 tokens; the answers are in out.jsonl\n"
    assert answers("out.jsonl") == ["ONE", "TWO"]
    assert sorted(path.name for path in Path().iterdir() if path.is_file()) == ["in.txt", "out.jsonl", "out.jsonl.checkpoint.jsonl"]


def test_a_table(model: Server, command: Any) -> None:
    """Columns, a template, options and the output of a table."""
    Path("in.csv").write_text("key,question,t\na,one,0.5\nb,two,1\n")
    options = ("--template", "say {question}", "--column", "id=key", "--column", "user=t", "--system", "Be terse.", "--option", "top_p=0.5")
    code, _, err = command(*batch(model, "in.csv", "-o", "out.csv", *options, "--max-tokens", "9", "--workers", "2"))
    assert code == 0, err
    with Path("out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["key"], row["t"], row["answer"], row["prompt_tokens"]) for row in rows] == [("a", "0.5", "SAY ONE", "2"), ("b", "1", "SAY TWO", "2")]
    body = min(asked(model), key=lambda body: body["messages"][-1]["content"])
    assert body["messages"] == [{"role": "system", "content": "Be terse."}, {"role": "user", "content": "say one"}]
    assert (body["top_p"], body["max_tokens"], body["user"]) == (0.5, 9, "0.5")


@pytest.mark.parametrize("output", ["out.csv", "-"])
@pytest.mark.parametrize("name", ["in.csv", "in.jsonl"])
def test_a_column_of_the_output(model: Server, command: Any, name: str, output: str) -> None:
    """An input with a column "answer" is refused before the first item is asked; the same command with --prefix works."""
    lines = ["question,answer", "one,1"] if name == "in.csv" else ['{"question": "one", "answer": 1}']
    Path(name).write_text("\n".join(lines))
    arguments = batch(model, name, "-o", output, "--column", "question")
    code, _, err = command(*arguments)
    assert code == 2, err
    assert "column 'answer'" in err
    assert "--prefix" in err
    assert asked(model) == []
    assert [path.name for path in Path().iterdir() if path.is_file()] == [name]
    assert command(*arguments, "--prefix", "model_")[0] == 0


def test_limits_and_the_cache(model: Server, command: Any) -> None:
    """Limits of requests and tokens are passed on; a second batch takes its answers from the cache."""
    Path("in.txt").write_text("one\ntwo\n")
    limits = ("--rate", "100/second", "--tokens", "100000/minute", "--cache", "--temperature", "0")
    for name in ("out.jsonl", "other.jsonl"):
        code, _, err = command(*batch(model, "in.txt", "-o", name, *limits))
        assert (code, answers(name)) == (0, ["ONE", "TWO"]), err
    assert len(asked(model)) == 2
    code, _, err = command(*batch(model, "in.txt", "-o", "third.jsonl", "--rate", "fast"))
    assert code == 2
    assert "fast" in err


def test_a_refused_key(model: Server, command: Any) -> None:
    """A key that the server refuses ends the batch with one error, the remedy and exit code 1."""
    model.on(CHAT, [json_answer({"error": {"message": "wrong key"}}, 401)])
    Path("in.txt").write_text("".join(f"prompt {n}\n" for n in range(500)))
    code, out, err = command(*batch(model, "in.txt", "-o", "out.jsonl"))
    assert (code, out) == (1, "")
    assert "wrong key" in err
    assert "hfclient doctor" in err
    assert len(asked(model)) < 200
    assert not Path("out.jsonl").exists()


def test_failed_items(model: Server, command: Any) -> None:
    """The exit code is 1 if an item failed; its row says why, and --resume asks it alone again."""
    Path("in.jsonl").write_text('"one"\n{"prompt": "bad", "id": "x"}\n"three"\n')
    code, _, err = command(*batch(model, "in.jsonl", "-o", "out.jsonl"))
    assert code == 1
    first, second = err.splitlines()
    assert "2 of 3 answered, 1 failed" in first
    assert second.startswith("hfclient: the first that failed is item 1 (x): BadRequestError: not this one")
    assert second.endswith("the errors are in out.jsonl; --resume asks them again")
    assert answers("out.jsonl") == ["ONE", None, "THREE"]
    before = len(asked(model))
    model.on(CHAT, [echo])
    code, _, err = command(*batch(model, "in.jsonl", "-o", "out.jsonl", "--resume"))
    assert (code, len(asked(model)) - before) == (0, 1)
    assert "3 of 3 answered, 2 of them before" in err
    assert answers("out.jsonl") == ["ONE", "BAD", "THREE"]


def test_retry_failed(model: Server, command: Any) -> None:
    """With --retry-failed items that failed are asked once more before the output is complete."""
    Path("in.txt").write_text("one\nbad luck\n")
    model.on(CHAT, [answer], [answer], [echo])
    code, _, err = command(*batch(model, "in.txt", "-o", "out.jsonl", "--retry-failed", "--workers", "1"))
    assert (code, answers("out.jsonl"), len(asked(model))) == (0, ["ONE", "BAD LUCK"], 3), err
    assert without_rate(err) == "hfclient: 2 of 2 answered, 5 tokens; the answers are in out.jsonl\n"  # echo has no usage


def test_an_existing_output(model: Server, command: Any) -> None:
    """An output or a checkpoint is not replaced unasked; --overwrite begins again and keeps the old checkpoint."""
    Path("in.txt").write_text("one\n")
    assert command(*batch(model, "in.txt", "-o", "out.jsonl"))[0] == 0
    code, out, err = command(*batch(model, "in.txt", "-o", "out.jsonl"))
    assert (code, out) == (2, "")
    assert "out.jsonl exists already: --resume continues it, --overwrite begins again" in err
    Path("out.jsonl").unlink()
    assert "checkpoint.jsonl exists already" in command(*batch(model, "in.txt", "-o", "out.jsonl"))[2]
    assert command(*batch(model, "in.txt", "-o", "out.jsonl", "--overwrite"))[0] == 0
    assert len(asked(model)) == 2
    assert Path("out.jsonl.checkpoint.jsonl.old").exists()
    assert command(*batch(model, "in.txt", "-o", "out.jsonl", "--resume", "--overwrite"))[0] == 2


def test_standard_input_and_output(model: Server, tmp_path: Path) -> None:
    """Standard input is text or JSON lines; the answers are lines on standard output."""
    for given, expected in ((b"one\ntwo", ["ONE", "TWO"]), (b'{"prompt": "three"}\n', ["THREE"])):
        with start(*batch(model, "-", "--json"), stdin=subprocess.PIPE) as process:
            out, err = process.communicate(given, timeout=LONG)
        assert process.returncode == 0, err
        assert [json.loads(line)["answer"] for line in out.splitlines()] == expected
        counts = json.loads(err)
        assert (counts["answered"], counts["failed"], counts["completion_tokens"]) == (len(expected), 0, 3 * len(expected))


def test_openai_files(model: Server, command: Any, tmp_path: Path) -> None:
    """A batch file runs with -m instead of its model; errors have a file of their own, which the summary names."""
    model.on(CHAT, [completion])
    write(tmp_path / "in.jsonl", [chat_line("one", "a"), chat_line("two", "bad")])
    code, out, err = command(*batch(model, "in.jsonl", "-o", "out.jsonl", "--json"))
    assert (code, err) == (1, "")
    assert json.loads(out)["first_error"].startswith("item 1 (two): BadRequestError")
    (line,) = Path("out.jsonl").read_text().splitlines()
    assert json.loads(line)["response"]["body"]["choices"][0]["message"]["content"] == "A"
    assert json.loads(Path("out.errors.jsonl").read_text())["custom_id"] == "two"
    assert {body["model"] for body in asked(model)} == {"m"}
    code, _, err = command(*batch(model, "in.jsonl", "-o", "out.jsonl", "--resume"))
    assert "the errors are in out.errors.jsonl" in err


def test_dry_run(model: Server, command: Any) -> None:
    """The plan has the number of items, their size and the first request; nothing is asked."""
    Path("in.txt").write_text("one two three four\n" * 100)
    code, out, _ = command(*batch(model, "in.txt", "-o", "out.jsonl", "--dry-run", "--limit", "50", "--temperature", "0"))
    assert code == 0
    assert out.startswith("50 items, about 225 tokens of input")
    assert '"content": "one two three four"' in out
    assert '"temperature": 0' in out
    code, out, _ = command(*batch(model, "in.txt", "--dry-run", "--json"))
    assert json.loads(out)["items"] == 100
    assert not asked(model)
    assert [path.name for path in Path().iterdir() if path.is_file()] == ["in.txt"]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ('"a"\n{"prompt": \n', (), "in.jsonl, line 2: this is not JSON"),
        ('"a"\n', ("--column", "text", "--template", "{text}"), "pass column= or template=, not both"),
        ('"a"\n', ("--column", "a", "--column", "b"), "two columns for the input"),
        ('"a"\n', ("-o", "out.xlsx"), "results are written to files that end in"),
        ('"a"\n', ("--resume",), "need -o FILE or --checkpoint"),
        ('"a"\n', ("--option", "temprature=1"), "did you mean temperature"),
        ('"a"\n', ("--option", "temperature"), "write NAME=VALUE"),
        ('"a"\n', ("--format", "parquet"), "cannot be read as Parquet"),
    ],
)
def test_usage_errors(model: Server, command: Any, content: str, options: tuple[str, ...], message: str) -> None:
    """What is wrong with the file or the options is an error of one line and exit code 2, before anything is asked."""
    if "parquet" in options:
        pytest.importorskip("pyarrow")
    Path("in.jsonl").write_text(content)
    code, out, err = command(*batch(model, "in.jsonl", *options))
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not asked(model)


def test_other_options_than_before(model: Server, command: Any) -> None:
    """--resume with other options is refused, and says what has changed; --overwrite asks again, and the old answers are kept."""
    Path("in.txt").write_text("one\n")
    assert command(*batch(model, "in.txt", "-o", "out.jsonl"))[0] == 0
    code, _, err = command(*batch(model, "in.txt", "-o", "out.jsonl", "--resume", "--temperature", "1"))
    assert code == 2
    assert "temperature was not given and is now 1" in err
    assert "(--overwrite)" in err
    for options in ((), ("--checkpoint", "c.sqlite")):
        before = len(asked(model))
        assert command(*batch(model, "in.txt", "-o", "out.jsonl", *options, "--overwrite"))[0] == 0
        code, _, err = command(*batch(model, "in.txt", "-o", "out.jsonl", *options, "--overwrite", "--temperature", "1"))
        assert (code, len(asked(model)) - before) == (0, 2), err
    assert len(list(read_results("c.sqlite"))) == 2



def in_part(model: Server, count: int) -> None:
    """Answer the next *count* requests; the others wait until their client has gone."""
    left = iter([None] * count)
    model.on(CHAT, [lambda request: answer(request) if next(left, 0) is None else UNTIL_GONE])


@posix
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted(model: Server, command: Any, number: int, code: int) -> None:
    """Ctrl-C and SIGTERM keep all answers and say how to continue; no answer is asked for twice."""
    in_part(model, 20)
    Path("in.txt").write_text("".join(f"prompt {n}\n" for n in range(150)))
    with start(*batch(model, "in.txt", "-o", "out.jsonl", "--workers", "2")) as process:
        _wait_for_answers(5)
        process.send_signal(number)
        out, err = process.communicate(timeout=LONG)
    assert (process.returncode, out) == (code, b"")
    assert b"with --resume continues" in err
    assert not Path("out.jsonl").exists()
    model.on(CHAT, [answer])
    exit_code, _, err = command(*batch(model, "in.txt", "-o", "out.jsonl", "--resume"))
    assert exit_code == 0, err
    assert answers("out.jsonl") == [f"PROMPT {n}" for n in range(150)]
    assert len(asked(model)) <= 150 + 2


@posix
def test_killed(model: Server, command: Any) -> None:
    """A process that was killed continues with --resume; the output is that of a run without interruption."""
    Path("in.jsonl").write_text("".join(json.dumps({"prompt": f"prompt {n}", "id": n}) + "\n" for n in range(120)))
    for _ in range(2):
        before = _stored()
        in_part(model, 20)
        with start(*batch(model, "in.jsonl", "-o", "out.jsonl", "--workers", "2", "--resume")) as process:
            _wait_for_answers(before + 5)
            process.kill()
            process.communicate(timeout=LONG)
    model.on(CHAT, [answer])
    assert command(*batch(model, "in.jsonl", "-o", "out.jsonl", "--resume"))[0] == 0
    assert command(*batch(model, "in.jsonl", "-o", "whole.jsonl"))[0] == 0
    assert Path("out.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()
    assert len(asked(model)) <= 2 * 120 + 4
    assert not list(Path().glob("*.part"))


def _stored() -> int:
    try:
        return Path("out.jsonl.checkpoint.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def _wait_for_answers(count: int) -> None:
    end = time.monotonic() + LONG
    while _stored() < count:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_bar_on_a_terminal(model: Server, terminal: Any) -> None:
    """On a terminal the summary follows the bar, which is removed."""
    if os.name != "posix":
        pytest.skip("POSIX terminals")
    Path("in.txt").write_text("one\ntwo\n")
    code, shown = terminal(*batch(model, "in.txt", "-o", "out.jsonl")).finish()
    assert code == 0
    assert "2 of 2 answered" in shown


def test_usage_is_counted(model: Server, command: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """``hfclient usage`` knows the answers and tokens of a batch."""
    monkeypatch.setenv("HFCLIENT_USAGE", "1")
    Path("in.txt").write_text("one\ntwo\n")
    assert command(*batch(model, "in.txt", "-o", "out.jsonl"))[0] == 0
    shown = [json.loads(line) for line in command("usage", "--json")[1].splitlines()]
    assert '"batch"' in json.dumps(shown)
