"""The ensemble reader against the single one, script by script: on labelled photographs, and on rendered lines.

Photographs are a test set: nothing was fitted or chosen on them. Each is read once by the packs, and what they are not
sure of then goes through every arm; the reader is not told the language. A line is exact when it equals a reading
after NFKC, case folding and removal of white space. CPU time is that of this process and of the Tesseract processes it
started, for what an arm does after the packs' reading. Rendered lines are those of `wayword-sim train ensemble` that
report. Tesseract's languages are the installed ones; a script without any is not read by it.
"""

from __future__ import annotations

import argparse
import math
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from cloud.reading.ensemble import Combined, SecondEngine, UnsureLine, writable_scripts
from cloud.reading.loading import RECOGNITION_PACK, load_readers
from cloud.reading.readers import LineReading
from shared.clock import SystemClock
from shared.errors import PackMissing, WaywordError
from shared.models.calibration import Calibration
from shared.models.ensemble import TESSERACT, Ensemble
from shared.models.ensemble_use import Combining
from shared.models.packs import PackStore, default_store_root
from shared.models.recognition import TextRecogniser
from shared.models.script import Script, dominant_script
from shared.models.script_picture import ScriptClassifier
from shared.models.tesseract import Tesseract
from simulations.bench.cloud.findings import Finding, Findings, Progress
from simulations.bench.reading.arms import load_image
from simulations.bench.reading.scoring import Photo, Score, load_photos, score_line
from simulations.training.ensemble import arms_of, tallies
from simulations.training.ensemble_lines import SCRIPTS, SMALL_PACK, ReadLine, Recognisers, fonts_of, render
from simulations.training.script import Recipe

NAME: Final = "reading"
HELP: Final = "ensemble against single reader, per script, on photographs and rendered lines"
PACKS: Final = "packs"
PACKS_SCRIPTS: Final = ("latin", "han", "kana", "common")
"""Scripts that the packs read: here the ensemble can do harm."""
MOST_CHANGES: Final = 40
"""Changed lines that are listed of an arm."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this part."""
    parser.add_argument(
        "--photos", type=Path, default=Path("../shared/photos"), metavar="DIR", help="(default: %(default)s)"
    )
    parser.add_argument("--only", metavar="TEXT", help="only photographs whose name contains TEXT")
    parser.add_argument(
        "--rendered", type=int, default=40, metavar="N", help="rendered lines of each script (default: %(default)s)"
    )
    parser.add_argument("--fonts", type=Path, action="append", metavar="DIR", help="folder with fonts, again for more")
    parser.add_argument("--corpora", type=Path, metavar="DIR", help="folder with phrase lists *.LANGUAGE-en.tsv.gz")
    parser.add_argument("--seed", type=int, default=5, metavar="N", help="of the lines (default: %(default)s)")
    parser.add_argument("--packs", type=Path, metavar="DIR", help="pack store (default: the user's)")


def measure(options: argparse.Namespace, progress: Progress) -> Findings:
    """Measure it.

    Raises:
        WaywordError: a pack is missing, or there is neither a photograph nor a rendered line.
    """
    store = PackStore(options.packs or default_store_root())
    tesseract = _tesseract()
    rows: list[Finding] = []
    remarks: list[str] = []
    setting: dict[str, object] = {
        "tesseract": "not installed" if tesseract is None else tesseract.version,
        "languages": "" if tesseract is None else " ".join(sorted(tesseract.languages)),
        "shipped": f"{Ensemble.builtin().default}, voices {dict(Ensemble.builtin().voices)}",
    }
    if (options.photos / "ground_truth.json").is_file():
        photos = load_photos(options.photos, options.only)
        setting["photographs"] = len(photos)
        found, said = on_photos(photos, store, tesseract, progress)
        rows += found
        remarks += said
    else:
        remarks.append(f"No photographs: {options.photos} has no ground_truth.json.")
    if options.rendered > 0:
        recipe = Recipe(tuple(options.fonts or [Path("/usr/share/fonts")]), options.corpora, options.seed)
        setting["rendered lines of each script"] = options.rendered
        found, said = on_rendered(recipe, options.rendered, store, tesseract, progress)
        rows += found
        remarks += said
    if not rows:
        raise WaywordError("there is nothing to read", hint="name a folder with --photos, or ask for --rendered lines")
    return Findings("Ensemble against single reader", rows, setting, remarks)


