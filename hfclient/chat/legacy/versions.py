"""How old a chat-ui is, as far as that changes what may be said to it.

The package's version stayed 0.20.0 from September 2025 on, so features are asked for and not versions. Nothing is asked
before it matters: a call goes to today's API first, and only an answer of the kind that an old server gives to a path that
it does not know, or a feature that another generation would leave out in silence, makes somebody look here.

Reference: docs/protocol/huggingchat ("older servers"). Seen on 2026-11-21: 0.20 (August 2026), 0.10 (August 2025) and
0.9.5 (June 2025).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal

from attrs import frozen

from hfclient.chat.wire.endpoints import Endpoints
from hfclient.chat.wire.failures import is_missing_route, not_a_chat_server
from hfclient.errors import (
    APIStatusError,
    BadRequestError,
    HFClientError,
    InvalidInputError,
    NotAChatServer,
    ProtocolError,
    Unsupported,
)
from hfclient.transport import Request, Session

__all__ = ["Era", "Generation", "detect", "layout_of", "switch_fields"]

Era = Literal["current", "elysia", "legacy", "pages"]
_TOOL_ID = re.compile(r"[0-9a-fA-F]{24}")


@frozen
class Generation:
    """What sort of chat-ui a server is.

    Attributes:
        era: ``"current"`` since February 2026; ``"elysia"`` for 0.20 before that, whose v2 API answers 500 to whatever is
            wrong; ``"legacy"`` for 0.10 (June to September 2025), with web search, tools and assistants of its own;
            ``"pages"`` for 0.9 and before, without a v2 API.
        has_mcp: Tools come from MCP servers (since November 2025).
    """

    era: Era
    has_mcp: bool

    @property
    def has_v2(self) -> bool:
        """Whether there is a v2 API."""
        return self.era != "pages"

    @property
    def has_switches(self) -> bool:
        """Whether a message may switch on web search and tools, and a conversation name an assistant."""
        return self.era in ("legacy", "pages")

    @property
    def outlives_connection(self) -> bool:
        """Whether an answer goes on when its connection is closed (since September 2025)."""
        return not self.has_switches

    def check(self, *, mcp: bool = False, switches: Iterable[str] = (), assistant: bool = False) -> None:
        """Refuse what a server of this age would leave out without a word.

        Args:
            mcp: MCP servers are wanted.
            switches: Names of the fields of :func:`switch_fields` that are wanted.
            assistant: An assistant is wanted.

        Raises:
            Unsupported: It would; the message names what to use instead.
        """
        wanted = " and ".join({"web_search": "web_search=True", "tools": "tools=[...]"}[name] for name in switches)
        if mcp and not self.has_mcp:
            instead = "use web_search=True or tools=[...]" if self.has_switches else "it has no tools of any kind"
            raise Unsupported(f"{self} knows no MCP servers and would leave them out in silence; {instead}")
        if wanted and not self.has_switches:
            instead = (
                "its tools, web search among them, come from MCP servers: mcp=[...] with a name from "
                "client.server.mcp_servers() or a URL"
                if self.has_mcp
                else "it has no tools of any kind"
            )
            raise Unsupported(f"{self} would leave out {wanted} in silence; {instead}")
        if assistant and not self.has_switches:
            raise Unsupported(
                f"{self} has no assistants and would leave this one out in silence; give its prompt as system_prompt=, "
                "its LLM as model= and its tools as mcp=[...]"
            )

    def __str__(self) -> str:
        return _NAMES[self.era]


_NAMES: dict[Era, str] = {
    "current": "chat-ui 0.20",
    "elysia": "chat-ui 0.20 of before February 2026",
    "legacy": "chat-ui 0.10",
    "pages": "chat-ui 0.9 or older",
}


def switch_fields(web_search: bool, tools: str | Iterable[str]) -> dict[str, Any]:
    """Return the fields of a send that only servers of before September 2025 know.

        >>> switch_fields(True, ["00000000000000000000000c"])
        {'web_search': True, 'tools': ['00000000000000000000000c']}
        >>> switch_fields(False, [])
        {}

    Raises:
        InvalidInputError: An id of a tool is not 24 hex digits.
    """
    ids = [tools] if isinstance(tools, str) else list(tools)
    for tool in ids:
        if not isinstance(tool, str) or not _TOOL_ID.fullmatch(tool):
            raise InvalidInputError(
                f"a tool's id is 24 hex digits, not {str(tool)[:60]!r}; for MCP servers use mcp=[...]"
            )
    return {**({"web_search": True} if web_search else {}), **({"tools": ids} if ids else {})}


def detect(session: Session, endpoints: Endpoints) -> Generation:
    """Ask a server how old it is; one to three small reads.

    Raises:
        NotAChatServer: It is no chat-ui of any age.
        APIStatusError, TransportError: It could not be asked.
    """
    request = endpoints.features()
    try:
        data = session.send(request).json()
    except (APIStatusError, ProtocolError) as error:
        if not is_missing_route(error):
            raise
        if isinstance(error, APIStatusError) and error.body == "NOT_FOUND":
            return Generation("legacy", has_mcp=False)  # a v2 API from before it had this path
        return _without_v2(session, endpoints, error)
    flags = data.get("json") if isinstance(data, dict) else None
    if not isinstance(flags, dict) or "loginEnabled" not in flags:
        raise not_a_chat_server(request.url, str(data)[:200])
    if "searchEnabled" in flags or "guestMode" in flags:
        return Generation("legacy", has_mcp=False)
    if "transcriptionEnabled" not in flags:  # September to December 2025; MCP came in between
        return Generation("elysia", has_mcp=_list_from(session, endpoints.mcp_servers()) is not None)
    return Generation(_era_by_manners(session, endpoints), has_mcp=True)


def _era_by_manners(session: Session, endpoints: Endpoints) -> Era:
    """Tell the two v2 APIs apart by what they answer to an id that is none: 400 in JSON, or 500 in plain text."""
    try:
        session.send(endpoints.malformed_conversation()).close()
    except BadRequestError as error:
        return "elysia" if error.status == 500 else "current"
    except HFClientError:
        pass  # neither; nothing depends on it enough to fail for it
    return "current"


def _without_v2(session: Session, endpoints: Endpoints, why: HFClientError) -> Generation:
    """Make sure that a server without a v2 API is a chat-ui at all."""
    models = _list_from(session, endpoints.models_v1()) or [{}]
    if all(isinstance(model, dict) and "id" in model for model in models):
        return Generation("pages", has_mcp=False)
    if "models" in (layout_of(session, endpoints) or {}):
        return Generation("pages", has_mcp=False)
    raise why if isinstance(why, NotAChatServer) else not_a_chat_server(endpoints.features().url)


def _list_from(session: Session, request: Request) -> list[Any] | None:
    try:
        data = session.send(request).json()
    except (APIStatusError, ProtocolError):
        return None
    return data if isinstance(data, list) else None


def layout_of(session: Session, endpoints: Endpoints) -> dict[str, Any] | None:
    """Return what every page of a server without a v2 API holds; None if it holds nothing, or nobody knows."""
    from hfclient.chat.wire.devalue import NodeError, parse_page  # for servers of before the v2 API only

    try:
        page = parse_page(session.send(endpoints.layout_data()).read())
    except (APIStatusError, ProtocolError):
        return None
    layout = page.node(0)
    return None if isinstance(layout, NodeError) else layout
