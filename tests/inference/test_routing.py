"""Chat through providers: several in order, own keys, and where credentials never go."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from hfclient.credentials import Credentials, Secret
from hfclient.errors import (
    AuthenticationError,
    Cancelled,
    ConnectError,
    CredentialsError,
    GenerationError,
    InvalidInputError,
    ModelNotFound,
    ProtocolError,
    RateLimitError,
    ServerError,
    StreamInterrupted,
    TransportTimeout,
    Unsupported,
)
from hfclient.events import Failover, Finish, Route, Token
from hfclient.inference import InferenceClient
from hfclient.inference.models.mapping import ProviderEntry
from hfclient.inference.providers.addresses import ADDRESSES
from hfclient.inference.providers.addresses import Target as Where
from hfclient.inference.routing.candidates import Candidate
from hfclient.inference.routing.failover import Providers, may_fail_over
from hfclient.inference.routing.provider_client import ProviderClient
from hfclient.transport import Clock, Retry, Session, Timeouts
from hfclient.transport.requests_transport import RequestsTransport
from tests.clock import FakeTime
from tests.inference.answers import CHAT, says, silence
from tests.server import CLOSE, PATIENCE, SOON, Script, Server, json_answer

MODEL = "acme/talker"
HELLO = says("Hello")

Make = Callable[..., InferenceClient]


@pytest.fixture
def make(server: Server, other_server: Server, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes clients of the router (the server) and of a provider named groq, whose own site is the other server."""
    transport = RequestsTransport()
    addresses = {**ADDRESSES, "groq": evolve(ADDRESSES["groq"], direct=other_server.url)}
    monkeypatch.setattr("hfclient.inference.routing.candidates.ADDRESSES", addresses)
    # The router is known by its address: here it is the test's server.
    monkeypatch.setattr("hfclient.inference.server_urls.ROUTER_URL", f"{server.url}/v1")
    monkeypatch.setattr("hfclient.inference.routing.candidates.ROUTER_URL", f"{server.url}/v1")

    def make(**options: Any) -> InferenceClient:
        policy: dict[str, Any] = {"timeouts": Timeouts(idle=PATIENCE), "retry": Retry(backoff=0.01)}
        policy.update({key: options.pop(key) for key in ("timeouts", "retry") if key in options})
        token = options.pop("token", "hf_secret")
        credentials = Credentials(
            token=Secret(token) if token else None, explicit=True, token_urls=[server.url], chat_url="http://chat.invalid"
        )
        return InferenceClient(
            Session(transport, credentials, **policy), **{"base_url": f"{server.url}/v1", "hub_url": server.url, **options}
        )

    yield make
    transport.close()


def asked(server: Server) -> list[str]:
    """The models that were requested."""
    return [request.json()["model"] for request in server.requests if request.method == "POST"]


def test_one_provider(server: Server, make: Make) -> None:
    """One provider is a suffix of the model; the router's own choice has none."""
    server.on(CHAT, HELLO)
    inference = make()
    assert inference.chat("hi", model=MODEL, provider="novita").text == "Hello"
    assert inference.chat("hi", model=MODEL).text == "Hello"
    assert asked(server) == [f"{MODEL}:novita", MODEL]


@pytest.mark.parametrize(
    ("script", "status"),
    [
        (json_answer({"error": "overloaded"}, 503), 503),
        (json_answer({"error": "slow down"}, 429), 429),
        (json_answer({"error": "boom"}, 500), 500),
        (json_answer({"error": {"message": "x", "code": "model_not_supported"}}, 400), 400),
        (json_answer({"error": "gateway"}, 504), 504),
        ([CLOSE], None),
        (None, None),
    ],
)
def test_the_next_provider(server: Server, make: Make, clock: FakeTime, script: Script | None, status: int | None) -> None:
    """If a provider refuses or is silent before its first token, the stream begins with a failover to the next."""
    server.on(CHAT, script or silence(clock, last=b"HTTP/1.1 2"), HELLO)
    inference = make(timeouts=Timeouts(first_token=PATIENCE), retry=Retry(attempts=1))
    stream = inference.chat("hi", model=MODEL, provider=["cerebras", "novita"])
    first, *rest = list(stream)
    assert isinstance(first, Failover)
    assert (first.provider, first.to, first.status_code) == ("cerebras", "novita", status)
    assert rest == [Token("Hello"), Finish("stop")]
    assert asked(server) == [f"{MODEL}:cerebras", f"{MODEL}:novita"]
    assert stream.result().model == f"{MODEL}:novita"


