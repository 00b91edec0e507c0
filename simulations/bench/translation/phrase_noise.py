"""Texts for measuring the phrasebook: what reading does to a phrase, and values for its templates.

The noise is that of recognisers on small print: a letter taken for one that looks like it, or for any other; a letter
lost or read twice; spaces and accents lost; two lines read as one. It knows nothing of the rules by which the
phrasebook forgives, so it also makes errors that the phrasebook must refuse.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Final

from shared.models.phrase_template_files import Template
from shared.models.phrase_values import Slot

_LOOKALIKES: Final = (
    "Il1|!i oO0QDC cCeGo eaco aoeu uvnii nmhru hbnk bh6 rn tfl1 ft gq9y qg yvg vuy sS5z S58 zZ2 B8E3 2Z 5S 8B dcl "
    "kx xk "
    "wvv mrn EF FP PR RK MN NM HN UV VY TI LI JI"
)
"""For each group: the first letter is read as one of the rest."""
_HAN: Final = (
    "口ロ囗 日曰目 土士工 未末木 入人八 大太犬 止正上 間問門 待持侍 力カ刀 工エ 二ニ 出山 白自百 水氷永 車東 店居 "
    "禁楚 停亭 开井 关天 请清情 务条 处外 场扬 车东 电甩 收牧 手毛 号弓 号另 票栗 站拈 营宫 业亚 已己巳 時晴 営宮 料科 "
    "駐駅 業美 案楽 内肉 階陸 部郎 売壳 動勤 付仆 用甩 ソンノ シツミ ツシ ンソ ノソ クワタ タクケ コユロ ルレ "
    "レルし ーー一 "
    "はほ ほは きさ さきち るろ ろる ねれわ めぬ"
)
_JAMO: Final = "ㄱㅋ ㅋㄱ ㅇㅁ ㅁㅇ ㅏㅑ ㅑㅏ ㅓㅕ ㅗㅛ ㅜㅠ ㅐㅔ ㅔㅐ ㅣㅏ ㅂㅍ ㅅㅈ ㅈㅊ ㄷㄹ ㅎㅇ"


def _table(groups: str) -> dict[str, str]:
    table: dict[str, str] = {}
    for group in groups.split():
        table[group[0]] = table.get(group[0], "") + group[1:]
    return table


_CONFUSED: Final = _table(_LOOKALIKES) | _table(_HAN)
_LEADS: Final = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
_MIDDLES: Final = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
_CONFUSED_JAMO: Final = _table(_JAMO)


def capitals(text: str, rng: random.Random) -> str:
    """All capitals, without accents every other time."""
    return strip_accents(text.upper(), rng) if rng.random() < 0.5 else text.upper()


def strip_accents(text: str, rng: random.Random) -> str:
    """Without the accents of Latin letters."""
    del rng
    return "".join(
        unicodedata.normalize("NFD", letter)[0] if ord(letter) < 0x250 else letter
        for letter in unicodedata.normalize("NFC", text)
    )


def confuse(text: str, rng: random.Random) -> str:
    """One letter read as one that looks like it."""
    places = [index for index, letter in enumerate(text) if _alternatives(letter)]
    if not places:
        return text
    place = rng.choice(places)
    return text[:place] + rng.choice(_alternatives(text[place])) + text[place + 1 :]


def confuse_twice(text: str, rng: random.Random) -> str:
    """Two letters read as others that look like them."""
    return confuse(confuse(text, rng), rng)


def substitute(text: str, rng: random.Random) -> str:
    """One letter read as any other of the same text's alphabet."""
    places = [index for index, letter in enumerate(text) if letter.isalpha()]
    if not places:
        return text
    place = rng.choice(places)
    return text[:place] + _any_like(text[place], rng) + text[place + 1 :]


def drop(text: str, rng: random.Random) -> str:
    """One letter lost."""
    places = [index for index, letter in enumerate(text) if letter.isalpha()]
    if len(places) < 2:
        return text
    place = rng.choice(places)
    return text[:place] + text[place + 1 :]


def add(text: str, rng: random.Random) -> str:
    """One letter too many: doubled, or any."""
    places = [index for index, letter in enumerate(text) if letter.isalpha()]
    if not places:
        return text
    place = rng.choice(places)
    return text[:place] + (text[place] if rng.random() < 0.5 else _any_like(text[place], rng)) + text[place:]


def respace(text: str, rng: random.Random) -> str:
    """All spaces lost, or one too many."""
    if " " in text and rng.random() < 0.7:
        return text.replace(" ", "")
    place = rng.randrange(1, len(text)) if len(text) > 1 else 0
    return f"{text[:place]} {text[place:]}"


NOISES: Final[Mapping[str, Callable[[str, random.Random], str]]] = {
    "capitals": capitals,
    "accents": strip_accents,
    "spaces": respace,
    "1 lookalike": confuse,
    "2 lookalikes": confuse_twice,
    "any letter": substitute,
    "lost letter": drop,
    "added letter": add,
}


def misread_digit(text: str, rng: random.Random) -> str:
    """One digit read as a letter that looks like it."""
    places = [index for index, letter in enumerate(text) if letter in _DIGITS]
    if not places:
        return text
    place = rng.choice(places)
    return text[:place] + rng.choice(_DIGITS[text[place]]) + text[place + 1 :]


_DIGITS: Final = {"0": "OoD", "1": "lI|", "2": "Zz", "5": "Ss", "6": "bG", "8": "B", "9": "gq"}


def fill(template: Template, rng: random.Random) -> str:
    """A text that a template fits."""
    values = iter([rng.choice(sample_values(template.language)[slot]) for slot in template.slots])
    return re.sub(r"\{\w+\}", lambda _: next(values), template.source)


