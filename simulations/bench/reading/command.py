"""Labelled photographs through every reading arm, in turns, photograph by photograph.

A line counts as exact when it equals a reading after NFKC, case folding and removal of white space. Word spaces are
scored on Latin lines whose letters were read exactly. CPU time is that of the process, or of Tesseract's, with one
thread each; loading is not counted. A reading is invented when it resembles no labelled line of a photograph in a
language whose script the arm does not have.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from shared.errors import InputError, WaywordError
from shared.models.packs import PackStore, default_store_root
from shared.models.script import dominant_script
from simulations.bench.reading.arms import KINDS, ArmKind, CpuMeter, Reader, Shown, load_image
from simulations.bench.reading.boards import paint, write_folder
from simulations.bench.reading.page import PhotoResult, page
from simulations.bench.reading.scoring import Photo, Score, invented, load_photos, score_line

DEFAULT_FOLDER: Final = Path("../shared/photos")
YARDSTICK: Final = "rapidocr"


@dataclass
class Arm:
    """One arm, and what it read so far."""

    name: str
    reader: Reader
    cpu: CpuMeter
    score: Score = field(default_factory=Score)
    by_language: dict[str, Score] = field(default_factory=dict)
    by_script: dict[str, Score] = field(default_factory=dict)
    by_kind: dict[str, Score] = field(default_factory=dict)
    unreadable: int = 0
    invented: list[str] = field(default_factory=list)

    def add(self, photo: Photo, shown: Sequence[Shown]) -> None:
        """Score one photograph."""
        texts = [line.text for line in shown]
        for line in photo.lines:
            score = score_line(line, texts)
            self.score.add(score)
            self.by_language.setdefault(photo.language, Score()).add(score)
            self.by_kind.setdefault(photo.kind, Score()).add(score)
            self.by_script.setdefault(dominant_script(line).value, Score()).add(score)
        if not self.reader.reads(photo.language):
            self.unreadable += 1
            self.invented += invented(photo.lines, texts)


@dataclass(frozen=True, slots=True)
class Target:
    """What an arm must reach against the yardstick of the same run.

    Attributes:
        arm: which one.
        exact: least exact share, absolute; None when it is relative.
        above: least exact share above the yardstick's; None when it is absolute.
        cpu: most CPU time, as a share of the yardstick's; None for any.
    """

    arm: str
    exact: float | None
    above: float | None
    cpu: float | None


TARGETS: Final = (
    Target("ours-low", 0.57, None, 0.2),
    Target("ours-normal", None, 0.12, 0.5),
    Target("ours-cloud", None, 0.18, None),
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `reading` to `wayword-sim bench`."""
    parser = subparsers.add_parser(
        "reading", help="labelled photographs read by our packs, RapidOCR and Tesseract", description=__doc__
    )
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=DEFAULT_FOLDER,
        help="photographs and ground_truth.json (default: %(default)s)",
    )
    names = ",".join(kind.name for kind in KINDS)
    parser.add_argument("--arms", default=names, metavar="LIST", help="default: %(default)s")
    parser.add_argument("--only", metavar="TEXT", help="only photographs whose name contains TEXT")
    parser.add_argument(
        "--boards",
        type=int,
        metavar="N",
        help="instead of a folder, render N boards of each kind the reader is developed on",
    )
    parser.add_argument("--seed", type=int, default=5, help="of the boards (default: %(default)s)")
    parser.add_argument("--packs", type=Path, metavar="DIR", help="pack store (default: the user's)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write everything as JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with the crops and what was read")
    parser.set_defaults(body=run)


def run(arguments: argparse.Namespace) -> int:
    """Body of `wayword-sim bench reading`."""
    with tempfile.TemporaryDirectory(prefix="wayword-boards-") as folder:
        if arguments.boards:
            write_folder(paint(arguments.boards, arguments.seed), Path(folder))
        return _compare(load_photos(Path(folder) if arguments.boards else arguments.folder, arguments.only), arguments)


def _compare(photos: Sequence[Photo], arguments: argparse.Namespace) -> int:
    arms, skipped = load_arms(arguments.arms.split(","), PackStore(arguments.packs or default_store_root()))
    results = [read_photo(photo, arms, progress=f"{number}/{len(photos)}") for number, photo in enumerate(photos, 1)]
    lines = tables(arms, len(photos))
    lines += [f"Skipped: {name}: {reason}" for name, reason in skipped.items()]
    print(f"{len(photos)} photographs, {sum(len(photo.lines) for photo in photos)} lines")
    print("\n".join(lines))
    if arguments.out is not None:
        text = json.dumps(as_json(arms, results, skipped), ensure_ascii=False, indent=1)
        arguments.out.write_text(text, encoding="utf-8")
    if arguments.html is not None:
        arguments.html.write_text(page(results, lines), encoding="utf-8")
    return 0


