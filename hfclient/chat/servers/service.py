"""`ChatService`: one chat server, its session and its API, as conversations and resources use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import evolve

from hfclient.chat.servers.api import ServerApi
from hfclient.chat.servers.auth import ChatAuth
from hfclient.chat.servers.models import Models
from hfclient.chat.wire.endpoints import Endpoints
from hfclient.chat.wire.list_entries import read_entries
from hfclient.chat.wire.messages import ConversationState, parse_conversation, parse_conversation_info
from hfclient.chat.wire.server_errors import not_a_chat_server
from hfclient.errors import HFClientError
from hfclient.events import AnyEvent
from hfclient.stream import LastReply
from hfclient.transport import Clock, Request, Session
from hfclient.types import ConversationInfo

if TYPE_CHECKING:
    from hfclient.chat.legacy.versions import ServerVersion

__all__ = ["ChatService"]

_PAGE = 30  # entries on a full page of conversations


class ChatService:
    """One chat server. Threads may share it.

    Args:
        session: Sends the requests; the service adds the server's authentication to it.
        base_url: The server's base URL.
        on_event: Called with every event of every stream.
        last: Gets the answer of every stream, or None.
    """

    def __init__(
        self,
        session: Session,
        base_url: str,
        *,
        on_event: Callable[[AnyEvent], object] | None = None,
        last: LastReply | None = None,
    ) -> None:
        self.endpoints = Endpoints(base_url)
        self.endpoints.form_origin = _form_origin(session, self.endpoints.form_origin)
        self.api = ServerApi(self.endpoints)
        self.auth = ChatAuth(self.endpoints, self.api)
        self.session = session.with_auth(self.auth)
        self.on_event = on_event
        self.last = last
        self.models = Models(self.api, self.endpoints, self.session)

    def version(self) -> ServerVersion:
        """Return the server's version; detected once, and only when it matters.

        Raises:
            NotAChatServer: It is not a chat-ui of any version.
        """
        return self.api.version(self.session)

    def ends_with_connection(self) -> bool:
        """Return whether the server ends a run when its connection breaks; False if its version cannot be detected."""
        try:
            return not self.version().outlives_connection
        except HFClientError:
            return False

    def need_session(self) -> None:
        """Make sure that there is a session cookie to write with, an anonymous one if that will do.

        Raises:
            CredentialsError: This server requires a login and there is no cookie. Nothing was sent.
        """
        self.auth.need_session(self.session.credentials)

    def read(self, request: Request) -> Any:
        """Return the v2 API's answer to *request*, decoded, from servers of every version.

        Reads need no cookie: with a token they are its user's, else an anonymous user's.

        Raises:
            NotAChatServer: The answer is not a chat-ui's.
        """
        return self.api.read(request, self.session)

    def read_state(self, conversation_id: str, clock: Clock | None = None) -> ConversationState:
        """Return the present state of a conversation or a share.

        Args:
            conversation_id: Which one.
            clock: Of the call; None starts one for this request.
        """
        request = evolve(self.endpoints.conversation(conversation_id), clock=clock)
        return parse_conversation(self.api.read(request, self.session))

    def list_page(self, page: int) -> tuple[list[ConversationInfo], bool]:
        """Return one page of the list of conversations, and whether there are more."""
        request = self.endpoints.conversations(page)
        data = self.api.read(request, self.session)
        if not isinstance(data, dict) or not isinstance(data.get("conversations"), list):
            raise not_a_chat_server(request.url, str(data)[:200])
        if not data["conversations"] and page == 0 and self.auth.check_empty_list(self.session):
            return self.list_page(page)
        entries = read_entries(data["conversations"], parse_conversation_info, "conversations of a page")
        # From June to November 2025 servers send a count instead of hasMore.
        return entries, bool(entries) and bool(data.get("hasMore", len(data["conversations"]) >= _PAGE))

    def fetch(self, url: str, limit: int) -> bytes:
        """Return the content at a URL, at most *limit* bytes of it; credentials are sent to their own servers only."""
        return self.session.send(Request.file(url, follow_redirects=True)).read_at_most(limit)


def _form_origin(session: Session, origin: str) -> str:
    """Return the header Origin: the caller's own, or the origin that the caller's Host header names."""
    given = {name.lower(): "".join(value) for name, value in session.headers.items()}
    if "host" in given:
        origin = f"{origin.partition('://')[0]}://{given['host']}"
    return given.get("origin", origin)
