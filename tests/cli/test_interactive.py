"""``hfclient chat`` without words on a terminal: a conversation, behind a real pseudo-terminal."""

from __future__ import annotations

import itertools
import json
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pty")
pytest.importorskip("prompt_toolkit")
from tests.chat.replay import FINISHED, JSONL, STARTED, ChatUI, final, form_data, lines, log_of, token, wait_until
from tests.cli.screens import TerminalScreen
from tests.server import LAST_CHUNK, PATIENCE, RST, chunk, head, json_answer, plain

OPEN = [head(200, JSONL, "Transfer-Encoding: chunked"), chunk(lines(STARTED, token("Half an answer")))]
"""An answer that has begun, without an end."""


def whole(text: str, *more: dict[str, Any]) -> bytes:
    return lines(STARTED, *more, token(text), final(text), FINISHED)


def says(ui: ChatUI, text: str, *more: dict[str, Any], **options: Any) -> None:
    ui.says(whole(text, *more), stored={"content": text}, **options)


def unending(*steps: Any) -> Any:
    return [*OPEN, *steps, PATIENCE * 2]


@pytest.fixture
def ui() -> Iterator[ChatUI]:
    with ChatUI() as server:
        yield server


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "settings"


@pytest.fixture
def talk(ui: ChatUI, home: Path, tmp_path: Path) -> Iterator[Any]:
    """Start a conversation in a terminal, and wait for its first prompt."""
    opened: list[TerminalScreen] = []

    def begin(*arguments: str, columns: int = 70, rows: int = 24, **env: str) -> TerminalScreen:
        env = {"HFCLIENT_HOME": str(home), "HOME": str(tmp_path), **env}
        screen = TerminalScreen("chat", "--url", ui.url, *arguments, columns=columns, rows=rows, **env)
        opened.append(screen)
        screen.wait_until(lambda: prompt_of(screen) is not None)
        return screen

    yield begin
    for screen in opened:
        screen.close()


def prompt_of(screen: TerminalScreen) -> str | None:
    """What is in the line of the prompt, or None if there is no prompt."""
    last = screen.lines[-1] if screen.lines else ""
    return last.partition("> ")[2] if last.startswith(">") or "> " in last or last.endswith(">") else None


def enter(screen: TerminalScreen, text: str) -> None:
    """Type a line, and send it once it is in the line."""
    screen.type(text)
    screen.wait_until(lambda: text.split("\n")[-1][-10:] in screen.text)
    screen.type("\r")


def at_prompt(screen: TerminalScreen, *texts: str) -> str:
    """Wait for the texts and for an empty prompt below them."""
    screen.wait_until(lambda: all(text in screen.text for text in texts) and screen.lines[-1].endswith(">"))
    return screen.text


def history(home: Path) -> list[str]:
    text = (home / "chat-history").read_text("utf-8") if (home / "chat-history").exists() else ""
    return [line[1:] for line in text.split("\n") if line.startswith("+")]


def test_a_conversation(ui: ChatUI, talk: Any, home: Path) -> None:
    """Two messages go into one conversation; Ctrl-D exits with 0; the prompts are saved for the user alone."""
    says(ui, "I am **fine**.")
    says(ui, "Bye.")
    screen = talk()
    enter(screen, "How are you?")
    at_prompt(screen, "I am fine.")
    enter(screen, "See you")
    at_prompt(screen, "Bye.")
    screen.type("\x04")
    assert screen.finish() == 0
    assert [message["content"] for message in ui.chat.users] == ["How are you?", "See you"]
    assert history(home) == ["How are you?", "See you"]
    assert stat.S_IMODE((home / "chat-history").stat().st_mode) == 0o600


def test_the_first_prompt_needs_no_network(home: Path) -> None:
    """A server that does not answer does not delay the first prompt."""
    with ChatUI() as ui:
        ui.always("models", [PATIENCE * 2])
        screen = TerminalScreen("chat", "--url", ui.url, HFCLIENT_HOME=str(home))
        try:
            screen.wait_until(lambda: prompt_of(screen) is not None)
            screen.type("\x04")
            assert screen.finish() == 0
        finally:
            screen.close()


