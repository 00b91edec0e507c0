"""How small a text the glasses' detector finds, by the size of the picture it sees.

Walls of 1920x1080 pixels with rendered signs of known heights, blurred and noisy. A line is found when one detection
covers most of it and not much else. This is what the detector's longest side for stills is chosen by; no photograph is
involved.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from shared.geometry import ImageBgr, Quad
from shared.models.detection import DetectedLine, TextDetector
from shared.models.packs import PackStore, default_store_root
from simulations.calibrate import sign_phrases
from simulations.facades import shop_fronts
from simulations.signs import STYLES, render_sign

WIDTH, HEIGHT = 1920, 1080
HEIGHTS_PX = (10, 14, 20, 28, 40, 60, 90, 140, 200)
SIDES = (960, 1280, 1600, 1920)
TRIES = 30
COVERED_SHARE = 0.85
"""A detection must cover this share of a line's width …"""
TALLER_RATIO = 2.2
"""… and be at most so much higher than it."""


@dataclass
class Tally:
    """What one picture size gave.

    Attributes:
        found: per text height, whether each line was found.
        milliseconds: of each detection.
    """

    found: dict[int, list[bool]] = field(default_factory=lambda: {height: [] for height in HEIGHTS_PX})
    milliseconds: list[float] = field(default_factory=list)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `detection` to `wayword-sim bench`."""
    parser = subparsers.add_parser("detection", help="how small a text the detector finds", description=__doc__)
    parser.add_argument("--walls", type=int, default=24, help="pictures to render (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--packs", type=Path, metavar="DIR", help="pack store (default: the user's)")
    parser.set_defaults(body=body)


def body(arguments: argparse.Namespace) -> int:
    """Body of `wayword-sim bench detection`."""
    store = PackStore(arguments.packs or default_store_root())
    detector = TextDetector.load(store.get("ocr-tiny-det"))
    tallies = measure(detector, walls=arguments.walls, seed=arguments.seed)
    print("| longest side | ms p50 | " + " | ".join(f"{height} px" for height in HEIGHTS_PX) + " |")
    print("|---|---|" + "---|" * len(HEIGHTS_PX))
    for side, tally in tallies.items():
        shares = [f"{np.mean(hits):.2f}" if hits else "–" for hits in tally.found.values()]
        print(f"| {side} | {np.median(tally.milliseconds):.0f} | " + " | ".join(shares) + " |")
    return 0


def measure(detector: TextDetector, *, walls: int, seed: int) -> dict[int, Tally]:
    """Detect on every wall at every size; returns a tally per longest side."""
    rng = np.random.default_rng(seed)
    tallies = {side: Tally() for side in SIDES}
    for _ in range(walls):
        wall, truth = render_wall(rng)
        for side, tally in tallies.items():
            start = time.perf_counter()
            lines = detector.detect(wall, longest_side=side)
            tally.milliseconds.append((time.perf_counter() - start) * 1e3)
            for height, quad in truth:
                tally.found[height].append(any(covers(line, quad) for line in lines))
    return tallies


def render_wall(rng: np.random.Generator) -> tuple[ImageBgr, list[tuple[int, Quad]]]:
    """A wall with one sign of each height that found a free place: the picture, and height and quad of each line."""
    phrases = [phrase.source for phrase in sign_phrases() if 6 <= len(phrase.source) <= 24]
    front = shop_fronts(rng)
    wall = np.array(cv2.resize(front[:800, : 800 * WIDTH // HEIGHT], (WIDTH, HEIGHT)), np.uint8)
    boxes: list[tuple[int, int, int, int]] = []
    truth: list[tuple[int, Quad]] = []
    for height in (int(value) for value in rng.permutation(HEIGHTS_PX)):
        for _ in range(TRIES):
            phrase = phrases[int(rng.integers(len(phrases)))]
            texture, (quad,) = render_sign((phrase,), STYLES[int(rng.integers(len(STYLES)))], size=64)
            scale = height / float(quad[2, 1] - quad[0, 1])
            sign = cv2.resize(texture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            h, w = sign.shape[:2]
            if w >= WIDTH or h >= HEIGHT:
                continue
            x, y = int(rng.integers(WIDTH - w)), int(rng.integers(HEIGHT - h))
            if any(x < right and left < x + w and y < bottom and top < y + h for left, top, right, bottom in boxes):
                continue
            wall[y : y + h, x : x + w] = sign
            boxes.append((x, y, x + w, y + h))
            truth.append((height, np.asarray(quad * scale + [x, y], np.float32)))
            break
    noisy = cv2.GaussianBlur(wall, (0, 0), 0.7) + rng.normal(0, 4, wall.shape)
    return np.asarray(np.clip(noisy, 0, 255), np.uint8), truth


def covers(line: DetectedLine, truth: Quad) -> bool:
    """Whether a detection is this line: most of its width, its middle, and not much more than its height."""
    low, high = line.quad.min(axis=0), line.quad.max(axis=0)
    left, top = truth.min(axis=0)
    right, bottom = truth.max(axis=0)
    width = min(float(high[0]), float(right)) - max(float(low[0]), float(left))
    middle = (float(top) + float(bottom)) / 2
    tall = float(high[1] - low[1]) > TALLER_RATIO * float(bottom - top)
    return width > COVERED_SHARE * float(right - left) and float(low[1]) < middle < float(high[1]) and not tall