def test_retries_before_failover(server: Server, make: Make) -> None:
    """What may pass is repeated at the same provider; then comes the next one, and the last failure is raised."""
    server.on(CHAT, json_answer({"error": "overloaded"}, 503))
    with pytest.raises(ServerError) as caught:
        make(retry=Retry(attempts=2, backoff=0.01)).chat("hi", model=MODEL, provider=["cerebras", "auto"])
    assert asked(server) == [f"{MODEL}:cerebras"] * 2 + [MODEL] * 2
    assert isinstance(caught.value.__cause__, ServerError)
    assert caught.value.attempts == 2


def test_a_long_retry_after_moves_on(server: Server, make: Make) -> None:
    """If another provider is available, a long Retry-After moves on to it at once."""
    server.on(CHAT, json_answer({"error": "slow down"}, 429, "Retry-After: 20"), HELLO)
    started = time.monotonic()
    assert make().chat("hi", model=MODEL, provider=["cerebras", "novita"]).text == "Hello"
    assert time.monotonic() - started < SOON
    assert asked(server) == [f"{MODEL}:cerebras", f"{MODEL}:novita"]


def test_one_deadline_for_all(server: Server, make: Make, clock: FakeTime) -> None:
    """The total deadline is for all providers together, not for each."""
    server.on(CHAT, [lambda _: clock.advance(0.4 * PATIENCE), json_answer({"error": "boom"}, 500)])
    providers = ["cerebras", "novita", "nscale", "groq"]
    with pytest.raises(TransportTimeout) as caught:
        make().chat("hi", model=MODEL, provider=providers, timeouts=Timeouts(total=PATIENCE))
    assert (caught.value.deadline, caught.value.seconds) == ("total", PATIENCE)
    assert asked(server) == [f"{MODEL}:{provider}" for provider in providers[:3]]


def test_errors_of_the_call_are_raised(server: Server, make: Make) -> None:
    """A refused token or a bad request is raised at once: the next provider would refuse it, too."""
    server.on(CHAT, json_answer({"error": "invalid token"}, 401))
    with pytest.raises(AuthenticationError):
        make().chat("hi", model=MODEL, provider=["cerebras", "novita"])
    assert len(server.requests) == 1


def test_failover_events_reach_the_client(server: Server, make: Make) -> None:
    """The client's listener gets the failover once, in the order of the stream."""
    server.on(CHAT, json_answer({"error": "boom"}, 500), HELLO)
    seen: list[Any] = []
    stream = make(on_event=seen.append).chat("hi", model=MODEL, provider=["cerebras", "novita"])
    assert list(stream) == seen
    assert [type(event) for event in seen] == [Failover, Token, Finish]


def test_own_key(server: Server, other_server: Server, make: Make) -> None:
    """A provider with its own key is called on its own site, with its own name of the model and only that key."""
    mapped = {"groq": {"status": "live", "providerId": "talker-70b", "task": "conversational"}}
    server.on(f"/api/models/{MODEL}", json_answer({"id": MODEL, "inferenceProviderMapping": mapped}))
    other_server.on("/openai/v1/chat/completions", HELLO)
    inference = make(provider_keys={"groq": "gsk_1"}, bill_to="acme")
    stream = inference.chat("hi", model=MODEL, provider="groq")
    assert list(stream) == [Route(provider="groq"), Token("Hello"), Finish("stop")]
    assert stream.result().model == "talker-70b"
    assert other_server.last.headers["authorization"] == "Bearer gsk_1"
    assert "x-hf-bill-to" not in other_server.last.headers
    assert asked(other_server) == ["talker-70b"]
    assert "gsk_1" not in str([request.headers for request in server.requests])
    assert inference.chat("hi", model=f"{MODEL}:groq").text == "Hello"
    assert asked(server) == []


