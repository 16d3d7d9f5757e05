"""A fake chat-ui over real sockets: it stores conversations as chat-ui does and answers with recordings.

    ui.says(recording("plain"))                                 the next message is answered like that
    ui.says(recording("plain"), cut(200, "rst"))                ... and the connection breaks after 200 bytes
    ui.says(recording("plain"), live=[head(...), b"...", RST])  ... or anything else happens on it
    ui.fault("log", [RST], None, [RST])                         the first and the third request for the log break
    ui.always("read", json_answer({}, 500))                     every read of a conversation fails

The kinds of requests: models, create, read, send, log, stop, list, delete, delete_all, rename, answer. What came is in
``ui.seen`` (kind and request), how many of a kind in ``ui.count(kind)``.
"""

from __future__ import annotations

import itertools
import json
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from attrs import define, field

from tests.chat.recordings import Recording
from tests.clock import FakeTime
from tests.server import (
    CLOSE,
    LAST_CHUNK,
    PATIENCE,
    RST,
    UNTIL_GONE,
    Recorded,
    Script,
    Server,
    Step,
    chunk,
    head,
    json_answer,
    plain,
)

JSONL = "Content-Type: application/jsonl"
SSE = "Content-Type: text/event-stream"
PAGE = plain(b"<!doctype html><title>404</title>", 404, "Content-Type: text/html")
WAYS = ("rst", "fin", "mid-chunk", "ended", "delimited")

Live = Callable[[bytes], list[Step]]


