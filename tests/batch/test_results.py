"""`Batch`: what it hands out, counts and keeps."""

from __future__ import annotations

import copy
import itertools
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from hfclient import Client, errors
from hfclient.batch.jobs import Job
from hfclient.batch.maps import map_inference
from hfclient.batch.results import BatchResult
from hfclient.batch.totals import Totals
from hfclient.events import Route, Usage
from hfclient.inference import InferenceClient
from hfclient.progress import ProgressBar
from hfclient.types import Reply
from tests.server import PATIENCE, Recorded, Server, json_answer

ROOT = Path(__file__).parents[2]


def answer(request: Recorded) -> bytes:
    """Answer with the prompt in capitals; refuse a prompt with "bad" in it."""
    prompt = request.json()["messages"][0]["content"]
    if "bad" in prompt:
        return json_answer({"error": {"message": "not this one"}}, 400)
    message = {"role": "assistant", "content": prompt.upper()}
    counts = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return json_answer({"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": counts})


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of chat completions."""
    with Server() as server:
        server.on("/v1/chat/completions", [answer])
        yield server


@pytest.fixture
def inference(server: Server) -> Iterator[InferenceClient]:
    """A client of it."""
    with Client(server.url, token="", cookies="", session="", inference_url=f"{server.url}/v1") as client:
        yield client.inference


def test_nothing_is_sent_early(inference: InferenceClient, server: Server) -> None:
    """A batch that is not iterated sends nothing and reads no item; it can be closed."""
    items = iter(["a"])
    inference.map(items, model="m").close()
    assert next(items) == "a"
    assert server.requests == []


def test_errors_are_values(inference: InferenceClient) -> None:
    """A refused item is a result with its error and its input, and the others are answered."""
    batch = inference.map(["a", "bad", "c"], model="m")
    results = list(batch)
    assert [result.ok for result in results] == [True, False, True]
    assert results[1].input == "bad"
    with pytest.raises(errors.BadRequestError, match="not this one"):
        results[1].get()
    assert batch.errors == [results[1]]
    assert repr(batch) == "<Batch chat: 2 of 3 answered, 1 failed>"


def test_errors_are_raised(inference: InferenceClient) -> None:
    """With errors="raise" the first failed item raises; the answers that had come are kept."""
    batch = inference.map(["a", "bad", "c"], model="m", errors="raise")
    assert next(batch).value.text == "A"
    with pytest.raises(errors.BadRequestError):
        next(batch)
    assert [result.input for result in batch.errors] == ["bad"]
    assert {result.input for result in batch.unread} <= {"c"}
    with pytest.raises(StopIteration):
        next(batch)


def test_unordered(inference: InferenceClient) -> None:
    """With ordered=False all results come, and results() sorts them."""
    prompts = [f"p{number}" for number in range(40)]
    results = inference.map(prompts, model="m", ordered=False, workers=8).results()
    assert [result.value.text for result in results] == [prompt.upper() for prompt in prompts]


def test_items_are_read_lazily(inference: InferenceClient) -> None:
    """At most four items for each worker are read ahead of the results, so an endless iterable works."""
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield f"p{read}"

    with inference.map(endless(), model="m", workers=2) as batch:
        for index, result in zip(range(30), batch, strict=False):
            assert result.index == index
            assert read <= index + 2 + 4 * 2


def test_a_broken_iterable(inference: InferenceClient) -> None:
    """An error of the caller's iterable is raised after the results of the items before it."""

    def items() -> Iterator[str]:
        yield "a"
        yield "b"
        raise ValueError("line 3")

    batch = inference.map(items(), model="m")
    assert [next(batch).value.text, next(batch).value.text] == ["A", "B"]
    with pytest.raises(ValueError, match="line 3"):
        next(batch)


def test_retry_failed(server: Server, tmp_path: Path) -> None:
    """The failed items are asked again, with their numbers, and the checkpoint has the new answers."""
    server.on("/v1/chat/completions", json_answer({"error": {"message": "broken"}}, 400), [answer])
    path = tmp_path / "out.jsonl"
    with Client(server.url, token="", cookies="", session="", inference_url=f"{server.url}/v1") as client:
        batch = client.inference.map(["a", "b", "c"], model="m", workers=1, checkpoint=path)
        with pytest.raises(errors.InvalidInputError, match="not at its end"):
            batch.retry_failed()
        (failed,) = [result for result in batch if not result.ok]
        (again,) = batch.retry_failed().results()
        assert (again.index, again.input, again.ok) == (failed.index, failed.input, True)
        assert all(result.stored for result in client.inference.map(["a", "b", "c"], model="m", checkpoint=path))
    assert len(server.requests) == 4


def test_usage_and_cost(inference: InferenceClient) -> None:
    """Tokens add up, and a price function turns them into a cost."""
    batch = inference.map(["a", "b", "bad"], model="m", price=lambda usage, model, provider: usage.total_tokens / 100)
    batch.results()
    assert (batch.usage.prompt_tokens, batch.usage.completion_tokens, batch.usage.total_tokens) == (6, 4, 10)
    assert batch.cost == pytest.approx(0.1)


