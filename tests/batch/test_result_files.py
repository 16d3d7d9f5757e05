"""Results in files, beside the columns of their input."""

from __future__ import annotations

import csv
import datetime
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfclient import Client
from hfclient.batch import BatchResult
from hfclient.batch.formats.result_files import ResultFile, output_row
from hfclient.errors import InvalidInputError, RateLimitError
from hfclient.events import Usage
from hfclient.types import Reply
from tests.batch.test_map import echo
from tests.server import Server

OWN = ["answer", "error", "finish_reason", "prompt_tokens", "completion_tokens"]


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    server.on("/v1/chat/completions", [echo])
    with Client(server.url, token="", cookies="", session="", inference_url=f"{server.url}/v1") as opened:
        yield opened


def result(text: str = "A", index: int = 0, **fields: Any) -> BatchResult:
    reply = Reply(text, finish_reason="stop", usage=Usage(1, 2, 3))
    return BatchResult(**{"index": index, "input": "a", "value": reply, **fields})


def write(path: Path, *results: BatchResult, **options: Any) -> Path:
    with ResultFile(path, **options) as file:
        for one in results:
            file.add(one)
        return file.complete()


def test_csv_to_csv(tmp_path: Path, client: Client) -> None:
    """A table comes back with its columns in their order and those of the results after them."""
    (tmp_path / "in.csv").write_text('key,text\n1,"a, ""b""\nc"\n2,d\n')
    path = client.inference.map(tmp_path / "in.csv", model="m", column="text").write(tmp_path / "out.csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["key", "text", *OWN]
    assert [(row["key"], row["text"], row["answer"]) for row in rows] == [("1", 'a, "b"\nc', 'A, "B"\nC'), ("2", "d", "D")]
    assert not list(tmp_path.glob("*.part"))


def test_json_lines(tmp_path: Path, client: Client) -> None:
    """Lines of JSON have the fields of the item; an item that was no dict is under input."""
    path = client.inference.map(["é", {"prompt": "b", "id": "x"}], model="m").write(tmp_path / "new" / "out.jsonl")
    first, second = (json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1])
    assert (first["input"], first["answer"]) == ("é", "É")
    assert (second["prompt"], second["id"], second["answer"], second["error"]) == ("b", "x", "B", None)


