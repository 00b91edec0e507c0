"""Places in the life of a sign: asked once it is read, told once it is answered.

What is remembered of a place stands in for an unsure reading of the same sign, and spares the cloud where it is sure
enough. It never replaces a reading that is surer, nor a text that says something else (`shared.places.matching`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from phone.cascade.privacy import find_private
from phone.cascade.privacy_names import PrivacyOptions
from phone.location import PositionSource
from phone.places import PhonePlaces
from phone.readings import LocalReading, probability_right, to_message
from shared.clock import Clock
from shared.errors import InputError, StorageError
from shared.events import EventLog
from shared.messages.wayword.v1 import types_pb2
from shared.places.cells import around
from shared.places.matching import Glimpse, best_match
from shared.places.messages import RECALLED, engine_of, recalled, trust_in
from shared.places.pictures import strip_hash
from shared.places.reading import PlaceReading, check_reading

SURE: Final = 0.65
"""A recalled reading this sure is final: the cloud is not asked. It is what three devices that agree are trusted with
(0.67, `shared.places.trust`). A judgement."""
MIN_REMEMBERED: Final = 0.8
"""Readings less likely to be right are not remembered. A judgement."""
_CLOUD_RECALLED: Final = f"cloud_{RECALLED}"
"""Stage of a reading that the cloud recalled, as the phone passes it on."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """What a place says of a sign, better than what was read.

    Attributes:
        message: the answer.
        trust: in it, 0..1.
        devices: how many read it so.
    """

    message: types_pb2.Reading
    trust: float
    devices: int

    @property
    def sure(self) -> bool:
        """Whether nobody else needs to be asked."""
        return self.trust >= SURE

    @property
    def reason(self) -> str:
        """For the ledger."""
        known = "this phone read it here before" if self.devices <= 1 else f"{self.devices} devices read it here"
        return f"known at this place: {known}, trusted with {self.trust:.2f}"


class Placing:
    """Between the daemon and the phone's memory of places.

    Args:
        memory: of the phone.
        source: of positions.
        share: whether readings are shared, and the cloud told the place cell: the wearer's consent.
        privacy: what else stays on the phone.
        clock: measures recalls.
        events: told of failures, without content.
        on_waiting: called when a reading waits to be shared.
    """

    def __init__(
        self,
        memory: PhonePlaces,
        source: PositionSource,
        *,
        share: bool,
        privacy: PrivacyOptions,
        clock: Clock,
        events: EventLog,
        on_waiting: Callable[[], None] = lambda: None,
    ) -> None:
        self._memory = memory
        self._source = source
        self._share = share
        # Whatever the wearer set for strips: a name on a shared list of signs is there for all to see.
        self._privacy = PrivacyOptions(names=privacy.names, keep_names=True)
        self._clock = clock
        self._events = events
        self._on_waiting = on_waiting

    @property
    def cell(self) -> str | None:
        """Where the phone is; None where nobody knows."""
        position = self._source.position()
        return None if position is None else position.cell

    @property
    def shown_cell(self) -> str | None:
        """The cell as the cloud may be told it: None without consent."""
        return self.cell if self._share else None

    def cell_beside(self, reading: LocalReading) -> str | None:
        """The cell as the cloud may be told it together with a sign, which it then remembers there: None for what may
        not be shared."""
        cell = self.shown_cell
        if cell is None or reading.outgoing.is_frame or find_private(reading.private_text, self._privacy) is not None:
            return None
        return cell

    def recall(self, strip: types_pb2.Strip, reading: LocalReading) -> Recalled | None:
        """What this place says of a sign; None where nothing, or nothing surer. Runs in the reader's thread."""
        cell = self.cell
        if cell is None or strip.is_frame:
            return None
        started = self._clock.monotonic()
        try:
            known = self._memory.recall_now(around(cell), reading.target)
            if not known:
                return None
            found = best_match(Glimpse(reading.text, _hash_of(strip)), known)
        except StorageError as error:
            self._failed(error)
            return None
        if found is None:
            return None
        sign, match = found
        trust = trust_in(sign, match)
        message = to_message(reading, types_pb2.READING_STATE_KEPT)
        if message.translation and trust <= probability_right(message):
            return None
        answer = recalled(
            strip,
            sign,
            trust=trust,
            milliseconds=(self._clock.monotonic() - started) * 1e3,
            tier=types_pb2.TIER_PHONE,
        )
        if not answer.lines:
            answer.lines.extend(message.lines)
        recalled_stage = answer.stage_times[0]
        del answer.stage_times[:]
        answer.stage_times.extend([*message.stage_times, recalled_stage])
        return Recalled(answer, trust, sign.devices)

    async def note(self, strip: types_pb2.Strip, answer: types_pb2.Reading) -> None:
        """A sign was answered for good: remember what it says, where it is worth it and nobody's secret."""
        cell = self.cell
        if cell is None or strip.is_frame or not _is_own(answer) or probability_right(answer) < MIN_REMEMBERED:
            return
        if any(find_private(text, self._privacy) for text in (answer.text, answer.translation)):
            return
        try:
            if await asyncio.to_thread(self._remember, cell, strip, answer) and self._share:
                self._on_waiting()
        except StorageError as error:
            self._failed(error)
        except InputError:
            return  # longer than any sign: not worth remembering

    def _remember(self, cell: str, strip: types_pb2.Strip, answer: types_pb2.Reading) -> bool:
        reading = PlaceReading(
            cell=cell,
            text=answer.text,
            translation=answer.translation,
            source=answer.direction.source,
            target=answer.direction.target,
            picture_hash=_hash_of(strip),
            confidence=probability_right(answer),
            engine=engine_of(answer.engine),
        )
        return self._memory.remember_now(check_reading(reading), share=self._share)

    def _failed(self, error: StorageError) -> None:
        self._events.write("storage_failed", reason=str(error))


def _is_own(answer: types_pb2.Reading) -> bool:
    """Whether a tier read this itself. What was recalled is nobody's new reading: counted again, an error would feed on
    its own echo."""
    if any(stage.stage in {RECALLED, _CLOUD_RECALLED} for stage in answer.stage_times):
        return False
    return bool(answer.text.strip() and answer.translation.strip()) and not answer.unreadable


def _hash_of(strip: types_pb2.Strip) -> int | None:
    try:
        return strip_hash(strip)
    except InputError:
        return None  # reading it has said what is wrong with it
