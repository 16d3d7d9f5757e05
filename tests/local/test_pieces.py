"""The pure parts: what is cut, counted, escaped and negotiated."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfclient.decoding.utf16 import utf16_length
from hfclient.local import prompts, wire
from hfclient.local.records import Message, StoredFile, new_id
from hfclient.local.refusals import Refused, prefers_html
from hfclient.local.turns import parse_turn, parse_upload
from hfclient.local.upstream import UpstreamModel

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(TEXTS)
def test_a_live_token_has_at_least_16_units(text):
    """Padding is NULs at the end, to 16 UTF-16 units and no more; the text survives."""
    line = wire.live_line(wire.token(text))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    padded = json.loads(line)["token"]
    assert padded.startswith(text)
    assert set(padded[len(text) :]) <= {"\0"}
    assert utf16_length(padded) == max(16, utf16_length(text))


@given(TEXTS, st.integers(-3, 70))
def test_clamping_never_cuts_a_character(text, units):
    """The clamped text is the longest start with no more than that many UTF-16 units."""
    kept = wire.clamp_utf16(text, units)
    assert text.startswith(kept)
    assert utf16_length(kept) <= max(0, units)
    following = text[len(kept) : len(kept) + 1]
    assert not following or utf16_length(kept + following) > units


@given(
    st.binary(max_size=80)
    | st.text(max_size=40)
    | st.dictionaries(st.text(max_size=5), st.none() | st.text(max_size=3))
)
def test_any_turn_parses_or_is_refused(data):
    """No text that a client puts into the form's field raises anything but a refusal."""
    text = json.dumps(data) if isinstance(data, dict) else data if isinstance(data, str) else data.decode("latin-1")
    with contextlib.suppress(Refused):
        parse_turn(text)


@given(st.text(max_size=20), st.text(max_size=20), st.binary(max_size=60))
def test_any_upload_parses_or_is_refused(name, mime, body):
    """No file name, type or body raises anything but a refusal, and what is kept is fit for a header."""
    try:
        upload = parse_upload(name, mime, body)
    except Refused:
        return
    if upload is not None:
        assert upload.file.mime.isascii()
        assert len(upload.file.sha) == 64


def test_base64_is_read_leniently():
    """What is no base64 is skipped, missing padding is added, as JavaScript's decoder does."""
    for body in (b"aGVsbG8=", b"aGVs\r\nbG8", b"aG*Vs bG8=", b"aGVsbG8=="):
        upload = parse_upload("base64;x", "text/plain", body)
        assert upload is not None
        assert upload.data == b"hello"


@given(st.text(max_size=40))
def test_negotiation_never_fails(accept):
    """Any Accept header is read as something."""
    assert prefers_html(accept) in (True, False)


def test_ids_sort_by_time_and_never_repeat():
    """24 hex digits, the seconds first."""
    made = {new_id() for _ in range(100)}
    assert len(made) == 100
    assert all(len(key) == 24 and int(key, 16) for key in made)


@pytest.mark.parametrize("prompt", ["", "  ", "x" * 300, "one", "a\nb\tc d e f"])
def test_titles_are_short_and_never_empty(prompt):
    """At most five words and 100 characters; something even for nothing."""
    title = prompts.first_title(prompt)
    assert 1 <= len(title) <= 100
    assert len(title.split()) <= 5


def test_a_long_last_message_stays():
    """What the user says now is never cut: the model's server says that it is too long."""
    model = UpstreamModel(id="m", prompt_tokens=10)
    path = [
        Message(id="1", role="system", content="S"),
        Message(id="2", role="user", content="old"),
        Message(id="3", role="assistant", content="older answer"),
        Message(id="4", role="user", content="x" * 1000),
    ]
    built = prompts.build(path, model, lambda sha: None)
    assert [message["content"] for message in built] == ["S", "x" * 1000]


def test_answers_that_never_came_are_left_out():
    """An empty assistant message confuses a template; it is not shown."""
    path = [
        Message(id="1", role="user", content="a"),
        Message(id="2", role="assistant"),
        Message(id="3", role="user", content="b"),
    ]
    built = prompts.build(path, UpstreamModel(id="m"), lambda sha: None)
    assert [message["role"] for message in built] == ["user", "user"]


def test_a_file_that_is_no_text_is_not_shown():
    """Other types are kept, and stay out of the prompt."""
    file = StoredFile(name="a.bin", mime="application/octet-stream", sha="0" * 64)
    path = [Message(id="1", role="user", content="a", files=(file,))]
    assert prompts.build(path, UpstreamModel(id="m"), lambda sha: b"secret")[0]["content"] == "a"


@given(TEXTS)
def test_token_estimates_are_rather_high(text):
    """At least a token for three characters of ASCII, at most one for a byte."""
    estimate = prompts.estimate_tokens(text)
    assert len(text) / 3 <= estimate <= len(text.encode()) or (text.isascii() and estimate == (len(text) + 2) // 3)
