"""`Request`: one HTTP request as a value."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
from attrs import evolve, field, frozen

from hfclient.errors import APIStatusError, HFClientError, InvalidInputError, TransportError
from hfclient.transport.deadline import Clock
from hfclient.transport.multipart import Multipart
from hfclient.transport.retry import Schedule
from hfclient.values import Value

__all__ = ["SIMPLE_URL", "Request", "check_headers", "safe_url"]

# The site and the path. Every parser reads such a URL as it is written, but for the dots of ``/./`` and ``/../``.
SIMPLE_URL = re.compile(r"(https?://[a-z0-9.-]+(?::[1-9][0-9]{0,3}|:[1-5][0-9]{4})?)(/[A-Za-z0-9._~/:=,+-]*)")

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110
_MOST_NAMES = 100
_names: set[str] = set()  # that have been found to be right
_HEADER_VALUE = re.compile(r"[^\r\n\0]*")


@frozen(kw_only=True, eq=False, repr=False)
class Request(Value):
    """One HTTP request as a value: it can be built and compared without a network.

    Attributes:
        method: ``"GET"``, ``"POST"``, ...
        url: Absolute URL without query.
        params: The query; None values are left out.
        headers: Without credentials: `Session` adds those by URL before sending.
        body: Bytes, a form, or None.
        stream: The response is a stream of events: ``Timeouts.first_token`` applies until its first content, instead of
            ``idle``.
        retryable: May be retried. True for reads; False for a chat message.
        retry_on: Returns whether to retry after an error even if it is not *retryable*.
        retry: The retry policy; None takes the session's.
        whole: Read the response to its end, within the limit of this name, before it is returned, so that a broken one
            is retried, too.
        max_bytes: With *whole*, read this many bytes of a longer response instead of raising.
        follow_redirects: Follow a redirect to any URL (result files); otherwise only 307/308 to the same origin.
        clock: The clock of the call, with the rest of ``Timeouts.total``, the other deadlines and the call's
            cancellation, which ends the wait for the headers and the pauses between attempts. None starts one with the
            session's deadlines.
        refine: Returns a more specific error of the service for a status error.
    """

    method: str
    url: str
    params: Mapping[str, str | int | None] = field(factory=dict)
    headers: Mapping[str, str] = field(factory=dict, repr=lambda headers: repr(sorted(headers)))
    body: bytes | Multipart | None = field(default=None, repr=False)
    stream: bool = False
    retryable: bool = False
    retry_on: Callable[[HFClientError], bool] | None = field(default=None, eq=False, repr=False)
    retry: Schedule | None = field(default=None, repr=False)
    whole: Literal["body", "file"] | None = None
    max_bytes: int | None = None
    follow_redirects: bool = False
    clock: Clock | None = field(default=None, eq=False, repr=False)
    refine: Callable[[APIStatusError], HFClientError] | None = field(default=None, eq=False, repr=False)

    def __str__(self) -> str:
        return f"{self.method} {safe_url(self.url)}"

    @classmethod
    def read(cls, url: str, **fields: Any) -> Request:
        """Return a retryable GET for JSON."""
        return cls(
            method="GET", url=url, headers={"Accept": "application/json"}, retryable=True, whole="body", **fields
        )

    @classmethod
    def file(cls, url: str, **fields: Any) -> Request:
        """Return a retryable GET for a file.

        Without compression: libcurl does not detect that the end of a compressed body is missing.
        """
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        return cls(method="GET", url=url, headers=headers, retryable=True, **fields)

    @classmethod
    def with_json(
        cls, method: str, url: str, data: Any, *, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> Request:
        """Return a request with *data* as its JSON body.

        Raises:
            InvalidInputError: Something in *data* cannot be written as JSON.
        """
        try:
            body = msgspec.json.encode(data)
        except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
            raise InvalidInputError(f"the request cannot be written as JSON: {error}") from error
        return cls(
            method=method,
            url=url,
            body=body,
            headers={"Accept": "application/json", "Content-Type": "application/json", **(headers or {})},
            **fields,
        )

    def may_repeat(self, error: HFClientError) -> bool:
        """Return whether it may be sent again after *error*: it is retryable, or cannot have arrived."""
        if self.retryable or (isinstance(error, TransportError) and not error.sent):
            return True
        return self.retry_on is not None and self.retry_on(error)

    def at(self, url: str) -> Request:
        """Return the same request for another URL, without its query."""
        return evolve(self, url=url, params={})


def check_headers(headers: Mapping[str, str]) -> None:
    """Refuse headers that HTTP cannot carry, or that would inject another one.

    Raises:
        InvalidInputError: A name or a value has a character that is not allowed there. The message does not show the value.
    """
    values = "".join(headers.values())
    if _names.issuperset(headers) and values.isascii() and _HEADER_VALUE.fullmatch(values):
        return  # nearly always
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise InvalidInputError(f"the request cannot be sent: {name!r} is not a name of a header")
        if not _HEADER_VALUE.fullmatch(value) or not (value.isascii() or max(value) <= "\xff"):
            raise InvalidInputError(f"the request cannot be sent: the header {name} holds characters that HTTP forbids")
        if len(_names) < _MOST_NAMES:
            _names.add(name)


@functools.lru_cache(maxsize=64)
def safe_url(url: str) -> str:
    """Return *url* without user name, password, query and fragment, for logs and exceptions."""
    if SIMPLE_URL.fullmatch(url):
        return url
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(unreadable URL)"
    return f"{parts.scheme}://{host}{port}{parts.path}"
