"""Bytes of chat completions to events: all forms of servers on the page about the protocol."""

from __future__ import annotations

import gc
import itertools
import json
import weakref
from collections.abc import Iterable
from pathlib import Path

import pytest

from hfclient.decoding.frames import MAX_LINE
from hfclient.errors import (
    ConnectError,
    GenerationError,
    HFClientError,
    ProtocolError,
    StreamInterrupted,
    TransportTimeout,
)
from hfclient.events import AnyEvent, Finish, Reasoning, Route, Token, ToolCall, Unknown, Usage, from_dict, to_dict
from hfclient.inference.completions.chunks import ChunkDecoder
from hfclient.inference.completions.tool_calls import new_call_id
from hfclient.transport import Limits

SAMPLES = Path(__file__).parent.parent / "fixtures" / "inference"

STOP = Finish("stop")
TGI = {"system_fingerprint": "3.3.6-native"}


def read(pieces: Iterable[bytes], cut: HFClientError | None = None) -> tuple[list[AnyEvent], tuple[str, ...] | None]:
    """Return the events of an answer that arrives in *pieces*, and the error at its end."""
    numbers = itertools.count(1)
    decoder = ChunkDecoder(new_id=lambda: f"made-up-{next(numbers)}")
    events: list[AnyEvent] = []
    for piece in pieces:
        events += decoder.feed(piece)
    if cut is not None:
        decoder.cut(cut)
    events += decoder.finish()
    try:
        decoder.check_end()
    except GenerationError as error:
        return events, (type(error).__name__, error.message, str(error.status_code), str(error.code))
    except HFClientError as error:
        return events, (type(error).__name__, error.message)
    return events, None


def failed(message: str, status: int | None = None, code: str | None = None) -> tuple[str, ...]:
    return ("GenerationError", message, str(status), str(code))


INTERRUPTED = (
    "StreamInterrupted",
    "the answer ended before it was complete: neither [DONE] nor a finish_reason came",
)

