"""The lists of a chat server: conversations and models."""

from __future__ import annotations

from collections.abc import Iterator

from hfclient.chat.conversation import Conversation
from hfclient.chat.endpoints import Endpoints
from hfclient.chat.service import ChatService
from hfclient.types import ConversationInfo, Model

__all__ = ["Conversations", "Models"]


class Conversations:
    """The caller's conversations on the server: iterate over all of them, newest first.

    for info in client.conversations:
        print(info.updated_at, info.title)
    """

    def __init__(self, service: ChatService) -> None:
        self._service = service

    def __repr__(self) -> str:
        return "<Conversations>"

    def __iter__(self) -> Iterator[ConversationInfo]:
        """Yield all of them, fetched by the page as they are needed, each once.

        Reference: GET {base}/api/v2/conversations?p=N
        """
        seen: set[str] = set()
        page = 0
        while True:
            entries, more = self._service.list_page(page)
            for info in entries:
                if info.id not in seen:  # one that is written to meanwhile moves to the front
                    seen.add(info.id)
                    yield info
            if not more:
                return
            page += 1

    def list(self, limit: int | None = None) -> list[ConversationInfo]:
        """Return the newest *limit* conversations, or all."""
        found: list[ConversationInfo] = []
        for info in self:
            if limit is not None and len(found) >= limit:
                break
            found.append(info)
        return found

    def get(self, id: str) -> Conversation:
        """Return the conversation with this id, its title and model read from the server.

        Raises:
            NotFoundError: There is none.
            PermissionDeniedError: It belongs to somebody else.
        """
        conversation = Conversation(self._service, id)
        conversation.fetch_message_id()
        return conversation

    def delete(self, id: str) -> None:
        """Delete one conversation.

        Reference: DELETE {base}/api/v2/conversations/{id}
        """
        self._service.read(self._endpoints.delete(id))

    def delete_all(self) -> int:
        """Delete all conversations of this account or session; returns how many there were.

        Reference: DELETE {base}/api/v2/conversations
        """
        count = self._service.read(self._endpoints.delete_all())
        return count if isinstance(count, int) else 0

    @property
    def _endpoints(self) -> Endpoints:
        return self._service.endpoints


class Models:
    """The LLMs that the server offers, its default first; the list is kept for a minute."""

    def __init__(self, service: ChatService) -> None:
        self._service = service

    def __repr__(self) -> str:
        return "<Models>"

    def __iter__(self) -> Iterator[Model]:
        return iter(self._service.models())

    def list(self, *, fresh: bool = False) -> list[Model]:
        """Return all of them; *fresh* asks the server again.

        Reference: GET {base}/api/v2/models
        """
        return self._service.models(fresh=fresh)

    def get(self, name: str) -> Model:
        """Return the LLM called *name*: its id in any case, the last part of its id, or its label.

        Raises:
            ModelNotFound: There is none; the message and ``suggestions`` hold the nearest names.
        """
        return self._service.model(name)

    @property
    def default(self) -> Model:
        """The LLM that the server would choose."""
        return self._service.default_model()
