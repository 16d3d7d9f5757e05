"""Who talks to the chat server: one account for all users, or each user's own."""

import functools
import os
import secrets

from django.conf import settings

from hfclient import Client
from hfclient.web import Clients
from hfclient.web.django import get_client


def new_client():
    """Return a client of the chat server in ``HFCLIENT_BASE_URL``; without one, of the embedded server with its small model."""
    if url := os.environ.get("HFCLIENT_BASE_URL"):
        return Client(url)
    return Client.local(database=str(settings.DATA_DIR / "conversations.sqlite3"), upstream=os.environ.get("HFCLIENT_UPSTREAM"))


def client_of(user_id):
    """Return the client of a user: the one of all users, or with ``CHAT_ACCOUNTS=user`` one with an anonymous account of the user's own."""
    return _clients().get(int(user_id)) if settings.CHAT_ACCOUNTS == "user" else get_client()


@functools.cache
def _clients():
    return Clients(_login, get_client().base_url)


def _login(user_id):
    from chat.models import Account

    account, _ = Account.objects.get_or_create(user_id=user_id, defaults={"session": secrets.token_urlsafe(32)})
    return {"cookies": {"hf-chat": account.session}}


def recover(run):
    """Return the stream of an answer whose worker has died: the chat server has generated it without that worker."""
    return run.attach(client_of(run.owner))
