"""Names of people: the wearer's own list, and, on request, whatever looks like one.

Both are off until the wearer asks for them, because they cost refinements:

* A listed name that is also a word or a place keeps those signs on the phone, too: with "Rosa" on the list, "Rua Rosa"
  stays; a name of six letters or more matches whatever is one letter off ("Martim", "Martin").
* A title before a capitalised word is taken for a person, which shops and saints are too ("Dr. Oetker", "Sra. da Luz").
  Streets and squares named after somebody are recognised by the word for street before the title.
* さん, 様, 씨, 님, 先生 and 女士 follow names; the commonest words that end so and are none (お客様, 고객님) are known.
* A name without title, family word or dwelling is not recognised: no list of all names is asked. The phone's
  recognisers read neither Cyrillic nor Arabic nor Thai, so their titles are not looked for.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Final

from shared.errors import UsageError

MAX_NAMES: Final = 64
"""Names on the wearer's list."""
MAX_NAME_CHARACTERS: Final = 64
LETTERS_PER_ERROR: Final = 6
"""A recogniser errs in about one letter of six on a sign that is hard to read; one error is forgiven for so many."""


@dataclass(frozen=True, slots=True)
class PrivacyOptions:
    """What else the wearer keeps on the phone, besides numbers and addresses.

    Attributes:
        names: of people; a text that holds one of them stays.
        keep_names: whether a text that looks like anybody's name stays.

    Raises:
        UsageError: there are too many names, or one is too long or has fewer than two letters.
    """

    names: tuple[str, ...] = ()
    keep_names: bool = False

    def __post_init__(self) -> None:
        if len(self.names) > MAX_NAMES:
            raise UsageError(f"at most {MAX_NAMES} private names are possible")
        for name in self.names:
            if len(name) > MAX_NAME_CHARACTERS or len(_letters(name)) < 2:
                raise UsageError(
                    f"{name!r} is no private name", hint=f"a name has 2 to {MAX_NAME_CHARACTERS} characters"
                )


NO_OPTIONS: Final = PrivacyOptions()

