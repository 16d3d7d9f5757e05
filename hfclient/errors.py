"""Every exception that hfclient raises, and nothing else.

    HFClientError
      InvalidInputError            the call itself cannot work; raised before anything is sent
      CredentialsError             nothing usable was found; raised before anything is sent
      MissingDependencyError       an optional package (an extra) is not installed
      Unsupported                  this server would silently ignore what was asked for
      ConversationBusy             the conversation's previous answer is still being written or read
      StreamConsumed               a stream is read once
      Cancelled                    ``cancel()`` was called from somewhere else
      LocalServerError             the embedded server could not start
      ParseError                   an answer is not the object that was asked for
      TooManyRounds                a model that goes on calling tools
      TransportError               no usable HTTP answer
        ConnectError               no connection, or it broke before an answer began
        TransportTimeout           one of the deadlines passed (also a builtin ``TimeoutError``)
        StreamInterrupted          the bytes stopped in mid-answer
      ProtocolError                bytes arrived that the protocol does not allow
        NotAChatServer             something answers at the URL, but it is not a chat-ui
      APIStatusError               a 4xx or 5xx answer
        BadRequestError            400, 422
        AuthenticationError        401, or a redirect to a login page
          PasswordRequired         a server, or a proxy in front of it, wants a user name and a password
          SessionExpired           the session cookie no longer belongs to a logged-in user
        CreditsExhausted           402
        PermissionDeniedError      403
          CloudflareChallenge      a bot check answered instead of the service
        NotFoundError              404
          ModelNotFound            no such LLM; carries the nearest names
          ModelGone                410: the LLM or the host was retired
        ConflictError              409
        RequestTooLargeError       413
        RateLimitError             429; ``retry_after`` in seconds where the server says
          ConversationLimit        429 that waiting does not cure: delete something first
        ServerError                5xx
      GenerationError              the model's side failed inside a 200 stream

The class answers "what should I do now?". Whatever had been received rides along in ``partial``. All of them pickle,
and turn into a dict and back (:meth:`HFClientError.to_dict`, :func:`from_dict`).

A message is one line, in which control characters are escaped and secrets masked, because much of it is what a server
said. ``body`` and ``frame`` keep the server's characters, with the secrets masked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    """The root of the tree: catch this to catch all of hfclient.

    Attributes:
        message: What happened and what to do, in one or two sentences, without secrets.
        partial: What had been received of an answer when the error came, or None.
        completed: Results that were complete before the error, such as images of a call for several. Not in :meth:`to_dict`.
        body: The start of an answer that could not be used, as text, or None: up to 64 kB where a result that was paid for
            may be in it, 2000 characters of a refusal.
        links: URLs in that answer, which may lead to the result. Such a link is all that is needed to get the file.
        request_id: The server's id for the request that failed, for its operators, if it got as far as an answer.
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

    def to_dict(self) -> dict[str, Any]:
        """Return the error as plain JSON types: ``error`` holds the class name, the other keys its fields."""
        fields = {key: value for key, value in vars(self).items() if _is_plain(value) and not key.startswith("_")}
        if self.partial is not None:
            fields["partial"] = self.partial.to_dict()
        return {"error": type(self).__name__, **fields}


def _said(text: str | None) -> str | None:
    return sanitized(text) if text else text


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (str, int, float, bool, dict))


def from_dict(data: dict[str, Any]) -> HFClientError:
    """Return the error that :meth:`HFClientError.to_dict` described; an unknown class becomes the root class."""
    fields = dict(data)
    cls = _classes().get(str(fields.pop("error", "")), HFClientError)
    partial = fields.pop("partial", None)
    error = cls(str(fields.pop("message", "")))
    for key, value in fields.items():
        old = getattr(error, key, None)
        if key.startswith("_") or key == "args" or callable(old):
            continue  # not a field: a dict from elsewhere must not reach into the object
        setattr(error, key, tuple(value) if isinstance(old, tuple) and isinstance(value, list) else value)
    if partial is not None:
        from hfclient.types import Reply  # types imports events; this module stays importable alone

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
    """An argument cannot work: an empty prompt, a missing or oversized file, a malformed URL. Nothing was sent."""


class CredentialsError(HFClientError):
    """No usable credentials were found. Nothing was sent; the message says which ones are needed and how to get them."""


class MissingDependencyError(HFClientError, ImportError):
    """An optional package is not installed; the message holds the command that installs it."""


class Unsupported(HFClientError):
    """What was asked for would be ignored in silence; the message names the alternative."""


class ConversationBusy(HFClientError):
    """Another answer of the same conversation is still being generated or read. Nothing was sent.

    chat-ui saves the whole conversation when an answer's run ends, as it was when that run began: a message sent in between
    would be answered and then lost.
    """


class StreamConsumed(HFClientError):
    """The stream was already read to its end or closed. Use ``result()`` or ``partial`` for what it held."""


class Cancelled(HFClientError):
    """``cancel()`` was called while this stream was being read; ``partial`` holds what had come."""


class LocalServerError(HFClientError):
    """The embedded server could not start: a port in use, weights that are missing, a model that does not load."""


