"""How long a server asks to wait: ``Retry-After``, and the headers of servers without it.

Reference: RFC 9110 (10.2.3); draft-ietf-httpapi-ratelimit-headers, whose newest form the Hub sends and whose earlier forms
(``RateLimit-Remaining`` with ``RateLimit-Reset``, also with ``X-``) most other servers send; OpenAI's
``x-ratelimit-reset-requests`` and ``x-ratelimit-reset-tokens``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from hfclient.transport.response import Headers

__all__ = ["retry_after", "used_up", "watching"]

watching: ContextVar[Callable[[Headers], None] | None] = ContextVar("watching", default=None)
"""Gets the headers of each successful answer to a request of this context. A batch learns from them that a limit is used up."""

_LIMITED = frozenset({429, 503})
_FAMILIES = ("ratelimit-{}", "x-ratelimit-{}", "x-ratelimit-{}-requests", "x-ratelimit-{}-tokens")
_POLICY = re.compile(r'"[^"]*"')  # the name of a limit; without one the header describes a single limit
_FIELD = re.compile(r"\b(r|t|remaining|reset)=(\d{1,15})(?![\w.])")
_DURATION = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?")
_UNITS = (86400.0, 3600.0, 60.0, 1.0, 0.001)
_EPOCH = 1e9  # a larger number is a time, not a wait
_EPOCH_MS = 1e12


def retry_after(headers: Headers, data: Any = None, *, status: int = 429) -> float | None:
    """Return how many seconds the server asks to wait, or None; malformed values are ignored.

    Args:
        headers: Of the failed answer. ``retry-after-ms`` and ``Retry-After`` (seconds or a date) take precedence.
        data: Its body as JSON, with ``estimated_time`` of a model that is being loaded.
        status: Its status. ``RateLimit`` headers count only with 429 and 503.
    """
    if (milliseconds := _number(headers.get("retry-after-ms", ""))) is not None:
        return _bounded(milliseconds / 1000)
    said = headers.get("retry-after", "")
    if (seconds := _number(said)) is not None:
        return _bounded(seconds)
    if (date := _date(said)) is not None:
        return _bounded(date - time.time())
    estimated = data.get("estimated_time") if isinstance(data, dict) else None
    if isinstance(estimated, (int, float)):
        return _bounded(float(estimated))
    return max(_resets(headers), default=None) if status in _LIMITED else None


def used_up(headers: Headers) -> float | None:
    """Return the seconds until a limit is reset that a successful answer has used up; None if it says so of none."""
    if not any("ratelimit" in name for name in headers):
        return None
    return max(_resets(headers, "1"), default=None)


def _resets(headers: Headers, remaining: str = "0") -> Iterator[float]:
    """Yield the seconds until each exhausted limit is reset.

    Args:
        headers: Of an answer.
        remaining: What is left of a limit that does not say it.
    """
    for limit in _POLICY.split(headers.get("ratelimit", "")):
        fields: dict[str, str] = dict(_FIELD.findall(limit))
        reset = fields.get("t") or fields.get("reset")
        if reset is not None and int(fields.get("r") or fields.get("remaining") or remaining) == 0:
            yield from _wait(reset)
    for family in _FAMILIES:
        if _number(headers.get(family.format("remaining"), remaining)) == 0:
            yield from _wait(headers.get(family.format("reset"), "").strip())


def _wait(value: str) -> Iterator[float]:
    if (seconds := _number(value)) is not None:
        if seconds >= _EPOCH_MS:
            seconds /= 1000
        found = _bounded(seconds - time.time() if seconds >= _EPOCH else seconds)
    elif value and (parts := _DURATION.fullmatch(value)) is not None:
        found = _bounded(sum(float(part) * unit for part, unit in zip(parts.groups(), _UNITS, strict=True) if part))
    else:
        date = _date(value)
        found = None if date is None else _bounded(date - time.time())
    if found is not None:
        yield found


def _number(value: str) -> float | None:
    value = value.strip()
    return float(value) if value.isascii() and value.replace(".", "", 1).isdigit() else None


def _date(value: str) -> float | None:
    """Return the timestamp of a date in the format of HTTP or RFC 3339; None if it is not one."""
    if not value:
        return None
    from email.utils import parsedate_to_datetime  # imported late: nearly all servers send seconds

    for read in (parsedate_to_datetime, lambda text: datetime.fromisoformat(text.replace("Z", "+00:00"))):
        try:
            return read(value.strip()).timestamp()
        except (ValueError, TypeError, OverflowError, OSError):
            continue
    return None


def _bounded(seconds: float) -> float | None:
    return None if seconds != seconds or abs(seconds) == float("inf") else max(0.0, seconds)
