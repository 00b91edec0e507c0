"""Fit the confidence of the recognisers and the translator on material made here.

Lines: phrases of the built-in phrasebook, of phrase lists (--corpora), numbers, times and prices, drawn in the fonts of
--fonts and OpenCV's faces, seen from a distance, blurred, noisy and compressed; half of them twice, so that the two
looks vote. They are read as the phone reads them, with word spaces and punctuation restored. A reading is right when
it equals the text, case aside, with its spaces where words are spaced. Texts in scripts that a pack cannot write are
left out: the script check has its own probability. Photographs play no part.

Texts and font families are dealt to three parts by a hash: one fits, one selects (signals and penalty), one reports.
Translation: with --corpora, a translation counts as right when its chrF against the list's English is at least 60;
without it the shipped coefficients stay. What ships was fitted with the fonts of about a hundred Debian packages by

  wayword-sim calibrate --out shared/models/data/calibration.json --page docs/models/reliability.html
      --corpora FOLDER --lines 800 --fonts /usr/share/fonts
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from shared.errors import InputError, WaywordError
from shared.models.bergamot.translator import BergamotTranslator
from shared.models.calibration import (
    ANY,
    CALIBRATION_VERSION,
    Calibration,
    LineSignals,
    LogisticModel,
    translation_features,
)
from shared.models.packs import PackStore, default_store_root
from shared.models.phrasebook import Phrase, Phrasebook
from shared.models.recognition import TextRecogniser
from shared.models.restoration import restored
from shared.models.script import LANGUAGE_SCRIPTS, Script, alphabet_scripts, dominant_script
from shared.models.text import normalise_for_translation
from shared.models.voting import Voice, vote, weight_of
from simulations.calibration_fit import Figures, Sample, fit
from simulations.calibration_page import page
from simulations.rendered_lines import LATIN_LANGUAGES, Look, Typesetter, in_some_case, part_of, seen, texts_of

PACKS: Final = ("ocr-tiny-rec", "ocr-small-rec")
SECOND_LOOKS: Final = 0.5
"""Share of the lines that are looked at twice."""
LIST_SHARE: Final = 0.7
"""Share of the lines in Latin script that come from phrase lists, where there are any: every word of the phrasebook is
a known one, but signs are full of names."""
NUMBER_SHARE: Final = 0.1
RISING: Final = (0, 1, 4, 5, 6)
"""Signals of a line that the probability must not fall with: all but length and height."""
CHOICES: Final = ((0, 1, 2, 3), (0, 1, 2, 3, 6), (0, 1, 2, 3, 4, 5, 6))
"""Sets of signals to choose from."""
LEAST_SAMPLES: Final = 150
"""A script with fewer samples goes by the pack's model for any script."""
GOOD_CHRF: Final = 60.0


