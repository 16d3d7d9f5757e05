"""The chat wing: HuggingChat and every other chat-ui."""

from hfclient.chat.conversation import Conversation
from hfclient.chat.resources import Conversations, Models
from hfclient.chat.service import ChatService
from hfclient.chat.stream import ChatStream

__all__ = ["ChatService", "ChatStream", "Conversation", "Conversations", "Models"]
