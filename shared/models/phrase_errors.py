"""What a recogniser confuses: lookalike letters, and the price of one reading error in a phrase.

The confusions are those of printed letters at low resolution (l/1/I, O/0, rn/m, c/e, h/n, ...), and of CTC decoding,
which merges doubled letters. Nothing here is fitted on a picture.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import chain
from typing import Final


class Alphabet(StrEnum):
    """How the letters of a text make words, which decides how much one letter weighs."""

    ALPHABETIC = "alphabetic"
    HANGUL = "hangul"
    HAN_KANA = "han-kana"


class Operation(StrEnum):
    """What happened to one character of a phrase."""

    SUBSTITUTED = "substituted"
    MISSING = "missing"
    ADDED = "added"


@dataclass(frozen=True)
class Edit:
    """One edit from a phrase to a text.

    Attributes:
        operation: what happened.
        position: index in the phrase's skeleton (for ADDED: before that index).
        expected: the phrase's character, empty for ADDED.
        found: the text's character, empty for MISSING.
        doubled: the missing or added character stands next to its like.
    """

    operation: Operation
    position: int
    expected: str
    found: str
    doubled: bool


_LETTER_FOLDS: Final = str.maketrans({"1": "l", "i": "l", "0": "o", "5": "s", "8": "b"})
_CJK_FOLDS: Final = str.maketrans(
    "ロ囗カトニハエェターソへべぺリオォャュョッシァィゥゃゅょっぁぃぅぇぉ曰己巳末土",
    "口口力卜二八工工夕一ンヘベペり才才ヤユヨツツアイウやゆよつあいうえお日已已未士",
)
"""Katakana and kanji that are one shape, large and small kana, and the long-vowel bar with the kanji for one."""
_ALL_FOLDS: Final = _LETTER_FOLDS | _CJK_FOLDS


def _pairs(text: str) -> frozenset[frozenset[str]]:
    return frozenset(frozenset(pair.split("/")) for pair in text.split())


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ALIKE: Final = _pairs("c/e u/v h/b f/t l/t l/f l/j g/q g/y g/c v/y q/o d/o 2/z 6/g 9/g 6/b 4/a 7/t 3/s 3/b")
"""Letters (folded, so small and capital shapes together) that recognisers confuse: believed from five letters on."""
_SIMILAR: Final = _pairs("c/o e/o u/n h/n m/n r/n a/o a/e s/z p/f p/r b/r b/e b/o e/f h/l v/w x/k y/x h/k d/a t/r s/a")
"""Letters that small or blurred print confuses, and inflection too: believed in long words only."""
_ALIKE_HAN: Final = _pairs(
    "入/人 人/八 大/太 大/犬 止/上 止/正 間/問 間/閒 间/问 间/闲 待/侍 待/持 営/宮 营/管 場/埸 休/体 券/巻 科/料 "
    "緊/繁 犬/太 鳥/烏 王/玉 王/主 千/干 千/于 干/于 刀/力 天/夫 天/失 水/氷 水/永 自/白 白/日 日/目 目/自 見/貝 "
    "已/己 禁/楚 撮/摄 処/处 輛/輌 票/栗 消/清 清/请 請/清 情/請 静/靜 烟/畑 煙/烟 住/往 住/佳 注/住 往/注 徒/徙 "
    "徐/除 除/餘 险/验 險/驗 険/験 准/淮 準/凖 电/申 車/東 车/东 店/占 点/占 室/至 受/愛 受/爱 段/叚 侯/候 侯/喉 "
    "析/折 所/斫 折/拆 券/卷 未/朱 売/壳 壳/壶 免/兔 兑/免 牛/午 午/千 買/貿"
)
_ALIKE_JAMO: Final = frozenset(
    frozenset(unicodedata.normalize("NFD", syllable)[part] for syllable in pair.split("/"))
    for part, pairs in (
        (0, "가/카 다/타 다/라 바/파 사/자 자/차 아/하 마/아 사/차 가/나 바/마"),
        (1, "가/갸 가/기 거/겨 거/기 고/교 고/그 구/규 구/그 개/게 개/걔 게/계 가/거 고/구 괴/긔 귀/긔 과/괴"),
        (2, "각/갘 간/갇 갈/갇 감/강 강/갛 갑/갚 갓/갖 갖/갗 갓/갔 각/갂 간/갓"),
    )
    for pair in pairs.split()
)
_VOWELS: Final = frozenset("aeloun")
"""Where inflection lives at a word's end: vowels (`l` stands for `i` in a skeleton) and the `n` of a plural."""
_CONTRAST: Final = frozenset(
    "男女東西南北东上下左右前後后内外入出進进開閉开关門无無有不非未禁可勿请請高低大小新旧舊快慢一二三四五六七八九十百千万"
    "年月日週周火水木金土朝昼夜早晩午春夏秋冬父母子犬猫车車店国國市区區触走戻座渡登食酒停急祝"
)
"""Characters that tell one sign from its opposite or its neighbour: never taken for a misreading of each other."""
_NEGATIONS: Final = _words("no nao non ne pas nicht kein keine keinen sem sin sans senza ohne nur so solo somente")

