"""Images in chats over real HTTP."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hfclient.credentials import Credentials
from hfclient.errors import InvalidInputError, RequestTooLargeError
from hfclient.inference import InferenceClient
from hfclient.transport import Session
from hfclient.transport.requests_transport import RequestsTransport
from tests.inference.answers import CHAT, call, calls, says
from tests.server import Server, json_answer


@pytest.fixture
def client(server: Server) -> Iterator[InferenceClient]:
    """A client of the test's server."""
    transport = RequestsTransport()
    yield InferenceClient(Session(transport, Credentials()), base_url=server.url)
    transport.close()


def test_image_of_20_mb(server: Server, client: InferenceClient, tmp_path: Path) -> None:
    """An image of 20 MB arrives byte by byte as it was."""
    content = b"\x89PNG\r\n\x1a\n" + os.urandom(20 * 1024 * 1024)
    path = tmp_path / "large.png"
    path.write_bytes(content)
    server.on(CHAT, says("Noise."))
    assert client.chat("What is this?", model="m", images=[path]).text == "Noise."
    (message,) = server.last.json()["messages"]
    assert message["content"][0] == {"type": "text", "text": "What is this?"}
    head, _, data = message["content"][1]["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(data) == content


@pytest.mark.parametrize("name", ["images", "files"])
def test_single_attachment(server: Server, client: InferenceClient, tmp_path: Path, name: str) -> None:
    """A single image or file of any kind needs no list: a path, bytes, a data URL."""
    content = b"GIF89a" + b"\0" * 20
    path = tmp_path / "a.gif"
    path.write_bytes(content)
    url = "data:image/gif;base64," + base64.b64encode(content).decode()
    server.on(CHAT, says("Noise."))
    for source in (path, str(path), content, url, ("a.gif", content)):
        assert client.chat("x", model="m", **{name: source}).text == "Noise."
        assert server.last.json()["messages"][0]["content"][1]["image_url"]["url"] == url


def test_invalid_attachments(server: Server, client: InferenceClient) -> None:
    """An invalid file raises before a request is sent."""
    with pytest.raises(InvalidInputError):
        client.chat("x", model="m", images=["https://h/a.png", b"not an image"])
    assert server.requests == []


def test_too_large_for_the_server(server: Server, client: InferenceClient) -> None:
    """A server with a lower limit answers 413."""
    server.on(CHAT, json_answer({"error": "length limit exceeded"}, 413))
    with pytest.raises(RequestTooLargeError, match="length limit"):
        client.chat("x", model="m", images=["https://h/a.png"])


def test_image_in_every_round(server: Server, client: InferenceClient, tmp_path: Path) -> None:
    """With tools, the image is in the user message in each round, even if it came from an open file."""
    path = tmp_path / "a.gif"
    path.write_bytes(b"GIF89a" + b"\0" * 20)

    def look() -> str:
        """Look."""
        return "seen"

    server.on(CHAT, calls(call("look", id="c1")), says("Done."))
    with path.open("rb") as file:
        run = client.run_tools("x", [look], model="m", images=[file])
        assert run.result().text == "Done."
    assert run.messages[0]["content"][1]["type"] == "image_url"
    first, second = (request.json()["messages"] for request in server.requests)
    assert [part["type"] for part in second[0]["content"]] == ["text", "image_url"]
    assert first[0] == second[0]


def test_repair_keeps_the_image(server: Server, client: InferenceClient) -> None:
    """A repair keeps the image in the first user message."""
    server.on(CHAT, says("no object"), says('{"value": 3}'))
    assert client.parse("How many?", into=int, model="m", images=["https://h/a.png"]) == 3
    contents = [message["content"] for message in server.last.json()["messages"] if message["role"] == "user"]
    assert [isinstance(content, list) for content in contents] == [True, False]
