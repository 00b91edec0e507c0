"""Real clips, which have no truth: played forwards and then backwards, so that every frame is seen twice.

A label should be at the same place both times, and in the end where it began. Distances are pixels of the clip scaled
to 1280 pixels across. The focal length is not known, so nobody has a gyro.

Two clips that come with Debian's `opencv-doc` package (in /usr/share/doc/opencv-doc; `gunzip` the first), a box of
biscuits turned in a hand (its top and its front are two planes) and a sign in front of a camera that does not move:

    wayword-sim bench stabiliser --clip opencv4/html/box.mp4 \
        --quad 366,15,595,69,562,184,299,101 --quad 299,101,562,184,545,238,298,165
    wayword-sim bench stabiliser --clip examples/data/vtest.avi --quad 414,203,445,204,445,243,414,243
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from glasses.camera import DEFAULT_FRAME_RATE, luma_of
from glasses.stabiliser import GyroSamples, Luma
from shared.errors import InputError, UsageError
from shared.geometry import ImageBgr, Quad
from shared.layout import group_signs
from simulations.bench.stabiliser.contenders import CameraFacts, Contender, WithWorker
from simulations.bench.stabiliser.measures import percentile
from simulations.bench.stabiliser.play import Cast, Floor, no_garbage_collection, observe
from simulations.bench.stabiliser.results import machine_line, without_nan
from simulations.bench.stabiliser.tables import markdown_table, number, percent
from simulations.sequences import SequenceFrame

CLIP_WIDTH: Final = 1280
MAXIMUM_SECONDS: Final = 20.0
"""Frames are held in memory, about a megabyte each."""
WARM_FRAMES: Final = 15


@dataclass(frozen=True, slots=True)
class Clip:
    """A video in memory.

    Attributes:
        first: its first frame, uint8 of shape (height, width, 3), scaled.
        lumas: Y of each frame, uint8 of shape (height, width), scaled to `CLIP_WIDTH` across.
        rate: frames a second.
        scale: from pixels of the video to pixels of `lumas`.
    """

    first: ImageBgr
    lumas: tuple[Luma, ...]
    rate: float
    scale: float


@dataclass(frozen=True, slots=True)
class ClipFigures:
    """One contender on one clip; times in milliseconds, distances in pixels of the scaled clip, shares 0..1.

    Attributes:
        cpu_p50, cpu_p99, cpu_max: CPU of the calling thread in `observe`.
        ratio: cpu_p50 by the memory floor.
        apart_p50, apart_p95: distance of a line's label on the way there from that on the way back, where both are
            known.
        return_error: largest distance of a line's label from where it was added, back at the first frame; infinite
            when one is lost then.
        lost: share of labels lost or without a pose, both ways, the first frame left out.
    """

    cpu_p50: float
    cpu_p99: float
    cpu_max: float
    ratio: float
    apart_p50: float
    apart_p95: float
    return_error: float
    lost: float


@dataclass(frozen=True, slots=True)
class ClipRow:
    """One contender; `note` says what it was spared."""

    contender: str
    title: str
    figures: ClipFigures
    note: str = ""


@dataclass(slots=True)
class ClipResults:
    """All contenders on one clip."""

    machine: str
    clip: str
    frames: int
    signs: int
    rows: list[ClipRow] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def read_clip(path: Path, seconds: float) -> Clip:
    """Read a video, at most so many seconds (and `MAXIMUM_SECONDS`) of it.

    Raises:
        InputError: missing, or no video of at least two frames.
    """
    if not path.is_file():
        raise InputError(f"no video {path}")
    capture = cv2.VideoCapture(str(path))
    try:
        nominal = capture.get(cv2.CAP_PROP_FPS) if capture.isOpened() else 0.0
        rate = nominal if 1 <= nominal <= 240 else DEFAULT_FRAME_RATE
        first: ImageBgr | None = None
        lumas: list[Luma] = []
        scale = 1.0
        while len(lumas) < min(seconds, MAXIMUM_SECONDS) * rate:
            found, picture = capture.read()
            if not found:
                break
            scale = CLIP_WIDTH / picture.shape[1]
            size = (CLIP_WIDTH, round(picture.shape[0] * scale))
            way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
            scaled = np.asarray(cv2.resize(picture, size, interpolation=way), dtype=np.uint8)
            first = scaled if first is None else first
            lumas.append(luma_of(scaled))
    finally:
        capture.release()
    if first is None or len(lumas) < 2:
        raise InputError(f"{path} is no video that can be read", hint="It has fewer than two frames, or is damaged")
    return Clip(first, tuple(lumas), rate, scale)


def parse_quad(text: str, scale: float) -> Quad:
    """A quad from the command line, in pixels of the scaled clip.

    Raises:
        UsageError: not eight numbers.
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 8:
        raise UsageError(f"no quad {text!r}", hint="eight numbers with commas between: x,y of four corners")
    return np.asarray((np.array(values).reshape(4, 2) + 0.5) * scale - 0.5, dtype=np.float32)


def detected(first: ImageBgr, packs: Path | None) -> list[tuple[Quad, ...]]:
    """The signs that the glasses' detector finds.

    Raises:
        InputError: none.
        PackError: the detector's pack is missing or unusable.
    """
    from shared.models.detection import TextDetector
    from shared.models.packs import PackStore, default_store_root

    detector = TextDetector.load(PackStore(packs or default_store_root()).get("ocr-tiny-det"))
    quads = [line.quad for line in detector.detect(first)]
    if not quads:
        raise InputError("the detector finds no text in the first frame", hint="Say where a sign is with --quad")
    return [tuple(quads[index] for index in sign) for sign in group_signs(quads)]


