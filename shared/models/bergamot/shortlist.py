"""The lexical shortlist: which target tokens a source sentence can have.

marian's file, little-endian u64 unless said otherwise (marian-dev, ``src/data/shortlist.cpp``)::

    magic, checksum, first, best, offset count, list length
    offset count x u64      start of each source token's list; the last one is the list length
    list length x u32       target token ids

Candidates of a sentence are the `first` most frequent target tokens, the lists of its source tokens and, where both
sides share a vocabulary, the source tokens themselves, so that a name can be copied.

A pack holds the same lists in a file of a third of that size (`Shortlist.to_bytes`), little-endian::

    magic "WWLEX\\x01\\0\\0", u32 source tokens, u32 target tokens, u32 first, u32 entries
    zlib stream of: lengths of the lists, u16 each, then gaps, u16 each (u32 for more than 65,536 target tokens)

Lists rise strictly. A gap is what lies between an entry and the one before it in its list; the entry before the first
is `first` - 1, as smaller ones are candidates anyway. Numbers are split into planes, all lowest bytes first, which
zlib compresses better.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from shared.errors import PackCorrupt, PackUnsupported
from shared.models.bergamot.container import read_limited

_MARIAN_MAGIC: Final = 0xF11A48D5013417F5
_MARIAN_HEADER: Final = struct.Struct("<6Q")
_CHECKSUM_START: Final = 16  # bytes: the checksum covers what follows it
_MAGIC: Final = b"WWLEX\x01\0\0"
_HEADER: Final = struct.Struct("<8s4I")
_MAX_TOKENS: Final = 1 << 20
_MAX_ENTRIES: Final = 1 << 23
_MAX_LIST: Final = 65535
_COMPRESSION: Final = 6  # level 9 takes five times as long for one percent


@dataclass(frozen=True)
class Shortlist:
    """Target candidates of each source token. May be used from several threads.

    Attributes:
        frequent: number of most frequent target tokens that are always candidates.
        offsets: int64 of shape (source vocabulary + 1,).
        gaps: unsigned, as the pack's file has them; those of token i are ``gaps[offsets[i]:offsets[i + 1]]``. A
            million of them stay as they are until a sentence asks for its few lists: loading is quicker by half.
        target_size: size of the target vocabulary.
    """

    frequent: int
    offsets: npt.NDArray[np.int64]
    gaps: npt.NDArray[Any]
    target_size: int

    @classmethod
    def parse_marian(cls, data: bytes, *, origin: str, source_size: int, target_size: int) -> Shortlist:
        """Read the bytes of marian's file.

        Raises:
            PackCorrupt: it is damaged, or made for another vocabulary.
            PackUnsupported: it is larger than any known one.
        """
        if len(data) < _MARIAN_HEADER.size:
            raise PackCorrupt(f"{origin} is damaged: it is too short for a shortlist")
        magic, checksum, first, _, offset_count, list_length = _MARIAN_HEADER.unpack_from(data)
        if magic != _MARIAN_MAGIC:
            raise PackCorrupt(f"{origin} is no binary shortlist")
        if len(data) != _MARIAN_HEADER.size + 8 * offset_count + 4 * list_length:
            raise PackCorrupt(f"{origin} is damaged: its length does not fit its header")
        if offset_count != source_size + 1 or first > target_size:
            raise PackCorrupt(
                f"{origin} does not belong to this model: it is for {offset_count - 1} source tokens and "
                f"{first} frequent ones, the vocabulary has {source_size} and {target_size}"
            )
        if list_length > _MAX_ENTRIES:
            raise PackUnsupported(f"{origin} has {list_length} entries, this runtime takes {_MAX_ENTRIES}")
        if marian_checksum(data) != checksum:
            raise PackCorrupt(f"{origin} is damaged: its checksum is wrong")
        offsets = np.frombuffer(data, dtype="<u8", count=offset_count, offset=_MARIAN_HEADER.size)
        targets = np.frombuffer(data, dtype="<u4", count=list_length, offset=_MARIAN_HEADER.size + 8 * offset_count)
        ordered = bool((offsets[:-1] <= offsets[1:]).all())
        if offsets[0] != 0 or offsets[-1] != list_length or not ordered:
            raise PackCorrupt(f"{origin} is damaged: its offsets are not in order")
        if list_length and int(targets.max()) >= target_size:
            raise PackCorrupt(f"{origin} is damaged: it names a token outside the vocabulary")
        starts = offsets.astype(np.int64)
        return cls.of_lists(
            np.repeat(np.arange(source_size), starts[1:] - starts[:-1]),
            targets.astype(np.int64),
            frequent=int(first),
            source_size=source_size,
            target_size=target_size,
        )

    @classmethod
    def of_lists(
        cls,
        sources: npt.NDArray[np.int64],
        targets: npt.NDArray[np.int64],
        *,
        frequent: int,
        source_size: int,
        target_size: int,
    ) -> Shortlist:
        """A shortlist of pairs (source token, target token) in any order; what is a candidate anyway is left out."""
        keys = np.unique(sources * target_size + targets)
        keys = keys[keys % target_size >= frequent]
        lengths = np.bincount(keys // target_size, minlength=source_size)
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        targets = keys % target_size
        before = np.concatenate(([0], targets[:-1]))[: len(targets)]
        before[offsets[:-1][lengths > 0]] = frequent - 1
        return cls(frequent, offsets, (targets - before - 1).astype(_gap_type(target_size)), target_size)

    def to_bytes(self) -> bytes:
        """The bytes of a pack's file.

        Raises:
            PackUnsupported: a list is longer than the format allows.
        """
        lengths = self.offsets[1:] - self.offsets[:-1]
        if lengths.max(initial=0) > _MAX_LIST:
            raise PackUnsupported(f"a shortlist has a list of {lengths.max()} tokens, packs hold {_MAX_LIST}")
        planes = _planes(lengths.astype("<u2")) + _planes(self.gaps)
        header = _HEADER.pack(_MAGIC, len(lengths), self.target_size, self.frequent, len(self.gaps))
        return header + zlib.compress(planes, _COMPRESSION)

    @classmethod
    def read(cls, path: Path, *, source_size: int, target_size: int) -> Shortlist:
        """Read a pack's file.

        Raises:
            PackCorrupt: it is damaged, or made for another vocabulary.
            StorageError: it cannot be read.
        """
        return cls.parse(read_limited(path), origin=path.name, source_size=source_size, target_size=target_size)

    @classmethod
    def parse(cls, data: bytes, *, origin: str, source_size: int, target_size: int) -> Shortlist:
        """Read the bytes of a pack's file.

        Raises:
            PackCorrupt: it is damaged, or made for another vocabulary.
        """
        if len(data) < _HEADER.size or not data.startswith(_MAGIC):
            raise PackCorrupt(f"{origin} is no shortlist of a pack")
        _, sources, targets_size, frequent, entries = _HEADER.unpack_from(data)
        if (sources, targets_size) != (source_size, target_size) or frequent > target_size:
            raise PackCorrupt(
                f"{origin} does not belong to this model: it is for {sources} source and {targets_size} target tokens"
            )
        if max(sources, targets_size) > _MAX_TOKENS or entries > _MAX_ENTRIES:
            raise PackCorrupt(f"{origin} is damaged: it claims {entries} entries")
        gap_type = _gap_type(target_size)
        planes = _inflate(memoryview(data)[_HEADER.size :], 2 * sources + gap_type.itemsize * entries, origin)
        lengths = _numbers(planes[: 2 * sources], np.dtype("<u2"))
        offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
        if offsets[-1] != entries:
            raise PackCorrupt(f"{origin} is damaged: its lists do not add up")
        shortlist = cls(int(frequent), offsets, _numbers(planes[2 * sources :], gap_type), target_size)
        if shortlist.largest_target() >= target_size:
            raise PackCorrupt(f"{origin} is damaged: it names a token outside the vocabulary")
        return shortlist

    def largest_target(self) -> int:
        """The largest id of all lists; -1 where all are empty."""
        starts = self.offsets[:-1][self.offsets[:-1] < self.offsets[1:]]
        if not len(starts):
            return -1
        # The last of a list is the largest, and what its gaps add up to.
        sums = np.add.reduceat(self.gaps, starts, dtype=np.int64)
        lengths = np.diff(np.append(starts, len(self.gaps)))
        return int((sums + lengths).max()) + self.frequent - 1

    def targets(self, token: int) -> npt.NDArray[np.int64]:
        """The list of a source token, rising strictly; ids below `frequent` are left out."""
        gaps = self.gaps[self.offsets[token] : self.offsets[token + 1]]
        return np.cumsum(gaps, dtype=np.int64) + np.arange(self.frequent, self.frequent + len(gaps))

    def candidates(
        self, source: Sequence[int], *, end: int, copied: bool = False, barred: int | None = None
    ) -> npt.NDArray[np.int64]:
        """Target ids a sentence may use.

        Args:
            source: token ids of the sentence.
            end: id of the end-of-sentence token; it is always a candidate.
            copied: whether the source tokens themselves are candidates: both sides have the same vocabulary.
            barred: id of a token that is no candidate, whatever the lists say.

        Returns:
            Distinct ids, int64 of shape (candidates,): `end` first, the others rising.
        """
        chosen = np.zeros(self.target_size, dtype=np.bool_)
        chosen[: self.frequent] = True
        for token in set(source):
            chosen[self.targets(token)] = True
        if copied:
            chosen[list(source)] = True
        if barred is not None:
            chosen[barred] = False
        chosen[end] = False
        return np.concatenate(([end], np.flatnonzero(chosen)))


def marian_checksum(data: bytes) -> int:
    """The checksum of marian's file over all whole u64 behind it (marian-dev, ``src/common/hash.h``)."""
    seed = 0
    for (value,) in struct.iter_unpack("<Q", memoryview(data)[_CHECKSUM_START : len(data) - len(data) % 8]):
        seed ^= (value + 0x9E3779B9 + (seed << 6) + (seed >> 2)) & 0xFFFFFFFFFFFFFFFF
    return seed


def _gap_type(target_size: int) -> np.dtype[Any]:
    return np.dtype("<u2" if target_size <= 1 << 16 else "<u4")


def _planes(numbers: npt.NDArray[Any]) -> bytes:
    """The lowest byte of each number, then the second of each, and so on."""
    return numbers.view(np.uint8).reshape(-1, numbers.itemsize).T.tobytes()


def _numbers(planes: memoryview, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """The reverse of `_planes`."""
    rows = np.frombuffer(planes, np.uint8).reshape(kind.itemsize, -1)
    return np.ascontiguousarray(rows.T).view(kind).ravel()


def _inflate(data: memoryview, size: int, origin: str) -> memoryview:
    """Decompress exactly `size` bytes; never more are held."""
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(data, size + 1)
    except zlib.error as error:
        raise PackCorrupt(f"{origin} is damaged: it cannot be decompressed") from error
    if len(inflated) != size or not stream.eof or stream.unused_data:
        raise PackCorrupt(f"{origin} is damaged: it holds {len(inflated)} bytes instead of {size}")
    return memoryview(inflated)
