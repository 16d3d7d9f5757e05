"""Bytes of chat-ui become events: every update of every version, and unknown ones."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from hfclient.chat.wire.update_events import parse_update
from hfclient.chat.wire.updates import UpdateDecoder
from hfclient.decoding.frames import MAX_LINE
from hfclient.decoding.think_tags import split_thinking
from hfclient.decoding.utf16 import utf16_length
from hfclient.errors import GenerationError, HFClientError, ProtocolError, StreamInterrupted
from hfclient.events import (
    AnyEvent,
    Elicitation,
    ElicitationResolved,
    File,
    FinalAnswer,
    Reasoning,
    ReasoningStatus,
    Route,
    Source,
    Sources,
    Status,
    Title,
    Token,
    ToolCall,
    ToolError,
    ToolEta,
    ToolProgress,
    ToolResult,
    Unknown,
    WebSearch,
    from_dict,
    to_dict,
)
from hfclient.reply_builder import ReplyBuilder
from tests.chat.recordings import RECORDINGS, Recording, joined, recording

FINAL = b'{"type":"finalAnswer","text":"","interrupted":false}\n'
KEEP_ALIVE = b'{"type":"status","status":"keepAlive"}\n'


def read(pieces: Iterable[bytes]) -> tuple[list[AnyEvent], HFClientError | None]:
    """Return the events of an answer that came in *pieces*, and the error at its end."""
    decoder = UpdateDecoder()
    events: list[AnyEvent] = []
    try:
        for piece in pieces:
            events += decoder.feed(piece)
        events += decoder.finish()
        decoder.check_end()
    except HFClientError as error:
        return events, error
    return events, None


def one(line: bytes | dict[str, Any]) -> AnyEvent:
    """Return the only event of a line."""
    (event,) = UpdateDecoder().feed(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
    return event


def token(text: str) -> bytes:
    return json.dumps({"type": "stream", "token": text}, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def escaped(text: str) -> bytes:
    return json.dumps({"type": "stream", "token": text}).encode() + b"\n"


def reply_of(events: list[AnyEvent]) -> Any:
    transcript = ReplyBuilder()
    transcript.add(events)
    return transcript.reply()


# Recordings


@pytest.mark.parametrize("item", RECORDINGS, ids=str)
def test_recordings_in_pieces(item: Recording) -> None:
    """A recorded answer gives the same events whole, line by line and byte by byte."""
    whole, ended = read([item.stream])
    for pieces in (item.lines, [item.stream[i : i + 1] for i in range(len(item.stream))]):
        events, again = read(pieces)
        assert events == whole
        assert repr(again) == repr(ended)
    assert not any(isinstance(event, Unknown) or event.extra for event in whole)
    assert all(from_dict(to_dict(event)) == event for event in whole)


@pytest.mark.parametrize("item", RECORDINGS, ids=str)
def test_recordings_make_the_stored_answer(item: Recording) -> None:
    """Text, reasoning, title and interruption are those that the server has stored."""
    events, ended = read([item.stream])
    reply, stored = reply_of(events), item.answer
    assert (reply.text, reply.reasoning) == (stored.content, stored.reasoning)
    assert (reply.title or "New Chat") == item.state.title.strip()
    assert reply.interrupted == stored.interrupted
    match item.name:
        case "upstream_500":
            assert isinstance(ended, GenerationError)
            assert ended.message == "500 upstream exploded"
            assert ended.status_code == (500 if item.version == "0.20" else None)
        case "empty":
            assert isinstance(ended, GenerationError)
            assert ended.message == "No output was generated. Something went wrong."
        case "stopped" if item.version != "0.20":  # these end a stopped answer without a word
            assert isinstance(ended, StreamInterrupted)
        case _:
            assert ended is None


@pytest.mark.parametrize("item", [item for item in RECORDINGS if item.log], ids=str)
def test_recorded_logs_hold_the_same(item: Recording) -> None:
    """The log of a run holds its events, except for keep-alives and the borders between tokens."""
    decoder = UpdateDecoder()
    events: list[AnyEvent] = []
    for frame in (item.log or "").split("\n\n"):
        if "event: update" in frame:
            decoder.add(json.loads(frame.partition("data: ")[2]), events)
    events += decoder.finish()
    assert joined(events) == joined(read([item.stream])[0])


def test_events_of_a_recording() -> None:
    """The first recording in full: without padding and keep-alives, with the title in its place."""
    assert read([recording("plain").stream])[0] == [
        Status("started"),
        Token("Hello"),
        Title("Hello, world!"),
        Token(", "),
        Token("world"),
        Token("!"),
        FinalAnswer("Hello, world!"),
        Status("finished"),
    ]


def test_events_of_a_tool_call() -> None:
    """A recorded call of an MCP tool."""
    uuid = "91cb8cc9-08db-4a96-95da-5283a40019c5"
    call, eta, result = read([recording("tool_echo").stream])[0][2:5]
    assert call == ToolCall(uuid, "echo", {"text": "ping"}, '{"text": "ping"}', "call_0")
    assert eta == ToolEta(uuid, 10)
    output = {"text": "ping", "structured": {"result": "ping"}, "content": [{"type": "text", "text": "ping"}]}
    assert result == ToolResult(uuid, "success", [output], "echo", None, True)


# Each type


FORM = [
    {"kind": "number", "name": "seats", "required": False, "integer": True, "minimum": 1, "default": 2},
    {"kind": "select", "name": "size", "required": True, "multiple": False, "options": [{"value": "a", "label": "A"}]},
]
IMAGE = {"content": [{"type": "image", "data": "aGk=", "mimeType": "image/png"}], "text": ""}

UPDATES: list[tuple[str, AnyEvent]] = [
    ('{"type":"status","status":"started"}', Status("started")),
    ('{"type":"status","status":"finished"}', Status("finished")),
    ('{"type":"status","status":"pending"}', Status("pending")),
    ('{"type":"status","status":"brandNew","message":null}', Status("brandNew")),
    (
        '{"type":"status","status":"error","message":"402 pay up","statusCode":402}',
        Status("error", "402 pay up", 402),
    ),
    ('{"type":"status","status":"error","message":"terminated"}', Status("error", "terminated")),
    ('{"type":"status","status":"error","statusCode":404}', Status("error", None, 404)),
    ('{"type":"status","status":"error","statusCode":404.0,"message":"x"}', Status("error", "x", 404)),
    ('{"type":"status","status":"title","message":"Old way"}', Title("Old way")),
    ('{"type":"title","title":"Hello, world!"}', Title("Hello, world!")),
    ('{"type":"title","title":"<think>hm</think> So "}', Title("hm So")),
    ('{"type":"stream","token":"Hello\\u0000\\u0000"}', Token("Hello")),
    ('{"type":"stream","token":"a\\u2028b"}', Token("a\u2028b")),
    ('{"type":"reasoning","subtype":"stream","token":"inner "}', Reasoning("inner ")),
    ('{"type":"reasoning","subtype":"status","status":"Done in 3s."}', ReasoningStatus("Done in 3s.")),
    ('{"type":"finalAnswer","text":"hi","interrupted":true}', FinalAnswer("hi", True)),
    ('{"type":"finalAnswer","text":"hi"}', FinalAnswer("hi")),
    ('{"type":"finalAnswer","text":"hi","interrupted":null,"webSources":null}', FinalAnswer("hi")),
    (
        '{"type":"tool","subtype":"call","uuid":"u","call":{"name":"echo","parameters":{"text":"ping","n":1}},'
        '"originalId":"call_0","argumentsRaw":"{\\"text\\":\\"ping\\"}","reasoning":"hm ","content":"Let me."}',
        ToolCall("u", "echo", {"text": "ping", "n": 1}, '{"text":"ping"}', "call_0", "hm ", "Let me."),
    ),
    (
        '{"type":"tool","subtype":"call","uuid":"u","call":{"name":"calculator","toolId":"0c"}}',
        ToolCall("u", "calculator", call_id="0c"),
    ),
    ('{"type":"tool","subtype":"eta","uuid":"u","eta":10}', ToolEta("u", 10)),
    (
        '{"type":"tool","subtype":"progress","uuid":"u","progress":1,"total":3,"message":"step 1"}',
        ToolProgress("u", 1, 3, "step 1"),
    ),
    ('{"type":"tool","subtype":"progress","uuid":"u","progress":0.5,"total":null}', ToolProgress("u", 0.5)),
    (
        '{"type":"tool","subtype":"result","uuid":"u","result":{"status":"success","call":{"name":"draw","parameters":{}},'
        '"outputs":[' + json.dumps(IMAGE) + '],"display":true}}',
        ToolResult("u", "success", [IMAGE], "draw", None, True),
    ),
    (
        '{"type":"tool","subtype":"result","uuid":"u","result":{"status":"error","call":{"name":"x","parameters":{}},'
        '"message":"no","display":false}}',
        ToolResult("u", "error", [], "x", "no", False),
    ),
    (
        '{"type":"tool","subtype":"result","uuid":"u","result":{"status":"success","outputs":["bare",{"calculator":"4"}]}}',
        ToolResult("u", "success", [{"value": "bare"}, {"calculator": "4"}]),
    ),
    ('{"type":"tool","subtype":"error","uuid":"u","message":"Aborted by user"}', ToolError("u", "Aborted by user")),
    (
        '{"type":"file","name":"image.webp","sha":"569f","mime":"image/webp"}',
        File("image.webp", "569f", "image/webp"),
    ),
    (
        '{"type":"routerMetadata","route":"code_generation","model":"org/name"}',
        Route("code_generation", "org/name"),
    ),
    ('{"type":"routerMetadata","route":"","model":"","provider":"together"}', Route("", "", "together")),
    ('{"type":"routerMetadata","route":null}', Route()),
    (
        '{"type":"elicitation","subtype":"request","request":{"server":"booking","mode":"form","message":"How many?",'
        '"fields":' + json.dumps(FORM) + ',"elicitationId":"e"},"expiresAt":1795235814881,"toolUuid":"t"}',
        Elicitation("e", "booking", "form", "How many?", FORM, None, 1795235814881, "t"),
    ),
    (
        '{"type":"elicitation","subtype":"request","request":{"server":"booking","mode":"url","message":"Authorise",'
        '"url":"https://example.com/auth?x=1","elicitationId":"e"}}',
        Elicitation("e", "booking", "url", "Authorise", [], "https://example.com/auth?x=1"),
    ),
    (
        '{"type":"elicitation","subtype":"resolved","elicitationId":"e","action":"accept","resolution":"user",'
        '"content":{"seats":2}}',
        ElicitationResolved("e", "accept", "user", {"seats": 2}),
    ),
    (
        '{"type":"elicitation","subtype":"resolved","elicitationId":"e","action":"cancel","resolution":"withdrawn"}',
        ElicitationResolved("e", "cancel", "withdrawn"),
    ),
    (
        '{"type":"webSearch","subtype":"update","message":"Searching Google","args":["python asyncio"]}',
        WebSearch("Searching Google", ("python asyncio",)),
    ),
    (
        '{"type":"webSearch","subtype":"error","message":"An error occurred","args":["why"]}',
        WebSearch("An error occurred", ("why",), "error"),
    ),
    ('{"type":"webSearch","subtype":"finished"}', WebSearch("", (), "finished")),
    (
        '{"type":"webSearch","subtype":"sources","message":"sources","sources":[{"link":"https://a/","title":"A"},'
        '{"link":"https://b/"}]}',
        Sources((Source("https://a/", "A"), Source("https://b/"))),
    ),
    (
        '{"type":"webSearch","messageType":"update","message":"Browsing webpage","args":["https://a"]}',
        WebSearch("Browsing webpage", ("https://a",)),
    ),
    (
        '{"type":"webSearch","messageType":"sources","message":"sources",'
        '"sources":[{"title":"A","link":"https://a/","hostname":"a","text":"excerpt"}]}',
        Sources((Source("https://a/", "A", "a", "excerpt"),)),
    ),
    ('{"type":"error","message":"agent broke","name":"E"}', Status("error", "agent broke", extra={"name": "E"})),
    (
        '{"type":"agent","agent":"painter","content":"..."}',
        Unknown("agent", {"type": "agent", "agent": "painter", "content": "..."}),
    ),
]


@pytest.mark.parametrize(("line", "event"), UPDATES, ids=[line[:60] for line, _ in UPDATES])
def test_each_update(line: str, event: AnyEvent) -> None:
    """Every update of every version has its event, whole, in pieces, with a tail, and as a dict."""
    data = line.encode() + b"\n"
    assert read([data])[0] == [event]
    assert read([data[i : i + 1] for i in range(len(data))])[0] == [event]
    assert read([b" " * 4096 + data + b'{"type":"sta'])[0] == [event]
    assert from_dict(to_dict(event)) == event


def test_web_sources_of_a_final_answer() -> None:
    """Sources that come with the final answer are an event before it."""
    line = {
        "type": "finalAnswer",
        "text": "x",
        "webSources": [{"uri": "https://a", "title": "A"}, {"uri": "https://b"}],
    }
    events = UpdateDecoder().feed(json.dumps(line).encode() + b"\n")
    assert events == [Sources((Source("https://a", "A"), Source("https://b"))), FinalAnswer("x")]
    assert reply_of(events).sources == events[0].sources  # type: ignore[union-attr]


def test_malformed_web_sources() -> None:
    """Sources of another shape stay with the final answer."""
    for odd in ("soon", [{"title": "no link"}], [3]):
        event = one({"type": "finalAnswer", "text": "x", "webSources": odd})
        assert event == FinalAnswer("x", extra={"webSources": odd})


# The future


ODD = [
    {"type": "weather", "sky": "blue"},
    {"type": "tool", "subtype": "dream", "uuid": "u"},
    {"type": "tool", "subtype": "call", "uuid": "u", "call": {"parameters": {}}},
    {"type": "tool", "subtype": "call", "uuid": "u", "call": None},
    {"type": "tool", "subtype": "result", "uuid": "u", "result": "text"},
    {"type": "tool", "subtype": "eta", "uuid": "u", "eta": "soon"},
    {"type": "tool", "subtype": "eta", "uuid": "u", "eta": True},
    {"type": "tool", "subtype": ["call"], "uuid": "u"},
    {"type": "tool"},
    {"type": "reasoning", "subtype": "picture"},
    {"type": "reasoning", "subtype": "stream", "token": None},
    {"type": "stream"},
    {"type": "stream", "token": 7},
    {"type": "status"},
    {"type": "status", "status": 3},
    {"type": "title", "title": None},
    {"type": "finalAnswer"},
    {"type": "file", "name": "x"},
    {"type": "elicitation", "subtype": "request", "request": []},
    {"type": "elicitation", "subtype": "poll"},
    {"type": "webSearch", "subtype": "sources", "sources": [{"title": "no link"}]},
    {"type": "webSearch", "subtype": "later"},
    {"type": "webSearch"},
    {"type": None},
    {"type": 5},
    {"type": ["status"]},
    {"no": "type"},
    {},
]


@pytest.mark.parametrize("update", ODD, ids=json.dumps)
def test_unknown_updates_are_kept(update: dict[str, Any]) -> None:
    """An update of an unknown shape becomes an `Unknown` that holds it."""
    kind = update.get("type")
    assert one(update) == Unknown(kind if isinstance(kind, str) else "", update)


@pytest.mark.parametrize("value", ["text", 7, None, True, [1, {"a": 2}], 1.5])
def test_values_that_are_not_objects(value: object) -> None:
    """A line of JSON that is not an object is kept, too."""
    assert one(json.dumps(value).encode() + b"\n") == Unknown("", {"value": value})


@pytest.mark.parametrize(("line", "event"), UPDATES, ids=[line[:60] for line, _ in UPDATES])
def test_new_fields_are_kept(line: str, event: AnyEvent) -> None:
    """An unknown field does not change an event, and is kept in its ``extra``."""
    if isinstance(event, Unknown):
        return
    found = one({**json.loads(line), "newField": {"a": None}})
    assert found.extra == {**(event.extra or {}), "newField": {"a": None}}
    found.extra = event.extra
    assert found == event


@pytest.mark.parametrize(("line", "event"), UPDATES, ids=[line[:60] for line, _ in UPDATES])
def test_null_is_absent(line: str, event: AnyEvent) -> None:
    """Optional fields may be null."""
    known = (
        "message statusCode interrupted argumentsRaw originalId reasoning content total expiresAt toolUuid args".split()
    )
    update = json.loads(line)
    assert one({**dict.fromkeys(known), **update}).__class__ is event.__class__


def test_optional_fields_of_another_type() -> None:
    """An error whose status code is not a number is still an error, and the field is kept."""
    decoder = UpdateDecoder()
    (event,) = decoder.feed(b'{"type":"status","status":"error","message":"boom","statusCode":"5xx"}\n')
    assert event == Status("error", "boom", extra={"statusCode": "5xx"})
    with pytest.raises(GenerationError, match="boom"):
        decoder.check_end()


def test_new_fields_of_tokens() -> None:
    """A token with a new field is not decoded in a block, and loses nothing."""
    decoder = UpdateDecoder()
    events = decoder.feed(token("a") + b'{"type":"stream","token":"b\\u0000","logprob":-1}\n' + token("c"))
    assert events == [Token("a"), Token("b", extra={"logprob": -1}), Token("c")]
    assert decoder.text_units == 3


def test_files_get_their_url() -> None:
    """A file's URL comes from the given function."""
    file = {"type": "file", "name": "n", "sha": "569f", "mime": "m"}
    event = parse_update(file, file_url=lambda sha: f"https://x/{sha}")
    assert event == File("n", "569f", "m", "https://x/569f")


