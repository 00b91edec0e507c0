"""The quality estimate of translations: how well it tells acceptable ones from others, on phrases held apart.

Phrases: the phrasebook's own, which no translator has seen, and names of open word lists of the shared folder; none
that is in the sign test set. A translation counts as acceptable when it says what the list says (as the test set
compares answers), or its chrF against it is at least 60. A quarter of the phrases, by CRC-32, only reports.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from shared.errors import StorageError, WaywordError
from shared.models.apertium_use import ApertiumUse
from shared.models.packs import PackStore, default_store_root
from shared.models.phrasebook import Phrasebook
from shared.models.quality import QUALITY_VERSION, Kind, QualityModel, QualitySignals, likeness, signals_of
from shared.models.text import normalise_for_match, normalise_for_translation
from shared.models.translators import Translator, Translators, load_translators
from simulations.bench.sign_phrases import LANGUAGES, fold, load
from simulations.bench.translation.parts import PartResult, Say
from simulations.calibrate import GOOD_CHRF, as_json
from simulations.calibration_fit import Sample, auroc, calibration_error, fit
from simulations.rendered_lines import Part, part_of

TITLE: Final = "Quality estimate"
SEED: Final = 20261126
LISTS: Final = ("osm-presets", "cldr")
LIST_SHARE: Final = 0.4
"""Share of the sample that word lists give; signs are more like phrases."""
RISING: Final = (0, 1, 2, 3, 4, 6, 8, 9, 10)
"""Signals with which the estimate must not fall: a fit that does so has seen too little of one."""
RARE: Final = (8, 9)
"""Lost numbers and loops are too rare to be fitted, and grave: at least `GRAVE` of log-odds each, set by hand."""
GRAVE: Final = 2.0
Observation: TypeAlias = tuple[QualitySignals, bool, Part]
"""What was seen of a translation, whether it is acceptable, and what it is for."""
_LANGUAGES: Final = {Kind.DIRECT: "pt", Kind.BACK: "pt", Kind.PIVOT: "es", Kind.RULES: "es"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this part."""
    parser.add_argument(
        "--quality-sample",
        type=int,
        default=2400,
        metavar="N",
        help="phrases of each direction, through Apertium a third of it (default: 2400)",
    )
    parser.add_argument("--fit", type=Path, metavar="FILE", help="fit the coefficients and write them here")


def run(arguments: argparse.Namespace, say: Say) -> PartResult:
    """Measure, and fit when asked.

    Raises:
        WaywordError: sacrebleu is not installed, or a file cannot be written.
    """
    translators = load_translators(PackStore(arguments.packs or default_store_root()), apertium=ApertiumUse.AUTO)
    book = Phrasebook.builtin()
    samples: dict[Kind, list[Observation]] = {}
    for language in ("pt", "es"):
        if (language, "en") not in translators:
            say(f"quality: nothing translates {language}; left out")
            continue
        say(f"quality: translating {language}")
        # A process for each phrase takes a hundred times as long as a model.
        count = arguments.quality_sample // (1 if "apertium" not in translators[language, "en"].pack.name else 3)
        pairs = _pairs(book, language, arguments.shared / "corpora", count)
        for kind, member in _observe(language, pairs, translators, book):
            samples.setdefault(kind, []).append(member)
    document: dict[str, Any] = {}
    if arguments.fit is not None:
        document = _fit(samples)
        try:
            arguments.fit.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise StorageError(f"cannot write {arguments.fit}: {error.strerror}") from error
        model = QualityModel.from_json(json.dumps(document))
    else:
        model = QualityModel.builtin()
    rows = {kind: _judge(model, kind, members) for kind, members in samples.items()}
    tables = [
        "| engine | held apart | acceptable | AUROC | AUROC of the least log-probability alone | calibration error |"
    ]
    tables.append("|---|---|---|---|---|---|")
    for kind, row in rows.items():
        tables.append(
            f"| {kind} | {row['held_apart']} | {row['acceptable']:.2f} | {row['auroc']:.3f} "
            f"| {row['auroc_log_probability']:.3f} | {row['ece']:.3f} |"
        )
    failures = [
        f"{kind}: AUROC {row['auroc']:.3f}, log-probability alone {row['auroc_log_probability']:.3f}"
        for kind, row in rows.items()
        if row["auroc"] < row["auroc_log_probability"]
    ]
    return PartResult(tables, {str(kind): row for kind, row in rows.items()}, failures)


