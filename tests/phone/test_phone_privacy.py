"""Texts that look private are recognised as such, and ordinary signs are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phone.cascade.privacy import PrivacyOptions, PrivateKind, find_private, luhn_valid
from shared.errors import UsageError


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


KEEP_NAMES = PrivacyOptions(keep_names=True)


@pytest.mark.parametrize(
    "text",
    [
        "Sr. João Silva",
        "Sra. da Costa",
        "DRA. ANA PEREIRA\nDentista",
        "Dr.Silva",  # a recogniser lost the space
        "Dr.\nSilva",
        "Frau\nMüller",
        "Herr Müller",
        "Frau Dr. Schmidt",
        "M. Dupont",
        "Mme Lefèvre",
        "Sig. Rossi",
        "Mr Smith",
        "Mrs. Jones",
        "Dona Amélia",
        "D. Fernanda",
        "Fam. Huber",
        "Familie Maier",
        "3º Esq Ferreira",
        "1.º Dto. Silva e Costa",
        "Müller / Schmidt Whg. 7",
        "Apto 12 García",
        "田中様",
        "佐藤 花子さん",
        "山本先生",
        "土屋様",
        "김민수님",
        "홍길동 씨",
        "王小明先生",
        "李女士",
    ],
)
def test_names_are_found_on_request_only(text: str) -> None:
    assert find_private(text, KEEP_NAMES) is PrivateKind.NAME
    assert find_private(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "Saída de emergência",
        "Rua Dr. António José de Almeida",
        "Praça do Dr. Sousa",
        "Av. Sr. Vieira",
        "Sr. Motorista, desligue o motor",
        "SRS. PASSAGEIROS",
        "Sagrada Família Estació",
        "Mo. - Fr. 9-18 Uhr",
        "Sala D.\nSaída",
        "Damen / Herren",
        "Senhoras e Senhores",
        "3º Esq",
        "2º andar",
        "Piso 2 Saída",
        "1. OG Damenmode",
        "Piso 2 Pediatria",
        "Top 3 Angebote",
        "M 5",
        "Linha D. azul",
        "お客様",
        "関係者様以外",
        "皆様へ",
        "多様な仕様",
        "本屋さん",
        "たくさん",
        "고객님",
        "아저씨",
        "날씨",
        "女士洗手间",
        "女士优先",
        "先生们",
    ],
)
def test_ordinary_signs_are_nobodys_name(text: str) -> None:
    assert find_private(text, KEEP_NAMES) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Geburtstag Martim", True),
        ("MARTIM", True),
        ("Martin", True),  # one letter off
        ("M4rtim Vaz", True),
        ("Martha", False),
        ("Martimar", False),
        ("Jose Alvarez", True),  # without accents
        ("JOSÉÁLVAREZ", True),  # without the space
        ("José Álvares", True),
        ("José", False),
        ("Álvarez e José", False),
        ("Ana", True),
        ("Anna", False),  # short names must be exact
        ("Banana", False),
        ("4na", False),
        ("田中商店", True),
        ("田村商店", False),
        ("김민수씨", True),
    ],
)
def test_names_on_the_wearers_list_are_found_as_whole_words_and_with_a_recognisers_errors(
    text: str, found: bool
) -> None:
    options = PrivacyOptions(names=("Martim", "José Álvarez", "Ana", "田中", "김민수"))
    assert (find_private(text, options) is PrivateKind.LISTED_NAME) == found


@given(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), st.integers(0, 8), st.sampled_from(["swap", "drop", "add"]))
def test_one_wrong_letter_hides_no_long_name(letter: str, place: int, error: str) -> None:
    name = "Guimarães"
    wrong = {
        "swap": name[:place] + letter + name[place + 1 :],
        "drop": name[:place] + name[place + 1 :],
        "add": name[:place] + letter + name[place:],
    }[error]
    assert find_private(f"Casa {wrong} 1", PrivacyOptions(names=(name,))) is PrivateKind.LISTED_NAME


@given(st.text(max_size=512), st.booleans())
def test_any_text_gets_a_verdict_with_any_options(text: str, keep: bool) -> None:
    options = PrivacyOptions(names=("Ana", "João Silva", "佐藤"), keep_names=keep)
    assert find_private(text, options) is None or isinstance(find_private(text, options), PrivateKind)


def test_a_number_is_named_before_a_name() -> None:
    options = PrivacyOptions(names=("Silva",), keep_names=True)
    assert find_private("Sr. Silva 4111 1111 1111 1111", options) is PrivateKind.CARD


def test_the_list_of_names_is_bounded() -> None:
    with pytest.raises(UsageError, match="at most 64"):
        PrivacyOptions(names=tuple(f"name {number}" for number in range(65)))
    for wrong in ("", "x", "?!", "y" * 65):
        with pytest.raises(UsageError, match="no private name"):
            PrivacyOptions(names=(wrong,))


def test_a_whole_page_stays_and_takes_no_time() -> None:
    assert find_private("Saída\n" * 1_000) is PrivateKind.PAGE
    assert find_private("Saída\n" * 300) is None
