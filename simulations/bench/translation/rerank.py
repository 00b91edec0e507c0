"""Whether the reverse direction's model helps to choose among the candidates of the beam search.

The weight of the reverse direction is chosen with ``--rerank-tune`` on texts of which no report knows: names of places
and things (OpenStreetMap's presets, the training part of the phrase lists) in both directions, and sentences of Tatoeba
that Apertium turned from Spanish into Portuguese, which is the route Spanish signs take, against their human English.
What is reported is FLORES dev in both directions and the half "report" of the Portuguese signs.
"""

from __future__ import annotations

import argparse
import gzip
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from shared.errors import InputError, TranslatorFailed, UsageError
from shared.models.apertium import ApertiumTranslator, installed_modes
from shared.models.apertium_use import ApertiumUse
from shared.models.bergamot.texts import Alternatives, Translation, joined
from shared.models.bergamot.translator import BergamotTranslator
from shared.models.packs import PackStore, default_store_root
from shared.models.phrasebook import Phrasebook
from shared.models.rerank import RerankedTranslator, choose, reranked
from shared.models.sign_translation import SignTranslation, SignTranslator, TranslationEngine
from shared.models.text import normalise_for_translation
from shared.models.translators import Direction, load_translators
from simulations.bench.sign_phrases import Half, SignPhrase, load
from simulations.bench.translation.engines import quality
from simulations.bench.translation.parts import PartResult, Say
from simulations.bench.translation.signs import Answer, judge
from simulations.traces.phrases import PhraseStock
from simulations.traces.records import TracePart

TITLE: Final = "Candidates judged by the reverse direction"
BEAM: Final = 4
DIRECTIONS: Final[tuple[Direction, ...]] = (("pt", "en"), ("en", "pt"))
REPORTED_WEIGHTS: Final = (0.1, 0.3, 0.5)
"""Shown beside the beam search, which is weight 0 and what tuning chose."""
WEIGHTS: Final = tuple(round(0.05 * step, 2) for step in range(21))
_PRESETS: Final = ("osm-presets.pt-en.tsv.gz", "osm-presets.pt-BR-en.tsv.gz")
_SENTENCES: Final = "tatoeba.es-en.tsv.gz"
_SEED: Final = 7
_RESAMPLES: Final = 1000


