"""An answer fails before its first content: a retry, the next provider, or an error."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from hfclient.credentials import Credentials, Secret
from hfclient.errors import (
    APIStatusError,
    Cancelled,
    ConnectError,
    CreditsExhausted,
    GenerationError,
    HFClientError,
    ProtocolError,
    RateLimitError,
    ServerError,
    StreamInterrupted,
    TransportTimeout,
)
from hfclient.events import Failover, Finish, Route, Token, ToolResult
from hfclient.inference import InferenceClient
from hfclient.inference.providers.addresses import ADDRESSES
from hfclient.transport import Retry, Session, Timeouts, Transport
from tests.chat.replay import wait_until
from tests.clock import FakeTime, Pauses
from tests.conftest import TRANSPORTS
from tests.inference.answers import CHAT, DONE, PING, SSE, STREAM, begun, call, calls, data, delta, says, silence
from tests.server import (
    CLOSE,
    PATIENCE,
    RST,
    SOON,
    UNTIL_GONE,
    Script,
    Server,
    chunk,
    chunked,
    head,
    json_answer,
    plain,
)

MODEL = "acme/talker"
MAPPING = f"/api/models/{MODEL}"
DIRECT = "/openai/v1/chat/completions"  # of groq, on its own site
HELLO = says("Hello")
TWO = ["cerebras", "novita"]
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\0\0\0\1\0\0\0\1\x08\0\0\0\0").decode()

Make = Callable[..., InferenceClient]

both_transports = pytest.mark.parametrize("transport_name", TRANSPORTS, indirect=True)


@pytest.fixture(params=["plain"])
def transport_name(request: pytest.FixtureRequest) -> str:
    """The transport of a test; both in turn for tests that leave an answer early."""
    return str(request.param)


@pytest.fixture
def make(server: Server, other_server: Server, transport: Transport, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes clients of the router (the server) and of a provider named groq, whose own site is the other server."""
    addresses = {**ADDRESSES, "groq": evolve(ADDRESSES["groq"], direct=other_server.url)}
    monkeypatch.setattr("hfclient.inference.routing.candidates.ADDRESSES", addresses)
    monkeypatch.setattr("hfclient.inference.server_urls.ROUTER_URL", f"{server.url}/v1")
    monkeypatch.setattr("hfclient.inference.routing.candidates.ROUTER_URL", f"{server.url}/v1")

    def make(**options: Any) -> InferenceClient:
        policy: dict[str, Any] = {"timeouts": Timeouts(idle=PATIENCE), "retry": Retry(backoff=0.01)}
        policy.update({key: options.pop(key) for key in ("timeouts", "retry") if key in options})
        credentials = Credentials(
            token=Secret("hf_secret"), explicit=True, token_urls=[server.url], chat_url="http://chat.invalid"
        )
        return InferenceClient(
            Session(transport, credentials, **policy), **{"base_url": f"{server.url}/v1", "hub_url": server.url, **options}
        )

    return make


def asked(server: Server) -> list[str]:
    """The models that were requested, without their common prefix."""
    return [
        request.json()["model"].removeprefix(MODEL).removeprefix(":")
        for request in server.requests
        if request.method == "POST"
    ]


def fails(message: str = "broken", **fields: Any) -> Script:
    """An answer that consists of an error."""
    return chunked(data({"error": {"message": message, **fields}}), DONE, headers=[SSE])


def serve(server: Server, *names: str, task: str = "conversational") -> None:
    """Let the Hub list the providers of the model."""
    found = {name: {"status": "live", "providerId": f"{name}-id", "task": task} for name in names}
    server.on(MAPPING, json_answer({"id": MODEL, "inferenceProviderMapping": found}))


# Before the first content

