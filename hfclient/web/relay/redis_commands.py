"""Commands and scripts on a Redis server: bounded connections, deadlines, and one exception for every failure.

redis-py (5 to 8) differs between versions and between RESP 2 and RESP 3 in what it returns and in how long it waits. What this
module returns does not differ.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from hfclient.errors import InvalidInputError, MissingDependencyError
from hfclient.web.errors import StoreUnavailable

try:
    import redis
    from redis.backoff import ExponentialBackoff
    from redis.client import NEVER_DECODE
    from redis.exceptions import (
        MaxConnectionsError,
        MovedError,
        NoScriptError,
        ReadOnlyError,
        RedisClusterException,
        RedisError,
    )
    from redis.retry import Retry
except ImportError as exc:  # pragma: no cover (the extra is not installed)
    raise MissingDependencyError("a store or checkpoint in Redis needs the package redis: pip install 'hfclient[redis]'") from exc

__all__ = ["Entry", "Reading", "RedisCommands", "Script"]

_RAW: Final[dict[str, Any]] = {NEVER_DECODE: []}
"""An option of each command: a client with ``decode_responses=True`` returns bytes, too. A log may hold any bytes."""
Entry: TypeAlias = tuple[str, dict[bytes, bytes]]
"""An entry of a stream: its id and its fields."""
_FAILURES: Final = (RedisError, RedisClusterException, OSError)
_LONGEST_WAIT: Final = 10.0
"""Seconds of one blocking read; then it is sent again, which also finds a connection that is dead without a sign."""


class Script:
    """A Lua script, known to the server by its SHA-1 digest.

    Args:
        source: The text. Its keys are ``KEYS``, all in one slot of a cluster.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class RedisCommands:
    """Sends commands to one Redis server or cluster. Threads, greenlets and forked children may share it.

    Args:
        server: A URL (``redis://``, ``rediss://``, ``unix://``), or a client: ``redis.Redis``, one of a Sentinel, or
            ``redis.RedisCluster``.
        timeout: Seconds for a connection, and for an answer. With a client its own timeouts apply.
        connections: Greatest number of open connections, besides those of blocking reads. With a client its own pool applies.

    Raises:
        ValueError: The URL cannot be used.
        TypeError: The client is not of redis-py, or is an asynchronous one.
    """

    def __init__(self, server: str | Any, *, timeout: float = 5.0, connections: int = 16) -> None:
        self._owned = isinstance(server, str)
        self._client: Any
        self._reader: Any
        if isinstance(server, str):
            self._client = _client(server, timeout, connections, timeout)
            self._reader = _client(server, timeout, None, timeout + _LONGEST_WAIT)
        else:
            self._client = self._reader = server
        if not isinstance(self._client, (redis.Redis, redis.RedisCluster)):
            raise TypeError(f"RedisStore needs a URL, a redis.Redis or a redis.RedisCluster, not {type(server).__name__}")
        self.is_cluster = isinstance(self._client, redis.RedisCluster)
        self.longest_wait = self._longest_wait()
        self.address = self._address()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"

    def run(self, script: Script, keys: Iterable[str], *args: str | bytes | float) -> Any:
        """Run *script* and return its result, with texts as bytes.

        Raises:
            StoreUnavailable: The server did not do it, or did it and the answer was lost.
        """
        names = list(keys)
        try:
            try:
                return self._client.execute_command("EVALSHA", script.digest, len(names), *names, *args, **_RAW)
            except NoScriptError:  # the server was restarted, or another one has taken over
                return self._client.execute_command("EVAL", script.source, len(names), *names, *args, **_RAW)
        except _FAILURES as exc:
            raise self._unavailable(exc) from exc

    def send(self, *command: str | bytes | float) -> Any:
        """Send a plain command about one key and return its result, with texts as bytes.

        Raises:
            StoreUnavailable: As for `run`.
        """
        try:
            return self._client.execute_command(*command, **_RAW)
        except _FAILURES as exc:
            raise self._unavailable(exc) from exc

    def read(self, positions: Mapping[str, str], seconds: float, count: int = 0) -> dict[str, list[Entry]]:
        """Return the entries of streams behind *positions*; wait up to *seconds* for the first one.

        Args:
            positions: The id behind which to read, for each stream. All streams are in one slot.
            seconds: At most `longest_wait`; 0 does not wait.
            count: Most entries of each stream; 0 for all.

        Raises:
            StoreUnavailable: The server cannot be read.
        """
        return self._read(self._reader, positions, seconds, count)

    def _read(self, client: Any, positions: Mapping[str, str], seconds: float, count: int) -> dict[str, list[Entry]]:
        command: list[str | int] = ["XREAD"]
        if count:
            command += ["COUNT", count]
        if seconds > 0:
            command += ["BLOCK", max(1, int(min(seconds, self.longest_wait) * 1000))]
        command += ["STREAMS", *positions, *positions.values()]
        options: dict[str, Any] = dict(_RAW)
        try:
            if self.is_cluster:  # without this redis-py asks the server for the keys of each XREAD (COMMAND GETKEYS)
                options["target_nodes"] = self._client.get_node_from_key(next(iter(positions)))
            return _streams(client.execute_command(*command, **options))
        except _FAILURES as exc:
            raise self._unavailable(exc) from exc

    def _dedicated(self) -> Any:
        """Return a client with one connection of its own, which it has already."""
        try:
            return self._reader.client()
        except _FAILURES as exc:
            raise self._unavailable(exc) from exc

    def close(self) -> None:
        """Close the connections, unless they are those of a client that the caller gave."""
        if self._owned:
            with contextlib.suppress(*_FAILURES):
                self._client.connection_pool.disconnect()
                self._reader.connection_pool.disconnect()

    def _unavailable(self, exc: Exception) -> StoreUnavailable:
        if isinstance(exc, ReadOnlyError) and not self.is_cluster:
            # A failover: this server is a replica now. The name, or the Sentinel, leads to the new one.
            pool = self._client.connection_pool
            with contextlib.suppress(*_FAILURES):
                try:
                    pool.disconnect(inuse_connections=False)
                except TypeError:  # a blocking pool of redis-py 5, which would close those in use, too
                    pool.reset()
        if isinstance(exc, MaxConnectionsError) or "No connection available" in str(exc):
            return StoreUnavailable(f"all connections to Redis at {self.address} are in use: raise `connections`, or the pool of the client")
        if isinstance(exc, MovedError):
            return StoreUnavailable(f"Redis at {self.address} is a cluster: pass a redis.RedisCluster instead of a URL")
        return StoreUnavailable(f"Redis at {self.address} did not answer as it must: {type(exc).__name__}: {exc}")

    def _pool_options(self) -> dict[str, Any]:
        if self.is_cluster:  # of any of its nodes
            node = self._client.get_default_node()
            pool = getattr(node.redis_connection, "connection_pool", None) if node is not None else None
            return dict(getattr(pool, "connection_kwargs", {}))
        return dict(self._client.connection_pool.connection_kwargs)

    def _longest_wait(self) -> float:
        # The default of redis-py 8 is 5 seconds, earlier versions have no limit. A blocking read must end before it.
        limit = self._pool_options().get("socket_timeout", 5.0)
        return min(_LONGEST_WAIT, limit / 2) if limit and not self._owned else _LONGEST_WAIT

    def _address(self) -> str:
        options = self._pool_options()
        if "path" in options:
            return str(options["path"])
        if "host" not in options:
            return str(options.get("service_name", "its address"))
        return f"{options['host']}:{options.get('port', 6379)}"


