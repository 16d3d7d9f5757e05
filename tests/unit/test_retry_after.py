"""The seconds to wait, in all headers that servers use."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfclient.transport.response import Headers
from hfclient.transport.retry_after import retry_after

NAMES = ["retry-after", "retry-after-ms", "ratelimit", "ratelimit-reset", "ratelimit-remaining", "x-ratelimit-reset-tokens"]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"retry-after-ms": "250", "Retry-After": "7"}, 0.25),
        ({"RateLimit": '"api";r=0;t=55'}, 55),
        ({"RateLimit": '"api";r=3;t=55'}, None),
        ({"RateLimit": '"api";r=3;t=55, "tokens";r=0;t=4'}, 4),
        ({"RateLimit": '"api";r=0;t=9, "tokens";r=0;t=4'}, 9),
        ({"RateLimit": '"api";t=9;r=0;pk=:cGFydA==:'}, 9),
        ({"RateLimit": "limit=100, remaining=0, reset=12"}, 12),
        ({"RateLimit": "limit=100, remaining=1, reset=12"}, None),
        ({"RateLimit": '"api";r=0;t=55', "Retry-After": "3"}, 3),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "11"}, 11),
        ({"RateLimit-Remaining": "5", "RateLimit-Reset": "11"}, None),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "11"}, 11),
        ({"X-RateLimit-Reset": "11"}, 11),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m0.5s"}, 60.5),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "250ms"}, 0.25),
        ({"x-ratelimit-remaining-requests": "9", "x-ratelimit-reset-requests": "2h"}, None),
        ({"RateLimit": '"api"'}, None),
        ({"RateLimit": '"r=0;t=5"'}, None),
        ({"RateLimit": '"api";r=0;t=soon'}, None),
        ({"X-RateLimit-Reset": "later"}, None),
        ({"Retry-After": "soon", "RateLimit": '"api";r=0;t=5'}, 5),
        ({"Retry-After": "-1", "RateLimit": '"api";r=0;t=5'}, 5),
        ({"X-RateLimit-Reset": "2000-01-01T00:00:00Z"}, 0),
        ({"X-RateLimit-Reset": "Sat, 01 Jan 2000 00:00:00 GMT"}, 0),
        ({}, None),
    ],
)
def test_headers(headers: dict[str, str], seconds: float | None) -> None:
    """Retry-After takes precedence; of rate limits only exhausted ones count, and of several the last to end."""
    assert retry_after(Headers(list(headers.items()))) == seconds


@pytest.mark.parametrize("unit", [1, 1000])
def test_a_time(unit: int) -> None:
    """A reset may be a time, in seconds or milliseconds, and Retry-After may be a date."""
    reset = str(int((time.time() + 3600) * unit))
    assert 3000 < (retry_after(Headers([("X-RateLimit-Reset", reset)])) or 0) <= 3600
    assert 3000 < (retry_after(Headers([("Retry-After", formatdate(time.time() + 3600, usegmt=True))])) or 0) <= 3600
    assert retry_after(Headers([("X-RateLimit-Reset", str(int((time.time() - 3600) * unit)))])) == 0


@pytest.mark.parametrize("status", [200, 400, 500])
def test_other_statuses(status: int) -> None:
    """An exhausted limit does not matter for a failure of another kind."""
    assert retry_after(Headers([("RateLimit", '"api";r=0;t=55')]), status=status) is None
    assert retry_after(Headers([("Retry-After", "5")]), status=status) == 5


@given(st.dictionaries(st.sampled_from(NAMES), st.text(st.characters(codec="latin-1"), max_size=20), max_size=4))
def test_any_headers(headers: dict[str, str]) -> None:
    """Any header values give a valid number of seconds, or None."""
    found = retry_after(Headers(list(headers.items())))
    assert found is None or 0 <= found < float("inf")
