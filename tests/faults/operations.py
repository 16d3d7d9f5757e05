"""The operations of the matrix: calls of the public API, and their results without a fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import frozen

from hfclient import Client
from hfclient.stream import Stream
from hfclient.transport import Timeouts
from tests.faults.server import CHAT_ID, FILE, FILE_ID, GOOD, IMAGE, TEXT, Good


@frozen
class Operation:
    """One call of the public API.

    Attributes:
        name: Shown in the test's id.
        column: Column of the table with its expected outcomes.
        kind: The request that the fault hits.
        prepare: Runs before the fault starts.
        run: Makes the call with the result of *prepare*; a stream is returned unread.
        answer: The right result.
        resumes: The generation's log, and the conversation, can be read during the fault.
    """

    name: str
    column: str
    kind: str
    prepare: Callable[[Client, Path], Any]
    run: Callable[[Any], Any]
    answer: Any
    resumes: bool = True

    @property
    def good(self) -> Good:
        return GOOD[self.kind]

    def result(self, made: Any) -> Any:
        """Read the result of :attr:`run`, if it is a stream."""
        return made.text if isinstance(made, Stream) else made


def _conversation(client: Client, folder: Path) -> Any:
    conversation = client.conversation(CHAT_ID)
    conversation.fetch_message_id()
    return conversation


def _upload(conversation: Any) -> Any:
    return conversation.send("Hi", files=[("notes.txt", b"a note\n" * 10_000)])


def _download(prepared: Any) -> bytes:
    client, folder = prepared
    path = folder / "file"
    path.unlink(missing_ok=True)
    saved: Path = client.conversation(CHAT_ID).download(FILE_ID, path)
    return saved.read_bytes()


def _ids(models: Any) -> list[str]:
    return [model.id for model in models]


def set_timeouts(client: Client, timeouts: Timeouts) -> None:
    """Set the deadlines of all later calls, in all sessions of the client."""
    for session in (client._session, client._chat.session, client.inference._service.session):
        session.timeouts = timeouts


def _client(client: Client, folder: Path) -> Client:
    return client


OPERATIONS = [
    Operation("a message", "turn", "send", _conversation, lambda it: it.send("Hi"), TEXT),
    Operation("a message with a file", "turn", "send", _conversation, _upload, TEXT),
    Operation("a message, no log", "alone", "send", _conversation, lambda it: it.send("Hi"), TEXT, resumes=False),
    Operation("a new conversation", "create", "create", _client, lambda it: it.conversation().create().id, CHAT_ID),
    Operation("the list of conversations", "read", "list", _client, lambda it: _ids(it.conversations), [CHAT_ID]),
    Operation(
        "the chat server's models",
        "read",
        "models",
        _client,
        lambda it: _ids(it.models.list(fresh=True)),
        ["org/first", "org/second"],
    ),
    Operation("the inference server's models", "served", "served", _client, lambda it: _ids(it.inference.models()), ["served"]),
    Operation("a file", "file", "file", lambda client, folder: (client, folder), _download, FILE),
    Operation(
        "a chat completion", "stream", "completions", _client, lambda it: it.inference.chat("Hi", model="m"), TEXT
    ),
    Operation("generated text", "stream", "generate", _client, lambda it: it.inference.text("Hi"), TEXT),
    Operation(
        "an embedding", "call", "embed", _client, lambda it: it.inference.embed(["Hi"], model="m"), [[0.5, 0.25]]
    ),
    Operation(
        "an image", "image", "images", _client, lambda it: it.inference.image("Hi", model="m").content, IMAGE
    ),
    Operation(
        "an image's file", "result", "image_file", _client, lambda it: it.inference.image("Hi", model="m").content, IMAGE
    ),
]
