"""What the script check withholds: rendered lines in every script, and pictures without text, through the recognisers.

Each line is read by each recogniser and judged twice: by its text alone, and with the picture's evidence. On scripts
the recogniser's alphabet cannot write, and on pictures without text, every reading shown is invented. On the others, a
reading withheld that was right (at most a fifth of its characters wrong) is a false alarm. The fonts and texts are
those that the classifier was not trained on. The weights of `check_script` (`PICTURE_EVIDENCE`) are fitted on the set
`calibration` (`--set calibration` prints them), figures are reported for `evaluation`. No photograph is used.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from phone.reading import FLOOR_MEAN
from shared.errors import WaywordError
from shared.models.packs import PackStore, default_store_root
from shared.models.recognition import Recognition, TextRecogniser
from shared.models.script import Script, alphabet_scripts, check_script, needs_picture, picture_features
from shared.models.script_picture import CLASSES, NO_TEXT, PictureScript, ScriptClassifier
from shared.models.sign_words import SignWords
from simulations.bench.reading.scoring import edit_distance, fold
from simulations.training.script import SETS, Recipe, renderer_of

PACKS: Final = ("ocr-tiny-rec", "ocr-small-rec")
_NEWTON_STEPS: Final = 50
_RIDGE: Final = 1e-3
RIGHT_SHARE: Final = 0.2
"""A reading with at most this share of wrong characters is right."""


@dataclass(frozen=True)
class ReadLine:
    """One line as rendered, read and judged.

    Attributes:
        label: what it shows, a name of `CLASSES`.
        truth: the text; empty for none.
        recognition: of it.
        picture: what the classifier says.
    """

    label: str
    truth: str
    recognition: Recognition
    picture: PictureScript

    @property
    def right(self) -> bool:
        """Whether the reading is right."""
        want, got = fold(self.truth), fold(self.recognition.text)
        return bool(want) and edit_distance(want, got) <= RIGHT_SHARE * len(want)

    def shown(self, alphabet: frozenset[str], *, with_picture: bool) -> bool:
        """Whether the phone would show the reading."""
        recognition = self.recognition
        if not recognition.text.strip() or recognition.confidence < FLOOR_MEAN:
            return False
        looked = with_picture and _needs_picture(recognition)
        check = check_script(
            recognition.text,
            recognition.character_confidences,
            alphabet,
            picture=self.picture if looked else None,
        )
        return check.readable


@dataclass
class Tally:
    """Lines of one class."""

    lines: int = 0
    right: int = 0
    shown_before: int = 0
    shown_after: int = 0
    right_before: int = 0
    right_after: int = 0
    classified: int = 0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `script` to `wayword-sim bench`."""
    parser = subparsers.add_parser(
        "script", help="readings invented and withheld, by script, with and without the picture", description=__doc__
    )
    parser.add_argument(
        "--fonts",
        type=Path,
        action="append",
        metavar="DIR",
        help="folder with fonts, again for more (default: /usr/share/fonts)",
    )
    parser.add_argument("--corpora", type=Path, metavar="DIR", help="folder with phrase lists *.LANGUAGE-en.tsv.gz")
    parser.add_argument(
        "--set", choices=("calibration", "evaluation"), default="evaluation", help="(default: %(default)s)"
    )
    parser.add_argument("--lines", type=int, default=100, metavar="N", help="of each class (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=5, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--recognisers", default=",".join(PACKS), metavar="LIST", help="packs (default: %(default)s)")
    parser.add_argument("--packs", type=Path, metavar="DIR", help="pack store (default: the user's)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write every line as JSON")
    parser.set_defaults(body=run)


def run(arguments: argparse.Namespace) -> int:
    """Body of `wayword-sim bench script`."""
    try:
        return _run(arguments)
    except WaywordError as error:
        print(error, file=sys.stderr)
        return 1


def _run(arguments: argparse.Namespace) -> int:
    recipe = Recipe(tuple(arguments.fonts or [Path("/usr/share/fonts")]), arguments.corpora, arguments.seed)
    store = PackStore(arguments.packs or default_store_root())
    classifier = ScriptClassifier.builtin()
    written: dict[str, Any] = {}
    evidence: list[tuple[tuple[float, ...], bool]] = []
    for name in arguments.recognisers.split(","):
        recogniser = TextRecogniser.load(store.get(name))
        lines = read_lines(recipe, arguments.set, arguments.lines, recogniser, classifier)
        tallies = tally(lines, recogniser.alphabet)
        print("\n".join(table(name, tallies, alphabet_scripts(recogniser.alphabet))))
        written[name] = [
            {
                "label": line.label,
                "truth": line.truth,
                "text": line.recognition.text,
                "confidences": line.recognition.character_confidences,
                "picture": {**line.picture.probabilities, NO_TEXT: line.picture.no_text},
                "right": line.right,
            }
            for line in lines
        ]
        evidence += evidence_of(lines, recogniser.alphabet)
        written[f"{name}.tally"] = {label: asdict(value) for label, value in tallies.items()}
    if arguments.set == "calibration":
        weights = ", ".join(f"{value:.2f}" for value in fit_evidence(evidence))
        print(f"\nPICTURE_EVIDENCE fitted on these {len(evidence)} readings: ({weights})")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(written, ensure_ascii=False), encoding="utf-8")
    return 0