EXPECTED: dict[str, tuple[list[AnyEvent], tuple[str, ...] | None]] = {
    "openai.sse": (
        [Token("Hel"), Token("lo"), Token(" — «wörld» \U0001f600"), STOP, Usage(9, 4, 13, 3, 0)],
        None,
    ),
    "llama_cpp.sse": (
        [
            Token("Hel", extra={"system_fingerprint": "b6916"}),
            Token("lo"),
            Finish("length"),
            Usage(9, 2, 11, extra={"timings": {"prompt_n": 9, "predicted_ms": 12.5}}),
        ],
        None,
    ),
    "tgi.sse": ([Token("Hel", extra=TGI), Token("lo"), STOP, Usage(9, 3, 12)], None),
    "tgi_tool.sse": (
        [
            ToolCall("made-up-1", "get_weather", {"city": "Paris"}, '{"city":"Paris"}', "0"),
            Finish("tool_calls", extra=TGI),
        ],
        None,
    ),
    "groq.sse": ([Token("Hello"), STOP, Usage(9, 1, 10, extra={"queue_time": 0.25})], None),
    "groq_error.sse": ([Token("Hel")], failed("over capacity")),
    "together.sse": ([Token("Hel"), Token("lo"), Token("!", extra={"seed": 17}), STOP, Usage(9, 3, 12)], None),
    "cerebras.sse": ([Token("Hello"), Finish("stop", extra={"time_info": {"total_time": 0.1}}), Usage(9, 1, 10)], None),
    "vllm_reasoning.sse": ([Reasoning("2 and"), Reasoning(" 2"), Token("4"), STOP], None),
    "reasoning_names.sse": (
        [
            *map(Reasoning, "abc"),
            Reasoning("d", extra={"reasoning_details": [{"type": "reasoning.text", "text": "d"}]}),
            Reasoning("e", extra={"reasoning_details": [{"type": "reasoning.summary", "summary": "e"}]}),
            *(Reasoning("f"), Token("4"), STOP),
        ],
        None,
    ),
    "mistral_parts.sse": (
        [
            Reasoning("2 and 2"),
            Token("It is "),
            Unknown("reference", {"type": "reference", "reference_ids": [1]}),
            Token("4"),
            STOP,
        ],
        None,
    ),
    "think_tags.sse": (
        [Reasoning("2 and"), Reasoning(" 2"), Token("It is 4, as 3 < 5"), Token(" "), Token("<"), STOP],
        None,
    ),
    "half_characters.sse": (
        [
            *(Token("a"), Token("\U0001f600b"), Token("\ufffdc")),
            *(Reasoning("\ufffdd"), Token("e"), Reasoning("\ufffd"), Token("\ufffd")),
            STOP,
        ],
        None,
    ),
    "tools.sse": (
        [
            ToolCall("call_1", "get_weather", {"city": "Paris"}, '{"city":"Paris"}', "call_1"),
            ToolCall("call_2", "now", {}, "{}", "call_2"),
            Finish("tool_calls"),
            Usage(20, 12, 32),
        ],
        None,
    ),
    "tools_odd.sse": (
        [
            ToolCall("a1", "one", {"x": 1}, '{"x":1}', "a1"),
            ToolCall("b2", "two", {"y": [2]}, '{"y": [2]}', "b2"),
            ToolCall("made-up-1", "three", {}, "{}", None),
            ToolCall("made-up-2", "four", {}, "{not json", "b2"),
            Finish("tool_calls"),
        ],
        None,
    ),
    "router_metadata.sse": ([Route("casual", "org/small", "novita"), Token("Hi"), STOP], None),
    "filters.sse": (
        [
            Unknown(
                "",
                {
                    "id": "", "object": "", "created": 0, "model": "", "choices": [],
                    "prompt_filter_results": [{"prompt_index": 0}],
                },
            ),
            Token("Hi"),
            Finish("content_filter"),
        ],
        None,
    ),
    "logprobs.sse": (
        [
            Token("Hi", logprob=-0.5),
            Token(
                "!",
                logprob=-1.0,
                extra={
                    "logprobs": [
                        {"token": "!", "logprob": -1, "bytes": None, "top_logprobs": [{"token": "?", "logprob": -2.5}]}
                    ]
                },
            ),
            STOP,
        ],
        None,
    ),
    "two_choices.sse": (
        [
            Token("A"),
            Unknown("choice", {"index": 1, "delta": {"content": "B"}, "finish_reason": None}),
            Unknown("choice", {"index": 1, "delta": {}, "finish_reason": "stop"}),
            STOP,
        ],
        None,
    ),
    "text_completion.sse": ([Token("Once"), Token(" upon"), STOP], None),
    "refusal.sse": ([Token("I cannot", extra={"refusal": True}), Token(" do that.", extra={"refusal": True}), STOP], None),
    "unknown.sse": (
        [
            Unknown("progress", {"object": "progress", "step": 1}),
            Unknown("queue", {"data": "position 3"}),
            Unknown("", {"data": ["list"]}),
            Token("Hi", extra={"mood": "good"}),
            Unknown("delta", {"images": [{"url": "x"}]}),
            STOP,
        ],
        None,
    ),
    "framing.sse": ([Token("a\u2028b\x85c\x0b"), Token("d"), Token("e"), Token("f"), STOP], None),
    "no_done.sse": ([Token("Hi"), STOP, Usage(3, 1, 4)], None),
    "cut_event.sse": ([Token("Hel")], INTERRUPTED),
    "cut_clean.sse": ([Token("Hel")], INTERRUPTED),
    "error_a_tgi.sse": ([Token("Hel")], failed("Model is overloaded", 429, "overloaded")),
    "error_b_tgi.sse": ([Token("Hel")], failed("Request failed during generation", 424)),
    "error_c_openai.sse": ([Token("Hel")], failed("The server had an error", 500, "internal")),
    "error_d_openrouter.sse": ([Token("Hel")], failed("Provider disconnected", 502, "502")),
    "error_e_event.sse": ([Token("Hel")], failed("bad input", 400, "400")),
    "error_e_text.sse": ([Token("Hel")], failed("upstream went away")),
    "error_f_llama_cpp.sse": ([Token("Hel")], failed("slot failed", 500, "500")),
    "error_g_vllm.sse": ([Token("Hel")], failed("no such thing", 400, "400")),
    "error_root.sse": ([Token("Hel")], failed("Requests rate limit exceeded", 429, "request_quota_exceeded")),
    "error_choice.sse": ([Token("Hel")], failed("the server ended the answer with finish_reason 'error'", code="error")),
    "error_null.sse": ([Token("Hi"), STOP], None),
    "answer.json": (
        [
            Reasoning("hm"),
            Token("Hi!"),
            ToolCall("made-up-1", "f", {"a": 1}, '{"a": 1}', "0"),
            ToolCall("made-up-2", "f", {"a": 2}, '{"a":2}', "0"),
            Finish("tool_calls"),
            Usage(9, 3, 12),
        ],
        None,
    ),
    "error_i.json": ([], failed("model is loading", 503, "503")),
    "lines.ndjson": ([Token("Hel"), Token("lo"), STOP], None),
}


