"""Real photographs through the whole system, beside RapidOCR on the same photographs in the same run.

A folder of photographs with `ground_truth.json` (file → language and lines) is a test set: nothing here or elsewhere in
the project is fitted on it. A line counts as read when it equals a line of a reading after NFKC, case folding and
removal of white space, or, from four characters on, is contained in one. Both systems are scored by the same function.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2

from shared.clock import SystemClock
from shared.errors import InputError, WaywordError
from shared.models.packs import PackStore, default_store_root
from simulations.bench.reading.scoring import BENCH_HINT, Photo, Score, load_photos, score_lines
from simulations.radio import LinkProfile
from simulations.radio.profile import PROFILE_HELP
from simulations.report import percentile
from simulations.results import SignResult, collect
from simulations.supervisor import ProcessFailed
from simulations.system import SystemOptions, WaywordSystem


@dataclass
class Arm:
    """One system, or one way of running ours."""

    name: str
    score: Score = field(default_factory=Score)
    by_language: dict[str, Score] = field(default_factory=dict)
    signs: list[SignResult] = field(default_factory=list)
    cpu_s: float = 0.0
    photos: int = 0

    def add(self, photo: Photo, readings: Sequence[str]) -> None:
        """Score a photograph's readings."""
        score = score_lines(photo.lines, readings)
        self.score.add(score)
        self.by_language.setdefault(photo.language, Score()).add(score)
        self.photos += 1


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `photos` to `wayword-sim bench`."""
    parser = subparsers.add_parser(
        "photos",
        help="a folder of labelled photographs through the whole system, beside RapidOCR",
        description=__doc__,
    )
    parser.add_argument("folder", type=Path, help="folder with photographs and ground_truth.json")
    parser.add_argument(
        "--link", default="40kBps/30ms", metavar="PROFILE", help=f"{PROFILE_HELP} (default: %(default)s)"
    )
    parser.add_argument(
        "--recogniser", choices=("auto", "tiny", "small"), default="auto", help="the phone's recogniser"
    )
    parser.add_argument(
        "--arms", default="cloud,phone,rapidocr", metavar="LIST", help="any of cloud, phone, rapidocr (default: all)"
    )
    parser.add_argument("--only", metavar="TEXT", help="only photographs whose name contains TEXT")
    parser.add_argument("--packs", type=Path, metavar="DIR", help="pack store (default: the user's)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write everything as JSON")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="keep the pictures with their overlays")
    parser.set_defaults(body=run)


def run(arguments: argparse.Namespace) -> int:
    """Body of `wayword-sim bench photos`."""
    photos = load_photos(arguments.folder, arguments.only)
    names = arguments.arms.split(",")
    store = PackStore(arguments.packs or default_store_root())
    link = LinkProfile.parse(arguments.link)
    arms = []

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    for name in names:
        if name in {"cloud", "phone"}:
            options = SystemOptions(link, store, cloud=name == "cloud", recogniser=arguments.recogniser)
            title = "wayword, with cloud" if options.cloud else "wayword, phone alone"
            arms.append(asyncio.run(play_photos(photos, options, title, say, arguments.pictures)))
        elif name == "rapidocr":
            arms.append(rapidocr_arm(photos, say))
        else:
            raise InputError(f"there is no arm '{name}'", hint="use cloud, phone and rapidocr")
    print(f"{len(photos)} photographs, {sum(len(p.lines) for p in photos)} lines, link {link}")
    for line in table(arms):
        print(line)
    if arguments.out is not None:
        arguments.out.write_text(
            json.dumps([as_json(arm) for arm in arms], ensure_ascii=False, indent=1), encoding="utf-8"
        )
    return 0


async def play_photos(
    photos: Sequence[Photo], options: SystemOptions, title: str, say: Callable[[str], None], pictures: Path | None
) -> Arm:
    """Every photograph through one running system; only the glasses are started anew."""
    arm = Arm(title)
    cpu = children_cpu()
    with tempfile.TemporaryDirectory(prefix="wayword-bench-") as folder:
        work = Path(folder)
        keep = work if pictures is None else pictures / title.replace(", ", "-").replace(" ", "-")
        keep.mkdir(parents=True, exist_ok=True)
        async with WaywordSystem(options, clock=SystemClock(), on_event=say, folder=work) as system:
            for number, photo in enumerate(photos, 1):
                before = len(system.events())
                try:
                    await system.play(["--image", str(photo.path)], out=keep / f"{photo.path.stem}.png")
                except ProcessFailed as error:
                    say(f"  {photo.path.name}: {error}")
                signs = collect(system.events()[before:])
                readings = [str(line["text"]) for sign in signs for line in sign.lines]
                arm.add(photo, readings)
                arm.signs += signs
                score = score_lines(photo.lines, readings)
                counted = f"{score.read}/{score.lines} lines, {len(signs)} signs"
                say(f"  {title}: {number}/{len(photos)} {photo.path.name}: {counted}")
    arm.cpu_s = children_cpu() - cpu
    return arm


def children_cpu() -> float:
    """User and system seconds of every child that has ended and been waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def rapidocr_arm(photos: Sequence[Photo], say: Callable[[str], None]) -> Arm:
    """The yardstick: the `rapidocr` package with its own settings on the same files.

    Raises:
        WaywordError: the package is not installed.
    """
    try:
        from rapidocr import RapidOCR
    except ImportError as error:
        raise WaywordError("the yardstick needs rapidocr", hint=BENCH_HINT) from error
    engine = RapidOCR(params={"Global.log_level": "error"})
    arm = Arm("rapidocr")
    start = time.process_time()
    for number, photo in enumerate(photos, 1):
        result = engine(cv2.imread(str(photo.path)))
        readings = list(result.txts or ())
        arm.add(photo, readings)
        score = score_lines(photo.lines, readings)
        say(f"  rapidocr: {number}/{len(photos)} {photo.path.name}: {score.read}/{score.lines} lines")
    arm.cpu_s = time.process_time() - start
    return arm


