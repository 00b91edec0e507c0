"""The glasses as one machine: a frame comes in, its signs go out, their translations come back and lie on the signs.

Who runs where: the source has a thread, for it waits; following signs has one, so that nothing sits between a frame
and its poses; drawing and recording have one, and leave out frames when they are behind; detection and the cutting of
strips have one. Everything that decides or remembers lives on the event loop and never blocks it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from glasses.answers import Answers
from glasses.banner import Pairing
from glasses.camera import Frame, Source
from glasses.display import Display, Shown
from glasses.finder import Finder
from glasses.gate import GateInput, GatePolicy, GateState, decide
from glasses.labels import labels_of
from glasses.looks import Looks
from glasses.outbox import Outbox, SendPolicy
from glasses.overlay import Label
from glasses.recorder import Sink
from glasses.settings import GlassesSettings
from glasses.signs import SignRegistry
from glasses.stabiliser import PoseState, Stabiliser, View
from glasses.view_stats import ViewStats, measure
from shared.clock import Clock
from shared.errors import FrameRefused, LinkUnavailable
from shared.events import EventLog
from shared.geometry import Quad
from shared.link import Link

T = TypeVar("T")

TIMINGS_KEPT: Final = 20_000


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run came to.

    Attributes:
        frames: looked at by the stabiliser.
        looks: detections.
        signs: sent to the phone.
        answered: signs with a reading.
        settled: signs with a final reading.
        lines_too_small: lines counted, not sent.
        text: whether there was text at all.
        connected: whether a phone was ever there.
        pose_ms_p50: time of the stabiliser per frame, in milliseconds.
        pose_ms_p95: likewise.
        fps: frames a second, over the run.
    """

    frames: int
    looks: int
    signs: int
    answered: int
    settled: int
    lines_too_small: int
    text: bool
    connected: bool
    pose_ms_p50: float
    pose_ms_p95: float
    fps: float


