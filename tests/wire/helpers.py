"""Helpers of the transport tests: requests with short deadlines, so that a broken test fails soon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hfclient.credentials import Credentials
from hfclient.transport import Cancellation, Clock, Deadline, Request, Response, Retry, Session, Timeouts, Transport
from tests.server import PATIENCE

PATIENT = Timeouts(connect=PATIENCE, first_token=PATIENCE, idle=PATIENCE, total=2 * PATIENCE)
"""Deadlines that no test here is meant to meet: they are what ends a test that hangs."""


def send(
    transport: Transport,
    url: str,
    *,
    method: str = "GET",
    timeouts: Timeouts = PATIENT,
    stream: bool = False,
    headers: Mapping[str, str] | None = None,
    cancellation: Cancellation | None = None,
    **fields: Any,
) -> Response:
    """Send one request with *transport*, without a session."""
    request = Request(method=method, url=url, stream=stream, **fields)
    deadline = Deadline(Clock(timeouts, cancellation), stream=stream)
    return transport.open(request, {"Accept": "*/*", **(headers or {})}, deadline)


def session_for(
    transport: Transport,
    credentials: Credentials | None = None,
    *,
    timeouts: Timeouts = PATIENT,
    retry: Retry = Retry(attempts=1),  # noqa: B008 (immutable)
    headers: Mapping[str, str] | None = None,
) -> Session:
    """A session without retries by default."""
    return Session(transport, credentials or Credentials(), timeouts=timeouts, retry=retry, headers=headers)
