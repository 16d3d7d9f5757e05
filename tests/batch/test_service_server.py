"""The batch service of the tests, checked with OpenAI's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.batch.service_server import ServiceServer, echo

openai = pytest.importorskip("openai")


@pytest.fixture
def service() -> Iterator[ServiceServer]:
    with ServiceServer() as server:
        yield server


@pytest.fixture
def client(service: ServiceServer) -> Iterator[Any]:
    with openai.OpenAI(api_key="sk-1", base_url=service.url, max_retries=0) as made:
        yield made


def line(number: int, **body: Any) -> bytes:
    body = {"model": "m", "messages": [{"role": "user", "content": f"p{number}"}], **body}
    return json.dumps({"custom_id": f"c{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}).encode()


def submit(client: Any, *lines: bytes, **options: Any) -> Any:
    file = client.files.create(file=("in.jsonl", b"\n".join(lines)), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", **options
    )


def ended(client: Any, job: Any) -> Any:
    """Look at *job* until it has ended; return the states that it had, and the job."""
    states = [job.status]
    while job.status not in ("completed", "failed", "expired", "cancelled"):
        job = client.batches.retrieve(job.id)
        states.append(job.status)
    return states, job


def test_a_job_from_file_to_answers(client: Any) -> None:
    """A file is uploaded, its job goes through all states, and its answers are downloaded; the types are OpenAI's."""
    file = client.files.create(file=("in.jsonl", line(1) + b"\n" + line(2)), purpose="batch")
    assert (file.object, file.purpose, file.bytes) == ("file", "batch", len(line(1)) + 1 + len(line(2)))
    job = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"mark": "x"}
    )
    states, job = ended(client, job)
    assert list(dict.fromkeys(states)) == ["validating", "in_progress", "finalizing", "completed"]
    assert (job.request_counts.total, job.request_counts.completed, job.request_counts.failed) == (2, 2, 0)
    assert job.metadata == {"mark": "x"}
    assert job.error_file_id is None
    answers = [json.loads(text) for text in client.files.content(job.output_file_id).text.splitlines()]
    assert {answer["custom_id"] for answer in answers} == {"c1", "c2"}
    reply = openai.types.chat.ChatCompletion.model_validate(answers[0]["response"]["body"], strict=True)
    assert reply.choices[0].message.content in ("P1", "P2")


def test_refused_lines(client: Any) -> None:
    """A wrong line fails the whole job; its error has the number of the line."""
    _, job = ended(client, submit(client, line(1), b"{", line(1), line(2, stream=True)))
    assert job.status == "failed"
    assert [(error.line, error.code) for error in job.errors.data] == [
        (2, "invalid_json_line"),
        (3, "duplicate_custom_id"),
        (4, "invalid_request"),
    ]
    assert job.output_file_id is None


def test_failed_requests(client: Any, service: ServiceServer) -> None:
    """Requests that fail are in a file of their own, and a job whose requests all fail has no other."""
    service.answer = lambda body: (400, {"error": {"message": "no", "type": "invalid_request_error", "code": None}})
    _, job = ended(client, submit(client, line(1)))
    assert (job.status, job.output_file_id, job.request_counts.failed) == ("completed", None, 1)
    failed = json.loads(client.files.content(job.error_file_id).text)
    assert (failed["response"]["status_code"], failed["error"]) == (400, None)


def test_expired_and_cancelled(client: Any, service: ServiceServer) -> None:
    """An expired job has what was done; a cancelled one, too, after it was cancelling."""
    service.expire_after = 1
    _, job = ended(client, submit(client, line(1), line(2)))
    assert job.status == "expired"
    assert json.loads(client.files.content(job.output_file_id).text)["custom_id"] == "c1"
    assert json.loads(client.files.content(job.error_file_id).text)["error"]["code"] == "batch_expired"
    service.expire_after = None
    job = submit(client, line(1), line(2))
    while job.status != "in_progress":
        job = client.batches.retrieve(job.id)
    states, job = ended(client, client.batches.cancel(job.id))
    assert states == ["cancelling", "cancelled"]
    assert job.output_file_id is not None
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(job.id)


def test_lists_and_errors(client: Any) -> None:
    """Jobs are listed by the page, the newest first; unknown objects and wrong arguments have OpenAI's errors."""
    ids = [submit(client, line(number)).id for number in range(5)]
    assert [job.id for job in client.batches.list(limit=2)] == ids[::-1]
    assert len(client.files.list().data) == 5
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve("batch-none")
    with pytest.raises(openai.BadRequestError, match="No such File"):
        client.batches.create(input_file_id="file-0", endpoint="/v1/chat/completions", completion_window="24h")
    with pytest.raises(openai.BadRequestError, match="jsonl"):
        client.files.create(file=("in.txt", b"x"), purpose="batch")


def test_embeddings(client: Any) -> None:
    """Embeddings have a route of their own."""
    body = {"model": "m", "input": ["ab", "c"]}
    data = json.dumps({"custom_id": "e", "method": "POST", "url": "/v1/embeddings", "body": body}).encode()
    file = client.files.create(file=("in.jsonl", data), purpose="batch")
    job = client.batches.create(input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h")
    _, job = ended(client, job)
    answer = json.loads(client.files.content(job.output_file_id).text)["response"]["body"]
    vectors = openai.types.CreateEmbeddingResponse.model_validate(answer, strict=True)
    assert [vector.embedding[0] for vector in vectors.data] == [2.0, 1.0]
    assert echo({"model": "m", "input": "abc"})[1]["data"][0]["embedding"] == [3.0, 1.0]
