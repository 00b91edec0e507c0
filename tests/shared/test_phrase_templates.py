"""Templates read the values on a sign, convert them faithfully, and never correct or invent a digit."""

from __future__ import annotations

import random
import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import UsageError
from shared.models.phrase_template_files import Template, read_templates
from shared.models.phrase_values import Slot
from shared.models.phrasebook import Phrasebook, read_phrases
from simulations.bench.translation.phrase_noise import NOISES, fill, misread_digit

LANGUAGES = ("de", "es", "fr", "it", "ja", "ko", "pt", "zh")


@pytest.fixture(scope="module")
def book() -> Phrasebook:
    """The templates that ship, without the phrases: what phrases say of the same text is not the subject here."""
    return Phrasebook([], templates=Phrasebook.builtin().templates)


def book_of(**languages: str) -> Phrasebook:
    return Phrasebook(
        [],
        templates=[
            template
            for language, text in languages.items()
            for template in read_templates(text, language, f"{language}.tsv")
        ],
    )


def english(book: Phrasebook, text: str, language: str | None = None) -> str | None:
    match = book.lookup(text, language=language)
    return None if match is None else match.translation


@pytest.mark.parametrize(
    ("language", "text", "translation"),
    [
        ("pt", "Aberto das 9h às 18h", "Open from 9:00 to 18:00"),
        ("pt", "ABERTO DAS 9H AS 18H30", "Open from 9:00 to 18:30"),
        ("pt", "Aberto de segunda a sexta, das 9h às 18h", "Open Monday to Friday from 9:00 to 18:00"),
        ("pt", "Seg a Sex 9h–18h", "Monday to Friday: 9:00 to 18:00"),
        ("pt", "Fechado aos domingos e feriados", "Closed on Sundays and public holidays"),
        ("pt", "R$ 5,00 por pessoa", "R$5.00 per person"),
        ("pt", "Capacidade máxima 6 pessoas ou 450 kg", "Maximum 6 people or 450 kg"),
        ("pt", "Válido até 25/12/2025", "Valid until December 25, 2025"),
        ("pt", "Válido até 03/04", "Valid until 03/04"),
        ("pt", "Tel. (11) 99999-9999", "Phone: (11) 99999-9999"),
        ("pt", "Portão B12", "Gate B12"),
        ("pt", "Só R$ 10!", "Only R$10"),
        ("pt", "Menores de 5 anos grátis", "Children under 5 free"),
        ("es", "L-V 9:00-14:00", "Monday to Friday: 9:00 to 14:00"),
        ("es", "Cerrado los lunes", "Closed on Mondays"),
        ("es", "2,50 €/kg", "€2.50 per kg"),
        ("es", "Hasta 50 % de descuento", "Up to 50% off"),
        ("fr", "Ouvert du lundi au samedi de 9h à 19h30", "Open Monday to Saturday from 9:00 to 19:30"),
        ("fr", "Fermé du 24 décembre au 2 janvier", "Closed from December 24 to January 2"),
        ("fr", "Menu 12€50", "Set menu: €12.50"),
        ("fr", "1er étage", "1st floor"),
        ("de", "Mo-Fr 9-18 Uhr", "Monday to Friday: 9:00 to 18:00"),
        ("de", "Geöffnet von 9.30 Uhr bis 18 Uhr", "Open from 9:30 to 18:00"),
        ("de", "Geschlossen vom 24.12. bis 1.1.", "Closed from December 24 to January 1"),
        ("de", "Gleis 5a", "Platform 5a"),
        ("de", "Höchstparkdauer 2 Stunden", "Maximum 2 hours"),
        ("de", "Eintritt 5,- €", "Admission: €5"),
        ("it", "Aperto dalle 9 alle 18", "Open from 9:00 to 18:00"),
        ("it", "Chiuso dal 10 al 25 agosto", "Closed from the 10th to August 25"),
        ("it", "Binario 3", "Platform 3"),
        ("ja", "営業時間 9:00～18:00", "Opening hours: 9:00 to 18:00"),
        ("ja", "午前9時30分から午後5時まで", "9:30 AM to 5 PM"),
        ("ja", "定休日：月曜日", "Closed on Mondays"),
        ("ja", "土日祝 10:00〜20:00", "Saturday, Sunday and public holidays: 10:00 to 20:00"),
        ("ja", "大人 1,200円", "Adults: 1,200 yen"),
        ("ja", "1万2千円", "12,000 yen"),
        ("ja", "３割引", "30% off"),
        ("ja", "12月24日まで", "Until December 24"),
        ("ko", "오전 9시부터 오후 6시까지", "9 AM to 6 PM"),
        ("ko", "매주 월요일 휴무", "Closed on Mondays"),
        ("ko", "성인 5천원", "Adults: 5,000 won"),
        ("ko", "3번 출구", "Exit 3"),
        ("ko", "12월 24일 휴무", "Closed on December 24"),
        ("zh", "营业时间：上午9点至下午6点半", "Opening hours: 9 AM to 6:30 PM"),
        ("zh", "周一至五 9:00-17:00", "Monday to Friday: 9:00 to 17:00"),
        ("zh", "8折", "20% off"),
        ("zh", "三号线", "Line 3"),
        ("zh", "成人20元", "Adults: 20 yuan"),
        ("zh", "限高2.5米", "Height limit 2.5 m"),
    ],
)
def test_a_sign_with_values_is_translated_with_its_values(
    book: Phrasebook, language: str, text: str, translation: str
) -> None:
    match = book.lookup(text, language=language)
    assert match is not None
    assert (match.translation, match.language, match.exact) == (translation, language, True)


