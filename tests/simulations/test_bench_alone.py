"""The bench of the stabiliser's process measures what it says: known times, known waits, a real process that dies."""

from __future__ import annotations

import argparse
import json
import math
import threading
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from glasses.stabiliser import GyroSamples, Luma, Pose, PoseState, View
from shared.errors import UsageError
from shared.geometry import Quad
from simulations.bench.stabiliser import command
from simulations.bench.stabiliser.alone import (
    IN_THE_GLASSES,
    PROCESS,
    AloneResults,
    Beat,
    Load,
    Played,
    StampedClock,
    Timing,
    busy_with,
    play_paced,
    recovery_of,
    row_of,
    run,
)
from simulations.bench.stabiliser.alone_tables import markdown
from simulations.bench.stabiliser.contenders import OURS_WITH_GYRO, named
from simulations.sequences import FRAME_RATE, RegionTruth, SequenceFrame

FRAME_S = 1 / FRAME_RATE
SIGN = np.array([[10, 10], [50, 10], [50, 20], [10, 20]], np.float32)
SILENT = GyroSamples(np.empty(0), np.empty((0, 3)))
(OURS,) = named([OURS_WITH_GYRO])


class VirtualTime:
    """Time that passes when somebody waits, or works."""

    def __init__(self) -> None:
        self.now = 100.0

    def pass_by(self, seconds: float) -> None:
        self.now += seconds

    def beat(self) -> Beat:
        return Beat(lambda: self.now, self.pass_by)


class Slow:
    """A stabiliser of signs that do not move: takes so long for a frame and is so far off."""

    def __init__(
        self, time: VirtualTime, seconds: float, off_px: float = 0.0, state: PoseState = PoseState.TRACKED
    ) -> None:
        self.time = time
        self.seconds = seconds
        self.off_px = off_px
        self.state = state
        self.added: dict[int, int] = {}

    def observe(self, frame_id: int, luma: Luma, captured: float, gyro: GyroSamples | None = None) -> View:
        self.time.pass_by(self.seconds)
        shift = np.eye(3)
        shift[0, 2] = self.off_px
        return View(
            frame_id, captured, {region: Pose(shift, self.state, 1.0, frame) for region, frame in self.added.items()}
        )

    def add(self, region_id: int, quads: Sequence[Quad], frame_id: int) -> None:
        self.added[region_id] = frame_id

    def remove(self, region_id: int) -> None:
        del self.added[region_id]


def frames(count: int, visible_from: int = 0) -> list[SequenceFrame]:
    black = np.zeros((36, 64), np.uint8)
    truths = [{1: RegionTruth((SIGN,), index >= visible_from)} for index in range(count)]
    return [SequenceFrame(index, index * FRAME_S, black, SILENT, truth) for index, truth in enumerate(truths)]


def play_slow(seconds: float, count: int = 5, **how: object) -> Played:
    time = VirtualTime()
    return play_paced(frames(count), Slow(time, seconds, **how), OURS, time.beat(), StampedClock())  # type: ignore[arg-type]


def test_frames_are_shown_when_they_are_due() -> None:
    row = row_of(play_slow(0.003), IN_THE_GLASSES, Load.QUIET)
    assert row.observe.p50 == row.observe.max == pytest.approx(3.0)
    assert row.asked.max == pytest.approx(0.0, abs=1e-6)
    assert row.had.max == row.computed.max == pytest.approx(3.0)
    assert math.isnan(row.inside.p50)


def test_a_frame_that_comes_too_soon_waits_and_its_age_goes_on() -> None:
    played = play_slow(FRAME_S + 0.010)
    waits = [timing.asked - timing.due for timing in played.timings]
    assert waits == pytest.approx([0.0, 0.01, 0.02, 0.03, 0.04])
    # Without the first frame, which has not waited for anything.
    assert row_of(played, IN_THE_GLASSES, Load.QUIET).asked.p50 == pytest.approx(20.0)


def test_signs_are_followed_from_the_frame_they_are_first_visible_in() -> None:
    time = VirtualTime()
    played = play_paced(frames(4, visible_from=1), Slow(time, 0.0), OURS, time.beat(), StampedClock())
    assert played.sure == [{}, {}, {1: True}, {1: True}]


@pytest.mark.parametrize(
    ("off_px", "state", "sure"),
    [
        (3.9, PoseState.TRACKED, True),
        (4.1, PoseState.TRACKED, False),
        (0.0, PoseState.PREDICTED, False),
        (0.0, PoseState.LOST, False),
    ],
)
def test_a_sign_is_back_when_it_is_tracked_and_close(off_px: float, state: PoseState, sure: bool) -> None:
    assert play_slow(0.0, off_px=off_px, state=state).sure[1:] == [{1: sure}] * 4


