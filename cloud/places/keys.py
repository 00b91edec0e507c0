"""Contributors of places as keyed hashes: enough to count them and to let them withdraw, not to say who they are.

A device is known to a store as the first 16 bytes of HMAC-SHA256(key, device) (RFC 2104). A new key begins every
`rotation_days`: whoever gets hold of a store, but not of the keys, cannot tell that two votes from two periods are one
device's, nor whose. A key is kept for as long as votes made under it may live, and is deleted then. Until that day

* the same device is recognised under all of its names, so that it counts once for a sign even across a rotation;
* it can withdraw all that it gave.

Once a key is gone, so are the votes made under it. What this costs: who has the store *and* the keys *and* the names of
the devices can link a device's votes over the whole time of retention.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import redis.asyncio as redis_client

from cloud.places.redis import PREFIX, failing
from shared.errors import StorageError, reason_of
from shared.files import replace_file

KEY_BYTES: Final = 32
NAME_BYTES: Final = 16
"""128 bits of the digest: 10^9 devices meet by chance with a probability of 10^-21."""
_CONTEXT: Final = b"wayword place contributor\0"


class KeyRing(Protocol):
    """Where keys are kept, by the day on which each begins."""

    async def load(self) -> Mapping[int, bytes]:
        """All keys. Raises `StorageError`."""
        ...

    async def add(self, begins: int, key: bytes) -> None:
        """Keep a new key, unless there is one for this day already. Raises `StorageError`."""
        ...

    async def drop(self, begins: int) -> None:
        """Delete a key. Raises `StorageError`."""
        ...


class ContributorKeys:
    """The names under which a device's votes are stored.

    Args:
        ring: where the keys are.
        rotation_days: how long a key is the newest.
        retention_days: how long a vote lives.
    """

    def __init__(self, ring: KeyRing, *, rotation_days: int, retention_days: int) -> None:
        self._ring = ring
        self._rotation_days = rotation_days
        self._retention_days = retention_days
        self._day: int | None = None
        self._keys: list[bytes] = []
        self._one_at_a_time = asyncio.Lock()

    async def names(self, device: str, *, today: int) -> list[bytes]:
        """Every name that votes of a device may have, the one for new votes first.

        Args:
            device: as the front knows it; not empty.
            today: see `shared.places.memory.day_of`.

        Raises:
            StorageError: the keys cannot be read or kept.
        """
        async with self._one_at_a_time:
            if self._day != today:
                self._keys = await self._of_day(today)
                self._day = today
        message = _CONTEXT + device.encode("utf-8", "surrogatepass")
        return [hmac.digest(key, message, "sha256")[:NAME_BYTES] for key in self._keys]

    async def _of_day(self, today: int) -> list[bytes]:
        """Keys of which votes may be alive, newest first."""
        # All replicas begin a key on the same day, whenever they were started.
        begins = today - today % self._rotation_days
        if begins not in await self._ring.load():
            await self._ring.add(begins, secrets.token_bytes(KEY_BYTES))
        await self._drop_old(today)
        keys = dict(await self._ring.load())  # another replica's, where it was first
        if begins not in keys:
            raise StorageError("a new key of the places' contributors was not kept")
        # One that begins later is another setting's, or of a clock that was ahead: votes may have been made under it.
        return [keys.pop(begins), *(keys[start] for start in sorted(keys, reverse=True))]

    async def expire(self, *, today: int) -> None:
        """Delete keys under which no vote is alive any more.

        Raises:
            StorageError: the keys cannot be read or kept.
        """
        async with self._one_at_a_time:
            await self._drop_old(today)

    async def _drop_old(self, today: int) -> None:
        begun = await self._ring.load()
        for start in begun:
            following = min((other for other in begun if other > start), default=start)
            # A rotation more: after a change of the setting a key goes on until the day of the change, and the next
            # one begins, by its number, before that.
            if following + self._rotation_days + self._retention_days < today:
                await self._ring.drop(start)


class FileKeys:
    """Keys in a file that only its owner may read, for one service.

    Args:
        path: of the file; its folder is made with the first key.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def load(self) -> Mapping[int, bytes]:
        """See `KeyRing.load`."""
        return await asyncio.to_thread(self._read)

    async def add(self, begins: int, key: bytes) -> None:
        """See `KeyRing.add`."""

        def write() -> None:
            keys = self._read()
            keys.setdefault(begins, key)
            self._write(keys)

        await asyncio.to_thread(write)

    async def drop(self, begins: int) -> None:
        """See `KeyRing.drop`."""

        def write() -> None:
            keys = self._read()
            keys.pop(begins, None)
            self._write(keys)

        await asyncio.to_thread(write)

    def _read(self) -> dict[int, bytes]:
        try:
            content = self._path.read_text(encoding="ascii")
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise StorageError(f"cannot read the keys of the places {self._path}: {reason_of(error)}") from error
        try:
            keys = {int(begins): bytes.fromhex(key) for begins, key in json.loads(content).items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise StorageError(f"the keys of the places {self._path} are damaged") from error
        if any(len(key) != KEY_BYTES for key in keys.values()):
            raise StorageError(f"the keys of the places {self._path} are damaged")
        return keys

    def _write(self, keys: Mapping[int, bytes]) -> None:
        content = json.dumps({str(begins): key.hex() for begins, key in sorted(keys.items())})
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            replace_file(self._path, content.encode())
        except OSError as error:
            raise StorageError(f"cannot write the keys of the places {self._path}: {reason_of(error)}") from error


class RedisKeys:
    """Keys that replicas share: one hash in the Redis that holds the votes.

    Convenient and weaker than a file: who can read the votes can read the keys.

    Args:
        client: of `cloud.places.redis.connect`; not closed here.
        prefix: of the key.
    """

    def __init__(self, client: redis_client.Redis, *, prefix: str = PREFIX) -> None:
        self._client: Any = client
        self._name = f"{prefix}keys"

    async def load(self) -> Mapping[int, bytes]:
        """See `KeyRing.load`."""
        async with failing():
            return {int(begins): bytes(key) for begins, key in (await self._client.hgetall(self._name)).items()}

    async def add(self, begins: int, key: bytes) -> None:
        """See `KeyRing.add`."""
        async with failing():
            await self._client.hsetnx(self._name, str(begins), key)

    async def drop(self, begins: int) -> None:
        """See `KeyRing.drop`."""
        async with failing():
            await self._client.hdel(self._name, str(begins))
