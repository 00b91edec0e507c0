"""The glasses of a sweep: they cut and send what the world shows, and note what comes back.

Detection costs the traced milliseconds on the glasses' own processor; strips go over the product's link with the
firmware's deadline and at most as many at once as the firmware hands to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from glasses.exchange import Rendering, SignReading, parse_readings
from shared.clock import Clock
from shared.errors import TransferExpired, TransferRefused
from shared.link import Lane
from simulations.faults.ends import SimulatedLink
from simulations.sweep.book import TraceBook
from simulations.sweep.computing import compute
from simulations.sweep.outcomes import Look, Shown
from simulations.sweep.plan import Opening
from simulations.sweep.replay import Verdicts, Work

STRIP_DEADLINE_S: Final = 8.0
"""As `glasses.settings.GlassesSettings.strip_deadline_s`."""
IN_FLIGHT: Final = 4
"""As `glasses.settings.GlassesSettings.strips_in_flight`."""


class Wearer:
    """Make it inside a running event loop.

    Args:
        book: the traces.
        link: of the glasses.
        clock: of the loop.
        verdicts: whether what the phone said is right.
        compute_factor: how much longer the glasses compute than the machine of the traces.
        start_s: the first midnight on the clock.
    """

    def __init__(
        self,
        book: TraceBook,
        link: SimulatedLink,
        *,
        clock: Clock,
        verdicts: Verdicts,
        compute_factor: float,
        start_s: float,
    ) -> None:
        self._book = book
        self._link = link
        self._clock = clock
        self._verdicts = verdicts
        self._factor = compute_factor
        self._start = start_s
        self._processor = ThreadPoolExecutor(1)
        self._turns = asyncio.Semaphore(IN_FLIGHT)
        self._tasks: set[asyncio.Task[None]] = set()
        self.work = Work()
        self.shown: dict[int, Shown] = {}
        """By region, of every sign that was sent."""
        self.strips = 0
        """Handed to the link."""
        self.lost = 0
        """Strips that could not be delivered in time."""
        self._open: dict[tuple[int, int], Look] = {}  # by frame and region: sent, and not answered for good
        self._poor: set[int] = set()  # regions whose best answer is poor
        self._openings = 0  # that are being worked on
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._listening = asyncio.create_task(self._listen(), name="glasses listen")

    def see(self, opening: Opening) -> None:
        """The gate opens."""
        self._openings += 1
        self._quiet.clear()
        self._spawn(self._send(opening), "opening")

    async def quiet(self) -> None:
        """Return when every strip sent has its last answer, or was lost."""
        await self._quiet.wait()

    def give_up(self) -> None:
        """What has no last answer by now will not get one."""
        self._open.clear()
        self._settle()

    async def close(self) -> None:
        """End what still runs; the link must be closed."""
        for task in (*self._tasks, self._listening):
            task.cancel()
        await asyncio.gather(*self._tasks, self._listening, return_exceptions=True)
        self._processor.shutdown(wait=False)

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, opening: Opening) -> None:
        loop = asyncio.get_running_loop()
        # One detection finds all the signs in view; it costs what the slowest trace of them says.
        seconds = max(self._book[number].detection_ms for number in opening.in_view) / 1e3 * self._factor
        self.work.add(seconds)
        await loop.run_in_executor(self._processor, compute, seconds)
        looks = [look for look in opening.looks if not look.again or self._wants_better(look.region_id)]
        await asyncio.gather(*(self._deliver(look) for look in looks))
        self._openings -= 1
        self._settle()

    def _wants_better(self, region_id: int) -> bool:
        """Whether a closer look is worth sending: the sign has no answer, or a poor one."""
        shown = self.shown.get(region_id)
        return shown is None or shown.replied_after is None or region_id in self._poor

    async def _deliver(self, look: Look) -> None:
        key = (look.frame_id, look.region_id)
        self.shown.setdefault(look.region_id, Shown(look.until))
        self._open[key] = look
        payload = self._book.strip_object(
            look.number, frame_id=look.frame_id, region_id=look.region_id, captured_us=round(look.at * 1e6)
        )
        async with self._turns:
            self.strips += 1
            try:
                await self._link.send(payload, lane=Lane.BULK, deadline=self._clock.monotonic() + STRIP_DEADLINE_S)
            except (TransferExpired, TransferRefused):
                self.lost += 1
                self._open.pop(key, None)
                self._settle()

    async def _listen(self) -> None:
        async for payload in self._link.receive():
            for reading in parse_readings(payload):
                key = (reading.frame_id, reading.region_id)
                look = self._open.get(key)
                if look is None:
                    continue  # an answer that comes twice, or after all patience
                self._answered(look, reading)
                if reading.rank.settled:
                    del self._open[key]
            self._settle()

    def _answered(self, look: Look, reading: SignReading) -> None:
        from_cloud = reading.tier == "cloud"
        right = (
            self._book[look.number].cloud.right
            if from_cloud
            else self._verdicts.of(reading.frame_id, reading.region_id)
        )
        self.shown[look.region_id].answer(
            self._clock.monotonic() - self._start,
            look,
            right=right,
            rank=reading.rank,
            from_cloud=from_cloud,
            says=reading.rendering is not Rendering.UNREAD,
        )
        if reading.poor:
            self._poor.add(look.region_id)
        else:
            self._poor.discard(look.region_id)

    def _settle(self) -> None:
        if not self._open and not self._openings:
            self._quiet.set()
