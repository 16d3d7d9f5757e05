"""`Answers`: the files of answers of one job, on disk, found by the id of the request."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import BinaryIO

import msgspec

from hfclient.batch.service.lines import AnswerLine, parse_line

__all__ = ["Answers"]


class _Id(msgspec.Struct):
    custom_id: str


class Answers:
    """The answers of one job. In memory are only the ids and where their lines begin."""

    def __init__(self) -> None:
        self._files: list[BinaryIO] = []
        self._places: dict[str, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def add(self, path: Path) -> None:
        """Read where the lines of *path* begin. Of several lines for one request the first one counts."""
        file = path.open("rb")
        self._files.append(file)
        number, begin = len(self._files) - 1, 0
        for line in file:
            with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):  # an item without a line is asked again
                self._places.setdefault(msgspec.json.decode(line, type=_Id).custom_id, (number, begin))
            begin += len(line)

    def get(self, custom_id: str) -> AnswerLine | None:
        """Return the line for a request; None without one."""
        place = self._places.get(custom_id)
        if place is None:
            return None
        file = self._files[place[0]]
        file.seek(place[1])
        return parse_line(file.readline())

    def close(self) -> None:
        """Close and remove the files."""
        for file in self._files:
            file.close()
            Path(file.name).unlink(missing_ok=True)
        self._files.clear()
        self._places.clear()