@dataclass(frozen=True)
class Reading:
    """One line that was rendered and read.

    Attributes:
        truth: what was written.
        text: what was read.
        phrase: the phrase that was written; None for a text that is none.
        script: of what was read.
        sample: what it gives.
    """

    truth: str
    text: str
    phrase: Phrase | None
    script: Script
    sample: Sample


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `calibrate` to the command line."""
    parser = subparsers.add_parser(
        "calibrate",
        help="fit confidence on rendered signs and phrase lists",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write")
    parser.add_argument("--page", type=Path, metavar="FILE", help="page of reliability diagrams to write, HTML")
    parser.add_argument(
        "--samples", type=int, default=2400, metavar="N", help="rendered lines per pack (default: %(default)s)"
    )
    parser.add_argument(
        "--fonts", type=Path, action="append", default=[], metavar="DIR", help="folder of font files; may be repeated"
    )
    parser.add_argument("--corpora", type=Path, metavar="DIR", help="folder with *.LANGUAGE-en.tsv.gz phrase lists")
    parser.add_argument(
        "--lines", type=int, default=1200, metavar="N", help="phrases for the translator (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=11, metavar="N", help="of everything drawn by chance (default: %(default)s)"
    )
    parser.add_argument("--packs", type=Path, metavar="DIR", help="pack store (default: the user's)")
    parser.set_defaults(body=run)


def run(arguments: argparse.Namespace) -> int:
    """Body of `wayword-sim calibrate`."""
    store = PackStore(arguments.packs or default_store_root())
    texts = Texts(arguments.corpora, seed=arguments.seed)
    setter = Typesetter.of_folders(arguments.fonts)
    document: dict[str, object] = {"version": CALIBRATION_VERSION}
    card: dict[str, object] = {
        "fitted_on": "rendered signs (wayword-sim calibrate)",
        "seed": arguments.seed,
        "samples": arguments.samples,
        "font_families": dict(setter.families()),
    }
    models: dict[str, dict[str, object]] = {}
    diagrams: dict[str, dict[str, Figures]] = {}
    phrase_hits: list[tuple[bool, bool]] = []
    for name in PACKS:
        recogniser = TextRecogniser.load(store.get(name))
        readings = list(recognition_readings(recogniser, texts, setter, count=arguments.samples, seed=arguments.seed))
        phrase_hits += list(phrase_judgements(readings))
        fitted = fit_scripts(readings)
        models[name] = {script: as_json(model) for script, (model, _) in fitted.items()}
        diagrams[name] = {script: found for script, (_, found) in fitted.items()}
        card[name] = {script: found.as_json() for script, found in diagrams[name].items()}
        print(f"{name}: {card[name]}", file=sys.stderr)
    models[ANY] = {ANY: models[PACKS[0]][ANY]}
    document["recognition"] = models
    document["translation"], card["translator"] = _translator(store, arguments)
    document["phrasebook"] = {
        "exact": precision([right for exact, right in phrase_hits if exact]),
        "fuzzy": precision([right for exact, right in phrase_hits if not exact]),
    }
    card["phrasebook"] = {
        "exact": sum(exact for exact, _ in phrase_hits),
        "fuzzy": sum(not exact for exact, _ in phrase_hits),
        "right_means": "the translation of the phrase that was rendered; precision with Laplace's rule",
    }
    document["card"] = card
    _write(arguments.out, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    if arguments.page is not None:
        note = (
            f"{arguments.samples} rendered lines a pack, seed {arguments.seed}; the quarter of texts and font families "
            "that neither fitted nor selected. Written by wayword-sim calibrate."
        )
        _write(arguments.page, page(diagrams, note=note))
    return 0


class Texts:
    """What is written on rendered lines.

    Args:
        corpora: folder of phrase lists; None for the phrasebook alone.
        seed: of the choice of texts.
    """

    def __init__(self, corpora: Path | None, *, seed: int) -> None:
        self._phrases = sign_phrases()
        self._listed = [] if corpora is None else texts_of(corpora, LATIN_LANGUAGES, limit=20_000, seed=seed)

    def draw(self, rng: np.random.Generator, scripts: frozenset[Script]) -> tuple[str, Phrase | None]:
        """A text in scripts that can be written, and the phrase it is."""
        if rng.random() < NUMBER_SHARE:
            return a_number(rng), None
        while True:
            phrase = self._phrases[int(rng.integers(len(self._phrases)))]
            if self._listed and phrase.language in LATIN_LANGUAGES and rng.random() < LIST_SHARE:
                return self._listed[int(rng.integers(len(self._listed)))], None
            if LANGUAGE_SCRIPTS.get(phrase.language, frozenset({Script.LATIN})) <= scripts:
                return phrase.source, phrase


def a_number(rng: np.random.Generator) -> str:
    """A price, a time, a span of hours, a date or a telephone number."""
    a, b, c, d = (int(value) for value in rng.integers((0, 0, 1, 1000), (24, 60, 100, 9999)))
    forms = (
        f"{a:02}:{b:02}",
        f"{a:02}:{b:02}-{(a + 8) % 24:02}:00",
        f"{c},{b:02} €",
        f"€ {c}.{b:02}",
        f"{c}/{a % 12 + 1}/20{b:02}",
        f"+{c} {d} {d + b}",
        f"{c} %",
        f"{c}.{d}",
        str(c),
    )
    return forms[int(rng.integers(len(forms)))]


def recognition_readings(
    recogniser: TextRecogniser, texts: Texts, setter: Typesetter, *, count: int, seed: int
) -> Iterator[Reading]:
    """Render, degrade and read `count` lines."""
    rng = np.random.default_rng(seed)
    scripts = alphabet_scripts(recogniser.alphabet)
    for _ in range(count):
        source, phrase = texts.draw(rng, scripts)
        part = part_of(source)
        truth = in_some_case(source, rng)
        plate, _ = setter.plate(truth, rng, part)
        looks = [Look.random(rng)]
        if rng.random() < SECOND_LOOKS:
            looks.append(Look.random(rng))
        voices = []
        for look in looks:
            line = restored(recogniser.recognise([seen(plate, look, rng)])[0])
            voices.append(Voice(line, weight_of(line, look.height)))
        result = vote(voices)
        height = max(look.height for look in looks)
        signals = LineSignals.of(result.recognition, height_px=height, agreement=result.agreement)
        text = result.recognition.text
        sample = Sample(signals.features, bool(text) and same_line(truth, text), part)
        yield Reading(truth, text, phrase, dominant_script(text), sample)


def fit_scripts(readings: Sequence[Reading]) -> dict[str, tuple[LogisticModel, Figures]]:
    """A model for every script that is read often enough, and one for any."""
    by_script: dict[str, list[Sample]] = defaultdict(list)
    for reading in readings:
        if reading.text:  # no reading is never right, and nobody is asked to believe it
            by_script[ANY].append(reading.sample)
            by_script[reading.script.value].append(reading.sample)
    fitted = {}
    for script, samples in by_script.items():
        if script == ANY or len(samples) >= LEAST_SAMPLES:
            fitted[script] = fit(samples, rising=RISING, choices=CHOICES)
    return fitted


def phrase_judgements(readings: Iterable[Reading]) -> Iterator[tuple[bool, bool]]:
    """For every reading that the phrasebook knows: whether the match was exact, and whether its English is right."""
    book = Phrasebook.builtin()
    for reading in readings:
        phrase = reading.phrase
        match = None if phrase is None else book.lookup(reading.text, language=phrase.language)
        if phrase is not None and match is not None:
            yield match.exact, match.translation == phrase.translation


def precision(judgements: Sequence[bool]) -> float:
    """Share of right ones by Laplace's rule of succession, so that a perfect record is not called certain."""
    return round((sum(judgements) + 1) / (len(judgements) + 2), 4)


