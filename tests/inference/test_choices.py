"""Calls without a model, with a provider's key, or with a response format: which request goes to which URL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import evolve

from hfclient.credentials import Credentials, Secret
from hfclient.errors import CredentialsError, InvalidInputError, RateLimitError, Unsupported
from hfclient.inference import InferenceClient
from hfclient.inference.providers.addresses import ADDRESSES
from hfclient.transport import Retry, Session
from hfclient.transport.requests_transport import RequestsTransport
from tests.inference.answers import CHAT, says
from tests.server import Server, json_answer, plain

Make = Callable[..., InferenceClient]
OK = says("ok")
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}
ENVELOPE = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
SITES = ("cohere", "fireworks-ai", "groq", "nebius", "novita", "openai", "sambanova", "together", "zai-org")


def offers(*providers: str, tools: bool = False) -> list[dict[str, Any]]:
    return [{"provider": provider, "status": "live", "supports_tools": tools} for provider in providers]


SERVED = {
    "data": [
        {"id": "org/first", "providers": offers("cohere")},
        {"id": "org/caller", "providers": offers("cohere", "groq", tools=True)},
        {"id": "org/seer", "providers": offers("cohere"), "architecture": {"input_modalities": ["text", "image"]}},
        {"id": "org/writer", "providers": offers("featherless-ai")},
    ]
}


@pytest.fixture
def make(server: Server, other_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Make clients of the router (*server*); *other_server* has the providers' own sites."""
    transport = RequestsTransport()
    server.on("*", plain("Not Found", 404))
    addresses = {name: evolve(address, direct=address.direct and other_server.url) for name, address in ADDRESSES.items()}
    monkeypatch.setattr("hfclient.inference.routing.candidates.ADDRESSES", addresses)
    monkeypatch.setattr("hfclient.inference.server_urls.ROUTER_URL", f"{server.url}/v1")
    monkeypatch.setattr("hfclient.inference.routing.candidates.ROUTER_URL", f"{server.url}/v1")

    def make(**options: Any) -> InferenceClient:
        token = options.pop("token", "hf_secret")
        given = Secret(token) if token else None
        credentials = Credentials(token=given, explicit=True, token_urls=[server.url], chat_url="http://chat.invalid")
        session = Session(transport, credentials, retry=options.pop("retry", Retry(backoff=0.01)))
        return InferenceClient(session, **{"base_url": f"{server.url}/v1", "hub_url": server.url, **options})

    yield make
    transport.close()


def asked(server: Server) -> list[str]:
    return [request.json()["model"] for request in server.requests if request.method == "POST"]


# The default model


@pytest.mark.parametrize(
    ("options", "model"),
    [
        ({}, "org/first"),
        ({"provider": "auto"}, "org/first"),
        ({"provider": "fastest"}, "org/first:fastest"),
        ({"provider": "groq"}, "org/caller:groq"),
        ({"images": [b"\x89PNG\r\n\x1a\n" + b"\0" * 30]}, "org/seer"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]}, "org/caller"),
    ],
)
def test_the_routers_first_model(server: Server, make: Make, options: dict[str, Any], model: str) -> None:
    """Without a model, the first one in the router's list that fits is used; the list is read once."""
    server.on("/v1/models", json_answer(SERVED))
    server.on(CHAT, OK)
    inference = make()
    assert inference.chat("hi", **options).text == "ok"
    assert inference.chat("hi", **options).text == "ok"
    assert asked(server) == [model] * 2
    assert [request.method for request in server.requests].count("GET") == 1


def test_named_model_needs_no_list(server: Server, make: Make) -> None:
    """The list is read only if the call names no model."""
    server.on(CHAT, OK)
    assert make().chat("hi", model="org/name").text == "ok"
    assert [request.method for request in server.requests] == ["POST"]


def test_every_call_has_a_default(server: Server, make: Make) -> None:
    """parse() and run_tools() use the same default."""
    server.on("/v1/models", json_answer(SERVED))
    server.on(CHAT, says('{"value": 5}'))
    inference = make()
    assert inference.parse("Two and three?", into=int) == 5
    assert inference.run_tools("hi", []).text == '{"value": 5}'
    assert asked(server) == ["org/first"] * 2


def test_default_model_of_text(server: Server, make: Make) -> None:
    """text() uses the first model that a known provider completes text with."""
    server.on("/v1/models", json_answer(SERVED))
    mapping = {"featherless-ai": {"status": "live", "providerId": "its/writer", "task": "conversational"}}
    server.on("/api/models/org/writer", json_answer({"id": "org/writer", "inferenceProviderMapping": mapping}))
    text = b'data: {"choices": [{"index": 0, "text": " upon a time", "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
    server.on("/featherless-ai/v1/completions", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + text)
    assert make(router_url=server.url).text("Once").text == " upon a time"
    assert asked(server) == ["its/writer"]


def test_no_default_without_a_token(server: Server, make: Make) -> None:
    """Without a token for the router, the error says so before a request is sent."""
    with pytest.raises(CredentialsError, match="token"):
        make(token=None).chat("hi")
    assert server.requests == []


def test_no_model_at_all(server: Server, make: Make) -> None:
    """If the server lists no models, the error asks for a name."""
    server.on("/v1/models", json_answer({"data": []}))
    with pytest.raises(InvalidInputError, match="model="):
        make().chat("hi")


