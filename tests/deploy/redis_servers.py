"""Redis servers of other kinds than `tests.services.RedisServer`: a cluster. And leases of runs that expire when a test says so."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from tests.chat.replay import wait_until
from tests.server import PATIENCE
from tests.services import RedisServer, free_port

__all__ = ["cluster", "expire_lease"]


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


_EXPIRE = """
local fence, status, last = unpack(redis.call('HMGET', KEYS[1], 'fence', 'status', 'last'))
if fence ~= ARGV[1] or status == 'completed' or status == 'interrupted' or status == 'failed' then return 0 end
redis.call('HSET', KEYS[1], 'lease', '0')
redis.call('XADD', KEYS[2], last .. '-' .. redis.call('HINCRBY', KEYS[1], 'changes', 1), 'x', '1')
return 1
"""


def expire_lease(url: str) -> None:
    """Let the lease of the only run with a lease expire now, as if its process had been silent for so long; wait until a follower has taken the run.

    The process must not write any more. Leases in these tests are long: no server is so slow that one expires by itself.
    """
    import redis

    with redis.Redis.from_url(url) as client:
        open_runs = [key for key in client.scan_iter("*:run:*") if client.hget(key, "status") in (b"queued", b"running")]
        (run,) = open_runs
        fence = client.hget(run, "fence")
        wait_until(lambda: not client.eval(_EXPIRE, 2, run, run.replace(b":run:", b":log:"), fence))
