"""`Conversation`: one HuggingChat conversation, its messages and its branches.

It knows its server but not its client. How a message leaves is `sending.py`, how its answer is read is `stream.py`.
"""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import evolve

from hfclient.chat import superjson
from hfclient.chat.downloads import Downloadable, fetch_file, save_file
from hfclient.chat.export import Format, export_one
from hfclient.chat.failures import not_a_chat_server
from hfclient.chat.generations import switch_fields
from hfclient.chat.messages import find_answer, newest_leaf, parse_conversation, parse_share
from hfclient.chat.prompts import Prompt, PromptLike, parse_prompt
from hfclient.chat.sending import Sender, SendOptions
from hfclient.chat.service import ChatService
from hfclient.chat.stream import ChatStream, OnClose
from hfclient.chat.tools import Answer, McpLike, OnElicitation, mcp_fields
from hfclient.chat.tree import MessageTree
from hfclient.chat.turn import Turn
from hfclient.chat.uploads import FileLike, stored_part, upload_parts
from hfclient.errors import (
    BadRequestError,
    HFClientError,
    InvalidInputError,
    ProtocolError,
    TransportError,
    Unsupported,
)
from hfclient.events import Elicitation
from hfclient.transport import Part, Timeouts
from hfclient.types import Message, Reply, Share

__all__ = ["Conversation"]

_log = logging.getLogger("hfclient")
_TIDYING = Timeouts(connect=2.0, idle=3.0, total=4.0)  # leaving a stream must not take long