def test_own_key_without_a_token(server: Server, other_server: Server, make: Make) -> None:
    """A key is enough: no token is needed, and a name that the Hub does not know is the provider's own."""
    server.on("/api/models/talker-70b", json_answer({"error": "Repository not found"}, 404))
    other_server.on("/openai/v1/chat/completions", HELLO)
    inference = make(provider_keys={"groq": "gsk_1"}, token="")
    assert inference.chat("hi", model="talker-70b", provider="groq").text == "Hello"
    assert asked(other_server) == ["talker-70b"]
    with pytest.raises(CredentialsError):
        inference.chat("hi", model=MODEL)


def test_own_key_next_to_an_own_server(server: Server, other_server: Server, make: Make) -> None:
    """A key works next to a server of the caller's own; either can be the fallback of the other."""
    server.on("/api/models/llama", json_answer({"error": "Repository not found"}, 404))
    other_server.on("/openai/v1/chat/completions", HELLO)
    inference = make(base_url=f"{other_server.url}/mine/v1", provider_keys={"groq": "gsk_1"})
    other_server.on("/mine/v1/chat/completions", json_answer({"error": "boom"}, 500))
    assert inference.chat("hi", model="llama", provider=["auto", "groq"]).text == "Hello"
    with pytest.raises(Unsupported, match="only Hugging Face's router"):
        inference.chat("hi", model="llama", provider="novita")


def test_providers_that_cannot_chat(server: Server, make: Make) -> None:
    """A provider without chat models is refused before anything is sent."""
    inference = make(provider_keys={"fal-ai": "k"})
    with pytest.raises(Unsupported, match="does not have conversational"):
        inference.chat("hi", model=MODEL, provider="fal-ai")
    with pytest.raises(InvalidInputError):
        inference.chat("hi", model=MODEL, provider=["not a provider!"])
    assert server.requests == []


# The decision itself


def failure(cls: Any, **fields: Any) -> Any:
    error = cls("x")
    for name, value in fields.items():
        setattr(error, name, value)
    return error


@pytest.mark.parametrize(
    ("error", "text", "paid"),
    [
        (failure(ServerError, status_code=500), True, True),
        (failure(ServerError, status_code=504), True, False),
        (failure(ServerError, status_code=524), True, False),
        (failure(RateLimitError, status_code=429), True, True),
        (failure(ModelNotFound, status_code=400), True, True),
        (failure(AuthenticationError, status_code=401), False, False),
        (failure(ConnectError, sent=False), True, True),
        (failure(ConnectError, sent=True), True, False),
        (failure(TransportTimeout, deadline="connect"), True, True),
        (failure(TransportTimeout, deadline="first_token"), True, False),
        (failure(TransportTimeout, deadline="total"), False, False),
        (failure(ServerError, status_code=502), True, False),
        (GenerationError("x"), True, False),
        (failure(GenerationError, status_code=503), True, True),
        (failure(GenerationError, status_code=500), True, False),
        (failure(GenerationError, status_code=422), False, False),
        (failure(StreamInterrupted), True, False),
        (failure(ProtocolError), True, False),
        (failure(Cancelled), False, False),
        (InvalidInputError("x"), False, False),
    ],
)
def test_when_to_failover(error: Any, text: bool, paid: bool) -> None:
    """Whether another provider may be tried depends on whether the first one may still work on it, and bill it."""
    assert may_fail_over(error, billed=False) is text
    assert may_fail_over(error, billed=True) is paid


def test_each_provider() -> None:
    """Each provider is tried once, the last one is known as the last, and failovers are recorded and reported."""
    names = ["a", "b", "c"]
    session = Session(RequestsTransport(), Credentials())
    service = InferenceClient(session)._service
    providers = Providers([Candidate(ProviderEntry(name, "m"), Where("http://h")) for name in names], billed=True)
    client = ProviderClient(session, Clock(Timeouts()))
    tried: list[tuple[str, bool]] = []
    told: list[Failover] = []
    for attempt in service.each_provider(providers, client, told.append):
        with attempt:
            tried.append((providers.candidate.provider, not providers.left))
            if providers.left:
                raise failure(ServerError, status_code=500)
    assert tried == [("a", False), ("b", False), ("c", True)]
    assert [(step.provider, step.to) for step in told] == [("a", "b"), ("b", "c")]
    assert providers.failovers == told
