"""Training the metamodel, on traces drawn by chance."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from synthetic_traces import HEADER, synthetic_traces

from shared.errors import InputError
from shared.models.cascade_pack import BUILTIN, open_folder, read_document
from shared.models.metamodel import Metamodel
from shared.models.sign_features import FEATURES, RECOGNISERS, RISING
from simulations.calibration_fit import auroc
from simulations.cli import build_parser
from simulations.traces.groups import groups_of
from simulations.traces.records import SignTrace, TracePart, write_traces
from simulations.training import cascade, cascade_fit
from simulations.training.cascade_data import Table, certifies, table_of
from simulations.training.cascade_fit import Head, Heads, Kind, log_loss, platt, sigmoid
from simulations.training.cascade_models import Linear, Recipe, Trees, fit
from simulations.training.cascade_onnx import to_onnx
from simulations.training.cascade_page import card
from simulations.training.cascade_report import Judged, gain_report

CARD = Path(__file__).resolve().parent.parent.parent / "docs" / "models" / "cascade.md"
needs_trees = pytest.mark.skipif(
    importlib.util.find_spec("sklearn") is None, reason="boosted trees need scikit-learn, of the extra train"
)


@pytest.fixture(scope="module", autouse=True)
def fewer_recipes() -> Iterator[None]:
    """Two to choose from are a choice, and a few calls a median."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cascade, "TIMED_CALLS", 20)
        patch.setattr(cascade_fit, "LOGISTIC", cascade_fit.LOGISTIC[1:2])
        yield


@pytest.fixture(scope="module")
def traces() -> list[SignTrace]:
    return synthetic_traces(900, 3)


@pytest.fixture(scope="module")
def table(traces: list[SignTrace]) -> Table:
    return table_of(traces)


@pytest.fixture(scope="module")
def heads(table: Table) -> Heads:
    """Fitted without a choice: quick, and good enough where the fit does not matter."""
    recipe = Recipe("logistic", strength=30.0)
    ones, zeros = np.ones(len(RECOGNISERS), np.float32), np.zeros(len(RECOGNISERS), np.float32)
    outcomes = (table.right, table.final, ~table.final)
    return Heads(
        *(
            Head(recipe, fit(recipe, table.x, y, table.recogniser, rising=False, seed=0), ones, zeros, {})
            for y in outcomes
        )
    )


@pytest.fixture(scope="module")
def trained(traces: list[SignTrace], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, cascade.Trained]:
    folder = tmp_path_factory.mktemp("pack")
    return folder, cascade.train(traces, folder, kind=Kind.LOGISTIC, seed=1)


def of_two_phrases(traces: list[SignTrace]) -> list[SignTrace]:
    """The same, but every eighth sign has the phrase of the one before it beside its own, if of the same part."""
    return [
        replace(sign, phrase=f"{sign.phrase}+{before.phrase}")
        if sign.sign % 8 == 0 and sign.part is before.part
        else sign
        for before, sign in pairwise([traces[0], *traces])
    ]


def test_phrases_are_dealt_to_every_fold_and_two_thirds_of_them_certify(traces: list[SignTrace]) -> None:
    phrases = {sign.phrase for sign in traces if sign.part is TracePart.CALIBRATION}
    certifying = sum(map(certifies, phrases)) / len(phrases)
    assert 0.5 < certifying < 0.8


def test_no_phrase_is_in_two_folds(traces: list[SignTrace]) -> None:
    table = table_of(of_two_phrases(traces))
    folds: dict[str, set[int]] = {}
    for sign, fold in zip(table.signs, table.folds().tolist(), strict=True):
        for phrase in sign.phrase.split("+"):
            folds.setdefault(phrase, set()).add(fold)
    assert {len(found) for found in folds.values()} == {1}
    assert set().union(*folds.values()) == {0, 1, 2, 3, 4}


def test_looks_without_a_line_are_left_out_of_the_table(traces: list[SignTrace], table: Table) -> None:
    expected = sum(local.evidence is not None for sign in traces for local in sign.local.values())
    assert len(table) == expected < 2 * len(traces)


def test_independent_readings_are_one_for_each_group_and_recogniser(table: Table) -> None:
    chosen = table.is_independent()
    keys = list(zip(groups_of(table.signs), table.recogniser.tolist(), strict=True))
    kept = [key for key, taken in zip(keys, chosen, strict=True) if taken]
    assert len(kept) == len(set(kept))
    assert set(kept) == set(keys)


