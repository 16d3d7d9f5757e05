"""Text generation over real HTTP: both protocols, their requests, loading models, and all failures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hfclient import events
from hfclient.credentials import Credentials, Secret
from hfclient.errors import (
    BadRequestError,
    GenerationError,
    HFClientError,
    InvalidInputError,
    ProtocolError,
    ServerError,
    StreamInterrupted,
    TransportTimeout,
    Unsupported,
)
from hfclient.events import FinalAnswer, Finish, Token, Usage
from hfclient.inference import InferenceClient
from hfclient.transport import Cancellation, Retry, Session, Timeouts
from hfclient.transport.requests_transport import RequestsTransport
from tests.clock import FakeTime
from tests.inference.answers import DONE, SSE, data
from tests.server import CLOSE, PATIENCE, RST, UNTIL_GONE, Server, chunked, delimited, json_answer, plain

INFO = json_answer({"model_id": "org/m", "max_total_tokens": 4096, "router": "text-generation-router"})
MODELS = json_answer({"object": "list", "data": [{"id": "local", "object": "model"}]})
NATIVE, COMPLETIONS = "/generate_stream", "/v1/completions"


@pytest.fixture
def make() -> Iterator[Callable[..., InferenceClient]]:
    """Makes clients with fast retries, and closes their transports."""
    opened = []

    def build(server: Server, **options: Any) -> InferenceClient:
        transport = RequestsTransport()
        opened.append(transport)
        credentials = Credentials(token=Secret("hf_secret"), explicit=True, token_urls=[server.url])
        policy = Retry(backoff=0.01, max_wait=0.1)
        session = Session(transport, credentials, retry=options.pop("retry", policy))
        return InferenceClient(session, **{"base_url": server.url, "hub_url": server.url, **options})

    yield build
    for transport in opened:
        transport.close()


@pytest.fixture
def tgi(server: Server) -> Server:
    """A server that identifies as text-generation-inference."""
    server.on("/info", INFO)
    return server


def step(text: str, number: int = 1, special: bool = False, **end: Any) -> bytes:
    """One event of text-generation-inference, without a space after the colon."""
    token = {"id": number, "text": text, "logprob": -0.5, "special": special}
    return (
        b"data:"
        + json.dumps({"index": number, "token": token, "generated_text": None, "details": None, **end}).encode()
        + b"\n\n"
    )


def last(text: str, whole: str, reason: str | None = "length", special: bool = False, **more: Any) -> bytes:
    """Its last event."""
    details = reason and {"finish_reason": reason, "generated_tokens": 2, "seed": 42, "input_length": 5, **more}
    return step(text, 2, special, generated_text=whole, details=details)


def piece(text: str, reason: str | None = None, **more: Any) -> bytes:
    """One event of ``/v1/completions``."""
    return data({"object": "text_completion", "choices": [{"index": 0, "text": text, "finish_reason": reason, **more}]})


def test_native_stream(tgi: Server, make: Callable[..., InferenceClient]) -> None:
    """text-generation-inference is detected once; its tokens have ids and probabilities, special ones no text."""
    tgi.on(NATIVE, delimited(step(" there"), last("</s>", " there", "eos_token", special=True), headers=[SSE]))
    client = make(tgi)
    stream = client.text("Hello", max_new_tokens=20, temperature=0.7, stop="\n\n", seed=42)
    got = list(stream)
    assert got == [
        Token(" there", 1, -0.5, False),
        Token("", 2, -0.5, True, extra={"text": "</s>"}),
        Finish("stop", extra={"details": {"generated_tokens": 2, "seed": 42, "input_length": 5}}),
        Usage(prompt_tokens=5, completion_tokens=2, total_tokens=7),
    ]
    reply = stream.result()
    assert (reply.text, reply.finish_reason, reply.usage.total_tokens) == (" there", "stop", 7)  # type: ignore[union-attr]
    assert tgi.last.json() == {
        "inputs": "Hello",
        "parameters": {
            "max_new_tokens": 20,
            "temperature": 0.7,
            "return_full_text": False,
            "stop": ["\n\n"],
            "details": True,
            "seed": 42,
        },
    }
    assert client.text("Hello").text == " there"
    assert [request.path for request in tgi.requests] == ["/info", NATIVE, NATIVE]


def test_other_likely_tokens(tgi: Server, make: Callable[..., InferenceClient]) -> None:
    """top_n_tokens is sent, and its alternatives are on their token."""
    top = [{"id": 7, "text": " a", "logprob": -0.1, "special": False}]
    tgi.on(NATIVE, chunked(step(" a", 7, generated_text=" a", top_tokens=top), headers=[SSE]))
    (token, _) = make(tgi).text("x", top_n_tokens=1)
    assert tgi.last.json()["parameters"]["top_n_tokens"] == 1
    assert token.extra == {"top_tokens": top}


def test_whole_text_replaces_pieces(tgi: Server, make: Callable[..., InferenceClient]) -> None:
    """If half characters came as U+FFFD, or the prompt is in front, the server's whole text is the result."""
    tgi.on(NATIVE, delimited(step("\ufffd"), last("\ufffd", "\u00e9"), headers=[SSE]))
    stream = make(tgi).text("caf")
    assert FinalAnswer("\u00e9") in list(stream)
    assert stream.text == "\u00e9"