def table(arms: Sequence[Arm]) -> list[str]:
    """The figures as Markdown."""
    rows = ["| system | lines read | exact | CER | CPU s a photo |", "|---|---|---|---|---|"]
    for arm in arms:
        s = arm.score
        rows.append(
            f"| {arm.name} | {s.read}/{s.lines} = {s.share:.3f} | {s.exact / max(s.lines, 1):.3f} | {s.cer:.3f} "
            f"| {arm.cpu_s / max(arm.photos, 1):.2f} |"
        )
    columns = ("signs", "answered", "bytes a sign", "provisional ms", "refined ms", "escalated")
    rows += ["", "| p50 / p95 | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for arm in arms:
        if not arm.signs:
            continue
        first = [sign.provisional_ms for sign in arm.signs if sign.provisional_ms is not None]
        refined = [sign.refined_ms for sign in arm.signs if sign.refined_ms is not None]
        spreads = ([sign.strip_bytes for sign in arm.signs], first, refined)
        size, first_ms, refined_ms = (f"{percentile(values, 50)} / {percentile(values, 95)}" for values in spreads)
        escalated = sum(sign.escalated for sign in arm.signs)
        rows.append(
            f"| {arm.name} | {len(arm.signs)} | {len(first)} | {size} | {first_ms} | {refined_ms} | {escalated} |"
        )
    languages = sorted({language for arm in arms for language in arm.by_language})
    rows += ["", "| lines read | " + " | ".join(languages) + " |", "|---|" + "---|" * len(languages)]
    for arm in arms:
        cells = [arm.by_language.get(language, Score()) for language in languages]
        rows.append(f"| {arm.name} | " + " | ".join(f"{cell.read}/{cell.lines}" for cell in cells) + " |")
    return rows


def as_json(arm: Arm) -> dict[str, Any]:
    """Everything measured, for a file."""
    return {
        "system": arm.name,
        "score": asdict(arm.score) | {"share": arm.score.share, "cer": arm.score.cer},
        "by_language": {language: asdict(score) for language, score in arm.by_language.items()},
        "cpu_s": arm.cpu_s,
        "photos": arm.photos,
        "signs": [sign.as_dict() for sign in arm.signs],
    }
