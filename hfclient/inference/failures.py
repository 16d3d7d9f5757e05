"""Errors that arrive inside a 200 answer, in all the shapes that servers give them, and status errors made precise.

Reference: docs/protocol/inference ("errors in mid-stream").
"""

from __future__ import annotations

import json
from typing import Any

from hfclient.errors import APIStatusError, GenerationError, HFClientError, ModelNotFound
from hfclient.inference.lenient import scrub
from hfclient.surrogates import mend_surrogates
from hfclient.transport.failures import message_in

__all__ = ["error_in", "generation_error", "refined"]


def error_in(chunk: dict[str, Any]) -> GenerationError | None:
    """Return the error that an object of a stream reports, or None; a null or empty ``error`` is none."""
    if chunk.get("error"):
        return generation_error(chunk)
    groq = chunk.get("x_groq")
    if isinstance(groq, dict) and groq.get("error"):
        return generation_error(groq)
    if "choices" in chunk:
        return None
    if chunk.get("object") == "error":  # old vLLM
        return generation_error(chunk)
    if isinstance(chunk.get("message"), str):  # TEI, cohere, cerebras and gateways have no object around it
        kind = chunk.get("type")
        if chunk.get("code") is not None or (isinstance(kind, str) and kind.endswith("error")):
            return generation_error(chunk)
    return None


def generation_error(data: Any) -> GenerationError:
    """Return the error for *data*, which is known to describe one: any JSON value."""
    message = message_in(data)
    if message is None:
        message = json.dumps(scrub(data, 8))[:300] if data else "the server reported an error without saying which"
    places = [data] if isinstance(data, dict) else []
    if places and isinstance(data.get("error"), dict):
        places.insert(0, data["error"])
    return GenerationError(mend_surrogates(message), status_code=_status(places), code=_code(places))


def _status(places: list[dict[str, Any]]) -> int | None:
    for place in places:
        for key in ("status_code", "http_status_code", "status", "code"):
            value = place.get(key)
            if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
                value = int(value)
            if not isinstance(value, int) or isinstance(value, bool) or not 400 <= value <= 599:
                continue
            if key == "http_status_code" and value == 422:
                continue  # text-generation-inference 3.x says 422 in its streams, whatever happened
            return value
    return None


def _code(places: list[dict[str, Any]]) -> str | None:
    for place in places:
        for key in ("code", "error_type", "type"):
            value = place.get(key)
            if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
                return mend_surrogates(str(value))
    return None


def refined(error: APIStatusError, model: str | None) -> HFClientError:
    """Return the error for a model that nobody serves, if *error* means that."""
    unknown = error.code in ("model_not_supported", "model_not_found")
    if error.status not in (400, 404) or not (unknown or error.message.startswith("Model not supported")):
        return error
    better = ModelNotFound(
        error.message,
        status=error.status,
        method=error.method,
        url=error.url,
        request_id=error.request_id,
        body=error.body,
        code=error.code,
        attempts=error.attempts,
    )
    better.model = model
    return better
