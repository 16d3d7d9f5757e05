"""Sending a message: the stream, the stored messages, the tree, and the prompt for the model."""

from __future__ import annotations

import base64
import socket
import threading
import uuid

import pytest

from hfclient.local import LocalServer, generations
from tests.local.caller import Caller, events, kinds, text_of
from tests.local.upstream import CUT, Fail, ScriptedUpstream, Think
from tests.server import PATIENCE

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def part(name, content, mime):
    return (f"base64;{name}", base64.b64encode(content), mime)


def test_the_stream_is_chat_uis_stream(caller: Caller, upstream: ScriptedUpstream):
    """started, title, padded tokens, the final answer with its 4,096 spaces, finished: the same bytes as in a recording."""
    conversation = caller.create()
    response = caller.send(conversation, "Hi there")
    assert response.headers["Content-Type"] == "application/jsonl"
    raw = response.content.replace(b'{"type":"status","status":"keepAlive"}\n', b"")

    def token(text):
        return b'{"type":"stream","token":"%s"}\n' % (text + rb"\u0000" * (16 - len(text)))

    assert raw == (
        b'{"type":"status","status":"started"}\n{"type":"title","title":"Hi there"}\n'
        + b"".join(map(token, [b"Hello", b", ", b"world", b"!"]))
        + b'{"type":"finalAnswer","text":"Hello, world!","interrupted":false}\n'
        + b" " * 4096
        + b'{"type":"status","status":"finished"}\n'
    )


def test_messages_are_stored_when_the_stream_ends(caller: Caller, monkeypatch):
    """A client that reads the conversation after the stream finds both messages, with lengths in place of tokens."""
    monkeypatch.setattr(generations, "_MERGE_SECONDS", PATIENCE)
    conversation, generation = caller.create(), str(uuid.uuid4())
    caller.turn(conversation, "Hi", generationId=generation)
    system, user, assistant = caller.messages(conversation)
    assert (user["content"], user["files"], user["ancestors"]) == ("Hi", [], [system["id"]])
    assert system["children"] == [user["id"]]
    assert assistant["ancestors"] == [system["id"], user["id"]]
    assert assistant["content"] == "Hello, world!"
    assert assistant["interrupted"] is False
    assert assistant["generationId"] == generation
    assert assistant["materializedSeq"] == 5
    assert assistant["updates"] == [
        {"type": "status", "status": "started"},
        {"type": "title", "title": "Hi"},
        {"type": "stream", "token": "", "len": 5},
        {"type": "stream", "token": "", "len": 2},
        {"type": "stream", "token": "", "len": 5},
        {"type": "stream", "token": "", "len": 1},
        {"type": "finalAnswer", "text": "Hello, world!", "interrupted": False},
        {"type": "status", "status": "finished"},
    ]


def test_each_event_leaves_at_once(caller: Caller, upstream: ScriptedUpstream):
    """Each token reaches the reader before the model sends the next one: nothing is buffered."""
    gates = {piece: threading.Event() for piece in "abc"}
    upstream.say("slow", ["a", gates["a"], "b", gates["b"], "c", gates["c"], "d"])
    received = []
    for event in events(caller.send(caller.create(), "slow")):
        received.append(event)
        if event["type"] == "stream" and (gate := gates.get(text_of([event]))):
            gate.set()
    assert text_of(received) == "abcd"
    assert kinds(received).count("stream") == 4


def test_keep_alives(caller: Caller, upstream: ScriptedUpstream):
    """While the model is silent a keep-alive comes every 100 ms, and none once the answer is complete."""
    gate = threading.Event()
    upstream.say("slow", [gate, "x"])
    received = []
    for event in events(caller.send(caller.create(), "slow")):
        received.append(event)
        if kinds(received).count("keepAlive") == 4:
            gate.set()
    assert kinds(received).count("keepAlive") >= 4
    assert kinds(received)[-2:] == ["finalAnswer", "finished"]
    assert generations._KEEP_ALIVE_SECONDS == 0.1


def test_two_clients_at_once(new_caller, upstream: ScriptedUpstream):
    """Two sessions stream at the same time: the second answer is complete while the first one waits."""
    gate = threading.Event()
    upstream.say("wait", ["first", gate, " done"])
    one, two = new_caller(), new_caller()
    waiting = one.send(one.create(), "wait")
    assert text_of(two.turn(two.create(), "Hi")) == "Hello, world!"
    gate.set()
    assert text_of(list(events(waiting))) == "first done"


