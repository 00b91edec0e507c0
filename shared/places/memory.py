"""The one interface behind which the phone and the cloud remember places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from shared.places.reading import KnownSign, PlaceReading

DAY_S: Final = 86_400
"""Days are those of UTC, counted from the Unix epoch: nothing finer is stored."""


def day_of(wall: float) -> int:
    """The day of a time in Unix seconds."""
    return int(wall // DAY_S)


class PlaceMemory(Protocol):
    """Remembers what signs say, per cell. Every method may be slow (a disk, a network) and none blocks the loop."""

    async def remember(self, reading: PlaceReading, *, device: str = "") -> bool:
        """Remember what a device read; its newest reading of a sign replaces its older one.

        Args:
            reading: sound, see `check_reading`.
            device: who read it; the phone's own memory knows only one.

        Returns:
            Whether it was taken; it is not where a cap is reached, or the text must not be kept.

        Raises:
            StorageError: the store fails.
        """
        ...

    async def recall(self, cells: Sequence[str], target: str) -> list[KnownSign]:
        """Signs of some cells that may be believed, most trusted first.

        Args:
            cells: sound, at most `MAX_LOOKUP_CELLS`.
            target: language of the translations.

        Raises:
            StorageError: the store fails.
        """
        ...

    async def forget(self, *, device: str = "") -> int:
        """Withdraw everything a device contributed; returns how many readings that were.

        Raises:
            StorageError: the store fails.
        """
        ...

    async def expire(self) -> int:
        """Drop what is older than it may be; returns how many readings that were.

        Raises:
            StorageError: the store fails.
        """
        ...