# Text


def test_blank_lines() -> None:
    """Blank lines, padding and carriage returns are ignored."""
    assert read([b"\n\n  \r\n" + b" " * 4096 + token("a") + b"\n" + FINAL + b" " * 4096]) == (
        [Token("a"), FinalAnswer("")],
        None,
    )


def test_keep_alives() -> None:
    """Keep-alives are not events, in any spelling, and padding before one does not affect the line after it."""
    odd = b'  { "type": "status", "status": "keepAlive", "at": 5 }\n'
    events, ended = read([KEEP_ALIVE * 3, odd, b" " * 4096 + KEEP_ALIVE + token("a"), KEEP_ALIVE[:-1], b"\n" + FINAL])
    assert (events, ended) == ([Token("a"), FinalAnswer("")], None)


def test_a_thousand_keep_alives() -> None:
    """They cost no events and no memory."""
    decoder = UpdateDecoder()
    assert decoder.feed(KEEP_ALIVE * 1000) == []
    assert (decoder.others, decoder.text_units) == (0, 0)


THOUGHTS = "A<think>b</think>C<<think>d<e</thin></think>F<think>"


@pytest.mark.parametrize("size", range(1, len(THOUGHTS) + 1))
def test_think_tags_cut_anywhere(size: int) -> None:
    """Tags are found at every border between tokens."""
    pieces = [THOUGHTS[i : i + size] for i in range(0, len(THOUGHTS), size)]
    for lines in (map(token, pieces), [b"".join(map(token, pieces))]):
        events, _ = read(lines)
        assert joined(events) == [
            Token("A"), Reasoning("b"), Token("C<"), Reasoning("d<e</thin>"), Token("F"),
        ]  # fmt: skip


