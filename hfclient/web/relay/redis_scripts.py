"""The Lua scripts of `RedisStore`. Each one is atomic, and the keys of each one are in one slot of a cluster.

A run has three keys with one hash tag:

* ``run``, a hash: key, owner (missing for None), created, status, fence, lease, stop, first, last, attended, dead (the end of its
  time to live), holder (name of the process that generates it), ttl, keep, bytes (size of the log's data), changes (a counter).
  Times are milliseconds of the server's clock. It expires last, as the tombstone.
* ``log``, a stream: an entry ``<number of its last event>-0`` for each batch (n: its events, d: its data), and an entry
  ``<last event>-<changes>`` (x) for every other change, so that a blocked read returns then, too.
* ``data``, a hash: state and end.

Commands: TIME, HMGET, HSET, EXISTS, DEL, PEXPIRE, XADD with explicit ids, XRANGE, XREVRANGE, XDEL, RPUSH, LRANGE, LREM, SET, GET,
ZADD, ZREMRANGEBYSCORE, ZREMRANGEBYRANK, and outside of scripts XREAD BLOCK, LRANGE, GET, ZRANGE, ZREM. TIME before a write needs Redis 5 or later.
"""

from __future__ import annotations

from hfclient.web.relay.redis_commands import Script

__all__ = ["ATTEND", "CLAIM", "CREATE", "DROP", "GET", "INDEX", "JOIN", "LAST_IDS", "LEAVE", "POST", "READ", "RELEASE", "STOP", "TAKE_OVER", "WRITE"]

_COMMON = """
if redis.replicate_commands then redis.replicate_commands() end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + (clock[2] - clock[2] % 1000) / 1000
local ends = {completed = true, interrupted = true, failed = true}
-- A number above 2^53 or with a decimal point never occurs; '%.0f' keeps Lua from writing 1.7e+12.
local function text(number) return string.format('%.0f', number) end
local function load(run)
  local r = redis.call('HMGET', run, 'status', 'fence', 'lease', 'first', 'last', 'dead', 'bytes', 'changes', 'ttl', 'keep')
  if not r[1] then return nil end
  local known = {status = r[1], fence = r[2], lease = tonumber(r[3]), first = tonumber(r[4]), last = tonumber(r[5]),
    dead = tonumber(r[6]), bytes = tonumber(r[7]), changes = tonumber(r[8]), ttl = tonumber(r[9]), keep = tonumber(r[10])}
  known.open = not ends[known.status] and now < known.dead
  return known
end
-- One text for all numbers: a client decodes three values instead of thirteen.
local function record(run, log, data)
  local r = redis.call('HMGET', run, 'created', 'status', 'fence', 'lease', 'stop', 'first', 'last', 'attended', 'dead', 'holder',
    'key', 'owner')
  if not r[1] then return false end
  local gone = now >= tonumber(r[9])  -- the log and the data may expire a moment later
  if gone or redis.call('EXISTS', log) == 0 then r[6] = text(tonumber(r[7]) + 1) end
  local numbers = text(now)
  for i = 1, 10 do numbers = numbers .. ' ' .. (r[i] or '') end
  local reply = {numbers, r[11], r[12]}
  if data then
    local more = redis.call('HMGET', data, 'state', 'end')
    reply[4], reply[5] = more[1], more[2]
  end
  return reply, gone
end
local function changed(run, log, known)
  known.changes = known.changes + 1
  redis.call('HSET', run, 'changes', text(known.changes))
  redis.call('XADD', log, text(known.last) .. '-' .. text(known.changes), 'x', '1')
end
local function renew(run, log, data, known)
  known.dead = now + known.ttl
  redis.call('HSET', run, 'dead', text(known.dead))
  redis.call('PEXPIRE', run, text(known.ttl + known.keep))
  redis.call('PEXPIRE', log, text(known.ttl))
  redis.call('PEXPIRE', data, text(known.ttl))
end
"""


def _script(body: str) -> Script:
    return Script(_COMMON + body)


