"""What a sign means: the one rule by which phone and cloud turn the lines of a sign into a translation.

The rule, in this order:

1. the whole sign is in the phrasebook (its lines joined by a space, or joined without);
2. a line that is a number, a price or a code is copied, and so is one that already is in the target language;
3. lines that are a phrase, or several phrases beside each other (`composition`), are taken from the phrasebook, unless
   a sentence goes on from the line before or into the line after;
4. what remains, consecutive lines joined, goes through the translator of the direction, if there is one; addresses and
   telephone numbers are copied, loops taken out, and an answer that lost a number is asked for again with a wider
   search;
5. of a sign that says the same in two languages, the line that is in the target language stands for both.

Nothing is ever invented: what none of these serves stays untranslated, with a typed reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from shared.errors import TranslatorFailed
from shared.limits import MAX_READING_LINES, MAX_TEXT_CHARACTERS
from shared.models.bergamot.translator import Translation
from shared.models.composition import compose
from shared.models.language import identify
from shared.models.phrasebook import Phrasebook, PhraseMatch
from shared.models.quality import QualityModel, QualitySignals, likeness, signals_of
from shared.models.script import LANGUAGE_SCRIPTS, Script, dominant_script
from shared.models.sign_meaning import (
    NoTranslation,
    SignTranslation,
    TranslationEngine,
    TranslationSignals,
    combine,
    least,
    merge,
)
from shared.models.sign_text import clean, goes_on, leads_on, overlap, stretches, without_loops
from shared.models.text import is_untranslatable, match_tokens, normalise_for_translation, restore_case
from shared.models.translators import Translator, Translators

__all__ = [
    "NoTranslation",
    "SignTranslation",
    "SignTranslator",
    "TranslationEngine",
    "TranslationSignals",
    "combine",
]

PHRASEBOOK_TARGET: Final = "en"
"""The phrasebook translates into English only."""
PHRASEBOOK_PACK: Final = "phrasebook"
"""Pack name of a translation that came from the phrasebook alone."""
COPY_WORDS: Final = 3
"""Words a line needs before an identifier alone is trusted to say that it is in another language than its sign."""
COPY_PROBABILITY: Final = 0.9
"""How sure the identifier must be of that."""
RETRY_BEAM: Final = 4
"""Width of the search when the first answer lost a number, repeats itself or is empty."""
UNSURE: Final = 0.6
"""Below this estimate the way back is tried, where it is allowed."""
SAME_OVERLAP: Final = 0.5
"""Share of common words from which a line in the target language says what a translated line says."""
_PHRASE_LINES: Final = 3


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of a sign and the language it is in, which may be another than the sign's."""

    text: str
    language: str | None


@dataclass(frozen=True, slots=True)
class _Piece:
    """One line, or consecutive lines translated together. `engine` NONE: `text` is the source, kept."""

    text: str
    engine: TranslationEngine
    language: str | None = None
    reason: NoTranslation | None = None
    phrase: PhraseMatch | None = None
    translations: tuple[Translation, ...] = ()
    quality: float | None = None


