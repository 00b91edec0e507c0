"""Which of many strings are within one edit of a query, in eight bytes for every character of theirs.

Two strings within one edit of each other become equal when at most one character is dropped from each (Bocek, Hunt and
Stiller, *Fast Similarity Search in Large Dictionaries*, 2007). Instead of those strings the index holds 32 bits of a
polynomial hash of each, sorted, with the number of the string; numpy makes them all at once. A collision costs a
comparison and never an answer: the caller compares what it gets.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

_BASE: Final = 0x9E3779B97F4A7C15
"""An odd 64-bit multiplier (2^64 over the golden ratio, as in Knuth's multiplicative hashing)."""
_MASK: Final = (1 << 64) - 1
_NUMBER_BITS: Final = np.uint64(32)
_HASH_SHIFT: Final = 32
"""The upper half of a product modulo 2^64 depends on all bits below it."""


class NeighbourIndex:
    """Finds strings within one substitution, deletion or insertion of a query, and some that are not.

    Args:
        strings: numbered from 0 in this order. They are not kept.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        hashes: list[npt.NDArray[np.uint32]] = []
        numbers: list[npt.NDArray[np.int32]] = []
        by_length: dict[int, list[int]] = defaultdict(list)
        for number, string in enumerate(strings):
            by_length[len(string)].append(number)
        for length, members in by_length.items():
            together = "".join(strings[number] for number in members).encode("utf-32-le", "surrogatepass")
            codes = np.frombuffer(together, dtype="<u4").astype(np.uint64).reshape(len(members), length)
            hashes.append(_shortened_hashes(codes).ravel())
            numbers.append(np.repeat(np.array(members, dtype=np.int32), length + 1))
        # Hash and number are sorted as one integer, which is several times as quick as the order of the hashes.
        both = np.empty(sum(map(len, hashes)), dtype=np.uint64)
        if hashes:
            np.concatenate(hashes, out=both)
            both <<= _NUMBER_BITS
            both |= np.concatenate(numbers).astype(np.uint64)
            both.sort()
        self._hashes = (both >> _NUMBER_BITS).astype(np.uint32)
        self._numbers = both.astype(np.uint32).view(np.int32)

    @property
    def nbytes(self) -> int:
        """Memory of the index, in bytes."""
        return self._hashes.nbytes + self._numbers.nbytes

    def near(self, query: str) -> list[int]:
        """Numbers of all strings within one edit of `query` (equal ones too), and rarely of another, ascending."""
        wanted = np.array(sorted(_query_hashes(query)), dtype=np.uint32)
        found: set[int] = set()
        hashes, numbers = self._hashes, self._numbers
        for place, hashed in zip(hashes.searchsorted(wanted).tolist(), wanted.tolist(), strict=True):
            while place < len(hashes) and hashes[place] == hashed:
                found.add(int(numbers[place]))
                place += 1
        return sorted(found)


def _shortened_hashes(codes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint32]:
    """Hashes of every row whole and with each one of its characters missing.

    Args:
        codes: (rows, length) code points.

    Returns:
        (rows, length + 1); column 0 is of the whole row, column i + 1 of the row without its character i.
    """
    rows, length = codes.shape
    base = np.uint64(_BASE)
    powers = np.array(_powers(length), dtype=np.uint64)
    # before[:, i] is the hash of the first i characters; after[:, i] that of those from i on.
    before = np.zeros((rows, length + 1), dtype=np.uint64)
    after = np.zeros((rows, length + 1), dtype=np.uint64)
    for index in range(length):
        before[:, index + 1] = before[:, index] * base + codes[:, index] + np.uint64(1)
        back = length - 1 - index
        after[:, back] = after[:, back + 1] + (codes[:, back] + np.uint64(1)) * powers[index]
    # What stood before the character left out moves up to the characters behind it.
    without = before[:, :length] * powers[:length][::-1] + after[:, 1:]
    joined = np.concatenate([before[:, length:], without], axis=1) * base
    return (joined >> np.uint64(_HASH_SHIFT)).astype(np.uint32)


def _query_hashes(query: str) -> set[int]:
    """What `_shortened_hashes` gives for one string, which is too short for numpy to be quick."""
    length = len(query)
    powers = _powers(length)
    before = [0]
    for letter in query:
        before.append((before[-1] * _BASE + ord(letter) + 1) & _MASK)
    hashes = {(before[-1] * _BASE & _MASK) >> _HASH_SHIFT}
    after = 0
    for index in range(length - 1, -1, -1):
        moved = before[index] * powers[length - 1 - index] + after
        hashes.add((moved * _BASE & _MASK) >> _HASH_SHIFT)
        after = (after + (ord(query[index]) + 1) * powers[length - 1 - index]) & _MASK
    return hashes


@lru_cache(maxsize=512)
def _powers(count: int) -> tuple[int, ...]:
    """The first powers of the base modulo 2^64, from its power of 0."""
    powers = [1]
    for _ in range(count):
        powers.append(powers[-1] * _BASE & _MASK)
    return tuple(powers)
