"""Files in messages, over real HTTP: which files are sent with which turn, and which ones the conversation holds already."""

from __future__ import annotations

import base64
from email.parser import BytesParser
from email.policy import HTTP

import pytest

from hfclient import Client
from hfclient.errors import InvalidInputError
from hfclient.types import StoredFile
from tests.chat.recordings import recording
from tests.chat.replay import ChatUI
from tests.server import Recorded

HELLO = "Hello, world!"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


@pytest.fixture(autouse=True)
def _says_hello(ui: ChatUI) -> None:
    ui.says(recording("plain"))


def uploads(request: Recorded) -> list[tuple[str, bytes]]:
    """The files of a form: their names and contents."""
    parts = BytesParser(policy=HTTP).parsebytes(
        b"Content-Type: " + request.headers["content-type"].encode() + b"\r\n\r\n" + request.body
    )
    found = [(part.get_filename() or "", part.get_payload(decode=True)) for part in parts.iter_parts()]
    return [(name, base64.b64decode(data) if name.startswith("base64;") else data) for name, data in found if name]


def test_files_in_messages(ui: ChatUI, any_client: Client) -> None:
    """A new conversation gets the files of all its turns, an existing one those of the question; *files* come last."""
    turns = [
        {"role": "user", "content": "one", "image": ("1.png", PNG)},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": ["three", ("3.png", PNG)]},
    ]
    conversation = any_client.conversation(model="org/second")
    for expected in (["1.png", "3.png", "5.txt"], ["3.png", "5.txt"]):
        assert conversation.ask(turns, files=("5.txt", b"five")).text == HELLO
        sent = uploads(ui.of("send")[-1])
        assert [name for name, _ in sent] == ["base64;" + name for name in expected]
        assert sent[-1][1] == b"five"


def test_files_that_the_conversation_has(ui: ChatUI, client: Client) -> None:
    """They are referenced in the form of the same conversation; another conversation does not have them."""
    stored = StoredFile("note.txt", "text/plain", "569f" * 16)
    with pytest.raises(InvalidInputError, match="another conversation"):
        client.chat("Hi", files=stored)
    assert ui.connections == 0
    conversation = client.conversation()
    conversation.ask("Hi")
    assert conversation.ask("Again", files=stored).text == HELLO
    assert uploads(ui.of("send")[-1]) == [("hash;note.txt", stored.sha.encode())]
