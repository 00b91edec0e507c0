"""Fit and choose what the cloud's second engine is combined by, on rendered lines of every script.

Lines of the set `training` fit how likely a line of Tesseract is right (Platt scaling, by script) and which of the
packs and Tesseract is right where one of them is. Those of the set `calibration` choose penalties, voices, the floor
below which Tesseract's reading is withheld, and the better of rule and weights. Those of the set `evaluation` report.
No photograph plays a part. What ships was made with the fonts of about seventy Debian packages by

  wayword-sim train ensemble --out shared/models/data/ensemble.json --corpora FOLDER --fonts /usr/share/fonts
      --fonts FOLDER
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from shared.clock import SystemClock
from shared.errors import InputError
from shared.models.calibration import ANY, Calibration, LineSignals, LogisticModel
from shared.models.ensemble import ENSEMBLE_VERSION, TESSERACT, Choice, Ensemble, packs_chance, preferring
from shared.models.ensemble_use import Combining
from shared.models.packs import PackStore, default_store_root
from shared.models.script import Script
from shared.models.tesseract import Preparation, Tesseract
from shared.models.tesseract_languages import readable_scripts
from simulations.bench.reading.scoring import edit_distance, fold
from simulations.calibrate import CHOICES, RISING, same_line
from simulations.calibrate import as_json as model_as_json
from simulations.calibration_fit import Figures, Sample, fit
from simulations.rendered_lines import Part
from simulations.training.ensemble_lines import (
    SCRIPTS,
    SMALL_PACK,
    Line,
    ReadLine,
    Recognisers,
    detected,
    read_prepared,
    read_set,
    render,
    shown,
)
from simulations.training.script import Recipe

Worths = npt.NDArray[np.float64]
PARTS: Final = {"training": Part.FIT, "calibration": Part.SELECT, "evaluation": Part.REPORT}
LEAST_SAMPLES: Final = 60
"""A script with fewer lines to fit goes by the model for any script."""
VOICES: Final = (0.0, 0.5, 1.0)
"""Voices tried, of the tiny pack and of Tesseract beside the packs."""
FLOORS: Final = (0.05, 0.1, 0.2, 0.3)
WRONG_COSTS: Final = 0.25
"""What a wrong line of Tesseract costs, in right ones: a judgement. Without it such a line would not be read at all, so
that one right line in five still pays."""
PREPARATIONS: Final = {
    "as shipped": Preparation(),
    "margin repeats the edge": Preparation(median_ground=False),
    "margin 4": Preparation(margin=4),
    "margin 8": Preparation(margin=8),
    "margin 20": Preparation(margin=20),
    "32 rows": Preparation(height=32),
    "56 rows": Preparation(height=56),
    "72 rows": Preparation(height=72),
    "black and white": Preparation(binary=True),
    "polarity as it is": Preparation(dark_letters=False),
    "mode 6, a block": Preparation(mode=6),
    "mode 13, a raw line": Preparation(mode=13),
}


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to read.

    Attributes:
        ensemble: None for the first pack alone.
        how: rule or weights.
        small: whether the tiny pack is heard.
        tesseract: whether Tesseract is.
    """

    ensemble: Ensemble | None
    how: Combining = Combining.RULE
    small: bool = True
    tesseract: bool = True

    def choose(self, one: ReadLine, calibration: Calibration) -> Choice:
        """What it shows of a line."""
        readings = one.readings
        if self.ensemble is None or one.sure:
            return Choice(readings.packs, readings.pack)
        readings = readings if self.small else replace(readings, again=None)
        readings = readings if self.tesseract else replace(readings, tesseract=None)
        return self.ensemble.choose(readings, self.how, calibration)


