"""The tool loop over real HTTP: requests, results, errors, and every end of a run."""

from __future__ import annotations

import contextvars
import enum
import json
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import attrs
import pytest

from hfclient.credentials import Credentials
from hfclient.errors import (
    Cancelled,
    GenerationError,
    InvalidInputError,
    ProtocolError,
    ServerError,
    StreamConsumed,
    TooManyRounds,
    TransportTimeout,
    Unsupported,
)
from hfclient.events import Finish, Reasoning, Token, ToolCall, ToolError, ToolResult, Usage
from hfclient.inference import Image, InferenceClient
from hfclient.inference.schemas.tools import Tool
from hfclient.inference.tool_loop import ToolStream
from hfclient.transport import Retry, Session, Timeouts
from hfclient.transport.requests_transport import RequestsTransport
from hfclient.types import Reply
from tests.chat.replay import wait_until
from tests.clock import FakeTime
from tests.inference.answers import CHAT, DONE, SSE, begun, call, calls, data, delta, says, silence
from tests.server import CLOSE, PATIENCE, SOON, UNTIL_GONE, Script, Server, chunk, chunked, json_answer

Run = Callable[..., ToolStream]


class Unit(enum.Enum):
    CELSIUS = "celsius"
    FAHRENHEIT = "fahrenheit"


def get_weather(city: str, unit: Unit = Unit.CELSIUS) -> dict[str, Any]:
    """Current weather.

    Args:
        city: Name of the city.
    """
    return {"city": city, "temp": 18, "unit": unit}


@attrs.define
class City:
    name: str


def boom() -> None:
    """Always fails."""
    raise ValueError("kaput")


@pytest.fixture
def client(server: Server) -> Iterator[InferenceClient]:
    transport = RequestsTransport()
    session = Session(transport, Credentials(), timeouts=Timeouts(idle=PATIENCE), retry=Retry(attempts=1))
    yield InferenceClient(session, base_url=server.url)
    transport.close()


@pytest.fixture
def run(server: Server, client: InferenceClient) -> Run:
    """Serves answers, one for each round, and starts a run."""

    def run(*scripts: Script, tools: Any = (get_weather,), prompt: Any = "Warm in Paris?", **options: Any) -> ToolStream:
        server.on(CHAT, *scripts)
        return client.run_tools(prompt, tools, model="m", **options)

    return run


def test_two_rounds(server: Server, run: Run) -> None:
    """The model calls, the function runs with converted arguments, the model answers; every step is an event."""
    stream = run(
        calls(call("get_weather", {"city": "Paris", "unit": "fahrenheit"}, "abcdefghi"), text="Let me look.", counts=(9, 5)),
        says("It is ", "18.", counts=(20, 3)),
    )
    assert list(stream) == [
        Token("Let me look."),
        ToolCall(
            "abcdefghi",
            "get_weather",
            {"city": "Paris", "unit": "fahrenheit"},
            '{"city": "Paris", "unit": "fahrenheit"}',
            "abcdefghi",
        ),
        Finish("tool_calls"),
        Usage(9, 5, 14),
        ToolResult(
            "abcdefghi",
            "success",
            [
                {
                    "text": '{"city":"Paris","temp":18,"unit":"fahrenheit"}',
                    "structured": {"city": "Paris", "temp": 18, "unit": "fahrenheit"},
                }
            ],
            "get_weather",
        ),
        Token("It is "),
        Token("18."),
        Finish("stop"),
        Usage(20, 3, 23),
    ]
    reply = stream.result()
    assert reply.text == "It is 18."
    assert [made.name for made in reply.tool_calls] == ["get_weather"]
    assert [result.status for result in reply.tool_results] == ["success"]
    assert reply.usage == Usage(29, 8, 37)
    assert (reply.finish_reason, reply.model, stream.rounds) == ("stop", "m", 1)


