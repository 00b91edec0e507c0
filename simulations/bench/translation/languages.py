"""Language identification on what signs say: right, wrong and honestly unknown, beside py3langid alone.

Texts: the sign phrases, and word lists of the shared folder (preset names of OpenStreetMap, CLDR names, first words of
Tatoeba sentences) on the half with an odd CRC-32, which nothing was tuned on. With a prior, the text's own language is
one of two that are expected; with a wrong prior, it is neither. The expected calibration error compares what the
identifier says of its answers with how many are right, in ten bins (Guo et al. 2017).
"""

from __future__ import annotations

import argparse
import gzip
import random
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from shared.errors import UsageError
from shared.models.language import LanguageGuess, identify, warm_up
from shared.models.phrasebook import Phrasebook
from simulations.bench.sign_phrases import LANGUAGES, Half, load
from simulations.bench.translation.parts import PartResult, Say

TITLE: Final = "Language identification"
SEED: Final = 20261126
CORPORA: Final = ("osm-presets", "cldr", "tatoeba")
SENTENCE_WORDS: Final = 4
"""Words taken of a Tatoeba sentence: signs are short."""
TARGET_ACCURACY: Final = 0.95
TARGET_WRONG: Final = 0.02
TARGET_P99_MS: Final = 2.0
_BINS: Final = 10
_OTHERS: Final[Mapping[str, str]] = {
    "pt": "es", "es": "pt", "fr": "it", "it": "es", "de": "fr", "ja": "zh", "zh": "ja", "ko": "ja"
}  # fmt: skip
"""A neighbour that is expected too: the one most easily taken for the language."""
_ELSEWHERE: Final[Mapping[str, tuple[str, ...]]] = {
    "pt": ("de",), "es": ("fr",), "fr": ("de",), "it": ("de",), "de": ("it",), "ja": ("ko",), "zh": ("ko",),
    "ko": ("ja",),
}  # fmt: skip

Identifier = Callable[[str], LanguageGuess]


