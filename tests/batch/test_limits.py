"""Batches at servers that limit, fail, die and come back: a limit costs time, never an answer."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client
from hfclient.credentials import Credentials, Secret
from hfclient.errors import (
    AuthenticationError,
    BadRequestError,
    ConnectError,
    CreditsExhausted,
    HFClientError,
    InvalidInputError,
    NotFoundError,
    RateLimitError,
    TransportTimeout,
)
from hfclient.inference import InferenceClient
from hfclient.transport import Session, Transport
from hfclient.web import Admission, Guard
from hfclient.web.errors import StoreUnavailable
from tests.batch.fault_server import FaultServer
from tests.server import PATIENCE, Server, json_answer
from tests.services import RedisServer

pytestmark = pytest.mark.timeout(240)  # thousands of requests


def client_of(server: FaultServer) -> Client:
    return Client(server.url, token="", cookies="", session="", inference_url=server.url)


def prompts_of(count: int) -> list[str]:
    return [f"prompt {number}" for number in range(count)]


@pytest.fixture(params=["greenlets", "threads"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both engines: without the extra a batch runs in threads."""
    if request.param == "threads":
        monkeypatch.setattr("hfclient.batch.engines._transport_for", lambda call: None)
    return str(request.param)


@pytest.mark.parametrize("told", ["retry-after-ms", "ratelimit", ""])
def test_thousands_at_a_limit(told: Any) -> None:
    """2,000 items at 200 requests in a tenth of a second: each is answered exactly once, whatever a refusal looks like."""
    prompts = prompts_of(2000)
    with FaultServer(limit=200, window=0.1, told=told) as server, client_of(server) as client:
        results = list(client.inference.map(prompts, model="m"))
        assert [result.value.text for result in results if result.ok] == [prompt.upper() for prompt in prompts]
        assert server.answered == Counter(prompts)


def test_limit_and_faults(engine: str) -> None:
    """With a limit and with faults of all kinds, one item in five, all items are answered, and each one once in the output."""
    prompts = prompts_of(600)
    faults = {"500": 0.04, "502": 0.02, "503": 0.04, "429": 0.02, "reset": 0.03, "cut": 0.02, "garbage": 0.03}
    with FaultServer(limit=200, window=0.1, told="retry-after-ms", faults=faults, most_faults=3) as server, client_of(server) as client:
        results = list(client.inference.map(prompts, model="m"))
        assert [result.value.text for result in results if result.ok] == [prompt.upper() for prompt in prompts]
        assert server.answered == Counter(prompts)
        assert set(server.outcomes) >= set(faults)


def test_too_many_at_a_time(engine: str) -> None:
    """A server that takes 8 requests at a time answers all of them; it does not get 64 again and again, of which most are refused."""
    prompts = prompts_of(500)
    with FaultServer(concurrent=8, seconds=0.01) as server, client_of(server) as client:
        results = list(client.inference.map(prompts, model="m"))
        assert all(result.ok for result in results)
        assert server.answered == Counter(prompts)
        assert server.outcomes["503"] < len(prompts) / 2  # seven for each prompt, if the client did not learn; see test_pace.py


def test_server_dies_and_comes_back(engine: str, tmp_path: Path) -> None:
    """Items wait for a server that is restarted, and are answered then."""
    prompts = prompts_of(300)
    with FaultServer(die_after=100, down=0.5) as server, client_of(server) as client:
        results = list(client.inference.map(prompts, model="m", checkpoint=tmp_path / "out.jsonl"))
        assert all(result.ok for result in results)
        assert set(server.answered) == set(prompts)
        assert sum(server.asked.values()) <= 300 + 64


def test_server_is_gone() -> None:
    """A server that does not come back within the patience stops the batch; the items that were not asked wait for the next run."""
    with FaultServer(die_after=20) as server, client_of(server) as client:
        batch = client.inference.map(prompts_of(1000), model="m", patience=1.0)
        received = []
        # Connections are refused; on a machine without time for them they take too long.
        with pytest.raises((ConnectError, TransportTimeout), match=r"stopped, because m has not answered .*patience=1"):
            received.extend(batch)
        assert sum(result.ok for result in [*received, *batch.unread]) >= 20
        assert len(batch.errors) < 10


