"""Tools of a message: MCP servers that it may use, and answers to a tool's questions.

Reference: docs/protocol/huggingchat ("send", "elicitation").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

from attrs import Factory, field, frozen

from hfclient.credentials import Secret, hidden_header, origin_of
from hfclient.errors import InvalidInputError
from hfclient.events import Elicitation
from hfclient.redaction.masking import register_url_secrets
from hfclient.values import Value

__all__ = ["ElicitationAnswer", "McpLike", "McpServer", "OnElicitation", "mcp_fields"]

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def _name_of(url: str) -> str:
    return urlsplit(url).hostname or url


def _checked_url(url: str) -> str:
    if not isinstance(url, str):
        raise InvalidInputError(f"an MCP server's url is a string, not {type(url).__name__}")
    origin_of(url)
    return url


def _checked_name(name: str) -> str:
    if not isinstance(name, str) or not name.strip():
        raise InvalidInputError("an MCP server's name is a string, and not an empty one")
    return name


def _secrets(headers: Mapping[str, str]) -> dict[str, Secret]:
    given: object = headers
    if not isinstance(given, Mapping):
        kind = type(given).__name__
        raise InvalidInputError(
            f"an MCP server's headers are a mapping of names to values, not {kind}: McpServer(url, headers, name=...)"
        )
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidInputError("the names and values of an MCP server's headers are strings")
        if not _HEADER_NAME.fullmatch(name) or "\r" in value or "\n" in value:
            raise InvalidInputError(f"the header {name!r} of an MCP server cannot be sent")
    return {name: hidden_header(name, value) for name, value in headers.items()}


@frozen(eq=False, repr=False)
class McpServer(Value):
    """An MCP server for the chat server to use for a message.

    Raises:
        InvalidInputError: *url* is not an http(s) URL, a header cannot be sent, or an argument has another type.

    Attributes:
        url: Its address; a chat server takes public ``https`` ones only, unless it was configured otherwise.
        headers: Sent to it with every call, such as its own token; they do not show in a repr.
        name: Its name; by default its host name.
    """

    url: str = field(converter=_checked_url)
    headers: dict[str, Secret] = field(factory=dict, converter=_secrets, repr=lambda headers: repr(sorted(headers)))
    name: str = field(default=Factory(lambda self: _name_of(self.url), takes_self=True), converter=_checked_name)


McpLike: TypeAlias = "str | McpServer"
"""The name of a server that the instance has configured, the URL of one of your own, or an `McpServer`."""


def mcp_fields(mcp: Iterable[McpLike] | Literal["all"]) -> dict[str, Any]:
    """Return the fields of a send that select tools.

        >>> mcp_fields([])
        {'selectedMcpServerNames': []}

    Raises:
        InvalidInputError: A name is empty, or two servers have one name.
    """
    if isinstance(mcp, str):
        if mcp == "all":
            return {}  # the key left out: every server that the instance has configured
        mcp = [mcp]
    if isinstance(mcp, McpServer):
        mcp = [mcp]
    if not isinstance(mcp, Iterable):
        raise InvalidInputError(f"mcp is a list of MCP servers, or \"all\", not {type(mcp).__name__}")
    names: list[str] = []
    servers: list[dict[str, Any]] = []
    for item in mcp:
        server = McpServer(item) if isinstance(item, str) and item.startswith(("https://", "http://")) else item
        if isinstance(server, McpServer):
            headers = [{"key": key, "value": value} for key, value in server.headers.items()]
            register_url_secrets(server.url)  # some take their token in the query
            for value in server.headers.values():
                value.mark_used()
            servers.append({"name": server.name, "url": server.url, "headers": headers})
            names.append(server.name)
        elif isinstance(server, str) and server.strip():
            names.append(server)
        else:
            raise InvalidInputError("an MCP server is named by its name, by its URL, or by McpServer(url, headers)")
    if len(set(names)) < len(names):
        raise InvalidInputError(f"two MCP servers have one name: {', '.join(names)}; give McpServer a name of its own")
    fields: dict[str, Any] = {"selectedMcpServerNames": names}
    if servers:
        fields["selectedMcpServers"] = servers
    return fields


@frozen(eq=False, repr=False)
class ElicitationAnswer(Value):
    """The answer to a tool's question.

    Attributes:
        action: ``"accept"``, ``"decline"`` or ``"cancel"``.
        content: Values by field name, for ``accept`` in form mode. Defaults that the question announces are not filled
            in by the server: send every value you want.
    """

    action: Literal["accept", "decline", "cancel"] = "accept"
    content: dict[str, Any] | None = None

    @classmethod
    def of(cls, given: ElicitationAnswer | Mapping[str, Any] | bool | None) -> ElicitationAnswer:
        """Return the answer for a callback's result: an `ElicitationAnswer`, the values, True to accept, False or None to decline."""
        if isinstance(given, ElicitationAnswer):
            return given
        if isinstance(given, Mapping):
            return cls("accept", dict(given))
        return cls("accept" if given else "decline")


OnElicitation: TypeAlias = Callable[[Elicitation], "ElicitationAnswer | Mapping[str, Any] | bool | None"]
"""Called with a tool's question; returns the answer."""