def test_bodies(server: Server, run: Run) -> None:
    """The JSON of both requests is exactly that of the protocol."""
    stream = run(
        calls(call("get_weather", {"city": "Paris"}, "abcdefghi")),
        says("18."),
        system_prompt="Be terse.",
        temperature=0.5,
        tool_choice="required",
        extra_body={"x": 1},
    )
    stream.result()
    tool = {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Current weather.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "Name of the city."},
                    "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
                },
                "required": ["city"],
            },
        },
    }
    said = [{"role": "system", "content": "Be terse."}, {"role": "user", "content": "Warm in Paris?"}]
    made = {"id": "abcdefghi", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    result = '{"city":"Paris","temp":18,"unit":"celsius"}'
    rest = {"stream": True, "stream_options": {"include_usage": True}, "temperature": 0.5, "tools": [tool], "x": 1}
    assert server.requests[0].json() == {"model": "m", "messages": said, "tool_choice": "required", **rest}
    assert server.requests[1].json() == {
        "model": "m",
        "messages": [
            *said,
            {"role": "assistant", "content": "", "tool_calls": [made]},
            {"role": "tool", "tool_call_id": "abcdefghi", "content": result},
        ],
        "tool_choice": "auto",  # a required call holds for the first round only
        **rest,
    }
    assert stream.messages == [*server.requests[1].json()["messages"], {"role": "assistant", "content": "18."}]


def test_messages_continue(server: Server, run: Run) -> None:
    """The messages of a run, and its reply, can start the next prompt."""
    first = run(calls(call("get_weather", {"city": "Paris"}, "abcdefghi")), says("18."))
    reply = first.result()
    run(says("Yes."), prompt=[*first.messages, {"role": "user", "content": "Sure?"}]).result()
    assert [message["role"] for message in server.last.json()["messages"]] == ["user", "assistant", "tool", "assistant", "user"]
    run(says("Yes."), prompt=[{"role": "user", "content": "a"}, reply, {"role": "user", "content": "b"}]).result()
    assert server.last.json()["messages"][1] == {"role": "assistant", "content": "18."}


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (call("get_wether", {"city": "Paris"}), "there is no tool 'get_wether'; known are: get_weather, boom"),
        (call("get_weather", '{"ci'), 'the arguments are not a JSON object: {"ci'),
        (call("get_weather", "[1]"), "the arguments are not a JSON object: [1]"),
        (call("get_weather", ""), "the arguments do not fit: the argument 'city' is missing"),
        (
            call("get_weather", {"city": 5, "unit": "kelvin", "day": 1}),
            "the arguments do not fit: unknown argument 'day'; known are: city, unit; "
            "Expected `str`, got `int` - at `city`; Invalid enum value 'kelvin' - at `unit`",
        ),
        (call("boom"), "ValueError: kaput"),
    ],
    ids=["name", "cut", "list", "missing", "wrong", "raises"],
)
def test_failed_calls(server: Server, run: Run, made: dict[str, Any], expected: str) -> None:
    """The model gets the error of a failed call and continues; nothing is raised."""
    stream = run(calls({**made, "id": "abcdefghi"}), says("Sorry."), tools=[get_weather, boom])
    events = list(stream)
    assert ToolError("abcdefghi", expected) in events
    assert not [event for event in events if isinstance(event, ToolResult)]
    sent = server.last.json()["messages"]
    assert sent[-1] == {"role": "tool", "tool_call_id": "abcdefghi", "content": f"Error: {expected}"}
    # Servers parse the arguments again: text that is not a JSON object would fail the whole request.
    assert isinstance(json.loads(sent[-2]["tool_calls"][0]["function"]["arguments"]), dict)
    assert stream.result().tool_errors == (ToolError("abcdefghi", expected),)


def test_lenient_arguments(server: Server, run: Run) -> None:
    """A number in quotes, JSON inside JSON, and NaN are accepted, and sent back as JSON."""
    got: list[Any] = []

    def take(number: int, label: str = "") -> str:
        got.append((number, label))
        return "ok"

    entries = [
        call("take", '{"number": "5"}', "a"),
        call("take", json.dumps('{"number": 6}'), "b"),
        call("take", '{"number": 7, "label": "a\nb"}', "c"),
    ]
    run(calls(*entries), says("Done."), tools=[take], parallel=False).result()
    assert got == [(5, ""), (6, ""), (7, "a\nb")]
    sent = server.last.json()["messages"][1]["tool_calls"]
    assert [json.loads(made["function"]["arguments"]) for made in sent] == [
        {"number": "5"},
        {"number": 6},
        {"number": 7, "label": "a\nb"},
    ]


