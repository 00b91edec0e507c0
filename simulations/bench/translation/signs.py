"""The sign test set: the phrasebook alone, translators alone, and both as the phone uses them.

An answer is right when it is one of the acceptable ones of `simulations.bench.sign_phrases`, wrong when it is shown and
is not, and missing when nothing, or only a part of the sign, is translated. Rules are developed on the half "dev";
what is reported is the half "report", of which only counts come out of here.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from shared.errors import UsageError
from shared.models.apertium import ApertiumTranslator, installed_modes
from shared.models.apertium_use import ApertiumUse
from shared.models.language import warm_up
from shared.models.packs import PackStore, default_store_root
from shared.models.phrasebook import Phrasebook
from shared.models.sign_translation import SignTranslation, SignTranslator, TranslationEngine
from shared.models.text import normalise_for_translation, restore_case
from shared.models.translators import Translator, Translators, load_translators
from simulations.bench.sign_phrases import LANGUAGES, Half, SignPhrase, is_acceptable, load
from simulations.bench.translation.parts import PartResult, Say

TITLE: Final = "Signs"
TARGET: Final = "en"
TARGET_WITH_PACK: Final = 0.90
TARGET_PHRASEBOOK: Final = 0.80
TARGET_PRECISION: Final = 0.99

Answer = Callable[[SignPhrase], str | None]
"""What is shown for a sign; None where nothing, or not all of it, is translated."""


@dataclass(frozen=True, slots=True)
class Share:
    """Answers of one way of translating, counted.

    Attributes:
        right: acceptable ones.
        wrong: shown and not acceptable.
        missing: signs without an answer, or with a part left untranslated.
    """

    right: int
    wrong: int
    missing: int

    @property
    def total(self) -> int:
        """Signs asked."""
        return self.right + self.wrong + self.missing

    @property
    def accuracy(self) -> float:
        """Right answers of all signs, 0..1; 0 without signs."""
        return self.right / self.total if self.total else 0.0

    @property
    def precision(self) -> float | None:
        """Right answers of all answers; None without answers."""
        return self.right / (self.right + self.wrong) if self.right + self.wrong else None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this part."""
    parser.add_argument("--half", choices=[*map(str, Half), "both"], default="both", help="default: both")
    parser.add_argument("--show", action="store_true", help="list the failures; with --half dev only")
    parser.add_argument(
        "--sign-rivals", action="store_true", help="also Apertium straight into English, where that is not the route"
    )
    parser.add_argument("--sign-languages", metavar="CODES", help=f"of {','.join(LANGUAGES)} (default: all)")


def run(arguments: argparse.Namespace, say: Say) -> PartResult:
    """Measure.

    Raises:
        UsageError: the options contradict each other or name an unknown language.
        PackError: a translation pack is corrupt.
    """
    if arguments.show and arguments.half != Half.DEV:
        raise UsageError("--show lists failures of the half dev only", hint="add --half dev")
    halves = list(Half) if arguments.half == "both" else [Half(arguments.half)]
    languages = _languages(arguments.sign_languages)
    book = Phrasebook.builtin()
    translators = load_translators(PackStore(arguments.packs or default_store_root()), apertium=ApertiumUse.AUTO)
    warm_up(book)
    rivals = installed_modes() if arguments.sign_rivals else {}
    counts: dict[str, dict[str, dict[str, Share]]] = {}
    shown: list[str] = []
    times: dict[str, float] = {}
    for language in languages:
        say(f"signs: {language}")
        phrases = load(language)
        for half in halves:
            asked = [phrase for phrase in phrases if phrase.half is half]
            for name, answer in _ways(language, book, translators, rivals):
                share, failures, taken = judge(asked, answer)
                counts.setdefault(half, {}).setdefault(language, {})[name] = share
                times[f"{half} {language} {name}"] = taken
                if arguments.show:
                    shown += [f"{language} {name}: {failure}" for failure in failures]
    data = {
        "counts": {
            half: {
                language: {name: {"right": share.right, "wrong": share.wrong, "missing": share.missing}
                           for name, share in ways.items()}
                for language, ways in by_language.items()
            }
            for half, by_language in counts.items()
        },
        "ms_p50": times,
        "routes": {f"{source}-{target}": engine.pack.name for (source, target), engine in translators.items()},
    }  # fmt: skip
    tables = [line for half, by_language in counts.items() for line in _table(half, by_language)]
    if shown:
        tables += ["### Failures (dev)", "", *shown]
    failures = _failures(counts.get(Half.REPORT, {}), {source for source, target in translators if target == TARGET})
    return PartResult(tables, data, failures)


