"""Limits of requests, tokens and credits, with counters in memory."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hfclient import Client, errors
from hfclient.events import AnyEvent, FinalAnswer, Reasoning, Route, Token, ToolCall, Usage
from hfclient.types import Reply
from hfclient.web import Guard, RouterPrices, Watched
from hfclient.web.errors import LimitExceeded, StoreUnavailable, WebError
from tests.chat.replay import JSONL, STARTED, ChatUI, lines, token, wait_until
from tests.inference.answers import CHAT, begun, call, calls, delta, says
from tests.server import RST, UNTIL_GONE, Server, chunk, head, json_answer

pytest.importorskip("limits")

NOON = 1_800_014_400.0  # 12:00 UTC


class Answer:
    """A source with given events, and an error at the end if one is given."""

    def __init__(self, *events: AnyEvent, error: Exception | None = None) -> None:
        self.events = events
        self.error = error
        self.closed = 0

    def __iter__(self) -> Iterator[AnyEvent]:
        yield from self.events
        if self.error is not None:
            raise self.error

    def ticks(self, seconds: float) -> Iterator[AnyEvent | None]:
        yield None
        yield from self

    def close(self) -> None:
        self.closed += 1


class Clock:
    """The time of the counters' windows."""

    def __init__(self) -> None:
        self.now = NOON

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that only moves when a test moves it."""
    found = Clock()
    for module in ("guard", "admission", "limit_store"):
        monkeypatch.setattr(f"hfclient.web.{module}.time", found)
    return found


def used(guard: Guard, user: object = "ann", key: object = None) -> dict[str, float]:
    return {f"{one.per} {one.scope}": one.used for one in guard.usage(user, key=key)}


def read(guard: Guard, *events: AnyEvent, user: object = "ann", error: Exception | None = None, **options: Any) -> Answer:
    """Read an answer to its end."""
    answer = Answer(*events, error=error)
    for _ in guard.watch(lambda: answer, user=user, **options):
        pass
    return answer


def test_requests_of_each_user(clock: Clock) -> None:
    """A limit is used up by the requests of one user, says when it ends, and begins again with the next window."""
    guard = Guard(requests="2/minute")
    clock.now += 20
    for _ in range(2):
        read(guard, Token("hi"))
    with pytest.raises(LimitExceeded, match="2 requests in 60 seconds for each user") as refused:
        read(guard, Token("hi"))
    assert (refused.value.retry_after, refused.value.scope) == (40.0, "requests")
    read(guard, Token("hi"), user="bob")
    clock.now += 40
    read(guard, Token("hi"))
    assert used(guard) == {"user requests": 1}


def test_refused_requests_do_not_count(clock: Clock) -> None:
    """A refusal by one limit counts in none of them, and the call is not made."""
    guard = Guard(requests="5/minute", tokens="10000/day", total={"requests": "1/minute"})
    read(guard, Token("hi"), user="bob")
    answer = Answer()
    calls: list[int] = []
    for _ in range(9):
        with pytest.raises(LimitExceeded):
            guard.watch(lambda: calls.append(1) or answer, user="ann")()
    assert calls == []
    assert used(guard) == {"user tokens": 0, "user requests": 0, "total requests": 1}


def test_the_longest_wait_is_named(clock: Clock) -> None:
    """Of two limits that are used up, the refusal names the one that lasts longer."""
    guard = Guard(requests="1/minute; 1/hour")
    read(guard)
    with pytest.raises(LimitExceeded) as refused:
        guard.admit("ann")
    assert refused.value.retry_after == 3600.0


@pytest.mark.parametrize("limit", ["requests", "tokens", "credits"])
def test_twenty_requests_at_once(limit: str) -> None:
    """Of twenty requests at the same moment, one passes a limit with one left."""
    amount = "0.000001/day" if limit == "credits" else "1/day"
    guard = Guard(price=lambda *_: 0.0, **{limit: amount})  # type: ignore[arg-type]
    barrier = threading.Barrier(20)

    def admit(_: int) -> str | None:
        barrier.wait()
        try:
            guard.admit("ann")
        except LimitExceeded as error:
            return error.scope
        return None

    with ThreadPoolExecutor(20) as pool:
        scopes = list(pool.map(admit, range(20)))
    assert (scopes.count(None), scopes.count(limit)) == (1, 19)


def test_reported_tokens_replace_the_reservation() -> None:
    """While an answer is read its reservation counts; afterwards its report, the sum of all rounds."""
    guard = Guard(tokens="5000/day")
    answer = Answer(Token("a"), Usage(10, 5, 15), Token("b"), Usage(20, 7, 27))
    events = iter(guard.watch(lambda: answer, user="ann", prompt="x" * 400))
    next(events)
    assert used(guard) == {"user tokens": 1100}
    assert len(list(events)) == 3
    assert used(guard) == {"user tokens": 42}


def test_reserved_tokens_can_be_named() -> None:
    """The caller says what an answer may use at most, or what is usual."""
    guard = Guard(tokens="5000/day", reserve={"tokens": 50})
    first, second = guard.admit("ann"), guard.admit("ann", tokens=700)
    assert used(guard) == {"user tokens": 750}
    first.close()
    second.close()
    assert used(guard) == {"user tokens": 0}


def test_estimate_without_a_report() -> None:
    """A server that sends no usage: a token for each four bytes of prompt, text, reasoning and calls of tools."""
    guard = Guard(tokens="50000/day")
    read(guard, Reasoning("r" * 40), Token("t" * 80), ToolCall("1", "f", arguments="x" * 20), prompt="p" * 400)
    assert used(guard) == {"user tokens": 135}
    read(guard, Token("数" * 40), user="bob", prompt=[{"content": [{"text": "é" * 20}]}])
    assert used(guard, "bob") == {"user tokens": 40}


def test_estimate_of_a_final_answer() -> None:
    """The final answer repeats the tokens; one that has more of them counts instead."""
    guard = Guard(tokens="50000/day")
    read(guard, Token("t" * 40), FinalAnswer("t" * 40))
    read(guard, Token("t" * 40), FinalAnswer("t" * 80), user="bob")
    assert (used(guard), used(guard, "bob")) == ({"user tokens": 10}, {"user tokens": 20})


def test_images_are_not_text() -> None:
    """Data URLs in a prompt are not counted as text, and neither are bytes."""
    guard = Guard(tokens="50000/day")
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 4000}}
    read(guard, Token("four"), prompt=[{"role": "user", "content": [image, b"x" * 4000]}])
    assert used(guard) == {"user tokens": 5}  # "user" and "image_url" count


@pytest.mark.parametrize("error", [errors.GenerationError("x"), errors.StreamInterrupted("x"), ValueError("x")])
def test_an_answer_that_fails(error: Exception) -> None:
    """What came before a failure is counted, and the failure is passed on."""
    guard = Guard(requests="9/day", tokens="5000/day")
    with pytest.raises(type(error)):
        read(guard, Token("t" * 40), error=error)
    assert used(guard) == {"user requests": 1, "user tokens": 10}


def test_leaving_an_answer() -> None:
    """An answer that is left early counts what came; closing it again, and from another thread, counts nothing more."""
    guard = Guard(tokens="5000/day")
    answer = Answer(Token("t" * 40), Token("t" * 40))
    watched = guard.watch(lambda: answer, user="ann")
    next(iter(watched))
    thread = threading.Thread(target=watched.close)
    thread.start()
    thread.join()
    watched.close()
    assert answer.closed == 2
    assert used(guard) == {"user tokens": 10}


@pytest.mark.parametrize(
    ("error", "requests", "tokens"),
    [
        (errors.InvalidInputError("an empty prompt"), 0, 0),
        (errors.CredentialsError("none"), 0, 0),
        (errors.ConnectError("refused", sent=False), 0, 0),
        (errors.ServerError("x", status_code=503), 1, 0),
        (errors.RateLimitError("x", status_code=429), 1, 0),
        (errors.TransportTimeout("x"), 1, 100),
        (errors.Cancelled("x"), 1, 100),
    ],
    ids=lambda value: type(value).__name__,
)
def test_calls_that_fail(error: errors.HFClientError, requests: int, tokens: int) -> None:
    """A call that was not sent does not count; a refusal counts a request; an unknown outcome counts the prompt, too."""
    guard = Guard(requests="9/day", tokens="5000/day")

    def call() -> Answer:
        raise error

    with pytest.raises(type(error)):
        guard.watch(call, user="ann", prompt="p" * 400)()
    assert used(guard) == {"user requests": requests, "user tokens": tokens}


def test_a_source_that_is_never_opened() -> None:
    """Nothing counts for a source that is not admitted, or is closed before it is opened."""
    guard = Guard(requests="1/day", tokens="5000/day")
    guard.watch(Answer, user="ann").close()
    guard.watch(Answer, user="ann")
    admitted = guard.watch(Answer, user="ann").admit()
    with pytest.raises(LimitExceeded):
        guard.watch(Answer, user="ann").admit()
    assert admitted.admit() is admitted
    admitted.close()
    assert used(guard) == {"user requests": 0, "user tokens": 0}


def test_closing_while_the_call_waits() -> None:
    """A browser that leaves before the first byte does not get its request back: the provider has received it."""
    guard = Guard(requests="9/day", tokens="5000/day")
    answer, go, called = Answer(Token("t")), threading.Event(), threading.Event()

    def call() -> Answer:
        called.set()
        assert go.wait(30)
        return answer

    watched = guard.watch(call, user="ann", prompt="p" * 400)
    with ThreadPoolExecutor(1) as pool:
        opened = pool.submit(watched)
        assert called.wait(30)
        watched.close()
        go.set()
        opened.result(30)
    assert answer.closed == 1
    assert used(guard)["user requests"] == 1


def test_closing_from_many_threads() -> None:
    """Threads that close an answer at the same moment correct the counters once."""
    guard = Guard(tokens="99000/day")
    for number in range(50):
        guard.admit(number)  # another answer, whose reservation stays
        watched = guard.watch(lambda: Answer(Token("t" * 40)), user=number)
        watched()
        barrier = threading.Barrier(4)

        def close(watched: Watched = watched, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            watched.close()

        threads = [threading.Thread(target=close) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert used(guard, number) == {"user tokens": 1000}


def test_opening_from_two_threads() -> None:
    """Two threads that admit a source at the same moment count one request."""
    guard = Guard(requests="9/day")
    watched = guard.watch(Answer, user="ann")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: watched.admit(), range(8)))
    assert used(guard) == {"user requests": 1}


def test_closed_during_the_admission() -> None:
    """A source that is closed while it is being admitted does not make the call, and gives the request back."""
    guard = Guard(requests="9/day")
    watched = guard.watch(lambda: pytest.fail("called"), user="ann").admit()
    watched._is_closed = True
    with pytest.raises(errors.Cancelled):
        watched()
    assert used(guard) == {"user requests": 0}


def test_one_admission_for_each_source() -> None:
    """Opening, ticks and iterating share one admission: a relay that opens a source does not count it twice."""
    guard = Guard(requests="9/day", tokens="5000/day")
    watched = guard.watch(lambda: Answer(Token("t" * 40)), user="ann").admit()
    source = watched()
    assert source is watched
    assert list(source.ticks(1)) == [None, Token("t" * 40)]
    watched.close()
    assert used(guard) == {"user requests": 1, "user tokens": 10}


def test_keys_and_totals() -> None:
    """A key has limits across users, and the total across all keys."""
    guard = Guard(per_key={"requests": "2/day"}, total={"requests": "3/day"})
    read(guard, user=None, key="acme")
    read(guard, user=None, key="acme")
    with pytest.raises(LimitExceeded, match="for each key"):
        read(guard, user=None, key="acme")
    read(guard, user=None, key="other")
    with pytest.raises(LimitExceeded, match="in all"):
        read(guard, user=None, key="third")
    assert used(guard, key="acme") == {"key requests": 2, "total requests": 3}


def test_names_of_users() -> None:
    """Ids of any kind and length are hashed: keys have one length, and nothing of the id."""
    guard = Guard(requests="1/day", total={"requests": "99/day"})
    names: list[object] = ["ann", "a" * 100_000, "x/requests/86400\r\nDEL *", "\udcff", 7, ("a", 1)]
    for name in names:
        read(guard, user=name)
    keys = list(guard.store._storage.storage)
    assert len(keys) == len(names) + 1
    assert all(key.isascii() and len(key) < 100 and "ann" not in key and "DEL" not in key for key in keys)


@pytest.mark.parametrize("user", [None, ""])
def test_a_missing_user(user: object) -> None:
    """Without an id a limit for each user is an error, not a way around it."""
    with pytest.raises(WebError, match="user= is required"):
        Guard(requests="1/day").admit(user)
    with pytest.raises(WebError, match="key= is required"):
        Guard(per_key={"tokens": "1/day"}).admit("ann")


def test_credits_from_a_price() -> None:
    """Credits have fractions; the price gets usage, model and provider."""
    seen: list[tuple[str, str | None]] = []

    def price(usage: Usage, model: str, provider: str | None) -> float:
        seen.append((model, provider))
        return usage.total_tokens * 0.001

    guard = Guard(credits="0.25/day", price=price)
    read(guard, Route("", "org/model", "novita"), Token("a"), Usage(100, 20, 120))
    assert seen == [("org/model", "novita")]
    assert used(guard) == {"user credits": 0.12}
    read(guard, Token("a"), Usage(200, 0, 200), model="org/other")
    assert seen[1] == ("org/other", None)
    with pytest.raises(LimitExceeded) as refused:
        read(guard)
    assert refused.value.scope == "credits"
    assert guard.usage("ann")[0].remaining == 0


@pytest.mark.parametrize("price", [None, float("nan"), -1.0, float("inf"), ValueError("no such model")])
def test_an_unknown_price(price: object, caplog: pytest.LogCaptureFixture) -> None:
    """An answer without a usable price costs its reservation."""

    def ask(*_: object) -> Any:
        if isinstance(price, Exception):
            raise price
        return price

    guard = Guard(credits="1/day", price=ask)
    read(guard, Usage(1, 1, 2))
    assert used(guard) == {"user credits": 0.01}
    assert len(caplog.records) == isinstance(price, Exception)


def test_absurd_reports_do_not_overflow() -> None:
    """A report of a broken server uses up the limit and nothing else; negative counts give nothing back."""
    guard = Guard(tokens="5000/day", reserve={"tokens": 1})
    read(guard, Usage(0, 0, 10**40))
    assert used(guard) == {"user tokens": 2**40}
    read(guard, Usage(0, 0, -(10**40)), user="bob")
    assert used(guard, "bob") == {"user tokens": 0}


def test_calls_without_a_stream() -> None:
    """An admission counts replies, reports and other credits."""
    guard = Guard(requests="9/day", tokens="50000/day", credits="9/day", price=lambda usage, *_: usage.total_tokens / 1000)
    with guard.admit("ann", prompt="p" * 40) as admission:
        admission.count(Reply(text="t" * 80))
        admission.count(Reply(text="t", usage=Usage(300, 70, 370)))
        admission.count(tokens=100, credits=0.5)
    assert used(guard) == {"user requests": 1, "user tokens": 500, "user credits": 0.9}
    with guard.admit("bob") as admission:
        assert list(admission.watch(Answer(Token("t" * 40)))) == [Token("t" * 40)]
    assert used(guard, "bob")["user tokens"] == 10


def test_an_answer_that_ends_in_the_next_window(clock: Clock) -> None:
    """The use beyond the reservation is counted in the window in which the answer ends; a smaller one gives nothing back there."""
    guard = Guard(tokens="2000/minute")
    for user, tokens, expected in (("ann", 1500, 500), ("bob", 10, 0)):
        events = iter(guard.watch(lambda tokens=tokens: Answer(Token("t"), Usage(0, tokens, tokens)), user=user))  # type: ignore[misc]
        next(events)
        clock.now += 60
        list(events)
        assert used(guard, user) == {"user tokens": expected}


def test_a_clock_that_is_set(clock: Clock) -> None:
    """A clock that is set back returns to the earlier window, and refusals still name a time within one window."""
    guard = Guard(requests="1/minute")
    read(guard)
    clock.now += 3600
    read(guard)
    clock.now -= 3600
    with pytest.raises(LimitExceeded) as refused:
        read(guard)
    assert 0 < (refused.value.retry_after or 0) <= 60


def test_what_is_left(clock: Clock) -> None:
    """Header fields follow the draft of the IETF and hide the limits in all; a reset clears one user."""
    guard = Guard(requests="20/minute", credits="0.5/day", price=lambda *_: 0.1, total={"requests": "99/minute"})
    clock.now += 18
    read(guard, Usage(1, 1, 2))
    read(guard, Usage(1, 1, 2), user="bob")
    assert guard.headers("ann") == {
        "RateLimit-Policy": '"credits-user-86400";q=500000;w=86400, "requests-user-60";q=20;w=60',
        "RateLimit": '"credits-user-86400";r=400000;t=43182, "requests-user-60";r=19;t=42',
    }
    guard.reset("ann")
    assert used(guard) == {"user credits": 0, "user requests": 0, "total requests": 2}
    assert used(guard, "bob")["user requests"] == 1
    assert Guard().headers("ann") == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"requests": "many"}, "is not a limit"),
        ({"requests": "1.5/minute"}, "is not a limit"),
        ({"requests": "-1/minute"}, "is not a limit"),
        ({"requests": "0/minute"}, "out of range"),
        ({"requests": "9" * 30 + "/minute"}, "out of range"),
        ({"requests": "5/fortnight"}, "is not a limit"),
        ({"requests": 5}, "is not a limit"),
        ({"requests": "5/minute; 6/minute"}, "windows of the same length"),
        ({"credits": "5/day"}, "need price="),
        ({"total": {"request": "5/day"}}, "its names are requests, tokens, credits"),
        ({"per_key": {"users": "5/day"}}, "per_key has 'users'"),
        ({"reserve": {"requests": 5}}, "its names are tokens, credits"),
        ({"on_store_error": "ignore"}, "on_store_error is"),
        ({"store": "memcached://localhost"}, "not one of the schemes"),
        ({"store": "localhost:6379"}, "not one of the schemes"),
        ({"store": "reddis://user:geheim@host"}, "'reddis' is not one of the schemes"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    """A wrong option fails at once, with the right form, and without a password."""
    with pytest.raises(errors.InvalidInputError, match=message) as refused:
        Guard(**options)
    assert "geheim" not in str(refused.value)


def test_a_stream_instead_of_a_call() -> None:
    """A stream has been sent already: watch asks for the call as a function."""
    with pytest.raises(errors.InvalidInputError, match="takes the call as a function"):
        Guard().watch(Answer(), user="ann")  # type: ignore[arg-type]


class Down:
    """A storage that fails."""

    def incr(self, *_: object, **__: object) -> int:
        raise OSError("redis://:geheim@10.0.0.7")

    get = clear = incr


def test_a_store_that_is_down(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    """Requests are admitted uncounted, or refused with an error of hfclient; the log says it once, without the address."""
    for policy in ("allow", "refuse"):
        guard = Guard(requests="1/day", on_store_error=policy)  # type: ignore[arg-type]
        storage = guard.store._open()
        guard.store._storage = Down()
        caplog.clear()
        with caplog.at_level(logging.WARNING, "hfclient"):
            for _ in range(3):
                if policy == "allow":
                    assert not guard.admit("ann").counted
                else:
                    with pytest.raises(StoreUnavailable) as refused:
                        guard.admit("ann")
                    assert "geheim" not in str(refused.value)
                clock.now += 2
        assert [record.getMessage() for record in caplog.records] == [
            "the store of the limits (memory) does not answer: OSError"
        ]
        with pytest.raises(StoreUnavailable):
            guard.usage("ann")
        assert guard.headers("ann") == {}
        clock.now += 2
        guard.store._storage = storage
        assert guard.admit("ann").counted
        assert "answers again" in caplog.text


def test_a_store_that_fails_during_an_answer() -> None:
    """An answer reaches its reader although its use cannot be counted."""
    guard = Guard(tokens="5000/day", on_store_error="refuse")
    events = iter(guard.watch(lambda: Answer(Token("a"), Token("b")), user="ann"))
    next(events)
    guard.store._storage = Down()
    assert list(events) == [Token("b")]


def test_the_providers_limit(clock: Clock) -> None:
    """With ``hold`` a 429 of the provider refuses further requests until its time, without asking it."""
    guard = Guard(hold=True)
    calls: list[int] = []

    def call() -> Answer:
        calls.append(1)
        raise errors.RateLimitError("slow down", status_code=429, retry_after=7.0)

    with pytest.raises(errors.RateLimitError):
        guard.watch(call)()
    with pytest.raises(LimitExceeded) as refused:
        guard.watch(call)()
    assert (refused.value.retry_after, calls) == (7.0, [1])
    clock.now += 8
    with pytest.raises(errors.RateLimitError):
        guard.watch(call)()


def test_attributes_of_the_stream() -> None:
    """An open source has the attributes of its stream; one that is not open says so."""
    watched = Guard().watch(lambda: Answer(Token("a")))
    with pytest.raises(AttributeError, match="not open"):
        _ = watched.events
    watched()
    assert watched.events == (Token("a"),)


def test_a_real_chat() -> None:
    """A chat-ui sends no usage: the estimate counts. Leaving the answer stops the generation."""
    guard = Guard(requests="9/day", tokens="5000/day")
    with ChatUI() as ui, Client(ui.url, token="", cookies={"hf-chat": "c"}) as client:
        ui.says(lines(STARTED), [head(200, JSONL, "Transfer-Encoding: chunked"), chunk(lines(token("t" * 40))), UNTIL_GONE])
        with guard.watch(lambda: client.chat("hi"), user="ann", prompt="p" * 40) as stream:
            assert next(event for event in stream if isinstance(event, Token)) == Token("t" * 40)
        wait_until(lambda: len(ui.stops) == 1)
    assert used(guard) == {"user requests": 1, "user tokens": 20}


def test_real_inference() -> None:
    """A report of the server counts; a connection that breaks before it counts the estimate."""
    guard = Guard(tokens="5000/day", credits="1/day", price=lambda usage, model, provider: 0.3 if model == "m" else 0.0)
    with Server() as server:
        client = Client("http://127.0.0.1:9", token="", cookies="", inference_url=f"{server.url}/v1")
        server.on(CHAT, says("Hello", counts=(30, 12)))
        assert list(guard.watch(lambda: client.inference.chat("hi", model="m"), user="ann", prompt="hi"))
        assert used(guard) == {"user tokens": 42, "user credits": 0.3}
        server.on(CHAT, [*begun(delta(content="t" * 40)), RST])
        with pytest.raises(errors.StreamInterrupted):
            list(guard.watch(lambda: client.inference.chat("hi", model="m"), user="bob", prompt="p" * 40))
        assert used(guard, "bob")["user tokens"] == 20
        client.close()


def test_answers_without_events() -> None:
    """An answer that is read whole counts as one that is read by events, and so does one that yields objects."""
    guard = Guard(tokens="5000/day")
    with Server() as server:
        client = Client("http://127.0.0.1:9", token="", cookies="", inference_url=f"{server.url}/v1")
        server.on(CHAT, says("Hello", counts=(30, 12)))
        with guard.watch(lambda: client.inference.chat("hi", model="m"), user="ann", prompt="hi") as stream:
            assert stream.text == "Hello"
        assert used(guard) == {"user tokens": 42}
        server.on(CHAT, says('{"a": 1}', counts=(50, 3)))
        open_parse: Any = lambda: client.inference.parse_stream("hi", into=dict[str, int], model="m")  # noqa: E731
        for ticks in (False, True):
            watched = guard.watch(open_parse, user=f"bob {ticks}", prompt="hi")
            list(watched.ticks(5.0) if ticks else watched)
            assert watched.result() == {"a": 1}
            assert used(guard, f"bob {ticks}") == {"user tokens": 53}
        client.close()


def test_tools() -> None:
    """All rounds of a call with tools count."""
    guard = Guard(tokens="5000/day")

    def double(number: int) -> int:
        """Double a number."""
        return 2 * number

    with Server() as server:
        client = Client("http://127.0.0.1:9", token="", cookies="", inference_url=f"{server.url}/v1")
        server.on(CHAT, calls(call("double", {"number": 4}, "c1"), counts=(30, 10)), says("8", counts=(60, 1)))
        list(guard.watch(lambda: client.inference.run_tools("2*4?", [double], model="m"), user="ann"))
        assert used(guard) == {"user tokens": 101}
        client.close()


def test_prices_of_the_router() -> None:
    """The list is requested once; an unknown provider counts as the dearest, an unknown model has no price."""
    offers = [
        {"provider": "cheap", "status": "live", "pricing": {"input": 1, "output": 2}},
        {"provider": "dear", "status": "live", "pricing": {"input": 10, "output": 20}},
        {"provider": "off", "status": "error", "pricing": {"input": 100, "output": 200}},
    ]
    with Server() as server:
        server.on("/v1/models", json_answer({"object": "list", "data": [{"id": "org/m", "providers": offers}]}))
        client = Client("http://127.0.0.1:9", token="", cookies="", inference_url=f"{server.url}/v1")
        prices = RouterPrices(client.inference)
        usage = Usage(1_000_000, 500_000, 1_500_000)
        assert prices(usage, "org/m", "cheap") == 2.0
        assert prices(usage, "org/m:cheap", None) == 2.0
        assert prices(usage, "org/m", None) == 20.0
        assert prices(usage, "org/x", None) is None
        assert len(server.requests) == 1
        client.close()


def test_prices_of_a_router_that_is_down() -> None:
    """Without a list the price is unknown, and the router is not asked again for each answer."""
    with Server() as server:
        server.on("/v1/models", json_answer({}, 404))
        client = Client("http://127.0.0.1:9", token="", cookies="", inference_url=f"{server.url}/v1")
        prices = RouterPrices(client.inference)
        assert [prices(Usage(1, 1, 2), "org/m", None) for _ in range(3)] == [None] * 3
        assert len(server.requests) == 1
        client.close()


def test_a_guard_opens_nothing() -> None:
    """Creating a guard starts no thread and opens no connection."""
    before = set(threading.enumerate())
    Guard("redis://127.0.0.1:1/0", requests="1/day")
    Guard(requests="1/day")
    assert set(threading.enumerate()) <= before


def test_repr() -> None:
    """The repr names the limits and not the store's address."""
    guard = Guard("redis://:geheim@host/0", requests="5/minute", total={"tokens": "9/day"})
    assert repr(guard) == "<Guard redis: 9 tokens in 86400 seconds in all; 5 requests in 60 seconds for each user>"
    assert isinstance(guard.watch(Answer), Watched)


