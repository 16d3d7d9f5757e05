"""`ConversationCall`: a conversation of its own on a chat-ui for each item, for `Client.map`.

The id of a conversation is noted before its message is sent. So a run that was killed finds the conversation again, and reads the
answer that the server has finished meanwhile, or is still writing, instead of sending the message once more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from hfclient.arguments.argument_types import check_arguments
from hfclient.arguments.option_hints import refuse_unknown
from hfclient.batch.calls.base import as_files
from hfclient.batch.checkpoints.notes import Notes
from hfclient.batch.items import Item
from hfclient.batch.options import MapOptions
from hfclient.chat import ChatStream, Conversation, MessageOptions, discard_unused
from hfclient.errors import GenerationError, HFClientError, InvalidInputError, NotFoundError
from hfclient.events import Elicitation
from hfclient.types import Message, Reply

if TYPE_CHECKING:
    from hfclient.client import Client
    from hfclient.transport import Retry, Timeouts, Transport

__all__ = ["ConversationCall"]

_log = logging.getLogger("hfclient")

_OWN = ("model", "system_prompt", "temporary")
_SHARED = ("on_elicitation", "progress", "temporary")  # options that items cannot have of their own
_WITHOUT_EFFECT = frozenset(("on_elicitation", "temporary", "timeouts"))  # on the answer
_ARRIVAL = 5.0  # seconds after which a message that was sent is stored, even if its sender was killed
_LOOK = 0.25  # seconds between two looks for it


class ConversationCall:
    """A new conversation for each item: a prompt, or a list of strings, which are sent one after the other; see `Call`.

    Args:
        client: The client.
        options: Those of `Client.map`, without the batch's own.

    Raises:
        TypeError: There is no such option.
        InvalidInputError: An option has another type.
    """

    name = "conversation"
    needs_threads = True  # the streams of a chat are not made for greenlets
    keeps_notes = True
    has_files = False

    def __init__(self, client: Client, options: Mapping[str, Any]) -> None:
        self._client = client
        self._options = dict(options)
        self._default_model: str | None = None
        refuse_unknown("map", options, [*_names(), *(name for name in MapOptions.__annotations__ if name not in ("executor", "service"))])
        self._check_types(options)

    @property
    def item_options(self) -> list[str]:
        """Names of the options that an item may have."""
        return [name for name in _names() if name not in _SHARED]

    def check(self, item: Item) -> None:
        """Check what is known of *item* before it is asked.

        Raises:
            InvalidInputError: It has an unknown option, or one of another type, or no prompts.
        """
        if not item.input:
            raise InvalidInputError("the prompt is empty")
        try:
            refuse_unknown("map", item.options, self.item_options)
        except TypeError as error:
            raise InvalidInputError(str(error)) from None
        self._check_types(item.options)

    def with_client(self, *, transport: Transport | None, timeouts: Timeouts, retry: Retry) -> ConversationCall:
        """Return the call as it is: an answer comes as a stream, and the client's own deadlines suit it."""
        return self

    def shared_settings(self) -> dict[str, Any]:
        return self._settings(self._options)

    def settings(self, item: Item) -> dict[str, Any]:
        return {**self._settings({**self._options, **item.options}), "input": item.input}

    def prepare(self, item: Item) -> None:
        if self._default_model is None and self._options.get("model") is None and item.options.get("model") is None:
            self._default_model = self._client.models.default.id

    def run(self, item: Item) -> Reply | list[Reply]:
        options = {**self._options, **item.options}
        notes = item.notes or Notes()
        prompts = item.input if _is_several(item.input) else [item.input]
        own = {name: options.pop(name, None) for name in _OWN}
        options.setdefault("on_elicitation", _decline)
        run = _ConversationRun(self._client, notes, own["model"] or self._default_model, own["system_prompt"], options)
        replies = run.replies(prompts)
        if own["temporary"]:
            run.delete(replies)
        return replies if _is_several(item.input) else replies[0]

    def encode(self, value: Reply | list[Reply]) -> Any:
        return value.to_dict() if isinstance(value, Reply) else [reply.to_dict() for reply in value]

    def decode(self, data: Any) -> Reply | list[Reply]:
        return self.from_json(data)

    @staticmethod
    def from_json(data: Any) -> Reply | list[Reply]:
        """Return the value that :meth:`encode` was given."""
        return [Reply.from_dict(reply) for reply in data] if isinstance(data, list) else Reply.from_dict(data)

    def _settings(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options that decide the answer. The default model is looked up once for all items, and is one of them."""
        if options.get("model") is None:
            self._default_model = self._default_model or self._client.models.default.id
            options = {**options, "model": self._default_model}
        kept = {name: value for name, value in options.items() if value is not None and name not in _WITHOUT_EFFECT}
        files = {"files": as_files(kept["files"])} if "files" in kept else {}
        return {"call": self.name, "server": self._client.base_url, **kept, **files}

    def _check_types(self, options: Mapping[str, Any]) -> None:
        method: Callable[..., Any] = type(self._client).chat
        check_arguments(method, {"options": {name: value for name, value in options.items() if value is not None}})


class _NotedConversation(Conversation):
    """A conversation whose id is noted before its first message is sent."""

    notes: Notes | None = None

    def create(self) -> _NotedConversation:
        is_new = self.id is None
        super().create()
        if is_new and self.notes is not None:
            self.notes.note({"conversation": self.id, "at": time.time()})
        return self


class _ConversationRun:
    """The messages of one item, from the first one on or from where an earlier attempt was."""

    def __init__(
        self, client: Client, notes: Notes, model: str | None, system_prompt: str | None, options: Mapping[str, Any]
    ) -> None:
        self._notes = notes
        self._options = options
        self._service = client._chat
        self._model, self._system_prompt = model, system_prompt
        self._conversation = self._new()
        # A later run reads what the server generates after this one has ended.
        self._on_close: Literal["stop", "detach"] = "detach" if notes.are_stored else "stop"

    def replies(self, prompts: Sequence[Any]) -> list[Reply]:
        """Return the answers to *prompts*; each is sent once, also if an earlier attempt was killed."""
        noted = self._notes.last or {}
        replies = [Reply.from_dict(reply) for reply in noted.get("replies", ())]
        if noted.get("conversation") is not None:
            replies = replies or self._earlier(noted)
        self._conversation.notes = self._notes
        try:
            for prompt in prompts[len(replies) :]:
                replies.append(self._read(self._conversation.send(prompt, on_close=self._on_close, **self._options)))
        except BaseException:
            discard_unused(self._conversation)
            if self._conversation.id is None and self._notes.last is not None:
                self._notes.note(None)
            raise
        return replies

    def delete(self, replies: Sequence[Reply]) -> None:
        """Delete the conversation. The answers are noted first: the server has them no more when they are stored."""
        if self._notes.are_stored:
            self._notes.note({"replies": [reply.to_dict() for reply in replies]})
        try:
            self._conversation.delete()
        except HFClientError as error:  # only logged, so that the caller gets the answers
            _log.warning("the temporary conversation %s could not be deleted: %s", self._conversation.id, error.message)

    def _new(self) -> _NotedConversation:
        return _NotedConversation(self._service, model=self._model, system_prompt=self._system_prompt)

    def _read(self, stream: ChatStream) -> Reply:
        with stream:
            return stream.result()

    def _earlier(self, noted: Mapping[str, Any]) -> list[Reply]:
        """Return the answers that the conversation of an earlier attempt has, or will have."""
        self._conversation.id = str(noted["conversation"])
        arrival = float(noted.get("at") or 0.0) + _ARRIVAL
        try:
            while not (messages := self._messages()) and 0 < arrival - time.time() < _ARRIVAL:
                time.sleep(_LOOK)
            return [self._answer(answer) for answer in messages if answer.role == "assistant"]
        except NotFoundError:  # it was deleted
            self._conversation = self._new()
            return []

    def _messages(self) -> list[Message]:
        """Return the messages without the system's."""
        return [message for message in self._conversation.messages() if message.role in ("user", "assistant")]

    def _answer(self, message: Message) -> Reply:
        """Return the whole answer that *message* is or becomes; one that failed or was stopped is generated again."""
        given = {name: value for name, value in self._options.items() if name in ("timeouts", "on_elicitation")}
        try:
            reply: Reply | None = self._read(self._conversation.attach(message.generation_id, **given))
        except NotFoundError:  # a server without a log of its runs
            reply = self._stored(message)
        except GenerationError:
            reply = None
        if reply is not None and not reply.interrupted:
            return reply
        again = {name: value for name, value in self._options.items() if name not in ("files", "progress")}
        return self._read(self._conversation.retry(message.id, on_close=self._on_close, **again))

    def _stored(self, message: Message) -> Reply | None:
        """Return the answer as it is stored; None if it is not complete after a while, because its run has ended."""
        end = time.monotonic() + _ARRIVAL
        while not message.finished and time.monotonic() < end:
            time.sleep(_LOOK)
            message = next((one for one in self._messages() if one.id == message.id), message)
        if not message.finished:
            return None
        return Reply(
            text=message.content,
            reasoning=message.reasoning,
            interrupted=message.interrupted,
            model=self._conversation.model,
            conversation_id=self._conversation.id,
            generation_id=message.generation_id,
        )


def _names() -> dict[str, None]:
    """Return the names of all options of a conversation; the batch has a progress of its own."""
    return dict.fromkeys((*_OWN, *(name for name in MessageOptions.__annotations__ if name != "progress")))


def _decline(question: Elicitation) -> bool:
    """Decline the question of a tool, as `Conversation.ask` does: an answer would wait for an hour."""
    return False


def _is_several(given: Any) -> bool:
    """Whether the input is several prompts: a list of strings. A list of messages is one prompt."""
    return isinstance(given, (list, tuple)) and all(isinstance(prompt, str) for prompt in given)
