"""Citations: the web pages that an answer uses, in all the fields where servers put them.

Seen: ``citations`` and ``search_results`` at the root of each chunk (Perplexity), ``citations`` of the last one (xAI),
``annotations`` of a delta or a message (OpenAI, OpenRouter), ``executed_tools`` (Groq), ``web_search`` (Z.AI), ``search_info``
(DashScope), ``groundingMetadata`` (Gemini), parts of the content of type ``tool_reference`` (Mistral).

Reference: docs/protocol/inference ("sources").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from hfclient.decoding.utf16 import repair_surrogates
from hfclient.events import Source

__all__ = ["citations_in"]

# Names of fields that hold pages; the first ones have most details.
_KEYS = re.compile(
    r"(search_?results?)|citation|annotation|web_?(?:search|results?)|search_?info|executed_tools|references|sources|grounding",
    re.IGNORECASE,
)
_LINKS = ("url", "link", "uri")
_TITLES = ("title", "name")
_HOSTS = ("hostname", "site_name", "media", "domain")
_TEXTS = ("snippet", "content", "description", "text", "summary")
_MAX_DEPTH = 6  # levels of nesting that are searched


def citations_in(fields: Mapping[str, Any]) -> Iterator[Source]:
    """Yield the pages in the fields of an object, which may repeat one.

    >>> list(citations_in({"citations": ["https://e.org/a"]}))
    [Source(link='https://e.org/a', title=None, hostname=None, text=None)]
    """
    found = [(match, value) for key, value in fields.items() if value and (match := _KEYS.search(key))]
    for _, value in sorted(found, key=lambda pair: pair[0][1] is None):
        yield from _pages(value, _MAX_DEPTH)


def _pages(value: Any, depth: int) -> Iterator[Source]:
    if isinstance(value, str):
        if _is_link(value):
            yield Source(repair_surrogates(value))
    elif isinstance(value, list) and depth:
        for item in value:
            yield from _pages(item, depth - 1)
    elif isinstance(value, dict) and depth:
        link = next((value[key] for key in _LINKS if _is_link(value.get(key))), None)
        if link is not None:
            yield Source(repair_surrogates(link), _text(value, _TITLES), _text(value, _HOSTS), _text(value, _TEXTS))
        else:
            for item in value.values():
                if isinstance(item, (dict, list)):
                    yield from _pages(item, depth - 1)


def _is_link(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("https://", "http://"))


def _text(page: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    return next((repair_surrogates(page[key]) for key in keys if isinstance(page.get(key), str) and page[key]), None)