PASSING: dict[str, Script] = {
    "429": fails(code=429),
    "503": fails(code="503"),
    "overloaded": fails(type="overloaded_error"),
    "limit": fails(code="rate_limit_exceeded", type="requests"),
    "tgi": chunked(data({"error": {"message": "Model is overloaded", "http_status_code": 422}}), headers=[SSE]),
    "document": json_answer({"error": {"message": "unavailable", "code": 503}}),
    "at the root": chunked(data({"message": "busy", "type": "too_many_requests_error", "code": "queue"}), headers=[SSE]),
    "event": chunked(b'event: error\ndata: {"code":502,"details":"gone"}\n\n', headers=[SSE]),
    "cut": [STREAM, CLOSE],
    "reset": [STREAM, 0.02, RST],
    "empty": [STREAM, b"0\r\n\r\n"],
    "comments": chunked(b": wait\n\n: wait\n\n", headers=[SSE]),
    "role": [*begun(delta(role="assistant", content="")), CLOSE],
    "done": chunked(DONE, headers=[SSE]),
    "half a document": [head(200, "Content-Type: application/json", "Content-Length: 99"), b'{"choices":[{"mess', CLOSE],
}


@both_transports
@pytest.mark.parametrize("name", PASSING)
def test_repeated(name: str, server: Server, make: Make) -> None:
    """A transient error is retried, also inside a 200, and the caller does not notice."""
    server.on(CHAT, PASSING[name], HELLO)
    stream = make().chat("hi", model=MODEL, provider="novita")
    assert list(stream) == [Token("Hello"), Finish("stop")]
    assert stream.result().failovers == ()
    assert asked(server) == ["novita", "novita"]


OWN: dict[str, tuple[Script, int | None]] = {
    "500": (fails(code=500), 500),
    "internal": (fails(type="InternalServerError"), 500),
    "generation": (
        chunked(data({"error": {"message": "Request failed during generation: oom", "http_status_code": 422}})),
        424,
    ),
    "unknown": (fails(), None),
    "no such model": (fails(code="model_not_found"), 404),
    "gave up": (chunked(delta(role="assistant"), delta("network_error"), DONE, headers=[SSE]), None),
    "aborted": (json_answer({"choices": [{"message": {"content": ""}, "finish_reason": "abort"}]}), None),
    "sources only": (
        chunked(data({"choices": [{"delta": {}}], "citations": ["https://e.org"]}), delta("error"), DONE, headers=[SSE]),
        None,
    ),
    "page": (plain("<html><title>Sorry</title></html>", 200, "Content-Type: text/html"), None),
    "page in a stream": (plain("<html>", 200, SSE), None),
    "not JSON": (chunked(b"data: what?\n\n", headers=[SSE]), None),
    "some JSON": (json_answer({"hello": "world"}), None),
    "silence": ([STREAM], None),
    "keep-alive": ([STREAM, *map(chunk, [PING] * 20)], None),
}


@pytest.mark.parametrize("name", OWN)
def test_the_next_provider(name: str, server: Server, make: Make, clock: FakeTime) -> None:
    """After a permanent error of a provider the next one is called at once; stream and reply report it."""
    script, status = OWN[name]
    if name in ("silence", "keep-alive"):
        script = [*script, *silence(clock)]  # type: ignore[list-item]
    server.on(CHAT, script, HELLO)
    seen: list[Any] = []
    inference = make(timeouts=Timeouts(first_token=PATIENCE), on_event=seen.append)
    stream = inference.chat("hi", model=MODEL, provider=TWO)
    first, *rest = list(stream)
    assert isinstance(first, Failover)
    assert (first.provider, first.to, first.status_code) == ("cerebras", "novita", status)
    assert rest == [Token("Hello"), Finish("stop")]
    assert seen == [first, *rest]
    assert asked(server) == TWO
    assert (stream.result().failovers, stream.result().model) == ((first,), f"{MODEL}:novita")


def test_retries_then_failover(server: Server, make: Make) -> None:
    """Failures as a status and inside an answer are counted together; then the next provider is called."""
    server.on(CHAT, fails(code=429), json_answer({"error": "busy"}, 503), fails(code=429), PASSING["cut"], HELLO)
    stream = make(retry=Retry(attempts=3, backoff=0.01)).chat("hi", model=MODEL, provider=TWO)
    assert stream.text == "Hello"
    assert asked(server) == ["cerebras"] * 3 + ["novita"] * 2
    assert len(stream.result().failovers) == 1


