"""One line read by several recognisers: which reading is shown.

Two ways, both data of `data/ensemble.json`, which ``wayword-sim train ensemble`` fits on rendered lines:

* **rule**: what the packs cannot write goes to the one that can; where several can, they vote character by character
  (`voting`), each with a fixed voice; where they read different scripts, the likelier reading is shown;
* **weights**: how likely each reading is right, calibrated, and how alike the two are, decide by a small logistic model
  which of the two is shown. It is the metamodel's way of weighing (Wolpert, *Stacked Generalization*, 1992) with as
  few weights as the samples bear.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from typing import Any, Final

from shared.errors import PackUnsupported
from shared.models.calibration import ANY, FEATURES, Calibration, LineSignals, LogisticModel
from shared.models.ensemble_use import Combining
from shared.models.recognition import Recognition
from shared.models.restoration import restored
from shared.models.script import Script, ScriptCheck, check_script, script_of
from shared.models.script_picture import PictureScript
from shared.models.seen_lines import Look
from shared.models.voting import Voice, similarity, vote, weight_of

ENSEMBLE_VERSION: Final = 1
TESSERACT: Final = "tesseract"
"""Name of Tesseract's calibration; its languages have one by script."""
PREFERRING: Final = ("packs' chance", "Tesseract's chance", "likeness", "letters")
"""What the weights of `Ensemble.prefer` belong to: log-odds twice, 0..1, and the logarithm of one more than them."""
SURE_FROM: Final = 0.5
"""From this chance on Tesseract's reading is preferred to that of the packs."""
_DATA: Final = resources.files("shared.models").joinpath("data/ensemble.json")
_EPSILON: Final = 1e-3
_ALPHABETS: Final[Mapping[Script, int]] = {
    Script.LATIN: 0x61,
    Script.HAN: 0x4E00,
    Script.KANA: 0x3042,
    Script.HANGUL: 0xAC00,
    Script.CYRILLIC: 0x430,
    Script.GREEK: 0x3AC,
    Script.ARABIC: 0x627,
    Script.HEBREW: 0x5D0,
    Script.DEVANAGARI: 0x905,
    Script.THAI: 0xE01,
}
"""Where letters of a script begin in Unicode; forty of them stand for its alphabet."""


