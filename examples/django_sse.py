"""The view of flask_sse.py for Django, under WSGI (gunicorn and the like).

    # urls.py
    path("ask", django_sse.ask)

Under ASGI a blocking iterator would be read whole before anything is sent: see "asyncio" in docs/processes.rst.
"""

import json
from collections.abc import Iterator

from django.http import HttpRequest, HttpResponseBase, JsonResponse, StreamingHttpResponse

from hfclient import ChatStream, Client, HFClientError, InvalidInputError, Timeouts, events

client = Client(timeouts=Timeouts(total=120))


def ask(request: HttpRequest) -> HttpResponseBase:
    """Answer ``?prompt=...`` with a stream of server-sent events."""
    try:
        stream = client.chat(request.GET.get("prompt", ""), temporary=True)
    except HFClientError as error:
        return JsonResponse(error.to_dict(), status=400 if isinstance(error, InvalidInputError) else 502)
    response = StreamingHttpResponse(server_sent(stream), content_type="text/event-stream")
    response["X-Accel-Buffering"] = "no"
    return response


def server_sent(stream: ChatStream) -> Iterator[str]:
    """Yield each event as a line of JSON. Django closes this when the browser goes, and that stops the generation."""
    with stream:
        try:
            for event in stream:
                yield f"data: {json.dumps(events.to_dict(event))}\n\n"
        except HFClientError as error:
            yield f"event: error\ndata: {json.dumps(error.to_dict())}\n\n"