@pytest.mark.parametrize("cut", range(len(THOUGHTS) + 1))
def test_think_tags_cut_once(cut: int) -> None:
    """For every border between two tokens answer and reasoning are the same."""
    events, _ = read([token(THOUGHTS[:cut]) + token(THOUGHTS[cut:])])
    answer = "".join(event.text for event in events if isinstance(event, Token))
    thoughts = "".join(event.text for event in events if isinstance(event, Reasoning))
    assert (answer, thoughts) == split_thinking(THOUGHTS)


def test_what_looks_like_a_tag_is_not_lost() -> None:
    """The start of a tag without its rest is text, in its place before the next event."""
    decoder = UpdateDecoder()
    assert decoder.feed(token("a<thi")) == [Token("a")]
    assert decoder.held_units == 4
    assert decoder.feed(token("s")) == [Token("<this")]
    assert decoder.feed(token("<th") + FINAL) == [FinalAnswer("")]
    assert decoder.finish() == [Token("<th")]


SMILE = "\U0001f600"
HIGH, LOW = "\ud83d", "\ude00"


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ([SMILE], SMILE),
        ([f"x{HIGH}", f"{LOW}y"], f"x{SMILE}y"),
        ([HIGH, LOW], SMILE),
        ([f"a{HIGH}", "", f"{LOW}{HIGH}", f"{LOW}b"], f"a{SMILE}{SMILE}b"),
        ([f"a{HIGH}", "b"], "a\ufffdb"),
        ([f"a{LOW}b"], "a\ufffdb"),
        ([f"a{HIGH}\0\0\0", f"{LOW}\0\0"], f"a{SMILE}"),
        ([f"<think>{HIGH}", f"{LOW}</think>"], SMILE),
        ([f"a{HIGH}"], "a\ufffd"),
        ([f"a{HIGH}", f"{HIGH}{LOW}"], f"a\ufffd{SMILE}"),
    ],
    ids=ascii,
)
def test_halves_of_characters(tokens: list[str], text: str) -> None:
    """A character that two tokens share is joined; a lone half becomes U+FFFD."""
    for lines in ([escaped(item) for item in tokens], [b"".join(map(escaped, tokens))]):
        decoder = UpdateDecoder()
        events = [event for line in lines for event in decoder.feed(line)] + decoder.finish()
        assert "".join(event.text for event in events) == text  # type: ignore[union-attr]
        assert decoder.text_units == sum(utf16_length(item.replace("\0", "")) for item in tokens)


