"""A client of the embedded server without hfclient: plain requests, and the field names of the protocol."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import requests

from hfclient.chat.wire import superjson
from tests.server import PATIENCE


class Caller:
    """One anonymous session."""

    def __init__(self, url: str, cookie: str | None = None) -> None:
        self.url = url
        self.cookie = cookie or str(uuid.uuid4())
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.headers["Cookie"] = f"hf-chat={self.cookie}"
        self._responses: list[requests.Response] = []

    def close(self) -> None:
        for response in self._responses:
            response.close()
        self.http.close()

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        options.setdefault("timeout", PATIENCE)
        options.setdefault("allow_redirects", False)
        response = self.http.request(method, self.url + path, **options)
        self._responses.append(response)
        return response

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        return self.ask("POST", path, **options)

    def value(self, path: str) -> Any:
        """Return a superjson answer, decoded."""
        response = self.get(path)
        assert response.status_code == 200, response.text
        return superjson.loads(response.content)

    # Conversations

    def create(self, model: str = "test/model", **fields: Any) -> str:
        response = self.post("/conversation", json={"model": model, **fields})
        assert response.status_code == 200, response.text
        return response.json()["conversationId"]

    def read(self, conversation: str) -> dict[str, Any]:
        return self.value(f"/api/v2/conversations/{conversation}")

    def messages(self, conversation: str) -> list[dict[str, Any]]:
        return self.read(conversation)["messages"]

    def leaf(self, conversation: str) -> str:
        return self.messages(conversation)[-1]["id"]

    def send(self, conversation: str, inputs: str | None = None, *, files: Any = (), **data: Any) -> requests.Response:
        """Send a message below the newest one unless ``id`` is given; the body of the response is not read yet."""
        if "id" not in data:
            data["id"] = self.leaf(conversation)
        if inputs is not None:
            data["inputs"] = inputs
        parts = [("data", (None, json.dumps(data))), *(("files", part) for part in files)]
        headers = {"Origin": self.url}
        return self.post(f"/conversation/{conversation}", files=parts, headers=headers, stream=True)

    def turn(self, conversation: str, inputs: str | None = None, **options: Any) -> list[dict[str, Any]]:
        """Send a message and return its events without keep-alives."""
        response = self.send(conversation, inputs, **options)
        assert response.status_code == 200, response.text
        return [event for event in events(response) if event.get("status") != "keepAlive"]

    def log(self, conversation: str, query: str = "", **options: Any) -> list[tuple[str | None, str, dict[str, Any]]]:
        """Return the frames of the resume log: id, name, data."""
        return frames(self.get(f"/conversation/{conversation}/stream{query}", **options).text)


def events(response: requests.Response) -> Iterator[dict[str, Any]]:
    """Yield the events of a live stream as they arrive."""
    rest = b""
    while data := response.raw.read1(65536):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line.strip():
                yield json.loads(line)
    assert not rest.strip(), "the last line has no end"


def frames(text: str) -> list[tuple[str | None, str, dict[str, Any]]]:
    """Return the server-sent events in *text*; comments are left out."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields.get("id"), fields["event"], json.loads(fields["data"])))
    return found


def text_of(received: list[dict[str, Any]]) -> str:
    """Return the text of all tokens, without their padding."""
    return "".join(event["token"].replace("\0", "") for event in received if event["type"] == "stream")


def kinds(received: list[dict[str, Any]]) -> list[str]:
    """Return the types of events, or the status of status events."""
    return [event["type"] if event["type"] != "status" else event["status"] for event in received]
