"""OpenAI's batch files, the output: a line for each answer, and for each error.

Reference: https://platform.openai.com/docs/guides/batch#5-retrieve-the-results
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from hfclient.batch.results import BatchResult
from hfclient.errors import APIStatusError, HFClientError

__all__ = ["answer_line", "error_line"]


def answer_line(result: BatchResult) -> dict[str, Any]:
    """Return the line of an answer, with the server's own body."""
    response = {"status_code": 200, "request_id": result.value.request_id or "", "body": result.value.body}
    return {"id": _id(result), "custom_id": result.id, "response": response, "error": None}


def error_line(result: BatchResult) -> dict[str, Any]:
    """Return the line of a failed request: with the server's answer if it is an error status, else with a code and a message."""
    error = result.error or HFClientError()
    response, reason = None, None
    if isinstance(error, APIStatusError):
        response = {"status_code": error.status_code, "request_id": error.request_id or "", "body": _body(error)}
    else:
        code = getattr(error, "code", None) or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).lower()
        reason = {"code": str(code), "message": error.message}
    return {"id": _id(result), "custom_id": result.id, "response": response, "error": reason}


def _id(result: BatchResult) -> str:
    """Return an id of the line that is the same in every run."""
    return "batch_req_" + hashlib.sha256(f"{result.index}:{result.id}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _body(error: APIStatusError) -> dict[str, Any]:
    try:
        body = json.loads(error.body or "")
    except (ValueError, RecursionError):  # not JSON, or only its start was kept
        body = None
    return body if isinstance(body, dict) else {"error": {"message": error.message, "type": None, "param": None, "code": error.code}}
