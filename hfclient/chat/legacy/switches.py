"""The fields of a message that only servers before September 2025 know: web search and tools by id."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from hfclient.errors import InvalidInputError

__all__ = ["switch_fields"]

_TOOL_ID = re.compile(r"[0-9a-fA-F]{24}")


def switch_fields(web_search: bool, tools: str | Iterable[str]) -> dict[str, Any]:
    """Return these fields for the options of a send.

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
