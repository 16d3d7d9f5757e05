"""Conversations as values, and the answer to a turn in them; any answer can be read."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfclient.chat.wire.messages import (
    find_answer,
    parse_conversation,
    parse_conversation_info,
    parse_model,
    parse_share,
    parse_user,
    share_id_in,
)
from hfclient.chat.wire.tree import MessageTree
from hfclient.chat.wire.turn import Turn
from hfclient.errors import ProtocolError
from hfclient.types import Message, StoredFile
from tests.chat.recordings import RECORDINGS, Recording, recording


def message(id: str, role: str, *ancestors: str, **fields: Any) -> dict[str, Any]:
    return {"id": id, "from": role, "content": id, "ancestors": list(ancestors), "children": [], **fields}


def conversation(*messages: dict[str, Any], **fields: Any) -> Any:
    return parse_conversation({"messages": list(messages), "id": "c", "title": "t", "model": "m", **fields})


TREE = [
    message("r", "system", children=["u1", "u2"]),
    message("u1", "user", "r", children=["a1", "a2"]),
    message("a1", "assistant", "r", "u1", generationId="g1", interrupted=False),
    message("u2", "user", "r", children=["a3"]),
    message("a3", "assistant", "r", "u2", generationId="g3", interrupted=False),
    message("a2", "assistant", "r", "u1", generationId="g2"),
]


@pytest.mark.parametrize("item", RECORDINGS, ids=str)
def test_recorded_conversations(item: Recording) -> None:
    """Every recorded conversation is a path of three messages."""
    state = item.state
    assert [entry.role for entry in state.messages] == ["system", "user", "assistant"]
    root, user, answer = state.messages
    assert state.root_id == root.id
    assert (user.parent_id, answer.parent_id) == (root.id, user.id)
    assert (root.children, user.children) == ((user.id,), (answer.id,))
    assert MessageTree(state).newest_leaf() == answer.id
    assert MessageTree(state).path(answer.id) == [root, user, answer]
    assert user.content == item.data["request"]["inputs"]
    assert answer.created_at is not None
    assert answer.created_at.tzinfo == datetime.timezone.utc
    assert answer.finished == (item.name != "stopped" or item.version == "0.20")
    assert Message.from_dict(answer.to_dict()) == answer


@pytest.mark.parametrize("item", RECORDINGS, ids=str)
def test_recorded_answers_are_found(item: Recording) -> None:
    """Answers are found by the id of their run, and by text and parent on servers without ids."""
    state, sent = item.state, item.data["request"]
    turn = Turn(state.id, sent["generationId"], parent_id=sent["id"], text=sent["inputs"])
    assert find_answer(state, turn) == item.answer
    assert find_answer(state, Turn(state.id, None)) == item.answer
    assert find_answer(state, Turn(state.id, "another", parent_id="elsewhere", text=sent["inputs"])) is None


def test_answers_by_id() -> None:
    """The id of the run decides, for an answer anywhere in the tree."""
    state = conversation(*TREE)
    for run, answer in (("g1", "a1"), ("g2", "a2"), ("g3", "a3")):
        found = find_answer(state, Turn("c", run, parent_id="r", text="u1"))
        assert found is not None
        assert found.id == answer
    assert find_answer(state, Turn("c", "g4", parent_id="r", text="u1")) is None
    assert find_answer(state, Turn("c", "g1", message_id="a1")) == state.messages[2]
    assert find_answer(state, Turn("c", "g4", message_id="a1")) is None  # still as the run before left it


def test_answers_by_text() -> None:
    """Without ids it is the newest answer to that text below that parent; a retry's is one that did not exist before."""
    state = conversation(*[{**entry, "generationId": None} for entry in TREE])

    def found(**fields: Any) -> str | None:
        answer = find_answer(state, Turn("c", "g", **fields))
        return answer.id if answer is not None else None

    assert found(parent_id="r", text="u1") == "a2"
    assert found(parent_id="r", text="u2") == "a3"
    assert found(parent_id="a1", text="u1") is None
    assert found(parent_id="r", text="other") is None
    assert found(user_id="u1", known=("a1",)) == "a2"
    assert found(user_id="u1", known=("a1", "a2")) is None
    assert found() is None


def test_line_ends_of_prompts() -> None:
    """The server stores a prompt with plain line ends."""
    state = conversation(TREE[0], message("u", "user", "r", content="a\nb"), message("a", "assistant", "r", "u"))
    assert find_answer(state, Turn("c", "g", parent_id="r", text="a\r\nb")) is not None


def test_newest_leaf() -> None:
    """The path leads through the newest message to its newest child."""
    assert MessageTree(conversation(*TREE)).newest_leaf() == "a2"
    assert MessageTree(conversation(*TREE[:-1])).newest_leaf() == "a3"
    assert MessageTree(conversation()).newest_leaf() is None
    assert MessageTree(conversation(message("a", "user", children=["b"]), message("b", "user", children=["a"]))).newest_leaf() in (
        "a",
        "b",
    )


