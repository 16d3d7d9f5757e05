"""Files that a batch reads: every row with its place, and clear errors for what cannot be read."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfclient.batch.items import Items, read_items
from hfclient.errors import InvalidInputError
from hfclient.inference.options import ChatOptions

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)


def read(path: Path, **options: Any) -> Items:
    return read_items(path, options=ChatOptions.__annotations__, **options)


def inputs(path: Path, **options: Any) -> list[Any]:
    return [item.input for item in read(path, **options)]


def file(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_json_lines(tmp_path: Path) -> None:
    """Lines hold prompts, messages or dicts; empty lines, CRLF and a byte order mark do no harm; the path may be a string."""
    messages = [{"role": "user", "content": "c\u2028d"}]
    content = f'\ufeff"a"\r\n\r\n{{"prompt": "b", "id": 1, "seed": 2}}\r\n{json.dumps(messages, ensure_ascii=False)}'
    path = file(tmp_path, "in.jsonl", content)
    items = read(path)
    assert items.count == 3
    assert [item.input for item in items] == ["a", "b", messages]
    assert [item.index for item in items] == [0, 1, 2]
    assert [item.input for item in read_items(str(path))] == ["a", "b", messages]


def test_json_as_python_writes_it(tmp_path: Path) -> None:
    """Lone surrogates, NaN and numbers of any size are read."""
    path = file(tmp_path, "in.ndjson", '{"text": "\\ud800", "x": NaN, "n": 123456789012345678901234567890}\n')
    (item,) = read(path, column="text")
    assert item.input == "\ud800"
    assert item.source["n"] == 123456789012345678901234567890


def test_rows_of_data(tmp_path: Path) -> None:
    """With a column or template, all other fields of a JSON line are data."""
    path = file(tmp_path, "in.jsonl", '{"question": "a", "label": 1, "model": "x"}\n{"question": "b"}\n')
    items = list(read(path, column="question"))
    assert [item.input for item in items] == ["a", "b"]
    assert not items[0].options
    assert items[0].source["label"] == 1
    with pytest.raises(InvalidInputError, match="line 2: there is no column 'model'; the row has 'question'"):
        read(path, column={"input": "question", "model": "model"})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.jsonl", '"a"\n{"prompt": "b"\n"c"\n', "in.jsonl, line 2: this is not JSON: Expecting ',' delimiter (character 15)"),
        ("in.jsonl", b'"a"\n\n"\xff"\n', "in.jsonl, line 3: this is not UTF-8 (byte 2)"),
        ("in.jsonl", '"a"\n5\n{"label": 1}\n', "in.jsonl, line 3: it has no input"),
        ("in.jsonl", '{"prompt": "a", "label": 1}\n', "no option 'label'"),
        ("in.jsonl", '{"prompt": "a", "id": 1}\n"b"\n\n{"prompt": "c", "id": "1"}\n', "line 4: the id '1' is that of"),
        ("in.jsonl", "", "in.jsonl has no items"),
        ("in.jsonl", "\n\n", "in.jsonl has no items"),
        ("in.jsonl", '"a"'.encode("utf-16"), "in.jsonl is UTF-16; save it as UTF-8"),
        ("in.csv", "", "in.csv is empty"),
        ("in.csv", "text\n", "in.csv has no items"),
        ("in.csv", "text,n\na,1\nb\n", "in.csv, line 3: the row has 1 fields, and the header has 2"),
        ("in.csv", 'text,n\n"a\nb",1\n"c,2\n', "in.csv, line 4: this is not CSV: unexpected end of data"),
        ("in.csv", 'text,n\n"a"b,1\n', "in.csv, line 2: this is not CSV"),
        ("in.csv", "text,text\na,b\n", "two columns have the name 'text'"),
        ("in.csv", b"text,n\na,1\n\xff,2\n", "in.csv, line 3: this is not UTF-8"),
        ("in.csv", "q,r\na,b\n", "name the input with column= or template=: 'q', 'r'"),
        ("in.tsv", "q\tr\na\tb\n", "'q', 'r'"),
        ("in.txt", "\n", "in.txt has no items"),
        ("in.txt", b"a\n\xff\n", "in.txt, line 2: this is not UTF-8"),
        ("in.json", "[]", "is not a file that a batch can read: these end in .jsonl"),
        ("in.parquet", "no parquet", "in.parquet cannot be read as Parquet"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, name: str, content: bytes | str, message: str) -> None:
    """A wrong line is an error before the first request, with the file and the number of the line."""
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    with pytest.raises(InvalidInputError) as raised:
        read(file(tmp_path, name, content))
    assert message in str(raised.value)
    assert str(tmp_path / name) in str(raised.value)


def test_folders_and_missing_files(tmp_path: Path) -> None:
    """A folder, and a file that does not exist or may not be read, are errors with the path."""
    with pytest.raises(InvalidInputError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(InvalidInputError, match=r"other\.jsonl cannot be read: No such file"):
        read(tmp_path / "other.jsonl")


def test_csv(tmp_path: Path) -> None:
    """Quotes, line breaks in fields, semicolons, tabs, long fields and a byte order mark are read; the limit of the process stays."""
    before = csv.field_size_limit()
    long = "x" * 200_000
    assert inputs(file(tmp_path, "a.csv", '\ufefftext,n\r\n"a ""b""\r\nc",1\r\n\r\nd,2\r\n'), column="text") == ['a "b"\r\nc', "d"]
    assert inputs(file(tmp_path, "b.csv", "text;n\na,b;1\n")) == ["a,b"]
    assert inputs(file(tmp_path, "c.tsv", "text\tn\na,b\t1\n")) == ["a,b"]
    assert inputs(file(tmp_path, "d.csv", f"question\n{long}\n")) == [long]
    assert csv.field_size_limit() == before
    (item,) = read(tmp_path / "b.csv", template="{n}. {text}")
    assert (item.input, item.source) == ("1. a,b", {"text": "a,b", "n": "1"})


def test_text(tmp_path: Path) -> None:
    """Each line of a text is a prompt, and its column is named text."""
    path = file(tmp_path, "in.TXT", "\ufeffone\r\n\r\n two \n")
    assert inputs(path) == ["one", " two "]
    assert inputs(path, template="Define {text}") == ["Define one", "Define  two "]


def test_parquet(tmp_path: Path) -> None:
    """A Parquet file is read in pieces; its columns and the number of its rows are known."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "in.parquet"
    parquet.write_table(arrow.table({"text": [f"p{n}" for n in range(3000)], "n": range(3000)}), path, row_group_size=700)
    items = read(path, template="{n}: {text}")
    assert items.count == 3000
    assert [item.input for item in items] == [f"{n}: p{n}" for n in range(3000)]
    with pytest.raises(InvalidInputError, match="no column 'txt'; it has 'text', 'n'"):
        read(path, column="txt")