def test_tags_are_text(tgi: Server, make: Callable[..., InferenceClient]) -> None:
    """In generated text ``<think>`` is text, also in the server's whole text."""
    tgi.on(NATIVE, delimited(step("<think>a</think>"), last("b", "<think>a</think>b"), headers=[SSE]))
    stream = make(tgi).text("x")
    assert list(stream.iter_text()) == ["<think>a</think>", "b"]
    tgi.on(NATIVE, delimited(last("b", "<think>a</think>b"), headers=[SSE]))
    assert make(tgi).text("x", return_full_text=True).text == "<think>a</think>b"


@pytest.mark.parametrize(("special", "reason"), [(True, "stop"), (False, "length")])
def test_reason_without_details(tgi: Server, make: Callable[..., InferenceClient], special: bool, reason: str) -> None:
    """Without details, a special token at the end means a complete text, any other a cut-off one."""
    tgi.on(NATIVE, delimited(step("a"), last("b", "a" if special else "ab", None, special), headers=[SSE]))
    reply = make(tgi).text("x", details=False).result()
    assert (reply.finish_reason, reply.usage) == (reason, None)
    assert tgi.last.json()["parameters"] == {"return_full_text": False, "details": False}


def test_parameters_without_a_stream(tgi: Server, make: Callable[..., InferenceClient]) -> None:
    """best_of and the prompt's tokens use the route without a stream; the events are the same."""
    tokens = [{"id": 7, "text": "a", "logprob": -1, "special": False}, {"id": 8, "text": "b", "special": False}]
    details = {
        "finish_reason": "stop_sequence",
        "generated_tokens": 2,
        "prefill": [{"id": 1, "text": "x"}],
        "tokens": tokens,
    }
    tgi.on("/generate", json_answer({"generated_text": "ab", "details": details}))
    got = list(make(tgi).text("x", decoder_input_details=True))
    assert got == [
        Token("a", 7, -1.0, False),
        Token("b", 8, None, False),
        Finish("stop", extra={"details": {"generated_tokens": 2, "prefill": [{"id": 1, "text": "x"}]}}),
        Usage(prompt_tokens=1, completion_tokens=2, total_tokens=3),
    ]
    assert tgi.last.json()["parameters"]["decoder_input_details"] is True
    tgi.on("/generate", json_answer([{"generated_text": "only text"}]))
    assert make(tgi).text("x", best_of=2, do_sample=True).text == "only text"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("validation", 422),
        ("template_error", 422),
        ("generation", 424),
        ("overloaded", 429),
        ("incomplete_generation", 500),
        ("incomplete_generation_stream", 500),
        ("healthcheck", 503),
        ("something new", None),
    ],
)
def test_errors_inside(tgi: Server, make: Callable[..., InferenceClient], kind: str, status: int | None) -> None:
    """An error inside the stream raises with its type, its status, and the text so far."""
    tgi.on(NATIVE, delimited(step("a"), data({"error": "Oh no", "error_type": kind}), headers=[SSE]))
    with pytest.raises(GenerationError, match="Oh no") as caught:
        make(tgi).text("x").result()
    assert (caught.value.code, caught.value.status_code) == (kind, status)
    assert caught.value.partial is not None
    assert caught.value.partial.text == "a"


