"""Requests of inference: URLs, model names, messages and fields, without a network."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from hfclient.credentials import Credentials, Secret
from hfclient.errors import CredentialsError, HFClientError, InvalidInputError, ProtocolError, Unsupported
from hfclient.events import ToolCall
from hfclient.inference import InferenceClient, Tool
from hfclient.inference.completions.messages import build_messages
from hfclient.inference.models.served_models import parse_models
from hfclient.inference.server_urls import ROUTER_URL, chat_url, is_router, model_for_provider, models_url
from hfclient.transport import Deadline, Request, Response, Session, Timeouts
from hfclient.transport.response import Headers

ANSWER = b'data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


class _Body:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read_some(self) -> bytes:
        data, self._data = self._data, b""
        return data

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


class FakeTransport:
    """Answers all requests with one greeting and keeps the requests."""

    def __init__(self) -> None:
        self.requests: list[tuple[Request, dict[str, str]]] = []

    def open(self, request: Request, headers: Mapping[str, str], deadline: Deadline) -> Response:
        self.requests.append((request, dict(headers)))
        answer = Headers([("Content-Type", "text/event-stream")])
        return Response(200, answer, _Body(ANSWER), method=request.method, url=request.url, deadline=deadline)

    def close(self) -> None:
        pass


def make_of(parts: list[str]) -> str:
    """Mix."""
    return "+".join(parts)


def make(token: str | None = "hf_secret", **options: Any) -> tuple[InferenceClient, FakeTransport]:
    transport = FakeTransport()
    credentials = Credentials(token=Secret(token) if token else None, explicit=True)
    return InferenceClient(Session(transport, credentials), **options), transport


def sent(prompt: Any = "hi", *, client: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """Return the body that a call sends, via the router."""
    inference, transport = make(**(client or {}))
    with inference.chat(prompt, **{"model": "org/name", **options}):
        pass
    body = transport.requests[-1][0].body
    assert isinstance(body, bytes)
    decoded: dict[str, Any] = msgspec.json.decode(body)
    return decoded


@pytest.mark.parametrize(
    ("base", "chat", "models"),
    [
        ("http://h", "http://h/v1/chat/completions", "http://h/v1/models"),
        ("http://h/", "http://h/v1/chat/completions", "http://h/v1/models"),
        ("http://h:8080/v1", "http://h:8080/v1/chat/completions", "http://h:8080/v1/models"),
        ("http://h/v1/?a=b", "http://h/v1/chat/completions?a=b", "http://h/v1/models?a=b"),
        ("http://h/custom/", "http://h/custom/v1/chat/completions", "http://h/custom/v1/models"),
        ("https://h/api/paas/v4/", "https://h/api/paas/v4/chat/completions", "https://h/api/paas/v4/models"),
        ("https://h/v1/audio/speech", "https://h/v1/chat/completions", "https://h/v1/models"),
        ("https://h/api/v3", "https://h/api/v3/chat/completions", "https://h/api/v3/models"),
        ("https://h/v1beta/openai/", "https://h/v1beta/openai/chat/completions", "https://h/v1beta/openai/models"),
        ("https://h/v1/openai", "https://h/v1/openai/chat/completions", "https://h/v1/openai/models"),
        ("https://h/v1/me/gate/compat", "https://h/v1/me/gate/compat/chat/completions", "https://h/v1/me/gate/compat/models"),
        (
            "https://h/openai/deployments/gpt?api-version=2",
            "https://h/openai/deployments/gpt/chat/completions?api-version=2",
            "https://h/openai/deployments/gpt/models?api-version=2",
        ),
        ("http://h/v1/models", "http://h/v1/chat/completions", "http://h/v1/models"),
        ("http://h/v1/completions", "http://h/v1/chat/completions", "http://h/v1/models"),
        ("http://h/vision", "http://h/vision/v1/chat/completions", "http://h/vision/v1/models"),
        ("http://h/v8engine", "http://h/v8engine/v1/chat/completions", "http://h/v8engine/v1/models"),
        ("https://h/a/v4/chat/completions", "https://h/a/v4/chat/completions", "https://h/a/v4/models"),
        ("https://h/chat/completions?k=1", "https://h/chat/completions?k=1", "https://h/models?k=1"),
        ("http://[::1]:80", "http://[::1]:80/v1/chat/completions", "http://[::1]:80/v1/models"),
        (ROUTER_URL, "https://router.huggingface.co/v1/chat/completions", "https://router.huggingface.co/v1/models"),
    ],
)
def test_urls(base: str, chat: str, models: str) -> None:
    """All forms of base URLs lead to the same two routes."""
    assert chat_url(base) == chat
    assert models_url(base) == models


@pytest.mark.parametrize("base", ["", "h", "h/v1", "ftp://h", "http://", "http://h:port", "//h"])
def test_invalid_urls(base: str) -> None:
    """A base that is not an http(s) URL is refused when the client is created."""
    with pytest.raises(InvalidInputError):
        make(base_url=base)


def test_the_router_is_known_by_its_origin() -> None:
    """Any path and spelling of the router is the router; nothing else is."""
    assert is_router("https://Router.HuggingFace.co:443/groq/openai/v1")
    assert not is_router("http://router.huggingface.co/v1")
    assert not is_router("https://router.huggingface.co.example.org/v1")


@pytest.mark.parametrize(
    ("model", "provider", "name"),
    [
        ("org/name", None, "org/name"),
        ("org/name", "auto", "org/name"),
        ("org/name:groq", None, "org/name:groq"),
        ("org/name", "fastest", "org/name:fastest"),
        ("org/name", "fal-ai", "org/name:fal-ai"),
        ("org/name:groq", "groq", "org/name:groq"),
        ("smollm2:135m", "groq", "smollm2:135m:groq"),
    ],
)
def test_providers(model: str, provider: str | None, name: str) -> None:
    """A provider becomes the model's suffix."""
    assert model_for_provider(model, provider, ROUTER_URL) == name
    assert sent(model=model, provider=provider)["model"] == name