def test_ctrl_c_stops_the_answer(ui: ChatUI, talk: Any) -> None:
    """Ctrl-C stops the answer on the server, the text so far stays, and the conversation continues."""
    ui.says(whole(""), live=unending(), stored={"content": "Half an answer"})
    says(ui, "Again.")
    screen = talk()
    enter(screen, "Hi")
    screen.wait_for("Half an answer")
    screen.type("\x03")
    at_prompt(screen, "Half an answer", "[stopped]")
    assert ui.count("stop") == 1
    ui.chat.messages[-1].update(interrupted=True)
    enter(screen, "Once more")
    at_prompt(screen, "Again.")
    assert "^C" not in screen.text
    assert len(ui.chat.users) == 2


def test_two_ctrl_c_while_the_server_is_slow_to_stop(ui: ChatUI, talk: Any) -> None:
    """A second Ctrl-C does not wait for the server, and does not end the program."""
    ui.says(whole(""), live=unending())
    ui.always("stop", [PATIENCE * 2])
    screen = talk()
    enter(screen, "Hi")
    screen.wait_for("Half an answer")
    screen.type("\x03")
    wait_until(lambda: ui.count("stop") == 1)
    screen.type("\x03")
    at_prompt(screen, "[stopped]")
    assert screen.process.poll() is None


def test_ctrl_c_before_the_answer(ui: ChatUI, talk: Any) -> None:
    """Ctrl-C while the message is being sent brings the prompt back into the line."""
    ui.always("send", [PATIENCE * 2])
    screen = talk()
    enter(screen, "My question")
    screen.wait_until(lambda: ui.count("send") == 1)
    screen.type("\x03")
    screen.wait_until(lambda: screen.lines[-1] == "> My question")
    assert screen.process.poll() is None


def test_ctrl_c_at_the_prompt(ui: ChatUI, talk: Any) -> None:
    """Ctrl-C empties the line; in an empty line the second one exits."""
    screen = talk()
    screen.type("some text")
    screen.wait_until(lambda: prompt_of(screen) == "some text")
    screen.type("\x03")
    screen.wait_until(lambda: not prompt_of(screen))
    screen.type("\x03")
    at_prompt(screen, "Ctrl-C again")
    screen.process.send_signal(signal.SIGINT)
    assert screen.finish() == 0
    assert ui.count("create") == 0


def test_ctrl_c_during_a_command(ui: ChatUI, talk: Any) -> None:
    """Ctrl-C ends a command that waits for the server, and the conversation continues."""
    ui.always("models", [PATIENCE * 2])
    screen = talk()
    enter(screen, "/model")
    screen.wait_until(lambda: ui.count("models") > 1)
    screen.type("\x03")
    at_prompt(screen, "[stopped]")
    assert screen.process.poll() is None


def test_a_closed_terminal_stops_the_generation(ui: ChatUI, talk: Any) -> None:
    """When the window is closed, the generation is stopped and the process ends."""
    ui.says(whole(""), live=unending())
    screen = talk()
    enter(screen, "Hi")
    screen.wait_for("Half an answer")
    screen.hang_up()
    assert screen.process.wait(PATIENCE) != 0
    wait_until(lambda: ui.count("stop") == 1)


def test_several_lines(ui: ChatUI, talk: Any) -> None:
    """A paste with Windows line ends is one prompt; Alt-Enter, Ctrl-J and a backslash begin a new line."""
    says(ui, "Yes.")
    screen = talk()
    screen.paste("one\r\ntwo\rthree")
    screen.wait_until(lambda: "three" in screen.text)
    screen.type("\x1b\rfour\nfive\\\rsix")
    screen.wait_until(lambda: "six" in screen.text)
    screen.type("\r")
    at_prompt(screen, "Yes.")
    assert [message["content"] for message in ui.chat.users] == ["one\ntwo\nthree\nfour\nfive\nsix"]


def test_what_is_typed_during_an_answer_is_not_lost(ui: ChatUI, talk: Any) -> None:
    """Text typed while an answer is written does not disturb it, and is in the next line, which is not sent by itself."""
    def steps(request: Any) -> Any:
        yield OPEN[0]
        yield OPEN[1]
        while not go:
            yield 0.02
        yield chunk(lines(token(" and the rest."), final("Half an answer and the rest."), FINISHED))
        yield LAST_CHUNK

    go: list[bool] = []
    ui.says(whole(""), live=[steps])
    screen = talk()
    enter(screen, "Hi")
    screen.wait_for("Half an answer")
    screen.type("typed ahead\r")
    screen.read(0.3)
    assert "typed ahead" not in screen.text
    go.append(True)
    screen.wait_for("Half an answer and the rest.", "typed ahead")
    assert ui.count("send") == 1


