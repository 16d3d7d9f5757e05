"""Memory that a server can make the client use has a limit, and the error names it; for both transports."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3

from hfclient import Client, Limits
from hfclient.errors import HFClientError, InvalidInputError, ProtocolError
from hfclient.transport import Request, Transport
from tests.server import CLOSE, UNTIL_GONE, Recorded, Server, Step, chunk, delimited, head, json_answer, plain
from tests.wire.helpers import session_for

MIB = 1024 * 1024
ID = "65a000000000000000000001"
SMALL = Limits(line=20_000, stream=4 * MIB, body=50_000, file=80_000)


def _client(server: Server, transport: Transport, limits: Limits = SMALL) -> Client:
    return Client(
        f"{server.url}/chat",
        token="t",
        cookies={"hf-chat": "c"},
        transport=transport,
        inference_url=f"{server.url}/v1",
        hub_url=server.url,
        limits=limits,
    )


def _forever(piece: bytes, first: bytes = b"") -> Callable[[Recorded], bytes]:
    """A step that sends 8 MiB: more than the limits here, and more than the buffers of two sockets."""
    return lambda request: first + piece * (8 * MIB // len(piece))


def test_the_limits_themselves() -> None:
    """The limits are generous, match the documentation, and invalid ones are refused."""
    assert Limits() == Limits(line=64 * MIB, stream=512 * MIB, body=64 * MIB, file=1024 * MIB)
    for wrong in (0, -1, True, 1.5, "1", None):
        with pytest.raises(InvalidInputError, match=r"Limits\.line must be a positive number of bytes"):
            Limits(line=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "start",
    [b'{"type":"stream","token":"', b'{"type":"finalAnswer","text":"'],
    ids=["token", "final answer"],
)
def test_a_line_of_a_chat(server: Server, transport: Transport, start: bytes) -> None:
    """A line without an end is refused at ``Limits.line``; the content before it is kept, and the run is stopped."""
    server.on("/chat/api/v2/models", json_answer({"json": [{"id": "m", "name": "m"}]}))
    server.on("/chat/conversation", json_answer({"conversationId": ID}))
    server.on(f"/chat/api/v2/conversations/{ID}", json_answer(_conversation()))
    before = b'{"type":"stream","token":"so far"}\n'
    steps: list[Step] = [head(200, "Connection: close"), before + start, _forever(b"x" * 1024), UNTIL_GONE]
    server.on(f"/chat/conversation/{ID}", steps)
    server.on("*", plain(b""))
    with (
        _client(server, transport) as client,
        pytest.raises(ProtocolError, match=r"a line of more than 20,000 bytes \(Limits.line\)") as caught,
    ):
        client.chat("hi", model="m").result()
    assert caught.value.partial is not None
    assert caught.value.partial.text == "so far"
    assert caught.value.frame is not None
    assert len(caught.value.frame) <= 200


def _conversation() -> Any:
    root = {"id": "11111111-1111-4111-8111-111111111111", "from": "system", "content": "", "children": []}
    return {"json": {"id": ID, "title": "t", "model": "m", "messages": [root], "rootMessageId": root["id"]}}


@pytest.mark.parametrize(
    "piece", [b"x" * 1024, b"data: x\n" * 128, b"data: x\r\n" * 128], ids=["one line", "many lines", "CRLF"]
)
def test_a_server_sent_event(server: Server, transport: Transport, piece: bytes) -> None:
    """An event has the same limit, in one line or in many."""
    steps: list[Step] = [head(200, "Connection: close", "Content-Type: text/event-stream")]
    steps += [b'data: {"choices":[{"delta":{"content":"so far"}}]}\n\ndata: ', _forever(piece), UNTIL_GONE]
    server.on("/v1/chat/completions", steps)
    with (
        _client(server, transport) as client,
        pytest.raises(ProtocolError, match=r"an event of more than 20,000 bytes \(Limits.line\)") as caught,
    ):
        client.inference.chat("hi", model="m").result()
    assert caught.value.partial is not None
    assert caught.value.partial.text == "so far"


def test_an_endless_answer(server: Server, transport: Transport) -> None:
    """All events of one answer have a limit: an endless text is not collected forever."""
    steps: list[Step] = [head(200, "Connection: close", "Content-Type: text/event-stream")]
    steps += [_forever(b'data: {"choices":[{"delta":{"content":"on and on"}}]}\n\n'), UNTIL_GONE]
    server.on("/v1/chat/completions", steps)
    with (
        _client(server, transport) as client,
        pytest.raises(ProtocolError, match=r"longer than 4,194,304 bytes \(Limits.stream\)") as caught,
    ):
        client.inference.chat("hi", model="m").result()
    assert caught.value.partial is not None
    assert caught.value.partial.text.startswith("on and onon and on")


@pytest.mark.parametrize("path", ["chat", "stream"])
def test_a_content_length_of_four_gigabytes(server: Server, transport: Transport, path: str) -> None:
    """An answer with a Content-Length above its limit is refused before its body is read."""
    server.on("*", [head(200, "Content-Length: 4294967296", "Content-Type: application/json"), UNTIL_GONE])
    with (
        _client(server, transport, Limits()) as client,
        pytest.raises(ProtocolError, match=r"promises 4,294,967,296 bytes, more than .*\(Limits\.(body|stream)\)"),
    ):
        client.whoami() if path == "chat" else client.inference.chat("hi", model="m").result()


def test_invalid_content_lengths(transport: Transport, server: Server) -> None:
    """A Content-Length with five thousand digits, or without digits, is at most an hfclient error."""
    session = session_for(transport)
    for length in ("9" * 5000, "-5", "x", "1e9"):
        server.on("/s", [head(200, f"Content-Length: {length}", "Connection: close"), b"ok", CLOSE])
        with contextlib.suppress(HFClientError):
            session.send(Request.read(f"{server.url}/s")).read_at_most(2)


def test_json(server: Server, transport: Transport) -> None:
    """A JSON answer without an end is refused at ``Limits.body``."""
    server.on("*", delimited(b'["', _forever(b"y" * 1024), headers=["Content-Type: application/json"]))
    with _client(server, transport) as client:
        for call in (client.whoami, lambda: next(iter(client.inference.models(search="x")))):
            with pytest.raises(ProtocolError, match=r"longer than 50,000 bytes \(Limits.body\)"):
                call()


def test_a_document_instead_of_a_stream(server: Server, transport: Transport) -> None:
    """A document in place of a stream has a limit, too."""
    server.on("*", delimited(b'{"a":"', _forever(b"y" * 1024), headers=["Content-Type: application/json"]))
    with (
        _client(server, transport) as client,
        pytest.raises(ProtocolError, match=r"longer than 50,000 bytes \(Limits.body\)"),
    ):
        client.inference.chat("hi", model="m").result()


def test_a_file_in_memory(server: Server, transport: Transport, tmp_path: Path) -> None:
    """A file has a limit if it is returned as bytes, and no limit if it is saved."""
    server.on(f"/chat/conversation/{ID}/output/abc", delimited(b"z" * 200_000))
    with _client(server, transport) as client:
        conversation = client.conversation(ID)
        with pytest.raises(ProtocolError, match=r"longer than 80,000 bytes \(Limits.file\)"):
            conversation.read_file("abc")
        saved = conversation.download("abc", tmp_path / "file")
    assert (tmp_path / "file").stat().st_size == 200_000
    assert saved == tmp_path / "file"


def test_an_image(server: Server, transport: Transport) -> None:
    """A result, in an answer or behind a link, is at most ``Limits.file`` long."""
    server.on("*", delimited(b"\x89PNG\r\n\x1a\n", _forever(b"\0" * 1024), headers=["Content-Type: image/png"]))
    with (
        _client(server, transport) as client,
        pytest.raises(ProtocolError, match=r"longer than 80,000 bytes \(Limits.file\)"),
    ):
        client.inference.image("a fox", model="m", provider="hf-inference")


def test_an_error_page(transport: Transport, server: Server) -> None:
    """Of an error's body, only the start is read."""
    server.on("/s", [head(500, "Connection: close"), _forever(b"w" * 1024), UNTIL_GONE])
    with pytest.raises(HFClientError) as caught:
        session_for(transport).send(Request.read(f"{server.url}/s"))
    assert len(str(caught.value)) < 1000
    assert len(caught.value.body) <= 2000  # type: ignore[attr-defined]