def test_errors_before(tgi: Server, make: Callable[..., InferenceClient]) -> None:
    """A status error raises at the call, with its error_type as the code; plain text is a message, too."""
    body = {"error": "Input validation error: `inputs` must have less than 4095 tokens", "error_type": "validation"}
    tgi.on(NATIVE, json_answer(body, 422), plain("Failed to parse the request body as JSON", 400))
    client = make(tgi)
    with pytest.raises(BadRequestError, match="less than 4095") as caught:
        client.text("x")
    assert (caught.value.code, caught.value.status_code) == ("validation", 422)
    with pytest.raises(BadRequestError, match="Failed to parse"):
        client.text("x")


@pytest.mark.parametrize("end", [[CLOSE], [RST]])
def test_cut_off(tgi: Server, make: Callable[..., InferenceClient], end: list[Any]) -> None:
    """A stream that is cut at any byte raises StreamInterrupted with the text so far."""
    whole = step("a") + last("b", "ab")
    for cut in (0, 20, len(step("a")), len(whole) - 20):
        tgi.on(NATIVE, [*delimited(whole[:cut], headers=[SSE])[:-1], *end])
        with pytest.raises(HFClientError) as caught:
            make(tgi, retry=Retry(attempts=1)).text("x").result()
        if end == [CLOSE]:
            assert isinstance(caught.value, StreamInterrupted)
            assert caught.value.partial is not None
            assert caught.value.partial.text == ("a" if cut >= len(step("a")) else "")


def test_every_split(tgi: Server, make: Callable[..., InferenceClient]) -> None:
    """The events do not depend on how the network splits the bytes."""
    whole = step(" caf\u00e9") + b": keep-alive\n\n" + last("</s>", " caf\u00e9", "eos_token", True)
    tgi.on(NATIVE, delimited(whole, headers=[SSE]))
    expected = list(make(tgi).text("x"))
    for cut in range(1, len(whole), 7):
        tgi.on(NATIVE, delimited(whole[:cut], 0.001, whole[cut:], headers=[SSE]))
        assert list(make(tgi).text("x")) == expected


def test_completions(server: Server, make: Callable[..., InferenceClient]) -> None:
    """Other servers get ``/v1/completions`` with their own model; tokens have the server's fields."""
    server.on("/info", plain("Not Found", 404))
    server.on("/v1/models", MODELS)
    entries = [{"id": 9, "token": " was", "logprob": -0.25, "top_logprobs": []}]
    server.on(
        COMPLETIONS,
        chunked(
            piece(
                " there",
                logprobs={"tokens": [" there"], "token_logprobs": [-0.75], "top_logprobs": [], "text_offset": [0]},
            ),
            piece(" was", logprobs={"content": entries}),
            piece("<think>", None),
            piece("", "length"),
            data({"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7}}),
            DONE,
            headers=[SSE],
        ),
    )
    stream = make(server).text("Hi", max_new_tokens=3, temperature=0, top_p=1.0, stop=["a", "b"], seed=1, details=True)
    got = list(stream)
    assert [(e.text, e.id, e.logprob) for e in got if isinstance(e, Token)] == [
        (" there", None, -0.75),
        (" was", 9, -0.25),
        ("<think>", None, None),
    ]
    assert got[-2:] == [Finish("length"), Usage(4, 3, 7)]
    assert stream.text == " there was<think>"
    assert server.last.json() == {
        "model": "local",
        "prompt": "Hi",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 3,
        "temperature": 0,
        "seed": 1,
        "stop": ["a", "b"],
        "logprobs": 1,
    }


def test_completions_with_tokens(server: Server, make: Callable[..., InferenceClient]) -> None:
    """If a piece comes as a choice and as a token, the choice is used, with its finish_reason and usage."""
    token = {"id": 1, "text": " there", "logprob": -0.5, "special": False}
    choice = {"index": 0, "text": " there", "finish_reason": None}
    usage = {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6}
    end = {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}], "token": {**token, "special": True}}
    server.on("/v1/models", MODELS)
    body = [data({"choices": [choice], "token": token}), data({**end, "usage": usage}), DONE]
    server.on(COMPLETIONS, chunked(*body, headers=[SSE]))
    stream = make(server).text("Hi")
    assert list(stream)[-2:] == [Finish("stop"), Usage(4, 2, 6)]
    assert stream.text == " there"


