"""Assistants: servers before September 2025 have them."""

from __future__ import annotations

from hfclient.chat.legacy.endpoints import assistant
from hfclient.chat.wire.endpoints import Endpoints
from hfclient.chat.wire.server_errors import not_a_chat_server
from hfclient.decoding.json_values import text_or_none
from hfclient.transport import Session

__all__ = ["fetch_assistant_model"]


def fetch_assistant_model(assistant_id: str, endpoints: Endpoints, session: Session) -> str | None:
    """Return the id of the LLM of an assistant, None if the server does not send it.

    Raises:
        InvalidInputError: The id is not 24 hex digits.
        NotFoundError: There is no such assistant.

    Reference: GET {base}/api/assistant/{id}
    """
    request = assistant(endpoints, assistant_id)
    data = session.send(request).json()
    if not isinstance(data, dict):
        raise not_a_chat_server(request.url, str(data)[:200])
    return text_or_none(data.get("modelId"))
