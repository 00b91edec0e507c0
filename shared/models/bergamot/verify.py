"""Holds a translator against reference outputs: the last check of a conversion.

References usually come from another engine. 8-bit products are rounded differently by each of them, so even good
translations of the same weights are not always the same words (`wayword-sim bench translation --parts engines` counts
how often). A conversion that went wrong shows in the mean similarity, then, not in a single sentence.
"""

from __future__ import annotations

import difflib
import itertools
import unicodedata
from collections.abc import Iterable
from typing import Final

from shared.errors import PackCorrupt
from shared.models.bergamot.translator import BergamotTranslator

MIN_SIMILARITY: Final = 0.6
"""Smallest mean similarity to the references; 1 is equal."""
MAX_REFERENCES: Final = 200
"""Pairs that are looked at; more make an installation slower and no surer."""
_COMPARED_CHARACTERS: Final = 500  # the comparison's time grows with the square


def check_references(translator: BergamotTranslator, pairs: Iterable[tuple[str, str]]) -> dict[str, float]:
    """Translate each source greedily and compare.

    Args:
        translator: the pack under test.
        pairs: (source, expected translation); white space counts only as separating words.

    Returns:
        What a model card can say: ``sentences`` compared, share that is ``equal``, mean ``similarity`` (Ratcliff and
        Obershelp, 0 to 1). Empty for no pairs.

    Raises:
        PackCorrupt: the mean similarity is below `MIN_SIMILARITY`; the message names the first sentence that differs.
        PackUnsupported: the model fails.
    """
    similarities: list[float] = []
    first_difference = ""
    for source, expected in itertools.islice(pairs, MAX_REFERENCES):
        found, wanted = _plain(translator.translate(source).text), _plain(expected)
        similarities.append(similarity(found, wanted))
        if found != wanted and not first_difference:
            first_difference = f"{source!r} becomes {found!r} instead of {wanted!r}"
    if not similarities:
        return {}
    mean = sum(similarities) / len(similarities)
    if mean < MIN_SIMILARITY:
        raise PackCorrupt(
            f"pack {translator.pack.name} does not translate as its references say "
            f"(similarity {mean:.2f}): {first_difference}"
        )
    equal = sum(value == 1 for value in similarities) / len(similarities)
    return {"sentences": len(similarities), "equal": round(equal, 3), "similarity": round(mean, 3)}


def similarity(first: str, second: str) -> float:
    """1 for equal texts, 0 for texts that share nothing."""
    if first == second:
        return 1.0
    head = slice(_COMPARED_CHARACTERS)
    # Different texts with the same beginning stay different.
    return min(0.999, difflib.SequenceMatcher(None, first[head], second[head], autojunk=False).ratio())


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())
