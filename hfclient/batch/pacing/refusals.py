"""What an error means for the rest of a batch: a limit, an outage, a failure that may pass, or one that every item will have."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from hfclient.errors import (
    APIStatusError,
    AuthenticationError,
    ConnectError,
    ConversationLimit,
    CredentialsError,
    CreditsExhausted,
    GenerationError,
    HFClientError,
    MissingDependencyError,
    ModelGone,
    NotAChatServer,
    PermissionDeniedError,
    ProtocolError,
    StreamInterrupted,
    TransportTimeout,
)

__all__ = ["Kind", "NotAdmitted", "kind_of", "told_wait", "was_received"]

Kind: TypeAlias = Literal["limited", "passing", "lasting", "own"]
"""``"limited"``: the server, or the caller's guard, refuses for its limits. ``"passing"``: the same request may succeed later. ``"lasting"``: every further item would fail so. ``"own"``: of this item alone."""

LONGEST = 86400.0
"""Seconds: a limit that is reset later than this is a quota, which is not waited for."""

_LIMITED = frozenset({429, 503, 529})
_PASSING = frozenset({408, 425, 424, 500, 502, 504, 520, 521, 522, 523, 524, 599})
# Of 429, 403 and errors inside an answer: what only a payment ends.
_QUOTA = re.compile(r"insufficient_?(quota|credit|balance|fund)|billing|payment_?required|credits?_?(exhausted|depleted)", re.IGNORECASE)
_CONTENT = re.compile(r"content|moderation|safety|flagged|filter|policy", re.IGNORECASE)


class NotAdmitted(HFClientError):
    """The guard of a batch does not admit a request yet. Inside a batch only.

    Attributes:
        retry_after: Seconds to wait, if they are known.
    """

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def kind_of(error: HFClientError) -> Kind:
    """Return what *error* means."""
    if isinstance(error, NotAdmitted):
        return "limited"
    if isinstance(error, APIStatusError):
        return _kind_of_status(error, error.status_code)
    if isinstance(error, GenerationError):
        return "passing" if error.status_code is None else _kind_of_status(error, error.status_code)
    if isinstance(error, (CredentialsError, MissingDependencyError, NotAChatServer)):
        return "lasting"
    if isinstance(error, ConnectError):
        return "lasting" if error.message.startswith("TLS failed") else "passing"
    if isinstance(error, TransportTimeout):
        return "own" if error.deadline == "total" else "passing"  # the caller's own time limit
    return "passing" if isinstance(error, (StreamInterrupted, ProtocolError)) else "own"


def _kind_of_status(error: APIStatusError | GenerationError, status: int) -> Kind:
    # 404: the model or the route does not exist. An item may name a model of its own, but then the pace counts that model apart.
    if status in (401, 402, 404) or isinstance(error, (AuthenticationError, CreditsExhausted, ConversationLimit, ModelGone)):
        return "lasting"
    words = f"{error.code or ''} {error.message}"
    if status == 403 or isinstance(error, PermissionDeniedError):
        return "own" if _CONTENT.search(words) else "lasting"
    if status in _LIMITED:
        is_quota = _QUOTA.search(error.code or "") or (told_wait(error) or 0.0) > LONGEST
        return "lasting" if is_quota else "limited"
    return "passing" if status in _PASSING else "own"


def told_wait(error: HFClientError) -> float | None:
    """Return the seconds that the server asks to wait; None if it says nothing."""
    wait = getattr(error, "retry_after", None)
    return wait if isinstance(wait, (int, float)) else None


def was_received(error: HFClientError) -> bool:
    """Whether the server may have received the request that failed."""
    return not (isinstance(error, (ConnectError, TransportTimeout)) and (not error.sent or getattr(error, "deadline", "") == "connect"))
