"""``hfclient models``: an inference server's models with prices, and the Hub's search. tests/cli/test_app.py has the chat server's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.screens import on_screen
from tests.server import Server, json_answer

EVIL = "\x1b]0;owned\x07\x1b[2J"
ROUTER = {
    "data": [
        {
            "id": "org/large",
            "owned_by": "org",
            "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
            "providers": [
                {"provider": "dear", "status": "live", "context_length": 131072, "pricing": {"input": 1, "output": 5}},
                {
                    "provider": "cheap",
                    "status": "live",
                    "context_length": 65536,
                    "pricing": {"input": 0.2, "output": 0.6},
                    "supports_tools": True,
                },
            ],
        },
        {"id": "org/small", "providers": [{"provider": "new", "status": "live", "is_free": True, "pricing": {"input": 0, "output": 0}}]},
    ]
}
HUB = [
    {
        "id": "org/painter",
        "pipeline_tag": "text-to-image",
        "downloads": 1200,
        "likes": 30,
        "inferenceProviderMapping": [{"provider": "fal-ai", "status": "live", "providerId": "x", "task": "text-to-image"}],
    },
    {"id": f"evil/{EVIL}", "pipeline_tag": EVIL, "downloads": 1, "likes": 2},
]


@pytest.fixture
def router(server: Server) -> Server:
    """A server with the router's form of a list of models."""
    server.on("/v1/models", json_answer(ROUTER))
    return server


def test_served_models_with_prices(router: Server, command: Any) -> None:
    """One line per model: the context of all offers, and the price of the cheapest one."""
    code, out, err = command("models", "--inference-url", router.url)
    assert (code, err) == (0, "")
    assert [line.split() for line in out.split("\n")[:-1]] == [
        ["MODEL", "CONTEXT", "INPUT", "OUTPUT", "CHEAPEST", "ABILITIES"],
        ["org/large", "65,536", "0.20", "0.60", "cheap", "images,tools"],
        ["org/small", "-", "0.00", "0.00", "new", "-"],
    ]


def test_served_models_as_json(router: Server, command: Any) -> None:
    """All offers, with stable names of fields."""
    _, out, _ = command("models", "--inference-url", router.url, "--json")
    large, small = (json.loads(line) for line in out.split("\n")[:-1])
    assert (large["id"], large["context_length"], small["offers"][0]["provider"]) == ("org/large", 65536, "new")
    assert set(large["offers"][0]) == {
        *("provider", "status", "context_length", "input_price", "output_price", "supports_tools"),
        *("supports_structured_output", "first_token", "throughput"),
    }


def test_other_servers_have_no_prices(server: Server, command: Any) -> None:
    """A list without offers has two columns."""
    server.on("/v1/models", json_answer({"data": [{"id": "llama", "max_model_len": 4096}]}))
    _, out, _ = command("models", "--inference-url", server.url)
    assert out == "MODEL  CONTEXT\nllama    4,096\n"


def test_options_that_do_not_fit(server: Server, command: Any) -> None:
    """The chat server's options do not go together with an inference server; an unknown sub-command is a usage error."""
    assert command("models", "--url", server.url, "--inference")[0] == 2
    assert command("models", "--local", "--inference-url", server.url)[0] == 2
    assert command("models", "find")[0] == 2
    assert not server.requests


def test_search(server: Server, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words and filters go to the Hub; the answer is a table in which no name sends escape sequences."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    server.on("/api/models", json_answer(HUB))
    code, out, err = command(
        *("models", "search", "paint", "er", "--task", "text-to-image", "--provider", "all", "--sort", "likes", "-n", "5")
    )
    assert (code, err) == (0, "")
    query = server.last.query
    assert (query["search"], query["pipeline_tag"], query["sort"], query["limit"]) == ("paint er", "text-to-image", "likes", "5")
    assert out.split("\n")[1].split() == ["org/painter", "text-to-image", "1200", "30", "fal-ai"]
    assert "\x1b" not in out
    code, out, _ = command("models", "search", "--json")
    assert json.loads(out.split("\n")[0])["providers"] == ["fal-ai"]
    shown = on_screen("models", "search", columns=50, HF_ENDPOINT=server.url, NO_COLOR="1")
    assert b"\x1b" not in shown.raw


def test_search_keeps_what_came(server: Server, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a later page fails, the models before it are printed."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    link = f'Link: <{server.url}/api/models?cursor=2>; rel="next"'
    server.on("/api/models", json_answer(HUB, 200, link), json_answer({"error": "no"}, 400))
    code, out, err = command("models", "search", "x", "-n", "50")
    assert (code, out.count("\n"), err.count("\n")) == (1, 3, 1)
