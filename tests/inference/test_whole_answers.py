"""A plain answer that comes in one piece is read without decoders; it is the same `Reply` as one that comes in pieces."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hfclient import Client
from hfclient.errors import ConnectError, StreamInterrupted
from tests.server import CLOSE, Server, chunked, head, json_answer
from tests.unit.test_inference_plain_answers import OTHERS, PLAIN

PATH = "/v1/chat/completions"
HEADERS = ("x-request-id: r-1", "x-inference-provider: groq", "x-router-route: r")
TRANSPORTS = pytest.mark.parametrize("batch", [False, True])


def ask(server: Server, batch: bool) -> Any:
    """Return the answer to one question, or its error."""
    with Client(server.url, token="", cookies="", session="", inference_url=f"{server.url}/v1") as client:
        if batch:
            return client.inference.map(["a"], model="m", patience=0).results()[0]
        return client.inference.ask("a", model="m")


@TRANSPORTS
@pytest.mark.parametrize("answer", PLAIN)
@pytest.mark.parametrize("headers", [(), HEADERS])
def test_one_piece_and_several(server: Server, answer: dict[str, Any], headers: tuple[str, ...], batch: bool) -> None:
    """The whole answer with its length, and the same one in chunks, give equal replies."""
    body = json.dumps(answer).encode()
    server.on(PATH, json_answer(answer, 200, *headers), chunked(body[:20], body[20:], headers=headers))
    one, other = ask(server, batch), ask(server, batch)
    if batch:
        one, other = one.get(), other.get()
    assert one == other
    assert one.text == answer["choices"][0]["message"]["content"]


@pytest.mark.parametrize("answer", [OTHERS[0], OTHERS[3], OTHERS[5], OTHERS[6], OTHERS[10], OTHERS[-1]])
def test_other_answers_in_one_piece(server: Server, answer: dict[str, Any]) -> None:
    """An answer that is not plain is read by the decoders, in one piece and in chunks."""
    body = json.dumps(answer).encode()
    found = []
    for script in (json_answer(answer), chunked(body[:20], body[20:])):
        server.on(PATH, script)
        try:
            found.append(repr(ask(server, batch=False)))
        except StreamInterrupted as error:
            found.append(repr(error))
    assert found[0] == found[1]


@TRANSPORTS
def test_an_answer_that_breaks_off(server: Server, batch: bool) -> None:
    """An answer that is shorter than its Content-Length is an error of the connection."""
    body = json.dumps(PLAIN[0]).encode()
    server.on(PATH, [head(200, f"Content-Length: {len(body)}"), body[:-9], CLOSE])
    if batch:
        result = ask(server, batch)
        assert not result.ok
        assert isinstance(result.error, (StreamInterrupted, ConnectError))
        return
    with pytest.raises((StreamInterrupted, ConnectError)):
        ask(server, batch)


@pytest.mark.parametrize("transport", ["requests", "curl_cffi"])
def test_the_connection_is_used_again(server: Server, transport: str) -> None:
    """Reading an answer at once leaves its connection open for the next request."""
    if transport == "curl_cffi":
        pytest.importorskip("curl_cffi")
    server.on(PATH, json_answer(PLAIN[0]))
    with Client(server.url, token="", cookies="", session="", inference_url=f"{server.url}/v1", transport=transport) as client:
        for _ in range(3):
            assert client.inference.ask("a", model="m").text
    assert {request.connection for request in server.requests} == {1}
