"""The cascade keeps or escalates for the reasons it states."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from policy_world import (
    CERTIFICATE,
    FRESH,
    GOOD,
    POLICY,
    SURE,
    certificates,
    certified,
    conditions_any,
    estimates,
    memories,
    probabilities,
    signals_any,
)

from phone.cascade.chances import expected_gain
from phone.cascade.constants import Policy
from phone.cascade.decision import Action, CascadeMemory, Decision, Rule
from phone.cascade.inputs import CloudState, Conditions, NetworkKind, Signals, Thermal, Trouble
from phone.cascade.policy import Cascade
from phone.cascade.privacy import CloudUse, PrivateKind
from phone.cascade.rules import forbidden
from phone.cascade.soundness import sound_conditions
from shared.models.estimate import Estimate
from shared.models.risk import RiskCertificate

UNSURE = replace(SURE, recognition=0.3)
COLD = replace(GOOD, network=NetworkKind.CELLULAR)
"""A cellular radio that sleeps."""


def decide(
    signals: Signals,
    conditions: Conditions = GOOD,
    memory: CascadeMemory = FRESH,
    certificate: RiskCertificate | None = None,
    policy: Policy = POLICY,
) -> Decision:
    return Cascade(policy, certified(certificate)).decide(signals, conditions, memory)[0]


def estimated(gain: float, *, right: float = 0.5) -> Signals:
    return replace(SURE, estimate=Estimate(right, helped=max(gain, 0.0), harmed=max(-gain, 0.0)))


def test_an_unsure_reading_is_escalated_and_the_reason_names_the_doubt_and_the_numbers() -> None:
    decision = decide(UNSURE)
    assert decision.action is Action.ESCALATE
    assert decision.rule is Rule.UNSURE
    assert decision.reason.startswith("unsure of the text (30%); asking should put 17.6 of 100 such signs right, at a")
    assert decision.gain > decision.price > 0


def test_a_sure_reading_is_kept() -> None:
    decision = decide(SURE)
    assert decision.action is Action.KEEP
    assert decision.rule is Rule.SURE


def test_letters_too_small_to_read_are_not_worth_a_call() -> None:
    decision = decide(replace(SURE, recognition=0.0, translation=0.0, trouble=Trouble.TOO_SMALL))
    assert not decision.escalate
    assert decision.rule is Rule.HOPELESS


@pytest.mark.parametrize("trouble", [Trouble.SCRIPT, Trouble.DIRECTION, Trouble.LOW_CONFIDENCE])
def test_what_the_cloud_may_do_better_is_escalated(trouble: Trouble) -> None:
    recognition = 0.95 if trouble is Trouble.DIRECTION else 0.1
    assert decide(replace(SURE, recognition=recognition, translation=0.0, trouble=trouble)).escalate


@pytest.mark.parametrize(
    ("signals", "conditions", "rule"),
    [
        ({}, {"cloud_use": CloudUse.NEVER}, Rule.NEVER),
        ({}, {"cloud_use": CloudUse.ASK}, Rule.CONSENT),
        ({"private": PrivateKind.CARD}, {}, Rule.PRIVATE),
        ({"whole_frame": True}, {}, Rule.FRAME),
        ({}, {"ledger_writable": False}, Rule.NO_LEDGER),
        ({}, {"cloud": CloudState.NOT_CONFIGURED}, Rule.NO_CLOUD),
        ({}, {"network": NetworkKind.NONE}, Rule.NO_NETWORK),
        ({}, {"network": NetworkKind.CAPTIVE}, Rule.NO_NETWORK),
        ({}, {"cloud": CloudState.DOWN}, Rule.CLOUD_DOWN),
        ({}, {"cloud": CloudState.BUSY}, Rule.CLOUD_BUSY),
        ({"direction_refused": True}, {}, Rule.DIRECTION),
        ({}, {"budget_left_bytes": 3_999}, Rule.BUDGET),
        ({}, {"life_left_seconds": 0.5}, Rule.LATE),
        ({}, {"battery_percent": 4}, Rule.BATTERY),
        ({}, {"thermal": Thermal.HOT}, Rule.HOT),
        ({}, {"thermal": Thermal.HOT, "charging": True}, Rule.HOT),
    ],
)
def test_each_rule_that_forbids_a_call_does(
    signals: dict[str, object], conditions: dict[str, object], rule: Rule
) -> None:
    decision = decide(replace(UNSURE, **signals), replace(GOOD, **conditions))
    assert decision.action is Action.KEEP
    assert decision.rule is rule
    assert decision.reason
    assert "\n" not in decision.reason


def test_what_forbids_a_call_stops_doing_so_when_it_is_lifted() -> None:
    assert decide(UNSURE, replace(GOOD, cloud_use=CloudUse.ASK, consent=True)).escalate
    assert decide(UNSURE, replace(GOOD, battery_percent=4, charging=True)).escalate


def test_a_whole_frame_never_leaves_whatever_else_is_allowed() -> None:
    frame = replace(UNSURE, whole_frame=True)
    assert not decide(frame, replace(GOOD, cloud_use=CloudUse.ASK, consent=True)).escalate


def test_the_metamodel_outweighs_the_confidences() -> None:
    assert decide(estimated(0.2)).escalate
    kept = decide(replace(UNSURE, estimate=Estimate(right=0.9, helped=0.01, harmed=0.0)))
    assert kept.rule is Rule.SURE
    assert "90% right" in kept.reason


def test_a_script_that_only_the_cloud_may_read_is_worth_asking_whatever_the_metamodel_says() -> None:
    """It learned from a cloud that could not read such signs."""
    hopeless = replace(SURE, recognition=0.0, trouble=Trouble.SCRIPT, estimate=Estimate(0.02, helped=0.01, harmed=0.0))
    korean = replace(hopeless, foreign_script="hangul")
    assert expected_gain(korean, POLICY) == pytest.approx(0.98 * POLICY.help_script)
    assert decide(korean).escalate
    assert decide(korean, policy=Policy()).escalate
    assert decide(replace(korean, direction_refused=True)).rule is Rule.DIRECTION
    assert not decide(hopeless).escalate  # a blurred sign, for all that anybody can tell


@given(signals_any, estimates, probabilities)
def test_a_foreign_script_makes_asking_no_less_attractive_and_a_likelier_right_reading_no_more(
    signals: Signals, estimate: Estimate, raised: float
) -> None:
    foreign = replace(signals, trouble=Trouble.SCRIPT, foreign_script="thai", estimate=estimate)
    assert expected_gain(foreign, POLICY) >= expected_gain(replace(foreign, foreign_script=None), POLICY)
    surer = replace(foreign, estimate=replace(estimate, right=max(estimate.right, raised)))
    assert expected_gain(surer, POLICY) <= expected_gain(foreign, POLICY)


def test_a_call_that_would_do_harm_is_not_made() -> None:
    decision = decide(estimated(-0.1))
    assert not decision.escalate
    assert decision.gain < 0
    assert "would put nothing right" in decision.reason


def test_the_value_of_a_sign_counts() -> None:
    ordinary = estimated(0.025)
    assert not decide(ordinary).escalate
    assert decide(replace(ordinary, value=3.0)).escalate


def test_a_gain_that_is_not_worth_its_price_is_called_dear_and_the_reason_says_what_for() -> None:
    decision = decide(estimated(0.05), replace(COLD, battery_percent=10, life_left_seconds=1.2))
    assert decision.rule is Rule.DEAR
    assert "most of it for the battery at 10 %, with the mobile radio asleep" in decision.reason
    scarce = decide(estimated(0.05), replace(GOOD, metered=True, budget_left_bytes=40_000))
    assert scarce.rule is Rule.DEAR
    assert "most of it for 4000 of the 40000 bytes left today" in scarce.reason


def test_metered_bytes_are_dearer_than_free_ones_and_dearer_still_as_the_budget_empties() -> None:
    free, metered, scarce = (
        decide(UNSURE, replace(GOOD, metered=is_metered, budget_left_bytes=left)).price
        for is_metered, left in ((False, 100_000), (True, 100_000), (True, 20_000))
    )
    assert free < metered < scarce


def test_an_answer_that_is_probably_late_is_worth_less() -> None:
    quick = decide(estimated(0.2), replace(GOOD, expected_seconds=1.0, late_seconds=2.0))
    late = decide(estimated(0.2), replace(GOOD, expected_seconds=1.0, late_seconds=2.0, life_left_seconds=1.2))
    assert quick.gain == pytest.approx(0.2, rel=0.01)
    assert late.gain == pytest.approx(0.2 * 0.57, rel=0.02)


def test_a_call_that_only_lateness_makes_worthless_says_so() -> None:
    decision = decide(estimated(0.055), replace(GOOD, life_left_seconds=0.65, late_seconds=4.0))
    assert decision.rule is Rule.LATE
    assert "50% sure of it, least of the translation, but its answer would be in time only in 52 of" in decision.reason


def test_a_phone_that_charges_asks_as_if_energy_were_free() -> None:
    nearly_empty = replace(COLD, battery_percent=6, charging=True)
    assert decide(estimated(0.1), nearly_empty).price == pytest.approx(
        decide(estimated(0.1), replace(nearly_empty, network=NetworkKind.WIFI)).price
    )


def test_a_warm_phone_pays_more_for_energy() -> None:
    warm = decide(estimated(0.1), replace(COLD, thermal=Thermal.WARM))
    assert warm.price > decide(estimated(0.1), COLD).price


class TestCertificate:
    def test_a_reading_it_covers_is_certified_whatever_is_decided(self) -> None:
        covered = replace(SURE, estimate=Estimate(right=0.95, helped=0.0, harmed=0.0))
        assert decide(covered, certificate=CERTIFICATE).certified
        assert decide(covered, replace(GOOD, cloud_use=CloudUse.NEVER), certificate=CERTIFICATE).certified
        assert not decide(covered).certified
        assert not decide(SURE, certificate=CERTIFICATE).certified  # nobody estimated it
        assert "at most 5% are wrong" in decide(covered, certificate=CERTIFICATE).reason

    def test_one_it_does_not_cover_is_asked_about_for_less(self) -> None:
        doubtful = replace(SURE, estimate=Estimate(right=0.6, helped=0.025, harmed=0.0))
        assert not decide(doubtful).escalate
        decision = decide(doubtful, certificate=CERTIFICATE)
        assert decision.escalate
        assert decision.rule is Rule.UNCERTIFIED
        assert "not among the readings of which at most 5% are wrong (60% right)" in decision.reason

    def test_one_it_covers_is_kept_unless_the_gain_is_clear(self) -> None:
        small = replace(SURE, estimate=Estimate(right=0.95, helped=0.04, harmed=0.0))
        assert decide(small).escalate
        assert not decide(small, certificate=CERTIFICATE).escalate
        clear = replace(SURE, estimate=Estimate(right=0.91, helped=0.09, harmed=0.0))
        assert decide(clear, certificate=CERTIFICATE).rule is Rule.UNSURE


class TestHolding:
    LOW = replace(COLD, battery_percent=25)

    def test_a_gain_that_is_worth_its_share_of_an_open_radio_but_not_waking_it_is_held(self) -> None:
        decision = decide(estimated(0.06), self.LOW)
        assert decision.action is Action.HOLD
        assert decision.escalate
        assert decision.price_shared < decision.gain <= decision.price
        assert 0 < decision.hold_seconds <= POLICY.longest_hold_seconds
        assert "for company" in decision.reason

    def test_it_goes_at_once_while_the_radio_is_awake_anyway(self) -> None:
        assert decide(estimated(0.06), replace(self.LOW, radio_open_seconds=11.0)).action is Action.ESCALATE

    def test_it_is_not_held_beyond_what_leaves_time_for_an_answer(self) -> None:
        decision = decide(estimated(0.06), replace(self.LOW, life_left_seconds=2.6))
        assert decision.action is Action.HOLD
        assert decision.hold_seconds == pytest.approx(2.6 - 0.1 - 1.0)
        assert decide(estimated(0.06), replace(self.LOW, life_left_seconds=1.5)).action is Action.KEEP

    def test_it_is_not_held_longer_than_waiting_is_worth(self) -> None:
        decision = decide(estimated(0.06), self.LOW)
        worth = (decision.gain - decision.price_shared) / POLICY.price_per_second
        assert decision.hold_seconds <= worth

    def test_a_clear_gain_wakes_the_radio(self) -> None:
        assert decide(estimated(0.3), self.LOW).action is Action.ESCALATE

    def test_without_a_cellular_radio_nothing_is_held(self) -> None:
        assert decide(estimated(0.06), replace(self.LOW, network=NetworkKind.UNKNOWN)).action is Action.KEEP


def test_a_policy_that_would_punish_a_better_reading_is_refused() -> None:
    with pytest.raises(ValueError, match="must help most with the reading"):
        Policy(help_translation=0.9)
    with pytest.raises(ValueError, match="least with the language"):
        Policy(help_language=0.25)
    with pytest.raises(ValueError, match="less attractive"):
        Policy(certified_factor=0.4)


def test_an_unclear_language_alone_is_not_worth_a_call() -> None:
    decision = decide(replace(SURE, trouble=Trouble.LANGUAGE_UNKNOWN, language=0.0, translation=0.0))
    assert not decision.escalate
    assert "the language is not clear" in decision.reason


@given(signals_any, conditions_any, memories, certificates)
def test_nothing_forbidden_ever_leaves(
    signals: Signals, conditions: Conditions, memory: CascadeMemory, certificate: RiskCertificate | None
) -> None:
    decision, after = Cascade(POLICY, certified(certificate)).decide(signals, conditions, memory)
    ban = (
        conditions.cloud_use is CloudUse.NEVER
        or (conditions.cloud_use is CloudUse.ASK and not conditions.consent)
        or signals.private is not None
        or signals.whole_frame
        or not conditions.ledger_writable
        or conditions.cloud is not CloudState.READY
        or conditions.network in {NetworkKind.NONE, NetworkKind.CAPTIVE}
        or signals.direction_refused
        or signals.request_bytes > conditions.budget_left_bytes
        or conditions.expected_seconds + conditions.delivery_seconds >= conditions.life_left_seconds
        or conditions.thermal is Thermal.HOT
        or after.empty
    )
    assert not (ban and decision.escalate)
    assert ban == (forbidden(signals, sound_conditions(conditions), after, POLICY) is not None)
    assert (decision.action is Action.ESCALATE) == (not ban and decision.gain > decision.price)
    assert (decision.action is Action.HOLD) == (decision.hold_seconds > 0)


@given(signals_any, st.integers(0, 3), probabilities)
@example(replace(SURE, trouble=Trouble.TOO_SMALL, language=0.0, translation=0.0), 0, 0.0)
def test_a_surer_reading_is_never_escalated_where_a_less_sure_one_is_kept(
    signals: Signals, stage: int, raised: float
) -> None:
    name = ("recognition", "script", "language", "translation")[stage]
    judged = replace(signals, estimate=None)
    lower, higher = sorted((getattr(judged, name), raised))
    unsure, sure = replace(judged, **{name: lower}), replace(judged, **{name: higher})
    assert expected_gain(unsure, POLICY) >= expected_gain(sure, POLICY) - 1e-12
    if decide(sure).escalate:
        assert decide(unsure).escalate


_NETWORKS = (NetworkKind.NONE, NetworkKind.CAPTIVE, NetworkKind.UNKNOWN, NetworkKind.CELLULAR, NetworkKind.WIFI)
_THERMALS = (Thermal.HOT, Thermal.WARM, Thermal.NORMAL)


@given(
    signals_any,
    conditions_any,
    memories,
    certificates,
    st.fixed_dictionaries(
        {},
        optional={
            "battery_percent": st.tuples(st.integers(0, 100), st.integers(0, 100)),
            "charging": st.tuples(st.booleans(), st.booleans()),
            "budget_left_bytes": st.tuples(st.integers(0, 10**7), st.integers(0, 10**7)),
            "expected_seconds": st.tuples(st.floats(0, 20), st.floats(0, 20)),
            "late_seconds": st.tuples(st.floats(0, 40), st.floats(0, 40)),
            "delivery_seconds": st.tuples(st.floats(0, 5), st.floats(0, 5)),
            "life_left_seconds": st.tuples(st.floats(-5, 60), st.floats(-5, 60)),
            "radio_open_seconds": st.tuples(st.floats(0, 12), st.floats(0, 12)),
            "metered": st.tuples(st.booleans(), st.booleans()),
            "network": st.tuples(st.sampled_from(_NETWORKS), st.sampled_from(_NETWORKS)),
            "thermal": st.tuples(st.sampled_from(_THERMALS), st.sampled_from(_THERMALS)),
        },
    ),
)
def test_better_conditions_never_turn_an_escalation_into_a_reading_kept(
    signals: Signals,
    conditions: Conditions,
    memory: CascadeMemory,
    certificate: RiskCertificate | None,
    pairs: dict[str, tuple[object, object]],
) -> None:
    """Battery, charger, speed, budget, life, radio, tariff, network, temperature: alone or together."""
    orders = {
        "network": lambda value: _NETWORKS.index(value),
        "thermal": lambda value: _THERMALS.index(value),
        "metered": lambda value: not value,
        **dict.fromkeys(("expected_seconds", "late_seconds", "delivery_seconds"), lambda value: -value),
    }
    worse, better = conditions, conditions
    for name, pair in pairs.items():
        low, high = sorted(pair, key=orders.get(name, lambda value: value))
        worse, better = replace(worse, **{name: low}), replace(better, **{name: high})
    if decide(signals, worse, memory, certificate).escalate:
        assert decide(signals, better, memory, certificate).escalate


@given(signals_any, estimates, probabilities, st.floats(0, 5), conditions_any, memories, certificates)
def test_a_larger_gain_or_value_never_turns_an_escalation_into_a_reading_kept(
    signals: Signals,
    estimate: Estimate,
    helped: float,
    value: float,
    conditions: Conditions,
    memory: CascadeMemory,
    certificate: RiskCertificate | None,
) -> None:
    low, high = sorted((estimate.helped, helped))
    less = replace(signals, estimate=replace(estimate, helped=low), value=min(value, signals.value))
    more = replace(signals, estimate=replace(estimate, helped=high), value=max(value, signals.value))
    if decide(less, conditions, memory, certificate).escalate:
        assert decide(more, conditions, memory, certificate).escalate


@given(signals_any, conditions_any)
def test_a_spent_budget_keeps_everything(signals: Signals, conditions: Conditions) -> None:
    charged = replace(signals, request_bytes=max(signals.request_bytes, 1))
    assert not decide(charged, replace(conditions, budget_left_bytes=0)).escalate