def test_costs_by_provider() -> None:
    """Each provider has its price; one unknown price makes the cost unknown; stored answers cost nothing."""
    prices = {"a": 1.0, "b": 2.0}
    totals = Totals(lambda usage, model, provider: prices.get(provider or ""))
    for provider, stored in (("a", False), ("b", False), ("b", True)):
        reply = Reply(text="x", model="m", usage=Usage(total_tokens=5), route=Route("", "m", provider))
        totals.add(BatchResult(index=0, value=reply, stored=stored))
    assert totals.cost == 3.0
    assert totals.usage.total_tokens == 10
    prices.clear()
    assert totals.cost is None


def test_to_dataframe(inference: InferenceClient) -> None:
    """A data frame has a row for each item, also for a failed one."""
    pytest.importorskip("pandas")
    frame = inference.map(["a", "bad"], model="m").to_dataframe()
    assert list(frame.index) == [0, 1]
    assert frame.loc[0, "answer"] == "A"
    assert "BadRequestError" in frame.loc[1, "error"]
    assert frame.loc[0, "completion_tokens"] == 2


def test_rows_of_a_frame_keep_their_names(inference: InferenceClient) -> None:
    """The answers to a filtered or sorted frame are put beside their own rows by pandas."""
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"text": ["a", "b", "bad", "c"], "keep": [1, 0, 1, 1]}, index=[7, 8, 9, 2])
    kept = frame[frame.keep == 1].copy()
    kept["answer"] = inference.map(kept, column="text", model="m").to_dataframe()["answer"]
    assert kept["answer"].tolist()[::2] == ["A", "C"]
    assert list(inference.map(kept["text"], model="m").to_dataframe().index) == [7, 9, 2]
    batch = inference.map(kept, column="text", model="m", ordered=False)
    batch.results()
    assert list(batch.retry_failed().to_dataframe().index) == [9]
    twice = pd.Series(["a", "b"], index=pd.MultiIndex.from_tuples([("x", 1), ("x", 2)]))
    assert list(inference.map(twice, model="m").to_dataframe().index) == [("x", 1), ("x", 2)]


def test_a_table_of_results_that_have_been_read(inference: InferenceClient, tmp_path: Path) -> None:
    """After all results have been read, a table or a file without rows is refused."""
    batch = inference.map(["a"], model="m")
    assert len(batch.results()) == 1
    with pytest.raises(errors.InvalidInputError, match="have been read already"):
        batch.to_dataframe()
    with pytest.raises(errors.InvalidInputError, match="have been read already"):
        batch.write(tmp_path / "out.jsonl")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("read", ["results", "to_dataframe"])
def test_results_before_an_error_are_kept(inference: InferenceClient, read: str) -> None:
    """What results() has read before Ctrl-C or an error of the iterable is in ``unread``, with what was not handed out."""
    pytest.importorskip("pandas")

    def items() -> Iterator[str]:
        yield from ("a", "b", "c")
        raise KeyboardInterrupt

    batch = inference.map(items(), model="m", workers=1)
    with pytest.raises(KeyboardInterrupt):
        getattr(batch, read)()
    stopped = inference.map(["a", "b", "bad", "c"], model="m", workers=1, errors="raise")
    with pytest.raises(errors.BadRequestError):
        getattr(stopped, read)()
    assert [result.value.text for result in stopped.unread][:2] == ["A", "B"]


def test_counts_in_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time that is left follows from what was asked, not from stored answers; failures come before long numbers."""
    now = 100.0
    monkeypatch.setattr("hfclient.batch.totals.time.monotonic", lambda: now)
    totals = Totals(None)
    now = 500.0  # the batch was made long before it is iterated
    totals.begin()
    for index in range(900):
        totals.add(BatchResult(index=index, stored=True))
    usage = Usage(prompt_tokens=6, completion_tokens=4, total_tokens=10)
    for index in range(900, 940):
        totals.add(BatchResult(index=index, value=Reply(text="a", usage=usage)))
    totals.add(BatchResult(index=940, error=errors.HFClientError("no")))
    now = 541.0
    assert totals.text(total=1000) == "1/s, 0:59 left, 1 failed, 400 tokens"
    assert totals.text() == "1/s, 1 failed, 400 tokens"
    assert totals.text("no answer for 9 s", 1000) == "no answer for 9 s, 1 failed, 400 tokens"
    now = 500.0 + 41 * 3600
    assert "2419:00:00 left" in totals.text(total=3360)


def test_the_bar_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal of 80 columns the bar has the rate, the time that is left, failures and cost."""
    monkeypatch.setenv("COLUMNS", "80")
    bar = ProgressBar(True, total=10_000, unit="item", label="Batch")
    bar.update(500, "95.2/s, 1:40 left, 2 failed, $0.78, 784 tokens")
    bar.close()
    assert "95.2/s, 1:40 left, 2 failed, $0.78" in capsys.readouterr().err


