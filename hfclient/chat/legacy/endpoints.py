"""The paths that only servers before 2026 have: the first API, and the data behind their pages.

Reference: docs/protocol/huggingchat ("older servers"); chat-ui 0.9.5 and 0.10, seen 2026-11-21.
"""

from __future__ import annotations

import re

from hfclient.chat.wire.endpoints import Endpoints, own_id, path_segment, readable_id
from hfclient.errors import InvalidInputError
from hfclient.transport import Request

__all__ = [
    "assistant",
    "conversation_data",
    "conversation_page",
    "conversations_v1",
    "create_from_share",
    "layout_data",
    "malformed_conversation",
    "message_v1",
    "models_v1",
    "settings_page",
]

_ASSISTANT_ID = re.compile(r"[0-9a-fA-F]{24}")


def malformed_conversation(endpoints: Endpoints) -> Request:
    """A conversation that cannot exist: the error tells the server's version."""
    return endpoints.read("/api/v2/conversations/zz")


def models_v1(endpoints: Endpoints) -> Request:
    """The list of models in the first API."""
    return endpoints.read("/api/models")


def conversations_v1(endpoints: Endpoints, page: int) -> Request:
    """One page of the list of conversations in the first API."""
    return endpoints.read("/api/conversations", params={"p": page})


def message_v1(endpoints: Endpoints, conversation_id: str, message_id: str) -> str:
    """The URL of a message in the first API."""
    return f"{endpoints.base}/api/conversation/{own_id(conversation_id)}/message/{path_segment(message_id)}"


def assistant(endpoints: Endpoints, assistant_id: str) -> Request:
    """An assistant."""
    if not _ASSISTANT_ID.fullmatch(assistant_id):
        raise InvalidInputError(f"an assistant's id is 24 hex digits, not {assistant_id[:60]!r}")
    return endpoints.read(f"/api/assistant/{assistant_id}")


def layout_data(endpoints: Endpoints) -> Request:
    """The data of every page's layout. In the parameter one digit per layer selects the layers to return."""
    return endpoints.read("/__data.json", params={"x-sveltekit-invalidated": "10"})


def conversation_data(endpoints: Endpoints, conversation_id: str) -> Request:
    """The data of a conversation's page."""
    path = f"/conversation/{readable_id(conversation_id)}/__data.json"
    return endpoints.read(path, params={"x-sveltekit-invalidated": "01"})


def conversation_page(endpoints: Endpoints, conversation_id: str) -> str:
    """The URL of a conversation's page, which takes its changes."""
    return f"{endpoints.base}/conversation/{own_id(conversation_id)}"


def settings_page(endpoints: Endpoints) -> str:
    """The URL of the settings' page, which takes their changes."""
    return f"{endpoints.base}/settings"


def create_from_share(endpoints: Endpoints, model: str, share_id: str) -> Request:
    """A new conversation with the messages of a share."""
    return endpoints.write("POST", "/conversation", {"model": model, "fromShare": share_id})
