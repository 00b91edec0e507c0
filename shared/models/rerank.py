"""Candidate translations ordered with the help of the reverse direction ("noisy channel reranking").

A small model's own probability is a weak judge of what it says: it drops words and names and is no less sure. The
model of the reverse direction notices, for it has to explain the source out of the candidate. Candidates are those
that the beam search ended with; the one with the best weighted mean of both log-probabilities, each per token, is
taken. After Yee, Dauphin and Auli, "Simple and Effective Noisy Channel Modeling for Neural Machine Translation"
(EMNLP 2019), without their language model, which nothing here has.

Measured with ``wayword-sim bench translation --parts rerank`` it does not help these small models: the most literal
candidate explains the source best ("Forbidden stationing" for "Proibido estacionar"). So it is off by default.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.models.bergamot.texts import Alternatives, Translation, joined
from shared.models.bergamot.translator import BergamotTranslator
from shared.models.packs import InstalledPack
from shared.models.translators import Direction, Translator, Translators


class RerankedTranslator:
    """One direction, whose candidates the reverse direction judges as well. Several threads may share it.

    Args:
        forward: gives the candidates.
        reverse: translates the other way.
        weight: of the reverse direction, 0..1; the forward one has the rest.
    """

    def __init__(self, forward: BergamotTranslator, reverse: BergamotTranslator, *, weight: float) -> None:
        self._forward = forward
        self._reverse = reverse
        self._weight = weight

    @property
    def pack(self) -> InstalledPack:
        """Of the direction itself: what is said is still its model's."""
        return self._forward.pack

    def translate(self, text: str, *, beam: int = 1) -> Translation:
        """Translate; with a beam of 1 there is nothing to choose from, and it costs nothing more.

        Args:
            text: as for `BergamotTranslator.translate`.
            beam: likewise; at the same time the number of candidates.

        Returns:
            The translation with the log-probabilities of its own direction.

        Raises:
            UsageError, PackUnsupported: as `BergamotTranslator.translate`.
        """
        if beam == 1:
            return self._forward.translate(text)
        sentences = self._forward.alternatives(text, beam=beam)
        chosen = [choose(sentence, self.reverse_scores(sentence), self._weight) for sentence in sentences]
        return joined(chosen, target=self._forward.direction[1])

    def reverse_scores(self, sentence: Alternatives) -> dict[str, float]:
        """Mean log-probability of the source sentence, per token, given each different candidate; empty where all
        candidates are the same text.

        Raises:
            PackUnsupported: the model fails.
        """
        texts = list(dict.fromkeys(item.text for item in sentence.translations if item.text.strip()))
        if len(texts) < 2:
            return {}
        found = self._reverse.likelihoods(sentence.sentence, texts)
        return {text: sum(values) / len(values) for text, values in zip(texts, found, strict=True)}


def choose(sentence: Alternatives, reverse: dict[str, float], weight: float) -> Translation:
    """The candidate that both directions together find likeliest; of equals the one that the search put first.

    Args:
        sentence: candidates of one sentence, best first.
        reverse: mean log-probability of the source given each candidate's text; candidates without one are taken only
            when none has one.
        weight: of the reverse direction, 0..1.
    """
    judged: Sequence[Translation] = [item for item in sentence.translations if item.text in reverse]
    return max(
        judged or sentence.translations[:1],
        key=lambda item: (1 - weight) * item.mean_log_probability + weight * reverse.get(item.text, 0.0),
    )


def reranked(translators: Translators, *, weight: float) -> dict[Direction, Translator]:
    """The same translators, with every direction whose reverse is a pack too, judged by that one.

    Routes over a third language stay as they are: their candidates are those of the second step, and judging them by
    the way back over two models costs four times as much as it is worth on a sign.
    """
    found: dict[Direction, Translator] = dict(translators)
    for direction, forward in translators.items():
        reverse = translators.get(direction[::-1])
        if isinstance(forward, BergamotTranslator) and isinstance(reverse, BergamotTranslator):
            found[direction] = RerankedTranslator(forward, reverse, weight=weight)
    return found
