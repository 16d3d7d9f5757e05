"""`BatchCall`: batches of rows in the forms of all engines, pickles, secrets, clients of a process."""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from hfclient import Timeouts
from hfclient.batch import BatchCall
from hfclient.errors import AuthenticationError, CredentialsError, InvalidInputError
from tests.batch.fault_server import FaultServer
from tests.server import PATIENCE

PROMPTS = ["one", "two", "three"]
ANSWERS = ["ONE", "TWO", "THREE"]


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture
def ask(server: FaultServer) -> Iterator[BatchCall]:
    call = BatchCall(inference_url=server.url, model="m", workers=4)
    yield call
    call.close()


def test_lists_of_strings_and_dicts(ask: BatchCall) -> None:
    """The partitions of a Dask bag: strings become dicts, dicts keep their entries; an iterator is read."""
    assert ask(iter(PROMPTS)) == [
        {"prompt": prompt, "answer": answer, "error": None, "tokens": 8} for prompt, answer in zip(PROMPTS, ANSWERS, strict=True)
    ]
    assert ask([{"prompt": "one", "n": 1}]) == [{"prompt": "one", "n": 1, "answer": "ONE", "error": None, "tokens": 8}]
    assert ask([]) == []


def test_columns(ask: BatchCall) -> None:
    """A dict of lists keeps lists; one of numpy arrays gets arrays, the form of Ray."""
    assert ask({"prompt": PROMPTS, "n": [1, 2, 3]}) == {
        "prompt": PROMPTS, "n": [1, 2, 3], "answer": ANSWERS, "error": [None] * 3, "tokens": [8] * 3,
    }  # fmt: skip
    numpy = pytest.importorskip("numpy")
    found = ask({"prompt": numpy.array(PROMPTS)})
    assert all(isinstance(column, numpy.ndarray) for column in found.values())
    assert found["answer"].tolist() == ANSWERS
    assert found["tokens"].dtype == numpy.int64


def test_pandas(ask: BatchCall) -> None:
    """A DataFrame keeps its index and columns; a missing prompt is an error of its row; an empty frame has the same types."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"prompt": ["one", None, "three"], "n": [1, 2, 3]}, index=[7, 5, 6])
    found = ask(frame)
    assert found.index.tolist() == [7, 5, 6]
    assert found["answer"].tolist() == ["ONE", None, "THREE"]
    assert found["error"].tolist() == [None, "InvalidInputError: row 1: the column 'prompt' is empty", None]
    assert found["tokens"].tolist() == [8, 0, 8]
    assert ask.meta(frame).dtypes.equals(found.dtypes)
    assert list(frame.columns) == ["prompt", "n"]
    assert [len(answered) for answered in ask.map_in_pandas(iter([frame, frame[:1]]))] == [3, 1]


def test_arrow_and_polars(ask: BatchCall) -> None:
    """A Table, a RecordBatch and a polars DataFrame get typed columns, also if all values are missing."""
    pa = pytest.importorskip("pyarrow")
    for batch in (pa.table({"prompt": PROMPTS}), pa.RecordBatch.from_pydict({"prompt": PROMPTS})):
        found = ask(batch)
        assert type(found) is type(batch)
        assert found.column("answer").to_pylist() == ANSWERS
        assert [found.schema.field(name).type for name in ("answer", "error", "tokens")] == [pa.string(), pa.string(), pa.int64()]
    polars = pytest.importorskip("polars")
    frame = ask(polars.DataFrame({"prompt": PROMPTS}))
    assert frame["answer"].to_list() == ANSWERS
    assert frame["error"].dtype == polars.String


@pytest.mark.parametrize("template", [None, "{prompt}", lambda row: row["prompt"]])
def test_missing_prompts(ask: BatchCall, server: FaultServer, template: Any) -> None:
    """A missing value is an error of its row, also in a template, where it would be the text "None" or "nan"."""
    pandas = pytest.importorskip("pandas")
    call = BatchCall(inference_url=server.url, model="m", template=template)
    for batch in ({"prompt": ["one", None]}, pandas.DataFrame({"prompt": ["one", math.nan]})):
        found = call(batch)
        assert list(found["answer"]) == ["ONE", None]
        assert "InvalidInputError" in found["error"][1]
        assert "empty" in found["error"][1]
    call.close()


def test_templates_and_names(server: FaultServer) -> None:
    """A template uses several columns; the added columns have the names of output=, so that two calls can follow each other."""
    first = BatchCall(inference_url=server.url, model="m", template="{language}: {text}", output=("draft", "draft_error", "draft_tokens"))
    second = BatchCall(inference_url=server.url, model="m", template=lambda row: f"check {row['draft']}", id="text")
    (row,) = second(first([{"language": "fr", "text": "hi"}]))
    assert (row["draft"], row["answer"]) == ("FR: HI", "CHECK FR: HI")
    first.close()
    second.close()


def test_mistakes(ask: BatchCall, server: FaultServer) -> None:
    """A missing column, one that exists already, a template that does not fit and an unknown form say what to do; nothing is sent."""
    with pytest.raises(InvalidInputError, match="no column 'prompt'; it has question, n"):
        ask({"question": ["a"], "n": [1]})
    with pytest.raises(InvalidInputError, match=r"'tokens' already.*output="):
        ask({"prompt": ["a"], "tokens": [1]})
    with pytest.raises(InvalidInputError, match="no column 'text'; it has 'prompt'"):
        BatchCall(model="m", template="{text}")(["a"])
    with pytest.raises(InvalidInputError, match=r"inference\.ask"):
        ask("a prompt")
    with pytest.raises(InvalidInputError, match="three names"):
        BatchCall(model="m", output=("a", "b"))
    with pytest.raises(InvalidInputError, match="workers"):
        BatchCall(model="m", workers=0)
    assert not server.asked


def test_secrets_are_refused() -> None:
    """Keys and URLs with a password are refused with the way to pass them; the message has none of them."""
    for options in (
        {"token": "hf_secretsecret"},
        {"inference_key": "secretsecret"},
        {"provider_keys": {"together": "secretsecret"}},
        {"inference_url": "https://user:secretsecret@example.org/v1"},
        {"checkpoint": "redis://:secretsecret@localhost/1"},
    ):
        with pytest.raises(InvalidInputError, match="env:NAME") as caught:
            BatchCall(model="m", **options)
        assert "secretsecret" not in str(caught.value)
    with pytest.raises(InvalidInputError, match="cookies= cannot"):
        BatchCall(model="m", cookies="a=b")


def test_credentials_of_the_environment(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker takes the key from the variable that "env:NAME" names; the pickle has the name only."""
    server.keys = {"secretsecret"}
    ask = BatchCall(inference_url=server.url, inference_key="env:MY_KEY", model="m")
    with pytest.raises(CredentialsError, match=r"MY_KEY is not set.*runtime_env"):
        ask(PROMPTS)
    monkeypatch.setenv("MY_KEY", "secretsecret")
    assert b"secretsecret" not in pickle.dumps(ask)
    assert [row["answer"] for row in pickle.loads(pickle.dumps(ask))(PROMPTS)] == ANSWERS
    assert b"secretsecret" not in pickle.dumps(ask)
    ask.close()