def read_lines(
    recipe: Recipe, name: str, each: int, recogniser: TextRecogniser, classifier: ScriptClassifier
) -> list[ReadLine]:
    """So many lines of each class, read; never those the classifier was measured on."""
    renderer = renderer_of(recipe, held_apart=True)
    first = SETS[name] + 500_000_000 + recipe.seed * 1_000_000
    found, used = [], 0.0
    for number, label in enumerate(CLASSES):
        for index in range(each):
            example = renderer.example(first + number * 10_000 + index, label=label)
            crop = np.ascontiguousarray(cv2.cvtColor(example.grey, cv2.COLOR_GRAY2BGR), dtype=np.uint8)
            (recognition,) = recogniser.recognise([crop])
            middle = time.process_time()
            (picture,) = classifier.classify([crop])
            used += time.process_time() - middle
            found.append(ReadLine(label, example.text, recognition, picture))
    print(f"{recogniser.pack.name}: {1000 * used / len(found):.2f} ms CPU to classify a line", file=sys.stderr)
    return found


def _needs_picture(recognition: Recognition) -> bool:
    """As `shared.models.sign_reader` asks."""
    words = SignWords.builtin().are_said_by(recognition.text)
    return needs_picture(recognition.text, recognition.character_confidences, says_words=words)


def tally(lines: Sequence[ReadLine], alphabet: frozenset[str]) -> dict[str, Tally]:
    """Counts by class."""
    found = {label: Tally() for label in CLASSES}
    for line in lines:
        counts = found[line.label]
        before, after = (line.shown(alphabet, with_picture=flag) for flag in (False, True))
        recognition = line.recognition
        counts.lines += 1
        counts.right += line.right
        counts.shown_before += before
        counts.shown_after += after
        counts.right_before += before and line.right
        counts.right_after += after and line.right
        counts.classified += bool(recognition.text.strip()) and _needs_picture(recognition)
    return found


def evidence_of(lines: Sequence[ReadLine], alphabet: frozenset[str]) -> list[tuple[tuple[float, ...], bool]]:
    """What the check weighs, and whether the line was beyond the alphabet; readings that are simply bad teach nothing.

    Readings so firm that the picture is not looked at, or so unsure that they are withheld anyway, are left out.
    """
    found: list[tuple[tuple[float, ...], bool]] = []
    available = alphabet_scripts(alphabet)
    for line in lines:
        recognition = line.recognition
        characters = recognition.character_confidences
        foreign = line.label not in (*available, Script.COMMON)
        if not (foreign or line.right) or recognition.confidence < FLOOR_MEAN or not recognition.text.strip():
            continue
        if _needs_picture(recognition):
            plausible = check_script(recognition.text, characters, alphabet).probability
            beyond = line.picture.beyond(available) + line.picture.no_text
            found.append((picture_features(beyond, recognition.confidence, plausible), foreign))
    return found


def fit_evidence(evidence: Sequence[tuple[tuple[float, ...], bool]]) -> list[float]:
    """Weights of a logistic model by Newton's method.

    Both classes count alike, whatever their numbers in the sample: a tourist meets far more signs that can be read than
    the sample has, and a right reading withheld is as useless as an invented one is harmful.
    """
    features = np.array([values for values, _ in evidence])
    foreign = np.array([is_foreign for _, is_foreign in evidence], dtype=np.float64)
    share = min(max(float(foreign.mean()), 1e-3), 1.0 - 1e-3)
    importance = np.where(foreign > 0, 0.5 / share, 0.5 / (1.0 - share))
    weights = np.zeros(features.shape[1])
    for _ in range(_NEWTON_STEPS):
        chance = 1.0 / (1.0 + np.exp(-np.clip(features @ weights, -30, 30)))
        curvature = (features * (importance * chance * (1.0 - chance))[:, np.newaxis]).T @ features
        slope = features.T @ (importance * (chance - foreign)) + _RIDGE * weights
        weights -= np.linalg.solve(curvature + _RIDGE * np.eye(len(weights)), slope)
    return [float(value) for value in weights]


def table(name: str, tallies: dict[str, Tally], available: frozenset[Script]) -> list[str]:
    """The figures as Markdown."""
    rows = [
        "",
        f"| {name} | lines | shown by text alone | with picture | right by text alone | with picture | classified |",
        "|---|---|---|---|---|---|---|",
    ]
    invented, alarms = [0, 0, 0], [0, 0, 0]
    for label, counts in tallies.items():
        readable = label == Script.COMMON or label in available
        rows.append(
            f"| {label}{'' if readable else ' (cannot)'} | {counts.lines} | {counts.shown_before} "
            f"| {counts.shown_after} | {counts.right_before} | {counts.right_after} | {counts.classified} |"
        )
        if readable:
            alarms = [alarms[0] + counts.right, alarms[1] + counts.right_before, alarms[2] + counts.right_after]
        else:
            invented = [invented[0] + counts.lines, invented[1] + counts.shown_before, invented[2] + counts.shown_after]
    rows.append(f"Invented: {invented[1]} of {invented[0]} by text alone, {invented[2]} with the picture.")
    rows.append(f"Right readings shown: {alarms[1]} of {alarms[0]} by text alone, {alarms[2]} with the picture.")
    return rows
