"""Whether the link's own forecasts hold: typical half of the time, late nine times in ten.

Strips are handed over at random, one at a time mostly, on links that miss events, lose reach and change their rate. The
forecast is asked for just before, as the cascade would.
"""

from __future__ import annotations

import asyncio
import math
import random
from dataclasses import dataclass
from typing import Final

from shared.errors import LinkError
from shared.link import Lane
from simulations.bench.link.ends import CLOCK, ends, send
from simulations.bench.link.goodput import LARGEST_STRIP, SMALLEST_STRIP
from simulations.radio import LinkProfile

SCENARIOS: Final = {
    "steady": ("40kBps/30ms",),
    "interference": ("40kBps/30ms,miss=20%,burst=4,seed=3",),
    "rate changes": ("60kBps/30ms", "25kBps/30ms", "60kBps/30ms"),
    "reach lost": ("40kBps/30ms,range=8s/2s,supervision=1s,seed=3",),
}
"""Profiles that follow each other in one run, by name."""
WARM_UP: Final = 3
"""Strips not judged: nothing had been measured before."""


@dataclass(frozen=True, slots=True)
class Forecasts:
    """Every strip of one scenario: seconds it was foretold, typical and late, and seconds it took."""

    scenario: str
    strips: list[tuple[float, float, float]]
    lost: int

    @property
    def within_late(self) -> float:
        """Share of strips not later than foretold; 0.9 is meant."""
        return sum(actual <= late for _, late, actual in self.strips) / len(self.strips)

    @property
    def within_typical(self) -> float:
        """Share of strips quicker than the typical time; 0.5 is meant."""
        return sum(actual <= typical for typical, _, actual in self.strips) / len(self.strips)

    @property
    def median_error(self) -> float:
        """Median factor between the typical time and the actual one, minus one."""
        errors = sorted(abs(math.log(actual / typical)) for typical, _, actual in self.strips)
        return math.expm1(errors[len(errors) // 2])


async def measure(scenario: str, *, seconds: float, seed: int = 1) -> Forecasts:
    """Play one of `SCENARIOS`.

    Raises:
        RadioError: the emulated radio cannot start.
        LinkError: the ends cannot start.
    """
    profiles = [LinkProfile.parse(text) for text in SCENARIOS[scenario]]
    chance = random.Random(seed)
    strips: list[tuple[float, float, float]] = []
    lost = 0
    async with ends(profiles[0]) as pair:
        for number, profile in enumerate(profiles):
            if number:
                await asyncio.to_thread(pair.radio.set_profile, profile)
            end = CLOCK.monotonic() + seconds / len(profiles)
            while CLOCK.monotonic() < end:
                await CLOCK.sleep(chance.expovariate(1 / 0.25))
                size = chance.randint(SMALLEST_STRIP, LARGEST_STRIP)
                expected = pair.glasses.quality.predict(size)
                try:
                    receipt = await send(pair.glasses, chance, size, Lane.BULK)
                except LinkError:
                    lost += 1
                else:
                    strips.append((expected.typical_s, expected.late_s, receipt.seconds))
    return Forecasts(scenario, strips[WARM_UP:], lost)