def test_pickles(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guard pickles as its configuration; a password in the URL of its store does not go with it."""
    import pickle

    guard = Guard("memory://", requests="2/hour", per_key={"tokens": "5/hour"}, hold=True)
    copy = pickle.loads(pickle.dumps(guard))
    assert (copy.limits, copy.configuration) == (guard.limits, guard.configuration)
    with pytest.raises(errors.InvalidInputError, match=r"env:NAME") as caught:
        pickle.dumps(Guard("redis://:secretsecret@localhost/1", requests="2/hour"))
    assert "secretsecret" not in str(caught.value)
    monkeypatch.setenv("LIMITS", "redis://:secretsecret@localhost/1")
    data = pickle.dumps(Guard("env:LIMITS", requests="2/hour"))
    assert b"secretsecret" not in data
    assert pickle.loads(data).store.scheme == "redis"
    monkeypatch.delenv("LIMITS")
    with pytest.raises(errors.InvalidInputError, match="LIMITS, which is not set"):
        pickle.loads(data)


def test_prices_with_a_client_do_not_pickle() -> None:
    """The router's prices have a client with a token: a guard with them is not sent to other processes."""
    import pickle

    with Client(token="hf_secret", cookies="", session="") as client:
        guard = Guard("memory://", credits="1/day", price=RouterPrices(client.inference))
        with pytest.raises(errors.InvalidInputError, match="function of a module"):
            pickle.dumps(guard)