def cut(at: int, how: str = "rst") -> Live:
    """Return what makes a stream break after *at* bytes, in one of `WAYS`.

    ``rst`` and ``fin`` end the connection after a whole chunk, ``mid-chunk`` within one; ``ended`` ends the body in good
    order but too early, as a proxy might; ``delimited`` does so on a body without chunks.
    """

    def steps(stream: bytes) -> list[Step]:
        kept = stream[:at]
        pieces = [chunk(piece) for piece in (kept[: at // 2], kept[at // 2 :]) if piece]
        begin = head(200, JSONL, "Transfer-Encoding: chunked")
        match how:
            case "rst":
                return [begin, *pieces, RST]
            case "fin":
                return [begin, *pieces, CLOSE]
            case "mid-chunk":
                return [begin, b"%x\r\n" % (len(kept) + 9) + kept, CLOSE]
            case "ended":
                return [begin, *pieces, LAST_CHUNK]
            case _:
                return [head(200, JSONL, "Connection: close"), kept, CLOSE]

    return steps


def too_late(clock: FakeTime) -> list[Step]:
    """Let `PATIENCE` seconds pass before the head of the answer, whose first bytes end the client's wait for the socket."""
    return [lambda request: clock.advance(PATIENCE), b"HTTP/1.1 ", UNTIL_GONE]


def whole(stream: bytes) -> list[Step]:
    """The stream as the server sends it: one line in each chunk."""
    lines = [line + b"\n" for line in stream.split(b"\n")[:-1]]
    rest = stream[sum(map(len, lines)) :]
    return [head(200, JSONL, "Transfer-Encoding: chunked"), *map(chunk, filter(None, [*lines, rest])), LAST_CHUNK]


def lines(*updates: dict[str, Any]) -> bytes:
    """Lines of the live stream, without padding."""
    return b"".join(json.dumps(update, ensure_ascii=False).encode() + b"\n" for update in updates)


def token(text: str) -> dict[str, Any]:
    return {"type": "stream", "token": text}


def final(text: str, interrupted: bool = False) -> dict[str, Any]:
    return {"type": "finalAnswer", "text": text, "interrupted": interrupted}


STARTED = {"type": "status", "status": "started"}
FINISHED = {"type": "status", "status": "finished"}
KEEP_ALIVE = {"type": "status", "status": "keepAlive"}


def log_of(*updates: dict[str, Any], end: str | None = "completed") -> str:
    """The event log of a run."""
    frames = [f"id: {n}\nevent: update\ndata: {json.dumps(update)}\n\n" for n, update in enumerate(updates, 1)]
    return "".join(frames) + (f'event: end\ndata: {{"status":"{end}"}}\n\n' if end else "")


@define
class Answer:
    """What the server does with the next message."""

    stream: bytes
    log: str | None
    stored: dict[str, Any]
    live: Live | list[Step]
    title: str | None = None
    unfinished_reads: int = 0
    """How many reads of the conversation return the answer without its end."""


@define
class Chat:
    """A conversation as it is stored."""

    id: str
    model: str
    messages: list[dict[str, Any]]
    title: str = "New Chat"
    preprompt: str = ""
    answers: dict[str, Answer] = field(factory=dict)
    newest: Answer | None = None
    updated_at: str | None = None

    @property
    def users(self) -> list[dict[str, Any]]:
        """The user messages, in order."""
        return [message for message in self.messages if message["from"] == "user"]


class ChatUI(Server):
    """The server. See the top of this file.

    Attributes:
        chats: The conversations by id.
        seen: Kind and request of all that came.
        stops: The bodies of requests to stop.
        answered: The bodies of answers to questions.
        parks: Questions end the run that asks them; their answer requires a run that continues.
        sends_conversation: Creating answers with the conversation, as servers since July 2026 do.
        has_log: Runs have an event log, and messages the id of their run (since July 2026).
        knows: Ids of the models.
    """

    def __init__(self, *, tls: bool = False) -> None:
        self.chats: dict[str, Chat] = {}
        self.seen: list[tuple[str, Recorded]] = []
        self.stops: list[Any] = []
        self.answered: list[Any] = []
        self.parks = False
        self.sends_conversation = True
        self.has_log = True
        self.knows = ["org/first", "org/second"]
        self._numbers = itertools.count(1)
        self._next: list[Answer] = []
        self._faults: dict[str, list[Script | None]] = {}
        self._always: dict[str, Script] = {}
        self._changing = threading.RLock()
        super().__init__(tls=tls)
        self.on("*", [self._route])  # type: ignore[list-item]

    # Scripts of the test

    def says(
        self,
        what: Recording | bytes,
        live: Live | list[Step] = whole,
        *,
        log: str | None = None,
        stored: dict[str, Any] | None = None,
        unfinished_reads: int = 0,
    ) -> None:
        """Answer the next message; the last one given answers all further ones."""
        if isinstance(what, Recording):
            message = json.loads(json.dumps(what.answer.raw, default=str))
            answer = Answer(what.stream, log or what.log, message, live, what.state.title, unfinished_reads)
        else:
            answer = Answer(what, log, stored or {}, live, None, unfinished_reads)
        self._next.append(answer)

    def fault(self, kind: str, *scripts: Script | None) -> None:
        """Play *scripts* for the next requests of a kind, one each; None stands for a normal response."""
        self._faults.setdefault(kind, []).extend(scripts)

    def always(self, kind: str, script: Script) -> None:
        self._always[kind] = script

    def vanish(self) -> None:
        """Refuse new connections from now on, and break those that are idle at their next request."""
        self.always("log", [RST])
        self.always("read", [RST])
        self._listener.shutdown(socket.SHUT_RDWR)

    def store(self, request: Recorded) -> None:
        """A step: store a message as a send does, without answering."""
        self._take_message(request)

    def count(self, kind: str) -> int:
        return sum(1 for seen, _ in self.seen if seen == kind)

    def of(self, kind: str) -> list[Recorded]:
        return [request for seen, request in self.seen if seen == kind]

    @property
    def chat(self) -> Chat:
        """The only conversation."""
        (chat,) = self.chats.values()
        return chat

    # Serving

    def _play(self, step: Any, sock: Any, request: Recorded) -> bool:
        if callable(step):
            step = step(request)
            if step is not None and not isinstance(step, bytes):
                return all(self._play(part, sock, request) for part in step)
            step = step or b""
        return super()._play(step, sock, request)

    def _route(self, request: Recorded) -> Iterable[Step]:
        kind, handler, chat = self._find(request)
        with self._changing:
            self.seen.append((kind, request))
            if kind == "stop":
                self.stops.append(request.json() if request.body else None)
            faults = self._faults.get(kind)
            script = faults.pop(0) if faults else self._always.get(kind)
        if script is not None:
            return [script] if isinstance(script, bytes) else script
        if handler is None:
            return [PAGE]
        if chat is not None and chat.id not in self.chats:
            return [json_answer({"message": "Conversation not found"}, 404)]
        answer = handler(request, chat) if chat is not None else handler(request)
        return [answer] if isinstance(answer, bytes) else answer

    def _find(self, request: Recorded) -> tuple[str, Any, Chat | None]:
        for method, path, kind, handler in self._routes():
            found = re.fullmatch(path, request.path)
            if found and method == request.method:
                ids = found.groups()
                chat = self.chats.get(ids[0]) or Chat(ids[0], "", []) if ids else None
                return kind, handler, chat
        return "other", None, None

    def _routes(self) -> list[tuple[str, str, str, Any]]:
        api, one = "/api/v2/conversations", r"/conversation/(\w+)"
        return [
            ("GET", "/api/v2/models", "models", self._models),
            ("GET", "/api/v2/feature-flags", "features", self._features),
            ("POST", "/conversation", "create", self._create),
            ("GET", rf"{api}/(\w+)", "read", self._read),
            ("POST", one, "send", self._send),
            ("GET", rf"{one}/stream", "log", self._log if self.has_log else None),
            ("POST", rf"{one}/stop-generating", "stop", lambda request, chat: plain(b"")),
            ("POST", rf"{one}/elicitation", "answer", self._answer),
            ("GET", api, "list", self._list),
            ("DELETE", rf"{api}/(\w+)", "delete", self._delete),
            ("DELETE", api, "delete_all", self._delete_all),
            ("PATCH", rf"{api}/(\w+)", "rename", self._rename),
        ]

    def _models(self, request: Recorded) -> bytes:
        return json_answer({"json": [{"id": name, "multimodal": index == 1} for index, name in enumerate(self.knows)]})

    def _features(self, request: Recorded) -> bytes:
        return json_answer({"json": {"loginEnabled": False, "transcriptionEnabled": False}})

    def _create(self, request: Recorded) -> bytes:
        data = request.json()
        if data["model"] not in self.knows:
            return json_answer({"message": "Invalid request"}, 400)
        root = {
            "id": str(uuid.uuid4()),
            "from": "system",
            "content": data.get("preprompt", ""),
            "ancestors": [],
            "children": [],
        }
        # Not the number of conversations: one may have been deleted meanwhile.
        chat = Chat(f"{next(self._numbers):024x}", data["model"], [root], preprompt=data.get("preprompt", ""))
        self.chats[chat.id] = chat
        created: dict[str, Any] = {"conversationId": chat.id}
        if self.sends_conversation:
            created["conversation"] = json.dumps({"json": self._document(chat)})
        return json_answer(created)

    def _document(self, chat: Chat) -> dict[str, Any]:
        messages = [self._message(chat, message) for message in chat.messages]
        return {"id": chat.id, "title": chat.title, "model": chat.model, "preprompt": chat.preprompt, "messages": messages,
                "rootMessageId": chat.messages[0]["id"] if chat.messages else None, "shared": False}  # fmt: skip

    def _message(self, chat: Chat, message: dict[str, Any]) -> dict[str, Any]:
        answer = chat.answers.get(message["id"])
        if answer is not None and answer.unfinished_reads > 0:
            answer.unfinished_reads -= 1
            half = message["content"][: len(message["content"]) // 2]
            return {**message, "content": half, "updates": message.get("updates", [])[:1], "interrupted": None}
        return message

    def _read(self, request: Recorded, chat: Chat) -> bytes:
        return json_answer({"json": self._document(chat)})

    def _take_message(self, request: Recorded) -> Answer:
        with self._changing:
            chat = self.chats[request.path.split("/")[2]]
            data = form_data(request)
            answer = self._next.pop(0) if len(self._next) > 1 else self._next[0]
            if answer in chat.answers.values():  # the last one again
                answer = Answer(answer.stream, answer.log, answer.stored, answer.live, answer.title)
            text = data.get("inputs", "").replace("\r\n", "\n")
            by_id = {message["id"]: message for message in chat.messages}
            parent = by_id[data["id"]]
            if "resumeElicitationId" in data:  # continues the same message
                parent.update(
                    {key: value for key, value in answer.stored.items() if key in ("content", "updates", "interrupted")}
                )
                parent["generationId"] = data["generationId"]
                chat.answers[parent["id"]] = chat.newest = answer
                return answer
            if not data.get("is_retry"):
                parent = self._add(chat, parent, {"from": "user", "content": text, "files": []})
            elif parent["from"] == "assistant":
                parent = by_id[parent["ancestors"][-1]]
            else:
                parent = self._add(chat, by_id[parent["ancestors"][-1]], {"from": "user", "content": text})
            stored = {key: value for key, value in answer.stored.items() if key not in ("id", "ancestors", "children")}
            stored.pop("generationId", None)
            message = self._add(chat, parent, {"from": "assistant", "content": "", **stored})
            if self.has_log:
                message["generationId"] = data["generationId"]
            chat.answers[message["id"]] = chat.newest = answer
            chat.title = answer.title or chat.title
            return answer

    def _add(self, chat: Chat, parent: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
        message = {
            **message,
            "id": str(uuid.uuid4()),
            "ancestors": [*parent["ancestors"], parent["id"]],
            "children": [],
        }
        parent["children"].append(message["id"])
        chat.messages.append(message)
        return message

    def _send(self, request: Recorded, chat: Chat) -> Iterable[Step]:
        answer = self._take_message(request)
        return answer.live(answer.stream) if callable(answer.live) else answer.live

    def _log(self, request: Recorded, chat: Chat) -> Iterable[Step]:
        generation = request.query.get("generationId")
        by_run = {
            message.get("generationId"): chat.answers[message["id"]]
            for message in chat.messages
            if message["id"] in chat.answers
        }
        answer = by_run.get(generation) if generation else chat.newest
        last = int(request.headers.get("last-event-id") or request.query.get("fromSeq") or 0)
        log = answer.log if answer is not None and answer.log is not None else log_of(end="gone")
        return served_log(log, last)

    def _answer(self, request: Recorded, chat: Chat) -> bytes:
        self.answered.append(request.json())
        return json_answer({"ok": True, "resume": self.parks})

    def _list(self, request: Recorded) -> bytes:
        page = int(request.query.get("p", 0))
        entries = [{"id": chat.id, "title": chat.title, "model": chat.model} for chat in self.chats.values()]
        for entry, chat in zip(entries, self.chats.values(), strict=True):
            if chat.updated_at is not None:
                entry["updatedAt"] = chat.updated_at
        found = entries[30 * page : 30 * page + 30]
        return json_answer({"json": {"conversations": found, "hasMore": len(entries) > 30 * page + 30}})

    def _delete(self, request: Recorded, chat: Chat) -> bytes:
        del self.chats[chat.id]
        return json_answer({"json": {"success": True}})

    def _delete_all(self, request: Recorded) -> bytes:
        count = len(self.chats)
        self.chats.clear()
        return json_answer({"json": count})

    def _rename(self, request: Recorded, chat: Chat) -> bytes:
        data = request.json()
        chat.title, chat.model = data.get("title", chat.title), data.get("model", chat.model)
        return json_answer({"json": {"success": True}})


def served_log(log: str, last: int = 0, *steps_after: Step) -> Iterator[Step]:
    """Serve an event log from the event after number *last* on, one frame in each chunk, with a heartbeat before each."""
    yield head(200, SSE, "Transfer-Encoding: chunked")
    for frame in log.split("\n\n")[:-1]:
        number = re.match(r"id: (\d+)", frame)
        if number is None or int(number[1]) > last:
            yield chunk(b": heartbeat\n\n" + frame.encode() + b"\n\n")
    yield from steps_after or (LAST_CHUNK,)


def broken_logs(log: str, *cuts: int, how: Step = RST) -> list[Script]:
    """Logs that break off after so many bytes each."""

    def script(at: int) -> Script:
        def steps(request: Recorded) -> Iterator[Step]:
            body = b"".join(_unchunked(step) for step in served_log(log, int(request.query.get("fromSeq", 0))))
            yield head(200, SSE, "Transfer-Encoding: chunked")
            if body[:at]:
                yield chunk(body[:at])
            yield how

        return [steps]  # type: ignore[list-item]

    return [script(at) for at in cuts]


def _unchunked(step: Step) -> bytes:
    if not isinstance(step, bytes) or step.startswith(b"HTTP/") or step == LAST_CHUNK:
        return b""
    return step.partition(b"\r\n")[2][:-2]


def wait_until(holds: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait until something that another thread does has happened."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def form_data(request: Recorded) -> dict[str, Any]:
    """Return the JSON of the form's ``data`` field."""
    boundary = request.headers["content-type"].partition("boundary=")[2]
    for part in request.body.split(f"--{boundary}".encode()):
        fields, _, content = part.partition(b"\r\n\r\n")
        if b'name="data"' in fields:
            assert b"filename" not in fields
            data: dict[str, Any] = json.loads(content)
            return data
    raise AssertionError("the form has no field called data")
