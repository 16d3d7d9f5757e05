"""Received text cannot control a terminal, forge lines of a log or hide characters in an error."""

from __future__ import annotations

import io
import json
import logging
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

import hfclient
from hfclient import Client, HFClientError, Retry, errors
from hfclient.chat.wire.messages import parse_conversation
from hfclient.chat.wire.tree import MessageTree
from hfclient.redaction.control_characters import escaped, one_line, stripped
from tests.server import Server, chunked, json_answer, plain

FORGED = "2026-11-28 CRITICAL root logged in"
EVIL = f"evil\n{FORGED}\x1b[2J\r{FORGED}\x9b31m\x85{FORGED}\u2028{FORGED}\u202egpj\u2066\u200b\x07\x08\udcff"
ID = "65a000000000000000000001"


def _is_clean(text: str) -> None:
    """No line begins with forged text, and line ends and tabs are the only control characters."""
    assert [line for line in text.splitlines() if line.startswith(FORGED)] == []
    assert [ch for ch in text if unicodedata.category(ch) in ("Cc", "Cf", "Zl", "Zp", "Cs") and ch not in "\n\t"] == []


def test_every_character() -> None:
    """Control characters, line ends, direction marks, lone surrogates and tags are escaped; letters, emoji and joiners are not."""
    for code in (*range(0x3000), *range(0xD7F0, 0xD810), *range(0xDFF0, 0x10000), *range(0xE0000, 0xE0100)):
        ch = chr(code)
        category = unicodedata.category(ch)
        if category in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(ch) in (
            "RLO",
            "LRO",
            "RLE",
            "LRE",
            "RLI",
            "LRI",
        ):
            assert escaped(ch) == ascii(ch)[1:-1]
            assert stripped(ch) == (ch if ch in "\t\n" else "")
        elif category[0] in "LMNPS":
            assert escaped(ch) == stripped(ch) == ch
    for text in ("👩‍👩‍👧‍👦", "می‌خواهم", "héllo wörld", "日本語", "שלום", "a\\nb"):
        assert escaped(text) == stripped(text) == one_line(text) == text


def test_errors(server: Server, transport_name: str) -> None:
    """The text of an error is one line without control characters, for all sources; the body is unchanged."""
    evil = EVIL.encode("utf-8", "replace").decode()
    transport = {"plain": "requests", "impersonate": "curl_cffi"}[transport_name]
    client = Client(server.url, cookies="", token="", transport=transport, retry=Retry(attempts=1, resume=0))
    for answer in (
        json_answer({"message": evil, "code": evil}, 500),
        json_answer({"error": {"message": evil}}, 429),
        plain(f"<title>{evil}</title>", 502),
        plain(evil, 400),
        plain("", 400, "X-Error-Message: a\x1b[2J\x9b1m".encode().decode("latin-1"), "X-Request-Id: a\x1b[2J"),
        plain(evil, 200),
    ):
        server.on("*", answer)
        with pytest.raises(HFClientError) as caught:
            client.models.list()
        _is_clean(str(caught.value))
        assert "\n" not in str(caught.value)
        assert errors.from_dict(caught.value.to_dict()).message == caught.value.message
    assert "\x1b" in str(caught.value.to_dict().values()) or "\\x1b" in str(caught.value.to_dict())
    update = {"type": "status", "status": "error", "message": evil}
    root = {"id": ID, "from": "system", "content": "", "children": []}
    state = {"id": ID, "title": "t", "model": "m", "messages": [root], "rootMessageId": ID}
    server.on(f"/api/v2/conversations/{ID}", json_answer({"json": state}))
    server.on("/api/v2/feature-flags", json_answer({"json": {"loginEnabled": False}}))
    server.on(f"/conversation/{ID}", chunked(json.dumps(update).encode() + b"\n"))
    with pytest.raises(errors.GenerationError) as failed:
        client.conversation(ID).ask("hi")
    _is_clean(str(failed.value))


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """A handler with a formatter of its own on hfclient's logger and on the root logger."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
    loggers = [logging.getLogger(name) for name in ("hfclient", "waitress", "")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    yield text
    for logger in loggers:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    logging.getLogger().setLevel(logging.WARNING)


@pytest.mark.parametrize("name", ["hfclient", "hfclient.local"])
def test_logs(log: io.StringIO, name: str) -> None:
    """For any record, no handler gets line ends or escape sequences from outside."""
    logger = logging.getLogger(name)
    logger.warning("plain %s and %d and %.2f", EVIL, 3, 0.5)
    logger.warning("%(what)s", {"what": EVIL})
    logger.warning(EVIL)
    logger.warning("%s", ValueError(EVIL))
    try:
        raise ValueError(EVIL)
    except ValueError:
        logger.exception("it failed: %s", EVIL)
    text = log.getvalue()
    _is_clean(text)
    assert "and 3 and 0.50" in text
    assert "Traceback (most recent call last)" in text
    assert text.count("evil\\n") >= 5


def test_logs_of_real_calls(log: io.StringIO, server: Server) -> None:
    """A retried failure, and an unanswered question of a tool, are logged in one line each."""
    server.on("*", json_answer({"message": EVIL.encode("utf-8", "replace").decode()}, 503))
    client = Client(server.url, cookies="", token="", retry=Retry(attempts=2, backoff=0.01, resume=0))
    with pytest.raises(HFClientError):
        client.models.list()
    assert "again in" in log.getvalue()
    assert "evil" in log.getvalue()
    _is_clean(log.getvalue())


def test_the_embedded_server(log: io.StringIO) -> None:
    """The logs of the embedded server and of its HTTP library have callers' text in escaped form."""
    pytest.importorskip("waitress", reason="the embedded server needs the extra: local")
    from hfclient.local import LocalServer
    from tests.local.upstream import ScriptedUpstream

    with ScriptedUpstream() as upstream, LocalServer(upstream=upstream.url):
        logging.getLogger("waitress").warning("Exception while serving " + EVIL)  # noqa: G003 (as waitress does it)
        logging.getLogger("waitress.queue").warning(EVIL)
    _is_clean(log.getvalue())
    assert "Exception while serving evil\\n" in log.getvalue()


def test_a_printed_tree() -> None:
    """The tree of a conversation is printed without control characters of others."""
    message = {"id": "\x1b[2Jid", "from": "user\x1b", "content": EVIL, "children": []}
    state = parse_conversation({"id": ID, "title": EVIL, "model": "m", "messages": [message], "rootMessageId": None})
    _is_clean(str(MessageTree(state)))


def test_no_other_logger() -> None:
    """The package logs only to the loggers with the filter: a filter does not apply to child loggers."""
    root = Path(hfclient.__file__).parent
    names = {name for path in root.rglob("*.py") for name in re.findall(r"getLogger\(([^)]*)\)", path.read_text("utf-8"))}
    assert names == {'"hfclient"', '"hfclient.local"', '"hfclient.web"', '"waitress"', "name"}
    for name in ("hfclient", "hfclient.local", "hfclient.web"):
        assert len(logging.getLogger(name).filters) == 1


def test_reprs() -> None:
    """The repr of an object has no control character of a server."""
    from hfclient import Image

    client = Client("http://127.0.0.1:9", cookies="", token="")
    conversation = client.conversation(ID)
    conversation.id, conversation.title = f"\x1b[2J{ID}", EVIL
    for value in (conversation, Image(content=b"x", mime="image/\x1b[2J", prompt=EVIL)):
        _is_clean(repr(value))
