"""The embedded server (extra: local): chat-ui's protocol, answered by a small real model or any OpenAI-compatible API."""

import hfclient.redaction.logs  # noqa: F401 (installs the filter of the loggers)
from hfclient.local.server import LocalServer, serve

__all__ = ["LocalServer", "serve"]
