"""All exceptions of hfclient.

    HFClientError
      InvalidInputError            an argument is invalid; nothing was sent
      CredentialsError             no usable credentials were found; nothing was sent
      MissingDependencyError       an optional package (an extra) is not installed
      Unsupported                  the server would silently ignore an option
      ConversationBusy             the conversation's previous answer is still being written or read
      StreamConsumed               the stream was read already
      Cancelled                    ``cancel()`` was called
      LocalServerError             the embedded server could not start
      ParseError                   the answer is not the requested object
      TooManyRounds                the model called tools more often than allowed
      TransportError               no usable HTTP answer
        ConnectError               no connection, or it broke before an answer began
        TransportTimeout           a deadline passed (also a builtin ``TimeoutError``)
        StreamInterrupted          the connection ended in the middle of an answer
      ProtocolError                the answer does not follow the protocol
        NotAChatServer             the server at the URL is not a chat-ui
      APIStatusError               a 4xx or 5xx answer
        BadRequestError            400, 422
        AuthenticationError        401, or a redirect to a login page
          PasswordRequired         a server, or a proxy in front of it, requires a user name and a password
          SessionExpired           the session cookie no longer belongs to a logged-in user
        CreditsExhausted           402
        PermissionDeniedError      403
          CloudflareChallenge      a bot check answered instead of the service
        NotFoundError              404
          ModelNotFound            the LLM does not exist; has the most similar names
          ModelGone                410: the LLM or the host was retired
        ConflictError              409
        RequestTooLargeError       413
        RateLimitError             429; ``retry_after`` in seconds if the server sends it
          ConversationLimit        429 for too many conversations or messages: delete some first
        ServerError                5xx
      GenerationError              the generation failed inside a 200 stream

Each class has its own remedy. ``partial`` has the part of the answer that was received. All errors pickle, and convert to a
dict and back (:meth:`HFClientError.to_dict`, :func:`from_dict`).

A message is one line. It often has text of a server, so control characters are escaped and secrets masked. ``body`` and
``frame`` keep the server's control characters; secrets are masked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hfclient.display import traceback_lines
from hfclient.redaction.masking import masked, sanitized

if TYPE_CHECKING:
    from hfclient.types import Reply

__all__ = [
    "APIStatusError",
    "AuthenticationError",
    "BadRequestError",
    "Cancelled",
    "CloudflareChallenge",
    "ConflictError",
    "ConnectError",
    "ConversationBusy",
    "ConversationLimit",
    "CredentialsError",
    "CreditsExhausted",
    "GenerationError",
    "HFClientError",
    "InvalidInputError",
    "LocalServerError",
    "MissingDependencyError",
    "ModelGone",
    "ModelNotFound",
    "NotAChatServer",
    "NotFoundError",
    "ParseError",
    "PasswordRequired",
    "PermissionDeniedError",
    "ProtocolError",
    "RateLimitError",
    "RequestTooLargeError",
    "ServerError",
    "SessionExpired",
    "StreamConsumed",
    "StreamInterrupted",
    "TooManyRounds",
    "TransportError",
    "TransportTimeout",
    "Unsupported",
    "from_dict",
]


class HFClientError(Exception):
    """The base class of all errors of hfclient.

    Attributes:
        message: The problem and its remedy, in one or two sentences, without secrets.
        partial: The part of the answer that was received before the error, or None.
        completed: Results that were complete before the error, such as images of a call for several. Not in :meth:`to_dict`.
        body: The start of an answer that could not be used, as text, or None: up to 64 kB if it may have a result that was
            paid for, up to 2000 characters of an error.
        links: URLs in that answer, which may lead to the result. Anyone with such a link can download the file.
        request_id: The server's id of the failed request, for its operators, or None.
    """

    completed: tuple[Any, ...] = ()
    body: str | None = None
    links: tuple[str, ...] = ()
    request_id: str | None = None

    def __init__(self, message: str = "", *, partial: Reply | None = None) -> None:
        message = sanitized(message)
        super().__init__(message)
        self.message = message
        self.partial = partial

    def _render_traceback_(self) -> list[str]:  # IPython asks for it
        return traceback_lines(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the error as plain JSON types: ``error`` is the class name, the other keys are its fields."""
        fields = {key: value for key, value in vars(self).items() if _is_plain(value) and not key.startswith("_")}
        if self.partial is not None:
            fields["partial"] = self.partial.to_dict()
        return {"error": type(self).__name__, **fields}


def _sanitized(text: str | None) -> str | None:
    return sanitized(text) if text else text


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (str, int, float, bool, dict))


