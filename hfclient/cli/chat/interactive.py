"""The conversation in a terminal: ``hfclient chat`` without words."""

from __future__ import annotations

import contextlib
import logging
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

import click
from attrs import frozen

from hfclient import HFClientError
from hfclient.chat.conversations.stored_conversation import discard_unused
from hfclient.cli.chat.inference_conversation import InferenceConversation
from hfclient.cli.chat.line_editor import LineEditor, open_history
from hfclient.cli.chat.questions import Questions
from hfclient.cli.chat.slash_commands import complete, find_command, not_a_command, show_messages
from hfclient.cli.signals import Interrupts, handled
from hfclient.errors import AuthenticationError, CredentialsError, GenerationError, RateLimitError
from hfclient.events import Elicitation, Reasoning, ReasoningStatus, Token
from hfclient.redaction.control_characters import one_line

if TYPE_CHECKING:
    from hfclient import Client
    from hfclient.chat.conversations.conversation import Conversation
    from hfclient.cli.chat.one_shot import File
    from hfclient.cli.output import Output
    from hfclient.cli.rendering.markdown import MarkdownPrinter
    from hfclient.cli.rendering.text import TextPrinter
    from hfclient.stream import Stream

    Talk = Conversation | InferenceConversation

__all__ = ["ChatOptions", "Session", "dropped_files", "file_name", "run"]

_TICK = 0.1
"""Seconds without an event after which the screen is drawn again."""


@frozen
class ChatOptions:
    """Options of a conversation in the terminal.

    Attributes:
        raw: Show the text of the model instead of Markdown.
        reasoning: Show the reasoning.
        files: Attached to the first message.
        mcp: Names or URLs of MCP servers that answers may use; ``["all"]`` are those that the instance has configured.
        keeps_history: Save the prompts in the user's history.
        deletes: Delete the conversations of this session from the server at its end.
        started: Called with the conversation when an answer begins.
    """

    raw: bool = False
    reasoning: bool = True
    files: Sequence[File] = ()
    mcp: Sequence[str] = ()
    keeps_history: bool = True
    deletes: bool = False
    started: Callable[[Talk], object] | None = None


def run(client: Client, conversation: Talk, *, output: Output, options: ChatOptions = ChatOptions()) -> int:
    """Talk until the user leaves, and return the exit code.

    Args:
        client: The client of the chat server, which stays open.
        conversation: A new conversation, an existing one, whose last messages are shown, or one with an inference server.
        output: Standard output, which is a terminal.
        options: See `ChatOptions`.
    """
    session = Session(client, conversation, output, options)
    with handled({"SIGINT": session.interrupts, "SIGHUP": _hang_up}), _notes_of_the_library(session):
        try:
            return session.run()
        finally:
            session.end()


