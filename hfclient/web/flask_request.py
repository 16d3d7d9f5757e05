"""Reading prompts from requests of Flask, with limits."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Request

from hfclient.errors import HFClientError, RequestTooLargeError
from hfclient.web.errors import InvalidRequest

__all__ = ["read_json", "read_prompt"]

_CACHE = "hfclient.json"
_PIECE = 65_536


def read_json(request: Request, max_bytes: int) -> dict[str, Any]:
    """Return the JSON object of *request*; later calls return the same object.

    Raises:
        InvalidRequest: The body is not a JSON object, or its Content-Type is not JSON.
        RequestTooLargeError: It has more than *max_bytes*.
    """
    found = request.environ.get(_CACHE)
    if found is None:
        # Other types can be sent across sites by a form without asking this server.
        if not request.is_json:
            raise InvalidRequest("the body is not JSON: its Content-Type is application/json")
        try:
            found = json.loads(_read(request, max_bytes), parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise InvalidRequest("the body is not valid JSON") from None
        if not isinstance(found, dict):
            raise InvalidRequest("the body is not a JSON object")
        request.environ[_CACHE] = found
    return found


def read_prompt(request: Request, name: str, max_length: int) -> str:
    """Return the text in the field *name* of the JSON object or the form of *request*.

    Raises:
        InvalidRequest: The field is missing, is not a text, or is blank.
        RequestTooLargeError: The text has more than *max_length* characters, or the body is longer than that allows.
    """
    max_bytes = 6 * max_length + 100_000  # a character of JSON may take six bytes ("\\u0000")
    if request.is_json:
        text = read_json(request, max_bytes).get(name)
    else:
        _check_length(request, max_bytes)
        if "Transfer-Encoding" in request.headers:  # its files would be written to the disk without a limit
            raise InvalidRequest("a form needs a Content-Length")
        try:
            text = request.form.get(name)
        except RequestEntityTooLarge:
            raise _too_large() from None
        except Exception as exc:
            raise InvalidRequest("the body is incomplete or malformed") from exc
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


def _read(request: Request, max_bytes: int) -> bytes:
    _check_length(request, max_bytes)
    try:
        if request.content_length is not None:
            return request.get_data()
        pieces: list[bytes] = []  # chunked
        while piece := request.stream.read(_PIECE):
            pieces.append(piece)
            max_bytes -= len(piece)
            if max_bytes < 0:
                raise _too_large()
        return b"".join(pieces)
    except RequestEntityTooLarge:
        raise _too_large() from None
    except HFClientError:
        raise
    except Exception as exc:
        raise InvalidRequest("the body is incomplete or malformed") from exc


def _check_length(request: Request, max_bytes: int) -> None:
    if (request.content_length or 0) > max_bytes:
        raise _too_large()


def _too_large() -> RequestTooLargeError:
    return RequestTooLargeError("the body of the request is too long", status_code=413)


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)