def test_private_prompts(ui: ChatUI, talk: Any, home: Path) -> None:
    """A prompt that begins with a space, or has a token, is not saved."""
    says(ui, "Ok.")
    screen = talk()
    secret = "hf_" + "aB3dE5gH7jK9" * 3
    for number, text in enumerate((" a secret", f"my token is {secret}", "open")):
        enter(screen, text)
        screen.wait_until(lambda count=number + 1: screen.text.count("Ok.") == count and screen.lines[-1].endswith(">"))
    assert history(home) == ["open"]
    assert len(ui.chat.users) == 3


def test_without_history(ui: ChatUI, talk: Any, home: Path) -> None:
    """With --no-history no prompt is saved, but the arrow keys work."""
    says(ui, "Ok.")
    screen = talk("--no-history")
    enter(screen, "first prompt")
    at_prompt(screen, "Ok.")
    screen.type("\x1b[A")
    screen.wait_until(lambda: prompt_of(screen) == "first prompt")
    assert not (home / "chat-history").exists()


def test_history_of_an_earlier_session(ui: ChatUI, talk: Any, home: Path) -> None:
    """The arrow keys bring back prompts of earlier sessions; the file of others becomes private."""
    home.mkdir()
    (home / "chat-history").write_text("\n# 2026-11-28\n+an old prompt\n")
    (home / "chat-history").chmod(0o644)
    screen = talk()
    screen.type("\x1b[A")
    screen.wait_until(lambda: prompt_of(screen) == "an old prompt")
    assert stat.S_IMODE((home / "chat-history").stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["busy", "limit", "login", "away"])
def test_an_error_loses_no_prompt(ui: ChatUI, talk: Any, kind: str) -> None:
    """A refused message is one line of error, the prompt comes back into the line, and can be sent again."""
    says(ui, "Now it works.")
    match kind:
        case "limit":
            ui.fault("send", json_answer({"message": "You are sending too many messages"}, 429, "Retry-After: 7"))
        case "login":
            ui.fault("send", json_answer({"message": "Login required"}, 401))
        case "busy":
            ui.fault("send", json_answer({"message": "Conversation is busy"}, 409))
        case _:
            ui.fault("create", [RST])
    screen = talk("--timeout", "20")
    enter(screen, "My question")
    screen.wait_until(lambda: screen.lines[-1] == "> My question" and "hfclient: " in screen.text)
    if kind == "limit":
        assert "7 s" in screen.text
    if kind == "login":
        assert "hfclient login" in screen.text
    screen.type("\r")
    at_prompt(screen, "Now it works.")


def test_an_error_in_the_answer(ui: ChatUI, talk: Any) -> None:
    """After an error in mid-answer the text so far stays, and /retry asks again."""
    failure = {"type": "status", "status": "error", "message": "402 pay\x1b[2J up", "statusCode": 402}
    ui.says(lines(STARTED, token("Half"), failure), stored={"content": "Half"})
    says(ui, "Whole.")
    screen = talk()
    enter(screen, "Hi")
    at_prompt(screen, "Half", "the generation failed: 402 pay", "/retry")
    enter(screen, "/retry")
    at_prompt(screen, "Whole.")
    assert len(ui.chat.users) == 1


def test_a_resumed_answer_says_so(ui: ChatUI, talk: Any) -> None:
    """An answer whose connection breaks is resumed, with a note."""
    text = "Half an answer and the rest."
    updates = [STARTED, token("Half an answer"), token(" and the rest."), final(text), FINISHED]
    ui.says(whole(text), live=[*OPEN, RST], log=log_of(*updates), stored={"content": text})
    screen = talk()
    enter(screen, "Hi")
    at_prompt(screen, "resumed", "the rest.")
    assert screen.text.count("Half an answer") == 1


