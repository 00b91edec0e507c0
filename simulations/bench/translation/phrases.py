"""The phrasebook under reading errors: precision, recall, false matches, and the time of a lookup.

Phrases: every phrase and a value-filled text of every template, clean and with each kind of noise, looked up in its own
language and with the language unknown. A match is right when its English is that of the phrase. Negatives: words, names
and sentences that are no phrases (from ``corpora`` of the shared folder, where it is), clean and misread; a match is
false unless its English is the corpus's. The noise is drawn with a seed of its own: rules were made with others.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import random
import resource
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from shared.errors import UsageError
from shared.models.phrase_files import Phrase, Rank
from shared.models.phrasebook import Phrasebook, PhraseMatch
from shared.models.text import match_tokens
from simulations.bench.translation.parts import PartResult
from simulations.bench.translation.phrase_noise import NOISES, confuse, fill, misread_digit, substitute

TITLE: Final = "Phrasebook"
DEVELOPMENT_SEED: Final = 7
REPORT_SEED: Final = 20261126
LARGE: Final = 100_000
"""Entries of the large phrasebook, whose lookups are timed."""
TIMED: Final = 150
"""Lookups timed of each kind of text and language, at most."""

TARGET_PRECISION: Final = 0.99
TARGET_CLEAN_RECALL: Final = 0.99
TARGET_FALSE_PER_THOUSAND: Final = 5.0
TARGET_P99_MS: Final = 1.0
TARGET_LOAD_S: Final = 1.0

_OUTCOMES: Final = ("right", "wrong", "other", "none")
_MUST_REFUSE: Final = frozenset({"clean", "merged signs", "misread digit"})
"""Kinds of texts for which an exact match with another English is wrong all the same."""
_LOAD: Final = (
    "import json, resource, time\n"
    "def rss():\n"
    "    with open('/proc/self/statm') as file:\n"
    "        return int(file.read().split()[1]) * resource.getpagesize() / 1e6\n"
    "before = rss()\n"
    "start = time.process_time()\n"
    "from shared.models.phrasebook import Phrasebook\n"
    "imported = time.process_time()\n"
    "book = Phrasebook.builtin()\n"
    "end = time.process_time()\n"
    "after = rss()\n"
    "print(json.dumps({'import_s': imported - start, 'load_s': end - imported, 'rss_mb': after - before,"
    " 'phrases': len(book), 'templates': len(book.templates)}))\n"
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this part."""
    parser.add_argument("--phrase-seed", type=int, default=REPORT_SEED, metavar="N", help="seed of the noise")
    parser.add_argument(
        "--phrase-sample", type=int, default=400, metavar="N", help="phrases and negatives of each kind per language"
    )
    parser.add_argument(
        "--phrase-large",
        type=int,
        default=LARGE,
        metavar="N",
        help="phrases of the large phrasebook (default: %(default)s)",
    )
    parser.add_argument("--phrase-folder", type=Path, metavar="DIR", help="phrase files on top of those shipped")


def run(arguments: argparse.Namespace, say: Callable[[str], None]) -> PartResult:
    """Measure the phrasebook.

    Raises:
        UsageError: a count is not positive, or the folder's files are malformed.
    """
    if min(arguments.phrase_sample, arguments.phrase_large) < 1:
        raise UsageError("--phrase-sample and --phrase-large must be positive")
    folder = arguments.phrase_folder
    book = Phrasebook.builtin() if folder is None else Phrasebook.builtin_with(folder)
    corpora = arguments.shared / "corpora"
    say(f"phrases: {len(book)} phrases, {len(book.templates)} templates, seed {arguments.phrase_seed}")
    phrases = {language: _phrases(book, language, arguments) for language in book.languages}
    templates = {language: _templates(book, language, arguments) for language in book.languages}
    negatives = {
        language: found for language in book.languages if (found := _negatives(book, language, corpora, arguments, say))
    }
    say("phrases: timing lookups")
    timing = _timing(book, corpora, arguments)
    load = _load()
    data = {
        "seed": arguments.phrase_seed,
        "phrases": phrases,
        "templates": templates,
        "negatives": negatives,
        "timing": timing,
        "load": load,
    }
    return PartResult(_tables(data), data, _failures(data))


# Phrases -----------------------------------------------------------------------------------------------------------


