"""Every path and form of chat-ui's API: requests as values, compared without a network."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hfclient.chat.wire.endpoints import Endpoints
from hfclient.errors import InvalidInputError
from hfclient.transport import Clock, Multipart, Part, Request, Timeouts

BASE = "https://huggingface.co/chat"
ID = "6b010f31c065be6a00896989"
SHARE = "b0Goc_y"
AT = Endpoints(BASE + "/")
CLOCK = Clock(Timeouts(total=5))


def body(request: Request) -> Any:
    assert isinstance(request.body, bytes)
    assert request.headers["Content-Type"] == "application/json"
    return json.loads(request.body)


READS = [
    (AT.models(), "/api/v2/models"),
    (AT.model("meta-llama/Llama-3.3-70B-Instruct"), "/api/v2/models/meta-llama/Llama-3.3-70B-Instruct"),
    (AT.model("odd name?"), "/api/v2/models/odd%20name%3F"),
    (AT.user(), "/api/v2/user"),
    (AT.conversations(3), "/api/v2/conversations"),
    (AT.conversation(ID), f"/api/v2/conversations/{ID}"),
    (AT.conversation(SHARE), f"/api/v2/conversations/{SHARE}"),
    (AT.settings(), "/api/v2/user/settings"),
    (AT.features(), "/api/v2/feature-flags"),
    (AT.public_config(), "/api/v2/public-config"),
    (AT.mcp_servers(), "/api/mcp/servers"),
    (AT.health(), "/healthcheck"),
]


@pytest.mark.parametrize(("request_", "path"), READS, ids=[path for _, path in READS])
def test_reads(request_: Request, path: str) -> None:
    """Reads are GETs that may be retried, and accept JSON."""
    assert (request_.method, request_.url, request_.body) == ("GET", BASE + path, None)
    assert request_.headers["Accept"] == "application/json"
    assert request_.retryable
    assert not request_.follow_redirects
    assert request_.refine is AT.refine


def test_pages() -> None:
    """Pages are numbered from 0."""
    assert AT.conversations(0).params == {"p": 0}


WRITES: list[tuple[Request, str, str, Any]] = [
    (AT.create("m", None), "POST", "/conversation", {"model": "m"}),
    (AT.create("m", ""), "POST", "/conversation", {"model": "m", "preprompt": ""}),
    (AT.create("m", "p"), "POST", "/conversation", {"model": "m", "preprompt": "p"}),
    (
        AT.stop(ID, "g", 7, CLOCK),
        "POST", f"/conversation/{ID}/stop-generating", {"generationId": "g", "seenContentLength": 7},
    ),
    (
        AT.answer(ID, "e", "accept", {"seats": 2}),
        "POST", f"/conversation/{ID}/elicitation", {"elicitationId": "e", "action": "accept", "content": {"seats": 2}},
    ),
    (AT.answer(ID, "e", "decline", None), "POST", f"/conversation/{ID}/elicitation", {"elicitationId": "e", "action": "decline"}),
    (AT.rename(ID, "t"), "PATCH", f"/api/v2/conversations/{ID}", {"title": "t"}),
    (AT.set_model(ID, "m"), "PATCH", f"/api/v2/conversations/{ID}", {"model": "m"}),
    (AT.delete(ID), "DELETE", f"/api/v2/conversations/{ID}", None),
    (AT.delete_all(), "DELETE", "/api/v2/conversations", None),
    (AT.delete_message(ID, "a/b"), "DELETE", f"/api/v2/conversations/{ID}/message/a%2Fb", None),
    (AT.share(ID), "POST", f"/conversation/{ID}/share", None),
    (AT.import_share(SHARE), "POST", "/api/v2/conversations/import-share", {"shareId": SHARE}),
    (AT.write_settings({"activeModel": "m"}), "POST", "/api/v2/user/settings", {"activeModel": "m"}),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "method", "path", "data"), WRITES, ids=[f"{w[1]} {w[2]}" for w in WRITES])
def test_writes(request_: Request, method: str, path: str, data: Any) -> None:
    """Writes are not retried, have an Origin, and hold no nulls."""
    assert (request_.method, request_.url) == (method, BASE + path)
    assert (body(request_) if data is not None else request_.body) == data
    assert request_.headers["Origin"] == "https://huggingface.co"
    assert not request_.retryable
    assert not request_.stream


def test_a_send() -> None:
    """A send is a form: the JSON is a plain field, files follow it; the answer is a stream."""
    file = Part(name="files", content=b"x", filename="base64;a.txt", content_type="text/plain", as_base64=True)
    request = AT.send(ID, {"inputs": "hi😀", "id": "p"}, [file], CLOCK)
    assert (request.method, request.url, request.clock) == ("POST", f"{BASE}/conversation/{ID}", CLOCK)
    assert request.headers == {"Origin": "https://huggingface.co", "Accept": "application/json"}
    assert request.stream
    assert not request.retryable
    assert isinstance(request.body, Multipart)
    form = b"".join(request.body)
    first, second = form.split(b"--" + request.body.boundary.encode())[1:3]
    assert (
        first
        == b'\r\nContent-Disposition: form-data; name="data"\r\n\r\n' + '{"inputs":"hi😀","id":"p"}'.encode() + b"\r\n"
    )
    assert b'name="files"; filename="base64;a.txt"\r\nContent-Type: text/plain\r\n\r\neA==\r\n' in second


def test_the_log() -> None:
    """Reads of the log may be retried; they do not accept event streams alone, because errors would be pages."""
    request = AT.resume(ID, "g", 4, CLOCK)
    assert (request.method, request.url) == ("GET", f"{BASE}/conversation/{ID}/stream")
    assert request.params == {"generationId": "g", "fromSeq": 4}
    assert request.stream
    assert request.retryable
    assert "application/json" in request.headers["Accept"]


def test_files() -> None:
    """No file name of a server leads to a URL outside of the conversation."""
    assert AT.file_url(ID, "569f") == f"{BASE}/conversation/{ID}/output/569f"
    assert AT.file_url(SHARE, "../../x?y#z") == f"{BASE}/conversation/{SHARE}/output/..%2F..%2Fx%3Fy%23z"


BAD_IDS = [
    "",
    " ",
    "x",
    ID + "0",
    ID[:-1],
    ID[:-1] + "g",
    "../../etc",
    f"{ID}/x",
    f"{ID}?x",
    f"{ID}\n",
    "１２３４５６７８９０１２３４５６７８９０１２３４",
]


@pytest.mark.parametrize("id", [*BAD_IDS, SHARE])
def test_ids_that_cannot_be_written_to(id: str) -> None:
    """Only the id of an own conversation becomes a path for writes."""
    calls = [
        lambda: AT.send(id, {}, [], None),
        lambda: AT.stop(id, "g", 0, CLOCK),
        lambda: AT.resume(id, "g", 0, None),
        lambda: AT.answer(id, "e", "accept", None),
        lambda: AT.rename(id, "t"),
        lambda: AT.set_model(id, "m"),
        lambda: AT.delete(id),
        lambda: AT.delete_message(id, "m"),
        lambda: AT.share(id),
    ]
    for call in calls:
        with pytest.raises(InvalidInputError):
            call()


@pytest.mark.parametrize("id", BAD_IDS)
def test_ids_that_cannot_be_read(id: str) -> None:
    """Shares can be read; other text is not an id."""
    for call in (AT.conversation, lambda given: AT.file_url(given, "x")):
        with pytest.raises(InvalidInputError):
            call(id)


@pytest.mark.parametrize(
    ("base", "origin", "url"),
    [
        ("http://localhost:3000", "http://localhost:3000", "http://localhost:3000/api/v2/models"),
        ("http://localhost:3000///", "http://localhost:3000", "http://localhost:3000/api/v2/models"),
        ("https://HOST:443/x/", "https://host", "https://HOST:443/x/api/v2/models"),
        ("http://[::1]:80/x", "http://[::1]", "http://[::1]:80/x/api/v2/models"),
        ("http://user:pw@h/x", "http://h", "http://user:pw@h/x/api/v2/models"),
    ],
)
def test_bases(base: str, origin: str, url: str) -> None:
    """With and without a base path; the origin is the one that a browser would send."""
    at = Endpoints(base)
    assert (at.origin, at.models().url) == (origin, url)
    assert "pw" not in repr(at)


@pytest.mark.parametrize("value", ["half \ud83d", {"a": object()}, {object()}])
def test_values_that_json_cannot_hold(value: Any) -> None:
    """They are an InvalidInputError."""
    with pytest.raises(InvalidInputError, match="JSON"):
        AT.answer(ID, "e", "accept", {"x": value})