def sample_values(language: str) -> Mapping[Slot, tuple[str, ...]]:
    """Values of every slot as a language writes them."""
    return _VALUES[language] if language in _VALUES else _VALUES["pt"]


def _common(decimal: str) -> dict[Slot, tuple[str, ...]]:
    return {
        Slot.NUMBER: ("3", "7", "12", "18", "25"),
        Slot.ORDINAL: ("2", "3", "5"),
        Slot.CODE: ("4", "12", "B7", "15"),
        Slot.DISTANCE: ("200 m", f"2{decimal}5 m", "3 km", "500m"),
        Slot.WEIGHT: ("450 kg", f"3{decimal}5 t"),
        Slot.VOLUME: ("5 l",),
        Slot.SPEED: ("30 km/h", "50 km/h"),
        Slot.TEMPERATURE: ("25 °C", "18°C"),
        Slot.PERCENT: ("20%", "50 %", "70%"),
        Slot.PHONE: ("030 123456", "+49 30 123456", "02-123-4567"),
    }


def _letters(
    times: str, duration: str, price: str, date: str, day: str, days: str, month: str
) -> dict[Slot, tuple[str, ...]]:
    written = (times, duration, price, date, day, days, month)
    slots = (Slot.TIME, Slot.DURATION, Slot.PRICE, Slot.DATE, Slot.DAY, Slot.DAYS, Slot.MONTH)
    return {slot: tuple(text.split("|")) for slot, text in zip(slots, written, strict=True)}


_VALUES: Final[Mapping[str, Mapping[Slot, tuple[str, ...]]]] = {
    "pt": _common(",") | _letters("9h|18h30|14:00|9 h", "5 min|2 horas|30 minutos", "R$ 5,00|12,50 €|3 €",
        "25 de dezembro|24/12/2025|1 de maio", "domingo|terça-feira", "segunda a sexta|sábados e domingos|seg a sex",
        "maio|setembro"),
    "es": _common(",") | _letters("9:00|18:30 h|9 h|14:00", "5 min|2 horas|30 minutos", "12,50 €|3 €",
        "25 de diciembre|24/12/2025|1 de mayo", "domingo|martes", "lunes a viernes|sábados y domingos|lun-vie",
        "mayo|septiembre"),
    "fr": _common(",") | _letters("9h|18h30|14 h|9h00", "5 min|2 heures|30 minutes", "12,50 €|3 €|12€50",
        "25 décembre|24/12/2025|1er mai", "dimanche|mardi", "lundi au vendredi|samedi et dimanche|lun.-ven.",
        "mai|septembre"),
    "de": _common(",") | _letters("9 Uhr|18.30 Uhr|14:00|9.00", "5 Min.|2 Stunden|30 Minuten", "12,50 €|3 €|5,- €",
        "25. Dezember|24.12.2025|1. Mai", "Sonntag|Dienstag", "Montag bis Freitag|Sa und So|Mo-Fr", "Mai|September"),
    "it": _common(",") | _letters("9.00|18:30|14.00|9", "5 min|2 ore|30 minuti", "12,50 €|3 €",
        "25 dicembre|24/12/2025|1 maggio", "domenica|martedì", "lunedì a venerdì|sabato e domenica|lun-ven",
        "maggio|settembre"),
    "ja": _common(".") | _letters("9時|18時30分|午前9時|14:00", "5分|2時間|30分", "500円|1,200円|¥800",
        "12月25日|2025年12月24日|5月1日", "日曜日|火曜", "月〜金|土・日・祝日|月曜日", "5月|9月"),
    "ko": _common(".") | _letters("9시|오후 6시 30분|오전 9시|14:00", "5분|2시간|30분", "5,000원|1만원|5천원",
        "12월 25일|2025년 12월 24일|5월 1일", "일요일|화요일", "월~금|토, 일, 공휴일|월요일", "5월|9월"),
    "zh": _common(".") | _letters("9点|上午9:00|14:00|下午6点30分", "5分钟|2小时|30分钟", "20元|¥15|100元",
        "12月25日|2025年12月24日|5月1日", "星期日|周二", "周一至周五|周六、周日|周一", "5月|9月"),
}  # fmt: skip


def _alternatives(letter: str) -> str | tuple[str, ...]:
    if "\uac00" <= letter <= "\ud7a3":
        return _confused_syllables(letter)
    return _CONFUSED.get(letter, "")


def _confused_syllables(syllable: str) -> tuple[str, ...]:
    code = ord(syllable) - 0xAC00
    lead, middle, tail = code // 588, code % 588 // 28, code % 28
    found = [
        chr(0xAC00 + _LEADS.index(other) * 588 + middle * 28 + tail) for other in _CONFUSED_JAMO.get(_LEADS[lead], "")
    ]
    found += [
        chr(0xAC00 + lead * 588 + _MIDDLES.index(other) * 28 + tail)
        for other in _CONFUSED_JAMO.get(_MIDDLES[middle], "")
    ]
    return tuple(found)


def _any_like(letter: str, rng: random.Random) -> str:
    """Any letter of the same script and case."""
    if "\uac00" <= letter <= "\ud7a3":
        return chr(0xAC00 + rng.randrange(11172))
    if "\u3041" <= letter <= "\u30ff":
        return chr(rng.randrange(0x3042, 0x3094) + (0x60 if letter >= "\u30a1" else 0))
    if ord(letter) >= 0x2E80:
        return rng.choice("".join(_table(_HAN)))
    other = rng.choice("abcdefghijklmnopqrstuvwxyz")
    return other.upper() if letter.isupper() else other