def test_cycles_and_gaps() -> None:
    """A hostile tree may hold cycles and refer to missing messages."""
    state = conversation(
        message("a", "user", "b", children=["b", "gone"]), message("b", "assistant", "a", children=["a"]), message("c", "user", "gone")
    )  # fmt: skip
    tree = MessageTree(state)
    assert {entry.id for entry in MessageTree(state).path("a")} == {"a", "b"}
    assert [entry.id for entry in MessageTree(state).path("c")] == ["c"]
    assert MessageTree(state).path("gone") == MessageTree(state).path(None) == []
    assert tree.newest_leaf(below="a") is None or tree.newest_leaf(below="a") in ("a", "b")
    assert isinstance(str(tree), str)


def test_whether_an_answer_is_finished() -> None:
    """Only an end mark makes an answer finished."""
    ends: list[tuple[dict[str, Any], bool]] = [
        ({}, False),
        ({"updates": None}, False),
        ({"updates": [{"type": "status", "status": "started"}]}, False),
        ({"interrupted": None}, False),
        ({"interrupted": True}, True),
        ({"interrupted": False}, True),
        ({"updates": [{"type": "finalAnswer", "text": ""}]}, True),
        ({"updates": [{"type": "status", "status": "error"}]}, True),
        ({"updates": [{"type": "status", "status": "finished"}]}, True),
        ({"updates": ["nonsense", None]}, False),
    ]
    for fields, finished in ends:
        assert conversation(message("a", "assistant", **fields)).messages[0].finished == finished, fields
    assert conversation(message("a", "user")).messages[0].finished


def test_reasoning_is_split_from_answers_only() -> None:
    """A user may write about the tags."""
    text = "<think>a</think>b"
    answer, user = conversation(message("a", "assistant", content=text), message("u", "user", content=text)).messages
    assert (answer.content, answer.reasoning) == ("b", "a")
    assert (user.content, user.reasoning) == (text, "")
    (apart,) = conversation(message("a", "assistant", content="b", reasoning="x")).messages
    assert apart.reasoning == "x"


def test_files_of_messages() -> None:
    """Files are objects, and bare hashes before May 2024."""
    files = [{"type": "hash", "name": "n", "value": "v", "mime": "m"}, "bare", None, 5]
    (entry,) = conversation(message("u", "user", files=files)).messages
    assert entry.files == (StoredFile("n", "m", "v"), StoredFile("", "", "bare"))


_scalar = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4))
_json = st.recursive(
    _scalar,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
)
_keys = (
    "id from content reasoning ancestors children files updates createdAt updatedAt interrupted generationId title model modelId "
    "preprompt rootMessageId messages _id displayName description multimodalAcceptedMimetypes promptExamples providers name email "
    "shareId url username avatarUrl supportsTools tools"
).split()
_object = st.dictionaries(
    st.sampled_from(_keys),
    st.one_of(_json, st.lists(st.dictionaries(st.sampled_from(_keys), _json, max_size=4), max_size=2)),
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(st.one_of(_json, _object, st.fixed_dictionaries({"messages": st.lists(st.one_of(_json, _object), max_size=3)})))
def test_any_answer_can_be_read(data: Any) -> None:
    """Any answer is read, or refused with a ProtocolError; what was read goes into a dict and back."""
    for parse in (
        parse_conversation,
        parse_conversation_info,
        parse_model,
        parse_user,
        lambda item: parse_share(item, "https://x"),
    ):
        try:
            value = parse(data)
        except ProtocolError:
            continue
        if hasattr(value, "to_dict"):
            value.to_dict()
        if parse is parse_conversation:
            tree = MessageTree(value)
            str(tree)
            MessageTree(value).newest_leaf()
            for entry in value.messages:
                assert Message.from_dict(entry.to_dict()) == entry or entry.raw
                MessageTree(value).path(entry.id)
                tree.newest_leaf(below=entry.id)


def test_links_to_shares() -> None:
    """An id is taken out of a link, and stays unchanged."""
    for link in (
        "b0Goc_y",
        "https://huggingface.co/chat/r/b0Goc_y",
        "https://x/r/b0Goc_y?leafId=1#a",
        "https://x/r/b0Goc_y/",
    ):
        assert share_id_in(link) == "b0Goc_y"
    share = parse_share({"shareId": "b0Goc_y"}, "https://x/chat")
    assert share is not None
    assert (share.id, str(share)) == ("b0Goc_y", "https://x/chat/r/b0Goc_y")
    old = parse_share({"url": "https://x/r/b0Goc_y"}, "https://x")
    assert old is not None
    assert (old.id, old.url) == ("b0Goc_y", "https://x/r/b0Goc_y")


def test_models_of_every_version() -> None:
    """Older servers use other keys for the same."""
    assert parse_model({"id": "a", "tools": True, "reasoning": True}).supports_tools
    assert parse_model({"id": "a", "supportsTools": False, "tools": True}).supports_tools is False
    with pytest.raises(ProtocolError):
        parse_model({"name": "a"})


def test_an_anonymous_user() -> None:
    """The answer of an anonymous session has no user."""
    assert parse_user(None) is None
    assert parse_user({"id": ""}) is None


def test_a_recorded_interruption() -> None:
    """A stopped answer is interrupted."""
    assert recording("stopped").answer.interrupted
    assert not recording("plain").answer.interrupted
