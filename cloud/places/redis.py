"""Votes on signs in Redis, for several replicas that share them.

Keys, below a prefix:

* ``cell:CELL:TARGET``, a hash. Of each reading, named by its digest: ``s:DIGEST`` what it says, as JSON, ``n:DIGEST``
  how many vote for it, and for each vote ``v:DIGEST:DEVICE`` its day and picture hash. ``votes`` counts them all.
* ``device:DEVICE``, a set of ``CELL TARGET DIGEST``: what to take back when the device forgets.
* ``budget:DEVICE:DAY``, a count.

A vote is added, with what it replaces, or taken back in one script, so that replicas never see half of that. Every one
of these keys is given a time to live and is gone by itself when nothing is added for the time of retention; younger
cells lose their old votes in `expire`. The keys of one script lie in different slots: a Redis Cluster is not supported.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import redis.asyncio as redis_client
from redis.exceptions import RedisError

from cloud.places.store import Caps, Taken, digest_of
from shared.errors import StorageError
from shared.places.memory import DAY_S
from shared.places.reading import PlaceEngine, PlaceReading
from shared.places.trust import Vote

PREFIX: Final = "wayword:places:"
TIMEOUT_S: Final = 1.0
"""Of connecting and of each answer: a recall is given up long before."""
MAX_CONNECTIONS: Final = 32
_BUDGET_TTL_S: Final = 2 * DAY_S
_SCANNED: Final = 500
"""Keys looked at in one step of `expire`."""

_REMOVE: Final = """
local function remove(cell, device, digest, name, member)
  redis.call('SREM', device, member)
  if redis.call('HDEL', cell, 'v:' .. digest .. ':' .. name) == 0 then return 0 end
  if redis.call('HINCRBY', cell, 'n:' .. digest, -1) <= 0 then
    redis.call('HDEL', cell, 'n:' .. digest, 's:' .. digest)
  end
  redis.call('HINCRBY', cell, 'votes', -1)
  return 1
end
"""
_PUT: Final = (
    _REMOVE
    + """
local old = cjson.decode(ARGV[10])
if tonumber(redis.call('GET', KEYS[3]) or '0') >= tonumber(ARGV[1]) then return 'device full' end
local gone = 0
for index = 1, #old do
  if KEYS[2 + 2 * index] == KEYS[1] then
    gone = gone + redis.call('HEXISTS', KEYS[1], 'v:' .. old[index][1] .. ':' .. old[index][2])
  end
end
if tonumber(redis.call('HGET', KEYS[1], 'votes') or '0') - gone >= tonumber(ARGV[2]) then return 'cell full' end
for index = 1, #old do
  remove(KEYS[2 + 2 * index], KEYS[3 + 2 * index], old[index][1], old[index][2], old[index][3])
end
redis.call('INCR', KEYS[3])
redis.call('EXPIRE', KEYS[3], ARGV[4])
if redis.call('HSET', KEYS[1], 'v:' .. ARGV[5] .. ':' .. ARGV[6], ARGV[7]) == 1 then
  redis.call('HSET', KEYS[1], 's:' .. ARGV[5], ARGV[8])
  redis.call('HINCRBY', KEYS[1], 'n:' .. ARGV[5], 1)
  redis.call('HINCRBY', KEYS[1], 'votes', 1)
