"""Lists and names: models by all their names, only the necessary pages, `in` and `bool`."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from hfclient import BadRequestError, Client, InvalidInputError, ModelNotFound, Unsupported
from tests.chat.recordings import recording
from tests.chat.replay import ChatUI, form_data
from tests.server import Recorded, Server, json_answer

NAMES = ("org/second", "ORG/Second", "second", " Second ", "Second!")
"""All that "org/second" may be called; the last is its label."""


@pytest.fixture
def named(ui: ChatUI) -> ChatUI:
    """A server whose second model has a label."""
    models = [{"id": "org/first"}, {"id": "org/second", "displayName": "Second!", "multimodal": True}]
    ui.always("models", json_answer({"json": models}))
    ui.says(recording("plain"))
    return ui


@pytest.mark.parametrize("name", NAMES)
def test_one_name_everywhere(named: ChatUI, any_client: Client, name: str):
    """Every call that takes a model accepts the names that models.get() accepts."""
    assert any_client.models.get(name).id == "org/second"
    any_client.chat("hi", model=name).result()
    conversation = any_client.conversation(model=name)
    conversation.ask("hi")
    assert conversation.model == "org/second"
    other = any_client.conversation()
    other.set_model(name)
    other.create()
    again = any_client.restore({**any_client.conversation(model=name).to_dict()})
    again.create()
    assert [chat.model for chat in named.chats.values()] == ["org/second"] * 4


def test_an_id_costs_no_further_request(named: ChatUI, client: Client):
    """With a model's id a conversation is created with one request; a short name costs two more, once."""
    client.conversation(model="org/second").create()
    assert [kind for kind, _ in named.seen] == ["create"]
    client.conversation(model="second").create()
    assert [kind for kind, _ in named.seen[1:]] == ["create", "models", "create"]


def test_an_id_takes_precedence(ui: ChatUI, client: Client):
    """An id takes precedence over other models' names; a name of two models is refused, and both are named."""
    models = [{"id": "a/x"}, {"id": "b/x"}, {"id": "x", "displayName": "a/x"}, {"id": "A/X"}]
    ui.always("models", json_answer({"json": models}))
    assert [client.models.get(name).id for name in ("a/x", "A/X", "x", "b/X")] == ["a/x", "A/X", "x", "b/x"]
    assert "B/X" in client.models
    ui.knows = [model["id"] for model in models]
    with pytest.raises(ModelNotFound) as caught:
        client.conversation(model="a/X").create()
    assert set(caught.value.suggestions) >= {"A/X"}
    assert ui.chats == {}


def test_an_unknown_name(named: ChatUI, client: Client):
    """The error has the nearest names, in every call."""
    calls = [
        lambda: client.chat("hi", model="secnd"),
        lambda: client.conversation(model="secnd").ask("hi"),
        lambda: client.conversation().set_model("secnd"),
        lambda: client.models.get("secnd"),
    ]
    for call in calls:
        with pytest.raises(ModelNotFound, match="org/second") as caught:
            call()
        assert caught.value.suggestions[0] == "org/second"
    assert named.chats == {}


def test_a_refusal_that_is_not_about_the_model(named: ChatUI, client: Client):
    """If the server has the model and refuses something else, its error is raised, and nothing is sent again."""
    named.fault("create", json_answer({"message": "Prompt too strange"}, 400))
    with pytest.raises(BadRequestError, match="Prompt too strange"):
        client.conversation(model="org/second").create()
    assert named.count("create") == 1


def test_images_for_a_short_name(named: ChatUI, client: Client):
    """A model that accepts images is used under every name; another one is refused before anything is sent."""
    picture = ("p.png", b"\x89PNG\r\n\x1a\n")
    client.chat("hi", model="SECOND", files=[picture]).result()
    assert named.chat.model == "org/second"
    with pytest.raises(Unsupported, match="org/second"):
        client.chat("hi", model="First", files=[picture])


def test_settings_hold_ids(server: Server):
    """A model's name in a setting becomes its id, because the server would store any name and ignore it."""
    saved: dict[str, Any] = {"activeModel": "org/first", "customPrompts": {"org/gone": "old"}}

    def answer(request: Recorded) -> bytes:
        if request.path == "/api/v2/models":
            return json_answer({"json": [{"id": "org/first"}, {"id": "org/second"}]})
        if request.method == "POST":
            saved.update(json.loads(request.body))
        return json_answer({"json": saved})

    server.on("*", [answer])
    settings = Client(server.url, token="", cookies="").settings
    settings.update(active_model="Second", custom_prompts={"first": "new", "org/gone": "old"}, tools_overrides={"SECOND": True})
    assert saved["activeModel"] == "org/second"
    assert saved["customPrompts"] == {"org/first": "new", "org/gone": "old"}
    assert saved["toolsOverrides"] == {"org/second": True}
    for change in ({"active_model": "third"}, {"custom_prompts": {"third": "x"}}):
        with pytest.raises(ModelNotFound):
            settings.update(**change)
    assert saved["activeModel"] == "org/second"


