"""The sign test set: complete, split by chance, and compared by what an answer says and not how it is written."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest

from shared.errors import InputError
from shared.limits import MAX_TEXT_CHARACTERS
from simulations.bench.sign_phrases import (
    LANGUAGES,
    MAX_ANSWERS,
    Category,
    Half,
    SignPhrase,
    fold,
    half_of,
    is_acceptable,
    load,
    parse,
)
from simulations.bench.sign_phrases.variants import expand


@cache
def phrases_of(language: str) -> list[SignPhrase]:
    return load(language)


def phrase(*answers: str) -> SignPhrase:
    return SignPhrase("x", answers, Category.NOTICE, Half.DEV)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_a_hundred_distinct_phrases_in_two_halves(language: str) -> None:
    phrases = phrases_of(language)

    assert len({one.source.casefold() for one in phrases}) == 100
    halves = Counter(one.half for one in phrases)
    assert halves[Half.DEV] >= 40
    assert halves[Half.REPORT] >= 40
    assert Counter(one.category for one in phrases) == {
        Category.NOTICE: 35,
        Category.TRANSPORT: 15,
        Category.ROAD: 10,
        Category.SHOP: 12,
        Category.MENU: 13,
        Category.LONG: 15,
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_phrase_has_an_answer_and_the_sign_itself_is_none(language: str) -> None:
    for one in phrases_of(language):
        assert fold(one.answers[0]), one
        assert one.source.casefold() not in {answer.casefold() for answer in one.answers}, one


def test_some_signs_have_two_lines() -> None:
    assert any("\n" in one.source for one in phrases_of("de"))


def test_the_half_is_decided_by_the_text_as_it_stands_in_the_file() -> None:
    (one,) = parse(b"VIETATO / FUMARE\tNo smoking\tnotice\n", "it.tsv")

    assert one.source == "VIETATO\nFUMARE"
    # CRC-32 of the three bytes of the reference "abc" is 0x352441C2, which is even; of "a" it is 0xE8B7BE43, odd.
    assert half_of("abc") is Half.DEV
    assert half_of("a") is Half.REPORT
    assert one.half is half_of("VIETATO / FUMARE")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("NO SMOKING!", "no  smoking"),
        ("Mind the step", "Mind step"),
        ("Sautéed mushrooms", "Sauteed mushrooms"),
        ("Don’t touch", "Do not touch"),
        ("Men's toilet", "Mens toilet"),
        ("Lost & found", "Lost and found"),
        ("Check-in", "Check in"),
        ("Shopping centre", "Shopping Center"),
        ("Flight cancelled", "Flight canceled"),
        ("Buy two, get one free", "Buy 2 get 1 free"),
        ("Second floor", "2nd floor"),
        ("Open from 9 am to 6 pm", "Open from 9:00 to 18:00"),
        ("9.30 - 18.00", "9:30 a.m. to 6 p.m."),
        ("From 9 to 18 o'clock", "from 9am to 6pm"),
        ("Closes at 12 noon", "Closes at 12:00"),
        ("12.30 pm", "12:30"),
        ("Mon–Fri", "Monday to Friday"),
        ("Open Sat & Sun", "Open Sat and Sun"),
        ("Admission: €12", "Admission 12 euros"),
        ("€12.00", "12 €"),
        ("€8.50", "8,50 EUR"),
        ("1,000 won", "₩1000"),
        ("R$ 10", "10 reais"),
        ("2 kilometres", "2 km"),
        ("5-minute walk", "5 min walk"),
        ("50 percent off", "50% off"),
        ("1 + 1 offer", "1+1 offer"),
        ("Free Wi-Fi", "free wifi"),
    ],
)
def test_what_is_said_alike_is_the_same(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("No smoking", "Smoking"),
        ("Open from 9 am to 6 pm", "Open from 9 am to 6 am"),
        ("12 am", "12 pm"),
        ("Open 24 hours", "Open at 24:00"),
        ("9 hours", "9 o'clock"),
        ("€12", "€1.20"),
        ("€12", "12 yuan"),
        ("¥500", "500 won"),
        ("1,000 m", "1.000 m"),
        ("3.50 m", "3:50"),
        ("Sun cream", "Sunday cream"),
        ("Push", "Pull"),
        ("Platform 3", "Platform 13"),
        ("2 km", "2 m"),
        ("Ages 12+", "Ages 12"),
    ],
)
def test_what_says_something_else_is_not(one: str, other: str) -> None:
    assert fold(one) != fold(other)


def test_an_acceptable_translation_is_one_of_the_answers_whole() -> None:
    sign = phrase("No smoking", "Smoking is prohibited")

    assert is_acceptable("SMOKING IS PROHIBITED.", sign)
    assert not is_acceptable("Smoking", sign)
    assert not is_acceptable("No smoking here", sign)


@pytest.mark.parametrize("translation", ["", "...", "the", "\x00", "نعم", "🚭", "no smoking" * MAX_TEXT_CHARACTERS])
def test_a_translation_that_is_no_answer_is_refused_quietly(translation: str) -> None:
    assert not is_acceptable(translation, phrase("No smoking"))


def test_answers_written_short_are_written_out() -> None:
    assert expand("Push [the] {button/knob}|Press", 10) == (
        "Push the button",
        "Push the knob",
        "Push button",
        "Push knob",
        "Press",
    )
    assert expand("{Keep {left/right}/Stop} [now [please]]|50 km/h", 20) == (
        "Keep left now please",
        "Keep left now",
        "Keep left",
        "Keep right now please",
        "Keep right now",
        "Keep right",
        "Stop now please",
        "Stop now",
        "Stop",
        "50 km/h",
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Puxe\tPull", "2 columns"),
        ("Puxe\tPull\tnotice\tmore", "4 columns"),
        ("\tPull\tnotice", "source is empty"),
        (" Puxe\tPull\tnotice", "white space"),
        ("Puxe\t\tnotice", "says nothing"),
        ("Puxe\tPull|\tnotice", "says nothing"),
        ("Puxe\t...\tnotice", "says nothing"),
        ("Puxe\tPull\tsomething", "no category"),
        ("Puxe\tPull {it\tnotice", "not closed"),
        ("Puxe\tPull [it}\tnotice", "not closed"),
        ("Puxe\tPull it}\tnotice", "not opened"),
        ("Puxe\t" + "[" * 50 + "x" + "]" * 50 + "\tnotice", "nested"),
        ("Puxe\t" + "{a/b}" * 40 + "\tnotice", f"more than {MAX_ANSWERS} answers"),
        ("Puxe\t" + "x" * (MAX_TEXT_CHARACTERS + 1) + "\tnotice", "an answer has more"),
        ("x" * (MAX_TEXT_CHARACTERS + 1) + "\tPull\tnotice", "source has more"),
        ("Puxe\t" + "x" * 100_000 + "\tnotice", "the line has more"),
    ],
)
def test_a_malformed_line_is_refused_with_its_place(line: str, reason: str) -> None:
    with pytest.raises(InputError, match=r"^pt\.tsv:3: ") as caught:
        parse(f"# a comment\n\n{line}\n".encode(), "pt.tsv")

    assert reason in caught.value.message


def test_a_phrase_that_comes_twice_is_refused() -> None:
    with pytest.raises(InputError, match=r"^pt\.tsv:2: the phrase is already on line 1"):
        parse(b"Puxe\tPull\tnotice\nPUXE\tPull\tnotice\n", "pt.tsv")


def test_bytes_that_are_no_text_are_refused_with_their_line() -> None:
    with pytest.raises(InputError, match=r"^pt\.tsv:2: is not UTF-8"):
        parse(b"Puxe\tPull\tnotice\n\xff\tPush\tnotice\n", "pt.tsv")


def test_a_language_without_a_list_is_refused() -> None:
    with pytest.raises(InputError, match=r"^no sign phrases for '\.\./pt'"):
        load("../pt")