REFUSALS: dict[str, tuple[int, Any, type[HFClientError]]] = {
    "key": (401, {"message": "the key is not valid"}, AuthenticationError),
    "credits": (402, {"message": "no credits are left"}, CreditsExhausted),
    "quota": (429, {"message": "you exceeded your current quota", "code": "insufficient_quota"}, RateLimitError),
    "model": (404, {"message": "there is no model m", "code": "model_not_found"}, NotFoundError),
    "address": (404, "Not Found", NotFoundError),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_stops_where_all_would_fail(name: str, tmp_path: Path, engine: str) -> None:
    """What every further item would be refused for ends the batch after a few of them; the next run asks the others."""
    status, error, kind = REFUSALS[name]
    prompts = prompts_of(1000)
    path = tmp_path / "out.jsonl"
    with FaultServer() as server, client_of(server) as client:

        def items() -> Iterator[str]:
            for number, prompt in enumerate(prompts):
                if number == 300:
                    server.refusal = (status, error)
                yield prompt

        batch = client.inference.map(items(), model="m", workers=16, checkpoint=path)
        received = []
        with pytest.raises(kind, match="10 calls in a row failed in the same way"):
            received.extend(batch)
        received += batch.unread
        # Up to 16 answers may come between refusals: each of them begins a new row.
        assert sum(server.outcomes.values()) - server.outcomes["200"] < 10 * 17 + 16
        assert len(received) == sum(server.outcomes.values())
        server.refusal = None
        results = client.inference.map(prompts, model="m", checkpoint=path).results()
        assert all(result.ok for result in results)
        assert server.answered == Counter(prompts)


def test_errors_of_few_items_are_values() -> None:
    """A few items with a refused key have errors, and a bad request is an error of its item, however many there are."""
    with FaultServer(refusal=(401, {"message": "no"})) as server, client_of(server) as client:
        assert [type(result.error) for result in client.inference.map(prompts_of(5), model="m")] == [AuthenticationError] * 5
        server.refusal = (400, {"message": "the prompt is too long"})
        assert [type(result.error) for result in client.inference.map(prompts_of(50), model="m")] == [BadRequestError] * 50


def test_announced_limits() -> None:
    """An answer that says that nothing is left holds the next requests: none is refused."""
    with FaultServer(limit=4, window=0.3, announce=True) as server, client_of(server) as client:
        results = list(client.inference.map(prompts_of(24), model="m", workers=1))
        assert all(result.ok for result in results)
        assert server.outcomes == {"200": 24}


def test_rate() -> None:
    """``rate=`` spaces the requests evenly, and a longer window admits its amount at once."""
    with FaultServer() as server, client_of(server) as client:
        began = time.monotonic()
        list(client.inference.map(prompts_of(30), model="m", rate="100/second"))
        assert server.started[-1] - began >= 0.25
        assert list(client.inference.map(prompts_of(20), model="m", rate="20/hour"))
        with pytest.raises(InvalidInputError, match="rate='fast'"):
            client.inference.map([], model="m", rate="fast")


def test_tokens() -> None:
    """``tokens=`` counts what answers used, not what was expected of them."""
    with FaultServer(tokens=1000) as server, client_of(server) as client:
        began = time.monotonic()
        list(client.inference.map(prompts_of(12), model="m", tokens="20000/second"))
        assert server.started[-1] - began >= 0.4


def test_guard(engine: str) -> None:
    """A guard in Redis holds for two batches together."""
    prompts = prompts_of(40)
    with RedisServer() as redis, FaultServer() as server, client_of(server) as client:
        guard = Guard(redis.url, per_key={"requests": "20/second", "tokens": "100000/day"})
        threads = [
            threading.Thread(target=lambda part=part: client.inference.map(part, model="m", guard=guard).results())
            for part in (prompts[:20], prompts[20:])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert server.answered == Counter(prompts)
        assert {left.used for left in guard.usage("map", key="m") if left.scope == "tokens"} == {40 * 8}


def test_store_of_the_guard_is_down() -> None:
    """A guard that refuses without its store stops the batch after the patience, and no item is asked."""
    with FaultServer() as server, client_of(server) as client:
        guard = Guard("redis://127.0.0.1:1", requests="20/second", on_store_error="refuse")
        with pytest.raises(StoreUnavailable, match="the store of the limits"):
            client.inference.map(prompts_of(20), model="m", guard=guard, patience=0.2).results()
        assert not server.asked


def test_an_answer_that_a_guard_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer whose use is being counted when the batch is closed is kept."""
    is_first, counting, is_closed = threading.Semaphore(1), threading.Event(), threading.Event()
    close = Admission.close

    def close_late(admission: Admission) -> None:
        if not is_first.acquire(blocking=False):
            counting.set()
            is_closed.wait(PATIENCE)
        close(admission)

    monkeypatch.setattr(Admission, "close", close_late)
    with FaultServer() as server, client_of(server) as client:
        batch = client.inference.map(["a", "b"], model="m", ordered=False, guard=Guard(requests="1000/second"))
        first = next(batch)
        assert counting.wait(PATIENCE)
        batch.close()
        is_closed.set()
        assert {first.value.text, *(result.value.text for result in batch.unread)} == {"A", "B"}


@pytest.fixture
def two_providers(server: Server, transport: Transport, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FaultServer, InferenceClient]]:
    """A router with two providers of a model."""
    found = {name: {"status": "live", "providerId": f"{name}-id", "task": "conversational"} for name in ("cerebras", "novita")}
    server.on("/api/models/acme/talker", json_answer({"id": "acme/talker", "inferenceProviderMapping": found}))
    with FaultServer() as router:
        for module in ("server_urls", "routing.candidates"):
            monkeypatch.setattr(f"hfclient.inference.{module}.ROUTER_URL", router.url)
        credentials = Credentials(token=Secret("hf_secret"), explicit=True, token_urls=[router.url], chat_url="http://chat.invalid")
        session = Session(transport, credentials)
        yield router, InferenceClient(session, base_url=router.url, hub_url=server.url)


def test_other_provider(two_providers: tuple[FaultServer, InferenceClient]) -> None:
    """Where the first provider limits, the other one gets the items: its requests are not held, and none is lost."""
    router, inference = two_providers
    router.limits = {":cerebras": 20}
    router.count = True
    prompts = prompts_of(400)
    results = list(inference.map(prompts, model="acme/talker", provider=["cerebras", "novita"], price=lambda *_: 0.0, workers=16))
    assert all(result.ok for result in results)
    assert router.answered == Counter(prompts)
    assert router.outcomes["429"] < len(prompts) / 4  # up to 16 when the limit is found, and each time that it is tested again
    by = Counter(result.value.route.provider if result.value.route else result.value.model for result in results)
    assert len(by) == 2


def test_provider_without_credits(two_providers: tuple[FaultServer, InferenceClient]) -> None:
    """A provider that refuses all items is given up; the other one answers all of them."""
    router, inference = two_providers
    router.keys = None
    prompts = prompts_of(100)
    refuse = router._received

    def received(connection: Any, head: bytes, body: bytes) -> None:
        if b":cerebras" in body:
            router._refuse(connection, 402, {"message": "no credits"})
        else:
            refuse(connection, head, body)

    router._received = received  # type: ignore[method-assign]
    results = list(inference.map(prompts, model="acme/talker", provider=["cerebras", "novita"], price=lambda *_: 0.0, workers=8))
    assert all(result.ok for result in results)
    assert router.outcomes["402"] < 10 + 8