def event_of(**delta: object) -> bytes:
    """One server-sent event with *delta*."""
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"


def data_of(value: object) -> bytes:
    """One server-sent event with *value* as its data."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


END = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def test_all_samples_have_expectations() -> None:
    """Each sample has an expected result."""
    assert {path.name for path in SAMPLES.glob("[a-z]*")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("size", [1 << 20, 1, 7, 100])
def test_samples(name: str, size: int) -> None:
    """Each sample yields its events, whole and in chunks of any size."""
    data = (SAMPLES / name).read_bytes()
    events, error = read(data[at : at + size] for at in range(0, len(data), size))
    assert (events, error) == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_samples_event_by_event(name: str) -> None:
    """An answer with one event per chunk, as servers send it, yields the same."""
    data = (SAMPLES / name).read_bytes()
    assert read(piece + b"\n\n" for piece in data.removesuffix(b"\n\n").split(b"\n\n"))[0] == EXPECTED[name][0]


@pytest.mark.parametrize("name", EXPECTED)
def test_events_convert_to_json_and_back(name: str) -> None:
    """All events can be written as JSON and read again."""
    for event in EXPECTED[name][0]:
        assert from_dict(json.loads(json.dumps(to_dict(event)).encode())) == event


@pytest.mark.parametrize(
    ("line_end", "separator"),
    [(b"\n", b"data: "), (b"\r\n", b"data: "), (b"\r", b"data: "), (b"\n", b"data:"), (b"\r\n", b"data:")],
)
@pytest.mark.parametrize("size", [1 << 20, 1, 50])
def test_line_ends_and_separators(line_end: bytes, separator: bytes, size: int) -> None:
    """All three line ends, and a colon with or without a space, have the same meaning."""
    data = (SAMPLES / "openai.sse").read_bytes().replace(b"data: ", separator).replace(b"\n", line_end)
    assert read(data[at : at + size] for at in range(0, len(data), size)) == EXPECTED["openai.sse"]


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        *[("stop", "stop"), ("eos", "stop"), ("eos_token", "stop"), ("end_turn", "stop"), ("stop_sequence", "stop")],
        *[("length", "length"), ("max_tokens", "length"), ("tool_calls", "tool_calls")],
        *[("function_call", "tool_calls"), ("content_filter", "content_filter"), ("new_one", "new_one")],
    ],
)
def test_finish_reasons(wire: str, reason: str) -> None:
    """The spellings of finish_reason become four values; a new one is kept."""
    data = data_of({"choices": [{"delta": {"content": "x"}, "finish_reason": wire}]})
    assert read([data]) == ([Token("x"), Finish(reason)], None)


def test_finish_reason_is_not_repeated() -> None:
    """A finish_reason that a server repeats on its usage chunk is one event."""
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    chunk = data_of({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": usage})
    assert read([chunk + chunk]) == ([STOP, Usage(1, 1, 2)], None)


def test_usage_with_every_chunk_counts_once() -> None:
    """Of counts in each chunk, the last ones are reported."""
    chunks = [
        data_of({"choices": [{"delta": {"content": "x"}}], "usage": {"prompt_tokens": 5, "completion_tokens": number}})
        for number in range(1, 4)
    ]
    assert read([*chunks, END]) == ([Token("x")] * 3 + [STOP, Usage(5, 3, 8)], None)


@pytest.mark.parametrize("usage", [{}, {"prompt_tokens": None}, {"prompt_tokens": "9", "completion_tokens": -1}])
def test_invalid_usage(usage: dict[str, object]) -> None:
    """Invalid counts are zero."""
    assert read([data_of({"choices": [], "usage": usage}), END])[0][1:] == [Usage(0, 0, 0)]


def test_old_function_call() -> None:
    """The single function_call of early servers is a tool call."""
    pieces = [event_of(function_call={"name": "f", "arguments": "{"}), event_of(function_call={"arguments": "}"})]
    events, _ = read([*pieces, END])
    assert events == [ToolCall("made-up-1", "f", {}, "{}", None), Finish("tool_calls")]


def test_calls_that_share_an_index() -> None:
    """Complete calls that all have the index 0 are separated by their ids."""
    calls = [{"index": 0, "id": f"id-{n}", "function": {"name": "f", "arguments": f'{{"n":{n}}}'}} for n in (1, 2)]
    for pieces in ([event_of(tool_calls=calls)], [event_of(tool_calls=[call]) for call in calls]):
        events, _ = read([*pieces, END])
        assert [(call.uuid, call.parameters) for call in events[:-1]] == [("id-1", {"n": 1}), ("id-2", {"n": 2})]


def test_calls_without_index_and_id() -> None:
    """Complete calls without index and id are separated when the previous one is complete."""
    calls = [{"function": {"name": "f", "arguments": f'{{"n":{n}}}'}} for n in (1, 2)]
    events, _ = read([event_of(tool_calls=calls), END])
    assert [call.parameters for call in events[:-1]] == [{"n": 1}, {"n": 2}]


def test_a_new_id_with_every_delta() -> None:
    """With a new id in each delta, the deltas are still one call."""
    deltas = [
        {"index": 0, "id": "x1", "function": {"name": "f", "arguments": "{"}},
        {"index": 0, "id": "x2", "function": {"arguments": "}"}},
    ]
    events, _ = read([*(event_of(tool_calls=[delta]) for delta in deltas), END])
    assert events[:-1] == [ToolCall("x1", "f", {}, "{}", "x1")]


def test_a_call_without_a_name() -> None:
    """A tool call without a name is a call, so that the model can be informed; an entry that is not an object is kept."""
    events, _ = read([event_of(tool_calls=[{"index": 0, "id": "a", "function": {"arguments": "{}"}}, 5]), END])
    assert events == [ToolCall("a", "", {}, "{}", "a"), Unknown("tool_call", {"tool_call": 5}), Finish("tool_calls")]


def test_surrogates_in_arguments() -> None:
    """A surrogate pair in two deltas of arguments is joined."""
    deltas = [
        b'{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\\"x\\":\\"\\ud83d"}}]}}]}',
        b'{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\\ude00\\"}"}}]}}]}',
    ]
    events, _ = read([*(b"data: " + delta + b"\n\n" for delta in deltas), END])
    assert events[0] == ToolCall("a", "f", {"x": "\U0001f600"}, '{"x":"\U0001f600"}', "a")


@pytest.mark.parametrize("pieces", [["{}", '{"n":', "1}"], ['{"n":1}', '{"n":1}'], [{}, '{"n":1}']])
def test_arguments_that_start_again(pieces: list[object]) -> None:
    """An empty object before the arguments, or all of them a second time, are not concatenated to invalid JSON."""
    deltas = [{"index": 0, "id": "a", "function": {"name": "f", "arguments": piece}} for piece in pieces]
    events, _ = read([*(event_of(tool_calls=[delta]) for delta in deltas), END])
    assert events[0] == ToolCall("a", "f", {"n": 1}, '{"n":1}', "a")


@pytest.mark.parametrize(
    "delta",
    [
        {"thinking": "hm"},
        {"reasoning": {"content": "hm"}},
        {"reasoning": [{"type": "text", "text": "h"}, {"type": "text", "text": "m"}]},
        {"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
        {"reasoning": None, "reasoning_details": [{"type": "reasoning.summary", "summary": "hm"}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]},
    ],
)
def test_more_spellings_of_reasoning(delta: dict[str, object]) -> None:
    """Reasoning is found as a text, an object or a list, and reported once."""
    events, error = read([event_of(**delta), event_of(content="4"), END])
    assert "".join(event.text for event in events if isinstance(event, Reasoning)) == "hm"
    assert (events[-2:], error) == ([Token("4"), STOP], None)


def test_usage_inside_a_choice() -> None:
    """Counts in the last choice (moonshot) are reported, also with text next to them."""
    usage = {"prompt_tokens": 5, "completion_tokens": 2}
    data = data_of({"choices": [{"delta": {}, "finish_reason": "stop", "usage": usage}]})
    assert read([data]) == ([STOP, Usage(5, 2, 7)], None)
    beside = data_of({"choices": [{"delta": {"content": "x"}, "usage": usage}]})
    assert read([beside]) == ([Token("x"), Usage(5, 2, 7)], INTERRUPTED)


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        ({"detail": "no GPU left"}, "no GPU left"),
        ({"detail": [{"loc": ["body", "x"], "msg": "required", "type": "missing"}]}, "body.x: required"),
        ({"errors": [{"message": "gone"}]}, "gone"),
    ],
)
def test_errors_of_frameworks(chunk: dict[str, object], message: str) -> None:
    """An error that a web framework writes into the stream is an error with its text."""
    events, error = read([event_of(content="a"), data_of(chunk)])
    assert events == [Token("a")]
    assert error is not None
    assert (error[0], error[1]) == ("GenerationError", message)


def test_json_lines_are_read_at_once() -> None:
    """JSON Lines yield their events line by line; a single document is read at its end."""
    first, second = (json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n" for text in "ab")
    decoder = ChunkDecoder()
    assert decoder.feed(first[:9]) == []
    assert decoder.feed(first[9:]) == [Token("a")]
    assert decoder.feed(second + first[:5]) == [Token("b")]
    decoder = ChunkDecoder()
    texts = [json.dumps({"choices": [{"text": text}]}).encode() + b"\n" for text in "ab"]
    assert decoder.feed(texts[0]) == [], "this may be the whole answer"
    assert decoder.feed(texts[1]) == [Token("a"), Token("b")]
    whole = json.dumps({"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}, indent=1).encode() + b"\n\n"
    assert read([whole]) == ([Token("a"), STOP], None)
    assert read(whole[at : at + 1] for at in range(len(whole))) == ([Token("a"), STOP], None)


def test_incomplete_json_lines() -> None:
    """JSON Lines without an end are an interrupted answer; an incomplete line is dropped, and lines have a limit."""
    line = json.dumps({"choices": [{"delta": {"content": "a"}}]}).encode() + b"\n"
    assert read([line, line, line[:20]]) == ([Token("a"), Token("a")], INTERRUPTED)
    decoder = ChunkDecoder(limits=Limits(line=100))
    decoder.feed(line)
    decoder.feed(b"x" * 101)
    with pytest.raises(ProtocolError, match=r"more than 100 bytes \(Limits.line\)"):
        decoder.check_end()


def test_long_lines_in_small_chunks() -> None:
    """An image in a JSON line is not copied for each chunk, and a document is not parsed again for blanks after it."""
    line = json.dumps({"choices": [{"delta": {"content": "a" * 8_000_000}}]}).encode() + b"\n"
    pieces = [line[at : at + 1024] for at in range(0, len(line), 1024)]
    assert read([b'{"choices":[{"delta":{"content":"b"}}]}\n', *pieces])[0] == [Token("b"), Token("a" * 8_000_000)]
    whole = json.dumps({"choices": [{"message": {"content": "a" * 1_000_000}, "finish_reason": "stop"}]}).encode()
    assert read([whole, *[b"\n"] * 3000]) == ([Token("a" * 1_000_000), STOP], None)


def test_generated_ids() -> None:
    """Ids that hfclient generates have nine letters and digits, as Mistral's templates require."""
    made = {new_call_id() for _ in range(100)}
    assert len(made) == 100
    assert all(len(call_id) == 9 and call_id.isalnum() for call_id in made)