def test_commands(ui: ChatUI, talk: Any, tmp_path: Path) -> None:
    """/help, /model, /system, /new, /save and /file do what the help says."""
    says(ui, "Ok.")
    screen = talk(columns=150, rows=50)
    enter(screen, "/help")
    at_prompt(screen, "/branches", "Ctrl-X Ctrl-E")
    enter(screen, "/model")
    at_prompt(screen, "* org/first", "org/second")
    enter(screen, "/model org/second")
    at_prompt(screen, "org/second answers")
    enter(screen, "/system Be terse.")
    at_prompt(screen)
    (tmp_path / "a note.txt").write_text("remember")
    enter(screen, f"/file {tmp_path}/a note.txt")
    screen.wait_until(lambda: screen.lines[-1] == "[a note.txt] >")
    enter(screen, "Hi")
    at_prompt(screen, "Ok.")
    created = next(request for kind, request in ui.seen if kind == "create")
    assert created.json() == {"model": "org/second", "preprompt": "Be terse."}
    assert b'filename="base64;a note.txt"' in ui.of("send")[0].body
    enter(screen, f"/save {tmp_path}/chat.json")
    at_prompt(screen, "Saved as")
    assert json.loads((tmp_path / "chat.json").read_text())
    enter(screen, f"/save {tmp_path}/chat.json")
    screen.wait_for("[y/N]")
    screen.type("\r")
    at_prompt(screen)
    enter(screen, "/new")
    at_prompt(screen, "A new conversation")
    enter(screen, "Hi again")
    screen.wait_until(lambda: screen.text.count("Ok.") == 2 and screen.lines[-1].endswith(">"))
    assert len(ui.chats) == 2
    enter(screen, "/exit")
    assert screen.finish() == 0


def test_errors_of_commands(ui: ChatUI, talk: Any) -> None:
    """A wrong argument is one line with the remedy, and the loop continues."""
    screen = talk()
    for line, message in (
        ("/model org/frist", "org/first"),
        ("/file /no/such/file", "/no/such/file"),
        ("/retry", "hfclient: "),
        ("/edit", "no prompt"),
        ("/branches", "no messages"),
        ("/share", "no messages"),
        ("/save", "hfclient: "),
    ):
        enter(screen, line)
        at_prompt(screen, message)
    assert screen.process.poll() is None


def test_edit_and_branches(ui: ChatUI, talk: Any) -> None:
    """/edit sends the last prompt in other words as a branch; /branches shows both and chooses one."""
    says(ui, "Blue.")
    says(ui, "Green.")
    screen = talk()
    enter(screen, "Colour of the sky?")
    at_prompt(screen, "Blue.")
    enter(screen, "/edit")
    screen.wait_until(lambda: screen.lines[-1] == "edit> Colour of the sky?")
    screen.type("\x7f of Mars?")
    screen.wait_until(lambda: screen.lines[-1] == "edit> Colour of the sky of Mars?")
    screen.type("\r")
    at_prompt(screen, "Green.")
    assert [message["content"] for message in ui.chat.users] == ["Colour of the sky?", "Colour of the sky of Mars?"]
    enter(screen, "/edit")
    screen.wait_until(lambda: screen.lines[-1] == "edit> Colour of the sky of Mars?")
    screen.type("\x03")
    at_prompt(screen)
    screen.wait_until(lambda: screen.lines[-1] == ">")
    enter(screen, "/branches")
    screen.wait_for("Blue.", "[1]", "[2]", "Branch (1 to 2")
    enter(screen, "1")
    screen.wait_until(lambda: screen.text.count("Blue.") >= 3 and screen.lines[-1].endswith(">"))
    enter(screen, "And at night?")
    screen.wait_until(lambda: len(ui.chat.users) == 3)
    answers = {message["id"]: message for message in ui.chat.messages}
    assert answers[ui.chat.users[-1]["ancestors"][-1]]["content"] == "Blue."


def test_a_slash_that_is_not_a_command(ui: ChatUI, talk: Any) -> None:
    """A text that begins like a command is not lost: it comes back into the line, and Enter sends it."""
    says(ui, "A file.")
    screen = talk()
    enter(screen, "/etc/nothing what is this")
    screen.wait_until(lambda: "is not a command" in screen.text and screen.lines[-1] == "> /etc/nothing what is this")
    screen.type("\r")
    at_prompt(screen, "A file.")
    enter(screen, "/modle x")
    screen.wait_for("did you mean /model?")


