"""Where the votes on signs are kept: one small interface, behind it SQLite (`cloud.places.sqlite`) or Redis.

A store keeps votes and knows nothing of trust, matching or keys: `cloud.places.sharing` does. It holds no device's
name, only what `cloud.places.keys` makes of it, no time finer than a day, and no picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from shared.places.reading import PlaceReading
from shared.places.trust import Vote

DIGEST_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Caps:
    """What one device and one cell may hold.

    Attributes:
        device_a_day: votes of one device on one day.
        cell: votes in one cell and target language.
    """

    device_a_day: int
    cell: int


class Taken(StrEnum):
    """What came of a vote."""

    YES = "yes"
    CELL_FULL = "cell full"
    DEVICE_FULL = "device full"
    """The device has had its share for today."""


class PlaceStore(Protocol):
    """Keeps votes. Every method raises `StorageError` where the store fails."""

    async def votes(self, cells: Sequence[str], target: str, *, since: int) -> list[Vote]:
        """Every vote in some cells for a target language, of a day or later."""
        ...

    async def put(self, vote: Vote, *, instead: Sequence[Vote], caps: Caps) -> Taken:
        """Add a vote in place of the same device's older votes on the same sign, all in one step.

        Args:
            vote: to add; the same reading by the same device is replaced.
            instead: votes to remove.
            caps: of the device and the cell.

        Returns:
            What came of it; nothing has changed unless it is YES.
        """
        ...

    async def withdraw(self, devices: Sequence[bytes]) -> int:
        """Remove every vote of some devices; returns how many there were."""
        ...

    async def expire(self, before: int) -> int:
        """Remove every vote of an earlier day; returns how many there were."""
        ...

    async def close(self) -> None:
        """Let go of the store."""
        ...


def digest_of(reading: PlaceReading) -> bytes:
    """What tells readings of one cell and target apart, the picture and the reader's confidence aside."""
    parts = (reading.text, reading.translation, reading.source, reading.engine.value)
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=DIGEST_BYTES).digest()
