"""Fitting the metamodel: which kind of model, by cross-validation, and how its log-odds become chances.

Three chances are modelled: that the phone's reading is right; if it is wrong, that the cloud's answer sets it right; if
it is right, that the answer spoils it. Their products are what the metamodel says, so that what it says adds up: helped
is at most 1 - right, harmed at most right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from shared.errors import InputError
from shared.models.sign_features import RECOGNISERS
from simulations.training.cascade_data import FOLDS, Bools, Floats, Ints, Table, Vectors
from simulations.training.cascade_models import CONSTANT, LOGISTIC, PLAIN, TREES, Model, Recipe, fit

_CAUTION: Final = 2.0
"""Penalty of the calibration's distance from leaving log-odds as they are: with few samples it hardly moves them."""
_LEAST_STEP: Final = 1e-9
_LEAST_SLOPE: Final = 0.05
"""Calibration never turns the order round."""
_LEAST_CHANCE: Final = 1e-6


class Kind(StrEnum):
    """Which kinds of model may be chosen."""

    AUTO = "auto"
    LOGISTIC = "logistic"
    TREES = "trees"


class Question(StrEnum):
    """What a head answers."""

    RIGHT = "right"
    """Is the phone's reading right?"""
    MENDED = "mended"
    """It is wrong: does the cloud's answer set it right?"""
    SPOILT = "spoilt"
    """It is right: does the cloud's answer spoil it?"""


@dataclass(frozen=True)
class Head:
    """One calibrated model: P = 1 / (1 + exp(-(slope * log-odds + shift))), by recogniser.

    Attributes:
        recipe: how the model was fitted.
        model: gives log-odds.
        slope, shift: float32 of shape (recognisers,).
        losses: logarithmic loss of every recipe in cross-validation.
    """

    recipe: Recipe
    model: Model
    slope: Vectors
    shift: Vectors
    losses: Mapping[str, float]

    def chances(self, x: Vectors, recogniser: Ints) -> Floats:
        """Calibrated probabilities, shape (n,)."""
        odds = picked(self.model.log_odds(x), recogniser)
        return sigmoid(self.slope[recogniser].astype(np.float64) * odds + self.shift[recogniser].astype(np.float64))


@dataclass(frozen=True)
class Heads:
    """The metamodel in numpy; what the graph is compared with."""

    right: Head
    mended: Head
    spoilt: Head

    def outputs(self, x: Vectors, recogniser: Ints) -> tuple[Floats, Floats, Floats]:
        """P(right), P(helped), P(harmed), each of shape (n,)."""
        right = self.right.chances(x, recogniser)
        mended, spoilt = self.mended.chances(x, recogniser), self.spoilt.chances(x, recogniser)
        return right, (1 - right) * mended, right * spoilt


def fit_heads(train: Table, calibrating: Table, *, kind: Kind, seed: int) -> Heads:
    """Choose and fit on one table, calibrate on another.

    Raises:
        InputError: a table is empty, or an extra is not installed.
    """
    if not len(train) or not len(calibrating):
        raise InputError("the traces have no signs to train or to calibrate with", hint="ask for more signs")
    return Heads(*(_head(question, train, calibrating, kind, seed) for question in Question))


def asked(question: Question, table: Table) -> tuple[Table, Bools]:
    """The rows a question is about, and its answers."""
    if question is Question.RIGHT:
        return table, table.right
    rows = table.where(table.right if question is Question.SPOILT else ~table.right)
    return rows, ~rows.final if question is Question.SPOILT else rows.final


def _head(question: Question, train: Table, calibrating: Table, kind: Kind, seed: int) -> Head:
    rows, y = asked(question, train)
    rising = question is Question.RIGHT
    losses = {recipe: _loss(recipe, rows, y, rising=rising, seed=seed) for recipe in _recipes(question, kind)}
    # The first of equals: recipes stand in order of simplicity.
    recipe = min(losses, key=lambda each: losses[each])
    model = fit(recipe, rows.x, y, rows.recogniser, rising=rising, seed=seed)
    judged, truth = asked(question, calibrating)
    odds = picked(model.log_odds(judged.x), judged.recogniser)
    lines = [
        platt(odds[judged.recogniser == number], truth[judged.recogniser == number])
        for number in range(len(RECOGNISERS))
    ]
    slope, shift = (np.array(values, np.float32) for values in zip(*lines, strict=True))
    return Head(recipe, model, slope, shift, {str(each): round(float(loss), 4) for each, loss in losses.items()})


def _recipes(question: Question, kind: Kind) -> Sequence[Recipe]:
    """What may be chosen, in order of simplicity."""
    return (
        *CONSTANT,
        *((PLAIN,) if question is Question.RIGHT else ()),
        *(LOGISTIC if kind is not Kind.TREES else ()),
        *(TREES if kind is not Kind.LOGISTIC else ()),
    )


def _loss(recipe: Recipe, rows: Table, y: Bools, *, rising: bool, seed: int) -> float:
    """Mean logarithmic loss on folds that had no part in the fit; no phrase is in two."""
    folds = rows.folds()
    loss = 0.0
    for fold in range(FOLDS):
        held = folds == fold
        if held.all() or not held.any():
            continue
        kept = rows.where(~held)
        model = fit(recipe, kept.x, y[~held], kept.recogniser, rising=rising, seed=seed)
        p = sigmoid(picked(model.log_odds(rows.x[held]), rows.recogniser[held]))
        loss += log_loss(p, y[held]) * held.sum()
    return loss / max(len(y), 1)


def platt(odds: Floats, y: Bools) -> tuple[float, float]:
    """Slope and shift that calibrate log-odds (Platt 1999), kept near 1 and 0 by a penalty; by Newton's method."""
    moved = np.zeros(2)
    z = np.column_stack([odds, np.ones(len(odds))])

    def cost(values: Floats) -> float:
        return float(np.logaddexp(0, np.where(y, -1, 1) * (odds + z @ values)).sum() + _CAUTION / 2 * values @ values)

    for _ in range(50):
        p = sigmoid(odds + z @ moved)
        gradient = z.T @ (y - p) - _CAUTION * moved
        hessian = (z * (p * (1 - p))[:, None]).T @ z + np.diag([_CAUTION, _CAUTION])
        step = np.linalg.solve(hessian, gradient)
        # Far from the answer Newton's step is too long, where the curve is flat by thousands.
        while cost(moved + step) > cost(moved) and np.abs(step).max() > _LEAST_STEP:
            step = step / 2
        moved = moved + step
        if np.abs(step).max() < _LEAST_STEP:
            break
    return max(1 + float(moved[0]), _LEAST_SLOPE), float(moved[1])


def picked(odds: Floats, recogniser: Ints) -> Floats:
    """Of every row the column of its recogniser."""
    return odds[np.arange(len(odds)), recogniser]


def sigmoid(odds: Floats) -> Floats:
    """Probabilities of log-odds."""
    return np.asarray(1 / (1 + np.exp(-np.clip(odds, -30, 30))))


def log_loss(p: Floats, y: Bools) -> float:
    """Mean logarithmic loss."""
    p = np.clip(p, _LEAST_CHANCE, 1 - _LEAST_CHANCE)
    return float(-np.where(y, np.log(p), np.log(1 - p)).mean())
