"""Inference over real HTTP: good answers, refusals, and connections that end at any byte."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hfclient.credentials import Credentials, Secret
from hfclient.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    Cancelled,
    ConnectError,
    CreditsExhausted,
    GenerationError,
    InvalidInputError,
    ModelNotFound,
    ProtocolError,
    RateLimitError,
    ServerError,
    StreamInterrupted,
    TransportTimeout,
)
from hfclient.events import AnyEvent, Finish, Reasoning, Route, Token, Usage
from hfclient.inference import InferenceClient, ServedModel
from hfclient.transport import Retry, Session, Timeouts, Transport
from hfclient.transport.requests_transport import RequestsTransport
from tests.clock import FakeTime
from tests.server import (
    CLOSE,
    PATIENCE,
    RST,
    SOON,
    UNTIL_GONE,
    Script,
    Server,
    Step,
    chunk,
    chunked,
    delimited,
    head,
    json_answer,
    plain,
)
from tests.unit.test_inference_chunks import EXPECTED, SAMPLES

CHAT, MODELS = "/v1/chat/completions", "/v1/models"
SSE = "Content-Type: text/event-stream"
STREAM = head(200, "Transfer-Encoding: chunked", SSE)
HEL = b'data: {"choices":[{"delta":{"content":"Hel"}}]}\n\n'
LO = b'data: {"choices":[{"delta":{"content":"lo"}}]}\n\n'
STOP = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
GOOD = chunked(HEL, LO, STOP, DONE, headers=[SSE])

Make = Callable[..., InferenceClient]


def says(text: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"


@pytest.fixture
def make(server: Server, transport: Transport) -> Make:
    """Creates clients of the server, over each transport in turn."""

    def make(**options: Any) -> InferenceClient:
        session = {"timeouts": Timeouts(idle=PATIENCE), "retry": Retry(backoff=0.01)}
        session.update({key: options.pop(key) for key in ("timeouts", "retry") if key in options})
        credentials = Credentials(token=Secret("hf_secret"), explicit=True, token_urls=[server.url])
        return InferenceClient(Session(transport, credentials, **session), base_url=server.url, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def ask(server: Server, make: Make) -> Callable[..., Any]:
    """Plays scripts for the chat route and returns the stream of an answer."""

    def ask(*scripts: Script, **options: Any) -> Any:
        server.on(CHAT, *scripts)
        return make(**options).chat("hi", model="m")

    return ask


def test_an_answer(server: Server, ask: Callable[..., Any]) -> None:
    """An answer arrives as events, ends normally, and knows its model; the token and the body were sent."""
    with ask(GOOD, bill_to="acme") as stream:
        assert list(stream) == [Token("Hel"), Token("lo"), Finish("stop")]
    reply = stream.result()
    assert (reply.text, reply.finish_reason, reply.model) == ("Hello", "stop", "m")
    assert server.last.headers["authorization"] == "Bearer hf_secret"
    assert server.last.headers["x-hf-bill-to"] == "acme"
    assert server.last.headers["accept-encoding"] == "identity"
    assert server.last.json()["messages"] == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("name", sorted(name for name in EXPECTED if EXPECTED[name][1] is None))
def test_samples_over_http(name: str, ask: Callable[..., Any]) -> None:
    """Each good sample gives its text over HTTP, with one chunk per line."""
    lines = (SAMPLES / name).read_bytes().split(b"\n")
    kind = "application/json" if name.endswith("json") else "text/event-stream; charset=utf-8"
    pieces = [line + b"\n" for line in lines[:-1]] + [lines[-1]] * bool(lines[-1])
    reply = ask(chunked(*pieces, headers=[f"Content-Type: {kind}"])).result()
    assert reply.text == "".join(event.text for event in EXPECTED[name][0] if isinstance(event, Token))
    assert reply.reasoning == "".join(event.text for event in EXPECTED[name][0] if isinstance(event, Reasoning))


@pytest.mark.parametrize("headers", [(), ("Content-Type: text/plain",), ("Content-Type: application/x-ndjson",)])
def test_any_content_type(headers: tuple[str, ...], ask: Callable[..., Any]) -> None:
    """A stream is detected by its bytes: some servers send no content type."""
    assert ask(chunked(HEL, LO, STOP, DONE, headers=headers)).text == "Hello"


def test_an_answer_that_ends_with_its_connection(ask: Callable[..., Any]) -> None:
    """A body without framing is complete with [DONE]."""
    assert ask(delimited(HEL, LO, STOP, DONE, headers=[SSE])).text == "Hello"


def test_a_json_answer(ask: Callable[..., Any]) -> None:
    """A server that ignores `stream` answers in JSON, which is read as an answer."""
    body = {"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}], "usage": {"total_tokens": 3}}
    stream = ask(json_answer(body))
    assert list(stream) == [Token("Hello"), Finish("stop"), Usage(0, 0, 3)]


def test_a_json_error_with_200(ask: Callable[..., Any]) -> None:
    """An error in JSON with status 200 is a failed generation."""
    with pytest.raises(GenerationError, match="model is loading"):
        ask(json_answer({"error": "model is loading"})).result()


def test_html_with_200(server: Server, ask: Callable[..., Any]) -> None:
    """HTML is refused at the call, and its connection is closed."""
    with pytest.raises(ProtocolError, match="HTML") as caught:
        ask(plain("<html><title>Sign in</title></html>", 200, "Content-Type: text/html; charset=utf-8"))
    assert "Sign in" in (caught.value.frame or "")
    assert server.url in str(caught.value)


LABELS = ["text/html; charset=UTF-8", "application/xhtml+xml", "text/plain", "application/octet-stream", "application/json", ""]


@pytest.mark.parametrize("label", [*LABELS, "text/event-stream", "application/x-ndjson"])
@pytest.mark.parametrize("start", [b"", b"\n\n  ", b"\xef\xbb\xbf"], ids=["", "blank", "mark"])
@pytest.mark.parametrize("form", ["stream", "document", "lines", "comment"])
def test_the_content_decides(ask: Callable[..., Any], label: str, start: bytes, form: str) -> None:
    """A stream, a document and JSON Lines are read with any content type, and after any leading space."""
    document = {"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}
    body = {
        "stream": says("Hello") + STOP + DONE,
        "document": json.dumps(document).encode(),
        "lines": says("Hello")[6:-1] + STOP[6:-1],
        "comment": b": alive\n\n" + says("Hello") + STOP + DONE,
    }[form]
    headers = [f"Content-Type: {label}"] if label else []
    assert ask(plain(start + body, 200, *headers)).text == "Hello"
    pieces = [(start + body)[at : at + 1] for at in range(12)] + [(start + body)[12:]]
    assert ask(chunked(*pieces, headers=headers)).text == "Hello"


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("page", [b"<!doctype html><title>x</title>", b"\n <html>", b"\xef\xbb\xbf<?xml version='1.0'?>"])
def test_html_is_not_an_answer(ask: Callable[..., Any], label: str, page: bytes) -> None:
    """HTML is an error with any content type."""
    with pytest.raises(ProtocolError, match="instead of a chat completion"):
        ask(plain(page, 200, *([f"Content-Type: {label}"] if label else []))).result()


def test_a_cut_with_an_html_content_type(ask: Callable[..., Any]) -> None:
    """A connection that breaks before the first byte of an answer labelled as HTML is an ordinary interruption."""
    with pytest.raises(StreamInterrupted):
        ask([head(200, "Content-Type: text/html", "Content-Length: 9"), CLOSE], retry=Retry(attempts=1)).result()


def test_an_empty_answer(ask: Callable[..., Any]) -> None:
    """An answer without a byte is an interrupted one."""
    with pytest.raises(StreamInterrupted):
        ask(plain(b"", 200, SSE)).result()


def test_reasoning_that_began_in_the_prompt(ask: Callable[..., Any]) -> None:
    """If only ``</think>`` is in the answer, the text before it is reasoning in the reply; tokens stay unchanged."""
    stream = ask(chunked(says("6 x 7\n"), says("</think>\n\n42"), STOP, DONE, headers=[SSE]))
    assert "".join(stream.iter_text()) == "6 x 7\n</think>\n\n42"
    reply = stream.result()
    assert (reply.text, reply.reasoning) == ("\n\n42", "6 x 7\n")
    assert ask(chunked(says("Close it with </think>."), STOP, DONE)).text == "Close it with </think>."


def test_route_events(ask: Callable[..., Any]) -> None:
    """Headers with the provider become the first event; later metadata adds to it."""
    meta = b'data: {"x-router-metadata":{"route":"casual","model":"org/small"}}\n\n'
    stream = ask(chunked(meta, HEL, STOP, DONE, headers=[SSE, "X-Inference-Provider: groq", "X-Request-Id: r-1"]))
    assert next(stream) == Route(provider="groq")
    reply = stream.result()
    assert reply.route == Route("casual", "org/small", "groq")
    assert reply.request_id == "r-1"


@pytest.mark.parametrize(
    ("status", "error", "calls"),
    [
        (400, BadRequestError, 1),
        (401, AuthenticationError, 1),
        (402, CreditsExhausted, 1),
        (404, APIStatusError, 1),
        (422, BadRequestError, 1),
        (424, APIStatusError, 1),
        (429, RateLimitError, 3),
        (500, ServerError, 1),
        (503, ServerError, 3),
    ],
)
def test_refusals(status: int, error: type[APIStatusError], calls: int, server: Server, ask: Callable[..., Any]) -> None:
    """A refusal raises at the call with the server's message; temporary ones are retried first."""
    with pytest.raises(error, match="the reason") as caught:
        ask(json_answer({"error": {"message": "the reason", "code": "c"}}, status))
    assert (caught.value.status_code, caught.value.code, caught.value.attempts) == (status, "c", calls)
    assert len(server.requests) == calls
    assert "hf_secret" not in str(caught.value) + repr(vars(caught.value))


