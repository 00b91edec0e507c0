"""What a translator takes and gives: texts, sentence by sentence, and how sure it is of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shared.limits import MAX_TEXT_CHARACTERS

_NO_TEXT: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and halves of surrogate pairs, which are no characters at all."""
_UNSPACED: Final = frozenset({"ja", "zh", "th"})
"""Languages whose sentences are joined without a space."""


@dataclass(frozen=True)
class Translation:
    """A translated text.

    Attributes:
        text: the translation.
        token_log_probabilities: natural log of the model's probability of each target token, each sentence's end token
            included; at most 0. A sentence that was cut at the length limit has no end token.
        source_tokens: tokens of the source, end tokens included.
        unknown_tokens: how many of those stand for characters the vocabulary does not know, and the model never saw.
    """

    text: str
    token_log_probabilities: tuple[float, ...]
    source_tokens: int
    unknown_tokens: int = 0

    @property
    def mean_log_probability(self) -> float:
        """Mean over the tokens; 0 for an empty translation."""
        values = self.token_log_probabilities
        return sum(values) / len(values) if values else 0.0

    @property
    def min_log_probability(self) -> float:
        """The least sure token's; 0 for an empty translation."""
        return min(self.token_log_probabilities, default=0.0)


@dataclass(frozen=True)
class Alternatives:
    """One sentence and what it may mean.

    Attributes:
        sentence: in the source language.
        translations: best first, as the search ordered them; two of them may have the same text.
    """

    sentence: str
    translations: tuple[Translation, ...]


def joined(parts: Sequence[Translation], *, target: str) -> Translation:
    """Translations of consecutive sentences as one.

    Args:
        parts: in reading order.
        target: language they are in, ISO 639-1.
    """
    return Translation(
        ("" if target in _UNSPACED else " ").join(part.text for part in parts),
        tuple(value for part in parts for value in part.token_log_probabilities),
        sum(part.source_tokens for part in parts),
        sum(part.unknown_tokens for part in parts),
    )


def cut_text(text: str) -> str:
    """Text with white space and control characters collapsed, of at most `MAX_TEXT_CHARACTERS`, cut between words."""
    # Collapsing a little more than the cap is enough, whatever arrives.
    text = " ".join(_NO_TEXT.sub(" ", text[: 4 * MAX_TEXT_CHARACTERS]).split())
    if len(text) <= MAX_TEXT_CHARACTERS:
        return text
    head, _, _ = text[: MAX_TEXT_CHARACTERS + 1].rpartition(" ")
    return head or text[:MAX_TEXT_CHARACTERS]
