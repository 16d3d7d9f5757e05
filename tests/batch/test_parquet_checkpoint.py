"""The folder of Parquet files: parts, the journal between them, and what readers see."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from hfclient.batch import CheckpointError, read_results
from hfclient.batch.checkpoints import Checkpoint, Record, open_checkpoint
from tests.batch.test_checkpoints import RUN, answer, failure, keys

pytest.importorskip("pyarrow")


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hfclient.batch.checkpoints.parquet._ROWS", 10)


def opened(path: Path) -> Checkpoint:
    checkpoint = open_checkpoint(path)
    assert checkpoint is not None
    checkpoint.begin(RUN)
    return checkpoint


def names(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir())


def test_parts(tmp_path: Path) -> None:
    """A part has ten answers here; the rest is in the journal, and in a last part when the checkpoint is closed."""
    path = tmp_path / "out.parquet"
    checkpoint = opened(path)
    for number in range(25):
        checkpoint.save([answer(number, id=f"id{number}")])
        assert checkpoint.claim(keys(number)) == [answer(number, id=f"id{number}")]
    checkpoint.save([failure(99)])
    assert names(path) == ["_journal.jsonl", "_journal.jsonl.lock", "part-00000.parquet", "part-00001.parquet"]
    assert sorted(result.index for result in read_results(path)) == [*range(25), 99]
    checkpoint.close()
    assert names(path) == ["_journal.jsonl", "part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    checkpoint = opened(path)
    assert checkpoint.claim(keys(24, 0, 99, 13)) == [answer(24, id="id24"), answer(0, id="id0"), "mine", answer(13, id="id13")]
    checkpoint.save([answer(99)])
    checkpoint.close()
    assert sorted(result.index for result in read_results(path) if result.ok) == [*range(25), 99]


def test_readers_of_columns(tmp_path: Path) -> None:
    """Pandas and polars read the folder as one table with typed columns."""
    path = tmp_path / "out.parquet"
    checkpoint = opened(path)
    reply = {"text": "Paris", "model": "m", "finish_reason": "stop", "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    checkpoint.save([Record("a", 0, value=reply), Record("b", 1, value=[0.5, 1.5], reply={"model": "e"}), Record("c", 2, value="text")])
    checkpoint.close()
    pd = pytest.importorskip("pandas")
    table = pd.read_parquet(path).set_index("index")
    assert list(table.loc[0, ["text", "model", "finish_reason", "prompt_tokens"]]) == ["Paris", "m", "stop", 3]
    assert list(table.loc[1, "vector"]) == [0.5, 1.5]
    assert table.loc[2, "text"] == "text"
    polars: Any = pytest.importorskip("polars")
    assert polars.scan_parquet(path / "*.parquet").select("index").collect().to_series().to_list() == [0, 1, 2]
    checkpoint = opened(path)
    assert [record.value for record in checkpoint.records()] == [reply, [0.5, 1.5], "text"]
    checkpoint.close()


def test_killed_between_a_part_and_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill before, during or after the renaming of a part leaves each answer once."""
    path = tmp_path / "out.parquet"
    monkeypatch.setattr("hfclient.batch.checkpoints.parquet._ROWS", 1000)
    checkpoint = opened(path)
    checkpoint.save([*map(answer, range(10)), failure(50)])
    checkpoint.note("n", {"conversation": "c"})
    journal = (path / "_journal.jsonl").read_bytes()
    checkpoint.close()
    for kept in ([], ["part-00000.parquet"]):
        copy = tmp_path / f"killed{len(kept)}.parquet"
        shutil.copytree(path, copy)
        (copy / "_journal.jsonl").write_bytes(journal)
        (copy / "_part-00001.parquet").write_bytes(b"PAR1 half")
        if not kept:
            (copy / "part-00000.parquet").unlink()
        checkpoint = opened(copy)
        assert checkpoint.claim(keys(*range(10), 50)) == [*map(answer, range(10)), "mine"]
        assert checkpoint.notes(["n"]) == {"n": {"conversation": "c"}}
        checkpoint.save([answer(10)])
        checkpoint.close()
        assert sorted(result.index for result in read_results(copy)) == [*range(11), 50]
        pd = pytest.importorskip("pandas")
        assert sorted(pd.read_parquet(copy)["index"]) == list(range(11))


def test_notes_while_parts_are_written(tmp_path: Path) -> None:
    """Notes of other threads are there afterwards, but not those of items that are answered."""
    path = tmp_path / "out.parquet"
    checkpoint = opened(path)
    threads = [
        threading.Thread(target=lambda start=start: [checkpoint.note(key, {"n": key}) for key in keys(*range(start, start + 100))])  # type: ignore[misc]
        for start in (1000, 2000, 3000)
    ]
    for thread in threads:
        thread.start()
    number = 0
    while number < 200 or any(thread.is_alive() for thread in threads):
        checkpoint.note(*keys(number), {"n": number})
        checkpoint.save([answer(number)])
        number += 1
    for thread in threads:
        thread.join()
    checkpoint.close()
    assert (path / "_journal.jsonl").read_text().count("note") == 300
    checkpoint = opened(path)
    noted = keys(*(start + n for start in (1000, 2000, 3000) for n in range(100)))
    assert checkpoint.notes([*noted, *keys(*range(number))]) == {key: {"n": key} for key in noted}
    checkpoint.close()


def test_a_damaged_part(tmp_path: Path) -> None:
    """The error names the part."""
    path = tmp_path / "out.parquet"
    checkpoint = opened(path)
    checkpoint.save([answer(1)])
    checkpoint.close()
    (path / "part-00000.parquet").write_bytes(b"PAR1 half")
    with pytest.raises(CheckpointError, match=r"part-00000\.parquet cannot be read"):
        open_checkpoint(path)


def test_absurd_counts(tmp_path: Path) -> None:
    """A server that counts 10**30 tokens loses no answer: the count is not in the column of integers."""
    path = tmp_path / "out.parquet"
    checkpoint = opened(path)
    record = Record("a", 0, value={"text": "Paris", "usage": {"prompt_tokens": 10**30, "completion_tokens": 1}})
    checkpoint.save([record])
    checkpoint.close()
    (result,) = read_results(path)
    assert result.ok


def test_values_of_any_kind(tmp_path: Path) -> None:
    """What a part stores is what it returns: objects, texts, numbers, vectors, nothing, and text that UTF-8 does not have."""
    values: list[Any] = [
        {"text": "a\ud800b", "usage": None}, {"other": [1, None]}, {}, "text", "b\ud800", 2**70, 1.5, True, None, [], [0.5, -1.0], [1, 0.5], [["a"]],
    ]  # fmt: skip
    records = [
        Record(f"{number:032x}:i\ud800", number, value=value, reply=[None, {"model": "m"}, {}][number % 3]) for number, value in enumerate(values)
    ]
    path = tmp_path / "out.parquet"
    checkpoint = opened(path)
    checkpoint.save(records[:-1])
    checkpoint.save(records[-1:])
    checkpoint.close()
    checkpoint = opened(path)
    found = checkpoint.claim([record.key for record in records])
    checkpoint.close()
    assert [(one.index, one.value, one.reply) for one in found if isinstance(one, Record)] == [
        (one.index, one.value, one.reply) for one in records
    ]