def test_think_tag_across_reasoning() -> None:
    """A tag that is open before a reasoning field continues in the next content."""
    events, _ = read([event_of(content="<"), event_of(reasoning="hm"), event_of(content="b>"), END])
    assert events == [Reasoning("hm"), Token("<b>"), STOP]


def test_think_span_in_one_block() -> None:
    """Spans begin and end inside a block of chunks, and plain text after them is read on the fast path."""
    pieces = ["a", "<think>", "b", "c", "</think>d", "e<", "f"]
    data = b"".join(event_of(content=piece) for piece in pieces) + END
    events = [*map(Token, "a"), *map(Reasoning, "bc"), *map(Token, "de"), Token("<f"), STOP]
    assert read([b":\n\n", data]) == (events, None)
    assert read([b":\n\n", *(event_of(content=piece) for piece in pieces), END]) == (events, None)


@pytest.mark.parametrize("lost", [b"broken", b"data: not json\n\n", b"data: {\n\n", None])
def test_data_after_done_is_ignored(lost: bytes | None) -> None:
    """Data after [DONE] is ignored, in the same chunk and in later ones."""
    lost = event_of(content="b") if lost is None else lost
    data = event_of(content="a") + END
    assert read([data + lost]) == ([Token("a"), STOP], None)
    assert read([data, lost, lost]) == ([Token("a"), STOP], None)