def _tesseract() -> Tesseract | None:
    try:
        return Tesseract.find(clock=SystemClock())
    except PackMissing:
        return None


class Tap(SecondEngine):
    """Stands where the second engine stands, remembers what it is asked, and leaves every reading as it is."""

    lines: Sequence[UnsureLine] = ()

    def combine(self, lines: Sequence[UnsureLine], *, source: str | None, deadline: float) -> list[Combined]:
        """See `SecondEngine`."""
        del source, deadline
        self.lines = lines
        return [Combined(line.look) for line in lines]


@dataclass
class PhotoArm:
    """One arm, and what it read of the photographs.

    Attributes:
        name: in the tables.
        engine: what reads unsure lines; None for nothing.
        scores: by script of the labelled line.
        cpu_s: of everything after the packs' reading.
        by_tesseract: lines shown as Tesseract read them.
        exact: whether each labelled line was read exactly, by photograph, number and text.
    """

    name: str
    engine: SecondEngine | None
    scores: dict[str, Score] = field(default_factory=dict)
    cpu_s: float = 0.0
    by_tesseract: int = 0
    exact: dict[tuple[str, int, str], bool] = field(default_factory=dict)

    def read(self, lines: Sequence[LineReading], unsure: Sequence[UnsureLine]) -> list[LineReading]:
        """The lines after this arm's second engine."""
        if self.engine is None or not unsure:
            return list(lines)
        started = _cpu_s()
        combined = self.engine.combine(unsure, source=None, deadline=math.inf)
        self.cpu_s += _cpu_s() - started
        again = {id(line.crop): one for line, one in zip(unsure, combined, strict=True)}
        return [_with(line, again.get(id(line.crop))) for line in lines]

    def add(self, photo: Photo, lines: Sequence[LineReading]) -> None:
        """Score one photograph."""
        kept = [line for line in lines if line.rejection is None]
        self.by_tesseract += sum(line.read_by is not None and TESSERACT in line.read_by.name for line in kept)
        texts = [line.recognition.text for line in kept]
        for number, truth in enumerate(photo.lines):
            score = score_line(truth, texts)
            script = dominant_script(truth).value
            self.scores.setdefault(script, Score()).add(score)
            self.exact[photo.path.name, number, truth] = score.exact == 1

    def against(self, packs: PhotoArm) -> list[Finding]:
        """Lines gained and lost beside the packs alone: where the packs read the script, and where they do not."""
        rows = []
        for what, harmable in (("scripts of the packs", True), ("other scripts", False)):
            keys = [key for key in packs.exact if (dominant_script(key[2]).value in PACKS_SCRIPTS) is harmable]
            gained = sum(self.exact[key] and not packs.exact[key] for key in keys)
            lost = sum(packs.exact[key] and not self.exact[key] for key in keys)
            rows.append(
                Finding(
                    f"photographs, {what}: lines gained less lines lost, {self.name}",
                    float(gained - lost),
                    f"of {len(keys)}",
                    target=">= 0" if harmable else "",
                    met=gained >= lost if harmable else None,
                    note=f"{gained} gained, {lost} lost",
                )
            )
        return rows

    def changes(self, packs: PhotoArm) -> list[str]:
        """Which lines those are, a sentence each."""
        changed = [
            f"{self.name}: {'gained' if self.exact[key] else 'lost'} {key[2]!r} on {key[0]}."
            for key in packs.exact
            if self.exact[key] is not packs.exact[key]
        ]
        return changed[:MOST_CHANGES] or [f"{self.name}: no labelled line is read otherwise than by the packs alone."]


def _with(line: LineReading, one: Combined | None) -> LineReading:
    if one is None:
        return line
    return replace(
        line, recognition=one.look.recognition, script=one.look.script, read_by=one.read_by, chance=one.chance
    )


class Engines:
    """Builds second engines that share what they are made of.

    Args:
        store: has the packs.
    """

    def __init__(self, store: PackStore) -> None:
        self._first = writable_scripts(TextRecogniser.load(store.get(RECOGNITION_PACK), threads=1))
        self._small = TextRecogniser.load(store.get(SMALL_PACK), threads=1)
        self._scripts = ScriptClassifier.builtin()

    def build(
        self,
        ensemble: Ensemble,
        how: Combining = Combining.RULE,
        *,
        tesseract: Tesseract | None = None,
        kind: type[SecondEngine] = SecondEngine,
    ) -> SecondEngine:
        """One of them."""
        return kind(
            first=self._first,
            small=self._small,
            tesseract=tesseract,
            scripts=self._scripts,
            calibration=Calibration.builtin(),
            ensemble=ensemble,
            how=how,
            clock=SystemClock(),
        )