def _observe(
    language: str, pairs: Sequence[tuple[str, str]], translators: Translators, book: Phrasebook
) -> Iterator[tuple[Kind, Observation]]:
    """(kind, observation) of each translation, as each kind sees it."""
    engine: Translator = translators[language, "en"]
    back = translators.get(("en", language))
    pivot = "+" in engine.pack.name
    for source, english in pairs:
        text = normalise_for_translation(source, language)
        translation = engine.translate(text)
        if not translation.text:
            continue
        signals = signals_of(text, translation, (language, "en"), book)
        right, part = acceptable(translation.text, english), part_of(source)
        if pivot:
            yield Kind.PIVOT, (signals, right, part)
            bare = replace(signals, total_log_probability=None, minimum_log_probability=None)
            yield Kind.RULES, (bare, right, part)
            continue
        yield Kind.DIRECT, (signals, right, part)
        if back is not None:
            returned = back.translate(translation.text).text
            yield Kind.BACK, (replace(signals, back=likeness(text, returned)), right, part)


def acceptable(translation: str, english: str) -> bool:
    """Whether a translation says what a list says, or nearly.

    Raises:
        WaywordError: sacrebleu is not installed.
    """
    try:
        from sacrebleu import sentence_chrf
    except ImportError as error:
        raise WaywordError("judging needs sacrebleu", hint="run: pip install 'wayword[bench]'") from error
    if fold(translation) == fold(english):
        return True
    return float(sentence_chrf(translation.casefold(), [english.casefold()]).score) >= GOOD_CHRF


def _pairs(book: Phrasebook, language: str, corpora: Path, count: int) -> list[tuple[str, str]]:
    """Phrases and their English, none of which is in the sign test set."""
    test = {normalise_for_match(item.source) for code in LANGUAGES for item in load(code)}
    rng = random.Random(f"{SEED} {language}")
    phrases = [(item.source, item.translation) for item in book if item.language == language and item.key not in test]
    listed: list[tuple[str, str]] = []
    for name in LISTS:
        for path in sorted(corpora.glob(f"{name}.{language}*-en.tsv.gz")):
            with gzip.open(path, "rt", encoding="utf-8") as lines:
                pairs = (line.rstrip("\n").partition("\t") for line in lines)
                listed += [
                    (source, english)
                    for source, _, english in pairs
                    if english and source.casefold() != english.casefold() and normalise_for_match(source) not in test
                ]
    wanted = min(int(count * LIST_SHARE), len(listed))
    chosen = rng.sample(sorted(set(phrases)), min(count - wanted, len(set(phrases))))
    return chosen + rng.sample(sorted(set(listed)), min(wanted, len(set(listed))))


def _fit(samples: dict[Kind, list[Observation]]) -> dict[str, Any]:
    models, card = {}, {}
    for kind, members in samples.items():
        model, figures = fit(
            [Sample(signals.features(), right, part) for signals, right, part in members], rising=RISING
        )
        weights = tuple(max(w, GRAVE) if index in RARE else w for index, w in enumerate(model.weights))
        models[kind.value] = as_json(replace(model, weights=weights))
        card[kind.value] = {**figures.as_json(), "direction": f"{_LANGUAGES[kind]}-en"}
    return {
        "version": QUALITY_VERSION,
        "models": models,
        "card": {
            **card,
            "fitted_on": "phrases of the phrasebook and open word lists, none of the sign test set",
            "right_means": f"the same English, or chrF >= {GOOD_CHRF:g}",
        },
    }


def _judge(model: QualityModel, kind: Kind, members: Sequence[Observation]) -> dict[str, float]:
    apart = [(signals, right) for signals, right, part in members if part is Part.REPORT]
    p = np.array([model.probability(signals, pivot=kind is Kind.PIVOT) for signals, _ in apart])
    y = np.array([right for _, right in apart], float)
    alone = np.array([signals.minimum_log_probability or 0.0 for signals, _ in apart])
    return {
        "held_apart": len(apart),
        "acceptable": float(y.mean()),
        "auroc": auroc(p, y),
        "auroc_log_probability": auroc(alone, y),
        "ece": calibration_error(p, y),
    }
