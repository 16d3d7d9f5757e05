"""An application whose views answer in the formats of other libraries, with events that the prompt selects.

Run by gunicorn (``formats_app:app``) in tests/deploy/test_ai_sdk.py and test_openai.py. ``UPSTREAM`` is the URL of a chat-ui.
"""

from __future__ import annotations

import functools
import os
import threading
from typing import Any

from flask import Flask, Response, jsonify, request

from hfclient import Client, HFClientError, errors, events
from hfclient.web import Relay, problem, sse
from hfclient.web.formats import (
    ChatCompletionChunks,
    UIMessageStream,
    chat_completion,
    error_body,
    parse_completion_request,
    parse_ui_request,
)
from tests.web.sources import Scripted

app = Flask(__name__)
client = Client(os.environ.get("UPSTREAM", "http://127.0.0.1:1"), token="", session="")
relay = Relay()
left: list[str] = []
resumed: list[str] = []
HOSTILE = "\n\ndata: [DONE]\n\n\u2028\r\x00</script>\ud83d\ude00"
CALL = events.ToolCall("u1", "search", {"q": "x"}, arguments='{"q": "x"}')
ANSWER: list[Any] = [
    events.Status("started"),
    events.Title("A title"),
    events.Route(model="served"),
    events.Reasoning("I "),
    events.Reasoning("think."),
    events.Token("Let me look. "),
    CALL,
    events.ToolProgress("u1", 0.5, 1.0),
    events.ToolResult("u1", "success", [{"text": "found"}]),
    events.ToolCall("u2", "broken", {}),
    events.ToolError("u2", "no such page"),
    events.Sources((events.Source("https://a.example/", title="A"), events.Source("javascript:alert(1)"))),
    events.File("f.png", "5a", "image/png", "http://10.0.0.1/f"),
    events.Elicitation("e1", "s", "form", "Which?"),
    events.Token("Here: "),
    events.Token(HOSTILE),
    events.Finish("stop"),
    events.Usage(1, 2, 3),
]


def source_for(prompt: str) -> Any:
    """Return what answers *prompt*; its first word selects it."""
    how = prompt.split()[0]
    if how in ("count", "hold", "fail"):
        return client.chat(prompt)
    if how == "refuse":
        raise errors.RateLimitError("http://10.0.0.1 is busy", status_code=429, retry_after=1)
    source = Left(*(ANSWER if how == "all" else [events.Token("half")]), end=how in ("all", "calls", "short"))
    if how == "break":
        source.say(errors.GenerationError("http://10.0.0.1 broke", status_code=402))
    if how == "slow":
        threading.Timer(4.0, lambda: (source.say(events.Token("late")), source.end())).start()
    if how == "stopped":
        source.say(events.FinalAnswer("half", interrupted=True))
        source.end()
    if how == "calls":
        source = Left(CALL, events.Finish("tool_calls"), events.Usage(1, 2, 3))
    return source


class Left(Scripted):
    """A source that says when it was left."""

    def close(self) -> None:
        if not self.closed.is_set():
            left.append(threading.current_thread().name)
        super().close()


@app.get("/left")
def show_left() -> Response:
    """Show how many answers have been left or have ended."""
    return jsonify(len(left))


@app.errorhandler(HFClientError)
def refused(error: HFClientError) -> Response:
    """Answer with the problem, or with OpenAI's object of errors."""
    shown = problem(error)
    if request.path.startswith("/v1/"):
        return Response(jsonify(error_body(shown)).data, shown.status, {**shown.headers, "Content-Type": "application/json"})
    return Response(shown.json(), shown.status, shown.headers)


@app.get("/resumed")
def show_resumed() -> Response:
    """Show how many chats were resumed."""
    return jsonify(len(resumed))


@app.get("/ai/<chat_id>/stream")
def resume(chat_id: str) -> Response:
    """Answer ``resumeStream`` of ``useChat``: the running answer from its beginning, or nothing."""
    run = relay.running(chat_id)
    if run is None:
        return Response(status=204)
    resumed.append(chat_id)
    body = sse(relay.follow(run.id), format=UIMessageStream)
    return Response(body, body.status, body.headers)  # type: ignore[arg-type]


@app.post("/ai")
def ui_messages() -> Response:
    """Answer ``useChat``."""
    asked = parse_ui_request(request.get_json(silent=True))
    if asked.prompt.startswith("hold run"):
        assert asked.chat_id is not None
        run = relay.start(asked.chat_id, lambda: client.chat(asked.prompt))
        body = sse(relay.follow(run.id), format=UIMessageStream, heartbeat=0.2)
        return Response(body, body.status, body.headers)  # type: ignore[arg-type]
    prompt = f"{asked.prompt} {len(asked.files)}" if asked.files else asked.prompt
    form = functools.partial(UIMessageStream, file_url=lambda file: f"/files/{file.sha}", message_id="from-server")
    body = sse(lambda: source_for(prompt), format=form, wait=20, heartbeat=0.2)
    return Response(body, body.status, body.headers)  # type: ignore[arg-type]


@app.post("/v1/chat/completions")
def completions() -> Response:
    """Answer an OpenAI client."""
    asked = parse_completion_request(request.get_json(silent=True))
    prompt = asked.messages[-1]["content"]
    if not asked.stream:
        if prompt.startswith("count"):
            return jsonify(chat_completion(source_for(prompt).result(), model=asked.model))
        if prompt.startswith("refuse"):
            source_for(prompt)
        from hfclient.types import Reply

        return jsonify(chat_completion(Reply(text="Hi", tool_calls=(CALL,), usage=events.Usage(1, 2, 3)), model=asked.model))
    form = functools.partial(ChatCompletionChunks, asked.model, include_usage=asked.include_usage)
    body = sse(lambda: source_for(prompt), format=form, wait=20, heartbeat=0.2)
    return Response(body, body.status, body.headers)  # type: ignore[arg-type]