_SAFE_SIMILAR: Final = 7
_SAFE_OTHER: Final = 9
_SAFE_DOUBLED: Final = 7
_SAFE_MISSING: Final = 8
_SAFE_WORD_END: Final = 12
_SAFE_HAN_OTHER: Final = 8
_SAFE_HAN_MISSING: Final = 6
_SAFE_HANGUL_OTHER: Final = 6
"""Shortest phrases, in characters, in which an edit of a weaker kind is still believed."""


def alphabet_of(key: str) -> Alphabet:
    """The alphabet of a match key; one Han, kana or Hangul character decides."""
    if key.isascii():
        return Alphabet.ALPHABETIC
    for character in key:
        code = ord(character)
        if 0xAC00 <= code <= 0xD7A3:
            return Alphabet.HANGUL
        if 0x2E80 <= code <= 0x9FFF or 0xF900 <= code <= 0xFAFF or 0x20000 <= code <= 0x3FFFF:
            return Alphabet.HAN_KANA
    return Alphabet.ALPHABETIC


def skeleton(tokens: Iterable[str]) -> str:
    """The shape of a text: lookalikes folded together, Hangul taken apart into jamo (NFD), words joined.

    The idea is that of the skeletons of Unicode Technical Standard 39, with the pairs a recogniser confuses. Tokens of
    digits only keep their digits: 10 is not "lo".
    """
    return "".join(map(_fold_token, tokens))


@lru_cache(maxsize=16384)  # words repeat, and a phrasebook folds tens of thousands of them
def _fold_token(token: str) -> str:
    if token.isdigit():
        return token
    folded = token.replace("rn", "m").replace("vv", "w").replace("cl", "d")
    if folded.isascii():
        return folded.translate(_LETTER_FOLDS)
    folded = folded.translate(_ALL_FOLDS)
    return unicodedata.normalize("NFD", folded) if alphabet_of(folded) is Alphabet.HANGUL else folded


def single_edit(phrase: str, text: str) -> Edit | None:
    """The one edit that makes `text` of `phrase`, or None when they are equal or further apart."""
    shorter = min(len(phrase), len(text))
    start = next((index for index in range(shorter) if phrase[index] != text[index]), shorter)
    rest, found = phrase[start:], text[start:]
    if rest and found and rest[1:] == found[1:] and rest[0] != found[0]:
        return Edit(Operation.SUBSTITUTED, start, rest[0], found[0], doubled=False)
    if rest and rest[1:] == found:
        return Edit(Operation.MISSING, start, rest[0], "", doubled=_has_twin(phrase, start))
    if found and rest == found[1:]:
        return Edit(Operation.ADDED, start, "", found[0], doubled=_has_twin(text, start))
    return None