def test_the_same_traces_and_seed_give_the_same_bytes(
    traces: list[SignTrace], trained: tuple[Path, cascade.Trained], tmp_path: Path
) -> None:
    folder, _ = trained
    cascade.train(traces, tmp_path, kind=Kind.LOGISTIC, seed=1)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["cascade.json", "manifest.json", "model.onnx"]
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_the_pack_loads_and_says_of_a_sign_what_the_training_said(
    traces: list[SignTrace], trained: tuple[Path, cascade.Trained]
) -> None:
    folder, found = trained
    model = Metamodel.load(folder)
    names = [name for sign in traces for name, local in sign.local.items() if local.evidence is not None]
    for row in range(0, len(found.judged), 97):
        evidence = found.judged.table.signs[row].local[names[row]].evidence
        assert evidence is not None
        assert model.estimate(evidence).right == pytest.approx(found.judged.right[row], abs=1e-6)
        assert model.estimate(evidence).gain == pytest.approx(
            found.judged.helped[row] - found.judged.harmed[row], abs=1e-6
        )


def test_it_ranks_readings_better_than_chance_and_its_gain_is_about_what_is_realised(
    trained: tuple[Path, cascade.Trained],
) -> None:
    test = trained[1].judged.of_part(TracePart.TEST)
    assert auroc(test.right, test.table.right.astype(np.float64)) > 0.8
    gain = gain_report(test)
    assert gain["expected"] == pytest.approx(gain["realised"], abs=0.08)
    assert sum(count for _, _, count in gain["bins"]) == len(test)


def test_the_phrases_that_certify_calibrated_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, traces: list[SignTrace], heads: Heads
) -> None:
    certified: list[Table] = []
    calibrated: list[Table] = []
    monkeypatch.setattr(cascade, "fit_heads", lambda _, calibrating, **__: calibrated.append(calibrating) or heads)
    monkeypatch.setattr(
        cascade, "certificates_of", lambda judged: certified.append(judged.table) or dict.fromkeys(RECOGNISERS)
    )
    cascade.train(of_two_phrases(traces), tmp_path, kind=Kind.LOGISTIC, seed=1)
    phrases = [
        {phrase for sign in tables[0].signs for phrase in sign.phrase.split("+")} for tables in (calibrated, certified)
    ]
    assert all(phrases)
    assert not phrases[0] & phrases[1]
    assert all(sign.part is TracePart.CALIBRATION for tables in (calibrated, certified) for sign in tables[0].signs)


def test_a_certificate_counts_one_look_for_each_phrase(trained: tuple[Path, cascade.Trained]) -> None:
    judged = trained[1].judged
    sure = Judged(judged.table, np.where(judged.table.right, 0.99, 0.01), judged.helped, judged.harmed)
    found = cascade.certificates_of(sure)
    first = judged.table.where(judged.table.is_independent())
    for number, pack in enumerate(RECOGNISERS):
        certificate = found[pack]
        assert certificate is not None
        assert certificate.total == int((first.recogniser == number).sum())
        assert certificate.errors == 0


def test_readings_that_are_mostly_wrong_certify_nothing(trained: tuple[Path, cascade.Trained]) -> None:
    judged = trained[1].judged
    flat = Judged(judged.table, np.full(len(judged), 0.5), judged.helped, judged.harmed)
    assert set(cascade.certificates_of(flat).values()) == {None}


def test_calibration_corrects_log_odds_that_are_twice_too_sure() -> None:
    rng = np.random.default_rng(1)
    odds = rng.normal(0, 2, 4_000)
    right = rng.random(4_000) < sigmoid(odds)
    slope, shift = platt(2 * odds + 1, right)
    assert slope == pytest.approx(0.5, abs=0.05)
    assert shift == pytest.approx(-0.5, abs=0.1)
    assert platt(-odds, right)[0] > 0, "calibration never turns the order round"


def test_a_regression_leaves_out_confidence_that_would_count_against_itself(table: Table) -> None:
    model = fit(Recipe("logistic", strength=3.0), table.x, ~table.right, table.recogniser, rising=True, seed=0)
    assert isinstance(model, Linear)
    columns = [FEATURES.index(name) for name in RISING]
    assert (model.weights[columns] >= 0).all()
    free = fit(Recipe("logistic", strength=3.0), table.x, ~table.right, table.recogniser, rising=False, seed=0)
    assert isinstance(free, Linear)
    assert (free.weights[columns] < 0).any()