def test_retry_after(server: Server, ask: Callable[..., Any]) -> None:
    """A server that is busy once is tried again."""
    assert ask(json_answer({"error": "busy"}, 429, "Retry-After: 0"), GOOD).text == "Hello"
    assert len(server.requests) == 2


def test_a_connection_lost_before_the_answer(server: Server, ask: Callable[..., Any]) -> None:
    """A connection that breaks before an answer begins is tried again."""
    assert ask([RST], [CLOSE], GOOD).text == "Hello"
    assert len(server.requests) == 3


def test_no_retry_after_content(server: Server, ask: Callable[..., Any]) -> None:
    """After the first content, a broken connection is an interrupted answer and not retried."""
    stream = ask([STREAM, chunk(HEL), 0.05, RST], GOOD)
    with pytest.raises(StreamInterrupted) as caught:
        stream.result()
    assert len(server.requests) == 1
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hel"
    assert caught.value.method == "POST"
    assert caught.value.url == server.url + CHAT
    assert isinstance(caught.value.__cause__, ConnectError)


@pytest.mark.parametrize(
    "end",
    [
        [CLOSE],
        [b"0\r\n\r\n"],
        [chunk(b'data: {"choices":[{"delta":{"content":"lo'), b"0\r\n\r\n"],
        [chunk(b'data: {"choices":[{"delta":{"content":"lo'), CLOSE],
    ],
)
def test_a_cut_answer(end: list[Step], ask: Callable[..., Any]) -> None:
    """An answer that ends without [DONE] and finish_reason raises after its content, for any kind of end."""
    stream = ask([STREAM, chunk(HEL), *end])
    assert next(stream) == Token("Hel")
    with pytest.raises(StreamInterrupted) as caught:
        next(stream)
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hel"


