"""Values show themselves: what IPython gets from each class, for ordinary values and for those of a hostile server."""

from __future__ import annotations

import base64
import datetime
import json
import pickle
import re
import socket
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest

import hfclient
from hfclient.chat import MessageTree
from hfclient.chat.wire.messages import ConversationState
from hfclient.display import Displayed
from hfclient.errors import RateLimitError
from hfclient.events import Failover, File, JobProgress, Route, Source, Token, ToolCall, ToolError, ToolResult, Usage
from hfclient.inference import (
    Audio,
    BoxedObject,
    Classification,
    HubModel,
    Image,
    Images,
    Offer,
    ServedModel,
    Transcript,
    Video,
)
from hfclient.inference.tasks.values import (
    Box,
    ExtractedAnswer,
    MaskFill,
    Ranking,
    Segment,
    Span,
    TableAnswer,
    TranscriptChunk,
)
from hfclient.types import (
    ConversationInfo,
    Entries,
    Message,
    Model,
    ModelProvider,
    Reply,
    Results,
    Share,
    StoredFile,
    User,
    Vectors,
)
from tests.security.test_markdown import RENDERERS, problems

IPython = pytest.importorskip("IPython")

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg=="
)
UTC = datetime.timezone.utc
TIME = datetime.datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
LINK = "https://provider.example/file?signature=SECRET"


def tree(*messages: tuple[str, str | None, str, str]) -> MessageTree:
    """A `MessageTree` of (id, parent, role, text)."""
    made = tuple(Message(name, role, text, parent_id=parent) for name, parent, role, text in messages)
    return MessageTree(ConversationState("c" * 24, "title", "model", "", made, messages[0][0] if messages else None))


def values(text: str) -> dict[str, Any]:
    """One value of each class, with *text* wherever a server or a model can put a text."""
    link = f"https://a.example/{text}"
    reply = Reply(
        text=text,
        reasoning=text,
        interrupted=True,
        refusal=text,
        tool_calls=(ToolCall("u", text, {text: text}), ToolCall("v", text, arguments=text), ToolCall("w", text)),
        tool_results=(ToolResult("u", text, [{"text": text}, {text: text}]), ToolResult("v", "success", [])),
        tool_errors=(ToolError("w", text),),
        sources=(Source(link, text), Source(text), Source(f"javascript:{text}", "x")),
        files=(File(text, "sha", text, url=LINK),),
        usage=Usage(10, 20, 30, 5, 6),
        route=Route(text, text, text),
        model=text,
        failovers=(Failover(text, text, text),),
    )
    model = Model(text, text, text, multimodal=True, supports_tools=True, providers=(ModelProvider(text),))
    offer = Offer(text, text, 1000, 0.1, 0.2, None, True, True, 0.3, 99.0)
    served = ServedModel(text, text, offers=(offer, Offer(text)), context_length=1000)
    hub = HubModel(text, text, author=text, downloads=3, gated=text, modified_at=text)
    picture = Image(
        content=PNG, mime="image/png", prompt=text, model=text, provider=text, seed=1, url=LINK, width=1, height=1
    )
    other = Image(content=PNG, mime="image/webp", prompt=text, url=LINK)
    odd = Image(content=PNG, mime=f'image/x" {text}', prompt=text, url=LINK)
    message = Message(
        "m" * 30, text, text, text, files=(StoredFile(text, text, "sha"),), created_at=TIME, interrupted=True
    )
    info = ConversationInfo(text, text, text, TIME)
    classification = Classification(text, 0.5)
    return {
        "Reply": reply,
        "Message": message,
        "messages": Entries([message, Message("n", "user", text)]),
        "MessageTree": tree(
            ("a", None, text, text),
            ("b", "a", "user", text),
            ("c", "b", text, f"{text}\n{text}"),
            ("d", "b", text, text),
        ),
        "ConversationInfo": info,
        "conversations": Entries([info, info]),
        "Share": Share("abc", text),
        "User": User(text, text, text, LINK),
        "Model": model,
        "models": Entries([model, Model(text)]),
        "ServedModel": served,
        "served models": Entries([served, ServedModel(text)]),
        "HubModel": hub,
        "Hub models": Results([hub]),
        "Image": picture,
        "Image of another type": other,
        "Image of an odd type": odd,
        "images": Images([picture, other, odd]),
        "Video": Video(content=b"....ftypmp4", mime="video/mp4", prompt=text, url=LINK),
        "Video of an odd type": Video(content=b"x", mime=f'video/x" {text}', prompt=text, url=LINK),
        "Audio": Audio(content=b"RIFF", mime="audio/wav", prompt=text, url=LINK, label=text),
        "tracks": Results([Audio(content=b"RIFF", mime="audio/wav", prompt=text, url=LINK, label=text)]),
        "Transcript": Transcript(text, (TranscriptChunk(text, 0, 1.5), TranscriptChunk(text)), language=text),
        "Transcript without times": Transcript(text),
        "Classification": classification,
        "classifications": Results([classification, Classification(text, -3.5), Classification(text, float("nan"))]),
        "spans": Results([Span(text, text, 0.5, 1, 2)]),
        "answers": Results([ExtractedAnswer(text, 0.5)]),
        "fills": Results([MaskFill(text, 0.5, text, 3)]),
        "boxes": Results([BoxedObject(text, 0.5, Box(1, 2.5, 3, float("inf")))]),
        "segments": Results([Segment(text, PNG, 0.5)]),
        "TableAnswer": TableAnswer(text, (text, text), ((0, 1),), text),
        "rankings": Results([Ranking(1, 12.5, text), Ranking(0, 0.1)]),
        "embeddings": Vectors([[0.25] * 8] * 20),
        "Usage": Usage(10, 20, 30),
        "JobProgress": JobProgress(text, "1", text, 3, 0.5, text, 2.0),
        "Token": Token(text),
    }


