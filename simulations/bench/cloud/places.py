"""Shared places: who gets what from whom, what a liar can do, and how fast a million signs are looked up."""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path
from typing import Final

import numpy as np

from shared.models.phrasebook import Phrasebook
from shared.models.rectify import crop_inner
from shared.places.matching import NEAR, hash_distance
from shared.places.pictures import lines_hash
from shared.places.trust import MIN_DEVICES
from simulations.bench.cloud.findings import Finding, Findings, Progress
from simulations.bench.cloud.places_stores import measure_stores
from simulations.bench.cloud.places_visits import visit_town
from simulations.place_views import View, crops_of
from simulations.rendered_lines import Part, part_of
from simulations.signs import STYLES

NAME = "places"
HELP = "shared readings: below and above k devices, poisoned ones, and look-ups among a million signs"

VIEWS: Final = 4
"""Views of each sign that are compared with each other."""
STEPS: Final = (NEAR - 4, NEAR - 2, NEAR, NEAR + 2, NEAR + 4)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of its own."""
    parser.add_argument("--signs", type=int, default=1_000_000, metavar="N", help="signs to look up among")
    parser.add_argument(
        "--fill-seconds", type=float, default=240.0, metavar="S", help="longest time to fill each store"
    )
    parser.add_argument("--visited", type=int, default=40, metavar="N", help="rendered signs that devices visit")
    parser.add_argument("--hashed", type=int, default=250, metavar="N", help="rendered signs whose hashes are compared")
    parser.add_argument("--seed", type=int, default=7)


def measure(options: argparse.Namespace, progress: Progress) -> Findings:
    """Measure it; see `BenchPart`."""
    with tempfile.TemporaryDirectory(prefix="wayword-places-") as name:
        folder = Path(name)
        progress("comparing hashes of rendered signs")
        hashes = _hashes(options.hashed, options.seed)
        visits = visit_town(folder, signs=options.visited, seed=options.seed, progress=progress)
        stores = measure_stores(folder, signs=options.signs, seconds=options.fill_seconds, progress=progress)
    return Findings(
        "Shared places",
        [*visits, *hashes, *stores],
        setting={
            "k": MIN_DEVICES,
            "bits of a hash that may differ": f"{NEAR} of 64",
            "phrases": "of the parts that report: nothing was chosen on them",
        },
        remarks=(
            "Devices see each sign in a view of their own: up to 45 degrees aside and 15 up or down, 1.5 to 4.5 m "
            "away, in their own light, with the detector's error at every corner.",
            "The service is a real `wayword-cloud serve` with tokens, SQLite and the installed packs.",
        ),
    )


def _hashes(count: int, seed: int) -> list[Finding]:
    """How often one sign is known again, and two are taken for one, at thresholds around the one in use."""
    rng = np.random.default_rng(seed)
    texts = sorted(
        {
            phrase.source
            for phrase in Phrasebook.builtin()
            if part_of(phrase.source) is Part.REPORT and len(phrase.source) > 1
        }
    )
    texts = random.Random(seed).sample(texts, count)
    hashes: list[list[int]] = []
    for text in texts:
        style = STYLES[int(rng.integers(len(STYLES)))]
        found = []
        for _ in range(VIEWS):
            picture, _, inner = crops_of([text], View.random(rng), rng, style=style)[0]
            quad = np.asarray(inner.xy, np.float32).reshape(4, 2)
            one = lines_hash([crop_inner(picture, quad)])
            if one is not None:
                found.append(one)
        hashes.append(found)
    same = [hash_distance(one, other) for views in hashes for index, one in enumerate(views) for other in views[:index]]
    differ = [
        hash_distance(one, other)
        for index, views in enumerate(hashes)
        for others in hashes[:index]
        for one in views[:2]
        for other in others[:2]
    ]
    rows = []
    for step in STEPS:
        used = " (in use)" if step == NEAR else ""
        rows.append(
            Finding(
                f"pairs of views of one sign within {step} bits{used}",
                sum(distance <= step for distance in same) / len(same),
                "share",
                note=f"{len(same)} pairs",
            )
        )
        rows.append(
            Finding(
                f"pairs of views of two signs within {step} bits{used}",
                sum(distance <= step for distance in differ) / len(differ),
                "share",
                note=f"{len(differ)} pairs",
            )
        )
    return rows