def test_data_after_an_error_is_ignored() -> None:
    """Data after an error is ignored; the events before it are returned, including held text."""
    data = event_of(content="a<") + data_of({"error": "no"}) + event_of(content="b") + END
    assert read([data]) == ([Token("a"), Token("<")], failed("no"))
    assert read([b":\n\n", data]) == ([Token("a"), Token("<")], failed("no"))


NO_JSON = ("ProtocolError", "the server sent something that is not JSON")


@pytest.mark.parametrize(
    ("pieces", "events", "error"),
    [
        # White space inside JSON must not be a line end, although JSON allows it.
        ([b'data: {"choices":[{"delta":\n{"content":"x"}}]}\n\n'], [], NO_JSON),
        ([b'data: {"choices":[{"delta":\r{"content":"x"}}]}\n\n'], [], NO_JSON),
        # A line that begins with a space is not a data line, although the event before it looks complete.
        ([event_of(content="b")[:-1] + b" ", event_of(content="c"), END], [Token("b"), STOP], None),
        # The name of an event may come in an earlier chunk.
        ([b"event: error\n", event_of(content="b")], [], failed('{"choices": [{"index": 0, "delta": {"content": "b"}}]}')),
        ([b"event: err", b"or\n" + event_of(error="no")], [], failed('{"choices": [{"index": 0, "delta": {"error": "no"}}]}')),
    ],
)
def test_similar_objects_on_the_fast_path(
    pieces: list[bytes], events: list[AnyEvent], error: tuple[str, ...] | None
) -> None:
    """An object that only resembles a plain chunk is not read as one on the fast path."""
    first = event_of(content="a")
    assert read([first, *pieces]) == ([Token("a"), *events], error)
    assert read([first + b"".join(pieces)]) == ([Token("a"), *events], error)