def test_a_model_that_is_being_loaded(server: Server, make: Make, clock: FakeTime) -> None:
    """The wait for a model that is being loaded is bounded by the deadlines, and skipped if another provider is available."""
    loading = json_answer({"error": "Model acme/talker is currently loading", "estimated_time": 0.02}, 503)
    server.on(CHAT, *[loading] * 4, HELLO)
    inference = make(retry=Retry(attempts=2, backoff=0.01))
    assert inference.chat("hi", model=MODEL, provider="novita").text == "Hello"
    assert len(asked(server)) == 5
    server.on(CHAT, json_answer({"error": "loading", "estimated_time": 20.0}, 503), HELLO)
    assert inference.chat("hi", model=MODEL, provider=TWO).text == "Hello"
    assert asked(server)[5:] == TWO
    server.on(CHAT, json_answer({"error": "loading", "estimated_time": 20.0}, 503))
    with pytest.raises(ServerError, match="loading"):
        inference.chat("hi", model=MODEL, provider="novita", timeouts=Timeouts(total=SOON))


MISTAKES = [
    {"code": 400},
    {"code": 422},
    {"code": 401},
    {"code": 403},
    {"message": "This model's maximum context length is 4096 tokens"},
    {"type": "exceed_context_size_error"},
    {"code": "context_length_exceeded", "type": "invalid_request_error"},
    {"code": "content_filter"},
    {"type": "invalid_request_error", "param": "tools"},
    {"type": "tool_error"},
    {"message": "Input validation error: `temperature` must be positive", "http_status_code": 422},
]


@pytest.mark.parametrize("fields", MISTAKES, ids=str)
def test_errors_of_the_call_are_raised(fields: dict[str, Any], server: Server, make: Make) -> None:
    """An error that the caller has to fix is raised at once: another provider would refuse the request, too."""
    server.on(CHAT, fails(**fields), HELLO)
    with pytest.raises(GenerationError):
        make().chat("hi", model=MODEL, provider=TWO).result()
    assert len(asked(server)) == 1


@pytest.mark.parametrize(
    "beginning",
    [
        delta(content="Hel"),
        delta(reasoning_content="Hmm"),
        delta(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a'}}]),
        delta("stop"),
    ],
)
@pytest.mark.parametrize("end", [[chunk(data({"error": {"message": "broken", "code": 429}}))], [chunk(b"data: {"), RST]])
def test_no_retry_after_content(beginning: bytes, end: list[Any], server: Server, make: Make) -> None:
    """After the first content, even half a tool call, nothing is retried; the error has the answer so far."""
    server.on(CHAT, [*begun(beginning), 0.02, *end, UNTIL_GONE], HELLO)
    stream = make().chat("hi", model=MODEL, provider=TWO)
    with contextlib.suppress(HFClientError):  # with a finish_reason it is complete
        stream.result()
    reply = stream.partial
    assert (reply.text, reply.reasoning) == ("Hel" if b"Hel" in beginning else "", "Hmm" if b"Hmm" in beginning else "")
    assert reply.failovers == ()
    assert asked(server) == ["cerebras"]


# The stream over the switch


@both_transports
def test_one_stream_over_a_failover(server: Server, make: Make) -> None:
    """Events that were delivered stay; model, route, usage and request id are those of the provider that answered."""
    meta = data({"x-router-metadata": {"route": "x", "model": "first"}})
    counts = data({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 0, "total_tokens": 1}})
    broken = data({"error": {"message": "broken", "code": 500}})
    server.on(
        CHAT,
        chunked(meta, counts, broken, headers=[SSE, "X-Request-Id: r-1", "X-Inference-Provider: one"]),
        chunked(delta(content="Hi"), delta("stop"), DONE, headers=[SSE, "X-Request-Id: r-2"]),
    )
    with make().chat("hi", model=MODEL, provider=TWO) as stream:
        events = []
        for event in stream:
            events.append(event)
            if isinstance(event, Failover):
                assert stream.partial.failovers == (event,)
                assert (stream.partial.text, stream.partial.route) == ("", None)
    assert [type(event).__name__ for event in events] == ["Route", "Route", "Usage", "Failover", "Token", "Finish"]
    step = events[3]
    assert step == Failover("one", "novita", "broken", 500)
    reply = stream.result()
    assert (reply.text, reply.request_id, reply.model) == ("Hi", "r-2", f"{MODEL}:novita")
    assert (reply.route, reply.usage, reply.failovers) == (None, None, (step,))
    assert type(reply).from_dict(json.loads(json.dumps(reply.to_dict()))) == reply


