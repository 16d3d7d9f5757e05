"""OpenAI's batch files, the input: a line for each request.

Reference: https://platform.openai.com/docs/guides/batch; vLLM reads the same form (``vllm run-batch``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from hfclient.batch.items import Item, Items, read_items
from hfclient.errors import InvalidInputError
from hfclient.files.saving import write_file

if TYPE_CHECKING:
    from hfclient.batch.calls import Call
    from hfclient.inference import InferenceClient

__all__ = ["is_request", "read_request", "write_requests"]

_ROUTE = re.compile(r"/[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*")


def is_request(row: Mapping[str, Any]) -> bool:
    """Return whether *row* looks like a line of a batch file."""
    return "body" in row and "custom_id" in row


def read_request(index: int, row: Mapping[str, Any]) -> Item:
    """Return the item of a line: its input is the body, its only option the ``url``.

    Raises:
        InvalidInputError: A field is missing or wrong.
    """
    name, method, url, body = row["custom_id"], row.get("method", "POST"), row.get("url"), row["body"]
    if not isinstance(name, str) or not name:
        raise InvalidInputError('"custom_id" must be a string that is not empty')
    if method != "POST":
        raise InvalidInputError(f'"method" must be "POST", not {method!r}')
    if not isinstance(url, str) or not _ROUTE.fullmatch(url):
        raise InvalidInputError(f'"url" must be a route such as "/v1/chat/completions", not {url!r}')
    if not isinstance(body, Mapping):
        raise InvalidInputError('"body" must be an object')
    return Item(index, body, {"url": url}, name, row)


def write_requests(
    path: str | os.PathLike[str],
    items: Any,
    *,
    model: str | None = None,
    call: str = "chat",
    column: str | Mapping[str, str] | None = None,
    template: str | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Path:
    """Write a file of requests that a provider's batch service accepts, or vLLM's ``run-batch``, and return its path.

        write_requests("requests.jsonl", "in.csv", template="Summarise: {text}", model="gpt-4o-mini", max_tokens=200)

    Nothing is sent. Each request has the body that the call itself would send. The file can be as long as the input; OpenAI accepts
    50,000 requests and 200 MB in one.

    Args:
        path: The file; it appears when it is complete.
        items: As for `InferenceClient.map`. The ``custom_id`` of a request is the item's id, or else its number.
        model: Hub id, or the provider's name of the model. Items may have models of their own.
        call: ``"chat"`` or ``"embed"``.
        column, template: As in `MapOptions`.
        overwrite: Replace an existing file.
        options: Those of the call. ``provider`` and ``timeouts`` have no place in a file.

    Raises:
        InvalidInputError: An item cannot be read or has no model, an option is wrong, or the file exists or cannot be written.
        TypeError: The call has no option of that name.
    """
    from hfclient.batch.calls import call_for
    from hfclient.batch.service.lines import check_options
    from hfclient.client import Client

    check_options(options)
    if model is not None:
        options["model"] = model
    # No request is sent to this address.
    with Client("http://localhost", token="", cookies="", session="", inference_url="http://localhost/v1") as client:
        called = call_for(client.inference, call, options)
        read = read_items(items, column=column, template=template, options=called.item_options, check=called.check)
        return write_file(Path(path), _lines(read, called, client.inference, model), overwrite=overwrite)


def _lines(items: Items, called: Call, inference: InferenceClient, model: str | None) -> Iterator[bytes]:
    from hfclient.batch.service.lines import RequestLine

    line = RequestLine(called, inference)
    for item in items:
        if item.error is not None:
            raise item.error
        if items.are_requests:
            yield msgspec.json.encode(item.source) + b"\n"
            continue
        if model is None and item.options.get("model") is None:
            raise InvalidInputError(f"item {item.index} has no model: pass model=")
        yield line.write(item, str(item.index) if item.id is None else item.id)[0]
