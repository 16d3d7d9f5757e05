"""The Markdown of a growing answer: as safe and as exact as that of the whole, at a cost that grows with its length."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfclient.events import ToolCall, ToolProgress, ToolResult
from hfclient.notebook import growing
from hfclient.notebook.growing import GrowingAnswer, GrowingMarkdown, object_as_markdown
from hfclient.notebook.replies import reply_markdown
from hfclient.redaction.markdown import safe_markdown
from hfclient.types import Reply
from tests.security.test_markdown import HOSTILE, ORDINARY, PIECES, RENDERERS, problems


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block is rendered alone."""
    monkeypatch.setattr(growing, "_FROZEN", 0)


def grown(text: str, step: int = 0) -> list[str]:
    """What is shown while *text* grows, by *step* characters, or by 7 and in at most 50 steps."""
    step = step or max(7, len(text) // 50)
    markdown = GrowingMarkdown()
    shown = []
    for start in range(0, len(text), step):
        markdown.add(text[start : start + step])
        shown.append(markdown.markdown())
    return shown


@pytest.mark.parametrize("text", [*ORDINARY, "\n\n".join(ORDINARY)])
def test_it_ends_as_the_whole(text: str) -> None:
    """Ordinary answers look the same, however many blocks were rendered before their end."""
    if "[r]:" in text:
        pytest.skip("a definition may stand behind its use")
    for render in RENDERERS.values():
        assert render(grown(text)[-1]) == render(safe_markdown(text).strip("\n"))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text(text: str) -> None:
    """At no moment there is HTML of the model."""
    for shown in grown(f"# a\n\n{text}\n\n- b\n\n{text}"):
        for name, render in RENDERERS.items():
            assert problems(render(shown)) == [], (name, shown)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([*PIECES, "\n\n"]), max_size=24))
def test_any_text(pieces: list[str]) -> None:
    """The same for random sequences of what has a meaning."""
    markdown = GrowingMarkdown()
    for piece in pieces:
        markdown.add(piece)
        markdown.markdown()
    shown = markdown.markdown()
    for name, render in RENDERERS.items():
        assert problems(render(shown)) == [], (name, shown)


def test_finished_blocks_are_rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The characters that are rendered grow with the length of the text, not with its square."""
    rendered = 0

    def counting(text: str) -> str:
        nonlocal rendered
        rendered += len(text)
        return text

    monkeypatch.setattr(growing, "safe_markdown", counting)
    monkeypatch.setattr(growing, "_FROZEN", 2000)
    text = ("A paragraph of words.\n\n```\ncode\n\ncode\n```\n\n- item\n\n  more of it\n\n" * 2000)[:100_000]
    shown = grown(text, 1000)
    assert rendered < 5 * len(text)
    assert shown[-1].replace("\n", "") == text.replace("\n", "")


def test_an_object() -> None:
    """JSON is fenced whatever its texts have, and a long one is cut."""
    assert object_as_markdown({"a": "```\n<b>"}) == '````json\n{\n  "a": "```\\n<b>"\n}\n````'
    assert len(object_as_markdown(["x" * 1000] * 1000)) < 110_000
    assert "cannot be written" in object_as_markdown({"a": object()})


def test_states_of_tools() -> None:
    """A call without a result has its state; the result follows from the reply."""
    call = ToolCall("1", "sum<b>", {"a": 1})
    answer = GrowingAnswer(Reply())
    answer.add(call)
    assert (answer.running, answer.live("").tools) == ("sum<b>", {"1": "… running"})
    answer.add(ToolProgress("1", 1, 4, "rea|ding"))
    shown = reply_markdown(Reply(tool_calls=(call,)), answer.live("state"))
    assert "25&#37; rea&#124;ding |" in shown
    assert shown.endswith("<small>state</small>")
    answer.add(ToolResult("1", "success", [{"text": "2"}]))
    assert answer.running is None