@pytest.mark.parametrize("end", [[CLOSE], [RST], [b"0\r\n\r\n"], [chunk(b"data: half"), CLOSE]])
def test_a_cut_after_the_finish_reason(end: list[Step], ask: Callable[..., Any]) -> None:
    """With a finish_reason the answer is complete, whatever happens to the connection."""
    assert ask([STREAM, chunk(HEL), chunk(STOP), 0.05, *end]).result().text == "Hel"


def test_an_error_in_the_stream(ask: Callable[..., Any]) -> None:
    """An error inside the answer raises after the content before it; its connection need not be closed."""
    error = b'data: {"error":{"message":"out of memory","code":500}}\n\n'
    started = time.monotonic()
    stream = ask([STREAM, chunk(HEL), chunk(error), UNTIL_GONE])
    assert next(stream) == Token("Hel")
    with pytest.raises(GenerationError, match="out of memory") as caught:
        next(stream)
    assert time.monotonic() - started < SOON
    assert (caught.value.status_code, caught.value.code) == (500, "500")
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hel"


def test_done_is_the_end(server: Server, ask: Callable[..., Any]) -> None:
    """A server that keeps the connection open after [DONE] delays nothing."""
    started = time.monotonic()
    assert ask([STREAM, chunk(HEL + STOP + DONE), UNTIL_GONE]).text == "Hel"
    assert time.monotonic() - started < SOON
    assert server.client_gone.wait(PATIENCE)


