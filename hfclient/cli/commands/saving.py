"""Where a command saves images, videos and audio: a file, a folder, a pattern, or standard output."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hfclient.cli.rendering.status import warn
from hfclient.errors import InvalidInputError
from hfclient.files.media_types import SUFFIXES

if TYPE_CHECKING:
    from hfclient.cli.output import Output
    from hfclient.inference.media.images import Media

__all__ = ["Target", "overwrite_option", "print_saved", "refuse_existing", "saving_options"]

_F = TypeVar("_F", bound=Callable[..., Any])


overwrite_option = click.option("--overwrite", is_flag=True, help="Replace an existing file.")


def saving_options(command: _F) -> _F:
    """Add ``-o`` and ``--overwrite``."""
    output = click.option(
        "-o",
        "--output",
        "target",
        metavar="PATH",
        help="File, folder, or pattern such as {i:02d}-{slug}; - for standard output. "
        "Default: this folder, named for the text.",
    )
    return output(overwrite_option(command))


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise ``click.UsageError`` if a file exists that must not be replaced: before anything is sent."""
    if path.exists() and not overwrite:
        raise click.UsageError(f"{path} exists already; choose another name or pass --overwrite")


class Target:
    """The place for *count* results of one command.

    Args:
        target: What ``-o`` says, or None.
        count: How many results there will be.
        overwrite: Replace existing files.
        output: Standard output.

    Raises:
        click.UsageError: A file exists already, or several results or a terminal are the target of ``-``. Raised before
            anything is sent.
    """

    def __init__(self, target: str | None, count: int, overwrite: bool, output: Output) -> None:
        self.is_stdout = target == "-"
        self._target = target or "./"
        self._count = count
        self._overwrite = overwrite
        self._number = 0
        if self.is_stdout:
            if count > 1:
                raise click.UsageError("only one result fits on standard output")
            if output.is_terminal:
                raise click.UsageError("-o - writes bytes; redirect it to a file or a program")
        elif "{" in self._target:
            from hfclient.inference.media.image_lists import check_pattern

            check_pattern(self._target)
        elif not overwrite and not self._is_folder:
            for number in range(count):
                path = self._path(number, None)
                if path.suffix:
                    refuse_existing(path, overwrite)

    @property
    def _is_folder(self) -> bool:
        return self._target.endswith(("/", "\\")) or Path(self._target).is_dir()

    def save(self, made: Media, **options: Any) -> Path | None:
        """Save a result and return its path; None on standard output.

        Raises:
            InvalidInputError: It cannot be saved there. It is then saved in the folder for temporary files, and a note says where.
        """
        number, self._number = self._number, self._number + 1
        if self.is_stdout:
            sys.stdout.flush()
            sys.stdout.buffer.write(made.content)
            sys.stdout.buffer.flush()
            return None
        place: Path | str = self._target
        try:
            if not self._is_folder:
                place = self._path(number, made)
            return made.save(place, overwrite=self._overwrite, **options)
        except InvalidInputError as error:
            if isinstance(place, Path) and place.suffix and place.suffix.lower() not in SUFFIXES.get(made.mime, ()):
                with contextlib.suppress(InvalidInputError):
                    path = made.save(place.with_suffix(made.suffix), overwrite=self._overwrite, **options)
                    warn(f"this is {made.mime}, so it was saved as {path}")
                    return path
            folder = Path(tempfile.mkdtemp(prefix="hfclient-"))
            warn(f"{error.message}; it was saved as {made.save(f'{folder}/')}")
            raise

    def _path(self, number: int, made: Media | None) -> Path:
        """Return the file for the result at position *number*; for None as far as it is known before."""
        if made is not None and "{" in self._target:
            from hfclient.inference.media.image_lists import fill_pattern

            return Path(fill_pattern(self._target, number, made))
        path = Path(self._target)
        return path if self._count == 1 else path.with_name(f"{path.stem}-{number + 1}{path.suffix}")


def print_saved(output: Output, made: Media, path: Path, *, as_lines: bool) -> None:
    """Print the path of a result, or with ``--json`` all that is known of it except its bytes."""
    if as_lines:
        fields = {name: value for name, value in made.to_dict().items() if name not in ("content", "url")}
        output.write_json({"path": str(path), "bytes": len(made.content), **fields})
    else:
        output.write(f"{path}\n")
