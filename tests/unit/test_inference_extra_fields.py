"""All fields of a server are kept: unknown fields, pages, other choices, calls in several chunks, ends."""

from __future__ import annotations

import itertools
import json
import threading
from typing import Any

import pytest

from hfclient.errors import GenerationError, HFClientError
from hfclient.events import AnyEvent, Finish, Reasoning, Source, Sources, Token, ToolCall, Unknown, Usage, to_dict
from hfclient.inference.completions.chunks import ChunkDecoder
from hfclient.inference.completions.citations import citations_in
from hfclient.inference.completions.field_merging import FieldMerger
from hfclient.inference.completions.finish_reasons import has_failed, is_cut, normal_reason
from hfclient.inference.completions.messages import build_messages
from hfclient.types import Reply

Answer = tuple[list[AnyEvent], dict[str, Any], HFClientError | None]

STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def chunk(content: str | None = None, finish: str | None = None, root: Any = None, choice: Any = None, **delta: Any) -> Any:
    """One chunk in a server's form: with an envelope, and fields of its own at the root, in the choice and in the delta."""
    fields = {**({} if content is None else {"content": content}), **delta}
    entry = {"index": 0, "delta": fields, "finish_reason": finish, **(choice or {})}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [entry], **(root or {})}


def read(*chunks: Any, done: bool = True, whole: bool = False) -> Answer:
    """Return the events of an answer, the fields of its reply, and its error."""
    numbers = itertools.count(1)
    decoder = ChunkDecoder(new_id=lambda: f"made-up-{next(numbers)}")
    pieces = [b"data: " + json.dumps(value).encode() + b"\n\n" for value in chunks] + [b"data: [DONE]\n\n"] * done
    events: list[AnyEvent] = []
    for piece in [json.dumps(chunks[0]).encode()] if whole else pieces:
        events += decoder.feed(piece)
    events += decoder.finish()
    try:
        decoder.check_end()
    except HFClientError as error:
        return events, decoder.fields(), error
    return events, decoder.fields(), None


def calls_in(events: list[AnyEvent]) -> list[tuple[str, dict[str, Any]]]:
    return [(event.name, event.parameters) for event in events if isinstance(event, ToolCall)]


# Fields