def test_halves_with_other_events_between() -> None:
    """A half waits while other events pass, and is not joined with a half of the reasoning."""
    lines = escaped(f"a{HIGH}") + b'{"type":"title","title":"T"}\n'
    lines += b'{"type":"reasoning","subtype":"stream","token":"\\ud83d"}\n' + escaped(f"{LOW}b")
    lines += b'{"type":"reasoning","subtype":"stream","token":"\\ude01"}\n'
    events, _ = read([lines])
    assert events == [Token("a"), Title("T"), Token(f"{SMILE}b"), Reasoning("\U0001f601")]


def test_blocks_after_a_half() -> None:
    """After half a character was joined, tokens are decoded in blocks again."""
    decoder = UpdateDecoder()
    assert decoder.feed(token("a") + escaped(HIGH)) == [Token("a")]
    assert decoder.feed(escaped(LOW) + token("b")) == [Token(SMILE), Token("b")]
    assert decoder.feed(token("c") + token("d")) == [Token("c"), Token("d")]
    assert decoder.text_units == 6


@pytest.mark.parametrize("text", ["", "abc", "é", SMILE, f"a{SMILE}", "\uffff", "<think>", "\x7f", "\u2028"])
@pytest.mark.parametrize("write", [token, escaped, lambda text: escaped(text).replace(b"\\ud8", b"\\uD8")])
def test_text_is_counted_in_utf16_units(text: str, write: Any) -> None:
    """Text is counted in UTF-16 units, as JavaScript counts, for every spelling of the escapes."""
    decoder = UpdateDecoder()
    decoder.feed(write(text) + write(text.ljust(16, "\0")))
    assert decoder.text_units == 2 * len(text.encode("utf-16-le")) // 2


