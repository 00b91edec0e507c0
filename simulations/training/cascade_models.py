"""What the metamodel is made of: logistic regression, boosted trees or a constant, each by its log-odds.

All of them give log-odds for every recogniser, shape (n, recognisers); the reading's own is picked by its feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from shared.errors import InputError
from shared.models.sign_features import FEATURES, RECOGNISERS, RISING
from simulations.calibration_fit import newton
from simulations.training.cascade_data import Bools, Floats, Ints, Vectors

_RISING: Final = tuple(name in RISING for name in FEATURES)
_CORE: Final = ("recognition, all lines", "translation", "together", "script, worst line", "lines withheld", "complete")
_FEW: Final = (
    *_CORE,
    "characters mean, worst line",
    "characters least, worst line",
    "recognition, worst line",
    "known words, mean",
    "known words known",
    "spaces, worst line",
    "agreement, worst line",
    "agreement known",
    "detection, surest withheld",
    "resolution, worst line",
    "brightness, mean",
    "lines shown",
    "language",
    "engine translator",
    "phrase exact",
    "quality",
    *(f"recogniser {pack}" for pack in RECOGNISERS),
)
SETS: Final = {"core": _CORE, "few": _FEW, "all": FEATURES}
"""Features a regression may use: with few signs to learn from, fewer features are learned better."""
_LEAST_EVENTS: Final = 10
"""Of each outcome; with fewer, nothing is fitted but their share."""
_LEAVES: Final = 8
_LEAST_LEAF: Final = 20
_L2: Final = 1.0


class Model(Protocol):
    """Anything with log-odds."""

    def log_odds(self, x: Vectors) -> Floats:
        """Of shape (n, recognisers)."""
        ...


@dataclass(frozen=True)
class Linear:
    """Logistic regression.

    Attributes:
        weights: float32 of shape (features, recognisers).
        bias: float32 of shape (recognisers,).
    """

    weights: Vectors
    bias: Vectors

    def log_odds(self, x: Vectors) -> Floats:
        return np.asarray(x.astype(np.float64) @ self.weights.astype(np.float64) + self.bias.astype(np.float64))


@dataclass(frozen=True)
class Tree:
    """One regression tree: a row goes left at a node when its feature is at most the threshold.

    Attributes:
        feature: of each node; -1 for a leaf.
        threshold: of each node, float32.
        left, right: children of each node.
        value: of each leaf, float32.
    """

    feature: Ints
    threshold: Vectors
    left: Ints
    right: Ints
    value: Vectors

    def values(self, x: Vectors) -> Floats:
        """The value of the leaf every row ends in, shape (n,)."""
        node = np.zeros(len(x), np.int64)
        rows = np.arange(len(x))
        while True:
            inner = self.feature[node] >= 0
            if not inner.any():
                return self.value[node].astype(np.float64)
            goes_left = x[rows, np.maximum(self.feature[node], 0)] <= self.threshold[node]
            node = np.where(inner, np.where(goes_left, self.left[node], self.right[node]), node)


@dataclass(frozen=True)
class Trees:
    """Boosted trees, for every recogniser its own or the same.

    Attributes:
        trees: of each recogniser.
        bias: of each recogniser, float32 of shape (recognisers,).
    """

    trees: tuple[tuple[Tree, ...], ...]
    bias: Vectors

    def log_odds(self, x: Vectors) -> Floats:
        columns = []
        done: dict[int, Floats] = {}
        for number, forest in enumerate(self.trees):
            if id(forest) not in done:
                done[id(forest)] = sum((tree.values(x) for tree in forest), np.zeros(len(x)))
            columns.append(done[id(forest)] + float(self.bias[number]))
        return np.stack(columns, axis=1)


@dataclass(frozen=True)
class Recipe:
    """How a model is fitted.

    Attributes:
        kind: "constant", "plain", "logistic" or "trees".
        apart: whether every recogniser has a model of its own.
        strength: penalty of the squared weights of a logistic regression in units of the standardised features; number
            of boosted trees.
        rate: how fast trees learn.
        features: which of `SETS` a regression uses.
    """

    kind: str
    apart: bool = False
    strength: float = 0.0
    rate: float = 0.0
    features: str = "all"

    def __str__(self) -> str:
        each = "one for each recogniser" if self.apart else "one for all"
        if self.kind == "logistic":
            return f"logistic regression, {len(SETS[self.features])} features, penalty {self.strength:g}, {each}"
        if self.kind == "trees":
            return f"{self.strength:g} boosted trees, rate {self.rate:g}, {each}"
        return "plain confidence" if self.kind == "plain" else f"constant, {each}"


CONSTANT: Final = (Recipe("constant"), Recipe("constant", apart=True))
"""What other recipes fall back to with too few events; first of equals, so that a fallback goes by its own name."""
PLAIN: Final = Recipe("plain")
"""The product of the calibrated stages, fitted to nothing: what a metamodel has to beat."""
LOGISTIC: Final = tuple(
    Recipe("logistic", apart, strength, features=features)
    for features in SETS
    for apart in (False, True)
    for strength in (1.0, 5.0, 30.0)
)
TREES: Final = tuple(
    Recipe("trees", apart, strength, rate)
    for apart in (False, True)
    for strength, rate in ((40, 0.1), (100, 0.1), (150, 0.05))
)


def fit(recipe: Recipe, x: Vectors, y: Bools, recogniser: Ints, *, rising: bool, seed: int) -> Model:
    """Fit a model.

    Args:
        recipe: how.
        x: features.
        y: outcomes, shape (n,).
        recogniser: of every row, an index.
        rising: whether it must not fall in `RISING`.
        seed: of the trees; they draw nothing today.
    """
    count = len(RECOGNISERS)
    parts = [recogniser == number for number in range(count)] if recipe.apart else [np.full(len(y), True)] * count
    fitted: list[Model] = []
    for number, part in enumerate(parts):
        if not recipe.apart and number:
            fitted.append(fitted[0])
        elif recipe.kind == "plain":
            fitted.append(_plain())
        elif recipe.kind == "constant" or min(int(y[part].sum()), int((~y[part]).sum())) < _LEAST_EVENTS:
            fitted.append(_constant(y[part]))
        elif recipe.kind == "logistic":
            fitted.append(_logistic(x[part], y[part], recipe, rising=rising))
        else:
            fitted.append(_trees(x[part], y[part], recipe, rising=rising, seed=seed))
    return _together(fitted)


def _together(models: Sequence[Model]) -> Model:
    """One model whose column for every recogniser is that of the recogniser's own model."""
    if any(isinstance(model, Trees) for model in models):
        trees = [model if isinstance(model, Trees) else _no_trees(model) for model in models]
        bias = np.array([model.bias[number] for number, model in enumerate(trees)], np.float32)
        return Trees(tuple(model.trees[number] for number, model in enumerate(trees)), bias)
    linear = [model for model in models if isinstance(model, Linear)]
    return Linear(
        np.stack([model.weights[:, number] for number, model in enumerate(linear)], axis=1),
        np.array([model.bias[number] for number, model in enumerate(linear)], np.float32),
    )