@pytest.mark.parametrize("native", [True, False])
def test_failure_as_finish_reason(server: Server, make: Callable[..., InferenceClient], native: bool) -> None:
    """If the server fails, both protocols raise an error with the text so far; the reply has the server's fields."""
    server.on("/info", json_answer({"max_total_tokens": 9}) if native else plain("", 404))
    server.on("/v1/models", MODELS)
    for reason in ("abort", "stop_sequence"):
        server.on(NATIVE, delimited(step(" Once", version="3"), last("", " Once", reason), headers=[SSE]))
        server.on(COMPLETIONS, chunked(piece(" Once", stop_reason=None, mood="good"), piece("", reason), DONE, headers=[SSE]))
        stream = make(server).text("Hi")
        if reason == "abort":
            with pytest.raises(GenerationError) as caught:
                stream.result()
            assert (caught.value.code, caught.value.partial and caught.value.partial.text) == ("abort", " Once")
            continue
        first = next(stream)
        assert first.extra == ({"version": "3"} if native else {"mood": "good"})
        extra = stream.result().extra or {}
        assert extra.get("version" if native else "mood") in ("3", "good")
        assert native == ("details" in extra)


def test_parameters_that_completions_ignore(server: Server, make: Callable[..., InferenceClient]) -> None:
    """Parameters that ``/v1/completions`` would ignore raise, unless they are in extra_body."""
    server.on("/info", plain("", 404))
    server.on("/v1/models", MODELS)
    server.on(COMPLETIONS, chunked(piece("a", "stop"), DONE))
    client = make(server)
    with pytest.raises(Unsupported, match="repetition_penalty"):
        client.text("x", repetition_penalty=1.1)
    with pytest.raises(Unsupported, match="top_n_tokens, return_full_text"):
        client.text("x", return_full_text=True, top_n_tokens=2)
    assert (
        client.text("x", repetition_penalty=1.1, extra_body={"repetition_penalty": 1.1, "stream_options": None}).text == "a"
    )
    assert server.last.json() == {"model": "local", "prompt": "x", "stream": True, "repetition_penalty": 1.1}


def test_stream_options_refused(server: Server, make: Callable[..., InferenceClient]) -> None:
    """A server that refuses stream_options gets the request, and all later ones, without them."""
    server.on("/info", plain("", 404))
    refusal = json_answer({"error": {"message": "unknown field stream_options"}}, 400)
    server.on(COMPLETIONS, refusal, chunked(piece("a", "stop"), DONE))
    client = make(server)
    assert [client.text("x", model="m").text for _ in range(2)] == ["a", "a"]
    assert ["stream_options" in r.json() for r in server.requests if r.path == COMPLETIONS] == [True, False, False]


def test_page_and_other_json(server: Server, make: Callable[..., InferenceClient]) -> None:
    """An HTML page or other JSON raises a ProtocolError that describes the content."""
    server.on("/info", plain("", 404))
    server.on(COMPLETIONS, plain("<html><title>x</title>", 200, "Content-Type: text/html"), json_answer({"a": 1}))
    client = make(server)
    with pytest.raises(ProtocolError, match=r"HTML page .*instead of a text"):
        client.text("x", model="m").result()
    with pytest.raises(ProtocolError, match="not a text"):
        client.text("x", model="m").result()


def test_hf_inference(server: Server, make: Callable[..., InferenceClient]) -> None:
    """hf-inference gets its own protocol through the router, or the other route if it has only that."""
    server.on("/hf-inference/models/org/m", delimited(last("a", "a"), headers=[SSE]), plain("Not Found", 404))
    server.on("/hf-inference/models/org/m/v1/completions", chunked(piece("b", "stop"), DONE))
    client = make(server, base_url="https://router.huggingface.co/v1", router_url=server.url)
    stream = client.text("x", model="org/m", provider="hf-inference", adapter_id="l")
    assert stream.text == "a"
    assert stream.result().route == events.Route("", "org/m", "hf-inference")
    assert server.last.json() == {
        "inputs": "x",
        "parameters": {"return_full_text": False, "details": True, "adapter_id": "l"},
        "stream": True,
    }
    assert client.text("x", model="org/m", provider="hf-inference", max_new_tokens=5).text == "b"
    assert server.last.json()["max_tokens"] == 5
    before = len(server.requests)
    assert client.text("x", model="org/m", provider="hf-inference").text == "b"
    assert len(server.requests) == before + 1


