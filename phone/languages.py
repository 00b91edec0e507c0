"""What works offline, language by language: what the installed packs, programs and phrases serve, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from babel import Locale, UnknownLocaleError

from shared.errors import WaywordError
from shared.models.manifest import PackManifest, Task
from shared.models.phrasebook import Phrasebook
from shared.models.script import LANGUAGE_SCRIPTS, Script, alphabet_scripts
from shared.models.sign_translation import PHRASEBOOK_TARGET, SignTranslator
from shared.models.translators import Direction, EngineKind, Route, Translators

READABLE: Final = 0.98
"""Share of a language's letters a recogniser must know before its signs count as readable."""
_MEASURES: Final = {"bleu": "BLEU", "chrf": "chrF", "comet": "COMET"}
"""Figures of a translation pack's card that are shown."""


@dataclass(frozen=True, slots=True)
class OfflineDirection:
    """One direction that works without any network.

    Attributes:
        source: language of the text, ISO 639-1.
        target: language of the translation.
        engine: what serves any text: a pack, two packs or another engine joined by "+"; None when only the phrasebook's
            signs are served.
        quality: what the cards of its packs say that they are worth; empty where nothing was measured.
        phrases: common signs in the phrasebook, variants included.
        templates: its phrases with values in them.
        sample: a text of that language to try the direction with.
    """

    source: str
    target: str
    engine: str | None
    quality: str
    phrases: int
    templates: int
    sample: str


@dataclass(frozen=True, slots=True)
class LanguageReport:
    """What can be done with a language here and now, without any network.

    Attributes:
        language: ISO 639-1 code.
        name: in English.
        recogniser: pack name of the best installed recogniser; None when none is installed.
        letters_read: share of the letters of that language's common signs that this recogniser knows, 0..1; None when
            there is nothing to judge by.
        script_read: whether it can write the language's script at all; a reading in another one is withheld.
        reading_quality: what the card of the recogniser says that it is worth; empty where nothing was measured.
        directions: into which languages it is translated.
    """

    language: str
    name: str
    recogniser: str | None
    letters_read: float | None
    script_read: bool
    reading_quality: str
    directions: tuple[OfflineDirection, ...]

    @property
    def readable(self) -> bool:
        """Whether signs in the language can be read, not only typed text translated."""
        return self.script_read and (self.letters_read is None or self.letters_read >= READABLE)


def offline_languages(
    manifests: Sequence[PackManifest],
    phrasebook: Phrasebook,
    alphabets: Mapping[str, frozenset[str]],
    routes: Mapping[Direction, Route],
) -> list[LanguageReport]:
    """Every language that something is translated from, sorted by its code.

    Args:
        manifests: of the installed packs.
        phrasebook: its languages translate into English.
        alphabets: characters each installed recogniser can output, by pack name.
        routes: how each direction of any text is served, as `translators.routes` says.
    """
    texts: dict[str, list[str]] = {language: [] for language in phrasebook.languages}
    english: list[str] = []
    for phrase in phrasebook:
        texts[phrase.language].append(phrase.source)
        english.append(phrase.translation)
    templates = dict.fromkeys(texts, 0)
    for template in phrasebook.templates:
        templates[template.language] += 1
    cards = {manifest.name: manifest.card for manifest in manifests}
    packs = {
        manifest.direction: manifest.name
        for manifest in manifests
        if manifest.task is Task.TRANSLATION and manifest.direction is not None
    }
    directions = {*routes, *((language, PHRASEBOOK_TARGET) for language in texts)}
    everything = {**texts, PHRASEBOOK_TARGET: english}
    reports = []
    for language in sorted({source for source, _ in directions}):
        sample = next(iter(everything.get(language, ())), "") or language_name(language, language)
        served = []
        for target in sorted(target for source, target in directions if source == language):
            route = routes.get((language, target))
            phrases = texts.get(language, []) if target == PHRASEBOOK_TARGET else []
            served.append(
                OfflineDirection(
                    language,
                    target,
                    None if route is None else "+".join(_step_name(step.kind, step.direction, packs) for step in route),
                    "" if route is None else _route_quality(route, packs, cards),
                    len(phrases),
                    templates.get(language, 0) if phrases else 0,
                    sample,
                )
            )
        reports.append(_report(language, everything.get(language, []), alphabets, cards, tuple(served)))
    return reports


def language_name(language: str, in_language: str = PHRASEBOOK_TARGET) -> str:
    """Name of a language in a language, from the CLDR; its code where the CLDR has none."""
    try:
        return str(Locale.parse(in_language).languages.get(language, language))
    except (UnknownLocaleError, ValueError):
        return language


def describe(report: LanguageReport) -> list[str]:
    """Lines that a person understands: the language and how it is read, then one for each direction."""
    lines = [f"{report.language}  {report.name}: {_reading(report)}"]
    for direction in report.directions:
        served = []
        if direction.engine is not None:
            quality = direction.quality or "not measured"
            served.append(f"any text ({direction.engine}; {quality})")
        if direction.phrases:
            signs = f"{direction.phrases} common signs and {direction.templates} patterns"
            served.append(signs + ("" if direction.engine else " only"))
        lines.append(f"    {direction.source} -> {direction.target}  offline: {', '.join(served)}")
    return lines