@pytest.mark.parametrize(
    "field",
    [
        {"moderation": {"flagged": True}},
        {"service_tier": "flex"},
        {"provider": "DeepInfra"},
        {"system_fingerprint": "fp"},
        {"prompt_filter_results": [{"hate": {"filtered": False}}]},
        {"a_new_one": [1, 2.5, None, "x"]},
    ],
)
@pytest.mark.parametrize("place", ["root", "choice", "delta"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_unknown_fields_are_on_an_event_and_in_the_reply(field: dict[str, Any], place: str, number: int) -> None:
    """A field at the root, in a choice or in a delta, of the first, a middle or the last chunk, is on an event and in the reply."""
    chunks = [chunk("a"), chunk("b"), chunk("c", "stop")]
    entry = chunks[number]["choices"][0]
    {"root": chunks[number], "choice": entry, "delta": entry["delta"]}[place].update(field)
    events, fields, error = read(*chunks)
    assert error is None
    assert "".join(event.text for event in events if isinstance(event, Token)) == "abc"
    assert field.items() <= fields["extra"].items()
    (name,) = field
    assert [event.extra[name] for event in events if event.extra and name in event.extra] == [field[name]]


def test_the_envelope_is_in_the_reply() -> None:
    """Fields that each chunk repeats are not on events, but in the reply: the server's id of the answer, and its model."""
    events, fields, _ = read(chunk("a"), chunk("b"), chunk(finish="stop"))
    assert events == [Token("a"), Token("b"), Finish("stop")]
    assert fields == {"extra": {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}}


def test_repeated_fields() -> None:
    """A field that all chunks repeat is on one event; one that changes is on one event for each change."""
    same = {"system_fingerprint": "fp", "a_list": ["x"]}
    events, fields, _ = read(chunk(role="assistant", root=same), *[chunk(text, root=same) for text in "ab"], STOP)
    assert events == [Token("a", extra=same), Token("b"), Finish("stop")]
    assert same.items() <= fields["extra"].items()
    changing = [chunk(text, choice={"content_filter_results": {"safe": text}}) for text in "aab"]
    events, fields, _ = read(*changing, STOP)
    assert [event.extra for event in events[:3]] == [
        {"content_filter_results": {"safe": "a"}},
        None,
        {"content_filter_results": {"safe": "b"}},
    ]


def test_fields_without_an_event() -> None:
    """Fields without content wait for the next event; at the end they become an event of their own."""
    events, _, _ = read({"choices": [], "timings": {"ms": 1}}, chunk("a", "stop"))
    assert events[0] == Token("a", extra={"timings": {"ms": 1}})
    events, _, _ = read(chunk("a", "stop"), {"choices": [], "timings": {"ms": 1}})
    assert events[-1] == Unknown("chunk", {"timings": {"ms": 1}})
    events, _, _ = read(chunk("a", "stop"), {"choices": [], "usage": {"prompt_tokens": 1}, "timings": {"ms": 1}})
    assert events[-1] == Usage(1, 0, 1, extra={"timings": {"ms": 1}})


def test_probabilities_of_all_tokens() -> None:
    """The probabilities of all tokens are in the reply, also equal ones."""
    entry = {"token": "a", "logprob": -0.5}
    _, fields, _ = read(*[chunk("a", choice={"logprobs": {"content": [entry]}}) for _ in range(3)], STOP)
    assert fields["extra"]["logprobs"] == {"content": [entry] * 3}


def test_other_choices() -> None:
    """The first choice is the answer; the others are events, and merged in the reply."""
    other = [{"index": 1, "delta": {"content": text}, "finish_reason": None} for text in ("B", "B", "C")]
    last = {"index": 1, "delta": {}, "finish_reason": "stop"}
    chunks = [{"choices": [{"index": 0, "delta": {"content": "A"}}, choice]} for choice in other]
    events, fields, _ = read(*chunks, {"choices": [last]}, STOP)
    assert [event.text for event in events if isinstance(event, Token)] == ["A"] * 3
    assert events[1] == Unknown("choice", other[0])
    assert fields["extra"]["choices"] == [{"index": 1, "delta": {"content": "BBC"}, "finish_reason": "stop"}]


@pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        ([{"text": "a"}, {"text": "a"}], {"text": "aa"}),
        ([{"signature": "abc"}, {"signature": "abc"}], {"signature": "abc"}),
        ([{"signature": "ab"}, {"signature": "abc"}], {"signature": "abc"}),
        ([{"signature": "ab"}, {"signature": "cd"}], {"signature": "abcd"}),
        ([{"id": "a"}, {"id": ""}, {"id": None}, {"id": "b"}], {"id": "b"}),
        ([{"n": 1}, {"n": 2}], {"n": 2}),
        ([{"a": {"b": 1}}, {"a": {"c": 2}}], {"a": {"b": 1, "c": 2}}),
        ([{"urls": ["a"]}, {"urls": ["a", "b"]}], {"urls": ["a", "b"]}),
        ([{"token_ids": [1]}, {"token_ids": [1]}], {"token_ids": [1, 1]}),
        (
            [{"l": [{"index": 0, "text": "a"}]}, {"l": [{"index": 1, "text": "b"}, {"index": 0, "text": "c"}]}],
            {"l": [{"index": 0, "text": "ac"}, {"index": 1, "text": "b"}]},
        ),
        (
            [{"l": [{"index": 0, "type": "s", "summary": "a"}]}, {"l": [{"index": 0, "type": "e", "data": "b"}]}],
            {"l": [{"index": 0, "type": "s", "summary": "a"}, {"index": 0, "type": "e", "data": "b"}]},
        ),
        (
            [{"b": [{"type": "thinking", "thinking": "a"}]}] * 2 + [{"b": [{"type": "thinking", "thinking": "", "signature": "s"}]}] * 2,
            {"b": [{"type": "thinking", "thinking": "aa", "signature": "s"}, {"type": "thinking", "thinking": "", "signature": "s"}]},
        ),
        (
            [{"b": [{"type": "thinking", "thinking": "a"}, {"type": "redacted_thinking", "data": "x"}]}, {"b": [{"type": "thinking"}]}],
            {"b": [{"type": "thinking", "thinking": "a"}, {"type": "redacted_thinking", "data": "x"}, {"type": "thinking"}]},
        ),
        ([{"audio": {"id": "x", "data": "QQ"}}, {"audio": {"data": "QQ"}}], {"audio": {"id": "x", "data": "QQQQ"}}),
        ([{"x": "a"}, {"x": 5}, {"x": ["b"]}], {"x": ["b"]}),
        ([{"t": "x\ud83d", "text": "\ud83d"}, {"text": "\ude00"}], {"t": "x\ufffd", "text": "\U0001f600"}),
        ([{"\ud83d": 1}], {"\ufffd": 1}),
    ],
)
def test_merging(pieces: list[dict[str, Any]], whole: dict[str, Any]) -> None:
    """Text is appended, repeated values stay, entries of lists are merged by index, and surrogate pairs are joined."""
    merger = FieldMerger()
    for piece in pieces:
        merger.add(piece)
    assert merger.value() == whole
    json.dumps(merger.value(), ensure_ascii=False).encode()