def test_invalid_providers() -> None:
    """A provider is refused if it cannot be a suffix, contradicts one, or would be ignored."""
    for model, provider in (("o/n", ""), ("o/n", "a b"), ("o/n", "a:b"), ("o/n", "a/b"), ("o/n:groq", "novita")):
        with pytest.raises(InvalidInputError):
            model_for_provider(model, provider, ROUTER_URL)
    with pytest.raises(Unsupported):
        model_for_provider("o/n", "groq", "http://localhost:8080")
    assert model_for_provider("o/n", "auto", "http://localhost:8080") == "o/n"


def test_smallest_body() -> None:
    """A plain call sends the model first, the messages, and the options of a stream with counts; nothing is null."""
    body = sent("hi")
    assert list(body) == ["model", "messages", "stream", "stream_options"]
    assert body == {
        "model": "org/name",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_every_field() -> None:
    """Each argument has its name on the wire."""
    fields: dict[str, Any] = {
        "max_tokens": 5,
        "temperature": 0.0,
        "top_p": 0.9,
        "frequency_penalty": 0.5,
        "presence_penalty": -0.5,
        "logit_bias": {"50256": -100},
        "logprobs": True,
        "top_logprobs": 3,
        "seed": 7,
        "stop": ["\n"],
        "response_format": {"type": "json_object", "schema": {"const": None}},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"default": None}}}],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "reasoning_effort": "low",
        "user": "me",
        "n": 2,
        "max_completion_tokens": 6,
        "tool_prompt": "You have:",
        "metadata": {"a": "b"},
        "store": False,
        "service_tier": "flex",
        "modalities": ["text"],
        "audio": {"voice": "x"},
        "prediction": {"type": "content", "content": "x"},
        "verbosity": "low",
        "web_search_options": {},
        "safety_identifier": "me",
    }
    body = sent(**fields)
    assert {key: body[key] for key in fields} == fields