class Session:
    """What the commands of the conversation change.

    Attributes:
        client: The client.
        conversation: The conversation that the next message goes to.
        options: As they were given.
        files: Attached to the next message.
        mcp: MCP servers of the next messages.
        draft: What the next line begins with.
        next_line_edits: The next line replaces the last prompt.
        interrupts: Handles Ctrl-C.
    """

    def __init__(self, client: Client, conversation: Talk, output: Output, options: ChatOptions) -> None:
        self.client = client
        self.conversation = conversation
        self.options = options
        self.files: list[File] = list(options.files)
        self.mcp: Sequence[str] | Literal["all"] = "all" if list(options.mcp) == ["all"] else options.mcp
        self.draft = ""
        self.next_line_edits = False
        self.interrupts = Interrupts()
        self.model_names: list[str] = []
        self.pending_notes: list[str] = []  # of other threads
        self.output = output
        self.editor = LineEditor(open_history(is_saved=options.keeps_history), self._completions)
        self._confirmed = ""  # a text like a command that is sent when it is entered again
        self._used: list[Talk] = []
        self._questions = Questions()
        self._is_drawn = False  # by a printer that says itself that the answer was stopped

    # Lines for the user

    def say(self, text: str) -> None:
        """Write *text* to standard output, without control characters."""
        self.output.write(f"{text}\n")

    def note(self, text: str) -> None:
        """Write a dimmed line."""
        self.output.note(text)

    def ask(self, question: str, default: str = "") -> str:
        """Return the line that the user answers with."""
        return self.editor.ask(question, default)

    def confirm(self, question: str, *, default: bool) -> bool:
        """Return whether the user says yes; Ctrl-C and Ctrl-D say no."""
        try:
            typed = self.ask(f"{question} {'[Y/n]' if default else '[y/N]'}").lower()
        except (EOFError, KeyboardInterrupt):
            return False
        return typed.startswith("y") if typed else default

    def fail(self, error: HFClientError) -> None:
        """Write one line about an error, with its remedy."""
        message = one_line(str(error))
        if isinstance(error, GenerationError) and not message.startswith("the "):  # the server's own words
            message = f"the generation failed: {message}"
        if isinstance(error, RateLimitError) and error.retry_after:
            message += f" (wait {error.retry_after:.0f} s)"
        if isinstance(error, (AuthenticationError, CredentialsError)) and "hfclient login" not in message:
            message += "; hfclient login saves a login"
        sys.stdout.flush()
        with contextlib.suppress(OSError):
            sys.stderr.write(f"hfclient: {message}\n")

    def show_messages(self, count: int = 2) -> None:
        """Show the last messages of the conversation."""
        show_messages(self, count)

    def show_markdown(self, text: str) -> None:
        """Show a complete text."""
        with self._printer(has_summary=False) as printer:
            printer.show(Token(text))

    def _printer(self, *, has_summary: bool = True) -> TextPrinter | MarkdownPrinter:
        from hfclient.cli.rendering.markdown import answer_printer  # rich takes a moment; see _prepare()
        return answer_printer(self.output, raw=self.options.raw, has_summary=has_summary)

    # The loop

    def run(self) -> int:
        """Read and answer lines until the user leaves; return the exit code."""
        threading.Thread(target=self._prepare, name="hfclient-prepare", daemon=True).start()
        name = self.conversation.model or "default model"
        url = one_line(self.client.inference_url if self.uses_inference else self.client.base_url)
        self.note(f"{one_line(name)} at {url}. /help shows the commands, Ctrl-D exits.")
        if self.conversation.id is not None:
            with contextlib.suppress(KeyboardInterrupt), self.interrupts:
                self._guarded(self.show_messages)
        interrupts = 0  # one after another in an empty line
        while True:
            line = None
            try:
                with self.interrupts:
                    line = self._read()
                    if line.strip():
                        self._take(line)
                interrupts = 0
            except EOFError:  # Ctrl-D, /exit, or the terminal was closed
                return 0
            except KeyboardInterrupt:
                if line is not None:
                    interrupts = 0
                    self.note("[stopped]")
                elif self.next_line_edits:
                    self.next_line_edits = False
                elif interrupts:
                    return 0
                else:
                    interrupts = 1
                    self.note("Ctrl-C again or Ctrl-D exits.")

    def _read(self) -> str:
        mark = "edit> " if self.next_line_edits else "> "
        if self.files:
            names = ", ".join(map(file_name, self.files))
            mark = f"[{names}] {mark}" if len(names) < 30 else f"[{len(self.files)} files] {mark}"
        draft, self.draft = self.draft, ""
        try:
            return self.editor.read(mark, draft, is_cancelled_by_interrupt=self.next_line_edits).strip("\n")
        except OSError:  # the terminal was closed
            raise EOFError from None

    def _take(self, line: str) -> None:
        """Run the command, or send the prompt, of one line. Raises EOFError if the user leaves."""
        is_command = line.lstrip().startswith("/") and line != self._confirmed
        command, argument = find_command(line) if is_command else (None, "")
        if command is not None:
            self.next_line_edits = False
            run = command.run
            self._guarded(lambda: run(self, argument))
            return
        dropped = dropped_files(line)
        if dropped and self.confirm(f"Attach {', '.join(map(file_name, dropped))}?", default=True):
            self.files += dropped
            return
        if is_command and not dropped:
            sent = "them as they are" if "\n" in line else "the line as it is"
            self.note(f"{not_a_command(line)} Enter sends {sent}.")
            self.draft = self._confirmed = line
            return
        self._confirmed = ""
        edits, self.next_line_edits = self.next_line_edits, False
        self.send(line, edits=edits)

    def _guarded(self, call: Callable[[], object]) -> bool:
        """Call a function, write its error as a line, and return whether it succeeded."""
        try:
            call()
        except HFClientError as error:
            self.fail(error)
            return False
        except OSError as error:
            self.fail(HFClientError(f"{error.filename or 'the file'}: {error.strerror or error}"))
            return False
        return True

    # Messages

    @property
    def answer_options(self) -> dict[str, Any]:
        """Options of each message."""
        return {"mcp": self.mcp, "on_elicitation": self._questions}

    def _began(self, conversation: Talk) -> None:
        if conversation not in self._used:
            self._used.append(conversation)
        if self.options.started is not None:
            self.options.started(conversation)

    def send(self, prompt: str, *, edits: bool = False) -> None:
        """Send *prompt* and show the answer; a prompt that was refused comes back into the line."""
        options: dict[str, Any] = {"files": self.files} if self.files else {}

        def open_stream() -> Stream:
            send = self.conversation.edit if edits else self.conversation.send
            return send(prompt, **self.answer_options, **options)

        if self.answer(open_stream):
            self.files = []
        else:
            self.draft, self.next_line_edits = prompt, edits

    def answer(self, open_stream: Callable[[], Stream]) -> bool:
        """Show an answer while it is generated; return False if it never began."""
        begun, is_new = False, self.conversation.id is None
        self._is_drawn = False
        try:
            with self.editor.paused():
                stream = open_stream()
                begun = True
                self._began(self.conversation)
                self._show(stream)
        except HFClientError as error:
            self.fail(error)
            if begun:
                self.note("/retry asks again.")
            elif is_new and not isinstance(self.conversation, InferenceConversation):
                discard_unused(self.conversation)
        except KeyboardInterrupt:
            if not begun:
                self.note("[not sent]")
            elif not self._is_drawn:
                self.note("[stopped]")
        self.say("")
        return begun

    def _show(self, stream: Stream) -> None:
        """Show the events of *stream*, and ask the questions of tools in it."""
        from hfclient.cli.rendering.markdown import MarkdownPrinter

        with stream, self._printer() as printer:
            self._is_drawn = isinstance(printer, MarkdownPrinter)
            for event in stream.ticks(_TICK):
                while self.pending_notes:
                    printer.note(self.pending_notes.pop(0))
                if isinstance(event, Elicitation):
                    printer.note("[question of a tool]")  # ends what is drawn again
                    self._ask(event)
                elif self.options.reasoning or not isinstance(event, (Reasoning, ReasoningStatus)):
                    printer.show(event)
        if stream.partial.interrupted:
            self.note("[interrupted: the answer is not complete; /retry asks again]")
        elif stream.partial.finish_reason == "length":
            self.note("[cut off at the maximum number of tokens]")

    def _ask(self, question: Elicitation) -> None:
        self.draft += self.editor.typed_ahead()  # it was meant for the next prompt, not for a question that was not there
        with self.editor.echoed():
            try:
                self._questions.ask(question)
            except (click.Abort, KeyboardInterrupt):  # Ctrl-D, Ctrl-C: a question without an answer is declined
                self.note("[declined]")

    def new(self, *, model: str | None = None, system_prompt: str | None = None) -> None:
        """Begin a new conversation."""
        if isinstance(self.conversation, InferenceConversation):
            self.conversation = self.conversation.another(model=model, system_prompt=system_prompt)
        else:
            self.conversation = self.client.conversation(model=model, system_prompt=system_prompt)

    @property
    def uses_inference(self) -> bool:
        """An inference server answers, not a chat-ui."""
        return isinstance(self.conversation, InferenceConversation)

    def models(self) -> list[tuple[str, str]]:
        """Return the names of the server's models, with their descriptions."""
        if self.uses_inference:
            return [(model.id, "") for model in self.client.inference.models()]
        return [(model.id, model.description) for model in self.client.models.list()]

    def end(self) -> None:
        """Delete the conversations of this session, if that was requested."""
        if self.options.deletes:
            with contextlib.suppress(KeyboardInterrupt), self.interrupts:
                for conversation in self._used:
                    self._guarded(conversation.delete)

    # Completion

    def _completions(self, before: str) -> list[tuple[str, int]]:
        return complete(before, self.model_names)

    def _prepare(self) -> None:
        """While the first prompt is typed: import what answers need, and fetch the models' names for completion."""
        with contextlib.suppress(Exception):
            import hfclient.cli.rendering.markdown  # noqa: F401

            self.model_names = [name for name, _ in self.models()]


