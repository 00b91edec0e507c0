"""The glasses-phone link on the emulated air: how much of the shaped rate it fills, and how long control waits.

Both ends run in this process, on Bumble and on bleak; the radio runs in three others. Lossless air only: faults, more
profiles and other stacks are the subject of a later, larger bench.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from glasses.peripheral import PeripheralLink
from phone.central import CentralLink
from shared.clock import SystemClock
from shared.link import Lane
from simulations.radio import LinkProfile, RadioProcesses

DEFAULT_PROFILES = ("40kBps/30ms", "25kBps/50ms", "100kBps/15ms")
BULK_BYTES = 40_000
SIGN_BYTES = 10_000
CONTROL_BYTES = 200
ECHOES = 30
DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class LinkFigures:
    """What one profile gave.

    Attributes:
        goodput: payload of back-to-back objects, in bytes a second.
        overhead: bytes on air over payload, minus one.
        sign_ms: one object of `SIGN_BYTES`, from the call to its DONE.
        idle_ms: control objects on an idle link, from the call to DONE.
        busy_ms: the same while bulk flows the same way.
    """

    goodput: float
    overhead: float
    sign_ms: float
    idle_ms: Sequence[float]
    busy_ms: Sequence[float]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `link` to `wayword-sim bench`."""
    parser = subparsers.add_parser("link", help="goodput and latency of the Bluetooth link", description=__doc__)
    parser.add_argument("profiles", nargs="*", metavar="RATE/INTERVAL", help=f"default: {' '.join(DEFAULT_PROFILES)}")
    parser.set_defaults(body=body)


def body(arguments: argparse.Namespace) -> int:
    """Body of `wayword-sim bench link`."""
    profiles = [LinkProfile.parse(text) for text in arguments.profiles or DEFAULT_PROFILES]
    print("| link | goodput / rate | overhead | 10 kB sign | control p50 / p95 idle | control p50 / p95 under bulk |")
    print("|---|---|---|---|---|---|")
    for profile in profiles:
        figures = asyncio.run(measure(profile))
        rate = profile.rate_bytes_per_s
        share = f"{figures.goodput / rate:.2f}" if rate else f"{figures.goodput / 1000:.0f} kB/s"
        print(
            f"| {profile} | {share} | {figures.overhead:.1%} | {figures.sign_ms:.0f} ms "
            f"| {_spread(figures.idle_ms)} | {_spread(figures.busy_ms)} |"
        )
    return 0


async def measure(profile: LinkProfile) -> LinkFigures:
    """Measure one profile, glasses to phone.

    Raises:
        RadioError: the emulated radio cannot start.
        LinkError: the link fails.
    """
    clock = SystemClock()
    rng = random.Random(1)
    async with RadioProcesses(profile) as radio:
        os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = radio.dbus_address  # where bleak looks
        glasses, phone = PeripheralLink(radio.glasses_hci, clock=clock), CentralLink(clock=clock)
        try:
            await glasses.start()
            await phone.start()
            await asyncio.gather(glasses.wait_connected(), phone.wait_connected())
            sink = asyncio.create_task(_drain(phone))

            async def send(size: int, lane: Lane) -> tuple[float, int]:
                receipt = await glasses.send(rng.randbytes(size), lane=lane, deadline=clock.monotonic() + DEADLINE_S)
                return receipt.seconds, receipt.bytes_on_air

            await send(SIGN_BYTES, Lane.BULK)  # the window opens, the round trip is known
            idle = [(await send(CONTROL_BYTES, Lane.CONTROL))[0] for _ in range(ECHOES)]
            sign, _ = await send(SIGN_BYTES, Lane.BULK)
            start = clock.monotonic()
            sent = await asyncio.gather(*(send(BULK_BYTES, Lane.BULK) for _ in range(3)))
            goodput = 3 * BULK_BYTES / (clock.monotonic() - start)
            bulk = asyncio.gather(*(send(BULK_BYTES, Lane.BULK) for _ in range(3)))
            busy: list[float] = []
            while not bulk.done() and len(busy) < ECHOES:
                busy.append((await send(CONTROL_BYTES, Lane.CONTROL))[0])
            await bulk
            sink.cancel()
        finally:
            await phone.close()
            await glasses.close()
    overhead = sum(on_air for _, on_air in sent) / (3 * BULK_BYTES) - 1
    return LinkFigures(goodput, overhead, sign * 1e3, [s * 1e3 for s in idle], [s * 1e3 for s in busy])


async def _drain(link: CentralLink) -> None:
    async for _ in link.receive():
        pass


def _spread(milliseconds: Sequence[float]) -> str:
    return f"{np.percentile(milliseconds, 50):.0f} / {np.percentile(milliseconds, 95):.0f} ms"
