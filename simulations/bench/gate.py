"""How often the gate opens, and how long signs wait for it: against ground truth, without detection or tracking.

A look takes three frames and finds every sign that can be read in its frame: all of it in the view, text at least 12 px
high, less than 3 px of motion during the exposure. Found signs are followed without fault. A sign's wait is the time
during which it could be read before the capture of the first frame that was looked at and shows it readable; time in
which it is smeared or cut off does not count, for no gate could have read it then.

The gate is compared with the one it replaced, with a look every half second and every second, and with the fewest
looks that leave no sign waiting for more than a second, chosen by who knows the future.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable
from collections.abc import Sequence as Listing
from dataclasses import asdict, dataclass, field
from typing import Protocol

import numpy as np

from glasses.gate import GateInput, GatePolicy, GateReason, GateState, LookReport, decide
from glasses.regions import outer_quad
from shared.geometry import Quad, side_lengths
from simulations.bench.gate_baselines import Every, FormerGate
from simulations.bench.gate_clips import READABLE_HEIGHT_PX, SIZE, Clip, ClipFrame, street, within_view, world_clip
from simulations.sequences import FRAME_RATE, REPORTING_SEEDS, TUNING_SEEDS
from simulations.sequences.catalogue import NAMES, sequence

LOOK_FRAMES = 3
LIMIT_S = 1.0
WINDOW_S = 10.0
CUT_SHARE = 0.4
"""So much of a line must be in the view for a detector to find what there is of it."""
SMALLEST_FOUND_PX = 8.0
"""Smaller text is not found; `wayword-sim bench detection` measures it."""
STREET = "street"


class Chooser(Protocol):
    """A gate on the bench."""

    def opens(self, frame: ClipFrame, seen: GateInput) -> bool:
        """Whether to look at this frame."""
        ...


class TheGate:
    """`glasses.gate`, with the reasons it opened for."""

    def __init__(self, policy: GatePolicy | None = None) -> None:
        self._policy = policy or GatePolicy()
        self._state = GateState()
        self.reasons: list[tuple[float, GateReason]] = []
        self.milliseconds: list[float] = []

    def opens(self, frame: ClipFrame, seen: GateInput) -> bool:
        """See `Chooser`."""
        start = time.perf_counter()
        opens, reason, self._state = decide(self._policy, self._state, seen)
        self.milliseconds.append((time.perf_counter() - start) * 1e3)
        if opens:
            self.reasons.append((frame.now, reason))
        return opens


@dataclass
class Run:
    """What one gate did with one clip.

    Attributes:
        looks: indices of the frames looked at.
        waits: per sign that could ever be read: seconds it could be read until the first look that saw it.
        unseen: signs that could be read and were never seen.
        elapsed: per sign seen: seconds on the clock from readable to seen.
    """

    looks: list[int] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    elapsed: list[float] = field(default_factory=list)
    unseen: int = 0


def run(clip: Clip, gate: Chooser) -> Run:
    """Play a clip to a gate."""
    result = Run()
    found: set[int] = set()
    inside_before: dict[int, Quad] = {}
    looking_at: int | None = None
    for index, frame in enumerate(clip.frames):
        looked = None
        if looking_at is not None and index - looking_at >= LOOK_FRAMES:
            source = clip.frames[looking_at]
            found |= {key for key, sign in source.signs.items() if sign.readable}
            looked, looking_at = LookReport(tuple(_cut_off(source)), tuple(_too_small(source))), None
        inside = {key: outer_quad(frame.signs[key].lines) for key in found if _in_view(frame, key)}
        lost = tuple(quad for key, quad in inside_before.items() if key not in inside)
        known, inside_before = tuple(inside.values()), inside
        busy = looking_at is not None
        if gate.opens(frame, GateInput(frame.now, SIZE, frame.motion, frame.stats, known, lost, looked, busy)):
            looking_at = index
            result.looks.append(index)
    looked_at = set(result.looks)
    for readable in _readable(clip):
        seen = next((index for index in readable if index in looked_at), None)
        result.waits.append(sum(1 for index in readable if seen is None or index < seen) / FRAME_RATE)
        if seen is None:
            result.unseen += 1
        else:
            result.elapsed.append((seen - readable[0]) / FRAME_RATE)
    return result


def _readable(clip: Clip) -> list[list[int]]:
    """Per sign that can ever be read: the frames in which it can."""
    frames: dict[int, list[int]] = {}
    for index, frame in enumerate(clip.frames):
        for key, sign in frame.signs.items():
            if sign.readable:
                frames.setdefault(key, []).append(index)
    return list(frames.values())


def fewest(clip: Clip) -> Run:
    """The fewest looks after which no sign has waited for more than a second (greedily, so at most a few too many)."""
    limit = round(LIMIT_S * FRAME_RATE)
    open_sets = [set(readable[: limit + 1]) for readable in _readable(clip)]
    chosen: set[int] = set()
    while open_sets:
        first = min(open_sets, key=max)
        best = max(first, key=lambda index: (sum(index in one for one in open_sets), index))
        chosen.add(best)
        open_sets = [one for one in open_sets if best not in one]
    return run(clip, _Chosen([clip.frames[index].now for index in chosen]))


class _Chosen:
    def __init__(self, times: Iterable[float]) -> None:
        self._times = set(times)

    def opens(self, frame: ClipFrame, seen: GateInput) -> bool:
        return frame.now in self._times


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: one gate on the clips of one name, over all seeds."""

    clips: str
    gate: str
    looks_per_10_s: float
    most_in_10_s: int
    signs: int
    wait_p50_s: float
    wait_p95_s: float
    wait_max_s: float
    late: int
    unseen: int
    elapsed_max_s: float
    sharpness: float


