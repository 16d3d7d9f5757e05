"""A conversation as JSON: every field of every message."""

from __future__ import annotations

import json

from hfclient.chat.files.formats.branches import Exported, branches_of

__all__ = ["as_json"]


def as_json(exported: Exported) -> str:
    """Return the conversation as JSON, its messages in order of creation."""
    state = exported.state
    messages = state.messages
    if exported.branches == "active":
        kept = {message.id for branch in branches_of(exported) for message in branch.messages}
        messages = tuple(message for message in messages if message.id in kept)
    data = {
        "version": 1,
        "id": state.id,
        "title": state.title,
        "model": state.model,
        "system_prompt": state.system_prompt,
        "messages": [message.to_dict() for message in messages],
        "files": dict(exported.saved),
    }
    return json.dumps(data, ensure_ascii=False, indent=1, default=str) + "\n"
