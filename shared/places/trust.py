"""How far several devices' readings of a sign are to be believed, and which of them wins.

Readings are grouped into signs by their text alone (`matching.match_text`), the best supported text first. Within a
sign a device counts once, with its newest reading. Of the pairs (text, translation) the one that most devices gave
wins, and is shared when

* at least k devices gave this pair, but for case, accents, spaces and punctuation: nobody's own words are handed out;
* more devices agree with its translation than give another one;
* its trust is at least `MIN_TRUST`.

Trust is the lower bound, at `QUANTILE`, of the Beta posterior of "a reader of this sign reads it so":

    trust(a, d) = the x with P(X <= x) = 0.2, X ~ Beta(1 + a, 1 + d)

for a devices that agree and d that do not (a uniform prior; Josang and Ismail, *The Beta Reputation System*, 2002,
take its mean, which says the same of three readers and of a hundred with the same share). At 3:0 it is 0.67, at 10:0
0.86, at 3:1 0.51, at 6:2 0.58, at 4:2 0.48. `MIN_TRUST` of a half means: with a chance of four in five, most who read
the sign read it so. A minority never wins, and a large one silences the sign instead.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from shared.places.matching import NEAR, Form, Glimpse, form_of, hash_distance, match, match_forms, text_key
from shared.places.reading import KnownSign, PlaceEngine, PlaceReading

T = TypeVar("T")

QUANTILE: Final = 0.2
MIN_TRUST: Final = 0.5
MIN_DEVICES: Final = 3
"""k: fewer devices share nothing."""
MAX_COUNTED: Final = 512
"""Devices counted on either side; beyond, the bound hardly moves."""
MAX_TEXTS: Final = 512
"""Different texts looked at in one place, the best supported first."""


@dataclass(frozen=True, slots=True)
class Vote:
    """One device's reading of one sign.

    Attributes:
        reading: what it read.
        device: a name that is the same for two votes of one device, and says nothing else.
        day: when, see `memory.day_of`.
    """

    reading: PlaceReading
    device: bytes
    day: int


@dataclass(frozen=True, slots=True)
class _Sign:
    """The votes on one sign, one a device."""

    votes: tuple[Vote, ...]

    @property
    def winner(self) -> tuple[str, str]:
        """The pair of keys that most devices gave; of several the first in order, which then cannot be shared."""
        counts = Counter(_pair(vote) for vote in self.votes)
        return min(counts, key=lambda pair: (-counts[pair], pair))


@lru_cache(maxsize=4096)
def lower_bound(agree: int, disagree: int) -> float:
    """Trust in what `agree` devices read and `disagree` did not: the 20 % quantile of Beta(1 + agree, 1 + disagree)."""
    a, b = min(agree, MAX_COUNTED) + 1, min(disagree, MAX_COUNTED) + 1
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        if _beta_below(middle, a, b) < QUANTILE:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def weigh(
    votes: Sequence[Vote], *, least_devices: int = MIN_DEVICES, glimpse: Glimpse | None = None
) -> list[KnownSign]:
    """The signs of one place that may be shared, most trusted first.

    Args:
        votes: of one target language.
        least_devices: k.
        glimpse: of the only sign that is wanted; those that it cannot be of are left out. None for all.
    """
    signs = _signs(votes)
    hashes, owners = _hashes_of(signs)
    known = []
    for number, sign in enumerate(signs):
        if glimpse is not None and not any(
            match(glimpse, vote.reading.text, vote.reading.picture_hash) for vote in sign.votes
        ):
            continue
        text, translation = sign.winner
        agreeing = [vote for vote in sign.votes if _key(vote.reading.translation) == translation]
        exact = [vote for vote in agreeing if text_key(vote.reading.text) == text]
        disagreeing = len(sign.votes) - len(agreeing)
        trust = lower_bound(len(agreeing), disagreeing)
        if len(exact) < least_devices or len(agreeing) <= disagreeing or trust < MIN_TRUST:
            continue
        picture = _typical_hash(exact)
        if picture is not None:
            # Others say that this picture reads differently: then a picture alone proves nothing here.
            alike = np.unique(owners[np.bitwise_count(hashes ^ np.uint64(picture)) <= NEAR])
            rivals = sum(len(signs[other].votes) for other in alike.tolist() if other != number)
            if lower_bound(len(agreeing), disagreeing + rivals) < MIN_TRUST:
                picture = None
        reading = replace(_representative(exact), picture_hash=picture, confidence=trust)
        known.append(KnownSign(reading, trust, len(exact)))
    known.sort(key=lambda sign: (-sign.trust, -sign.devices, sign.reading.cell, sign.reading.text))
    return known


def _signs(votes: Sequence[Vote]) -> list[_Sign]:
    """Votes by sign, each device once in each."""
    by_text: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_text[text_key(vote.reading.text)].append(vote)
    support = {key: len({vote.device for vote in group}) for key, group in by_text.items()}
    texts = sorted(by_text, key=lambda key: (-support[key], key))[:MAX_TEXTS]
    # Texts with different numbers are never one sign: most need not be compared.
    leaders: dict[tuple[str, ...], list[tuple[Form, list[Vote]]]] = defaultdict(list)
    groups: list[list[Vote]] = []
    for key in texts:
        form = form_of(by_text[key][0].reading.text)
        alike = leaders[form.digits]
        group = next((members for other, members in alike if match_forms(other, form)), None)
        if group is None:
            group = []
            groups.append(group)
            alike.append((form, group))
        group += by_text[key]
    return [_Sign(_once(group)) for group in groups]


def _once(votes: Sequence[Vote]) -> tuple[Vote, ...]:
    newest: dict[bytes, Vote] = {}
    for vote in sorted(votes, key=lambda vote: (vote.day, _pair(vote))):
        newest[vote.device] = vote
    return tuple(newest.values())


def _pair(vote: Vote) -> tuple[str, str]:
    return text_key(vote.reading.text), _key(vote.reading.translation)


def _key(translation: str) -> str:
    """Translations that differ in case and punctuation only are one; those without letters are compared as they are."""
    key = text_key(translation)
    return key if key != "|" else translation.strip()


def _representative(exact: Sequence[Vote]) -> PlaceReading:
    """The commonest spelling, cell, source and engine of readings that agree."""
    spelling = _commonest([(vote.reading.text, vote.reading.translation) for vote in exact])
    engine = _commonest([vote.reading.engine.value for vote in exact])
    text, translation = spelling
    return PlaceReading(
        cell=_commonest([vote.reading.cell for vote in exact]),
        text=text,
        translation=translation,
        source=_commonest([vote.reading.source for vote in exact]),
        target=exact[0].reading.target,
        engine=PlaceEngine(engine),
    )


def _commonest(values: Sequence[T]) -> T:
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], repr(value)))


def _typical_hash(votes: Sequence[Vote]) -> int | None:
    """The hash nearest to all others: a few that were made up move it by nothing."""
    hashes = sorted(vote.reading.picture_hash for vote in votes if vote.reading.picture_hash is not None)
    if 2 * len(hashes) <= len(votes):
        return None  # too few of those who agree showed it
    hashes = hashes[:MAX_COUNTED]
    return min(hashes, key=lambda one: (sum(hash_distance(one, other) for other in hashes), one))


def _hashes_of(signs: Sequence[_Sign]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Every vote's picture hash, and the number of the sign that it is a vote on."""
    shown = [
        (vote.reading.picture_hash, number)
        for number, sign in enumerate(signs)
        for vote in sign.votes
        if vote.reading.picture_hash is not None
    ]
    return np.array([hashed for hashed, _ in shown], np.uint64), np.array([number for _, number in shown], np.int64)


def _beta_below(x: float, a: int, b: int) -> float:
    """P(X <= x) of a Beta(a, b) with whole a and b: P(at least a of a + b - 1 tosses succeed) (DLMF 8.17.5)."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    n = a + b - 1
    log_x, log_rest = math.log(x), math.log1p(-x)
    return math.fsum(
        math.exp(math.lgamma(n + 1) - math.lgamma(j + 1) - math.lgamma(n - j + 1) + j * log_x + (n - j) * log_rest)
        for j in range(a, n + 1)
    )