@both_transports
def test_the_failed_answer_is_closed(server: Server, make: Make, clock: FakeTime) -> None:
    """The answer that failed is closed before the next provider is called."""
    gone = threading.Event()

    def asked_second(request: Any) -> None:
        assert server.client_gone.wait(PATIENCE)
        gone.set()

    server.on(CHAT, [STREAM, *silence(clock)], [asked_second, *HELLO])
    assert make(timeouts=Timeouts(first_token=PATIENCE)).chat("hi", model=MODEL, provider=TWO).text == "Hello"
    assert gone.is_set()


def test_each_has_its_first_token(server: Server, make: Make, clock: FakeTime) -> None:
    """Each provider has the whole time for its first token."""
    server.on(CHAT, [STREAM, *silence(clock)], [STREAM, lambda _: clock.advance(PATIENCE / 2), *HELLO[1:]])
    assert make(timeouts=Timeouts(first_token=PATIENCE)).chat("hi", model=MODEL, provider=TWO).text == "Hello"


@both_transports
def test_all_share_the_total(server: Server, make: Make, clock: FakeTime) -> None:
    """The total deadline is for all providers together, and the error names it as it was set."""
    server.on(CHAT, [STREAM, lambda _: clock.advance(PATIENCE), chunk(PING), UNTIL_GONE])
    timeouts = Timeouts(first_token=PATIENCE, total=1.5 * PATIENCE)
    with pytest.raises(TransportTimeout) as caught:
        make(timeouts=timeouts).chat("hi", model=MODEL, provider=[*TWO, "nscale"]).result()
    assert (caught.value.deadline, caught.value.seconds) == ("total", timeouts.total)
    assert caught.value.message.startswith(f"no complete answer within {timeouts.total:g} s")
    assert asked(server) == TWO


@both_transports
@pytest.mark.parametrize("place", ["head", "body", "pause"])
def test_cancelled_in_the_second_attempt(place: str, server: Server, make: Make, pauses: Pauses) -> None:
    """cancel() ends the second attempt anywhere: in its pause, before its head, in its body."""
    second = [STREAM, UNTIL_GONE] if place == "body" else [UNTIL_GONE]
    server.on(CHAT, fails(code=429), second)
    inference = make(retry=Retry(backoff=60.0 if place == "pause" else 0.01, max_wait=60.0))
    pauses.over.set()
    stream = inference.chat("hi", model=MODEL, provider="novita")
    first = stream._response

    def cancel() -> None:
        assert pauses.begun.wait(PATIENCE)
        if place != "pause":
            server.wait_for(2)
        if place == "body":
            wait_until(lambda: stream._response is not first)
        stream.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    started = time.monotonic()
    with pytest.raises(Cancelled) as caught:
        stream.result()
    thread.join()
    assert time.monotonic() - started < SOON
    assert caught.value.partial is not None
    assert len(server.requests) == (1 if place == "pause" else 2)


@both_transports
def test_cancelled_by_a_listener(server: Server, make: Make) -> None:
    """A listener that cancels on a failover ends the call before the next provider is called."""
    server.on(CHAT, fails(code=500), HELLO)
    streams: list[Any] = []

    def listen(event: Any) -> None:
        if isinstance(event, Failover):
            streams[0].cancel()

    streams.append(make(on_event=listen).chat("hi", model=MODEL, provider=TWO))
    with pytest.raises(Cancelled):
        streams[0].result()
    assert asked(server) == ["cerebras"]


