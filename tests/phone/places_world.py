"""What tests of places on the phone share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from phone.location import Position
from shared.clock import Clock
from shared.events import EventLog
from shared.places.cells import cell_at
from shared.places.reading import PlaceEngine, PlaceReading

LISBON = Position(38.7107, -9.1366)
CELL = LISBON.cell
FAR = cell_at(41.1456, -8.6109)
DAY_S = 86_400


class SetClock:
    """Stands still until it is set; a sleep moves it on."""

    def __init__(self) -> None:
        self.now = 20_000.0 * DAY_S

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def reading(text: str = "Saída de emergência", translation: str = "Emergency exit", **changes: Any) -> PlaceReading:
    made = PlaceReading(CELL, text, translation, "pt", "en", 0xFFFF_0000_FFFF_0001, 0.9, PlaceEngine.PHRASEBOOK)
    return replace(made, **changes)


def silent_log(clock: Clock) -> tuple[EventLog, list[tuple[str, dict[str, Any]]]]:
    """A log without a file, and what was told to it."""
    log = EventLog(None, tier="phone", clock=clock)
    told: list[tuple[str, dict[str, Any]]] = []
    log.listen(lambda event, fields, content: told.append((event, {**fields, **content})))
    return log, told


async def until(holds: Callable[[], bool]) -> None:
    """Return when something holds that other threads or processes bring about."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - a ledger or a socket has no event to wait for
            await asyncio.sleep(0.001)
