"""System checks: ``manage.py check`` reports what cannot work, without any network. docs/web-django.rst lists them.

A check sees the settings and the environment, not the server that will run the application. So a check of workers reports only
what ``GUNICORN_CMD_ARGS`` and ``WEB_CONCURRENCY`` say; `stream_response` logs a warning when it runs in a worker that handles one
request at a time.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured

from hfclient import HFClientError
from hfclient.web.django import clients
from hfclient.web.django.conf import read_options

__all__ = ["check_credentials", "check_relay", "check_settings", "check_transactions", "check_workers"]

_TAG = "hfclient"


@register(_TAG)
def check_settings(app_configs: object = None, **_: object) -> list[CheckMessage]:
    """Report options of ``HFCLIENT`` that cannot work."""
    try:
        options = read_options()
    except ImproperlyConfigured as error:
        return [_error("E001", error, "The options are those of hfclient.Client, and client, guard and relay.")]
    found = []
    if options.get("client") is None:  # the application's own function may start servers
        try:
            clients.new_client().close()
        except (HFClientError, ImproperlyConfigured) as error:
            found.append(_error("E002", error, "Correct the option, or the environment variable that it is taken from."))
    if "guard" in options and options["guard"].get("price") != "router":
        try:
            clients.new_guard()
        except (HFClientError, ImproperlyConfigured) as error:
            found.append(_error("E003", error, "See hfclient.web.Guard."))
    try:
        clients.new_relay()
    except (HFClientError, ImproperlyConfigured) as error:
        found.append(_error("E004", error, "See hfclient.web.Relay."))
    return found


@register(_TAG, Tags.security)
def check_credentials(app_configs: object = None, **_: object) -> list[CheckMessage]:
    """Report a missing login for a server that is known to require one."""
    try:
        if read_options().get("client") is not None:
            return []
        with clients.new_client() as client:
            if not client.login.missing:
                return []
            message = f"There is no cookie for {client.base_url}, which requires a login: every chat will be refused."
    except (HFClientError, ImproperlyConfigured):
        return []  # check_settings has reported it
    hint = (
        'Set HFCLIENT["cookies"] or the environment variable HFCLIENT_COOKIE, or run "hfclient login". A token is not enough to chat. '
        "An application that uses inference only can silence this check."
    )
    return [CheckWarning(message, hint=hint, id="hfclient.W001")]


@register(_TAG)
def check_transactions(app_configs: object = None, **_: object) -> list[CheckMessage]:
    """Report that answers in other threads do not see what a view has saved in its transaction."""
    using = [alias for alias, options in settings.DATABASES.items() if options.get("ATOMIC_REQUESTS")]
    if not using:
        return []
    return [
        CheckWarning(
            f"ATOMIC_REQUESTS is on for {', '.join(map(repr, using))}: a transaction ends when the view returns, before its answer is streamed, "
            "and an answer that is opened in another thread does not see what the view has saved.",
            hint="Decorate the views that start or stream answers with @transaction.non_atomic_requests.",
            id="hfclient.W002",
        )
    ]


@register(_TAG)
def check_relay(app_configs: object = None, **_: object) -> list[CheckMessage]:
    """Report runs in the memory of one process if the environment asks for several."""
    try:
        options = read_options()
    except ImproperlyConfigured:
        return []
    workers = _workers()
    if "relay" not in options or workers < 2 or options["relay"].get("store", "memory") != "memory":
        return []
    return [
        CheckWarning(
            f"Runs are kept in the memory of one process, and the environment asks for {workers} workers: a browser that reconnects "
            "to another worker will not find its run.",
            hint='Set HFCLIENT["relay"]["store"] to the URL of a Redis server.',
            id="hfclient.W003",
        )
    ]


@register(_TAG)
def check_workers(app_configs: object = None, **_: object) -> list[CheckMessage]:
    """Report a worker class of gunicorn that handles one request at a time."""
    if _gunicorn_option("--worker-class", "-k") != "sync" or int(_gunicorn_option("--threads") or 1) > 1:
        return []
    return [
        CheckWarning(
            "GUNICORN_CMD_ARGS selects sync workers: each of them handles one answer at a time, and is killed when an answer takes "
            "longer than --timeout.",
            hint="Use --worker-class gthread --threads 16, or gevent, or an ASGI server.",
            id="hfclient.W004",
        )
    ]


def _error(id: str, error: Exception, hint: str) -> CheckMessage:
    return Error(str(error), hint=hint, id=f"hfclient.{id}")


def _workers() -> int:
    for text in (_gunicorn_option("--workers", "-w"), os.environ.get("WEB_CONCURRENCY")):
        if text is not None and text.isdecimal():
            return int(text)
    return 1


def _gunicorn_option(*names: str) -> str | None:
    """Return the value of an option in ``GUNICORN_CMD_ARGS``, or None."""
    found = None
    for name, value in _pairs():
        if name in names:
            found = value
    return found


def _pairs() -> Iterator[tuple[str, str]]:
    try:
        words = shlex.split(os.environ.get("GUNICORN_CMD_ARGS", ""))
    except ValueError:
        return
    for word, following in zip(words, [*words[1:], ""], strict=False):
        name, equals, value = word.partition("=")
        if equals:
            yield name, value
        elif len(word) > 2 and word[0] == "-" and word[1] != "-":  # -w4
            yield word[:2], word[2:]
        else:
            yield word, following


