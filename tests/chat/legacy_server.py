"""An older chat-ui over a real socket: recorded answers, and the paths of such a server.

Its answers were recorded from chat-ui 0.10 (August 2025) and 0.9.5 (June 2025) on 2026-11-21: see tests/fixtures.
"""

from __future__ import annotations

import copy
import json
import re
import threading
from pathlib import Path
from typing import Any

from tests.server import LAST_CHUNK, Recorded, Server, Step, chunk, head, json_answer, plain

FIXTURES = Path(__file__).parents[1] / "fixtures"
CONVERSATION = "6b011f45b360eaa64d27e2d8"
ASSISTANT = "6b01306c2708438b898c6e81"
SHARE = "UfM5I3n"
JSONL = "Content-Type: application/jsonl"
HTML = "Content-Type: text/html"

FLAGS_010 = {
    "searchEnabled": True,
    "enableAssistants": True,
    "enableAssistantsRAG": False,
    "enableCommunityTools": True,
    "loginEnabled": False,
    "loginRequired": False,
    "guestMode": False,
    "isAdmin": False,
}
MODELS = [
    {"id": "lab/legacy-model", "displayName": "lab legacy", "multimodal": True, "unlisted": False, "tools": True},
    {"id": "lab/plain-model", "displayName": "lab plain", "multimodal": False, "unlisted": False, "tools": False},
]
APP = "<!doctype html>\n<html><head><title>ChatUI</title></head><body>the application's page</body></html>"


def text(message: str, status: int = 500) -> bytes:
    return plain(message, status, "Content-Type: text/plain;charset=UTF-8")


def superjson(data: Any) -> bytes:
    return json_answer({"json": data})  # these servers name no version