def load_arms(names: Sequence[str], store: PackStore) -> tuple[list[Arm], dict[str, str]]:
    """The arms asked for that can run here, and why the others cannot.

    Raises:
        InputError: there is no such arm, or none can run.
    """
    kinds: dict[str, ArmKind] = {kind.name: kind for kind in KINDS}
    arms, skipped = [], {}
    for name in names:
        if name not in kinds:
            raise InputError(f"there is no arm '{name}'", hint=f"use {', '.join(kinds)}")
        try:
            arms.append(Arm(name, kinds[name].load(store), CpuMeter(kinds[name].external)))
        except WaywordError as error:
            skipped[name] = str(error)
    if not arms:
        raise InputError("none of the arms can run", hint="; ".join(skipped.values()))
    return arms, skipped


def read_photo(photo: Photo, arms: Sequence[Arm], *, progress: str) -> PhotoResult:
    """One photograph through every arm."""
    image = load_image(photo.path)
    shown: dict[str, list[Shown]] = {}
    cpu: dict[str, float] = {}
    for arm in arms:
        with arm.cpu.measure():
            shown[arm.name] = arm.reader.read(image, photo.language)
        cpu[arm.name] = arm.cpu.each[-1]
        arm.add(photo, shown[arm.name])
    exact = {
        name: sum(score_line(line, [each.text for each in lines]).exact for line in photo.lines)
        for name, lines in shown.items()
    }
    counted = ", ".join(f"{name} {count}" for name, count in exact.items())
    print(f"  {progress} {photo.path.name}: of {len(photo.lines)} lines: {counted}", file=sys.stderr, flush=True)
    return PhotoResult(photo, shown, cpu)


def tables(arms: Sequence[Arm], photos: int) -> list[str]:
    """The figures as Markdown."""
    head = ("exact", "exact or contained", "CER", "with spaces (Latin)", "spaces P / R / F1", "CPU ms a photo", "x")
    rows = ["", "| arm | " + " | ".join(head) + " | invented |", "|---|" + "---|" * (len(head) + 1)]
    yardstick = next((arm for arm in arms if arm.name == YARDSTICK), None)
    for arm in arms:
        s = arm.score
        ratio = "" if yardstick is None else f"{arm.cpu.seconds / max(yardstick.cpu.seconds, 1e-9):.2f}"
        spaces = f"{s.space_precision:.3f} / {s.space_recall:.3f} / {s.space_f1:.3f}"
        made_up = f"{len(arm.invented)} on {arm.unreadable} photos" if arm.unreadable else "–"
        rows.append(
            f"| {arm.name} | {s.exact_share:.3f} | {s.share:.3f} | {s.cer:.3f} | {s.spaced_share:.3f} | {spaces} "
            f"| {1000 * arm.cpu.seconds / max(photos, 1):.0f} | {ratio} | {made_up} |"
        )
    for title in ("script", "language", "kind"):
        shares = {arm.name: getattr(arm, f"by_{title}") for arm in arms}
        keys = sorted({key for scores in shares.values() for key in scores})
        rows += ["", f"| exact, by {title} | " + " | ".join(keys) + " |", "|---|" + "---|" * len(keys)]
        for name, scores in shares.items():
            cells = " | ".join(f"{scores[key].exact}/{scores[key].lines}" for key in keys)
            rows.append(f"| {name} | {cells} |")
    if yardstick is not None:
        rows += ["", *target_lines(arms, yardstick)]
    return rows


def target_lines(arms: Sequence[Arm], yardstick: Arm) -> list[str]:
    """Each target that this run can judge, and whether it is met."""
    rows = ["| target | exact | needed | CPU | allowed | met |", "|---|---|---|---|---|---|"]
    for target in TARGETS:
        arm = next((arm for arm in arms if arm.name == target.arm), None)
        if arm is None:
            continue
        needed = target.exact if target.exact is not None else yardstick.score.exact_share + (target.above or 0.0)
        ratio = arm.cpu.seconds / max(yardstick.cpu.seconds, 1e-9)
        met = arm.score.exact_share >= needed and (target.cpu is None or ratio <= target.cpu)
        allowed = "any" if target.cpu is None else f"{target.cpu:.2f}x"
        rows.append(
            f"| {arm.name} | {arm.score.exact_share:.3f} | {needed:.3f} | {ratio:.2f}x | {allowed} "
            f"| {'yes' if met else 'no'} |"
        )
    return rows


def as_json(arms: Sequence[Arm], results: Sequence[PhotoResult], skipped: dict[str, str]) -> dict[str, Any]:
    """Everything measured, for a file."""
    return {
        "arms": [
            {
                "name": arm.name,
                "score": asdict(arm.score),
                "exact": arm.score.exact_share,
                "share": arm.score.share,
                "cer": arm.score.cer,
                "spaced": arm.score.spaced_share,
                "space_f1": arm.score.space_f1,
                "cpu_s": arm.cpu.seconds,
                "by_language": {key: asdict(score) for key, score in arm.by_language.items()},
                "by_kind": {key: asdict(score) for key, score in arm.by_kind.items()},
                "by_script": {key: asdict(score) for key, score in arm.by_script.items()},
                "photos_unreadable": arm.unreadable,
                "invented": arm.invented,
            }
            for arm in arms
        ],
        "photos": {
            result.photo.path.name: {
                "language": result.photo.language,
                "lines": result.photo.lines,
                "cpu_s": result.cpu,
                "read": {name: [line.text for line in lines] for name, lines in result.shown.items()},
            }
            for result in results
        },
        "skipped": skipped,
    }
