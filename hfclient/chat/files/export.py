"""Export of conversations as Markdown or JSON, with their attachments and the files that tools have made.

Exports one conversation, or all of them into a folder. The folder has an index, so an export that was interrupted continues
where it stopped, and a later one fetches only what has changed. A file or a conversation that the server does not return is
left out with a warning.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from attrs import frozen

from hfclient.chat.files.downloads import fetch_file, file_name, is_file_id
from hfclient.chat.servers.service import ChatService
from hfclient.chat.wire.messages import ConversationState
from hfclient.chat.wire.tree import MessageTree
from hfclient.errors import APIStatusError, HFClientError, InvalidInputError, ProtocolError
from hfclient.files.saving import safe_name, write_file
from hfclient.types import ConversationInfo, Message

__all__ = ["Format", "Progress", "export_all", "export_one"]

Format: TypeAlias = Literal["md", "json"]
Progress: TypeAlias = "bool | Callable[[int, int, str], object] | None"
"""True for a progress bar (needs tqdm), a callable with (done, total, title), None for a bar only on a terminal, or
False.
"""

_log = logging.getLogger("hfclient")
_INDEX = "index.json"
_SKIPPED = frozenset({400, 403, 404, 405, 410, 413, 414, 422, 500})
"""Statuses that concern one file or conversation, which is then skipped; others end an export."""
_ROLES = {"system": "System", "user": "User", "assistant": "Assistant"}


def export_one(
    service: ChatService,
    conversation_id: str,
    path: Path,
    *,
    format: Format | None = None,
    files: bool = True,
    overwrite: bool = False,
    leaf_id: str | None = None,
) -> Path:
    """Write one conversation and return the path of its file.

    Args:
        service: The server.
        conversation_id: Of a conversation or a share.
        path: A file ending in ``.md`` or ``.json``, or a folder: the name is then made from title and id.
        format: ``"md"`` or ``"json"``; None takes it from *path*, else Markdown.
        files: Save attachments and files of tools too, in a folder beside it; the text names those that the server does not
            return.
        overwrite: Replace existing files.
        leaf_id: End of the branch that Markdown shows; None takes the newest. JSON holds all branches.
    """
    export = _Export(service, format, files, overwrite)
    return export.write(conversation_id, service.read_state(conversation_id), path, leaf_id)


@frozen
class _Export:
    """How conversations are written; the attributes are the arguments of `export_one`."""

    service: ChatService
    format: Format | None
    files: bool
    overwrite: bool

    def write(self, conversation_id: str, state: ConversationState, path: Path, leaf_id: str | None = None) -> Path:
        """Write one conversation and return the path of its file."""
        kind = _format_of(path, self.format)
        target = path if path.suffix in (".md", ".json") else path / _name_of(state.title, conversation_id, kind)
        if target.exists() and not self.overwrite:
            raise InvalidInputError(f"{target} exists already; choose another name or pass overwrite=True")
        saved = self._save_files(conversation_id, state, target) if self.files else {}
        text = _as_json(state, saved) if kind == "json" else _as_markdown(state, saved, leaf_id)
        return write_file(target, [text.encode()], overwrite=self.overwrite)

    def _save_files(self, conversation_id: str, state: ConversationState, target: Path) -> dict[str, str]:
        """Save all files of a conversation; return their paths, relative to *target*, by sha."""
        folder = target.with_name(target.stem + "_files")
        saved: dict[str, str] = {}
        for file in (file for message in state.messages for file in message.files):
            if file.sha in saved:
                continue
            if not is_file_id(file.sha):
                _log.warning("a file of %s is left out: %r is not an id of a file", conversation_id, file.sha[:100])
                continue
            name = f"{safe_name(file.sha)[:8]}-{file_name(file)}"  # two attachments may have the same name
            path = folder / name
            if self.overwrite or not path.exists():
                try:
                    with fetch_file(self.service, conversation_id, file, None) as pieces:
                        write_file(path, pieces, overwrite=True)
                except (APIStatusError, ProtocolError) as error:
                    # Imported shares of old servers refer to files that they do not contain.
                    if not _is_skipped(error):
                        raise
                    _log.warning("a file of %s is left out: %s", conversation_id, error)
                    continue
            saved[file.sha] = f"{folder.name}/{name}"
        return saved


def _format_of(path: Path, given: str | None) -> Format:
    found = given or path.suffix.removeprefix(".") or "md"
    if found not in ("md", "json") or (path.suffix in (".md", ".json") and path.suffix != f".{found}"):
        raise InvalidInputError(
            f'formats of an export are "md" and "json", and the suffix of {path.name!r} must not contradict format={given!r}'
        )
    return "json" if found == "json" else "md"


def _name_of(title: str, conversation_id: str, kind: Format) -> str:
    # The id tells conversations of the same title apart, and a later export finds its file again.
    return f"{safe_name(title.replace('.', ' '), 'conversation')[:80]}-{safe_name(conversation_id)[-8:]}.{kind}"


def _is_skipped(error: HFClientError) -> bool:
    return isinstance(error, ProtocolError) or (isinstance(error, APIStatusError) and error.status_code in _SKIPPED)


def _as_json(state: ConversationState, saved: Mapping[str, str]) -> str:
    data = {
        "version": 1,
        "id": state.id,
        "title": state.title,
        "model": state.model,
        "system_prompt": state.system_prompt,
        "messages": [message.to_dict() for message in state.messages],
        "files": dict(saved),
    }
    return json.dumps(data, ensure_ascii=False, indent=1, default=str) + "\n"


def _as_markdown(state: ConversationState, saved: Mapping[str, str], leaf_id: str | None) -> str:
    tree = MessageTree(state)
    path = tree.path(leaf_id or tree.newest_leaf())
    parts = [f"# {' '.join(state.title.split()) or 'Conversation'}", f"*{state.model}* · `{state.id}`"]
    for message in path:
        if message.role != "system" or message.content:
            parts += _message_parts(message, saved)
    return "\n\n".join(parts) + "\n"


def _message_parts(message: Message, saved: Mapping[str, str]) -> Iterator[str]:
    when = f" · {message.created_at:%Y-%m-%d %H:%M} UTC" if message.created_at else ""
    yield f"## {_ROLES.get(message.role, message.role)}{when}"
    for file in message.files:
        label = " ".join(file.name.split()).replace("[", "(").replace("]", ")") or file.sha[:16]
        link = saved.get(file.sha)
        prefix = "!" if file.mime.startswith("image/") else ""
        yield f"{prefix}[{label}](<{link}>)" if link else f"({label}, not saved)"
    if message.reasoning:
        yield f"<details><summary>Reasoning</summary>\n\n{message.reasoning.strip()}\n\n</details>"
    if message.content:
        yield message.content
    if message.interrupted:
        yield "*(interrupted)*"


def export_all(
    service: ChatService,
    infos: list[ConversationInfo],
    folder: Path,
    *,
    format: Format = "md",
    files: bool = True,
    progress: Progress = None,
) -> list[Path]:
    """Write all conversations of *infos* into *folder*; return the paths, in the same order.

    A conversation that is unchanged according to the folder's index is not fetched again. One that cannot be read (another
    program has deleted it, or the server fails on it) is left out with a warning; if none can be read, the first error is
    raised.
    """
    _format_of(folder / "x", format)
    export = _Export(service, format, files, overwrite=True)
    index = _read_index(folder)
    paths: list[Path] = []
    first: HFClientError | None = None
    notify = _progress_function(progress, len(infos))
    for number, info in enumerate(infos):
        notify(number, info.title)
        stamp = info.updated_at.isoformat() if info.updated_at else ""
        known = index.get(info.id)
        key = f"{format}{'+files' if files else ''}"
        old = _inside(folder, known["file"]) if known else None
        if known and old and known.get("stamp") == stamp and known.get("kind") == key and old.exists():
            paths.append(old)
            continue
        target = folder / _name_of(info.title, info.id, format)
        try:
            state = service.read_state(info.id)
        except (APIStatusError, ProtocolError, InvalidInputError) as error:
            if not (isinstance(error, InvalidInputError) or _is_skipped(error)):
                raise
            _log.warning("the conversation %s is left out: %s", info.id, error)
            first = first or error
            continue
        path = export.write(info.id, state, target)
        if old is not None and old != path and old.exists():  # the conversation was renamed
            old.unlink()
        index[info.id] = {"file": path.name, "stamp": stamp, "kind": key, "title": info.title}
        write_file(folder / _INDEX, [json.dumps(index, ensure_ascii=False, indent=1).encode()], overwrite=True)
        paths.append(path)
    notify(len(infos), "")
    if first is not None and not paths:
        raise first
    return paths


def _inside(folder: Path, name: str) -> Path:
    return folder / safe_name(name)


def _read_index(folder: Path) -> dict[str, dict[str, str]]:
    try:
        data: Any = json.loads((folder / _INDEX).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise InvalidInputError(
            f"{folder / _INDEX} cannot be read ({exc}); delete it to export everything again"
        ) from exc
    return {
        str(key): {str(name): str(text) for name, text in entry.items()}
        for key, entry in (data.items() if isinstance(data, dict) else ())
        if isinstance(entry, dict) and "file" in entry
    }


def _progress_function(progress: Progress, total: int) -> Callable[[int, str], None]:
    if callable(progress):
        report = progress

        def notify_caller(done: int, title: str) -> None:
            report(done, total, title)

        return notify_caller
    if progress is False:
        return lambda done, title: None
    try:
        from tqdm.auto import tqdm  # type: ignore[import-untyped,unused-ignore]  # optional
    except ImportError:
        if progress is True:
            raise InvalidInputError("a progress bar needs tqdm: pip install tqdm") from None
        return lambda done, title: None
    bar = tqdm(total=total, unit="chat", disable=None if progress is None else False)

    def notify(done: int, title: str) -> None:
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return notify
