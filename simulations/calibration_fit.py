"""Fitting confidence: logistic regression on samples whose truth is known, and what a fit is judged by."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from shared.errors import InputError
from shared.models.calibration import LogisticModel
from simulations.rendered_lines import Part

RIDGES: Final = (0.01, 1.0, 10.0)
"""Penalties tried, of the squared weights."""
BINS: Final = 10
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """One observation: signals, whether the answer was right, and what the sample is for."""

    features: tuple[float, ...]
    right: bool
    part: Part


@dataclass(frozen=True)
class Figures:
    """How well a model does on the samples that report.

    Attributes:
        samples: how many.
        share_right: of them.
        ece: expected calibration error over ten bins of equal width (Naeini et al. 2015).
        brier: mean squared error of the probability.
        auroc: probability that a right answer scores above a wrong one; NaN without one of either.
        bins: of each bin that is not empty its mean probability, share right, and number of samples.
    """

    samples: int
    share_right: float
    ece: float
    brier: float
    auroc: float
    bins: tuple[tuple[float, float, int], ...]

    def as_json(self) -> dict[str, float | None]:
        """For the data file."""
        return {
            "held_apart": self.samples,
            "share_right": round(self.share_right, 3),
            "ece": round(self.ece, 3),
            "brier": round(self.brier, 3),
            "auroc": None if np.isnan(self.auroc) else round(self.auroc, 3),
        }


def fit(
    samples: Sequence[Sample],
    *,
    rising: Collection[int] = (0, 1),
    choices: Sequence[Collection[int]] | None = None,
) -> tuple[LogisticModel, Figures]:
    """Fit on one part, select on another, report on the third.

    Args:
        samples: of all parts; without any that select, the first choice and the least penalty are taken.
        rising: features the probability must not fall with. The scores of a model rise and fall together; a negative
            weight on one of them would make a surer reading less believable, so the worst offender is left out.
        choices: sets of features to choose from; all of them by default.

    Returns:
        The model with the least logarithmic loss on the part that selects, and its figures on the part that reports.

    Raises:
        InputError: a part has no sample.
    """
    parts = {part: [sample for sample in samples if sample.part is part] for part in Part}
    if not (parts[Part.FIT] and parts[Part.REPORT]):
        raise InputError("a part has no sample", hint="ask for more samples")
    everything = range(len(samples[0].features))
    models = [
        _fitted(parts[Part.FIT], frozenset(chosen), rising, ridge)
        for chosen in choices or [everything]
        for ridge in RIDGES
    ]
    judges = parts[Part.SELECT]
    model = min(models, key=lambda candidate: _log_loss(candidate, judges)) if judges else models[0]
    return model, figures(model, parts[Part.REPORT])


def figures(model: LogisticModel, samples: Sequence[Sample]) -> Figures:
    """How well a model does on samples."""
    p = np.array([model.probability(sample.features) for sample in samples])
    y = np.array([sample.right for sample in samples], float)
    return Figures(
        len(samples), float(y.mean()), calibration_error(p, y), float(((p - y) ** 2).mean()), auroc(p, y), bins_of(p, y)
    )


def newton(x: Floats, y: Floats, ridge: float = RIDGES[0]) -> Floats:
    """Coefficients of a ridge logistic regression, by Newton's method; the last one, the bias, is not penalised.

    Args:
        x: shape (samples, features), the last feature 1.
        y: 0 or 1, shape (samples,).
        ridge: penalty of the squared weights.
    """
    beta = np.zeros(x.shape[1])
    penalty = np.full(len(beta), ridge)
    penalty[-1] = RIDGES[0]
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -30, 30)))
        gradient = x.T @ (y - p) - penalty * beta
        hessian = (x * (p * (1 - p))[:, None]).T @ x + np.diag(penalty)
        step = np.linalg.solve(hessian, gradient)
        beta += step
        if np.abs(step).max() < 1e-8:
            break
    return beta


def bins_of(p: Floats, y: Floats) -> tuple[tuple[float, float, int], ...]:
    """Mean probability, share right and number of samples of each bin that is not empty."""
    index = np.minimum((p * BINS).astype(int), BINS - 1)
    members = [index == number for number in range(BINS)]
    return tuple((float(p[m].mean()), float(y[m].mean()), int(m.sum())) for m in members if m.any())


def calibration_error(p: Floats, y: Floats) -> float:
    """Expected calibration error with ten bins of equal width."""
    return sum(abs(mean - share) * count for mean, share, count in bins_of(p, y)) / len(p)


def auroc(p: Floats, y: Floats) -> float:
    """Probability that a right answer scores above a wrong one; ties count half."""
    right, wrong = p[y == 1], p[y == 0]
    if not len(right) or not len(wrong):
        return float("nan")
    return float((right[:, None] > wrong).mean() + 0.5 * (right[:, None] == wrong).mean())


def _fitted(samples: Sequence[Sample], chosen: Collection[int], rising: Collection[int], ridge: float) -> LogisticModel:
    x = np.array([(*sample.features, 1.0) for sample in samples])
    y = np.array([sample.right for sample in samples], float)
    used = np.array([*(index in chosen for index in range(x.shape[1] - 1)), True])
    bounded = np.array([*(index in rising for index in range(x.shape[1] - 1)), False])
    while True:
        beta = np.zeros(x.shape[1])
        beta[used] = newton(x[:, used], y, ridge)
        against = np.flatnonzero((beta < 0) & bounded)
        if not len(against):
            return LogisticModel(tuple(round(float(w), 4) for w in beta[:-1]), round(float(beta[-1]), 4))
        used[against[np.argmin(beta[against])]] = False


def _log_loss(model: LogisticModel, samples: Sequence[Sample]) -> float:
    p = np.clip([model.probability(sample.features) for sample in samples], 1e-6, 1 - 1e-6)
    y = np.array([sample.right for sample in samples], float)
    return float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean())
