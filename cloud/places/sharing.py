"""Shared places: who may add what, what may be told of it, and when it is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from cloud.places.keys import ContributorKeys
from cloud.places.store import Caps, PlaceStore, Taken
from shared.clock import Clock
from shared.places.cells import around
from shared.places.matching import Glimpse, Match, best_match, match, match_text, text_key
from shared.places.memory import day_of
from shared.places.privacy import looks_private
from shared.places.reading import KnownSign, PlaceReading
from shared.places.trust import MIN_DEVICES, Vote, weigh

T = TypeVar("T")

MAX_AT_ONCE: Final = 64
"""Votes that are judged on the event loop: a few milliseconds at most. A judgement."""


class SharedPlaces:
    """A `shared.places.memory.PlaceMemory` for many devices.

    Args:
        store: of the votes.
        keys: of the contributors.
        clock: tells the day.
        caps: of a device and a cell.
        retention_days: how long a vote lives.
        least_devices: k: what fewer devices read alike is told to nobody.
    """

    def __init__(
        self,
        store: PlaceStore,
        keys: ContributorKeys,
        *,
        clock: Clock,
        caps: Caps,
        retention_days: int,
        least_devices: int = MIN_DEVICES,
    ) -> None:
        self._store = store
        self._keys = keys
        self._clock = clock
        self._caps = caps
        self._retention_days = retention_days
        self._least_devices = least_devices

    async def remember(self, reading: PlaceReading, *, device: str = "") -> bool:
        """See `PlaceMemory.remember`. A device without a name, and a text that looks private, are not remembered."""
        return await self.contribute(reading, device=device) is Taken.YES

    async def contribute(self, reading: PlaceReading, *, device: str) -> Taken | None:
        """As `remember`, and says why it was not taken; None where it must not be kept at all.

        Raises:
            StorageError: the store or the keys fail.
        """
        if not device or looks_private(reading.text) or looks_private(reading.translation):
            return None
        today = day_of(self._clock.wall())
        names = await self._keys.names(device, today=today)
        near = around(reading.cell)
        # Two rings: a look-up counts the votes of cells on either side of its own, and must not take a device's older
        # name there for another device.
        cells = tuple(dict.fromkeys(other for cell in near for other in around(cell)))
        votes = await self._store.votes(cells, reading.target, since=today - self._retention_days)
        # Under its older names too: a rotation of the keys gives nobody a second vote.
        own = [
            v
            for v in votes
            if v.device in names
            and (v.reading.cell in near or v.device != names[0])
            and match_text(v.reading.text, reading.text)
        ]
        vote = Vote(reading, names[0], today)
        if any(_same(vote, other) for other in own) and len(own) == 1:
            return Taken.YES
        return await self._store.put(vote, instead=own, caps=self._caps)

    async def recall(self, cells: Sequence[str], target: str) -> list[KnownSign]:
        """See `PlaceMemory.recall`: the signs of these cells, each judged by all votes around it."""
        asked = list(dict.fromkeys(cells))
        near = {cell: around(cell) for cell in asked}
        wanted = list(dict.fromkeys(other for others in near.values() for other in others))
        votes = await self._votes(wanted, target)

        def judge() -> list[KnownSign]:
            by_cell: dict[str, list[Vote]] = {}
            for vote in votes:
                by_cell.setdefault(vote.reading.cell, []).append(vote)
            found = []
            for cell in asked:
                if cell in by_cell:
                    here = [vote for other in near[cell] for vote in by_cell.get(other, ())]
                    # A sign seen from two cells belongs to the one from which more saw it.
                    signs = weigh(here, least_devices=self._least_devices)
                    found += [sign for sign in signs if sign.reading.cell == cell]
            found.sort(key=lambda sign: (-sign.trust, -sign.devices, sign.reading.cell, sign.reading.text))
            return found

        return await _aside(judge, votes)

    async def find(
        self, cell: str, target: str, look: Callable[[], Awaitable[Glimpse]]
    ) -> tuple[KnownSign, Match] | None:
        """The shared sign around a cell that a glimpse is of; None where there is none, or it is not clear which.

        Args:
            cell: sound, see `shared.places.cells.check_cell`.
            target: language of the translation.
            look: what was seen; asked only where anything was said, for pictures have to be decoded for it.

        Raises:
            StorageError: the store fails.
        """
        votes = await self._votes(around(cell), target)
        if not votes:
            return None
        glimpse = await look()

        def judge() -> tuple[KnownSign, Match] | None:
            texts = {(text_key(vote.reading.text), vote.reading.picture_hash): vote.reading for vote in votes}
            if all(match(glimpse, reading.text, reading.picture_hash) is None for reading in texts.values()):
                return None  # nothing to weigh: most signs are new
            return best_match(glimpse, weigh(votes, least_devices=self._least_devices, glimpse=glimpse))

        return await _aside(judge, votes)

    async def forget(self, *, device: str = "") -> int:
        """See `PlaceMemory.forget`."""
        if not device:
            return 0
        return await self._store.withdraw(await self._keys.names(device, today=day_of(self._clock.wall())))

    async def expire(self) -> int:
        """See `PlaceMemory.expire`; keys that no vote needs any more go as well."""
        today = day_of(self._clock.wall())
        removed = await self._store.expire(today - self._retention_days)
        await self._keys.expire(today=today)
        return removed

    async def close(self) -> None:
        """Let go of the store."""
        await self._store.close()

    async def _votes(self, cells: Sequence[str], target: str) -> list[Vote]:
        # Old votes count for nothing even where nobody has swept them out yet.
        return await self._store.votes(cells, target, since=day_of(self._clock.wall()) - self._retention_days)


async def _aside(judge: Callable[[], T], votes: Sequence[Vote]) -> T:
    """Judge votes; many of them in a thread, so that a full place holds up no other call."""
    return judge() if len(votes) <= MAX_AT_ONCE else await asyncio.to_thread(judge)


def _same(one: Vote, other: Vote) -> bool:
    """Whether a vote would change nothing."""
    a, b = one.reading, other.reading
    return (
        one.device == other.device
        and one.day == other.day
        and (a.cell, a.text, a.translation) == (b.cell, b.text, b.translation)
        and (a.picture_hash is None or b.picture_hash is not None)
    )
