"""The lines of a batch service's files.

A line of requests has the body that the call itself would send, because the call builds it: its transport keeps the request
instead of sending it. A line of answers is read by the call, too: its transport answers with what the line holds. So every
option, every form of an answer and every error is the same as without the service.

Reference: docs/protocol/batches.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from attrs import frozen

from hfclient.batch.calls import ChatCall
from hfclient.batch.engines import run_job
from hfclient.batch.items import Item
from hfclient.batch.jobs import Job
from hfclient.errors import GenerationError, HFClientError, InvalidInputError, ProtocolError
from hfclient.inference.providers.results import Answer
from hfclient.inference.tasks.vectors import parse_vectors
from hfclient.transport import ONCE, Request, Response, Retry, Timeouts
from hfclient.transport.request import safe_url
from hfclient.transport.response import BufferedBody, Headers
from hfclient.types import Vectors

if TYPE_CHECKING:
    from hfclient.batch.calls import Call
    from hfclient.inference import InferenceClient
    from hfclient.transport import Transport
    from hfclient.transport.deadline import Deadline

__all__ = [
    "CHAT",
    "ENDPOINTS",
    "AnswerLine",
    "AnswerReader",
    "LineReader",
    "RequestLine",
    "check_options",
    "endpoint_of",
    "parse_line",
    "read_lines",
]

CHAT = "/v1/chat/completions"
_EMBEDDINGS = "/v1/embeddings"
ENDPOINTS = {"chat": CHAT, "embed": _EMBEDDINGS, "request": ""}
"""The routes of the calls that a batch service takes; lines of OpenAI's files ("request") have their own."""

_OPENS = 8  # answers of one line: a call may try several routes of a server
_REFUSED = ("provider", "timeouts", "batch_size")


class _Held(Exception):
    """The request of a call was kept instead of being sent."""


class _LineTransport:
    """Keeps the POST of a call, or answers it from a line. All other requests, such as those for the list of models, are sent."""

    def __init__(self, real: Transport) -> None:
        self._real = real
        self.body = b""
        self.answer: tuple[int, bytes, str | None] | None = None
        self.opens = 0

    def open(self, request: Request, headers: Mapping[str, str], deadline: Deadline) -> Response:
        if request.method != "POST":
            return self._real.open(request, headers, deadline)
        if self.answer is None:
            if not isinstance(request.body, bytes):
                raise InvalidInputError("a batch service takes requests in JSON only")
            self.body = request.body
            raise _Held
        self.opens += 1
        if self.opens > _OPENS:
            raise ProtocolError("the answer of the batch service does not fit its request")
        status, body, request_id = self.answer
        fields = [("content-type", "application/json"), *([("x-request-id", request_id)] if request_id else [])]
        return Response(status, Headers(fields), BufferedBody(body), method="POST", url=safe_url(request.url), deadline=deadline)

    def take(self) -> bytes:
        """Return the request that is kept, and forget it; empty without one."""
        body, self.body = self.body, b""
        return body

    def close(self) -> None:
        """Do nothing: the connections are the client's."""


class _Model(msgspec.Struct):
    model: Any = ""
    input: Any = None


class RequestLine:
    """Writes the lines of requests for one call."""

    def __init__(self, call: Call, client: InferenceClient) -> None:
        if call.name not in ENDPOINTS:
            raise InvalidInputError(f'service="batch" takes call="chat" and call="embed", not {call.name!r}')
        self._endpoint = ENDPOINTS[call.name]
        self._transport = _LineTransport(client._service.session.transport)
        self._call = call.with_client(transport=self._transport, timeouts=client._service.session.timeouts, retry=ONCE)

    def write(self, item: Item, custom_id: str) -> tuple[bytes, str, str, int]:
        """Return the line for *item*, with its end; its route; its model; and the number of its inputs.

        Raises:
            HFClientError: The call refuses the item, or the item has an option that a batch service does not take.
        """
        check_options(item.options, f"item {item.index}: ")
        with contextlib.suppress(_Held):
            self._call.run(item)
        body = self._transport.take()
        if not body:
            raise InvalidInputError(f"item {item.index} needs no request")
        known = msgspec.json.decode(body, type=_Model)
        if isinstance(known.input, list) and isinstance(item.input, (list, tuple)) and len(known.input) < len(item.input):
            raise InvalidInputError(f"item {item.index} has more texts ({len(item.input)}) than one request takes ({len(known.input)})")
        endpoint = self._endpoint or str(item.options["url"])
        head = f'{{"custom_id":{json.dumps(custom_id)},"method":"POST","url":{json.dumps(endpoint)},"body":'
        inputs = len(known.input) if isinstance(known.input, list) else 1
        return head.encode() + body.replace(b"\n", b" ") + b"}\n", endpoint, str(known.model or ""), inputs


def check_options(options: Mapping[str, Any], where: str = "") -> None:
    """Refuse options that do not become fields of the request.

    Raises:
        InvalidInputError: There is one; the message names it.
    """
    if found := [name for name in _REFUSED if options.get(name) is not None]:
        raise InvalidInputError(
            f'{where}{", ".join(f"{name}=" for name in found)} cannot be used with service="batch": '
            "a batch service gets the fields of a request only"
        )