def test_halves_elsewhere_are_replaced() -> None:
    """No event holds half a character, which cannot be printed: in titles, tools, unknown fields and keys."""
    line = b'{"type":"tool","subtype":"call","uuid":"\\ud83d","call":{"name":"n","parameters":{"\\ud83d":["\\ude00"]}},"x":"\\ud83d"}'
    for event in (
        one(line + b"\n"),
        one(b'{"type":"new","a":["\\ud83d"]}\n'),
        one(b'{"type":"title","title":"\\ud83d"}\n'),
    ):
        json.dumps(to_dict(event), ensure_ascii=False).encode()


def test_numbers_beyond_json() -> None:
    """NaN and numbers out of range, which some servers write, are accepted."""
    events, _ = read(
        [
            b'{"type":"tool","subtype":"eta","uuid":"u","eta":NaN}\n{"type":"x","n":1e999}\n{"type":"y","n":%d}\n'
            % 10**40
        ]
    )
    assert [type(event) for event in events] == [ToolEta, Unknown, Unknown]


# Ends


def test_garbage_in_mid_stream() -> None:
    """A line that is not JSON is an error that shows it; all events before it are returned, for every border between reads."""
    lines = [token("a"), b"<html>502 Bad Gateway</html>\n", token("b")]
    for pieces in (lines, [b"".join(lines)], [lines[0] + lines[1][:5], lines[1][5:] + lines[2]]):
        events, ended = read(pieces)
        assert events == [Token("a")]
        assert isinstance(ended, ProtocolError)
        assert ended.frame == "<html>502 Bad Gateway</html>"


