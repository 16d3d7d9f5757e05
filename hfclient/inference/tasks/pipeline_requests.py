"""Requests for hf-inference's pipelines. Pure functions.

Reference: docs/protocol/inference ("Other tasks").
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen

from hfclient.errors import InvalidInputError
from hfclient.inference.providers.hf_inference import accepted_type
from hfclient.inference.tasks.table import ANY, AUDIO, OBJECT, QUESTION, ROOT, TEXT, Task
from hfclient.transport import Request

__all__ = ["FileInput", "check_inputs", "json_request", "pipeline_body", "pipeline_request", "without_none"]


@frozen
class FileInput:
    """An image or audio with its bytes.

    Attributes:
        content: The bytes.
        mime: Their type.
    """

    content: bytes = field(repr=False)
    mime: str = "application/octet-stream"

    def as_base64(self) -> str:
        """Return the bytes as plain base64: without ``data:``, which the pipelines refuse."""
        return base64.b64encode(self.content).decode()


def check_inputs(task: Task, inputs: Any) -> Any:
    """Return *inputs* if they are valid for *task*; files are not checked.

    Raises:
        InvalidInputError: They are not; the message says what the task takes.
    """
    if task.takes == TEXT:
        if not isinstance(inputs, str) or not inputs.strip():
            raise InvalidInputError(f"{task.name} takes one text that is not empty, not {_kind(inputs)}")
    elif task.takes == ANY:
        if inputs is None or inputs == "":
            raise InvalidInputError(f"{task.name} takes a text, a file or a dict, not {_kind(inputs)}")
    elif task.takes in (OBJECT, QUESTION):
        if not isinstance(inputs, Mapping) or any(inputs.get(key) in (None, "") for key in task.keys):
            raise InvalidInputError(f"{task.name} takes a dict with {' and '.join(task.keys)}, not {_kind(inputs)}")
        if "sentences" in inputs and isinstance(inputs["sentences"], str):
            raise InvalidInputError("sentences is a list of texts, not one")
        if "table" in inputs:
            return {**inputs, "table": _cells(inputs["table"])}
    elif task.name.startswith("tabular-"):
        return _cells(inputs)
    return inputs


def _cells(table: Any) -> dict[str, list[str]]:
    """Return a table with all its cells as text: the server refuses others."""
    if not isinstance(table, Mapping) or not table:
        raise InvalidInputError('a table is a dict of columns: {"city": ["Paris", "Rome"], "age": [2300, 2800]}')
    columns = [(str(name), column) for name, column in table.items() if isinstance(column, Iterable)]
    found = {name: ["" if cell is None else str(cell) for cell in column] for name, column in columns if not isinstance(column, str)}
    if len(found) < len(table) or len({len(column) for column in found.values()}) > 1:
        raise InvalidInputError("the columns of a table are lists of one length")
    return found


def pipeline_body(
    task: Task, inputs: Any, settings: Mapping[str, Any], extra: Mapping[str, Any] | None = None
) -> bytes | dict[str, Any]:
    """Return the body of a call: the bytes of a file if there are no settings, else JSON.

    Args:
        task: The task.
        inputs: From :func:`check_inputs`; files as `FileInput`.
        settings: Parameters of the task; None ones are left out.
        extra: Fields at the root, which override all others.
    """
    given: dict[str, Any] = without_none(settings)
    more = dict(extra or {})
    if isinstance(inputs, FileInput):
        if not given and not more:
            return inputs.content
        body = {"inputs": inputs.as_base64(), "parameters": given}
    elif task.name.startswith("tabular-"):
        body = {"inputs": {"data": inputs}, "parameters": given}
    elif task.takes == ROOT:
        body = {"inputs": inputs, **given}  # with its settings at the root
    elif isinstance(inputs, Mapping):
        packed = {key: value.as_base64() if isinstance(value, FileInput) else value for key, value in inputs.items()}
        body = {"inputs": packed, "parameters": given}
    else:
        body = {"inputs": inputs, "parameters": given}
    whole: dict[str, Any] = without_none({**body, **more})
    return whole


def pipeline_request(
    task: Task, url: str, inputs: Any, settings: Mapping[str, Any], extra: Mapping[str, Any] | None = None
) -> Request:
    """Return the request of a call to *url*.

    Raises:
        InvalidInputError: Something in it cannot be written as JSON.
    """
    accept = {"Accept": "*/*" if task.settings is None else "application/json" if task.decode else "audio/*, application/json;q=0.5"}
    body = pipeline_body(task, inputs, settings, extra)
    if isinstance(body, bytes):
        headers = {**accept, "Content-Type": accepted_type(inputs.mime, task.takes == AUDIO)}
        return Request(method="POST", url=url, body=body, headers=headers, stream=True)
    return json_request(url, body, accept)


def json_request(url: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Request:
    """Return a POST of *body*; the wait for its answer is limited by ``first_token``, because the model runs meanwhile.

    Raises:
        InvalidInputError: Something in it cannot be written as JSON.
    """
    return Request.with_json("POST", url, body, headers=headers, stream=True)


def without_none(value: Any) -> Any:
    """Return *value* without the fields of objects, at any depth, that are None: servers refuse ``null``."""
    if isinstance(value, Mapping):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    return [without_none(item) for item in value] if isinstance(value, (list, tuple)) else value


def _kind(inputs: Any) -> str:
    if isinstance(inputs, Mapping):
        return f"one with {', '.join(map(str, inputs)) or 'nothing'}"
    return "an empty one" if inputs == "" else type(inputs).__name__
