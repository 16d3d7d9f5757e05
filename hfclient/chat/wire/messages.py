"""Decoded answers of the server become values: conversations and their messages, models, shares, users.

Reference: docs/protocol/huggingchat ("messages and the tree").
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from attrs import frozen

from hfclient.chat.wire.turn import Turn
from hfclient.decoding.json_values import date_or_none, int_or_none, list_or_empty, text_or_none
from hfclient.decoding.think_tags import split_thinking
from hfclient.errors import ProtocolError
from hfclient.redaction.control_characters import escaped
from hfclient.types import ConversationInfo, Message, Model, ModelProvider, PromptExample, Share, StoredFile, User
from hfclient.values import Value

__all__ = [
    "ConversationState",
    "find_answer",
    "is_end",
    "parse_conversation",
    "parse_conversation_info",
    "parse_model",
    "parse_share",
    "parse_user",
    "share_id_in",
]


@frozen(eq=False, repr=False)
class ConversationState(Value):
    """A conversation at the time of a read.

    Attributes:
        id: Of the conversation, or of a share.
        title, model, system_prompt: As the server has them.
        messages: All messages of the tree, in order of creation.
        root_id: The system message at the root, if there is one.
    """

    id: str
    title: str
    model: str
    system_prompt: str
    messages: tuple[Message, ...]
    root_id: str | None = None


def parse_conversation(data: Any) -> ConversationState:
    """Return the conversation in a decoded answer.

    Raises:
        ProtocolError: It is not a conversation.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("messages"), list):
        raise ProtocolError("the server's answer is not a conversation", frame=str(data)[:200])
    messages = tuple(_parse_message(item) for item in data["messages"] if isinstance(item, Mapping))
    return ConversationState(
        id=str(data.get("id") or ""),
        title=str(data.get("title") or ""),
        model=str(data.get("model") or data.get("modelId") or ""),
        system_prompt=str(data.get("preprompt") or ""),
        messages=messages,
        root_id=text_or_none(data.get("rootMessageId")),
    )


def _parse_message(item: Mapping[str, Any]) -> Message:
    content = str(item.get("content") or "")
    role = str(item.get("from") or "")
    # A user's own text may quote the tags; only a model's text is split.
    answer, reasoning = split_thinking(content) if role == "assistant" else (content, "")
    ancestors = list_or_empty(item.get("ancestors"))
    return Message(
        id=str(item.get("id") or ""),
        role=role,
        content=answer,
        reasoning=str(item.get("reasoning") or "") or reasoning,
        parent_id=str(ancestors[-1]) if ancestors else None,
        children=tuple(map(str, list_or_empty(item.get("children")))),
        files=tuple(_parse_files(list_or_empty(item.get("files")))),
        created_at=_time(item.get("createdAt")),
        updated_at=_time(item.get("updatedAt")),
        interrupted=item.get("interrupted") is True,
        generation_id=text_or_none(item.get("generationId")),
        finished=role != "assistant" or _is_finished(item),
        raw=dict(item),
    )


def _parse_files(files: Iterable[Any]) -> Iterable[StoredFile]:
    for file in files:
        if isinstance(file, Mapping):
            yield StoredFile(str(file.get("name") or ""), str(file.get("mime") or ""), str(file.get("value") or ""))
        elif isinstance(file, str):  # before May 2024: a bare hash
            yield StoredFile("", "", file)


def _is_finished(item: Mapping[str, Any]) -> bool:
    if item.get("interrupted") is not None:  # true: stopped; false: finished; absent: running or failed
        return True
    return any(isinstance(update, Mapping) and is_end(update) for update in list_or_empty(item.get("updates")))


def is_end(update: Mapping[str, Any]) -> bool:
    """Whether an update is among the last ones of a run."""
    kind = update.get("type")
    return kind == "finalAnswer" or (kind == "status" and update.get("status") in ("finished", "error"))


def _time(value: Any) -> datetime.datetime | None:
    return value if isinstance(value, datetime.datetime) else date_or_none(value)