def _gzip_bomb() -> bytes:
    packer = zlib.compressobj(wbits=31)
    nothing = bytes(MIB)
    return b"".join(packer.compress(nothing) for _ in range(256)) + packer.flush()


def _zstd_bomb() -> bytes:
    """A frame of RFC 8878 with 128 KiB in each block of four bytes."""
    size = 128 * 1024
    block, last = ((size << 3 | 2 | flag).to_bytes(3, "little") + b"\0" for flag in (0, 1))
    return b"\x28\xb5\x2f\xfd\x00\x38" + block * 2047 + last


@pytest.mark.parametrize(("encoding", "bomb"), [("gzip", _gzip_bomb()), ("zstd", _zstd_bomb())], ids=["gzip", "zstd"])
def test_a_decompression_bomb(transport_name: str, transport: Transport, server: Server, encoding: str, bomb: bytes) -> None:
    """A few kilobytes that decompress to 256 MiB are refused long before that."""
    server.on("/s", plain(bomb, 200, f"Content-Encoding: {encoding}"))
    response = session_for(transport).send(Request(method="GET", url=f"{server.url}/s"))
    chunks = response.chunks("body")
    largest = total = 0
    if (transport_name, encoding) == ("plain", "zstd") and "zstd" not in urllib3.util.request.ACCEPT_ENCODING:
        expected: Any = contextlib.nullcontext()  # it cannot decode this, and never requests it
    else:
        expected = pytest.raises(ProtocolError, match=r"decompresses to more than|\(Limits\.body\)")
    with expected:
        for data in chunks:
            largest, total = max(largest, len(data)), total + len(data)
    response.close()
    assert largest <= 32 * MIB
    assert total <= 96 * MIB


