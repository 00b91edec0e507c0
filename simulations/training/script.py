"""Train the classifier that tells the script of a line from its picture.

Lines are rendered from names and phrases in every script, with fonts found in the folders given, and spoilt as a camera
spoils them; pictures without text are pictograms, drawn shapes and textures. One font family in four and one text in
ten are never trained on: they calibrate the answer (one temperature) and, with other examples, measure it. No
photograph plays a part. The same seed, fonts and libraries give the same weights.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from shared.errors import InputError, WaywordError
from shared.models.script_picture import CLASSES, ENCODING_VERSION, scale

SHARD: Final = 1000
"""Examples rendered as one piece of work."""
BUCKET: Final = 32
"""Widths of one batch are alike; lines are stretched by a few per cent to share one."""
SETS: Final = {"training": 0, "calibration": 1_000_000_000, "evaluation": 2_000_000_000}
"""First seed of each set: no example is in two."""
BINS: Final = 15
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Recipe:
    """What to render.

    Attributes:
        fonts: folders with font files.
        corpora: folder with phrase lists, or None for CLDR's names alone.
        seed: of everything.
    """

    fonts: tuple[Path, ...]
    corpora: Path | None
    seed: int


def add_parser(models: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `script` to `wayword-sim train`."""
    parser = models.add_parser("script", help="the script classifier", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for script.onnx and script.json")
    parser.add_argument(
        "--fonts",
        type=Path,
        action="append",
        metavar="DIR",
        help="folder with fonts, again for more (default: /usr/share/fonts)",
    )
    parser.add_argument("--corpora", type=Path, metavar="DIR", help="folder with phrase lists *.LANGUAGE-en.tsv.gz")
    parser.add_argument("--examples", type=int, default=56_000, metavar="N", help="to train on (default: %(default)s)")
    parser.add_argument(
        "--held-apart", type=int, default=5_000, metavar="N", help="to calibrate on, and as many to measure on"
    )
    parser.add_argument("--passes", type=int, default=3, metavar="N", help="over the examples (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=5, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes that render")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads that train (default: %(default)s)")
    parser.add_argument("--shards", type=Path, metavar="DIR", help="keep rendered examples here, to train again")
    parser.set_defaults(body=run)


def run(arguments: argparse.Namespace) -> int:
    """Body of `wayword-sim train script`."""
    try:
        return _run(arguments)
    except WaywordError as error:
        print(error, file=sys.stderr)
        return 1


def _run(arguments: argparse.Namespace) -> int:
    try:
        from simulations.training import script_network as network_module  # needs an extra
    except ImportError as error:
        raise InputError(f"training needs {error.name}", hint="install the extra: pip install .[train]") from error
    recipe = Recipe(tuple(arguments.fonts or [Path("/usr/share/fonts")]), arguments.corpora, arguments.seed)
    started = time.monotonic()
    counts = {"training": arguments.examples, "calibration": arguments.held_apart, "evaluation": arguments.held_apart}
    sets = {
        name: as_buckets(_render(recipe, name, count, arguments.jobs, arguments.shards))
        for name, count in counts.items()
    }
    rendered = time.monotonic()
    print(f"rendered in {rendered - started:.0f} s", file=sys.stderr, flush=True)
    network = network_module.fit(
        sets["training"], passes=arguments.passes, seed=arguments.seed, threads=arguments.threads
    )
    temperature = fit_temperature(*network_module.logits_of(network, sets["calibration"]))
    logits, labels = network_module.logits_of(network, sets["evaluation"])
    arguments.out.mkdir(parents=True, exist_ok=True)
    network_module.save_onnx(network, arguments.out / "script.onnx", temperature=temperature)
    report: dict[str, Any] = {
        "encoding_version": ENCODING_VERSION,
        "trained_on": "lines rendered by wayword-sim train script; no photographs",
        "seed": arguments.seed,
        "examples": arguments.examples,
        "passes": arguments.passes,
        "parameters": network_module.parameters(),
        "temperature": round(temperature, 4),
        **measure(softmax(logits / temperature), labels),
    }
    (arguments.out / "script.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({key: value for key, value in report.items() if key != "confusion"}, indent=1))
    print(f"trained in {time.monotonic() - rendered:.0f} s", file=sys.stderr)
    return 0


Rendered = tuple[list[npt.NDArray[np.uint8]], list[int]]


def _render(recipe: Recipe, name: str, count: int, jobs: int, cache: Path | None) -> list[Rendered]:
    work = [(recipe, name, first, min(SHARD, count - first), cache) for first in range(0, count, SHARD)]
    if jobs == 1:
        return [_shard(*item) for item in work]
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(_shard, *zip(*work, strict=True)))


_RENDERERS: dict[tuple[Recipe, bool], Any] = {}


def _shard(recipe: Recipe, name: str, first: int, count: int, cache: Path | None) -> Rendered:
    """Some examples of a set, from the folder of rendered ones where they are there."""
    path = cache / f"{name}-{recipe.seed}-{first}-{count}.npz" if cache else None
    if path is not None and path.exists():
        with np.load(path) as kept:
            flat, widths, labels = kept["flat"], kept["widths"], kept["labels"]
        ends = np.cumsum(widths)
        return [flat[:, end - width : end] for end, width in zip(ends, widths, strict=True)], labels.tolist()
    cv2.setNumThreads(1)
    renderer = renderer_of(recipe, held_apart=name != "training")
    pictures, found = [], []
    for number in range(first, first + count):
        example = renderer.example(SETS[name] + recipe.seed * 10_000_000 + number)
        pictures.append(scale(example.grey, step=BUCKET))
        found.append(example.label)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        widths = [picture.shape[1] for picture in pictures]
        np.savez(path, flat=np.concatenate(pictures, axis=1), widths=widths, labels=found)
    return pictures, found


def renderer_of(recipe: Recipe, *, held_apart: bool) -> Any:
    """The renderer of this process, built once: finding fonts and texts takes seconds."""
    from simulations.training.script_fonts import FontShelf, find_fonts  # Babel loads slowly
    from simulations.training.script_pictures import Renderer
    from simulations.training.script_texts import TextShelf

    key = (recipe, held_apart)
    if key not in _RENDERERS:
        fonts = FontShelf(find_fonts(recipe.fonts), held_apart=held_apart)
        _RENDERERS[key] = Renderer(fonts, TextShelf(recipe.corpora, held_apart=held_apart))
    return _RENDERERS[key]


def as_buckets(shards: Sequence[Rendered]) -> dict[int, tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]]:
    """Pictures and labels by width, narrow first."""
    found: dict[int, tuple[list[npt.NDArray[np.uint8]], list[int]]] = {}
    for pictures, labels in shards:
        for picture, label in zip(pictures, labels, strict=True):
            kept = found.setdefault(picture.shape[1], ([], []))
            kept[0].append(picture)
            kept[1].append(label)
    return {
        width: (np.stack(pictures), np.array(labels, np.int64)) for width, (pictures, labels) in sorted(found.items())
    }