def test_equal_entries() -> None:
    """Equal entries within one chunk are all kept; a list that is sent again is not doubled."""
    merger = FieldMerger()
    for _ in range(3):
        merger.add({"l": [{"a": 1}, {"a": 1}], "m": ["x", "x"]})
    assert merger.value() == {"l": [{"a": 1}, {"a": 1}], "m": ["x", "x"]}
    blocks = [{"type": "redacted", "data": "x", "index": 0}] * 2
    message = {"content": "4", "thinking_blocks": blocks}
    _, fields, _ = read({"choices": [{"message": message, "finish_reason": "stop"}]}, whole=True)
    assert fields["provider_fields"] == {"thinking_blocks": blocks}


def test_details_of_counts() -> None:
    """Unknown counts are kept."""
    details = {"cached_tokens": 1, "audio_tokens": 2, "nothing": 0}
    usage = {"prompt_tokens": 3, "prompt_tokens_details": details, "cost": 0.5}
    events, _, _ = read(chunk("a", "stop"), {"choices": [], "usage": usage})
    assert events[-1] == Usage(3, 0, 3, 1, extra={"cost": 0.5, "prompt_tokens_details": {"audio_tokens": 2}})


def test_merging_has_bounds() -> None:
    """Extreme nesting is cut off, and the cost of a long list is linear."""
    deep: Any = "x"
    for _ in range(900):
        deep = {"a": deep}
    merger = FieldMerger()
    for _ in range(3):
        merger.add({"deep": deep})
    assert "…" in json.dumps(merger.value(), ensure_ascii=False)
    for number in range(20_000):
        merger.add({"l": [{"index": number}], "m": [f"{number}"]})
    assert len(merger.value()["l"]) == len(merger.value()["m"]) == 20_000


# Reasoning


@pytest.mark.parametrize("whole", [False, True])
def test_details_of_reasoning(whole: bool) -> None:
    """Details of reasoning are on its events and merged in the reply, with or without text."""
    first = {"type": "reasoning.text", "text": "2 and", "index": 0, "id": None}
    second = {"type": "reasoning.text", "text": " 2", "signature": "s", "index": 0}
    joined = {"type": "reasoning.text", "text": "2 and 2", "index": 0, "id": None, "signature": "s"}
    if whole:
        message = {"content": "4", "reasoning": "2 and 2", "reasoning_details": [joined]}
        events, fields, _ = read({"choices": [{"message": message, "finish_reason": "stop"}]}, whole=True)
    else:
        deltas = [chunk(reasoning=item["text"], reasoning_details=[item]) for item in (first, second)]
        events, fields, _ = read(*deltas, chunk("4", "stop"))
        assert [to_dict(event)["extra"] for event in events[:2]] == [{"reasoning_details": [item]} for item in (first, second)]
    assert "".join(event.text for event in events if isinstance(event, Reasoning)) == "2 and 2"
    assert fields["provider_fields"] == {"reasoning_details": [joined]}


