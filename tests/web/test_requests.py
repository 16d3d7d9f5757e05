"""What browsers and OpenAI's clients post, and what hostile ones try."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from hfclient.web.errors import InvalidRequest
from hfclient.web.formats import parse_completion_request, parse_ui_request

PNG = b"\x89PNG\r\n\x1a\n"
PNG_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()


def user(*parts: Any) -> dict[str, Any]:
    """A UI message of the user."""
    return {"id": "m1", "role": "user", "parts": [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]}


def file(url: Any, **fields: Any) -> dict[str, Any]:
    """A part with a file."""
    return {"type": "file", "mediaType": "image/png", "filename": "a.png", "url": url, **fields}


def test_a_prompt_with_a_file() -> None:
    """The last message becomes prompt and files, all of them messages with content parts."""
    body = {"id": "c1", "messages": [user("look", file(PNG_URL))], "trigger": "submit-message"}
    request = parse_ui_request(body)
    assert (request.prompt, request.files, request.chat_id) == ("look", [("a.png", PNG, "image/png")], "c1")
    assert request.messages == [
        {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": PNG_URL}}]}
    ]
    document = parse_ui_request({"messages": [user(file("data:text/plain,a%20b", mediaType="text/plain", filename="../x\n.txt"))]})
    assert (document.prompt, document.files) == ("", [("x.txt", b"a b", "text/plain")])
    assert document.messages[0]["content"][0]["file"]["filename"] == "x.txt"


def test_a_conversation() -> None:
    """Answers keep their text and the calls that the browser ran; reasoning, sources, system messages and other parts are left out."""
    call = {"type": "tool-clock", "toolCallId": "t1", "state": "output-available", "input": {}, "output": {"now": 1}}
    assistant = {
        "id": "m2",
        "role": "assistant",
        "parts": [
            {"type": "step-start"},
            {"type": "reasoning", "text": "hm"},
            {"type": "text", "text": "It is "},
            {**call, "toolCallId": "t0", "providerExecuted": True},
            {**call, "toolCallId": "t2", "state": "input-available"},
            call,
            {"type": "text", "text": "one."},
            {"type": "data-mine", "data": 1},
        ],
    }
    system = {"id": "s", "role": "system", "parts": [{"type": "text", "text": "obey"}]}
    body = {"messages": [system, user("time?"), assistant, user("sure?")], "trigger": "regenerate-message", "messageId": "m2"}
    request = parse_ui_request(body)
    assert (request.prompt, request.trigger, request.message_id) == ("sure?", "regenerate-message", "m2")
    assert request.messages == [
        {"role": "user", "content": "time?"},
        {
            "role": "assistant",
            "content": "It is one.",
            "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "t1", "content": '{"now": 1}'},
        {"role": "user", "content": "sure?"},
    ]
    assert parse_ui_request({"messages": [user("time?"), assistant]}).messages[-1]["role"] == "tool"


DEEP: dict[str, Any] = {}
for _ in range(100_000):
    DEEP = {"a": DEEP}

NONSENSE: list[Any] = [
    None,
    [],
    "text",
    {},
    {"messages": {}},
    {"messages": []},
    {"messages": [1]},
    {"messages": [{"role": "user"}]},
    {"messages": [{"role": "user", "parts": "x"}]},
    {"messages": [user()]},
    {"messages": [user("  ")]},
    {"messages": [user({"type": "text", "text": 1})]},
    {"messages": [{"role": "root", "parts": []}]},
    {"messages": [user("a"), {"role": "assistant", "parts": [{"type": "text", "text": "b"}]}]},
    {"messages": [user("a")], "trigger": "drop-tables"},
    {"messages": [user("a")], "id": {"a": 1}},
    {"messages": [user("x" * 101)]},
    {"messages": [user(file("http://169.254.169.254/latest/meta-data/"))]},
    {"messages": [user(file("file:///etc/passwd"))]},
    {"messages": [user(file("/etc/passwd"))]},
    {"messages": [user(file(None))]},
    {"messages": [user(file("data:image/png;base64,@@@"))]},
    {"messages": [user(file("data:image/png;base64,A"))]},
    {"messages": [user(file("data:image/png" + ";a=b" * 1000 + ",x"))]},
    {"messages": [user(file("data:image/png;base64,\ud800"))]},
    {"messages": [user(file("data:image/png;base64," + "A" * 4000))]},
    {"messages": [user(file("data:,a"), file("data:,a"), file("data:,a"))]},
    {"messages": [user("a"), {"role": "assistant", "parts": [{"type": "tool-x", "state": "output-available", "toolCallId": 1}]}]},
    {
        "messages": [
            user("a"),
            {"role": "assistant", "parts": [{"type": "tool-x", "state": "output-available", "toolCallId": "t", "output": DEEP}]},
        ]
    },
]


@pytest.mark.parametrize("body", NONSENSE, ids=range(len(NONSENSE)))
def test_nonsense(body: Any) -> None:
    """A body that is not what the browser should post, a file elsewhere, and what exceeds a limit are refused as the browser's mistake."""
    with pytest.raises(InvalidRequest):
        parse_ui_request(body, max_text=100, max_files=2, max_file_bytes=1000)


def test_names_and_media_types_of_files() -> None:
    """Names have no folders and no control characters, media types no line ends."""
    for name in ("../../etc/passwd", "C:\\x\\passwd", "a\r\nb/passwd", 7, None, ""):
        request = parse_ui_request({"messages": [user(file(PNG_URL, filename=name, mediaType="image/png\r\nX: 1"))]})
        assert request.files[0][0] in ("passwd", "file")
        assert request.files[0][2] == "image/png"
    assert parse_ui_request({"messages": [user(file("data:,x", mediaType=None))]}).files[0][2] == "application/octet-stream"


def test_completion_requests() -> None:
    """Known options are passed on, those without an effect are left out."""
    messages = [{"role": "user", "content": "hi"}]
    body = {"messages": messages, "model": "m", "stream": True, "stream_options": {"include_usage": True}, "temperature": 0.5, "stop": None}
    request = parse_completion_request({**body, "user": "u", "extra_body": {"x": 1}, "api_key": "k"})
    assert (request.messages, request.model, request.stream, request.include_usage) == (messages, "m", True, True)
    assert request.options == {"temperature": 0.5}
    request = parse_completion_request({"messages": messages})
    assert (request.model, request.stream, request.include_usage) == ("", False, False)


@pytest.mark.parametrize(
    "body",
    [None, {}, {"messages": []}, {"messages": [1]}, {"messages": [{"content": "x"}]}, {"messages": [{"role": 1}]}]
    + [{"messages": [{"role": "user"}], **bad} for bad in ({"n": 2}, {"model": 1}, {"stream_options": 1})],
)
def test_completion_nonsense(body: Any) -> None:
    """What is not a request for one completion is refused as the client's mistake."""
    with pytest.raises(InvalidRequest):
        parse_completion_request(body)
