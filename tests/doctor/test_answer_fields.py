"""Answers are compared with the known fields: recorded servers give no false alarm, and each change is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client
from hfclient.chat.legacy.devalue import parse_page
from hfclient.chat.wire import superjson
from hfclient.doctor import answer_fields as known
from hfclient.doctor import check
from hfclient.doctor.answer_fields import compared
from hfclient.local import LocalServer
from tests.local.upstream import ScriptedUpstream

FIXTURES = Path(__file__).parents[1] / "fixtures"
RECORDED = sorted(path for path in FIXTURES.glob("chat-ui-*/*.json") if not path.name.endswith(".chunks.json"))

MODEL = {
    "id": "org/one", "name": "org/one", "websiteUrl": None, "displayName": "One", "multimodal": False, "supportsTools": True,
    "supportsReasoning": False, "isRouter": False, "unlisted": False,
}  # fmt: skip


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_recorded_conversations(path: Path) -> None:
    """No conversation that a server has sent differs from what is known."""
    document = json.loads(path.read_text("utf-8"))["conversation"]
    if "json" in document:
        data: Any = superjson.decode(document)
    else:
        data = {"id": "x", **parse_page(json.dumps(document).encode()).node(-1)}  # type: ignore[dict-item]
    is_today = path.parent.name.endswith("0.20")
    found = compared("fine", (known.CONVERSATION, [data]), (known.MESSAGE, data["messages"]), is_today=is_today)
    assert (found.status, found.detail) == ("ok", "fine")


def test_a_recorded_layout() -> None:
    """The settings, models, flags and conversations of a recorded page are known."""
    layout: Any = parse_page((FIXTURES / "chat-ui-0.9.5" / "layout_and_page.data").read_bytes()).node(0)
    flags = {name: layout[name] for name in ("loginEnabled", "guestMode", "enableAssistants")}
    found = compared(
        "fine", (known.SETTINGS, [layout["settings"]]), (known.MODEL, layout["models"]), (known.FLAGS, [flags]),
        (known.LIST_ENTRY, layout["conversations"]), is_today=False,
    )  # fmt: skip
    assert (found.status, found.detail) == ("ok", "fine")


def test_the_embedded_server() -> None:
    """No answer of the embedded server differs from what is known, with a conversation in it."""
    with (
        ScriptedUpstream() as upstream,
        LocalServer(upstream=upstream.url) as server,
        Client(server.url, token="", cookies="", session="private", inference_url=upstream.url) as client,
    ):
        client.chat("hi").result()
        results = list(check(client, skip=["installation", "environment"]))
    assert [result for result in results if result.status in ("warning", "failed")] == []
    assert [result for result in results if "new field" in result.detail] == []
    by_name = {result.name: result for result in results}
    assert by_name["messages"].detail == "3 in the newest conversation"
    assert by_name["inference"].status == "ok"


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({}, "ok", "one model"),
        ({"vision": True}, "ok", "one model; a new field (harmless): model.vision"),
        ({"id": None}, "failed", "model.id is missing: models cannot be chosen (one model)"),
        ({"id": 5}, "failed", "model.id is a number instead of a text: models cannot be chosen (one model)"),
        ({"supportsTools": "yes"}, "warning", "model.supportsTools is a text instead of a flag: whether a model calls tools is not known (one model)"),
        ({"promptExamples": {}}, "warning", "model.promptExamples is an object instead of a list (one model)"),
        ({"promptExamples": None}, "ok", "one model"),
    ],
)
def test_changes(change: dict[str, Any], status: str, text: str) -> None:
    """A new field is harmless, a missing one says what does not work, another type is named."""
    found = compared("one model", (known.MODEL, [{**MODEL, **change}]))
    assert (found.status, found.detail) == (status, text)


def test_missing_fields() -> None:
    """A field that today's servers always send is missed there, and not at older ones."""
    entry = {name: value for name, value in MODEL.items() if name != "supportsTools"}
    assert compared("x", (known.MODEL, [MODEL, entry])).status == "warning"
    assert compared("x", (known.MODEL, [MODEL, entry]), is_today=False).status == "ok"


def test_many_changes_are_compact() -> None:
    """A list in which everything is different gives one short line."""
    entries = [{f"field{number}{place}": 1 for number in range(50)} for place in range(200)]
    found = compared("x", (known.MODEL, entries))
    assert found.status == "failed"
    assert len(found.detail) < 1500
    assert compared("x", (known.MODEL, ["text", None, 5])).detail == "model is a number instead of an object (x)"
