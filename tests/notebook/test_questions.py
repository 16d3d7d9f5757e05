"""Questions of tools in a live cell, in a real kernel whose front end answers requests for input."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chat.replay import JSONL, STARTED, ChatUI, final, lines, token
from tests.notebook.kernel import Kernel
from tests.server import LAST_CHUNK, chunk, head

ID = "6cff0873-9b03-4a86-9147-c142d6aabb6f"
FIELDS = [
    {"kind": "number", "name": "seats", "required": True, "integer": True},
    {
        "kind": "select",
        "name": "row",
        "required": True,
        "options": [{"value": "a", "label": "Front"}, {"value": "b", "label": "Back\x1b[2J"}],
    },
    {"kind": "string", "name": "token", "title": "Card token", "required": False},
    {"kind": "string", "name": "note", "required": False},
]


def asks(ui: ChatUI, **request: Any) -> None:
    """Answer the next message with a question, and with a text after its reply."""
    given = {"elicitationId": ID, "server": "booking", "mode": "form", "message": "How many seats?", "fields": FIELDS, **request}
    question = {"type": "elicitation", "subtype": "request", "request": given, "toolUuid": "t", "expiresAt": 1795235814881}

    def steps(request: Any) -> Any:
        yield head(200, JSONL, "Transfer-Encoding: chunked")
        yield chunk(lines(STARTED, question))
        while not ui.answered:
            yield 0.02
        yield chunk(lines(token("Booked."), final("Booked.")))
        yield LAST_CHUNK

    ui.says(b"", [steps])


def answered(ui: ChatUI) -> Any:
    """The reply that the server got."""
    return ui.answered[-1]


@pytest.mark.parametrize("code", ["client.chat('Book')", "%load_ext hfclient\n%chat --new Book"])
def test_a_form(ui: ChatUI, kernel: Kernel, code: str) -> None:
    """The cell asks for each field, again after an invalid value, hides what may be a secret, and continues with the answer."""
    asks(ui)
    cell = kernel.run(code, answers=["many", "2", "2", "s3cret", ""])
    assert cell.status == "ok"
    assert [prompt.strip() for prompt, _ in cell.asked] == ["seats:", "seats:", "row:", "Card token (hidden):", "note:"]
    assert [hidden for _, hidden in cell.asked] == [False, False, False, True, False]
    assert "booking asks: How many seats?" in cell.text
    assert "this is not a number" in cell.text
    assert "\x1b[2J" not in cell.text
    assert "s3cret" not in cell.text + str(cell.shown)
    assert answered(ui)["content"] == {"seats": 2, "row": "b", "token": "s3cret"}
    assert cell.markdown.startswith("Booked.")


def test_a_page(ui: ChatUI, kernel: Kernel) -> None:
    """A page is shown and not opened; only a yes accepts."""
    asks(ui, mode="url", url="https://pay.example/1", fields=[])
    cell = kernel.run("client.chat('Book')", answers=[""])
    assert "https://pay.example/1" in cell.text
    assert answered(ui)["action"] == "decline"


def test_no_input(ui: ChatUI, kernel: Kernel) -> None:
    """A front end without input, as a scheduler's, declines with a note and does not wait."""
    asks(ui)
    cell = kernel.run("client.chat('Book')")
    assert cell.status == "ok"
    assert "without input it is declined (on_elicitation= can answer it)" in cell.text
    assert answered(ui)["action"] == "decline"


def test_a_function_of_the_caller(ui: ChatUI, kernel: Kernel) -> None:
    """A function that was given answers, and the cell asks nothing."""
    asks(ui)
    cell = kernel.run("client.chat('Book', on_elicitation=lambda question: {'seats': 3, 'row': 'a'})", answers=[])
    assert (cell.status, cell.asked) == ("ok", [])
    assert answered(ui)["content"] == {"seats": 3, "row": "a"}


def test_an_interrupt(ui: ChatUI, kernel: Kernel) -> None:
    """An interrupt instead of an answer ends the cell; the next one works."""
    asks(ui)
    cell = kernel.run("client.chat('Book')", answers=[None])
    assert (cell.status, cell.error) == ("error", "KeyboardInterrupt")
    assert ui.answered == []
    assert kernel.run("assert client.last.elicitations").status == "ok"