# Keys of providers


@pytest.mark.parametrize("options", [{"provider": "openai"}, {"provider": ["openai"]}, {"provider": "OpenAI"}])
@pytest.mark.parametrize("call", ["chat", "run_tools", "parse", "text", "embed", "image"])
def test_missing_key(server: Server, make: Make, call: str, options: dict[str, Any]) -> None:
    """A provider that needs its own key raises an error that names the key; nothing is sent."""
    more: dict[str, Any] = {"run_tools": {"tools": []}, "parse": {"into": int}}.get(call, {})
    with pytest.raises((CredentialsError, Unsupported), match="openai"):
        list(getattr(make(), call)("a secret plan", model="gpt-4o", **more, **options))
    assert [request for request in server.requests if request.method == "POST"] == []


def test_missing_key_of_a_suffix(server: Server, make: Make) -> None:
    """The same holds for a provider in the suffix of the model's name."""
    with pytest.raises(CredentialsError, match="openai"):
        make().chat("hi", model="openai/gpt-oss-20b:openai")
    with pytest.raises(CredentialsError, match="openai"):
        make().chat("hi", model="openai/gpt-oss-20b:OpenAI")
    assert server.requests == []


def test_provider_without_a_key_is_left_out(server: Server, make: Make) -> None:
    """Providers without a key are left out of a list."""
    server.on(CHAT, OK)
    assert make().chat("hi", model="org/name", provider=["openai", "novita"]).text == "ok"
    assert asked(server) == ["org/name:novita"]


def test_headers_of_a_provider(other_server: Server, make: Make) -> None:
    """Headers that a provider's own site requires are sent with chats, too."""
    other_server.on("*", OK)
    made = make(provider_keys={"zai-org": "key"})
    assert made.chat("hi", model="glm-4.6", provider="zai-org").text == "ok"
    assert other_server.last.headers["accept-language"] == "en-US,en"
    assert other_server.last.headers["authorization"] == "Bearer key"


# Response formats


@pytest.mark.parametrize("site", [name for name in SITES if name in ADDRESSES])
def test_a_schema_for_a_providers_own_site(other_server: Server, make: Make, site: str) -> None:
    """OpenAI's response_format is translated for each provider's own site; the schema is the same."""
    other_server.on("*", OK)
    made = make(provider_keys={site: "key"})
    assert made.chat("hi", model="org/name", provider=site, response_format=ENVELOPE).text == "ok"
    form = other_server.last.json()["response_format"]
    expected = {
        "cohere": {"type": "json_object", "schema": SCHEMA},
        "fireworks-ai": {"type": "json_object", "schema": SCHEMA},
        "together": {"type": "json_schema", "schema": SCHEMA},
    }
    assert form == expected.get(site, ENVELOPE)


@pytest.mark.parametrize("form", [{"type": "json_object"}, {"type": "text"}, {"type": "json_schema", "schema": SCHEMA}])
def test_other_response_formats(other_server: Server, make: Make, form: dict[str, Any]) -> None:
    """Other response formats are sent unchanged."""
    other_server.on("*", OK)
    made = make(provider_keys={"together": "key"})
    assert made.chat("hi", model="org/name", provider="together", response_format=form).text == "ok"
    assert other_server.last.json()["response_format"] == form


def test_response_format_at_the_router(server: Server, make: Make) -> None:
    """The router gets OpenAI's response_format, and ``extra_body`` overrides everything."""
    server.on(CHAT, OK)
    assert make().chat("hi", model="org/name", provider="together", response_format=ENVELOPE).text == "ok"
    assert server.last.json()["response_format"] == ENVELOPE
    own = {"response_format": {"type": "text"}}
    assert make().chat("hi", model="org/name", response_format=ENVELOPE, extra_body=own).text == "ok"
    assert server.last.json()["response_format"] == {"type": "text"}


# Limits


def test_ratelimit_header(server: Server, make: Make) -> None:
    """A ``RateLimit`` header sets the error's ``retry_after``; a wait above ``Retry.max_wait`` raises instead."""
    limited = json_answer({"error": "slow down"}, 429, 'RateLimit: "api";r=0;t=99')
    server.on(CHAT, limited)
    with pytest.raises(RateLimitError) as caught:
        make(retry=Retry(attempts=3, max_wait=5)).chat("hi", model="m")
    assert caught.value.retry_after == 99
    assert asked(server) == ["m"]


# Lists of models


def test_models_with_and_without_filters(server: Server, make: Make) -> None:
    """With any filter, even None, models() lists the Hub's models; without one the server's."""
    server.on("/v1/models", json_answer(SERVED))
    server.on("/api/models", json_answer([{"id": "org/hub"}]))
    inference = make()
    assert [model.id for model in inference.models()][:1] == ["org/first"]
    for filters in ({"search": None}, {"search": "x"}, {"limit": None}, {"task": None, "provider": None}):
        found = inference.models(**filters)  # type: ignore[call-overload]
        assert [model.id for model in found] == ["org/hub"]
    with pytest.raises(TypeError, match="search"):
        inference.models(serch="x")  # type: ignore[call-overload]
