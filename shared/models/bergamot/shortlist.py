"""The lexical shortlist: which target tokens a source sentence can have.

Layout, little-endian u64 unless said otherwise (marian-dev, ``src/data/shortlist.cpp``)::

    magic, checksum, first, best, offset count, list length
    offset count x u64      start of each source token's list; the last one is the list length
    list length x u32       target token ids

Candidates of a sentence are the `first` most frequent target tokens and the lists of its source tokens.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from shared.errors import PackCorrupt
from shared.models.bergamot.container import read_limited

_MAGIC: Final = 0xF11A48D5013417F5
_HEADER: Final = struct.Struct("<6Q")


@dataclass(frozen=True)
class Shortlist:
    """Target candidates of each source token. May be used from several threads.

    Attributes:
        frequent: number of most frequent target tokens that are always candidates.
        offsets: int64 of shape (source vocabulary + 1,).
        targets: uint32 target ids; the list of token i is ``targets[offsets[i]:offsets[i + 1]]``.
        target_size: size of the target vocabulary.
    """

    frequent: int
    offsets: npt.NDArray[np.int64]
    targets: npt.NDArray[np.uint32]
    target_size: int

    @classmethod
    def read(cls, path: Path, *, source_size: int, target_size: int) -> Shortlist:
        """Read a shortlist file.

        Raises:
            PackCorrupt: it is damaged, or made for another vocabulary.
            StorageError: it cannot be read.
        """
        return cls.parse(read_limited(path), origin=path.name, source_size=source_size, target_size=target_size)

    @classmethod
    def parse(cls, data: bytes, *, origin: str, source_size: int, target_size: int) -> Shortlist:
        """Read the bytes of a shortlist.

        Raises:
            PackCorrupt: it is damaged, or made for another vocabulary.
        """
        if len(data) < _HEADER.size:
            raise PackCorrupt(f"{origin} is damaged: it is too short for a shortlist")
        magic, _, first, _, offset_count, list_length = _HEADER.unpack_from(data)
        if magic != _MAGIC:
            raise PackCorrupt(f"{origin} is no binary shortlist")
        if len(data) != _HEADER.size + 8 * offset_count + 4 * list_length:
            raise PackCorrupt(f"{origin} is damaged: its length does not fit its header")
        if offset_count != source_size + 1 or first > target_size:
            raise PackCorrupt(
                f"{origin} does not belong to this model: it is for {offset_count - 1} source tokens and "
                f"{first} frequent ones, the vocabulary has {source_size} and {target_size}"
            )
        offsets = np.frombuffer(data, dtype="<u8", count=offset_count, offset=_HEADER.size)
        targets = np.frombuffer(data, dtype="<u4", count=list_length, offset=_HEADER.size + 8 * offset_count)
        ordered = bool((offsets[:-1] <= offsets[1:]).all())
        if offsets[0] != 0 or offsets[-1] != list_length or not ordered:
            raise PackCorrupt(f"{origin} is damaged: its offsets are not in order")
        if list_length and int(targets.max()) >= target_size:
            raise PackCorrupt(f"{origin} is damaged: it names a token outside the vocabulary")
        return cls(int(first), offsets.astype(np.int64), targets.astype(np.uint32), target_size)

    def candidates(self, source: Sequence[int], *, end: int) -> npt.NDArray[np.int64]:
        """Target ids a sentence may use.

        Args:
            source: token ids of the sentence.
            end: id of the end-of-sentence token; it is always a candidate.

        Returns:
            Distinct ids, int64 of shape (candidates,): `end` first, the others rising.
        """
        chosen = np.zeros(self.target_size, dtype=np.bool_)
        chosen[: self.frequent] = True
        for token in set(source):
            chosen[self.targets[self.offsets[token] : self.offsets[token + 1]]] = True
        chosen[end] = False
        return np.concatenate(([end], np.flatnonzero(chosen)))
