"""Candidates of the beam search, their likelihood under the reverse direction, and the choice between them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bergamot_model import TinyModel

from shared.errors import UsageError
from shared.models.bergamot.beam import END_CANDIDATE, Floats, forced, n_best
from shared.models.bergamot.texts import Alternatives, Translation
from shared.models.bergamot.translator import BergamotTranslator
from shared.models.rerank import RerankedTranslator, choose, reranked
from shared.models.translators import PivotTranslator

TEXT = "Proibido estacionar. Saída de emergência"
CANDIDATES = np.eye(4, dtype=np.float32)
TABLE = {
    -1: [0.01, 0.55, 0.43, 0.01],
    1: [0.3, 0.3, 0.3, 0.1],
    2: [0.01, 0.01, 0.01, 0.97],
    3: [0.97, 0.01, 0.01, 0.01],
}


def step(previous: Floats, position: Floats, cells: list[Floats], best: int) -> tuple[Floats, np.ndarray, list[Floats]]:
    """A decoder whose next token depends on the previous one only."""
    rows = [TABLE[int(row.argmax()) if row.any() else -1] for row in previous[0]]
    scores = np.log(np.array(rows, np.float32))
    indices = np.argsort(-scores, axis=1, kind="stable")[:, :best]
    return np.take_along_axis(scores, indices, axis=1), indices, cells


def embed(chosen: list[int]) -> Floats:
    return CANDIDATES[list(chosen)][None]


def test_the_search_keeps_all_it_ended_with_best_first() -> None:
    found = n_best(step, embed=embed, candidates=4, positions=np.zeros((6, 4), np.float32), layers=1, width=3, limit=6)
    assert found[0].candidates == (2, 3, END_CANDIDATE)
    assert len(found) == 3
    assert [item.score for item in found] == sorted((item.score for item in found), reverse=True)


def test_forced_decoding_gives_the_probability_of_each_token_asked_for() -> None:
    found = forced(
        step, embed=embed, candidates=4, positions=np.zeros((6, 4), np.float32), layers=1, tokens=[1, 2, END_CANDIDATE]
    )
    assert found == pytest.approx(np.log([0.55, 0.3, 0.01]).tolist(), abs=1e-5)


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> BergamotTranslator:
    return BergamotTranslator.load(TinyModel(seed=3, has_shortlist=False).install(tmp_path_factory.mktemp("pack")))


def test_the_first_alternative_is_the_translation(translator: BergamotTranslator) -> None:
    sentences = translator.alternatives(TEXT, beam=4)
    assert [item.sentence for item in sentences] == ["Proibido estacionar.", "Saída de emergência"]
    assert all(1 <= len(item.translations) <= 4 for item in sentences)
    whole = translator.translate(TEXT, beam=4)
    assert " ".join(item.translations[0].text for item in sentences) == whole.text
    assert sum(item.translations[0].source_tokens for item in sentences) == whole.source_tokens
    with pytest.raises(UsageError):
        translator.alternatives(TEXT, beam=0)


def test_a_translation_scored_against_its_source_is_as_likely_as_when_it_was_found(
    translator: BergamotTranslator,
) -> None:
    # Without a shortlist the candidates are the same in both, so the numbers must be.
    for sentence in translator.alternatives(TEXT, beam=3):
        for found in sentence.translations:
            if translator._model.target_vocabulary.decode(
                translator._model.target_vocabulary.encode(found.text)
            ) == found.text and len(translator._model.target_vocabulary.encode(found.text)) + 1 == len(
                found.token_log_probabilities
            ):
                (scored,) = translator.likelihoods(found.text, [sentence.sentence])
                assert scored == pytest.approx(found.token_log_probabilities, abs=2e-2)
                return
    pytest.fail("no alternative survives being split into pieces again")


def test_likelihoods_of_several_sources_are_over_the_same_candidates(tmp_path: Path) -> None:
    translator = BergamotTranslator.load(TinyModel(seed=5).install(tmp_path))
    both = translator.likelihoods("saída", ["emergência", "proibido"])
    assert len(both[0]) == len(both[1])
    assert all(value <= 0 for values in both for value in values)
    again = translator.likelihoods("saída", ["proibido", "emergência"])
    assert again[0] == pytest.approx(both[1], abs=1e-4)


def candidate(text: str, mean: float) -> Translation:
    return Translation(text, (mean, mean), 3)


SENTENCE = Alternatives("s", (candidate("first", -0.2), candidate("second", -0.4), candidate("third", -0.9)))


@pytest.mark.parametrize(("weight", "chosen"), [(0.0, "first"), (0.5, "second"), (1.0, "third")])
def test_the_choice_weighs_both_directions(weight: float, chosen: str) -> None:
    reverse = {"first": -2.0, "second": -1.0, "third": -0.9}
    assert choose(SENTENCE, reverse, weight).text == chosen


def test_without_a_second_candidate_the_search_decides() -> None:
    assert choose(SENTENCE, {}, 1.0).text == "first"


def test_only_directions_with_their_reverse_are_reranked(translator: BergamotTranslator) -> None:
    pivot = PivotTranslator(translator, translator)
    found = reranked({("pt", "en"): translator, ("en", "pt"): translator, ("es", "en"): pivot}, weight=0.5)
    assert isinstance(found["pt", "en"], RerankedTranslator)
    assert found["pt", "en"].pack is translator.pack
    assert found["es", "en"] is pivot
    assert reranked({("pt", "en"): translator}, weight=0.5)["pt", "en"] is translator


def test_a_reranked_translation_is_one_of_the_candidates(translator: BergamotTranslator) -> None:
    judged = RerankedTranslator(translator, translator, weight=1.0)
    assert judged.translate(TEXT) == translator.translate(TEXT)
    sentences = translator.alternatives(TEXT, beam=3)
    answer = judged.translate(TEXT, beam=3)
    expected = [choose(item, judged.reverse_scores(item), 1.0).text for item in sentences]
    assert answer.text == " ".join(expected)
    for item in sentences:
        assert all(score <= 0 for score in judged.reverse_scores(item).values())
    assert judged.translate("", beam=3).text == ""


def test_the_bench_compares_the_choice_with_the_search_and_with_the_best_there_is(
    translator: BergamotTranslator,
) -> None:
    pytest.importorskip("sacrebleu")
    from simulations.bench.translation.rerank import REPORTED_WEIGHTS, _report

    packs = {("pt", "en"): translator, ("en", "pt"): translator}
    found = _report([("Saída de emergência", "Emergency exit"), ("Proibido", "Forbidden")], packs, ("pt", "en"))
    assert set(found["rerank"]) == {f"{weight}" for weight in REPORTED_WEIGHTS}
    assert found["oracle"]["chrf"] >= found["beam"]["chrf"]
    for arm in found["rerank"].values():
        low, high = arm["sentence_chrf_gain_95"]
        assert low <= arm["sentence_chrf_gain"] <= high
