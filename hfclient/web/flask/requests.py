"""Reading prompts from requests of Flask, with limits."""

from __future__ import annotations

from typing import Any

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Request

from hfclient.errors import HFClientError
from hfclient.web.errors import InvalidRequest
from hfclient.web.request_body import check_prompt, is_json, json_object, need_json, too_large

__all__ = ["read_json", "read_prompt"]

_CACHE = "hfclient.json"
_PIECE = 65_536


def read_json(request: Request, max_bytes: int) -> dict[str, Any]:
    """Return the JSON object of *request*; later calls return the same object.

    Raises:
        InvalidRequest: The body is not a JSON object, or its Content-Type is not JSON.
        RequestTooLargeError: It has more than *max_bytes*.
    """
    found: dict[str, Any] | None = request.environ.get(_CACHE)
    if found is None:
        need_json(request.mimetype)
        found = request.environ[_CACHE] = json_object(_read(request, max_bytes))
    return found


def read_prompt(request: Request, name: str, max_length: int) -> str:
    """Return the text in the field *name* of the JSON object or the form of *request*.

    Raises:
        InvalidRequest: The field is missing, is not a text, or is blank.
        RequestTooLargeError: The text has more than *max_length* characters, or the body is longer than that allows.
    """
    max_bytes = 6 * max_length + 100_000  # a character of JSON may take six bytes ("\\u0000")
    if is_json(request.mimetype):
        text = read_json(request, max_bytes).get(name)
    else:
        _check_length(request, max_bytes)
        if "Transfer-Encoding" in request.headers:  # its files would be written to the disk without a limit
            raise InvalidRequest("a form needs a Content-Length")
        try:
            text = request.form.get(name)
        except RequestEntityTooLarge:
            raise too_large() from None
        except Exception as exc:
            raise InvalidRequest("the body is incomplete or malformed") from exc
    return check_prompt(text, name, max_length)


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
                raise too_large()
        return b"".join(pieces)
    except RequestEntityTooLarge:
        raise too_large() from None
    except HFClientError:
        raise
    except Exception as exc:
        raise InvalidRequest("the body is incomplete or malformed") from exc


def _check_length(request: Request, max_bytes: int) -> None:
    if (request.content_length or 0) > max_bytes:
        raise too_large()
