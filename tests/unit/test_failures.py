"""Failed answers as errors: the pure functions (over the wire: tests/wire/test_status.py)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfclient.errors import APIStatusError
from hfclient.transport import Clock, Deadline, Response, Timeouts
from hfclient.transport.response import Headers
from hfclient.transport.status_errors import error_for, message_in, retry_after, safe_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pw@a.b:8443/x/y?token=secret#part", "https://a.b:8443/x/y"),
        ("http://[::1]:3000/x?q=1", "http://[::1]:3000/x"),
        ("http://a.b", "http://a.b"),
        ("http://a:b:c/", "(unreadable URL)"),
        ("http://[::1", "(unreadable URL)"),
        ("http://a:99999/", "(unreadable URL)"),
        ("", "://"),
    ],
)
def test_safe_url(url: str, shown: str) -> None:
    """The URL for logs: no user, password, query or fragment."""
    assert safe_url(url) == shown


KEYS = ["error", "message", "detail", "msg", "loc", "errors", "type", "code", "title", "estimated_time"]
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=8,
)


@given(any_json)
def test_any_json_is_read(data: object) -> None:
    """Any JSON of a server gives a message or None, and raises nothing."""
    found = message_in(data)
    assert found is None or (isinstance(found, str) and found)
    waits = retry_after(Headers([]), data)
    assert waits is None or isinstance(waits, float)


class _Body:
    def __init__(self, data: bytes) -> None:
        self.pieces = [data, b""]

    def read_some(self) -> bytes:
        return self.pieces.pop(0)

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


@given(
    st.integers(min_value=300, max_value=599),
    st.binary(max_size=100),
    st.lists(
        st.tuples(
            st.sampled_from(["Retry-After", "retry-after-ms", "Location", "cf-ray", "x-error-message", "content-type"]),
            st.text(st.characters(max_codepoint=255), max_size=30),
        ),
        max_size=4,
    ),
)
def test_any_answer_becomes_an_error(status: int, body: bytes, headers: list[tuple[str, str]]) -> None:
    """Any status with any body and headers is an `APIStatusError`."""
    response = Response(
        status, Headers(headers), _Body(body), method="GET", url="http://a.b/c", deadline=Deadline(Clock(Timeouts()))
    )
    error = error_for(response)
    assert isinstance(error, APIStatusError)
    assert error.status_code == status
    assert error.message
    assert error.retry_after is None or error.retry_after >= 0
    assert "\x1b" not in error.message