def test_not_json() -> None:
    """Data that is not JSON is a protocol error with its start, after all events before it."""
    decoder = ChunkDecoder()
    assert decoder.feed(event_of(content="a") + b"data: <oops>\n\n") == [Token("a")]
    assert decoder.over
    with pytest.raises(ProtocolError) as caught:
        decoder.check_end()
    assert caught.value.frame == "<oops>"


@pytest.mark.parametrize("start", [b"<!DOCTYPE html><html>", b"\n\n  <html>", b"\xef\xbb\xbf<html>"])
def test_html(start: bytes) -> None:
    """HTML is a protocol error, not an empty answer."""
    _, error = read([start, b"<title>Sign in</title>"])
    assert error is not None
    assert error[0] == "ProtocolError"


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"id":1}', b'{"choices":[]}', b'[{"generated_text":"x"}]', b'{"a":', b"[1"])
def test_documents_that_are_not_answers(body: bytes) -> None:
    """A JSON document without choices, or an incomplete one, is a protocol error."""
    events, error = read([body])
    assert events == []
    assert error is not None
    assert error[0] == "ProtocolError"


def test_an_incomplete_document() -> None:
    """A document whose connection ended early is an interrupted answer."""
    assert read([b'{"choices":[{"mess'], ConnectError("gone"))[1] == ("StreamInterrupted", "the answer broke off: gone")


def test_an_empty_body() -> None:
    """An empty body, or one of blank lines and comments, is an interrupted answer."""
    for body in (b"", b"\n", b"\xef", b": hello\n\n", b"\n\n: hello\n"):
        assert read([body]) == ([], INTERRUPTED)


def test_cut_before_and_after_the_end() -> None:
    """A broken connection matters before a finish_reason and not after it; late usage is kept."""
    finish = data_of({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}})
    assert read([event_of(content="a")], ConnectError("gone"))[1] == ("StreamInterrupted", "the answer broke off: gone")
    assert read([event_of(content="a")], TransportTimeout("late"))[1] == ("TransportTimeout", "late")
    assert read([finish], ConnectError("gone")) == ([STOP, Usage(1, 0, 1)], None)
    assert read([finish + b'data: {"cho'], ConnectError("gone")) == ([STOP, Usage(1, 0, 1)], None)
    assert read([data_of({"error": "no"})], ConnectError("gone"))[1] == failed("no")


