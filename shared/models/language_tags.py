"""The language tags of model registries, as the ISO 639-1 codes Wayword knows languages by.

Registries name a language by BCP 47 tags of several spellings (zh-Hans, zh_hant, nb). A tag that has no two-letter code
of its own is refused by name: a pack for it would be taken for a pack of another language.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from shared.errors import PackUnsupported, UsageError

_TAG: Final = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,2}")
_CODE: Final = re.compile(r"[a-z]{2}")
_PIVOT: Final = "en"  # Firefox trains every model into or out of English
_ALIASES: Final = {
    "zh-hans": "zh",
    "zh-cn": "zh",
    "zh-sg": "zh",
    "nb": "no",  # Bokmål is what signs in Norway are written in, and what the recognisers' cards call Norwegian
    "iw": "he",
    "in": "id",
}
_REFUSED: Final = {
    "zh-hant": "Traditional Chinese has no code of its own here and would be mixed up with zh",
    "zh-tw": "Traditional Chinese has no code of its own here and would be mixed up with zh",
    "zh-hk": "Traditional Chinese has no code of its own here and would be mixed up with zh",
    "hbs": "Serbo-Croatian has no two-letter code; look for bs, hr or sr",
}


def iso_code(tag: str) -> str:
    """The ISO 639-1 code of a registry's tag, such as "zh" for "zh-Hans" and "no" for "nb".

    Raises:
        PackUnsupported: it is no language tag, or a language, script or region without a code of its own.
    """
    if not _TAG.fullmatch(tag):
        raise PackUnsupported(f"{tag[:40]!r} is no language tag")
    name = tag.lower().replace("_", "-")
    if name in _REFUSED:
        raise PackUnsupported(f"models for {tag} are not supported: {_REFUSED[name]}")
    code = _ALIASES.get(name, name)
    if not _CODE.fullmatch(code):
        raise PackUnsupported(f"models for {tag} are not supported: there is no two-letter language code for it")
    return code


def split_pair(pair: str) -> tuple[str, str]:
    """The two tags in a file name's pair, such as ("es", "en") for "esen" and ("zh_hant", "en") for "zh_hanten".

    Raises:
        PackUnsupported: it cannot be split.
    """
    if len(pair) == 4 and pair.isalpha():
        return pair[:2], pair[2:]
    if pair.endswith(_PIVOT) and _TAG.fullmatch(pair[: -len(_PIVOT)]):
        return pair[: -len(_PIVOT)], _PIVOT
    if pair.startswith(_PIVOT) and _TAG.fullmatch(pair[len(_PIVOT) :]):
        return _PIVOT, pair[len(_PIVOT) :]
    raise PackUnsupported(f"{pair[:40]!r} does not say which two languages a model translates")


def pack_name(source: str, target: str) -> str:
    """Name of the translation pack of a direction of ISO codes."""
    return f"mt-{source}-{target}"


def direction_of(name: str) -> tuple[str, str]:
    """The ISO codes of a translation pack's name; other spellings of a tag are understood (mt-zh-hans-en).

    Raises:
        UsageError: it is no name of a translation pack.
        PackUnsupported: it names a language without a code of its own.
    """
    refused: PackUnsupported | None = None
    for source, target in _splits(name):
        try:
            return iso_code(source), iso_code(target)
        except PackUnsupported as error:
            # "zh-hant" + "en" is refused for a better reason than "zh" + "hant-en".
            refused = error if refused is None or "no two-letter" in refused.message else refused
    if refused is None:
        raise UsageError(f"{name!r} is no name of a translation pack", hint="Names look like mt-es-en")
    raise refused


def _splits(name: str) -> Iterator[tuple[str, str]]:
    parts = name.split("-")
    if parts[0] != "mt" or len(parts) > 6:
        return
    for middle in range(2, len(parts)):
        source, target = "-".join(parts[1:middle]), "-".join(parts[middle:])
        if _TAG.fullmatch(source) and _TAG.fullmatch(target):
            yield source, target
