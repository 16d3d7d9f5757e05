"""``service="batch"``: items that go to the provider's batch service."""

from __future__ import annotations

import base64
import json
import logging
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from hfclient import Client
from hfclient.batch import BatchJobs, BatchService, ServiceBatch
from hfclient.batch.service.request_files import RequestFiles
from hfclient.errors import (
    BadRequestError,
    Cancelled,
    GenerationError,
    HFClientError,
    InvalidInputError,
    NotFoundError,
    ProtocolError,
    RateLimitError,
    ServerError,
    TransportTimeout,
    Unsupported,
)
from hfclient.inference import InferenceClient
from tests.batch.service_server import ServiceServer, echo
from tests.clock import FakeTime

QUICK = BatchService(poll=0.03)
PROMPTS = [f"prompt {number}" for number in range(12)]


@pytest.fixture
def service() -> Iterator[ServiceServer]:
    with ServiceServer() as server:
        yield server


@pytest.fixture
def inference(service: ServiceServer) -> Iterator[InferenceClient]:
    with Client("http://127.0.0.1:9", token="hf_secret", cookies="", session="", inference_url=service.url) as client:
        yield client.inference


def run(inference: InferenceClient, options: BatchService = QUICK, items: Any = PROMPTS, **given: Any) -> list[Any]:
    return list(inference.map(items, model="m", service=options, **given))


def texts(results: list[Any]) -> list[str | None]:
    return [result.value.text if result.ok else None for result in results]


CAPITALS = [prompt.upper() for prompt in PROMPTS]


def test_results_in_order(service: ServiceServer, inference: InferenceClient, tmp_path: Path) -> None:
    """Answers come in the order of the items, and a second run takes them from the checkpoint."""
    for stored in (False, True):
        results = run(inference, checkpoint=tmp_path / "out.jsonl")
        assert texts(results) == CAPITALS
        assert {result.stored for result in results} == {stored}
        assert results[0].usage.total_tokens == 5
    assert service.submitted == Counter(PROMPTS)
    assert service.count("POST /v1/batches") == 1
    assert service.keys == {"Bearer hf_secret"}
    assert "hf_secret" not in (tmp_path / "out.jsonl").read_text()


def test_requests_are_those_of_ask(service: ServiceServer, inference: InferenceClient) -> None:
    """A line has the body that ask() sends, with the options of the batch and of the item."""
    items = [{"input": "hi", "id": "a7", "temperature": 0.5, "system_prompt": "Be terse."}]
    result = run(inference, items=items, max_tokens=9)[0]
    assert (result.id, result.value.text) == ("a7", "HI")
    line = json.loads(next(iter(service.contents.values())))
    assert (line["method"], line["url"]) == ("POST", "/v1/chat/completions")
    assert line["body"] == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be terse."}, {"role": "user", "content": "hi"}],
        "max_tokens": 9,
        "temperature": 0.5,
    }


def test_embeddings(service: ServiceServer, inference: InferenceClient) -> None:
    """Texts are embedded, each one in a line of its own."""
    results = run(inference, items=["a", "bcd"], call="embed")
    assert [list(result.value) for result in results] == [[1.0, 1.0], [3.0, 1.0]]
    assert service.submitted == {"a": 1, "bcd": 1}