def test_next_provider(server: Server, make: Callable[..., InferenceClient]) -> None:
    """If a provider fails, the next one is called, and the stream begins with a Failover event."""
    mapping = {
        name: {"status": "live", "providerId": f"{name}-id", "task": "text-generation"}
        for name in ("together", "featherless-ai")
    }
    server.on("/api/models/org/m", json_answer({"id": "org/m", "inferenceProviderMapping": mapping}))
    server.on("/together/v1/completions", json_answer({"error": "busy"}, 503))
    server.on("/featherless-ai/v1/completions", chunked(piece("ok", "stop"), DONE))
    client = make(server, base_url="https://router.huggingface.co/v1", router_url=server.url, bill_to="acme")
    stream = client.text("x", model="org/m")
    first, *_ = stream
    assert first == events.Failover("together", "featherless-ai", "busy", 503)
    assert stream.result().text == "ok"
    assert server.last.json()["model"] == "featherless-ai-id"
    assert server.last.headers["x-hf-bill-to"] == "acme"
    assert [r.path for r in server.requests].count("/together/v1/completions") == 3
    with pytest.raises(Unsupported, match="grammar"):
        client.text("x", model="org/m", grammar={"type": "regex", "value": "a+"})


def test_models_for_chats(server: Server, make: Callable[..., InferenceClient]) -> None:
    """A model that the Hub lists for chat generates text, too; one for images does not."""
    served = {"featherless-ai": {"status": "live", "providerId": "m-id", "task": "conversational"}}
    server.on("/api/models/org/m", json_answer({"id": "org/m", "inferenceProviderMapping": served}))
    drawn = {"together": {"status": "live", "providerId": "p-id", "task": "text-to-image"}}
    server.on("/api/models/org/p", json_answer({"id": "org/p", "inferenceProviderMapping": drawn}))
    server.on("/featherless-ai/v1/completions", chunked(piece("ok", "stop"), DONE))
    client = make(server, base_url="https://router.huggingface.co/v1", router_url=server.url)
    assert client.text("x", model="org/m").text == "ok"
    assert client.text("x", model="org/m", provider="featherless-ai").text == "ok"
    assert server.last.json()["model"] == "m-id"
    with pytest.raises(InvalidInputError, match="text-to-image"):
        client.text("x", model="org/p")


def test_leaving_early(tgi: Server, make: Callable[..., InferenceClient]) -> None:
    """Leaving the loop frees the connection at once, and the text so far is kept."""
    tgi.on(NATIVE, [*delimited(step("a"), headers=[SSE])[:-1], UNTIL_GONE])
    stream = make(tgi).text("x")
    for event in stream:
        assert event == Token("a", 1, -0.5, False)
        break
    assert tgi.client_gone.wait(PATIENCE)
    assert stream.partial.text == "a"


def test_stalled(tgi: Server, make: Callable[..., InferenceClient], clock: FakeTime) -> None:
    """Keep-alives do not extend the first_token deadline."""
    pings: list[Any] = [b": ping\n\n", 0.02, lambda _: clock.advance(PATIENCE)] * 1000
    tgi.on(NATIVE, delimited(*pings, headers=[SSE]))
    with pytest.raises(TransportTimeout) as caught:
        make(tgi).text("x", timeouts=Timeouts(first_token=2 * PATIENCE, idle=2 * PATIENCE)).result()
    assert caught.value.deadline == "first_token"