def _no_trees(model: Model) -> Trees:
    if not isinstance(model, Linear) or model.weights.any():
        raise TypeError("only a constant goes with trees")
    return Trees(((),) * len(RECOGNISERS), model.bias)


def _constant(y: Bools) -> Linear:
    """The share of the outcome by Laplace's rule."""
    p = (float(y.sum()) + 1) / (len(y) + 2)
    weights = np.zeros((len(FEATURES), len(RECOGNISERS)), np.float32)
    return Linear(weights, np.full(len(RECOGNISERS), np.log(p / (1 - p)), np.float32))


def _plain() -> Linear:
    weights = np.zeros((len(FEATURES), len(RECOGNISERS)), np.float32)
    weights[FEATURES.index("together")] = 1
    return Linear(weights, np.zeros(len(RECOGNISERS), np.float32))


def _logistic(x: Vectors, y: Bools, recipe: Recipe, *, rising: bool) -> Linear:
    """Regression on standardised features; one that would make surer readings less believable is left out."""
    mean, deviation = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    used = (deviation > 1e-6) & np.isin(FEATURES, SETS[recipe.features])
    scale = np.where(used, deviation, 1.0)
    z = np.column_stack([(x - mean) / scale, np.ones(len(x))])
    bounded = np.array([*(flag and rising for flag in _RISING), False])
    kept = np.array([*used, True])
    while True:
        beta = np.zeros(z.shape[1])
        beta[kept] = newton(z[:, kept], y.astype(np.float64), recipe.strength)
        against = np.flatnonzero((beta < 0) & bounded)
        if not len(against):
            break
        kept[against[np.argmin(beta[against])]] = False
    weights = beta[:-1] / scale
    bias = float(beta[-1] - weights @ mean)
    count = len(RECOGNISERS)
    return Linear(np.repeat(weights[:, None], count, axis=1).astype(np.float32), np.full(count, bias, dtype=np.float32))


def _trees(x: Vectors, y: Bools, recipe: Recipe, *, rising: bool, seed: int) -> Trees:
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier  # needs an extra
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise InputError(
            f"boosted trees need {error.name}",
            hint="install the extra: pip install .[train], or ask for --model logistic",
        ) from error
    machine = HistGradientBoostingClassifier(
        learning_rate=recipe.rate,
        max_iter=int(recipe.strength),
        max_leaf_nodes=_LEAVES,
        min_samples_leaf=_LEAST_LEAF,
        l2_regularization=_L2,
        early_stopping=False,
        monotonic_cst=[int(flag and rising) for flag in _RISING],
        random_state=seed,
    )
    with threadpool_limits(limits=1):  # sums in another order would give another model
        machine.fit(x, y)
    forest = tuple(_tree(stage[0].nodes) for stage in machine._predictors)
    bias = np.full(len(RECOGNISERS), float(machine._baseline_prediction.reshape(-1)[0]), np.float32)
    found = Trees((forest,) * len(RECOGNISERS), bias)
    probe = x[: min(len(x), 500)]
    if np.abs(found.log_odds(probe)[:, 0] - machine.decision_function(probe)).max() > 1e-4:
        raise InputError("the trees of this scikit-learn are not laid out as they were", hint="see constraints.txt")
    return found


def _tree(nodes: npt.NDArray[Any]) -> Tree:
    """A tree out of scikit-learn's table of nodes."""
    leaf = nodes["is_leaf"].astype(bool)
    thresholds = nodes["num_threshold"].astype(np.float64)
    rounded = thresholds.astype(np.float32)
    # Features are float32: comparing with the largest float32 that is not above the threshold is comparing with it.
    rounded = np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)
    return Tree(
        feature=np.where(leaf, -1, nodes["feature_idx"]).astype(np.int64),
        threshold=np.where(leaf, 0, rounded).astype(np.float32),
        left=nodes["left"].astype(np.int64),
        right=nodes["right"].astype(np.int64),
        value=np.where(leaf, nodes["value"], 0).astype(np.float32),
    )
