"""How long the wearer waits for the poses: what the glasses' log says of each frame, in figures and as SVG."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any, Final

import numpy as np

from simulations.results import Event

LIMITS: Final = (
    (20.0, "seen as delay"),
    (10.0, "tolerable in AR"),
    (5.0, "cybersickness"),
)
"""Milliseconds from motion to picture, and what they are known for."""
TOP_MS: Final = 25.0
"""Top of the plot; slower frames are drawn there, with a mark of their own."""
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 960, 300, 46, 168, 14, 62
"""Of the plot, pixels; the margins hold the axes, the key and the names of the limits."""
INSET = 6
"""Keeps the first frame's dot off the axis, pixels."""
POSES, SLOW, DETECTION = "#3b82c4", "#c0392b", "#e0a526"


@dataclass(frozen=True, slots=True)
class Spread:
    """Milliseconds of all frames.

    Attributes:
        p50, p95, p99: percentiles with linear interpolation.
        max: the longest.
        max_at_s: when that was, seconds since the first frame's poses.
    """

    p50: float
    p95: float
    p99: float
    max: float
    max_at_s: float


@dataclass(frozen=True, slots=True)
class Detection:
    """A look for text, which runs beside the frames.

    Attributes:
        at_s: when the gate opened, seconds since the first frame's poses.
        until_s: when the text was found; None when the run ended before.
        reason: the gate's.
    """

    at_s: float
    until_s: float | None
    reason: str


@dataclass(slots=True)
class PoseLatency:
    """Every frame of a run. Lists of one length; times are seconds since the first frame's poses.

    Attributes:
        at_s: when the frame's poses were there.
        pose_ms: from asking the stabiliser to having them, as the glasses saw it.
        after_capture_ms: age of the frame by then.
        detections: in order.
        seconds: from first to last poses; glasses that were started again are not counted while they were away.
    """

    at_s: list[float] = field(default_factory=list)
    pose_ms: list[float] = field(default_factory=list)
    after_capture_ms: list[float] = field(default_factory=list)
    detections: list[Detection] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def frames(self) -> int:
        """How many had poses."""
        return len(self.at_s)

    @property
    def pose(self) -> Spread:
        """Of `pose_ms`."""
        return _spread(self.pose_ms, self.at_s)

    @property
    def after_capture(self) -> Spread:
        """Of `after_capture_ms`."""
        return _spread(self.after_capture_ms, self.at_s)

    @property
    def detections_per_10_s(self) -> float | None:
        """Mean rate; None when the run has no length."""
        return round(10 * len(self.detections) / self.seconds, 2) if self.seconds > 0 else None

    def frames_over(self, limit_ms: float) -> int:
        """Frames whose `pose_ms` is longer than that."""
        return sum(value > limit_ms for value in self.pose_ms)

    def as_json(self) -> dict[str, Any]:
        """For report.json."""
        return {
            **asdict(self.pose),
            "frames": self.frames,
            "frames_over": {f"{limit:g} ms": self.frames_over(limit) for limit, _ in LIMITS},
            "after_capture": asdict(self.after_capture),
            "detections": len(self.detections),
            "detections_per_10_s": self.detections_per_10_s,
        }


def pose_latency(events: Iterable[Event]) -> PoseLatency | None:
    """What the glasses' events say of their poses.

    Args:
        events: in the order of their time; those of other tiers do not matter.

    Returns:
        None without a frame that had poses, and for still pictures, which wait for nothing.
    """
    found = PoseLatency()
    start: float | None = None
    run_start: float | None = None
    opened: dict[int, int] = {}
    still = False
    for event in events:
        if event["process"] != "glasses":
            continue
        kind = event["event"]
        if kind == "started":
            # Frames are counted from the start again, and the clock has gone on meanwhile.
            still, run_start, opened = bool(event.get("still")), None, {}
        elif kind == "pose" and not still:
            start = event["t"] if start is None else start
            found.seconds += 0.0 if run_start is None else event["t"] - run_start
            run_start = event["t"]
            found.at_s.append(event["t"] - start)
            found.pose_ms.append(event["pose_ms"])
            found.after_capture_ms.append(event["after_capture_ms"])
        elif kind == "gate_opened" and start is not None:
            opened[event["frame_id"]] = len(found.detections)
            found.detections.append(Detection(event["t"] - start, None, event["reason"]))
        elif kind == "frame_detected" and start is not None and event["frame_id"] in opened:
            index = opened[event["frame_id"]]
            begun = found.detections[index]
            found.detections[index] = Detection(begun.at_s, event["t"] - start, begun.reason)
    return found if found.frames else None


def _spread(values: Sequence[float], at_s: Sequence[float]) -> Spread:
    p50, p95, p99 = (round(float(value), 3) for value in np.percentile(values, [50, 95, 99]))
    longest = int(np.argmax(values))
    return Spread(p50, p95, p99, round(values[longest], 3), round(at_s[longest], 2))