def test_many_streams_do_not_starve_other_requests(new_caller, upstream: ScriptedUpstream, monkeypatch):
    """With forty answers in progress the server still has threads for other requests."""
    monkeypatch.setattr(generations, "_KEEP_ALIVE_SECONDS", PATIENCE)  # they would not be read: forty times the work for nothing
    gate = threading.Event()
    upstream.say("wait", [gate, "x"])
    callers = [new_caller() for _ in range(40)]
    waiting = [caller.send(caller.create(), "wait") for caller in callers]
    assert new_caller().get("/healthcheck").text == "OK"
    gate.set()
    assert {text_of(list(events(response))) for response in waiting} == {"x"}


def test_reasoning_is_inline(caller: Caller, upstream: ScriptedUpstream):
    """Reasoning deltas become a <think> span inside the tokens, as in chat-ui since September 2025."""
    upstream.say("why", [Think("Let me "), Think("think."), "It is ", "42."])
    received = caller.turn(caller.create(), "why")
    tokens = [event["token"].rstrip("\0") for event in received if event["type"] == "stream"]
    assert tokens == ["<think>Let me ", "think.", "</think>It is ", "42."]
    assert received[-2]["text"] == "<think>Let me think.</think>It is 42."


def test_reasoning_is_not_sent_to_the_model_again(caller: Caller, upstream: ScriptedUpstream):
    """The next prompt holds the earlier answers without their reasoning."""
    upstream.say("why", [Think("hm"), "42."])
    conversation = caller.create()
    caller.turn(conversation, "why")
    caller.turn(conversation, "sure?")
    assert upstream.last_messages() == [
        {"role": "user", "content": "why"},
        {"role": "assistant", "content": "42."},
        {"role": "user", "content": "sure?"},
    ]


def test_unicode(caller: Caller, upstream: ScriptedUpstream):
    """Every script, unescaped line separators and characters outside the basic plane; padding counts UTF-16 units."""
    pieces = ["Zażółć ", "你好 ", "🏳️‍🌈 ", "e\u0301 ", "a\u2028b\u0085c ", "\u202eabc", "😀" * 8, '"\\']
    upstream.say("ż😀", pieces)
    conversation = caller.create()
    received = caller.turn(conversation, "ż😀")
    assert text_of(received) == "".join(pieces) == received[-2]["text"]
    assert [event["token"].count("\0") for event in received if event["type"] == "stream"][-2:] == [0, 14]
    assert caller.messages(conversation)[-1]["content"] == "".join(pieces)
    assert caller.read(conversation)["title"] == "ż😀"


def test_lone_surrogates_are_replaced(caller: Caller, upstream: ScriptedUpstream):
    """JSON can carry a lone surrogate, SQLite and UTF-8 cannot: it is stored as U+FFFD."""
    conversation = caller.create(preprompt="\ud83d")
    assert kinds(caller.turn(conversation, "a\ud83db"))[-1] == "finished"
    assert [message["content"] for message in caller.messages(conversation)[:2]] == ["\ufffd", "a\ufffdb"]


def test_the_title_is_set_once(caller: Caller):
    """The first five words become the title; an existing title stays."""
    conversation = caller.create()
    assert kinds(caller.turn(conversation, " one two\nthree four five six ")).count("title") == 1
    assert caller.read(conversation)["title"] == "one two three four five"
    assert "title" not in kinds(caller.turn(conversation, "other words"))
    named = caller.create()
    caller.ask("PATCH", f"/api/v2/conversations/{named}", json={"title": "Mine"})
    assert "title" not in kinds(caller.turn(named, "Hi"))


# Upstream failures


