"""Can the rest of the glasses delay the poses? The stabiliser in its own process beside the same one in the glasses'.

Frames come as a camera gives them, one each 1/30 s by the clock. Each form is played with the glasses quiet, and with
another thread of the glasses busy with Python all the time: such a thread holds the interpreter's lock for a turn
(`sys.getswitchinterval`, 5 ms), and whoever wants it back waits. Then the process that follows the signs is killed.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

import numpy as np

from glasses.stabiliser import Stabiliser, View
from glasses.stabiliser.client import ProcessStabiliser
from glasses.stabiliser.inline import InlineStabiliser
from glasses.stabiliser.warm import warm
from shared.clock import SystemClock
from simulations.bench.stabiliser.contenders import OURS_WITH_GYRO, CameraFacts, Contender, named
from simulations.bench.stabiliser.measures import CLOSE_PX, percentile
from simulations.bench.stabiliser.play import Cast
from simulations.bench.stabiliser.results import machine_line, without_nan
from simulations.sequences import FOCAL_PX, FRAME_RATE, REPORTING_SEEDS, SequenceFrame
from simulations.sequences.catalogue import sequence

SEQUENCE: Final = "walk"
SEED: Final = REPORTING_SEEDS[0]
SECONDS: Final = 5.0
LEAST_SECONDS: Final = 0.5
"""There have to be signs that are followed before the kill."""
PROCESS: Final = "process"
IN_THE_GLASSES: Final = "in the glasses"
BUSY_ROUND: Final = 500
"""Small pieces of work between two looks at whether to stop: a few tenths of a millisecond."""


class Load(Enum):
    """What else the glasses' process does."""

    QUIET = "quiet"
    BUSY = "busy thread"


@dataclass(frozen=True, slots=True)
class Beat:
    """The time frames are paced by.

    Attributes:
        now: monotonic seconds.
        sleep: waits for so many seconds.
    """

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def wait(self, until: float) -> None:
        """Wait until that moment, if it is still to come."""
        left = until - self.now()
        if left > 0:
            self.sleep(left)


class StampedClock(SystemClock):
    """Remembers when it was first asked: `ProcessStabiliser` asks it right before it sends a frame."""

    def __init__(self) -> None:
        self._first = math.nan

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        now = super().monotonic()
        if math.isnan(self._first):
            self._first = now
        return now

    def take(self) -> float:
        """The first moment since the last `take`; NaN when nobody asked."""
        first, self._first = self._first, math.nan
        return first


@dataclass(frozen=True, slots=True)
class Timing:
    """One frame, monotonic seconds.

    Attributes:
        due: the frame is there.
        asked: `observe` is called.
        computed: the poses are known where they are computed. In a process: when the frame was sent, plus `inside`;
            what the machine takes to wake the process is left out.
        inside: seconds the process took from the frame's arrival to its answer; NaN without a process.
        had: `observe` has returned.
    """

    due: float
    asked: float
    computed: float
    inside: float
    had: float


@dataclass(frozen=True, slots=True)
class Played:
    """One play.

    Attributes:
        timings: of each frame.
        sure: of each frame, by visible sign that is followed: whether it is said to be tracked and is within 4 px.
        killed: index of the first frame that was asked for after the kill, and when that was; None without a kill.
        restarts: as the client counted them.
    """

    timings: Sequence[Timing]
    sure: Sequence[Mapping[int, bool]]
    killed: tuple[int, float] | None = None
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class Spread:
    """Milliseconds; NaN where there is nothing to tell."""

    p50: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class Row:
    """One form of the stabiliser under one load, without the first frame.

    Attributes:
        form: `PROCESS` or `IN_THE_GLASSES`.
        load: what else the glasses do.
        observe: `observe` by the clock, as its caller sees it.
        inside: from the frame's arrival in the process to its answer.
        asked: age of the frame when `observe` is called.
        computed: its age when the poses are known where they are computed.
        had: its age when the glasses have them.
    """

    form: str
    load: str
    observe: Spread
    inside: Spread
    asked: Spread
    computed: Spread
    had: Spread


