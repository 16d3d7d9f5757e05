"""The default transport with tools that replace the adapter of requests."""

from __future__ import annotations

import json

import pytest
import requests
import responses
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from hfclient import Client
from hfclient.credentials import Secret
from hfclient.errors import ConnectError, RateLimitError, TransportTimeout
from hfclient.transport import Request, Retry
from hfclient.transport.requests_transport import RequestsTransport, _url_of

CHAT = "http://llm.test/v1/chat/completions"
ANSWER = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def make() -> Client:
    return Client("http://chat.test", inference_url="http://llm.test/v1", token="", cookies="", retry=Retry(attempts=1))


@responses.activate
def test_answers_can_be_mocked() -> None:
    """The package responses gets the whole request and gives the answer, as in other programs with requests."""
    responses.post(CHAT, body=ANSWER, content_type="text/event-stream")
    assert make().inference.chat("hello", model="m", max_tokens=3).text == "Hi"
    request = responses.calls[0].request
    assert request.method == "POST"
    assert request.headers["content-type"] == request.headers.get("CONTENT-TYPE") == "application/json"
    assert "content-Length" in request.headers
    assert "cookie" not in request.headers
    assert request.headers.get("cookie", "none") == "none"
    assert json.loads(request.body or b"")["max_tokens"] == 3


@responses.activate
def test_refusals_can_be_mocked() -> None:
    """A mocked status becomes the same error as a real one, with its headers."""
    responses.post(CHAT, status=429, json={"error": {"message": "slow down"}}, headers={"Retry-After": "7"})
    with pytest.raises(RateLimitError, match="slow down") as caught:
        make().inference.chat("hello", model="m")
    assert caught.value.retry_after == 7


@responses.activate
@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (requests.ConnectionError("down"), ConnectError),
        (requests.exceptions.ProxyError("down"), ConnectError),
        (requests.exceptions.SSLError("down"), ConnectError),
        (requests.Timeout("late"), TransportTimeout),
        (requests.exceptions.ChunkedEncodingError("cut"), ConnectError),
    ],
)
def test_exceptions_of_requests_are_translated(raised: Exception, expected: type[Exception]) -> None:
    """Exceptions of the adapter become hfclient errors."""
    responses.post(CHAT, body=raised)
    with pytest.raises(expected):
        make().inference.chat("hello", model="m")


def test_pools_of_many_hosts() -> None:
    """A host keeps its pool from request to request, and gets a new one after its pool was closed for other hosts."""
    transport = RequestsTransport()

    def pool(host: str) -> object:
        return transport._pool(parse_url(f"http://{host}.test"), Secret())

    first = pool("first")
    assert pool("first") is first
    assert pool("second") is not first
    assert pool("first") is first
    last = [pool(f"host{number}") for number in range(16)][-1]
    assert pool("host15") is last
    assert pool("first") is not first
    kept = pool("first")
    transport.close()
    assert pool("first") is not kept


@pytest.mark.parametrize("site", ["http://h", "https://a.example", "http://127.0.0.1:8080", "http://h:80", "http://h:99999"])
@pytest.mark.parametrize("path", ["", "/", "/a/b", "/a//b/", "/./a", "/a/../b", "/a..b", "/%2e/", "/ä", "/a b", "/a?b=c d", "//x"])
def test_simple_urls_are_read_like_others(site: str, path: str) -> None:
    """A URL of a known site gives what urllib3 makes of the whole URL."""
    url = site + path
    try:
        expected = parse_url(url)
    except LocationParseError:
        with pytest.raises(LocationParseError):
            _url_of(Request(method="GET", url=url))
        return
    found = _url_of(Request(method="GET", url=url))
    assert (found, found.url, found.request_uri) == (expected, expected.url, expected.request_uri)
