"""Everything around a turn: exact bodies, statuses and error texts, as a real chat-ui 0.20 gives them."""

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

MISSING = "0" * 24
JSON = {"Content-Type": "application/json"}


def refused(answer: requests.Response) -> tuple[int, str]:
    """Return status and message of a handler's refusal."""
    assert answer.headers["Content-Type"] == "application/json"
    return answer.status_code, answer.json()["message"]


# The server about itself


def test_health_needs_nothing(caller: Caller):
    """Probes get OK as text."""
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


def test_everybody_is_anonymous(caller: Caller):
    """There is no login: no user, and flags that say so."""
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
    """A POST resets what it does not name, each session has its own, and wrong types are 500."""
    caller, stranger = new_caller(), new_caller()
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
    assert stranger.value("/api/v2/user/settings") == before
    for wrong in ({"directPaste": 1}, {"customPrompts": []}, {"streamingMode": "?"}, {"activeModel": 1}, []):
        assert caller.post("/api/v2/user/settings", json=wrong).status_code == 500


# Conversations


def test_create_returns_the_conversation(caller: Caller):
    """The answer holds the id and, as a superjson string, what a read would give: one system message."""
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
    """A model that is not in the list and wrong types are 400."""
    assert refused(caller.post("/conversation", json=body)) == (status, message)


def test_bodies_that_are_no_json(caller: Caller):
    """Broken JSON, and a body without a content type, are unexpected: 500 with an errorId."""
    for options in ({"data": "x", "headers": JSON}, {"data": b'{"model":"test/model"}'}, {}):
        answer = caller.post("/conversation", **options)
        assert refused(answer) == (500, "An error occurred")
        assert re.fullmatch("[0-9a-f-]{36}", answer.json()["errorId"])


def test_the_list_is_paged(caller: Caller):
    """Thirty a page, newest first, hasMore until the last; odd page numbers count as the first."""
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


def test_reading_what_is_not_there(caller: Caller):
    """Malformed, missing and shared ids each have their own text."""
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