def find_answer(state: ConversationState, turn: Turn) -> Message | None:
    """Return the assistant message that answers *turn*, or None if the server has not received that turn."""
    by_id = {message.id: message for message in state.messages}
    if turn.message_id is not None:  # it existed before: its generation id tells whether the run began
        message = by_id.get(turn.message_id)
        return message if message is not None and message.generation_id == turn.generation_id else None
    answers = [message for message in reversed(state.messages) if message.role == "assistant"]
    if turn.generation_id is None:
        return answers[0] if answers else None
    for message in answers:
        if message.generation_id == turn.generation_id:
            return message
    if any(message.generation_id for message in answers):
        return None
    from hfclient.chat.legacy.answers import find_answer_by_text  # servers before July 2026 store no generation ids

    return find_answer_by_text(answers, by_id, turn)


def parse_conversation_info(item: Any) -> ConversationInfo:
    """Return an entry of the list of conversations; raises `ProtocolError` if it has no id."""
    if not isinstance(item, Mapping) or not (item.get("id") or item.get("_id")):
        raise ProtocolError("the list of conversations holds an entry without an id", frame=str(item)[:200])
    return ConversationInfo(
        id=str(item.get("id") or item.get("_id")),
        title=str(item.get("title") or ""),
        model=str(item.get("model") or item.get("modelId") or ""),
        updated_at=_time(item.get("updatedAt")),
    )


def parse_model(item: Any) -> Model:
    """Return an entry of the list of models; raises `ProtocolError` if it has no id.

    Older servers name ``supportsTools`` and ``supportsReasoning`` ``tools`` and ``reasoning``.
    """
    if not isinstance(item, Mapping) or not item.get("id"):
        raise ProtocolError("the list of models holds an entry without an id", frame=str(item)[:200])
    examples = [example for example in list_or_empty(item.get("promptExamples")) if isinstance(example, Mapping)]
    return Model(
        id=str(item["id"]),
        display_name=str(item.get("displayName") or item["id"]),
        description=str(item.get("description") or ""),
        multimodal=bool(item.get("multimodal")),
        accepted_mimetypes=tuple(map(str, list_or_empty(item.get("multimodalAcceptedMimetypes")))),
        supports_tools=bool(item.get("supportsTools", item.get("tools"))),
        supports_reasoning=bool(item.get("supportsReasoning", item.get("reasoning"))),
        is_router=bool(item.get("isRouter")),
        system_prompt=str(item.get("preprompt") or ""),
        prompt_examples=tuple(
            PromptExample(str(example.get("title") or ""), str(example.get("prompt") or "")) for example in examples
        ),
        providers=tuple(
            ModelProvider(
                str(entry.get("provider") or ""),
                entry["supports_tools"] if isinstance(entry.get("supports_tools"), bool) else None,
                int_or_none(entry.get("context_length")),
                dict(entry),
            )
            for entry in list_or_empty(item.get("providers"))
            if isinstance(entry, Mapping)
        ),
        raw=dict(item),
    )


def parse_share(data: Any, base_url: str) -> Share | None:
    """Return the share in an answer; servers up to June 2025 send its link instead of its id."""
    if not isinstance(data, Mapping):
        return None
    if isinstance(data.get("shareId"), str):
        return Share(data["shareId"], f"{base_url}/r/{quote(data['shareId'], safe='', errors='replace')}")
    if isinstance(data.get("url"), str):
        return Share(share_id_in(data["url"]), escaped(data["url"]))
    return None


def share_id_in(link: str) -> str:
    """Return the id in a link to a shared conversation; an id is returned as it is."""
    return link.partition("?")[0].partition("#")[0].rstrip("/").rpartition("/")[2]


def parse_user(item: Any) -> User | None:
    """Return the user in an answer; None for an anonymous one."""
    if not isinstance(item, Mapping) or not item.get("id"):
        return None
    return User(
        id=str(item["id"]),
        username=text_or_none(item.get("username")) or text_or_none(item.get("name")),
        email=text_or_none(item.get("email")),
        avatar_url=text_or_none(item.get("avatarUrl")),
    )
