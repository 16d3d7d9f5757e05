"""The items of a batch: iterables, dicts, tables of other libraries, columns and templates."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfclient.batch.items import Item, read_items
from hfclient.errors import InvalidInputError, MissingDependencyError
from hfclient.inference.options import ChatOptions

ROWS = {"text": ["a", None, "c"], "number": [1, 2, 3]}
MESSAGES = [{"role": "user", "content": "hi"}]


def _pandas() -> Any:
    return pytest.importorskip("pandas").DataFrame(ROWS)


def _polars() -> Any:
    return pytest.importorskip("polars").DataFrame(ROWS)


def _arrow() -> Any:
    return pytest.importorskip("pyarrow").table(ROWS)


def _record_batch() -> Any:
    return _arrow().to_batches()[0]


def _dataset() -> Any:
    return pytest.importorskip("datasets").Dataset.from_dict(ROWS)


def _iterable_dataset() -> Any:
    return _dataset().to_iterable_dataset()


_SLOW = pytest.mark.timeout(240)  # to import datasets takes long
TABLES = pytest.mark.parametrize(
    "make", [_pandas, _polars, _arrow, _record_batch, pytest.param(_dataset, marks=_SLOW), pytest.param(_iterable_dataset, marks=_SLOW)]
)


def test_kinds_of_items() -> None:
    """Strings, lists of messages, dicts with an input, an id and options, and items of other calls."""
    given = ["a", MESSAGES, {"prompt": "b", "id": 7, "temperature": 0}, {"messages": MESSAGES, "custom_id": "x"}, Item(4, "c")]
    items = list(read_items(given, options=ChatOptions.__annotations__))
    assert [item.index for item in items] == [0, 1, 2, 3, 4]
    assert [item.input for item in items] == ["a", MESSAGES, "b", MESSAGES, "c"]
    assert [item.id for item in items] == [None, None, "7", "x", None]
    assert [dict(item.options) for item in items] == [{}, {}, {"temperature": 0}, {}, {}]
    assert items[2].source == given[2]


def test_a_generator_is_read_when_an_item_is_needed() -> None:
    """A generator is read item by item, and a wrong item is a failed one among the others."""
    read = []

    def values() -> Iterator[Any]:
        for value in ("a", {"label": 1}, None, "b"):
            read.append(value)
            yield value

    items = iter(read_items(values()))
    assert not read
    assert next(items).input == "a"
    assert len(read) == 1
    wrong, empty, last = items
    assert "item 1: it has no input" in str(wrong.error)
    assert "item 2: the input is empty" in str(empty.error)
    assert (last.index, last.input, last.error) == (3, "b", None)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("What is the capital?", "[prompt]"),
        ("no-such-file.jsonl", "there is no file no-such-file.jsonl"),
        (b"audio", "[data]"),
        ({"prompt": "a"}, "[item]"),
        (5, "not int"),
        (MESSAGES, "[messages]"),
        ([{"label": 1}], "item 0: it has no input"),
        ([{"prompt": "a", "text": "b"}], "choose one with column="),
        ([{"prompt": "a", "temprature": 1}], "did you mean temperature?; if the other fields are data"),
        ([{"prompt": "a", "id": "x"}, "b", {"prompt": "c", "id": "x"}], "item 2: the id 'x' is that of item 0, too"),
        ([{"label": 1}, {"label": 2}, {"label": 3}], "(2 more cannot be read)"),
    ],
)
def test_wrong_items(source: Any, message: str) -> None:
    """What is wrong in a list is an error at once, with the remedy."""
    with pytest.raises(InvalidInputError) as raised:
        read_items(source, options=ChatOptions.__annotations__)
    assert message in str(raised.value)


def test_an_empty_list() -> None:
    """A list without items is a batch without results."""
    assert list(read_items([])) == []


@TABLES
def test_tables(make: Callable[[], Any]) -> None:
    """Each table gives its rows; a missing value is a failed item, and all columns stay in the source."""
    items = read_items(make())
    assert items.count in (3, None)
    first, empty, last = items
    assert (first.input, last.input, last.index) == ("a", "c", 2)
    assert first.source == {"text": "a", "number": 1}
    assert "row 1: the column 'text' is empty" in str(empty.error)
    assert not first.options


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ('[{"text": "a"}, {"text": ""}, {"text": "c"}]', "line 2: the field 'text' is empty"),
        ("text,n\na,1\n,2\nc,3\n", "line 3: the column 'text' is empty"),
        ("text,n\na,1\n  ,2\nc,3\n", "line 3: the column 'text' is empty"),
        (["a", "", "c"], "item 1: the input is empty"),
        (["a", math.nan, "c"], "item 1: the input is empty"),
        ([{"prompt": "a", "id": 1}, {"prompt": None, "id": 2}, {"prompt": "c", "id": 3}], "item 1: the field 'prompt' is empty"),
    ],
)
def test_empty_inputs(tmp_path: Path, given: Any, message: str) -> None:
    """An input without text is one failed item with a public error, whatever the source; its row and its id are kept."""
    if isinstance(given, str):
        is_csv = not given.startswith("[")
        source = tmp_path / ("in.csv" if is_csv else "in.jsonl")
        source.write_text(given if is_csv else "\n".join(map(json.dumps, json.loads(given))))
        given = source
    first, empty, last = read_items(given)
    assert (first.error, last.error) == (None, None)
    assert type(empty.error) is InvalidInputError
    assert message in str(empty.error)
    assert empty.id in (None, "2")


def test_empty_cells_in_a_template() -> None:
    """In a template an empty text is a text; a missing value fails, as it does in a column."""
    rows = [{"title": "", "text": "a"}, {"title": None, "text": "a"}, {"title": math.nan, "text": "a"}]
    filled, none, nan = read_items(rows, template="{title}: {text}")
    assert (filled.input, filled.error) == (": a", None)
    assert [type(item.error) for item in (none, nan)] == [InvalidInputError] * 2
    assert "the column 'title' is empty" in str(nan.error)


@TABLES
def test_templates_of_tables(make: Callable[[], Any]) -> None:
    """A template is filled with the columns of a row; options and ids come from columns that were chosen for them."""
    items = list(read_items(make(), template="{number:02d}: {{{text}}}", column={"seed": "number", "id": "number"}))
    assert items[0].input == "01: {a}"
    assert (items[2].input, items[2].options, items[2].id) == ("03: {c}", {"seed": 3}, "3")
    with pytest.raises(InvalidInputError, match="no column 'txt'"):
        list(map(_raise, read_items(make(), column="txt")))


def _raise(item: Item) -> None:
    if item.error is not None:
        raise item.error


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_columns_of_tables(library: str) -> None:
    """A single column is the input, whatever its name."""
    module = pytest.importorskip(library)
    values = ["a", "b"]
    column = module.chunked_array([values]) if library == "pyarrow" else module.Series(values, name="q") if library == "pandas" else module.Series("q", values)
    items = list(read_items(column, options=ChatOptions.__annotations__))
    assert [item.input for item in items] == values


def test_messages_in_a_parquet_of_pandas() -> None:
    """Lists of messages that pandas read from Parquet, which are arrays of numpy, are lists again."""
    numpy, pandas = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    column = numpy.empty(1, dtype=object)
    column[0] = numpy.array(MESSAGES, dtype=object)
    (item,) = read_items(pandas.DataFrame({"messages": column, "label": [1]}))
    assert item.input == MESSAGES


def test_other_tables() -> None:
    """A table that has rows only after another step is refused with that step."""
    datasets, polars = pytest.importorskip("datasets"), pytest.importorskip("polars")
    with pytest.raises(InvalidInputError, match="'train', 'test'"):
        read_items(datasets.DatasetDict({"train": _dataset(), "test": _dataset()}))
    with pytest.raises(InvalidInputError, match="collect"):
        read_items(polars.LazyFrame(ROWS))
    frame = pytest.importorskip("pandas").DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(InvalidInputError, match="two columns of the table have the name 'a'"):
        read_items(frame, column="a")


@pytest.mark.parametrize(
    "template", ["{text.__class__}", "{text[0]}", "{0}", "{}", "{text!r}", "{text:{number}}", "{text:>999999999}", "{other}", "{text", "no column"]
)
def test_templates_hold_names_of_columns_only(template: str) -> None:
    """A template cannot reach attributes or items of values."""
    with pytest.raises(InvalidInputError, match=r"column|complete"):
        read_items(_pandas(), template=template)


def test_column_and_template() -> None:
    """The input is a column or a template, not both; and a table with several columns needs one of them."""
    with pytest.raises(InvalidInputError, match="not both"):
        read_items(["a"], column="text", template="{text}")
    frame = pytest.importorskip("pandas").DataFrame({"q": ["a"], "r": ["b"]})
    with pytest.raises(InvalidInputError, match="'q', 'r'"):
        read_items(frame)
    with pytest.raises(InvalidInputError, match="did you mean temperature"):
        read_items(frame, column={"input": "q", "temprature": "r"}, options=ChatOptions.__annotations__)


@given(st.lists(st.text(), min_size=1))
def test_braces_in_data(texts: list[str]) -> None:
    """Whatever a value holds, the template puts it into the prompt unchanged."""
    texts = [text or "x" for text in texts]
    items = list(read_items(texts, template="<{text}>"))
    assert [item.input for item in items] == [f"<{text}>" for text in texts]


def test_without_pyarrow(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A Parquet file without pyarrow names the package to install."""
    real = importlib.__import__
    (tmp_path / "a.parquet").write_bytes(b"PAR1")

    def refusing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr("builtins.__import__", refusing)
    with pytest.raises(MissingDependencyError, match="pip install pyarrow"):
        read_items(tmp_path / "a.parquet")


def test_items_that_change_later() -> None:
    """What the caller changes after an item was read changes neither the item nor its source."""
    message = {"role": "user", "content": "first"}
    row = {"messages": [message], "id": "1"}

    def rows() -> Iterator[Any]:
        for text in ("first", "second"):
            message["content"] = text
            yield row

    items = list(read_items(rows(), options=ChatOptions.__annotations__))
    assert [item.input[0]["content"] for item in items] == ["first", "second"]
    assert [item.source["messages"][0]["content"] for item in items] == ["first", "second"]


def test_an_item_that_contains_itself() -> None:
    """It is one failed item."""
    endless: list[Any] = []
    endless.append(endless)
    first, second = read_items(iter([endless, "a"]))
    assert first.error is not None
    assert "contains itself" in first.error.message
    assert second.error is None
