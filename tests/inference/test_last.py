"""`Client.last` for inference: every kind of stream, with ticks and without."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest

import hfclient
from hfclient import Client, ParseError
from hfclient.events import Token
from tests.inference.answers import CHAT, begun, call, calls, delta, says
from tests.server import UNTIL_GONE, Script, Server


@attrs.define
class City:
    """A city."""

    name: str


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """A client whose inference goes to the server."""
    with Client(server.url, token="", session="", inference_url=f"{server.url}/v1") as client:
        yield client


def plays(server: Server, *scripts: Script) -> None:
    server.on(CHAT, *scripts)


def last(client: Client) -> Any:
    assert client.last is not None
    return client.last


def test_chat(server: Server, client: Client) -> None:
    """An answer, complete or left early: then it is marked."""
    plays(server, says("Hello"), [*begun(delta(content="half")), UNTIL_GONE])
    assert client.inference.chat("Hi", model="m").text == last(client).text == "Hello"
    assert not last(client).interrupted
    for event in client.inference.chat("Hi", model="m"):
        if type(event) is Token:
            break
    assert (last(client).text, last(client).interrupted) == ("half", True)


def test_another_server(server: Server, client: Client) -> None:
    """Clients of other servers that a client makes have the same last answer."""
    plays(server, says("Hello"))
    assert client.inference.at(f"{server.url}/v1").chat("Hi", model="m").text == last(client).text


def test_tools(server: Server, client: Client) -> None:
    """A run with tools: the answer of the last round, with the calls."""

    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    plays(server, calls(call("add", {"a": 1, "b": 2})), says("3"))
    reply = client.inference.run_tools("1 + 2", [add], model="m").result()
    assert reply == last(client)
    assert last(client).tool_calls


def test_parse(server: Server, client: Client) -> None:
    """An object: the reply that it was read from, also if it could not be read, and with ticks."""
    plays(server, says('{"name": "Paris"}'))
    assert client.inference.parse("?", into=City, model="m") == City("Paris")
    assert last(client).text == '{"name": "Paris"}'
    plays(server, says("first"), says("second"))
    with pytest.raises(ParseError):
        list(client.inference.parse_stream("?", into=City, model="m").ticks(5))
    assert last(client).text == "second"


def test_opened_in_a_helper_thread(server: Server, client: Client) -> None:
    """A stream that `hfclient.ticks` opens is the reader's last one."""
    plays(server, says("Hello"))
    list(hfclient.ticks(lambda: client.inference.chat("Hi", model="m"), 5))
    assert last(client).text == "Hello"
