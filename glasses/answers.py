"""Readings as they come back, put to the signs they answer."""

from __future__ import annotations

from collections.abc import Callable

from glasses.exchange import SignReading, parse_readings
from glasses.outbox import Outbox
from glasses.signs import SignRegistry
from shared.clock import Clock
from shared.errors import FrameMalformed
from shared.events import EventLog
from shared.link import Link


def replaces(new: SignReading, known: SignReading | None) -> bool:
    """Whether a reading is shown instead of the known one.

    An answer to an older strip of a sign never replaces one to a newer strip, nor a less final one a final one.
    """
    return known is None or (new.frame_id, new.rank) >= (known.frame_id, known.rank)


class Answers:
    """Takes readings from the link. Lives on the event loop.

    Args:
        link: from the phone.
        signs: known signs.
        outbox: knows what was sent.
        on_progress: called for every reading.
    """

    def __init__(
        self,
        link: Link,
        signs: SignRegistry,
        outbox: Outbox,
        *,
        clock: Clock,
        events: EventLog,
        on_progress: Callable[[], None],
    ) -> None:
        self._link = link
        self._signs = signs
        self._outbox = outbox
        self._clock = clock
        self._events = events
        self._on_progress = on_progress
        self._answered: set[int] = set()
        self._settled: set[int] = set()
        self.objects_refused = 0

    @property
    def answered(self) -> int:
        """Signs with a reading."""
        return len(self._answered)

    @property
    def settled(self) -> int:
        """Signs with a final reading."""
        return len(self._settled)

    async def receive(self) -> None:
        """Take readings until the link is closed; what is no reading is counted, refused and survived.

        A reading of no strip that was sent in this run (its sign is forgotten, or the glasses were restarted and the
        phone was not) is noted and left out.
        """
        async for payload in self._link.receive():
            try:
                readings = parse_readings(payload)
            except FrameMalformed as error:
                self.objects_refused += 1
                self._events.write("object_refused", reason=error.message, count=self.objects_refused)
                continue
            for reading in readings:
                self._take(reading)

    def _take(self, reading: SignReading) -> None:
        # The reading belongs to an old frame. Its sign was followed ever since, so its place now is known.
        sign = self._signs.get(reading.region_id)
        if sign is None or not sign.is_answered_by(reading):
            self._events.write("reading_unclaimed", region_id=reading.region_id, frame_id=reading.frame_id)
            return
        self._answered.add(sign.region_id)
        if reading.rank.settled:
            self._settled.add(sign.region_id)
        if replaces(reading, sign.reading):
            sign.reading = reading
        self._on_progress()
        self._log(reading)

    def _log(self, reading: SignReading) -> None:
        self._events.write(
            "reading",
            region_id=reading.region_id,
            frame_id=reading.frame_id,
            state=reading.rank.name.lower(),
            tier=reading.tier,
            engine=reading.engine,
            unreadable=reading.unreadable,
            source=reading.source,
            target=reading.target,
            recognition_pack=reading.recognition_pack,
            translation_pack=reading.translation_pack,
            confidence=dict(reading.confidence),
            stage_times=dict(reading.stage_times),
            since_capture_ms=round(self._clock.monotonic() * 1e3 - reading.captured_us / 1e3, 1),
            content={
                "text": reading.text,
                "translation": reading.translation,
                "lines": [
                    {"text": line.text, "quad": None if line.quad is None else line.quad.reshape(-1).tolist()}
                    for line in reading.lines
                ],
            },
        )