def test_ids_are_unique(server: Server, run: Run) -> None:
    """Ids that repeat over rounds, bare numbers, and missing ids are replaced by nine letters and digits."""
    history = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "tool_calls": [call("get_weather", {"city": "Rome"}, "call_0")]},
        {"role": "tool", "tool_call_id": "call_0", "content": "x"},
    ]
    paris = {"city": "Paris"}
    stream = run(
        calls(call("get_weather", paris, "call_0"), call("get_weather", paris, "call_1")),
        calls(call("get_weather", paris, "call_1"), call("get_weather", paris, "0"), call("get_weather", paris)),
        says("Done."),
        prompt=history,
    )
    made = [event for event in stream if isinstance(event, ToolCall)]
    ids = [event.uuid for event in made]
    assert ids[1] == "call_1"
    assert len({"call_0", *ids}) == 6
    assert all(len(made_up) == 9 and made_up.isalnum() for made_up in [ids[0], *ids[2:]])
    sent = server.last.json()["messages"][3:]
    assert [entry["id"] for message in sent for entry in message.get("tool_calls", [])] == ids
    assert [message["tool_call_id"] for message in sent if message["role"] == "tool"] == ids
    assert {result.uuid for result in stream.result().tool_results} == set(ids)


def test_tgi_calls_end_with_stop(run: Run) -> None:
    """A call runs even if the answer's finish_reason is "stop"."""
    stream = run(calls(call("get_weather", {"city": "Paris"}, "0"), reason="stop"), says("18."))
    assert stream.text == "18."
    assert stream.rounds == 1


@pytest.mark.parametrize("arguments", ["", '{"fol', '{"folder": "/tmp", "x": {"a": 1}', "{}"])
@pytest.mark.parametrize("reason", ["length", "content_filter", "sensitive", "SAFETY", "a_new_word", "error", "abort", None])
def test_unfinished_call_is_not_run(run: Run, arguments: str, reason: str | None) -> None:
    """An incomplete call raises and does not run: missing arguments do not mean a call without arguments."""
    got: list[str] = []

    def wipe(folder: str = "/") -> None:
        got.append(folder)

    stream = run(
        calls(call("wipe", {"folder": "/tmp/x"}, "a"), call("wipe", arguments, "b"), text="Hm.", reason=reason),
        says("Oh."),
        tools=[wipe],
    )
    with pytest.raises(GenerationError) as caught:
        stream.result()
    assert not got
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hm."


@pytest.mark.parametrize("reason", ["tool_calls", "stop", "tool_use", "end_turn", "TOOL_CALL", "eos", "function_call"])
@pytest.mark.parametrize("arguments", ["", "null", "{}", "[]", '""', '"null"', '"{}"', "None", '{"folder": "/"}'])
def test_normal_ends(run: Run, arguments: str, reason: str) -> None:
    """After a normal end, in any spelling, a call without arguments runs, in all spellings of no arguments."""
    got: list[str] = []

    def wipe(folder: str = "/") -> None:
        got.append(folder)

    assert run(calls(call("wipe", arguments, "a"), reason=reason), says("Done."), tools=[wipe]).text == "Done."
    assert got == ["/"]


def test_complete_call_with_an_unknown_end(run: Run) -> None:
    """An unknown finish_reason is kept; a call with complete arguments runs."""
    stream = run(calls(call("get_weather", {"city": "Paris"}, "a"), reason="a_new_word"), says("18."))
    assert Finish("a_new_word") in list(stream)
    assert stream.result().text == "18."


def test_a_call_without_a_name(server: Server, run: Run) -> None:
    """The model gets an error for a call without a name; it is sent back with a name, as strict servers require."""
    search = {"type": "web_search"}  # a server's built-in tool has no name
    stream = run(calls(call("", {"city": "Paris"}, "a")), says("Sorry."), tools=[get_weather, search])
    assert stream.text == "Sorry."
    sent = server.last.json()["messages"]
    assert "there is no tool ''" in sent[-1]["content"]
    assert sent[-2]["tool_calls"][0]["function"]["name"]


@pytest.mark.parametrize("made", [[], [{}], [call("", "{}")], [call("", "", "")]])
def test_missing_calls(run: Run, made: list[Any]) -> None:
    """finish_reason "tool_calls" without a call raises, unless the answer has text."""
    for fields in ({"tool_calls": made}, {"function_call": {"name": "", "arguments": ""}}):
        answer = chunked(delta(**fields), delta("tool_calls"), DONE, headers=[SSE])
        with pytest.raises(ProtocolError, match="no call of a tool came"):
            run(answer).result()
    assert run(says("Hi.", reason="tool_calls")).text == "Hi."


DETAILS = [{"type": "reasoning.text", "text": "2 and 2", "signature": None, "index": 0}]


