"""`start` and `follow`: answers that outlive the request, in views."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponseBase

from hfclient.web.django.clients import get_relay
from hfclient.web.django.responses import stream_response
from hfclient.web.relay import Allowed, OnEnd, Run
from hfclient.web.source import Opener

__all__ = ["follow", "start"]


def start(
    key: object,
    open: Opener,
    *,
    owner: object = None,
    idempotency_key: str | None = None,
    wait: float | None = 1.0,
    on_end: OnEnd | None = None,
    **options: Any,
) -> Run:
    """Start an answer that outlives this request, with `get_relay`. For views that are functions; it waits.

        def ask(request, pk):
            thread = get_object_or_404(request.user.threads, pk=pk)
            prompt, user = read_prompt(request), request.user.pk
            call = get_guard().watch(lambda: thread.state.restore().send(prompt), user=user, prompt=prompt)
            return JsonResponse({"run": start(thread.pk, call, owner=user, idempotency_key=request.headers.get("Idempotency-Key")).id})

    Args:
        key: At most one run with this key is active, such as the id of the conversation.
        open: A function that returns a stream, or what `Guard.watch` returns. It may use models, but not the request.
        owner: The user that the run belongs to.
        idempotency_key: A text of the browser's, new for each message; repeated, it returns the run that it started.
        wait: Seconds to wait for the stream to open, so that a refusal that comes before it raises here and becomes the status of the response.
        on_end: Called once when the run ends, to save the answer: ``on_end(run, reply, error)``.
        options: ``busy`` and ``state`` of `Relay.start`.

    Raises:
        RunBusy, TooManyRuns, StoreUnavailable, RunGone, InvalidRequest: As `Relay.start`.
        HFClientError: A refusal that came within *wait* seconds.
    """
    return get_relay().start(key, open, owner=owner, idempotency_key=idempotency_key, wait=wait, on_end=on_end, **options)


def follow(request: HttpRequest, run_id: str, *, owner: object = None, allowed: Allowed | None = None, **options: Any) -> HttpResponseBase:
    """Return a response that follows a run from the event in the request's ``Last-Event-ID`` on.

        def events(request, run_id):
            return follow(request, run_id, owner=request.user.pk)

    A run that has ended, and whose last event the browser has, is a 204, after which an EventSource does not reconnect.

    Args:
        request: The request of the view.
        run_id: The run.
        owner, allowed: Who may follow it, as for `Relay.follow`.
        options: Of `stream_response`, such as ``body`` and ``format``.

    Raises:
        RunNotFound, RunGone, InvalidRequest, TooManyRuns, StoreUnavailable: As `Relay.follow`.
    """
    follower = get_relay().follow(run_id, request.headers.get("Last-Event-ID"), owner=owner, allowed=allowed)
    try:
        return stream_response(request, follower, **{"wait": None, **options})
    except BaseException:
        follower.close()
        raise
