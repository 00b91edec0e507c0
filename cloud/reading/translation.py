"""Which of the cloud's translators serves a call."""

from __future__ import annotations

from cloud.plans import ReadPlan
from shared.models.phrasebook import Phrasebook
from shared.models.rerank import reranked
from shared.models.sign_translation import SignTranslator
from shared.models.translators import Translators


class PlannedTranslator:
    """The phrasebook and the translation packs, in the ways a plan can choose from. They share their models.

    Args:
        phrasebook: in front of the packs.
        translators: of the packs, by direction.
        rerank_weight: of the reverse direction, 0..1; 0 where candidates are not judged by it.
    """

    def __init__(self, phrasebook: Phrasebook, translators: Translators, *, rerank_weight: float = 0.0) -> None:
        self._plain = SignTranslator(phrasebook, translators)
        self._reranking = self._plain
        if rerank_weight > 0:
            self._reranking = SignTranslator(phrasebook, reranked(translators, weight=rerank_weight))

    @property
    def targets(self) -> frozenset[str]:
        """Languages that can be translated into."""
        return self._plain.targets

    def of(self, plan: ReadPlan) -> SignTranslator:
        """The translator a plan asks for."""
        return self._reranking if plan.rerank else self._plain