def run(
    path: Path, quads: Sequence[str], contenders: Sequence[Contender], seconds: float, packs: Path | None
) -> ClipResults:
    """Play a clip to each contender; see `read_clip`, `parse_quad` and `detected` for what is raised."""
    clip = read_clip(path, seconds)
    signs = [(parse_quad(text, clip.scale),) for text in quads] or detected(clip.first, packs)
    results = ClipResults(machine_line(), path.name, len(clip.lumas), len(signs))
    for contender in contenders:
        reason = contender.missing()
        if reason:
            results.skipped[contender.title] = reason
            continue
        contender.prepare()
        lumas, note = clip.lumas, ""
        if contender.limit is not None and len(lumas) > contender.limit.seconds * clip.rate:
            lumas = lumas[: round(contender.limit.seconds * clip.rate)]
            note = f"Slow: only the first {contender.limit.seconds:g} s."
        there_and_back(lumas[:WARM_FRAMES], signs, clip.rate, contender)
        figures = there_and_back(lumas, signs, clip.rate, contender)
        results.rows.append(ClipRow(contender.name, contender.title, figures, note))
    return results


def there_and_back(
    lumas: Sequence[Luma], signs: Sequence[Sequence[Quad]], rate: float, contender: Contender
) -> ClipFigures:
    """Play frames forwards and backwards to a new instance of a contender.

    Args:
        lumas: at least two frames, uint8 of shape (height, width).
        signs: lines of each sign in the first frame, pixels of `lumas`.
        rate: frames a second.
    """
    last = len(lumas) - 1
    path = [*range(last + 1), *range(last - 1, -1, -1)]
    labels = [np.full((len(path), len(lines), 4, 2), np.nan, np.float32) for lines in signs]
    cpu, floor = np.zeros(len(path)), np.zeros(len(path))
    silence = GyroSamples(np.empty(0), np.empty((0, 3)))
    cast, floors = Cast(contender), Floor()
    with contender.make(CameraFacts()) as stabiliser, no_garbage_collection():
        for step, index in enumerate(path):
            if isinstance(stabiliser, WithWorker):
                stabiliser.run_mapper()
            # From memory and not from a cache, as in `play`.
            floor[step] = floors.measure(lumas[(index + len(lumas) // 2) % len(lumas)])
            view, times = observe(stabiliser, contender, SequenceFrame(step, step / rate, lumas[index], silence, {}))
            cpu[step] = times.cpu
            for sign, lines in enumerate(signs):
                if step == 0:
                    cast.add(stabiliser, sign, lines, 0)
                    continue
                for line, label in enumerate(cast.labels(view, sign, len(lines))[0]):
                    if label is not None:
                        labels[sign][step, line] = label
    every = np.concatenate(labels, axis=1)
    start = np.concatenate([np.stack(list(lines)) for lines in signs])
    apart = _distance(every[1:last], every[last + 1 : -1][::-1])
    back = _distance(every[-1], start)
    return ClipFigures(
        cpu_p50=percentile(cpu[1:], 50) * 1e3,
        cpu_p99=percentile(cpu[1:], 99) * 1e3,
        cpu_max=percentile(cpu[1:], 100) * 1e3,
        ratio=percentile(cpu[1:], 50) / percentile(floor[1:], 50),
        apart_p50=percentile(apart[np.isfinite(apart)], 50),
        apart_p95=percentile(apart[np.isfinite(apart)], 95),
        return_error=float(np.where(np.isfinite(back), back, np.inf).max()),
        lost=float((~np.isfinite(every[1:]).all(axis=(2, 3))).mean()),
    )


def _distance(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Mean corner distance of quads, shape (..., 4, 2) → (...)."""
    return np.asarray(np.linalg.norm(one.astype(np.float64) - other, axis=-1).mean(axis=-1), dtype=np.float64)


CLIP_HEAD = (
    "contender",
    "CPU p50 ms",
    "p99",
    "max",
    "x floor",
    "there and back p50 px",
    "p95",
    "off at the end px",
    "lost",
)


def markdown(results: ClipResults) -> str:
    """The results as Markdown."""
    lines = []
    for row in results.rows:
        figures = row.figures
        times = (figures.cpu_p50, figures.cpu_p99, figures.cpu_max)
        places = (figures.apart_p50, figures.apart_p95, figures.return_error)
        cells = [row.title + (" †" if row.note else ""), *map(number, times), number(figures.ratio, 1)]
        lines.append([*cells, *map(number, places), percent(figures.lost)])
    parts = [f"Machine: {results.machine}. {results.clip}: {results.frames} frames, {results.signs} signs."]
    parts.extend(f"Skipped: {title} ({reason})." for title, reason in results.skipped.items())
    parts.append(markdown_table(CLIP_HEAD, lines))
    parts.extend(f"† {note}" for note in dict.fromkeys(row.note for row in results.rows if row.note))
    return "\n\n".join(parts) + "\n"


def as_json(results: ClipResults) -> Any:
    """For a file; NaN becomes null and infinity "inf"."""
    return without_nan(asdict(results))
