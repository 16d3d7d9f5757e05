"""A checkpoint in Redis, which any number of processes and machines share.

Each item has one key: a claim ("c" and the name of its holder), an answer ("a" and JSON) or an error ("e" and JSON). A holder has a key
that expires, which it renews while it lives; the claims of one that is gone are free. So an item needs no command between its claim
and its answer, however long that takes. All keys of a run have one hash tag, ``{hfclient:batch:RUN}``.

Commands: GET, SET, DEL, EXISTS, HGET, HSET, HINCRBY, PEXPIRE, MGET, SCAN, EVAL, EVALSHA.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from attrs import asdict

from hfclient.batch.checkpoints import OnChange, Record
from hfclient.batch.checkpoints.runs import is_new_run
from hfclient.batch.errors import CheckpointError
from hfclient.errors import InvalidInputError
from hfclient.web.errors import StoreUnavailable
from hfclient.web.relay.redis_commands import RedisCommands, Script

__all__ = ["RedisCheckpoint"]

_LEASE = 60.0  # seconds
_RENEWALS = 4  # in the time of a lease
_PATIENCE = 60.0  # seconds that Redis may be away before the batch ends
_LARGEST = 64 << 20  # bytes of an answer
_KEYS_AT_ONCE = 500
_BYTES_AT_ONCE = 1 << 20  # of one script: Redis does nothing else meanwhile
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}

_BEGIN = Script("""
if ARGV[1] ~= '' then
  if (redis.call('HGET', KEYS[1], 'runs') or '[]') ~= ARGV[2] then return 0 end
  redis.call('HSET', KEYS[1], 'runs', ARGV[1])
end
if ARGV[3] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return 1
""")
"""KEYS: the run's hash. ARGV: the new list of runs or nothing, the old one, expiry. Returns 0 if the old one is another."""

_CLAIM = Script("""
local me, lease, expiry = ARGV[1], ARGV[2], ARGV[3]
local holders = string.sub(KEYS[1], 1, #KEYS[1] - #me)
redis.call('SET', KEYS[1], '1', 'PX', lease)
local found, is_alive = {}, {}
for i = 2, #KEYS do
  local value = redis.call('GET', KEYS[i])
  local kind = value and string.sub(value, 1, 1)
  local other = kind == 'c' and string.sub(value, 2) or me
  if kind == 'a' then
    found[i - 1] = value
  else
    if other ~= me and is_alive[other] == nil then is_alive[other] = redis.call('EXISTS', holders .. other) == 1 end
    if other ~= me and is_alive[other] then
      found[i - 1] = 't'
    else
      redis.call('SET', KEYS[i], 'c' .. me, unpack(expiry ~= '' and {'PX', expiry} or {}))
      found[i - 1] = 'm'
    end
  end
end
return found
""")
"""KEYS: this holder, items. ARGV: its name, lease, expiry. Returns for each item its answer, ``t`` for taken or ``m`` for mine."""

_SAVE = Script("""
local added = 0
for i = 2, #KEYS do
  local old = redis.call('GET', KEYS[i])
  if not old or string.sub(old, 1, 1) ~= 'a' then  -- the first answer stays
    redis.call('SET', KEYS[i], ARGV[i], unpack(ARGV[1] ~= '' and {'PX', ARGV[1]} or {}))
    if string.sub(ARGV[i], 1, 1) == 'a' then added = added + 1 end
  end
end
redis.call('HINCRBY', KEYS[1], 'answers', added)
if ARGV[1] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
""")
"""KEYS: the run's hash, items. ARGV: expiry, the value of each item."""

_RELEASE = Script("""
for _, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[1] then redis.call('DEL', key) end
end
""")
"""KEYS: items. ARGV: the value of a claim."""