@both_transports
def test_left_at_a_failover(server: Server, make: Make) -> None:
    """If the loop is left on a failover, the next provider is not called."""
    server.on(CHAT, fails(code=500), HELLO)
    for event in make().chat("hi", model=MODEL, provider=TWO):
        assert isinstance(event, Failover)
        break
    assert asked(server) == ["cerebras"]


def test_all_failures_are_named(server: Server, make: Make) -> None:
    """The last error is raised with the errors of all providers in order; it has its request, and no secrets."""
    server.on(
        CHAT,
        json_answer({"error": "first is down"}, 500),
        fails("second is down", code=500),
        chunked(data({"error": {"message": "third is down", "code": 500}}), headers=[SSE, "X-Request-Id: r-3"]),
    )
    stream = make().chat("hi", model=MODEL, provider=[*TWO, "nscale"])
    with pytest.raises(GenerationError) as caught:
        stream.result()
    error = caught.value
    assert str(error) == (
        "third is down (nscale was asked last; before it failed cerebras: first is down; novita: second is down)"
    )
    assert (error.request_id, error.status_code) == ("r-3", 500)
    assert error.partial is not None
    assert [(step.provider, step.to) for step in error.partial.failovers] == [("cerebras", "novita"), ("novita", "nscale")]
    assert isinstance(error.__cause__, GenerationError)
    assert isinstance(error.__cause__.__cause__, ServerError)
    assert "hf_secret" not in f"{error} {error!r} {error.to_dict()} {vars(error)}"
    with pytest.raises(GenerationError) as again:
        stream.result()
    assert str(again.value) == str(error)


def test_named_at_the_call(server: Server, make: Make) -> None:
    """The same holds for failures before there is a stream."""
    server.on(CHAT, json_answer({"error": "first"}, 500), json_answer({"error": "second"}, 500, "X-Request-Id: r-2"))
    with pytest.raises(ServerError, match=r"second \(novita was asked last; before it failed cerebras: first\)") as caught:
        make().chat("hi", model=MODEL, provider=TWO)
    assert caught.value.request_id == "r-2"


@pytest.mark.parametrize("script", [[STREAM, CLOSE], [STREAM], chunked(b"data: what?\n\n", headers=[SSE])])
def test_errors_know_their_request(script: Any, server: Server, make: Make, clock: FakeTime) -> None:
    """A cut, silence and garbage have the id of the request that they answered."""
    first = head(200, "Transfer-Encoding: chunked", SSE, "X-Request-Id: r-9")
    server.on(CHAT, [first, *(script[1:] or silence(clock))])
    with pytest.raises((StreamInterrupted, TransportTimeout, ProtocolError)) as caught:
        make(timeouts=Timeouts(first_token=PATIENCE), retry=Retry(attempts=1)).chat("hi", model=MODEL).result()
    assert caught.value.request_id == "r-9"
    assert type(caught.value)().request_id is None


# Whose money, and whose key


@pytest.mark.parametrize("script", [json_answer({"error": "no credits"}, 402), fails("no credits", code=402)])
def test_one_account(script: Script, server: Server, other_server: Server, make: Make) -> None:
    """Exhausted credits apply to all providers behind the router; a provider with its own key is called next."""
    server.on(CHAT, script)
    with pytest.raises((CreditsExhausted, GenerationError), match="no credits"):
        make().chat("hi", model=MODEL, provider=[*TWO, "auto"]).result()
    with pytest.raises((CreditsExhausted, GenerationError)):
        make().chat("hi", model=MODEL).result()
    assert asked(server) == ["cerebras", ""]
    serve(server, "groq")
    other_server.on(DIRECT, HELLO)
    inference = make(provider_keys={"groq": "gsk_1"})
    stream = inference.chat("hi", model=MODEL, provider=["cerebras", "novita", "groq"])
    assert stream.text == "Hello"
    (step,) = stream.result().failovers
    assert (step.provider, step.to, step.status_code) == ("cerebras", "groq", 402)
    other_server.on(DIRECT, script)
    server.on(CHAT, HELLO)
    assert inference.chat("hi", model=MODEL, provider=["groq", "novita"]).text == "Hello"