def test_well_compressed_data_is_not_a_bomb(transport: Transport, server: Server) -> None:
    """Ten megabytes of repetitive data are decompressed."""
    text = b"".join(b'{"id": %d, "name": "much the same", "tags": []}\n' % number for number in range(200_000))
    packer = zlib.compressobj(wbits=31)
    server.on("/s", plain(packer.compress(text) + packer.flush(), 200, "Content-Encoding: gzip"))
    assert session_for(transport).send(Request.read(f"{server.url}/s")).read() == text


@pytest.mark.parametrize(
    "first",
    [
        head(200, *(f"X-{number}: {'b' * 60_000}" for number in range(20)), "Content-Length: 0"),
        head(103, f"Link: {'x' * 1000}") * 2000 + plain(b"ok"),
        b"HTTP/1.1 200 OK\r\n" + b"X" * 2_000_000,
    ],
    ids=["large lines", "early hints without end", "one line without end"],
)
def test_headers(transport: Transport, server: Server, first: bytes) -> None:
    """The headers of an answer have a limit, including those of informational answers."""
    server.on("/s", [first, UNTIL_GONE])
    with pytest.raises(ProtocolError, match="the answer's headers are too large"):
        session_for(transport).send(Request.read(f"{server.url}/s"))


def test_trailers(transport: Transport, server: Server) -> None:
    """The trailers have a limit."""
    steps: list[Step] = [
        head(200, "Transfer-Encoding: chunked"),
        chunk(b"ok") + b"0\r\n",
        _forever(b"X-A: b\r\n"),
        UNTIL_GONE,
    ]
    server.on("/s", steps)
    with pytest.raises(HFClientError):
        session_for(transport).send(Request.read(f"{server.url}/s")).read()


def test_pages(transport: Transport, server: Server) -> None:
    """A list whose pages are empty and always have a next page ends."""
    server.on("/api/models", [lambda request: _page(f"{server.url}/api/models?c={len(server.requests)}")])
    with _client(server, transport) as client, pytest.raises(ProtocolError, match="repeats its pages"):
        list(client.inference.models(search="x"))
    assert len(server.requests) <= 20


def _page(following: str) -> bytes:
    return json_answer([{"id": "org/always-the-same"}], 200, f'Link: <{following}>; rel="next"')


@pytest.mark.parametrize("follow", [False, True])
def test_redirects(transport: Transport, server: Server, follow: bool) -> None:
    """After five redirects the call fails."""
    server.on("*", head(307, "Location: /again", "Content-Length: 0"))
    with pytest.raises(HFClientError, match="more than 5 redirects"):
        session_for(transport).send(Request(method="GET", url=f"{server.url}/s", follow_redirects=follow))
    assert len(server.requests) == 5