@pytest.mark.parametrize("language", LANGUAGES)
def test_almost_every_template_matches_a_text_filled_from_it(book: Phrasebook, language: str) -> None:
    rng = random.Random(language)
    templates = [template for template in book.templates if template.language == language]
    # Values without a mark between them may run together (14 h 18h30), and a bare number is no sign.
    unmatched = [text for template in rng.sample(templates, 80) if english(book, text := fill(template, rng)) is None]
    assert len(unmatched) <= 2, unmatched


@pytest.mark.parametrize(
    ("text", "translation"),
    [
        ("Aberlo das 9h às 18h", "Open from 9:00 to 18:00"),
        ("Aberto da5 9h às 18h", "Open from 9:00 to 18:00"),
        ("Abertodas9hàs18h", "Open from 9:00 to 18:00"),
        ("Fechado aos d0mingos", "Closed on Sundays"),
        ("Gcschlossen am Montag", "Closed on Mondays"),
        ("영업시긴 09:00~18:00", "Opening hours: 9:00 to 18:00"),
        ("营业时闻 9:00-18:00", None),
        ("Ruhetag Mantag", None),
    ],
)
def test_one_misread_letter_among_the_words_is_forgiven(book: Phrasebook, text: str, translation: str | None) -> None:
    match = book.lookup(text)
    assert (match.translation if match else None) == translation
    assert match is None or match.exact == (text == "Abertodas9hàs18h")


@pytest.mark.parametrize(
    "text",
    [
        "Aberto das 9hOO às 18h",
        "Aberto das 9h às l8h",
        "Aberto das 9h às |8h",
        "Adultos R$ 1|",
        "拝観料 一般 |,200円",
        "Gleis 1O",
        "Sala l2",
        "Fermata 1S",
        "Aberto das 25h às 26h",
        "Aberto das 9h75 às 18h",
        "Fermé le 32 décembre",
        "Geschlossen vom 31.2. bis 1.3.",
        "Capacidade máxima O pessoas",
    ],
)
def test_a_digit_that_may_be_misread_is_never_guessed(book: Phrasebook, text: str) -> None:
    assert english(book, text) is None


def test_no_digit_is_invented_or_lost_under_noise(book: Phrasebook) -> None:
    rng = random.Random(4)
    changed = []
    for template in rng.sample(book.templates, 300):
        text = fill(template, rng)
        clean = english(book, text, template.language)
        for damaged in (misread_digit(text, rng), rng.choice(list(NOISES.values()))(text, rng)):
            match = book.lookup(damaged, language=template.language)
            if match is not None and not match.exact and clean is not None:
                digits = "".join(character for character in match.translation if character.isdigit())
                if digits != "".join(character for character in clean if character.isdigit()):
                    changed.append((damaged, match.translation))
    assert changed == []


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Mar", "es"),
        ("Quinta", "pt"),
        ("mayo", "es"),
        ("日", "ja"),
        ("수목", "ko"),
        ("24", None),
        ("9:30", None),
        ("三", "zh"),
        ("B12", None),
        ("", None),
        ("do lun-vie", "es"),
        ("lundi u vendredi", "fr"),
        ("lunes  viernes", "es"),
        ("日日", "ja"),
        ("Sala a", "pt"),
    ],
)
def test_what_may_be_something_else_is_no_value(book: Phrasebook, text: str, language: str | None) -> None:
    assert english(book, text, language) is None


@pytest.mark.parametrize(
    "text",
    [
        *("\x00\x01 9h \x02", "🚪 9h–18h 🚪", "שלום 9:00", "١٢:٣٠ مفتوح", "Aberto das ٩h às ١٨h", "9" * 160),
        *("1 " * 80, "月火水木金土日" * 22, "9h" * 80, "一二三四五六七八九十" * 16, "¥" * 160, "a1" * 80, "(((((" * 30),
        *("12,12,12,12,12", "9.9.9.9.9.9", "\ue000\ue000", "das \ue000 às \ue000", "-" * 160, "٣ евро"),
    ],
)
def test_odd_text_is_answered_quickly_and_without_an_error(book: Phrasebook, text: str) -> None:
    for language in (None, *LANGUAGES):
        match = book.lookup(text, language=language)
        assert match is None or match.translation


