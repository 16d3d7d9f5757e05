"""A small Flask application that streams a chat-ui's answers to the browser as server-sent events.

    pip install hfclient flask gunicorn
    export HFCLIENT_BASE_URL=http://127.0.0.1:3000        # a chat-ui; `hfclient serve` starts a small one
    gunicorn --worker-class gthread --threads 16 --graceful-timeout 130 --chdir examples flask_sse:app
    curl -N -d "prompt=Why is the sky blue?" http://127.0.0.1:8000/ask

The client is a global of the module. Creating it opens nothing, so workers may be forked before or after (--preload): each
worker has its own connections, which its threads or greenlets share. An answer may take two minutes in all, so that a worker
that shuts down can finish its last answer within the graceful timeout.

A prompt is a POST. An EventSource can only GET, and takes the end of a stream for a broken connection: it would repeat the
prompt without end. ask.html reads the same stream with fetch().
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path

from flask import Flask, Response, request

from hfclient import ChatStream, Client, HFClientError, Timeouts, errors, events

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 1_000_000  # bytes of a prompt; Flask answers 413 to more
client = Client(timeouts=Timeouts(total=120))

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


@app.get("/")
def page() -> str:
    """Show a page with a form."""
    return Path(__file__).with_name("ask.html").read_text("utf-8")


@app.post("/ask")
def ask() -> Response:
    """Answer the form's field ``prompt`` with a stream of server-sent events."""
    if "Last-Event-ID" in request.headers:  # a client that repeats the request: 204 tells it to stop
        return Response(status=204)
    try:
        stream = client.chat(request.form.get("prompt", ""), temporary=True)
    except HFClientError as error:  # refused before the answer began: the status can still say so
        status, body, headers = refusal(error)
        return Response(json.dumps(body), status, headers, mimetype="application/json")
    response = Response(server_sent(stream), mimetype="text/event-stream")
    response.headers["X-Accel-Buffering"] = "no"  # nginx would buffer the pieces
    response.headers["Cache-Control"] = "no-store"
    # Also for a browser that disconnects before the first piece: leaving the stream stops the generation.
    response.call_on_close(stream.close)
    return response


def server_sent(stream: ChatStream) -> Iterator[str]:
    """Yield each piece of the text, then ``done``, or ``error`` with the body of a refusal."""
    try:
        for number, token in enumerate(event for event in stream if isinstance(event, events.Token)):
            yield f"id: {number}\ndata: {json.dumps({'text': token.text})}\n\n"
        yield "event: done\ndata: {}\n\n"
    except HFClientError as error:
        yield f"event: error\ndata: {json.dumps(refusal(error)[1])}\n\n"


def refusal(error: HFClientError) -> tuple[int, dict[str, object], dict[str, str]]:
    """Return status, body and headers for an error, and log it."""
    app.logger.warning("no answer: %s: %s", type(error).__name__, error)
    given = getattr(error, "status_code", None)
    status = {410: 404, 422: 400}.get(given, given)
    if status not in MESSAGES:
        status = next((code for cls, code in STATUSES.items() if isinstance(error, cls)), 502)
    after = getattr(error, "retry_after", None)
    headers = {} if after is None else {"Retry-After": str(math.ceil(after))}
    return status, {"status": status, "message": MESSAGES[status]}, headers
