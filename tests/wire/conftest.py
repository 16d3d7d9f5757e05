"""The tests of this folder run over the transport of batches, too."""

from __future__ import annotations

import importlib.util

import pytest

from tests.conftest import TRANSPORTS

_BATCHES = ["aiohttp"] if importlib.util.find_spec("aiohttp") and importlib.util.find_spec("greenlet") else []

_HEADERS_AT_ONCE = "aiohttp returns the headers, or a chunk's, when they are complete: one wait"
_STRICT = "aiohttp refuses an answer with bytes after its end"
_OWNER = "its connections belong to a batch, which closes them; tests/batch/test_engines.py"
NOT_OVER_AIOHTTP = {
    "test_slow_headers": _HEADERS_AT_ONCE,
    "test_slow_headers_are_not_idle": _HEADERS_AT_ONCE,
    "test_slow_chunk_headers": _HEADERS_AT_ONCE,
    "test_bytes_after_the_content_length": _STRICT,
    "test_too_long_a_body": _STRICT,
    "test_reset_in_an_unframed_body": "aiohttp takes a reset for the end of a body without a length",
    "test_a_garbage_collected_response_is_closed": _OWNER,
    "test_a_garbage_collected_transport_closes_its_connections": _OWNER,
    "test_closing_the_transport_leaves_streams_alone": _OWNER,
    "test_no_threads_are_left": _OWNER,
    "test_fork_with_idle_connections": _OWNER,
    "test_fork_with_an_open_stream": _OWNER,
    "test_pickling": _OWNER,
    "test_streams": "streams are read over the transports of clients",
    "test_clients_of_loopback_servers": "a client has another transport",
    "test_user_agent": "as the default transport",
    "test_through_a_socks_proxy": "a batch through a SOCKS proxy runs in threads",
}


@pytest.fixture(params=[*TRANSPORTS, *_BATCHES])
def transport_name(request: pytest.FixtureRequest) -> str:
    """Each transport's name in turn; the last one is that of batches."""
    if request.param == "aiohttp" and (reason := NOT_OVER_AIOHTTP.get(request.node.originalname)):
        pytest.skip(reason)
    return str(request.param)