@needs_trees
@pytest.mark.parametrize("apart", [False, True])
def test_trees_are_the_same_in_the_graph_and_rise_with_confidence(table: Table, tmp_path: Path, apart: bool) -> None:
    recipe = Recipe("trees", apart, strength=12, rate=0.2)
    model = fit(recipe, table.x, table.right, table.recogniser, rising=True, seed=0)
    assert isinstance(model, Trees)
    ones, zeros = np.ones(len(RECOGNISERS), np.float32), np.zeros(len(RECOGNISERS), np.float32)
    head = Head(recipe, model, ones, zeros, {})
    heads = Heads(head, head, head)
    (tmp_path / "model.onnx").write_bytes(to_onnx(heads))
    session = cascade.open_session(tmp_path / "model.onnx")
    assert cascade.parity(heads, session, table) < cascade.PARITY
    before = model.log_odds(table.x)
    for name in RISING:
        raised = table.x.copy()
        raised[:, FEATURES.index(name)] += 1
        assert (model.log_odds(raised) >= before).all(), name
    log_odds = before[np.arange(len(table)), table.recogniser]
    assert log_loss(sigmoid(log_odds), table.right) < 0.5


def test_a_graph_that_is_not_the_model_is_an_error(
    traces: list[SignTrace], heads: Heads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(heads: Heads) -> bytes:
        return to_onnx(Heads(heads.mended, heads.mended, heads.spoilt))

    monkeypatch.setattr(cascade, "fit_heads", lambda *_, **__: heads)
    monkeypatch.setattr(cascade, "to_onnx", other)
    with pytest.raises(InputError, match="differs from the model"):
        cascade.train(traces, tmp_path, kind=Kind.LOGISTIC, seed=1)


def test_traces_without_a_part_to_calibrate_with_are_refused(traces: list[SignTrace], tmp_path: Path) -> None:
    only = [sign for sign in traces if sign.part is TracePart.TRAIN]
    with pytest.raises(InputError, match="calibrate"):
        cascade.train(only, tmp_path, kind=Kind.LOGISTIC, seed=1)


def test_traces_without_a_part_to_report_on_give_a_pack_without_figures(
    traces: list[SignTrace], heads: Heads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cascade, "fit_heads", lambda *_, **__: heads)
    fitting = [sign for sign in traces if sign.part in (TracePart.TRAIN, TracePart.CALIBRATION)]
    found = cascade.train(fitting, tmp_path, kind=Kind.LOGISTIC, seed=1)
    assert found.document.report["test"] == {}
    assert "## Certificate" in card(found.document, found.manifest)


def test_a_question_that_hardly_ever_happens_is_answered_by_its_share(table: Table) -> None:
    rare = np.zeros(len(table), np.bool_)
    rare[:3] = True
    model = fit(Recipe("logistic", strength=3.0), table.x, rare, table.recogniser, rising=False, seed=0)
    assert sigmoid(model.log_odds(table.x)) == pytest.approx(4 / (len(table) + 2), rel=1e-3)


def test_the_command_writes_a_pack_a_page_and_a_card(
    traces: list[SignTrace], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_traces(tmp_path / "traces.jsonl.gz", HEADER, traces[:600])
    out, page, text = tmp_path / "pack", tmp_path / "page.html", tmp_path / "card.md"
    line = ["train", "cascade", "--traces", str(tmp_path / "traces.jsonl.gz"), "--out", str(out)]
    arguments: argparse.Namespace = build_parser().parse_args(
        [*line, "--page", str(page), "--card", str(text), "--model", "logistic"]
    )
    assert arguments.body(arguments) == 0
    assert page.read_text(encoding="utf-8").count("<svg") >= 4
    assert text.read_text(encoding="utf-8") in capsys.readouterr().out + "\n"
    assert Metamodel.load(out).recognisers == set(RECOGNISERS)


def test_the_card_in_docs_is_that_of_the_pack_that_ships() -> None:
    pack = open_folder(BUILTIN)
    expected = card(read_document(pack), pack.manifest)
    assert CARD.read_text(encoding="utf-8") == expected, "run: wayword-sim train cascade"
