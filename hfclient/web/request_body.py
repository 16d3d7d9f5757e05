"""What browsers post to a view: the JSON object and the prompt, checked. Each framework reads the bytes in its own way."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from hfclient.errors import RequestTooLargeError
from hfclient.web.errors import InvalidRequest

__all__ = ["check_prompt", "is_json", "json_object", "need_json", "too_large"]


def is_json(media_type: str) -> bool:
    """Whether a body of this type is JSON."""
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))


def need_json(media_type: str) -> None:
    """Refuse other types: a form of another site can send them without asking this server."""
    if not is_json(media_type):
        raise InvalidRequest("the body is not JSON: its Content-Type is application/json")


def json_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object in *data*.

    Raises:
        InvalidRequest: It is not one.
    """
    try:
        found = json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise InvalidRequest("the body is not valid JSON") from None
    if not isinstance(found, dict):
        raise InvalidRequest("the body is not a JSON object")
    return found


def check_prompt(text: object, name: str, max_length: int) -> str:
    """Return *text*, the field *name* of a request.

    Raises:
        InvalidRequest: It is missing, is not a text, or is blank.
        RequestTooLargeError: It has more than *max_length* characters.
    """
    if not isinstance(text, str):
        raise InvalidRequest(f"the field {name} is missing, or is not a text")
    if not text.strip():
        raise InvalidRequest(f"the field {name} is empty")
    if len(text) > max_length:
        raise too_large()
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:  # half of a surrogate pair
            raise InvalidRequest(f"the field {name} is not valid Unicode") from None
    return text


def too_large() -> RequestTooLargeError:
    """Return the error for a body that is too long."""
    return RequestTooLargeError("the body of the request is too long", status_code=413)


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)