def softmax(logits: npt.NDArray[Any]) -> Floats:
    """Probabilities of logits, over the last axis."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), dtype=np.float64)


def fit_temperature(logits: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> float:
    """The temperature with the least cross entropy, between 0.3 and 5."""
    candidates = np.geomspace(0.3, 5.0, 141)
    rows = np.arange(len(labels))
    losses = [-np.log(softmax(logits / value)[rows, labels] + 1e-12).mean() for value in candidates]
    return float(candidates[int(np.argmin(losses))])


def measure(probabilities: Floats, labels: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Accuracy per class, expected calibration error and confusions of held-apart examples."""
    best = probabilities.argmax(axis=1)
    confusion = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    np.add.at(confusion, (labels, best), 1)
    return {
        "held_apart": {
            "examples": len(labels),
            "accuracy": round(float((best == labels).mean()), 4),
            "accuracy_by_class": {
                name: round(float(confusion[index, index] / confusion[index].sum()), 4)
                for index, name in enumerate(CLASSES)
                if confusion[index].sum()
            },
            "calibration_error": round(calibration_error(probabilities.max(axis=1), best == labels), 4),
        },
        "confusion": {
            name: {CLASSES[other]: int(count) for other, count in enumerate(confusion[index]) if count}
            for index, name in enumerate(CLASSES)
            if confusion[index].sum()
        },
    }


def calibration_error(confidence: Floats, right: npt.NDArray[np.bool_]) -> float:
    """Expected calibration error over bins of equal width (Guo et al., 2017)."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [
        (bins == index).mean() * abs(confidence[bins == index].mean() - right[bins == index].mean())
        for index in range(BINS)
        if (bins == index).any()
    ]
    return float(sum(gaps))