def summarise(clips: Listing[Clip], runs: Listing[Run], gate: str) -> Row:
    """Over all seeds of one clip."""
    seconds = sum(len(clip.frames) for clip in clips) / FRAME_RATE
    waits = [wait for one in runs for wait in one.waits] or [0.0]
    ratios: list[float] = []
    for clip, one in zip(clips, runs, strict=True):
        sharpness = [frame.stats.sharpness or 0.0 for frame in clip.frames]
        reference = float(np.percentile(sharpness, 90))
        ratios += [sharpness[index] / reference for index in one.looks if reference > 0]
    return Row(
        clips[0].name,
        gate,
        sum(len(one.looks) for one in runs) / seconds * 10,
        max(_most(one.looks) for one in runs),
        sum(len(one.waits) for one in runs),
        float(np.percentile(waits, 50)),
        float(np.percentile(waits, 95)),
        max(waits),
        sum(wait > LIMIT_S for wait in waits),
        sum(one.unseen for one in runs),
        max((wait for one in runs for wait in one.elapsed), default=0.0),
        float(np.mean(ratios)) if ratios else 0.0,
    )


def _most(looks: Listing[int]) -> int:
    span = WINDOW_S * FRAME_RATE
    return max((sum(start <= look < start + span for look in looks) for start in looks), default=0)


def _in_view(frame: ClipFrame, key: int) -> bool:
    return key in frame.signs and frame.signs[key].inside


def _cut_off(frame: ClipFrame) -> list[Quad]:
    """What a detector would report of lines that run over the edge of the view."""
    parts = []
    for sign in frame.signs.values():
        for line in sign.lines if not within_view(sign.lines) else ():
            low, high = line.min(axis=0), line.max(axis=0)
            shown = np.clip(line, 0, np.array(SIZE, np.float32) - 1)
            share = np.prod(shown.max(axis=0) - shown.min(axis=0)) / max(float(np.prod(high - low)), 1e-6)
            if share > CUT_SHARE:
                parts.append(np.asarray(shown, np.float32))
    return parts


def _too_small(frame: ClipFrame) -> list[Quad]:
    """What a detector would report of lines that are too small to be read."""
    lines = (line for sign in frame.signs.values() if sign.inside for line in sign.lines)
    return [line for line in lines if SMALLEST_FOUND_PX <= min(side_lengths(line)) < READABLE_HEIGHT_PX]


def clips_of(name: str, seeds: Iterable[int]) -> list[Clip]:
    """The clips of one name."""
    if name == STREET:
        return [street(seed) for seed in seeds]
    return [world_clip(sequence(name, seed)) for seed in seeds]


GATES: dict[str, Callable[[], Chooser]] = {
    "gate": TheGate,
    "former gate": FormerGate,
    "2 Hz": lambda: Every(0.5),
    "1 Hz": lambda: Every(1.0),
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `gate` to `wayword-sim bench`."""
    parser = subparsers.add_parser("gate", help="how often detection runs, and what waits", description=__doc__)
    parser.add_argument("clips", nargs="*", choices=(STREET, *NAMES), metavar="CLIP", help="default: all")
    parser.add_argument("--tuning", action="store_true", help="the seeds that constants are chosen by")
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")
    parser.set_defaults(body=body)


def body(arguments: argparse.Namespace) -> int:
    """Body of `wayword-sim bench gate`."""
    seeds = TUNING_SEEDS if arguments.tuning else REPORTING_SEEDS
    rows: list[Row] = []
    gate_ms: list[float] = []
    measured_ms: list[float] = []
    for name in arguments.clips or (STREET, *NAMES):
        clips = clips_of(name, seeds)
        measured_ms += [frame.measured_ms for clip in clips for frame in clip.frames]
        for label, make in GATES.items():
            gates = [make() for _ in clips]
            rows.append(summarise(clips, [run(clip, gate) for clip, gate in zip(clips, gates, strict=True)], label))
            gate_ms += [ms for gate in gates if isinstance(gate, TheGate) for ms in gate.milliseconds]
        rows.append(summarise(clips, [fewest(clip) for clip in clips], "fewest possible"))
    costs = {"measure_ms": _percentiles(measured_ms), "decide_ms": _percentiles(gate_ms)}
    if arguments.json:
        print(json.dumps({"seeds": seeds, "rows": [asdict(row) for row in rows], **costs}, indent=1))
        return 0
    print(
        "| clips | gate | looks/10 s | most in 10 s | signs | wait p50 s | p95 | max | > 1 s | unseen | sharpness |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|"
    )
    for row in rows:
        print(
            f"| {row.clips} | {row.gate} | {row.looks_per_10_s:.1f} | {row.most_in_10_s} | {row.signs} "
            f"| {row.wait_p50_s:.2f} | {row.wait_p95_s:.2f} | {row.wait_max_s:.2f} | {row.late} | {row.unseen} "
            f"| {row.sharpness:.2f} |"
        )
    for label, values in costs.items():
        print(f"\n{label}: p50 {values['p50']:.3f}, p95 {values['p95']:.3f}")
    return 0


def _percentiles(values: Listing[float]) -> dict[str, float]:
    return {f"p{share}": float(np.percentile(values, share)) for share in (50, 95)}
