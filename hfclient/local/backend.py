"""Shared state of the routes: store, running generations and upstream, with look-ups that raise HTTP errors."""

from __future__ import annotations

import logging
import re

from attrs import frozen

from hfclient.errors import HFClientError
from hfclient.local.error_responses import HTTPError, internal_error
from hfclient.local.generations import Generations
from hfclient.local.records import ConversationRecord
from hfclient.local.request_hooks import owner
from hfclient.local.sqlite_store import Store
from hfclient.local.upstream import Upstream, UpstreamModel

__all__ = ["SHARE_ID", "Backend", "is_id"]

_log = logging.getLogger("hfclient.local")
SHARE_ID = re.compile(r"[A-Za-z0-9_-]{7}")
_ID = re.compile(r"[0-9a-fA-F]{24}")


def is_id(text: str) -> bool:
    """Return whether *text* has the form of a conversation's id."""
    return _ID.fullmatch(text) is not None


@frozen
class Backend:
    """Store, running generations and upstream of a server."""

    store: Store
    generations: Generations
    upstream: Upstream

    def models(self) -> list[UpstreamModel]:
        """Return the models, the default first.

        Raises:
            HTTPError: 503 if the upstream does not list its models.
        """
        try:
            return list(self.upstream.models())
        except HFClientError as error:
            _log.warning("the upstream does not list its models: %s", error)
            raise HTTPError(503, f"The upstream does not list its models: {error.message}") from None

    def model(self, model_id: str) -> UpstreamModel | None:
        """Return the model with that id, or None."""
        return next((model for model in self.models() if model.id == model_id), None)

    def conversation_or_404(self, conversation_id: str, message: str = "Conversation not found") -> ConversationRecord:
        """Return the caller's conversation, with the text so far of an answer that is being generated.

        Raises:
            HTTPError: 500 for a malformed id, 404 if the caller has no such conversation.
        """
        if not is_id(conversation_id):
            raise internal_error()
        conversation = self.store.conversation(conversation_id.lower(), owner())
        if conversation is None:
            raise HTTPError(404, message)
        for generation in self.generations.of_conversation(conversation.id):
            written = conversation.message(generation.message_id)
            if written is not None:
                generation.update_message(written)
        return conversation

    def conversation_id_or_404(self, conversation_id: str) -> str:
        """Return the id of the caller's conversation; raises as :meth:`conversation_or_404`, but reads no messages."""
        if not is_id(conversation_id):
            raise internal_error()
        if not self.store.owns(owner(), conversation_id.lower()):
            raise HTTPError(404, "Conversation not found")
        return conversation_id.lower()
