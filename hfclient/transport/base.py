"""The values at the border to the network: a `Request` goes in, a `Response` comes out.

A `Transport` is the small class between them. It opens one connection's worth of conversation and translates every
foreign exception; what all transports share (credentials, status codes, retries, redirects) is `session.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import msgspec
from attrs import evolve, field, frozen

from hfclient.decoding.frames import excerpt
from hfclient.decoding.html_pages import instead, what_came
from hfclient.decoding.json_repair import loads_mended
from hfclient.errors import (
    APIStatusError,
    ConnectError,
    HFClientError,
    InvalidInputError,
    TransportError,
)
from hfclient.redaction.masking import sanitized
from hfclient.transport.cancellation import Cancellation
from hfclient.transport.deadline import Clock, Deadline, Timeouts
from hfclient.transport.limits import Limits
from hfclient.transport.multipart import Multipart
from hfclient.transport.retry import Schedule

__all__ = ["Body", "Headers", "Request", "Response", "Transport", "add_address", "check_headers", "safe_url"]

_LIMITS = Limits()
_BOM = b"\xef\xbb\xbf"
_LOOK = 4096  # bytes of white space after which a body is taken as it is
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110
_HEADER_VALUE = re.compile(r"[^\r\n\0]*")
REQUEST_ID_HEADERS = ("x-request-id", "x-amzn-trace-id", "x-amz-cf-id", "cf-ray")


class Headers(Mapping[str, str]):
    """The headers of an answer: names in any case, repeated ones joined with ``", "`` or listed by :meth:`all`."""

    __slots__ = ("_items",)

    def __init__(self, items: list[tuple[str, str]]) -> None:
        self._items = [(name.lower(), value) for name, value in items]

    def __getitem__(self, name: str) -> str:
        found = self.all(name)
        if not found:
            raise KeyError(name)
        return ", ".join(found)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _ in self._items))

    def __len__(self) -> int:
        return len({name for name, _ in self._items})

    def __repr__(self) -> str:
        return f"<Headers: {', '.join(self)}>"  # names only: a value may be a cookie

    def all(self, name: str) -> list[str]:
        """Return every value of *name*, in order."""
        name = name.lower()
        return [value for key, value in self._items if key == name]


def check_headers(headers: Mapping[str, str]) -> None:
    """Refuse what HTTP cannot carry, or what would smuggle another header in.

    Raises:
        InvalidInputError: A name or a value holds a character that is not allowed there. The value is not shown.
    """
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise InvalidInputError(f"the request cannot be sent: {name!r} is no name for a header")
        if not _HEADER_VALUE.fullmatch(value) or not (value.isascii() or max(value) <= "\xff"):
            raise InvalidInputError(f"the request cannot be sent: the header {name} holds characters that HTTP forbids")


def safe_url(url: str) -> str:
    """Return *url* without user name, password, query and fragment: what may stand in a log or an exception."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(unreadable URL)"
    return f"{parts.scheme}://{host}{port}{parts.path}"


@frozen(kw_only=True)
class Request:
    """One HTTP request as a value: it can be built and compared without a network.

    Attributes:
        method: ``"GET"``, ``"POST"``, ...
        url: Absolute URL without query.
        params: The query; None values are left out.
        headers: Without credentials: those are added by URL, at the last moment.
        body: Bytes, a form, or None.
        stream: The answer is a stream of events: silence before its first content is bounded by
            ``Timeouts.first_token`` rather than ``idle``.
        retryable: May be repeated when it failed. Reads are; a chat turn is not.
        retry_on: Tells after which errors it may be repeated even if it is not *retryable*.
        retry: How often it is repeated; None takes the session's.
        whole: Read the answer to its end, within the limit of this name, before it is handed out, so that one which breaks
            off is requested again, too.
        max_bytes: With *whole*, read so many bytes of a longer answer instead of refusing it.
        follow_redirects: Follow a redirect anywhere (result files); otherwise only 307/308 to the same origin.
        clock: Of the call that it belongs to: what is left of ``Timeouts.total``, the other deadlines, and the call's
            cancellation, which ends the wait for the answer's head and the pauses between tries. None makes one of the
            session's deadlines when it is sent.
        timeouts, cancellation: The same in parts, for requests without a clock.
        refine: Turns a status error into the service's own, more precise one.
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
    timeouts: Timeouts | None = None
    cancellation: Cancellation | None = field(default=None, eq=False, repr=False)
    refine: Callable[[APIStatusError], HFClientError] | None = field(default=None, eq=False, repr=False)

    def __str__(self) -> str:
        return f"{self.method} {safe_url(self.url)}"

    @classmethod
    def read(cls, url: str, **fields: Any) -> Request:
        """Return a GET for JSON, which may be repeated."""
        return cls(
            method="GET", url=url, headers={"Accept": "application/json"}, retryable=True, whole="body", **fields
        )

    @classmethod
    def file(cls, url: str, **fields: Any) -> Request:
        """Return a GET for bytes as they are, which may be repeated.

        Not packed: libcurl does not notice when the end of what was packed is missing, and a file would not show it.
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
        """Tell whether it may be sent again after *error*: if it is retryable, or cannot have arrived."""
        if self.retryable or (isinstance(error, TransportError) and not error.sent):
            return True
        return self.retry_on is not None and self.retry_on(error)

    def at(self, url: str) -> Request:
        """Return the same request for another URL, its query left behind."""
        return evolve(self, url=url, params={})