def latency_svg(latency: PoseLatency) -> str:
    """A dot for each frame over the run's time, the limits as lines, detections as bands behind.

    The axis is linear up to `TOP_MS`, so that a dot's distance from a limit is what is left until there.
    """
    floor = HEIGHT - BOTTOM
    span = max(latency.at_s[-1], *(each.until_s or each.at_s for each in latency.detections), 1.0)

    def x(second: float) -> float:
        return LEFT + INSET + (WIDTH - LEFT - RIGHT - 2 * INSET) * second / span

    def y(ms: float) -> float:
        return floor - (floor - TOP) * min(ms, TOP_MS) / TOP_MS

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="milliseconds until the poses, per frame">',
        '<g font-family="system-ui, sans-serif" font-size="12" fill="#33404d">',
    ]
    for each in latency.detections:
        parts.append(_detection(each, x(each.at_s), None if each.until_s is None else x(each.until_s), floor))
    for second in range(0, int(span) + 1, _step(span)):
        parts.append(f'<path d="M{x(second):.1f} {floor}v5" stroke="#9aa5b1"/>')
        parts.append(f'<text x="{x(second):.1f}" y="{floor + 19}" text-anchor="middle">{second} s</text>')
    for mark in range(0, int(TOP_MS) + 1, 5):
        parts.append(f'<text x="{LEFT - 8}" y="{y(mark) + 4:.1f}" text-anchor="end">{mark}</text>')
    parts.append(f'<path d="M{LEFT} {TOP}V{floor}H{WIDTH - RIGHT}" stroke="#9aa5b1" fill="none"/>')
    for limit, meaning in LIMITS:
        parts.append(f'<path d="M{LEFT} {y(limit):.1f}H{WIDTH - RIGHT}" stroke="#5d6b78" stroke-dasharray="6 4"/>')
        name = f"{limit:g} ms: {meaning}"
        parts.append(f'<text x="{WIDTH - RIGHT + 8}" y="{y(limit) + 4:.1f}">{name}</text>')
    parts.append(_dots([(x(t), y(ms)) for t, ms in zip(latency.at_s, latency.pose_ms, strict=True) if ms <= TOP_MS]))
    slow = [(t, ms) for t, ms in zip(latency.at_s, latency.pose_ms, strict=True) if ms > TOP_MS]
    for t, ms in slow:
        triangle = f"M{x(t) - 5:.1f} {TOP + 9}h10l-5 -9z"
        parts.append(f'<path d="{triangle}" fill="{SLOW}"><title>{ms:.1f} ms at {t:.2f} s</title></path>')
    parts.append(_key(slow=bool(slow)))
    parts.append("</g></svg>")
    return "".join(parts)


def _step(span_s: float) -> int:
    """Seconds between two labels of the axis."""
    return next((step for step in (1, 2, 5, 10, 30, 60) if span_s / step <= 16), 300)


def _detection(detection: Detection, start: float, end: float | None, floor: int) -> str:
    title = f"detection at {detection.at_s:.2f} s ({detection.reason.replace('_', ' ')})"
    band = ""
    if detection.until_s is not None and end is not None:
        title += f", {(detection.until_s - detection.at_s) * 1e3:.0f} ms"
        box = f'x="{start:.1f}" y="{TOP}" width="{end - start:.1f}" height="{floor - TOP}"'
        band = f'<rect {box} fill="{DETECTION}" opacity="0.25"/>'
    tick = f'<path d="M{start:.1f} {TOP}V{floor}" stroke="{DETECTION}" stroke-width="1.5"/>'
    return f"<g><title>{escape(title)}</title>{band}{tick}</g>"


def _dots(places: Sequence[tuple[float, float]]) -> str:
    """One path of round ends: a run has thousands of frames."""
    path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in places)
    return f'<path d="{path}" stroke="{POSES}" stroke-width="3.2" stroke-linecap="round" stroke-opacity="0.7"/>'


def _key(*, slow: bool) -> str:
    y = HEIGHT - 16
    entries = [
        (f'<circle cx="7" cy="-4" r="3" fill="{POSES}"/>', "a frame: from asking to having its poses, ms"),
        (
            f'<rect y="-10" width="14" height="12" fill="{DETECTION}" opacity="0.25"/>'
            f'<path d="M0.75 -10v12" stroke="{DETECTION}" stroke-width="1.5"/>',
            "text detection at work",
        ),
    ]
    if slow:
        entries.append((f'<path d="M2 0h10l-5 -9z" fill="{SLOW}"/>', f"longer than {TOP_MS:g} ms"))
    parts: list[str] = []
    x = float(LEFT)
    for sign, words in entries:
        parts.append(f'<g transform="translate({x:.0f} {y})">{sign}<text x="20">{words}</text></g>')
        x += 50 + 7 * len(words)
    return "".join(parts)