@pytest.mark.parametrize("document", [False, True])
def test_unknown_fields_are_sent_back(server: Server, client: InferenceClient, run: Run, document: bool) -> None:
    """Fields of a call, of its function and of reasoning are sent back unchanged, and are in the reply."""
    made = call("get_weather", {"city": "Paris"}, "abcdefghi")
    made["extra_content"] = {"google": {"thought_signature": "abc=", "n": None}}
    made["function"]["thought_signature"] = "def="
    fields = {"content": None, "tool_calls": [made], "reasoning_details": DETAILS, "vendor_signature": "s", "mood": "good"}
    if document:
        choice = {"index": 0, "message": {"role": "assistant", **fields}, "finish_reason": "tool_calls"}
        first: Script = json_answer({"choices": [choice]})
    else:
        first = chunked(delta(**fields), delta("tool_calls"), DONE, headers=[SSE])
    stream = run(first, says("18."))
    events = list(stream)
    wanted = {
        "role": "assistant",
        "content": "",
        "reasoning_details": DETAILS,
        "vendor_signature": "s",
        "tool_calls": [{key: value for key, value in made.items() if key != "index"}],
    }
    assert server.last.json()["messages"][1] == wanted
    found = next(event for event in events if isinstance(event, ToolCall))
    assert found.extra == {"extra_content": made["extra_content"], "function": {"thought_signature": "def="}}
    # Without the loop: the reply in a list of messages, after a round trip through JSON.
    server.on(CHAT, first, says("18."))
    reply = client.chat("Warm?", model="m").result()
    assert reply.extra is not None
    assert reply.extra["mood"] == "good"
    again = Reply.from_dict(json.loads(json.dumps(reply.to_dict())))
    assert again == reply == pickle.loads(pickle.dumps(reply))
    results = {"role": "tool", "tool_call_id": "abcdefghi", "content": "18"}
    client.chat([{"role": "user", "content": "Warm?"}, again, results], model="m").result()
    assert server.last.json()["messages"][1] == wanted


def test_max_rounds(server: Server, run: Run) -> None:
    """A model that keeps calling gets max_rounds rounds; the error has the partial answer, the stream the messages."""
    stream = run(calls(call("get_weather", {"city": "Paris"}), text="Hm."), max_rounds=2)
    with pytest.raises(TooManyRounds) as caught:
        stream.result()
    assert len(server.requests) == 3
    assert caught.value.rounds == 2
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hm."
    assert len(caught.value.partial.tool_results) == 2
    assert [message["role"] for message in stream.messages] == ["user", *["assistant", "tool"] * 2]
    with pytest.raises(TooManyRounds):
        stream.result()


def test_no_calls(server: Server, run: Run) -> None:
    """An answer without calls ends the run; if a call was required, it raises an error that says why."""
    assert run(says("Yes.")).text == "Yes."
    assert len(server.requests) == 1
    for choice in ("required", "get_weather", {"function": {"name": "get_weather"}}):
        with pytest.raises(Unsupported, match="ignores tools") as caught:
            run(says("Yes."), tool_choice=choice).result()
        assert caught.value.partial is not None
        assert caught.value.partial.text == "Yes."
    assert run(says("Yes."), tool_choice="none", tools=[]).text == "Yes."
    assert "tools" not in server.last.json()


def test_keep_reasoning(server: Server, run: Run) -> None:
    """Reasoning has its own events; it is sent back only with keep_reasoning."""
    answers = calls(call("get_weather", {"city": "Paris"}, "a"), thought="Hm."), says("18.")
    stream = run(*answers)
    assert next(stream) == Reasoning("Hm.")
    assert stream.text == "18."
    assert "reasoning_content" not in server.last.json()["messages"][1]
    run(*answers, keep_reasoning=True).result()
    assert server.last.json()["messages"][1]["reasoning_content"] == "Hm."


# Approval


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (True, None),
        (False, "the user declined this call"),
        (None, "the user declined this call"),
        ("too dear", "the user declined this call: too dear"),
    ],
)
def test_approval(run: Run, verdict: Any, expected: str | None) -> None:
    """A call runs only if the callback returns True; otherwise the model gets the reason."""
    asked: list[ToolCall] = []
    ran: list[str] = []

    def pay(amount: int) -> str:
        ran.append(str(amount))
        return "paid"

    def approve(made: ToolCall) -> Any:
        asked.append(made)
        return verdict

    stream = run(calls(call("pay", {"amount": 5}, "a")), says("Done."), tools=[pay], approve=approve)
    reply = stream.result()
    assert [(made.name, made.parameters) for made in asked] == [("pay", {"amount": 5})]
    assert ran == (["5"] if expected is None else [])
    assert [error.message for error in reply.tool_errors] == ([] if expected is None else [expected])