def sign_phrases() -> list[Phrase]:
    """Phrases of the built-in phrasebook that fit on one line, in scripts the recognisers were made for."""
    languages = {"pt", "es", "fr", "de", "it", "ja", "zh"}
    phrases = [phrase for phrase in Phrasebook.builtin() if phrase.language in languages]
    return sorted((p for p in phrases if 2 <= len(p.source) <= 40), key=lambda p: (p.language, p.source))


def same_line(one: str, other: str) -> bool:
    """Equality after NFKC and case folding; of Latin text with its word spaces, of any other without."""
    if dominant_script(one) is Script.LATIN:
        return _folded(one).split() == _folded(other).split()
    return "".join(_folded(one).split()) == "".join(_folded(other).split())


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def phrase_pairs(folder: Path, *, limit: int, seed: int) -> list[tuple[str, str]]:
    """Portuguese phrases and their English from the phrase lists of a folder, shuffled.

    Raises:
        InputError: the folder has no such lists.
    """
    pairs: set[tuple[str, str]] = set()
    for path in sorted(folder.glob("*.pt-en.tsv.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                source, tab, english = line.rstrip("\n").partition("\t")
                if tab and source.casefold() != english.casefold():
                    pairs.add((source, english))
    if not pairs:
        raise InputError(f"{folder} holds no *.pt-en.tsv.gz", hint="point --corpora at a folder of phrase lists")
    ordered = sorted(pairs)
    np.random.default_rng(seed).shuffle(ordered)
    return [(str(source), str(english)) for source, english in ordered[:limit]]


def translation_samples(translator: BergamotTranslator, pairs: Sequence[tuple[str, str]]) -> Iterator[Sample]:
    """Translate phrases and judge the results by chrF.

    Raises:
        WaywordError: sacrebleu is not installed.
    """
    try:
        from sacrebleu import sentence_chrf
    except ImportError as error:
        raise WaywordError(
            "fitting the translator needs sacrebleu", hint="run: pip install 'wayword[bench]'"
        ) from error
    for source, english in pairs:
        result = translator.translate(normalise_for_translation(source, "pt"))
        right = float(sentence_chrf(result.text.casefold(), [english.casefold()]).score) >= GOOD_CHRF
        features = translation_features(
            mean_log_probability=result.mean_log_probability, min_log_probability=result.min_log_probability
        )
        yield Sample(features, right, part_of(source))


def _translator(store: PackStore, arguments: argparse.Namespace) -> tuple[object, object]:
    """Coefficients of the translator and their card: fitted anew, or those that ship."""
    if arguments.corpora is None or arguments.lines <= 0:
        shipped = Calibration.shipped()
        return shipped["translation"], shipped["card"]["translator"]
    pairs = phrase_pairs(arguments.corpora, limit=arguments.lines, seed=arguments.seed)
    model, found = fit(list(translation_samples(BergamotTranslator.load(store.get("mt-pt-en")), pairs)))
    card = {**found.as_json(), "fitted_on": "open phrase lists pt-en", "right_means": f"chrF >= {GOOD_CHRF:g}"}
    print(f"translator: {card}", file=sys.stderr)
    return as_json(model), card


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


def as_json(model: LogisticModel) -> dict[str, object]:
    """For the data file."""
    return {"weights": list(model.weights), "bias": model.bias}