@dataclass(frozen=True, slots=True)
class Recovery:
    """After the kill.

    Attributes:
        load: what else the glasses do.
        regions: signs that were tracked in the frame before it, within 4 px.
        frames: until all of them that are visible are so again; infinite for never.
        seconds: from the kill until the glasses have those poses; likewise.
        longest_ms: the longest `observe` until then.
        restarts: as the client counted them.
    """

    load: str
    regions: int
    frames: float
    seconds: float
    longest_ms: float
    restarts: int


@dataclass(frozen=True, slots=True)
class AloneResults:
    """Everything."""

    machine: str
    sequence: str
    seed: int
    seconds: float
    rows: Sequence[Row]
    recoveries: Sequence[Recovery]

    def as_json(self) -> dict[str, Any]:
        """NaN becomes null and infinity "inf"."""
        cleaned: dict[str, Any] = without_nan(asdict(self))
        return cleaned


@contextmanager
def busy_with(load: Load) -> Iterator[None]:
    """Keep a thread of this process busy meanwhile, if the load says so."""
    if load is Load.QUIET:
        yield
        return
    stop = threading.Event()
    thread = threading.Thread(target=_work, args=(stop,), name="busy", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _work(stop: threading.Event) -> None:
    """The kind of work glasses do in Python: small objects, looked up and thrown away."""
    while not stop.is_set():
        seen: dict[str, int] = {}
        for each in range(BUSY_ROUND):
            seen[f"{each % 97}"] = seen.get(f"{each % 89}", 0) + 1


def _child_that_follows(parent: int) -> int:
    """Process id of the frame path: the parent forks it before the mapper."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
    return int(children[0])


def play_paced(
    frames: Sequence[SequenceFrame],
    stabiliser: Stabiliser,
    contender: Contender,
    beat: Beat,
    stamps: StampedClock,
    kill_at: int | None = None,
) -> Played:
    """Show frames when they are due; signs are added in the frame in which they are first visible.

    A frame that comes while the one before is not done yet waits; its age goes on.

    Args:
        frames: at least one.
        stabiliser: the form that is measured.
        contender: says whether it gets the gyro, and how signs are added.
        beat: paces the frames.
        stamps: the clock the stabiliser was made with, if it was made with one.
        kill_at: index of the frame before which the process is killed that follows the signs.
    """
    cast = Cast(contender)
    followed: set[int] = set()
    timings: list[Timing] = []
    sure: list[dict[int, bool]] = []
    killed: tuple[int, float] | None = None
    process = stabiliser if isinstance(stabiliser, ProcessStabiliser) else None
    if process is not None:
        process.buffer(frames[0].luma.shape[1], frames[0].luma.shape[0])  # waits until the process has begun
    start = beat.now() + 1 / FRAME_RATE
    for index, frame in enumerate(frames):
        luma = frame.luma
        if process is not None:
            # As the camera does it: the frame is written where the process reads it, before it is there.
            luma = process.buffer(luma.shape[1], luma.shape[0])
            luma[:] = frame.luma
        due = start + index / FRAME_RATE
        beat.wait(due)
        if process is not None and index == kill_at:
            killed = index, beat.now()
            os.kill(_child_that_follows(process.process_id), signal.SIGKILL)
        if process is not None:
            process.last_seconds = math.nan  # stays so when the process does not answer
        stamps.take()
        asked = beat.now()
        view = stabiliser.observe(frame.frame_id, luma, frame.captured, frame.gyro if contender.gyro else None)
        had = beat.now()
        inside = math.nan if process is None else process.last_seconds
        computed = had if process is None else stamps.take() + inside
        timings.append(Timing(due, asked, computed, inside, had))
        sure.append(_sure(frame, view, cast, followed))
        for sign, truth in frame.regions.items():
            if truth.visible and sign not in followed:
                cast.add(stabiliser, sign, truth.lines, frame.frame_id)
                followed.add(sign)
        if isinstance(stabiliser, InlineStabiliser):
            stabiliser.run_mapper()
    return Played(timings, sure, killed, 0 if process is None else process.restarts)


def _sure(frame: SequenceFrame, view: View, cast: Cast, followed: set[int]) -> dict[int, bool]:
    """By visible sign that is followed: whether it is said to be tracked, and every line is within 4 px."""
    result = {}
    for sign in followed:
        truth = frame.regions.get(sign)
        if truth is None or not truth.visible:
            continue
        labels, tracked = cast.labels(view, sign, len(truth.lines))
        result[sign] = tracked and all(
            label is not None and float(np.linalg.norm(label - line, axis=1).mean()) < CLOSE_PX
            for label, line in zip(labels, truth.lines, strict=True)
        )
    return result


def row_of(played: Played, form: str, load: Load) -> Row:
    """The figures of a play; its first frame, which sets up, is left out."""
    timings = played.timings[1:]
    return Row(
        form,
        load.value,
        observe=_spread([each.had - each.asked for each in timings]),
        inside=_spread([each.inside for each in timings]),
        asked=_spread([each.asked - each.due for each in timings]),
        computed=_spread([each.computed - each.due for each in timings]),
        had=_spread([each.had - each.due for each in timings]),
    )


def _spread(seconds: Sequence[float]) -> Spread:
    known = [value * 1e3 for value in seconds if not math.isnan(value)]
    return Spread(*(percentile(known, percent) for percent in (50, 95, 99, 100)))


def recovery_of(played: Played, load: Load) -> Recovery:
    """What the kill cost.

    Raises:
        ValueError: nothing was killed, or in the first frame already.
    """
    if played.killed is None or played.killed[0] < 1:
        raise ValueError("nothing was killed while signs were followed")
    index, when = played.killed
    wanted = {sign for sign, sure in played.sure[index - 1].items() if sure}
    longest = 0.0
    for offset, (timing, sure) in enumerate(zip(played.timings[index:], played.sure[index:], strict=True)):
        longest = max(longest, (timing.had - timing.asked) * 1e3)
        in_view = wanted & sure.keys()
        if in_view and all(sure[sign] for sign in in_view):
            return Recovery(load.value, len(wanted), offset, timing.had - when, longest, played.restarts)
    return Recovery(load.value, len(wanted), math.inf, math.inf, longest, played.restarts)


def run(
    name: str = SEQUENCE,
    seed: int = SEED,
    seconds: float = SECONDS,
    *,
    beat: Beat | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> AloneResults:
    """Play one sequence to both forms under both loads, and to the process once more with a kill in the middle.

    Args:
        name: of the sequence.
        seed: of it.
        seconds: of it.
        beat: paces the frames; by the clock when None.
        say: progress, a line each.
    """
    beat = beat or Beat()
    say(f"{name}, seed {seed}: drawing")
    taken = sequence(name, seed, seconds)
    frames = list(taken.frames())
    camera = CameraFacts(FOCAL_PX, taken.readout_s)
    (contender,) = named([OURS_WITH_GYRO])
    warm()
    rows, recoveries = [], []
    for load in Load:
        for form in (IN_THE_GLASSES, PROCESS):
            say(f"{form}, {load.value}")
            stamps = StampedClock()
            with _made(form, camera, stamps) as stabiliser, busy_with(load):
                rows.append(row_of(play_paced(frames, stabiliser, contender, beat, stamps), form, load))
    for load in Load:
        say(f"killed, {load.value}")
        stamps = StampedClock()
        with _made(PROCESS, camera, stamps) as stabiliser, busy_with(load):
            played = play_paced(frames, stabiliser, contender, beat, stamps, kill_at=len(frames) // 2)
            recoveries.append(recovery_of(played, load))
    return AloneResults(machine_line(), name, seed, seconds, rows, recoveries)


@contextmanager
def _made(form: str, camera: CameraFacts, stamps: StampedClock) -> Iterator[Stabiliser]:
    if form == PROCESS:
        with closing(
            ProcessStabiliser(clock=stamps, focal_px=lambda: camera.focal_px, readout_s=camera.readout_s)
        ) as process:
            yield process
    else:
        yield InlineStabiliser(focal_px=camera.focal_px, readout_s=camera.readout_s, mapper_by_caller=True)