def test_two_commands_in_one_input(talk: Any) -> None:
    """A command on two lines, as after typing during an answer, is not called unknown; Enter sends the text."""
    screen = talk()
    enter(screen, "/retry\\")
    enter(screen, "/help")
    screen.wait_for("/retry and its argument are one line, and these are several.")
    assert "did you mean" not in screen.text


def test_dropped_files(ui: ChatUI, talk: Any, tmp_path: Path) -> None:
    """The quoted path of a dropped file is offered as an attachment."""
    path = tmp_path / "my cat.txt"
    path.write_text("meow")
    says(ui, "A cat.")
    screen = talk(columns=150)
    screen.paste(f"'{path}' ")
    screen.wait_until(lambda: "my cat.txt'" in screen.text)
    screen.type("\r")
    screen.wait_for("Attach my cat.txt?")
    screen.type("\r")
    screen.wait_until(lambda: screen.lines[-1] == "[my cat.txt] >")
    enter(screen, "What is it?")
    at_prompt(screen, "A cat.")
    assert b'filename="base64;my cat.txt"' in ui.of("send")[0].body
    assert screen.lines[-1] == ">"


def test_completion(ui: ChatUI, talk: Any, tmp_path: Path) -> None:
    """Tab completes commands, models and paths."""
    screen = talk(columns=150)
    screen.type("/mo\t")
    screen.wait_until(lambda: prompt_of(screen) == "/model")
    screen.type(" sec")

    while "/model org/second" not in screen.text:  # before the names have come, nothing is offered
        screen.type("\t")
        screen.read(0.2)
    screen.type("\x03")
    (tmp_path / "unique-name.txt").write_text("x")
    screen.type(f"/file {tmp_path}/uniq\t")
    screen.wait_for("unique-name.txt")


def test_the_editor(ui: ChatUI, talk: Any, tmp_path: Path) -> None:
    """Ctrl-X Ctrl-E opens $VISUAL with the line, and what it saves is the line."""
    editor = tmp_path / "editor.sh"
    editor.write_text('#!/bin/sh\nprintf "edited text\\n" > "$1"\n')
    editor.chmod(0o755)
    says(ui, "Ok.")
    screen = talk(VISUAL=str(editor))
    screen.type("draft")
    screen.wait_until(lambda: prompt_of(screen) == "draft")
    screen.type("\x18\x05")
    screen.wait_until(lambda: prompt_of(screen) == "edited text")
    screen.type("\r")
    at_prompt(screen, "Ok.")
    assert ui.chat.users[0]["content"] == "edited text"


def test_an_existing_conversation(ui: ChatUI, talk: Any) -> None:
    """--conversation shows the last messages, and continues."""
    says(ui, "Blue.")
    first = talk()
    enter(first, "Colour of the sky?")
    at_prompt(first, "Blue.")
    first.type("\x04")
    assert first.finish() == 0
    second = talk("--conversation", ui.chat.id)
    at_prompt(second, "> Colour of the sky?", "Blue.")
    enter(second, "And now?")
    second.wait_until(lambda: second.text.count("Blue.") == 2 and second.lines[-1].endswith(">"))
    assert len(ui.chat.users) == 2
    second.type("\x04")
    assert second.finish() == 0
    third = talk("-c")
    at_prompt(third, "> And now?")


def test_temporary(ui: ChatUI, talk: Any) -> None:
    """--temporary deletes the conversation when the user leaves, not before."""
    says(ui, "Ok.")
    screen = talk("--temporary")
    for count in (1, 2):
        enter(screen, "Hi")
        screen.wait_until(lambda count=count: screen.text.count("Ok.") == count and screen.lines[-1].endswith(">"))
    assert len(ui.chat.users) == 2
    screen.type("\x04")
    assert screen.finish() == 0
    assert ui.chats == {}


ID = "6cff0873-9b03-4a86-9147-c142d6aabb6f"


def asks(**request: Any) -> dict[str, Any]:
    given = {"elicitationId": ID, "server": "booking\x1b[2J", "mode": "form", "message": "How many?", **request}
    return {"type": "elicitation", "subtype": "request", "request": given, "toolUuid": "t", "expiresAt": 1795235814881}


