"""Redis servers of other kinds than `tests.services.RedisServer`: a cluster."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from tests.server import PATIENCE
from tests.services import RedisServer, free_port

__all__ = ["cluster"]


@contextlib.contextmanager
def cluster() -> Iterator[RedisServer]:
    """Run a cluster of one server, which has all slots and refuses keys of two slots as any cluster does."""
    with RedisServer("--cluster-enabled", "yes", "--cluster-port", str(free_port())) as server:
        import redis

        client = redis.Redis(port=server.port)
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        end = time.monotonic() + PATIENCE
        while "ok" not in str(client.execute_command("CLUSTER", "INFO")).partition("cluster_state")[2][:8]:
            if time.monotonic() > end:
                pytest.fail("the cluster did not become ready")
            time.sleep(0.05)
        client.close()
        yield server