@FOLDER
@given(rows=st.lists(st.tuples(TEXT, TEXT), min_size=1))
def test_csv_round_trip(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    """What Python's csv module writes is read unchanged."""
    written = io.StringIO()
    csv.writer(written).writerows([("text", "other"), *rows])
    path = file(tmp_path, "in.csv", written.getvalue())
    assert [item.source for item in read(path, column="other") if item.source] == [{"text": a, "other": b} for a, b in rows]


@FOLDER
@given(rows=st.lists(st.text(), min_size=1))
def test_json_round_trip(tmp_path: Path, rows: list[str]) -> None:
    """What Python's json module writes is read unchanged, with lone surrogates and line separators."""
    for ascii_only in (True, False):
        lines = "".join(json.dumps({"text": row}, ensure_ascii=ascii_only) + "\n" for row in rows)
        path = tmp_path / "in.jsonl"
        path.write_bytes(lines.encode("utf-8", "replace"))
        texts = [json.loads(line)["text"] for line in lines.encode("utf-8", "replace").decode().split("\n") if line]
        assert inputs(path) == [text if text.strip() else None for text in texts]


@pytest.mark.timeout(240)  # much work for a slow machine
@pytest.mark.parametrize("ending", ["jsonl", "csv", "txt"])
def test_flat_memory(tmp_path: Path, ending: str) -> None:
    """A file of 10 MB takes less than a tenth of that while it is checked and read, besides 8 bytes for each id."""
    line = {"jsonl": '{{"prompt": "{}", "id": "{}"}}\n', "csv": "{},{}\n", "txt": "{} {}\n"}[ending]
    path = tmp_path / f"in.{ending}"
    with path.open("w") as written:
        written.write("text,key\n" if ending == "csv" else "")
        written.writelines(line.format("x" * 1000, number) for number in range(10_000))
    column = {"input": "text", "id": "key"} if ending == "csv" else None
    tracemalloc.start()
    try:
        count = sum(1 for _ in read(path, column=column))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 10_000
    assert most < 3_000_000