class Firmware:
    """Composes the glasses.

    Args:
        source: of frames.
        finder: detection.
        stabiliser: follows signs.
        link: to the phone; the caller closes it.
        sinks: build where the augmented view goes; called, and their sinks used, in one thread.
        settings: of the glasses.
        clock: source of time.
        events: log.
        strips_folder: strips are written there as they are sent; None for nowhere.
        pairing: what the wearer is asked now; looked at with every frame, on the event loop.
    """

    def __init__(
        self,
        *,
        source: Source,
        finder: Finder,
        stabiliser: Stabiliser,
        link: Link,
        sinks: Sequence[Callable[[], Sink]],
        settings: GlassesSettings,
        clock: Clock,
        events: EventLog,
        strips_folder: Path | None = None,
        pairing: Callable[[], Pairing | None] = lambda: None,
    ) -> None:
        self._source = source
        self._stabiliser = stabiliser
        self._link = link
        self._sink_makers = sinks
        self._settings = settings
        self._clock = clock
        self._events = events

        self._waiting = ThreadPoolExecutor(1, thread_name_prefix="source")
        self._sight = ThreadPoolExecutor(1, thread_name_prefix="sight")
        self._showing = ThreadPoolExecutor(1, thread_name_prefix="show")
        self._looking = ThreadPoolExecutor(1, thread_name_prefix="look")
        self._display = Display(settings, still=source.still)
        self._sinks: list[Sink] = []
        self._signs = SignRegistry()
        self._gate_policy = GatePolicy(readable_px=settings.minimum_line_height)
        self._gate_state = GateState()
        self._outbox = Outbox(
            link,
            self._signs,
            _send_policy(settings, still=source.still),
            clock=clock,
            events=events,
            on_progress=self._made_progress,
        )
        self._answers = Answers(
            link, self._signs, self._outbox, clock=clock, events=events, on_progress=self._made_progress
        )
        self._looks = Looks(
            finder,
            stabiliser,
            self._signs,
            self._outbox,
            settings=settings,
            still=source.still,
            clock=clock,
            events=events,
            sight=self._sight,
            looking=self._looking,
            strips_folder=strips_folder,
        )
        self._look: asyncio.Task[None] | None = None
        self._shown: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None
        self._redraw = True
        self._pairing = pairing
        self._asked: Pairing | None = None
        self._progress = clock.monotonic()
        self._in_view: dict[int, Quad] = {}
        self._frames = 0
        self._pose_ms: deque[float] = deque(maxlen=TIMINGS_KEPT)

    def stop(self) -> None:
        """End the run as if the source had ended, without waiting for answers. Call it on the event loop."""
        self._stopping.set()
        self._source.close()

    async def run(self) -> Summary:
        """Run until the source ends (a still: until its signs are settled), `stop`, or a failure.

        Raises:
            InputError: the source failed.
            StorageError: a sink or the strips folder cannot be written.
            UsageError: no window can be opened.
            LinkUnavailable: a still was to be read, and no phone ever connected.
        """
        start = self._clock.monotonic()
        helpers = [
            asyncio.create_task(self._guard(work))
            for work in (self._answers.receive(), self._outbox.run(), self._outbox.watch(self._settings.link_poll_s))
        ]
        try:
            for make in self._sink_makers:
                self._sinks.append(await self._in(self._showing, make))
            await self._see()
            await self._wait_for_answers()
            if self._failure is not None:
                raise self._failure
            for sink in self._sinks:
                await self._in(self._showing, sink.finish)
        finally:
            self._source.close()
            helpers += [task for task in (self._look, self._shown) if task is not None]
            for task in helpers:
                task.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            for sink in self._sinks:
                await self._in(self._showing, sink.discard)
            for executor in (self._waiting, self._sight, self._showing, self._looking):
                executor.shutdown(wait=True)
        return self._summarise(self._clock.monotonic() - start)

    async def _see(self) -> None:
        """How a sign flows, from here: pose, gate, look (detection, strips, link), answer, overlay."""
        frame: Frame | None = None
        while not self._stopping.is_set():
            previous, frame = frame, await self._in(self._waiting, self._source.next_frame)
            if frame is None:
                # The recording ends with the last frame, even if its drawing was behind.
                if previous is not None and not self._source.still:
                    await self._show(previous, last=True)
                return
            view, stats = await self._in_sight(partial(self._observe, frame))
            self._signs.update(view.poses, frame.captured)
            if self._gate_opens(frame, view, stats):
                self._look = asyncio.create_task(self._guard(self._looks.look_at(frame)))
            last = self._source.still and self._look is not None and self._look.done() and self._over()
            await self._show(frame, last=last)
            if last:
                return
            await self._tidy(frame.captured)

    def _observe(self, frame: Frame) -> tuple[View, ViewStats]:
        """Nothing stands between a frame and its poses."""
        start = self._clock.monotonic()
        try:
            view = self._stabiliser.observe(frame.frame_id, frame.luma, frame.captured, frame.gyro)
        except FrameRefused as error:
            # A camera whose clock jumps back, say: nothing is known about this frame, and the next may be better.
            self._events.write("frame_refused", frame_id=frame.frame_id, reason=error.message)
            view = View(frame.frame_id, frame.captured, {})
        end = self._clock.monotonic()
        self._pose_ms.append((end - start) * 1e3)
        self._frames += 1
        self._events.write(
            "pose",
            frame_id=frame.frame_id,
            pose_ms=round((end - start) * 1e3, 3),
            after_capture_ms=round((end - frame.captured) * 1e3, 3),
            tracked=sum(pose.state is PoseState.TRACKED for pose in view.poses.values()),
            signs=len(view.poses),
        )
        return view, measure(frame.luma)

    def _gate_opens(self, frame: Frame, view: View, stats: ViewStats) -> bool:
        """Whether to look for text in this frame; a still is looked at once."""
        if self._look is not None and self._source.still:
            return False
        busy = self._look is not None and not self._look.done()
        before = self._in_view
        self._in_view = {sign.region_id: sign.now for sign in self._signs.all() if sign.in_view}
        seen = GateInput(
            now=frame.captured,
            size=(frame.bgr.shape[1], frame.bgr.shape[0]),
            motion=view.motion,
            stats=stats,
            known=tuple(self._in_view.values()),
            lost=tuple(quad for region_id, quad in before.items() if region_id not in self._in_view),
            looked=None if busy else self._looks.take_report(),
            busy=busy,
        )
        opens, reason, self._gate_state = decide(self._gate_policy, self._gate_state, seen)
        if opens:
            self._events.write("gate_opened", frame_id=frame.frame_id, reason=reason.value)
        return opens

    async def _show(self, frame: Frame, *, last: bool) -> None:
        """Draw the labels where the signs are in this very frame, unless an older frame is still being drawn."""
        if last and self._shown is not None:
            await self._shown
        if self._shown is not None and not self._shown.done():
            return
        # What is kept of a still is a picture of its signs, whatever the wearer is being asked just then.
        asked = None if self._source.still and last else self._pairing()
        if self._source.still and not self._redraw and asked == self._asked and not last:
            return
        self._redraw = False
        self._asked = asked
        labels = labels_of(self._signs.all(), frame.captured, self._settings.fade_s)
        self._shown = asyncio.create_task(self._guard(self._draw(frame, labels, asked)))
        if last:
            await self._shown

    async def _draw(self, frame: Frame, labels: Sequence[Label], asked: Pairing | None) -> None:
        def work() -> tuple[Shown, bool]:
            shown = self._display.draw(frame.bgr, labels, frame.captured, asked)
            watched = [sink.write(shown.image, frame.captured) for sink in self._sinks]
            return shown, all(watched)

        shown, watched = await self._in(self._showing, work)
        self._log_shown(shown)
        if not watched:
            self.stop()  # the window was closed

    def _log_shown(self, shown: Shown) -> None:
        for one in shown.texts:
            self._events.write("text_shown", region_id=one.key[0], line=one.key[1], content={"text": one.text})
        for notice in shown.unwritable:
            region_id, line = notice.key
            self._events.write("text_unwritable", region_id=region_id, line=line, script=notice.script.value)

    async def _tidy(self, now: float) -> None:
        """Forget what is long out of view."""
        unfollowed = self._signs.unfollowed(now)
        for region_id in self._signs.forget(now):
            self._outbox.forget(region_id)
            unfollowed.append(region_id)
        if unfollowed:
            await self._in_sight(partial(self._forget, unfollowed))

    def _forget(self, region_ids: Sequence[int]) -> None:
        for region_id in region_ids:
            self._stabiliser.remove(region_id)

    # The end -----------------------------------------------------------------------------------------------

    def _made_progress(self) -> None:
        self._progress = self._clock.monotonic()
        self._redraw = True

    def _over(self) -> bool:
        """Whether every sign sent is settled, or nothing has happened for too long."""
        waiting = [sign for sign in self._signs.all() if sign.sent and not sign.settled]
        patient = self._clock.monotonic() - self._progress < self._settings.answer_timeout_s
        return not (waiting and patient)

    async def _wait_for_answers(self) -> None:
        """After the last frame of a video: a look under way is finished, and late readings still count."""
        if self._source.still:
            return
        self._made_progress()
        while not self._stopping.is_set() and not ((self._look is None or self._look.done()) and self._over()):
            await self._clock.sleep(self._settings.link_poll_s)

    def _summarise(self, seconds: float) -> Summary:
        signs = [sign for sign in self._signs.all() if sign.sent]
        times = sorted(self._pose_ms) or [0.0]
        summary = Summary(
            frames=self._frames,
            looks=self._looks.count,
            signs=self._looks.signs_sent,
            answered=self._answers.answered,
            settled=self._answers.settled,
            lines_too_small=self._looks.lines_too_small,
            text=any(sign.reading is None or sign.reading.unreadable != "no_text" for sign in signs),
            connected=self._outbox.ever_connected,
            pose_ms_p50=times[len(times) // 2],
            pose_ms_p95=times[int(0.95 * (len(times) - 1))],
            fps=self._frames / max(seconds, 1e-6),
        )
        self._events.write(
            "finished",
            frames=summary.frames,
            looks=summary.looks,
            signs=summary.signs,
            answered=summary.answered,
            settled=summary.settled,
            lines_too_small=summary.lines_too_small,
            pose_ms_p50=round(summary.pose_ms_p50, 3),
            pose_ms_p95=round(summary.pose_ms_p95, 3),
            fps=round(summary.fps, 2),
        )
        if self._source.still and summary.signs and not summary.connected and not self._stopping.is_set():
            raise LinkUnavailable(
                f"no phone connected within {self._settings.answer_timeout_s:g} s", hint="Is wayword-phone running?"
            )
        return summary

    # Machinery ---------------------------------------------------------------------------------------------

    async def _in(self, executor: Executor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, work)

    async def _in_sight(self, work: Callable[[], T]) -> T:
        return await self._in(self._sight, work)

    async def _guard(self, work: Coroutine[object, object, None]) -> None:
        """Run a helper; when it fails, the whole run ends with its failure."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - kept, and raised by `run`
            first: BaseException = error
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            self._failure = self._failure or first
            self.stop()


def _send_policy(settings: GlassesSettings, *, still: bool) -> SendPolicy:
    return SendPolicy(
        in_flight=settings.strips_in_flight,
        waiting=settings.outbox_signs,
        # A still does not move on: its strips stay worth something for as long as anybody waits.
        deadline_s=settings.answer_timeout_s if still else settings.strip_deadline_s,
        attempts=settings.send_attempts,
        answer_patience_s=settings.answer_patience_s,
        reconnect_patience_s=settings.reconnect_patience_s,
    )
