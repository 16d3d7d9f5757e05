"""The HTTP API around messages: bodies, statuses and error texts, exactly as chat-ui 0.20 gives them."""

from __future__ import annotations

import datetime
import http.client
import json
import re
from urllib.parse import urljoin

import pytest
import requests

from hfclient.local import LocalServer
from tests.local.caller import Caller, kinds
from tests.local.upstream import ScriptedUpstream
from tests.server import PATIENCE

MISSING = "0" * 24
JSON = {"Content-Type": "application/json"}


def refused(answer: requests.Response) -> tuple[int, str]:
    """Return status and message of an error response."""
    assert answer.headers["Content-Type"] == "application/json"
    return answer.status_code, answer.json()["message"]


# The server


def test_health_needs_no_session(caller: Caller):
    """A probe gets OK as text."""
    answer = caller.get("/healthcheck")
    assert (answer.status_code, answer.text) == (200, "OK")


def test_models(caller: Caller, upstream: ScriptedUpstream):
    """The upstream's models in its order, in both versions of the list, and one by one."""
    upstream.models["data"][0] |= {"description": "D", "providers": [{"provider": "p", "context_length": 1}]}
    answer = caller.get("/api/v2/models")
    assert answer.headers["Cache-Control"] == "private, max-age=60"
    first = answer.json()["json"][0]
    assert (first["id"], first["description"], first["websiteUrl"]) == ("test/model", "D", None)
    assert answer.json()["meta"]["values"]["0.websiteUrl"] == ["undefined"]
    assert [model["id"] for model in caller.value("/api/v2/models")] == ["test/model", "test/other"]
    old = caller.get("/api/models").json()[1]
    assert old["description"] == ""
    assert old["websiteUrl"] == "https://huggingface.co"
    assert "isRouter" not in old
    for path in ("/api/v2/models/test/model", "/api/v2/models/test%2Fmodel"):
        assert caller.value(path)["providers"] == [{"provider": "p", "context_length": 1}]
    assert refused(caller.get("/api/v2/models/test/none")) == (404, "Model not found")
    assert caller.value("/api/v2/models/old") == []


def test_all_sessions_are_anonymous(caller: Caller):
    """No login: the user is null, and the flags say so."""
    assert caller.get("/api/v2/user").text == '{"json":null}'
    assert refused(caller.get("/api/user")) == (401, "Must be signed in")
    assert caller.get("/api/v2/feature-flags").json()["json"] == {
        "enableAssistants": False,
        "loginEnabled": False,
        "isAdmin": False,
        "transcriptionEnabled": False,
    }
    assert caller.value("/api/v2/public-config")["PUBLIC_APP_NAME"] == "hfclient"
    assert caller.get("/api/mcp/servers").json() == []
    assert caller.get("/conversation/x/__data.json").json() == {"type": "data", "nodes": [None, None]}


def test_settings_are_replaced_whole(new_caller):
    """A POST resets the settings that it does not name, each session has its own, and wrong types are 500."""
    caller, other = new_caller(), new_caller()
    before = caller.value("/api/v2/user/settings")
    assert before["activeModel"] == "test/model"
    assert before["shareConversationsWithModelAuthors"] is True
    answer = caller.post("/api/v2/user/settings", json={"directPaste": True, "welcomeModalSeen": True})
    assert (answer.status_code, answer.content) == (200, b"")
    after = caller.value("/api/v2/user/settings")
    assert after["directPaste"] is True
    assert after["welcomeModalSeen"] is True
    assert isinstance(after["welcomeModalSeenAt"], datetime.datetime)
    caller.post("/settings", json={"customPrompts": {"test/model": "P"}})
    last = caller.value("/api/v2/user/settings")
    assert last["directPaste"] is False
    assert last["customPrompts"] == {"test/model": "P"}
    assert other.value("/api/v2/user/settings") == before
    for wrong in ({"directPaste": 1}, {"customPrompts": []}, {"streamingMode": "?"}, {"activeModel": 1}, []):
        assert caller.post("/api/v2/user/settings", json=wrong).status_code == 500


