"""Views of Django that stream a chat-ui's answers as server-sent events, under WSGI (gunicorn and the like).

    # urls.py
    path("", django_sse.page)
    path("ask", django_sse.ask)

Django's CsrfViewMiddleware stays on: ask.html sends the token from the page's cookie. Under ASGI a blocking iterator would be
read whole before anything is sent: see "asyncio" in docs/processes.rst.
"""

import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET, require_POST

from hfclient import ChatStream, Client, HFClientError, Timeouts, errors, events

client = Client(timeouts=Timeouts(total=120))
log = logging.getLogger(__name__)

# What the public sees. The error's own text names hosts and advises the operator, so it goes into the log.
MESSAGES = {
    400: "This prompt cannot be answered.",
    401: "The service is not logged in.",
    402: "The service has no credit left.",
    403: "The service may not do this.",
    404: "There is no such model.",
    409: "Another answer is still being written.",
    413: "This prompt is too long.",
    429: "Too many requests. Please wait a moment.",
    502: "The answer failed.",
    503: "The service cannot be reached at the moment.",
    504: "The answer took too long.",
}
STATUSES = {
    errors.InvalidInputError: 400,
    errors.AuthenticationError: 401,
    errors.ConversationBusy: 409,
    errors.TransportTimeout: 504,
    errors.TransportError: 503,
    errors.CredentialsError: 503,
}


@require_GET
@ensure_csrf_cookie
def page(request: HttpRequest) -> HttpResponse:
    """Show a page with a form."""
    return HttpResponse(Path(__file__).with_name("ask.html").read_text("utf-8"))


@require_POST
def ask(request: HttpRequest) -> HttpResponseBase:
    """Answer the form's field ``prompt`` with a stream of server-sent events."""
    if "Last-Event-ID" in request.headers:  # a client that repeats the request: 204 tells it to stop
        return HttpResponse(status=204)
    try:
        stream = client.chat(request.POST.get("prompt", ""), temporary=True)
    except HFClientError as error:  # refused before the answer began: the status can still say so
        status, body, headers = refusal(error)
        return JsonResponse(body, status=status, headers=headers)
    headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
    return StreamingHttpResponse(ServerSent(stream), content_type="text/event-stream", headers=headers)


class ServerSent:
    """The pieces of an answer's text, then ``done``, or ``error`` with the body of a refusal.

    Django calls ``close()`` when the browser disconnects, also before the first piece: that stops the generation.
    """

    def __init__(self, stream: ChatStream) -> None:
        self.close = stream.close
        self._frames = self._encoded(stream)

    def __iter__(self) -> Iterator[str]:
        return self._frames

    def _encoded(self, stream: ChatStream) -> Iterator[str]:
        try:
            for number, token in enumerate(event for event in stream if isinstance(event, events.Token)):
                yield f"id: {number}\ndata: {json.dumps({'text': token.text})}\n\n"
            yield "event: done\ndata: {}\n\n"
        except HFClientError as error:
            yield f"event: error\ndata: {json.dumps(refusal(error)[1])}\n\n"


def refusal(error: HFClientError) -> tuple[int, dict[str, object], dict[str, str]]:
    """Return status, body and headers for an error, and log it."""
    log.warning("no answer: %s: %s", type(error).__name__, error)
    given = getattr(error, "status_code", None)
    status = {410: 404, 422: 400}.get(given, given)
    if status not in MESSAGES:
        status = next((code for cls, code in STATUSES.items() if isinstance(error, cls)), 502)
    after = getattr(error, "retry_after", None)
    headers = {} if after is None else {"Retry-After": str(math.ceil(after))}
    return status, {"status": status, "message": MESSAGES[status]}, headers
