"""Beam search over one decoder step, as marian does it with ``normalize: 1``.

The beam starts with `width` hypotheses. One that ends leaves it, and the beam narrows by one; the search is over when
the beam is empty or the length limit is reached. The best hypothesis has the highest mean log-probability.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from shared.models.session import OnnxSession

END_CANDIDATE: Final = 0
"""Index of the end-of-sentence token among the candidates."""

Floats: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Hypothesis:
    """A decoded sentence.

    Attributes:
        candidates: indices into the candidate matrix, the end token included if it was reached.
        log_probabilities: natural log of the probability of each.
    """

    candidates: tuple[int, ...]
    log_probabilities: tuple[float, ...]

    @property
    def score(self) -> float:
        """Mean log-probability: length normalisation with exponent 1."""
        return sum(self.log_probabilities) / len(self.log_probabilities)

    def extended(self, candidate: int, log_probability: float) -> Hypothesis:
        """This hypothesis with one more token."""
        return Hypothesis((*self.candidates, candidate), (*self.log_probabilities, log_probability))


Embed: TypeAlias = Callable[[Sequence[int]], Floats]
"""Candidates to what the decoder takes as its previous tokens, float32 (1, tokens, width)."""

Step: TypeAlias = Callable[[Floats, Floats, list[Floats], int], tuple[Floats, npt.NDArray[np.int64], list[Floats]]]
"""One step of the decoder; see `beam_search`."""

_ONE_ROUND: Final = np.array(1, np.int64)


def session_step(session: OnnxSession, context: Mapping[str, npt.NDArray[Any]]) -> Step:
    """Wraps the graph of `graph.build_decoder`; `context` holds the inputs that stay the same for a sentence."""

    def step(
        previous: Floats, position: Floats, cells: list[Floats], best: int
    ) -> tuple[Floats, npt.NDArray[np.int64], list[Floats]]:
        states = {f"cell_{layer}": cell for layer, cell in enumerate(cells, start=1)}
        feeds: dict[str, npt.NDArray[Any]] = {
            **context,
            **states,
            "previous": previous,
            "positions": position,
            "limit": _ONE_ROUND,
            "best": np.array([best], np.int64),
        }
        indices, log_probabilities, *following = session.run(feeds)
        return log_probabilities[0, 0], indices[0, 0], following

    return step


def beam_search(
    step: Step, *, embed: Embed, candidates: int, positions: Floats, layers: int, width: int, limit: int
) -> Hypothesis:
    """Decode one sentence: the first of `n_best`, whose arguments it takes.

    Returns:
        The best finished hypothesis; if none finished within the limit, the best unfinished one.
    """
    return n_best(
        step, embed=embed, candidates=candidates, positions=positions, layers=layers, width=width, limit=limit
    )[0]


def n_best(
    step: Step, *, embed: Embed, candidates: int, positions: Floats, layers: int, width: int, limit: int
) -> list[Hypothesis]:
    """Decode one sentence and keep everything the search ended with.

    Args:
        step: takes embedded previous tokens (1, hypotheses, width of the network), the position (1, width of the
            network), SSRU states shaped like the tokens for each layer and a number n; returns the n best
            log-probabilities and candidate indices of each hypothesis and the new states.
        embed: gives candidates as the decoder takes them; the start of a sentence is zeros.
        candidates: how many tokens may be decoded.
        positions: float32 (at least limit, width of the network).
        layers: decoder layers.
        width: hypotheses kept; 1 is greedy decoding.
        limit: most tokens to decode, at least 1.

    Returns:
        The finished hypotheses, 1 to `width`, best first; if none finished within the limit, the unfinished ones.
    """
    live = [Hypothesis((), ())]
    finished: list[Hypothesis] = []
    totals = np.zeros(1)
    previous = np.zeros((1, 1, positions.shape[1]), np.float32)
    cells = [previous] * layers
    width = min(width, candidates)
    for number in range(limit):
        room = width - len(finished)
        log_probabilities, indices, cells = step(previous, positions[number : number + 1], cells, room)
        scores = totals[:, None] + log_probabilities
        ranked = np.argsort(-scores, axis=None, kind="stable")[:room]
        parents, choices = np.unravel_index(ranked, scores.shape)
        kept: list[int] = []
        following: list[Hypothesis] = []
        for rank, (parent, choice) in enumerate(zip(parents, choices, strict=True)):
            candidate = int(indices[parent, choice])
            hypothesis = live[parent].extended(candidate, float(log_probabilities[parent, choice]))
            if candidate == END_CANDIDATE:
                finished.append(hypothesis)
            else:
                following.append(hypothesis)
                kept.append(rank)
        live = following
        if not live:
            break
        totals = scores[parents[kept], choices[kept]]
        previous = embed([hypothesis.candidates[-1] for hypothesis in live])
        cells = [cell[:, parents[kept]] for cell in cells]
    # Stable: of equals the one found first stays first.
    return sorted(finished or live, key=lambda hypothesis: -hypothesis.score)


def forced(
    step: Step, *, embed: Embed, candidates: int, positions: Floats, layers: int, tokens: Sequence[int]
) -> tuple[float, ...]:
    """Log-probabilities of a given sentence, token by token ("forced decoding").

    Args:
        step, embed, candidates, positions, layers: as for `n_best`.
        tokens: indices among the candidates, the end token last; at most as many as there are positions.
    """
    previous = np.zeros((1, 1, positions.shape[1]), np.float32)
    cells = [previous] * layers
    found = []
    for number, token in enumerate(tokens):
        log_probabilities, indices, cells = step(previous, positions[number : number + 1], cells, candidates)
        # A step gives its candidates sorted; all were asked for, so the token is among them.
        found.append(float(log_probabilities[0, np.flatnonzero(indices[0] == token)[0]]))
        previous = embed([token])
    return tuple(found)