def test_approval_that_raises(server: Server, run: Run) -> None:
    """An exception of the callback is raised; nothing runs, and the stream is closed."""

    def approve(made: ToolCall) -> bool:
        raise LookupError("no rule")

    stream = run(calls(call("boom", {}, "a")), tools=[boom], approve=approve)
    with pytest.raises(LookupError):
        list(stream)
    with pytest.raises(StreamConsumed):
        stream.result()
    assert len(server.requests) == 1


def test_approval_that_raises_for_one_of_several(server: Server, run: Run) -> None:
    """All calls of a round are approved before any of them runs: after an exception none has run."""
    ran: list[str] = []

    def pay(amount: int) -> None:
        """Pay."""
        ran.append(str(amount))

    def approve(made: ToolCall) -> bool:
        if made.parameters["amount"] > 5:
            raise PermissionError("too much")
        return True

    stream = run(calls(call("pay", {"amount": 5}, "a"), call("pay", {"amount": 6}, "b")), tools=[pay], approve=approve)
    with pytest.raises(PermissionError):
        stream.result()
    assert ran == []
    assert len(server.requests) == 1


# Several calls at once


def test_parallel_calls(server: Server, run: Run) -> None:
    """Calls of one round run in parallel; results come as they are ready, and are sent in the order of the calls."""
    meet = threading.Barrier(3, timeout=PATIENCE)
    second_is_done = threading.Event()
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="lost")
    variable.set("kept")
    threads = set()

    def wait(number: int) -> str:
        meet.wait()
        threads.add(threading.get_ident())
        if number != 2:
            assert second_is_done.wait(PATIENCE)
        return f"{number} {variable.get()}"

    entries = [call("wait", {"number": number}, f"id{number}") for number in (1, 2, 3)]
    stream = run(calls(*entries), says("Done."), tools=[wait])
    results = []
    for event in stream:
        if isinstance(event, ToolResult):
            results.append(event.uuid)
            second_is_done.set()
    assert results[0] == "id2"
    assert sorted(results) == ["id1", "id2", "id3"]
    assert len(threads) == 3
    assert threading.get_ident() not in threads
    sent = [message for message in server.last.json()["messages"] if message["role"] == "tool"]
    assert [(message["tool_call_id"], message["content"]) for message in sent] == [
        ("id1", "1 kept"),
        ("id2", "2 kept"),
        ("id3", "3 kept"),
    ]


def test_sequential_calls(run: Run) -> None:
    """A single call, and all with parallel=False, run in the reader's own thread, in order."""
    seen: list[tuple[int, int]] = []

    def note(number: int) -> None:
        seen.append((number, threading.get_ident()))

    entries = [call("note", {"number": number}) for number in range(3)]
    run(calls(*entries), says("Done."), tools=[note], parallel=False).result()
    run(calls(call("note", {"number": 9})), says("Done."), tools=[note]).result()
    assert seen == [(number, threading.get_ident()) for number in (0, 1, 2, 9)]


def test_many_calls_at_once(run: Run) -> None:
    """More calls than threads are all run, at most eight at a time."""
    lock, eight = threading.Lock(), threading.Barrier(8, timeout=PATIENCE)
    now, most = 0, 0

    def count(number: int) -> int:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        if number < 8:
            eight.wait()
        with lock:
            now -= 1
        return number

    entries = [call("count", {"number": number}, f"id{number}") for number in range(20)]
    reply = run(calls(*entries), says("Done."), tools=[count]).result()
    assert sorted(result.outputs[0]["text"] for result in reply.tool_results) == sorted(map(str, range(20)))
    assert most == 8


# Tools of other kinds


def test_dict_tool(server: Server, run: Run) -> None:
    """A dict tool is sent unchanged; its call ends the stream after the other calls ran, and the caller can continue."""
    schema = {"type": "function", "function": {"name": "ask_user", "parameters": {"type": "object", "properties": {}}}}
    stream = run(
        calls(call("ask_user", {}, "a"), call("get_weather", {"city": "Paris"}, "b")), tools=[schema, get_weather]
    )
    reply = stream.result()
    assert server.last.json()["tools"][0] == schema
    assert len(server.requests) == 1
    assert [made.uuid for made in reply.tool_calls] == ["a", "b"]
    assert [result.uuid for result in reply.tool_results] == ["b"]
    assert [message.get("tool_call_id") for message in stream.messages] == [None, None, "b"]
    answer = {"role": "tool", "tool_call_id": "a", "content": "yes"}
    assert run(says("Fine."), prompt=[*stream.messages, answer]).text == "Fine."