@pytest.mark.parametrize("name", ["thought_signature", "extra_content", "signature", "reasoning_opaque", "thinking_blocks"])
def test_provider_fields_of_reasoning(name: str) -> None:
    """Signatures and the like are in the fields that the server wants back, with an event or without."""
    for delta in (chunk(**{name: "x"}), chunk("a", **{name: "x"})):
        events, fields, _ = read(delta, STOP)
        assert fields["provider_fields"] == {name: "x"}
        assert {name: "x"} in [event.raw if isinstance(event, Unknown) else event.extra for event in events]


def test_audio_is_sent_back_by_id() -> None:
    """A spoken answer is sent back by its id; the audio itself is in the reply."""
    pieces = [chunk(audio={"id": "audio_1", "data": "QQ=="}), chunk(audio={"data": "Qg==", "transcript": "Hi"})]
    _, fields, _ = read(*pieces, STOP)
    assert fields["provider_fields"] == {"audio": {"id": "audio_1"}}
    assert fields["extra"]["audio"] == {"id": "audio_1", "data": "QQ==Qg==", "transcript": "Hi"}


@pytest.mark.parametrize("name", ["obfuscation", "p"])
def test_padding(name: str) -> None:
    """Padding that hides the length of tokens is ignored."""
    events, fields, _ = read(*[chunk(text, root={name: "abc"[:number]}) for number, text in enumerate("abc")], STOP)
    assert events == [Token("a"), Token("b"), Token("c"), Finish("stop")]
    assert name not in fields["extra"]


def test_signed_parts_of_the_content() -> None:
    """A part of the content with further fields keeps them on its event."""
    part = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}], "signature": "s"}
    events, fields, _ = read(chunk(content=[part, {"type": "text", "text": "4"}]), STOP)
    assert events == [Reasoning("hm", extra={"signature": "s"}), Token("4"), Finish("stop")]
    assert fields["extra"]["parts"] == [{"type": "thinking", "signature": "s"}]