@dataclass(frozen=True, slots=True)
class Text:
    """A text whose language is known."""

    text: str
    language: str


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this part."""
    parser.add_argument(
        "--language-sample", type=int, default=400, metavar="N", help="texts of each word list (default: 400)"
    )
    parser.add_argument(
        "--language-half",
        choices=["tuning", "held-apart"],
        default="held-apart",
        help="half of the word lists and sign phrases (default: held-apart)",
    )


def run(arguments: argparse.Namespace, say: Say) -> PartResult:
    """Measure.

    Raises:
        UsageError: the sample is not positive.
    """
    if arguments.language_sample < 1:
        raise UsageError("--language-sample must be positive")
    book = Phrasebook.builtin()
    warm_up(book)
    held_apart = arguments.language_half == "held-apart"
    half = Half.REPORT if held_apart else Half.DEV
    sets = {
        f"signs ({half})": [Text(item.source, code) for code in LANGUAGES for item in load(code) if item.half is half]
    }
    corpora = arguments.shared / "corpora"
    for name in CORPORA:
        texts = list(_corpus_texts(corpora, name, odd=held_apart, count=arguments.language_sample))
        if texts:
            sets[name] = texts
        else:
            say(f"languages: no {name} in {corpora}")
    data: dict[str, Any] = {}
    tables: list[str] = []
    for name, texts in sets.items():
        say(f"languages: {name}, {len(texts)} texts")
        ways = {way: judge(texts, of) for way, of in _ways(book).items()}
        data[name] = ways
        tables += _table(name, ways)
    signs = data[f"signs ({half})"]
    return PartResult(tables, data, _failures(signs) if held_apart else [])


def judge(texts: Sequence[Text], of: Callable[[str], Identifier]) -> dict[str, Any]:
    """Counts by language, calibration error and time of one way of identifying.

    Args:
        texts: with their languages.
        of: the identifier to use for texts of a language: it may know what is expected there.
    """
    counts: dict[str, Counter[str]] = {}
    answers: list[tuple[float, bool]] = []
    taken: list[float] = []
    for item in texts:
        identifier = of(item.language)
        start = time.thread_time()
        guess = identifier(item.text)
        taken.append((time.thread_time() - start) * 1e3)
        right = guess.language == item.language
        kind = "unknown" if guess.language is None else "right" if right else "wrong"
        counts.setdefault(item.language, Counter())[kind] += 1
        if guess.language is not None:
            answers.append((guess.probability, right))
    total = sum((counter for counter in counts.values()), Counter[str]())
    number = max(len(texts), 1)
    return {
        "by_language": {code: dict(counter) for code, counter in counts.items()},
        "accuracy": total["right"] / number,
        "unknown": total["unknown"] / number,
        "wrong": total["wrong"] / number,
        "ece": calibration_error(answers),
        "ms_p50": float(np.percentile(taken, 50)) if taken else 0.0,
        "ms_p99": float(np.percentile(taken, 99)) if taken else 0.0,
    }


def calibration_error(answers: Iterable[tuple[float, bool]]) -> float:
    """Expected calibration error of (probability, right) pairs in ten bins of equal width; 0 without answers."""
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(_BINS)]
    for probability, right in answers:
        bins[min(int(probability * _BINS), _BINS - 1)].append((probability, right))
    total = sum(map(len, bins))
    gaps = (
        abs(sum(right for _, right in members) - sum(probability for probability, _ in members))
        for members in bins
        if members
    )
    return sum(gaps) / total if total else 0.0


def _ways(book: Phrasebook) -> dict[str, Callable[[str], Identifier]]:
    """Identifiers by name, each for texts of a language."""

    def ours(expected: Sequence[str]) -> Identifier:
        return lambda text: identify(text, phrasebook=book, expected=expected)

    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    whole = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    def statistical(text: str) -> LanguageGuess:
        language, probability = whole.classify(text)
        return LanguageGuess(str(language), float(probability))

    return {
        "py3langid alone": lambda _: statistical,
        "no prior": lambda _: ours(()),
        "prior": lambda language: ours((language,)),
        "prior with a neighbour": lambda language: ours((_OTHERS[language], language)),
        "wrong prior": lambda language: ours(_ELSEWHERE[language]),
    }


def _corpus_texts(folder: Path, name: str, *, odd: bool, count: int) -> Iterator[Text]:
    """Up to `count` texts of each language of a word list, of one half of it."""
    for language in LANGUAGES:
        found: list[str] = []
        for path in sorted(folder.glob(f"{name}.{language}*-en.tsv.gz")):
            with gzip.open(path, "rt", encoding="utf-8") as lines:
                for line in lines:
                    text, _, english = line.rstrip("\n").partition("\t")
                    if name == "tatoeba":
                        text = _shortened(text, language)
                    # A name that is the same in English is in no one language.
                    if not any(map(str.isalpha, text)) or text.casefold() == english.casefold():
                        continue
                    if zlib.crc32(text.encode()) % 2 == odd:
                        found.append(text)
        found = sorted(set(found))
        for text in random.Random(f"{SEED} {name} {language}").sample(found, min(count, len(found))):
            yield Text(text, language)


def _shortened(sentence: str, language: str) -> str:
    if language in ("ja", "zh"):
        return sentence[: 2 * SENTENCE_WORDS]
    return " ".join(sentence.split()[:SENTENCE_WORDS])


def _table(name: str, ways: Mapping[str, Mapping[str, Any]]) -> list[str]:
    languages = list(next(iter(ways.values()))["by_language"])
    lines = [
        f"### {name}",
        "",
        "| way | right | unknown | wrong | calibration error | ms p50 | p99 | right by language |",
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for way, found in ways.items():
        shares = []
        for language in languages:
            counter = found["by_language"][language]
            shares.append(f"{language} {counter.get('right', 0) / sum(counter.values()):.2f}")
        lines.append(
            f"| {way} | {found['accuracy']:.3f} | {found['unknown']:.3f} | {found['wrong']:.3f} | {found['ece']:.3f} "
            f"| {found['ms_p50']:.2f} | {found['ms_p99']:.2f} | {', '.join(shares)} |"
        )
    return [*lines, ""]


def _failures(signs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    failures = []
    for way in ("no prior", "prior"):
        found = signs[way]
        if found["accuracy"] < TARGET_ACCURACY:
            failures.append(f"{way}: {found['accuracy']:.3f} of the signs right, not {TARGET_ACCURACY}")
        if found["wrong"] > TARGET_WRONG:
            failures.append(f"{way}: {found['wrong']:.3f} of the signs wrong, not {TARGET_WRONG}")
        if found["ms_p99"] > TARGET_P99_MS:
            failures.append(f"{way}: {found['ms_p99']:.2f} ms (p99), not {TARGET_P99_MS}")
    return failures