def test_a_closed_batch(inference: InferenceClient, tmp_path: Path) -> None:
    """results() of a batch that was closed early is refused, because an empty list would look like an empty input."""
    with inference.map(["a", "b"], model="m") as batch:
        next(batch)
    for read in (batch.results, batch.to_dataframe, lambda: batch.write(tmp_path / "out.jsonl")):
        with pytest.raises(errors.InvalidInputError, match=r"closed before its end; batch\.unread has"):
            read()
    assert list(batch) == []
    done = inference.map(["a"], model="m")
    assert len(done.results()) == 1
    assert done.results() == []


def test_an_answer_is_the_value(inference: InferenceClient) -> None:
    """A result without the attribute of an answer says where the answer is, or why it is missing."""
    good, bad = inference.map(["a", "bad"], model="m")
    name = "text"
    with pytest.raises(AttributeError, match=r"no attribute 'text'; the answer is \.value"):
        getattr(good, name)
    with pytest.raises(AttributeError, match=r"it failed: .*BadRequestError"):
        getattr(bad, name)
    assert pickle.loads(pickle.dumps(good)).index == good.index
    assert copy.deepcopy(good).index == good.index


def test_progress(inference: InferenceClient) -> None:
    """A function gets the number of items that have ended, the total, and counts of tokens and failures."""
    seen: list[tuple[float, float | None, str]] = []
    inference.map(["a", "bad"], model="m", progress=lambda *state: seen.append(state)).results()
    assert seen[-1][:2] == (2, 2)
    assert "5 tokens" in seen[-1][2]
    assert "1 failed" in seen[-1][2]


class OneByOne:
    """An engine that ends one job at a time."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def submit(self, jobs: Iterable[Job]) -> None:
        self.jobs += jobs

    def finished(self, seconds: float | None = None) -> list[Job]:
        return [self.jobs.pop(0)]

    def close(self) -> list[Job]:
        return []


def test_progress_of_a_slow_reader(inference: InferenceClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar goes on while there is always a result for a caller that works on each of them for long."""
    monkeypatch.setattr("hfclient.batch.batch._STORE_EVERY", -1.0)
    seen: list[float] = []
    options = {"model": "m", "workers": 1, "progress": lambda done, total, text: seen.append(done)}
    with map_inference(inference, ["a"] * 9, "chat", options, engine=lambda own: OneByOne()) as batch:
        for result in batch:
            assert seen[-1] == min(9, result.index + 1)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("extra", [True, False])
def test_interrupt(extra: bool, tmp_path: Path) -> None:
    """Ctrl-C ends a batch whose server has stopped answering; what had been answered is in the checkpoint."""
    path = tmp_path / "out.jsonl"
    code = textwrap.dedent(
        """
        import sys
        if not int(sys.argv[3]):
            sys.modules["aiohttp"] = None
        from hfclient import Client
        client = Client(sys.argv[1], token="", cookies="", session="", inference_url=sys.argv[1] + "/v1")
        batch = client.inference.map([f"p{n}" for n in range(30)], model="m", workers=16, ordered=False, checkpoint=sys.argv[2])
        try:
            for number, result in enumerate(batch, 1):
                if number == 5:
                    print("five", flush=True)
        except KeyboardInterrupt:
            print("interrupted", len(batch.errors), flush=True)
        """
    )
    numbers, most = itertools.count(1), 5

    def some(request: Recorded) -> bytes:
        return answer(request) if next(numbers) <= most else b""

    with Server() as server:
        server.on("/v1/chat/completions", [some])
        command = [sys.executable, "-c", code, server.url, str(path), str(int(extra))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "five\n"
            os.kill(process.pid, signal.SIGINT)
            assert process.stdout.readline().startswith("interrupted")
            assert process.wait(2 * PATIENCE) == 0
        with Client(server.url, token="", cookies="", session="", inference_url=f"{server.url}/v1") as client:
            most = 1000
            results = client.inference.map([f"p{number}" for number in range(30)], model="m", checkpoint=path).results()
        assert all(result.ok for result in results)
        assert sum(result.stored for result in results) >= 5


def test_one_thread_reads(server: Server, inference: InferenceClient) -> None:
    """A second thread that reads or closes a batch meanwhile gets an error of hfclient, and the first one continues."""
    asked, go_on = threading.Event(), threading.Event()
    server.on("/v1/chat/completions", [lambda request: asked.set(), go_on, answer])
    batch = inference.map(["a", "b"], model="m", workers=1)
    results: list[BatchResult] = []
    reader = threading.Thread(target=lambda: results.extend(batch))
    reader.start()
    assert asked.wait(PATIENCE)
    for use in (batch.__next__, batch.close):
        with pytest.raises(errors.InvalidInputError, match="another thread"):
            use()
    go_on.set()
    reader.join()
    assert [result.ok for result in results] == [True, True]


def test_an_error_of_an_iterable_that_two_batches_share(inference: InferenceClient) -> None:
    """A generator that is being read elsewhere raises its own error, not that of a batch with two threads."""

    def items() -> Iterator[str]:
        yield "a"
        yield next(shared)

    shared = items()
    with pytest.raises(ValueError, match="generator already executing"):
        inference.map(shared, model="m").results()
