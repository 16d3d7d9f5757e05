"""A conversation as a Jupyter notebook: prompts and answers as Markdown, Python code of answers as code cells.

Nothing is executed, and code cells have no outputs. A text of a model or a server passes `safe_markdown`, because a notebook
front end renders it. The ids of the cells follow from those of the messages, so two exports of the same conversation are equal.

Reference: https://nbformat.readthedocs.io/en/latest/format_description.html (4.5)
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from hfclient.chat.files.formats.branches import Branch, Exported, beginning, branches_of, heading, one_line_title
from hfclient.decoding.fences import split_fences
from hfclient.files.media_types import SUFFIXES
from hfclient.redaction.markdown import as_markdown_text, safe_markdown
from hfclient.types import Message

__all__ = ["MAX_PICTURES", "PICTURES", "as_notebook"]

MAX_PICTURES = 40 * 1024 * 1024
"""Bytes of all images that a notebook holds, each counted in every message that has it."""

PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
"""Images that notebook front ends show as attachments of a cell."""

_PYTHON = ("python", "py", "python3", "ipython", "ipython3")


def as_notebook(exported: Exported) -> str:
    """Return the notebook file: the active branch, then what other branches add."""
    state = exported.state
    cells = _Cells(state.id)
    cells.markdown("title", _heading(1, one_line_title(state)), _code(state.model) + " · " + _code(state.id))
    for branch in branches_of(exported):
        if branch.number > 1:
            _begin_branch(cells, branch)
        for message in branch.messages:
            _add_message(cells, message, exported)
    notebook = {
        "cells": cells.cells,
        "metadata": {
            "hfclient": {"conversation_id": state.id, "model": state.model, "title": state.title},
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


class _Cells:
    """The cells of a notebook, with ids that depend on the message and the number of the cell in it."""

    def __init__(self, conversation_id: str) -> None:
        self.cells: list[dict[str, Any]] = []
        self._conversation_id = conversation_id
        self._counts: Counter[str] = Counter()  # cells of each message
        self._left = MAX_PICTURES

    def markdown(self, key: str, *parts: str, message: Message | None = None, attachments: dict[str, Any] | None = None) -> None:
        self._add("markdown", key, "\n\n".join(parts), message, {"attachments": attachments} if attachments else {})

    def code(self, key: str, code: str, message: Message) -> None:
        self._add("code", key, code, message, {"execution_count": None, "outputs": []})

    def has_space(self, picture: bytes) -> bool:
        """Whether the notebook takes another image, which then counts."""
        if len(picture) > self._left:
            return False
        self._left -= len(picture)
        return True

    def _add(self, kind: str, key: str, source: str, message: Message | None, more: dict[str, Any]) -> None:
        seed = f"{self._conversation_id}/{key}/{self._counts[key]}"
        self._counts[key] += 1
        metadata: dict[str, Any] = {}
        if message is not None:
            metadata["hfclient"] = {"message_id": message.id, "role": message.role}
            if message.created_at is not None:
                metadata["hfclient"]["created_at"] = message.created_at.isoformat()
        lines = source.split("\n")
        self.cells.append(
            {
                "cell_type": kind,
                "id": hashlib.sha256(seed.encode("utf-8", "replace")).hexdigest()[:16],
                "metadata": metadata,
                "source": [line + "\n" for line in lines[:-1]] + lines[-1:],
                **more,
            }
        )


def _begin_branch(cells: _Cells, branch: Branch) -> None:
    words = beginning(branch.parent)
    place = [f"Continues after: {_code(words)}"] if words else []
    cells.markdown(f"branch {branch.number}", "---", f"## Branch {branch.number}", *place)


def _add_message(cells: _Cells, message: Message, exported: Exported) -> None:
    parts = [_heading(3, heading(message))]
    attachments: dict[str, Any] = {}
    for file, label, link in exported.files(message):
        picture = exported.pictures.get(file.sha)
        if picture is not None and cells.has_space(picture[0]):
            content, mime = picture
            name = file.sha[:16] + SUFFIXES[mime][0]
            attachments[name] = {mime: base64.b64encode(content).decode()}
            parts.append(f"![image](attachment:{name})")
        if link is None:
            parts.append(f"{_code(label)}: not saved")
        else:
            parts.append(f"[{as_markdown_text(label)}](<{quote(link)}>)")
    if message.reasoning:
        parts.append(f"<details><summary>Reasoning</summary>\n\n{safe_markdown(message.reasoning.strip())}\n\n</details>")
    for text, code in _split(message):
        if text.strip():
            parts.append(safe_markdown(text).strip("\n"))
        if code is not None:
            if parts:
                cells.markdown(message.id, *parts, message=message, attachments=attachments)
                parts, attachments = [], {}
            cells.code(message.id, code, message)
    if message.interrupted:
        parts.append("*(interrupted)*")
    if parts:
        cells.markdown(message.id, *parts, message=message, attachments=attachments)


def _split(message: Message) -> Iterator[tuple[str, str | None]]:
    """Yield the text up to each block of complete Python code in an answer with that code, then the rest of the text."""
    if message.role != "assistant":
        yield message.content, None
        return
    text: list[str] = []
    for part in split_fences(message.content):
        if isinstance(part, str):
            text.append(part)
        elif part.language in _PYTHON and part.closed and not part.nested and part.code.strip():
            yield "".join(text), part.code
            text = []
        else:
            text.append(part.source)
    yield "".join(text), None


# Texts of a server in one line


def _heading(level: int, text: str) -> str:
    return "#" * level + " " + _inline(text)


def _inline(text: str) -> str:
    return safe_markdown("# " + " ".join(text.split())).strip("\n").removeprefix("# ")


def _code(text: str) -> str:
    """Return a text as inline code, of which a renderer reads nothing."""
    return f"<code>{as_markdown_text(text)}</code>" if text else ""