def judge(phrases: Sequence[SignPhrase], answer: Answer) -> tuple[Share, list[str], float]:
    """Ask one way for every sign.

    Returns:
        The counts, a line for each failure, and the median CPU time of a sign in milliseconds.
    """
    counts: Counter[str] = Counter()
    failures: list[str] = []
    taken: list[float] = []
    for phrase in phrases:
        start = time.thread_time()
        shown = answer(phrase)
        taken.append((time.thread_time() - start) * 1e3)
        kind = "missing" if shown is None else "right" if is_acceptable(shown, phrase) else "wrong"
        counts[kind] += 1
        if kind != "right":
            failures.append(f"{kind}: {phrase.source!r} -> {shown!r}, acceptable: {' | '.join(phrase.answers[:4])}")
    return (
        Share(counts["right"], counts["wrong"], counts["missing"]),
        failures,
        float(np.median(taken)) if taken else 0.0,
    )


def _ways(
    language: str, book: Phrasebook, translators: Translators, rivals: Mapping[tuple[str, str], str]
) -> Iterator[tuple[str, Answer]]:
    """Ways of translating signs of a language, by name."""
    engine = translators.get((language, TARGET))
    alone, together = SignTranslator(book, {}), SignTranslator(book, translators)

    def phrasebook(phrase: SignPhrase) -> str | None:
        return _complete(alone.translate_sign(phrase.source.split("\n"), source=language, target=TARGET))

    yield "phrasebook", phrasebook
    if engine is not None:
        yield "models", _through(engine, language)
    if (language, TARGET) in rivals:
        direct = ApertiumTranslator(rivals[language, TARGET], (language, TARGET))
        yield "Apertium straight", _through(direct, language)

    def trip(phrase: SignPhrase) -> str | None:
        return _complete(
            together.translate_sign(phrase.source.split("\n"), source=None, target=TARGET, expected=(language,))
        )

    yield "together", trip

    def unknown(phrase: SignPhrase) -> str | None:
        return _complete(together.translate_sign(phrase.source.split("\n"), source=None, target=TARGET))

    yield "no trip set", unknown


def _through(engine: Translator, language: str) -> Answer:
    def answer(phrase: SignPhrase) -> str | None:
        text = normalise_for_translation(phrase.source, language)
        return restore_case(engine.translate(text).text, phrase.source) or None

    return answer


def _complete(result: SignTranslation) -> str | None:
    """What is shown, where all of the sign is translated."""
    if result.engine is TranslationEngine.NONE or result.reason is not None:
        return None
    return result.translation


def _languages(wanted: str | None) -> list[str]:
    if wanted is None:
        return list(LANGUAGES)
    names = [name.strip() for name in wanted.split(",")]
    for name in names:
        if name not in LANGUAGES:
            raise UsageError(f"there are no signs in {name!r}", hint=f"Languages: {', '.join(LANGUAGES)}")
    return names


def _table(half: str, by_language: Mapping[str, Mapping[str, Share]]) -> list[str]:
    lines = [
        f"### Half {half}: share right / wrong / missing",
        "",
        "| language | signs | phrasebook | its precision | models | together | no trip language set |",
        "|---|---|---|---|---|---|---|",
    ]
    for language, ways in by_language.items():
        cells = [_cell(ways.get(name)) for name in ("models", "together", "no trip set")]
        precision = ways["phrasebook"].precision
        lines.append(
            f"| {language} | {ways['phrasebook'].total} | {_cell(ways['phrasebook'])} "
            f"| {'-' if precision is None else f'{precision:.2f}'} | {' | '.join(cells)} |"
        )
    rivals = [
        f"{language}, Apertium straight into {TARGET}: {_cell(ways['Apertium straight'])}"
        for language, ways in by_language.items()
        if "Apertium straight" in ways
    ]
    return [*lines, "", *rivals, *([""] if rivals else [])]


def _cell(share: Share | None) -> str:
    if share is None or not share.total:
        return "-"
    return " / ".join(f"{number / share.total:.2f}" for number in (share.right, share.wrong, share.missing))


def _failures(by_language: Mapping[str, Mapping[str, Share]], served: set[str]) -> list[str]:
    failures = []
    for language, ways in by_language.items():
        wanted = TARGET_WITH_PACK if language in served else TARGET_PHRASEBOOK
        together = ways["together"].accuracy
        if together < wanted:
            failures.append(f"{language}: {together:.2f} of the signs right together, not {wanted}")
        precision = ways["phrasebook"].precision
        if precision is not None and precision < TARGET_PRECISION:
            failures.append(f"{language}: precision of the phrasebook {precision:.3f}, not {TARGET_PRECISION}")
    return failures