def test_comments_after_done(ask: Callable[..., Any]) -> None:
    """Endless comments after [DONE] delay nothing either."""
    started = time.monotonic()
    steps: list[Step] = [STREAM, chunk(HEL + STOP + DONE)]
    assert ask(steps + [chunk(b":\n\n"), 0.1] * 600).text == "Hel"
    assert time.monotonic() - started < SOON


def test_one_connection_for_many_answers(server: Server, make: Make) -> None:
    """Answers that are read to [DONE] return their connection to the pool, also if the end of the body arrives a moment later."""
    late: list[Step] = [STREAM, chunk(HEL + STOP + DONE), 0.05, b"0\r\n\r\n"]
    server.on(CHAT, GOOD, late, GOOD)
    inference = make()
    for _ in range(5):
        assert inference.chat("hi", model="m").result().finish_reason == "stop"
    assert server.connections == 1


def test_tokens_are_returned_at_once(ask: Callable[..., Any]) -> None:
    """Each token can be read before the server sends the next one."""
    seen = threading.Event()
    stream = ask([STREAM, chunk(HEL), seen, chunk(LO + STOP + DONE), b"0\r\n\r\n"])
    assert next(stream) == Token("Hel")
    seen.set()
    assert list(stream) == [Token("lo"), Finish("stop")]


def test_comments_are_not_content(ask: Callable[..., Any], clock: FakeTime) -> None:
    """Comments keep a connection alive but do not count as a first token."""
    steps: list[Step] = [STREAM, *[chunk(b": wait\n\n"), 0.02, lambda _: clock.advance(PATIENCE)] * 1000]
    with pytest.raises(TransportTimeout) as caught:
        ask(steps, timeouts=Timeouts(first_token=2 * PATIENCE, idle=2 * PATIENCE)).result()
    assert caught.value.deadline == "first_token"


def test_silence_in_the_middle(ask: Callable[..., Any], silence: None) -> None:
    """Silence raises after its deadline and keeps the received text."""
    stream = ask([STREAM, chunk(HEL), UNTIL_GONE], timeouts=Timeouts(idle=PATIENCE))
    with pytest.raises(TransportTimeout) as caught:
        stream.result()
    assert caught.value.deadline == "idle"
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hel"


def test_leaving_early(server: Server, ask: Callable[..., Any]) -> None:
    """Leaving the loop closes the connection, so that the server can stop."""
    for _ in ask([STREAM, chunk(HEL), UNTIL_GONE]):
        break
    assert server.client_gone.wait(PATIENCE)


def test_cancel_from_another_thread(ask: Callable[..., Any]) -> None:
    """A cancelled answer raises in its reader at once."""
    stream = ask([STREAM, chunk(HEL), UNTIL_GONE])
    assert next(stream) == Token("Hel")
    timer = threading.Timer(0.1, stream.cancel)
    timer.start()
    with pytest.raises(Cancelled) as caught:
        next(stream)
    timer.join()
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hel"


def test_without_stream_options(server: Server, make: Make) -> None:
    """After a refusal of stream_options the request is sent once more without them, and never again with them."""
    refusal = json_answer({"detail": [{"loc": ["body", "stream_options"], "msg": "extra fields not permitted"}]}, 422)
    server.on(CHAT, refusal, GOOD)
    inference = make()
    assert inference.chat("hi", model="m").text == "Hello"
    assert inference.chat("hi", model="m").text == "Hello"
    assert ["stream_options" in request.json() for request in server.requests] == [True, False, False]