class Reading:
    """Blocking reads of one caller, on one connection.

    redis-py replaces a lost connection and asks again, without a word. Behind the new one may be another server, or the same one with
    older data, where the positions of the caller lead past new entries. So here a lost connection is an error: the caller looks anew.
    The client of a cluster chooses the connections itself; there an error is what the client makes one.

    Args:
        commands: The server.
    """

    def __init__(self, commands: RedisCommands) -> None:
        self._commands = commands
        self._client: Any = None

    def open(self) -> None:
        """Connect, if there is no connection: what is asked from now on belongs to the positions of its reads.

        Raises:
            StoreUnavailable: The server cannot be reached.
        """
        if self._client is None and not self._commands.is_cluster:
            self._client = self._commands._dedicated()
            self._client.connection.register_connect_callback(self._connected_again)

    def read(self, positions: Mapping[str, str], seconds: float, count: int = 0) -> dict[str, list[Entry]]:
        """As `RedisCommands.read`.

        Raises:
            StoreUnavailable: The server cannot be read, or the connection was lost since `open`.
        """
        self.open()
        if self._client is None:
            return self._commands.read(positions, seconds, count)
        try:
            return self._commands._read(self._client, positions, seconds, count)
        except _ConnectedAgain:
            self.close()
            raise StoreUnavailable(f"the connection to Redis at {self._commands.address} was lost, and there is a new one") from None
        except BaseException:
            self.close()
            raise

    def _connected_again(self, connection: object) -> None:
        if self._client is not None:
            raise _ConnectedAgain

    def close(self) -> None:
        """Give the connection back."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(AttributeError):  # redis-py 5.0 has no such method; the callback does nothing any more
                client.connection.deregister_connect_callback(self._connected_again)
            with contextlib.suppress(*_FAILURES):
                client.close()


class _ConnectedAgain(Exception):
    """redis-py has replaced the connection. It is none of the errors after which it tries again."""


def _client(url: str, timeout: float, connections: int | None, answer: float) -> redis.Redis:
    options: dict[str, Any] = {
        "socket_timeout": answer,
        "socket_connect_timeout": timeout,
        "socket_keepalive": True,
        "health_check_interval": 30,
        # Once more, at once, on another connection: one that was idle while the server restarted fails at its next use.
        "retry": Retry(ExponentialBackoff(cap=0.2, base=0.02), 1, supported_errors=(redis.ConnectionError,)),
    }
    try:
        pool: redis.ConnectionPool
        if connections is None:
            pool = redis.ConnectionPool.from_url(url, **options)
        else:
            pool = redis.BlockingConnectionPool.from_url(url, max_connections=connections, timeout=timeout, **options)
    except ValueError as exc:
        reason = str(exc) if "scheme" in str(exc) else "its host, port or database cannot be read; quote special characters in the password"
        raise InvalidInputError(f"RedisStore cannot use this URL: {reason}") from None  # the text may have a part of the password
    return redis.Redis(connection_pool=pool)


def _streams(reply: Any) -> dict[str, list[Entry]]:
    """Return a reply of XREAD: RESP 2 has a list of pairs, RESP 3 a dict, in some versions with one more list around the entries."""
    pairs = reply.items() if isinstance(reply, dict) else reply or ()
    found: dict[str, list[Entry]] = {}
    for name, entries in pairs:
        if len(entries) == 1 and isinstance(entries[0], list):
            [entries] = entries
        found[name.decode()] = [(number.decode(), fields) for number, fields in entries if fields]
    return found