class Conversation:
    """A conversation on a chat-ui. `Client.conversation` makes one; nothing is sent before the first call.

    Several threads may hold one: a second send waits for the first one's answer.

    Args:
        service: The server.
        id: 24 hex digits of an existing conversation, or the 7 characters of a shared one, which can only be read;
            None creates one with the first send.
        model: LLM for a new conversation; None takes the server's default.
        system_prompt: System prompt for a new conversation; None takes the model's own.
        assistant: Id of an assistant (24 hex digits) for a new conversation, on servers of before September 2025.

    Attributes:
        id: None until it was created.
        model: The LLM's id, or None if it is not known yet.
        title: As the server last told it, or None.
        temporary: Delete it when the next answer has ended.
    """

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
        self._creating = threading.Lock()
        self._leaf: str | None = None
        self._leaf_before: str | None = None  # where a message of unknown fate was to hang from

    def __repr__(self) -> str:
        return f"<Conversation {self.id or 'not created yet'}{f' {self.title!r}' if self.title else ''}>"

    # The straight line

    def create(self) -> Conversation:
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
            data = self.service.send(request).json()
        except BadRequestError as error:
            self.service.explain_refused_model(asked, error)
            raise
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
        tree = self.tree()
        leaf = self._leaf_in(tree, None)
        if leaf is None:
            raise ProtocolError(f"conversation {self.id} holds no message to go on from")
        self._leaf = leaf
        return leaf

    def send(
        self,
        prompt: PromptLike,
        *,
        files: Iterable[FileLike] = (),
        mcp: Iterable[McpLike] | Literal["all"] = (),
        on_elicitation: OnElicitation | None = None,
        timeouts: Timeouts | None = None,
        on_close: OnClose = "stop",
        wait: float = 60.0,
        web_search: bool = False,
        tools: Iterable[str] = (),
    ) -> ChatStream:
        """Send a message and return the stream of its answer. The request has gone out when this returns.

        The message is never sent twice: it carries a fresh id, and when a connection breaks so that nobody knows whether
        it arrived, the conversation is asked for that id before anything is repeated.

        Args:
            prompt: The text, or a list of role/content messages. In a new conversation system messages become the
                system prompt and earlier turns are told in the prompt; in a running one the last user message is sent.
            files: Paths, bytes, open binary files or ``(name, bytes)``; each at most 10 MB.
            mcp: Tools that the answer may use: names of MCP servers that the instance has configured, URLs or
                `McpServer` objects of your own, or ``"all"`` that are configured. None of them by default.
            on_elicitation: Called with each question of a tool; gives an `Answer`, the values, or False to decline.
                Without it, the reader of the events answers with :meth:`answer`.
            timeouts: Deadlines of this turn; None takes the client's.
            on_close: What leaving the stream early does: ``"stop"`` the generation, or ``"detach"`` and let it run.
            wait: Seconds to wait for another thread's answer in this conversation.
            web_search: Search the web first, on servers of before September 2025; today *mcp* does that.
            tools: Ids (24 hex digits) of tools that the answer may use, on servers of the same age.

        Raises:
            Unsupported: The server would leave out *mcp*, *web_search* or *tools* in silence; nothing was sent.
            InvalidInputError: The prompt is empty, or a file is missing or too large; nothing was sent.
            ConversationBusy: The previous answer is still being read.
            CredentialsError, AuthenticationError: The server wants a login.
            RateLimitError, ModelGone, APIStatusError: The server refused.
            TransportError: It could not be reached.

        Reference: POST {base}/conversation/{id}
        """
        parsed = parse_prompt(prompt)
        parts = upload_parts(files, fetch=self.service.fetch)
        options = self._options(timeouts, on_close, on_elicitation, mcp, web_search, tools)
        self._sender.begin(wait)
        try:
            text = self._text_for(parsed)
            self._check_sees(parts)
            self.create()
            parent_id = self._leaf or self.fetch_message_id()
            turn = Turn(self._existing_id(), str(uuid.uuid4()), parent_id=parent_id, text=text)
            data = {"inputs": text, "id": parent_id, "is_retry": False}
            return self._send(turn, data, parts, options)
        except BaseException:
            self._sender.end()
            raise

    def ask(
        self,
        prompt: PromptLike,
        *,
        files: Iterable[FileLike] = (),
        mcp: Iterable[McpLike] | Literal["all"] = (),
        on_elicitation: OnElicitation | None = None,
        timeouts: Timeouts | None = None,
        wait: float = 60.0,
        web_search: bool = False,
        tools: Iterable[str] = (),
    ) -> Reply:
        """Send a message and return the whole answer; arguments and errors as for :meth:`send`.

        Without *on_elicitation* a tool's questions are declined: there is nobody to ask, and it would wait for an hour.
        """
        on_elicitation = on_elicitation or _decline
        stream = self.send(
            prompt,
            files=files,
            mcp=mcp,
            on_elicitation=on_elicitation,
            timeouts=timeouts,
            wait=wait,
            web_search=web_search,
            tools=tools,
        )
        with stream:
            return stream.result()

    def retry(
        self,
        message_id: str | None = None,
        *,
        mcp: Iterable[McpLike] | Literal["all"] = (),
        on_elicitation: OnElicitation | None = None,
        timeouts: Timeouts | None = None,
        on_close: OnClose = "stop",
        wait: float = 60.0,
        web_search: bool = False,
        tools: Iterable[str] = (),
    ) -> ChatStream:
        """Return the stream of another answer to the same prompt; it becomes a branch beside the first one.

        Args:
            message_id: The answer to give again; None takes the last one of the active branch.
            mcp, on_elicitation, timeouts, on_close, wait, web_search, tools: As for :meth:`send`.

        Raises:
            InvalidInputError: There is no such answer.
            HFClientError: As for :meth:`send`.

        Reference: POST {base}/conversation/{id} with ``is_retry``
        """
        options = self._options(timeouts, on_close, on_elicitation, mcp, web_search, tools)
        self._sender.begin(wait)
        try:
            tree = self.tree()
            answer = self._message_for(tree, message_id, "assistant")
            user_id = answer.parent_id
            siblings = tuple(message.id for message in tree.children(user_id))
            turn = Turn(self._existing_id(), str(uuid.uuid4()), user_id=user_id, known=siblings)
            return self._send(turn, {"id": answer.id, "is_retry": True}, (), options)
        except BaseException:
            self._sender.end()
            raise

    def edit(
        self,
        prompt: str,
        message_id: str | None = None,
        *,
        files: Iterable[FileLike] | None = None,
        mcp: Iterable[McpLike] | Literal["all"] = (),
        on_elicitation: OnElicitation | None = None,
        timeouts: Timeouts | None = None,
        on_close: OnClose = "stop",
        wait: float = 60.0,
        web_search: bool = False,
        tools: Iterable[str] = (),
    ) -> ChatStream:
        """Ask the same again in other words: a new branch beside the user message that is edited.

        Args:
            prompt: The new text.
            message_id: The user message to edit; None takes the last one of the active branch.
            files: New attachments; None sends the old message's attachments along again, ``[]`` none.
            mcp, on_elicitation, timeouts, on_close, wait, web_search, tools: As for :meth:`send`.

        Raises:
            InvalidInputError: There is no such user message, or the prompt is empty.
            HFClientError: As for :meth:`send`.

        Reference: POST {base}/conversation/{id} with ``is_retry`` and ``inputs``
        """
        text = parse_prompt(prompt).text
        parts = None if files is None else upload_parts(files, fetch=self.service.fetch)
        options = self._options(timeouts, on_close, on_elicitation, mcp, web_search, tools)
        self._sender.begin(wait)
        try:
            message = self._message_for(self.tree(), message_id, "user")
            if parts is None:  # an edit does not inherit attachments, whatever the server's page makes one believe
                parts = tuple(stored_part(file) for file in message.files)
            self._check_sees(parts)
            turn = Turn(self._existing_id(), str(uuid.uuid4()), parent_id=message.parent_id, text=text)
            data = {"inputs": text, "id": message.id, "is_retry": True}
            return self._send(turn, data, parts, options)
        except BaseException:
            self._sender.end()
            raise

    def stop(self) -> None:
        """Stop the answer that is being generated; the thread that reads it sees it end early.

        Does nothing if this object knows of no running answer: a stop without a run would hit the next one.

        Reference: POST {base}/conversation/{id}/stop-generating
        """
        stream = self._sender.stream
        if stream is not None:
            stream.stop()

    def attach(
        self,
        generation_id: str | None = None,
        *,
        on_elicitation: OnElicitation | None = None,
        timeouts: Timeouts | None = None,
        on_close: OnClose = "detach",
    ) -> ChatStream:
        """Return the stream of an answer that was begun elsewhere: by another process, or before a restart.

        It begins with the answer's first event, whether the run still goes on or has ended.

        Args:
            generation_id: The run; None takes the newest one of the conversation.
            on_elicitation: As for :meth:`send`.
            timeouts: Deadlines; None takes the client's.
            on_close: What leaving the stream early does; others may be reading too, so the run goes on by default.

        Raises:
            InvalidInputError: The conversation has no id yet.
            NotFoundError: The server has no such conversation, or keeps no log of its runs.

        Reference: GET {base}/conversation/{id}/stream
        """
        options = self._options(timeouts, on_close, on_elicitation)
        return self._sender.attach(self, Turn(self._existing_id(), generation_id), options)

    def answer(
        self,
        question: Elicitation,
        content: Answer | Mapping[str, Any] | bool | None = True,
        *,
        mcp: Iterable[McpLike] | Literal["all"] = (),
        on_elicitation: OnElicitation | None = None,
        timeouts: Timeouts | None = None,
        on_close: OnClose = "stop",
    ) -> ChatStream | None:
        """Answer what a tool asks.

        Args:
            question: The event that asked.
            content: The values by field name, an `Answer`, True to accept a URL question, False to decline.
            mcp: The same tools as in the send that led to the question; needed for a parked one.
            on_elicitation, timeouts, on_close: Of the stream that is returned.

        Returns:
            None if the run waited for the answer: its stream goes on by itself. For a parked question, whose run had
            ended, the stream of the run that goes on; it writes into the same message.

        Raises:
            BadRequestError: The values do not fit the fields; the message names the field.
            ConflictError: It was answered already, or has expired.

        Reference: POST {base}/conversation/{id}/elicitation
        """
        options = self._options(timeouts, on_close, on_elicitation, mcp)
        turn = Turn(self._existing_id(), None)
        if not self._sender.answer(turn, question.elicitation_id, Answer.of(content)):
            return None
        self._sender.begin(0.0)
        try:
            turn, data = self._sender.parked_turn(turn.conversation_id, question.elicitation_id)
            return self._send(turn, data, (), options)
        except BaseException:
            self._sender.end()
            raise

    # Reading

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
        state = self.service.read_state(self._existing_id())
        self.title = state.title or self.title
        self.model = state.model or self.model
        return MessageTree(state)

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

        Reference: GET {base}/conversation/{id}/output/{sha}
        """
        if path is None:
            return b"".join(fetch_file(self.service, self._existing_id(), file, timeouts))
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
        data = self.service.send(self.service.endpoints.share(self._existing_id())).json()
        share = parse_share(data, self.service.endpoints.base)
        if share is None:
            raise ProtocolError("the server shared the conversation without saying where", frame=str(data)[:200])
        return share

    def rename(self, title: str) -> None:
        """Give the conversation another title, of 1 to 100 characters.

        Reference: PATCH {base}/api/v2/conversations/{id}
        """
        if not 1 <= len(title.strip()) <= 100:
            raise InvalidInputError("a title has 1 to 100 characters")
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
            self._sender.last = None

    def delete_message(self, message_id: str) -> None:
        """Delete a message and everything below it.

        Raises:
            InvalidInputError: It is the root, without which the conversation would be lost.
            NotFoundError: There is no such message.

        Reference: DELETE {base}/api/v2/conversations/{id}/message/{message_id}
        """
        root = self.tree().root
        if root is not None and root.id == message_id:
            raise InvalidInputError("the root cannot be deleted by itself; use delete() for the whole conversation")
        self.service.read(self.service.endpoints.delete_message(self._existing_id(), message_id))
        self._leaf = self._sender.last = None  # either may be gone now

    def to_dict(self) -> dict[str, Any]:
        """Return what another process needs to go on, `Client.restore` takes it: ids only, no text and no secrets."""
        turn = self._sender.last
        return {
            "version": 1,
            "id": self.id,
            "model": self.model,
            "leaf": self._leaf,
            "generation_id": turn.generation_id if turn is not None else None,
            "parent_id": turn.parent_id if turn is not None else None,
        }

    @classmethod
    def from_dict(cls, service: ChatService, state: dict[str, Any]) -> Conversation:
        """Return the conversation that :meth:`to_dict` described.

        Raises:
            InvalidInputError: *state* is of a later version, or no such state.
        """
        if not isinstance(state, dict) or state.get("version") != 1:
            raise InvalidInputError("this is no state that Conversation.to_dict() of this release wrote")
        conversation = cls(service, state.get("id"), model=state.get("model"))
        conversation._leaf = state.get("leaf")
        if conversation.id is not None and state.get("generation_id"):
            turn = Turn(conversation.id, state["generation_id"], parent_id=state.get("parent_id"))
            conversation._sender.last = turn
        return conversation

    # Inside

    def _send(self, turn: Turn, data: dict[str, Any], parts: tuple[Part, ...], options: SendOptions) -> ChatStream:
        data = {**data, "generationId": turn.generation_id, **options.tools}
        try:
            stream = self._sender.send(self, turn, data, parts, options, self._ended)
        except TransportError:  # it may have arrived: the next message looks for its answer first
            self._leaf_before, self._leaf, self._sender.last = self._leaf, None, turn
            raise
        # The stream carries no ids: what comes next hangs from the answer, which is found when it is needed.
        self._leaf = self._leaf_before = None
        return stream

    def _ended(self, stream: ChatStream) -> None:
        self.title = stream.partial.title or self.title
        try:
            if self.temporary:
                self._delete(_TIDYING)
        except HFClientError as error:  # the answer is what was asked for; it must not be lost over this
            _log.warning("the temporary conversation %s could not be deleted: %s", self.id, error.message)
        finally:
            self._sender.ended(stream)

    def _text_for(self, prompt: Prompt) -> str:
        if self.id is not None:
            return prompt.text
        if prompt.system is not None:
            if self.system_prompt is not None and self.system_prompt != prompt.system:
                raise InvalidInputError("the system prompt was given twice: as system_prompt and as a system message")
            self.system_prompt = prompt.system
        return prompt.folded()

    def _check_sees(self, parts: tuple[Part, ...]) -> None:
        """Pick a model that sees if there are pictures and none was named; refuse one that would not."""
        if not any((part.content_type or "").startswith("image/") for part in parts):
            return
        if self.model is None and self.id is not None:
            self.tree()  # says which model it is
        if self.model is None:
            self.service.need_session()
            self.model = self.service.model_that_sees().id
        else:
            self.service.check_sees(self.model)

    def _options(
        self,
        timeouts: Timeouts | None,
        on_close: OnClose,
        on_elicitation: OnElicitation | None,
        mcp: Iterable[McpLike] | Literal["all"] = (),
        web_search: bool = False,
        tools: Iterable[str] = (),
    ) -> SendOptions:
        fields, switches = mcp_fields(mcp), switch_fields(web_search, tools)
        wants_mcp = fields != mcp_fields(())
        if wants_mcp or switches:
            self.service.generation().check(mcp=wants_mcp, switches=switches)
        if web_search and self.assistant is not None:
            raise Unsupported(
                "with an assistant the web is searched or not as its maker chose, whatever the message says"
            )
        fields = {**fields, **switches}
        return SendOptions(timeouts or self.service.session.timeouts, on_close, on_elicitation, fields)

    def _model_of(self, assistant: str) -> str | None:
        """Return the LLM to talk to an assistant with: the one that was named, else its own."""
        self.service.generation().check(assistant=True)
        if self.system_prompt is not None:
            raise InvalidInputError("an assistant brings its own system prompt")
        own = self.service.assistant(assistant).get("modelId")  # the server takes an unknown id without a word
        return self.model or (own if isinstance(own, str) else None)

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


def _decline(question: Elicitation) -> bool:
    _log.warning(
        "a tool of %s asks %r; nobody is there to answer, so it is declined", question.server, question.message
    )
    return False
