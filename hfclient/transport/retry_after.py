"""How long a server asks to wait: `Retry-After`, and what servers without it say instead.

Reference: RFC 9110 (10.2.3); draft-ietf-httpapi-ratelimit-headers, whose newest form the Hub sends and whose earlier forms
(``RateLimit-Remaining`` with ``RateLimit-Reset``, also with ``X-``) most others do; OpenAI's
``x-ratelimit-reset-requests`` and ``x-ratelimit-reset-tokens``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

from hfclient.transport.base import Headers

__all__ = ["retry_after"]

_LIMITED = frozenset({429, 503})
_FAMILIES = ("ratelimit-{}", "x-ratelimit-{}", "x-ratelimit-{}-requests", "x-ratelimit-{}-tokens")
_POLICY = re.compile(r'"[^"]*"')  # its name; without one the header describes a single limit
_FIELD = re.compile(r"\b(r|t|remaining|reset)=(\d{1,15})(?![\w.])")
_DURATION = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?")
_UNITS = (86400.0, 3600.0, 60.0, 1.0, 0.001)
_EPOCH = 1e9  # a larger number is a time, not a wait
_EPOCH_MS = 1e12


def retry_after(headers: Headers, data: Any = None, *, status: int = 429) -> float | None:
    """Return how many seconds the server asks to wait, or None; nonsense counts as nothing.

    Args:
        headers: Of the failed answer. ``retry-after-ms`` and ``Retry-After`` (seconds or a date) go before all others.
        data: Its body as JSON, with ``estimated_time`` of a model that is being loaded.
        status: With another one than 429 and 503, ``RateLimit`` headers say nothing about this request.
    """
    try:
        if "retry-after-ms" in headers:
            milliseconds = float(headers["retry-after-ms"])
            return _bounded(milliseconds / 1000) if milliseconds >= 0 else None
        if "retry-after" in headers:
            value = headers["retry-after"].strip()
            if value.replace(".", "", 1).isdigit():
                return _bounded(float(value))
            from email.utils import parsedate_to_datetime  # nearly all servers say seconds

            return _bounded(parsedate_to_datetime(value).timestamp() - time.time())
        if isinstance(data, dict) and isinstance(data.get("estimated_time"), (int, float)):
            return _bounded(float(data["estimated_time"]))
        if status in _LIMITED:
            return max(_resets(headers), default=None)
    except (ValueError, TypeError, OverflowError):
        pass
    return None


def _resets(headers: Headers) -> Iterator[float]:
    """Yield the seconds until each limit that has been used up starts anew."""
    for limit in _POLICY.split(headers.get("ratelimit", "")):
        fields: dict[str, str] = dict(_FIELD.findall(limit))
        reset = fields.get("t") or fields.get("reset")
        if reset is not None and int(fields.get("r") or fields.get("remaining") or 0) == 0:
            yield from _wait(reset)
    for family in _FAMILIES:
        remaining = headers.get(family.format("remaining"), "0").strip()
        if remaining.replace(".", "", 1).isdigit() and float(remaining) == 0:
            yield from _wait(headers.get(family.format("reset"), "").strip())


def _wait(value: str) -> Iterator[float]:
    if value.replace(".", "", 1).isdigit():
        seconds = float(value)
        if seconds >= _EPOCH_MS:
            seconds /= 1000
        found = _bounded(seconds - time.time() if seconds >= _EPOCH else seconds)
    else:
        parts = _DURATION.fullmatch(value) if value else None
        found = None
        if parts is not None:
            found = _bounded(sum(float(part) * unit for part, unit in zip(parts.groups(), _UNITS, strict=True) if part))
    if found is not None:
        yield found


def _bounded(seconds: float) -> float | None:
    return None if seconds != seconds or abs(seconds) == float("inf") else max(0.0, seconds)
