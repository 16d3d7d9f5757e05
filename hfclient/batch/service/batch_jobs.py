"""`BatchJobs`: the batch service of an inference server, and `BatchJob`, one job of it.

Reference: docs/protocol/batches (``/v1/files``, ``/v1/batches``).
"""

from __future__ import annotations

import contextlib
import datetime
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

from attrs import evolve

from hfclient.batch.calls import ChatCall
from hfclient.batch.items import read_items
from hfclient.batch.results import BatchResult
from hfclient.batch.service.lines import CHAT, AnswerReader, RequestLine, endpoint_of, read_lines
from hfclient.errors import (
    APIStatusError,
    HFClientError,
    InvalidInputError,
    ProtocolError,
    RateLimitError,
    ServerError,
    TransportError,
    TransportTimeout,
    Unsupported,
)
from hfclient.inference.server_urls import root_url
from hfclient.transport import Clock, Multipart, Part, Polling, Request, Retry, retrying

if TYPE_CHECKING:
    from hfclient.inference import InferenceClient

__all__ = ["MAY_PASS", "BatchJob", "BatchJobs", "on_disk"]

_PAGE = 100  # jobs in one page of a list, the most that OpenAI returns
_MAX_PAGES = 100
_READS = Retry(attempts=5)
MAY_PASS = (TransportError, ServerError, RateLimitError, ProtocolError)
"""Errors of a look at a job after which it is looked at again: a server that is away for a while loses no job."""
_ENDED = frozenset({"completed", "failed", "expired", "cancelled", "canceled"})  # after these a job changes no more


class BatchJob:
    """A job of a batch service, as the server described it last; :meth:`refresh` asks again.

    Attributes:
        id: The server's id. ``BatchJobs(inference).get(id)`` finds the job again, tomorrow and on another machine.
        status: ``"validating"``, ``"in_progress"``, ``"finalizing"``, ``"completed"``, ``"failed"``, ``"expired"``,
            ``"cancelling"``, ``"cancelled"``, or another word of the server's, in lower case.
        total, completed, failed: Numbers of requests; 0 if the server does not count.
        endpoint: Route of all its requests, such as ``"/v1/chat/completions"``.
        input_file_id, output_file_id, error_file_id: Ids of its files; None before they exist.
        created_at, expires_at: Unix times in seconds, or None.
        errors: Why the server refused the file: dicts with ``line`` (from 1, or None), ``code`` and ``message``.
        metadata: Texts that were given with the job.
        raw: All that the server sent.
    """

    def __init__(self, jobs: BatchJobs, data: Mapping[str, Any]) -> None:
        self._jobs = jobs
        self._set(data)

    def _set(self, data: Mapping[str, Any]) -> None:
        inner = data.get("job")
        data = inner if isinstance(inner, Mapping) else data  # Together answers a creation with {"job": ...}
        name = data.get("id")
        if not isinstance(name, str) or not name:
            raise ProtocolError("the batch service described a job without an id; is the URL that of a batch service?")
        counts = data.get("request_counts")
        counts = counts if isinstance(counts, Mapping) else {}
        self.raw = dict(data)
        self.id: str = name
        self.status: str = str(data.get("status") or "unknown").lower()
        self.total, self.completed, self.failed = (_count(counts.get(key)) for key in ("total", "completed", "failed"))
        self.endpoint: str = str(data.get("endpoint") or "")
        self.input_file_id: str | None = data.get("input_file_id") or None
        self.output_file_id: str | None = data.get("output_file_id") or None
        self.error_file_id: str | None = data.get("error_file_id") or None
        self.created_at, self.expires_at = _unix_time(data.get("created_at")), _unix_time(data.get("expires_at"))
        self.errors = _errors(data)
        metadata = data.get("metadata")
        self.metadata: dict[str, Any] = dict(metadata) if isinstance(metadata, Mapping) else {}

    def __repr__(self) -> str:
        return f"<BatchJob {self.id}: {self.status}, {self.completed + self.failed} of {self.total} requests>"

    @property
    def has_ended(self) -> bool:
        """Whether the job changes no more."""
        return self.status in _ENDED

    def refresh(self) -> BatchJob:
        """Ask the server for the present state; return the same object."""
        self._set(self._jobs.describe(self.id))
        return self

    def wait(self, timeout: float | None = None, *, poll: float = 60.0) -> BatchJob:
        """Wait until the job has ended, and return it.

        Args:
            timeout: Seconds to wait; None for as long as it takes. The job goes on afterwards.
            poll: Most seconds between two looks; the first ones are closer.

        Raises:
            TransportTimeout: It has not ended in time.
            NotFoundError: The server does not know the job (any more).
        """
        ends = None if timeout is None else time.monotonic() + timeout
        pause = poll / 30
        while not self.has_ended:
            left = None if ends is None else ends - time.monotonic()
            if left is not None and left <= 0:
                raise TransportTimeout(
                    f"the batch job {self.id} is still {self.status} after {timeout:g} s; it goes on at the server",
                    deadline="total",
                    seconds=timeout,
                )
            time.sleep(pause if left is None else min(pause, left))
            pause = min(poll, pause * 1.3)
            with contextlib.suppress(*MAY_PASS):
                self.refresh()
        return self

    def cancel(self) -> BatchJob:
        """Ask the server to stop. It may take minutes; what is done by then is in :meth:`results`, and is paid."""
        self._set(self._jobs.post(f"/batches/{quote(self.id, safe='')}/cancel"))
        return self

    def results(self) -> Iterator[BatchResult]:
        """Yield what the files of answers and errors hold, in their order. ``id`` is the ``custom_id`` of the request.

        Values are `Reply` objects for chat completions, vectors for embeddings, and dicts for other routes. Requests that were not
        run, as those of a job that expired, are results with an error if the server lists them, or missing.

        Raises:
            InvalidInputError: The job has not ended, or the server refused its file; the message names the lines.
        """
        if not self.has_ended:
            raise InvalidInputError(f"the batch job {self.id} is {self.status}: its results come when it has ended; see wait()")
        if self.status == "failed" and not (self.output_file_id or self.error_file_id):
            raise InvalidInputError(self.failure())
        reader = AnswerReader(self._jobs.client, self.endpoint)
        with _folder() as folder:
            index = 0
            for name in filter(None, (self.output_file_id, self.error_file_id)):
                path = self._jobs.download(name, folder / "answers.jsonl")
                for line in read_lines(path):
                    value, error = reader.read(line)
                    yield BatchResult(index=index, id=line.custom_id, value=value, error=error, attempts=1, source=line.raw)
                    index += 1

    def failure(self) -> str:
        """Return a message about a job that the server refused."""
        reasons = [
            (f"line {error['line']}: " if error["line"] else "") + (error["message"] or error["code"] or "no reason")
            for error in self.errors[:5]
        ]
        more = len(self.errors) - len(reasons)
        text = "; ".join(reasons) or "no reason was given"
        return f"the batch service refused the job {self.id}: {text}" + (f"; and {more} more" if more > 0 else "")


