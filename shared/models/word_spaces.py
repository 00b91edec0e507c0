"""Word spaces of a line in Latin script, where the recogniser dropped one or saw one too many.

Each gap between two characters has evidence from picture and network (`Recognition.space_evidence`), log-odds. Words
add theirs: the segmentation of the line is chosen that makes the sum largest of

* the evidence of the gaps that are spaces, with a bonus for what was read: nothing changes without a reason;
* what speaks for the characters between two spaces as a word: a known word is likelier than an unknown one.

A known word is never split unless the picture leaves no doubt. A space goes neither into a number nor before a closing
mark unless the picture is sure of it: there the ink is small, and the gap looks wide.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from shared.limits import MAX_TEXT_CHARACTERS
from shared.models.recognition import Recognition
from shared.models.script import Script, dominant_script
from shared.models.sign_words import MAX_WORD, SignWords, fold_word

AS_READ: Final = 0.5
"""Log-odds that speak for leaving a gap as it was read."""
KNOWN_WORD: Final = 2.0
"""What a known word of three letters or more adds."""
KNOWN_SMALL_WORD: Final = 0.75
"""What a shorter one adds: almost any two letters are a word in some language."""
SPLIT_KNOWN: Final = 5.0
"""Log-odds that speak against a space inside a known word."""
SURE: Final = 3.0
"""Evidence that words do not change."""
HOPELESS: Final = -6.0
"""Evidence below which no word helps."""
MAX_WEIGHED: Final = 128
"""In longer lines, in characters, every gap is decided by its own evidence."""
MARK: Final = -3.0
"""Log-odds of a space inside a number or before a closing mark, beside the picture's."""
AFTER_COMMA: Final = 1.0
_LEAST_KNOWN: Final = 3
_NUMBER_MARKS: Final = ".,:'’/-"
_CLOSING: Final = ".,;:!?)]}»”%"
_EDGES: Final = "¡¿\"'’“”„«»()[]{}.,;:!?-–…"


def restore_spaces(line: Recognition, *, words: SignWords | None = None) -> Recognition:
    """A line with its word spaces restored; itself where there is nothing to say.

    Args:
        line: as read. Without space evidence, in another script than Latin, or longer than a text may be
            (`limits.MAX_TEXT_CHARACTERS`) it is left as it is.
        words: what counts as known; the built-in words by default.
    """
    text = line.text
    if len(line.space_evidence) != len(text) or not 2 <= len(text) <= MAX_TEXT_CHARACTERS:
        return line
    solid = [index for index, character in enumerate(text) if not character.isspace()]
    read = [True, *(after - before > 1 for before, after in pairwise(solid))]
    scores = [0.0, *_scores(text, solid, read, line.space_evidence)]
    if all((score > SURE) if was else (score < -SURE) for score, was in zip(scores[1:], read[1:], strict=True)):
        return line  # nothing that words could change
    if dominant_script(text) is not Script.LATIN:
        return line
    words = words or SignWords.builtin()
    for place in _inside_known(text, solid, read, words):
        scores[place] -= SPLIT_KNOWN
    starts = _starts("".join(text[index] for index in solid), scores, words)
    if starts == [place for place, was in enumerate(read) if was]:
        return line
    return _spaced(line, solid, frozenset(starts))


def _scores(text: str, solid: list[int], read: list[bool], evidence: tuple[float, ...]) -> list[float]:
    """Log-odds of a space before each character but the first, words aside."""
    scores = []
    for place in range(1, len(solid)):
        score = evidence[solid[place]] + (AS_READ if read[place] else -AS_READ)
        before, after = text[solid[place - 1]], text[solid[place]]
        earlier = text[solid[place - 2]] if place >= 2 else ""
        later = text[solid[place + 1]] if place + 1 < len(solid) else ""
        in_number = (before.isdigit() and after in _NUMBER_MARKS and later.isdigit()) or (
            after.isdigit() and before in _NUMBER_MARKS and earlier.isdigit()
        )
        if in_number or (after in _CLOSING and not before.isspace()):
            score += MARK
        elif before == "," and after.isalpha():
            score += AFTER_COMMA
        scores.append(score)
    return scores


def _starts(letters: str, scores: list[float], words: SignWords) -> list[int]:
    """Where the words begin in the best segmentation (Viterbi)."""
    if len(letters) > MAX_WEIGHED:
        return [place for place, score in enumerate(scores) if place == 0 or score > 0.0]
    folded = [fold_word(character) for character in letters]
    # Most gaps are out of the question: two known words could not make up for what the picture says.
    places = [0, *(place for place in range(1, len(scores)) if scores[place] > HOPELESS), len(letters)]
    best = [0.0]
    came_from = [0]
    for end in range(1, len(places)):
        total, start = max(
            (best[start] + scores[places[start]] + _word(folded[places[start] : places[end]], words), start)
            for start in range(end)
        )
        best.append(total)
        came_from.append(start)
    starts = []
    at = len(places) - 1
    while at:
        at = came_from[at]
        starts.append(places[at])
    return starts[::-1]


def _word(folded: list[str], words: SignWords) -> float:
    """What speaks for some characters as one word."""
    word = "".join(folded).strip(_EDGES)
    if not 2 <= len(word) <= MAX_WORD or not words.has_folded(word):
        return 0.0
    return KNOWN_SMALL_WORD if len(word) == 2 else KNOWN_WORD


def _inside_known(text: str, solid: list[int], read: list[bool], words: SignWords) -> set[int]:
    """Gaps inside a word that was read and is known."""
    starts = [place for place, was in enumerate(read) if was]
    gaps: set[int] = set()
    for start, end in zip(starts, [*starts[1:], len(solid)], strict=True):
        word = "".join(text[index] for index in solid[start:end]).strip(_EDGES)
        if len(word) >= _LEAST_KNOWN and word in words:
            gaps.update(range(start + 1, end))
    return gaps


def _spaced(line: Recognition, solid: list[int], starts: frozenset[int]) -> Recognition:
    """The line with spaces before some of its characters; a space that was read keeps what is known of it."""
    characters: list[str] = []
    origins: list[int] = []
    for place, index in enumerate(solid):
        if place and place in starts:
            was = index - solid[place - 1] > 1
            characters.append(" ")
            origins.append(index - 1 if was else -1)
        characters.append(line.text[index])
        origins.append(index)
    return line.rewritten("".join(characters), origins)