CREATE = _script("""
local run, log, data = KEYS[1], KEYS[2], KEYS[3]
local key, owner, state, lease, fence, last, ttl, keep, holder = unpack(ARGV)
if redis.call('EXISTS', run) == 0 then
  redis.call('DEL', log, data)
  redis.call('HSET', run, 'key', key, 'created', text(now), 'status', 'queued', 'fence', fence, 'lease', text(now + lease),
    'first', text(last + 1), 'last', last, 'holder', holder, 'ttl', ttl, 'keep', keep, 'bytes', '0', 'changes', '0')
  if owner ~= '' then redis.call('HSET', run, 'owner', string.sub(owner, 2)) end
  if state ~= '' then redis.call('HSET', data, 'state', string.sub(state, 2)) end
  renew(run, log, data, {ttl = tonumber(ttl), keep = tonumber(keep)})
end
return record(run, log, data)
""")
"""KEYS: run, log, data. ARGV: key, owner and state (empty for None, otherwise ``+`` and the text), lease, fence, last, ttl, keep, holder."""

GET = _script("return record(KEYS[1], KEYS[2], KEYS[3])")
"""KEYS: run, log, data."""

READ = _script("""
local found, gone = record(KEYS[1], KEYS[2], KEYS[3])
if not found then return false end
if gone then return {found, {}} end
local batches, size, start, space = {}, 0, text(ARGV[1] + 1) .. '-0', tonumber(ARGV[2])
while true do
  local entries = redis.call('XRANGE', KEYS[2], start, '+', 'COUNT', 100)
  for _, entry in ipairs(entries) do
    local fields = entry[2]
    if fields[1] == 'n' then
      size = size + #fields[4]
      if size > space and #batches > 0 then return {found, batches} end
      batches[#batches + 1] = {entry[1], fields[2], fields[4]}
    end
    start = entry[1]
  end
  if #entries < 100 then return {found, batches} end
  local number, change = string.match(start, '(%d+)-(%d+)')
  start = number .. '-' .. text(change + 1)
end
""")
"""KEYS: run, log, data. ARGV: the number behind which to read, maximum size of the data. Returns the record and ids, counts, data."""

WRITE = _script("""
local ttl, keep, most_events, most_bytes, holder = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local at, replies = 6, {}
for i = 1, #KEYS, 3 do
  local run, log, data = KEYS[i], KEYS[i + 1], KEYS[i + 2]
  local fence, lease, status, state, finish, count = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], tonumber(ARGV[at + 5])
  at = at + 6
  local known = load(run)
  if known and known.open and known.fence == fence then
    if known.first <= known.last and redis.call('EXISTS', log) == 0 then  -- the server has evicted the log
      known.first, known.bytes = known.last + 1, 0
    end
    local gap = false
    for b = 0, count - 1 do
      local first, events, bytes = tonumber(ARGV[at + 3 * b]), tonumber(ARGV[at + 3 * b + 1]), ARGV[at + 3 * b + 2]
      local last = first + events - 1
      if last > known.last then
        if first ~= known.last + 1 then gap = true end
        if not gap then
          redis.call('XADD', log, text(last) .. '-0', 'n', text(events), 'd', bytes)
          known.last = last
          known.bytes = known.bytes + #bytes
        end
      end
    end
    while known.bytes > most_bytes or known.last - known.first + 1 > most_events do
      local entry = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
      if not entry then break end
      local last = tonumber(string.match(entry[1], '%d+'))
      if entry[2][1] == 'n' then
        if last == known.last then break end
        known.first, known.bytes = last + 1, known.bytes - #entry[2][4]
      end
      redis.call('XDEL', log, entry[1])
    end
    if gap then status, finish = '', '' end
    if status ~= '' then redis.call('HSET', run, 'status', status) end
    if state ~= '' then redis.call('HSET', data, 'state', string.sub(state, 2)) end
    if finish ~= '' then redis.call('HSET', data, 'end', string.sub(finish, 2)) end
    local held = lease > 0 and not ends[status]
    redis.call('HSET', run, 'lease', held and text(now + lease) or text(now), 'first', text(known.first), 'last', text(known.last),
      'bytes', text(known.bytes), 'ttl', text(ttl), 'keep', text(keep), 'holder', held and holder or '')
    if status ~= '' or finish ~= '' or lease == 0 then changed(run, log, known) end
    known.ttl, known.keep = ttl, keep
    renew(run, log, data, known)
  end
  at = at + 3 * count
  replies[#replies + 1] = record(run, log)
end
return replies
""")
"""KEYS: run, log, data of each write. ARGV: ttl, keep, events, bytes, holder, then for each write: fence, lease, status, state, end, number of
batches, and first, count, data of each batch. Returns the records, without state and end."""