@both_transports
@pytest.mark.parametrize("order", [["groq", "novita"], ["novita", "groq"]])
@pytest.mark.parametrize("script", [json_answer({"error": "down"}, 500), fails(code=500)])
def test_keys_over_a_failover(
    order: list[str], script: Script, server: Server, other_server: Server, make: Make
) -> None:
    """Each attempt has the credentials of its own site only; the organisation that pays is sent to the router alone."""
    serve(server, "groq")
    failing, answering = (other_server, server) if order[0] == "groq" else (server, other_server)
    for one, path in ((server, CHAT), (other_server, DIRECT)):
        one.on(path, script if one is failing else HELLO)
    inference = make(provider_keys={"groq": "gsk_own"}, bill_to="acme")
    stream = inference.chat("hi", model=MODEL, provider=order)
    assert stream.text == "Hello"
    (routed,) = [request for request in server.requests if request.path == CHAT]
    (direct,) = other_server.requests
    assert routed.headers["authorization"] == "Bearer hf_secret"
    assert routed.headers["x-hf-bill-to"] == "acme"
    assert routed.json()["model"] == f"{MODEL}:novita"
    assert direct.headers["authorization"] == "Bearer gsk_own"
    assert direct.json()["model"] == "groq-id"
    assert "x-hf-bill-to" not in direct.headers
    assert "gsk_own" not in str([request.headers for request in server.requests])
    assert "hf_secret" not in str(direct.headers)
    if answering is other_server:
        assert stream.result().route == Route(provider="groq")


# The router's own choice


def test_fallbacks(server: Server, make: Make) -> None:
    """When the router's own choice fails, other providers of the Hub's list are tried."""
    serve(server, "cerebras", "novita", "nscale")
    busy = chunked(data({"error": {"message": "busy", "code": 429}}), headers=[SSE, "X-Inference-Provider: cerebras"])
    server.on(CHAT, busy, busy, fails("down", code=500), HELLO)
    stream = make(retry=Retry(attempts=2, backoff=0.01)).chat("hi", model=MODEL)
    assert stream.text == "Hello"
    assert asked(server) == ["", "", "novita", "nscale"]
    steps = stream.result().failovers
    assert [(step.provider, step.to) for step in steps] == [("cerebras", "novita"), ("novita", "nscale")]


def test_fallbacks_at_the_call(server: Server, make: Make) -> None:
    """The same holds if the router answers with a status; the Hub gets no request before."""
    serve(server, "novita")
    server.on(CHAT, HELLO, json_answer({"error": "bad gateway"}, 502), HELLO)
    inference = make(retry=Retry(attempts=1))
    assert inference.chat("hi", model=MODEL).text == "Hello"
    assert MAPPING not in [request.path for request in server.requests]
    first, *_ = inference.chat("hi", model=MODEL, provider="auto")
    assert (first.provider, first.to, first.status_code) == ("auto", "novita", 502)


@pytest.mark.parametrize(
    ("model", "provider"), [(f"{MODEL}:cerebras", None), (f"{MODEL}:cheapest", "auto"), (MODEL, "fastest"), (MODEL, "novita")]
)
def test_a_choice_is_kept(model: str, provider: str | None, server: Server, make: Make) -> None:
    """A provider or a routing policy that the caller named is kept."""
    serve(server, "cerebras", "novita")
    server.on(CHAT, fails(code=500), HELLO)
    with pytest.raises(GenerationError):
        make().chat("hi", model=model, provider=provider).result()
    assert [request.path for request in server.requests] == [CHAT]