def test_cause_of_an_interruption() -> None:
    """The interruption has the connection's error as its cause."""
    decoder = ChunkDecoder()
    cut = ConnectError("gone")
    decoder.cut(cut)
    decoder.finish()
    with pytest.raises(StreamInterrupted) as caught:
        decoder.check_end()
    assert caught.value.__cause__ is cut


def test_events_known_before() -> None:
    """Events from the headers come first, also without a body."""
    decoder = ChunkDecoder(first=[Route(provider="groq")])
    assert decoder.feed(event_of(content="a")) == [Route(provider="groq"), Token("a")]
    assert ChunkDecoder(first=[Route(provider="groq")]).finish() == [Route(provider="groq")]


def test_deep_nesting() -> None:
    """Extreme nesting is at most a protocol error, and deep objects become unknown events."""
    for depth in (50, 90, 200, 500, 900, 20_000):
        _, error = read([b"data: " + b'{"a":' * depth + b"1" + b"}" * depth + b"\n\n", END])
        assert error is None or error[0] == "ProtocolError"
        _, error = read([b'data: {"error":' + b"[" * depth + b"]" * depth + b"}\n\n", END])
        assert error is not None
        assert error[0] in ("GenerationError", "ProtocolError")


@pytest.mark.parametrize("piece", [b"x" * 65536, b"data: " + b"x" * 65530, b'{"' + b"x" * 65534])
def test_endless_lines(piece: bytes) -> None:
    """An endless line or document is refused, not collected forever."""
    decoder = ChunkDecoder()
    decoder.feed(b":\n\n" if piece[:1] != b"{" else b"{")
    for _ in range(2 * MAX_LINE // len(piece)):
        decoder.feed(piece)
        if decoder.over:
            break
    with pytest.raises(ProtocolError):
        decoder.check_end()


@pytest.mark.parametrize("text", ["\ud83d", "a\ud83d", "\ude00b", "\ud83d\ud83d\ude00"])
@pytest.mark.parametrize(
    "place", ["content", "reasoning", "arguments", "name", "error", "unknown", "extra", "finish", "route", "logprobs", "document"]
)
def test_all_text_can_be_encoded(text: str, place: str) -> None:
    """No event has a lone surrogate, in any field."""
    delta: dict[str, object] = {"content": "x"}
    chunk: dict[str, object] = {"choices": [{"delta": delta}]}
    if place in ("content", "reasoning"):
        delta[place] = text
    elif place in ("arguments", "name"):
        delta["tool_calls"] = [{"id": text, "function": {"name": "f", "arguments": "{}", place: text}}]
    elif place == "extra":
        delta["mood"] = {text: [text]}
    elif place == "finish":
        chunk = {"choices": [{"delta": delta, "finish_reason": text}]}
    elif place == "logprobs":
        chunk = {"choices": [{"delta": delta, "logprobs": {"content": [{"token": text, "top_logprobs": [{"token": text}]}]}}]}
    else:
        chunk = {
            "error": {"error": {"message": text, "code": text}},
            "unknown": {"object": text, text: text},
            "route": {"x-router-metadata": {"route": text, "x": text}},
            "document": {"choices": [{"message": {"content": text}}]},
        }[place]
    body = json.dumps(chunk).encode()
    events, error = read([body] if place == "document" else [b"data: " + body + b"\n\n", END])
    for event in events:
        json.dumps(to_dict(event), ensure_ascii=False).encode()
    "".join(error or ()).encode()


@pytest.mark.parametrize("body", [b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\ndata: [DONE]\n\n', b"{}", b"\r\n: hello\r\n\r\n"])
def test_no_reference_cycles(body: bytes) -> None:
    """A decoder is freed with its last reference; it does not wait for the garbage collector."""
    decoder = ChunkDecoder()
    decoder.feed(body)
    decoder.finish()
    left = weakref.ref(decoder)
    gc.disable()
    try:
        del decoder
        assert left() is None
    finally:
        gc.enable()