TAKE_OVER = _script("""
local known = load(KEYS[1])
if not known or not known.open or (known.lease > now and known.fence ~= ARGV[3]) then return false end
redis.call('HSET', KEYS[1], 'fence', text(known.fence + 1), 'lease', text(now + ARGV[1]), 'holder', ARGV[2])
changed(KEYS[1], KEYS[2], known)
renew(KEYS[1], KEYS[2], KEYS[3], known)
return record(KEYS[1], KEYS[2], KEYS[3])
""")
"""KEYS: run, log, data. ARGV: lease, holder, and the fence of a run whose lease need not have expired, or nothing."""

STOP = _script("""
local known = load(KEYS[1])
if known and known.open and redis.call('HGET', KEYS[1], 'stop') ~= '1' then
  redis.call('HSET', KEYS[1], 'stop', '1')
  changed(KEYS[1], KEYS[2], known)
  redis.call('PEXPIRE', KEYS[2], text(known.dead - now))
end
return record(KEYS[1], KEYS[2], KEYS[3])
""")
"""KEYS: run, log, data."""

ATTEND = _script("""
local known = load(KEYS[1])
if known and known.open then redis.call('HSET', KEYS[1], 'attended', text(now)) end
""")
"""KEYS: run."""

DROP = Script("""
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
""")
"""KEYS: run, log, data. ARGV: fence."""

LAST_IDS = Script("""
local ids = {}
for i, log in ipairs(KEYS) do
  local newest = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  ids[i] = newest and newest[1] or '0-0'
end
return ids
""")
"""KEYS: logs. Returns the id of the newest entry of each."""

POST = Script("""
redis.call('XADD', KEYS[1], 'MAXLEN', '~', 1000, '*', 'run', ARGV[1])
redis.call('PEXPIRE', KEYS[1], 120000)
""")
"""KEYS: the inbox of a process. ARGV: id of the run that was changed there, or nothing to end its blocked read."""

INDEX = _script("""
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text((now - ARGV[2]) * 1000))
redis.call('ZADD', KEYS[1], 'NX', text(clock[1] * 1000000 + clock[2]), ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -10001)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
""")
"""KEYS: the index, with scores in microseconds. ARGV: id of a run, milliseconds after which an entry is forgotten."""

JOIN = Script("""
local queue = redis.call('LRANGE', KEYS[1], 0, -1)
local found = false
for _, id in ipairs(queue) do found = found or id == ARGV[1] end
if not found and #queue < tonumber(ARGV[2]) then
  redis.call('RPUSH', KEYS[1], ARGV[1])
  queue[#queue + 1] = ARGV[1]
  found = true
end
if found then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return queue
""")
"""KEYS: a queue. ARGV: id of a run, limit, ttl."""

LEAVE = Script("return redis.call('LREM', KEYS[1], 0, ARGV[1])")
"""KEYS: a queue. ARGV: id of a run."""

CLAIM = Script("""
local id = redis.call('GET', KEYS[1])
if id and id ~= ARGV[1] then return id end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
""")
"""KEYS: a name. ARGV: id of a run, ttl."""

RELEASE = Script("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0")
"""KEYS: a name. ARGV: id of a run."""