def test_schema_with_function(run: Run) -> None:
    """A Tool with its own schema calls its function with the model's arguments unchanged."""
    got: list[Any] = []

    def lookup(**arguments: Any) -> str:
        got.append(arguments)
        return "found"

    tool = Tool("lookup", "Look it up.", {"type": "object", "properties": {"q": {}}}, function=lookup)
    run(calls(call("lookup", {"q": [1, None]})), says("Done."), tools=[tool]).result()
    assert got == [{"q": [1, None]}]


@pytest.mark.parametrize("result", ["text", None, 5, [1], {"a": {1, 2}}, b"x", object(), iter([1, 2]), "\ud83d", float("nan")])
def test_any_result(server: Server, run: Run, result: Any) -> None:
    """Any return value becomes text that can be sent."""

    def give() -> Any:
        return result

    run(calls(call("give", {}, "a")), says("Done."), tools=[give]).result()
    content = server.last.json()["messages"][-1]["content"]
    assert isinstance(content, str)
    assert content


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (b"18 degrees", "18 degrees"),
        (bytearray(b"\x89PNG\r\n\x1a\n" + bytes(2000)), "2,008 bytes (image/png), which are not shown"),
        (b"\xff\xfe\x00", "3 bytes (of unknown type), which are not shown"),
        (Image(content=b"\x89PNG\r\n\x1a\n", mime="image/png"), "8 bytes (image/png), which are not shown"),
        (City("Paris"), '{"name":"Paris"}'),
        (None, "null"),
    ],
    ids=["text", "image", "bytes", "Image", "attrs", "None"],
)
def test_text_of_results(server: Server, run: Run, result: Any, expected: str) -> None:
    """Objects are sent as JSON, text bytes as text; an image is not sent as base64."""

    def give() -> Any:
        """Give."""
        return result

    reply = run(calls(call("give", {}, "a")), says("Done."), tools=[give]).result()
    assert server.last.json()["messages"][-1]["content"] == expected
    assert reply.tool_results[0].outputs[0]["text"] == expected


def test_a_generator_as_a_tool(run: Run) -> None:
    """A generator runs to its end and gives one result; the model gets its exception."""

    def count(to: int) -> Iterator[int]:
        """Count."""
        for number in range(to):
            if number == 3:
                raise OverflowError("too far")
            yield number

    asked = calls(call("count", {"to": 3}, "a"), call("count", {"to": 9}, "b"))
    reply = run(asked, says("Done."), tools=[count], parallel=False).result()
    assert reply.tool_results[0].outputs == [{"text": "[0,1,2]", "structured": [0, 1, 2]}]
    assert [error.message for error in reply.tool_errors] == ["OverflowError: too far"]


def test_invalid_arguments(server: Server, client: InferenceClient) -> None:
    """Invalid tools, two of one name, and a negative max_rounds raise before a request is sent."""

    async def later() -> None: ...

    for tools, options in [
        ([later], {}),
        ([get_weather, Tool.of(boom, name="get_weather")], {}),
        ("get_weather", {}),
        (get_weather, {}),
        ([get_weather], {"max_rounds": -1}),
        ([get_weather], {"max_rounds": None}),
        ([get_weather], {"approve": later}),
    ]:
        with pytest.raises(InvalidInputError):
            client.run_tools("hi", tools, model="m", **options)  # type: ignore[arg-type]
    assert server.requests == []


def test_chat_takes_functions(server: Server, client: InferenceClient) -> None:
    """chat() accepts functions, too, and leaves the calls to the caller."""
    server.on(CHAT, calls(call("get_weather", {"city": "Paris"}, "a")))
    reply = client.chat("hi", model="m", tools=[get_weather]).result()
    assert server.last.json()["tools"][0]["function"]["name"] == "get_weather"
    assert [made.parameters for made in reply.tool_calls] == [{"city": "Paris"}]


# Errors and cancellation


def test_status_error(server: Server, run: Run) -> None:
    """A status error of the first request is raised at the call."""
    with pytest.raises(ServerError):
        run(json_answer({"error": "down"}, 500))


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (json_answer({"error": "down"}, 500), ServerError),
        ([*begun(delta(content="Half")), chunk(data({"error": {"message": "oom"}})), CLOSE], GenerationError),
    ],
)
def test_error_in_a_later_round(run: Run, script: Script, expected: type[Exception]) -> None:
    """An error of a later round is raised by the iterator; its partial answer has the calls and results so far."""
    stream = run(calls(call("get_weather", {"city": "Paris"}, "a")), script)
    with pytest.raises(expected) as caught:
        list(stream)
    partial = caught.value.partial  # type: ignore[attr-defined]
    assert [result.uuid for result in partial.tool_results] == ["a"]
    assert [message["role"] for message in stream.messages] == ["user", "assistant", "tool"]