class Body(Protocol):
    """The bytes of one answer, as a transport reads them."""

    def read_some(self) -> bytes:
        """Return the next bytes as soon as there are any; empty at the end.

        Raises:
            TransportTimeout: A deadline passed.
            ConnectError: The connection broke, or ended before the body was complete.
            Cancelled: :meth:`abort` was called.
        """

    def close(self) -> None:
        """Free the connection without waiting for anything; idempotent. For the thread that reads."""

    def abort(self) -> None:
        """Wake up a blocked :meth:`read_some`, from any thread; returns at once."""


class _Held:
    """A body that has been read."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read_some(self) -> bytes:
        content, self._content = self._content, b""
        return content

    def close(self) -> None:
        self._content = b""

    def abort(self) -> None:
        """Do nothing: nobody waits."""


class _Begun:
    """A body of which the first bytes were looked at.

    Args:
        start: Those bytes.
        rest: What follows them.
        error: What came instead of more of it.
    """

    def __init__(self, start: bytes, rest: Body, error: HFClientError | None) -> None:
        self._start = start
        self._rest = rest
        self._error = error

    def read_some(self) -> bytes:
        start, self._start = self._start, b""
        if start:
            return start
        if self._error is not None:
            raise self._error
        return self._rest.read_some()

    def close(self) -> None:
        self._rest.close()

    def abort(self) -> None:
        self._rest.abort()


def add_address(error: TransportError, address: str) -> None:
    """Let *error* say what was asked, unless it does."""
    if address and address not in error.message:
        error.message = f"{error.message} ({address})"
        error.args = (error.message,)


class Response:
    """One answer: its status and headers have come, its body is read on demand.

    Attributes:
        status: HTTP status code.
        headers: A mapping with names in any case.
        url: Where it came from, without secrets.
        deadline: The deadlines that watch over it.
        limits: How much of it may be held in memory.
    """

    __slots__ = ("_body", "deadline", "headers", "limits", "method", "status", "url")

    def __init__(self, status: int, headers: Headers, body: Body, *, method: str, url: str, deadline: Deadline) -> None:
        self.status = status
        self.headers = headers
        self.method = method
        self.url = url
        self.deadline = deadline
        self.limits = _LIMITS
        self._body = body

    def __repr__(self) -> str:
        return f"<Response {self.status} to {self.method} {self.url}>"

    @property
    def request_id(self) -> str | None:
        """The server's id for the request, if it gave one."""
        found = next((self.headers[name] for name in REQUEST_ID_HEADERS if name in self.headers), None)
        return sanitized(found) if found else found

    @property
    def content_type(self) -> str:
        """The media type without parameters, lower case; empty if there is none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def is_page(self) -> bool:
        """Tell whether the body is a page of HTML: it is labelled as one and begins like one.

        The label alone says little: PHP and several gateways put it on whatever the application did not label. Waits for the
        first bytes of a body so labelled; they stay to be read, as does an error that comes instead.
        """
        if self.content_type not in ("text/html", "application/xhtml+xml"):
            return False
        start, error = b"", None
        try:
            while len(start) < _LOOK and not start.removeprefix(_BOM).strip() and (data := self._body.read_some()):
                start += data
        except HFClientError as caught:
            error = caught
        self._body = _Begun(start, self._body, error)
        return start.removeprefix(_BOM).lstrip()[:1] == b"<"

    def chunks(self, within: Literal["stream", "body", "file"] | None = None) -> Iterator[bytes]:
        """Yield the body's bytes as they arrive; see :meth:`Body.read_some` for what else it raises.

        Args:
            within: Which of the limits holds for all of them together; None for none: they are not kept.

        Raises:
            ProtocolError: There are more; before anything is read if the server says so beforehand.
        """
        read_some = self._body.read_some
        try:
            if within is None:
                while data := read_some():
                    yield data
                return
            is_stream = within == "stream"
            left: int = getattr(self.limits, within)
            promised = self.headers.get("content-length", "")
            if promised.isdecimal() and len(promised) < 20 and int(promised) > left:
                raise self.limits.too_much(within, self.url, promised=int(promised))
            while data := read_some():
                left -= len(data)
                if left < 0:
                    raise self.limits.too_much(within, self.url, frame=excerpt(data))
                if not is_stream and not data.isspace():  # of a whole answer every byte is content, but for blank keep-alives
                    self.deadline.content_came()
                yield data
        except ConnectError as error:
            add_address(error, self.deadline.address)
            raise

    def read(self, within: Literal["body", "file"] = "body") -> bytes:
        """Return the whole body and free the connection.

        Raises:
            ProtocolError: It is longer than the limit called *within*.
        """
        try:
            return b"".join(self.chunks(within))
        finally:
            self.close()

    def hold(self, within: Literal["body", "file"] = "body", max_bytes: int | None = None) -> None:
        """Read the whole body now and keep it; with *max_bytes*, only so many bytes of a longer one."""
        self._body = _Held(self.read(within) if max_bytes is None else self.read_at_most(max_bytes))

    def read_at_most(self, limit: int) -> bytes:
        """Return the whole body and free the connection; of a longer one the first *limit* bytes."""
        pieces: list[bytes] = []
        left = limit
        try:
            for data in self.chunks():
                self.deadline.content_came()
                pieces.append(data[:left])
                left -= len(data)
                if left <= 0:
                    break
        finally:
            self.close()
        return b"".join(pieces)

    def read_start(self, limit: int) -> bytes:
        """Return the first *limit* bytes of the body, whatever breaks, and free the connection: for error texts."""
        pieces = b""
        self.deadline.count_bytes()
        try:
            for data in self.chunks():
                pieces += data[:limit]
                if len(pieces) >= limit:
                    break
        except HFClientError:
            pass  # the status is what matters; half of its explanation is better than another error
        finally:
            self.close()
        return pieces[:limit]

    def json(self) -> Any:
        """Return the whole body, decoded from JSON; half characters in it become U+FFFD.

        Raises:
            ProtocolError: It is not JSON: the message names the URL and what came instead.
        """
        body = self.read()
        try:
            return loads_mended(body)
        except ValueError:
            raise instead(
                f"{self.method} {self.url} should give JSON but gave {what_came(body, self.content_type)}; is the URL right?",
                body,
                method=self.method,
                url=self.url,
            ) from None

    def close(self) -> None:
        """Free the connection without waiting; a body that was not read to its end loses it."""
        self._body.close()

    def abort(self) -> None:
        """Wake up a reader that is blocked in another thread."""
        self._body.abort()


class Transport(Protocol):
    """Opens requests. Everything that imports an HTTP library implements this and nothing more."""

    def open(self, request: Request, headers: Mapping[str, str], deadline: Deadline) -> Response:
        """Send *request* with exactly these *headers* and return once the answer's headers are there, whatever the status.

        Raises:
            ConnectError: No answer: the name, the connection, TLS or the proxy failed.
            TransportTimeout: A deadline passed first.
            Cancelled: The request's cancellation said so; a connection that is being made is waited for, not longer
                than ``Timeouts.connect``.
        """

    def close(self) -> None:
        """Close idle connections; open streams are not touched."""
