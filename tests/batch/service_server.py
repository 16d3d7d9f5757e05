"""A batch service on loopback, as OpenAI's reference describes it: ``/v1/files``, ``/v1/batches``, and the errors of both.

    with ServiceServer() as service:
        ...  # inference_url=service.url
        assert service.submitted == Counter(prompts)

A job goes one state further each time that it is retrieved, so tests do not depend on time. `test_service_server.py` checks it with
OpenAI's own client.

Reference: platform.openai.com/docs/api-reference/batch, /files; openai-python's types.
"""

from __future__ import annotations

import collections
import itertools
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.server import PATIENCE, Recorded, Server, json_answer, plain

__all__ = ["Pause", "ServiceServer"]

_ROUTES = ("/v1/chat/completions", "/v1/embeddings", "/v1/completions", "/v1/responses")
_STATES = ("validating", "in_progress", "finalizing")
_ENDED = ("completed", "failed", "expired", "cancelled")
_LATE = "This request could not be executed before the completion window expired."


def echo(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Answer a chat with the prompt in capitals, and embeddings with the length of each text."""
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    if "input" in body:
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        data = [{"object": "embedding", "index": index, "embedding": [float(len(text)), 1.0]} for index, text in enumerate(texts)]
        return 200, {"object": "list", "model": body["model"], "data": data, "usage": usage}
    message = {"role": "assistant", "content": body["messages"][-1]["content"].upper()}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return 200, {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": body["model"], "choices": choices, "usage": usage}


class Pause:
    """A fault: the request waits until the test goes on.

    Args:
        where: ``"before"`` it is done, ``"after"`` that, in the middle of the answer (``"half"``), or ``"never"``: it is not done.

    Attributes:
        reached: Set when a request waits here.
        go_on: To be set by the test.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def wait(self) -> None:
        self.reached.set()
        self.go_on.wait(PATIENCE)


class ServiceServer:
    """The server. All options are attributes, which may change while it runs.

    Args:
        answer: Status and body for the body of a request.
        max_requests, max_bytes: Limits of a file.
        states: The states of a job before its end; each look at it moves it one further.
        expire_after: Jobs expire after so many requests; None if all are done in time.
        keeps_metadata: Whether jobs have metadata, as they have not on some providers.
        lists: Whether jobs can be listed.
        queue: Most requests that may wait in all jobs; a job beyond it fails with ``token_limit_exceeded``.
        one_model: Whether all requests of a file must be for one model.

    Attributes:
        submitted: How often each prompt (or text) was in a job that ran.
        faults: By ``"METHOD /path"`` with ids left out (``"GET /v1/batches/"``), what happens to the next requests, in order: a
            status, a tuple of status and body, ``"cut"`` (half of the answer), ``"lost"`` (it is done, but the connection ends without an
            answer), ``"reset"`` (it is not done, and the connection ends), a `Pause`, or None.
        requests: ``"METHOD /path"`` of all requests, with ids left out.
    """

    def __init__(
        self,
        *,
        answer: Callable[[dict[str, Any]], tuple[int, Any]] = echo,
        max_requests: int = 50_000,
        max_bytes: int = 200_000_000,
        states: tuple[str, ...] = _STATES,
        expire_after: int | None = None,
        keeps_metadata: bool = True,
        lists: bool = True,
        queue: int | None = None,
        one_model: bool = True,
    ) -> None:
        self.answer = answer
        self.max_requests = max_requests
        self.max_bytes = max_bytes
        self.states = states
        self.expire_after = expire_after
        self.keeps_metadata = keeps_metadata
        self.lists = lists
        self.queue = queue
        self.one_model = one_model
        self.submitted: Counter[str] = Counter()
        self.faults: dict[str, collections.deque[Any]] = collections.defaultdict(collections.deque)
        self.requests: list[str] = []
        self.keys: set[str] = set()
        self.files: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, bytes] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.change_output: Callable[[list[bytes], list[bytes]], tuple[list[bytes], list[bytes]]] | None = None
        self._todo: dict[str, list[dict[str, Any]]] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._broken: dict[int, Any] = {}
        self._server = Server()
        self._server.on("*", [self._handle, self._end])

    @property
    def url(self) -> str:
        """The base URL of the API, with ``/v1``."""
        return f"{self._server.url}/v1"

    def __enter__(self) -> ServiceServer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.close()

    def count(self, what: str) -> int:
        """Return how many requests came to a route, such as ``"POST /v1/batches"``."""
        return self.requests.count(what)

    # Requests

    def _handle(self, request: Recorded) -> bytes:
        path = re.sub(r"(?<=/)(?:batch|file)-[^/]+", "", request.path)
        what = f"{request.method} {path}"
        with self._lock:
            self.requests.append(what)
            if "authorization" in request.headers:
                self.keys.add(request.headers["authorization"])
            fault = self.faults[what].popleft() if self.faults[what] else None
        if isinstance(fault, Pause) and fault.where in ("before", "never"):
            fault.wait()
            if fault.where == "never":
                raise ConnectionResetError
        if isinstance(fault, int):
            return _error(fault, f"fault {fault}", "server_error")
        if isinstance(fault, tuple):
            return json_answer(fault[1], fault[0], *fault[2:])
        if fault == "reset":
            raise ConnectionResetError
        with self._lock:
            answer = self._route(request, request.path.removeprefix("/v1"))
        if fault == "lost":
            raise ConnectionResetError
        if isinstance(fault, Pause) and fault.where == "after":
            fault.wait()
        if fault == "cut" or (isinstance(fault, Pause) and fault.where == "half"):
            self._broken[id(request)] = fault
            return answer[: len(answer) - max(1, len(answer.partition(b"\r\n\r\n")[2]) // 2)]
        return answer

    def _end(self, request: Recorded) -> bytes:
        if (fault := self._broken.pop(id(request), None)) is not None:
            if isinstance(fault, Pause):
                fault.wait()
            raise ConnectionResetError
        return b""

    def _route(self, request: Recorded, path: str) -> bytes:
        method, parts = request.method, path.strip("/").split("/")
        if parts == ["files"]:
            return self._upload(request) if method == "POST" else json_answer(self._page(self.files, request))
        if parts[0] == "files" and len(parts) > 1:
            if parts[1] not in self.files:
                return _error(404, f"No such File object: {parts[1]}", "invalid_request_error")
            if method == "DELETE":
                del self.files[parts[1]], self.contents[parts[1]]
                return json_answer({"id": parts[1], "object": "file", "deleted": True})
            if parts[2:] == ["content"]:
                return plain(self.contents[parts[1]], 200, "Content-Type: application/octet-stream")
            return json_answer(self.files[parts[1]])
        if parts == ["batches"]:
            if method == "POST":
                return self._create(request)
            return json_answer(self._page(self.jobs, request)) if self.lists else _error(404, "Not found", None)
        if parts[0] == "batches" and parts[1:2] and parts[1] in self.jobs:
            job = self.jobs[parts[1]]
            if parts[2:] == ["cancel"] and method == "POST":
                if job["status"] in _ENDED:
                    return _error(409, f"Cannot cancel a batch with status '{job['status']}'.", "invalid_request_error")
                job.update(status="cancelling", cancelling_at=int(time.time()))
                return json_answer(self._shown(job))
            self._advance(job)
            return json_answer(self._shown(job))
        if parts[0] == "batches":
            return _error(404, f"No batch found with id '{parts[-1]}'.", "invalid_request_error")
        return _error(404, f"Unknown request URL: {method} {path}", "invalid_request_error")

    def _page(self, objects: dict[str, dict[str, Any]], request: Recorded) -> dict[str, Any]:
        query = request.query
        entries = [self._shown(entry) for entry in reversed(objects.values())]
        if after := query.get("after"):
            ids = [entry["id"] for entry in entries]
            entries = entries[ids.index(after) + 1 :]
        limit = int(query.get("limit", "20"))
        page = entries[:limit]
        ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"first_id": None, "last_id": None}
        return {"object": "list", "data": page, **ends, "has_more": len(entries) > limit}

    def _shown(self, entry: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in entry.items() if not name.startswith("_")}

    # Files

    def _upload(self, request: Recorded) -> bytes:
        match = re.search(r'boundary="?([^";]+)', request.headers.get("content-type", ""))
        if match is None:
            return _error(400, "The form is missing", "invalid_request_error")
        fields: dict[str, tuple[str, bytes]] = {}
        for part in request.body.split(b"--" + match[1].encode())[1:-1]:
            head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
            names = dict(re.findall(r'(name|filename)="([^"]*)"', head.decode()))
            fields[names["name"]] = (names.get("filename", ""), content.removesuffix(b"\r\n"))
        purpose = fields.get("purpose", ("", b""))[1].decode()
        if purpose not in ("batch", "batch_output", "fine-tune", "assistants", "vision", "user_data"):
            return _error(400, f"'{purpose}' is not one of ['batch', ...] - 'purpose'", "invalid_request_error")
        if "file" not in fields:
            return _error(400, "'file' is a required property", "invalid_request_error")
        name, content = fields["file"]
        if purpose == "batch" and not name.endswith(".jsonl"):
            return _error(400, "Invalid file format for Batch API. Must be .jsonl", "invalid_request_error")
        if len(content) > self.max_bytes:
            return _error(413, "The file is too large", "invalid_request_error")
        return json_answer(self._store(content, name, purpose))

    def _store(self, content: bytes, name: str, purpose: str) -> dict[str, Any]:
        file_id = f"file-{next(self._numbers):08d}"
        self.contents[file_id] = content
        self.files[file_id] = {
            "id": file_id, "object": "file", "bytes": len(content), "created_at": int(time.time()), "filename": name,
            "purpose": purpose, "status": "processed", "expires_at": None,
        }  # fmt: skip
        return self.files[file_id]

    # Jobs

    def _create(self, request: Recorded) -> bytes:
        body = request.json()
        for name in ("input_file_id", "endpoint", "completion_window"):
            if name not in body:
                return _error(400, f"Missing required parameter: '{name}'.", "invalid_request_error")
        if body["endpoint"] not in _ROUTES:
            return _error(400, f"Invalid value: '{body['endpoint']}'.", "invalid_request_error")
        if body["completion_window"] != "24h":
            return _error(400, f"Invalid value: '{body['completion_window']}'. Value must be '24h'.", "invalid_request_error")
        if body["input_file_id"] not in self.files:
            return _error(400, f"No such File object: {body['input_file_id']}", "invalid_request_error")
        metadata = body.get("metadata") or {}
        if len(metadata) > 16 or any(len(key) > 64 or len(str(value)) > 512 for key, value in metadata.items()):
            return _error(400, "Invalid 'metadata'", "invalid_request_error")
        job_id, now = f"batch-{next(self._numbers):08d}", int(time.time())
        self.jobs[job_id] = {
            "id": job_id, "object": "batch", "endpoint": body["endpoint"], "errors": None, "input_file_id": body["input_file_id"],
            "completion_window": "24h", "status": "validating", "output_file_id": None, "error_file_id": None, "created_at": now,
            "in_progress_at": None, "expires_at": now + 86400, "finalizing_at": None, "completed_at": None, "failed_at": None,
            "expired_at": None, "cancelling_at": None, "cancelled_at": None,
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "metadata": metadata if self.keeps_metadata else None,
            "_looks": 0,
        }  # fmt: skip
        return json_answer(self._shown(self.jobs[job_id]))

    def _advance(self, job: dict[str, Any]) -> None:
        """Move *job* to its next state."""
        if job["status"] in _ENDED:
            return
        if job["status"] == "cancelling":
            self._run(job, "cancelled", len(self._todo.get(job["id"], ())) // 2)
            return
        job["_looks"] += 1
        if job["id"] not in self._todo:
            if errors := self._validate(job):
                job.update(status="failed", failed_at=int(time.time()), errors={"object": "list", "data": errors})
                return
            for line in self._todo[job["id"]]:
                self.submitted[_prompt(line["body"])] += 1
        todo = self._todo[job["id"]]
        job["request_counts"]["total"] = len(todo)
        if job["_looks"] < len(self.states):
            job["status"] = self.states[job["_looks"]]
            job.setdefault(f"{job['status']}_at", None)
            job[f"{job['status']}_at"] = int(time.time())
            return
        done = len(todo) if self.expire_after is None else min(self.expire_after, len(todo))
        self._run(job, "completed" if done == len(todo) else "expired", done)

    def _validate(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        errors: list[dict[str, Any]] = []
        lines: list[dict[str, Any]] = []
        seen: set[str] = set()
        models: set[str] = set()

        def refuse(code: str, message: str, line: int | None = None, param: str | None = None) -> None:
            errors.append({"code": code, "message": message, "line": line, "param": param})

        for number, data in enumerate(self.contents[job["input_file_id"]].splitlines(), 1):
            try:
                line = json.loads(data)
            except ValueError:
                refuse("invalid_json_line", "This line is not parseable as valid JSON.", number)
                continue
            if not isinstance(line, dict) or not isinstance(line.get("custom_id"), str):
                refuse("missing_required_parameter", "Missing required parameter: 'custom_id'.", number, "custom_id")
            elif len(line["custom_id"]) > 512:
                refuse("invalid_value", "custom_id is too long", number, "custom_id")
            elif line["custom_id"] in seen:
                refuse("duplicate_custom_id", f"The custom_id '{line['custom_id']}' for this request is a duplicate.", number)
            elif line.get("method") != "POST":
                refuse("invalid_method", "Only 'POST' is supported.", number, "method")
            elif line.get("url") != job["endpoint"]:
                refuse("invalid_url", "The URL provided for this request does not match the batch endpoint.", number, "url")
            elif not isinstance(line.get("body"), dict) or line["body"].get("stream"):
                refuse("invalid_request", "Streaming is not supported in the Batch API.", number, "body")
            elif line["body"].get("model") == "unknown":
                refuse("model_not_found", "The provided model 'unknown' is not supported by the Batch API.", number, "body.model")
            else:
                seen.add(line["custom_id"])
                models.add(line["body"].get("model"))
                lines.append(line)
        if not errors and not lines:
            refuse("empty_file", "The batch input file is empty.")
        elif len(lines) > self.max_requests:
            refuse("too_many_tasks", "The batch input file contains too many requests for the batch.")
        elif len(models) > 1 and self.one_model:
            refuse("mismatched_model", "The models in the batch input file do not match.", 2, "body.model")
        waiting = sum(len(self._todo[other]) for other, entry in self.jobs.items() if entry["status"] not in _ENDED and other in self._todo)
        if not errors and self.queue is not None and waiting + len(lines) > self.queue:
            refuse("token_limit_exceeded", "Enqueued token limit reached for m in organization org. Please try again later.")
        if not errors:
            self._todo[job["id"]] = lines
        return errors

    def _run(self, job: dict[str, Any], status: str, done: int) -> None:
        """End *job* after *done* requests; the answers are in another order than the requests."""
        now, todo = int(time.time()), self._todo.get(job["id"], [])
        output: list[bytes] = []
        failed: list[bytes] = []
        for number, line in enumerate(todo):
            head = {"id": f"batch_req_{number}", "custom_id": line["custom_id"]}
            if number >= done:
                if status == "expired":
                    failed.append(_line({**head, "response": None, "error": {"code": "batch_expired", "message": _LATE}}))
                continue
            code, body = self.answer(line["body"])
            response = {"status_code": code, "request_id": f"req_{number}", "body": body}
            (output if code == 200 else failed).append(_line({**head, "response": response, "error": None}))
        job["request_counts"] = {"total": len(todo), "completed": len(output), "failed": len(todo[:done]) - len(output)}
        if self.change_output is not None:
            output, failed = self.change_output(output, failed)
        for name, lines in (("output", output), ("error", failed)):
            if lines:
                file = self._store(b"".join(reversed(lines)), f"{job['id']}_{name}.jsonl", "batch_output")
                job[f"{name}_file_id"] = file["id"]
        job.update({"status": status, f"{status}_at": now})


def _prompt(body: dict[str, Any]) -> str:
    if "input" in body:
        return str(body["input"] if isinstance(body["input"], str) else body["input"][0])
    return str(body["messages"][-1]["content"])


def _line(data: dict[str, Any]) -> bytes:
    return json.dumps(data).encode() + b"\n"


def _error(status: int, message: str, kind: str | None) -> bytes:
    return json_answer({"error": {"message": message, "type": kind, "param": None, "code": None}}, status)