class LegacyServer:
    """Plays one recorded scene.

    Attributes:
        version: ``"0.10"`` or ``"0.9.5"``.
        scene: The recording: the form's data, status, headers, the conversation afterwards.
        stream: The bytes of the recorded answer.
        sent: The ``data`` of each received message.
        seen: ``"METHOD path"`` of each request.
        is_stored: Whether the conversation holds the answer yet.
        hooks: Answers by ``"METHOD path"`` that take precedence.
    """

    def __init__(self, server: Server, version: str, scene: str = "plain") -> None:
        folder = FIXTURES / f"chat-ui-{version}"
        self.url = server.url
        self.version = version
        self.scene: dict[str, Any] = json.loads((folder / f"{scene}.json").read_text("utf-8"))
        self.stream = (folder / f"{scene}.jsonl").read_bytes()
        self.sent: list[dict[str, Any]] = []
        self.created: list[dict[str, Any]] = []
        self.is_stored = False
        self.hooks: dict[str, bytes] = {}
        self.stopped = threading.Event()
        self._server = server
        server.on("*", [self._answer])
        self.answer_with(head(200, "Transfer-Encoding: chunked", JSONL) + chunk(self.stream) + LAST_CHUNK)

    @property
    def seen(self) -> list[str]:
        return [f"{request.method} {request.path}" for request in self._server.requests]

    @property
    def writes(self) -> list[str]:
        return [what for what in self.seen if not what.startswith("GET ")]

    @property
    def prompt(self) -> str:
        return str(self.scene["request"]["inputs"])

    def answer_with(self, *steps: Step) -> None:
        """Play *steps* for each message; what else goes to the conversation's own path is answered as ever."""

        def begin(request: Recorded) -> bytes | None:
            if request.method != "POST":
                return self._answer(request)
            found = re.search(rb'name="data"\r\n(?:[^\r\n]+\r\n)*\r\n(.*?)\r\n--', request.body, re.DOTALL)
            assert found is not None
            self.sent.append(json.loads(found[1]))
            self.is_stored = True
            return None

        def unless_other(step: Step) -> Step:
            if not isinstance(step, bytes):
                return step
            return lambda request: step if request.method == "POST" else None

        self._server.on(f"/conversation/{CONVERSATION}", [begin, *map(unless_other, steps)])

    # What the conversation holds

    def state(self) -> dict[str, Any]:
        """The conversation as superjson (0.10) or as the data of a page (0.9.5): before the message, only its root."""
        data = copy.deepcopy(self.scene["conversation"])
        if "json" in data:
            if not self.is_stored:
                data["json"]["messages"] = data["json"]["messages"][:1]
                data["json"]["messages"][0]["children"] = []
            return data
        flat = data["nodes"][-1]["data"]
        if not self.is_stored:
            messages = flat[flat[0]["messages"]]
            del messages[1:]
            flat[flat[messages[0]]["children"]] = []
        return data

    # Paths

    def _answer(self, request: Recorded) -> bytes:
        what = f"{request.method} {request.path}"
        if what in self.hooks:
            return self.hooks[what]
        if request.path.endswith("/stop-generating"):
            self.stopped.set()
            return plain(b"")
        if what == "POST /conversation":
            self.created.append(request.json())
            return json_answer({"conversationId": CONVERSATION})
        if request.method in ("PATCH", "DELETE") and request.path.startswith("/conversation/"):
            return (
                plain(b"") if CONVERSATION in request.path else json_answer({"message": "Conversation not found"}, 404)
            )
        if what == f"GET /api/assistant/{ASSISTANT}":
            return json_answer({"_id": ASSISTANT, "name": "Pirate", "modelId": "lab/plain-model"})
        if request.path.startswith("/api/assistant/"):
            return json_answer({"message": "Assistant not found"}, 404)
        if what == "GET /api/models":
            return json_answer(MODELS)
        return self._answer_010(request, what) if self.version == "0.10" else self._answer_095(request, what)

    def _answer_010(self, request: Recorded, what: str) -> bytes:
        one = f"/api/v2/conversations/{CONVERSATION}"
        if what == f"GET {one}":
            return json_answer(self.state())
        if what in (f"PATCH {one}", f"DELETE {one}"):
            return superjson({"success": True})
        if what.startswith(f"DELETE {one}/message/"):
            known = [message["id"] for message in self.scene["conversation"]["json"]["messages"]]
            return superjson({"success": True}) if what.rpartition("/")[2] in known else text("Message not found")
        if what == f"POST /conversation/{CONVERSATION}/share":
            return json_answer({"shareId": SHARE})
        if what == f"GET /api/v2/conversations/{SHARE}":
            return json_answer(self.state())
        if what == "GET /api/v2/conversations/zz":
            return text("Invalid conversation ID format")
        if request.path.startswith("/api/v2/conversations/"):
            return text("Conversation not found.")
        answers = {
            "GET /api/v2/feature-flags": FLAGS_010,
            "GET /api/v2/models": MODELS,
            "GET /api/v2/user": None,
            "GET /api/v2/conversations": {"conversations": [self.entry(0)], "nConversations": 1},
            "DELETE /api/v2/conversations": 1,
        }
        if what in answers:
            return superjson(answers[what])
        if request.path.startswith("/api/v2/"):
            return text("NOT_FOUND", 404)
        return plain(f"<!doctype html><html><title>Page {request.path} not found</title></html>", 500, HTML)

    def _answer_095(self, request: Recorded, what: str) -> bytes:
        page = f"/conversation/{CONVERSATION}/__data.json"
        if what in (f"GET {page}", f"GET /conversation/{SHARE}/__data.json"):
            assert request.query == {"x-sveltekit-invalidated": "01"}
            return json_answer(self.state())
        if what == "GET /__data.json":
            assert request.query == {"x-sveltekit-invalidated": "10"}
            body = (FIXTURES / "chat-ui-0.9.5" / "layout_and_page.data").read_bytes()
            return plain(body, 200, "Content-Type: text/sveltekit-data")
        if request.path.endswith("/__data.json"):
            failed = {"type": "error", "error": {"message": "Conversation not found."}, "status": 404}
            return json_answer({"type": "data", "nodes": [{"type": "skip"}, failed]})
        if what == f"POST /conversation/{CONVERSATION}/share":
            return json_answer({"url": f"{self.url}/r/{SHARE}"})
        if what == "GET /api/conversations":
            page_number = int(request.query["p"])
            return json_answer(
                [self.entry(number) for number in range(page_number * 30, min(42, page_number * 30 + 30))]
            )
        if what in ("DELETE /api/conversations", "POST /settings") or what.startswith("DELETE /api/conversation/"):
            return plain(b"")
        return plain(APP, 200, HTML)  # for every unknown path, status 200

    def entry(self, number: int) -> dict[str, Any]:
        """One of the caller's 42 conversations, as lists have them."""
        return {
            "_id": f"{number:024x}",
            "id": f"{number:024x}",
            "title": f"Number {number}",
            "updatedAt": "2026-11-21T04:34:13.404Z",
            "model": "lab/legacy-model",
            "modelId": "lab/legacy-model",
            "modelTools": True,
        }
