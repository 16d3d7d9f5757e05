"""`RequestFiles`: files of requests on the disk, one for each route and model, because a batch service takes one of each in a file."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import BinaryIO

from attrs import define, field

from hfclient.batch.jobs import Job
from hfclient.batch.service.batch_jobs import on_disk
from hfclient.batch.service.settings import BatchService

__all__ = ["RequestFile", "RequestFiles"]


@define(eq=False)
class RequestFile:
    """A file of requests.

    Attributes:
        path: Where it is.
        endpoint: Route of all its requests.
        file: Open until it is taken from `RequestFiles`.
        jobs: Those of its lines, in order.
        size: In bytes.
        inputs: Number of texts for embeddings, or of requests.
    """

    path: Path
    endpoint: str
    file: BinaryIO
    jobs: list[Job] = field(factory=list)
    size: int = 0
    inputs: int = 0


class RequestFiles:
    """The files that are being written, in a temporary folder.

    Args:
        limits: Of a file.
    """

    def __init__(self, limits: BatchService) -> None:
        self._limits = limits
        self._files: dict[tuple[str, str], RequestFile] = {}  # by route and model
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._paths = 0

    def add(self, job: Job, line: bytes, kind: tuple[str, str], inputs: int) -> RequestFile | None:
        """Write the line of *job*, whose route and model are *kind*; return the file that was full before it, closed."""
        limits, full = self._limits, self._files.get(kind)
        if full is not None and (
            full.size + len(line) > limits.max_bytes
            or len(full.jobs) >= limits.max_requests
            or full.inputs + inputs > limits.max_requests
        ):
            _close(self._files.pop(kind))
        else:
            full = None
        file = self._files.get(kind)
        path = self.new_path() if file is None else file.path
        with on_disk(path):
            if file is None:
                file = self._files[kind] = RequestFile(path, kind[0], path.open("wb"))
            file.file.write(line)
        file.jobs.append(job)
        file.size += len(line)
        file.inputs += inputs
        return full

    def take(self) -> RequestFile | None:
        """Return one of the files that have lines, closed; None without one."""
        if not self._files:
            return None
        _, file = self._files.popitem()
        _close(file)
        return file

    def new_path(self) -> Path:
        """Return the path of a new file in the folder."""
        self._paths += 1
        if self._folder is None:
            with on_disk(Path(tempfile.gettempdir())):
                self._folder = tempfile.TemporaryDirectory(prefix="hfclient-batch-")
        return Path(self._folder.name) / f"{self._paths}.jsonl"

    def close(self) -> None:
        """Remove all files."""
        for file in self._files.values():
            with contextlib.suppress(OSError):
                file.file.close()
        self._files.clear()
        if self._folder is not None:
            with contextlib.suppress(OSError):
                self._folder.cleanup()
            self._folder = None


def _close(file: RequestFile) -> None:
    with on_disk(file.path):
        file.file.close()
