"""What tells languages apart in one or two words: letters, spellings, small words. Tables only, no code.

Weights are natural-log odds, set by hand and adjusted on one half of public word lists (docstring of `language`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LATIN_LANGUAGES: Final = ("de", "en", "es", "fr", "it", "pt")
"""Languages in Latin script that are identified."""
NEIGHBOUR_LANGUAGES: Final = ("ca", "cs", "da", "fi", "hu", "nl", "no", "pl", "ro", "sv", "tr")
"""Languages that are recognised only to be answered with "unknown" instead of the nearest supported one."""

ACCENTED_LETTERS: Final[Mapping[str, str]] = {
    "de": "äöüß",
    "en": "é",
    "es": "áéíñóúü",
    "fr": "àâæçèéêëîïôœùûü",
    "it": "àèéìòóù",
    "pt": "áâãàçéêíóôõúü",
}
"""Accented letters a language writes; any other counts against it."""
OWN_LETTERS: Final[Mapping[str, str]] = {
    "ß": "de",
    "ñ": "es",
    "¿": "es",
    "¡": "es",
    "ã": "pt",
    "õ": "pt",
    "ì": "it",
    "œ": "fr",
}
"""Letters that only one supported language writes."""
RARE_LETTERS: Final[Mapping[str, str]] = {"es": "kw", "fr": "kw", "it": "jkwxy", "pt": "kwy"}
"""Plain letters that a language uses in loan words only."""

SPELLINGS: Final[Mapping[str, str]] = {
    "de": (
        "sch|ung$|keit|heit|lich|isch|^ge|^ver|^aus|^ein|tz|ck|pf|äu|eu|ei|^zu|^über|ahn|ohn|"
        "uhr|chen|straße|ä|ß|^be|erk|itt"
    ),
    "en": ("th|sh|ing$|tion$|ght|wh|ee|oo|ck$|ey$|ow|ty$|ness$|ly$|ed$|ay|ff$|ys|ew|ould|ment$|ous$|able$|y$|ee|ea"),
    "es": ("ción|ll|ue|ñ|^des|ía|dad$|ero$|era$|ado$|aje|illo|illa|iento|ez|hu|ería|os$|as$|que|qui|ón$|ales$|rr"),
    "fr": (
        "eau|eux|aux|oi|ou|tion$|eur$|euse|ette|elle|que$|ée|ère|ais|ois|ier$|ière|age$|ain|"
        "eille|ment$|é$|é|è|ê|ch|ure$|gn|ille|oir"
    ),
    "it": ("zione|gli|gn|zz|cch|cc|gg|ss|zi|ggio|ella|etto|etta|ità|tore|chi|che|ghe|ghi|sci|sce|io$|ia$|i$|zioni|tt"),
    "pt": "ção|ções|ão|ões|lh|nh|dade$|eira|eiro|agem|em$|ê|inho|inha|ei|ou|ia$|ais$|õe|ç|m$|oa|ss|eio|oz",
}
"""Spellings (regular expressions over a small-letter word, ``|`` between them) typical of a language."""

SMALL_WORDS: Final[Mapping[str, str]] = {
    "de": (
        "der die das den dem des ein eine einen und oder nicht kein keine mit für von vom zu zum zur im in am an "
        "auf aus bei bis durch ist sind sie ich wir ihr es er wie was wo hier nur auch über unter nach vor bitte "
        "ihre haben wird werden dieser diese als"
    ),
    "en": (
        "the a an of and or not no to for from in on at by with is are be this that please your our you we it i "
        "he she they do don't what where here only all my his her was have has will can up out off one how who "
        "there under over"
    ),
    "es": (
        "el la los las un una unos del de y o no con por para en al a es son su sus se lo que como más muy este "
        "esta hay sin sobre entre desde hasta yo tú me te mi qué está tiene ella él nos le todo"
    ),
    "fr": (
        "le la les l un une des du de d et ou ne pas non avec pour par en dans au aux est sont ce cette ces il "
        "elle je tu nous vous on qui que sur sous chez sans y se son sa ses mon ma votre vos plus très c j n s qu"
    ),
    "it": (
        "il lo la i gli le un una uno del dello della dei degli delle di e o non con per in nel nella al alla ai "
        "alle da dal dalla è sono che si su sul sulla questo questa qui ci più ed d l dell all nell sull"
    ),
    "pt": (
        "o a os as um uma do da dos das de e ou não com por para em no na nos nas ao à aos às é são que se seu "
        "sua este esta mais muito sem sobre até pelo pela você eu ele ela nós"
    ),
}
"""Articles, prepositions and other words that signs repeat."""