def test_files_within_the_limits(service: ServiceServer, inference: InferenceClient) -> None:
    """Items are divided into files by number and size, with one model in a file."""
    service.max_requests = 5
    assert texts(run(inference, evolve(QUICK, max_requests=5))) == CAPITALS
    assert service.count("POST /v1/batches") == 3
    service.max_requests = 50_000
    sizes = [file["bytes"] for file in service.files.values() if file["purpose"] == "batch"]
    assert texts(run(inference, evolve(QUICK, max_bytes=max(sizes) // 2))) == CAPITALS
    assert all(file["bytes"] <= max(sizes) // 2 for file in list(service.files.values())[6:] if file["purpose"] == "batch")
    before = service.count("POST /v1/batches")
    assert texts(run(inference, items=[{"input": prompt, "model": prompt[-1]} for prompt in PROMPTS])) == CAPITALS
    assert service.count("POST /v1/batches") == before + 10
    too_large = run(inference, evolve(QUICK, max_bytes=300), items=["short", "long " * 100])
    assert texts(too_large) == ["SHORT", None]
    assert "larger than a file may be" in str(too_large[1].error)


def test_errors_of_requests(service: ServiceServer, inference: InferenceClient) -> None:
    """A line with a failed request is the error that the request itself would have raised."""

    def answer(body: dict[str, Any]) -> tuple[int, Any]:
        prompt = body["messages"][-1]["content"]
        if prompt.isdigit():
            return int(prompt), {"error": {"message": f"error {prompt}", "type": "t", "code": "c"}}
        return (200, {"choices": "?"}) if prompt == "odd" else echo(body)

    service.answer = answer
    kinds = [BadRequestError, NotFoundError, RateLimitError, ServerError, ProtocolError]
    results = run(inference, evolve(QUICK, attempts=2), items=["400", "404", "429", "500", "odd", "fine"])
    assert [type(result.error) for result in results[:4]] == kinds[:4]
    assert isinstance(results[4].error, HFClientError)
    assert results[5].value.text == "FINE"
    assert [result.error.message for result in results[:2]] == ["error 400", "error 404"]
    assert results[0].error.request_id == "req_0"
    assert [result.attempts for result in results] == [1, 1, 2, 1, 1, 1]  # a limit passes, so it was tried again
    with pytest.raises(BadRequestError):
        run(inference, items=["400"], errors="raise")


def test_all_requests_fail(service: ServiceServer, inference: InferenceClient) -> None:
    """A job may have a file of errors only."""
    service.answer = lambda body: (400, {"error": {"message": "no"}})
    assert {type(result.error) for result in run(inference)} == {BadRequestError}


def test_expired(service: ServiceServer, inference: InferenceClient) -> None:
    """What a job has done in time is used, the rest is submitted again; or it is an error, by choice."""
    service.expire_after = 5
    assert texts(run(inference)) == CAPITALS
    assert service.submitted == Counter(PROMPTS) + Counter(PROMPTS[5:]) + Counter(PROMPTS[10:])
    results = run(inference, evolve(QUICK, on_expired="error"))
    assert texts(results) == [*CAPITALS[:5], *[None] * 7]
    assert all(isinstance(result.error, GenerationError) and result.error.code == "batch_expired" for result in results[5:])


def test_refused_lines(service: ServiceServer, inference: InferenceClient) -> None:
    """A line that the service refuses is the error of its item, with the number of the line; the others are asked."""
    items = ["one", "two", {"input": "three", "extra_body": {"stream": True}}, "four"]
    results = run(inference, items=items)
    assert texts(results) == ["ONE", "TWO", None, "FOUR"]
    assert isinstance(results[2].error, BadRequestError)
    assert "line 3" in results[2].error.message
    assert "Streaming is not supported" in results[2].error.message
    assert service.submitted == {"one": 1, "two": 1, "four": 1}


def test_refused_files(service: ServiceServer, inference: InferenceClient) -> None:
    """A file that is refused as a whole ends the batch, with the server's reason."""
    service.max_requests = 3
    with pytest.raises(InvalidInputError, match=r"refused the job batch-\d+: The batch input file contains too many requests"):
        run(inference)


def test_tokens_wait(service: ServiceServer, inference: InferenceClient) -> None:
    """If too many tokens wait in the account's jobs, a file is submitted again when others have ended; nothing is lost."""
    service.queue = 6
    assert texts(run(inference, evolve(QUICK, max_requests=5))) == CAPITALS
    assert service.submitted == Counter(PROMPTS)


def test_second_job_of_a_file_that_is_not_answered(service: ServiceServer, inference: InferenceClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The creation of the second job of a file is not answered: the first one, which was refused for a limit, is not taken for it."""
    listed = BatchJobs.list
    monkeypatch.setattr(BatchJobs, "list", lambda jobs: reversed(list(listed(jobs))))  # as on servers that do not list the newest first
    service.queue = 6
    service.faults["POST /v1/batches"].extend([None, None, "lost"])
    assert texts(run(inference, evolve(QUICK, max_requests=5), items=PROMPTS[:10])) == CAPITALS[:10]
    assert not service.faults["POST /v1/batches"]
    assert len(service.jobs) == 3
    assert service.submitted == Counter(PROMPTS[:10])


def test_lines_that_are_missing_or_twice(service: ServiceServer, inference: InferenceClient) -> None:
    """A request without a line is asked again, of two lines the first one counts, and lines of other things are left out."""

    def change(output: list[bytes], failed: list[bytes]) -> tuple[list[bytes], list[bytes]]:
        service.change_output = None
        other = output[3].replace(b"PROMPT 3", b"another")
        return [b"\xff\n", b"\n", b"[]\n", b'{"custom_id": 3}\n', other, *output[3:]], failed  # written from the end

    service.change_output = change
    assert texts(run(inference)) == CAPITALS
    assert service.submitted == Counter(PROMPTS) + Counter(PROMPTS[:3])
    service.change_output = lambda output, failed: ([], [])
    results = run(inference, evolve(QUICK, attempts=2))
    assert {type(result.error) for result in results} == {ProtocolError}
    assert "no answer to this item" in results[0].error.message


def test_unknown_states(service: ServiceServer, inference: InferenceClient) -> None:
    """A new state counts as running, and capitals make no difference."""
    service.states = ("VALIDATING", "queued_for_gpu", "IN_PROGRESS")
    assert texts(run(inference)) == CAPITALS


@pytest.mark.parametrize(
    ("what", "faults"),
    [
        ("GET /v1/batches/", [429, 500, "reset", "cut", (429, {"error": "slow"}, "Retry-After: 0"), (200, [])]),
        ("GET /v1/files//content", ["cut", 500, "reset", "cut"]),
        ("POST /v1/files", ["reset", 429, 503, "lost"]),
        ("POST /v1/batches", [429, 503, 500, "reset", "lost"]),
        ("POST /v1/batches", ["cut"]),
        ("POST /v1/batches", [(200, {"what": 1})]),
    ],
)
def test_faults(service: ServiceServer, inference: InferenceClient, what: str, faults: list[Any]) -> None:
    """Whatever fails on the way, each prompt is submitted once and answered."""
    service.faults[what].extend(faults)
    assert texts(run(inference)) == CAPITALS
    assert service.submitted == Counter(PROMPTS)
    assert not service.faults[what]


@pytest.mark.parametrize("lists", [True, False])
def test_creation_that_is_not_answered(service: ServiceServer, inference: InferenceClient, lists: bool) -> None:
    """A job whose creation was not answered is found by its file, also without metadata; where jobs cannot be listed, it is an error."""
    service.keeps_metadata = False
    service.lists = lists
    service.faults["POST /v1/batches"].append("lost")
    if lists:
        assert texts(run(inference)) == CAPITALS
        assert len(service.jobs) == 1
    else:
        with pytest.raises(HFClientError):
            run(inference)
        assert service.count("POST /v1/batches") == 1


@pytest.mark.parametrize(("status", "error"), [(401, "authentication"), (402, "credits"), (404, "not found"), (413, "large")])
def test_refusals_end_the_batch(service: ServiceServer, inference: InferenceClient, status: int, error: str) -> None:
    """What does not pass by waiting is raised at once: a wrong key, no credits, no such route."""
    service.faults["POST /v1/files"].append((status, {"error": {"message": error}}))
    with pytest.raises(HFClientError, match=error):
        run(inference)
    assert service.count("POST /v1/files") == 1


def test_quota(service: ServiceServer, inference: InferenceClient) -> None:
    """A 429 that says that the quota is used up is raised at once."""
    service.faults["POST /v1/batches"].append((429, {"error": {"message": "quota", "code": "insufficient_quota"}}))
    with pytest.raises(RateLimitError, match="quota"):
        run(inference)


@pytest.mark.parametrize("ordered", [True, False])
def test_ctrl_c_leaves_the_jobs(
    service: ServiceServer, inference: InferenceClient, tmp_path: Path, caplog: pytest.LogCaptureFixture, ordered: bool
) -> None:
    """Ctrl-C leaves the jobs at the server and says so; the next run attaches to them, and nothing is paid twice."""
    service.states = ("validating", *["in_progress"] * 1000)
    options = evolve(QUICK, max_requests=5)
    batch = inference.map(
        PROMPTS, model="m", service=options, checkpoint=tmp_path / "out.jsonl", ordered=ordered, progress=interrupt_at("in_progress")
    )
    with pytest.raises(KeyboardInterrupt):
        next(batch)
    assert "3 batch job(s) keep running" in caplog.text
    assert "batch-" in caplog.text
    again = inference.map(PROMPTS, model="m", service=options, checkpoint=tmp_path / "out.jsonl", ordered=ordered)
    assert isinstance(again, ServiceBatch)
    assert len(again.jobs) == 3
    service.states = ("validating",)
    assert sorted(str(text) for text in texts(list(again))) == sorted(CAPITALS)
    assert service.submitted == Counter(PROMPTS)
    assert service.count("POST /v1/batches") == 3


def interrupt_at(word: str) -> Any:
    def report(done: float, total: float | None, text: str) -> None:
        if word in text:
            raise KeyboardInterrupt

    return report


def test_a_failed_item_is_asked_again_by_the_next_run(service: ServiceServer, inference: InferenceClient, tmp_path: Path) -> None:
    """Also if the first run stopped in the middle of its answers: those that failed are asked again, the others are not."""
    service.answer = lambda body: (400, {"error": {"message": "no"}}) if body["messages"][-1]["content"] == "bad" else echo(body)
    items = ["bad", *PROMPTS]
    batch = inference.map(items, model="m", service=QUICK, checkpoint=tmp_path / "out.jsonl")
    assert not next(batch).ok
    batch.close()
    service.answer = echo
    assert texts(run(inference, items=items, checkpoint=tmp_path / "out.jsonl")) == ["BAD", *CAPITALS]
    assert service.submitted == Counter(items) + Counter(["bad"])


def test_cancel(service: ServiceServer, inference: InferenceClient, tmp_path: Path) -> None:
    """cancel() ends the jobs; what was done is handed out, the rest is an error, and the next run asks it again."""
    service.states = ("validating", *["in_progress"] * 1000)
    batch = inference.map(PROMPTS, model="m", service=QUICK, checkpoint=tmp_path / "out.jsonl", progress=interrupt_at("in_progress"))
    with pytest.raises(KeyboardInterrupt):
        next(batch)
    again = inference.map(PROMPTS, model="m", service=QUICK, checkpoint=tmp_path / "out.jsonl")
    assert isinstance(again, ServiceBatch)
    again.cancel()
    results = list(again)
    assert texts(results) == [*CAPITALS[:6], *[None] * 6]
    assert all(isinstance(result.error, Cancelled) for result in results[6:])
    service.states = ("validating",)
    assert texts(run(inference, checkpoint=tmp_path / "out.jsonl")) == CAPITALS
    assert service.submitted == Counter(PROMPTS) + Counter(PROMPTS[6:])


def test_retry_failed(service: ServiceServer, inference: InferenceClient) -> None:
    """The failed items go to the service again."""
    service.answer = lambda body: (400, {"error": {"message": "no"}}) if body["messages"][-1]["content"] == "bad" else echo(body)
    batch = inference.map(["bad", "good"], model="m", service=QUICK)
    assert texts(list(batch)) == [None, "GOOD"]
    service.answer = echo
    again = batch.retry_failed()
    assert isinstance(again, ServiceBatch)
    assert texts(list(again)) == ["BAD"]


def test_job_that_is_gone(service: ServiceServer, inference: InferenceClient, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """If the server does not know a job any more, its items are asked again, and a warning says so."""
    service.states = ("validating", *["in_progress"] * 1000)
    batch = inference.map(PROMPTS, model="m", service=QUICK, checkpoint=tmp_path / "out.jsonl", progress=interrupt_at("in_progress"))
    with pytest.raises(KeyboardInterrupt):
        next(batch)
    service.jobs.clear()
    service.states = ("validating",)
    assert texts(run(inference, checkpoint=tmp_path / "out.jsonl")) == CAPITALS
    assert "does not know the batch job" in caplog.text


class SleepingTime(FakeTime):
    """A clock that only sleeping moves, and that sleeps at once."""

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)


def test_deadline(service: ServiceServer, inference: InferenceClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """BatchService.deadline ends the wait; the jobs go on."""
    monkeypatch.setattr("hfclient.batch.service.engine.time", SleepingTime())
    service.states = ("validating", *["in_progress"] * 100_000)
    with pytest.raises(TransportTimeout, match="deadline"):
        run(inference, evolve(QUICK, deadline=0.2))
    assert next(iter(service.jobs.values()))["status"] == "in_progress"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"workers": 3}, "workers="),
        ({"provider": "groq"}, "provider="),
        ({"call": "parse", "into": int}, "'parse'"),
        ({"service": "batches"}, "service is"),
        ({"service": 3}, "service"),
    ],
)
def test_options_that_do_not_fit(inference: InferenceClient, given: dict[str, Any], message: str) -> None:
    """Options that a batch service cannot follow are refused before anything is sent."""
    with pytest.raises(InvalidInputError, match=message):
        inference.map(PROMPTS, **{"model": "m", "service": "batch", **given})


def test_options_of_items_that_do_not_fit(service: ServiceServer, inference: InferenceClient) -> None:
    """An item with such an option fails, the others are asked."""
    results = run(inference, items=["a", {"input": "b", "provider": "groq"}])
    assert texts(results) == ["A", None]
    assert "item 1: provider=" in results[1].error.message


def test_router() -> None:
    """Hugging Face's router has no batch service; the message says what to do."""
    with Client(token="hf_secret", cookies="", session="") as client, pytest.raises(Unsupported, match="inference_url"):
        client.inference.map(PROMPTS, model="m", service="batch")


def test_progress(service: ServiceServer, inference: InferenceClient) -> None:
    """The bar shows the states at the server and what is done."""
    reports: list[tuple[float, float | None, str]] = []
    service.states = ("validating", *["in_progress"] * 1000)

    def report(done: float, total: float | None, text: str) -> None:
        reports.append((done, total, text))
        if "in_progress" in text:
            service.states = ("validating",)

    run(inference, progress=report)
    assert any("in_progress (1 job at the server)" in text for _, _, text in reports)
    assert reports[-1][0] == len(PROMPTS)
    assert reports[-1][1] == len(PROMPTS)


def test_log_has_no_secret(service: ServiceServer, inference: InferenceClient, caplog: pytest.LogCaptureFixture) -> None:
    """What is logged has the ids of jobs, not the token."""
    caplog.set_level(logging.DEBUG, "hfclient")
    run(inference)
    assert "batch-" in caplog.text
    assert "hf_secret" not in caplog.text


def requests_file(path: Path, *routes: str) -> Path:
    """A file of requests, one for each of *routes*."""
    with path.open("w") as file:
        for number, route in enumerate(routes):
            content = {"input": f"text {number}"} if "embed" in route else {"messages": [{"role": "user", "content": f"text {number}"}]}
            line = {"custom_id": f"r{number}", "method": "POST", "url": route, "body": {"model": "m", **content}}
            file.write(json.dumps(line) + "\n")
    return path


def test_files_of_requests(service: ServiceServer, inference: InferenceClient, tmp_path: Path) -> None:
    """A file that was made for a batch service runs with map, too; requests to different routes are different jobs."""
    path = requests_file(tmp_path / "in.jsonl", "/v1/chat/completions", "/v1/embeddings", "/v1/chat/completions")
    results = list(inference.map(path, service=QUICK, checkpoint=tmp_path / "out.jsonl"))
    assert [result.id for result in results] == ["r0", "r1", "r2"]
    assert [result.get().text for result in results] == ["TEXT 0", "", "TEXT 2"]
    assert results[1].value.body["data"][0]["embedding"] == [6.0, 1.0]
    assert sorted(job["endpoint"] for job in service.jobs.values()) == ["/v1/chat/completions", "/v1/embeddings"]


def test_jobs_one_by_one(service: ServiceServer, inference: InferenceClient, tmp_path: Path) -> None:
    """A job is submitted today, and its answers are fetched by its id tomorrow."""
    path = requests_file(tmp_path / "in.jsonl", *["/v1/chat/completions"] * 3)
    job = BatchJobs(inference).submit(path, metadata={"name": "today"})
    assert (job.status, job.has_ended, job.metadata) == ("validating", False, {"name": "today"})
    with pytest.raises(InvalidInputError, match="is validating"):
        next(job.results())
    jobs = BatchJobs(inference)
    service.faults["GET /v1/batches/"].extend([None, (200, ["not a job"])])  # the second look
    job = jobs.get(job.id).wait(poll=0.03)
    assert (job.status, job.total, job.completed, job.failed) == ("completed", 3, 3, 0)
    assert {result.id: result.get().text for result in job.results()} == {"r0": "TEXT 0", "r1": "TEXT 1", "r2": "TEXT 2"}
    assert repr(job) == f"<BatchJob {job.id}: completed, 3 of 3 requests>"
    other = jobs.submit(["one", {"input": "two", "id": "b"}], model="m")
    assert [one.id for one in jobs.list()] == [other.id, job.id]
    assert {result.id: result.get().text for result in other.wait(poll=0.03).results()} == {"0": "ONE", "b": "TWO"}


def test_jobs_of_embeddings(service: ServiceServer, inference: InferenceClient, tmp_path: Path) -> None:
    """The vectors of a job are read as those of a request: numbers or base64, by their indexes."""
    vectors = [{"index": "2", "embedding": [3, 4]}, {"index": "1", "embedding": base64.b64encode(struct.pack("<2f", 1, 2)).decode()}]
    answers = iter([{"data": vectors}, {"data": "none"}, {"data": [{"embedding": "?"}]}])
    service.answer = lambda body: (200, next(answers))
    job = BatchJobs(inference).submit(requests_file(tmp_path / "in.jsonl", *["/v1/embeddings"] * 3)).wait(poll=0.03)
    found = {result.id: result for result in job.results()}
    assert found["r0"].get() == [[1.0, 2.0], [3.0, 4.0]]
    assert [type(found[name].error) for name in ("r1", "r2")] == [ProtocolError, ProtocolError]


def test_jobs_that_do_not_end_well(
    service: ServiceServer, inference: InferenceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused file names its lines, an expired job has what was done, and a wait has an end."""
    monkeypatch.setattr("hfclient.batch.service.batch_jobs.time", SleepingTime())
    jobs = BatchJobs(inference)
    path = tmp_path / "in.jsonl"
    path.write_text(requests_file(path, "/v1/chat/completions").read_text() * 2)
    with pytest.raises(InvalidInputError, match=r"line 2: The custom_id 'r0' for this request is a duplicate"):
        next(jobs.submit(path).wait(poll=0.03).results())
    service.expire_after = 1
    results = list(jobs.submit(["a", "b"], model="m").wait(poll=0.03).results())
    assert [result.id for result in results if result.ok] == ["0"]
    assert [result.error.code for result in results if isinstance(result.error, GenerationError)] == ["batch_expired"]
    service.states = ("validating", *["in_progress"] * 100_000)
    job = jobs.submit(["a", "b"], model="m")
    with pytest.raises(TransportTimeout, match="goes on at the server"):
        job.wait(0.2, poll=0.03)
    assert job.cancel().status == "cancelling"
    assert job.wait(poll=0.03).status == "cancelled"
    assert [result.id for result in job.results()] == ["0"]
    with pytest.raises(NotFoundError):
        jobs.get("batch-none")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), ("", "line 1"), ("{", "line 1"), ('{"prompt": "hi"}', "line 1")],
)
def test_files_that_are_no_requests(
    service: ServiceServer, inference: InferenceClient, tmp_path: Path, content: str | None, message: str
) -> None:
    """A file in another form is refused before it is sent."""
    path = tmp_path / "in.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidInputError, match=message):
        BatchJobs(inference).submit(path)
    assert service.requests == []


def test_dialects(service: ServiceServer, inference: InferenceClient) -> None:
    """Jobs as Together and Novita describe them are read, too."""
    job = {"id": "b-1", "status": "IN_PROGRESS", "created_at": "2024-01-15T14:30:00Z", "input_file_id": "f", "endpoint": "/v1/chat/completions"}
    service.faults["POST /v1/batches"].append((200, {"job": job, "warning": ""}))
    made = BatchJobs(inference).create("f", "/v1/chat/completions")
    assert (made.id, made.status, made.created_at, made.total) == ("b-1", "in_progress", 1705329000.0, 0)
    service.faults["GET /v1/batches"].append((200, [{**job, "status": "COMPLETED"}]))
    assert [one.has_ended for one in BatchJobs(inference).list()] == [True]
    service.faults["GET /v1/batches/b-2"].append((200, {**job, "id": "b-2", "status": "FAILED", "errors": "no credit"}))
    assert BatchJobs(inference).get("b-2").failure() == "the batch service refused the job b-2: no credit"


def test_not_a_batch_service(service: ServiceServer, inference: InferenceClient) -> None:
    """A server without these routes, and one with other answers, are errors that say so."""
    service.faults["POST /v1/files"].append((200, {"ok": True}))
    with pytest.raises(ProtocolError, match="gave it no id"):
        run(inference)
    service.faults["POST /v1/files"].append((404, {"detail": "Not Found"}))
    with pytest.raises(NotFoundError):
        run(inference)


def test_more_tokens_than_may_wait(service: ServiceServer, inference: InferenceClient) -> None:
    """A file that is refused for a limit again and again, although nothing else runs, is divided."""
    service.queue = 4
    assert texts(run(inference)) == CAPITALS
    assert service.submitted == Counter(PROMPTS)
    service.queue = 0
    with pytest.raises(InvalidInputError, match="Enqueued token limit"):
        run(inference, items=["one"])


def test_servers_without_metadata(service: ServiceServer, inference: InferenceClient) -> None:
    """A server that refuses metadata gets the job without them."""
    service.faults["POST /v1/batches"].append((400, {"error": {"message": "unknown field: metadata"}}))
    assert texts(run(inference)) == CAPITALS
    assert next(iter(service.jobs.values()))["metadata"] == {}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("where", ["requests", "answers"])
def test_full_disk(service: ServiceServer, inference: InferenceClient, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """A full disk ends the batch with an error that names the file; the job is not lost."""
    real = RequestFiles.new_path
    full = Path("/dev/full")
    monkeypatch.setattr(RequestFiles, "new_path", lambda files: full if where == "requests" or service.jobs else real(files))
    with pytest.raises(HFClientError, match="/dev/full cannot be written: No space left on device"):
        run(inference)
    assert len(service.jobs) == (where == "answers")


@pytest.mark.parametrize("given", [{"poll": 0}, {"max_requests": 0}, {"attempts": "3"}, {"on_expired": "ignore"}])
def test_settings(given: dict[str, Any]) -> None:
    """Settings that make no sense are refused."""
    with pytest.raises(InvalidInputError, match=next(iter(given))):
        BatchService(**given)