@pytest.mark.parametrize(
    ("script", "error", "kept"),
    [
        ([Fail(500, "upstream exploded")], {"message": "500 upstream exploded", "statusCode": 500}, ""),
        ([Fail(402, "pay up")], {"message": "402 pay up", "statusCode": 402}, ""),
        (["one ", {"error": {"message": "out of memory", "code": 500}}], {"message": "out of memory"}, "one "),
        ([], {"message": "No output was generated. Something went wrong."}, ""),
        (["  "], {"message": "No output was generated. Something went wrong."}, "  "),
    ],
)
def test_an_upstream_error_is_an_event(caller: Caller, upstream: ScriptedUpstream, script, error, kept):
    """The stream of a failed generation is a 200 that ends with the error; the text so far stays in the message."""
    upstream.say("fail", script)
    conversation = caller.create()
    received = caller.turn(conversation, "fail")
    last = received[-1]
    assert {"type": "status", "status": "error", **error}.items() <= last.items()
    assert "finalAnswer" not in kinds(received)
    message = caller.messages(conversation)[-1]
    assert message["content"] == kept
    assert "interrupted" not in message
    assert message["updates"][-1] == last


def test_an_upstream_that_disconnects(caller: Caller, upstream: ScriptedUpstream):
    """A connection that breaks in the middle of an answer ends the generation with an error after the tokens so far."""
    upstream.say("cut", ["one ", "two ", CUT])
    received = caller.turn(caller.create(), "cut")
    assert text_of(received) == "one two "
    assert received[-1]["status"] == "error"
    assert received[-1]["message"]


