"""A conversation with an inference server, which keeps nothing: its messages and branches are in this process."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve

from hfclient.chat.files.export import WRITERS, format_of
from hfclient.chat.files.formats.branches import Exported
from hfclient.chat.wire.messages import ConversationState
from hfclient.chat.wire.tree import MessageTree
from hfclient.errors import InvalidInputError, Unsupported
from hfclient.files.saving import write_file
from hfclient.types import Message, StoredFile

if TYPE_CHECKING:
    from hfclient import Client
    from hfclient.cli.chat.one_shot import File
    from hfclient.stream import Stream

__all__ = ["InferenceConversation"]

_NOT_HERE = "an inference server keeps no conversations; a chat-ui does (hfclient chat --url)"


class InferenceConversation:
    """Has the methods of `Conversation` that the commands of the terminal use.

    Args:
        client: The client.
        model: The LLM; None takes the server's default.
        system_prompt: The system prompt, or None.
        options: Further arguments of `InferenceClient.chat`.
    """

    def __init__(
        self, client: Client, *, model: str | None = None, system_prompt: str | None = None, **options: Any
    ) -> None:
        self.id: str | None = None
        self.model = model
        self.system_prompt = system_prompt
        self.title: str | None = None
        self._client = client
        self._options = options
        self._messages: dict[str, Message] = {}
        self._files: dict[str, list[File]] = {}  # of the prompts, by their ids
        self._leaf: str | None = None
        self._answering: tuple[Stream, str] | None = None  # a stream, and the id of its prompt

    def another(self, *, model: str | None, system_prompt: str | None) -> InferenceConversation:
        """Return a new conversation with the same server."""
        return InferenceConversation(self._client, model=model, system_prompt=system_prompt, **self._options)

    # Messages

    def send(self, prompt: str, *, files: Sequence[File] = (), **unused: Any) -> Stream:
        """Send all messages of the active branch and *prompt*."""
        self._settle()
        return self._ask(prompt, self._leaf, list(files))

    def edit(self, prompt: str, *, files: Sequence[File] | None = None, **unused: Any) -> Stream:
        """Send the last prompt in other words."""
        self._settle()
        last = self._last("user")
        return self._ask(prompt, last.parent_id, self._files[last.id] if files is None else list(files))

    def retry(self, **unused: Any) -> Stream:
        """Ask for another answer to the last prompt."""
        self._settle()
        return self._stream_of(self._last("user"))

    def _ask(self, prompt: str, parent_id: str | None, files: list[File]) -> Stream:
        names = [file[0] if isinstance(file, tuple) else Path(file).name for file in files]
        stored = tuple(StoredFile(name, "application/octet-stream", "") for name in names)
        message = self._new("user", prompt, parent_id, files=stored)
        self._messages[message.id], self._files[message.id] = message, files
        try:
            return self._stream_of(message)
        except BaseException:  # it was refused
            del self._messages[message.id], self._files[message.id]
            raise

    def _stream_of(self, prompt: Message) -> Stream:
        sent: list[dict[str, Any]] = [{"role": "system", "content": self.system_prompt}] if self.system_prompt else []
        for message in self.tree().path(prompt.id):
            files = {"files": self._files[message.id]} if self._files.get(message.id) else {}
            sent.append({"role": message.role, "content": message.content or "-", **files})  # an empty one is refused
        model: dict[str, Any] = {} if self.model is None else {"model": self.model}
        stream = self._client.inference.chat(sent, **model, **self._options)
        self._answering = (stream, prompt.id)
        self.id = "inference"
        return stream

    def _settle(self) -> None:
        """Keep the last answer, as far as it came."""
        if self._answering is not None:
            stream, prompt_id = self._answering
            self._answering = None
            reply = stream.partial
            answer = self._new("assistant", reply.text, prompt_id, reasoning=reply.reasoning)
            self._messages[answer.id] = answer
            self._leaf = answer.id
            self.title = self.title or " ".join(self._messages[prompt_id].content.split())[:60]

    @staticmethod
    def _new(role: str, content: str, parent_id: str | None, **fields: Any) -> Message:
        now = datetime.datetime.now(datetime.timezone.utc)
        return Message(str(uuid.uuid4()), role, content, parent_id=parent_id, created_at=now, **fields)

    def _last(self, role: str) -> Message:
        found = [message for message in self.messages() if message.role == role]
        if not found:
            raise InvalidInputError("there is no prompt yet")
        return found[-1]

    # Reading

    def messages(self) -> list[Message]:
        """Return the messages of the active branch."""
        tree = self.tree()
        return tree.path(self._leaf)

    def tree(self) -> MessageTree:
        """Return all messages."""
        self._settle()
        children: dict[str | None, tuple[str, ...]] = {}
        for message in self._messages.values():
            children[message.parent_id] = (*children.get(message.parent_id, ()), message.id)
        messages = tuple(evolve(message, children=children.get(message.id, ())) for message in self._messages.values())
        return MessageTree(
            ConversationState("", self.title or "New Chat", self.model or "", self.system_prompt or "", messages)
        )

    def choose_branch(self, message_id: str) -> list[Message]:
        """Make the branch through a message the active one."""
        self._leaf = self.tree().newest_leaf(below=message_id)
        return self.messages()

    def export(self, path: Path, *, overwrite: bool = False) -> Path:
        """Save the conversation as Markdown, JSON or a notebook."""
        if path.is_dir():
            path /= "chat.md"
        write = WRITERS[format_of(path)]
        text = write(Exported(self.tree().state, {}, {}, self._leaf, "all"))
        return write_file(path, [text.encode("utf-8", "replace")], overwrite=overwrite)

    # What a chat-ui has

    def set_model(self, name: str) -> None:
        """Let another LLM answer; the server checks the name with the next message."""
        self.model = name

    def share(self) -> Any:
        """Raise `Unsupported`."""
        raise Unsupported(_NOT_HERE)

    def delete(self) -> None:
        """Do nothing: the server keeps nothing."""
