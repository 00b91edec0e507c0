"""The bench of the gate counts looks and waits as it says."""

from __future__ import annotations

import numpy as np
import pytest

from glasses.gate import GateInput
from glasses.view_stats import ViewStats
from shared.geometry import Quad, side_lengths, transform
from simulations.bench.gate import fewest, run, summarise
from simulations.bench.gate_baselines import Every, FormerGate
from simulations.bench.gate_clips import Clip, ClipFrame, SignTruth, world_clip
from simulations.sequences import TUNING_SEEDS
from simulations.sequences.catalogue import sequence

STATS = ViewStats(np.zeros((45, 80), np.float32), 0.5)


def _box(left: float) -> Quad:
    return np.array([[left, 300], [left + 200, 300], [left + 200, 330], [left, 330]], np.float32)


def _clip(seconds: float, *spans: tuple[float, float], inside_from: float | None = None) -> Clip:
    """A still view with one sign per span, which can be read from its first second to its last."""
    frames = []
    for step in range(round(seconds * 30)):
        now = step / 30
        signs = {}
        for index, (start, end) in enumerate(spans):
            readable = start <= now < end
            inside = readable if inside_from is None else now >= inside_from
            signs[index] = SignTruth((_box(300 if inside else 1150),), inside, readable)
        frames.append(ClipFrame(now, np.eye(3), STATS, 100.0, 0.1, signs))
    return Clip("made up", 1, tuple(frames))


class _At:
    """Looks at given frames; remembers what it was told."""

    def __init__(self, *steps: int) -> None:
        self._steps = steps
        self.seen: list[GateInput] = []

    def opens(self, frame: ClipFrame, seen: GateInput) -> bool:
        self.seen.append(seen)
        return len(self.seen) - 1 in self._steps


def test_a_wait_is_the_time_a_sign_could_be_read_before_it_was_looked_at() -> None:
    result = run(_clip(4, (1.0, 3.0), (0.0, 2.0)), _At(45))
    assert result.waits == pytest.approx([1.5, 0.5])
    assert result.unseen == 0


def test_a_sign_that_is_never_seen_waited_for_all_the_time_it_could_be_read() -> None:
    result = run(_clip(4, (1.0, 1.5)), _At(100))
    assert result.waits == pytest.approx([0.5])
    assert result.unseen == 1


def test_the_gate_is_busy_during_a_look_and_told_of_it_afterwards() -> None:
    gate = _At(10)
    run(_clip(1, (0.0, 0.7), (5.0, 6.0)), gate)
    assert [seen.busy for seen in gate.seen[10:14]] == [False, True, True, False]
    assert [len(seen.known) for seen in gate.seen[12:14]] == [0, 1]
    report = gate.seen[13].looked
    # The other sign runs over the right edge of the view.
    assert report is not None
    assert report.cut_off[0][:, 0].max() == 1279
    assert len(gate.seen[21].lost) == 1  # at 0.7 s
    assert not any(seen.lost for seen in gate.seen[22:])


def test_the_fewest_looks_leave_nobody_waiting() -> None:
    clip = _clip(8, (0.0, 5.0), (0.5, 5.0), (4.0, 7.0))
    result = fewest(clip)
    assert len(result.looks) == 2
    assert max(result.waits) <= 1.0


def test_a_look_at_fixed_intervals_and_the_former_gate_see_a_still_view_as_often_as_they_say() -> None:
    clip = _clip(9, (0.0, 9.0))
    for gate, looks in ((Every(0.5), 18), (Every(1.0), 9), (FormerGate(), 3)):
        result = run(clip, gate)
        row = summarise([clip], [result], "any")
        assert len(result.looks) == looks
        assert row.most_in_10_s == looks
        assert row.looks_per_10_s == pytest.approx(looks / 0.9)
        assert (row.late, row.unseen, row.sharpness) == (0, 0, 1.0)


def test_what_can_be_read_is_inside_large_and_not_smeared_by_the_exposure() -> None:
    film = sequence("lowlight", TUNING_SEEDS[0], 0.5)
    clip = world_clip(film)
    assert clip.frames[0].motion is None
    told = {True: 0, False: 0}
    for frame in clip.frames[1:]:
        # Where the signs are when the exposure begins and ends, straight from the truth.
        ends = [film.truth(frame.now + side * film.camera.exposure_s) for side in (-0.5, 0.5)]
        for key, sign in frame.signs.items():
            if not sign.inside or min(min(side_lengths(line)) for line in sign.lines) < 12:
                assert not sign.readable
                continue
            start, end = (np.concatenate(truth[key].lines) for truth in ends)
            travel = float(np.linalg.norm(end - start, axis=1).max())
            if abs(travel - 3) > 1:  # the bench goes by the motion since the frame before
                assert sign.readable == (travel < 3)
                told[sign.readable] += 1
    assert min(told.values()) > 0


def test_the_motion_of_the_view_is_that_of_what_is_far_away() -> None:
    clip = world_clip(sequence("walk", TUNING_SEEDS[0], 0.2))
    before, after = clip.frames[2:4]
    assert after.motion is not None
    for key, sign in after.signs.items():
        if sign.inside and before.signs[key].inside:
            # Signs hang nearer than the wall: they move a little more.
            moved = transform(after.motion, np.concatenate(before.signs[key].lines))
            assert np.abs(moved - np.concatenate(sign.lines)).max() < 6