@pytest.mark.parametrize(
    ("given", "wire"),
    [
        ({"stop": "END"}, {"stop": ["END"]}),
        ({"stop": ("a", "b")}, {"stop": ["a", "b"]}),
        ({"stop": []}, {}),
        ({"tools": []}, {}),
        ({"top_p": 1.0}, {}),
        ({"tool_choice": "required"}, {"tool_choice": "required"}),
        ({"tool_choice": "add"}, {"tool_choice": {"type": "function", "function": {"name": "add"}}}),
        (
            {"tool_choice": {"function": {"name": "add"}}},
            {"tool_choice": {"type": "function", "function": {"name": "add"}}},
        ),
        ({"tool_choice": make_of}, {"tool_choice": {"type": "function", "function": {"name": "make_of"}}}),
        (
            {"tool_choice": Tool.of(make_of, name="mix")},
            {"tool_choice": {"type": "function", "function": {"name": "mix"}}},
        ),
        ({"temperature": 1, "extra_body": {"temperature": 0.5, "min_p": 0.1}}, {"temperature": 0.5, "min_p": 0.1}),
        ({"seed": 1, "extra_body": {"seed": None, "x": None}}, {}),
    ],
)
def test_fields_that_change(given: dict[str, Any], wire: dict[str, Any]) -> None:
    """Some arguments are converted to the one form that all servers accept; extra_body overrides; None is never sent."""
    body = sent(**given)
    del body["model"], body["messages"], body["stream"], body["stream_options"]
    assert body == wire


@pytest.mark.parametrize(
    "given",
    [
        {"temperature": float("nan")},
        {"top_p": float("inf")},
        {"seed": -1},
        {"seed": 2**63},
        {"seed": 1.5},
        {"seed": True},
        {"stop": ""},
        {"stop": ["a", ""]},
        {"stop": 5},
        {"extra_body": "min_p=0.1"},
        {"response_format": dict},
        {"tools": [make_of], "tool_choice": "make"},
    ],
)
def test_invalid_values(given: dict[str, Any]) -> None:
    """NaN, which JSON would turn into null, and plain mistakes are refused at once."""
    inference, transport = make()
    with pytest.raises(InvalidInputError):
        inference.chat("hi", model="org/name", **given)
    assert transport.requests == []


@pytest.mark.parametrize(
    ("call", "name", "hint"),
    [
        ("chat", "temprature", "did you mean temperature?"),
        ("chat", "max_new_tokens", "did you mean max_tokens?"),
        ("chat", "stream", "every answer is a stream"),
        ("chat", "messages", "the first argument"),
        ("chat", "min_p", "extra_body="),
        ("run_tools", "max_round", "did you mean max_rounds?"),
        ("parse", "repairs", "did you mean repair?"),
        ("text", "max_tokens", "did you mean max_new_tokens?"),
        ("text", "stop_sequences", "did you mean stop?"),
        ("text", "min_p", "extra_body="),
    ],
)
def test_misspelt_options(call: str, name: str, hint: str) -> None:
    """For an unknown option, the error names a similar one, before a request."""
    inference, transport = make()
    more = {"tools": []} if call == "run_tools" else {"into": int} if call == "parse" else {}
    with pytest.raises(TypeError, match=rf"^{call}\(\) has no option '{name}'; .*{re.escape(hint)}"):
        getattr(inference, call)("hi", model="org/name", **more, **{name: 1})
    assert transport.requests == []


def test_extra_body_can_remove_stream_options() -> None:
    """None in extra_body removes a field that hfclient sends by itself."""
    assert "stream_options" not in sent(extra_body={"stream_options": None})
    assert sent(extra_body={"model": "other"})["model"] == "other"


def test_messages() -> None:
    """Roles and arguments of a conversation are sent in forms that all servers accept, without old reasoning."""
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    given: list[dict[str, Any]] = [
        {"role": "developer", "content": "Be terse.", "name": None},
        {"role": "system", "content": ""},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "hm"},
        {"role": "tool", "tool_call_id": "call_1", "content": "2"},
        {"role": "assistant", "content": ""},
    ]
    assert sent(given)["messages"] == [
        {"role": "system", "content": "Be terse."},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{**call, "function": {"name": "f", "arguments": '{"a":1}'}}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "2"},
    ]
    assert given[0]["role"] == "developer", "what the caller gave is not changed"


