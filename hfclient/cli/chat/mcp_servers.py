"""The MCP servers that a user names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hfclient.errors import HFClientError, InvalidInputError
from hfclient.redaction.control_characters import one_line

if TYPE_CHECKING:
    from hfclient import Client

__all__ = ["chosen_servers"]


def chosen_servers(client: Client, given: Sequence[str]) -> list[str]:
    """Return the servers that *given* names, as the chat server spells them. A chat server ignores a name that it does not know.

    Args:
        client: The client of the chat server.
        given: Names and addresses. One that the server does not know may be several, separated by commas or spaces.

    Raises:
        InvalidInputError: The server has no MCP server of that name.
    """
    if all(map(_is_address, given)):
        return list(given)
    try:
        known = [str(server.get("name", "")) for server in client.server.mcp_servers()]
    except HFClientError:  # the message has the error, or an older server
        return list(given)
    names = {name.casefold(): name for name in known}
    parts: list[str] = []
    for text in given:
        for part in [text] if text.strip().casefold() in names else text.split(","):
            parts += [part.strip()] if part.strip().casefold() in names else part.split()
    for part in parts:
        if not _is_address(part) and part.casefold() not in names:
            offered = f"this server has {', '.join(known)}" if known else "this server has none"
            raise InvalidInputError(one_line(f"there is no MCP server {part!r} here; {offered}; an address uses your own"))
    return [part if _is_address(part) else names[part.casefold()] for part in parts]


def _is_address(text: str) -> bool:
    return text.startswith(("https://", "http://"))
