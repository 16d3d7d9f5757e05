"""The chat wing: HuggingChat and every other chat-ui."""

from hfclient.chat.conversation import Conversation
from hfclient.chat.login import Login
from hfclient.chat.resources import Conversations, Models
from hfclient.chat.service import ChatService
from hfclient.chat.stream import ChatStream
from hfclient.chat.tools import Answer, McpServer
from hfclient.chat.tree import MessageTree
from hfclient.chat.uploads import RemoteFile

__all__ = [
    "Answer",
    "ChatService",
    "ChatStream",
    "Conversation",
    "Conversations",
    "Login",
    "McpServer",
    "MessageTree",
    "Models",
    "RemoteFile",
]
