"""Calls of the guard and of the Flask extension, as users write them."""

from __future__ import annotations

from flask import Flask, Response

from hfclient import Client
from hfclient.events import Usage
from hfclient.web import Allowance, Guard, RouterPrices, ndjson
from hfclient.web.flask import HFClient
from hfclient.web.relay import Relay, Run

client = Client()


def price(usage: Usage, model: str, provider: str | None) -> float | None:
    return usage.total_tokens * 0.001


guard = Guard("redis://localhost:6379/1", requests="20/minute", credits="0.50/day", total={"tokens": "1/day"}, price=price)
Guard(credits="1/day", price=RouterPrices(client.inference))
left: tuple[Allowance, ...] = guard.usage(7)
for event in guard.watch(lambda: client.chat("hi"), user="ann"):
    event.extra
with guard.admit("ann") as admission:
    admission.count(client.chat("hi").result())

app = Flask(__name__)
hf = HFClient(app)
relay: Relay = hf.relay


def ask() -> Response:
    prompt: str = hf.prompt()
    return hf.stream_response(hf.guard.watch(lambda: hf.client.chat(prompt), user=1, prompt=prompt), body=ndjson)


def start() -> Run:
    return hf.start("thread", hf.guard.watch(lambda: hf.client.inference.chat("hi"), user=1), owner=1)