def test_a_refused_key_is_raised(server: FaultServer) -> None:
    """If all rows are refused for the key, the batch fails at once, instead of a million rows with the same error."""
    server.keys = {"another"}
    ask = BatchCall(inference_url=server.url, model="m")
    with pytest.raises(AuthenticationError):
        ask(PROMPTS)
    ask.close()


def test_pickles(server: FaultServer) -> None:
    """A copy by pickle and cloudpickle works, and all copies with the same settings share the connections of a process."""
    cloudpickle = pytest.importorskip("cloudpickle")
    ask = BatchCall(inference_url=server.url, model="m", workers=1, timeouts=Timeouts(total=60), template="{prompt}")
    for module in (pickle, cloudpickle, pickle):
        ask = module.loads(module.dumps(ask))
        assert [row["answer"] for row in ask(PROMPTS)] == ANSWERS
    assert server.connections == 1
    ask.close()


def test_threads_of_a_process(ask: BatchCall, server: FaultServer) -> None:
    """Two batches at the same time, in two threads, have clients of their own; later batches use them again."""
    server.seconds = 0.01
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(ask(PROMPTS))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert [[row["answer"] for row in rows] for rows in found] == [ANSWERS] * 4


def test_close_of_threads(server: FaultServer) -> None:
    """close() ends the connections of calls that run in threads, too; the next batch opens new ones."""
    ask = BatchCall("run_tools", tools=[len], inference_url=server.url, model="m")
    for _ in range(2):
        assert [row["answer"] for row in ask(PROMPTS)] == ANSWERS
        assert server._open
        ask.close()
        end = time.monotonic() + PATIENCE
        while server._open:
            assert time.monotonic() < end
            time.sleep(0.01)


def _in_child(ask: BatchCall, results: Any) -> None:
    results.put([row["answer"] for row in ask(PROMPTS)])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes(ask: BatchCall, server: FaultServer, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child, forked after the first use or spawned, has connections of its own; the parent's stay usable."""
    monkeypatch.setattr("hfclient.transport.aiohttp_transport._KEEP_ALIVE", 10 * PATIENCE)  # however long the child takes
    assert [row["answer"] for row in ask(PROMPTS)] == ANSWERS
    before = server.connections
    context = multiprocessing.get_context(method)
    results = context.Queue()
    child = context.Process(target=_in_child, args=(ask, results))
    child.start()
    assert results.get(timeout=2 * PATIENCE) == ANSWERS
    child.join(2 * PATIENCE)
    assert child.exitcode == 0
    results.close()
    results.join_thread()
    used = server.connections
    assert used > before
    assert [row["answer"] for row in ask(PROMPTS)] == ANSWERS
    assert server.connections == used


def test_errors_are_values(ask: BatchCall, server: FaultServer) -> None:
    """A row that fails has the error's text; the others have their answers."""
    server.refusal = (400, {"message": "too long"})
    (row,) = ask(["one"])
    assert row["answer"] is None
    assert "too long" in row["error"]
    server.refusal = None
    assert ask(["one"])[0]["answer"] == "ONE"