class SignTranslator:
    """Translates signs with a phrasebook in front of translators. Keeps nothing between calls.

    Args:
        phrasebook: looked up first.
        translators: one for each (source, target) direction that something serves, ISO 639-1 codes; see
            `translators.load_translators`.
        check_back: whether an unsure translation is translated back, where the reverse direction is there: twice the
            work for a better estimate of its quality.
        quality: estimates P(acceptable); None for the one that ships.
    """

    def __init__(
        self,
        phrasebook: Phrasebook,
        translators: Translators,
        *,
        check_back: bool = False,
        quality: QualityModel | None = None,
    ) -> None:
        self._phrasebook = phrasebook
        self._translators = dict(translators)
        self._check_back = check_back
        self._quality = QualityModel.builtin() if quality is None else quality

    @property
    def targets(self) -> frozenset[str]:
        """Languages that at least one translator or the phrasebook translates into."""
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
            lines: in reading order; blank lines are ignored, and so is what comes after `MAX_READING_LINES`, with the
                reason TEXT_TOO_LONG. Control characters count as spaces.
            source: language of the sign if it is known; ignored when the script of the text contradicts it.
            target: language wanted.
            beam: width of the translator's search, 1 for greedy.
            expected: languages likely here, to help identification of short text.

        Returns:
            The translation, or engine NONE with the reason.

        Raises:
            PackError: a translator's model failed. A failed process counts as no answer.
        """
        kept = [text for line in lines if (text := clean(line[: 4 * MAX_TEXT_CHARACTERS]))]
        if not kept:
            return SignTranslation("", TranslationEngine.NONE, NoTranslation.NO_TEXT)
        left, kept = kept[MAX_READING_LINES:], kept[:MAX_READING_LINES]
        sign = "\n".join(kept)[:MAX_TEXT_CHARACTERS]
        if source is not None and not _script_fits(source, sign):
            source = None

        whole = None if left else self._phrase_for_sign(kept, source, target, expected)
        if whole is not None:
            piece = _Piece(whole.translation, TranslationEngine.PHRASEBOOK, whole.language, phrase=whole)
            return self._assemble([piece], whole.language, None if source else whole.score, target)
        if all(len(line) <= MAX_TEXT_CHARACTERS and is_untranslatable(line) for line in kept) and not left:
            return SignTranslation("\n".join(kept), TranslationEngine.COPY, source=source)

        language, probability = source, None
        if language is None:
            guess = identify(sign, phrasebook=self._phrasebook, expected=expected)
            language, probability = guess.language, guess.probability
        alone = len(kept) == 1
        told = [_Line(line, language if alone else self._language_of(line, language, target)) for line in kept]
        pieces = _without_repeats(self._pieces(told, target, beam, expected), target)
        if left:
            pieces.append(_Piece("\n".join(left), TranslationEngine.NONE, language, NoTranslation.TEXT_TOO_LONG))
        return self._assemble(pieces, language, probability, target)

    def _language_of(self, line: str, language: str | None, target: str) -> str | None:
        """The language of one line: the sign's, unless the line is plainly in another, as on bilingual signs."""
        if len(line) > MAX_TEXT_CHARACTERS or is_untranslatable(line):
            return language
        if language is not None and not _script_fits(language, line):
            return identify(line, phrasebook=self._phrasebook, expected=(target,)).language
        homes = self._phrasebook.exact_languages(line)
        if language in homes:
            return language
        tokens = match_tokens(line)
        english = self._phrasebook.words(PHRASEBOOK_TARGET)
        foreign = self._phrasebook.words(language) if language is not None else frozenset()
        # A lone word is believed to be English only where it is a word of the phrasebook's English and no other.
        plain = target == PHRASEBOOK_TARGET and all(word in english and word not in foreign for word in tokens)
        if not (homes or plain or len(line.split()) >= COPY_WORDS):
            return language
        guess = identify(line, phrasebook=self._phrasebook, expected=(language, target) if language else (target,))
        if guess.language is None or guess.probability < COPY_PROBABILITY:
            return language
        return guess.language

    def _pieces(self, lines: Sequence[_Line], target: str, beam: int, expected: Sequence[str]) -> list[_Piece]:
        """Every line served by the first rule that fits; the remaining ones in runs of one language."""
        pieces: list[_Piece] = []
        run: list[_Line] = []

        def end_run() -> None:
            if run:
                pieces.append(self._translate_run([line.text for line in run], run[0].language, target, beam))
                run.clear()

        index = 0
        while index < len(lines):
            line = lines[index]
            served, count = self._serve(lines, index, target, expected)
            full = len("\n".join([*(item.text for item in run), line.text])) > MAX_TEXT_CHARACTERS
            if served is not None or (run and (full or run[0].language != line.language)):
                end_run()
            if served is not None:
                pieces.append(served)
            else:
                run.append(line)
            index += count
        end_run()
        return pieces

    def _serve(
        self, lines: Sequence[_Line], index: int, target: str, expected: Sequence[str]
    ) -> tuple[_Piece | None, int]:
        """A line, or a few, without the translator, and how many they are; None and 1 where that cannot be."""
        line = lines[index]
        if len(line.text) > MAX_TEXT_CHARACTERS:
            return None, 1
        if is_untranslatable(line.text) or (line.language is not None and line.language == target):
            return _Piece(line.text, TranslationEngine.COPY, line.language), 1
        if index and _one_sentence(lines[index - 1], line):
            return None, 1
        for count in range(min(_PHRASE_LINES, len(lines) - index), 0, -1):
            members = lines[index : index + count]
            if any(item.language != line.language for item in members):
                continue
            following = lines[index + count] if index + count < len(lines) else None
            if (
                following is not None
                and _one_sentence(members[-1], following)
                and not leads_on(following.text, line.language)
            ):
                continue
            match = self._phrase_of([item.text for item in members], line.language, target, expected)
            if match is not None:
                return _Piece(match.translation, TranslationEngine.PHRASEBOOK, match.language, phrase=match), count
        return None, 1

    def _phrase_of(
        self, lines: Sequence[str], language: str | None, target: str, expected: Sequence[str]
    ) -> PhraseMatch | None:
        """Lines as one phrase, or a line as several."""
        match = self._phrase_for_sign(lines, language, target, expected)
        if match is not None or len(lines) > 1 or language is None or target != PHRASEBOOK_TARGET:
            return match
        return compose(self._phrasebook, lines[0], language=language, expected=expected)

    def _translate_run(self, run: Sequence[str], language: str | None, target: str, beam: int) -> _Piece:
        """Consecutive lines through the translator; engine NONE with the source lines where it cannot serve."""
        kept = "\n".join(run)

        def unserved(reason: NoTranslation) -> _Piece:
            return _Piece(kept, TranslationEngine.NONE, language, reason)

        if language is None:
            return unserved(NoTranslation.LANGUAGE_UNKNOWN)
        engine = self._translators.get((language, target))
        if engine is None:
            return unserved(NoTranslation.DIRECTION_UNSUPPORTED)
        if len(kept) > MAX_TEXT_CHARACTERS:
            return unserved(NoTranslation.TEXT_TOO_LONG)
        shown: list[str] = []
        translations: list[Translation] = []
        qualities: list[float] = []
        for stretch in stretches(normalise_for_translation(kept, language)):
            if stretch.copied or is_untranslatable(stretch.text):
                shown.append(stretch.text)
                continue
            try:
                translation, quality = self._translate(engine, stretch.text, (language, target), beam)
            except TranslatorFailed:
                # A process that is not Wayword's own: without its answer the sign stays as it is, and says so.
                return unserved(NoTranslation.NO_OUTPUT)
            text = restore_case(translation.text, stretch.text)
            if not text:
                return unserved(NoTranslation.NO_OUTPUT)
            shown.append(text)
            translations.append(translation)
            qualities.append(quality)
        return _Piece(
            " ".join(shown),
            TranslationEngine.TRANSLATOR if translations else TranslationEngine.COPY,
            language,
            translations=tuple(translations),
            quality=min(qualities, default=None),
        )

    def _translate(
        self, engine: Translator, text: str, direction: tuple[str, str], beam: int
    ) -> tuple[Translation, float]:
        """One text through a translator, asked again where the answer is plainly damaged; with P(acceptable)."""
        translation = engine.translate(text, beam=beam)
        signals = self._signals(text, translation, direction)
        if beam < RETRY_BEAM and _damage(signals, translation):
            again = engine.translate(text, beam=RETRY_BEAM)
            other = self._signals(text, again, direction)
            if _damage(other, again) < _damage(signals, translation):
                translation, signals = again, other
        pivot = "+" in engine.pack.name
        quality = self._quality.probability(signals, pivot=pivot)
        back = self._translators.get(direction[::-1])
        if self._check_back and back is not None and quality < UNSURE and not pivot:
            returned = back.translate(translation.text).text
            quality = self._quality.probability(replace(signals, back=likeness(text, returned)), pivot=False)
        return replace(
            translation, text=without_loops(translation.text) if signals.looped else translation.text
        ), quality

    def _signals(self, text: str, translation: Translation, direction: tuple[str, str]) -> QualitySignals:
        return signals_of(text, translation, direction, self._phrasebook)

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
        if target != PHRASEBOOK_TARGET:
            return None
        return self._phrasebook.lookup(text, language=language, expected=expected)

    def _assemble(
        self, pieces: Sequence[_Piece], language: str | None, probability: float | None, target: str
    ) -> SignTranslation:
        reason = next((piece.reason for piece in pieces if piece.reason is not None), None)
        engine = merge(piece.engine for piece in pieces)
        phrases = [piece.phrase for piece in pieces if piece.phrase is not None]
        if language is None and phrases:
            best = max(phrases, key=lambda match: match.score)
            language, probability = best.language, best.score
        if engine is TranslationEngine.NONE:
            return SignTranslation("", engine, reason, source=language, language_probability=probability)
        log_probabilities = [
            value
            for piece in pieces
            for translation in piece.translations
            for value in translation.token_log_probabilities
        ]
        signals = TranslationSignals(
            sum(log_probabilities) / len(log_probabilities) if log_probabilities else None,
            min(log_probabilities, default=None),
            min((match.score for match in phrases), default=None),
            least(piece.quality for piece in pieces),
        )
        name, version = PHRASEBOOK_PACK if phrases else "", ""
        translated = next((piece.language for piece in pieces if piece.engine is TranslationEngine.TRANSLATOR), None)
        if translated is not None:
            pack = self._translators[translated, target].pack
            name, version = pack.name, pack.version
        text = "\n".join(piece.text for piece in pieces)
        return SignTranslation(text, engine, reason, language, probability, signals, name, version)


