"""What a metamodel is worth on signs that had no part in it: figures for its pack, its card and its page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from shared.models.cascade_pack import TrustModel, trusted
from shared.models.metamodel import INPUT
from shared.models.risk import RiskCertificate
from shared.models.session import OnnxSession
from shared.models.sign_features import FEATURES, RECOGNISERS
from simulations.calibration_fit import Figures, auroc, bins_of, calibration_error
from simulations.traces.records import TracePart
from simulations.training.cascade_data import Bools, Floats, Table
from simulations.training.cascade_fit import sigmoid

ALL: Final = "all languages"
TRANSLATED: Final = "translated whole"
"""Readings with a whole translation: what has none is wrong for sure, which makes every judge look good."""
LEAST_SIGNS: Final = 40
"""A language with fewer readings has no figures of its own."""
GAIN_EDGES: Final = (-1.0, 0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.01)
"""Bins of the expected gain: narrow where the cascade decides."""
_CONFIDENCE: Final = FEATURES.index("together")
_COMPLETE: Final = FEATURES.index("complete")


@dataclass(frozen=True)
class Judged:
    """Readings with what the graph says of them.

    Attributes:
        table: the readings.
        right, helped, harmed: shape (n,).
    """

    table: Table
    right: Floats
    helped: Floats
    harmed: Floats

    @classmethod
    def of(cls, session: OnnxSession, table: Table) -> Judged:
        """Ask the graph, as the product does."""
        if not len(table):
            return cls(table, *(np.zeros(0) for _ in range(3)))
        return cls(table, *(output.astype(np.float64) for output in session.run({INPUT: table.x})))

    def where(self, mask: Bools) -> Judged:
        """The rows of a mask."""
        return Judged(self.table.where(mask), self.right[mask], self.helped[mask], self.harmed[mask])

    def of_part(self, *parts: TracePart) -> Judged:
        """The rows of some parts."""
        return self.where(np.array([sign.part in parts for sign in self.table.signs], np.bool_))

    def of_recogniser(self, number: int) -> Judged:
        """The rows of one recogniser."""
        return self.where(self.table.recogniser == number)

    def of_language(self, language: str) -> Judged:
        """The rows of one language."""
        return self.where(np.array([sign.language == language for sign in self.table.signs], np.bool_))

    def translated(self) -> Judged:
        """The rows with a whole translation."""
        return self.where(self.table.x[:, _COMPLETE] > 0)

    def __len__(self) -> int:
        return len(self.table)


def figures_of(p: Floats, outcome: Bools) -> Figures:
    """How well probabilities fit outcomes; of none, nothing."""
    y = outcome.astype(np.float64)
    if not len(y):
        return Figures(0, 0.0, 0.0, 0.0, float("nan"), ())
    return Figures(
        len(y), float(y.mean()), calibration_error(p, y), float(((p - y) ** 2).mean()), auroc(p, y), bins_of(p, y)
    )


def by_language(judged: Judged) -> dict[str, Figures]:
    """P(right) of all readings, of those translated, and of those in every language that has enough of them."""
    counts = Counter(sign.language for sign in judged.table.signs)
    found = {ALL: figures_of(judged.right, judged.table.right)}
    translated = judged.translated()
    if len(translated):
        found[TRANSLATED] = figures_of(translated.right, translated.table.right)
    for language in sorted(counts):
        if counts[language] >= LEAST_SIGNS:
            part = judged.of_language(language)
            found[language] = figures_of(part.right, part.table.right)
    return found


def part_report(judged: Judged) -> dict[str, Any]:
    """Every figure of a part, by recogniser."""
    report: dict[str, Any] = {}
    for number, pack in enumerate(RECOGNISERS):
        own = judged.of_recogniser(number)
        if not len(own):
            continue
        right, final = own.table.right, own.table.final
        report[pack] = {
            "right": {name: as_json(figures) for name, figures in by_language(own).items()},
            "plain": {ALL: as_json(_plain(own)), TRANSLATED: as_json(_plain(own.translated()))},
            "helped": as_json(figures_of(own.helped, ~right & final)),
            "harmed": as_json(figures_of(own.harmed, right & ~final)),
            "gain": gain_report(own),
        }
    return report


def _plain(judged: Judged) -> Figures:
    """How well the product of the calibrated stages does, without a metamodel."""
    return figures_of(sigmoid(judged.table.x[:, _CONFIDENCE].astype(np.float64)), judged.table.right)


def gain_report(judged: Judged) -> dict[str, Any]:
    """Expected against realised gain, in signs right for each one asked."""
    expected = judged.helped - judged.harmed
    realised = judged.table.final.astype(np.float64) - judged.table.right
    bins = []
    for low, high in pairwise(GAIN_EDGES):
        inside = (expected >= low) & (expected < high)
        if inside.any():
            bins.append([_short(expected[inside].mean()), _short(realised[inside].mean()), int(inside.sum())])
    error = sum(abs(said - found) * count for said, found, count in bins) / len(judged)
    return {
        "bins": bins,
        "error": _short(error),
        "expected": _short(expected.mean()),
        "realised": _short(realised.mean()),
    }


def certificate_report(judged: Judged, certificates: Mapping[str, RiskCertificate | None]) -> dict[str, Any]:
    """What the certified readings of a part turn out to be, one look for each phrase."""
    first = judged.where(judged.table.is_independent())
    found = {}
    for number, pack in enumerate(RECOGNISERS):
        certificate = certificates.get(pack)
        own = first.of_recogniser(number)
        if certificate is None or not len(own):
            continue
        kept = own.right >= certificate.threshold
        found[pack] = {"signs": len(own), "certified": int(kept.sum()), "wrong": int((kept & ~own.table.right).sum())}
    return found


def light_report(judged: Judged, trust: Mapping[str, TrustModel]) -> list[dict[str, Any]]:
    """By light and language: the share each recogniser has right, and what `trust` expected before reading."""
    groups = sorted({(sign.view.light, sign.language) for sign in judged.table.signs})
    rows = []
    for light, language in groups:
        row: dict[str, Any] = {"light": light, "language": language}
        for number, pack in enumerate(RECOGNISERS):
            own = judged.of_recogniser(number).of_language(language)
            own = own.where(np.array([sign.view.light == light for sign in own.table.signs], np.bool_))
            if len(own) and pack in trust:
                expected = [
                    trusted(trust[pack], language, picture.brightness, picture.sharpness, picture.height_px)
                    for picture in own.table.pictures
                ]
                row[pack] = [_short(own.table.right.mean()), _short(np.mean(expected)), len(own)]
        rows.append(row)
    return rows


def trust_report(judged: Judged, trust: Mapping[str, TrustModel]) -> dict[str, Any]:
    """How well `trust` does on a part."""
    found = {}
    for number, pack in enumerate(RECOGNISERS):
        own = judged.of_recogniser(number)
        if pack not in trust or not len(own):
            continue
        p = np.array(
            [
                trusted(trust[pack], sign.language, picture.brightness, picture.sharpness, picture.height_px)
                for sign, picture in zip(own.table.signs, own.table.pictures, strict=True)
            ]
        )
        found[pack] = as_json(figures_of(p, own.table.right))
    return found


def as_json(figures: Figures) -> dict[str, Any]:
    """Figures for a file."""
    return {
        "readings": figures.samples,
        "share": _short(figures.share_right),
        "auroc": None if np.isnan(figures.auroc) else _short(figures.auroc),
        "brier": _short(figures.brier),
        "ece": _short(figures.ece),
    }


def _short(value: float | np.floating[Any]) -> float:
    return round(float(value), 4)
