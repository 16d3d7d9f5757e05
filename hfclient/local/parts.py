"""What the routes work with."""

from __future__ import annotations

import logging
import re

from attrs import frozen

from hfclient.errors import HFClientError
from hfclient.local.front import owner
from hfclient.local.generation import Runs
from hfclient.local.records import Conversation
from hfclient.local.refusals import Refused, broken
from hfclient.local.store import Store
from hfclient.local.upstream import Upstream, UpstreamModel

__all__ = ["SHARE_ID", "Parts", "is_id"]

_log = logging.getLogger("hfclient.local")
SHARE_ID = re.compile(r"[A-Za-z0-9_-]{7}")
_ID = re.compile(r"[0-9a-fA-F]{24}")


def is_id(text: str) -> bool:
    """Tell whether *text* looks like the id of a conversation."""
    return _ID.fullmatch(text) is not None


@frozen
class Parts:
    """The server's parts, and the look-ups that several routes share."""

    store: Store
    runs: Runs
    upstream: Upstream

    def models(self) -> list[UpstreamModel]:
        """Return what can be asked, the default first.

        Raises:
            Refused: 503 while the upstream cannot tell.
        """
        try:
            return list(self.upstream.models())
        except HFClientError as error:
            _log.warning("the upstream does not list its models: %s", error)
            raise Refused(503, f"The upstream does not list its models: {error.message}") from None

    def model(self, model_id: str) -> UpstreamModel | None:
        """Return the model with that id, or None."""
        return next((model for model in self.models() if model.id == model_id), None)

    def own(self, conversation_id: str, missing: str = "Conversation not found") -> Conversation:
        """Return the caller's conversation, brought up to now.

        Raises:
            Refused: 500 for what is no id, 404 if the caller has no such conversation.
        """
        if not is_id(conversation_id):
            raise broken()
        found = self.store.conversation(conversation_id.lower(), owner())
        if found is None:
            raise Refused(404, missing)
        for run in self.runs.of_conversation(found.id):
            message = found.message(run.message_id)
            if message is not None:
                run.show(message)
        return found

    def check_own(self, conversation_id: str) -> str:
        """Return the id of the caller's conversation; raises as :meth:`own` does, but reads no messages."""
        if not is_id(conversation_id):
            raise broken()
        if not self.store.owns(owner(), conversation_id.lower()):
            raise Refused(404, "Conversation not found")
        return conversation_id.lower()
