"""A reply as a file: Markdown, plain text or JSON."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hfclient.errors import InvalidInputError
from hfclient.files.saving import free_path, safe_name, write_file
from hfclient.redaction.markdown import fenced

if TYPE_CHECKING:
    from hfclient.events import Source, ToolCall
    from hfclient.types import Reply

__all__ = ["inline_code", "link_label", "reasoning_markdown", "reply_markdown", "save_reply", "source_list"]

_MAX_NAME = 60  # characters of a title or a text that become a file's name
_SUFFIXES = (".md", ".txt", ".json")


def save_reply(reply: Reply, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a reply and return the path of its file; see `Reply.save`."""
    target = Path(path)
    if target.is_dir() or os.fspath(path).endswith(("/", os.sep)):
        words = " ".join((reply.title or reply.text[:200]).replace(".", " ").split())
        name = safe_name(words[:_MAX_NAME], "reply") + ".md"
        target = target / name if overwrite else free_path(target, name)
    elif not target.suffix:
        target = target.with_name(target.name + ".md")
    suffix = target.suffix.lower()
    if suffix not in _SUFFIXES:
        raise InvalidInputError(
            f"a reply is saved as .md, .txt or .json, not as {target.suffix}; its code is in code_blocks(), which are texts to write"
        )
    text = _json(reply) if suffix == ".json" else reply.text if suffix == ".txt" else reply_markdown(reply)
    content = text if text.endswith("\n") else text + "\n"
    return write_file(target, [content.encode("utf-8", "replace")], overwrite=overwrite)


def _json(reply: Reply) -> str:
    return json.dumps(reply.to_dict(), ensure_ascii=False, indent=1, default=str)


def reply_markdown(reply: Reply) -> str:
    """Return a reply as Markdown: reasoning, tool calls, the text as the model wrote it, sources, and names of files."""
    return "\n\n".join(_parts(reply))


def _parts(reply: Reply) -> Iterator[str]:
    if reply.reasoning.strip():
        yield reasoning_markdown(reply.reasoning)
    outcomes: dict[str, str] = {}
    for error in reply.tool_errors:
        outcomes[error.uuid] = f"failed: {error.message}"
    for result in reply.tool_results:
        texts = [output["text"] for output in result.outputs if isinstance(output.get("text"), str)]
        outcomes[result.uuid] = result.message or "\n".join(texts)
    for call in reply.tool_calls:
        yield from _tool_parts(call, outcomes.get(call.uuid, ""))
    if reply.text:
        yield reply.text
    if reply.sources:
        yield "**Sources**\n\n" + source_list(reply.sources)
    if reply.files:
        names = (f"- {inline_code(file.name or file.sha)} ({link_label(file.mime) or 'unknown type'})" for file in reply.files)
        yield "**Files**\n\n" + "\n".join(names)
    if reply.interrupted:
        yield "*(interrupted)*"


def _tool_parts(call: ToolCall, outcome: str) -> Iterator[str]:
    yield f"**Tool** {inline_code(call.name)}"
    arguments = call.arguments or (json.dumps(call.parameters, ensure_ascii=False, default=str) if call.parameters else "")
    if arguments:
        yield fenced(arguments, "json")
    if outcome:
        yield fenced(outcome)


def reasoning_markdown(text: str) -> str:
    """Return reasoning as a folded section."""
    return f"<details><summary>Reasoning</summary>\n\n{text.strip()}\n\n</details>"


def source_list(sources: Iterable[Source]) -> str:
    """Return web pages as a numbered list of links."""
    return "\n".join(f"{number}. {_link(source)}" for number, source in enumerate(sources, 1))


def _link(source: Source) -> str:
    label = link_label(source.title or source.hostname or source.link)
    target = "".join(source.link.split()).replace("<", "%3C").replace(">", "%3E")
    if not target.lower().startswith(("https://", "http://")):  # javascript: and the like
        return f"{label}: {inline_code(source.link)}"
    return f"[{label}](<{target}>)"


def link_label(text: str) -> str:
    """Return a text for the square brackets of a link, in one line."""
    words = " ".join(text.split())
    return "".join("\\" + character if character in "[]\\`<*_" else character for character in words)


def inline_code(text: str) -> str:
    """Return a short text as inline code."""
    words = " ".join(text.split())
    marks = "`" * (1 + max(map(len, re.findall("`+", words)), default=0))
    space = " " if words.startswith("`") or words.endswith("`") else ""
    return f"{marks}{space}{words}{space}{marks}"