@pytest.mark.parametrize(
    ("script", "mapping"),
    [
        (fails("down", code=500), json_answer({"error": "the Hub is down"}, 500)),
        (fails("down", code=500), json_answer({"id": MODEL})),
        (json_answer({"error": {"message": "down", "code": "model_not_supported"}}, 400), None),
    ],
)
def test_no_fallbacks(script: Script, mapping: Script | None, server: Server, make: Make) -> None:
    """Without another provider the failure itself is raised; the router's "no provider" means that no provider exists."""
    if mapping is not None:
        server.on(MAPPING, mapping)
    server.on(CHAT, script)
    with pytest.raises(HFClientError, match=r"^down"):
        make(retry=Retry(attempts=1)).chat("hi", model=MODEL).result()
    assert (MAPPING in [request.path for request in server.requests]) == (mapping is not None)


# What is built on streams


def test_tools_over_a_failover(server: Server, make: Make) -> None:
    """A round of run_tools that fails before its first content continues with the next provider."""

    def get_weather(city: str) -> str:
        return f"sunny in {city}"

    first = calls(call("get_weather", {"city": "Paris"}, id="c1"))
    server.on(CHAT, fails(code=500), first, fails(code=503), says("It is sunny."))
    stream = make().run_tools("Weather?", [get_weather], model=MODEL, provider=TWO)
    kinds = [type(event) for event in stream]
    assert kinds.count(Failover) == 1
    assert kinds.count(ToolResult) == 1
    reply = stream.result()
    assert (reply.text, len(reply.failovers)) == ("It is sunny.", 1)
    assert asked(server) == [*TWO, "cerebras", "cerebras"]


def test_a_run_is_cancelled_at_a_failover(server: Server, make: Make) -> None:
    """cancel() of a run reaches the current attempt, not the one before it."""
    server.on(CHAT, fails(code=500), [UNTIL_GONE])
    stream = make().run_tools("Weather?", [], model=MODEL, provider=TWO)

    def cancel() -> None:
        server.wait_for(2)
        stream.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(Cancelled) as caught:
        stream.result()
    thread.join()
    assert caught.value.partial is not None
    assert len(caught.value.partial.failovers) == 1


def test_objects_over_a_failover(server: Server, make: Make) -> None:
    """The same holds for an answer that becomes an object."""
    server.on(CHAT, fails(code=500), says('{"name": "Paris"}'))
    assert make().parse("A city?", dict[str, str], model=MODEL, provider=TWO) == {"name": "Paris"}


def test_text_over_a_failover(server: Server, make: Make) -> None:
    """Text generation: an overload in a 200 is retried, another failure moves on, a validation error is raised."""
    serve(server, "together", "featherless-ai", task="text-generation")
    together, featherless = "/together/v1/completions", "/featherless-ai/v1/completions"

    def tgi(kind: str) -> Script:
        return chunked(b"data:" + json.dumps({"error": "broken", "error_type": kind}).encode() + b"\n\n", headers=[SSE])

    good = chunked(data({"choices": [{"index": 0, "text": "ok", "finish_reason": "stop"}]}), DONE, headers=[SSE])
    server.on(together, tgi("overloaded"), tgi("incomplete_generation"))
    server.on(featherless, good)
    stream = make(router_url=server.url).text("x", model=MODEL)
    assert stream.text == "ok"
    assert [(step.provider, step.status_code) for step in stream.result().failovers] == [("together", 500)]
    assert stream.result().route == Route("", MODEL, "featherless-ai")
    paths = [request.path for request in server.requests if request.method == "POST"]
    assert paths == [together, together, featherless]
    server.on(together, tgi("validation"))
    with pytest.raises(GenerationError) as caught:
        make(router_url=server.url).text("x", model=MODEL).result()
    assert (caught.value.status_code, len(server.requests)) == (422, len(paths) + 3)


# Answers that are not streams


