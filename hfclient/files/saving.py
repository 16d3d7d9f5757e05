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

__all__ = ["free_path", "safe_name", "write_file"]

_LONGEST = 120  # bytes of a name; file systems allow 255, and a suffix and a number may follow
_DEVICES = (f"{name}{digit}" for name in ("com", "lpt") for digit in "123456789¹²³")
_RESERVED = {"con", "prn", "aux", "nul", "conin$", "conout$", *_DEVICES}  # by Windows, with whatever ending


def safe_name(name: str, fallback: str = "file") -> str:
    """Return a file name, and no path, made from what a server calls something.

    Separators, control and direction characters and what Windows refuses are replaced; leading dots go.

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
    room = _LONGEST - len(suffix.encode()) - 1
    stem = stem.encode()[:room].decode("utf-8", "ignore").rstrip(". ") or fallback
    return f"{stem}.{suffix}" if suffix else stem


def free_path(folder: Path, name: str) -> Path:
    """Return a path in *folder* that does not exist yet: *name*, or *name* with a number."""
    candidate = folder / name
    stem, suffix = candidate.stem, candidate.suffix
    number = 2
    while os.path.lexists(candidate):  # a link that leads nowhere takes the name, too
        candidate = folder / f"{stem}-{number}{suffix}"
        number += 1
    return candidate


def write_file(path: Path, content: Iterable[bytes], *, overwrite: bool = False, mode: int | None = None) -> Path:
    """Write *content* to *path*, which appears only when it is complete; folders are made.

    Args:
        path: Where to.
        content: The bytes, in pieces.
        overwrite: Replace a file that is there.
        mode: Permissions; None takes the usual ones.

    Raises:
        InvalidInputError: There is a file already, or the place cannot be written.
    """
    if os.path.lexists(path) and not overwrite:
        raise _taken(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not tempfile: it makes every file private, and the usual permissions can only be asked for by changing them.
        temporary = path.parent / f".{path.name[:40]}-{os.urandom(6).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        handle = os.open(temporary, flags, 0o666 if mode is None else mode)
    except OSError as exc:
        raise InvalidInputError(f"cannot write {path}: {exc.strerror}") from exc
    except ValueError:  # half a character, or a NUL
        raise InvalidInputError(f"no file can be called {str(path)!r}") from None
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
        if isinstance(exc, OSError) and not isinstance(exc, HFClientError):  # a timeout is both
            raise InvalidInputError(f"cannot write {path}: {exc.strerror}") from exc
        raise
    return path


def _put_new(temporary: Path, path: Path) -> None:
    """Give the finished file its name, unless somebody else has taken it meanwhile."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise _taken(path) from None
    except OSError:  # a file system without hard links: an empty file takes the name first
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            raise _taken(path) from None
        temporary.replace(path)
        return
    temporary.unlink()


def _taken(path: Path) -> InvalidInputError:
    return InvalidInputError(f"{path} exists already; choose another name or pass overwrite=True")
