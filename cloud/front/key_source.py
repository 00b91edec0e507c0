"""Where the keys of tokens come from, and how they are kept fresh."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

import httpx

from cloud.front.token_keys import MAX_KEY_FILE_BYTES, TokenKey, file_keys, is_address, jwks_keys, secret_key
from cloud.refusals import Reason, Refusal
from shared.clock import Clock
from shared.errors import StorageError, reason_of
from shared.files import stamp

FETCH_TIMEOUT_S: Final = 5.0
KEYS_LIFE_S: Final = 600.0
"""How long fetched keys are not asked for again. A judgement: keys are rotated over days."""
RETRY_S: Final = 30.0
"""Shortest time between two fetches, whatever names tokens give."""
MAX_STALE_S: Final = 24 * 3600.0
"""How long keys are used while their source cannot be reached. A judgement."""

logger = logging.getLogger("wayword.cloud")


class KeySource(Protocol):
    """Keys now, and by name."""

    @property
    def keys(self) -> Sequence[TokenKey]:
        """All of them."""
        ...

    @property
    def generation(self) -> int:
        """Changes when the keys do."""
        ...

    async def named(self, name: str) -> Sequence[TokenKey]:
        """Those of a name, which may just have come up.

        Raises:
            Refusal: they cannot be had now.
        """
        ...

    async def upkeep(self) -> None:
        """Keep them fresh, until cancelled."""
        ...


class FileKeys:
    """Keys from files, read again when a file changes. A file that became unusable leaves the keys as they were.

    Args:
        secret: file with the household's secret; None for none.
        public: PEM or JWKS file; None for none.
        clock: of the looks at the files.

    Raises:
        StorageError: a file cannot be used.
    """

    def __init__(self, *, secret: Path | None, public: Path | None, clock: Clock) -> None:
        self._secret = secret
        self._public = public
        self._clock = clock
        self._stamps = self._look()
        self._keys = self._load()
        self._generation = 0

    @property
    def keys(self) -> Sequence[TokenKey]:
        """See `KeySource`."""
        return self._keys

    @property
    def generation(self) -> int:
        """See `KeySource`."""
        return self._generation

    async def named(self, name: str) -> Sequence[TokenKey]:
        """See `KeySource`."""
        return [key for key in self._keys if key.name == name]

    async def upkeep(self) -> None:
        """See `KeySource`."""
        while True:
            await self._clock.sleep(RETRY_S)
            self.refresh()

    def refresh(self) -> None:
        """Read the files again if they changed."""
        stamps = self._look()
        if stamps == self._stamps:
            return
        try:
            self._keys = self._load()
        except StorageError as error:
            # Tried again, though the file stays the same: perhaps this process had too many files open.
            logger.warning("token keys stay as they were: %s", error.message)
        else:
            self._stamps = stamps
            self._generation += 1

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [stamp(path) for path in (self._secret, self._public) if path is not None]

    def _load(self) -> tuple[TokenKey, ...]:
        keys: tuple[TokenKey, ...] = () if self._secret is None else (secret_key(self._secret),)
        return keys if self._public is None else (*keys, *file_keys(self._public))


class FetchedKeys:
    """Keys of a JWKS document at an https address. Call `start` first.

    Args:
        address: of the document.
        secret: file with a household's secret besides; None for none.
        clock: of the document's age.
        client: makes the HTTP client; for tests.

    Raises:
        StorageError: the secret cannot be used.
    """

    def __init__(
        self,
        address: str,
        *,
        secret: Path | None = None,
        clock: Clock,
        client: Callable[[], httpx.AsyncClient] | None = None,
    ) -> None:
        self._address = address
        self._own = () if secret is None else (secret_key(secret),)
        self._clock = clock
        self._client = client or (lambda: httpx.AsyncClient(timeout=FETCH_TIMEOUT_S, follow_redirects=False))
        self._fetched: tuple[TokenKey, ...] = ()
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._generation = 0
        self._lock = asyncio.Lock()

    @property
    def keys(self) -> Sequence[TokenKey]:
        """See `KeySource`."""
        return (*self._own, *self._fetched)

    @property
    def generation(self) -> int:
        """See `KeySource`."""
        return self._generation

    async def start(self) -> None:
        """Fetch them for the first time.

        Raises:
            StorageError: they cannot be had: a service that could let nobody in does not start.
        """
        self._take(await self._fetch())

    async def named(self, name: str) -> Sequence[TokenKey]:
        """See `KeySource`. A name that is not there is looked for once more, but not more often than `RETRY_S`."""
        self._drop_stale()
        if not (found := self._of(name)) and self._may_try():
            async with self._lock:
                # Those who waited here are answered by the fetch of the one before.
                if not self._of(name) and self._may_try():
                    await self._refresh()
            found = self._of(name)
        if not found and self._fetched_at is None:
            raise Refusal(Reason.UNREACHABLE, "the keys of tokens cannot be had now", retry_after_s=RETRY_S)
        return found

    async def upkeep(self) -> None:
        """See `KeySource`."""
        while True:
            await self._clock.sleep(RETRY_S)
            async with self._lock:
                if self._fetched_at is None or self._clock.monotonic() >= self._fetched_at + KEYS_LIFE_S:
                    await self._refresh()
            self._drop_stale()

    def _of(self, name: str) -> list[TokenKey]:
        return [key for key in self.keys if key.name == name]

    def _may_try(self) -> bool:
        return self._tried_at is None or self._clock.monotonic() >= self._tried_at + RETRY_S

    async def _refresh(self) -> None:
        try:
            self._take(await self._fetch())
        except StorageError as error:
            logger.warning("token keys stay as they were: %s", error.message)

    def _take(self, keys: tuple[TokenKey, ...]) -> None:
        self._fetched = keys
        self._fetched_at = self._clock.monotonic()
        self._generation += 1

    def _drop_stale(self) -> None:
        if self._fetched_at is not None and self._clock.monotonic() >= self._fetched_at + MAX_STALE_S:
            self._fetched, self._fetched_at = (), None
            self._generation += 1

    async def _fetch(self) -> tuple[TokenKey, ...]:
        self._tried_at = self._clock.monotonic()
        try:
            # The client's own limit is per read; this one is for the whole.
            async with asyncio.timeout(2 * FETCH_TIMEOUT_S), self._client() as client:
                content = await _bounded(client, self._address)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
            raise StorageError(f"cannot fetch the token keys from {self._address}: {reason_of(error)}") from error
        return jwks_keys(content, source=self._address)


async def key_source(
    *, secret: Path | None, keys: str | None, clock: Clock, client: Callable[[], httpx.AsyncClient] | None = None
) -> KeySource:
    """The source of the settings' keys, ready to use.

    Args:
        secret: file with a household's secret.
        keys: PEM or JWKS file, or https address of a JWKS document.
        clock: of their age.
        client: makes the HTTP client; for tests.

    Raises:
        StorageError: they cannot be had.
        UsageError: the address is not one that is fetched.
    """
    if keys is not None and is_address(keys):
        fetched = FetchedKeys(keys, secret=secret, clock=clock, client=client)
        await fetched.start()
        return fetched
    return FileKeys(secret=secret, public=None if keys is None else Path(keys), clock=clock)


async def _bounded(client: httpx.AsyncClient, address: str) -> bytes:
    content = bytearray()
    async with client.stream("GET", address, headers={"accept-encoding": "identity"}) as response:
        if response.status_code != httpx.codes.OK:
            raise StorageError(f"{address} answered {response.status_code} instead of token keys")
        async for part in response.aiter_raw():
            content += part
            if len(content) > MAX_KEY_FILE_BYTES:
                raise StorageError(f"what {address} answers is too large for token keys")
    return bytes(content)