def from_dict(data: dict[str, Any]) -> HFClientError:
    """Return the error from a dict of :meth:`HFClientError.to_dict`; an unknown class becomes `HFClientError`."""
    fields = dict(data)
    cls = _classes().get(str(fields.pop("error", "")), HFClientError)
    partial = fields.pop("partial", None)
    error = cls(str(fields.pop("message", "")))
    for key, value in fields.items():
        old = getattr(error, key, None)
        if key.startswith("_") or key == "args" or callable(old):
            continue  # not a field: a dict from outside must not replace methods and private attributes
        setattr(error, key, tuple(value) if isinstance(old, tuple) and isinstance(value, list) else value)
    if partial is not None:
        from hfclient.types import Reply  # types imports this module

        error.partial = Reply.from_dict(partial)
    return error


def _classes() -> dict[str, type[HFClientError]]:
    found: dict[str, type[HFClientError]] = {}
    stack: list[type[HFClientError]] = [HFClientError]
    while stack:
        cls = stack.pop()
        found[cls.__name__] = cls
        stack.extend(cls.__subclasses__())
    return found


class InvalidInputError(HFClientError, ValueError):
    """An argument is invalid: an empty prompt, a missing or oversized file, a malformed URL. Nothing was sent."""


class CredentialsError(HFClientError):
    """No usable credentials were found. Nothing was sent; the message names the required ones and how to get them."""


class MissingDependencyError(HFClientError, ImportError):
    """An optional package is not installed; the message has the command that installs it."""


class Unsupported(HFClientError):
    """The server would silently ignore an option; the message names an alternative."""


class ConversationBusy(HFClientError):
    """Another answer of the same conversation is still being generated or read. Nothing was sent.

    chat-ui loads the conversation when an answer begins and saves all of it at the end: a message that is sent in between
    would be answered and then lost.
    """


class StreamConsumed(HFClientError):
    """The stream was already read to its end or closed. ``result()`` and ``partial`` have its content."""


class Cancelled(HFClientError):
    """``cancel()`` was called while this stream was being read; ``partial`` has what was received."""


class LocalServerError(HFClientError):
    """The embedded server could not start: a port in use, weights that are missing, a model that does not load."""


class ParseError(HFClientError):
    """The answer is not the requested object, and neither are the answers to the repair requests.

    Attributes:
        raw: The text of the last answer, unchanged.
        path: The position of the problem, such as ``$.people[0].age``; ``$`` is the whole answer.
        reason: The message of the validation, or that the answer has no JSON or was cut off.
        finish_reason: Why the model stopped; ``"length"`` means that ``max_tokens`` was too small.
        attempts: The number of answers that were requested.
    """

    def __init__(
        self,
        message: str = "",
        *,
        raw: str = "",
        path: str = "$",
        reason: str = "",
        finish_reason: str | None = None,
        attempts: int = 1,
        partial: Reply | None = None,
    ) -> None:
        super().__init__(message, partial=partial)
        self.raw = raw
        self.path = path
        self.reason = reason
        self.finish_reason = finish_reason
        self.attempts = attempts


class TooManyRounds(HFClientError):
    """The model called tools in more rounds than allowed; the stream's ``messages`` have all rounds so far.

    Attributes:
        rounds: The number of rounds of tool calls that were run.
    """

    def __init__(self, message: str = "", *, rounds: int = 0, partial: Reply | None = None) -> None:
        super().__init__(message, partial=partial)
        self.rounds = rounds


class TransportError(HFClientError):
    """No usable HTTP answer was received.

    Attributes:
        method: HTTP method of the request.
        url: Its URL without query values, user names or passwords.
        attempts: How many times it was tried.
        sent: False if the server cannot have received the whole request (no connection, or an incomplete body), so that even
            a chat turn may be repeated.
        conversation_id, generation_id: For ``Conversation.attach``, which finds the answer if a chat's message did arrive;
            None for all other requests.
    """

    conversation_id: str | None = None
    generation_id: str | None = None

    def __init__(
        self,
        message: str = "",
        *,
        method: str | None = None,
        url: str | None = None,
        sent: bool = True,
        partial: Reply | None = None,
    ) -> None:
        super().__init__(message, partial=partial)
        self.method = method
        self.url = _sanitized(url)
        self.attempts = 1
        self.sent = sent


class ConnectError(TransportError):
    """No connection could be made (DNS, refused, TLS, proxy), or it broke before an answer began."""


class TransportTimeout(TransportError, TimeoutError):
    """A deadline passed.

    Attributes:
        deadline: Which one: ``"connect"``, ``"first_token"``, ``"next_token"``, ``"idle"`` or ``"total"`` (see ``Timeouts``).
        seconds: How long that deadline was.
    """

    def __init__(
        self,
        message: str = "",
        *,
        deadline: str | None = None,
        seconds: float | None = None,
        partial: Reply | None = None,
    ) -> None:
        super().__init__(message, partial=partial)
        self.deadline = deadline
        self.seconds = seconds


class StreamInterrupted(TransportError):
    """The connection ended in the middle of an answer.

    Attributes:
        conversation_id: The conversation of the answer, for a chat.
        generation_id: The run on the server, which may still be active.
    """

    def __init__(
        self,
        message: str = "",
        *,
        conversation_id: str | None = None,
        generation_id: str | None = None,
        method: str | None = None,
        url: str | None = None,
        partial: Reply | None = None,
    ) -> None:
        super().__init__(message, method=method, url=url, partial=partial)
        self.conversation_id = conversation_id
        self.generation_id = generation_id