def waits(ui: ChatUI, question: dict[str, Any]) -> Any:
    def steps(request: Any) -> Any:
        yield head(200, JSONL, "Transfer-Encoding: chunked")
        yield chunk(lines(STARTED, question))
        while not ui.answered:
            yield 0.02
        yield chunk(lines(token("Booked."), final("Booked."), FINISHED))
        yield LAST_CHUNK

    return [steps]


def test_a_question_of_a_tool(ui: ChatUI, talk: Any) -> None:
    """The fields of a form are asked in the terminal; an invalid value is asked again."""
    fields = [
        {"kind": "number", "name": "seats", "required": True, "integer": True},
        {"kind": "select", "name": "row", "required": True, "multiple": False,
         "options": [{"value": "a", "label": "Front"}, {"value": "b", "label": "Back"}]},
    ]  # fmt: skip
    ui.says(whole("Booked."), live=waits(ui, asks(fields=fields)))
    screen = talk()
    enter(screen, "Book")
    screen.wait_for("How many?", "seats")
    screen.type("many\r")
    screen.wait_until(lambda: screen.text.count("seats") == 2)
    screen.type("2\r")
    screen.wait_for("2. Back", "row")
    screen.type("2\r")
    at_prompt(screen, "Booked.")
    assert ui.answered[0]["content"] == {"seats": 2, "row": "b"}


def test_a_question_is_declined(ui: ChatUI, talk: Any) -> None:
    """The address of a page is shown, and Ctrl-C declines without ending the answer."""
    ui.says(whole("Booked."), live=waits(ui, asks(mode="url", url="https://pay.example/x")))
    screen = talk()
    enter(screen, "Book")
    screen.wait_for("https://pay.example/x", "?")
    screen.type("\x03")
    at_prompt(screen, "Booked.")
    assert ui.answered[0]["action"] == "decline"


def test_a_line_that_was_typed_before_a_question(ui: ChatUI, talk: Any) -> None:
    """What was typed before a question appears does not answer it; it is in the next prompt."""
    go: list[bool] = []

    def steps(request: Any) -> Any:
        yield head(200, JSONL, "Transfer-Encoding: chunked")
        yield chunk(lines(STARTED, token("Wait. ")))
        while not go:
            yield 0.02
        yield from itertools.islice(waits(ui, asks(mode="url", url="https://pay.example/x"))[0](request), 1, None)

    ui.says(whole("Booked."), live=[steps])
    screen = talk()
    enter(screen, "Book")
    screen.wait_for("Wait.")
    screen.type("yes\nunfinished")
    go.append(True)
    screen.wait_for("https://pay.example/x", "?")
    screen.read(0.5)
    assert not ui.answered
    screen.type("n\r")
    screen.wait_until(lambda: screen.lines[-1].endswith("unfinished"))
    assert screen.lines[-2] == "> yes"
    assert ui.answered[0]["action"] == "decline"


def test_an_answer_that_ends_on_the_server(ui: ChatUI, talk: Any) -> None:
    """An answer that was stopped elsewhere, or whose server died, is marked as incomplete."""
    ui.says(lines(STARTED, token("Half an"), final("Half an", interrupted=True), FINISHED))
    screen = talk()
    enter(screen, "Hi")
    at_prompt(screen, "Half an", "[interrupted: the answer is not complete")


def test_branches_of_east_asian_text(ui: ChatUI, talk: Any) -> None:
    """Each message of the branches is one line, also where characters take two columns."""
    says(ui, "東京" * 60)
    screen = talk()
    enter(screen, "Hi")
    at_prompt(screen, "東京")
    enter(screen, "/branches")
    at_prompt(screen, "[1]")
    shown = screen.lines[next(n for n, line in enumerate(screen.lines) if "> /branches" in line) :]
    assert [line[:4] for line in shown[1:4]] == ["* > ", "* 東京", ">"]


@pytest.mark.parametrize(("columns", "rows", "env"), [(20, 8, {}), (200, 50, {}), (60, 20, {"NO_COLOR": "1"}), (60, 20, {"TERM": "dumb"})])
def test_terminals(ui: ChatUI, talk: Any, columns: int, rows: int, env: dict[str, str]) -> None:
    """Narrow and wide terminals, without colour, and one that cannot move its cursor show the answer."""
    text = "# Why\n\n| A | B |\n|---|---|\n| one | two |\n\n```python\nx = 1\n```\n\nBecause."
    says(ui, text)
    screen = talk(columns=columns, rows=rows, **env)
    screen.type("Hi\r")
    at_prompt(screen, "Why", "one", "two", "x = 1", "Because.")
    screen.type("/exit\r")
    assert screen.finish() == 0