@dataclass(frozen=True, slots=True)
class Readings:
    """What recognisers say of one line.

    Attributes:
        packs: the first pack's look; of all others there may be none.
        pack: its name.
        again: another pack's look.
        again_pack: its name.
        tesseract: Tesseract's look.
        height_px: of the line.
    """

    packs: Look
    pack: str
    height_px: float
    again: Look | None = None
    again_pack: str = ""
    tesseract: Look | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What is shown of a line.

    Attributes:
        look: text and script check.
        recogniser: the pack, or `TESSERACT`, that says so.
        chance: P(right), calibrated for that recogniser; None for the first pack, whose own calibration serves.
    """

    look: Look
    recogniser: str
    chance: float | None = None


@dataclass(frozen=True, slots=True)
class Ensemble:
    """What the readings of one line are combined by.

    Attributes:
        default: the better way on the lines that select.
        tesseract: P(Tesseract's line is right), by script; "any" serves scripts without one.
        prefer: P(Tesseract is right | the packs or Tesseract are), of `PREFERRING`.
        voices: how much a reading counts in the vote, by recogniser; 0 for not at all.
        least: chance below which a line of Tesseract is withheld.
    """

    default: Combining
    tesseract: Mapping[str, LogisticModel]
    prefer: LogisticModel
    voices: Mapping[str, float]
    least: float

    @classmethod
    def builtin(cls) -> Ensemble:
        """The one that ships, read once per process.

        Raises:
            PackUnsupported: the data file is of another version or incomplete.
        """
        return _builtin()

    @classmethod
    def from_json(cls, text: str) -> Ensemble:
        """Read what ``wayword-sim train ensemble`` wrote.

        Raises:
            PackUnsupported: the document is of another version or incomplete.
        """
        try:
            document = json.loads(text)
            if document["version"] != ENSEMBLE_VERSION:
                raise PackUnsupported(f"version {document['version']} of the ensemble's weights is unknown")
            tesseract = {name: _model(entry, len(FEATURES)) for name, entry in document["tesseract"].items()}
            if ANY not in tesseract:
                raise KeyError(ANY)
            return cls(
                Combining(document["default"]),
                tesseract,
                _model(document["prefer"], len(PREFERRING)),
                {name: _share(value) for name, value in document["voices"].items()},
                _share(document["least"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PackUnsupported(
                f"the ensemble's weights are incomplete: {error!r}", hint="run: wayword-sim train ensemble"
            ) from error

    def chance(self, line: Recognition, *, height_px: float) -> float:
        """P(a line of Tesseract is right); 0 for an empty one."""
        if not line.text:
            return 0.0
        signals = LineSignals.of(line, height_px=height_px)
        model = self.tesseract.get(signals.script or ANY) or self.tesseract[ANY]
        return model.probability(signals.features)

    def choose(self, readings: Readings, how: Combining, calibration: Calibration) -> Choice:
        """Which reading of a line is shown.

        Args:
            readings: of the line.
            how: rule or weights.
            calibration: of the packs.
        """
        packs, height = readings.packs, readings.height_px
        others = [] if readings.again is None else [(readings.again_pack, readings.again)]
        kept = self._elected(readings, others, calibration)
        answer = readings.tesseract
        if answer is None or not answer.script.readable:
            return kept
        chance = self.chance(answer.recognition, height_px=height)
        if chance < self.least:
            return kept
        theirs = Choice(answer, TESSERACT, chance)
        if not packs.script.readable or not packs.recognition.text:
            return theirs
        mine = packs_chance(calibration, readings.pack, kept.look, height_px=height)
        if how is Combining.RULE:
            if answer.script.script is packs.script.script:
                return self._elected(readings, [*others, (TESSERACT, answer)], calibration)
            # Letters of two scripts cannot be voted on: whose script is likelier, and whose reading.
            likelier = chance * answer.script.probability > mine * packs.script.probability
            return theirs if likelier else kept
        features = preferring(kept.look, answer, packs_chance=mine, tesseract_chance=chance)
        return theirs if self.prefer.probability(features) > SURE_FROM else kept

    def _elected(self, readings: Readings, others: Sequence[tuple[str, Look]], calibration: Calibration) -> Choice:
        """The vote of the first pack's look with others that can be read and have a voice."""
        first, height = readings.packs, readings.height_px
        heard = [
            (name, look)
            for name, look in others
            if look.script.readable and look.recognition.text and self.voices.get(name, 0.0) > 0.0
        ]
        if not heard or not first.recognition.text or not first.script.readable:
            return Choice(first, readings.pack)
        looks = [(readings.pack, first), *heard]
        voices = [
            Voice(look.recognition, weight_of(look.recognition, height) * self.voices.get(name, 1.0))
            for name, look in looks
        ]
        elected = vote(voices).recognition
        alike = [similarity(elected.text, look.recognition.text) for _, look in looks]
        name, winner = looks[alike.index(max(alike))]
        look = replace(winner, recognition=elected)
        if name == readings.pack:
            return Choice(look, name)
        if name == TESSERACT:
            return Choice(look, name, self.chance(elected, height_px=height))
        return Choice(look, name, packs_chance(calibration, name, look, height_px=height))


def preferring(
    packs: Look, tesseract: Look, *, packs_chance: float, tesseract_chance: float
) -> tuple[float, float, float, float]:
    """The signals that `Ensemble.prefer` weighs, in the order of `PREFERRING`."""
    return (
        _logit(packs_chance),
        _logit(tesseract_chance),
        similarity(packs.recognition.text, tesseract.recognition.text),
        math.log1p(len(packs.recognition.text)),
    )


def tesseract_look(
    line: Recognition,
    script: Script,
    *,
    languages: Sequence[str] = (),
    picture: PictureScript | None = None,
) -> Look:
    """A line of Tesseract through the checks that every pack's line goes through.

    Word spaces and punctuation are restored, and the script check judges the text by the scripts that Tesseract was
    asked for. A text in any other script than that of the line is what the wrong language makes of it: not readable.

    Args:
        line: as Tesseract answered.
        script: of the line, as it was told from the picture, the source language, or Tesseract's own detection.
        languages: expected ones, ISO 639-1.
        picture: what the picture shows, where it was asked.
    """
    whole = restored(line)
    alphabet = alphabet_of(frozenset({script, Script.LATIN}))
    check = check_script(
        whole.text, whole.character_confidences, alphabet, expected_languages=languages, picture=picture
    )
    if script is Script.OTHER or not _in_script(whole.text, script):
        # There is no alphabet of "other" to judge by: the chance and the floor of confidence stand alone.
        check = ScriptCheck(check.script, check.probability, script is Script.OTHER and check.script is Script.OTHER)
    return Look(whole, check, picture=picture)


@lru_cache(maxsize=64)
def alphabet_of(scripts: frozenset[Script]) -> frozenset[str]:
    """Letters that stand for the alphabets of some scripts, as `script.alphabet_scripts` counts them."""
    return frozenset(
        letter
        for script, first in _ALPHABETS.items()
        if script in scripts
        for letter in map(chr, range(first, first + 40))
        if script_of(letter) is script
    )


def _in_script(text: str, script: Script) -> bool:
    """Whether a third of the letters are in a script; Han counts as Japanese, and a text without letters as none."""
    letters = [found for found in map(script_of, text) if found is not Script.COMMON]
    same = (Script.HAN, Script.KANA) if script in (Script.HAN, Script.KANA) else (script,)
    return sum(letter in same for letter in letters) * 3 >= len(letters) > 0


def packs_chance(calibration: Calibration, pack: str, look: Look, *, height_px: float) -> float:
    """P(the packs' line is right), as far as its script can be read."""
    if not look.recognition.text or not look.script.readable:
        return 0.0
    return calibration.line(pack, LineSignals.of(look.recognition, height_px=height_px))


@lru_cache(maxsize=1)
def _builtin() -> Ensemble:
    return Ensemble.from_json(_DATA.read_text(encoding="utf-8"))


def shipped() -> dict[str, Any]:
    """The data file that ships, with its card."""
    document: dict[str, Any] = json.loads(_DATA.read_text(encoding="utf-8"))
    return document


def _model(entry: Mapping[str, Any], features: int) -> LogisticModel:
    weights, bias = entry["weights"], entry["bias"]
    if len(weights) != features:
        raise ValueError(f"a model has {len(weights)} weights, not {features}")
    return LogisticModel(tuple(float(weight) for weight in weights), float(bias))


def _share(value: object) -> float:
    if not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
        raise ValueError(f"{value!r} is no share")
    return float(value)


def _logit(p: float) -> float:
    p = min(max(p, _EPSILON), 1 - _EPSILON)
    return math.log(p / (1 - p))