def killed_at(index: int, *sure: Mapping[int, bool]) -> Played:
    """Frames a second apart, each answered after a tenth; killed a hundredth after the frame was due."""
    timings = [Timing(float(due), due + 0.01, due + 0.11, 0.1, due + 0.11) for due in range(len(sure))]
    return Played(timings, sure, (index, index + 0.01), restarts=1)


def test_the_recovery_ends_when_all_signs_that_were_tracked_are_again() -> None:
    both, one, none = {1: True, 2: True}, {1: True, 2: False}, {1: False, 2: False}
    recovery = recovery_of(killed_at(2, {}, both, none, one, both, both), Load.QUIET)
    assert (recovery.regions, recovery.frames, recovery.restarts) == (2, 2, 1)
    assert recovery.seconds == pytest.approx(2.1)
    assert recovery.longest_ms == pytest.approx(100.0)


def test_signs_that_were_lost_before_or_have_gone_are_not_waited_for() -> None:
    before = {1: True, 2: True, 3: False}
    recovery = recovery_of(killed_at(2, {}, before, {1: False, 3: False}, {1: True, 3: False}), Load.QUIET)
    assert (recovery.regions, recovery.frames) == (2, 1)


@pytest.mark.parametrize("after", [{1: False}, {}])
def test_what_does_not_come_back_is_never(after: dict[int, bool]) -> None:
    recovery = recovery_of(killed_at(1, {1: True}, after, after), Load.QUIET)
    assert math.isinf(recovery.frames)
    assert math.isinf(recovery.seconds)


def test_without_a_kill_there_is_no_recovery() -> None:
    with pytest.raises(ValueError, match="nothing was killed"):
        recovery_of(play_slow(0.0), Load.QUIET)
    with pytest.raises(ValueError, match="nothing was killed"):
        recovery_of(killed_at(0, {}), Load.QUIET)


def test_a_thread_is_busy_meanwhile_and_only_then() -> None:
    def busy() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "busy"]

    with busy_with(Load.BUSY):
        assert len(busy()) == 1
    assert busy() == []
    with busy_with(Load.QUIET):
        assert busy() == []


def test_the_clock_remembers_when_it_was_first_asked() -> None:
    clock = StampedClock()
    assert math.isnan(clock.take())
    first = clock.monotonic()
    assert clock.monotonic() >= first
    assert clock.take() == first
    assert math.isnan(clock.take())


def test_the_tables_show_every_row_and_what_is_not_known() -> None:
    row = row_of(play_slow(0.003), IN_THE_GLASSES, Load.BUSY)
    never = recovery_of(killed_at(1, {1: True}, {1: False}), Load.QUIET)
    results = AloneResults("a machine", "walk", 101, 1.0, [row], [never])
    text = markdown(results)
    assert "| in the glasses | busy thread | 3.00 | 3.00 | 3.00 | 3.00 | – | – | – | – |" in text
    assert "| quiet | 1 | ∞ | ∞ | 100.0 | 1 |" in text
    tables = [[line for line in part.splitlines() if line.startswith("|")] for part in text.split("###")]
    for table in tables[1:]:
        assert len({line.count("|") for line in table}) == 1
    document = json.loads(json.dumps(results.as_json(), allow_nan=False))
    assert document["rows"][0]["inside"]["p50"] is None
    assert document["recoveries"][0]["seconds"] == "inf"


@pytest.mark.timeout(300)  # the first test of a new checkout compiles the kernels
@pytest.mark.nightly
def test_both_forms_are_measured_and_the_process_is_killed() -> None:
    results = run("walk", 101, 0.5, beat=Beat(sleep=lambda seconds: None))
    assert [(row.form, row.load) for row in results.rows] == [
        (form, load.value) for load in Load for form in (IN_THE_GLASSES, PROCESS)
    ]
    for row in results.rows:
        if row.form == PROCESS:
            assert 0 < row.inside.p50 < row.observe.p50
            assert row.computed.p50 < row.had.p50
        else:
            assert math.isnan(row.inside.p50)
            assert row.computed == row.had
    assert [(each.load, each.restarts) for each in results.recoveries] == [(load.value, 1) for load in Load]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--quick"], "--quick has no meaning"),
        (["--contenders", "lk"], "--contenders has no meaning"),
        (["--sequences", "walk,turn"], "no sequence 'walk,turn'"),
        (["--seconds", "0.1"], "too short"),
        (["--seconds", "0"], "too short"),
        (["--clip", "x.mp4"], "--clip has no meaning"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], words: str) -> None:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    with pytest.raises(UsageError, match=words):
        command.body(parser.parse_args(["stabiliser", "--process", *arguments]))
