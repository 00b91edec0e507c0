"""Traces as tables: what the metamodel is fitted on, and how signs are dealt by their phrases."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np
import numpy.typing as npt

from shared.errors import InputError
from shared.models.sign_evidence import SignEvidence
from shared.models.sign_features import FEATURES, RECOGNISERS, encode
from simulations.traces.groups import groups_of
from simulations.traces.records import SignTrace, TracePart

FOLDS: Final = 5
Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Picture:
    """What the picture of a sign is like before it is read; None for what is not known."""

    height_px: float | None
    sharpness: float | None
    brightness: float | None


@dataclass(frozen=True)
class Table:
    """Readings, one a row: each recogniser's of each look that it had something to say about.

    Attributes:
        x: features, float32 of shape (n, len(FEATURES)).
        right: whether the phone's reading is right, shape (n,).
        final: whether the sign is right after asking the cloud, shape (n,).
        recogniser: index into `RECOGNISERS`, shape (n,).
        pictures: what was seen before reading.
        signs: the traces the rows are of.
    """

    x: Vectors
    right: Bools
    final: Bools
    recogniser: Ints
    pictures: tuple[Picture, ...]
    signs: tuple[SignTrace, ...]

    def __len__(self) -> int:
        return len(self.right)

    def where(self, mask: Bools) -> Table:
        """The rows of a mask."""
        rows = np.flatnonzero(mask)
        return Table(
            self.x[rows],
            self.right[rows],
            self.final[rows],
            self.recogniser[rows],
            tuple(self.pictures[row] for row in rows),
            tuple(self.signs[row] for row in rows),
        )

    def of_part(self, *parts: TracePart) -> Table:
        """The rows of some parts."""
        return self.where(np.array([sign.part in parts for sign in self.signs], np.bool_))

    def is_independent(self) -> Bools:
        """Which rows are one reading of each recogniser for each group, shape (n,): the first look at its first sign.

        What says the same is right and wrong together, on however many signs it stands and however often they are
        looked at: a phrase that the phrasebook has wrong would count as often as it was drawn.
        """
        first: dict[tuple[str, int], tuple[int, int]] = {}
        keys = list(zip(groups_of(self.signs), self.recogniser.tolist(), strict=True))
        for sign, key in zip(self.signs, keys, strict=True):
            first[key] = min((sign.sign, sign.look), first.get(key, (sign.sign, sign.look)))
        return np.array(
            [(sign.sign, sign.look) == first[key] for sign, key in zip(self.signs, keys, strict=True)], np.bool_
        )

    def folds(self) -> Ints:
        """The fold of every row, by its group: no phrase is in two."""
        return np.array([_dealt(f"fold {group}", FOLDS) for group in groups_of(self.signs)], np.int64)

    def certifying(self) -> Bools:
        """Which rows of the calibration part certify, by their group: no phrase also calibrates."""
        return np.array([certifies(group) for group in groups_of(self.signs)], np.bool_)


def certifies(group: str) -> bool:
    """Whether a group of the calibration part certifies; the others calibrate.

    A threshold certified on the samples that the probabilities were calibrated on would promise too much: it would rest
    on probabilities that know the answers. Two numbers for each recogniser need few samples, a certificate many: a
    quarter calibrates.
    """
    return _dealt(f"share {group}", 4) > 0


def table_of(signs: Sequence[SignTrace]) -> Table:
    """The readings of traces; looks at which a recogniser had no line to judge are left out.

    Raises:
        InputError: there is none, or a recogniser has no features of its own.
        SignalsInvalid: evidence holds an impossible number.
    """
    x, right, final, recogniser, pictures, rows = [], [], [], [], [], []
    for sign in signs:
        for name, local in sign.local.items():
            if local.evidence is None:
                continue
            if local.evidence.recogniser not in RECOGNISERS:
                raise InputError(f"the traces have a recogniser {local.evidence.recogniser}, which has no features")
            x.append(encode(local.evidence))
            right.append(local.right)
            final.append(sign.final_right(name))
            recogniser.append(RECOGNISERS.index(local.evidence.recogniser))
            pictures.append(picture_of(local.evidence))
            rows.append(sign)
    if not rows:
        raise InputError("the traces hold no reading", hint="make them with: wayword-sim traces")
    return Table(
        np.stack(x).reshape(len(rows), len(FEATURES)),
        np.array(right, np.bool_),
        np.array(final, np.bool_),
        np.array(recogniser, np.int64),
        tuple(pictures),
        tuple(rows),
    )


def picture_of(evidence: SignEvidence) -> Picture:
    """The picture of the middle one of a sign's lines, measure by measure."""
    return Picture(
        _middle(line.height_px for line in evidence.lines),
        _middle(line.sharpness for line in evidence.lines),
        _middle(line.brightness for line in evidence.lines),
    )


def _middle(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _dealt(text: str, parts: int) -> int:
    return zlib.crc32(text.encode()) % parts