def test_calls_and_results_in_any_form() -> None:
    """Calls as events, objects or incomplete dicts, and results that are not text, are converted to forms that all servers accept."""
    wire = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
    bare = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    for calls, expected in [
        ([ToolCall("a", "f", {"x": 1})], wire),
        (ToolCall("a", "f", {"x": 1}, '{"x":1}'), wire),
        ({"id": "a", "function": {"name": "f", "arguments": {"x": 1}}, "index": None}, wire),
        ([{"id": "a", "function": {"name": "f"}}], bare),
        *[([{"id": "a", "function": {"name": "f", "arguments": none}}], bare) for none in (None, "", "null", {}, "{}", "[]", "None")],
    ]:
        for empty in ({}, {"content": None}, {"content": []}, {"content": ""}):
            given = [{"role": "user", "content": "q"}, {"role": "assistant", "tool_calls": calls, **empty}]
            assert build_messages(given)[1] == {"role": "assistant", "content": "", "tool_calls": [expected]}
    old = {"role": "assistant", "content": None, "tool_calls": [], "function_call": {"name": "f", "arguments": "null"}}
    assert build_messages([{"role": "user", "content": "q"}, old])[1] == {
        "role": "assistant",
        "content": "",
        "function_call": {"name": "f", "arguments": "{}"},
    }
    for content, expected in [({"t": [18]}, '{"t":[18]}'), (5, "5"), ([1], "[1]"), ("x", "x"), ([], "[]")]:
        given = [{"role": "tool", "tool_call_id": "a", "content": content}]
        assert build_messages(given)[0]["content"] == expected
    parts = [{"type": "text", "text": "x"}]
    assert build_messages([{"role": "tool", "tool_call_id": "a", "content": parts}])[0]["content"] == parts


def test_no_nulls_in_messages() -> None:
    """None in messages of other libraries is not sent, at any depth, and the content of an answer is never missing."""
    image = {"type": "image_url", "image_url": {"url": "https://h/a.png", "detail": None}}
    given = [
        {"role": "user", "content": [image], "name": None},
        {"role": "assistant", "content": None, "refusal": None, "tool_calls": None},
        {"role": "user", "content": "x"},
    ]
    assert build_messages(given) == [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://h/a.png"}}]},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "x"},
    ]


def test_provider_fields_are_sent_back() -> None:
    """Signatures and encrypted reasoning are sent unchanged, including their nulls; the text of reasoning is not sent."""
    details = [{"type": "reasoning.encrypted", "data": "x", "id": None, "index": 0}]
    made = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": null}', "thought_signature": "s"}}
    made["extra_content"] = {"google": {"thought_signature": "t", "more": None}}
    message = {"role": "assistant", "reasoning": "hm", "thinking": "hm", "reasoning_details": details, "tool_calls": [made]}
    assert build_messages([{"role": "user", "content": "q"}, message])[1] == {
        "role": "assistant",
        "content": "",
        "reasoning_details": details,
        "tool_calls": [made],
    }


def test_a_system_message_of_parts() -> None:
    """A list of texts becomes parts in a system message, too."""
    given = [{"role": "system", "content": ["Be terse."]}, {"role": "user", "content": "x"}]
    assert build_messages(given)[0]["content"] == [{"type": "text", "text": "Be terse."}]


def test_a_prefill_stays() -> None:
    """The beginning of an answer, as the last message, is sent."""
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "He"}]
    assert build_messages(messages) == messages


def test_system_prompt() -> None:
    """The system prompt comes first; a second one is refused; an empty one is ignored."""
    assert build_messages([{"role": "user", "content": "x"}], "S")[0] == {"role": "system", "content": "S"}
    assert build_messages("x", "") == [{"role": "user", "content": "x"}]
    with pytest.raises(InvalidInputError):
        build_messages([{"role": "system", "content": "a"}], "b")


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        " \n",
        [],
        None,
        5,
        b"hi",
        {"role": "user", "content": "hi"},
        ["hi"],
        [{"content": "hi"}],
        [{"role": "", "content": "hi"}],
        [{"role": "user"}],
        [{"role": "user", "content": None}],
        [{"role": "system", "content": ""}],
        [{"role": "assistant", "content": ""}],
        [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": 5}],
        [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": ["f"]}],
        [{"role": "tool", "content": "x"}],
        [{"role": "tool", "content": object(), "tool_call_id": "a"}],
        [{"role": "user", "content": "\ud83d"}],
        [{"role": "user", "content": object()}],
        "\ud83d",
    ],
)
def test_invalid_prompts(prompt: Any) -> None:
    """An invalid prompt is refused before a request."""
    inference, transport = make()
    with pytest.raises(InvalidInputError):
        inference.chat(prompt, model="org/name")
    assert transport.requests == []


