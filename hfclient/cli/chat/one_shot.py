"""One prompt and its answer, on standard output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from hfclient import events
from hfclient.cli.chat.questions import Questions
from hfclient.cli.output import Output, as_json
from hfclient.cli.rendering.text import TextPrinter
from hfclient.errors import HFClientError
from hfclient.stream import Stream
from hfclient.types import Reply

if TYPE_CHECKING:
    from hfclient import Client, Conversation
    from hfclient.cli.chat.json_answer import JSONSchema
    from hfclient.cli.rendering.markdown import MarkdownPrinter

__all__ = [
    "ChatServer",
    "InferenceServer",
    "Peer",
    "print_answer",
    "print_code",
    "print_events",
    "print_json",
    "print_reply",
]

_TICK = 0.1
"""Seconds without an event after which a terminal is drawn again."""

File = Path | tuple[str, bytes]


class Peer(Protocol):
    """The server that answers."""

    def send(self, text: str, about: Reply | None = None) -> Stream:
        """Send the prompt, or *text* about the answer *about*, and return the stream of the answer."""


class ChatServer:
    """A chat-ui.

    Args:
        client: Its client.
        conversation: An existing conversation, or a new one.
        files: Attachments of the prompt.
        mcp: Names of MCP servers, or addresses; ``["all"]`` are those that the instance has configured.
        questions: Answers to questions of tools.
        started: Called with the conversation when it has its first message.
    """

    def __init__(
        self,
        client: Client,
        conversation: Conversation,
        *,
        files: list[File],
        mcp: list[str],
        questions: Questions,
        started: Callable[[Conversation], object],
    ) -> None:
        self._client = client
        self._files = files
        self._options: dict[str, Any] = {"mcp": "all" if mcp == ["all"] else mcp, "on_elicitation": questions}
        self._started = started
        self.conversation = conversation

    def send(self, text: str, about: Reply | None = None) -> Stream:
        """Send a message."""
        if about is not None:
            return self.conversation.send(text, **self._options)
        if self.conversation.id is None:
            # Not conversation.send(): chat() deletes the new conversation if the message is refused.
            model, system = self.conversation.model, self.conversation.system_prompt
            stream = self._client.chat(text, model=model, system_prompt=system, files=self._files, **self._options)
            self.conversation = stream.conversation
        else:
            stream = self.conversation.send(text, files=self._files, **self._options)
        self._started(self.conversation)
        return stream


class InferenceServer:
    """A server of chat completions: Hugging Face's router, or another one.

    Args:
        client: Its client.
        files: Attachments of the prompt.
        options: Those of `InferenceClient.chat`; None is left out.
    """

    def __init__(self, client: Client, *, files: list[File], **options: Any) -> None:
        self._client = client
        self._options = {name: value for name, value in options.items() if value is not None}
        self._files = files
        self._messages: list[dict[str, Any]] = []

    def send(self, text: str, about: Reply | None = None) -> Stream:
        """Send all messages so far, and *text*."""
        message: dict[str, Any] = {"role": "user", "content": text}
        if about is not None:
            self._messages.append({"role": "assistant", "content": about.text or "-"})  # an empty one is refused
        elif self._files:
            message["files"] = self._files
        self._messages.append(message)
        return self._client.inference.chat(self._messages, **self._options)


def print_answer(peer: Peer, prompt: str, questions: Questions, *, raw: bool, reasoning: bool, at_once: bool) -> None:
    """Print the answer: as Markdown on a terminal, and as text with *raw* and in a pipe.

    Args:
        peer: The server.
        prompt: The prompt.
        questions: Answers to questions of tools.
        raw: Do not render Markdown.
        reasoning: Print the reasoning on a terminal.
        at_once: Print nothing before the answer is complete, or has failed.

    Raises:
        click.ClickException: The server stopped the answer before its end.
    """
    output = Output()
    has_markdown = output.is_terminal and not raw
    printer: TextPrinter | MarkdownPrinter = TextPrinter(output)
    if has_markdown:
        from hfclient.cli.rendering.markdown import answer_printer  # rich takes a tenth of a second to import

        printer = answer_printer(output)
    hidden = () if reasoning else (events.Reasoning, events.ReasoningStatus)
    try:
        stream = peer.send(prompt)
    except KeyboardInterrupt:
        if output.is_terminal:
            output.write("\n")  # below the ^C that the terminal has echoed
        raise
    with stream, printer:
        found = _asking(stream, questions, ticks=has_markdown, note=printer.note)
        for event in _at_once(stream, found) if at_once else found:
            if not isinstance(event, hidden):
                printer.show(event)
    _check_complete(stream.partial)


def _check_complete(reply: Reply) -> None:
    if reply.interrupted:
        raise click.ClickException("the answer is not complete: it was stopped on the server")


def _at_once(stream: Stream, found: Iterator[Any]) -> Iterator[Any]:
    """Read the answer to its end, or to its error, and then yield its events with the text as one token."""
    held: list[Any] = []
    failure: HFClientError | None = None
    try:
        for event in filter(None, found):  # not extend(): an error must not lose the events before it
            held.append(event)  # noqa: PERF402
    except HFClientError as error:
        failure = error
    yield from (event for event in held if type(event) is events.Reasoning)
    if text := stream.partial.text:
        yield events.Token(text)
    yield from (event for event in held if type(event) not in (events.Reasoning, events.Token))
    if failure is not None:
        raise failure


def print_events(peer: Peer, prompt: str, questions: Questions) -> None:
    """Print each event as a line of JSON."""
    output = Output()
    with peer.send(prompt) as stream:
        for event in _asking(stream, questions):
            output.write_json(events.to_dict(event))


def print_reply(peer: Peer, prompt: str, questions: Questions) -> None:
    """Print the complete reply as one object; before an error, the part that there is."""
    try:
        reply = _reply(peer.send(prompt), questions)
    except HFClientError as error:
        if error.partial is not None:
            Output().write_json(error.partial.to_dict())
        raise
    Output().write_json(reply.to_dict())


def print_code(peer: Peer, prompt: str, questions: Questions) -> None:
    """Print the code of the first fenced block of the answer, and nothing else.

    Raises:
        click.ClickException: The answer has no such block, or it is cut off, or the server stopped it.
    """
    reply = _reply(peer.send(prompt), questions)
    block = next(iter(reply.code_blocks()), None)
    if block is None:
        raise click.ClickException("the answer has no code block; without --extract the whole answer is printed")
    Output().write(block.code if block.code.endswith("\n") else f"{block.code}\n")
    if not block.closed:
        raise click.ClickException("the answer ends in the middle of the code")
    _check_complete(reply)


def print_json(peer: Peer, prompt: str, questions: Questions, schema: JSONSchema) -> None:
    """Print JSON that fits the schema: on one line in a pipe, indented on a terminal.

    Raises:
        ParseError: The answer does not fit.
    """
    value = schema.ask(prompt, lambda text, about: _reply(peer.send(text, about), questions))
    output = Output()
    output.write(as_json(value, indent=2 if output.is_terminal else None) + "\n")


def _reply(stream: Stream, questions: Questions) -> Reply:
    with stream:
        for _ in _asking(stream, questions):
            pass
        return stream.result()


def _asking(
    stream: Stream, questions: Questions, *, ticks: bool = False, note: Callable[[str], object] | None = None
) -> Iterator[Any]:
    """Yield the events, None at each tick; ask the questions among them before the stream needs the answers."""
    for event in stream.ticks(_TICK) if ticks else stream:
        yield event
        if type(event) is events.Elicitation:
            if note is not None:
                note("[question of a tool]")  # ends the line, and what is drawn again
            questions.ask(event)