def test_garbage_at_once() -> None:
    """A first line that is not JSON is an error, too."""
    decoder = UpdateDecoder()
    with pytest.raises(ProtocolError):
        decoder.feed(b"{'single': 'quotes'}\n")


def test_half_a_last_line() -> None:
    """An answer that ends within a line was cut."""
    events, ended = read([token("a") + FINAL + b'{"type":"status","status":"fin'])
    assert events == [Token("a"), FinalAnswer("")]
    assert isinstance(ended, StreamInterrupted)


def test_a_last_line_without_its_end() -> None:
    """A complete last line counts without its line end."""
    assert read([token("a") + FINAL[:-1]]) == ([Token("a"), FinalAnswer("")], None)


@pytest.mark.parametrize(
    ("last", "good"),
    [
        (b'{"type":"finalAnswer","text":"a","interrupted":false}\n', True),
        (b'{"type":"status","status":"finished"}\n', True),
        (b'{"type":"elicitation","subtype":"request","request":{"elicitationId":"e","server":"s","mode":"form","message":"m"}}\n', True),
        (b'{"type":"elicitation","subtype":"request","request":{"elicitationId":"e","server":"s","mode":"form","message":"m"},"expiresAt":5}\n', False),
        (b'{"type":"title","title":"t"}\n', False),
        (token("a"), False),
        (b"", False),
    ],
)  # fmt: skip
def test_what_ends_an_answer(last: bytes, good: bool) -> None:
    """A final answer, ``finished`` or a question that the run does not wait for; nothing else."""
    _, ended = read([last])
    assert (ended is None) == good
    assert good or isinstance(ended, StreamInterrupted)


