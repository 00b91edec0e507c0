"""A line as it should be, from what a recogniser made of it: word spaces first, then punctuation."""

from __future__ import annotations

from shared.models.punctuation import punctuate
from shared.models.recognition import Recognition
from shared.models.sign_words import SignWords
from shared.models.word_spaces import restore_spaces


def restored(line: Recognition, *, words: SignWords | None = None) -> Recognition:
    """A line with its word spaces and punctuation set right; see `word_spaces` and `punctuation` for what is changed.

    Args:
        line: as read. A restored line stays as it is.
        words: what counts as known; the built-in words by default.
    """
    spaced = restore_spaces(line, words=words)
    edited = punctuate(spaced.text, words=words, mark_before=spaced.mark_before)
    return spaced.rewritten(edited.text, edited.origins)
