"""How much of the shaped rate the link fills, and how long a control object takes while it does."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Final

from shared.link import Lane
from simulations.bench.link.ends import CLOCK, Ends, ends, send
from simulations.radio import LinkProfile

DIRECTIONS: Final = {"out": "glasses → phone", "back": "phone → glasses"}
SMALLEST_STRIP: Final = 2_000
LARGEST_STRIP: Final = 20_000
"""Sizes of a sign's strips (architecture.md); drawn evenly between."""
CONTROL_BYTES: Final = 120
"""About a reading of one line."""
IDLE_ROUNDS: Final = 20
SENDERS: Final = 3
"""Strips handed over at once, so that there is always a next one."""
SETTLE_S: Final = 1.5


@dataclass(frozen=True, slots=True)
class LinkFigures:
    """What one profile gave in one direction.

    Attributes:
        profile, direction: what was measured.
        goodput: payload bytes a second of strips back to back, `SETTLE_S` after the first.
        share: of the shaped rate; None on an unshaped link.
        overhead: value bytes over payload bytes, minus one.
        again: payload bytes sent more than once, as a share.
        strips: delivered while it was measured.
        strip_s: from handing one over to its DONE, while `SENDERS` of them compete.
        idle_s: control objects on an idle link, from handing over to DONE, at random times.
        busy_s: the same under the strips.
        foretold: for every strip, (typical, late, actual) seconds of delivery.
    """

    profile: str
    interval_s: float | None
    direction: str
    goodput: float
    share: float | None
    overhead: float
    again: float
    strips: int
    strip_s: list[float]
    idle_s: list[float]
    busy_s: list[float]
    foretold: list[tuple[float, float, float]]


async def measure(profile: LinkProfile, *, seconds: float, seed: int = 1) -> list[LinkFigures]:
    """Measure one profile in both directions, each for `seconds`.

    Raises:
        RadioError: the emulated radio cannot start.
        LinkError: the link fails.
    """
    async with ends(profile) as pair:
        return [await _direction(pair, profile, direction, seconds, seed) for direction in DIRECTIONS]


async def _direction(pair: Ends, profile: LinkProfile, direction: str, seconds: float, seed: int) -> LinkFigures:
    link, chance = pair.sender(direction), random.Random(seed)
    pause = (profile.interval_s or 0.010) * 2
    await send(link, chance, SMALLEST_STRIP, Lane.BULK)  # the round trip is known
    idle = []
    for _ in range(IDLE_ROUNDS):
        await CLOCK.sleep(chance.uniform(0.0, pause))
        idle.append((await send(link, chance, CONTROL_BYTES, Lane.CONTROL)).seconds)
    start = CLOCK.monotonic()
    end = start + SETTLE_S + seconds
    payload, on_air, again, strip_s = 0, 0, 0, list[float]()
    done: list[tuple[float, int]] = []  # when, payload bytes
    foretold: list[tuple[float, float, float]] = []

    async def strips() -> None:
        nonlocal payload, on_air, again
        while CLOCK.monotonic() < end:
            size = chance.randint(SMALLEST_STRIP, LARGEST_STRIP)
            expected = link.quality.predict(size)
            receipt = await send(link, chance, size, Lane.BULK)
            done.append((CLOCK.monotonic(), size))
            payload, on_air, again = payload + size, on_air + receipt.bytes_on_air, again + receipt.bytes_again
            strip_s.append(receipt.seconds)
            foretold.append((expected.typical_s, expected.late_s, receipt.seconds))

    busy = []
    senders = asyncio.gather(*(strips() for _ in range(SENDERS)))
    await CLOCK.sleep(SETTLE_S)
    while CLOCK.monotonic() < end:
        await CLOCK.sleep(chance.uniform(0.5, 1.5) * pause)
        busy.append((await send(link, chance, CONTROL_BYTES, Lane.CONTROL)).seconds)
    await senders
    goodput = _rate([entry for entry in sorted(done) if start + SETTLE_S <= entry[0] <= end])
    rate = profile.rate_bytes_per_s
    return LinkFigures(
        profile=str(profile),
        interval_s=profile.interval_s,
        direction=direction,
        goodput=goodput,
        share=goodput / rate if rate else None,
        overhead=on_air / payload - 1,
        again=again / payload,
        strips=len(done),
        strip_s=strip_s,
        idle_s=idle,
        busy_s=busy,
        foretold=foretold,
    )


def _rate(done: list[tuple[float, int]]) -> float:
    """Bytes a second from the first delivery to the last: what the first one carried came before."""
    if len(done) < 2:
        return 0.0
    return sum(size for _, size in done[1:]) / (done[-1][0] - done[0][0])
