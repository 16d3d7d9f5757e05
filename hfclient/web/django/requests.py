"""Reading prompts from requests of Django, with limits."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent
from django.http import HttpRequest, RawPostDataException, UnreadablePostError

from hfclient.web.errors import InvalidRequest
from hfclient.web.request_body import check_prompt, is_json, json_object, need_json, too_large

__all__ = ["read_json", "read_prompt"]


def read_json(request: HttpRequest) -> dict[str, Any]:
    """Return the JSON object in the body of the request. ``DATA_UPLOAD_MAX_MEMORY_SIZE`` is the longest body.

    Raises:
        InvalidRequest: The body is not a JSON object, or its Content-Type is not JSON (400).
        RequestTooLargeError: It is too long (413).
    """
    need_json(request.content_type or "")
    try:
        data = request.body
    except RequestDataTooBig:
        raise too_large() from None
    except (UnreadablePostError, RawPostDataException):
        raise InvalidRequest("the body ended too early, or was read before") from None
    return json_object(data)


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
    if is_json(request.content_type or ""):
        text = read_json(request).get(name)
    else:
        try:
            text = request.POST.get(name)
        except (RequestDataTooBig, TooManyFieldsSent):
            raise too_large() from None
        except UnreadablePostError:
            raise InvalidRequest("the body ended too early") from None
    return check_prompt(text, name, max_length)