def test_reading_the_old_way(caller: Caller):
    """The first API gives plain JSON with dates as text, and no tree."""
    conversation = caller.create()
    caller.turn(conversation, "Hi")
    old = caller.get(f"/api/conversation/{conversation}").json()
    assert old["modelId"] == "test/model"
    assert [message["content"] for message in old["messages"]] == ["", "Hi", "Hello, world!"]
    assert set(old["messages"][1]) == {"content", "from", "id", "createdAt", "updatedAt", "files", "updates"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", old["updatedAt"])


def test_rename_and_switch_model(caller: Caller):
    """Titles are trimmed and lose their tags; what cannot be is 400, on the older path 500."""
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
    """One, all, and the older paths; a second time there is nothing."""
    one, two, *_ = (caller.create() for _ in range(5))
    assert caller.ask("DELETE", f"/api/v2/conversations/{one}").text == '{"json":{"success":true}}'
    assert refused(caller.ask("DELETE", f"/api/v2/conversations/{one}")) == (404, "Conversation not found")
    assert refused(caller.ask("DELETE", "/api/v2/conversations/share12")) == (400, "Invalid conversation ID")
    assert caller.ask("DELETE", f"/conversation/{two}").content == b""
    assert caller.ask("DELETE", "/api/v2/conversations").text == '{"json":3}'
    assert caller.ask("DELETE", "/api/conversations").status_code == 200
    assert caller.value("/api/v2/conversations")["conversations"] == []


def test_sharing(new_caller):
    """A share is a frozen copy that anybody reads; importing it gives a conversation of one's own, once."""
    caller, stranger = new_caller(), new_caller()
    conversation = caller.create()
    caller.turn(conversation, "Hi", files=[("base64;a.txt", b"aGk=", "text/plain")])
    share = caller.post(f"/conversation/{conversation}/share").json()["shareId"]
    assert re.fullmatch("[A-Za-z0-9_-]{7}", share)
    assert caller.post(f"/conversation/{conversation}/share").json()["shareId"] == share
    shared = stranger.read(share)
    assert (shared["id"], shared["shared"], shared["title"]) == (share, True, "Hi")
    sha = shared["messages"][1]["files"][0]["value"]
    assert stranger.get(f"/conversation/{share}/output/{sha}").content == b"hi"
    imported = stranger.post("/api/v2/conversations/import-share", json={"shareId": share}).json()["json"]
    again = stranger.post("/api/v2/conversations/import-share", json={"shareId": share}).json()["json"]
    assert imported == again
    own = imported["conversationId"]
    assert stranger.value(f"/api/v2/conversations/{own}?fromShare={share}")["shared"] is True
    assert stranger.get(f"/conversation/{own}/output/{sha}").content == b"hi"
    assert kinds(stranger.turn(own, "More"))[-1] == "finished"
    caller.turn(conversation, "Later")
    assert caller.post(f"/conversation/{conversation}/share").json()["shareId"] != share
    assert len(stranger.read(share)["messages"]) == 3
    copied = stranger.post("/conversation", json={"model": "test/model", "fromShare": share}).json()["conversationId"]
    assert stranger.get(f"/conversation/{copied}/output/{sha}").status_code == 404
    assert refused(stranger.post("/api/v2/conversations/import-share", json={})) == (400, "shareId is required")
    missing = stranger.post("/api/v2/conversations/import-share", json={"shareId": "missing"})
    assert missing.status_code == 404


# Sessions


def test_a_stranger_sees_nothing(new_caller, chat: LocalServer):
    """Another cookie is another person: 403 or 404 everywhere, and an empty list."""
    owner, stranger = new_caller(), new_caller()
    conversation = owner.create()
    owner.turn(conversation, "secret", files=[("base64;a.txt", b"aGk=", "text/plain")])
    sha = owner.messages(conversation)[1]["files"][0]["value"]
    status, text = refused(stranger.get(f"/api/v2/conversations/{conversation}"))
    assert status == 403
    assert text.startswith("You don't have access to this conversation. If someone gave you this link")
    assert stranger.value("/api/v2/conversations") == {"conversations": [], "hasMore": False}
    form = {"files": {"data": (None, "{}")}, "headers": {"Origin": chat.url}}
    message = owner.leaf(conversation)
    for answer in (
        stranger.get(f"/api/conversation/{conversation}"),
        stranger.get(f"/conversation/{conversation}/stream"),
        stranger.get(f"/conversation/{conversation}/output/{sha}"),
        stranger.post(f"/conversation/{conversation}", **form),
        stranger.post(f"/conversation/{conversation}/stop-generating"),
        stranger.post(f"/conversation/{conversation}/share"),
        stranger.post(f"/conversation/{conversation}/elicitation", json={"action": "cancel"}),
        stranger.ask("PATCH", f"/api/v2/conversations/{conversation}", json={"title": "mine"}),
        stranger.ask("DELETE", f"/api/v2/conversations/{conversation}"),
        stranger.ask("DELETE", f"/conversation/{conversation}"),
        stranger.ask("DELETE", f"/api/v2/conversations/{conversation}/message/{message}"),
        stranger.ask("DELETE", f"/api/conversation/{conversation}/message/{message}"),
    ):
        assert refused(answer) == (404, "Conversation not found")
    stranger.ask("DELETE", "/api/v2/conversations")
    assert owner.read(conversation)["title"] == "secret"


def test_the_session_cookie(caller: Caller, chat: LocalServer):
    """A POST gives the caller's own cookie back for another 14 days, or a new one to who has none; a GET never."""
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


def test_an_odd_cookie_is_never_given_back_changed(chat: LocalServer):
    """A value that no cookie may have still is a session, and is not answered with another one."""
    with Caller(chat.url, cookie='"a b"') as caller:
        answer = caller.post("/conversation", json={"model": "test/model"})
        assert "Set-Cookie" not in answer.headers
        assert caller.read(answer.json()["conversationId"])["title"] == "New Chat"


# The front door


def test_forms_need_an_origin_of_their_own(caller: Caller, chat: LocalServer):
    """The CSRF rule for forms, in both shapes; other bodies need no Origin."""
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
    assert caller.post(url, headers={"Origin": own}, **form).status_code == 500  # past the door: {} is no turn here
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
    """A refusal is JSON where JSON wins, and else a page whose title is the message."""
    answer = caller.get("/api/v2/conversations/zz", headers={"Accept": accept})
    assert answer.status_code == 400
    if is_json:
        assert answer.json() == {"message": "Invalid conversation ID format"}
    else:
        assert "<title>Invalid conversation ID format</title>" in answer.text


def test_unknown_routes_and_wrong_methods(caller: Caller):
    """404 is a page whatever is accepted; 405 is text with Allow; a slash too many is taken away."""
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
    """No path leads a browser to another site: it leaves out tabs and line ends, and takes a backslash for a slash."""
    with LocalServer(upstream=upstream.url, base_path=base) as server:
        link = http.client.HTTPConnection(server.url.removesuffix(base).removeprefix("http://"), timeout=15)
        link.request("GET", base + path)
        answer = link.getresponse()
        location = answer.getheader("Location")
        answer.read()
        link.close()
        assert answer.status in (308, 400, 404)
        if location is not None:
            seen = location.translate({9: None, 10: None, 13: None}).strip().replace("\\", "/")
            assert urljoin(server.url + "/", seen).startswith(server.url.removesuffix(base) + "/")


def test_a_browsers_accept_does_not_reach_the_endpoint(caller: Caller):
    """POST to a conversation as a browser would asks for the page, which takes no POST."""
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
def test_the_server_answers_to_its_own_names_only(caller: Caller, host, known):
    """A name that somebody else controls may point here by tomorrow; an address may not."""
    assert (caller.get("/healthcheck", headers={"Host": host}).status_code == 200) is known


def test_no_other_site_may_read(caller: Caller):
    """No answer carries a CORS header."""
    for path in ("/api/v2/models", "/api/v2/conversations"):
        headers = caller.get(path, headers={"Origin": "http://evil.example"}).headers
        assert not [name for name in headers if name.lower().startswith("access-control")]


def test_a_base_path(upstream: ScriptedUpstream):
    """Everything lives below the path; outside of it there is nothing, and a name that is allowed is known."""
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


def test_questions_of_tools_are_unknown(caller: Caller):
    """There are no tools here, so there is nothing to answer."""
    url = f"/conversation/{caller.create()}/elicitation"
    assert refused(caller.post(url, json={"action": "accept"})) == (404, "Unknown elicitation.")
    assert refused(caller.post(url, json={})) == (400, "Invalid elicitation response")
