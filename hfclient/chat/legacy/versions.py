"""The version of a chat-ui, as far as it changes the requests.

The package's version stayed 0.20.0 from September 2025 on, so features are detected instead of versions. Nothing is
detected before it is needed: a call goes to today's API first. The version is detected only after an answer that an
older server gives for an unknown path, or before a feature that another version would ignore silently.

Reference: docs/protocol/huggingchat ("older servers"). Seen on 2026-11-21: 0.20 (August 2026), 0.10 (August 2025) and
0.9.5 (June 2025).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from attrs import frozen

from hfclient.chat.legacy import endpoints as legacy
from hfclient.chat.legacy.server_errors import is_missing_route
from hfclient.chat.wire.endpoints import Endpoints
from hfclient.chat.wire.server_errors import not_a_chat_server
from hfclient.errors import (
    APIStatusError,
    BadRequestError,
    HFClientError,
    NotAChatServer,
    ProtocolError,
    Unsupported,
)
from hfclient.transport import Request, Session
from hfclient.values import Value

__all__ = ["Release", "ServerVersion", "detect_version", "fetch_layout"]

Release = Literal["0.20", "0.20-elysia", "0.10", "0.9"]


@frozen(eq=False, repr=False)
class ServerVersion(Value):
    """The version of a chat-ui server.

    Attributes:
        release: ``"0.20"`` since February 2026; ``"0.20-elysia"`` before that, whose v2 API answers every error with 500;
            ``"0.10"`` (June to September 2025), with web search, tools and assistants of its own; ``"0.9"`` or older, without
            a v2 API.
        has_mcp: Tools come from MCP servers (since November 2025).
    """

    release: Release
    has_mcp: bool

    @property
    def has_v2(self) -> bool:
        """Whether there is a v2 API."""
        return self.release != "0.9"

    @property
    def has_switches(self) -> bool:
        """Whether a message may switch on web search and tools, and a conversation name an assistant."""
        return self.release in ("0.10", "0.9")

    @property
    def outlives_connection(self) -> bool:
        """Whether a generation continues after its connection is closed (since September 2025)."""
        return not self.has_switches

    def check(self, *, mcp: bool = False, switches: Iterable[str] = (), assistant: bool = False) -> None:
        """Refuse options that this version would ignore silently.

        Args:
            mcp: MCP servers are wanted.
            switches: Names of the wanted fields of :func:`hfclient.chat.legacy.switches.switch_fields`.
            assistant: An assistant is wanted.

        Raises:
            Unsupported: The server would ignore one of them; the message names what to use instead.
        """
        wanted = " and ".join({"web_search": "web_search=True", "tools": "tools=[...]"}[name] for name in switches)
        if mcp and not self.has_mcp:
            instead = "use web_search=True or tools=[...]" if self.has_switches else "it has no tools of any kind"
            raise Unsupported(f"{self} does not know MCP servers and would ignore them silently; {instead}")
        if wanted and not self.has_switches:
            instead = (
                "its tools, web search among them, come from MCP servers: mcp=[...] with a name from "
                "client.server.mcp_servers() or a URL"
                if self.has_mcp
                else "it has no tools of any kind"
            )
            raise Unsupported(f"{self} would ignore {wanted} silently; {instead}")
        if assistant and not self.has_switches:
            raise Unsupported(
                f"{self} has no assistants and would ignore this one silently; give its prompt as system_prompt=, "
                "its LLM as model= and its tools as mcp=[...]"
            )

    def __str__(self) -> str:
        return _NAMES[self.release]


_NAMES: dict[Release, str] = {
    "0.20": "chat-ui 0.20",
    "0.20-elysia": "chat-ui 0.20 (before February 2026)",
    "0.10": "chat-ui 0.10",
    "0.9": "chat-ui 0.9 or older",
}


def detect_version(session: Session, endpoints: Endpoints) -> ServerVersion:
    """Detect a server's version with one to three small reads.

    Raises:
        NotAChatServer: It is not a chat-ui of any version.
        APIStatusError, TransportError: The server could not be reached.
    """
    request = endpoints.features()
    try:
        data = session.send(request).json()
    except (APIStatusError, ProtocolError) as error:
        if not is_missing_route(error):
            raise
        if isinstance(error, APIStatusError) and error.body == "NOT_FOUND":
            return ServerVersion("0.10", has_mcp=False)  # an early v2 API without this path
        return _without_v2(session, endpoints, error)
    flags = data.get("json") if isinstance(data, dict) else None
    if not isinstance(flags, dict) or "loginEnabled" not in flags:
        raise not_a_chat_server(request.url, str(data)[:200])
    if "searchEnabled" in flags or "guestMode" in flags:
        return ServerVersion("0.10", has_mcp=False)
    if "transcriptionEnabled" not in flags:  # September to December 2025; MCP came in between
        return ServerVersion("0.20-elysia", has_mcp=_list_from(session, endpoints.mcp_servers()) is not None)
    return ServerVersion(_release_by_errors(session, endpoints), has_mcp=True)


def _release_by_errors(session: Session, endpoints: Endpoints) -> Release:
    """Tell the two v2 APIs apart by their answer to a malformed id: 400 in JSON, or 500 in plain text."""
    try:
        session.send(legacy.malformed_conversation(endpoints)).close()
    except BadRequestError as error:
        return "0.20-elysia" if error.status_code == 500 else "0.20"
    except HFClientError:
        pass  # neither; no call depends on it
    return "0.20"


def _without_v2(session: Session, endpoints: Endpoints, why: HFClientError) -> ServerVersion:
    """Check that a server without a v2 API is a chat-ui."""
    models = _list_from(session, legacy.models_v1(endpoints)) or [{}]
    if all(isinstance(model, dict) and "id" in model for model in models):
        return ServerVersion("0.9", has_mcp=False)
    if "models" in (fetch_layout(session, endpoints) or {}):
        return ServerVersion("0.9", has_mcp=False)
    raise why if isinstance(why, NotAChatServer) else not_a_chat_server(endpoints.features().url)


def _list_from(session: Session, request: Request) -> list[Any] | None:
    try:
        data = session.send(request).json()
    except (APIStatusError, ProtocolError):
        return None
    return data if isinstance(data, list) else None


def fetch_layout(session: Session, endpoints: Endpoints) -> dict[str, Any] | None:
    """Return the data that every page of a server without a v2 API holds; None without any."""
    from hfclient.chat.legacy.devalue import NodeError, parse_page  # not loaded for today's servers

    try:
        page = parse_page(session.send(legacy.layout_data(endpoints)).read())
    except (APIStatusError, ProtocolError):
        return None
    layout = page.node(0)
    return None if isinstance(layout, NodeError) else layout
