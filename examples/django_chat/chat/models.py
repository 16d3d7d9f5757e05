"""A thread: the conversation itself is on the chat server, its owner is known here only."""

import time
import uuid

from django.conf import settings
from django.db import models
from django.urls import reverse

from chat.clients import client_of

SHOWN = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""Media types that are shown in the page. An SVG may contain scripts, so it is only a download."""


class Thread(models.Model):
    """A conversation of one user.

    The chat server has the texts and files of all users in one account. Views find threads through their owner only.

    Attributes:
        conversation_id: Its id on the chat server; empty before the first message.
        is_named: The user has given it its title.
        leaf: The end of the branch that the user has selected; empty for the newest one.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="threads")
    title = models.CharField(max_length=100)
    is_named = models.BooleanField(default=False)
    conversation_id = models.CharField(max_length=40, blank=True)
    leaf = models.CharField(max_length=40, blank=True)
    updated_at = models.DateTimeField(auto_now=True, db_index=True)

    class Meta:
        """The newest thread is first."""

        ordering = ("-updated_at",)

    def __str__(self):
        return self.title

    def get_absolute_url(self):
        """Return the URL of its page."""
        return reverse("thread", args=[self.pk])

    @property
    def conversation(self):
        """The conversation on the chat server. Nothing is requested before its first call."""
        return client_of(self.owner_id).conversation(self.conversation_id or None)

    def read(self, *, is_running):
        """Return the messages of the selected branch from the chat server, and take over the title that it has made.

        Args:
            is_running: An answer is being generated; it is left out, because the page follows its events.
        """
        conversation = self.conversation
        if conversation.id is None:
            return []
        for pause in (0.1, 0.3, 0.6, 0):
            tree = conversation.tree()
            if is_running or all(message.finished for message in tree):
                break
            time.sleep(pause)  # the chat server saves an answer a moment after it was stopped
        if conversation.title not in (None, "New Chat", self.title) and not self.is_named:
            self.title = conversation.title[:100]
            Thread.objects.filter(pk=self.pk).update(title=self.title)
        path = [message for message in tree.path(self.leaf if self.leaf in tree else tree.newest_leaf()) if message.role != "system"]
        if is_running and path and path[-1].role == "assistant":
            path.pop()
        return [self._with_versions(message, tree) for message in path]

    def _with_versions(self, message, tree):
        ids = [sibling.id for sibling in tree.children(message.parent_id)]
        at = ids.index(message.id)
        return {
            "message": message,
            "position": at + 1,
            "count": len(ids),
            "previous": ids[at - 1] if at else "",
            "next": ids[at + 1] if at + 1 < len(ids) else "",
        }


class Account(models.Model):
    """A user's own account on the chat server, with ``CHAT_ACCOUNTS=user``.

    Attributes:
        session: The session cookie, a random text. It is as secret as a password.
    """

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    session = models.CharField(max_length=100)
