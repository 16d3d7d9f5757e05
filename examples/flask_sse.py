"""A small Flask application that streams a chat-ui's answers to the browser as server-sent events.

    pip install hfclient flask gunicorn
    export HFCLIENT_BASE_URL=http://127.0.0.1:3000        # a chat-ui; `hfclient serve` starts a small one
    gunicorn --worker-class gthread --threads 16 --graceful-timeout 130 --chdir examples flask_sse:app
    curl -N "http://127.0.0.1:8000/ask?prompt=Why+is+the+sky+blue%3F"

The client stands at the top of the module. Making it opens nothing, so workers may be forked before or after (--preload):
each has connections of its own, and the threads or greenlets of a worker share them. An answer may take two minutes in all,
so that a worker that has to go sees its last one end within the graceful timeout.
"""

import json
from collections.abc import Iterator

from flask import Flask, Response, request

from hfclient import ChatStream, Client, HFClientError, InvalidInputError, Timeouts, events

app = Flask(__name__)
client = Client(timeouts=Timeouts(total=120))


@app.get("/ask")
def ask() -> Response:
    """Answer ``?prompt=...`` with a stream of server-sent events."""
    try:
        stream = client.chat(request.args.get("prompt", ""), temporary=True)
    except HFClientError as error:  # refused before the answer began: there is still a status to say so with
        status = 400 if isinstance(error, InvalidInputError) else 502
        return Response(json.dumps(error.to_dict()), status=status, mimetype="application/json")
    response = Response(server_sent(stream), mimetype="text/event-stream")
    response.headers["X-Accel-Buffering"] = "no"  # nginx would collect the pieces
    # Also for a browser that has gone before the first piece: leaving the stream stops the generation.
    response.call_on_close(stream.close)
    return response


def server_sent(stream: ChatStream) -> Iterator[str]:
    """Yield each event as a line of JSON, and what ends the answer early as an ``error`` event."""
    try:
        for event in stream:
            yield f"data: {json.dumps(events.to_dict(event))}\n\n"
    except HFClientError as error:
        yield f"event: error\ndata: {json.dumps(error.to_dict())}\n\n"