def add_parser(models: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `ensemble` to `wayword-sim train`."""
    parser = models.add_parser(
        "ensemble",
        help="what Tesseract's lines are weighed by",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="file to write")
    parser.add_argument(
        "--preparing", action="store_true", help="instead, compare ways to prepare lines on the set training"
    )
    parser.add_argument("--fonts", type=Path, action="append", metavar="DIR", help="folder with fonts, again for more")
    parser.add_argument("--corpora", type=Path, metavar="DIR", help="folder with phrase lists *.LANGUAGE-en.tsv.gz")
    parser.add_argument(
        "--lines",
        type=int,
        default=160,
        metavar="N",
        help="of each script to fit; half as many to choose and to report on (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=5, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--packs", type=Path, metavar="DIR", help="pack store (default: the user's)")
    parser.set_defaults(body=run)


def run(arguments: argparse.Namespace) -> int:
    """Body of `wayword-sim train ensemble`."""
    recipe = Recipe(tuple(arguments.fonts or [Path("/usr/share/fonts")]), arguments.corpora, arguments.seed)
    tesseract = Tesseract.find(clock=SystemClock())
    scripts = [script for script in SCRIPTS if script in readable_scripts(tesseract.languages)]
    if arguments.preparing:
        lines = [line for script in scripts for line in render(recipe, "training", script, arguments.lines)]
        print("\n".join(preparing_table(tesseract, lines)))
        return 0
    recognisers = Recognisers(PackStore(arguments.packs or default_store_root()), tesseract)
    counts = {"training": arguments.lines, "calibration": arguments.lines // 2, "evaluation": arguments.lines // 2}
    sets = {
        name: read_set(recipe, name, scripts, count, recognisers, lambda line: print(line, file=sys.stderr))
        for name, count in counts.items()
    }
    document = fit_ensemble(sets, Calibration.builtin())
    document["card"] |= {
        "seed": arguments.seed,
        "lines": counts,
        "tesseract": tesseract.version,
        "languages": sorted(tesseract.languages),
    }
    ensemble = Ensemble.from_json(json.dumps(document))
    print("\n".join(report(sets["evaluation"], ensemble, Calibration.builtin())))
    print("\n".join(f"{name}: {cost.ms:.0f} ms a line" for name, cost in recognisers.costs.items()))
    if arguments.out is not None:
        try:
            arguments.out.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot write {arguments.out}: {error.strerror}") from error
    return 0


def fit_ensemble(sets: Mapping[str, Sequence[ReadLine]], calibration: Calibration) -> dict[str, Any]:
    """The document that ships: fitted on the set training, chosen on calibration, with figures of evaluation.

    Raises:
        InputError: a set has no line that Tesseract reads.
    """
    card: dict[str, Any] = {"fitted_on": "rendered lines (wayword-sim train ensemble)"}
    models, figures = fit_chances(sets)
    card["chances"] = {script: found.as_json() for script, found in figures.items()}
    rough = Ensemble(
        Combining.RULE, models, LogisticModel((-1.0, 1.0, 0.0, 0.0), 0.0), {SMALL_PACK: 0.0, TESSERACT: 0.0}, 0.0
    )
    prefer, found = fit_preference(sets, rough, calibration)
    card["preference"] = found.as_json()
    ensemble, chosen = choose(sets["calibration"], replace(rough, prefer=prefer), calibration)
    card["chosen_by"] = chosen
    return {
        "version": ENSEMBLE_VERSION,
        "default": ensemble.default.value,
        "tesseract": {name: model_as_json(model) for name, model in models.items()},
        "prefer": model_as_json(prefer),
        "voices": {**ensemble.voices},
        "least": ensemble.least,
        "card": card,
    }


def fit_chances(sets: Mapping[str, Sequence[ReadLine]]) -> tuple[dict[str, LogisticModel], dict[str, Figures]]:
    """P(a line of Tesseract is right), by the script of what it says."""
    samples: dict[str, list[Sample]] = defaultdict(list)
    for name, lines in sets.items():
        for one in lines:
            look = one.readings.tesseract
            if look is None or not look.recognition.text or not look.script.readable:
                continue
            signals = LineSignals.of(look.recognition, height_px=one.readings.height_px)
            sample = Sample(signals.features, same_line(one.line.truth, look.recognition.text), PARTS[name])
            samples[ANY].append(sample)
            samples[look.script.script.value].append(sample)
    models, figures = {}, {}
    for script, found in samples.items():
        enough = sum(sample.part is Part.FIT for sample in found) >= LEAST_SAMPLES
        if script == ANY or (enough and any(sample.part is Part.REPORT for sample in found)):
            models[script], figures[script] = fit(found, rising=RISING, choices=CHOICES[:1])
    return models, figures


def fit_preference(
    sets: Mapping[str, Sequence[ReadLine]], ensemble: Ensemble, calibration: Calibration
) -> tuple[LogisticModel, Figures]:
    """P(Tesseract is right) where both can read a line and one of them is right."""
    samples = []
    for name, lines in sets.items():
        for one in lines:
            packs, other = one.readings.packs, one.readings.tesseract
            if other is None or not (packs.script.readable and other.script.readable and packs.recognition.text):
                continue
            truth = one.line.truth
            theirs = same_line(truth, other.recognition.text)
            if theirs == same_line(truth, packs.recognition.text):
                continue
            height = one.readings.height_px
            features = preferring(
                packs,
                other,
                packs_chance=packs_chance(calibration, one.readings.pack, packs, height_px=height),
                tesseract_chance=ensemble.chance(other.recognition, height_px=height),
            )
            samples.append(Sample(features, theirs, PARTS[name]))
    return fit(samples, rising=(1,))


def choose(lines: Sequence[ReadLine], ensemble: Ensemble, calibration: Calibration) -> tuple[Ensemble, dict[str, Any]]:
    """Voices, floor and default with the most worth on some lines.

    Each way gets the floor that suits it best. Of the ways within one standard error of the best one (Breiman et al.,
    *Classification and Regression Trees*, 1984) the one that asks least is taken; they are tried in that order.
    """
    ways: dict[str, tuple[Ensemble, Worths]] = {}
    for small, beside, how in product(VOICES, VOICES, Combining):
        if how is Combining.WEIGHTS and beside:
            continue  # the voice is the rule's
        floors = [
            replace(ensemble, default=how, voices={SMALL_PACK: small, TESSERACT: beside}, least=least)
            for least in FLOORS
        ]
        tried = [(one, worths_of(lines, Arm(one, how), calibration)) for one in floors]
        ways[f"{how.value}, tiny {small:g}, tesseract {beside:g}"] = max(tried, key=lambda one: float(one[1].sum()))
    _, most = max(ways.values(), key=lambda one: float(one[1].sum()))
    worth: dict[str, Any] = {name: round(float(found.sum()), 2) for name, (_, found) in ways.items()}
    worth["packs alone"] = round(float(worths_of(lines, Arm(None), calibration).sum()), 2)
    return next(one for one, found in ways.values() if _is_close(most - found)), worth


def _is_close(differences: Worths) -> bool:
    """Whether a sum of differences, line by line, is within one standard error of 0."""
    return float(differences.sum()) <= float(differences.std() * np.sqrt(len(differences)))


def worths_of(lines: Sequence[ReadLine], arm: Arm, calibration: Calibration) -> Worths:
    """Of each line: 1 where it is right, less what a wrong one that is shown costs, whoever shows it."""
    worths = []
    for one in lines:
        text = shown(arm.choose(one, calibration).look)
        worths.append(0.0 if not text else 1.0 if same_line(one.line.truth, text) else -WRONG_COSTS)
    return np.array(worths)


@dataclass
class Tally:
    """Lines of one script in one arm."""

    lines: int = 0
    exact: int = 0
    shown: int = 0
    edits: int = 0
    characters: int = 0

    def add(self, truth: str, text: str) -> None:
        """Judge one line; a line withheld counts as not read."""
        want = fold(truth)
        self.lines += 1
        self.exact += fold(text) == want
        self.shown += bool(text)
        self.edits += min(len(want), edit_distance(want, fold(text)))
        self.characters += len(want)

    @property
    def cer(self) -> float:
        """Character error rate, at most 1."""
        return self.edits / max(self.characters, 1)


def arms_of(ensemble: Ensemble) -> dict[str, Arm]:
    """What is compared: packs alone, with the tiny pack's second look, with Tesseract by rule and by weights."""
    tiny = replace(ensemble, voices={**ensemble.voices, SMALL_PACK: 1.0})
    return {
        "packs": Arm(None),
        "+ tiny": Arm(tiny, tesseract=False),
        "+ tesseract, rule": Arm(ensemble),
        "+ tesseract, weights": Arm(ensemble, Combining.WEIGHTS),
    }


def tallies(lines: Sequence[ReadLine], arm: Arm, calibration: Calibration) -> dict[Script, Tally]:
    """An arm on lines, by script."""
    found: dict[Script, Tally] = {}
    for one in lines:
        tally = found.setdefault(one.line.script, Tally())
        tally.add(one.line.truth, shown(arm.choose(one, calibration).look))
    return found


def report(lines: Sequence[ReadLine], ensemble: Ensemble, calibration: Calibration) -> list[str]:
    """Every arm by script as Markdown: exact lines / lines, CER, and lines shown."""
    found = {name: tallies(lines, arm, calibration) for name, arm in arms_of(ensemble).items()}
    scripts = list(next(iter(found.values())))
    rows = ["| arm | " + " | ".join(script.value for script in scripts) + " |", "|---|" + "---|" * len(scripts)]
    for name, by_script in found.items():
        cells = " | ".join(f"{t.exact}/{t.lines} {t.cer:.2f} {t.shown}" for t in by_script.values())
        rows.append(f"| {name} | {cells} |")
    return [*rows, f"default: {ensemble.default.value}, voices {dict(ensemble.voices)}, least {ensemble.least}"]


def preparing_table(tesseract: Tesseract, lines: Sequence[Line]) -> list[str]:
    """Ways to prepare lines, and how well Tesseract's own detection of scripts does, as Markdown."""
    rows = ["| preparation | exact | CER |", "|---|---|---|"]
    for name, preparation in PREPARATIONS.items():
        tally = Tally()
        for line, text in read_prepared(tesseract, lines, preparation):
            tally.add(line.truth, text)
        rows.append(f"| {name} | {tally.exact}/{tally.lines} | {tally.cer:.3f} |")
        print(rows[-1], file=sys.stderr)
    told = detected(tesseract, lines)
    right = sum(script is line.script for line, script in told)
    silent = sum(script is None for _, script in told)
    rows += ["", f"osd: {right} of {len(told)} scripts right, {silent} without an answer"]
    return rows
