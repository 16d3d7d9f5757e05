"""Saving what a server sent: its file names are made safe, and a file is written completely or not at all.

Not pathvalidate (3.3) for the names: it keeps ``..``, a leading dot, ``nul .txt`` and direction characters (U+202E), raises
UnicodeEncodeError for a lone surrogate, and cuts the suffix off a long name.
"""

from __future__ import annotations

import contextlib
import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from hfclient.errors import HFClientError, InvalidInputError

__all__ = ["free_path", "safe_name", "sync_folder", "write_file"]

_MAX_LENGTH = 120  # bytes of a name; file systems allow 255, and a suffix and a number may follow
_DEVICES = (f"{name}{digit}" for name in ("com", "lpt") for digit in "123456789¹²³")
_RESERVED = {"con", "prn", "aux", "nul", "conin$", "conout$", *_DEVICES}  # by Windows, with any suffix


def safe_name(name: str, fallback: str = "file") -> str:
    """Return a safe file name, without folders, made from a name that a server gave.

    Separators, control and direction characters and those that Windows forbids are replaced; leading dots are removed.

        >>> safe_name("../../etc/passwd"), safe_name("CON"), safe_name("")
        ('etc_passwd', '_CON', 'file')
    """
    text = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode())
    kept = "".join("_" if ch in '/\\:*?"<>|' or unicodedata.category(ch)[0] == "C" else ch for ch in text)
    kept = " ".join(kept.split()).strip(". _")
    if not kept:
        return fallback
    stem, dot, suffix = kept.rpartition(".")
    if not dot or len(suffix) > 10:
        stem, suffix = kept, ""
    if stem.partition(".")[0].strip().lower() in _RESERVED:
        stem = "_" + stem
    available = _MAX_LENGTH - len(suffix.encode()) - 1
    stem = stem.encode()[:available].decode("utf-8", "ignore").rstrip(". ") or fallback
    return f"{stem}.{suffix}" if suffix else stem


def free_path(folder: Path, name: str) -> Path:
    """Return a path in *folder* that does not exist yet: *name*, or *name* with a number."""
    candidate = folder / name
    stem, suffix = candidate.stem, candidate.suffix
    number = 2
    while os.path.lexists(candidate):  # also true for a dangling symbolic link
        candidate = folder / f"{stem}-{number}{suffix}"
        number += 1
    return candidate


def write_file(path: Path, content: Iterable[bytes], *, overwrite: bool = False, mode: int | None = None) -> Path:
    """Write *content* to *path*, which appears when it is complete; missing folders are created.

    Args:
        path: The new file.
        content: The bytes, in chunks.
        overwrite: Replace an existing file.
        mode: Permissions; None uses the defaults.

    Raises:
        InvalidInputError: The file exists already, or cannot be written.
    """
    if os.path.lexists(path) and not overwrite:
        raise _taken(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not tempfile: it creates files with mode 0600, and the default permissions cannot be restored without a race.
        temporary = path.parent / f".{path.name[:40]}-{os.urandom(6).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        handle = os.open(temporary, flags, 0o666 if mode is None else mode)
    except OSError as exc:
        raise InvalidInputError(f"cannot write {path}: {exc.strerror}") from exc
    except ValueError:  # a lone surrogate, or a NUL
        raise InvalidInputError(f"{str(path)!r} cannot be the name of a file") from None
    try:
        with os.fdopen(handle, "wb") as file:
            for piece in content:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            temporary.replace(path)
        else:
            _put_new(temporary, path)
    except BaseException as exc:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(exc, OSError) and not isinstance(exc, HFClientError):  # TransportTimeout is both
            raise InvalidInputError(f"cannot write {path}: {exc.strerror}") from exc
        raise
    return path


def _put_new(temporary: Path, path: Path) -> None:
    """Rename the complete file, unless the name has been taken meanwhile."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise _taken(path) from None
    except OSError:  # a file system without hard links: an empty file reserves the name
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            raise _taken(path) from None
        temporary.replace(path)
        return
    temporary.unlink()


def _taken(path: Path) -> InvalidInputError:
    return InvalidInputError(f"{path} exists already; choose another name or pass overwrite=True")


def sync_folder(folder: Path) -> None:
    """Write the names in *folder* to the disk, after a file was created or renamed; not every system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
