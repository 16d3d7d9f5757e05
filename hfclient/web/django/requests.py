"""Reading prompts from requests of Django, with limits."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent
from django.http import HttpRequest, RawPostDataException, UnreadablePostError

from hfclient.errors import RequestTooLargeError
from hfclient.web.errors import InvalidRequest

__all__ = ["read_json", "read_prompt"]


def read_json(request: HttpRequest) -> dict[str, Any]:
    """Return the JSON object in the body of the request. ``DATA_UPLOAD_MAX_MEMORY_SIZE`` is the longest body.

    Raises:
        InvalidRequest: The body is not a JSON object, or its Content-Type is not JSON (400).
        RequestTooLargeError: It is too long (413).
    """
    if not _is_json(request):  # other types can be sent across sites by a form without asking this server
        raise InvalidRequest("the body is not JSON: its Content-Type is application/json")
    try:
        found = json.loads(request.body, parse_constant=_refuse)
    except RequestDataTooBig:
        raise _too_large() from None
    except (UnreadablePostError, RawPostDataException):
        raise InvalidRequest("the body ended too early, or was read before") from None
    except (ValueError, RecursionError):
        raise InvalidRequest("the body is not valid JSON") from None
    if not isinstance(found, dict):
        raise InvalidRequest("the body is not a JSON object")
    return found


def read_prompt(request: HttpRequest, name: str = "prompt", *, max_length: int = 100_000) -> str:
    """Return a text of the request: the field *name* of its JSON object or of its form.

    Args:
        request: The request of the view.
        name: The field.
        max_length: The longest text, in characters. ``DATA_UPLOAD_MAX_MEMORY_SIZE`` limits the body.

    Raises:
        InvalidRequest: The field is missing, is not a text, or is blank (400).
        RequestTooLargeError: The text or the body is too long (413).
    """
    if _is_json(request):
        text = read_json(request).get(name)
    else:
        try:
            text = request.POST.get(name)
        except (RequestDataTooBig, TooManyFieldsSent):
            raise _too_large() from None
        except UnreadablePostError:
            raise InvalidRequest("the body ended too early") from None
    if not isinstance(text, str):
        raise InvalidRequest(f"the field {name} is missing, or is not a text")
    if not text.strip():
        raise InvalidRequest(f"the field {name} is empty")
    if len(text) > max_length:
        raise _too_large()
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:  # half of a surrogate pair
            raise InvalidRequest(f"the field {name} is not valid Unicode") from None
    return text


def _is_json(request: HttpRequest) -> bool:
    kind = request.content_type or ""
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _too_large() -> RequestTooLargeError:
    return RequestTooLargeError("the body of the request is too long", status_code=413)


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)
