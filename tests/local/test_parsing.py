"""Pure functions: encoding, parsing, content negotiation, token estimates."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfclient.decoding.utf16 import utf16_length
from hfclient.local import event_encoding, prompts
from hfclient.local.error_responses import HTTPError, prefers_html
from hfclient.local.message_form import parse_file, parse_form
from hfclient.local.records import FileRecord, MessageRecord, new_id
from hfclient.local.upstream import UpstreamModel

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(TEXTS)
def test_a_live_token_has_at_least_16_units(text):
    """NULs at the end pad it to exactly 16 UTF-16 units; the text is unchanged."""
    line = event_encoding.live_line(event_encoding.token(text))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    padded = json.loads(line)["token"]
    assert padded.startswith(text)
    assert set(padded[len(text) :]) <= {"\0"}
    assert utf16_length(padded) == max(16, utf16_length(text))


@given(TEXTS, st.integers(-3, 70))
def test_clamping_never_cuts_a_character(text, units):
    """The clamped text is the longest prefix with no more than that many UTF-16 units."""
    kept = event_encoding.clamp_utf16(text, units)
    assert text.startswith(kept)
    assert utf16_length(kept) <= max(0, units)
    following = text[len(kept) : len(kept) + 1]
    assert not following or utf16_length(kept + following) > units


@given(
    st.binary(max_size=80)
    | st.text(max_size=40)
    | st.dictionaries(st.text(max_size=5), st.none() | st.text(max_size=3))
)
def test_any_form_parses_or_is_rejected(data):
    """No value of the form's field raises anything but an HTTPError."""
    text = json.dumps(data) if isinstance(data, dict) else data if isinstance(data, str) else data.decode("latin-1")
    with contextlib.suppress(HTTPError):
        parse_form(text)


@given(st.text(max_size=20), st.text(max_size=20), st.binary(max_size=60))
def test_any_file_parses_or_is_rejected(name, mime, body):
    """No file name, type or body raises anything but an HTTPError, and the result is valid in a header."""
    try:
        upload = parse_file(name, mime, body)
    except HTTPError:
        return
    if upload is not None:
        assert upload.file.mime.isascii()
        assert len(upload.file.sha) == 64


def test_base64_is_lenient():
    """Other characters are skipped and missing padding is added, as in Node's decoder."""
    for body in (b"aGVsbG8=", b"aGVs\r\nbG8", b"aG*Vs bG8=", b"aGVsbG8=="):
        upload = parse_file("base64;x", "text/plain", body)
        assert upload is not None
        assert upload.data == b"hello"


@given(st.text(max_size=40))
def test_content_negotiation_never_fails(accept):
    """Every Accept header gives a result."""
    assert prefers_html(accept) in (True, False)


def test_ids_are_unique():
    """24 hex digits, the seconds first."""
    made = {new_id() for _ in range(100)}
    assert len(made) == 100
    assert all(len(key) == 24 and int(key, 16) for key in made)


@pytest.mark.parametrize("prompt", ["", "  ", "x" * 300, "one", "a\nb\tc d e f"])
def test_titles_are_short_and_never_empty(prompt):
    """At most five words and 100 characters, and never empty."""
    title = prompts.title_of(prompt)
    assert 1 <= len(title) <= 100
    assert len(title.split()) <= 5


def test_the_last_message_is_always_kept():
    """The prompt is never cut: if it is too long, the model's server answers with an error."""
    model = UpstreamModel(id="m", prompt_tokens=10)
    path = [
        MessageRecord(id="1", role="system", content="S"),
        MessageRecord(id="2", role="user", content="old"),
        MessageRecord(id="3", role="assistant", content="older answer"),
        MessageRecord(id="4", role="user", content="x" * 1000),
    ]
    built = prompts.build_messages(path, model, lambda sha: None)
    assert [message["content"] for message in built] == ["S", "x" * 1000]


def test_empty_answers_are_left_out():
    """An empty assistant message confuses chat templates, so it is not sent."""
    path = [
        MessageRecord(id="1", role="user", content="a"),
        MessageRecord(id="2", role="assistant"),
        MessageRecord(id="3", role="user", content="b"),
    ]
    built = prompts.build_messages(path, UpstreamModel(id="m"), lambda sha: None)
    assert [message["role"] for message in built] == ["user", "user"]


def test_binary_files_are_not_part_of_the_prompt():
    """Other types are stored, and are not sent to the model."""
    file = FileRecord(name="a.bin", mime="application/octet-stream", sha="0" * 64)
    path = [MessageRecord(id="1", role="user", content="a", files=(file,))]
    assert prompts.build_messages(path, UpstreamModel(id="m"), lambda sha: b"secret")[0]["content"] == "a"


@given(TEXTS)
def test_token_estimates_are_upper_bounds(text):
    """At least one token for three characters of ASCII, at most one per byte."""
    estimate = prompts.estimate_tokens(text)
    assert len(text) / 3 <= estimate <= len(text.encode()) or (text.isascii() and estimate == (len(text) + 2) // 3)
