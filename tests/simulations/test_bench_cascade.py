"""The cascade's bench: curves end where they must, a certificate keeps its word, tables hold together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from synthetic_traces import synthetic_traces

from phone.cascade.chances import plain_confidence
from phone.cascade.decision import Action, CascadeMemory, Decision, Rule
from phone.cascade.inputs import Conditions, Signals
from shared.errors import InputError, SignalsInvalid
from shared.models.estimate import Estimate
from shared.models.sign_evidence import SignEvidence
from simulations.bench.cascade import certificate, choosing, curves, judging, study, tables
from simulations.bench.cascade.curves import Floats, Order, Outcomes
from simulations.bench.cascade.looks import PLAIN, Looks, looks_of
from simulations.bench.cascade.page import page
from simulations.bench.cascade.signals import signals_of
from simulations.traces.groups import groups_of
from simulations.traces.records import TracePart, of_part

TRACES = synthetic_traces(1200, seed=3)
TEST = of_part(TRACES, TracePart.TEST)


class Confidences:
    """Stands in for the metamodel: judges by the calibrated confidences alone."""

    def estimate(self, evidence: SignEvidence) -> Estimate:
        if evidence.lines[0].withheld:
            raise SignalsInvalid("not for this one")
        right = min(line.recognition for line in evidence.lines) * evidence.translation
        return Estimate(right, 0.5 * (1 - right), 0.05 * right)


class Threshold:
    """Escalates where the expected gain is above a price."""

    name = "threshold"

    def __init__(self, price: float) -> None:
        self._price = price

    def decide(self, signals: Signals, conditions: Conditions, memory: CascadeMemory) -> tuple[Decision, CascadeMemory]:
        gain = 0.1 if signals.estimate is None else signals.estimate.gain
        if signals.private is not None:
            return Decision(Action.KEEP, Rule.PRIVATE, "private", 0.0, 0.0), memory
        action = Action.ESCALATE if gain > self._price else Action.KEEP
        return Decision(action, Rule.UNSURE, "by threshold", gain, self._price), memory


@pytest.fixture(scope="module")
def looks() -> Looks:
    return looks_of(TEST, "small", Confidences())


def outcomes_of(*pairs: tuple[float, float]) -> Outcomes:
    local, final = np.array(pairs, np.float64).T
    return Outcomes(local, final, np.arange(len(pairs)))


def test_a_curve_begins_at_local_only_and_ends_at_cloud_only_exactly(looks: Looks) -> None:
    outcomes = looks.outcomes
    for name, scores in looks.scores.items():
        curve = Order(scores).curve(outcomes)
        assert (curve.shares[0], curve.shares[-1]) == (0.0, 1.0), name
        assert curve.qualities[0] == outcomes.local.mean(), name
        assert curve.qualities[-1] == outcomes.final.mean(), name


def test_no_order_is_above_the_oracle_at_any_share(looks: Looks) -> None:
    outcomes, rng = looks.outcomes, np.random.default_rng(0)
    oracle = Order(curves.oracle_scores(outcomes)).curve(outcomes)
    best = np.maximum(outcomes.local, outcomes.final).mean()
    assert max(oracle.qualities) == pytest.approx(best)
    for scores in (*looks.scores.values(), rng.random(len(outcomes))):
        curve = Order(scores).curve(outcomes)
        for share in np.linspace(0, 1, 23):
            assert curve.at(share) <= oracle.at(share) + 1e-12


def test_an_order_that_knows_nothing_has_the_area_of_the_trapezoid(looks: Looks) -> None:
    outcomes = looks.outcomes
    trapezoid = (outcomes.local.mean() + outcomes.final.mean()) / 2
    assert Order(np.zeros(len(outcomes))).curve(outcomes).area == pytest.approx(trapezoid)
    rng = np.random.default_rng(1)
    areas = [Order(rng.random(len(outcomes))).curve(outcomes).area for _ in range(200)]
    assert np.mean(areas) == pytest.approx(trapezoid, abs=3 * np.std(areas) / np.sqrt(200))


def test_equal_scores_are_escalated_in_random_order_as_a_straight_line() -> None:
    curve = Order(np.array([2.0, 1.0, 1.0])).curve(outcomes_of((0, 1), (1, 0), (0, 1)))
    assert curve.shares.tolist() == pytest.approx([0, 1 / 3, 1])
    assert curve.qualities.tolist() == pytest.approx([1 / 3, 2 / 3, 2 / 3])


def test_a_weight_counts_like_so_many_equal_looks() -> None:
    scores = np.array([3.0, 1.0, 2.0])
    outcomes = outcomes_of((0, 1), (1, 1), (1, 0))
    weighted = Order(scores).curve(outcomes, np.array([2.0, 0.0, 1.0]))
    repeated = Order(np.array([3.0, 3.0, 2.0])).curve(outcomes_of((0, 1), (0, 1), (1, 0)))
    assert weighted.area == pytest.approx(repeated.area)
    assert weighted.at(0.5) == pytest.approx(repeated.at(0.5))


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(InputError, match="not a number"):
        Order(np.array([0.5, np.nan]))


def test_the_oracles_normalised_area_is_one_and_that_of_no_order_zero(looks: Looks) -> None:
    scores = {PLAIN: 1 - looks.plain, "none": np.zeros(len(looks))}
    found = curves.measure_rankings(looks.outcomes, scores, plain=PLAIN, target_share=0.2, resamples=20, seed=0)
    assert found["oracle"].normalised.value == pytest.approx(1)
    assert found["none"].normalised.value == pytest.approx(0, abs=1e-9)
    assert 0 < found[PLAIN].normalised.value < 1
    assert found[PLAIN].over_plain is None
    assert found["none"].over_plain is not None
    assert found["none"].over_plain.value == pytest.approx(-found[PLAIN].over_random.value)


def test_looks_of_one_phrase_are_drawn_together() -> None:
    clusters = np.array([0, 1, 0, 2, 2, 2])
    for weights in curves.resampled_weights(clusters, 50, seed=1):
        assert weights[0] == weights[2]
        assert weights[3] == weights[4] == weights[5]
        assert weights[0] + weights[1] + weights[3] == 3


def test_signs_that_share_a_phrase_if_only_over_a_third_are_of_one_group() -> None:
    names = ["pt-b", "pt-b+pt-c", "pt-d", "pt-c+pt-e+pt-a", "pt-e"]
    signs = [replace(sign, phrase=name) for sign, name in zip(TEST, names, strict=False)]
    assert groups_of(signs) == ["pt-a", "pt-a", "pt-d", "pt-a", "pt-a"]
    assert groups_of(signs[::-1]) == groups_of(signs)[::-1]
    assert groups_of(signs[:2]) == ["pt-b", "pt-b"]
    assert looks_of(signs, "small", None).outcomes.clusters.tolist() == [0, 0, 1, 0, 0]


def test_dependent_looks_widen_the_interval() -> None:
    rng = np.random.default_rng(2)
    phrase = np.repeat(np.arange(40), 10)
    right = (rng.random(40) < 0.6)[phrase].astype(np.float64)
    arms = {"local": (np.zeros(400, np.bool_), right)}
    apart = curves.measure_arms(Outcomes(right, right, np.arange(400)), arms, resamples=300, seed=0)["local"].quality
    together = curves.measure_arms(Outcomes(right, right, phrase), arms, resamples=300, seed=0)["local"].quality
    assert together.high - together.low > 2 * (apart.high - apart.low)
    assert together.value == apart.value


def test_signals_are_what_the_daemon_would_have_known() -> None:
    sign = next(sign for sign in TEST if sign.local["tiny"].text and sign.local["tiny"].private is None)
    trace = sign.local["tiny"]
    signals = signals_of(sign, "tiny", None)
    assert signals.recognition == trace.confidence.recognition
    assert (signals.request_bytes, signals.trouble, signals.estimate) == (trace.request_bytes, None, None)
    nothing = next(sign for sign in TRACES if sign.local["tiny"].evidence is None)
    signals = signals_of(nothing, "tiny", Confidences())
    assert (signals.recognition, signals.script, signals.language, signals.translation) == (0.0, 1.0, 1.0, 0.0)
    assert signals.estimate is None
    assert plain_confidence(signals) == 0.0


def test_signals_that_the_metamodel_refuses_leave_no_estimate() -> None:
    withheld = next(sign for sign in TRACES if (seen := sign.local["small"].evidence) and seen.lines[0].withheld)
    assert signals_of(withheld, "small", Confidences()).estimate is None


def exchangeable(count: int, rng: np.random.Generator, looks: int = 1) -> certificate.Pool:
    """Readings whose probabilities are honest; those of one phrase are alike and right or wrong together."""
    phrases = np.repeat(np.arange(count), looks)
    p = rng.beta(2, 0.3, size=count)
    right = rng.random(count) < p
    return certificate.Pool(p[phrases], right[phrases], phrases)


def test_the_certificate_keeps_its_promise_where_its_assumption_holds() -> None:
    pool = exchangeable(2000, np.random.default_rng(4))
    found = certificate.over_splits(pool, every_look=False, splits=80, seed=5)
    # At a true rate of 5 %, 10 or more of 80 have a chance of less than 1 %.
    assert found.broken <= 9 / 80
    assert found.rejected <= 9 / 80
    assert found.none == 0
    assert sum(found.kept) / len(found.kept) > 0.2
    assert sum(found.rates) / len(found.rates) < certificate.ALPHA


def test_taking_dependent_looks_for_independent_breaks_the_promise_more_often() -> None:
    pool = exchangeable(250, np.random.default_rng(6), looks=12)
    honest = certificate.over_splits(pool, every_look=False, splits=40, seed=7)
    naive = certificate.over_splits(pool, every_look=True, splits=40, seed=7)
    assert naive.broken > honest.broken


def test_a_shift_shows_in_the_error_rate_of_what_is_kept() -> None:
    rng = np.random.default_rng(8)
    usual, other = exchangeable(2000, rng), exchangeable(500, rng)
    boastful = replace(other, right=rng.random(500) < other.p - 0.2)
    threshold, found = certificate.shifted(usual, boastful)
    assert threshold is not None
    assert found.rate is not None
    assert found.interval is not None
    assert found.rate > 2 * certificate.ALPHA
    assert found.interval[0] > certificate.ALPHA
    assert certificate.shifted(usual, usual)[1].rate == pytest.approx(threshold.errors / threshold.kept)


def test_without_a_threshold_nothing_is_kept_and_nothing_broken() -> None:
    rng = np.random.default_rng(9)
    hopeless = certificate.Pool(rng.random(400), rng.random(400) < 0.3, np.arange(400))
    found = certificate.over_splits(hopeless, every_look=False, splits=10, seed=0)
    assert (found.none, found.broken, found.above, found.rates) == (1.0, 0.0, 0.0, ())
    assert certificate.shifted(hopeless, hopeless)[1].rate is None


@pytest.mark.parametrize(("errors", "n", "low", "high"), [(0, 20, 0.0, 0.1684), (5, 50, 0.0333, 0.2181)])
def test_intervals_are_clopper_and_pearsons(errors: int, n: int, low: float, high: float) -> None:
    assert certificate.two_sided(errors, n) == pytest.approx((low, high), abs=1e-4)


def test_the_base_price_is_the_best_that_escalates_a_fifth_with_every_recogniser() -> None:
    calibration = of_part(TRACES, TracePart.CALIBRATION)
    looks = [looks_of(calibration, name, Confidences()) for name in ("tiny", "small")]
    settings = choosing.sweep(looks, Threshold, (0.0, 0.1, 0.2, 0.3, 0.4, 2.0))
    assert [sum(setting.shares.values()) for setting in settings] == sorted(
        (sum(setting.shares.values()) for setting in settings), reverse=True
    )
    chosen = choosing.best(settings, 0.2)
    assert chosen is not None
    assert max(chosen.shares.values()) <= 0.2
    allowed = [setting.quality for setting in settings if max(setting.shares.values()) <= 0.2]
    assert chosen.quality == max(allowed)
    assert choosing.best([settings[0]], 0.2) is None
    assert choosing.best([settings[0].only("small")], 1.0) == settings[0].only("small")
    assert f"base price {chosen.price:.3f}" in tables.choosing_table(settings, chosen)[-1]


def test_expected_gains_are_set_against_those_found(looks: Looks) -> None:
    bins = judging.gain_bins(looks)
    judged = sum(signals.estimate is not None for signals in looks.signals)
    assert sum(each.samples for each in bins) == judged
    for each in bins:
        assert each.low <= each.expected < each.high
        assert -1 <= each.found <= 1


def test_the_figures_of_languages_add_up(looks: Looks) -> None:
    found = judging.judge_by_language(looks)
    every = found.pop(judging.EVERY)
    assert sum(each.samples for each in found.values()) == every.samples == len(looks)
    right = sum(each.samples * each.share_right for each in found.values())
    assert right == pytest.approx(every.samples * every.share_right)


def test_where_signs_go_wrong_agrees_with_the_arms(group: study.Group) -> None:
    every = group.stages[judging.EVERY]
    assert every.local == pytest.approx(group.arms[study.LOCAL].quality.value)
    assert every.final == pytest.approx(group.arms[study.CLOUD].quality.value)
    assert every.cloud == pytest.approx(group.arms[study.TAKEN].quality.value)
    assert every.local_text >= every.local
    assert sum(each.samples for each in group.stages.values()) == 2 * every.samples


def test_choosing_the_recogniser_after_both_read_is_within_what_either_reaches() -> None:
    looks = {name: looks_of(TEST, name, Confidences()) for name in ("small", "tiny")}
    by_light = judging.trust(looks, judging.by_light, None)
    assert [light for light in by_light if light in judging.LIGHTS] == list(judging.LIGHTS)
    assert by_light[judging.EVERY].samples == sum(by_light[light].samples for light in judging.LIGHTS)
    for found in by_light.values():
        assert found.before == found.right["small"]
        assert found.chosen <= found.best
        assert found.best >= max(found.right.values())


@pytest.fixture(scope="module")
def group(looks: Looks) -> study.Group:
    return study.measure_group(looks, "test", Threshold(0.1), [Threshold(2.0)], resamples=30, seed=0)


def test_a_policy_that_never_asks_is_local_only_and_the_best_of_both_is_above_all(group: study.Group) -> None:
    assert group.arms["policy threshold"] == group.arms[study.LOCAL]
    ceiling = group.arms[study.BEST].quality.value
    for name in (study.LOCAL, study.CLOUD, study.CASCADE):
        assert group.arms[name].quality.value <= ceiling
    assert group.arms[study.EITHER].quality.value >= ceiling
    assert group.arms[study.CLOUD].behind_cloud.value == 0


def test_the_target_needs_both_few_escalations_and_the_quality(group: study.Group) -> None:
    arm = group.arms[study.CASCADE]

    def shifted(share: float, behind: float) -> curves.ArmFigures:
        return replace(arm, share=replace(arm.share, value=share), behind_cloud=replace(arm.behind_cloud, value=behind))

    assert study.meets_target(shifted(0.2, -0.005))
    assert not study.meets_target(shifted(0.21, 0.01))
    assert not study.meets_target(shifted(0.1, -0.006))


@pytest.fixture(scope="module")
def promise() -> study.Promise:
    apart = of_part(TRACES, TracePart.CALIBRATION, TracePart.TEST, TracePart.PHOTO)
    return study.measure_promise(
        looks_of(apart, "small", Confidences()), 0.9, alpha=certificate.ALPHA, splits=5, seed=0
    )


def test_every_shift_is_tried_on_readings_that_did_not_calibrate(promise: study.Promise) -> None:
    rendered = of_part(TRACES, TracePart.CALIBRATION, TracePart.TEST)
    languages = [name for name in promise.shifts if name.startswith("language")]
    assert sum(promise.shifts[name][1].total for name in languages) <= len(rendered)
    dark = promise.shifts["light: day and shade → dusk and night"][1].total
    assert dark == sum(sign.view.light in study.DARK for sign in rendered)
    assert {part: figures.total for part, figures in promise.shipped.items()} == {
        part: len(of_part(TRACES, TracePart(part))) for part in ("test", "photo")
    }
    assert promise.shipped["test"].kept
    photo = looks_of(of_part(TRACES, TracePart.PHOTO), "small", Confidences())
    assert certificate.tried(None, photo.pool).kept == 0


def test_tables_have_as_many_cells_in_every_row(group: study.Group, promise: study.Promise) -> None:
    looks = {name: looks_of(TEST, name, Confidences()) for name in ("small", "tiny")}
    lines = [
        *tables.group_tables([group]),
        *tables.promise_tables([promise]),
        *tables.metamodel_tables([group]),
        *tables.trust_tables({"test, light": judging.trust(looks, judging.by_light, None)}),
    ]
    width: int | None = None
    count = 0
    for line in lines:
        assert "nan" not in line
        if not line.startswith("|"):
            width = None
            continue
        cells = line.count("|")
        width = width or cells
        count += 1
        assert cells == width, line
    assert count > 40


def test_the_page_is_complete_and_the_same_every_time(group: study.Group, promise: study.Promise) -> None:
    lines = ["## Head", "", "| a | b <c> |", "|---|---|", "| 1 | 2 |", "", "Text."]
    keeping = replace(promise, drawn=replace(promise.drawn, rates=(0.01, 0.2)))
    first = page([group], [keeping], [], lines, ["Synthetic."])
    assert first == page([group], [keeping], [], lines, ["Synthetic."])
    assert first.count("<svg") == first.count("</svg>") == 6
    assert "<tr><th>a</th><th>b &lt;c&gt;</th></tr>" in first
    assert first.count("<table>") == first.count("</table>") == 1
    assert "<h3>Head</h3>" in first
    assert ">nan" not in first
    assert '"nan' not in first
    keeping_none = replace(promise, drawn=replace(promise.drawn, rates=()))
    assert "nothing is kept" in page([group], [keeping_none], [], lines, [])


def floats(*values: float) -> Floats:
    return np.array(values, np.float64)


def test_a_sample_without_signs_has_no_curve() -> None:
    with pytest.raises(InputError, match="no sign"):
        Outcomes(floats(), floats(), np.zeros(0, np.int64))
