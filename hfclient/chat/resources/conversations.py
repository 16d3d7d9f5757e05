"""``client.conversations``: the conversations on a chat server."""

from __future__ import annotations

import builtins
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hfclient.arguments.argument_types import check_arguments, check_limit
from hfclient.chat.conversations.conversation import Conversation
from hfclient.chat.resources.server import LiveGeneration, LiveUpdate, live_updates
from hfclient.chat.servers.service import ChatService
from hfclient.chat.wire.endpoints import Endpoints
from hfclient.chat.wire.messages import share_id_in
from hfclient.display import Displayed
from hfclient.errors import ProtocolError
from hfclient.types import ConversationInfo, Entries

if TYPE_CHECKING:
    from hfclient.chat.files.export import Branches, Format, Since
    from hfclient.progress import Progress

__all__ = ["Conversations"]


class Conversations(Displayed):
    """The caller's conversations on the server. Iterating yields all of them, newest first.

    for info in client.conversations:
        print(info.updated_at, info.title)

    ``id in client.conversations`` searches the pages for that id. The truth value is whether there is any conversation. The
    server does not say how many there are: ``len(client.conversations.list())`` fetches all of them.
    """

    def __init__(self, service: ChatService) -> None:
        self._service = service

    def __repr__(self) -> str:
        return "<Conversations>"

    def __iter__(self) -> Iterator[ConversationInfo]:
        """Yield all conversations, each once; pages are fetched as they are needed.

        Reference: GET {base}/api/v2/conversations?p=N
        """
        seen: set[str] = set()
        for page in itertools.count():
            entries, more = self._service.list_page(page)
            known = len(seen)
            for info in entries:
                if info.id not in seen:  # a conversation that is written to moves to the front
                    seen.add(info.id)
                    yield info
            if not more or len(seen) == known:  # a server may return the same page again and again
                return

    def __contains__(self, conversation: object) -> bool:
        wanted = conversation if isinstance(conversation, str) else getattr(conversation, "id", None)
        if not isinstance(wanted, str):
            raise TypeError(f"a conversation is found by its id, not by {type(conversation).__name__}")
        return any(info.id == wanted for info in self)

    def __bool__(self) -> bool:
        return any(True for _ in self)

    def list(self, limit: int | None = None) -> list[ConversationInfo]:
        """Return the newest *limit* conversations, or all; only the necessary pages are fetched.

        Raises:
            InvalidInputError: *limit* is not an integer, or is negative.
        """
        check_arguments(Conversations.list, locals())
        return Entries(itertools.islice(self, check_limit(limit)))

    def get(self, id: str) -> Conversation:
        """Return the conversation with this id, its title and model read from the server.

        Raises:
            NotFoundError: It does not exist.
            PermissionDeniedError: It belongs to another user.
        """
        check_arguments(Conversations.get, locals())
        conversation = Conversation(self._service, id)
        conversation.fetch_message_id()
        return conversation

    def delete(self, id: str) -> None:
        """Delete one conversation.

        Reference: DELETE {base}/api/v2/conversations/{id}
        """
        check_arguments(Conversations.delete, locals())
        self._service.read(self._endpoints.delete(id))

    def delete_all(self) -> int:
        """Delete all conversations of this account or session; returns how many there were.

        Reference: DELETE {base}/api/v2/conversations
        """
        count = self._service.read(self._endpoints.delete_all())
        return count if isinstance(count, int) else 0

    def import_share(self, share: str) -> Conversation:
        """Copy a shared conversation with its files into the caller's own; the same share gives the same copy.

        Args:
            share: The share's id, or its link.

        Reference: POST {base}/api/v2/conversations/import-share
        """
        check_arguments(Conversations.import_share, locals())
        data = self._service.read(self._endpoints.import_share(share_id_in(str(share))))
        if not isinstance(data, dict) or not isinstance(data.get("conversationId"), str):
            raise ProtocolError("the server imported the share but returned no conversation id", frame=str(data)[:200])
        return Conversation(self._service, data["conversationId"])

    def running(self) -> builtins.list[LiveGeneration]:
        """Return the generations that are running now, in any conversation of the caller.

        Reference: GET {base}/api/v2/generations/live
        """
        for update in live_updates(self._service):
            return [*update.running]
        return []

    def watch(self) -> Iterator[LiveUpdate]:
        """Yield the running and the ended generations, about every two seconds, until nothing runs.

        Reference: GET {base}/api/v2/generations/live
        """
        return live_updates(self._service)

    def export(
        self,
        folder: str | os.PathLike[str],
        *,
        format: Format = "md",
        files: bool = True,
        limit: int | None = None,
        since: Since | None = None,
        branches: Branches = "all",
        progress: Progress = None,
    ) -> builtins.list[Path]:
        """Save all conversations (or some of them) into a folder, with their files.

            client.conversations.export("chats", format="ipynb", since="2026-11-01")

        A second call continues an interrupted export, and fetches only the changes since a complete one.

        Args:
            folder: The folder; created if it does not exist.
            format: ``"md"``, ``"json"`` or ``"ipynb"``; see `Conversation.export`.
            files: Save attachments and produced files too.
            limit: Most conversations to export; None for all.
            since: Only conversations that have changed since then: a date, a datetime, or either in ISO 8601. Without a zone
                it is local time. Further pages of the list are not fetched.
            branches: ``"all"``, or ``"active"`` for the newest branch of each.
            progress: None for a bar only on a terminal or in a notebook, True or False, or a function that gets (done, total,
                title).

        Returns:
            One path for each conversation, newest first.

        Raises:
            InvalidInputError: An argument is not one of these, or a file cannot be written.
        """
        check_arguments(Conversations.export, locals())
        from hfclient.chat.files.export import changed_since, export_all  # few callers need it

        infos = list(itertools.islice(changed_since(self, since), check_limit(limit)))
        return export_all(
            self._service, infos, Path(folder), format=format, files=files, branches=branches, progress=progress
        )

    @property
    def _endpoints(self) -> Endpoints:
        return self._service.endpoints