@dataclass(frozen=True, slots=True)
class _Judged:
    """One text: its sentences with their candidates, what the reverse direction says of each, and what they cost."""

    sentences: tuple[tuple[Alternatives, Mapping[str, float]], ...]
    reference: str
    target: str
    beam_ms: float
    rerank_ms: float

    def text(self, weight: float) -> str:
        parts = [choose(sentence, dict(scores), weight) for sentence, scores in self.sentences]
        return joined(parts, target=self.target).text

    def plain(self) -> str:
        """The answer of the beam search."""
        return joined([sentence.translations[0] for sentence, _ in self.sentences], target=self.target).text

    def best(self, score: Callable[[str, str], float]) -> str:
        """What a judge who knows the reference would take, sentence by sentence."""
        parts: list[Translation] = [
            max(sentence.translations, key=lambda item: score(item.text, self.reference))
            for sentence, _ in self.sentences
        ]
        return joined(parts, target=self.target).text


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this part; `--lines` of the engines counts here too."""
    parser.add_argument(
        "--rerank-tune", type=int, default=0, metavar="N", help="rerank: choose the weight on N texts of each kind"
    )


def run(arguments: argparse.Namespace, say: Say) -> PartResult:
    """Measure.

    Raises:
        InputError: a test set or a corpus is absent.
        UsageError: sacrebleu or, to tune, Apertium is not installed.
        PackError: a pack is absent or corrupt.
    """
    store = PackStore(arguments.packs or default_store_root())
    packs = {
        direction: BergamotTranslator.load(store.get(f"mt-{direction[0]}-{direction[1]}"), threads=1)
        for direction in DIRECTIONS
    }
    data: dict[str, Any] = {"weights": REPORTED_WEIGHTS, "beam": BEAM}
    tables: list[str] = []
    if arguments.rerank_tune:
        data["tuning"] = _tune(arguments.shared, packs, arguments.rerank_tune, say)
        tables += _tuning_table(data["tuning"])
    folder = arguments.shared / "mt-eval" / "pt-en"
    data["flores"] = {}
    for direction in DIRECTIONS:
        source, target = direction
        say(f"rerank: FLORES dev {source}-{target}")
        pairs = list(
            zip(
                _lines(folder / f"flores-dev.{source}", arguments.lines),
                _lines(folder / f"flores-dev.{target}", arguments.lines),
                strict=True,
            )
        )
        data["flores"][f"{source}-{target}"] = _report(pairs, packs, direction)
    tables += _report_table(data["flores"], arguments.lines)
    say("rerank: signs")
    data["signs"] = _signs(store)
    tables += _signs_table(data["signs"])
    return PartResult(tables, data)


def _judge(text: str, reference: str, packs: Mapping[Direction, BergamotTranslator], direction: Direction) -> _Judged:
    forward, back = packs[direction], RerankedTranslator(packs[direction], packs[direction[::-1]], weight=0.0)
    started = time.thread_time()
    sentences = forward.alternatives(text, beam=BEAM)
    searched = time.thread_time()
    judged = tuple((sentence, back.reverse_scores(sentence)) for sentence in sentences)
    return _Judged(judged, reference, direction[1], (searched - started) * 1e3, (time.thread_time() - searched) * 1e3)


def _report(
    pairs: Sequence[tuple[str, str]], packs: Mapping[Direction, BergamotTranslator], direction: Direction
) -> dict[str, Any]:
    judged = [_judge(source, reference, packs, direction) for source, reference in pairs]
    references = [reference for _, reference in pairs]
    plain = [item.plain() for item in judged]
    score = _sentence_chrf()
    return {
        "beam": quality(plain, references),
        "rerank": {
            f"{weight}": _arm([item.text(weight) for item in judged], plain, references, score)
            for weight in REPORTED_WEIGHTS
        },
        "oracle": quality([item.best(score) for item in judged], references),
        "cpu_ms_p50": {
            "beam": round(float(np.median([item.beam_ms for item in judged])), 2),
            "rerank adds": round(float(np.median([item.rerank_ms for item in judged])), 2),
        },
    }


def _arm(
    chosen: Sequence[str], plain: Sequence[str], references: Sequence[str], score: Callable[[str, str], float]
) -> dict[str, Any]:
    """Quality, and what is gained over the beam search, with a 95 % interval over resampled sentences."""
    gains = np.array(
        [score(new, wanted) - score(old, wanted) for new, old, wanted in zip(chosen, plain, references, strict=True)]
    )
    draws = np.random.default_rng(_SEED).integers(0, len(gains), (_RESAMPLES, len(gains)))
    low, high = np.percentile(gains[draws].mean(axis=1), [2.5, 97.5])
    return {
        **quality(chosen, references),
        "changed": round(float(np.mean([old != new for old, new in zip(plain, chosen, strict=True)])), 3),
        "sentence_chrf_gain": round(float(gains.mean()), 3),
        "sentence_chrf_gain_95": [round(float(low), 3), round(float(high), 3)],
    }


def _signs(store: PackStore) -> dict[str, dict[str, int]]:
    """Portuguese signs, the half "report", as the cloud translates them and through the models alone."""
    phrases = [phrase for phrase in load("pt") if phrase.half is Half.REPORT]
    translators = load_translators(store, apertium=ApertiumUse.OFF)
    book, empty = Phrasebook.builtin(), Phrasebook([])
    ways = {"together, beam": SignTranslator(book, translators), "models, beam": SignTranslator(empty, translators)}
    for weight in REPORTED_WEIGHTS:
        judged = reranked(translators, weight=weight)
        ways[f"together, weight {weight}"] = SignTranslator(book, judged)
        ways[f"models, weight {weight}"] = SignTranslator(empty, judged)
    counts = {}
    for name, translator in ways.items():
        share, _, _ = judge(phrases, _answer(translator))
        counts[name] = {"right": share.right, "wrong": share.wrong, "missing": share.missing}
    return counts


def _answer(translator: SignTranslator) -> Answer:
    def answer(phrase: SignPhrase) -> str | None:
        result: SignTranslation = translator.translate_sign(
            phrase.source.split("\n"), source="pt", target="en", beam=BEAM
        )
        served = result.engine is not TranslationEngine.NONE and result.reason is None
        return result.translation if served else None

    return answer


def _tune(
    shared: Path, packs: Mapping[Direction, BergamotTranslator], count: int, say: Say
) -> dict[str, dict[str, float]]:
    """Mean sentence chrF of each weight on each set."""
    corpora = shared / "corpora"
    names = _names(corpora, count)
    sets = {
        "names pt-en": (("pt", "en"), names),
        "names en-pt": (("en", "pt"), [(english, portuguese) for portuguese, english in names]),
        "sentences pt-en": (("pt", "en"), _sentences(corpora, count, say)),
    }
    score = _sentence_chrf()
    found: dict[str, dict[str, float]] = {}
    for name, (direction, pairs) in sets.items():
        say(f"rerank: tuning on {len(pairs)} {name}")
        judged = [
            _judge(normalise_for_translation(source, direction[0]), reference, packs, direction)
            for source, reference in pairs
        ]
        found[name] = {
            f"{weight:.2f}": round(
                float(np.mean([score(item.text(weight).casefold(), item.reference.casefold()) for item in judged])), 3
            )
            for weight in WEIGHTS
        }
    found["mean"] = {
        f"{weight:.2f}": round(float(np.mean([found[name][f"{weight:.2f}"] for name in sets])), 3) for weight in WEIGHTS
    }
    return found


def _names(corpora: Path, count: int) -> list[tuple[str, str]]:
    """Portuguese and English names of the training part, at least two words long: one word has few candidates."""
    stock = PhraseStock()
    pairs = sorted(
        {
            (portuguese, english)
            for name in _PRESETS
            for portuguese, english in _pairs(corpora / name)
            if " " in portuguese and stock.part_of(portuguese) is TracePart.TRAIN
        }
    )
    return random.Random(_SEED).sample(pairs, min(count, len(pairs)))


def _sentences(corpora: Path, count: int, say: Say) -> list[tuple[str, str]]:
    """Sentences as Apertium says them in Portuguese, and their English."""
    mode = installed_modes().get(("es", "pt"))
    if mode is None:
        raise UsageError("tuning needs Apertium from Spanish to Portuguese", hint="install apertium-spa-por or es-pt")
    engine = ApertiumTranslator(mode, ("es", "pt"))
    chosen = random.Random(_SEED).sample(list(_pairs(corpora / _SENTENCES)), count)
    say(f"rerank: {len(chosen)} sentences through Apertium")
    found = []
    for spanish, english in chosen:
        try:
            portuguese = engine.translate(spanish).text
        except TranslatorFailed:
            continue
        if portuguese:
            found.append((portuguese, english))
    return found


def _pairs(path: Path) -> list[tuple[str, str]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            return [cast(tuple[str, str], tuple(line.rstrip("\n").split("\t"))) for line in lines if "\t" in line]
    except OSError as error:
        raise InputError(f"cannot read {path}: {error}", hint="Give the folder that holds corpora with --shared") from (
            error
        )


def _lines(path: Path, count: int) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()[:count]
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def _sentence_chrf() -> Callable[[str, str], float]:
    try:
        from sacrebleu import sentence_chrf  # only here: a benchmark's dependency
    except ImportError as error:
        raise UsageError("sacrebleu is not installed", hint="run: pip install 'wayword[bench]'") from error
    return lambda text, reference: float(sentence_chrf(text, [reference]).score)


def _tuning_table(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    names = list(found)
    lines = [f"| weight | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    lines += [
        f"| {weight} | {' | '.join(f'{found[name][weight]:.2f}' for name in names)} |" for weight in found["mean"]
    ]
    best = max(found["mean"], key=lambda weight: found["mean"][weight])
    return ["Mean sentence chrF of each weight of the reverse direction:", "", *lines, "", f"Best mean: {best}.", ""]


def _report_table(found: Mapping[str, Mapping[str, Any]], lines: int) -> list[str]:
    rows = [
        f"First {lines} lines of FLORES dev, beam {BEAM}:",
        "",
        "| | chrF | BLEU | changed | sentence chrF gained (95 %) | CPU ms p50 |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in found.items():
        beam, both = row["cpu_ms_p50"]["beam"], row["cpu_ms_p50"]["beam"] + row["cpu_ms_p50"]["rerank adds"]
        rows.append(f"| {name} beam | {row['beam']['chrf']:.2f} | {row['beam']['bleu']:.2f} | | | {beam:.1f} |")
        for weight, arm in row["rerank"].items():
            low, high = arm["sentence_chrf_gain_95"]
            rows.append(
                f"| {name} reverse weight {weight} | {arm['chrf']:.2f} | {arm['bleu']:.2f} | {arm['changed']:.0%} "
                f"| {arm['sentence_chrf_gain']:+.2f} ({low:+.2f} to {high:+.2f}) | {both:.1f} |"
            )
        oracle = row["oracle"]
        rows.append(f"| {name} best of the candidates | {oracle['chrf']:.2f} | {oracle['bleu']:.2f} | | | |")
    return [*rows, ""]


def _signs_table(found: Mapping[str, Mapping[str, int]]) -> list[str]:
    rows = ["Portuguese signs, half report:", "", "| | right | wrong | missing |", "|---|---|---|---|"]
    return [*rows, *(f"| {name} | {row['right']} | {row['wrong']} | {row['missing']} |" for name, row in found.items())]