def test_an_error_is_raised_at_the_end() -> None:
    """More may follow an error (a title, a final answer of old servers), so it is raised when the body ends."""
    error = b'{"type":"status","status":"error","message":"boom"}\n'
    events, ended = read([token("a") + error + FINAL + b'{"type":"title","title":"t"}\n'])
    assert events == [Token("a"), Status("error", "boom"), FinalAnswer(""), Title("t")]
    assert isinstance(ended, GenerationError)
    assert ended.message == "boom"


def test_an_error_without_a_text() -> None:
    """Without a text the error holds the status code."""
    _, ended = read([b'{"type":"status","status":"error","statusCode":404}\n'])
    assert isinstance(ended, GenerationError)
    assert (ended.message, ended.status_code) == ("the generation failed with status 404", 404)


def test_a_line_without_end() -> None:
    """A line is bounded."""
    decoder = UpdateDecoder()
    for _ in range(MAX_LINE // (1 << 20)):
        decoder.feed(b"x" * (1 << 20))
    with pytest.raises(ProtocolError, match="more than"):
        decoder.feed(b"x")


def test_deep_nesting() -> None:
    """Nesting that a decoder cannot handle is refused like any other garbage."""
    for line in (b"[" * 100_000 + b"\n", b'{"type":"x","a":' * 50_000 + b"\n"):
        with pytest.raises(ProtocolError):
            UpdateDecoder().feed(line)