def _phrases(book: Phrasebook, language: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Counts of right, wrong and no matches for phrases of a language, by noise."""
    rng = random.Random(f"{arguments.phrase_seed} {language}")
    every = [phrase for phrase in book if phrase.language == language and phrase.rank < Rank.IMPORTED]
    sample = rng.sample(every, min(arguments.phrase_sample, len(every)))
    texts = [(phrase.source, phrase.translation) for phrase in sample]
    result = _by_noise(book, language, texts, rng)
    # Two signs read as one: no phrase is right.
    merged = [(f"{first} {second}", "") for (first, _), (second, _) in itertools.pairwise(texts)]
    result["merged signs"] = _count(book, language, merged, "merged signs")
    return result


def _templates(book: Phrasebook, language: str, arguments: argparse.Namespace) -> dict[str, Any]:
    rng = random.Random(f"{arguments.phrase_seed} {language} templates")
    every = [template for template in book.templates if template.language == language]
    texts = []
    for template in rng.sample(every, min(arguments.phrase_sample, len(every))):
        text = fill(template, rng)
        match = book.lookup(text, language=language)
        # What the clean text is answered with is the truth here: tests say that it is right.
        texts.append((text, match.translation if match is not None else "?"))
    result = _by_noise(book, language, texts, rng)
    digits = [(damaged, english) for text, english in texts if (damaged := misread_digit(text, rng)) != text]
    result["misread digit"] = _count(book, language, digits, "misread digit")
    return result


def _by_noise(book: Phrasebook, language: str, texts: Sequence[tuple[str, str]], rng: random.Random) -> dict[str, Any]:
    result = {
        "clean": _count(book, language, texts, "clean"),
        "clean, language unknown": _count(book, None, texts, "clean"),
    }
    for name, noise in NOISES.items():
        result[name] = _count(book, language, [(noise(text, rng), english) for text, english in texts], name)
    return result


def _count(book: Phrasebook, language: str | None, texts: Iterable[tuple[str, str]], kind: str) -> dict[str, Any]:
    """How many texts get the right English, another, or none; with some of the wrong ones.

    A text that the damage made exactly another sign (Salidas to Salida, 18 to 13) is counted apart: nothing on it says
    that it was misread.
    """
    counts: Counter[str] = Counter()
    wrong: list[tuple[str, str, str]] = []
    for text, english in texts:
        match = book.lookup(text, language=language)
        if match is None:
            counts["none"] += 1
        elif "".join(match_tokens(match.translation)) == "".join(match_tokens(english)):
            counts["right"] += 1
        elif match.exact and kind not in _MUST_REFUSE:
            counts["other"] += 1
        else:
            counts["wrong"] += 1
            wrong.append((text, english, match.translation))
    return {name: counts[name] for name in _OUTCOMES} | {"examples": wrong[:20]}


# Negatives ---------------------------------------------------------------------------------------------------------


def _negatives(
    book: Phrasebook, language: str, corpora: Path, arguments: argparse.Namespace, say: Callable[[str], None]
) -> dict[str, Any]:
    """False matches among texts that are no phrases, by corpus and noise."""
    rng = random.Random(f"{arguments.phrase_seed} {language} negatives")
    result: dict[str, Any] = {}
    for name in ("osm-presets", "cldr", "isocodes", "tatoeba"):
        pairs = [
            pair for pair in _pairs(corpora, name, language) if not book.exact_languages(pair[0]) and len(pair[0]) > 1
        ]
        if not pairs:
            continue
        pairs = rng.sample(pairs, min(arguments.phrase_sample, len(pairs)))
        for kind, noise in (("clean", None), ("misread", confuse), ("any letter", substitute)):
            texts = [(text if noise is None else noise(text, rng), english) for text, english in pairs]
            result.setdefault(kind, {})[name] = _false_matches(book, language, texts, exact=noise is None)
    if not result:
        say(f"phrases: no corpora of {language} in {corpora}, so no negatives")
    return result


def _false_matches(book: Phrasebook, language: str, texts: Iterable[tuple[str, str]], *, exact: bool) -> dict[str, Any]:
    """Matches with another English; exact ones only where asked: damage may make a word a phrase (Ponti, Ponte)."""
    count, false = 0, []
    for text, english in texts:
        count += 1
        for asked in (language, None):
            match = book.lookup(text, language=asked)
            if match is not None and (exact or not match.exact) and not _same_english(match, english):
                false.append((text, english, match.translation, match.score))
                break
    return {"texts": count, "false": len(false), "examples": false[:20]}


def _same_english(match: PhraseMatch, english: str) -> bool:
    """Equal but for plural endings, articles and bracketed notes."""
    return _essence(match.translation) == _essence(english)


def _essence(english: str) -> list[str]:
    words = match_tokens(english.split(" (")[0])
    return [word.removesuffix("s") for word in words if word not in {"the", "a", "an", "to"}]


def _pairs(corpora: Path, name: str, language: str) -> Iterator[tuple[str, str]]:
    for path in sorted(corpora.glob(f"{name}.{language}*-en.tsv.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                source, _, english = line.rstrip("\n").partition("\t")
                if source and english:
                    yield source, english


# Time and memory -----------------------------------------------------------------------------------------------------


def _timing(book: Phrasebook, corpora: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of CPU a lookup takes, by script and kind of text, at two sizes."""
    large, build_s, grown_mb = _large_book(book, corpora, arguments.phrase_large)
    result: dict[str, Any] = {"large": {"phrases": len(large), "build_s": build_s, "rss_mb": grown_mb}}
    for name, which in (("builtin", book), ("large", large)):
        rng = random.Random(f"{arguments.phrase_seed} timing")
        taken: dict[str, list[float]] = defaultdict(list)
        count = min(TIMED, arguments.phrase_sample)
        for language in book.languages:
            phrases = [phrase.source for phrase in which if phrase.language == language]
            filled = [fill(template, rng) for template in book.templates if template.language == language]
            texts = {
                "hit": rng.sample(phrases, min(count, len(phrases))),
                "template": rng.sample(filled, min(count, len(filled))),
                "misread": [substitute(text, rng) for text in rng.sample(phrases, min(count, len(phrases)))],
                "miss": [_scrambled(text, rng) for text in rng.sample(phrases, min(count, len(phrases)))],
            }
            for kind, members in texts.items():
                for text in members:
                    start = time.thread_time()
                    which.lookup(text)
                    taken[kind].append((time.thread_time() - start) * 1e3)
        result[name] = result.get(name, {}) | {
            kind: {"p50_ms": float(np.percentile(times, 50)), "p99_ms": float(np.percentile(times, 99))}
            for kind, times in {**taken, "all": [time for times in taken.values() for time in times]}.items()
        }
    return result


def _large_book(book: Phrasebook, corpora: Path, size: int) -> tuple[Phrasebook, float, float]:
    """The phrasebook with imported names and sentences of the corpora, or else made-up words, up to `size` phrases."""
    before = _rss_mb()
    rng = random.Random(1)
    phrases = list(book)
    seen = {(phrase.language, phrase.key) for phrase in phrases}
    for source, english, language in _fillers(book, corpora, rng):
        if len(phrases) >= size:
            break
        key = language, "".join(match_tokens(source))
        if key[1] and key not in seen and len(source) <= 80:
            seen.add(key)
            phrases.append(Phrase(source, english, language, Rank.IMPORTED))
    del seen
    start = time.process_time()
    large = Phrasebook(phrases, templates=book.templates)
    return large, time.process_time() - start, _rss_mb() - before


def _fillers(book: Phrasebook, corpora: Path, rng: random.Random) -> Iterator[tuple[str, str, str]]:
    for name in ("osm-presets", "cldr", "isocodes", "tatoeba"):
        readers = {language: _pairs(corpora, name, language) for language in book.languages}
        while readers:  # a little of every language in turn
            for language in list(readers):
                pair = next(readers[language], None)
                if pair is None:
                    del readers[language]
                else:
                    yield (*pair, language)
    sources = list(book)
    while True:
        first, second = rng.choice(sources), rng.choice(sources)
        yield f"{first.source} {second.source}", first.translation, first.language


def _scrambled(text: str, rng: random.Random) -> str:
    letters = list(text)
    rng.shuffle(letters)
    return "".join(letters)


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def _load() -> dict[str, float]:
    """What loading the built-in phrasebook costs a fresh process."""
    found = subprocess.run([sys.executable, "-c", _LOAD], check=True, capture_output=True, text=True)
    return {name: float(value) for name, value in json.loads(found.stdout).items()}


# Report --------------------------------------------------------------------------------------------------------------


def _tables(data: dict[str, Any]) -> list[str]:
    lines = []
    for title, part in (("Phrases", data["phrases"]), ("Templates with values", data["templates"])):
        kinds = list(next(iter(part.values())))
        lines += [
            f"### {title}: right / wrong / exactly another sign, of all texts",
            "",
            "| noise | " + " | ".join(part) + " | precision |",
        ]
        lines += ["|---" * (len(part) + 2) + "|"]
        for kind in kinds:
            cells = [f"{_share(part[language][kind])}" for language in part]
            lines.append(f"| {kind} | " + " | ".join(cells) + f" | {_precision(part, [kind])} |")
        lines.append("")
    if data["negatives"]:
        lines += ["### Texts that are no phrases: false matches per 1000", ""]
        lines += ["| texts | " + " | ".join(data["negatives"]) + " |", "|---" * (len(data["negatives"]) + 1) + "|"]
        for kind in next(iter(data["negatives"].values())):
            for name in ("osm-presets", "cldr", "isocodes", "tatoeba"):
                cells = [_per_thousand([part[kind].get(name)]) for part in data["negatives"].values()]
                lines.append(f"| {name}, {kind} | " + " | ".join(cells) + " |")
        lines.append("")
    lines += [
        "### Time of a lookup, milliseconds of CPU, and size",
        "",
        "| texts | built in p50 | p99 | large p50 | p99 |",
    ]
    lines.append("|---|---|---|---|---|")
    timing = data["timing"]
    for kind in ("hit", "template", "misread", "miss", "all"):
        cells = [f"{timing[size][kind][which]:.3f}" for size in ("builtin", "large") for which in ("p50_ms", "p99_ms")]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    load, large = data["load"], timing["large"]
    lines += [
        "",
        f"Built in: {load['phrases']:.0f} phrases and {load['templates']:.0f} templates load in "
        f"{load['load_s']:.2f} s of CPU, {load['rss_mb']:.0f} MB. Large: {large['phrases']} phrases, built in "
        f"{large['build_s']:.1f} s, {large['rss_mb']:.0f} MB more.",
    ]
    return lines


def _share(counts: dict[str, Any]) -> str:
    total = sum(counts[key] for key in _OUTCOMES)
    return (
        f"{counts['right'] / total:.2f} / {counts['wrong'] / total:.3f} / {counts['other'] / total:.3f}"
        if total
        else "-"
    )


def _precision(part: dict[str, Any], kinds: Iterable[str]) -> str:
    value = precision(part[language][kind] for language in part for kind in kinds)
    return "-" if value is None else f"{value:.4f}"


def precision(counts: Iterable[dict[str, Any]]) -> float | None:
    """Right matches of all matches; None without matches."""
    right = wrong = 0
    for item in counts:
        right += item["right"]
        wrong += item["wrong"]
    return right / (right + wrong) if right + wrong else None


def _per_thousand(parts: Sequence[dict[str, Any] | None]) -> str:
    found = [part for part in parts if part]
    texts = sum(part["texts"] for part in found)
    return f"{1000 * sum(part['false'] for part in found) / texts:.1f}" if texts else "-"


def _failures(data: dict[str, Any]) -> list[str]:
    failures = []
    for name in ("phrases", "templates"):
        for language, part in data[name].items():
            noisy = [counts for kind, counts in part.items() if kind in NOISES]
            value = precision(noisy)
            if value is not None and value < TARGET_PRECISION:
                failures.append(f"{name} of {language}: precision {value:.4f} under noise, not {TARGET_PRECISION}")
            clean = part["clean"]
            recall = clean["right"] / max(sum(clean[key] for key in _OUTCOMES), 1)
            if recall < TARGET_CLEAN_RECALL:
                failures.append(f"{name} of {language}: recall {recall:.3f} without noise, not {TARGET_CLEAN_RECALL}")
    for language, part in data["negatives"].items():
        parts = list(part["clean"].values())
        rate = 1000 * sum(item["false"] for item in parts) / sum(item["texts"] for item in parts)
        if rate > TARGET_FALSE_PER_THOUSAND:
            failures.append(f"{language}: {rate:.1f} false matches per 1000 texts, not {TARGET_FALSE_PER_THOUSAND}")
    slowest = data["timing"]["large"]["all"]["p99_ms"]
    if slowest > TARGET_P99_MS:
        size = data["timing"]["large"]["phrases"]
        failures.append(f"a lookup among {size} phrases takes {slowest:.2f} ms (p99), not {TARGET_P99_MS}")
    if data["load"]["load_s"] > TARGET_LOAD_S:
        failures.append(f"loading takes {data['load']['load_s']:.2f} s of CPU, not {TARGET_LOAD_S}")
    return failures
