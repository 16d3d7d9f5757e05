"""Any data from a server or a stored file gives a result or an hfclient error.

These tests make whole calls over a transport that answers all requests with the same bytes in any chunks. The tests of the
decoders are next to this file.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfclient import Client, errors, events
from hfclient.chat.conversations import resume, run, run_tracker
from hfclient.chat.conversations import stream as chat_stream
from hfclient.credentials.cookie_files import read_cookie_file
from hfclient.credentials.saved_logins import LoginStore
from hfclient.credentials.tokens import find_token
from hfclient.transport import Deadline, Request, Response, Retry, Timeouts
from hfclient.transport.content_encoding import decoded
from hfclient.transport.response import Headers
from hfclient.types import Reply

ID = f"{1:024x}"
QUICK = Timeouts(connect=1, first_token=0.03, idle=0.03, total=0.5)

_settings = settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)

KEYS = st.sampled_from(
    "json meta values conversations hasMore id title model updatedAt messages rootMessageId from content updates children "
    "ancestors files createdAt generationId interrupted type status token conversation conversationId data error message "
    "embedding index choices delta text score label word url user email settings name providers score_threshold chunks "
    "shared running ended object owned_by start end box mask answer coordinates generated_text loginEnabled 0 1".split()
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from(["user", "assistant", "stream", "finalAnswer", "2026-11-21T00:00:00.000Z", ID, "\ud83d", "data:,a"])
    | st.text(max_size=5)
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=14)
DOCUMENTS = st.one_of(
    VALUES.map(lambda value: json.dumps(value).encode()),
    VALUES.map(lambda value: json.dumps({"json": value}).encode()),
    st.lists(VALUES, max_size=4).map(lambda values: b"".join(json.dumps(value).encode() + b"\n" for value in values)),
    st.lists(st.tuples(st.sampled_from(["update", "sync", "end", "idle"]), VALUES), max_size=4).map(
        lambda frames: b"".join(
            b"id: %d\nevent: %b\ndata: %b\n\n" % (number, name.encode(), json.dumps(value).encode())
            for number, (name, value) in enumerate(frames)
        )
    ),
    st.binary(max_size=80),
    st.just(b"<html></html>"),
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            ["Content-Type", "Content-Length", "Content-Encoding", "Set-Cookie", "Retry-After", "Location", "Link", "X-Request-Id"]
        ),
        st.sampled_from(
            [
                "application/json",
                "text/event-stream",
                "application/jsonl",
                "text/html",
                "image/png",
                "gzip",
                "deflate",
                "9999999999999999999999",
                "hf-chat=x; Path=/; Expires=never; Max-Age=x",
                '<http://h/?p=2>; rel="next"',
                "http://[",
                "//x",
            ]
        )
        | st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=12),
    ),
    max_size=4,
)


class Chunks:
    """A body in chunks."""

    def __init__(self, data: bytes, cuts: list[int]) -> None:
        places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
        self._pieces = iter([data[start:end] for start, end in itertools.pairwise(places)])

    def read_some(self) -> bytes:
        return next(self._pieces, b"")

    def close(self) -> None:
        """Do nothing."""

    abort = close


class Canned:
    """A transport with one answer for all requests."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes, cuts: list[int]) -> None:
        self.status, self.headers, self.body, self.cuts = status, Headers(headers), body, cuts
        self.asked = 0

    def open(self, request: Request, headers: Mapping[str, str], deadline: Deadline) -> Response:
        self.asked += 1
        assert self.asked < 500, "this goes on for ever"
        body = decoded(Chunks(self.body, self.cuts), self.headers)
        return Response(self.status, self.headers, body, method=request.method, url=request.url, deadline=deadline)

    def close(self) -> None:
        """Do nothing."""


CALLS: dict[str, Callable[[Client], Any]] = {
    "conversations": lambda client: client.conversations.list(),
    "get": lambda client: client.conversations.get(ID),
    "live": lambda client: client.conversations.running(),
    "watch": lambda client: list(client.conversations.watch()),
    "delete_all": lambda client: client.conversations.delete_all(),
    "import": lambda client: client.conversations.import_share("abcdefg"),
    "models": lambda client: client.models.list(),
    "model": lambda client: client.models.get("m", details=True),
    "settings": lambda client: client.settings.get(),
    "features": lambda client: (client.server.features(), client.server.config(), client.server.mcp_servers()),
    "ping": lambda client: client.ping(),
    "whoami": lambda client: client.whoami(),
    "create": lambda client: client.conversation().create(),
    "messages": lambda client: client.conversation(ID).messages(),
    "tree": lambda client: client.conversation(ID).tree(),
    "share": lambda client: client.conversation(ID).share(),
    "download": lambda client: client.conversation(ID).read_file("abc"),
    "send": lambda client: client.restore({"version": 1, "id": ID, "leaf": "x"}).send("Hi", timeouts=QUICK).result(),
    "attach": lambda client: client.conversation(ID).attach("g", timeouts=QUICK).result(),
    "chat": lambda client: client.inference.chat("Hi", model="m").result(),
    "text": lambda client: client.inference.text("Hi", model="m").result(),
    "parse": lambda client: client.inference.parse("Hi", into=dict, model="m", timeouts=QUICK),
    "embed": lambda client: client.inference.embed(["Hi"], model="m"),
    "rerank": lambda client: client.inference.rerank("Hi", ["a", "b"], model="m"),
    "image": lambda client: client.inference.image("Hi", model="m", timeouts=QUICK),
    "speak": lambda client: client.inference.speak("Hi", model="m"),
    "transcribe": lambda client: client.inference.transcribe(b"RIFF\0\0\0\0WAVE", model="m"),
    "served": lambda client: client.inference.models(),
    "hub": lambda client: list(client.inference.models(search="x", limit=3)),
    "card": lambda client: client.inference.model("a/b"),
}
for _task in (
    "text-classification",
    "token-classification",
    "fill-mask",
    "summarization",
    "translation",
    "feature-extraction",
):
    CALLS[_task] = lambda client, task=_task: client.inference.task(task, "Hi", model="a/b", provider="hf-inference")  # type: ignore[misc]