def on_photos(
    photos: Sequence[Photo], store: PackStore, tesseract: Tesseract | None, progress: Progress
) -> tuple[list[Finding], list[str]]:
    """Rows and remarks of all arms on photographs."""
    engines = Engines(store)
    shipped = Ensemble.builtin()
    tap = engines.build(shipped, kind=Tap)
    if not isinstance(tap, Tap):
        raise TypeError("the tap is another engine")
    (reader,) = load_readers(store, workers=1, clock=SystemClock(), beam=1, second_engine=tap)
    tiny = replace(shipped, voices={**shipped.voices, SMALL_PACK: 1.0})
    arms = [PhotoArm(PACKS, None), PhotoArm("+ tiny", engines.build(tiny))]
    if tesseract is not None:
        arms += [
            PhotoArm(f"+ tesseract, {how.value}", engines.build(shipped, how, tesseract=tesseract)) for how in Combining
        ]
    found = unsure = 0
    base_s = 0.0
    for number, photo in enumerate(photos, 1):
        image = load_image(photo.path)
        tap.lines = ()
        started = _cpu_s()
        lines = reader.read_picture(image)
        base_s += _cpu_s() - started
        found += len(lines)
        unsure += len(tap.lines)
        for arm in arms:
            arm.add(photo, arm.read(lines, tap.lines))
        progress(f"photograph {number} of {len(photos)}: {photo.path.name}")
    rows = [
        Finding(
            f"photographs, {script}: exact lines, {arm.name}",
            float(arm.scores[script].exact),
            f"of {arm.scores[script].lines}",
            note=f"CER {arm.scores[script].cer:.3f}",
        )
        for script in sorted(arms[0].scores)
        for arm in arms
    ]
    for arm in arms[1:]:
        rows += arm.against(arms[0])
        rows.append(
            Finding(
                f"photographs: CPU beside the packs', {arm.name}",
                1e3 * arm.cpu_s / max(unsure, 1),
                "ms an unsure line",
                note=f"{unsure} of {found} lines; the packs took {1e3 * base_s / max(found, 1):.0f} ms a line, finding "
                f"included; {arm.by_tesseract} lines shown as Tesseract read them",
            )
        )
    return rows, [remark for arm in arms[1:] for remark in arm.changes(arms[0])]


def on_rendered(
    recipe: Recipe, count: int, store: PackStore, tesseract: Tesseract | None, progress: Progress
) -> tuple[list[Finding], list[str]]:
    """Rows and remarks of all arms on rendered lines that report."""
    recognisers = Recognisers(store, tesseract)
    lines: list[ReadLine] = []
    without: list[str] = []
    for script in SCRIPTS:
        rendered = render(recipe, "evaluation", script, count, lenient=True)
        if not rendered:
            without.append(script.value)
            continue
        lines += recognisers.read(rendered)
        progress(f"rendered lines in {script.value}")
    arms = arms_of(Ensemble.builtin())
    if tesseract is None:
        arms = {name: arm for name, arm in arms.items() if not arm.tesseract or arm.ensemble is None}
    calibration = Calibration.builtin()
    found = {name: tallies(lines, arm, calibration) for name, arm in arms.items()}
    rows = [
        Finding(
            f"rendered, {script.value}: exact lines, {name}",
            float(by_script[script].exact),
            f"of {by_script[script].lines}",
            note=f"CER {by_script[script].cer:.3f}, {by_script[script].shown} shown",
        )
        for script in SCRIPTS
        if script.value not in without
        for name, by_script in found.items()
    ]
    rows += [
        Finding(f"rendered: time of {name}", cost.ms, "ms a line", note=f"{cost.lines} lines, one thread or process")
        for name, cost in recognisers.costs.items()
    ]
    remarks = [f"No font for rendered lines in {', '.join(without)}."] if without else []
    borrowed = sorted(fonts_of(recipe, "evaluation", lenient=True).borrowed - set(map(Script, without)))
    if borrowed:
        remarks.append(f"Rendered with fonts that fitted, for lack of others: {', '.join(borrowed)}.")
    return rows, remarks


def _cpu_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
