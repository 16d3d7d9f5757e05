"""Errors inside a 200 answer, in all the shapes that servers give them, and more specific classes of status errors.

Reference: docs/protocol/inference ("errors in mid-stream").
"""

from __future__ import annotations

import json
import re
from typing import Any

from hfclient.decoding.html_pages import describe_body
from hfclient.decoding.json_repair import scrub
from hfclient.decoding.utf16 import repair_surrogates
from hfclient.errors import APIStatusError, GenerationError, HFClientError, ModelNotFound
from hfclient.transport.status_errors import message_in, restated

__all__ = ["error_in", "generation_error", "refined"]

# Names of errors, as servers write them: "rate_limit_exceeded", "InternalServerError", "overloaded_error", ... Those that
# the caller has to fix come first.
_NAMES = [
    (404, re.compile(r"model_not_(found|supported)", re.IGNORECASE)),
    (402, re.compile(r"insufficient_(quota|credit)|payment|credits?_exhausted", re.IGNORECASE)),
    (401, re.compile(r"authenti|unauthorized|api_?key", re.IGNORECASE)),
    (403, re.compile(r"permission|forbidden", re.IGNORECASE)),
    (
        400,
        re.compile(
            r"invalid|bad_?request|validation|unsupported|context_(size|length|window)|string_above_max|"
            r"content_?(filter|policy)|moderation|safety|tool_error|template|wrong_api_format",
            re.IGNORECASE,
        ),
    ),
    (429, re.compile(r"overload|rate_?limit|too_?many_?requests|over_?capacity|resource_?exhausted", re.IGNORECASE)),
    (503, re.compile(r"unavailable|unhealthy|model_?loading|healthcheck", re.IGNORECASE)),
    (504, re.compile(r"time_?d?_?out", re.IGNORECASE)),
    (500, re.compile(r"internal|server_?error|api_?error|upstream|incomplete_generation|bad_?gateway", re.IGNORECASE)),
]
# text-generation-inference's own, which its chat route gives a wrong status, and those of a context that overflows.
_SENTENCES = [
    (422, re.compile(r"^(Input|Tool) validation error|^Template error")),
    (
        400,
        re.compile(
            r"maximum context length|exceeds the available context size|context length exceeded|"
            r"`inputs` tokens \+ `max_new_tokens` must be|`inputs` must have less than",
            re.IGNORECASE,
        ),
    ),
    (429, re.compile(r"^Model is overloaded")),
    (424, re.compile(r"^Request failed during generation")),
    (500, re.compile(r"^Incomplete generation")),
]


def error_in(chunk: dict[str, Any]) -> GenerationError | None:
    """Return the error that an object of a stream reports; None if it has none, or an empty ``error``."""
    if chunk.get("error"):
        return generation_error(chunk)
    groq = chunk.get("x_groq")
    if isinstance(groq, dict) and groq.get("error"):
        return generation_error(groq)
    if "choices" in chunk:
        return None
    if chunk.get("object") == "error":  # old vLLM
        return generation_error(chunk)
    detail, errors = chunk.get("detail"), chunk.get("errors")
    if "object" not in chunk and (isinstance(detail, (str, list)) or isinstance(errors, list)):  # FastAPI, the Hub
        return generation_error(chunk) if detail or errors else None
    if isinstance(chunk.get("message"), str):  # TEI, cohere, cerebras and gateways have no object around it
        kind = chunk.get("type")
        if chunk.get("code") is not None or (isinstance(kind, str) and kind.endswith("error")):
            return generation_error(chunk)
    return None


def generation_error(data: Any) -> GenerationError:
    """Return the error that *data* describes, a JSON value of any type."""
    message = message_in(data)
    if message is None:
        message = json.dumps(scrub(data, 8))[:300] if data else "the server reported an error without a message"
    objects = [data] if isinstance(data, dict) else []
    if objects and isinstance(data.get("error"), dict):
        objects.insert(0, data["error"])
    status = _status(objects) or _meaning(objects, message)
    return GenerationError(repair_surrogates(message), status_code=status, code=_code(objects))


def _status(objects: list[dict[str, Any]]) -> int | None:
    for entry in objects:
        for key in ("status_code", "http_status_code", "status", "code"):
            value = entry.get(key)
            if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
                value = int(value)
            if not isinstance(value, int) or isinstance(value, bool) or not 400 <= value <= 599:
                continue
            if key == "http_status_code" and value == 422:
                continue  # text-generation-inference 3.x says 422 for every error in its streams
            return value
    return None


def _meaning(objects: list[dict[str, Any]], message: str) -> int | None:
    """Return the status that an error without one would have, by its words: names of errors, well-known sentences."""
    names = [str(entry[key]) for entry in objects for key in ("code", "error_type", "type") if entry.get(key)]
    for text, words in [(" ".join(names), _NAMES), (message, _SENTENCES)]:
        found = next((status for status, pattern in words if pattern.search(text)), None)
        if found is not None:
            return found
    return None


def _code(objects: list[dict[str, Any]]) -> str | None:
    for entry in objects:
        for key in ("code", "error_type", "type"):
            value = entry.get(key)
            if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
                return repair_surrogates(str(value))
    return None


def refined(error: APIStatusError, model: str | None) -> HFClientError:
    """Return a more specific error: for a model that no provider serves, or a URL without an API; else *error* itself."""
    if error.status_code in (404, 405) and (error.body or "").lstrip().startswith("<"):
        page = describe_body((error.body or "").encode())
        return restated(
            type(error), error, f"there is no API at this URL, {page} came instead; is inference_url (or the provider's URL) right?"
        )
    unknown = error.code in ("model_not_supported", "model_not_found")
    if error.status_code not in (400, 404) or not (unknown or error.message.startswith("Model not supported")):
        return error
    better = restated(ModelNotFound, error, error.message)
    better.model = model
    return better
