"""HuggingChat and every other chat-ui."""

import hfclient.redaction.logs  # noqa: F401 (installs the filter of the loggers)
from hfclient.chat.conversations.conversation import ChatStream, Conversation
from hfclient.chat.conversations.options import AnswerOptions, AttachOptions, MessageOptions, RetryOptions, SendOptions
from hfclient.chat.conversations.stored_conversation import discard_unused
from hfclient.chat.files.uploads import RemoteFile
from hfclient.chat.resources.conversations import Conversations
from hfclient.chat.resources.login import Login
from hfclient.chat.resources.server import LiveGeneration, LiveUpdate, Server
from hfclient.chat.resources.settings import Settings, SettingsResource
from hfclient.chat.servers.models import Models
from hfclient.chat.servers.service import ChatService
from hfclient.chat.wire.tools import ElicitationAnswer, McpServer
from hfclient.chat.wire.tree import MessageTree

__all__ = [
    "AnswerOptions",
    "AttachOptions",
    "ChatService",
    "ChatStream",
    "Conversation",
    "Conversations",
    "ElicitationAnswer",
    "LiveGeneration",
    "LiveUpdate",
    "Login",
    "McpServer",
    "MessageOptions",
    "MessageTree",
    "Models",
    "RemoteFile",
    "RetryOptions",
    "SendOptions",
    "Server",
    "Settings",
    "SettingsResource",
    "discard_unused",
]
