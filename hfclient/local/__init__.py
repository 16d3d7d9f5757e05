"""The embedded server (extra: local): chat-ui's protocol, answered by a small real model or any OpenAI-compatible API."""

from hfclient.local.server import LocalServer, serve

__all__ = ["LocalServer", "serve"]
