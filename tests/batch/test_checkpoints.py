"""What every kind of checkpoint does. Each test runs with each kind."""

from __future__ import annotations

import importlib.util
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hfclient.batch import CheckpointError
from hfclient.batch.checkpoints import Checkpoint, Record, open_checkpoint, open_records
from hfclient.errors import InvalidInputError

HAS_PYARROW = importlib.util.find_spec("pyarrow") is not None
ENDINGS = [".jsonl", ".sqlite", pytest.param(".parquet", marks=pytest.mark.skipif(not HAS_PYARROW, reason="needs pyarrow"))]
RUN = {"call": "chat", "server": "https://example.org/v1", "model": "m", "temperature": 0}

Open = Callable[..., Checkpoint]


@pytest.fixture(params=ENDINGS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The path of a checkpoint that does not exist yet."""
    return tmp_path / f"out{request.param}"


@pytest.fixture
def opened(path: Path, request: pytest.FixtureRequest) -> Open:
    """Opens the checkpoint, and closes it after the test."""

    def open_one(run: dict[str, Any] | None = None, on_change: Any = "raise") -> Checkpoint:
        checkpoint = open_checkpoint(path)
        assert checkpoint is not None
        request.addfinalizer(checkpoint.close)
        try:
            checkpoint.begin(RUN if run is None else run, on_change)
        except InvalidInputError:
            checkpoint.close()
            raise
        return checkpoint

    return open_one


def answer(number: int, **fields: Any) -> Record:
    value = {"text": f"answer {number}", "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
    return Record(f"{number:032x}", number, value=value, **fields)


def failure(number: int) -> Record:
    return Record(f"{number:032x}", number, error={"error": "ServerError", "message": "no", "status_code": 500}, attempts=3)


def keys(*numbers: int) -> list[str]:
    return [f"{number:032x}" for number in numbers]


def test_what_was_saved_is_there(opened: Open) -> None:
    """Answers are there for the same object and for the next one, with all their fields."""
    record = Record("k:ü", 7, "ü", {"text": "é\u2028\n", "n": [1.5, None, True]}, None, 2, 0.25, {"model": "m"})
    checkpoint = opened()
    assert checkpoint.claim([*keys(1), "k:ü"]) == ["mine", "mine"]
    checkpoint.save([answer(1)])
    checkpoint.save([record, answer(2)])
    assert checkpoint.claim([*keys(1, 2, 3), "k:ü"]) == [answer(1), answer(2), "mine", record]
    checkpoint.close()
    checkpoint.close()
    assert opened().claim([*keys(2, 1, 3), "k:ü"]) == [answer(2), answer(1), "mine", record]


def test_text_that_utf_8_does_not_have(opened: Open) -> None:
    """Half surrogates and large integers, which some encoders refuse, are stored as they are."""
    value = {"text": "a\ud800b", "number": 2**70}
    checkpoint = opened()
    checkpoint.save([Record("k", 0, value=value)])
    checkpoint.close()
    assert opened().claim(["k"]) == [Record("k", 0, value=value)]


def test_errors_are_asked_again(opened: Open) -> None:
    """A record with an error does not answer its item, until there is one without."""
    checkpoint = opened()
    checkpoint.claim(keys(1, 2))
    checkpoint.save([failure(1), failure(2)])
    assert checkpoint.claim(keys(1, 2)) == ["mine", "mine"]
    checkpoint.close()
    checkpoint = opened()
    assert checkpoint.claim(keys(1)) == ["mine"]
    checkpoint.save([answer(1)])
    assert checkpoint.claim(keys(1)) == [answer(1)]
    assert sorted(checkpoint.records(), key=lambda record: record.index) == [answer(1), failure(2)]


def test_notes(opened: Open) -> None:
    """Notes are there for the next process, until the item has an answer or the note is removed."""
    checkpoint = opened()
    for number in (1, 2, 3):
        checkpoint.note(*keys(number), {"conversation": f"c{number}"})
    checkpoint.note(*keys(1), {"conversation": "new"})
    checkpoint.note(*keys(3), None)
    checkpoint.save([answer(2), failure(1)])
    for current in (checkpoint, None):
        if current is None:
            checkpoint.close()
            current = opened()
        assert current.notes(keys(1, 2, 3, 4)) == {keys(1)[0]: {"conversation": "new"}}


def test_records_while_it_is_written(path: Path, opened: Open) -> None:
    """The records can be read while a batch writes, and are complete answers."""
    checkpoint = opened()
    assert list(open_records(path).records()) == []
    for number in range(20):
        checkpoint.save([answer(number)])
        reader = open_records(path)
        assert [record.index for record in reader.records()] == list(range(number + 1))
        reader.close()


def test_changed_options(path: Path, opened: Open) -> None:
    """Other options are refused with what has changed and the number of answers; "redo" continues, and knows both from then on."""
    checkpoint = opened()
    checkpoint.save([answer(1), answer(2), failure(3)])
    checkpoint.close()
    changed = {**RUN, "temperature": 0.7, "max_tokens": 20}
    with pytest.raises(InvalidInputError) as caught:
        opened(changed)
    message = str(caught.value)
    assert "temperature was 0 and is now 0.7" in message
    assert "max_tokens was not given and is now 20" in message
    assert "2 stored answers would be asked again" in message
    assert str(path) in message
    assert 'on_change="redo"' in message
    opened(changed, "redo").close()
    opened(changed).close()
    assert opened(RUN).claim(keys(1)) == [answer(1)]


def test_the_file_is_for_its_owner(path: Path, opened: Open) -> None:
    """All files are created with mode 600."""
    opened().save([answer(1)])
    files = [file for file in path.parent.rglob("*") if file.is_file()]
    assert files
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_another_kind_of_file(path: Path) -> None:
    """A file with other content is refused and stays as it is."""
    path.write_bytes(b"index,answer\n1,Paris\n")
    with pytest.raises(InvalidInputError, match="is not a checkpoint of hfclient"):
        open_checkpoint(path)
    assert path.read_bytes() == b"index,answer\n1,Paris\n"
    with pytest.raises(InvalidInputError, match="is not a checkpoint of hfclient"):
        open_records(path)


def test_a_folder_that_does_not_exist(path: Path) -> None:
    """The message says that the folder does not exist."""
    with pytest.raises(CheckpointError, match=r"folder .* does not exist"):
        open_checkpoint(path.parent / "missing" / path.name)


def test_nothing_to_read(path: Path) -> None:
    """Reading a checkpoint that does not exist is an error, and does not create it."""
    with pytest.raises(InvalidInputError, match="does not exist"):
        open_records(path)
    assert not path.exists()


def test_an_unknown_ending(tmp_path: Path) -> None:
    """The message has the known endings."""
    with pytest.raises(InvalidInputError, match=r"\.jsonl.*\.sqlite.*\.parquet.*redis://"):
        open_checkpoint(tmp_path / "out.xlsx")


def test_deleted_meanwhile(path: Path, opened: Open) -> None:
    """A checkpoint that was deleted during the batch is an error at the next save."""
    checkpoint = opened()
    checkpoint.save([answer(1)])
    path.rename(path.with_name("elsewhere")) if path.is_dir() else path.unlink()
    with pytest.raises(CheckpointError, match="was deleted"):
        checkpoint.save([answer(2)])


def test_the_disk_is_full(path: Path, tmp_path: Path) -> None:
    """A save that does not fit is an error and stores nothing of it; the answers before it are complete."""
    code = f"""
import resource, signal, sys
from hfclient.batch import CheckpointError
from tests.batch.test_checkpoints import RUN, answer, open_checkpoint
checkpoint = open_checkpoint({str(path)!r})
checkpoint.begin(RUN)
checkpoint.save([answer(1)])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
saved = 1
try:
    for number in range(2, 2000):
        checkpoint.save([answer(number), answer(number + 10_000)])
        saved = number
except CheckpointError as error:
    assert error.__cause__ is not None
    assert {str(path)!r} in str(error), error
else:
    raise SystemExit("it fits")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
checkpoint.save([answer(saved + 1)])
print(saved)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    saved = int(done.stdout)
    assert saved > 10
    records = sorted(record.index for record in open_records(path).records())
    assert records == [*range(1, saved + 2), *range(10_002, saved + 10_001)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write every file")
def test_a_file_that_cannot_be_written(path: Path, opened: Open) -> None:
    """The message says why."""
    opened().close()
    path.chmod(0o400)
    with pytest.raises(CheckpointError, match="ermission"):
        open_checkpoint(path)