@pytest.mark.parametrize("whole", [False, True])
def test_signed_parts_are_sent_back(whole: bool) -> None:
    """Signed or encrypted reasoning in the content is sent back before the text; other reasoning is not."""
    parts = [
        {"type": "thinking", "thinking": "hm", "signature": "s", "n": None},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "so", "signature": "t"}]},
    ]
    if whole:
        message = {"content": [*parts, {"type": "text", "text": "4"}]}
        events, fields, _ = read({"choices": [{"message": message, "finish_reason": "stop"}]}, whole=True)
    else:
        events, fields, _ = read(*[chunk(content=[part]) for part in parts], chunk("4"), STOP)
    assert "".join(event.text for event in events if isinstance(event, Reasoning)) == "hmso"
    assert fields["provider_fields"] == {"content": parts}
    message = build_messages([{"role": "user", "content": "q"}, Reply("4", provider_fields=fields["provider_fields"])])[1]
    assert message == {"role": "assistant", "content": [*parts, {"type": "text", "text": "4"}]}
    pieces = [chunk(content=[{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]) for text in "ab"]
    assert "provider_fields" not in read(*pieces, chunk("4"), STOP)[1]


# Pages and refusals

PAGE = "https://e.org/a"


@pytest.mark.parametrize(
    ("fields", "source"),
    [
        ({"citations": [PAGE]}, Source(PAGE)),
        ({"citations": [PAGE], "search_results": [{"title": "A", "url": PAGE, "snippet": "s"}]}, Source(PAGE, "A", None, "s")),
        ({"annotations": [{"type": "url_citation", "url_citation": {"url": PAGE, "title": "A"}}]}, Source(PAGE, "A")),
        ({"annotations": [{"type": "url_citation", "url": PAGE, "title": "A"}]}, Source(PAGE, "A")),
        ({"web_search": [{"link": PAGE, "media": "E"}]}, Source(PAGE, None, "E")),
        ({"search_info": {"search_results": [{"url": PAGE, "site_name": "E"}]}}, Source(PAGE, None, "E")),
        ({"executed_tools": [{"search_results": {"results": [{"url": PAGE, "content": "s"}]}}]}, Source(PAGE, None, None, "s")),
        ({"groundingMetadata": {"groundingChunks": [{"web": {"uri": PAGE, "title": "A"}}]}}, Source(PAGE, "A")),
        ({"inline_citations": [{"web_citation": {"url": PAGE}}]}, Source(PAGE)),
        ({"web_search_results": [{"url": PAGE, "title": "A"}], "references": [PAGE]}, Source(PAGE, "A")),
        ({"citation": {"url": PAGE}}, Source(PAGE)),
        ({"citations": [{"sources": [{"document": {"url": PAGE, "title": "A"}}]}]}, Source(PAGE, "A")),
    ],
)
@pytest.mark.parametrize("place", ["root", "choice", "delta", "message"])
def test_pages(fields: dict[str, Any], source: Source, place: str) -> None:
    """Pages are sources wherever a server puts them, once each, and their fields are kept."""
    if place == "message":
        events, kept, _ = read({"choices": [{"message": {"content": "a", **fields}, "finish_reason": "stop"}]}, whole=True)
    else:
        where = fields if place == "delta" else {place: fields}
        events, kept, _ = read(chunk("a", **where), chunk("b", **where), STOP)
    assert [event for event in events if isinstance(event, Sources)] == [Sources((source,))]
    assert fields.items() <= kept["extra"].items()


def test_a_reference_in_the_content() -> None:
    """A part of the content that names a page is a source; the URL of an image is not."""
    reference = {"type": "tool_reference", "tool": "web_search", "title": "A", "url": PAGE}
    image = {"type": "image_url", "image_url": {"url": "https://e.org/a.png"}}
    events, _, _ = read(chunk(content=[{"type": "text", "text": "a"}, reference, image]), STOP)
    assert Sources((Source(PAGE, "A"),)) in events
    assert Unknown("tool_reference", reference) in events
    assert len([event for event in events if isinstance(event, Sources)]) == 1


@pytest.mark.parametrize("link", ["javascript:alert(1)", "file:///etc/passwd", "", "e.org", 5, None, {"a": PAGE}])
def test_what_is_not_a_page(link: Any) -> None:
    """Only URLs of pages become sources."""
    assert [page.link for page in citations_in({"citations": [link], "annotations": [{"url": link}]})] in ([], [PAGE])


def test_refusal() -> None:
    """A refusal is marked in the reply; an answer with the same text is not."""
    events, refused, _ = read(chunk(refusal="I can"), chunk(refusal="not."), STOP)
    assert "".join(event.text for event in events if isinstance(event, Token)) == "I cannot."
    assert refused["refusal"] == "I cannot."
    part = {"type": "refusal", "refusal": "I cannot."}
    events, refused, _ = read(chunk(content=[part]), STOP)
    assert (events[0], refused["refusal"]) == (Token("I cannot.", extra={"refusal": True}), "I cannot.")
    assert "refusal" not in read(chunk("I cannot."), chunk(refusal=None), chunk(refusal=""), STOP)[1]


# Calls


def call(name: str | None, arguments: Any, id: Any = None, index: Any = 0, **more: Any) -> Any:
    """One entry of ``tool_calls``; an id or an index of None is omitted."""
    found = {"index": index, "id": id, **more, "function": {"name": name, "arguments": arguments}}
    return {key: value for key, value in found.items() if value is not None}


ONE, TWO = '{"q": 1}', '{"q": 2}'


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        ([call("f", ONE, ""), call("f", TWO, "")], [("f", 1), ("f", 2)]),
        ([call("f", ONE), call("f", TWO)], [("f", 1), ("f", 2)]),
        ([call("f", ONE, "a"), call("f", TWO, "b")], [("f", 1), ("f", 2)]),
        ([call("f", ONE, "a"), call("g", TWO, "a")], [("f", 1), ("g", 2)]),
        ([call("f", "", "", type="function"), call("g", TWO, "", type="function")], [("f", None), ("g", 2)]),
        ([call("f", '{"q"', "a"), call("f", '{"q"', "b"), call(None, ": 1}", "a"), call(None, ": 2}", "b")], [("f", 1), ("f", 2)]),
        ([call("f", ONE, index="0"), call("f", TWO, index="1")], [("f", 1), ("f", 2)]),
        ([call("f", ONE, index=None), call("f", TWO, index=None)], [("f", 1), ("f", 2)]),
        # Still one call.
        ([call("f", '{"q"', "a"), call(None, ": 1}")], [("f", 1)]),
        ([call("f", '{"q"', "a"), call("f", ": 1}", "a")], [("f", 1)]),
        ([call("f", '{"q"', "a"), call("f", ": 1}", "")], [("f", 1)]),
        ([call("f", '{"q"', ""), call("f", ": 1}", "")], [("f", 1)]),
        ([call("f", '{"q"', "a"), call("f", ": 1}", "b")], [("f", 1)]),
        ([call("f", '{"q"', "a", index=None), call(None, ": 1}", index=None)], [("f", 1)]),
        ([call("f", ONE, ""), call("f", "", "")], [("f", 1)]),
        ([call("f", ONE, ""), call("f", ONE, "")], [("f", 1)]),
        ([call("f", "{}", ""), call("f", ONE, "")], [("f", 1)]),
        # A name in pieces.
        ([call("get_", "", "a"), call("f", None), call(None, ONE)], [("get_f", 1)]),
        ([call("get_", "", "a"), call("f", ONE, "a")], [("get_f", 1)]),
        ([call("get_", None, "a"), call("get_f", None, "a"), call("get_f", ONE, "a")], [("get_f", 1)]),
    ],
)
@pytest.mark.parametrize("together", [False, True])
def test_calls_in_chunks(deltas: list[Any], expected: list[Any], together: bool) -> None:
    """Several calls with one index are several, and one in chunks is one, whatever each chunk repeats or omits."""
    chunks = [chunk(tool_calls=deltas)] if together else [chunk(tool_calls=[delta]) for delta in deltas]
    events, _, error = read(*chunks, chunk(finish="tool_calls"))
    assert error is None
    assert [(name, parameters.get("q")) for name, parameters in calls_in(events)] == expected
    ids = [event.uuid for event in events if isinstance(event, ToolCall)]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    "fields",
    [
        {"function_call": {"name": "", "arguments": ""}, "tool_calls": None},
        {"function_call": {"name": None, "arguments": None}},
        {"function_call": {}, "tool_calls": []},
        {"tool_calls": [{}]},
        {"tool_calls": [None]},
        {"tool_calls": [{"id": "", "type": "function", "function": {"name": "", "arguments": "{}"}}]},
    ],
)
@pytest.mark.parametrize("whole", [False, True])
def test_an_empty_call_is_ignored(fields: dict[str, Any], whole: bool) -> None:
    """Empty entries of calls are ignored: no event, and the end stays unchanged."""
    choice = {"index": 0, "message" if whole else "delta": {"content": "4", **fields}, "finish_reason": "stop"}
    events, _, error = read({"choices": [choice]}, whole=whole)
    assert (events, error) == ([Token("4"), Finish("stop")], None)