# Pages


class Pages:
    """A server with *count* conversations, 30 a page."""

    def __init__(self, server: Server, count: int) -> None:
        self.asked: list[int] = []
        self.count = count
        server.on("*", [self._answer])

    def _answer(self, request: Recorded) -> bytes:
        page = int(request.query.get("p", 0))
        self.asked.append(page)
        numbers = range(page * 30, min(self.count, page * 30 + 30))
        entries = [{"id": f"{number:024x}", "title": "t", "model": "m"} for number in numbers]
        return json_answer({"json": {"conversations": entries, "hasMore": self.count > page * 30 + 30}})


@pytest.mark.parametrize(
    ("limit", "found", "pages"), [(0, 0, 0), (1, 1, 1), (29, 29, 1), (30, 30, 1), (31, 31, 2), (60, 60, 2), (99, 70, 3), (None, 70, 3)]
)
def test_only_the_necessary_pages(server: Server, limit: int | None, found: int, pages: int):
    """list(limit) fetches the pages with the newest *limit* conversations, and no other page."""
    listed = Pages(server, 70)
    client = Client(server.url, token="", cookies="hf-chat=me")
    assert len(client.conversations.list(limit)) == found
    assert listed.asked == list(range(pages))


@pytest.mark.parametrize("limit", [-1, 1.5, "3", True, [1]])
def test_invalid_limits(server: Server, limit: Any, tmp_path):
    """They are refused before anything is sent, in chat and inference."""
    client = Client(server.url, token="", cookies="hf-chat=me", hub_url=server.url)
    for call in (
        lambda: client.conversations.list(limit),
        lambda: client.conversations.export(tmp_path, limit=limit),
        lambda: client.inference.models(search="x", limit=limit),
    ):
        with pytest.raises(InvalidInputError, match="limit"):
            call()
    assert server.requests == []


def test_an_export_of_nothing(server: Server, tmp_path):
    """A limit of 0 exports nothing and sends no request."""
    listed = Pages(server, 70)
    assert Client(server.url, token="", cookies="hf-chat=me").conversations.export(tmp_path, limit=0) == []
    assert listed.asked == []


# Operators


def test_models_as_a_collection(named: ChatUI, client: Client):
    """`in`, len() and truth work for names and models; any other type is a TypeError."""
    models = client.models
    assert all(name in models for name in NAMES)
    assert "org/third" not in models
    assert all(model in models for model in models)
    assert (len(models), bool(models)) == (2, True)
    for other in (5, None, ["org/first"]):
        with pytest.raises(TypeError, match="by its name"):
            _ = other in models


def test_conversations_as_a_collection(server: Server):
    """Ids, entries and conversations are found on every page; the truth value costs one page."""
    listed = Pages(server, 31)
    client = Client(server.url, token="", cookies="hf-chat=me")
    last = f"{30:024x}"
    assert last in client.conversations
    assert client.conversation(last) in client.conversations
    assert client.conversations.list()[-1] in client.conversations
    assert f"{31:024x}" not in client.conversations
    for other in (5, None, client.conversation()):
        with pytest.raises(TypeError, match="by its id"):
            _ = other in client.conversations
    del listed.asked[:]
    assert bool(client.conversations) is True
    assert listed.asked == [0]
    listed.count = 0
    assert bool(client.conversations) is False


def test_lists_know_ids(named: ChatUI, client: Client, server: Server):
    """Ids are also found in the returned lists: of models, of conversations, and of an inference server."""
    assert "org/second" in client.models.list()
    assert client.models.get("second") in client.models.list()
    assert "org/third" not in client.models.list()
    Pages(server, 2)
    listed = Client(server.url, token="", cookies="hf-chat=me").conversations.list()
    assert f"{1:024x}" in listed
    assert f"{2:024x}" not in listed
    assert pickle.loads(pickle.dumps(listed)) == listed == list(listed)
    server.on("*", [json_answer({"data": [{"id": "a/b"}]})])
    served = Client(server.url, token="", inference_url=server.url).inference.models()
    assert "a/b" in served
    assert served[0] in served
    assert "b" not in served


def test_a_tree_as_a_collection(named: ChatUI, client: Client):
    """Messages are found by their id and as themselves."""
    conversation = client.conversation()
    conversation.ask("hi")
    tree = conversation.tree()
    assert len(tree) == len(list(tree)) == 3
    assert all(message in tree and message.id in tree and tree[message.id] is message for message in tree)
    assert "other" not in tree
    assert form_data(named.of("send")[0])["id"] in tree


def test_in_with_a_stream(named: ChatUI, client: Client):
    """`in` would consume a stream: it is a TypeError, and the stream can still be read."""
    stream = client.chat("hi")
    with pytest.raises(TypeError, match=r"stream\.text"):
        _ = "word" in stream
    assert stream.text
