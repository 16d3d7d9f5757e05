"""hfclient: the blocking Python SDK for HuggingChat and Hugging Face inference.

from hfclient import Client, events

client = Client()
for event in client.chat("Write a limerick"):
    match event:
        case events.Token(text):
            print(text, end="")
"""

from typing import TYPE_CHECKING, Any

from hfclient import errors, events, types
from hfclient._version import __version__
from hfclient.chat import ChatStream, Conversation, ElicitationAnswer, McpServer, MessageTree, RemoteFile
from hfclient.client import Client, ClientOptions
from hfclient.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    Cancelled,
    CloudflareChallenge,
    ConflictError,
    ConnectError,
    ConversationBusy,
    ConversationLimit,
    CredentialsError,
    CreditsExhausted,
    GenerationError,
    HFClientError,
    InvalidInputError,
    LocalServerError,
    MissingDependencyError,
    ModelGone,
    ModelNotFound,
    NotAChatServer,
    NotFoundError,
    ParseError,
    PasswordRequired,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    RequestTooLargeError,
    ServerError,
    SessionExpired,
    StreamConsumed,
    StreamInterrupted,
    TooManyRounds,
    TransportError,
    TransportTimeout,
    Unsupported,
)
from hfclient.redaction.logs import install_log_filter
from hfclient.reply_builder import reply_from_events
from hfclient.stream import Stream
from hfclient.transport import Limits, Retry, Timeouts
from hfclient.transport.scope import deadline
from hfclient.types import ConversationInfo, Message, Model, Reply, Share, StoredFile, User

if TYPE_CHECKING:
    from hfclient.inference import (
        AssistantMessage,
        Audio,
        CompletionStream,
        HubModel,
        Image,
        InferenceClient,
        Job,
        ParseStream,
        ServedModel,
        SystemMessage,
        TextStream,
        Tool,
        ToolMessage,
        ToolStream,
        Transcript,
        UserMessage,
        Video,
    )
    from hfclient.ticking import ticks

__all__ = [
    "APIStatusError",
    "AssistantMessage",
    "Audio",
    "AuthenticationError",
    "BadRequestError",
    "Cancelled",
    "ChatStream",
    "Client",
    "ClientOptions",
    "CloudflareChallenge",
    "CompletionStream",
    "ConflictError",
    "ConnectError",
    "Conversation",
    "ConversationBusy",
    "ConversationInfo",
    "ConversationLimit",
    "CredentialsError",
    "CreditsExhausted",
    "ElicitationAnswer",
    "GenerationError",
    "HFClientError",
    "HubModel",
    "Image",
    "InferenceClient",
    "InvalidInputError",
    "Job",
    "Limits",
    "LocalServerError",
    "McpServer",
    "Message",
    "MessageTree",
    "MissingDependencyError",
    "Model",
    "ModelGone",
    "ModelNotFound",
    "NotAChatServer",
    "NotFoundError",
    "ParseError",
    "ParseStream",
    "PasswordRequired",
    "PermissionDeniedError",
    "ProtocolError",
    "RateLimitError",
    "RemoteFile",
    "Reply",
    "RequestTooLargeError",
    "Retry",
    "ServedModel",
    "ServerError",
    "SessionExpired",
    "Share",
    "StoredFile",
    "Stream",
    "StreamConsumed",
    "StreamInterrupted",
    "SystemMessage",
    "TextStream",
    "Timeouts",
    "TooManyRounds",
    "Tool",
    "ToolMessage",
    "ToolStream",
    "Transcript",
    "TransportError",
    "TransportTimeout",
    "Unsupported",
    "User",
    "UserMessage",
    "Video",
    "__version__",
    "deadline",
    "errors",
    "events",
    "reply_from_events",
    "ticks",
    "types",
]

for _name in ("hfclient", "hfclient.local", "hfclient.web"):
    install_log_filter(_name)

_INFERENCE = {
    "AssistantMessage",
    "Audio",
    "CompletionStream",
    "HubModel",
    "Image",
    "InferenceClient",
    "Job",
    "ParseStream",
    "ServedModel",
    "SystemMessage",
    "TextStream",
    "Tool",
    "ToolMessage",
    "ToolStream",
    "Transcript",
    "UserMessage",
    "Video",
}


def __getattr__(name: str) -> Any:
    """Import what few programs need when it is used: `hfclient.inference` is as large as the rest of the package."""
    if name in _INFERENCE:
        from hfclient import inference

        return getattr(inference, name)
    if name == "ticks":
        from hfclient.ticking import ticks

        return ticks
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return all names, including those that are imported late, for completion in a shell."""
    return sorted({*globals(), *__all__})