@settings(max_examples=100, deadline=None)
@given(text=st.text(alphabet=st.sampled_from(string.digits + " :.,-hHàsdaOlI€円月日時시오전~｜|至周一"), max_size=40))
def test_every_digit_of_a_translation_stands_in_the_text(book: Phrasebook, text: str) -> None:
    # Whole numbers are only regrouped; 万 and 折 compute, and are not in this alphabet.
    match = book.lookup(text)
    if match is not None and not any(character in text for character in "一月日"):
        assert set(filter(str.isdigit, match.translation)) <= set(text) | {"0"}


def test_the_first_template_of_a_file_is_believed() -> None:
    signs = book_of(pt="Sala {code}\tRoom {1}\nSala {number}\tHall {1}\n")
    assert english(signs, "Sala 4") == "Room 4"


def test_a_template_of_a_language_babel_knows_needs_no_code() -> None:
    dutch = book_of(nl="Gesloten op {days}\tClosed on {1:plural}\nOpen tot {date}\tOpen until {1}\n")
    assert english(dutch, "Gesloten op zondag") == "Closed on Sundays"
    assert english(dutch, "Open tot 5 maart") == "Open until March 5"


def test_numbers_of_two_lines_are_two_values(book: Phrasebook) -> None:
    assert english(book, "Seg a Sex\n9h–18h", "pt") == "Monday to Friday: 9:00 to 18:00"
    assert english(book, "Seg a Sex 9h–18h\n24", "pt") is None
    assert english(book, "Adultos R$\n12,50", "pt") == "Adults: R$12.50"


def test_forms_of_values() -> None:
    signs = book_of(pt="Vale {number} dias\t{1} {1:day/days}, the {1:ordinal}\nDe {number} d\t{1:tenths}\n")
    assert english(signs, "Vale 1 dias") == "1 day, the 1st"
    assert english(signs, "Vale 22 dias") == "22 days, the 22nd"
    assert english(signs, "Vale 1,5 dias") is None
    assert english(signs, "De 12 d") is None


def test_a_variant_and_its_alternatives_are_templates_of_their_own() -> None:
    templates = list(read_templates("Abre [às/a/] {time}\tOpens at {1}\tAbertura {time}\n", "pt", "pt.tsv"))
    assert " | ".join(template.source for template in templates) == (
        "Abre às {time} | Abre a {time} | Abre {time} | Abertura {time}"
    )
    assert templates[0] == Template(
        "Abre às {time}",
        "Opens at {1}",
        "pt",
        (Slot.TIME,),
        ("abre", "as", "\ue000"),
        ("abre", "às", "\ue000"),
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("Abre\tOpens\n", "0 slots"),
        ("Abre {time}\n", "1 fields"),
        ("Abre {hour}\tOpens {1}\n", "unknown slot"),
        ("Abre {time}\tOpens\n", "leaves out a value"),
        ("Abre {time}\tOpens {2}\n", "uses {2} of 1"),
        ("Abre {time}\tOpens {1:roman}\n", "unknown form"),
        ("Abre {time}\t Opens {1}\n", "spaces around"),
        ("Abre {time}\tOpens {1} {\n", "unmatched brace"),
        ("Abre [às {time}\tOpens {1}\n", "unmatched bracket"),
        ("Abre 24 h {time}\tOpens {1}\n", "digit"),
        ("Abre {time}\tOpens {1}\nABRE {time}\tOpen from {1}\n", "another translation in line 2"),
        ("Abre " + "[a/b]" * 9 + " {time}\tOpens {1}\n", "combinations"),
        ("Abre" + " {time}" * 7 + "\tOpens {1}\n", "7 slots"),
        ("Abre {time}\x00\tOpens {1}\n", "control character U+0000"),
        ("x" * 5000 + " {time}\tOpens {1}\n", "more than 4096 characters"),
    ],
)
def test_a_malformed_template_is_refused_with_file_and_line(content: str, why: str) -> None:
    with pytest.raises(UsageError, match=re.escape(why)) as caught:
        list(read_templates("# a comment\n" + content, "pt", "pt.tsv"))
    assert str(caught.value).startswith("pt.tsv:")


def test_phrases_come_before_templates() -> None:
    book = Phrasebook(
        read_phrases("Sala 4\tThe blue room\n", "pt", "pt.tsv"),
        templates=read_templates("Sala {code}\tRoom {1}\n", "pt", "pt.tsv"),
    )
    assert english(book, "SALA 4") == "The blue room"
    assert english(book, "SALA 5") == "Room 5"