class RedisCheckpoint:
    """Answers of one run in Redis; see `Checkpoint`.

    Args:
        url: ``redis://host:6379/1?run=NAME``, or ``rediss://`` or ``unix://``. Besides redis-py's own the query may have:
            ``run``, the name of the run ("default"); ``lease``, the time after which the claims of a process that has died are free (60s);
            ``expire``, the time after which an answer is removed (never), such as ``7d``. Times have the unit s, m, h or d.

    Raises:
        InvalidInputError: The URL cannot be used.
        MissingDependencyError: The package redis is not installed.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.run = query.pop("run", "default")
        self._lease = int(_milliseconds("lease", query.pop("lease", f"{_LEASE}s")))
        expiry = query.pop("expire", "")
        self._expiry = str(_milliseconds("expire", expiry)) if expiry else ""
        try:
            self._commands = RedisCommands(urlunsplit(parts._replace(query=urlencode(query))))
        except InvalidInputError as error:
            raise InvalidInputError(error.message.replace("RedisStore", "the checkpoint")) from None
        self._prefix = f"{{hfclient:batch:{self.run}}}:"
        self._me = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._end = threading.Event()
        self._renewing: threading.Thread | None = None
        self._is_open = False

    def __repr__(self) -> str:
        return f"<RedisCheckpoint {self._commands.address} run {self.run}>"

    def begin(self, run: Mapping[str, Any], on_change: OnChange = "raise") -> None:
        target = f"redis://{self._commands.address} run {self.run}"
        while True:
            old = self._send("HGET", self._key("run"), "runs") or b"[]"
            runs = json.loads(old)
            answers = int(self._send("HGET", self._key("run"), "answers") or 0)
            new = json.dumps([*runs, run]) if is_new_run(target, runs, run, on_change, answers) else ""
            if self._script(_BEGIN, [self._key("run")], new, old, self._expiry):
                self._is_open = True
                return

    def claim(self, keys: Sequence[str]) -> list[Record | Literal["mine", "taken"]]:
        found: list[Record | Literal["mine", "taken"]] = []
        for at in range(0, len(keys), _KEYS_AT_ONCE):
            some = keys[at : at + _KEYS_AT_ONCE]
            names = [self._key("holder", self._me), *(self._key("item", key) for key in some)]
            values = self._script(_CLAIM, names, self._me, self._lease, self._expiry)
            found += ["mine" if value == b"m" else "taken" if value == b"t" else _decoded(value) for value in values]
        if self._renewing is None:
            self._renewing = threading.Thread(target=self._renew, name="hfclient-batch-lease", daemon=True)
            self._renewing.start()
        return found

    def save(self, records: Iterable[Record]) -> None:
        names: list[str] = []
        values: list[bytes] = []
        size = 0
        for record in records:
            value = _encoded(record)
            if len(value) > _LARGEST:
                raise CheckpointError(
                    f"the answer to item {record.index} has {len(value):,} bytes, and a checkpoint in Redis takes {_LARGEST:,}: use a file"
                )
            names.append(self._key("item", record.key))
            values.append(value)
            size += len(value)
            if size > _BYTES_AT_ONCE or len(names) == _KEYS_AT_ONCE:
                self._script(_SAVE, [self._key("run"), *names], self._expiry, *values)
                names, values, size = [], [], 0
        if names:
            self._script(_SAVE, [self._key("run"), *names], self._expiry, *values)

    def note(self, key: str, data: Mapping[str, Any] | None) -> None:
        if data is None:
            self._send("DEL", self._key("note", key))
        else:
            expiry = ["PX", self._expiry] if self._expiry else []
            self._send("SET", self._key("note", key), json.dumps(data), *expiry)

    def notes(self, keys: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        found = self._send("MGET", *(self._key("note", key) for key in keys)) if keys else []
        return {key: json.loads(value) for key, value in zip(keys, found, strict=True) if value}

    def release(self, keys: Iterable[str]) -> None:
        if names := [self._key("item", key) for key in keys]:
            self._script(_RELEASE, names, f"c{self._me}")

    def runs(self) -> list[Mapping[str, Any]]:
        runs: list[Mapping[str, Any]] = json.loads(self._send("HGET", self._key("run"), "runs") or b"[]")
        return runs

    def records(self) -> Iterator[Record]:
        """Yield the answers and errors; keys that are added meanwhile may be missing."""
        cursor, seen = b"0", set()
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", self._key("item", "")) + "*"
        while True:
            cursor, names = self._send("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            new = [name for name in names if name not in seen]
            seen.update(new)
            for value in self._send("MGET", *new) if new else []:
                if value and value[:1] != b"c":
                    yield _decoded(value)
            if int(cursor) == 0:
                return

    def close(self) -> None:
        self._end.set()
        if self._renewing is not None:
            self._renewing.join()
            with contextlib.suppress(StoreUnavailable):  # its claims are free when it expires
                self._commands.send("DEL", self._key("holder", self._me))
            self._renewing = None
        self._commands.close()

    # Redis

    def _key(self, *names: str) -> str:
        return self._prefix + ":".join(names)

    def _renew(self) -> None:
        while not self._end.wait(self._lease / 1000 / _RENEWALS):
            with contextlib.suppress(StoreUnavailable):  # the next time, or with the next claim
                self._commands.send("SET", self._key("holder", self._me), "1", "PX", self._lease)

    def _script(self, script: Script, keys: list[str], *args: str | bytes | float) -> Any:
        return self._patiently(lambda: self._commands.run(script, keys, *args))

    def _send(self, *command: str | bytes | float) -> Any:
        return self._patiently(lambda: self._commands.send(*command))

    def _patiently(self, ask: Callable[[], Any]) -> Any:
        """Ask again while Redis is away: the answers that are not stored yet were paid for. Each command may be repeated."""
        end = time.monotonic() + (_PATIENCE if self._is_open else 0.0)
        pause = 0.05
        while True:
            try:
                return ask()
            except StoreUnavailable as error:
                if time.monotonic() + pause > end:
                    raise CheckpointError(f"the checkpoint in Redis cannot be used: {error.message}") from error
            self._end.wait(pause)
            pause = min(2 * pause, 2.0)


def _milliseconds(name: str, text: str) -> int:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)", text)
    if match is None or not float(match[1]):
        raise InvalidInputError(f"{name}={text!r} of the checkpoint's URL is not a time such as 90s, 12h or 7d")
    return max(1, round(float(match[1]) * _UNITS[match[2]] * 1000))


def _encoded(record: Record) -> bytes:
    return (b"a" if record.error is None else b"e") + json.dumps(asdict(record), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _decoded(value: bytes) -> Record:
    return Record(**json.loads(value[1:].decode("utf-8", "surrogatepass")))