# What recognisers confuse, as one letter each; applied to names and texts alike.
_ALIKE: Final = str.maketrans(
    {"0": "o", "1": "l", "i": "l", "|": "l", "!": "l", "5": "s", "8": "b", "6": "b", "2": "z"}
)
_WORD: Final = re.compile(r"[^\W_](?:[^\W_]|['’|!](?=[^\W_]))*")
_NO_SPACES: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
"""Kana, Han and Hangul: names stand among other letters without a space, or with an ending."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PARTICLES: Final = _words("de da do dos das del della la van von zu di du e y und et")
_WORD_AFTER: Final = r"[ \t]*\n?[ \t]*(?:(?:de|da|do|dos|das|del|von|van|zu|di)[ \t]+)?(?P<name>[^\W\d_]{2,})"
"""The first word after a title, perhaps after a particle; whether it begins with a capital is looked at apart."""
_TITLED: Final = re.compile(
    # With its dot, a space may be missing; without, the word must stand alone.
    r"(?<![^\W_])(?P<title>(?i:sr|sra|sres|srta|srs|dr|dra|drs|prof|profa|d|dª|dña|sig|sigg|dott|avv|mr|mrs|ms|mme|mlle|mm|m|hr)"
    r"[.ªº]{1,2}|(?i:sr|sra|srta|dr|dra|mr|mrs|ms|mme|mlle|herrn?|frau|senhora?|dona|señora?|doña|signora?|signore|monsieur"
    r"|madame)(?=[ \t\n]))" + _WORD_AFTER
)
_FAMILY: Final = re.compile(
    r"(?<![^\W_])(?P<title>(?i:fam\.|(?:fam|fam[ií]lia|familie|famille|famiglia|apellidos?)(?=[ \t\n])))" + _WORD_AFTER
)
_STREET: Final = re.compile(
    r"(?:\b(?:r|av|al|pç|pc|lg|trav|est|rod|c|pl|pza|avda|cl|st|rd)\.|\b(?:rua|avenida|alameda|praça|praca|largo|travessa"
    r"|estrada|rodovia|calle|plaza|paseo|carrer|via|viale|piazza|corso|rue|boulevard|place|quai|street|avenue|road|square"
    r"|straße|strasse|platz|allee|hospital|escola|escuela|school|schule|clínica|praia|ponte|sagrada|sacra|sainte|heilige))"
    r"(?:[ \t]+(?:do|da|de|del|du))?[ \t]*$",
    re.IGNORECASE,
)
"""What stands before where a street or a house is named after somebody."""
_FLOOR: Final = re.compile(
    r"\d{1,2} ?\.? ?[ºª°] ?\.? ?(?:esq|dto|dt|fte|frt|izq|izda|dcha|der|[a-f])(?![^\W_])\.?"
    r"|(?<![^\W_])(?:apt|apto|apart|whg|wohnung|flat|interno|klingel)\b\.? ?\d{1,3}[a-f]?(?![^\W_])",
    re.IGNORECASE,
)
"""A dwelling, as beside a bell or on a letter-box. A mere floor is none: directories of shops list those."""
_NOT_PEOPLE: Final = _words(
    # Whom signs address.
    "motorista motoristas passageiro passageiros cliente clientes usuário usuários usuario usuarios visitante"
    " visitantes condutor condutores conductor conductores utente utentes morador moradores condômino condôminos"
    " hóspede hóspedes huésped huéspedes aluno alunos proprietário proprietários pedestre pedestres turista turistas"
    " viajero viajeros vecino vecinos peatón peatones clienti viaggiatori visitatori"
    # What stands beside a floor and is a place.
    " porteiro portero porteria portaria condomínio condominio administração administración escritório cave loja lift"
    " elevador ascensor hotel hostal pensão consultório oficina sala toilette wc exit saída salida ausgang entrada büro"
    " praxis kanzlei büros recepção recepción"
)

_JAPANESE: Final = re.compile(
    r"([\u3040-\u30ff\u3400-\u9fff々ー]{1,8})(?:さん|様|さま|氏|先生|くん|ちゃん)(?![\u3400-\u9fff])"
)
_NO_JAPANESE_NAME: Final = re.compile(
    r"(?:[おご御][\u3040-\u30ff\u3400-\u9fff]{1,3}|[皆各神王奥者員客係嬢社店模仕異同無のはがをにともで母父兄姉]|みな"
    r"|みなみな|たく|学生|主人|芸人|一見|(?:本|パン|花|魚|肉|床|八百)屋|^[多一何])$"
)
"""What comes before 様, さん or 先生 in the commonest words that are nobody's name: customers, all of you, shops."""
_KOREAN: Final = re.compile(r"(?<![가-힣])([가-힣]{2,4})\s?(?:씨|님)(?![가-힣])")
_NO_KOREAN_NAME: Final = _words(
    "고객 선생 회원 부모 어르신 사장 기사 승객 여러분 하느 하나 이용자 이용객 환자 방문객 관람객 투숙객 운전자 보호자"
    " 학부모 원장 교수 아저 아가 마음 손님"
)
_CHINESE: Final = re.compile(
    r"[王李张張刘劉陈陳杨楊黄黃赵趙吴吳周徐孙孫马馬朱胡郭何林高罗羅郑鄭梁谢謝宋唐许許邓鄧冯馮韩韓曹曾彭萧蕭蔡潘田董袁于余叶葉蒋蔣杜苏蘇魏程吕呂丁沈任姚卢盧傅钟鍾"
    r"姜崔谭譚廖范汪陆陸金石戴贾賈韦韋夏邱方侯邹鄒熊孟秦白江阎閻薛尹段雷黎史龙龍陶贺賀顾顧毛郝龚龔邵万萬钱錢严嚴武孔]"
    r"[\u3400-\u9fff]{0,2}(?:先生|女士|小姐|太太|老师|老師|医生|醫生)"
)
"""One of the commonest surnames, perhaps a given name, and a title."""