def edit_score(edit: Edit, tokens: Sequence[str], alphabet: Alphabet, *, ignored: int = 0) -> float | None:
    """How much a phrase with one edit is believed, in (0.8, 0.94), or None when it is not.

    Args:
        edit: from the phrase to the text.
        tokens: the phrase's words, folded as by `text.match_tokens`.
        alphabet: of phrase and text.
        ignored: characters of `tokens` that stand for values and do not make a phrase longer.
    """
    # The shape of a 1 is that of an l, so an edit from 1 to 2 may look like one from a letter.
    if edit.expected.isdigit() or edit.found.isdigit():
        return None
    length = sum(map(len, tokens)) - ignored
    if alphabet is Alphabet.HANGUL:
        return _hangul_score(edit, length)
    if alphabet is Alphabet.HAN_KANA:
        return _han_score(edit, length, sum(map(len, map(_fold_token, tokens))))
    return _letter_score(edit, tokens, length)


def _hangul_score(edit: Edit, length: int) -> float | None:
    if frozenset((edit.expected, edit.found)) in _ALIKE_JAMO:
        return 0.9
    return 0.86 if length >= _SAFE_HANGUL_OTHER else None


def _han_score(edit: Edit, length: int, folded_length: int) -> float | None:
    if edit.operation is Operation.SUBSTITUTED:
        if frozenset((edit.expected, edit.found)) in _ALIKE_HAN or _differ_by_mark(edit.expected, edit.found):
            return 0.9
        if edit.expected in _CONTRAST or edit.found in _CONTRAST or length < _SAFE_HAN_OTHER:
            return None
        return 0.86
    character = edit.expected or edit.found
    at_edge = edit.position == 0 or edit.position >= folded_length - (edit.operation is Operation.MISSING)
    if character in _CONTRAST or at_edge:
        return None
    return 0.86 if length >= _SAFE_HAN_MISSING or _is_kana(character) else None


def _letter_score(edit: Edit, tokens: Sequence[str], length: int) -> float | None:
    word, start, end = _place(edit, tokens)
    if word in _NEGATIONS:
        return None
    inflects = end <= 1 and length < _SAFE_WORD_END
    if edit.operation is Operation.SUBSTITUTED:
        pair = frozenset((edit.expected, edit.found))
        if pair in _ALIKE and not (end == 0 and pair <= _VOWELS):
            return 0.92
        if len(word) <= 3 or end == 0:
            return None
        if pair in _SIMILAR and length >= _SAFE_SIMILAR and not (inflects and pair <= _VOWELS):
            return 0.89
        if inflects:
            return None
        return 0.86 if length >= _SAFE_OTHER and not pair <= _VOWELS else None
    if len(word) <= 3 or inflects:
        return None
    if edit.doubled:
        return 0.92 if length >= _SAFE_DOUBLED else None
    needed = _SAFE_WORD_END if start == 0 else _SAFE_MISSING
    return 0.86 if length >= needed else None


def _differ_by_mark(first: str, second: str) -> bool:
    """Kana that differ by the voicing marks only (ハ, バ, パ)."""
    return unicodedata.normalize("NFD", first)[0] == unicodedata.normalize("NFD", second)[0]


def _is_kana(character: str) -> bool:
    return "\u3041" <= character <= "\u30ff" or character == "一"  # the folded long-vowel bar


def _place(edit: Edit, tokens: Sequence[str]) -> tuple[str, int, int]:
    """The word of the phrase in which an edit lies, and its distance from that word's start and end, in letters."""
    start = 0
    for index, word in enumerate(tokens):
        size = len(_fold_token(word))
        is_last = index == len(tokens) - 1
        if is_last or edit.position < start + size:
            last = start + size - (0 if edit.operation is Operation.ADDED else 1)
            return word, edit.position - start, max(last - edit.position, 0)
        start += size
    raise ValueError("a phrase has at least one word")


def _has_twin(text: str, index: int) -> bool:
    return text[index] in chain(text[max(index - 1, 0) : index], text[index + 1 : index + 2])