def test_embeddings(server: Server, make: Make) -> None:
    """Embeddings are repeated and move on by the same table; errors in the answer name their request."""
    serve(server, "together", "scaleway", task="feature-extraction")
    together, scaleway = "/together/v1/embeddings", "/scaleway/v1/embeddings"
    vectors = json_answer({"data": [{"index": 0, "embedding": [0.5]}]})
    for script, tries in [
        (json_answer({"error": "busy"}, 503), 2),
        (json_answer({"error": "busy"}, 429, "Retry-After: 20"), 1),
        (json_answer({"error": "boom"}, 500), 1),
        ([CLOSE], 2),
        ([head(200, "Content-Length: 50"), b'{"da', CLOSE], 2),
        (json_answer({"data": []}), 1),
    ]:
        server.on(together, script)
        server.on(scaleway, vectors)
        server.requests.clear()
        inference = make(retry=Retry(attempts=2, backoff=0.01))
        assert inference.embed(["x"], model=MODEL) == [[0.5]]
        assert [request.path for request in server.requests if request.method == "POST"] == [together] * tries + [scaleway]
    server.on(together, json_answer({"data": []}, 200, "X-Request-Id: r-1"))
    with pytest.raises(ProtocolError) as caught:
        make().embed(["x"], model=MODEL, provider="together")
    assert caught.value.request_id == "r-1"


def test_images_are_requested_once(server: Server, make: Make) -> None:
    """An image that may have been made is not requested from another provider; one that was refused is."""
    serve(server, "nscale", "together", task="text-to-image")
    nscale, together = "/nscale/v1/images/generations", "/together/v1/images/generations"
    good = json_answer({"data": [{"b64_json": PNG}]})
    server.on(together, good)
    for script in ([CLOSE], json_answer({"error": "bad gateway"}, 502), [head(200, "Content-Length: 50"), b"{", CLOSE]):
        server.on(nscale, script)
        server.requests.clear()
        with pytest.raises((ConnectError, ServerError)):
            make().image("a fox", model=MODEL)
        assert [request.path for request in server.requests if request.method == "POST"] == [nscale]
    for refusal in (json_answer({"error": "busy"}, 429), json_answer({"error": "busy"}, 503)):
        server.on(nscale, refusal)
        assert make().image("a fox", model=MODEL).provider == "together"
    server.on(nscale, json_answer({"error": "no credits"}, 402))
    with pytest.raises(CreditsExhausted):
        make().image("a fox", model=MODEL)


def test_images_that_were_made(server: Server, make: Make) -> None:
    """If one of several images fails, the error has those that were made."""
    serve(server, "together", task="text-to-image")
    path = "/together/v1/images/generations"
    one = json_answer({"data": [{"b64_json": PNG}]}, 200, "X-Request-Id: r-1")
    server.on(path, one, one, json_answer({"error": "no more"}, 429, "Retry-After: 900", "X-Request-Id: r-3"))
    with pytest.raises(RateLimitError) as caught:
        make().images("a fox", 4, model=MODEL, seed=7)
    error = caught.value
    assert [(image.seed, image.request_id) for image in error.completed] == [(7, "r-1"), (8, "r-1")]
    assert error.request_id == "r-3"
    assert "made" not in error.to_dict()
    json.dumps(error.to_dict())


def test_results_that_were_fetched(server: Server, other_server: Server, make: Make) -> None:
    """The same holds if one of several results of a request cannot be fetched, or is not an image."""
    serve(server, "together", task="text-to-image")
    links = {"data": [{"b64_json": PNG}, {"url": f"{other_server.url}/gone.png"}]}
    server.on("/together/v1/images/generations", json_answer(links))
    other_server.on("/gone.png", json_answer({"error": "expired"}, 404))
    with pytest.raises(APIStatusError) as caught:
        make().images("a fox", 2, model=MODEL)
    assert [image.mime for image in caught.value.completed] == ["image/png"]
    bad = {"data": [{"b64_json": base64.b64encode(b"<html>").decode()}]}
    server.on("/together/v1/images/generations", json_answer(bad, 200, "X-Request-Id: r-1"))
    with pytest.raises(ProtocolError) as odd:
        make().image("a fox", model=MODEL)
    assert (odd.value.request_id, odd.value.completed) == ("r-1", ())