class BatchJobs:
    """The batch service of an inference server: jobs that take hours and cost less than single requests.

        jobs = BatchJobs(Client(inference_url="https://api.openai.com/v1", token=key).inference)
        job = jobs.submit("requests.jsonl")
        print(job.id)                                   # today
        for result in jobs.get("batch_abc").wait().results():      # tomorrow
            print(result.id, result.value.text if result.ok else result.error)

    ``inference.map(..., service="batch")`` does all of it with one call. Hugging Face's router has no batch service; some of its
    providers have one on their own sites.

    Args:
        client: The client of the server. Its session, with its credentials, sends the requests.

    Raises:
        Unsupported: The client's server is Hugging Face's router.

    Reference: POST {base}/files, POST {base}/batches
    """

    def __init__(self, client: InferenceClient) -> None:
        service = client._service
        if service.is_router:
            raise Unsupported(
                "Hugging Face's router has no batch service. Some providers have one on their own sites: make a client with "
                'Client(inference_url="https://api.provider.com/v1", token=KEY), or leave out service="batch"'
            )
        self.client = client
        self._session = service.session
        self._base = root_url(client.base_url)

    def __repr__(self) -> str:
        return f"<BatchJobs of {self.client!r}>"

    def submit(
        self,
        source: str | os.PathLike[str] | Iterable[Any],
        *,
        window: str = "24h",
        metadata: Mapping[str, str] | None = None,
        **options: Any,
    ) -> BatchJob:
        """Upload a file of requests, start one job, and return it.

        Args:
            source: The path of a file in OpenAI's format (``custom_id``, ``method``, ``url``, ``body`` in each line), which is
                streamed; or prompts, as for `InferenceClient.map`: their ``custom_id`` is their ``id``, or else their number.
            window: The time that the server may take. OpenAI takes ``"24h"`` only, Groq up to ``"7d"``.
            metadata: Texts to find the job by: at most 16, names of at most 64 characters and values of at most 512.
            options: Of `InferenceClient.ask` for prompts: ``model``, ``temperature``, ...

        Raises:
            InvalidInputError: The file cannot be read, its first line is not a request, or an item is invalid.
            APIStatusError, TransportError: The server refused, or did not answer.
        """
        with contextlib.ExitStack() as stack:
            if isinstance(source, (str, os.PathLike)):
                if options:
                    raise InvalidInputError(f"a file of requests has its own options; leave out {', '.join(sorted(options))}")
                path = Path(source)
                endpoint = endpoint_of(path)
            else:
                path, endpoint = stack.enter_context(_folder()) / "requests.jsonl", CHAT
                self._write(path, source, options)
            return self.create(self.upload(path), endpoint, window=window, metadata=metadata)

    def _write(self, path: Path, items: Iterable[Any], options: Mapping[str, Any]) -> None:
        writer = RequestLine(ChatCall(self.client, options), self.client)
        with on_disk(path), path.open("wb") as file:
            for item in read_items(items):
                file.write(writer.write(item, str(item.index) if item.id is None else item.id)[0])

    def get(self, job_id: str) -> BatchJob:
        """Return a job.

        Raises:
            NotFoundError: The server has no such job, or it is another account's.
        """
        return BatchJob(self, self.describe(job_id))

    def list(self) -> Iterator[BatchJob]:
        """Yield the account's jobs, the newest first on most servers."""
        after: str | None = None
        for _ in range(_MAX_PAGES):
            data = self._read("/batches", {"limit": _PAGE, "after": after})
            found = data.get("data") if isinstance(data, Mapping) else data
            entries = [entry for entry in found or () if isinstance(entry, Mapping) and entry.get("id")]
            for entry in entries:
                yield BatchJob(self, entry)
            last = str(entries[-1]["id"]) if entries else None
            if last is None or last == after or not isinstance(data, Mapping) or not data.get("has_more"):
                return
            after = last

    def describe(self, job_id: str) -> Mapping[str, Any]:
        """Return what the server says of a job."""
        return _object(self._read(f"/batches/{quote(job_id, safe='')}"))

    def create(
        self,
        file_id: str,
        endpoint: str,
        *,
        window: str = "24h",
        metadata: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> BatchJob:
        """Start a job over a file that was uploaded. It is sent once: after a broken connection it may have started."""
        body: dict[str, Any] = {"input_file_id": file_id, "endpoint": endpoint, "completion_window": window}
        if metadata:
            body["metadata"] = dict(metadata)
        return BatchJob(self, self.post("/batches", body, headers={"Idempotency-Key": key} if key else {}))

    def upload(self, path: Path, *, name: str | None = None, purpose: str = "batch") -> str:
        """Upload a file, in pieces from the disk, and return its id."""
        parts = (
            Part(name="purpose", content=purpose.encode()),
            Part(name="file", content=path, filename=name or path.name, content_type="application/jsonl"),
        )
        timeouts = self._session.timeouts
        patient = evolve(timeouts, idle=max(timeouts.idle or 600.0, 600.0), total=None)  # the server checks it at the end
        request = Request(
            method="POST", url=self._url("/files"), body=Multipart(parts), headers={"Accept": "application/json"},
            whole="body", retryable=True, retry=_READS, clock=Clock(patient),
        )  # a file that is there twice costs nothing
        answer = _object(self._session.send(request).json())
        name_of = answer.get("id")
        if not isinstance(name_of, str) or not name_of:
            raise ProtocolError("the server took the file but gave it no id; is the URL that of a batch service?")
        return name_of

    def download(self, file_id: str, path: Path) -> Path:
        """Write a file of the server's to *path*, piece by piece; a download that breaks off begins again."""
        url = self._url(f"/files/{quote(file_id, safe='')}/content")
        clock = Clock(evolve(self._session.timeouts, total=None))
        for attempt in retrying(Polling(0.5, max_wait=30.0, patience=0.0, at_least=6), clock, on=_may_pass, what=f"GET {url}"):
            with attempt, on_disk(path), path.open("wb") as file:
                response = self._session.send(Request.file(url, follow_redirects=True, clock=clock))
                try:
                    for piece in response.chunks():
                        file.write(piece)
                finally:
                    response.close()
        return path

    def post(self, path: str, body: Mapping[str, Any] | None = None, *, headers: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        """Send a POST once and return the answer."""
        request = Request.with_json("POST", self._url(path), body or {}, headers=headers, whole="body")
        return _object(self._session.send(request).json())

    def _read(self, path: str, params: Mapping[str, str | int | None] | None = None) -> Any:
        return self._session.send(Request.read(self._url(path), params=params or {}, retry=_READS)).json()

    def _url(self, path: str) -> str:
        parts = urlsplit(self._base)
        return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") + path, parts.query, ""))


def _may_pass(error: HFClientError) -> bool:
    """Whether the same request may succeed later."""
    return isinstance(error, TransportError) or (isinstance(error, APIStatusError) and error.status_code in (408, 429, 500, 502, 503, 504))


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hfclient-batch-") as name:
        yield Path(name)


@contextlib.contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """Translate errors of the disk."""
    try:
        yield
    except OSError as error:
        if isinstance(error, HFClientError):  # TransportTimeout is a TimeoutError
            raise
        raise HFClientError(f"{path} cannot be written: {error.strerror or type(error).__name__}") from error


def _object(data: Any) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise ProtocolError(f"the batch service should answer with an object, not {type(data).__name__}; is the URL right?")
    return data


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _unix_time(value: object) -> float | None:
    """Return a Unix time for a number of seconds, or for a date as some providers send it."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return datetime.datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()
    return None


def _errors(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the errors of a job that the server refused, in one form."""
    errors = data.get("errors")
    entries = errors.get("data") if isinstance(errors, Mapping) else errors
    found = []
    for entry in entries if isinstance(entries, list) else [entries or data.get("error")]:
        if isinstance(entry, Mapping):
            line = entry.get("line")
            found.append(
                {
                    "line": line if isinstance(line, int) and not isinstance(line, bool) else None,
                    "code": str(entry.get("code") or ""),
                    "message": str(entry.get("message") or ""),
                }
            )
        elif isinstance(entry, str) and entry:
            found.append({"line": None, "code": "", "message": entry})
    return found
