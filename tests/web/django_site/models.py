"""A thread of messages, with the state of its conversation."""

from __future__ import annotations

from django.db import models

from hfclient.web.django import ConversationField


class Thread(models.Model):
    title = models.CharField(max_length=100, blank=True)
    state = ConversationField()


class EditableThread(models.Model):
    state = ConversationField(editable=True, verbose_name="the state")
