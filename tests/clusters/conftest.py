"""Fixtures of the tests of engines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.batch.fault_server import FaultServer
from tests.services import RedisServer


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer(seconds=0.05) as running:
        yield running


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    pytest.importorskip("redis")
    with RedisServer() as running:
        yield running


@pytest.fixture
def checkpoint(redis: RedisServer, request: pytest.FixtureRequest) -> str:
    """The URL of a new run in Redis."""
    return f"{redis.url}?run={request.node.path.stem}-{request.node.name}"