def test_an_upstream_that_is_down():
    """With a model name the server works while its upstream is down: the stream of an answer ends with an error."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with LocalServer(upstream=url, model="test/model") as server, Caller(server.url) as caller:
            received = caller.turn(caller.create(), "Hi")
    assert kinds(received) == ["started", "title", "error"]
    assert received[-1]["message"]
    assert "statusCode" not in received[-1]


def test_an_upstream_that_does_not_list_its_models(new_caller, upstream: ScriptedUpstream):
    """Until the list of models is available, requests that need it are a 503 with the reason."""
    upstream.models = None
    answer = new_caller().get("/api/v2/models")
    assert answer.status_code == 503
    assert "no models now" in answer.json()["message"]
    upstream.models = ["only/this"]
    assert new_caller().value("/api/v2/models")[0]["id"] == "only/this"


def test_a_model_that_was_removed(new_caller, upstream: ScriptedUpstream, chat, monkeypatch):
    """410 for a conversation whose model was removed; with another model it works again."""
    caller = new_caller()
    conversation = caller.create()
    monkeypatch.setattr("hfclient.local.upstream._MODELS_MAX_AGE", 0)
    upstream.models = ["test/other"]
    answer = caller.send(conversation, "Hi")
    assert (answer.status_code, answer.json()) == (410, {"message": "Model not available anymore"})
    caller.ask("PATCH", f"/api/v2/conversations/{conversation}", json={"model": "test/other"})
    assert kinds(caller.turn(conversation, "Hi"))[-1] == "finished"
    assert upstream.requests[-1]["model"] == "test/other"


# The tree


def test_retry_and_edit_add_branches(caller: Caller, upstream: ScriptedUpstream):
    """A retry adds a sibling of the answer, an edit a sibling of the question; the model gets only its own path."""
    conversation = caller.create(preprompt="P")
    caller.turn(conversation, "first")
    root, question, answer = caller.messages(conversation)
    caller.turn(conversation, id=answer["id"], is_retry=True)
    assert upstream.last_messages() == [
        {"role": "system", "content": "P"},
        {"role": "user", "content": "first"},
    ]
    caller.turn(conversation, "second", id=question["id"], is_retry=True)
    caller.turn(conversation, "below the retry", id=caller.messages(conversation)[3]["id"])
    messages = caller.messages(conversation)
    roles = [message["from"] for message in messages]
    assert roles == ["system", "user", "assistant", "assistant", "user", "assistant", "user", "assistant"]
    assert messages[1]["children"] == [messages[2]["id"], messages[3]["id"]]
    assert messages[0]["children"] == [messages[1]["id"], messages[4]["id"]]
    assert messages[7]["ancestors"] == [messages[n]["id"] for n in (0, 1, 3, 6)]
    assert [m["content"] for m in upstream.last_messages()] == ["P", "first", "Hello, world!", "below the retry"]
    assert root["id"] == messages[0]["id"]


@pytest.mark.parametrize(
    ("data", "status", "message"),
    [
        ({"id": "ROOT", "is_retry": True}, 500, "Failed to create message"),
        ({"id": "ROOT", "is_retry": True, "inputs": "x"}, 500, "Failed to create message"),
        ({"id": "USER", "is_retry": True}, 500, "Failed to create message"),
        ({"id": str(uuid.UUID(int=1)), "is_retry": True}, 404, "Message not found"),
        ({"id": str(uuid.UUID(int=1)), "inputs": "x"}, 500, "An error occurred"),
        ({"id": "not a uuid", "inputs": "x"}, 500, "An error occurred"),
        ({"id": "ROOT", "inputs": ""}, 500, "An error occurred"),
        ({"id": "ROOT", "inputs": 3}, 500, "An error occurred"),
        ({"id": "ROOT", "inputs": "x", "timezone": None}, 500, "An error occurred"),
        ({"id": "ROOT", "inputs": "x", "generationId": None}, 500, "An error occurred"),
        ({"id": "ROOT", "inputs": "x", "generationId": "1"}, 500, "An error occurred"),
        ({"id": "ROOT", "inputs": "x", "selectedMcpServerNames": {}}, 500, "An error occurred"),
    ],
)
def test_an_invalid_send(caller: Caller, data, status, message):
    """Each malformed form is rejected as in chat-ui, and nothing is stored."""
    conversation = caller.create()
    caller.turn(conversation, "Hi")
    before = caller.messages(conversation)
    names = {"ROOT": before[0]["id"], "USER": before[1]["id"]}
    data["id"] = names.get(data["id"], data["id"])
    answer = caller.send(conversation, **data)
    assert (answer.status_code, answer.json()["message"]) == (status, message)
    assert caller.messages(conversation) == before


def test_a_send_needs_the_parent(caller: Caller):
    """Without an id the parent is unknown, except in a conversation without messages."""
    conversation = caller.create()
    headers = {"Origin": caller.url}
    for data, status in (('{"inputs":"x"}', 500), ("no json", 500), ("[]", 500)):
        form = {"data": (None, data)}
        assert caller.post(f"/conversation/{conversation}", files=form, headers=headers).status_code == status
    root = caller.leaf(conversation)
    assert caller.ask("DELETE", f"/api/v2/conversations/{conversation}/message/{root}").json() == {
        "json": {"success": True}
    }
    answer = caller.post(f"/conversation/{conversation}", data={"data": '{"inputs":"x"}'}, headers=headers)
    assert b'"finished"' in answer.content
    assert caller.messages(conversation)[0]["ancestors"] == []


@pytest.mark.parametrize("files", [{}, {"data": ("a.json", "{}")}, {"other": (None, "{}")}])
def test_a_form_without_data(caller: Caller, files):
    """A missing data field, or one that was sent as a file, is 400."""
    answer = caller.post(
        f"/conversation/{caller.create()}", files=files or {"x": (None, "")}, headers={"Origin": caller.url}
    )
    assert (answer.status_code, answer.json()) == (400, {"message": "Invalid request"})


def test_deleting_a_message_deletes_its_branch(caller: Caller):
    """The message is deleted with its descendants; the rest of the tree stays."""
    conversation = caller.create()
    caller.turn(conversation, "one")
    _, _, answer = caller.messages(conversation)
    caller.turn(conversation, "two")
    caller.turn(conversation, id=answer["id"], is_retry=True)
    url = f"/api/v2/conversations/{conversation}/message/{answer['id']}"
    assert caller.ask("DELETE", url).json() == {"json": {"success": True}}
    gone = caller.ask("DELETE", url)
    assert (gone.status_code, gone.json()) == (404, {"message": "Message not found"})
    left = caller.messages(conversation)
    assert [message["from"] for message in left] == ["system", "user", "assistant"]
    assert left[1]["children"] == [left[2]["id"]]


# Files


def test_files_are_stored(caller: Caller, upstream: ScriptedUpstream):
    """An upload is listed by its hash, can be downloaded unchanged, and can be sent again by that hash."""
    conversation = caller.create()
    caller.turn(conversation, "Look", files=[part("a; b.png", PNG, "image/png"), part("empty", b"", "text/plain")])
    (file,) = caller.messages(conversation)[1]["files"]
    assert file == {
        "type": "hash",
        "name": "a; b.png",
        "mime": "image/png",
        "value": "569f9f5278e9d64a217bf9161031f2368a0eeacb50337a4bac667efc73990240",
    }
    answer = caller.get(f"/conversation/{conversation}/output/{file['value']}")
    assert answer.content == PNG
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="569f9f52.png"'
    again = ("hash;other name.png", file["value"], "image/png")
    assert kinds(caller.turn(conversation, "Again", files=[again]))[-1] == "finished"
    assert caller.messages(conversation)[-2]["files"][0]["value"] == file["value"]


def test_text_files_are_part_of_the_prompt(caller: Caller, upstream: ScriptedUpstream):
    """Text is added to the prompt; an image is not sent to a model without vision."""
    conversation = caller.create()
    files = [part("notes.txt", "zażółć\n".encode(), "text/plain"), part("p.png", PNG, "image/png")]
    caller.turn(conversation, "Read", files=files)
    content = upstream.last_messages()[-1]["content"]
    assert "zażółć" in content
    assert "notes.txt" in content
    assert content.endswith("Read")


def test_images_are_sent_to_a_multimodal_model(new_caller, upstream: ScriptedUpstream):
    """A multimodal model gets an image as a data URL beside the text."""
    upstream.models = [{"id": "test/vision", "architecture": {"input_modalities": ["text", "image"]}}]
    caller = new_caller()
    assert caller.value("/api/v2/models")[0]["multimodalAcceptedMimetypes"] == ["image/*"]
    caller.turn(caller.create("test/vision"), "Look", files=[part("p.png", PNG, "image/png")])
    text, image = upstream.last_messages()[-1]["content"]
    assert text == {"type": "text", "text": "Look"}
    assert image["image_url"]["url"] == "data:image/png;base64," + base64.b64encode(PNG).decode()


def test_pasted_text_comes_before_the_prompt(caller: Caller, upstream: ScriptedUpstream):
    """A file of the clipboard type is not described as a file; it is part of the user's text."""
    caller.turn(caller.create(), "this", files=[part("x", b"pasted", "application/vnd.chatui.clipboard")])
    assert upstream.last_messages()[-1]["content"] == "pasted\n\nthis"


