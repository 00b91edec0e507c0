"""Texts that look private are recognised as such, and ordinary signs are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phone.cascade.privacy import PrivateKind, find_private, luhn_valid


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("4111 1111 1111 1111", PrivateKind.CARD),
        ("4111-1111\n1111-1111", PrivateKind.CARD),
        ("4lll 1111 1111 1l11", PrivateKind.CARD),  # letters for ones, as a recogniser errs
        ("５５００ ００００ ００００ ０００４", PrivateKind.CARD),  # full-width digits
        ("VALID 378282246310005 AMEX", PrivateKind.CARD),
        ("DE89 3704 0044 0532 0130 00", PrivateKind.ACCOUNT),
        ("IBAN GB82WEST12345698765432", PrivateKind.ACCOUNT),
        ("maria.silva@example.pt", PrivateKind.EMAIL),
        ("maria @ example .com", PrivateKind.EMAIL),
        ("+351 21 234 5678", PrivateKind.PHONE),
        ("Tel. 234 5678", PrivateKind.PHONE),
        ("01.23.45.67.89", PrivateKind.NUMBER),
        ("電話 03-1234-5678", PrivateKind.PHONE),
        ("٠٩١٢٣٤٥٦٧٨٩", PrivateKind.NUMBER),  # Arabic-Indic digits
        ("P<UTOERIKSSON<<ANNA<MARIA<<<<<<", PrivateKind.DOCUMENT),
        ("CA 1234567", PrivateKind.DOCUMENT),
        ("12345678Z", PrivateKind.DOCUMENT),
    ],
)
def test_private_texts_are_found(text: str, kind: PrivateKind) -> None:
    assert find_private(text) is kind


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Saída de emergência",
        "R$ 1.299,90",
        "09:00 - 18:00",
        "Seg-Sex 9h00-18h30\nSáb 10h00-13h00",
        "Aberto até 31/12/2026",
        "12.05.2024 - 30.09.2024",
        "Rua 25 de Abril 112",
        "120 km/h",
        "A1 E45 Lisboa 24",
        "1000-205 Lisboa",
        "Café @ Home",
        "駅前通り 3-2-1",
        "Gate B12",
    ],
)
def test_ordinary_signs_are_not_private(text: str) -> None:
    assert find_private(text) is None


def _with_check_digit(digits: str) -> str:
    return next(digits + str(check) for check in range(10) if luhn_valid(digits + str(check)))


@given(
    st.from_regex(r"[1-9][0-9]{14}", fullmatch=True).map(_with_check_digit),
    st.sampled_from(["", " ", "-", ".", "  ", " - ", "\n"]),
    st.sampled_from(["", "CARD ", "válido\n", "Nº "]),
    st.sampled_from(["", " 12/28", "\nMARIA SILVA", " CVV 123"]),
)
def test_every_card_number_stays_however_it_is_grouped(number: str, separator: str, before: str, after: str) -> None:
    grouped = separator.join(number[start : start + 4] for start in range(0, 16, 4))
    assert find_private(before + grouped + after) is not None


@given(st.text(max_size=512))
def test_any_text_gets_a_verdict(text: str) -> None:
    assert find_private(text) is None or isinstance(find_private(text), PrivateKind)


def test_the_luhn_check_knows_its_test_numbers() -> None:
    assert luhn_valid("79927398713")
    assert not luhn_valid("79927398710")