class ProtocolError(HFClientError):
    """The answer does not follow the protocol.

    Attributes:
        frame: The start of the invalid bytes, as text, at most 200 characters.
    """

    def __init__(self, message: str = "", *, frame: str | None = None, partial: Reply | None = None) -> None:
        super().__init__(message, partial=partial)
        self.frame = masked(frame) if frame else frame


class NotAChatServer(ProtocolError):
    """The server at the URL does not speak chat-ui's protocol."""


class APIStatusError(HFClientError):
    """The server answered with a 4xx or 5xx status.

    Attributes:
        status_code: HTTP status code.
        method, url: The request, without secrets.
        request_id: The server's id for the request, for its operators, or None.
        body: The start of the answer's body as text, at most 2000 characters.
        code: The server's own error code or type, or None.
        retry_after: Seconds to wait, as the server requests, or None.
        attempts: How many times the request was tried.
        location: The target of a redirect (3xx) that is not followed, without its query, or None.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status_code: int = 0,
        method: str | None = None,
        url: str | None = None,
        request_id: str | None = None,
        body: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        attempts: int = 1,
        location: str | None = None,
        partial: Reply | None = None,
    ) -> None:
        super().__init__(message, partial=partial)
        self.status_code = status_code
        self.method = method
        self.url = _sanitized(url)
        self.request_id = _sanitized(request_id)
        self.body = masked(body) if body else body
        self.code = _sanitized(code)
        self.retry_after = retry_after
        self.attempts = attempts
        self.location = _sanitized(location)

    def __str__(self) -> str:
        where = f" ({self.status_code} from {self.method} {self.url}" if self.url else ""
        if where and self.request_id:
            where += f", request {self.request_id}"
        return f"{self.message}{where})" if where else self.message


class BadRequestError(APIStatusError):
    """400 or 422: the server refuses the request as it is."""


class AuthenticationError(APIStatusError):
    """401, or a redirect to a login page: the server requires (other) credentials."""


class PasswordRequired(AuthenticationError):
    """401 with a challenge for a user name and a password, such as HTTP Basic: put them in the URL, ``https://user:password@host``.

    It usually comes from a proxy in front of the service, which does not accept tokens and cookies of the service.

    Reference: RFC 9110, section 11.6.1
    """


class SessionExpired(AuthenticationError):
    """The session cookie no longer belongs to a logged-in user; log in again and take the new cookie."""


class CreditsExhausted(APIStatusError):
    """402: the account's inference credits are used up."""


class PermissionDeniedError(APIStatusError):
    """403: the credentials are known but do not allow this."""


class CloudflareChallenge(PermissionDeniedError):
    """A bot check (Cloudflare's or another) answered instead of the service; ``Client(impersonate="chrome")`` often passes."""


class NotFoundError(APIStatusError):
    """404: the conversation, message, file or route does not exist."""


class ModelNotFound(NotFoundError):
    """The LLM does not exist on this server.

    Attributes:
        model: The requested name.
        suggestions: The most similar names that exist, best first.
    """

    model: str | None = None
    suggestions: tuple[str, ...] = ()


class ModelGone(NotFoundError):
    """410: the LLM (or the host) was retired. ``Conversation.set_model`` moves a conversation to another one."""


class ConflictError(APIStatusError):
    """409: another request changed the object first, or it exists already."""


class RequestTooLargeError(APIStatusError):
    """413: the request, or one file in it, exceeds the server's limit."""


class RateLimitError(APIStatusError):
    """429: too many requests. ``retry_after`` has the seconds to wait, if the server sends them.

    Attributes:
        scope: The limited quantity: ``"messages_per_minute"``, ``"conversations"``, ``"conversation_length"`` or None.
    """

    scope: str | None = None


class ConversationLimit(RateLimitError):
    """429 that waiting does not resolve: too many conversations, or too many messages in this one."""


class ServerError(APIStatusError):
    """5xx: the server failed."""


class GenerationError(HFClientError):
    """The generation failed inside a 200 stream; the message is the server's own text.

    Attributes:
        status_code: HTTP status of the failure behind the server (402: credits, 429: provider limit), or None.
        code: The server's error code or type, or None.
        conversation_id, generation_id: The conversation and the run, for a chat.
        request_id: The server's id of the request, or the provider's id of the job (images and videos), or None.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status_code: int | None = None,
        code: str | None = None,
        conversation_id: str | None = None,
        generation_id: str | None = None,
        request_id: str | None = None,
        partial: Reply | None = None,
    ) -> None:
        super().__init__(message, partial=partial)
        self.status_code = status_code
        self.code = _sanitized(code)
        self.conversation_id = conversation_id
        self.generation_id = generation_id
        self.request_id = _sanitized(request_id)