@pytest.fixture(autouse=True, scope="module")
def _no_pauses() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resume, "_POLL", 0.0)
        patch.setattr(resume, "_MAX_PAUSE", 0.0)
        patch.setattr(run, "_FIRST_PAUSE", 0.001)
        patch.setattr(run_tracker, "_POLL", 0.001)
        patch.setattr(run_tracker, "_PAUSE", 0.001)
        patch.setattr(chat_stream, "_SILENCE", 0.0)
        yield


@pytest.mark.parametrize("name", CALLS)
@_settings
@given(
    status=st.sampled_from([200, 200, 200, 200, 201, 204, 302, 400, 404, 429, 500, 503, 999]),
    headers=HEADERS,
    body=DOCUMENTS,
    cuts=st.lists(st.integers(0, 500), max_size=4),
)
def test_any_answer(name: str, status: int, headers: list[tuple[str, str]], body: bytes, cuts: list[int]) -> None:
    """Any status, headers and body in any chunks are a result or an hfclient error, and the call ends."""
    transport = Canned(status, headers, body, cuts)
    urls = {"inference_url": "http://i.invalid", "hub_url": "http://h.invalid"}
    client = Client("http://c.invalid", token="hf_x", transport=transport, timeouts=QUICK, retry=Retry(attempts=1, resume=0), **urls)
    with contextlib.suppress(errors.HFClientError):
        CALLS[name](client)


@_settings
@given(st.binary(max_size=400), st.sampled_from(["gzip", "deflate", "x-gzip"]), st.lists(st.integers(0, 500), max_size=6))
def test_any_compressed_bytes(data: bytes, coding: str, cuts: list[int]) -> None:
    """Compressed data is decoded for any chunks; a part of it, or any other data, is an error or empty."""

    def read(packed: bytes) -> bytes:
        body = decoded(Chunks(packed, cuts), Headers([("Content-Encoding", coding)]))
        return b"".join(iter(body.read_some, b""))

    packed = zlib.compress(data) if coding == "deflate" else gzip.compress(data)
    assert read(packed) == data
    for cut in cuts:
        if 0 < cut < len(packed):
            with pytest.raises(errors.ConnectError):
                read(packed[:cut])
    with contextlib.suppress(errors.ProtocolError, errors.ConnectError):
        read(data)


@_settings
@given(
    st.dictionaries(st.sampled_from(["version", "id", "model", "leaf", "generation_id", "parent_id", "x"]), VALUES)
    | st.fixed_dictionaries({"version": st.just(1)}, optional={"id": VALUES, "model": VALUES, "leaf": VALUES, "generation_id": VALUES})
    | VALUES
)
def test_any_state(state: Any) -> None:
    """An invalid state of a conversation or a job is an hfclient error; a valid one can be used."""
    client = Client("http://c.invalid", token="", transport=Canned(404, [], b"", []), inference_url="http://i.invalid")
    with contextlib.suppress(errors.HFClientError):
        conversation = client.restore(state)
        repr(conversation)
        json.dumps(conversation.to_dict())
        conversation.messages()
    with contextlib.suppress(errors.HFClientError):
        client.inference.restore_job(state)


STORED = st.fixed_dictionaries(
    {},
    optional={
        "event": st.sampled_from(["Token", "FinalAnswer", "Usage", "ToolCall", "File", "Sources", "Nothing"]) | VALUES,
        "error": st.sampled_from(["HFClientError", "RateLimitError", "StreamInterrupted", "Nothing"]) | VALUES,
        **dict.fromkeys(
            "text message partial status extra sources files usage id args title".split(), VALUES
        ),
    },
)


@_settings
@given(STORED)
def test_any_stored_value(data: dict[str, Any]) -> None:
    """A stored event, error or reply with any changes is a value again or a `ValueError`."""
    for again in (events.from_dict, errors.from_dict, Reply.from_dict):
        with contextlib.suppress(errors.HFClientError, ValueError):
            again(json.loads(json.dumps(data)))


@_settings
@given(st.binary(max_size=200) | DOCUMENTS | st.lists(VALUES, max_size=3).map(lambda value: json.dumps(value).encode()))
def test_any_file(tmp_path: Path, content: bytes) -> None:
    """A saved login, a token and an export of cookies may have any bytes."""
    path = tmp_path / "file"
    path.write_bytes(content)
    path.chmod(0o600)
    with contextlib.suppress(errors.HFClientError):
        LoginStore(path).get("https://huggingface.co/chat")
    with contextlib.suppress(errors.HFClientError):
        find_token(None, {"HF_TOKEN_PATH": str(path)})
    with contextlib.suppress(errors.HFClientError):
        read_cookie_file(path)
    with contextlib.suppress(errors.HFClientError):
        Client("http://c.invalid", token="", cookies=f"{path}")