def test_leaving_frees_the_connection(server: Server, run: Run) -> None:
    """Leaving the loop in a later round closes that round's connection."""
    stream = run(calls(call("get_weather", {"city": "Paris"})), [*begun(delta(content="Half")), UNTIL_GONE])
    for event in stream:
        if event == Token("Half"):
            break
    assert server.client_gone.wait(PATIENCE)
    assert stream.partial.text == "Half"


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_cancel_while_the_model_is_silent(server: Server, run: Run, how: str) -> None:
    """Another thread ends the wait for a later answer at once; the partial answer is kept."""
    stream = run(calls(call("get_weather", {"city": "Paris"})), [*begun(delta(content="Half")), UNTIL_GONE])
    began = time.monotonic()
    with pytest.raises(Cancelled) as caught:  # noqa: PT012
        for event in stream:
            if event == Token("Half"):
                threading.Timer(0.05, getattr(stream, how)).start()
    assert time.monotonic() - began < SOON
    assert server.client_gone.wait(PATIENCE)
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Half"


def test_cancel_while_tools_run(run: Run) -> None:
    """A cancelled run does not wait for functions in threads, and starts no more of them."""
    release, running = threading.Event(), threading.Event()
    began: list[int] = []

    def hang(number: int) -> None:
        began.append(number)
        running.set()
        release.wait(2 * PATIENCE)

    entries = [call("hang", {"number": number}) for number in range(12)]
    stream = run(calls(*entries), tools=[hang])

    def cancel() -> None:
        assert running.wait(PATIENCE)
        stream.cancel()

    threading.Thread(target=cancel).start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        list(stream)
    assert time.monotonic() - started < PATIENCE
    release.set()
    for thread in threading.enumerate():
        if thread.name == "hfclient-tool":
            thread.join(PATIENCE)
    assert len(began) <= 8


def test_leaving_while_tools_run(run: Run) -> None:
    """A run that is left while functions are running starts no more of them."""
    release = threading.Event()
    began: list[int] = []

    def hang(number: int) -> None:
        began.append(number)
        if number:
            release.wait(PATIENCE)

    entries = [call("hang", {"number": number}) for number in range(12)]
    for event in run(calls(*entries), tools=[hang]):
        if isinstance(event, ToolResult):
            break
    release.set()
    for thread in threading.enumerate():
        if thread.name == "hfclient-tool":
            thread.join(PATIENCE)
    assert len(began) < 12


def test_cancel_between_rounds(server: Server, run: Run) -> None:
    """A run that is cancelled during the wait for the next answer ends at once."""
    asked = threading.Event()
    stream = run(calls(call("get_weather", {"city": "Paris"})), [lambda request: asked.set(), UNTIL_GONE])

    def cancel() -> None:
        asked.wait(PATIENCE)
        stream.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(Cancelled):
        list(stream)
    thread.join(PATIENCE)
    assert server.client_gone.wait(PATIENCE)
    assert stream.partial.text == ""
    assert len(server.requests) == 2


def test_cancel_during_a_call_in_the_readers_thread(server: Server, run: Run) -> None:
    """A call in the reader's thread runs to its end; then the cancelled run ends without another request."""
    streams: list[ToolStream] = []

    def stop() -> str:
        thread = threading.Thread(target=streams[0].cancel)
        thread.start()
        thread.join(PATIENCE)
        return "stopped"

    streams.append(run(calls(call("stop")), tools=[stop]))
    with pytest.raises(Cancelled):
        streams[0].result()
    assert len(server.requests) == 1


