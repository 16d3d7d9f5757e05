"""`Client.last`: the last answer of each thread, without a stream that is kept alive."""

from __future__ import annotations

import gc
import os
import pickle
import threading
import weakref
from typing import Any

import pytest

from hfclient import Client, GenerationError
from hfclient.events import Token
from hfclient.types import Reply
from tests.chat.recordings import recording
from tests.chat.replay import JSONL, STARTED, ChatUI, final, lines, token, wait_until
from tests.server import UNTIL_GONE, Step, chunk, head


def begun(*updates: dict[str, Any]) -> list[Step]:
    """The beginning of an answer that does not end."""
    return [head(200, JSONL, "Transfer-Encoding: chunked"), chunk(lines(STARTED, *updates)), UNTIL_GONE]


def says(ui: ChatUI, text: str) -> None:
    ui.says(lines(STARTED, token(text), final(text)), stored={"content": text})


def test_a_whole_answer(ui: ChatUI, client: Client) -> None:
    """It is None first, then the reply of the last stream, also after that stream is gone."""
    assert client.last is None
    ui.says(recording("plain"))
    text = client.chat("Hi").text
    gc.collect()
    assert isinstance(client.last, Reply)
    assert client.last.text == text
    says(ui, "another")
    stream = client.chat("Hi")
    assert client.last.text == ""
    assert stream.result() == client.last


def test_a_partial_answer(ui: ChatUI, client: Client) -> None:
    """An answer that was left early stays as far as it has come, and is marked."""
    ui.says(b"", begun(token("half")))
    for event in client.chat("Hi"):
        if type(event) is Token:
            break
    assert client.last is not None
    assert (client.last.text, client.last.interrupted) == ("half", True)


def test_an_answer_that_failed(ui: ChatUI, client: Client) -> None:
    """After an error it is the partial answer of the error."""
    ui.says(lines(STARTED, token("half"), {"type": "status", "status": "error", "message": "no"}))
    with pytest.raises(GenerationError) as caught:
        client.chat("Hi").result()
    assert client.last is not None
    assert client.last.text == "half"
    assert client.last == caught.value.partial


def test_no_stream_is_kept(ui: ChatUI, client: Client) -> None:
    """A stream goes with its last reference; one that was not read is closed then, and its generation stopped."""
    says(ui, "text")
    ui.says(b"", begun(token("half")))
    stream = client.chat("Hi")
    stream.result()
    gone = weakref.ref(stream)
    del stream
    assert gone() is None
    assert client.last is not None
    assert client.last.text == "text"
    client.chat("Hi")
    wait_until(lambda: bool(ui.stops))
    assert client.last.text in ("", "half")


def test_each_thread_has_its_own(ui: ChatUI, client: Client) -> None:
    """Threads do not see each other's answers; a thread that reads a stream of another one has it, too."""
    says(ui, "mine")
    says(ui, "theirs")
    assert client.chat("Hi").text == "mine"
    seen: list[Any] = []

    def other() -> None:
        seen.append(client.last)
        seen.append(client.chat("Hi").text)
        seen.append(client.last)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen[0] is None
    assert seen[1] == seen[2].text == "theirs"
    assert client.last is not None
    assert client.last.text == "mine"

    stream = client.chat("Hi")
    reader = threading.Thread(target=lambda: seen.append((stream.text, client.last)))
    reader.start()
    reader.join()
    assert seen[-1][0] == seen[-1][1].text == client.last.text == "theirs"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork(ui: ChatUI, client: Client) -> None:
    """A forked child has the answer of the thread that forked, and its own later ones do not change the parent's."""
    says(ui, "before")
    client.chat("Hi").result()
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if client.last is not None and client.last.text == "before" else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert client.last is not None


def test_a_copy_has_none(ui: ChatUI, client: Client) -> None:
    """A pickled client is its configuration: it has no answer of the first one."""
    says(ui, "private words")
    client.chat("Hi").result()
    with Client(ui.url, token="", session="") as plain:
        plain.chat("Hi").result()
        data = pickle.dumps(plain)
    assert b"private words" not in data
    with pickle.loads(data) as again:
        assert again.last is None
        assert again.chat("Hi").text == again.last.text == "private words"


def test_what_print_shows(ui: ChatUI, client: Client) -> None:
    """str() of a stream says what to do and reads nothing; its repr stays short."""
    says(ui, "text")
    stream = client.chat("Hi")
    assert str(stream) == "<ChatStream open>: show() shows the answer as it comes, .text is the whole of it"
    assert stream.partial.text == ""
    assert stream.text == "text"
    assert str(stream) == "<ChatStream done>: result() has the answer"
    assert repr(stream) == "<ChatStream done>"
    stream = client.chat("Hi")
    stream.close()
    assert str(stream) == "<ChatStream closed>: what has come is in .partial"