def endpoint_of(path: Path) -> str:
    """Return the route of the requests in a file, that of its first line.

    Raises:
        InvalidInputError: The file cannot be read, or its first line is not a request.
    """
    try:
        with path.open("rb") as file:
            first = next((line for line in file if line.strip()), b"")
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror or type(error).__name__}") from error
    try:
        data = json.loads(first)
    except ValueError:
        data = None
    if not isinstance(data, dict) or "custom_id" not in data or not isinstance(data.get("body"), dict):
        raise InvalidInputError(f'{path}, line 1: a line is {{"custom_id": ..., "method": "POST", "url": ..., "body": {{...}}}}')
    return str(data.get("url") or CHAT)


@frozen
class AnswerLine:
    """One line of a file of answers or errors.

    Attributes:
        custom_id: Of the request.
        status: HTTP status of the answer; None if the request was not run.
        body: The answer; None without one.
        request_id: The server's id of the request, or None.
        code, message: Of the service's own error, such as ``"batch_expired"``; empty without one.
        raw: The whole line.
    """

    custom_id: str
    status: int | None
    body: Any
    request_id: str | None
    code: str
    message: str
    raw: Mapping[str, Any]

    @property
    def was_limited(self) -> bool:
        """Whether the request was not answered for a reason that passes: the time of the job, a limit, a server's failure."""
        if self.status is None:
            return self.code in ("batch_expired", "rate_limit_exceeded", "server_error", "request_timeout")
        error = self.body.get("error") if isinstance(self.body, dict) else None
        code = error.get("code") or error.get("type") if isinstance(error, dict) else None
        return self.status in (408, 429, 502, 503, 504) and code != "insufficient_quota"


def parse_line(data: bytes) -> AnswerLine | None:
    """Return the line of a file of answers; None if it has no request's id."""
    try:
        raw = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not isinstance(raw, dict) or not isinstance(raw.get("custom_id"), str):
        return None
    response, error = raw.get("response"), raw.get("error")
    response = response if isinstance(response, dict) else {}
    status, body = response.get("status_code"), response.get("body")
    if not isinstance(status, int) or status < 100:
        status = None if body is None or error else 200
    if isinstance(body, str):  # some gateways write the body as text
        with contextlib.suppress(msgspec.DecodeError):
            body = msgspec.json.decode(body)
    error = error if isinstance(error, dict) else {"message": str(error)} if error else {}
    request_id = response.get("request_id")
    return AnswerLine(
        raw["custom_id"],
        status,
        body,
        request_id if isinstance(request_id, str) and request_id else None,
        str(error.get("code") or ""),
        str(error.get("message") or ""),
        raw,
    )


def read_lines(path: Path) -> Iterator[AnswerLine]:
    """Yield the lines of a file of answers; those without a request's id are left out."""
    with path.open("rb") as file:
        for data in file:
            line = parse_line(data)
            if line is not None:
                yield line


class LineReader:
    """Reads lines of answers with the call that wrote the requests."""

    def __init__(self, call: Call, client: InferenceClient) -> None:
        self._transport = _LineTransport(client._service.session.transport)
        self._call = call.with_client(transport=self._transport, timeouts=Timeouts(total=5.0), retry=Retry(attempts=1))

    def read(self, job: Job, line: AnswerLine) -> None:
        """Set the outcome of *job*, which *line* answers."""
        refusal = _own_error(line)
        if refusal is not None:
            job.value, job.error = None, refusal
            return
        self._transport.answer = (line.status or 200, msgspec.json.encode(line.body), line.request_id)
        self._transport.opens = 0
        attempts, seconds = job.attempts, job.seconds
        run_job(self._call.run, job)
        job.attempts, job.seconds = attempts, seconds  # those of the service
        if job.error is not None:
            job.error.request_id = job.error.request_id or line.request_id


def _own_error(line: AnswerLine) -> HFClientError | None:
    """Return the error of a request that was not run."""
    if line.status is not None:
        return None
    message = line.message or f"the batch service did not run the request ({line.code or 'no reason given'})"
    return GenerationError(message, code=line.code or None, request_id=line.request_id)


class AnswerReader:
    """Reads lines of answers without their requests."""

    def __init__(self, client: InferenceClient, endpoint: str) -> None:
        self._client = client
        self._endpoint = endpoint
        self._chat = LineReader(ChatCall(client, {"model": "-"}), client)

    def read(self, line: AnswerLine) -> tuple[Any, HFClientError | None]:
        """Return the value of *line* and None, or None and its error."""
        if self._endpoint.endswith("/chat/completions") or not (line.status and line.status < 300):
            job = Job(0, Item(0, "-"), "")
            self._chat.read(job, line)
            return job.value, job.error
        if self._endpoint.endswith("/embeddings"):
            return _vectors(line)
        return line.body, None


def _vectors(line: AnswerLine) -> tuple[Any, HFClientError | None]:
    data = line.body.get("data") if isinstance(line.body, dict) else None
    if not isinstance(data, list):
        return None, ProtocolError("the line of an embedding has no vectors", frame=str(line.raw)[:200])
    try:
        return Vectors(parse_vectors(Answer(msgspec.json.encode(line.body)), len(data))), None
    except HFClientError as error:
        return None, error
