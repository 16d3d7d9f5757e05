"""The line in which a prompt is written: history, several lines, paste, completion, an editor."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from hfclient.cli.signals import wakeup_kept
from hfclient.credentials.secret_files import settings_folder
from hfclient.redaction.control_characters import one_line, stripped
from hfclient.redaction.masking import masked

__all__ = ["Complete", "LineEditor", "open_history"]

Complete = Callable[[str], list[tuple[str, int]]]
"""Called with the text before the cursor; returns completions, each with the length of the text that it replaces."""

_MAX_ENTRY = 20_000
"""Characters of the longest prompt that is saved."""
_SECRET = re.compile(r"\b(?:hf_|sk-|gh[opsu]_|github_pat_|xox[a-z]-|AKIA)[\w-]{16,}|-----BEGIN [A-Z ]*PRIVATE KEY")
"""Tokens of well-known forms; a prompt with one is not saved."""
_MAX_FILE = 2_000_000
"""Bytes of the history; when it is opened, the older half of a larger file is removed."""


class LineEditor:
    """Reads prompts from the terminal.

    Args:
        history: The prompts of before.
        complete: Completes the line; see `Complete`.
    """

    def __init__(self, history: History, complete: Complete) -> None:
        self._cancels = False
        self._prompts: PromptSession[str] = PromptSession(
            history=history,
            multiline=True,
            key_bindings=_bindings(lambda: self._cancels),
            completer=_Completer(complete),
            complete_while_typing=False,
            enable_open_in_editor=True,
            tempfile_suffix=".md",
            prompt_continuation=lambda width, line, is_wrapped: " " * width,
            reserve_space_for_menu=4,
        )
        self._answers: PromptSession[str] | None = None

    def read(self, mark: str = "> ", text: str = "", *, is_cancelled_by_interrupt: bool = False) -> str:
        """Return the next prompt.

        Args:
            mark: What comes before the line.
            text: What is in the line already.
            is_cancelled_by_interrupt: Ctrl-C raises also if the line has a text.

        Raises:
            KeyboardInterrupt: Ctrl-C in an empty line; otherwise it empties the line.
            EOFError: Ctrl-D in an empty line, or the terminal was closed.
        """
        # A dumb terminal would not show what is in the line already.
        self._cancels = is_cancelled_by_interrupt
        with wakeup_kept():
            return self._prompts.prompt(FormattedText([("bold", mark)]), default="" if _is_dumb() else text)

    def ask(self, question: str, default: str = "") -> str:
        """Return the answer to a question, which is not saved. Raises as :meth:`read`."""
        if self._answers is None:
            self._answers = PromptSession(history=InMemoryHistory(), key_bindings=_bindings(lambda: False))
        with wakeup_kept():
            return self._answers.prompt(f"{one_line(question)} ", default=default).strip()

    def paused(self) -> contextlib.AbstractContextManager[None]:
        """Do not show what is typed inside this block; it appears in the next line that is read."""
        return _echo(False)

    def typed_ahead(self) -> str:
        """Return what was typed and not read yet, and take it from the terminal."""
        return _pending()

    def echoed(self) -> contextlib.AbstractContextManager[None]:
        """Show what is typed inside this block, for questions."""
        return _echo(True)


@contextlib.contextmanager
def _echo(wanted: bool) -> Iterator[None]:
    try:
        import termios
    except ImportError:  # Windows: only a program that reads the line shows it
        yield
        return
    try:
        before = termios.tcgetattr(sys.stdin)
        changed = before[:]
        changed[3] = changed[3] | termios.ECHO if wanted else changed[3] & ~termios.ECHO
        termios.tcsetattr(sys.stdin, termios.TCSANOW, changed)
    except (termios.error, OSError, ValueError):
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(termios.error, OSError, ValueError):
            termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def _pending() -> str:
    try:
        import termios
    except ImportError:  # Windows
        return ""
    typed = bytearray()
    try:
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
        changed = before[:]
        changed[3] &= ~termios.ICANON  # so that also a line without its end can be read
        changed[6] = [*before[6]]
        changed[6][termios.VMIN] = changed[6][termios.VTIME] = 0
        termios.tcsetattr(descriptor, termios.TCSANOW, changed)
        try:
            while data := os.read(descriptor, 65536):
                typed += data
        finally:
            termios.tcsetattr(descriptor, termios.TCSANOW, before)
    except (termios.error, OSError, ValueError):
        pass
    return stripped(typed.decode("utf-8", "ignore")).rstrip("\n")


def _is_dumb() -> bool:
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")


def _bindings(cancels: Callable[[], bool]) -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("c-j", eager=True, filter=Condition(_is_dumb))  # Emacs sends it for Enter
    @bindings.add("enter", eager=True)
    def _enter(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.complete_state:  # the first Enter takes the completion
            buffer.complete_state = None
        elif buffer.document.text_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.newline(copy_margin=False)
        else:
            buffer.validate_and_handle()

    # Ctrl-J is also what Enter has sent while an answer was written: such a line is looked at before it is sent.
    @bindings.add("escape", "enter", eager=True)
    @bindings.add("c-j", eager=True, filter=~Condition(_is_dumb))
    def _newline(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    @bindings.add("c-c", eager=True)
    @bindings.add("<sigint>")
    def _interrupt(event: KeyPressEvent) -> None:
        if event.current_buffer.text and not cancels():
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt(), style="class:aborting")

    return bindings


class _Completer(Completer):
    def __init__(self, complete: Complete) -> None:
        self._complete = complete

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        for text, replaced in self._complete(document.text_before_cursor):
            yield Completion(text, start_position=-replaced, display=one_line(text))


class _PrivateHistory(FileHistory):
    """A history in a file that only its user can read, without secrets and long texts."""

    def append_string(self, string: str) -> None:
        if string.strip():
            super().append_string(string)

    def store_string(self, string: str) -> None:
        # A leading space keeps a prompt out of the file, as in shells.
        if string[:1].isspace() or len(string) > _MAX_ENTRY:
            return
        if _SECRET.search(string) or masked(string) != string:
            return
        with contextlib.suppress(OSError):  # a full disk must not end the conversation
            super().store_string(string)


def open_history(*, is_saved: bool = True) -> History:
    """Return the history of prompts: of ``chat-history`` in the settings folder, or of this conversation alone."""
    folder = settings_folder() if is_saved else None
    if folder is None:
        return InMemoryHistory()
    path = folder / "chat-history"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_private(path)
    except OSError:
        return InMemoryHistory()
    return _PrivateHistory(str(path))


def _make_private(path: Path) -> None:
    """Create the file, or make it readable by its user only; shorten it if it is long."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path} is not a file")
        if hasattr(os, "fchmod"):
            os.fchmod(file.fileno(), 0o600)
        size = status.st_size
        if size <= _MAX_FILE:
            return
        file.seek(size - _MAX_FILE // 2)
        rest = file.read()
    # Mode 0600, and never through a link that is there already.
    descriptor, new = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(rest[max(0, rest.find(b"\n#")) :])
        Path(new).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(new).unlink()
        raise