def holds_listed_name(text: str, names: tuple[str, ...]) -> bool:
    """Whether a text holds one of the names, whole words only and with a recogniser's errors forgiven.

    Letters are compared without case and accents. One error is forgiven for every `LETTERS_PER_ERROR` letters; spaces
    may be missing or too many. In scripts without spaces the name may stand anywhere, but must be exact.
    """
    in_words = [name for name in names if not _NO_SPACES.search(name)]
    if len(in_words) < len(names):
        letters = _letters(text)
        if any(_letters(name) in letters for name in names if _NO_SPACES.search(name)):
            return True
    if not in_words:
        return False
    # One space more than the name has may have come in.
    most = 1 + max(len(_WORD.findall(name)) for name in in_words)
    candidates: dict[int, set[str]] = {}
    for candidate in _joined([_letters(match.group()) for match in _WORD.finditer(text)], most):
        candidates.setdefault(len(candidate), set()).add(candidate)
    return any(_is_among(_letters(name), candidates) for name in in_words)


def _is_among(wanted: str, candidates: Mapping[int, Set[str]]) -> bool:
    """Whether a name is among words, by their length, with as many errors as its length forgives."""
    errors = len(wanted) // LETTERS_PER_ERROR
    return any(
        _within(candidate, wanted, errors)
        for length in range(len(wanted) - errors, len(wanted) + errors + 1)
        for candidate in candidates.get(length, ())
    )


def looks_like_name(text: str) -> bool:
    """Whether a text looks like somebody's name: after a title, as a family, or beside a bell."""
    named = (match for pattern in (_TITLED, _FAMILY) for match in pattern.finditer(text))
    return any(_is_person_after(match, text) for match in named) or _on_a_bell(text) or _with_ending(text)


def _is_person_after(match: re.Match[str], text: str) -> bool:
    """Whether title and word are capitalised, the word is nobody whom signs address, and it names no street."""
    title, name = match["title"], match["name"]
    if not (title[0].isupper() and name[0].isupper()) or name.casefold() in _NOT_PEOPLE:
        return False
    if "\n" in match.group() and len(title.rstrip(".ªº")) == 1:
        return False  # a letter that ends a line is more often a letter than a title
    return _STREET.search(text[: match.start()]) is None


def _with_ending(text: str) -> bool:
    """Japanese, Korean and Chinese names: the polite word comes after them."""
    return (
        _CHINESE.search(text) is not None
        or any(not _NO_JAPANESE_NAME.search(match[1]) for match in _JAPANESE.finditer(text))
        or any(match[1] not in _NO_KOREAN_NAME for match in _KOREAN.finditer(text))
    )


def _on_a_bell(text: str) -> bool:
    """Whether a line is a floor or a door and, beside it, nothing but a few capitalised words."""
    for line in text.splitlines():
        floor = _FLOOR.search(line)
        if floor is None:
            continue
        rest = f"{line[: floor.start()]} {line[floor.end() :]}"
        words = [word for word in _WORD.findall(rest) if word.casefold() not in _PARTICLES]
        named = [word for word in words if word[0].isupper() and len(word) > 1 and word.isalpha()]
        if 0 < len(words) <= 4 and named == words and not _NOT_PEOPLE & {word.casefold() for word in words}:
            return True
    return False


def _letters(text: str) -> str:
    """Letters and digits only, without case and accents, look-alikes as one."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    plain = unicodedata.normalize("NFC", "".join(c for c in decomposed if not unicodedata.combining(c)))
    return "".join(filter(str.isalnum, plain.translate(_ALIKE)))


def _joined(words: list[str], most: int) -> Iterator[str]:
    """Every run of up to `most` words, without the spaces."""
    for start in range(len(words)):
        for end in range(start + 1, min(start + most, len(words)) + 1):
            yield "".join(words[start:end])


def _within(candidate: str, wanted: str, errors: int) -> bool:
    """Whether two words differ by at most so many letters changed, missing or added (Levenshtein 1966)."""
    if errors == 0:
        return candidate == wanted
    row = list(range(len(wanted) + 1))
    for i, letter in enumerate(candidate, 1):
        above, row[0] = row[0], i
        for j, other in enumerate(wanted, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (letter != other))
        if min(row) > errors:
            return False
    return row[-1] <= errors
