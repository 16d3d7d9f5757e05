"""`ConversationRecord`: a conversation as a thing on the server, made, read, changed and saved.

How one talks in it is `conversation.py`.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, overload

from attrs import evolve

from hfclient.arguments.argument_types import checks_arguments
from hfclient.chat.conversations.runs import WAIT
from hfclient.chat.conversations.sending import Sender
from hfclient.chat.files.downloads import Downloadable, fetch_file, save_file
from hfclient.chat.servers.service import ChatService
from hfclient.chat.wire import superjson
from hfclient.chat.wire.failures import not_a_chat_server
from hfclient.chat.wire.messages import (
    ConversationState,
    find_answer,
    newest_leaf,
    parse_conversation,
    parse_share,
)
from hfclient.chat.wire.tree import MessageTree
from hfclient.chat.wire.turn import Turn
from hfclient.errors import (
    BadRequestError,
    HFClientError,
    InvalidInputError,
    ProtocolError,
)
from hfclient.process.forks import reset_after_fork
from hfclient.redaction.control_characters import escaped
from hfclient.transport import Timeouts
from hfclient.types import Message, Share

if TYPE_CHECKING:
    from typing_extensions import Self

    from hfclient.chat.files.export import Format

__all__ = ["ConversationRecord"]


_log = logging.getLogger("hfclient")
TIDYING = Timeouts(connect=2.0, idle=3.0, total=4.0)
"""For what is tidied up at the end of a call: that must not take long."""
_SAVED = ("id", "model", "assistant")
_SAVED_OF_TURN = ("generation_id", "parent_id", "user_id", "message_id")


@checks_arguments
class ConversationRecord:
    """What can be done with a conversation without saying anything in it."""

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
        self._sender = Sender(service)
        self._leaf: str | None = None
        self._leaf_before: str | None = None  # where a message of unknown fate was to hang from
        self._reset_after_fork()
        reset_after_fork(self)

    def _reset_after_fork(self) -> None:
        self._creating = threading.Lock()

    def __getstate__(self) -> NoReturn:
        raise TypeError(
            "a conversation cannot be copied or pickled, because its client's secrets would go along; save what to_dict() "
            "returns and give that to Client.restore()"
        )

    def __repr__(self) -> str:
        return f"<Conversation {escaped(self.id or 'not created yet')}{f' {self.title!r}' if self.title else ''}>"

    # Making and reading

    def create(self) -> Self:
        """Create the conversation on the server, unless it exists; the first send does so by itself.

        Returns:
            The conversation itself.

        Raises:
            CredentialsError: The server wants a login and there is no cookie; nothing was sent.
            ModelNotFound: The server has no such LLM; the nearest names are in ``suggestions``.
            ConversationLimit: There are too many conversations already.
            Unsupported: An assistant was named, and the server has none.

        Reference: POST {base}/conversation
        """
        with self._creating:
            if self.id is None:
                self._create()
        return self

    def _create(self) -> None:
        self.service.need_session()
        model = self.model if self.assistant is None else self._model_of(self.assistant)
        asked = model or self.service.default_model().id
        request = self.service.endpoints.create(asked, self.system_prompt, self.assistant)
        try:
            response = self.service.session.send(request)
        except BadRequestError as error:  # a short name, perhaps; ids, which most callers give, cost no further request
            asked = self.service.model_meant(asked, error)
            request = self.service.endpoints.create(asked, self.system_prompt, self.assistant)
            response = self.service.session.send(request)
        response.hold()
        try:
            data = response.json()
        except ProtocolError as error:
            raise not_a_chat_server(request.url, error.frame) from None
        if not isinstance(data, dict) or not isinstance(data.get("conversationId"), str):
            raise not_a_chat_server(request.url, str(data)[:200])
        self.id = data["conversationId"]
        self.model = asked
        if isinstance(data.get("conversation"), str):  # since July 2026: the first parent needs no further request
            try:
                self._leaf = newest_leaf(parse_conversation(superjson.loads(data["conversation"])))
            except (ProtocolError, ValueError):
                self._leaf = None  # asked for when it is needed

    def fetch_message_id(self) -> str:
        """Return the id of the message that the next one will hang from, as the server has it now.

        That is the answer of this object's last send, else the end of the newest branch. Creates the conversation if
        need be.

        Reference: GET {base}/api/v2/conversations/{id}
        """
        self.create()
        self._leaf = self._parent_in(self.tree(), None)
        return self._leaf

    def messages(self) -> list[Message]:
        """Return the messages of the active branch, system message first.

        Reference: GET {base}/api/v2/conversations/{id}
        """
        if self.id is None:
            return []
        tree = self.tree()
        return tree.path(self._leaf_in(tree, self._leaf))

    def tree(self) -> MessageTree:
        """Return all messages with all their branches.

        Reference: GET {base}/api/v2/conversations/{id}
        """
        return self._taken(self.service.read_state(self._existing_id()))

    def choose_branch(self, message_id: str) -> list[Message]:
        """Make the branch through *message_id* the active one; the next message hangs from its end.

        Returns:
            The messages of that branch, system message first.

        Raises:
            InvalidInputError: There is no such message.
        """
        tree = self.tree()
        leaf = tree.newest_leaf(below=message_id)
        if leaf is None:
            raise InvalidInputError(f"conversation {self.id} has no message {message_id!r}")
        self._leaf = leaf
        return tree.path(leaf)

    def file_url(self, sha: str) -> str:
        """Return where a file of this conversation can be fetched, with this client's credentials."""
        return self.service.endpoints.file_url(self._existing_id(), sha)

    @overload
    def download(
        self, file: Downloadable, path: None = ..., *, overwrite: bool = ..., timeouts: Timeouts | None = ...
    ) -> bytes: ...

    @overload
    def download(
        self,
        file: Downloadable,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = ...,
        timeouts: Timeouts | None = ...,
    ) -> Path: ...

    def download(
        self,
        file: Downloadable,
        path: str | os.PathLike[str] | None = None,
        *,
        overwrite: bool = False,
        timeouts: Timeouts | None = None,
    ) -> bytes | Path:
        """Fetch a file of this conversation.

        Args:
            file: A `File` event, a file of a message, or its id.
            path: Where to save it: a file, or a folder, in which it gets its own name, made safe. None keeps it in memory.
            overwrite: Replace a file that is there.
            timeouts: Deadlines; None takes the client's.

        Returns:
            The bytes, or the path of what was saved.

        Raises:
            InvalidInputError: The place is taken.
            NotFoundError: The server has no such file.
            ProtocolError: Without a path: it is longer than ``Limits.file``.

        Reference: GET {base}/conversation/{id}/output/{sha}
        """
        timeouts = None if timeouts is None else self.service.session.deadlines(timeouts)
        if path is None:
            with fetch_file(self.service, self._existing_id(), file, timeouts, keep=True) as pieces:
                return b"".join(pieces)
        return save_file(self.service, self._existing_id(), file, path, overwrite=overwrite, timeouts=timeouts)

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        format: Format | None = None,
        files: bool = True,
        overwrite: bool = False,
    ) -> Path:
        """Save the conversation as Markdown (the active branch) or JSON (all branches), with its files beside it.

        Args:
            path: A file ending in ``.md`` or ``.json``, or a folder: the name is then made from title and id.
            format: ``"md"`` or ``"json"``; None takes it from *path*, else Markdown.
            files: Save attachments and produced files too.
            overwrite: Replace what is there.

        Returns:
            The path of what was written.
        """
        conversation_id = self._existing_id()
        from hfclient.chat.files.export import export_one  # few callers need it

        return export_one(
            self.service,
            conversation_id,
            Path(path),
            format=format,
            files=files,
            overwrite=overwrite,
            leaf_id=self._leaf,
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
        if not 1 <= len(title.strip()) <= 100:
            raise InvalidInputError("a title has 1 to 100 characters")
        if self._sender.runs.may_live:
            self._sender.settle(self._existing_id(), time.monotonic() + WAIT)
        self.service.read(self.service.endpoints.rename(self._existing_id(), title))
        self.title = title

    def set_model(self, name: str) -> None:
        """Let another LLM answer from now on.

        Raises:
            ModelNotFound: The server has no such LLM.

        Reference: PATCH {base}/api/v2/conversations/{id}
        """
        model = self.service.model(name).id
        if self.id is not None:
            self.service.read(self.service.endpoints.set_model(self.id, model))
        self.model = model

    def delete(self) -> None:
        """Delete the conversation from the server; this object then stands for none.

        Reference: DELETE {base}/api/v2/conversations/{id}
        """
        self._delete(None)

    def _delete(self, timeouts: Timeouts | None) -> None:
        if self.id is not None:
            self.service.read(evolve(self.service.endpoints.delete(self.id), timeouts=timeouts))
            self.id = self.title = self._leaf = self._leaf_before = None
            self._forget_turns()

    def delete_message(self, message_id: str) -> None:
        """Delete a message and everything below it.

        Raises:
            InvalidInputError: It is the root, without which the conversation would be lost.
            NotFoundError: There is no such message.
            ConversationBusy: An answer is still being written after a minute.

        Waits for an answer that is still being written, whose save would bring the message back.

        Reference: DELETE {base}/api/v2/conversations/{id}/message/{message_id}
        """
        root = self._taken(self._sender.settle(self._existing_id(), time.monotonic() + WAIT)).root
        if root is not None and root.id == message_id:
            raise InvalidInputError("the root cannot be deleted by itself; use delete() for the whole conversation")
        self.service.read(self.service.endpoints.delete_message(self._existing_id(), message_id))
        self._leaf = None  # it may be gone now, and so may the last answer
        self._forget_turns()

    def discard_unused(self) -> None:
        """Delete the conversation from the server if nothing can have arrived in it; whatever fails is logged.

        For a call that made it, was refused afterwards, and hands it to no caller.
        """
        if self.id is None or self._sender.last is not None:
            return
        try:
            self._delete(TIDYING)
        except HFClientError as error:
            _log.warning("the conversation %s, in which nothing was said, could not be deleted: %s", self.id, error.message)

    def _forget_turns(self) -> None:
        self._sender.last = None
        self._sender.runs.forget()

    # As a value

    def to_dict(self) -> dict[str, Any]:
        """Return what another process needs to go on, as plain JSON: `Client.restore` takes it.

        It holds ids and options, neither texts nor secrets; only of a conversation that was not created yet the system
        prompt, which no server has.
        """
        turn = self._sender.last
        return {
            "version": 1,
            **{name: getattr(self, name) for name in _SAVED},
            "system_prompt": self.system_prompt if self.id is None else None,
            "temporary": self.temporary,
            "leaf": self._leaf,
            "leaf_before": self._leaf_before,
            **{name: getattr(turn, name, None) for name in _SAVED_OF_TURN},
            "known": list(turn.known) if turn is not None else [],
        }

    @classmethod
    def from_dict(cls, service: ChatService, state: dict[str, Any]) -> Self:
        """Return the conversation that :meth:`to_dict` described.

        Raises:
            InvalidInputError: *state* is of a later version, or no such state.
        """
        if not _is_saved_state(state):
            raise InvalidInputError("this is no state that Conversation.to_dict() of this release wrote")
        made_with = {name: state.get(name) for name in ("model", "system_prompt", "assistant")}
        conversation = cls(service, state.get("id"), **made_with)
        conversation.temporary = state.get("temporary", False)
        conversation._leaf, conversation._leaf_before = state.get("leaf"), state.get("leaf_before")
        if conversation.id is not None and state.get("generation_id"):
            ids = {name: state.get(name) for name in _SAVED_OF_TURN}
            conversation._sender.last = Turn(conversation.id, **ids, known=tuple(state.get("known", ())))
        return conversation

    # Inside

    def _model_of(self, assistant: str) -> str | None:
        """Return the LLM to talk to an assistant with: the one that was named, else its own."""
        from hfclient.chat.legacy.assistants import fetch_assistant_model  # not loaded for today's servers

        self.service.version().check(assistant=True)
        if self.system_prompt is not None:
            raise InvalidInputError("an assistant brings its own system prompt")
        own = fetch_assistant_model(assistant, self.service.endpoints, self.service.session)  # the server ignores unknown ids
        if self.model:
            return self.service.model(self.model).id
        return own

    def _taken(self, state: ConversationState) -> MessageTree:
        self.title = state.title or self.title
        self.model = state.model or self.model
        return MessageTree(state)

    def _parent_in(self, tree: MessageTree, leaf: str | None) -> str:
        found = self._leaf_in(tree, leaf)
        if found is None:
            raise ProtocolError(f"conversation {self.id} holds no message to go on from")
        return found

    def _leaf_in(self, tree: MessageTree, leaf: str | None) -> str | None:
        """Return *leaf* if it is there, else the answer of the last send, else the end of the newest branch."""
        if leaf is not None and leaf in tree:
            return leaf
        last = self._sender.last
        answer = find_answer(tree.state, last) if last is not None else None
        if answer is not None:
            return answer.id
        return self._leaf_before if self._leaf_before in tree else tree.newest_leaf()

    def _message_for(self, tree: MessageTree, message_id: str | None, role: str) -> Message:
        path = tree.path(message_id if message_id is not None else self._leaf_in(tree, self._leaf))
        candidates = path[-1:] if message_id is not None else path[::-1]
        found = next((message for message in candidates if message.role == role), None)
        if found is None:
            what = f"no {role} message" + (f" {message_id!r}" if message_id is not None else "")
            raise InvalidInputError(f"conversation {self.id} has {what}")
        return found

    def _existing_id(self) -> str:
        if self.id is None:
            raise InvalidInputError(
                "this conversation was never created on the server; send something or call create()"
            )
        return self.id


def _is_saved_state(state: object) -> bool:
    if not isinstance(state, dict) or state.get("version") != 1:
        return False
    texts = (*_SAVED, *_SAVED_OF_TURN, "system_prompt", "leaf", "leaf_before")
    known = state.get("known", [])
    return (
        all(isinstance(state.get(name), (str, type(None))) for name in texts)
        and isinstance(state.get("temporary", False), bool)
        and isinstance(known, list)
        and all(isinstance(item, str) for item in known)
    )