# Conversations


def test_create_returns_the_conversation(caller: Caller):
    """The response holds the id and, as a superjson string, the conversation as a read returns it: one system message."""
    answer = caller.post("/conversation", json={"model": "test/model", "preprompt": "P", "assistantId": "x"})
    body = answer.json()
    assert re.fullmatch("[0-9a-f]{24}", body["conversationId"])
    document = json.loads(body["conversation"])
    assert document["meta"]["values"]["updatedAt"] == ["Date"]
    conversation = document["json"]
    assert conversation["title"] == "New Chat"
    assert conversation["preprompt"] == "P"
    assert conversation["rootMessageId"] == conversation["messages"][0]["id"]
    assert document == caller.get(f"/api/v2/conversations/{body['conversationId']}").json()


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({}, 400, "Invalid request"),
        ([], 400, "Invalid request"),
        ({"model": 3}, 400, "Invalid request"),
        ({"model": "none"}, 400, "Invalid request"),
        ({"model": "test/model", "preprompt": None}, 400, "Invalid request"),
        ({"model": "test/model", "fromShare": "missing"}, 404, "Conversation not found"),
    ],
)
def test_create_refuses(caller: Caller, body, status, message):
    """An unknown model and wrong types are 400."""
    assert refused(caller.post("/conversation", json=body)) == (status, message)


def test_bodies_that_are_not_json(caller: Caller):
    """Invalid JSON, and a body without a content type, are 500 with an errorId."""
    for options in ({"data": "x", "headers": JSON}, {"data": b'{"model":"test/model"}'}, {}):
        answer = caller.post("/conversation", **options)
        assert refused(answer) == (500, "An error occurred")
        assert re.fullmatch("[0-9a-f-]{36}", answer.json()["errorId"])


def test_the_list_has_pages(caller: Caller):
    """30 conversations per page, newest first, hasMore until the last page; an invalid page number is the first page."""
    made = [caller.create() for _ in range(32)]
    first, second = caller.value("/api/v2/conversations?p=0"), caller.value("/api/v2/conversations?p=1")
    assert (len(first["conversations"]), first["hasMore"]) == (30, True)
    assert (len(second["conversations"]), second["hasMore"]) == (2, False)
    listed = [entry["id"] for entry in first["conversations"] + second["conversations"]]
    assert listed == made[::-1]
    assert caller.get("/api/v2/conversations?p=2").text == '{"json":{"conversations":[],"hasMore":false}}'
    assert caller.value("/api/v2/conversations?p=x") == first
    assert [entry["_id"] for entry in caller.get("/api/conversations?p=1").json()] == listed[30:]
    assert caller.get("/api/conversations?p=x").status_code == 500
    caller.turn(made[0], "Hi")
    assert caller.value("/api/v2/conversations")["conversations"][0]["id"] == made[0]


def test_reading_a_missing_conversation(caller: Caller):
    """Malformed, missing and shared ids each have their own error text."""
    assert refused(caller.get("/api/v2/conversations/zz")) == (400, "Invalid conversation ID format")
    assert refused(caller.get(f"/api/v2/conversations/{MISSING}")) == (404, "Conversation not found.")
    assert refused(caller.get("/api/v2/conversations/share12")) == (404, "Conversation not found")
    assert refused(caller.get("/api/conversation/zz")) == (500, "An error occurred")
    assert refused(caller.get(f"/api/conversation/{MISSING}")) == (404, "Conversation not found")
    for path in ("/stop-generating", "/share"):
        assert refused(caller.post(f"/conversation/{MISSING}{path}")) == (404, "Conversation not found")
        assert refused(caller.post(f"/conversation/zz{path}")) == (500, "An error occurred")
    assert refused(caller.get(f"/conversation/{MISSING}/stream")) == (404, "Conversation not found")
    assert refused(caller.get(f"/conversation/{MISSING}/output/x")) == (404, "Conversation not found")
    assert refused(caller.get(f"/conversation/{caller.create()}/output/x")) == (404, "File not found")
    form = {"files": {"data": (None, "{}")}, "headers": {"Origin": caller.url}}
    assert refused(caller.post(f"/conversation/{MISSING}", **form)) == (404, "Conversation not found")