NAMES = list(values("x"))
FORMS = {
    "Reply": "text/markdown", "Message": "text/markdown", "messages": "text/markdown", "Share": None, "User": None,
    "Image": "image/png", "Usage": None, "JobProgress": None, "Token": None, "embeddings": None, "Transcript without times": None,
}  # fmt: skip
HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>' onmouseover='alert(1)",
    "</td></table></details></div><iframe src=javascript:alert(1)>",
    "![x](http://evil.example/x.png) [y](javascript:alert(1)) <!-- ",
    "```\n</code></pre><svg onload=alert(1)>\n| a | b |\n",
    '$\\href{javascript:alert(1)}{x}$ \\(\\href{javascript:1}{y}\\) $" onmouseover=alert(1) x="$',
    "\x1b]52;c;ZXZpbA==\x07\x1b[2J\u202e\u2066evil\x00\u200b",
    "]]>`|\n# x\n- y\n\t\\",
]


@pytest.fixture(scope="module")
def shell() -> Iterator[Any]:
    """A real shell of IPython."""
    from IPython.core.interactiveshell import InteractiveShell

    made = InteractiveShell.instance()
    yield made
    made.history_manager.end_session()
    InteractiveShell.clear_instance()


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection of a display fails the test."""

    def refuse(*_args: object) -> None:
        pytest.fail("a display opens a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def bundle(value: Any) -> dict[str, Any]:
    """The forms of a value, as IPython gets them."""
    made = value._repr_mimebundle_()
    return dict(made[0] if isinstance(made, tuple) else made)


@pytest.mark.parametrize("name", NAMES)
def test_ipython_shows_each_class(shell: Any, name: str) -> None:
    """Each class has text for a console, and the form that helps in a notebook, also when it was pickled."""
    value = values("some text")[name]
    expected = FORMS.get(name, "text/html")
    for one in (value, pickle.loads(pickle.dumps(value)) if name != "MessageTree" else value):
        shown, _ = shell.display_formatter.format(one)
        assert shown["text/plain"]
        assert expected is None or shown[expected]
        as_repr = (
            "Token",
            "Image",
            "Image of another type",
            "Image of an odd type",
            "Video",
            "Video of an odd type",
            "Audio",
        )
        assert (name in as_repr) == (shown["text/plain"] == repr(one))


def _without_our_handlers(page: str) -> str:
    """The page without the two attributes that sort a table, which are always the same."""
    from hfclient.notebook import tables

    return page.replace(f' onclick="{tables._SORT}"', "").replace(f' onkeydown="{tables._KEY}"', "")


class _Values(HTMLParser):
    """What the HTML of a display may have: no scripts, no links but to the web, no data but of pictures and sound."""

    ALLOWED = {"img", "video", "audio", "figure", "figcaption", "caption", "small", "b"}

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            value = value or ""
            if name.startswith("on") or name in ("srcdoc", "action", "formaction"):
                self.found.append(name)
            if name == "src" and not re.fullmatch(
                r"data:((image|video|audio)/[a-z0-9.+-]+|application/octet-stream);base64,[\w+/=]*", value
            ):
                self.found.append(value)
            if name == "style" and re.search("url|expression|position", value):
                self.found.append(value)
        if tag in ("script", "iframe", "svg", "object", "embed", "form", "style", "link", "meta", "base"):
            self.found.append(tag)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_value_does_no_harm(name: str, text: str) -> None:
    """Texts of servers and models stay texts in HTML, in Markdown and in a console, for each class."""
    shown = bundle(values(text)[name])
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u200b\u202a-\u202e\u2066-\u2069]", shown["text/plain"])
    page = _without_our_handlers(shown.get("text/html", ""))
    parser = _Values()
    parser.feed(page)
    assert parser.found == []
    allowed = _Values.ALLOWED
    extra = [
        one
        for one in problems(page)
        if not re.match(rf"<({'|'.join(allowed)}|th|td|thead|tr|table|div|details|li|span)\b", one)
    ]
    assert extra == []
    assert text not in page or "<" not in text
    assert "$\\href" not in re.sub(r'alt="[^"]*"', "", page)
    for render in RENDERERS.values():
        rendered = render(shown.get("text/markdown", ""))
        assert [one for one in problems(rendered) if one != "<small>"] == []
    assert "SECRET" not in json.dumps(shown)


@pytest.mark.parametrize("name", NAMES)
def test_the_html_of_a_value_is_well_formed(name: str) -> None:
    """Each element that is opened is closed, so a display cannot change what comes after it."""

    class Stack(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag not in ("img", "br"):
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    for text in ("x", *HOSTILE):
        stack = Stack()
        stack.feed(bundle(values(text)[name]).get("text/html", ""))
        assert stack.open == []


def test_a_reply_shows_all_of_its_parts() -> None:
    """Markdown: reasoning, tools, text, sources, files and one line with model, provider and tokens; text: the text and notes."""
    reply = values("words")["Reply"]
    shown = bundle(reply)
    markdown = shown["text/markdown"]
    parts = [
        "<details><summary>Reasoning</summary>",
        "| Tool |",
        "\n\nwords\n\n**Sources**",
        "**Files**",
        "interrupted",
        "words · words · 10 &#43; 20 tokens",
    ]
    places = [markdown.index(part) for part in parts]
    assert places == sorted(places)
    assert shown["text/plain"].startswith("words\n(interrupted: the answer is not complete)")
    assert bundle(Reply("*Hi*")) == {"text/plain": "*Hi*", "text/markdown": "*Hi*"}
    assert bundle(Reply())["text/plain"] == "(an empty answer)"


def test_large_values_are_bounded() -> None:
    """The first part is shown, and how much more there is."""
    models = Entries(Model(f"org/model-{i}") for i in range(10_000))
    shown = bundle(models)
    assert "… and 9,800 more" in shown["text/html"]
    assert len(shown["text/html"]) < 100_000
    assert shown["text/plain"].endswith("… and 9,800 more")
    long = bundle(Reply("word <b> " * 600_000))
    assert "more characters, in `reply.text`" in long["text/markdown"]
    assert len(long["text/markdown"]) < 1_000_000
    many = tree(*((str(i), str(i - 1) if i else None, "user", "x" * 10_000) for i in range(5000)))
    assert len(bundle(many)["text/html"]) < 3_000_000
    video = Video(content=bytes(51 * 1024 * 1024), mime="video/mp4")
    assert set(bundle(video)) == {"text/plain"}
    assert "save it" in bundle(video)["text/plain"]
    image = Image(content=bytes(51 * 1024 * 1024), mime="image/png")
    assert set(bundle(image)) == {"text/plain"}
    assert image._repr_png_() is None
    grid = bundle(Images([Image(content=bytes(20 * 1024 * 1024), mime="image/webp")] * 3))["text/html"]
    assert grid.count("<img") == 1
    assert grid.count("save it") == 2


def test_a_large_image_is_smaller_on_the_page() -> None:
    """The display says how wide it is shown; the image itself is unchanged."""
    image = Image(content=PNG, mime="image/png", width=4096, height=4096)
    shown, metadata = image._repr_mimebundle_()
    assert metadata == {"image/png": {"width": 1024}}
    assert base64.b64decode(shown["image/png"]) == PNG
    assert image._repr_html_() is None


def test_branches_are_drawn_as_a_tree() -> None:
    """Siblings are beside each other; one answer to a question does not add a level."""
    made = tree(
        ("r", None, "system", "be brief"),
        ("a", "r", "user", "why?"),
        ("b", "a", "assistant", "because"),
        ("c", "b", "user", "really?"),
        ("d", "a", "assistant", "no reason"),
    )
    assert bundle(made)["text/plain"].split("\n") == [
        "5 messages, 2 branches",
        "system r: be brief",
        "user a: why?",
        "├ 1/2 assistant b: because",
        "  user c: really?",
        "└ 2/2 assistant d: no reason",
    ]
    cycle = tree(("x", "y", "user", "1"), ("y", "x", "user", "2"))
    assert "messages" in bundle(cycle)["text/plain"]


def test_resources_say_what_to_call() -> None:
    """A display of what is on a server sends nothing: it shows what is known, or the call that reads it."""
    with hfclient.Client("http://127.0.0.1:9", token="", session="") as client:
        assert "client.conversations.list(20)" in bundle(client.conversations)["text/plain"]
        assert "client.models.list()" in bundle(client.models)["text/plain"]
        client.models._cached = (0.0, Entries([Model("org/known")]))
        assert "org/known" in bundle(client.models)["text/html"]
        conversation = client.conversation("c" * 24)
        assert "conversation.messages()" in bundle(conversation)["text/plain"]
        assert "c" * 24 in bundle(conversation)["text/markdown"]
        assert 'conversation.send("...")' in bundle(client.conversation(system_prompt="x"))["text/plain"]
        assert ".list(20)" in bundle(client.inference.models(search="x"))["text/plain"]


def test_lists_stay_lists() -> None:
    """They are equal to lists, pickle, and are written as JSON; a slice is of the same class."""
    numbers = Results([1, 2, 3])
    assert numbers == [1, 2, 3]
    assert json.dumps(numbers) == "[1, 2, 3]"
    assert type(pickle.loads(pickle.dumps(numbers))) is Results
    assert type(numbers[1:]) is Results
    assert numbers[1] == 2
    assert repr(numbers) == "[1, 2, 3]"
    assert type(Vectors([[1.0]])[:1]) is Vectors
    assert type(Entries([Model("a")])[:1]) is Entries
    assert bundle(Results([]))["text/plain"] == "[]"
    assert bundle(Results([object(), Model("a")])).keys() == {"text/plain"}


@pytest.mark.parametrize("broken", ["content", "chunks", "text"])
def test_a_display_never_raises(broken: str) -> None:
    """A value that cannot be shown, or whose repr raises, has a text all the same."""
    value: Any = {
        "content": Video(content=None, mime=None),
        "chunks": Transcript(None, None),
        "text": Reply(text=None, route=3),
    }[broken]  # type: ignore[arg-type]
    assert bundle(value)["text/plain"]

    class Broken(Displayed):
        def __repr__(self) -> str:
            raise ValueError

    assert bundle(Broken()) == {"text/plain": "<Broken>"}
    assert Broken()._repr_html_() is None


def test_events_stay_small() -> None:
    """The mixin adds no dictionary and no field to events."""
    assert not hasattr(Token("x"), "__dict__")
    assert Displayed.__slots__ == ()
    assert Token.__slots__ == ("text", "id", "logprob", "special")


def test_a_table_sorts_numbers_as_numbers() -> None:
    """Cells of a column of numbers carry the number, and their heading says so."""
    page = bundle(
        Entries([ServedModel("a", offers=(Offer("p", input_price=10.0, output_price=2.0),)), ServedModel("b")])
    )["text/html"]
    assert '<td style="text-align:right" data-value="10.0">10.00</td>' in page
    assert '<td style="text-align:right" data-value=""></td>' in page
    assert page.count("data-number>") == 2


def test_a_kernel_shows_values(one_kernel: Any) -> None:
    """A real kernel sends the bundles to its front end."""
    setup = "from hfclient.types import *\nfrom hfclient.inference import *\n"
    cell = one_kernel.run(f"{setup}Reply('**Hi** <b>')")
    assert cell.markdown == "**Hi** &lt;b>"
    cell = one_kernel.run("display(Results([Classification('good', 0.9)]), Entries([Model('org/m')]))")
    assert [set(shown) for shown in cell.shown.values()] == [{"text/plain", "text/html"}] * 2
    assert "good" in next(iter(cell.shown.values()))["text/plain"]


def test_a_long_list_is_not_written_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that has a plain form costs no repr of all its values, which takes longer than the table."""
    models = Entries(Model(f"org/model-{number}") for number in range(1000))
    monkeypatch.setattr(Model, "__repr__", lambda self: pytest.fail("a repr that is not shown"))
    bundle = models._repr_mimebundle_()
    assert "org/model-0" in bundle["text/plain"]
    assert "and 800 more" in bundle["text/html"]


def test_batch_results() -> None:
    """Results of a batch are a table, in which texts of the model are escaped and failed items have their error."""
    from hfclient.batch import BatchResult

    results = Results(
        [
            BatchResult(index=0, input="What?", value=Reply(text="<b>That.</b>", usage=Usage(total_tokens=1234)), seconds=0.5),
            BatchResult(index=1, id="x", input=[{"role": "user", "content": "How?"}], error=RateLimitError("too many <i>", status_code=429)),
            BatchResult(index=2, input="Why?", value=[0.5, 1.0], stored=True),
        ]
    )
    html = results._repr_html_()
    assert html is not None
    assert "&lt;b&gt;That." in html
    assert "<i>" not in html
    assert "1 item has failed" in html
    assert "1,234" in html
    assert "How?" in html
    assert "[0.5, 1.0]" in html
    assert "stored" in results[:3]._repr_mimebundle_()["text/plain"]
    assert "RateLimitError: too many" in repr(results[1])