@pytest.mark.parametrize("model", ["", " "])
def test_an_empty_model(model: str) -> None:
    """An empty name is not a model: nothing is sent."""
    inference, transport = make()
    with pytest.raises(InvalidInputError, match="model"):
        inference.chat("hi", model=model)
    assert transport.requests == []


def test_the_router_requires_a_token() -> None:
    """Without a token nothing is sent to the router; the error says which one is needed and where to create it."""
    inference, transport = make(token=None)
    with pytest.raises(CredentialsError) as caught:
        inference.chat("hi", model="org/name")
    assert "HF_TOKEN" in str(caught.value)
    assert "https://huggingface.co/settings/tokens" in str(caught.value)
    assert transport.requests == []


def test_headers() -> None:
    """The token and the billed organization are sent to the router; the answer is requested uncompressed."""
    inference, transport = make(bill_to="acme")
    inference.chat("hi", model="org/name").close()
    request, headers = transport.requests[0]
    assert headers["Authorization"] == "Bearer hf_secret"
    assert headers["X-HF-Bill-To"] == "acme"
    assert headers["Accept-Encoding"] == "identity"
    assert headers["Accept"].startswith("text/event-stream")
    assert headers["Content-Type"] == "application/json"
    assert request.stream


def test_other_servers_get_no_foreign_token() -> None:
    """A server that is not Hugging Face's gets no token that is not for it."""
    inference, transport = make(base_url="http://localhost:8080")
    inference.chat("hi", model="m").close()
    assert "Authorization" not in transport.requests[0][1]


def test_timeouts_of_one_call() -> None:
    """Deadlines of a call apply to its request."""
    inference, transport = make()
    inference.chat("hi", model="org/name", timeouts=Timeouts(idle=1.5)).close()
    assert transport.requests[0][0].clock.timeouts == Timeouts(idle=1.5)


def test_repr_and_pickle() -> None:
    """A client's repr has no secrets of its URL, and it pickles as its configuration."""
    inference, _ = make(base_url="http://user:password@h/v1?key=secret", bill_to="acme")
    assert repr(inference) == "<InferenceClient http://h/v1>"
    again = pickle.loads(pickle.dumps(inference))
    assert again.chat_url == inference.chat_url
    assert again.chat("hi", model="m").text == "Hi"


@pytest.mark.parametrize(
    ("data", "ids"),
    [
        ({"object": "list", "data": [{"id": "a", "owned_by": "me"}, {"id": "b"}]}, ["a", "b"]),
        ({"models": [{"name": "a"}], "data": [{"id": "b"}]}, ["b"]),
        ({"models": [{"name": "a"}, {"model": "b"}]}, ["a", "b"]),
        ([{"id": "a"}, "b", 5, {}, {"id": ""}, {"id": 3}], ["a", "b"]),
        ({"data": []}, []),
    ],
)
def test_lists_of_models(data: Any, ids: list[str]) -> None:
    """All forms of a list of models give its ids; entries without an id are skipped."""
    models = parse_models(data)
    assert [model.id for model in models] == ids
    assert all(isinstance(model.raw, dict) for model in models)


@pytest.mark.parametrize("data", [None, {}, {"data": None}, "x", 5, {"models": {}}])
def test_invalid_lists_of_models(data: Any) -> None:
    """Anything else is a protocol error."""
    with pytest.raises(ProtocolError):
        parse_models(data)


def test_encoder_errors() -> None:
    """Arguments that JSON cannot carry are an hfclient error, not the encoder's."""
    for value in (object(), {1: {2: object()}}, "\udc00", [{object()}]):
        with pytest.raises(HFClientError):
            sent(extra_body={"x": value})