def _one_sentence(line: _Line, following: _Line) -> bool:
    """Whether a sentence goes on from one line into the next."""
    return line.language == following.language and goes_on(line.text, following.text, line.language)


def _damage(signals: QualitySignals, translation: Translation) -> int:
    """What is plainly wrong with an answer, counted."""
    return (not translation.text.strip()) * 3 + (not signals.digits_kept) * 2 + signals.looped


def _without_repeats(pieces: Sequence[_Piece], target: str) -> list[_Piece]:
    """The pieces of a sign in several languages, each thing said once: in the target language where that is there."""
    languages = {piece.language for piece in pieces if piece.language is not None}
    if len(languages) < 2:
        return list(pieces)
    own = [piece for piece in pieces if piece.language == target and piece.engine is TranslationEngine.COPY]
    kept: list[_Piece] = []
    for piece in pieces:
        foreign = piece.language is not None and piece.language != target
        translated = piece.engine not in {TranslationEngine.NONE, TranslationEngine.COPY}
        if foreign and translated and any(overlap(piece.text, other.text) >= SAME_OVERLAP for other in own):
            continue
        said = any(
            other.language != piece.language and match_tokens(other.text) == match_tokens(piece.text) for other in kept
        )
        if not (foreign and translated and said):
            kept.append(piece)
    return kept


def _script_fits(language: str, text: str) -> bool:
    """Whether text may be in a language, judged by its script alone."""
    script = dominant_script(text)
    if script in {Script.COMMON, Script.OTHER}:
        return True
    return script in LANGUAGE_SCRIPTS.get(language, frozenset({Script.LATIN}))