def test_fields_of_a_call() -> None:
    """Further fields of a call, or of its function, are merged over its chunks; those of the root are not."""
    first = call("f", '{"q"', "a", extra_content={"google": {"thought_signature": "ab"}}, type="builtin_function")
    second = call(None, ": 1}", extra_content={"google": {"thought_signature": "ab"}})
    second["function"]["signature"] = "s"
    events, _, _ = read(chunk(tool_calls=[first]), chunk(tool_calls=[second]), chunk(finish="stop", root={"moderation": 1}))
    assert events[0].extra == {
        "extra_content": {"google": {"thought_signature": "ab"}},
        "type": "builtin_function",
        "function": {"signature": "s"},
    }
    assert events[1] == Finish("tool_calls", extra={"moderation": 1})


def test_partial_from_another_thread() -> None:
    """The partial reply can be read at any time, from any thread, and only grows."""
    decoder, sizes = ChunkDecoder(), [0]
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            sizes.append(len(decoder.fields().get("extra", {})))

    looker = threading.Thread(target=look)
    looker.start()
    for number in range(2000):
        value = chunk("a", root={f"field_{number}": {"a": [number, {"b": "c"}]}})
        decoder.feed(b"data: " + json.dumps(value).encode() + b"\n\n")
    over.set()
    looker.join()
    assert sizes == sorted(sizes)
    assert len(decoder.fields()["extra"]) == 2004