def test_resize_in_mid_answer(ui: ChatUI, talk: Any) -> None:
    """A terminal that becomes narrower in mid-answer shows each word once."""
    go: list[bool] = []

    def steps(request: Any) -> Any:
        yield OPEN[0]
        yield chunk(lines(STARTED, token("alpha " * 30)))
        while not go:
            yield 0.02
        yield chunk(lines(token("omega " * 30), final("alpha " * 30 + "omega " * 30), FINISHED))
        yield LAST_CHUNK

    ui.says(whole(""), live=[steps])
    screen = talk(columns=70)
    enter(screen, "Hi")
    screen.wait_until(lambda: screen.text.split().count("alpha") == 30)
    screen.resize(40, 24)
    screen.read(0.5)
    go.append(True)
    at_prompt(screen, "omega")
    assert screen.text.split().count("omega") == 30
    assert screen.text.split().count("alpha") == 30


def test_a_hostile_answer(ui: ChatUI, talk: Any) -> None:
    """Control characters of an answer, a title and a question do not reach the terminal."""
    text = "a\x1b]0;owned\x07\x1b]52;c;aGk=\x07b\u202ec\r10%\r20%\r\n" + "x" * 100_000 + "\n\n```\nunclosed\x1b[2J"
    says(ui, text, {"type": "title", "title": "t\x1b[2J\u202e"})
    screen = talk()
    enter(screen, "Hi")
    at_prompt(screen, "unclosed[2J")
    assert screen.title == ""
    assert b"]52;" not in screen.received.replace(b"a]0;owned]52;", b"")
    assert "\u202e" not in screen.received.decode("utf-8", "replace")
    assert "20%" in screen.text


def test_mcp_servers(ui: ChatUI, talk: Any) -> None:
    """/mcp lists the servers of the instance, and chooses those of the next messages."""
    ui.on("/api/mcp/servers", json_answer([{"name": "exa", "url": "https://exa.example"}, {"name": "Web Search (B)"}]))
    says(ui, "Ok.")
    screen = talk()
    enter(screen, "/mcp")
    at_prompt(screen, "exa")
    enter(screen, "/mcp web search (b), exa")
    at_prompt(screen, "MCP: Web Search (B), exa.")
    enter(screen, "/mcp axe")
    at_prompt(screen, "no MCP server 'axe' here")
    enter(screen, "/mcp Exa")
    at_prompt(screen, "MCP: exa.")
    enter(screen, "Hi")
    at_prompt(screen, "Ok.")
    assert form_data(ui.of("send")[0])["selectedMcpServerNames"] == ["exa"]


def test_share(ui: ChatUI, talk: Any) -> None:
    """/share shows the link."""
    says(ui, "Ok.")
    screen = talk()
    enter(screen, "Hi")
    at_prompt(screen, "Ok.")
    ui.on(f"/conversation/{ui.chat.id}/share", json_answer({"shareId": "abc1234", "url": f"{ui.url}/r/abc1234"}))
    enter(screen, "/share")
    at_prompt(screen, "/r/abc1234")


def test_a_full_disk_and_a_folder_that_cannot_be_written(ui: ChatUI, talk: Any, home: Path) -> None:
    """Without a history file the conversation works."""
    home.write_text("not a folder")
    says(ui, "Ok.")
    screen = talk()
    enter(screen, "Hi")
    at_prompt(screen, "Ok.")


def test_a_stopped_server_is_one_line(ui: ChatUI, talk: Any) -> None:
    """A page instead of the API is one line of error."""
    ui.always("create", plain(b"<html>\x1b[2J oh", 502, "Content-Type: text/html"))
    screen = talk("--timeout", "5")
    enter(screen, "Hi")
    screen.wait_until(lambda: screen.lines[-1] == "> Hi" and screen.text.count("hfclient: ") == 1)
    assert os.path.exists(f"/proc/{screen.process.pid}") or screen.process.poll() is None
