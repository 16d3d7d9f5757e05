"""hfclient: the blocking Python SDK for HuggingChat and Hugging Face inference.

from hfclient import Client, events

client = Client()
for event in client.chat("Write a limerick"):
    match event:
        case events.Token(text):
            print(text, end="")
"""

import importlib

from hfclient._version import __version__

# Nothing else is imported here: the import alone takes a few milliseconds, in which Ctrl-C at the start of the command has a
# traceback. What is needed later is imported later.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from hfclient import errors, events, types
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
    from hfclient.reply_builder import reply_from_events
    from hfclient.stream import Stream
    from hfclient.ticking import ticks
    from hfclient.transport import Limits, Retry, Timeouts
    from hfclient.transport.scope import deadline
    from hfclient.types import ConversationInfo, Message, Model, Reply, Share, StoredFile, User

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
    "load_ipython_extension",
    "reply_from_events",
    "ticks",
    "types",
    "unload_ipython_extension",
]

_MODULES = {
    "hfclient.chat": "ChatStream Conversation ElicitationAnswer McpServer MessageTree RemoteFile",
    "hfclient.client": "Client ClientOptions",
    "hfclient.inference": "AssistantMessage Audio CompletionStream HubModel Image InferenceClient Job ParseStream ServedModel "
    "SystemMessage TextStream Tool ToolMessage ToolStream Transcript UserMessage Video",
    "hfclient.reply_builder": "reply_from_events",
    "hfclient.stream": "Stream",
    "hfclient.ticking": "ticks",
    "hfclient.transport": "Limits Retry Timeouts",
    "hfclient.transport.scope": "deadline",
    "hfclient.types": "ConversationInfo Message Model Reply Share StoredFile User",
}
_SOURCES = {name: module for module, names in _MODULES.items() for name in names.split()}
"""The module of each name in `__all__`; `hfclient.errors` has the others."""
_SUBMODULES = {
    "arguments",
    "chat",
    "client",
    "credentials",
    "decoding",
    "errors",
    "events",
    "files",
    "process",
    "reply_builder",
    "stream",
    "transport",
    "types",
    "values",
}


def __getattr__(name: str) -> "Any":
    """Import a name when it is first used: the help of the command line needs none of them, and few programs need inference."""
    if name in _SUBMODULES:
        return importlib.import_module(f"hfclient.{name}")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_SOURCES.get(name, "hfclient.errors")), name)
    globals()[name] = value  # so that the next use does not come here
    return value


def load_ipython_extension(shell: "Any") -> None:
    """Register ``%%chat``, ``%chat``, ``%chat_models`` and ``%chat_login``: what ``%load_ext hfclient`` calls."""
    from hfclient.notebook.magics import load

    load(shell)


def unload_ipython_extension(shell: "Any") -> None:
    """Remove the magics: what ``%unload_ext hfclient`` calls."""
    from hfclient.notebook.magics import unload

    unload(shell)


def __dir__() -> list[str]:
    """Return all names, including those that are imported late, for completion in a shell."""
    return sorted({*globals(), *__all__})