@pytest.mark.timeout(240)  # much work for a slow machine
def test_parquet(tmp_path: Path, client: Client) -> None:
    """Parquet keeps the types of the input's columns, also if the first rows have no answer."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    day = datetime.date(2026, 11, 29)
    table = arrow.table({"text": [None, *(f"p{n}" for n in range(2500))], "n": range(2501), "day": [day] * 2501, "tags": [["a"]] * 2501})
    batch = client.inference.map(table, model="m", column="text", workers=16)
    failed = [BatchResult(index=n, source={"text": None, "n": n, "day": day, "tags": ["a"]}, error=RateLimitError("x")) for n in range(1100)]
    written = parquet.read_table(write(tmp_path / "a.parquet", *failed, result(source={"text": "p", "n": 5, "day": day, "tags": []})))
    assert written.column("answer").to_pylist()[-1] == "A"
    read = parquet.read_table(batch.write(tmp_path / "out.parquet"))
    assert read.column_names == ["text", "n", "day", "tags", *OWN]
    assert read.slice(0, 2).to_pylist()[1]["answer"] == "P0"
    assert read.slice(2500, 1).to_pylist()[0] == {"text": "p2499", "n": 2500, "day": day, "tags": ["a"], "answer": "P2499", "error": None, "finish_reason": "stop", "prompt_tokens": None, "completion_tokens": None}
    assert "the column 'text' is empty" in read.column("error")[0].as_py()


def test_columns_with_similar_names(tmp_path: Path) -> None:
    """Columns of the input whose names resemble those of the results keep their types."""
    parquet = pytest.importorskip("pyarrow.parquet")
    path = write(tmp_path / "a.parquet", result(source={"is_error": True, "max_tokens": "many"}), prefix="model_")
    (row,) = parquet.read_table(path).to_pylist()
    assert (row["is_error"], row["max_tokens"], row["model_answer"], row["model_prompt_tokens"]) == (True, "many", "A", 1)


def test_columns_that_come_twice(tmp_path: Path, client: Client, server: Server) -> None:
    """An input with a column "answer" is refused before its row is overwritten; a prefix helps."""
    given = [{"prompt": "a"}, {"prompt": "b"}]
    rows = client.inference.map(({"question": "a", "answer": "gold"} for _ in given), model="m", column="question")
    with rows, pytest.raises(InvalidInputError, match=r"column 'answer'.*--prefix"):
        rows.write(tmp_path / "out.jsonl")
    rows = client.inference.map(({"question": "a", "answer": "gold"} for _ in given), model="m", column="question")
    row = json.loads(rows.write(tmp_path / "out.jsonl", prefix="model_").read_text().split("\n")[0])
    assert (row["answer"], row["model_answer"], row["model_error"]) == ("gold", "A", None)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "list", "table"])
def test_columns_that_come_twice_cost_nothing(tmp_path: Path, client: Client, server: Server, kind: str) -> None:
    """If the columns are known before the first request, the clash is found before it, and no file is begun."""
    rows = [{"question": "a", "key": "1"}, {"question": "b", "key": "2", "error": ""}]
    source: Any = rows
    if kind == "table":
        source = pytest.importorskip("pandas").DataFrame(rows)
    elif kind != "list":
        source = tmp_path / f"in.{kind}"
        source.write_text("question,error\na,\n" if kind == "csv" else "\n".join(map(json.dumps, rows)))
    batch = client.inference.map(source, model="m", column="question")
    with pytest.raises(InvalidInputError, match=r"column 'error'.*prefix= \(--prefix\)"):
        batch.write(tmp_path / "out.jsonl")
    assert (server.requests, list(tmp_path.glob("out*"))) == ([], [])
    assert batch.write(tmp_path / "out.jsonl", prefix="model_").exists()


def test_a_file_that_is_not_complete(tmp_path: Path) -> None:
    """What was written before an error stays under the name with .part; the next run replaces it. A file is not replaced unasked."""
    with ResultFile(tmp_path / "out.jsonl") as file:
        file.add(result())
    assert json.loads((tmp_path / "out.jsonl.part").read_text())["answer"] == "A"
    assert not (tmp_path / "out.jsonl").exists()
    write(tmp_path / "out.jsonl", result("B"))
    assert json.loads((tmp_path / "out.jsonl").read_text())["answer"] == "B"
    with pytest.raises(InvalidInputError, match="exists already"):
        write(tmp_path / "out.jsonl")
    write(tmp_path / "out.jsonl", result("C"), overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_other_endings(tmp_path: Path) -> None:
    """An ending that cannot be written is an error that lists the others, and leaves no file."""
    with pytest.raises(InvalidInputError, match=r"\.jsonl, \.ndjson, \.csv, \.tsv, \.parquet, not \.xlsx"):
        write(tmp_path / "out.xlsx")
    assert not list(tmp_path.iterdir())


def test_rows_with_other_columns(tmp_path: Path) -> None:
    """A table cannot get a column after its first row: the error names the column and a form that can."""
    rows = [result(source={"a": 1}), result(source={"a": 1, "b": 2})]
    with pytest.raises(InvalidInputError, match=r"'b'.*\.jsonl"):
        write(tmp_path / "out.csv", *rows)
    write(tmp_path / "out.jsonl", *rows)


def test_a_full_disk(tmp_path: Path) -> None:
    """An error of the disk is an error of hfclient that names the file."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full")
    (tmp_path / "out.jsonl.part").symlink_to(full)
    with pytest.raises(InvalidInputError, match=r"out\.jsonl cannot be written: No space left"):
        write(tmp_path / "out.jsonl", *(result(str(n) * 1000) for n in range(100)))


def test_values_of_other_calls(tmp_path: Path) -> None:
    """Vectors, labels and objects are JSON in a line of JSON, and JSON text in CSV."""

    @frozen
    class City:
        name: str

    values: list[Any] = [[0.5, 1.0], [City("Paris")], math.nan, {"a": datetime.date(2026, 1, 2)}, "\ud800"]
    results = [result(value=value, index=n) for n, value in enumerate(values)]
    lines = [json.loads(line)["answer"] for line in write(tmp_path / "out.jsonl", *results).read_text().split("\n")[:-1]]
    assert lines == [[0.5, 1.0], [{"name": "Paris"}], None, {"a": "2026-01-02"}, "\ud800"]
    with write(tmp_path / "out.csv", *results).open(newline="") as file:
        cells = [row["answer"] for row in csv.DictReader(file)]
    assert cells == ["[0.5,1.0]", '[{"name":"Paris"}]', "", '{"a":"2026-01-02"}', "?"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1))
def test_round_trip(tmp_path: Path, texts: list[str]) -> None:
    """Any text is read back from CSV and JSON lines as it was answered."""
    results = [result(text, index=n, source={"n": n}) for n, text in enumerate(texts)]
    lines = write(tmp_path / "out.jsonl", *results, overwrite=True).read_bytes().split(b"\n")[:-1]
    assert [json.loads(line)["answer"] for line in lines] == texts
    written = write(tmp_path / "out.csv", *results, overwrite=True).read_bytes().decode()
    assert [row["answer"] for row in csv.DictReader(io.StringIO(written, newline=""))] == texts


def test_rows(tmp_path: Path) -> None:
    """A row of a failed result has the class and the message of its error."""
    row = output_row(BatchResult(index=0, input="a", error=RateLimitError("too many")))
    assert row == {"input": "a", "answer": None, "error": "RateLimitError: too many", "finish_reason": None, "prompt_tokens": None, "completion_tokens": None}