def test_another_refusal_is_not_repeated(server: Server, ask: Callable[..., Any]) -> None:
    """A 400 that names something else is raised; one that names stream_options again is raised the second time."""
    with pytest.raises(BadRequestError):
        ask(json_answer({"error": "top_p must be below 1"}, 400))
    assert len(server.requests) == 1
    with pytest.raises(BadRequestError):
        ask(json_answer({"error": "unknown field stream_options"}, 400))
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "answer",
    [
        json_answer({"error": {"message": "not supported", "code": "model_not_supported"}}, 400),
        json_answer({"error": {"message": "no such model", "code": "model_not_found"}}, 404),
        json_answer({"error": "Model not supported by provider groq"}, 400),
    ],
)
def test_an_unknown_model(answer: bytes, ask: Callable[..., Any]) -> None:
    """The different messages for an unknown model are one error, which names it."""
    with pytest.raises(ModelNotFound) as caught:
        ask(answer)
    assert caught.value.model == "m"
    assert caught.value.status_code in (400, 404)


def test_models(server: Server, make: Make) -> None:
    """The list of models has the server's data about each model."""
    server.on(MODELS, json_answer({"object": "list", "data": [{"id": "a", "owned_by": "me", "max_model_len": 8}]}))
    models = make().models()
    assert models == [ServedModel("a", "me", context_length=8)]
    assert models[0].raw["max_model_len"] == 8


def test_the_first_model(server: Server, make: Make) -> None:
    """Without a name, the list is requested once, and the first model is used."""
    server.on(MODELS, json_answer({"data": [{"id": "first"}, {"id": "second"}]}))
    server.on(CHAT, GOOD)
    inference = make()
    replies = [inference.chat("hi").result() for _ in range(2)]
    assert [reply.model for reply in replies] == ["first", "first"]
    assert [request.path for request in server.requests] == [MODELS, CHAT, CHAT]
    assert server.last.json()["model"] == "first"


def test_the_first_model_of_tgi(server: Server, make: Make) -> None:
    """text-generation-inference does not get its model's name, which it would read as an adapter's."""
    server.on(MODELS, json_answer({"data": [{"id": "org/m", "object": "model", "created": 0, "owned_by": "org/m"}]}))
    server.on(CHAT, GOOD)
    make().chat("hi").result()
    assert server.last.json()["model"] == "tgi"


@pytest.mark.parametrize(
    "answer", [plain("no", 404), json_answer({"data": []}), json_answer({}), plain("<html>", 200, "Content-Type: text/html")]
)
def test_no_first_model(answer: bytes, server: Server, make: Make) -> None:
    """A server without a model's name needs a model argument."""
    server.on(MODELS, answer)
    with pytest.raises(InvalidInputError, match="model="):
        make().chat("hi")


def test_a_server_that_fails_to_list(server: Server, make: Make) -> None:
    """A failed request for the list of models raises as usual: an invalid token is not a missing model."""
    server.on(MODELS, plain("no", 401))
    with pytest.raises(AuthenticationError):
        make().chat("hi")


def test_on_event(server: Server, make: Make) -> None:
    """A client's callback gets each event before the reader does."""
    server.on(CHAT, GOOD)
    seen: list[AnyEvent] = []
    for event in make(on_event=seen.append).chat("hi", model="m"):
        assert seen[-1] is event
    assert len(seen) == 3


def test_threads_share_a_client(server: Server, make: Make) -> None:
    """Threads that call at the same time get one answer each, and one or a few lists of models serve them all."""
    server.on(MODELS, json_answer({"data": [{"id": "first"}]}))
    server.on(CHAT, GOOD)
    inference = make()
    texts: list[str] = []
    threads = [threading.Thread(target=lambda: texts.append(inference.chat("hi").text)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert texts == ["Hello"] * 8


@pytest.fixture
def forked(server: Server) -> Iterator[InferenceClient]:
    """A client over the default transport that has been used."""
    server.on(CHAT, GOOD)
    transport = RequestsTransport()
    yield InferenceClient(Session(transport, Credentials()), base_url=server.url)
    transport.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_after_a_fork(server: Server, forked: InferenceClient) -> None:
    """Parent and child use the same client, each with its own connections."""
    assert forked.chat("hi", model="m").text == "Hello"
    child = os.fork()
    if child == 0:
        os._exit(0 if forked.chat("hi", model="m").text == "Hello" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert forked.chat("hi", model="m").text == "Hello"
    assert server.connections == 2