# Ends


@pytest.mark.parametrize(
    "reason",
    [
        *("network_error", "error", "abort", "cancelled", "canceled", "timeout", "insufficient_system_resource", "failed"),
        *("ERROR", "ERROR_TOXIC", "ERROR_LIMIT", "USER_CANCEL", "TIMEOUT", "MALFORMED_FUNCTION_CALL", "malformed_tool_use"),
        *("resource-exhausted", "rate_limit_exceeded", "internal_server_error", "time_limit", "UNEXPECTED_TOOL_CALL", "overloaded"),
    ],
)
def test_an_end_that_is_a_failure(reason: str) -> None:
    """An answer that ended because of a failure of the server is an error with the server's reason and the partial reply."""
    assert has_failed(reason)
    events, _, error = read(chunk("Half"), chunk(finish=reason))
    assert events == [Token("Half")]
    assert isinstance(error, GenerationError)
    assert (error.code, reason in error.message) == (reason, True)
    detail = {"error": {"message": "gone", "code": 502}}
    assert getattr(read(chunk("Half", reason, choice=detail))[2], "message", "") == "gone"


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "content_filter", "sensitive", "a_new_word", "refusal"])
def test_other_ends_are_kept(reason: str) -> None:
    """All other values of finish_reason are kept, including unknown ones."""
    events, _, error = read(chunk("Hi"), chunk(finish=reason))
    assert (events, error) == ([Token("Hi"), Finish(reason)], None)


def test_ends_in_other_spellings() -> None:
    """Capitals and the values of other APIs have the same meaning; a length limit is detected in any spelling."""
    for word in ("STOP", "END_TURN", "COMPLETE", "eos_token"):
        assert normal_reason(word) == "stop"
    assert [normal_reason(word) for word in ("tool_use", "TOOL_CALL", "MAX_TOKENS")] == ["tool_calls", "tool_calls", "length"]
    for word in ("length", "content_filter", "SAFETY", "model_context_window_exceeded", "guardrail_intervened", "refusal"):
        assert is_cut(word)
    for word in ("incomplete", "truncated"):
        assert is_cut(word)
    assert not is_cut("a_new_word")
    assert read(chunk("a", choice={"finish_reason": "null"}), STOP)[0] == [Token("a"), Finish("stop")]


@pytest.mark.parametrize("reason", ["length", "content_filter", "a_new_word", None])
@pytest.mark.parametrize("arguments", ["", '{"q"', "{}"])
def test_an_incomplete_call(reason: str | None, arguments: str) -> None:
    """An incomplete call is an error; the complete calls and the counts are returned."""
    usage = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
    made = [call("f", ONE, "a"), call("g", arguments, "b", index=1)]
    events, _, error = read(chunk("Hm.", tool_calls=made), chunk(finish=reason), usage)
    assert isinstance(error, GenerationError)
    assert "'g'" in error.message
    assert error.code == reason
    assert calls_in(events) == [("f", {"q": 1})]
    broken = {"id": "b", "function": {"name": "g", "arguments": arguments}}
    finish = [Finish(reason)] if reason else []
    rest = [event for event in events if not isinstance(event, ToolCall)]
    assert rest == [Token("Hm."), Unknown("unfinished_tool_call", broken), *finish, Usage(1, 2, 3)]


def test_a_document_is_complete() -> None:
    """A document without a finish_reason is complete; with the reason length, a call without arguments is incomplete."""
    message = {"content": None, "tool_calls": [call("f", "", "a")]}
    assert calls_in(read({"choices": [{"message": message}]}, whole=True)[0]) == [("f", {})]
    assert read({"choices": [{"message": message, "finish_reason": "length"}]}, whole=True)[2] is not None
