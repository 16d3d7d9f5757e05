"""Export of conversations as Markdown, JSON or notebooks, with their attachments and the files that tools have made.

Exports one conversation, or all of them into a folder. The folder has an index, so an export that was interrupted continues
where it stopped, and a later one fetches only what has changed. A file or a conversation that the server does not return is
left out with a warning.
"""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

from attrs import frozen

from hfclient.chat.files.downloads import fetch_file, file_name, is_file_id
from hfclient.chat.files.formats.branches import Branches, Exported
from hfclient.chat.files.formats.json_format import as_json
from hfclient.chat.files.formats.markdown import as_markdown
from hfclient.chat.files.formats.notebook import MAX_PICTURES, PICTURES, as_notebook
from hfclient.chat.servers.service import ChatService
from hfclient.chat.wire.messages import ConversationState
from hfclient.errors import APIStatusError, HFClientError, InvalidInputError, ProtocolError
from hfclient.files.media_types import sniff
from hfclient.files.saving import safe_name, write_file
from hfclient.progress import Progress, ProgressBar
from hfclient.types import ConversationInfo

__all__ = ["WRITERS", "Branches", "Format", "Since", "changed_since", "export_all", "export_one", "format_of"]

Format: TypeAlias = Literal["md", "json", "ipynb"]
Since: TypeAlias = "datetime.date | str"
"""A date, a datetime (local time if it has no zone), or either in ISO 8601, such as ``"2026-11-01"``."""

_log = logging.getLogger("hfclient")
_INDEX = "index.json"
_SKIPPED = frozenset({400, 403, 404, 405, 410, 413, 414, 422, 500})
"""Statuses that concern one file or conversation, which is then skipped; others end an export."""
WRITERS: dict[Format, Callable[[Exported], str]] = {"md": as_markdown, "json": as_json, "ipynb": as_notebook}
_SUFFIXES = tuple(f".{name}" for name in WRITERS)
_MAX_PICTURE = 4 * 1024 * 1024  # bytes of an image that a notebook holds; a larger one is a link


def export_one(
    service: ChatService,
    conversation_id: str,
    path: Path,
    *,
    format: Format | None = None,
    files: bool = True,
    overwrite: bool = False,
    leaf_id: str | None = None,
    branches: Branches = "all",
    progress: Progress = None,
) -> Path:
    """Write one conversation and return the path of its file.

    Args:
        service: The server.
        conversation_id: Of a conversation or a share.
        path: A file ending in ``.md``, ``.json`` or ``.ipynb``, or a folder: the name is then made from title and id.
        format: ``"md"``, ``"json"`` or ``"ipynb"``; None takes it from *path*, else Markdown.
        files: Save attachments and files of tools too, in a folder beside it; the text names those that the server does not
            return.
        overwrite: Replace existing files.
        leaf_id: End of the active branch; None takes the newest.
        branches: ``"all"``, or ``"active"`` for one.
        progress: Of the files.
    """
    format_of(path, format)
    export = _Export(service, format, files, overwrite, _checked_branches(branches))
    with ProgressBar(progress, unit="file", label="Export") as bar:
        return export.write(conversation_id, service.read_state(conversation_id), path, leaf_id, bar)


@frozen
class _Export:
    """How conversations are written; the attributes are the arguments of `export_one`."""

    service: ChatService
    format: Format | None
    files: bool
    overwrite: bool
    branches: Branches

    def write(
        self,
        conversation_id: str,
        state: ConversationState,
        path: Path,
        leaf_id: str | None = None,
        bar: ProgressBar | None = None,
    ) -> Path:
        """Write one conversation and return the path of its file."""
        kind = format_of(path, self.format)
        target = path if path.suffix in _SUFFIXES else path / _name_of(state.title, conversation_id, kind)
        if target.exists() and not self.overwrite:
            raise InvalidInputError(f"{target} exists already; choose another name or pass overwrite=True")
        saved = self._save_files(conversation_id, state, target, bar) if self.files else {}
        pictures = dict(_pictures(saved, target.parent)) if kind == "ipynb" else {}
        text = WRITERS[kind](Exported(state, saved, pictures, leaf_id, self.branches))
        return write_file(target, [text.encode("utf-8", "replace")], overwrite=self.overwrite)

    def _save_files(
        self, conversation_id: str, state: ConversationState, target: Path, bar: ProgressBar | None
    ) -> dict[str, str]:
        """Save all files of a conversation; return their paths, relative to *target*, by sha."""
        folder = target.with_name(target.stem + "_files")
        saved: dict[str, str] = {}
        files = {file.sha: file for message in reversed(state.messages) for file in reversed(message.files)}
        if bar is not None:
            bar.total = len(files)
        for number, file in enumerate(reversed(files.values())):
            if bar is not None:
                bar.update(number, file.name)
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
        if bar is not None and files:
            bar.update(len(files))
        return saved