def as_json(report: LanguageReport, checks: Mapping[Direction, Check] | None = None) -> dict[str, Any]:
    """The same for programs.

    Args:
        report: of one language.
        checks: what came of trying its directions; None where nobody tried.
    """
    directions = []
    for item in report.directions:
        entry: dict[str, Any] = {
            "target": item.target,
            "offline": True,
            "engine": item.engine,
            "quality": item.quality or None,
            "phrases": item.phrases,
            "templates": item.templates,
        }
        if checks is not None:
            check = checks[item.source, item.target]
            entry["check"] = {"text": item.sample, "translations": list(check.translations), "works": check.works}
        directions.append(entry)
    return {
        "language": report.language,
        "name": report.name,
        "reading": {
            "readable": report.readable,
            "recogniser": report.recogniser,
            "letters": report.letters_read,
            "script": report.script_read,
            "quality": report.reading_quality or None,
        },
        "directions": directions,
    }


@dataclass(frozen=True, slots=True)
class Check:
    """What came of trying a direction.

    Attributes:
        translations: of its sample, by the phrasebook and by the engine, as far as it has them.
        works: whether all that is declared answered.
    """

    translations: tuple[str, ...]
    works: bool


def check(direction: OfflineDirection, phrasebook: Phrasebook, translators: Translators) -> Check:
    """Try the phrasebook and the engine of one direction with its sample.

    Args:
        direction: as declared.
        phrasebook: what the declaration was made of.
        translators: likewise.
    """
    found: list[str] = []
    wanted = 0
    if direction.phrases:
        wanted += 1
        result = SignTranslator(phrasebook, {}).translate_sign(
            [direction.sample], source=direction.source, target=direction.target
        )
        found.append(result.translation)
    if direction.engine is not None:
        wanted += 1
        engine = translators.get((direction.source, direction.target))
        try:
            found.append(engine.translate(direction.sample).text if engine is not None else "")
        except WaywordError as error:
            found.append(f"({error.message})")
            return Check(tuple(found), works=False)
    shown = tuple(text for text in found if text.strip())
    return Check(shown, works=len(shown) == wanted > 0)


def _report(
    language: str,
    texts: Sequence[str],
    alphabets: Mapping[str, frozenset[str]],
    cards: Mapping[str, Mapping[str, object]],
    directions: tuple[OfflineDirection, ...],
) -> LanguageReport:
    letters = [character for text in texts for character in text if character.isalpha()]
    scripts = LANGUAGE_SCRIPTS.get(language, frozenset({Script.LATIN}))

    def share(alphabet: Collection[str]) -> float | None:
        return sum(letter in alphabet for letter in letters) / len(letters) if letters else None

    def worth(name: str) -> tuple[bool, float, float]:
        return scripts <= alphabet_scripts(alphabets[name]), share(alphabets[name]) or 0.0, _exact_lines(cards, name)

    best = max(sorted(alphabets), key=worth, default=None)
    exact = 0.0 if best is None else _exact_lines(cards, best)
    return LanguageReport(
        language=language,
        name=language_name(language),
        recogniser=best,
        letters_read=None if best is None else share(alphabets[best]),
        script_read=best is not None and scripts <= alphabet_scripts(alphabets[best]),
        reading_quality=f"{exact:.2f} of lines exact" if exact else "",
        directions=directions,
    )


def _exact_lines(cards: Mapping[str, Mapping[str, object]], name: str) -> float:
    """The best share of lines read exactly that a recogniser's card has; 0 without one."""
    figures = cards.get(name, {}).get("exact_lines")
    if not isinstance(figures, Mapping):
        return 0.0
    return max((float(value) for value in figures.values() if isinstance(value, (int, float))), default=0.0)


def _step_name(kind: EngineKind, direction: Direction, packs: Mapping[Direction, str]) -> str:
    return packs[direction] if kind is EngineKind.PACK else f"{kind.value}-{direction[0]}-{direction[1]}"


def _route_quality(route: Route, packs: Mapping[Direction, str], cards: Mapping[str, Mapping[str, object]]) -> str:
    """Figures of a route of one pack; a route of two steps is worth less than either, and was not measured."""
    if len(route) > 1 or route[0].kind is not EngineKind.PACK:
        return ""
    found = []
    for key, figures in cards[packs[route[0].direction]].items():
        if isinstance(figures, Mapping):
            shown = [
                f"{name} {figures[measure]:g}"
                for measure, name in _MEASURES.items()
                if isinstance(figures.get(measure), (int, float))
            ]
            if shown:
                found.append(f"{', '.join(shown)} on {key.replace('_', ' ')}")
    return "; ".join(found)


def _reading(report: LanguageReport) -> str:
    if report.recogniser is None:
        return "signs not readable: no recogniser is installed"
    if not report.script_read:
        return "signs not readable offline: no installed recogniser knows the script"
    letters = "" if report.letters_read is None else f", knows {report.letters_read:.1%} of the letters"
    quality = f", {report.reading_quality}" if report.reading_quality else ""
    readable = "signs readable" if report.readable else "signs partly readable"
    return f"{readable} ({report.recogniser}{letters}{quality})"
