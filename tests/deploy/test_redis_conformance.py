"""`RedisStore` passes the tests of all stores: with a URL, with clients of each protocol, and in a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

redis = pytest.importorskip("redis")

from hfclient.web.relay.redis_store import RedisStore  # noqa: E402 (after the check)
from hfclient.web.relay.store import Store  # noqa: E402
from tests.deploy.redis_servers import cluster  # noqa: E402
from tests.services import RedisServer  # noqa: E402
from tests.web.store_tests import StoreTests  # noqa: E402


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """One Redis for all tests."""
    with RedisServer() as running:
        yield running


@pytest.fixture(scope="module")
def clustered() -> Iterator[RedisServer]:
    """A cluster of one server."""
    with cluster() as running:
        yield running


@pytest.mark.parametrize("client", ["URL", "RESP 2", "RESP 3, decoding", "cluster"])
class TestRedisStore(StoreTests):
    @pytest.fixture
    def store(self, client: str, request: pytest.FixtureRequest) -> Iterator[Store]:
        server = request.getfixturevalue("clustered" if client == "cluster" else "server")
        options: dict[str, Any] = {"RESP 2": {"protocol": 2}, "RESP 3, decoding": {"protocol": 3, "decode_responses": True}}.get(client, {})
        given: Any = server.url
        if client == "cluster":
            given = redis.RedisCluster("127.0.0.1", server.port)
        elif client != "URL":
            given = redis.Redis(port=server.port, **options)
        store = RedisStore(given)
        yield store
        store.close()
        if not isinstance(given, str):
            given.close()
