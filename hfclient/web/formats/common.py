"""What the formats of other libraries have in common."""

from __future__ import annotations

import re

from hfclient.events import FinalAnswer, Token

__all__ = ["Missing", "is_web_link"]

_WEB = re.compile(r"https?://[^\s\x00-\x20]+\Z", re.IGNORECASE)
_THINKING = re.compile(r"<think>.*?(?:</think>\s*|\Z)", re.DOTALL)


def is_web_link(link: str) -> bool:
    """Return whether *link* is an http(s) URL. Others (``javascript:``) must not become links of a page."""
    return _WEB.match(link) is not None


class Missing:
    """Finds the end of an answer that came in no token: the server's final answer may have more text than the tokens before it.

    Formats without a final answer would lose it. A final answer that differs from the tokens cannot be expressed by them.
    """

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._is_whole: bool | None = None

    def saw(self, event_id: str | None) -> None:
        """Note the first event: a follower that began in the middle of a run does not know the text before."""
        if self._is_whole is None:
            self._is_whole = event_id is None or event_id.endswith(":1")

    def add(self, token: Token) -> None:
        """Add a token that was written."""
        self._texts.append(token.text)

    def after(self, final: FinalAnswer) -> str:
        """Return the text that is still missing."""
        said = "".join(self._texts)
        if final.interrupted or not self._is_whole:
            return ""
        answer = _THINKING.sub("", final.text)
        return answer[len(said) :] if answer.startswith(said) else ""
