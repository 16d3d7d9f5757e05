"""`StoredConversation`: a conversation as the server stores it. `conversation.py` adds the messages to it."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from attrs import evolve

from hfclient.arguments.argument_types import check_arguments
from hfclient.chat.conversations.branch import Branch
from hfclient.chat.conversations.creation import create_conversation
from hfclient.chat.conversations.run_tracker import RunTracker
from hfclient.chat.conversations.send_lock import WAIT
from hfclient.chat.files.downloads import Downloadable, read_file, save_file
from hfclient.chat.servers.service import ChatService
from hfclient.chat.wire.messages import ConversationState, parse_share
from hfclient.chat.wire.tree import MessageTree
from hfclient.display import Displayed
from hfclient.errors import HFClientError, InvalidInputError, ProtocolError
from hfclient.process.forks import reset_after_fork
from hfclient.redaction.control_characters import escaped
from hfclient.transport import Timeouts
from hfclient.transport.scope import acquire, no_scope
from hfclient.types import Entries, Message, Share

if TYPE_CHECKING:
    from typing_extensions import Self

    from hfclient.chat.files.export import Branches, Format
    from hfclient.progress import Progress

__all__ = ["CLEANUP", "StoredConversation", "discard_unused"]

_log = logging.getLogger("hfclient")
CLEANUP = Timeouts(connect=2.0, idle=3.0, total=4.0)
"""Deadlines of a deletion at the end of a call, which must not take long."""


class StoredConversation(Displayed):
    """A conversation on the server: creates, reads, changes, saves and deletes it, without sending a message."""

    def __init__(
        self,
        service: ChatService,
        id: str | None = None,
        *,
        model: str | None = None,
        system_prompt: str | None = None,
        assistant: str | None = None,
    ) -> None:
        self.service = service
        self.id = id
        self.model = model
        self.system_prompt = system_prompt
        self.assistant = assistant
        self.title: str | None = None
        self.temporary = False
        self._branch = Branch()
        self._runs = RunTracker(service, self._branch)
        reset_after_fork(self._reset_after_fork)

    def _reset_after_fork(self) -> None:
        self._creating = threading.Lock()

    def __getstate__(self) -> NoReturn:
        raise TypeError(
            "a conversation cannot be copied or pickled, because it holds the secrets of its client; save what to_dict() "
            "returns and pass that to Client.restore()"
        )

    def __repr__(self) -> str:
        return f"<Conversation {escaped(self.id or 'not created yet')}{f' {self.title!r}' if self.title else ''}>"

    # Creating and reading

    def create(self) -> Self:
        """Create the conversation on the server, unless it exists; the first send does so by itself.

        Returns:
            The conversation itself.

        Raises:
            CredentialsError: The server requires a login and there is no cookie; nothing was sent.
            ModelNotFound: The server has no such LLM; the nearest names are in ``suggestions``.
            ConversationLimit: There are too many conversations already.
            Unsupported: An assistant was named, and the server has none.

        Reference: POST {base}/conversation
        """
        acquire(self._creating, -1)
        try:
            if self.id is None:
                self.id, self.model, self._branch.leaf = create_conversation(
                    self.service, self.model, self.system_prompt, self.assistant
                )
        finally:
            self._creating.release()
        return self

    def fetch_message_id(self) -> str:
        """Return the id of the message that the next one is attached to, as the server has it now.

        It is the answer to this object's last send, else the end of the newest branch. Creates the conversation if
        it does not exist.

        Reference: GET {base}/api/v2/conversations/{id}
        """
        self.create()
        self._branch.leaf = None
        return self._branch.parent_in(self.tree())

    def messages(self) -> list[Message]:
        """Return the messages of the active branch, system message first.

        Reference: GET {base}/api/v2/conversations/{id}
        """
        if self.id is None:
            return Entries()
        tree = self.tree()
        return Entries(tree.path(self._branch.leaf_in(tree)))

    def tree(self) -> MessageTree:
        """Return all messages with all their branches.

        Reference: GET {base}/api/v2/conversations/{id}
        """
        return self._noted(self.service.read_state(self._existing_id()))

    def choose_branch(self, message_id: str) -> list[Message]:
        """Make the branch through *message_id* the active one; the next message is attached to its end.

        Returns:
            The messages of that branch, system message first.

        Raises:
            InvalidInputError: There is no such message.
        """
        check_arguments(StoredConversation.choose_branch, locals())
        tree = self.tree()
        leaf = tree.newest_leaf(below=message_id)
        if leaf is None:
            raise InvalidInputError(f"conversation {self.id} has no message {message_id!r}")
        self._branch.leaf = leaf
        return tree.path(leaf)

    def file_url(self, sha: str) -> str:
        """Return the URL of a file of this conversation, which this client's credentials can fetch."""
        check_arguments(StoredConversation.file_url, locals())
        return self.service.endpoints.file_url(self._existing_id(), sha)

    def read_file(
        self,
        file: Downloadable,
        *,
        max_bytes: int | None = None,
        timeouts: Timeouts | None = None,
        progress: Progress = None,
    ) -> bytes:
        """Return the content of a file of this conversation.

        Args:
            file: A `File` event, a file of a message, or its id.
            max_bytes: Maximum length of the file; None takes ``Limits.file``.
            timeouts: Deadlines; None takes the client's.
            progress: None for a bar only on a terminal or in a notebook, True or False, or a function that gets (done, total,
                text), in bytes.

        Raises:
            NotFoundError: The server has no such file.
            ProtocolError: It is longer than that.

        Reference: GET {base}/conversation/{id}/output/{sha}
        """
        check_arguments(StoredConversation.read_file, locals())
        return read_file(
            self.service, self._existing_id(), file, max_bytes=max_bytes, timeouts=timeouts, progress=progress
        )

    def download(
        self,
        file: Downloadable,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        timeouts: Timeouts | None = None,
        progress: Progress = None,
    ) -> Path:
        """Save a file of this conversation and return its path; :meth:`read_file` returns its content instead.

        Args:
            file: A `File` event, a file of a message, or its id.
            path: A file, or a folder, in which the file gets its own name, made safe.
            overwrite: Replace an existing file.
            timeouts: Deadlines; None takes the client's.
            progress: As for :meth:`read_file`.

        Raises:
            InvalidInputError: *path* exists already.
            NotFoundError: The server has no such file.

        Reference: GET {base}/conversation/{id}/output/{sha}
        """
        check_arguments(StoredConversation.download, locals())
        return save_file(
            self.service, self._existing_id(), file, path, overwrite=overwrite, timeouts=timeouts, progress=progress
        )

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        format: Format | None = None,
        files: bool = True,
        overwrite: bool = False,
        branches: Branches = "all",
        progress: Progress = None,
    ) -> Path:
        """Save the conversation as Markdown, JSON or a notebook, with its files beside it.

            conversation.export("chat.ipynb")

        Markdown and notebooks begin with the active branch; what other branches add follows. Texts stay as they are in
        Markdown and JSON. In a notebook, the Python code of answers becomes code cells, which are not executed; HTML, remote
        images and unsafe links in a text have no effect, and images among the files are part of the notebook.

        Args:
            path: A file ending in ``.md``, ``.json`` or ``.ipynb``, or a folder: the name is then made from title and id.
            format: ``"md"``, ``"json"`` or ``"ipynb"``; None takes it from *path*, else Markdown.
            files: Save attachments and produced files too.
            overwrite: Replace existing files.
            branches: ``"all"``, or ``"active"`` for the active one alone.
            progress: As for :meth:`read_file`; counts the files.

        Returns:
            The path of the file.

        Raises:
            InvalidInputError: An argument is not one of these, *path* exists already, or it cannot be written.
        """
        check_arguments(StoredConversation.export, locals())
        conversation_id = self._existing_id()
        from hfclient.chat.files.export import export_one  # few callers need it

        return export_one(
            self.service,
            conversation_id,
            Path(path),
            format=format,
            files=files,
            overwrite=overwrite,
            leaf_id=self._branch.leaf,
            branches=branches,
            progress=progress,
        )

    # Changing

    def share(self) -> Share:
        """Publish the conversation as it is now and return its link; the same content gives the same link again.

        Reference: POST {base}/conversation/{id}/share
        """
        data = self.service.session.send(self.service.endpoints.share(self._existing_id())).json()
        share = parse_share(data, self.service.endpoints.base)
        if share is None:
            raise ProtocolError("the server shared the conversation without saying where", frame=str(data)[:200])
        return share

    def rename(self, title: str) -> None:
        """Give the conversation another title, of 1 to 100 characters.

        Waits for an answer that this object has left while it was being written: its save would bring the old title back.

        Raises:
            ConversationBusy: It is still being written after a minute.

        Reference: PATCH {base}/api/v2/conversations/{id}
        """
        check_arguments(StoredConversation.rename, locals())
        if not 1 <= len(title.strip()) <= 100:
            raise InvalidInputError("a title has 1 to 100 characters")
        if self._runs.may_be_running:
            self._runs.wait_until_idle(self._existing_id(), time.monotonic() + WAIT)
        self.service.read(self.service.endpoints.rename(self._existing_id(), title))
        self.title = title

    def set_model(self, name: str) -> None:
        """Let another LLM answer from now on.

        Raises:
            ModelNotFound: The server has no such LLM.

        Reference: PATCH {base}/api/v2/conversations/{id}
        """
        check_arguments(StoredConversation.set_model, locals())
        model = self.service.models.get(name).id
        if self.id is not None:
            self.service.read(self.service.endpoints.set_model(self.id, model))
        self.model = model

    def delete(self) -> None:
        """Delete the conversation from the server; the object then has no id.

        Reference: DELETE {base}/api/v2/conversations/{id}
        """
        self._delete(None)

    def _delete(self, timeouts: Timeouts | None) -> None:
        if self.id is not None:
            self.service.read(evolve(self.service.endpoints.delete(self.id), clock=self.service.session.clock(timeouts)))
            self.id = self.title = self._branch.leaf_before = None
            self._forget()

    def _forget(self) -> None:
        self._branch.forget()
        self._runs.forget()

    def delete_message(self, message_id: str) -> None:
        """Delete a message and everything below it.

        Waits for an answer that is still being written, whose save would bring the message back.

        Raises:
            InvalidInputError: It is the root, which the conversation needs.
            NotFoundError: There is no such message.
            ConversationBusy: An answer is still being written after a minute.

        Reference: DELETE {base}/api/v2/conversations/{id}/message/{message_id}
        """
        check_arguments(StoredConversation.delete_message, locals())
        root = self._noted(self._runs.wait_until_idle(self._existing_id(), time.monotonic() + WAIT)).root
        if root is not None and root.id == message_id:
            raise InvalidInputError("the root cannot be deleted by itself; use delete() for the whole conversation")
        self.service.read(self.service.endpoints.delete_message(self._existing_id(), message_id))
        self._forget()

    # Saving

    def to_dict(self) -> dict[str, Any]:
        """Return the state that another process needs to continue the conversation, as plain JSON for `Client.restore`.

        It holds ids and options, neither texts nor secrets. The exception is the system prompt of a conversation that was
        not created yet.
        """
        return {
            "id": self.id,
            "model": self.model,
            "assistant": self.assistant,
            "system_prompt": self.system_prompt if self.id is None else None,
            "temporary": self.temporary,
            **self._branch.to_dict(),
        }

    # Helpers

    def _noted(self, state: ConversationState) -> MessageTree:
        self.title = state.title or self.title
        self.model = state.model or self.model
        return MessageTree(state)

    def _existing_id(self) -> str:
        if self.id is None:
            raise InvalidInputError(
                "this conversation was never created on the server; send something or call create()"
            )
        return self.id


def discard_unused(conversation: StoredConversation) -> None:
    """Delete a conversation from the server if no message can have arrived in it; a failure is logged.

    For a call that created the conversation and was then refused.
    """
    if conversation.id is None or conversation._branch.last_turn is not None:
        return
    try:
        with no_scope():
            conversation._delete(CLEANUP)
    except HFClientError as error:
        _log.warning("the empty conversation %s could not be deleted: %s", conversation.id, error.message)