def test_reading_with_the_first_api(caller: Caller):
    """The first API gives plain JSON with dates as text, and no tree."""
    conversation = caller.create()
    caller.turn(conversation, "Hi")
    old = caller.get(f"/api/conversation/{conversation}").json()
    assert old["modelId"] == "test/model"
    assert [message["content"] for message in old["messages"]] == ["", "Hi", "Hello, world!"]
    assert set(old["messages"][1]) == {"content", "from", "id", "createdAt", "updatedAt", "files", "updates"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", old["updatedAt"])


def test_rename_and_switch_model(caller: Caller):
    """Titles are trimmed and lose their tags; an invalid title is 400, on the older path 500."""
    conversation = caller.create()
    url, old_url = f"/api/v2/conversations/{conversation}", f"/conversation/{conversation}"
    assert caller.ask("PATCH", url, json={"title": " a <think>b</think> "}).text == '{"json":{"success":true}}'
    assert caller.read(conversation)["title"] == "a b"
    assert caller.ask("PATCH", old_url, json={"title": "c", "model": "test/other"}).content == b""
    assert (caller.read(conversation)["title"], caller.read(conversation)["model"]) == ("c", "test/other")
    assert caller.ask("PATCH", url, json={}).status_code == 200
    wrong_title = (400, "Title must be a string between 1 and 100 characters")
    for title in ("", "x" * 101, 3, None):
        assert refused(caller.ask("PATCH", url, json={"title": title})) == wrong_title
        assert caller.ask("PATCH", old_url, json={"title": title}).status_code == 500
    assert refused(caller.ask("PATCH", url, json={"model": "zz"})) == (400, "Invalid model ID")
    assert refused(caller.ask("PATCH", "/api/v2/conversations/zz", json={})) == (400, "Invalid conversation ID")
    assert refused(caller.ask("PATCH", f"/api/v2/conversations/{MISSING}", json={"title": "t"}))[0] == 404


def test_delete(caller: Caller):
    """One, all, and on the older paths; deleting again is 404."""
    one, two, *_ = (caller.create() for _ in range(5))
    assert caller.ask("DELETE", f"/api/v2/conversations/{one}").text == '{"json":{"success":true}}'
    assert refused(caller.ask("DELETE", f"/api/v2/conversations/{one}")) == (404, "Conversation not found")
    assert refused(caller.ask("DELETE", "/api/v2/conversations/share12")) == (400, "Invalid conversation ID")
    assert caller.ask("DELETE", f"/conversation/{two}").content == b""
    assert caller.ask("DELETE", "/api/v2/conversations").text == '{"json":3}'
    assert caller.ask("DELETE", "/api/conversations").status_code == 200
    assert caller.value("/api/v2/conversations")["conversations"] == []


def test_sharing(new_caller):
    """A share is an immutable copy that every session can read; an import makes one conversation per session from it."""
    caller, other = new_caller(), new_caller()
    conversation = caller.create()
    caller.turn(conversation, "Hi", files=[("base64;a.txt", b"aGk=", "text/plain")])
    share = caller.post(f"/conversation/{conversation}/share").json()["shareId"]
    assert re.fullmatch("[A-Za-z0-9_-]{7}", share)
    assert caller.post(f"/conversation/{conversation}/share").json()["shareId"] == share
    shared = other.read(share)
    assert (shared["id"], shared["shared"], shared["title"]) == (share, True, "Hi")
    sha = shared["messages"][1]["files"][0]["value"]
    assert other.get(f"/conversation/{share}/output/{sha}").content == b"hi"
    imported = other.post("/api/v2/conversations/import-share", json={"shareId": share}).json()["json"]
    again = other.post("/api/v2/conversations/import-share", json={"shareId": share}).json()["json"]
    assert imported == again
    own = imported["conversationId"]
    assert other.value(f"/api/v2/conversations/{own}?fromShare={share}")["shared"] is True
    assert other.get(f"/conversation/{own}/output/{sha}").content == b"hi"
    assert kinds(other.turn(own, "More"))[-1] == "finished"
    caller.turn(conversation, "Later")
    assert caller.post(f"/conversation/{conversation}/share").json()["shareId"] != share
    assert len(other.read(share)["messages"]) == 3
    copied = other.post("/conversation", json={"model": "test/model", "fromShare": share}).json()["conversationId"]
    assert other.get(f"/conversation/{copied}/output/{sha}").status_code == 404
    assert refused(other.post("/api/v2/conversations/import-share", json={})) == (400, "shareId is required")
    missing = other.post("/api/v2/conversations/import-share", json={"shareId": "missing"})
    assert missing.status_code == 404


# Sessions


def test_sessions_are_isolated(new_caller, chat: LocalServer):
    """Another session cookie gets 403 or 404 everywhere, and an empty list."""
    owner, other = new_caller(), new_caller()
    conversation = owner.create()
    owner.turn(conversation, "secret", files=[("base64;a.txt", b"aGk=", "text/plain")])
    sha = owner.messages(conversation)[1]["files"][0]["value"]
    status, text = refused(other.get(f"/api/v2/conversations/{conversation}"))
    assert status == 403
    assert text.startswith("You don't have access to this conversation. If someone gave you this link")
    assert other.value("/api/v2/conversations") == {"conversations": [], "hasMore": False}
    form = {"files": {"data": (None, "{}")}, "headers": {"Origin": chat.url}}
    message = owner.leaf(conversation)
    for answer in (
        other.get(f"/api/conversation/{conversation}"),
        other.get(f"/conversation/{conversation}/stream"),
        other.get(f"/conversation/{conversation}/output/{sha}"),
        other.post(f"/conversation/{conversation}", **form),
        other.post(f"/conversation/{conversation}/stop-generating"),
        other.post(f"/conversation/{conversation}/share"),
        other.post(f"/conversation/{conversation}/elicitation", json={"action": "cancel"}),
        other.ask("PATCH", f"/api/v2/conversations/{conversation}", json={"title": "mine"}),
        other.ask("DELETE", f"/api/v2/conversations/{conversation}"),
        other.ask("DELETE", f"/conversation/{conversation}"),
        other.ask("DELETE", f"/api/v2/conversations/{conversation}/message/{message}"),
        other.ask("DELETE", f"/api/conversation/{conversation}/message/{message}"),
    ):
        assert refused(answer) == (404, "Conversation not found")
    other.ask("DELETE", "/api/v2/conversations")
    assert owner.read(conversation)["title"] == "secret"


def test_the_session_cookie(caller: Caller, chat: LocalServer):
    """A POST sets the caller's cookie for another 14 days, or a new one for a caller without one; a GET never sets it."""
    answer = caller.post("/conversation", json={"model": "test/model"})
    assert re.fullmatch(
        rf"hf-chat={caller.cookie}; Path=/; Expires=\w{{3}}, .* GMT; HttpOnly; SameSite=Lax",
        answer.headers["Set-Cookie"],
    )
    assert "Set-Cookie" in caller.post("/conversation", json={}).headers
    assert "Set-Cookie" not in caller.get("/api/v2/conversations").headers
    with requests.Session() as fresh:
        made = fresh.post(chat.url + "/conversation", json={"model": "test/model"}).json()["conversationId"]
        assert fresh.get(f"{chat.url}/api/v2/conversations/{made}").status_code == 200
        fresh.cookies.clear()
        assert fresh.get(f"{chat.url}/api/v2/conversations/{made}").status_code == 403


def test_an_invalid_cookie_is_not_replaced(chat: LocalServer):
    """A value with characters that a cookie must not have is still a session, and no other cookie is set."""
    with Caller(chat.url, cookie='"a b"') as caller:
        answer = caller.post("/conversation", json={"model": "test/model"})
        assert "Set-Cookie" not in answer.headers
        assert caller.read(answer.json()["conversationId"])["title"] == "New Chat"


# Request hooks


def test_forms_need_an_origin_of_their_own(caller: Caller, chat: LocalServer):
    """The CSRF check of forms, in both forms of its error; other bodies need no Origin."""
    url = f"/conversation/{caller.create()}"
    form = {"files": {"data": (None, "{}")}}
    answer = caller.post(url, **form)
    assert (answer.status_code, answer.text) == (403, "Non-JSON form requests need to have an origin")
    assert "Set-Cookie" not in answer.headers
    for origin in ("http://evil.example", "http://127.0.0.1:1", "https://127.0.0.1"):
        answer = caller.post(url, headers={"Origin": origin, "Accept": "application/json"}, **form)
        assert (answer.status_code, answer.json()) == (403, {"error": "Invalid referer for POST request"})
    for origin in ("null", "example.com:3000", chat.url + "00"):
        assert caller.post(url, headers={"Origin": origin}, **form).status_code == 500
    own = chat.url.replace("http:", "https:") + "/some/path"
    assert caller.post(url, headers={"Origin": own}, **form).status_code == 500  # past the CSRF check: {} is not a valid form
    assert caller.post("/conversation", data="x", headers={"Content-Type": "text/plain"}).status_code == 403


@pytest.mark.parametrize(
    ("accept", "is_json"),
    [
        ("*/*", True),
        ("application/json", True),
        ("application/jsonl, */*;q=0.1", True),
        ("application/json, text/html;q=0.1", True),
        (None, False),
        ("application/jsonl", False),
        ("text/event-stream", False),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("text/html;q=0.5, application/json;q=nonsense", False),
    ],
)
def test_errors_follow_accept(caller: Caller, accept, is_json):
    """An error is JSON if the Accept header prefers JSON, else a page with the message as title."""
    answer = caller.get("/api/v2/conversations/zz", headers={"Accept": accept})
    assert answer.status_code == 400
    if is_json:
        assert answer.json() == {"message": "Invalid conversation ID format"}
    else:
        assert "<title>Invalid conversation ID format</title>" in answer.text


def test_unknown_routes_and_wrong_methods(caller: Caller):
    """404 is a page for every Accept header; 405 is text with Allow; a trailing slash is removed by a redirect."""
    answer = caller.get("/no/such?x=<b>", headers={"Accept": "application/json"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert "<b>" not in answer.text
    for method, path, allowed in (
        ("PUT", f"/api/v2/conversations/{MISSING}", {"GET", "HEAD", "PATCH", "DELETE"}),
        ("GET", f"/conversation/{MISSING}", {"POST", "PATCH", "DELETE"}),
        ("OPTIONS", "/api/v2/models", {"GET", "HEAD"}),
    ):
        answer = caller.ask(method, path)
        assert (answer.status_code, answer.text) == (405, f"{method} method not allowed")
        assert set(answer.headers["Allow"].split(", ")) == allowed
    answer = caller.get("/api/v2/models/?a=b")
    assert (answer.status_code, answer.headers["Location"]) == (308, "/api/v2/models?a=b")
    assert caller.get("//evil.example/").headers.get("Location") in (None, "/evil.example")
    assert caller.get("/conversation").headers["Location"] == "/"


ODD_PATHS = (
    *("/%09/e.example/", "/%0a/e.example/", "/%0D%0A/e.example/", "//e.example/", "///e.example//", "/%5ce.example/"),
    *("/\\e.example/", "/%2f%2fe.example/", "/%2f%5ce.example/", "/%20//e.example/", "/.//e.example/", "/..//e.example/"),
    *("/%00//e.example/", "/https:/e.example/", "/https:%2f%2fe.example/", "/@e.example/", "/models/?next=//e.example/"),
)


@pytest.mark.parametrize("base", ["", "/chat"])
@pytest.mark.parametrize("path", ODD_PATHS)
def test_redirects_stay_here(upstream: ScriptedUpstream, base: str, path: str):
    """No path redirects to another site: browsers drop tabs and line ends, and read a backslash as a slash."""
    with LocalServer(upstream=upstream.url, base_path=base) as server:
        link = http.client.HTTPConnection(server.url.removesuffix(base).removeprefix("http://"), timeout=PATIENCE)
        link.request("GET", base + path)
        answer = link.getresponse()
        location = answer.getheader("Location")
        answer.read()
        link.close()
        assert answer.status in (308, 400, 404)
        if location is not None:
            seen = location.translate({9: None, 10: None, 13: None}).strip().replace("\\", "/")
            assert urljoin(server.url + "/", seen).startswith(server.url.removesuffix(base) + "/")


def test_a_browsers_accept_header_gets_the_page(caller: Caller):
    """A POST to a conversation with a browser's Accept header is routed to the page, which does not accept POST."""
    headers = {"Origin": caller.url, "Accept": "text/html,*/*;q=0.8"}
    answer = caller.post(f"/conversation/{caller.create()}", files={"data": (None, "{}")}, headers=headers)
    assert answer.status_code == 405


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost:3000", True),
        ("127.0.0.1", True),
        ("[::1]:3000", True),
        ("192.168.1.7:3000", True),
        ("chat.localhost", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example:3000", False),
        ("[::1", False),
    ],
)
def test_unknown_host_names_are_rejected(caller: Caller, host, known):
    """An attacker can change where a host name resolves to (DNS rebinding); an IP address is safe."""
    assert (caller.get("/healthcheck", headers={"Host": host}).status_code == 200) is known


def test_no_other_site_may_read(caller: Caller):
    """No response has a CORS header."""
    for path in ("/api/v2/models", "/api/v2/conversations"):
        headers = caller.get(path, headers={"Origin": "http://evil.example"}).headers
        assert not [name for name in headers if name.lower().startswith("access-control")]


def test_a_base_path(upstream: ScriptedUpstream):
    """All routes are under the base path; other paths are 404, and a host name in allowed_hosts is accepted."""
    with (
        LocalServer(upstream=upstream.url, base_path="/chat/", allowed_hosts=["huggingface.co"]) as server,
        Caller(server.url) as caller,
    ):
        assert server.url.endswith("/chat")
        conversation = caller.create()
        assert kinds(caller.turn(conversation, "Hi"))[-1] == "finished"
        assert caller.get("/api/v2/models/").headers["Location"] == "/chat/api/v2/models"
        assert caller.get("/healthcheck", headers={"Host": "huggingface.co"}).text == "OK"
        assert caller.get("").headers["Location"] == "/chat/"
        caller.url = caller.url.removesuffix("/chat")
        for path in ("/", "/healthcheck", "/chatter"):
            answer = caller.get(path)
            assert (answer.status_code, answer.text) == (404, "Not found")


def test_elicitations_are_unknown(caller: Caller):
    """The server has no tools, so every elicitation is unknown."""
    url = f"/conversation/{caller.create()}/elicitation"
    assert refused(caller.post(url, json={"action": "accept"})) == (404, "Unknown elicitation.")
    assert refused(caller.post(url, json={})) == (400, "Invalid elicitation response")
