"""What happens when the gate opens: detect, tell known signs from new ones, send and follow what is new."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from glasses import strips
from glasses.camera import Frame
from glasses.exchange import strip_object
from glasses.finder import Finder, whole_frame
from glasses.gate import LookReport
from glasses.outbox import Outbox
from glasses.settings import GlassesSettings, WholeFrames
from glasses.signs import Change, Found, Sign, SignRegistry, match, text_height, worth_resending
from glasses.stabiliser import Pose, PoseState, Stabiliser
from shared.clock import Clock
from shared.errors import RegionRefused, StorageError
from shared.events import EventLog

T = TypeVar("T")

REKEY_SCALE: Final = 1.4
"""A sign that appears so much larger or smaller than in its keyframe gets a new keyframe when it is detected."""


class Looks:
    """Looks at single frames. Lives on the event loop; one look at a time.

    Args:
        finder: detection.
        stabiliser: used in `sight` only.
        signs: known signs.
        outbox: takes strips.
        settings: of the glasses.
        still: whether the source is one picture.
        clock: source of time.
        events: log.
        sight: thread of the stabiliser.
        looking: thread of detection and compression.
        strips_folder: strips are written there as they are sent; None for nowhere.
    """

    def __init__(
        self,
        finder: Finder,
        stabiliser: Stabiliser,
        signs: SignRegistry,
        outbox: Outbox,
        *,
        settings: GlassesSettings,
        still: bool,
        clock: Clock,
        events: EventLog,
        sight: Executor,
        looking: Executor,
        strips_folder: Path | None,
    ) -> None:
        self._finder = finder
        self._stabiliser = stabiliser
        self._signs = signs
        self._outbox = outbox
        self._settings = settings
        self._still = still
        self._clock = clock
        self._events = events
        self._sight = sight
        self._looking = looking
        self._strips_folder = strips_folder
        self.count = 0
        self.signs_sent = 0
        self.lines_too_small = 0
        self._report: LookReport | None = None

    def take_report(self) -> LookReport | None:
        """What the last look has to tell the gate; once."""
        report, self._report = self._report, None
        return report

    async def look_at(self, frame: Frame) -> None:
        """Look at one frame.

        Raises:
            StorageError: a strip cannot be written to the strips folder.
        """
        # Where the known signs are in this very frame: it is old when detection is done.
        known = [(sign, sign.now if sign.in_view else None) for sign in self._signs.all()]
        looked = await self._in(self._looking, partial(self._finder.look, frame))
        found: Sequence[Found] = looked.found
        if looked.unsure and self._sends_whole_frames:
            found = [whole_frame(frame)]
        matched = match(found, known)
        self.count += 1
        self.lines_too_small += len(looked.too_small)
        self._report = LookReport(looked.cut_off, looked.too_small)
        self._events.write(
            "frame_detected",
            frame_id=frame.frame_id,
            regions=len(found),
            new=sum(hit is None for hit in matched),
            too_small=len(looked.too_small),
            detect_ms=round(looked.seconds * 1e3, 2),
        )
        if self._still and not found:
            self._events.write("no_text", frame_id=frame.frame_id, too_small=len(looked.too_small))
        await self._follow(self._changes(found, matched, frame), frame)
        for one, hit in zip(found, matched, strict=True):
            sign = self._signs.of(one) if hit is None else hit[0]
            if sign is not None and (hit is None or worth_resending(sign, hit[1], one)):
                await self._send(sign, one, frame)

    @property
    def _sends_whole_frames(self) -> bool:
        choice = self._settings.whole_frames
        return choice is WholeFrames.ALWAYS or (choice is WholeFrames.STILLS and self._still)

    def _changes(
        self, found: Sequence[Found], matched: Sequence[tuple[Sign, Change] | None], frame: Frame
    ) -> list[tuple[Sign, Found]]:
        """The signs that are to be followed from this frame on, new ones among them."""
        changes = []
        for one, hit in zip(found, matched, strict=True):
            if hit is None:
                sign = self._new_sign(one, frame)
                self._signs.put(sign)
                changes.append((sign, one))
            elif _needs_keyframe(hit[0], hit[1], one):
                changes.append((hit[0], one))
        return changes

    def _new_sign(self, found: Found, frame: Frame) -> Sign:
        return Sign(
            region_id=self._signs.new_id(),
            found=found,
            # Until the stabiliser has carried it to the newest frame, its place there is not known.
            pose=Pose(np.eye(3), PoseState.LOST, 0.0, frame.frame_id),
            keyframe=frame.frame_id,
            seen=frame.captured,
            outer=found.outer,
            sent_height=text_height(found.lines),
        )

    async def _follow(self, changes: Sequence[tuple[Sign, Found]], frame: Frame) -> None:
        """Follow signs from the frame they were detected in; their poses come with frames to come."""
        if not changes:
            return

        def add() -> list[bool]:
            return [self._is_followed(sign, one, frame) for sign, one in changes]

        for (sign, one), followed in zip(changes, await self._in(self._sight, add), strict=True):
            if followed:
                sign.follow_from(one, frame.frame_id)
                sign.seen = self._clock.monotonic()

    def _is_followed(self, sign: Sign, found: Found, frame: Frame) -> bool:
        try:
            self._stabiliser.add(sign.region_id, [line.quad for line in found.lines], frame.frame_id)
        except RegionRefused as error:
            # The detector found a shape that cannot be followed: it is read all the same.
            self._events.write("region_refused", region_id=sign.region_id, reason=error.message)
            return False
        return True

    async def _send(self, sign: Sign, found: Found, frame: Frame) -> None:
        """Cut a sign's strips from the frame and put them in line for the link."""
        start = self._clock.monotonic()
        strip, files = await self._in(self._looking, partial(self._cut, sign.region_id, found, frame))
        if self._signs.get(sign.region_id) is not sign:
            return  # forgotten while it was cut: nobody would take its answer, or drop its strip
        sign.sent_height = text_height(found.lines)
        sign.attempts = 0
        self.signs_sent += not sign.sent
        sign.sent = True
        self._outbox.put(sign, strip)
        self._events.write(
            "sign_sent",
            frame_id=frame.frame_id,
            region_id=sign.region_id,
            captured=frame.captured,
            lines=len(strip.lines),
            is_frame=strip.is_frame,
            object_bytes=len(strip_object(strip)),
            image_bytes=strip.image_bytes,
            strip_ms=round((self._clock.monotonic() - start) * 1e3, 2),
            content={"files": files},
        )

    def _cut(self, region_id: int, found: Found, frame: Frame) -> tuple[strips.SignStrip, list[str]]:
        settings = self._settings
        if found.whole_frame:
            strip = strips.cut_frame(
                frame, region_id, longest_side=settings.frame_longest_side, quality=settings.frame_quality
            )
        else:
            strip = strips.cut_sign(
                frame,
                region_id,
                found.lines,
                margin=settings.strip_margin,
                max_height=settings.strip_height,
                quality=settings.strip_quality,
            )
        return strip, [] if self._strips_folder is None else _write_strip(self._strips_folder, strip)

    async def _in(self, executor: Executor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, work)


def _write_strip(folder: Path, strip: strips.SignStrip) -> list[str]:
    """Write a strip's pictures as they are sent; returns the files' names."""
    names = []
    for index, line in enumerate(strip.lines):
        path = folder / f"region{strip.region_id}_frame{strip.frame_id}_line{index}.{strip.encoding.value}"
        try:
            path.write_bytes(line.image)
        except OSError as error:
            raise StorageError(f"cannot write the strip {path}: {error.strerror}") from error
        names.append(str(path))
    return names


def _needs_keyframe(sign: Sign, change: Change, seen: Found) -> bool:
    """Whether a known sign is better followed from its newest detection."""
    if change is Change.SAME and len(seen.lines) < len(sign.found.lines):
        return False  # only a part of it was found
    if change is not Change.SAME or sign.pose.state is not PoseState.TRACKED:
        return True
    ratio = text_height(seen.lines) / max(text_height(sign.found.lines), 1e-6)
    return max(ratio, 1 / ratio) > REKEY_SCALE