end
redis.call('SADD', KEYS[2], ARGV[9])
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[3])
return 'yes'
"""
)
_TAKE_BACK: Final = _REMOVE + "return remove(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])"


class RedisPlaces:
    """A `PlaceStore` in Redis. Make it inside a running event loop.

    Args:
        client: see `connect`; closed with the store.
        retention_days: after which nothing of a vote may be left.
        prefix: of every key.
    """

    def __init__(self, client: redis_client.Redis, *, retention_days: int, prefix: str = PREFIX) -> None:
        self._client: Any = client  # whose types say "awaitable or not" of every command
        self._prefix = prefix
        self._ttl_s = (retention_days + 1) * DAY_S
        self._put: Any = client.register_script(_PUT)
        self._take_back: Any = client.register_script(_TAKE_BACK)

    async def votes(self, cells: Sequence[str], target: str, *, since: int) -> list[Vote]:
        """See `PlaceStore.votes`."""
        async with failing(), self._client.pipeline(transaction=False) as pipeline:
            for cell in cells:
                pipeline.hgetall(self._cell(cell, target))
            answers = await pipeline.execute()
        return [
            vote
            for cell, fields in zip(cells, answers, strict=True)
            for vote in _votes(fields, cell, target)
            if vote.day >= since
        ]

    async def put(self, vote: Vote, *, instead: Sequence[Vote], caps: Caps) -> Taken:
        """See `PlaceStore.put`."""
        reading, device = vote.reading, vote.device.hex()
        digest = digest_of(reading).hex()
        keys = [
            self._cell(reading.cell, reading.target),
            f"{self._prefix}device:{device}",
            f"{self._prefix}budget:{device}:{vote.day}",
        ]
        old = []
        for other in instead:
            keys += [
                self._cell(other.reading.cell, other.reading.target),
                f"{self._prefix}device:{other.device.hex()}",
            ]
            old.append([digest_of(other.reading).hex(), other.device.hex(), _member(other.reading)])
        said = json.dumps([reading.text, reading.translation, reading.source, reading.engine.value], ensure_ascii=False)
        picture = "" if reading.picture_hash is None else f"{reading.picture_hash:x}"
        arguments = [
            caps.device_a_day,
            caps.cell,
            self._ttl_s,
            _BUDGET_TTL_S,
            digest,
            device,
            f"{vote.day}:{picture}",
            said,
            _member(reading),
            json.dumps(old),
        ]
        async with failing():
            answer = await self._put(keys=keys, args=arguments)
        return Taken(answer.decode())

    async def withdraw(self, devices: Sequence[bytes]) -> int:
        """See `PlaceStore.withdraw`."""
        removed = 0
        async with failing():
            for device in devices:
                name = f"{self._prefix}device:{device.hex()}"
                # The set goes with its last member, and not sooner: a vote that comes meanwhile must stay in it, or the
                # device could never take it back.
                for member in await self._client.smembers(name):
                    removed += await self._remove(member.decode(), device.hex())
        return removed

    async def expire(self, before: int) -> int:
        """See `PlaceStore.expire`."""
        removed = 0
        async with failing():
            async for key in self._client.scan_iter(match=f"{self._prefix}cell:*", count=_SCANNED):
                cell, target = key.decode().removeprefix(f"{self._prefix}cell:").split(":")
                for vote in _votes(await self._client.hgetall(key), cell, target):
                    if vote.day < before:
                        removed += await self._remove(_member(vote.reading), vote.device.hex())
        return removed

    async def close(self) -> None:
        """See `PlaceStore.close`."""
        await self._client.aclose()

    async def _remove(self, member: str, device: str) -> int:
        cell, target, digest = member.split(" ")
        keys = [self._cell(cell, target), f"{self._prefix}device:{device}"]
        return int(await self._take_back(keys=keys, args=[digest, device, member]))

    def _cell(self, cell: str, target: str) -> str:
        return f"{self._prefix}cell:{cell}:{target}"


def connect(url: str) -> redis_client.Redis:
    """A client that bounds its connections and its waits.

    Args:
        url: such as "redis://:password@host:6379/0", "rediss://..." or "unix:///path".
    """
    # Blocking: a burst of look-ups waits for a connection instead of failing for want of one.
    pool: Any = redis_client.BlockingConnectionPool.from_url(
        url,
        timeout=TIMEOUT_S,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        max_connections=MAX_CONNECTIONS,
        health_check_interval=30,
    )
    return redis_client.Redis.from_pool(pool)


@asynccontextmanager
async def failing() -> AsyncIterator[None]:
    """Redis's failures as ours; its message may quote what was stored, and its address a password.

    Raises:
        StorageError: Redis refuses, or cannot be reached in time.
    """
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise StorageError(f"the Redis of the places does not answer: {type(error).__name__}") from error


def _votes(fields: dict[bytes, bytes], cell: str, target: str) -> list[Vote]:
    """The votes in one cell."""
    readings: dict[str, PlaceReading] = {}
    for name, value in fields.items():
        if name.startswith(b"s:"):
            text, translation, source, engine = json.loads(value)
            readings[name[2:].decode()] = PlaceReading(
                cell, text, translation, source, target, engine=PlaceEngine(engine)
            )
    found = []
    for name, value in fields.items():
        if not name.startswith(b"v:"):
            continue
        _, digest, device = name.decode().split(":")
        day, picture = value.decode().split(":")
        said = readings.get(digest)
        if said is None:
            continue  # its words were evicted by a Redis that has too little memory
        reading = PlaceReading(
            cell,
            said.text,
            said.translation,
            said.source,
            target,
            picture_hash=int(picture, 16) if picture else None,
            engine=said.engine,
        )
        found.append(Vote(reading, bytes.fromhex(device), int(day)))
    return found


def _member(reading: PlaceReading) -> str:
    return f"{reading.cell} {reading.target} {digest_of(reading).hex()}"
