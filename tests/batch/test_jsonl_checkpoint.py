"""The file of JSON lines: what a kill or another program leaves of it, and that one process at a time writes it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hfclient.batch import CheckpointError, read_results
from hfclient.batch.checkpoints import Checkpoint, Record, open_checkpoint
from hfclient.errors import InvalidInputError
from tests.batch.test_checkpoints import RUN, answer, failure, keys


def opened(path: Path) -> Checkpoint:
    checkpoint = open_checkpoint(path)
    assert checkpoint is not None
    checkpoint.begin(RUN)
    return checkpoint


def written(path: Path) -> bytes:
    checkpoint = opened(path)
    checkpoint.save([answer(1), answer(2)])
    checkpoint.note("k", {"conversation": "c"})
    checkpoint.save([failure(3), Record("ü", 4, "ü", {"text": "\u2028"})])
    checkpoint.close()
    return path.read_bytes()


def test_the_lines(tmp_path: Path) -> None:
    """The first line describes the run; the others are answers, readable for jq and pandas."""
    lines = [json.loads(line) for line in written(tmp_path / "out.jsonl").decode().strip().split("\n")]
    assert lines[0] == {"hfclient_checkpoint": 1, "run": RUN}
    assert lines[1] == {
        "index": 1, "key": keys(1)[0], "value": {"text": "answer 1", "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
        "attempts": 1, "seconds": 0.0,
    }  # fmt: skip
    pd = pytest.importorskip("pandas")
    table = pd.read_json(tmp_path / "out.jsonl", lines=True)
    assert list(table.dropna(subset="value")["index"]) == [1, 2, 4]


@pytest.mark.timeout(240)  # much work for a slow machine
def test_torn_at_every_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that ends anywhere is opened with all complete lines; what comes next is appended to them."""
    for name in ("_fdatasync", "sync_folder"):  # of a thousand files
        monkeypatch.setattr(f"hfclient.batch.checkpoints.jsonl.{name}", lambda file: None)
    path = tmp_path / "out.jsonl"
    answers = {1: Record("1", 1, value="ü"), 2: Record("2", 2, id="b"), 9: Record("9", 9)}
    checkpoint = opened(path)
    checkpoint.save([answers[1], answers[2]])
    checkpoint.note("k", {})
    checkpoint.save([Record("3", 3, error={})])
    checkpoint.close()
    whole = path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(whole) if byte == ord("\n")]
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        assert len(list(read_results(path))) == sum(size >= end for end in (ends[1], ends[2], ends[4]))
        checkpoint = opened(path)
        # A line whose newline alone is missing is complete.
        expected = [answers[number] if size >= end - 1 else "mine" for number, end in ((1, ends[1]), (2, ends[2]))]
        assert checkpoint.claim(["1", "2"]) == expected
        checkpoint.save([answers[9]])
        checkpoint.close()
        checkpoint = opened(path)
        assert checkpoint.claim(["1", "2", "9"]) == [*expected, answers[9]]
        checkpoint.close()
        assert all(json.loads(line) for line in path.read_text("utf-8").strip().split("\n"))


@pytest.mark.parametrize("garbage", [b"{", b'{"index": 1}', b"\0\0\0\0", b"[]", b'"text"', b"\xff\xfe", b'{"key": 7}'])
def test_garbage_in_the_middle(tmp_path: Path, garbage: bytes) -> None:
    """The error has the number of the line and says what to do; the file stays as it is. Afterwards all other answers are there."""
    path = tmp_path / "out.jsonl"
    lines = written(path).split(b"\n")
    lines[2:2] = [garbage]
    path.write_bytes(b"\n".join(lines))
    for read in (open_checkpoint, lambda path: list(read_results(path))):
        with pytest.raises(CheckpointError, match=r"line 3 of .*out\.jsonl is not a line .*sed -i '3d'"):
            read(path)
        assert path.read_bytes() == b"\n".join(lines)
    subprocess.run(["sed", "-i", "3d", str(path)], check=True)
    checkpoint = opened(path)
    assert checkpoint.claim(keys(1, 2)) == [answer(1), answer(2)]
    checkpoint.close()


def test_truncated_meanwhile(tmp_path: Path) -> None:
    """If another program truncates or changes the file, the next save is an error, and the file is not touched."""
    path = tmp_path / "out.jsonl"
    checkpoint = opened(path)
    checkpoint.save([answer(1), answer(2)])
    size = path.stat().st_size
    os.truncate(path, size - 10)
    with pytest.raises(CheckpointError, match="was changed by another program"):
        checkpoint.save([answer(3)])
    assert path.stat().st_size == size - 10
    checkpoint.close()
    checkpoint = opened(path)
    assert checkpoint.claim(keys(1, 2)) == [answer(1), "mine"]
    checkpoint.close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A second process learns which one has the file. One that was killed is not in the way, even if a child of it lives on."""
    path = tmp_path / "out.jsonl"
    code = f"""
import os, sys, time
from tests.batch.test_jsonl_checkpoint import *
checkpoint = opened(Path({str(path)!r}))
if not os.fork():
    print(os.getpid(), flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            with pytest.raises(CheckpointError, match=rf"in use by process {process.pid} on .*\.sqlite"):
                open_checkpoint(path)
            assert list(read_results(path)) == []
            process.kill()
            process.wait()
            opened(path).close()
        finally:
            os.kill(child, signal.SIGKILL)
            process.kill()
    checkpoint = opened(path)
    with pytest.raises(CheckpointError, match="in use by another batch of this process"):
        open_checkpoint(path)
    checkpoint.close()
    opened(path).close()
    assert [file.name for file in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_newer_version(tmp_path: Path) -> None:
    """A file of a later version of hfclient is refused."""
    path = tmp_path / "out.jsonl"
    path.write_text('{"hfclient_checkpoint": 2}\n'.replace(" ", ""))
    with pytest.raises(InvalidInputError, match="newer version"):
        open_checkpoint(path)
