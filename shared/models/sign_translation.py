"""What a sign means: the one rule by which phone and cloud turn the lines of a sign into a translation.

The rule, in this order:

1. the whole sign is in the phrasebook (its lines joined by a space, or joined without);
2. a line that is a number, a price or a code is copied;
3. a line that is in the phrasebook is taken from there;
4. a line that already is in the target language is copied;
5. what remains, consecutive lines joined, goes through the translator of the direction, if there is one.

Nothing is ever invented: what none of these serves stays untranslated, with a typed reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from shared.limits import MAX_TEXT_CHARACTERS
from shared.models.bergamot.translator import BergamotTranslator, Translation
from shared.models.language import identify
from shared.models.phrasebook import Phrasebook, PhraseMatch
from shared.models.script import LANGUAGE_SCRIPTS, Script, dominant_script
from shared.models.text import is_untranslatable, normalise_for_translation, restore_case

PHRASEBOOK_TARGET: Final = "en"
"""The phrasebook translates into English only."""
PHRASEBOOK_PACK: Final = "phrasebook"
"""Pack name of a translation that came from the phrasebook alone."""
COPY_WORDS: Final = 3
"""Words a line needs before an identifier is trusted to say that it already is in the target language."""
COPY_PROBABILITY: Final = 0.9
"""How sure the identifier must be before one line of a sign in another language is copied."""


class TranslationEngine(StrEnum):
    """What produced a translation."""

    NONE = "none"
    """Nothing could: the translation is empty."""
    PHRASEBOOK = "phrasebook"
    TRANSLATOR = "translator"
    COPY = "copy"
    """Already in the target language, or a number or a code: shown as it is."""
    MIXED = "mixed"
    """Lines of one sign came from different engines."""


class NoTranslation(StrEnum):
    """Why a sign, or some lines of it, could not be translated."""

    NO_TEXT = "no_text"
    LANGUAGE_UNKNOWN = "language_unknown"
    DIRECTION_UNSUPPORTED = "direction_unsupported"
    TEXT_TOO_LONG = "text_too_long"
    NO_OUTPUT = "no_output"
    """The translator answered with nothing."""


@dataclass(frozen=True, slots=True)
class TranslationSignals:
    """Raw signs of how good a translation is, for calibration; None where the engine did not run.

    Attributes:
        mean_log_probability: natural log, mean over all target tokens of all translated lines.
        minimum_log_probability: natural log, the least sure target token.
        phrase_score: 0..1, the worst of the phrasebook matches used.
    """

    mean_log_probability: float | None = None
    minimum_log_probability: float | None = None
    phrase_score: float | None = None


@dataclass(frozen=True, slots=True)
class SignTranslation:
    """The meaning of one sign.

    Attributes:
        translation: translated lines joined by "\\n"; lines that were translated together stand as one. Empty when
            `engine` is NONE.
        engine: what produced it.
        reason: None when every line is served. Otherwise why not: with engine NONE nothing is translated, with any
            other engine the lines that could not be translated stand in `translation` as they were read.
        source: language of the sign, ISO 639-1; None when unknown, or when nothing on it is in any language.
        language_probability: of `source`; None when the caller stated the language or identification did not run.
        signals: raw signals behind the translation.
        pack_name: translation pack, or "phrasebook"; empty for COPY and NONE.
        pack_version: of the pack; empty for the phrasebook.
    """

    translation: str
    engine: TranslationEngine
    reason: NoTranslation | None = None
    source: str | None = None
    language_probability: float | None = None
    signals: TranslationSignals = TranslationSignals()
    pack_name: str = ""
    pack_version: str = ""


@dataclass(frozen=True, slots=True)
class _Piece:
    """One line, or consecutive lines translated together. `engine` NONE: `text` is the source, kept."""

    text: str
    engine: TranslationEngine
    reason: NoTranslation | None = None
    phrase: PhraseMatch | None = None
    translation: Translation | None = None


class SignTranslator:
    """Translates signs with a phrasebook in front of translation packs. Keeps nothing between calls.

    Args:
        phrasebook: looked up first.
        translators: one for each (source, target) direction that has a pack, ISO 639-1 codes.
    """

    def __init__(self, phrasebook: Phrasebook, translators: Mapping[tuple[str, str], BergamotTranslator]) -> None:
        self._phrasebook = phrasebook
        self._translators = dict(translators)

    @property
    def targets(self) -> frozenset[str]:
        """Languages that at least one pack or the phrasebook translates into."""
        return frozenset({PHRASEBOOK_TARGET, *(target for _, target in self._translators)})

    def translate_sign(
        self,
        lines: Sequence[str],
        *,
        source: str | None,
        target: str,
        beam: int = 1,
        expected: Sequence[str] = (),
    ) -> SignTranslation:
        """Translate the lines of one sign.

        Args:
            lines: in reading order; blank lines are ignored.
            source: language of the sign if it is known; ignored when the script of the text contradicts it.
            target: language wanted.
            beam: width of the translator's search, 1 for greedy.
            expected: languages likely here, to help identification of short text.

        Returns:
            The translation, or engine NONE with the reason.

        Raises:
            PackError: a translator's model failed.
        """
        kept = [line.strip() for line in lines if line.strip()]
        if not kept:
            return SignTranslation("", TranslationEngine.NONE, NoTranslation.NO_TEXT)
        sign = "\n".join(kept)
        if source is not None and not _script_fits(source, sign):
            source = None

        whole = self._phrase_for_sign(kept, source, target, expected)
        if whole is not None:
            piece = _Piece(whole.translation, TranslationEngine.PHRASEBOOK, phrase=whole)
            return self._assemble([piece], whole.language, None if source else whole.score, target)
        if all(is_untranslatable(line) for line in kept):
            return SignTranslation("\n".join(kept), TranslationEngine.COPY, source=source)

        language, probability = source, None
        if language is None:
            guess = identify(sign, phrasebook=self._phrasebook, expected=expected)
            language, probability = guess.language, guess.probability
        pieces = self._pieces(kept, language, target, beam, expected)
        return self._assemble(pieces, language, probability, target)

    def _pieces(
        self, lines: Sequence[str], language: str | None, target: str, beam: int, expected: Sequence[str]
    ) -> list[_Piece]:
        """Every line served by the first rule that fits; the remaining ones in runs."""
        pieces: list[_Piece] = []
        run: list[str] = []
        for line in lines:
            served = self._serve_line(line, language, target, expected)
            if served is None and run and len("\n".join([*run, line])) > MAX_TEXT_CHARACTERS:
                pieces.append(self._translate_run(run, language, target, beam))
                run = []
            if served is None:
                run.append(line)
                continue
            if run:
                pieces.append(self._translate_run(run, language, target, beam))
                run = []
            pieces.append(served)
        if run:
            pieces.append(self._translate_run(run, language, target, beam))
        return pieces

    def _serve_line(self, line: str, language: str | None, target: str, expected: Sequence[str]) -> _Piece | None:
        """The line without the translator, or None."""
        if is_untranslatable(line) or language == target:
            return _Piece(line, TranslationEngine.COPY)
        phrase = self._phrase(line, language, target, expected)
        if phrase is not None:
            return _Piece(phrase.translation, TranslationEngine.PHRASEBOOK, phrase=phrase)
        if language is not None and len(line.split()) >= COPY_WORDS:
            # Bilingual signs: "Favor não fumar" above "Please do not smoke".
            guess = identify(line, phrasebook=self._phrasebook, expected=(language, target))
            if guess.language == target and guess.probability >= COPY_PROBABILITY:
                return _Piece(line, TranslationEngine.COPY)
        return None

    def _translate_run(self, run: Sequence[str], language: str | None, target: str, beam: int) -> _Piece:
        """Consecutive lines through the translator; engine NONE with the source lines where it cannot serve."""
        kept = "\n".join(run)
        if language is None:
            return _Piece(kept, TranslationEngine.NONE, NoTranslation.LANGUAGE_UNKNOWN)
        translator = self._translators.get((language, target))
        if translator is None:
            return _Piece(kept, TranslationEngine.NONE, NoTranslation.DIRECTION_UNSUPPORTED)
        if len(kept) > MAX_TEXT_CHARACTERS:
            return _Piece(kept, TranslationEngine.NONE, NoTranslation.TEXT_TOO_LONG)
        translation = translator.translate(normalise_for_translation(kept, language), beam=beam)
        shown = restore_case(translation.text, kept)
        if not shown:
            return _Piece(kept, TranslationEngine.NONE, NoTranslation.NO_OUTPUT)
        return _Piece(shown, TranslationEngine.TRANSLATOR, translation=translation)

    def _phrase_for_sign(
        self, lines: Sequence[str], source: str | None, target: str, expected: Sequence[str]
    ) -> PhraseMatch | None:
        # Both ways of joining are tried: Japanese breaks lines inside words, other languages between them.
        matches = [
            match
            for text in dict.fromkeys((" ".join(lines), "".join(lines)))
            if (match := self._phrase(text, source, target, expected)) is not None
        ]
        return max(matches, key=lambda match: match.score, default=None)

    def _phrase(self, text: str, language: str | None, target: str, expected: Sequence[str]) -> PhraseMatch | None:
        """The phrase that a text is: of the language; else an exact one of any, because signs mix languages and
        identification of short text errs."""
        if target != PHRASEBOOK_TARGET:
            return None
        match = self._phrasebook.lookup(text, language=language, expected=expected)
        if match is None and language is not None:
            anywhere = self._phrasebook.lookup(text, expected=expected)
            match = anywhere if anywhere is not None and anywhere.exact else None
        return match

    def _assemble(
        self, pieces: Sequence[_Piece], language: str | None, probability: float | None, target: str
    ) -> SignTranslation:
        """One answer from its pieces."""
        reason = next((piece.reason for piece in pieces if piece.reason is not None), None)
        engine = _merge(piece.engine for piece in pieces)
        phrases = [piece.phrase for piece in pieces if piece.phrase is not None]
        if language is None and phrases:
            best = max(phrases, key=lambda match: match.score)
            language, probability = best.language, best.score
        if engine is TranslationEngine.NONE:
            return SignTranslation("", engine, reason, source=language, language_probability=probability)
        log_probabilities = [
            value for piece in pieces if piece.translation for value in piece.translation.token_log_probabilities
        ]
        signals = TranslationSignals(
            sum(log_probabilities) / len(log_probabilities) if log_probabilities else None,
            min(log_probabilities, default=None),
            min((match.score for match in phrases), default=None),
        )
        name, version = PHRASEBOOK_PACK if phrases else "", ""
        if language is not None and any(piece.engine is TranslationEngine.TRANSLATOR for piece in pieces):
            pack = self._translators[language, target].pack
            name, version = pack.name, pack.version
        text = "\n".join(piece.text for piece in pieces)
        return SignTranslation(text, engine, reason, language, probability, signals, name, version)


def combine(translations: Sequence[SignTranslation]) -> SignTranslation:
    """One answer for a picture that holds several signs, such as a whole frame.

    Args:
        translations: of each sign, in reading order.

    Returns:
        Their non-empty translations joined by "\\n". Language and pack are the first sign's that has one, signals the
        worst of all; `reason` is the first that any sign has.
    """
    if not translations:
        return SignTranslation("", TranslationEngine.NONE, NoTranslation.NO_TEXT)
    if len(translations) == 1:
        return translations[0]
    named = next((item for item in translations if item.pack_name), translations[0])
    spoken = next((item for item in translations if item.source is not None), translations[0])
    signals = [item.signals for item in translations]
    return SignTranslation(
        translation="\n".join(item.translation for item in translations if item.translation),
        engine=_merge(item.engine for item in translations),
        reason=next((item.reason for item in translations if item.reason is not None), None),
        source=spoken.source,
        language_probability=spoken.language_probability,
        signals=TranslationSignals(
            _least(item.mean_log_probability for item in signals),
            _least(item.minimum_log_probability for item in signals),
            _least(item.phrase_score for item in signals),
        ),
        pack_name=named.pack_name,
        pack_version=named.pack_version,
    )


def _least(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _merge(engines: Iterable[TranslationEngine]) -> TranslationEngine:
    """One engine for many: copies and gaps do not make a translation mixed, two translating engines do."""
    kinds = set(engines)
    translating = kinds - {TranslationEngine.COPY, TranslationEngine.NONE}
    if len(translating) > 1:
        return TranslationEngine.MIXED
    if translating:
        return translating.pop()
    return TranslationEngine.NONE if TranslationEngine.NONE in kinds else TranslationEngine.COPY


def _script_fits(language: str, text: str) -> bool:
    """Whether text may be in a language, judged by its script alone."""
    script = dominant_script(text)
    if script in {Script.COMMON, Script.OTHER}:
        return True
    return script in LANGUAGE_SCRIPTS.get(language, frozenset({Script.LATIN}))
