"""The rule that phone and cloud share: phrasebook first, then the translator, and never an invention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from shared.errors import TranslatorFailed
from shared.limits import MAX_TEXT_CHARACTERS
from shared.models.bergamot.translator import Translation
from shared.models.phrasebook import Phrasebook
from shared.models.sign_translation import NoTranslation, SignTranslator, TranslationEngine, combine

Direction = tuple[str, str]


@dataclass(frozen=True)
class FakePack:
    name: str
    version: str = "1.2"


class FakeTranslator:
    """A translator that says what it was asked, and remembers it."""

    def __init__(self, *direction: str, answer: str | None = None, log_probabilities: tuple[float, ...] = (-0.1, -0.5)):
        self.pack = FakePack("mt-" + "-".join(direction))
        self.asked: list[tuple[str, int]] = []
        self._answer = answer
        self._log_probabilities = log_probabilities

    def translate(self, text: str, *, beam: int = 1) -> Translation:
        self.asked.append((text, beam))
        return Translation(f"<{text}>" if self._answer is None else self._answer, self._log_probabilities, len(text))


@pytest.fixture
def pt_en() -> FakeTranslator:
    return FakeTranslator("pt", "en")


def signs(translators: Mapping[Direction, FakeTranslator]) -> SignTranslator:
    return SignTranslator(Phrasebook.builtin(), translators)


def test_the_whole_sign_is_looked_up_first(pt_en: FakeTranslator) -> None:
    for lines in (["SAÍDA DE", "EMERGÊNCIA"], ["Saída", "de", "emergência"]):
        answer = signs({("pt", "en"): pt_en}).translate_sign(lines, source="pt", target="en")
        assert answer.translation == "Emergency exit"
        assert (answer.engine, answer.reason, answer.pack_name) == (TranslationEngine.PHRASEBOOK, None, "phrasebook")
        assert answer.signals.phrase_score is not None
        assert answer.signals.mean_log_probability is None
    assert pt_en.asked == []


def test_a_japanese_phrase_broken_inside_a_word_is_found() -> None:
    answer = signs({}).translate_sign(["立入", "禁止"], source="ja", target="en")
    assert (answer.engine, answer.source) == (TranslationEngine.PHRASEBOOK, "ja")
    assert answer.translation


def test_a_phrase_names_the_language_that_was_unknown() -> None:
    answer = signs({}).translate_sign(["Notausgang"], source=None, target="en")
    assert (answer.engine, answer.source) == (TranslationEngine.PHRASEBOOK, "de")
    assert answer.language_probability is not None


def test_consecutive_lines_go_through_the_translator_as_one(pt_en: FakeTranslator) -> None:
    answer = signs({("pt", "en"): pt_en}).translate_sign(
        ["O ELEVADOR ESTÁ", "PARADO PARA", "CONSERTO"], source="pt", target="en", beam=4
    )
    assert pt_en.asked == [("O elevador está parado para conserto", 4)]
    assert answer.engine is TranslationEngine.TRANSLATOR
    assert (answer.pack_name, answer.pack_version) == ("mt-pt-en", "1.2")
    assert answer.signals.mean_log_probability == pytest.approx(-0.3)
    assert answer.signals.minimum_log_probability == pytest.approx(-0.5)
    assert answer.language_probability is None, "the caller stated the language"


def test_numbers_stay_and_split_what_is_translated_together(pt_en: FakeTranslator) -> None:
    answer = signs({("pt", "en"): pt_en}).translate_sign(
        ["Peixe do nosso rio", "R$ 12,50", "Vinho da nossa serra"], source="pt", target="en"
    )
    assert [text for text, _ in pt_en.asked] == ["Peixe do nosso rio", "Vinho da nossa serra"]
    assert answer.translation.splitlines()[1] == "R$ 12,50"
    assert answer.engine is TranslationEngine.TRANSLATOR


def test_a_phrase_and_a_translation_on_one_sign_are_mixed(pt_en: FakeTranslator) -> None:
    answer = signs({("pt", "en"): pt_en}).translate_sign(["Saída", "para o jardim das rosas"], source="pt", target="en")
    assert answer.translation.splitlines()[0] == "Exit"
    assert (answer.engine, answer.pack_name) == (TranslationEngine.MIXED, "mt-pt-en")
    assert None not in (answer.signals.phrase_score, answer.signals.mean_log_probability)


@pytest.mark.parametrize("lines", [["42"], ["R$ 3,50", "12:30"], ["www.example.org"]])
def test_what_no_language_has_is_copied(lines: list[str], pt_en: FakeTranslator) -> None:
    answer = signs({("pt", "en"): pt_en}).translate_sign(lines, source="pt", target="en")
    assert (answer.engine, answer.translation) == (TranslationEngine.COPY, "\n".join(lines))
    assert (answer.pack_name, pt_en.asked) == ("", [])


def test_text_in_the_target_language_is_copied() -> None:
    line = "Please keep off the grass and do not feed the animals"
    answer = signs({}).translate_sign([line], source=None, target="en")
    assert (answer.engine, answer.translation, answer.source) == (TranslationEngine.COPY, line, "en")


def test_the_english_line_of_a_bilingual_sign_is_copied(pt_en: FakeTranslator) -> None:
    english = "Please do not leave your luggage unattended in the station"
    answer = signs({("pt", "en"): pt_en}).translate_sign(
        ["Não deixe a sua bagagem sozinha na estação", english], source="pt", target="en"
    )
    assert answer.translation.splitlines()[1] == english
    assert len(pt_en.asked) == 1


def test_a_direction_without_pack_is_said_and_nothing_invented() -> None:
    answer = signs({}).translate_sign(["O elevador está parado para conserto"], source="pt", target="en")
    assert (answer.engine, answer.translation) == (TranslationEngine.NONE, "")
    assert (answer.reason, answer.source) == (NoTranslation.DIRECTION_UNSUPPORTED, "pt")


def test_the_phrasebook_knows_english_only() -> None:
    answer = signs({}).translate_sign(["Saída"], source="pt", target="de")
    assert (answer.engine, answer.reason) == (TranslationEngine.NONE, NoTranslation.DIRECTION_UNSUPPORTED)


def test_an_unknown_language_is_said() -> None:
    answer = signs({}).translate_sign(["Xqzvw Krrtl"], source=None, target="en")
    assert (answer.engine, answer.reason) == (TranslationEngine.NONE, NoTranslation.LANGUAGE_UNKNOWN)


def test_a_sign_served_in_part_keeps_the_rest_as_read_and_says_why() -> None:
    answer = signs({}).translate_sign(["Sortie", "Jardin des deux lions endormis"], source="fr", target="en")
    assert answer.translation == "Exit\nJardin des deux lions endormis"
    assert (answer.engine, answer.reason) == (TranslationEngine.PHRASEBOOK, NoTranslation.DIRECTION_UNSUPPORTED)


@pytest.mark.parametrize(
    ("claimed", "text"), [("pt", "危険物持込禁止区域"), ("zh", "ここはとてもきれいです"), ("ja", "Notausgang")]
)
def test_a_language_that_the_script_contradicts_is_not_believed(claimed: str, text: str, pt_en: FakeTranslator) -> None:
    answer = signs({("pt", "en"): pt_en}).translate_sign([text], source=claimed, target="en")
    assert answer.source != claimed
    assert pt_en.asked == []


def test_an_empty_answer_of_the_translator_is_no_translation() -> None:
    answer = signs({("pt", "en"): FakeTranslator("pt", "en", answer=" ")}).translate_sign(
        ["O elevador está parado"], source="pt", target="en"
    )
    assert (answer.engine, answer.reason) == (TranslationEngine.NONE, NoTranslation.NO_OUTPUT)


def test_a_line_too_long_is_not_cut_in_silence(pt_en: FakeTranslator) -> None:
    answer = signs({("pt", "en"): pt_en}).translate_sign(["água fria " * 60], source="pt", target="en")
    assert (answer.engine, answer.reason) == (TranslationEngine.NONE, NoTranslation.TEXT_TOO_LONG)
    assert pt_en.asked == []


def test_many_long_lines_are_translated_in_parts_below_the_cap(pt_en: FakeTranslator) -> None:
    lines = ["o elevador do prédio está parado para um conserto demorado " * 3] * 7
    answer = signs({("pt", "en"): pt_en}).translate_sign(lines, source="pt", target="en")
    assert answer.reason is None
    assert len(pt_en.asked) > 1
    assert all(len(text) <= MAX_TEXT_CHARACTERS for text, _ in pt_en.asked)


@pytest.mark.parametrize("lines", [[], [""], [" ", "\t"]])
def test_no_text(lines: list[str]) -> None:
    answer = signs({}).translate_sign(lines, source="pt", target="en")
    assert (answer.engine, answer.reason) == (TranslationEngine.NONE, NoTranslation.NO_TEXT)


def test_a_phrase_within_a_sentence_over_lines_is_not_read_alone(pt_en: FakeTranslator) -> None:
    lines = ["NÃO É PERMITIDA A", "ENTRADA", "DE CARRINHOS DE MÃO"]
    answer = signs({("pt", "en"): pt_en}).translate_sign(lines, source="pt", target="en")
    assert [text for text, _ in pt_en.asked] == ["Não é permitida a entrada de carrinhos de mão"]
    assert answer.engine is TranslationEngine.TRANSLATOR
    without = signs({}).translate_sign(lines, source="pt", target="en")
    assert (without.engine, without.translation) == (TranslationEngine.NONE, "")


def test_a_phrase_and_its_price_come_from_the_phrasebook(pt_en: FakeTranslator) -> None:
    answer = signs({("pt", "en"): pt_en}).translate_sign(["Não fumar. Saída"], source="pt", target="en")
    assert answer.engine is TranslationEngine.PHRASEBOOK
    assert "exit" in answer.translation.lower()
    assert answer.signals.phrase_score is not None
    assert answer.signals.phrase_score < 0.95, "composed answers are believed less"
    assert pt_en.asked == []


@pytest.mark.parametrize(
    "lines", [["SALIDA", "EXIT"], ["EXIT", "SALIDA"], ["Salida", "Exit", "Sortie"], ["AUSGANG", "EXIT", "出口"]]
)
def test_a_sign_in_several_languages_says_everything_once(lines: list[str]) -> None:
    answer = signs({}).translate_sign(lines, source=None, target="en")
    assert answer.translation.lower() == "exit"
    assert answer.reason is None


def test_the_english_of_a_bilingual_sign_stands_for_both(pt_en: FakeTranslator) -> None:
    english = "Please do not feed the pigeons"
    translator = FakeTranslator("pt", "en", answer="Do not feed the pigeons")
    answer = signs({("pt", "en"): translator}).translate_sign(
        ["Não dê comida aos pombos da praça", english], source=None, target="en"
    )
    assert answer.translation == english


def test_addresses_and_telephone_numbers_never_reach_the_translator(pt_en: FakeTranslator) -> None:
    answer = signs({("pt", "en"): pt_en}).translate_sign(
        ["Marque a sua visita guiada em www.example.org"], source="pt", target="en"
    )
    assert answer.translation.endswith(" www.example.org")
    assert [text for text, _ in pt_en.asked] == ["Marque a sua visita guiada em"]


class Stubborn(FakeTranslator):
    """Answers by the width of the search."""

    def __init__(self, answers: Mapping[int, str]) -> None:
        super().__init__("pt", "en")
        self._answers = answers

    def translate(self, text: str, *, beam: int = 1) -> Translation:
        self.asked.append((text, beam))
        return Translation(self._answers[beam], (-0.1, -0.5), len(text))


@pytest.mark.parametrize(
    ("answers", "shown", "beams"),
    [
        ({1: "Platform of the blue line", 4: "Platform 12 of the blue line"}, "Platform 12 of the blue line", [1, 4]),
        ({1: "Toll toll of the blue line 12", 4: "Blue line toll 12"}, "Blue line toll 12", [1, 4]),
        ({1: "Toll toll of line 12", 4: "Toll toll toll of line 12"}, "Toll of line 12", [1, 4]),
        ({1: "", 4: "Blue line 12"}, "Blue line 12", [1, 4]),
        ({1: "Blue line platform 12"}, "Blue line platform 12", [1]),
    ],
)
def test_an_answer_that_is_plainly_damaged_is_asked_for_again(
    answers: Mapping[int, str], shown: str, beams: list[int]
) -> None:
    translator = Stubborn(answers)
    answer = signs({("pt", "en"): translator}).translate_sign(
        ["Carruagens da composição azul 12"], source="pt", target="en"
    )
    assert answer.translation == shown
    assert [beam for _, beam in translator.asked] == beams


def test_a_number_that_stays_lost_makes_the_answer_unbelievable() -> None:
    def quality(answer: str) -> float:
        translator = FakeTranslator("pt", "en", answer=answer)
        result = signs({("pt", "en"): translator}).translate_sign(["Composição azul 12"], source="pt", target="en")
        assert result.signals.quality is not None
        return result.signals.quality

    assert quality("Blue composition 21") < quality("Blue composition 12") - 0.1


class Failing(FakeTranslator):
    """A process that does not answer."""

    def translate(self, text: str, *, beam: int = 1) -> Translation:
        raise TranslatorFailed("apertium did not answer within 10 s")


def test_a_process_that_fails_leaves_the_sign_untranslated_and_says_so() -> None:
    answer = signs({("pt", "en"): Failing("pt", "en")}).translate_sign(
        ["O elevador está parado"], source="pt", target="en"
    )
    assert (answer.engine, answer.reason) == (TranslationEngine.NONE, NoTranslation.NO_OUTPUT)


def test_an_unsure_answer_is_translated_back_only_where_that_is_allowed() -> None:
    unsure = FakeTranslator("pt", "en", answer="Composição", log_probabilities=(-3.0, -9.0))
    back = FakeTranslator("en", "pt", answer="Outra coisa")
    translators = {("pt", "en"): unsure, ("en", "pt"): back}
    SignTranslator(Phrasebook.builtin(), translators).translate_sign(["Composição azul"], source="pt", target="en")
    assert back.asked == []
    SignTranslator(Phrasebook.builtin(), translators, check_back=True).translate_sign(
        ["Composição azul"], source="pt", target="en"
    )
    assert back.asked == [("Composição", 1)]


@pytest.mark.parametrize(
    "lines",
    [
        ["\x00\x07\u202e"],
        ["\ud800\udfff"],
        ["🚭", "🐕🐕"],
        ["خروج", "ทางออก", "Выход"],
        ["Saída خروج 出口 🚭"],
        ["a" * 100_000],
        ["口" * 100_000],
        ["Saída"] * 10_000,
        ["\n\n", "\t", "%s %d {0}", "<b>Saída</b>"],
        [" / " * 300, "-" * 300, "." * 300],
    ],
)
@pytest.mark.parametrize("source", [None, "pt", "ja", "xx"])
def test_whatever_is_read_is_answered_with_a_translation_or_a_reason(
    lines: list[str], source: str | None, pt_en: FakeTranslator
) -> None:
    answer = signs({("pt", "en"): pt_en}).translate_sign(lines, source=source, target="en")
    assert (answer.engine is TranslationEngine.NONE) == (answer.translation == "")
    if answer.engine is TranslationEngine.NONE:
        assert answer.reason is not None
    assert all(len(text) <= MAX_TEXT_CHARACTERS for text, _ in pt_en.asked)


def test_targets_are_what_packs_and_phrases_reach(pt_en: FakeTranslator) -> None:
    assert signs({}).targets == {"en"}
    assert signs({("pt", "en"): pt_en, ("en", "pt"): pt_en}).targets == {"en", "pt"}


def test_signs_of_one_frame_combine_into_one_answer(pt_en: FakeTranslator) -> None:
    translator = signs({("pt", "en"): pt_en})
    parts = [
        translator.translate_sign(lines, source=source, target="en")
        for lines, source in ((["42"], None), (["Saída"], "pt"), (["O elevador está parado"], "pt"))
    ]
    whole = combine(parts)
    assert whole.engine is TranslationEngine.MIXED
    assert whole.translation == "\n".join(part.translation for part in parts)
    assert (whole.source, whole.signals.phrase_score) == ("pt", parts[1].signals.phrase_score)
    assert combine([parts[1]]) == parts[1]
    assert combine([]).reason is NoTranslation.NO_TEXT