class ParseError(HFClientError):
    """The answer is not the object that was asked for, and neither were the repaired ones.

    Attributes:
        raw: The last answer's text, as it came.
        path: Where in it the trouble is, such as ``$.people[0].age``; ``$`` is the whole answer.
        reason: What the validation said, or that no JSON was found, or that the answer was cut off.
        finish_reason: Why the model stopped; ``"length"`` means that ``max_tokens`` was too small.
        attempts: How many answers were asked for.
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
    """The model wanted to call tools once more than it was allowed to; the stream's ``messages`` hold all so far.

    Attributes:
        rounds: How many rounds of tool calls were run.
    """

    def __init__(self, message: str = "", *, rounds: int = 0, partial: Reply | None = None) -> None:
        super().__init__(message, partial=partial)
        self.rounds = rounds


class TransportError(HFClientError):
    """No usable HTTP answer came.

    Attributes:
        method: HTTP method of the request.
        url: Its URL without query values, user names or passwords.
        attempts: How many times it was tried.
        sent: False if the server cannot have the whole request (no connection, or the body broke off on its way), so that
            even a chat turn may be repeated.
        conversation_id, generation_id: Where ``Conversation.attach`` finds the answer if a chat's message did arrive; None
            for everything else.
    """

    conversation_id: str | None = None
    generation_id: str | None = None

    def __init__(
        self,
        message: str = "",
        *,
        method: str | None = None,
        url: str | None = None,
        attempts: int = 1,
        sent: bool = True,
        partial: Reply | None = None,
    ) -> None:
        super().__init__(message, partial=partial)
        self.method = method
        self.url = _said(url)
        self.attempts = attempts
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
        method: str | None = None,
        url: str | None = None,
        attempts: int = 1,
        partial: Reply | None = None,
    ) -> None:
        super().__init__(message, method=method, url=url, attempts=attempts, partial=partial)
        self.deadline = deadline
        self.seconds = seconds


class StreamInterrupted(TransportError):
    """The bytes stopped in the middle of an answer.

    Attributes:
        conversation_id: The conversation that the answer belongs to, if it is a chat.
        generation_id: The run on the server; it may still be going on there.
    """

    def __init__(
        self,
        message: str = "",
        *,
        conversation_id: str | None = None,
        generation_id: str | None = None,
        method: str | None = None,
        url: str | None = None,
        attempts: int = 1,
        partial: Reply | None = None,
    ) -> None:
        super().__init__(message, method=method, url=url, attempts=attempts, partial=partial)
        self.conversation_id = conversation_id
        self.generation_id = generation_id


class ProtocolError(HFClientError):
    """Bytes arrived that the protocol does not allow.

    Attributes:
        frame: The start of the offending bytes, as text, at most 200 characters.
    """

    def __init__(self, message: str = "", *, frame: str | None = None, partial: Reply | None = None) -> None:
        super().__init__(message, partial=partial)
        self.frame = masked(frame) if frame else frame


class NotAChatServer(ProtocolError):
    """Something answers at the URL, but it does not speak chat-ui's protocol."""


class APIStatusError(HFClientError):
    """The server answered with a 4xx or 5xx status.

    Attributes:
        status: HTTP status code.
        method, url: The request, without secrets.
        request_id: The server's id for the request, for its operators, or None.
        body: The start of the answer's body as text, at most 2000 characters.
        code: The server's own error code or type, or None.
        retry_after: Seconds that the server asks to wait, or None.
        attempts: How many times the request was tried.
        location: Where a redirect (3xx) that is not followed leads to, without its query, or None.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 0,
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
        self.status = status
        self.method = method
        self.url = _said(url)
        self.request_id = _said(request_id)
        self.body = masked(body) if body else body
        self.code = _said(code)
        self.retry_after = retry_after
        self.attempts = attempts
        self.location = _said(location)

    def __str__(self) -> str:
        where = f" ({self.status} from {self.method} {self.url}" if self.url else ""
        if where and self.request_id:
            where += f", request {self.request_id}"
        return f"{self.message}{where})" if where else self.message


class BadRequestError(APIStatusError):
    """400 or 422: the server refuses the request as it is."""


class AuthenticationError(APIStatusError):
    """401, or a redirect to a login page: the server wants (other) credentials."""


class PasswordRequired(AuthenticationError):
    """401 with a challenge for a user name and a password, such as HTTP Basic: put them in the URL, ``https://user:password@host``.

    Mostly it comes from a proxy in front of the service, and no token and no cookie of the service helps.

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
    """404: no such conversation, message, file or route."""


class ModelNotFound(NotFoundError):
    """No LLM of that name here.

    Attributes:
        model: The name asked for.
        suggestions: The nearest names that exist, best first.
    """

    model: str | None = None
    suggestions: tuple[str, ...] = ()


class ModelGone(NotFoundError):
    """410: the LLM (or the host) was retired. ``Conversation.set_model`` moves a conversation to another one."""


class ConflictError(APIStatusError):
    """409: somebody else was quicker, or the thing exists already."""


class RequestTooLargeError(APIStatusError):
    """413: the request, or one file in it, exceeds the server's limit."""


class RateLimitError(APIStatusError):
    """429: too many requests. ``retry_after`` holds seconds where the server says how long to wait.

    Attributes:
        scope: What is limited: ``"messages_per_minute"``, ``"conversations"``, ``"conversation_length"`` or None.
    """

    scope: str | None = None


class ConversationLimit(RateLimitError):
    """429 that waiting does not cure: too many conversations, or too many messages in this one."""


class ServerError(APIStatusError):
    """5xx: the server failed."""


class GenerationError(HFClientError):
    """The generation failed inside a 200 stream; the message is the server's own text.

    Attributes:
        status_code: HTTP status of the failure behind the server (402: credits, 429: provider limit), or None.
        code: The server's error code or type, or None.
        conversation_id, generation_id: Where it happened, for a chat.
        request_id: The server's id for the request, for a picture or a video also the provider's for the job, or None.
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
        self.code = _said(code)
        self.conversation_id = conversation_id
        self.generation_id = generation_id
        self.request_id = _said(request_id)