def file_name(file: File) -> str:
    """Return the name of an attachment."""
    return one_line(file[0] if isinstance(file, tuple) else Path(file).name)


def dropped_files(line: str) -> list[Path]:
    """Return the files if *line* has nothing but paths of files, as a file manager pastes them; else an empty list."""
    if not line.lstrip().startswith(("/", "'", '"', "~", "file://")) or "\n" in line.strip() or len(line) > 10_000:
        return []
    try:
        parts = shlex.split(line, posix=sys.platform != "win32")
        paths = [
            Path(unquote(urlsplit(part).path) if part.startswith("file://") else part.strip("\"'")) for part in parts
        ]
        return paths if all(path.is_file() for path in paths) else []
    except (ValueError, OSError, RuntimeError):
        return []


def _hang_up(number: int, frame: object) -> None:
    """End the conversation, and stop its answer, when the terminal is closed."""
    signal.signal(number, signal.SIG_IGN)  # the shell and the kernel may both send one
    raise SystemExit(128 + number)


class _Notes(logging.Handler):
    """Tells the user when a broken answer is resumed."""

    def __init__(self, session: Session) -> None:
        super().__init__(logging.INFO)
        self._session = session

    def emit(self, record: logging.LogRecord) -> None:
        if "resuming" in record.msg:
            self._session.pending_notes.append("[the connection broke; the answer is resumed]")


@contextlib.contextmanager
def _notes_of_the_library(session: Session) -> Iterator[None]:
    logger = logging.getLogger("hfclient")
    handler, level = _Notes(session), logger.level
    logger.addHandler(handler)
    if not logger.isEnabledFor(logging.INFO):
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