def test_invalid_files(caller: Caller):
    """A file that is too large is 413, a name without a prefix 500; nothing is stored."""
    conversation = caller.create()
    large = caller.send(conversation, "x", files=[part("big", b"\0" * (10 * 1024 * 1024 + 1), "application/x")])
    assert (large.status_code, large.json()) == (413, {"message": "File too large, should be <10MB"})
    assert caller.send(conversation, "x", files=[("plain.txt", b"aGk=", "text/plain")]).status_code == 500
    body = (
        b'--B\r\nContent-Disposition: form-data; name="data"\r\n\r\n{}\r\n'
        b"--B\r\nContent-Disposition: form-data; name=\"files\"; filename*=UTF-8''base64%3Bx\r\n\r\naGk=\r\n--B--\r\n"
    )
    headers = {"Origin": caller.url, "Content-Type": "multipart/form-data; boundary=B"}
    assert caller.post(f"/conversation/{conversation}", data=body, headers=headers).status_code == 500
    assert len(caller.messages(conversation)) == 1


def test_a_body_that_is_too_large(caller: Caller):
    """More than 15,728,640 bytes in one request is 413 with an errorId."""
    parts = [part(name, b"\0" * (6 * 1024 * 1024), "application/x") for name in "ab"]
    answer = caller.send(caller.create(), "x", files=parts)
    assert answer.status_code == 413
    assert set(answer.json()) == {"message", "errorId"}


def test_an_unknown_hash(caller: Caller):
    """An unknown hash is accepted with the form and fails in the stream, with a 404."""
    wrong = ("hash;gone.txt", "ab" * 32, "text/plain")
    received = caller.turn(caller.create(), "x", files=[wrong])
    assert (received[-1]["status"], received[-1]["statusCode"]) == ("error", 404)


def test_file_names_are_never_paths(caller: Caller):
    """Dots, slashes and markup in names and types are values: stored, listed, never used as a path."""
    conversation = caller.create()
    caller.turn(conversation, "x", files=[part("../../etc/passwd", b"<script>", "text/html; x=y")])
    (file,) = caller.messages(conversation)[1]["files"]
    assert (file["name"], file["mime"]) == ("../../etc/passwd", "text/html")
    answer = caller.get(f"/conversation/{conversation}/output/{file['value']}")
    assert answer.headers["Content-Disposition"].startswith("attachment;")
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    for sha in ("..%2f..%2fetc%2fpasswd", "x", "../" + file["value"]):
        assert caller.get(f"/conversation/{conversation}/output/{sha}").status_code == 404
