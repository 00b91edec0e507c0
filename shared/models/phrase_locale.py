"""Names and number marks of a language, as templates of the phrasebook need them.

Days, months, units, currencies and separators come from CLDR through Babel; what signs write otherwise (``Mo``,
``2ª feira``, ``月``, ``円``) is added here by hand. All names are folded as `fold` does.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from babel import Locale, UnknownLocaleError
from babel.numbers import get_currency_name
from babel.units import UnknownUnitError, format_unit

from shared.models.text import fold_accents

UNSPACED_LANGUAGES: Final = frozenset({"ja", "ko", "zh"})
"""Languages whose names of days need no space around them."""
WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
CURRENCIES: Final = ("EUR", "USD", "GBP", "CHF", "JPY", "KRW", "CNY", "BRL", "TWD", "HKD")
UNITS: Final = (
    *(f"duration-{unit}" for unit in ("second", "minute", "hour", "day", "week", "month", "year")),
    *("length-kilometer", "length-meter", "length-centimeter", "length-millimeter"),
    *("mass-kilogram", "mass-gram", "mass-tonne", "volume-liter", "volume-milliliter", "volume-centiliter"),
    *("speed-kilometer-per-hour", "temperature-celsius"),
)
"""CLDR unit identifiers that templates know."""
_NOT_LETTERS: Final = re.compile(r"[-. ]+")
_NUMBER_OF_A_UNIT: Final = re.compile(r"\d+\s*")

_DAYS: Final[Mapping[str, str]] = {
    "pt": "segunda/2a~feira=Monday terça=Tuesday quarta=Wednesday quinta=Thursday sexta=Friday sab=Saturday "
    "dom=Sunday feriado/feriados=public~holidays dias~úteis/dia~útil=weekdays fins~de~semana/fim~de~semana=weekends "
    "todos~os~dias/diariamente=every~day 2a~a~6a/2a~a~6a~feira=Monday~to~Friday segundas/segundas-feiras=Monday "
    "terças/terças-feiras=Tuesday quartas/quartas-feiras=Wednesday quintas/quintas-feiras=Thursday "
    "sextas/sextas-feiras=Friday sábados=Saturday domingos=Sunday 3a~feira=Tuesday 4a~feira=Wednesday "
    "5a~feira=Thursday "
    "6a~feira=Friday",
    "es": "sábados=Saturday domingos=Sunday mier=Wednesday "
    "festivo/festivos/feriado/feriados/días~festivos=public~holidays "
    "laborables/días~laborables/días~hábiles=working~days fines~de~semana/fin~de~semana=weekends "
    "l-v/l~a~v=Monday~to~Friday "
    "l-s/l~a~s=Monday~to~Saturday l-d/l~a~d=Monday~to~Sunday todos~los~días/cada~día/diario=every~day",
    "fr": "lundis=Monday mardis=Tuesday mercredis=Wednesday jeudis=Thursday vendredis=Friday samedis=Saturday "
    "dimanches=Sunday "
    "férié/fériés/jours~fériés/jour~férié=public~holidays week-ends/week-end=weekends "
    "jours~ouvrables/jours~ouvrés=working~days tous~les~jours=every~day",
    "de": "montags=Monday dienstags=Tuesday mittwochs=Wednesday donnerstags=Thursday freitags=Friday "
    "samstags/sonnabend/sonnabends=Saturday sonntags=Sunday so=Sunday mo=Monday di=Tuesday mi=Wednesday do=Thursday "
    "fr=Friday sa=Saturday feiertag/feiertage/feiertags/feiertagen=public~holidays wochenende/wochenenden=weekends "
    "sonn-~und~feiertag/sonn-~und~feiertage/sonn-~und~feiertags/sonn-~und~feiertagen=Sundays~and~public~holidays "
    "werktags/werktage/werktagen/werktäglich=working~days täglich/tägl/jeden~tag=every~day",
    "it": "domeniche=Sunday sabati=Saturday festivo/festivi/giorni~festivi=public~holidays "
    "feriale/feriali/giorni~feriali="
    "working~days fine~settimana/weekend=weekends tutti~i~giorni/ogni~giorno=every~day",
    "ja": "月/月曜=Monday 火/火曜=Tuesday 水/水曜=Wednesday 木/木曜=Thursday 金/金曜=Friday 土/土曜=Saturday "
    "日/日曜=Sunday "
    "祝/祝日/祭日/休日=public~holidays 平日=weekdays 土日=Saturday~and~Sunday 週末=weekends 毎日=every~day",
    "ko": "공휴일/법정공휴일=public~holidays 평일=weekdays 주말=weekends 매일=every~day 토/토요일=Saturday "
    "일/일요일=Sunday "
    "월=Monday 화=Tuesday 수=Wednesday 목=Thursday 금=Friday",
    "zh": "周一/週一/礼拜一=Monday 周二/週二/礼拜二=Tuesday 周三/週三/礼拜三=Wednesday 周四/週四/礼拜四=Thursday "
    "周五/週五/礼拜五=Friday 周六/週六/礼拜六=Saturday 周日/週日/周天/星期天/礼拜天=Sunday "
    "节假日/節假日/法定节假日/国定假日/國定假日/例假日=public~holidays 工作日/平日=weekdays 周末/週末=weekends "
    "每天/每日/天天=every~day 周六日/週六日=Saturday~and~Sunday",
}  # fmt: skip
"""``name/name=meaning``, ``~`` for a space."""

_UNITS: Final[Mapping[str, str]] = {
    "": "min/mins=duration-minute h/hs/hrs=duration-hour s/sec/seg=duration-second km=length-kilometer m=length-meter "
    "cm=length-centimeter mm=length-millimeter kg=mass-kilogram g=mass-gram t=mass-tonne l=volume-liter "
    "ml=volume-milliliter cl=volume-centiliter km/h=speed-kilometer-per-hour °c=temperature-celsius",
    "pt": "quilómetro/quilómetros=length-kilometer horas=duration-hour tonelada/toneladas/ton=mass-tonne",
    "es": "horas=duration-hour tonelada/toneladas/tm=mass-tonne",
    "fr": "mn=duration-minute an/ans=duration-year",
    "de": "std=duration-hour tagen=duration-day jahren=duration-year monaten=duration-month "
    "metern=length-meter kilometern=length-kilometer",
    "it": "ora/ore=duration-hour tonnellata/tonnellate=mass-tonne",
    "ja": "分/分間=duration-minute 秒=duration-second 時間=duration-hour 日/日間=duration-day 週間=duration-week "
    "ヶ月/か月/ヵ月/カ月/ケ月=duration-month 年/年間=duration-year メートル=length-meter キロメートル=length-kilometer "
    "センチ=length-centimeter トン=mass-tonne グラム=mass-gram キログラム=mass-kilogram リットル=volume-liter "
    "度=temperature-celsius",
    "ko": "주/주일=duration-week 달=duration-month 톤=mass-tonne 킬로/킬로그램=mass-kilogram 그램=mass-gram "
    "리터=volume-liter "
    "미터=length-meter 도=temperature-celsius",
    "zh": "分/分钟/分鐘=duration-minute 秒/秒钟/秒鐘=duration-second 小时/小時/个小时/個小時=duration-hour "
    "天/日=duration-day "
    "周/週/星期=duration-week 个月/個月=duration-month 年=duration-year 公里/千米=length-kilometer "
    "米/公尺=length-meter "
    "厘米/公分=length-centimeter 吨/噸/公吨=mass-tonne 公斤/千克=mass-kilogram 克=mass-gram 升/公升=volume-liter "
    "毫升=volume-milliliter 公里/小时=speed-kilometer-per-hour 度=temperature-celsius",
}
_CURRENCY_WORDS: Final[Mapping[str, str]] = {
    "": "€/eur=EUR us$/usd=USD £/gbp=GBP chf/fr.=CHF r$/brl=BRL nt$/twd=TWD hk$/hkd=HKD ₩/krw=KRW jpy=JPY "
    "rmb/cny=CNY "
    "$=$ ¥=¥ yen=JPY",
    "pt": "euro/euros=EUR real/reais=BRL dólar/dólares=USD",
    "es": "euro/euros=EUR dólar/dólares=USD",
    "fr": "euro/euros=EUR",
    "de": "euro=EUR franken=CHF",
    "it": "euro=EUR",
    "ja": "円/圓=JPY ユーロ=EUR ドル=USD",
    "ko": "원=KRW 유로=EUR 달러=USD",
    "zh": "元/块/塊/圆/圓/块钱/元整=CNY 欧元/歐元=EUR 美元=USD 日元=JPY 台币/臺幣/新台币/新臺幣=TWD 港币/港幣/港元=HKD",
}
"""A currency that a symbol does not settle ($, ¥) keeps its symbol."""


@dataclass(frozen=True)
class Vocabulary:
    """Names of one language by their folded form without hyphens, dots and spaces (`name_key`).

    Attributes:
        language: ISO 639-1 code.
        days: English for weekdays, for public holidays, and for usual groups of days.
        months: 1..12.
        units: CLDR unit identifiers.
        currencies: ISO 4217 codes, or a symbol that several currencies share.
        written: every name above as it is written, folded, with its hyphens, dots and spaces.
        decimal: decimal mark.
        group: mark between groups of three digits.
    """

    language: str
    days: Mapping[str, str]
    months: Mapping[str, int]
    units: Mapping[str, str]
    currencies: Mapping[str, str]
    written: Mapping[str, frozenset[str]]
    decimal: str
    group: str


def fold(text: str) -> str:
    """NFKC, small letters, no accents."""
    return fold_accents(unicodedata.normalize("NFKC", text).casefold())


def name_key(name: str) -> str:
    """Under which spelling a vocabulary has a name: without hyphens, dots and spaces."""
    return _NOT_LETTERS.sub("", fold(name))


@lru_cache(maxsize=64)
def vocabulary(language: str) -> Vocabulary:
    """The vocabulary of a language; of one that CLDR does not know, only what all languages share."""
    try:
        locale = Locale.parse(language)
    except (UnknownLocaleError, ValueError):
        locale = None
    days = dict(_pairs(_DAYS.get(language, "")))
    months: dict[str, str] = {}
    units = dict(_pairs(_UNITS[""])) | dict(_pairs(_UNITS.get(language, "")))
    currencies = dict(_pairs(_CURRENCY_WORDS[""])) | dict(_pairs(_CURRENCY_WORDS.get(language, "")))
    decimal, group = ".", ","
    if locale is not None:
        days = _day_names(locale) | days
        months = _month_names(locale)
        units = _unit_names(locale) | units
        currencies = _currency_names(locale) | currencies
        symbols = locale.number_symbols["latn"]
        decimal, group = symbols["decimal"], unicodedata.normalize("NFKC", symbols["group"])
    written = {"days": days, "months": months, "units": units, "currencies": currencies}
    return Vocabulary(
        language,
        {name_key(name): meaning for name, meaning in days.items()},
        {name_key(name): int(number) for name, number in months.items()},
        {name_key(name): unit for name, unit in units.items()},
        {name_key(name): code for name, code in currencies.items()},
        {kind: frozenset(fold(name) for name in names) for kind, names in written.items()},
        decimal,
        group,
    )


@lru_cache(maxsize=64)
def english_unit(unit: str, *, singular: bool) -> str:
    """A CLDR unit in English, as it stands after a number: `` km``, `` minutes``, ``°C``."""
    length: Literal["long", "short"] = "long" if unit.startswith("duration-") else "short"
    return _NUMBER_OF_A_UNIT.sub(
        " " if unit != "temperature-celsius" else "", format_unit(1 if singular else 2, unit, length, locale="en")
    )


@lru_cache(maxsize=64)
def english_currency(code: str, *, singular: bool) -> str:
    """A currency by name: ``yen``, ``euros``; the adjective stays where the noun alone is shared (``US dollars``)."""
    name = get_currency_name(code, 1 if singular else 2, locale="en")
    short = name.split()[-1]
    return short if short in {"yen", "won", "yuan"} else name


def _pairs(text: str) -> Iterable[tuple[str, str]]:
    for item in re.findall(r"(?:[^\s=]+)=\S+", text):
        names, meaning = item.rsplit("=", 1)
        # A unit such as km/h has a slash of its own.
        for name in (names,) if meaning.startswith("speed-") else names.split("/"):
            yield name.replace("~", " "), meaning.replace("~", " ")


def _day_names(locale: Locale) -> dict[str, str]:
    names: dict[str, str] = {}
    for context in ("format", "stand-alone"):
        for width in ("wide", "abbreviated"):
            for day, name in locale.days[context][width].items():
                if len(name_key(name)) >= 2 or not name.isascii():
                    names.setdefault(name, WEEKDAYS[day])
    return names


def _month_names(locale: Locale) -> dict[str, str]:
    names: dict[str, str] = {}
    for context in ("format", "stand-alone"):
        for width in ("wide", "abbreviated"):
            for month, name in locale.months[context][width].items():
                if not any(character.isdigit() for character in name):
                    names.setdefault(name, str(month))
    return names


def _unit_names(locale: Locale) -> dict[str, str]:
    names: dict[str, str] = {}
    for unit in UNITS:
        for length in ("long", "short"):
            for count in (1, 2, 5):
                try:
                    text = format_unit(count, unit, length, locale=locale)
                except UnknownUnitError:
                    continue
                name = text.replace(str(count), "").strip()
                # Babel repeats the identifier where CLDR has no pattern; one letter (a, d, j) is too little.
                if (len(name) > 1 or not name.isascii()) and name not in (unit, "m."):
                    names.setdefault(name, unit)
    return names


def _currency_names(locale: Locale) -> dict[str, str]:
    names = {}
    for code in CURRENCIES:
        for count in (1, 5):
            names[get_currency_name(code, count, locale=locale)] = code
    return names