def _pictures(saved: dict[str, str], folder: Path) -> Iterator[tuple[str, tuple[bytes, str]]]:
    """Yield content and type of the saved files that are small images, by sha."""
    left = MAX_PICTURES
    for sha, name in saved.items():
        path = folder / name
        with path.open("rb") as file:
            mime = sniff(file.read(64))
        size = path.stat().st_size
        if mime in PICTURES and size <= min(left, _MAX_PICTURE):
            left -= size
            yield sha, (path.read_bytes(), mime)


def format_of(path: Path, given: str | None = None) -> Format:
    """Return the format of a file: the *given* one, or as its name ends."""
    found = given or path.suffix.removeprefix(".") or "md"
    for kind in WRITERS:
        if found == kind and not (path.suffix in _SUFFIXES and path.suffix != f".{kind}"):
            return kind
    raise InvalidInputError(
        f'formats of an export are "md", "json" and "ipynb", and the suffix of {path.name!r} must not contradict format={given!r}'
    )


def _checked_branches(branches: Branches) -> Branches:
    if branches not in ("all", "active"):
        raise InvalidInputError(f'branches is "all" or "active", not {branches!r}')
    return branches


def _name_of(title: str, conversation_id: str, kind: Format) -> str:
    # The id tells conversations of the same title apart, and a later export finds its file again.
    return f"{safe_name(title.replace('.', ' '), 'conversation')[:80]}-{safe_name(conversation_id)[-8:]}.{kind}"


def _is_skipped(error: HFClientError) -> bool:
    return isinstance(error, ProtocolError) or (isinstance(error, APIStatusError) and error.status_code in _SKIPPED)


def changed_since(infos: Iterable[ConversationInfo], since: Since | None) -> Iterator[ConversationInfo]:
    """Yield the conversations, newest first, up to the first one that has not changed since then.

    Raises:
        InvalidInputError: *since* is not a date.
    """
    start = None if since is None else _moment(since)
    for info in infos:
        if start is not None and info.updated_at is not None and info.updated_at < start:
            return
        yield info


def _moment(since: Since) -> datetime.datetime:
    value: Any = since
    try:
        if isinstance(value, str):
            text = value.strip()
            value = datetime.datetime.fromisoformat(text[:-1] + "+00:00" if text[-1:] in ("Z", "z") else text)
        elif not isinstance(value, datetime.datetime):
            value = datetime.datetime.combine(value, datetime.time())
        aware: datetime.datetime = value.astimezone()  # without a zone it is local time
    except (TypeError, ValueError, OverflowError, OSError) as exc:
        raise InvalidInputError(
            f'since is a date, a datetime, or either in ISO 8601 such as "2026-11-01", not {since!r}'
        ) from exc
    return aware


def export_all(
    service: ChatService,
    infos: list[ConversationInfo],
    folder: Path,
    *,
    format: Format = "md",
    files: bool = True,
    branches: Branches = "all",
    progress: Progress = None,
) -> list[Path]:
    """Write all conversations of *infos* into *folder*; return the paths, in the same order.

    A conversation that is unchanged according to the folder's index is not fetched again. One that cannot be read (another
    program has deleted it, or the server fails on it) is left out with a warning; if none can be read, the first error is
    raised.
    """
    format_of(folder / "x", format)
    export = _Export(service, format, files, overwrite=True, branches=_checked_branches(branches))
    with ProgressBar(progress, total=len(infos), unit="chat", label="Export") as bar:
        return _export_all(export, infos, folder, bar)


def _export_all(export: _Export, infos: list[ConversationInfo], folder: Path, bar: ProgressBar) -> list[Path]:
    index = _read_index(folder)
    paths: list[Path] = []
    first: HFClientError | None = None
    kind = export.format or "md"
    key = f"{kind}{'+files' if export.files else ''}+{export.branches}"
    for number, info in enumerate(infos):
        bar.update(number, info.title)
        stamp = info.updated_at.isoformat() if info.updated_at else ""
        known = index.get(info.id)
        old = _inside(folder, known["file"]) if known else None
        if known and old and known.get("stamp") == stamp and known.get("kind") == key and old.exists():
            paths.append(old)
            continue
        target = folder / _name_of(info.title, info.id, kind)
        try:
            state = export.service.read_state(info.id)
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
    bar.update(len(infos))
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
    except (OSError, ValueError, RecursionError) as exc:
        raise InvalidInputError(
            f"{folder / _INDEX} cannot be read ({exc}); delete it to export everything again"
        ) from exc
    return {
        str(key): {str(name): str(text) for name, text in entry.items()}
        for key, entry in (data.items() if isinstance(data, dict) else ())
        if isinstance(entry, dict) and "file" in entry
    }