@pytest.mark.parametrize("count", [1, 2])
def test_interrupt_in_a_tool(run: Run, count: int) -> None:
    """KeyboardInterrupt inside a function, in any thread, ends the run."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    stream = run(calls(*[call("interrupted")] * count), tools=[interrupted])
    with pytest.raises(KeyboardInterrupt):
        list(stream)


def test_total_covers_all_rounds(server: Server, run: Run, clock: FakeTime) -> None:
    """Timeouts.total covers the run with its tools; the second request gets the remaining time."""
    total = Timeouts(total=PATIENCE, idle=2 * PATIENCE)
    words = [chunk(delta(content="more ")), 0.02]
    late = [*begun(delta(content="La")), *words, lambda _: clock.advance(0.6 * PATIENCE), *words * 1000]
    stream = run(calls(call("nap")), late, tools=[nap_of(clock, 0.6 * PATIENCE)], timeouts=total)
    with pytest.raises(TransportTimeout) as caught:
        list(stream)
    assert (caught.value.deadline, caught.value.seconds) == ("total", PATIENCE)  # not the remaining time of the second request
    assert f"within {PATIENCE:g} s" in caught.value.message
    assert len(server.requests) == 2
    stream = run(calls(call("nap"), call("nap")), tools=[nap_of(clock, 0.6 * PATIENCE)], timeouts=total)
    with pytest.raises(TransportTimeout) as caught:
        list(stream)
    assert len(server.requests) == 3


def nap_of(clock: FakeTime, seconds: float) -> Tool:
    def nap() -> str:
        clock.advance(seconds)
        return "rested"

    return Tool.of(nap)


def test_first_token_of_each_round(run: Run, clock: FakeTime) -> None:
    """The other deadlines are per request: first_token starts again in the second round."""
    most = 0.8 * PATIENCE
    timeouts = Timeouts(first_token=PATIENCE, idle=2 * PATIENCE)
    slow = [lambda _: clock.advance(most), *says("Fine.")]
    assert run(calls(call("nap")), slow, tools=[nap_of(clock, most)], timeouts=timeouts).text == "Fine."
    go = threading.Event()
    slow = [*begun(delta(content="Fi")), go, lambda _: clock.advance(2 * most), chunk(delta("stop", content="ne.")), CLOSE]
    stream = run(calls(call("nap")), slow, tools=[nap_of(clock, 0)], timeouts=timeouts)
    for event in stream:
        if event == Token("Fi"):
            go.set()
    assert stream.result().text == "Fine."
    stream = run(calls(call("nap")), [*begun(), *silence(clock)], tools=[nap_of(clock, 0)], timeouts=timeouts)
    with pytest.raises(TransportTimeout) as caught:
        list(stream)
    assert caught.value.deadline == "first_token"


def test_a_long_argument_is_content(run: Run, clock: FakeTime) -> None:
    """Long arguments count as content, so that first_token does not end the wait for their event."""
    first = {"index": 0, "id": "a", "function": {"name": "get_weather", "arguments": '{"city": '}}
    rest = {"index": 0, "function": {"arguments": '"Paris"}'}}
    streams: list[ToolStream] = []

    def late(_: object) -> None:
        wait_until(lambda: streams and streams[0]._response.deadline._has_content)
        clock.advance(2 * PATIENCE)

    pieces = [chunk(delta(tool_calls=[first])), late, chunk(delta(tool_calls=[rest])), chunk(delta("tool_calls")), CLOSE]
    streams.append(run([*begun(), *pieces], says("18."), timeouts=Timeouts(first_token=PATIENCE, idle=PATIENCE)))
    assert streams[0].text == "18."


def test_observer_sees_every_event_once(server: Server) -> None:
    """on_event gets each event of all rounds once, with the ids that the reader sees."""
    seen: list[Any] = []
    transport = RequestsTransport()
    client = InferenceClient(Session(transport, Credentials()), base_url=server.url, on_event=seen.append)
    server.on(CHAT, calls(call("get_weather", {"city": "Paris"}, "0")), says("18."))
    events = list(client.run_tools("hi", [get_weather], model="m"))
    assert seen == events
    transport.close()


def test_options_reach_every_request(server: Server, run: Run) -> None:
    """The options of chat() are sent in each round."""
    run(calls(call("get_weather", {"city": "Paris"})), says("18."), max_tokens=7, stop="X", seed=1).result()
    for request in server.requests:
        body = request.json()
        assert (body["max_tokens"], body["stop"], body["seed"]) == (7, ["X"], 1)


def test_literals_reach_the_function(run: Run) -> None:
    """A function's docstring example: Literal choices come through and others do not."""
    got: list[str] = []

    def switch(state: Literal["on", "off"]) -> None:
        got.append(state)

    reply = run(
        calls(call("switch", {"state": "on"}, "a"), call("switch", {"state": "dim"}, "b")), says("Done."), tools=[switch]
    ).result()
    assert got == ["on"]
    assert [error.uuid for error in reply.tool_errors] == ["b"]
