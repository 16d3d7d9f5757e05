"""Pictures of examples/django_chat in Chromium, answered by a scripted model and by a scripted chat-ui.

    $ python -m docs.images.django_chat          # in the folder of the project; writes docs/images/django-chat-*.png
"""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path
from typing import Any

from hfclient.local import LocalServer
from tests import services
from tests.chat.replay import JSONL, STARTED, ChatUI, chunk, head, lines, token
from tests.deploy.test_django_chat import Site, User
from tests.local.upstream import ScriptedUpstream, Think
from tests.server import Recorded

ANSWER = '''The notes describe three ways to count, and ask for a program:

```python
def fibonacci(count: int) -> list[int]:
    """Return the first numbers of the sequence, beginning with 0 and 1."""
    numbers, a, b = [], 0, 1
    for _ in range(count):
        numbers.append(a)
        a, b = b, a + b
    return numbers
```

| version | time | memory |
|:--------|:----:|-------:|
| recursive | `O(2^n)` | `O(n)` |
| iterative | `O(n)` | `O(1)` |
| matrix | `O(log n)` | `O(1)` |

The *iterative* one is what most programs use.'''
FIELDS = [
    {"kind": "number", "name": "seats", "title": "Seats", "required": True, "integer": True, "default": 2},
    {"kind": "select", "name": "class", "title": "Class", "required": True, "options": [{"value": "2", "label": "Second"}]},
    {"kind": "boolean", "name": "quiet", "title": "In the quiet car", "default": True},
]
ASKS = {
    "type": "elicitation", "subtype": "request", "toolUuid": "t", "expiresAt": 1795235814881,
    "request": {"elicitationId": "6cff0873-9b03-4a86-9147-c142d6aabb6f", "server": "trains", "mode": "form",
                "message": "Which seats do you want?", "fields": FIELDS},
}  # fmt: skip
CALL = {"type": "tool", "subtype": "call", "uuid": "t", "call": {"name": "book_train", "parameters": {}}}


def take(user: User, name: str) -> None:
    """Write a picture of the user's page."""
    user.page.mouse.move(1, 1)
    user.page.wait_for_timeout(1000)
    user.page.screenshot(path=Path(__file__).with_name(f"django-chat-{name}.png"))


def phone(user: User, colours: str) -> None:
    """Give the user's page the size of a phone."""
    user.page.set_viewport_size({"width": 390, "height": 844})
    user.page.emulate_media(color_scheme=colours)


def answers(browser: Any) -> None:
    """Take the pictures of an answer, and of one that is being written."""
    gate = threading.Event()
    with ScriptedUpstream() as upstream, LocalServer(upstream=upstream.url) as server, tempfile.TemporaryDirectory() as folder:
        pieces = [ANSWER[i : i + 5] for i in range(0, len(ANSWER), 5)]
        with Site("gthread", server.url, Path(folder)) as site:
            user = User(browser, site, "ann")
            for prompt in ("A haiku about rain", "Plan a trip to Rome"):
                user.ask(prompt)
                user.page.wait_for_selector("[data-retry]")
                user.page.goto(site.url)
            user.wait_for_end()
            user.page.set_input_files("[name=files]", [{"name": "notes.txt", "mimeType": "text/plain", "buffer": b"Count"}])
            upstream.scripts = _Any([Think("The notes ask for a program.\n"), *pieces])
            user.page.set_viewport_size({"width": 1280, "height": 900})
            user.ask("What do the notes say? Write the program.")
            user.page.wait_for_selector("[data-retry]")
            user.page.click("[data-retry]")
            user.page.wait_for_selector("text=2/2")
            take(user, "answer")
            upstream.scripts = _Any([*pieces[:62], gate])
            user.page.goto(site.url)
            phone(user, "dark")
            user.ask("Fibonacci numbers, please")
            user.wait_for_text("append")
            take(user, "phone")
            gate.set()
            user.close()


class _Any(dict[str, list[Any]]):
    """One script for every prompt."""

    def __init__(self, script: list[Any]) -> None:
        self._script = script

    def get(self, key: object, default: object = None) -> list[Any]:  # type: ignore[override]
        return self._script


def question(browser: Any) -> None:
    """Take the picture of a question of a tool."""
    gate = threading.Event()

    def steps(request: Recorded) -> Any:
        yield head(200, JSONL, "Transfer-Encoding: chunked")
        yield chunk(lines(STARTED, token("I found a train at 9:12. "), CALL, ASKS))
        yield gate

    with ChatUI() as ui, tempfile.TemporaryDirectory() as folder:
        ui.says(lines(STARTED), [steps])  # type: ignore[list-item]
        with Site("gthread", ui.url, Path(folder), CHAT_MCP="trains") as site:
            user = User(browser, site, "ann")
            phone(user, "light")
            user.ask("Book a train to Rome")
            user.page.wait_for_selector(".question")
            take(user, "question")
            gate.set()
            user.close()


def main() -> None:
    """Write the pictures."""
    os.environ["HFCLIENT_HOME"] = tempfile.mkdtemp()
    with services.browser() as browser:
        answers(browser)
        question(browser)


if __name__ == "__main__":
    main()