def test_waits_for_a_model(
    tgi: Server, make: Callable[..., InferenceClient], clock: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait for a model that is being loaded is not limited by Retry.attempts, but by the timeouts."""
    monkeypatch.setattr(Cancellation, "pause", lambda _, seconds: clock.advance(seconds))
    loading = json_answer({"error": "Model org/m is currently loading", "estimated_time": 60.0}, 503)
    tgi.on(NATIVE, *[loading] * 4, delimited(last("a", "a"), headers=[SSE]))
    assert make(tgi).text("x").text == "a"
    assert len(tgi.requests) == 6
    tgi.on(NATIVE, loading)
    with pytest.raises(ServerError, match="currently loading"):
        make(tgi, retry=Retry(max_wait=0.4 * PATIENCE)).text("x", timeouts=Timeouts(total=PATIENCE))
    assert len(tgi.requests) == 6 + 4  # the client asks for /info, too


def test_plain_transformers(tgi: Server, make: Callable[..., InferenceClient]) -> None:
    """Parameters that a backend refuses by name are left out, now and later, except for essential ones."""
    refusal = {
        "error": "The following `model_kwargs` are not used by the model: ['details', 'watermark'] (note: typos)"
    }
    tgi.on(NATIVE, json_answer(refusal, 400), json_answer([{"generated_text": "a"}]))
    client = make(tgi)
    assert client.text("x").text == "a"
    assert client.text("x").text == "a"
    assert tgi.last.json() == {"inputs": "x", "parameters": {"return_full_text": False}}
    assert len(tgi.requests) == 4
    tgi.on(NATIVE, json_answer({"error": "The following `model_kwargs` are not used by the model: ['grammar']"}, 400))
    with pytest.raises(BadRequestError, match="grammar"):
        client.text("x", grammar={"type": "json", "value": {"type": "object"}})


def test_messages(tgi: Server, make: Callable[..., InferenceClient]) -> None:
    """Messages are formatted in the model's layout; reasoning is separate, white space at the start is removed."""
    config = {"model_type": "gpt2", "tokenizer_config": {"eos_token": "<|im_end|>"}}
    tgi.on("/api/models/org/chatty", json_answer({"id": "org/chatty", "config": {**config, "model_type": "qwen2"}}))
    tgi.on("/api/models/org/old", json_answer({"id": "org/old", "config": config}))
    tgi.on(
        NATIVE,
        delimited(step(" \n"), step("  <think>Hm</think>"), last(" Yes", " \n  <think>Hm</think> Yes"), headers=[SSE]),
    )
    client = make(tgi)
    messages = [{"role": "user", "content": "U1"}]
    reply = client.text(messages, model="org/chatty").result()
    assert (reply.text.strip(), reply.reasoning) == ("Yes", "Hm")
    sent = tgi.last.json()
    assert sent["inputs"] == "<|im_start|>user\nU1\n<|im_end|>\n<|im_start|>assistant\n"
    assert sent["parameters"]["max_new_tokens"] == 1024
    begun = [*messages, {"role": "assistant", "content": "A1"}]
    tgi.on(NATIVE, delimited(last(" and", " and"), headers=[SSE]))
    assert client.text(begun, model="org/old", action="continue").text == " and"
    sent = tgi.last.json()
    assert (sent["inputs"], sent["parameters"]["max_new_tokens"]) == ("User: U1\nAssistant: A1", 512)
    assert client.text(messages, layout="llama3", max_new_tokens=9).text == "and"
    assert tgi.last.json()["parameters"]["max_new_tokens"] == 9


@pytest.mark.parametrize(
    "options",
    [
        {"max_new_tokens": 0},
        {"max_new_tokens": 1.5},
        {"temperature": -1},
        {"top_p": 0},
        {"top_p": 1.5},
        {"top_k": 0},
        {"typical_p": 0},
        {"repetition_penalty": 0},
        {"frequency_penalty": 3},
        {"seed": -1},
        {"seed": 2**64},
        {"seed": True},
        {"stop": ["a", ""]},
        {"stop": list("abcde")},
        {"best_of": 2, "seed": 1, "do_sample": True},
        {"best_of": 2},
        {"truncate": 0},
        {"top_n_tokens": 6},
        {"grammar": "root ::= x"},
        {"action": "continue"},
        {"layout": "chatml"},
    ],
)
def test_refused(tgi: Server, make: Callable[..., InferenceClient], options: dict[str, Any]) -> None:
    """An invalid parameter raises before a request is sent."""
    with pytest.raises(InvalidInputError):
        make(tgi).text("x", **options)
    assert [request.path for request in tgi.requests] in ([], ["/info"])


def test_refused_prompts(tgi: Server, make: Callable[..., InferenceClient]) -> None:
    """An empty prompt, an unknown layout and a misspelt parameter raise."""
    client = make(tgi)
    with pytest.raises(InvalidInputError, match="empty"):
        client.text("")
    with pytest.raises(InvalidInputError, match="layout"):
        client.text([{"role": "user", "content": "x"}], layout="vicuna")
    with pytest.raises(TypeError, match="max_tokens"):
        client.text("x", max_tokens=3)  # type: ignore[call-arg]
