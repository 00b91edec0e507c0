"""Missing, impossible and absurd numbers never raise, and never send anything away that they should have kept."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_world import CERTIFICATE, FRESH, GOOD, SURE, certified

from phone.cascade.constants import Policy
from phone.cascade.decision import Action, CascadeMemory, Rule
from phone.cascade.inputs import CloudState, Conditions, NetworkKind, Recogniser, Signals, Thermal, Trouble
from phone.cascade.policies import POLICY_NAMES, policy_named
from phone.cascade.policy import Cascade
from phone.cascade.privacy import CloudUse, PrivateKind
from shared.models.estimate import Estimate

CASCADE = Cascade(Policy(), certified(CERTIFICATE))
GARBAGE = (math.nan, math.inf, -math.inf, -1.0, -1e-300, 1.0000001, 2.0, 250.0, 1e308, 5e-324)

numbers = st.floats() | st.sampled_from(GARBAGE) | st.integers(-(10**30), 10**30).map(float)
integers = st.integers(-(2**70), 2**70) | st.sampled_from([0, -1, 10**400])
signals_odd = st.builds(
    Signals,
    recognition=numbers,
    script=numbers,
    language=numbers,
    translation=numbers,
    trouble=st.sampled_from([None, *Trouble]),
    recogniser=st.sampled_from(Recogniser),
    private=st.sampled_from([None, None, *PrivateKind]),
    request_bytes=integers,
    foreign_script=st.sampled_from([None, "thai"]),
    direction_refused=st.booleans(),
    estimate=st.none() | st.builds(Estimate, right=numbers, helped=numbers, harmed=numbers),
    value=numbers,
    sign_key=integers,
)
conditions_odd = st.builds(
    Conditions,
    cloud=st.just(CloudState.READY),
    cloud_use=st.sampled_from(CloudUse),
    consent=st.booleans(),
    ledger_writable=st.just(True),
    budget_left_bytes=integers,
    battery_percent=st.none() | st.integers(-500, 500) | st.sampled_from([10**400]),
    charging=st.booleans(),
    expected_seconds=numbers,
    life_left_seconds=numbers,
    late_seconds=st.none() | numbers,
    delivery_seconds=numbers,
    network=st.sampled_from(NetworkKind),
    metered=st.booleans(),
    radio_open_seconds=numbers,
    thermal=st.sampled_from(Thermal),
)


@given(signals_odd, conditions_odd, st.sampled_from(POLICY_NAMES))
def test_no_policy_ever_raises_and_every_decision_is_whole(signals: Signals, conditions: Conditions, name: str) -> None:
    decision, memory = policy_named(name, certificates=certified(CERTIFICATE)).decide(signals, conditions, FRESH)
    assert decision.reason
    assert "\n" not in decision.reason
    assert "nan" not in decision.reason
    assert "inf" not in decision.reason
    assert math.isfinite(decision.gain)
    assert math.isfinite(decision.price)
    assert math.isfinite(decision.hold_seconds)
    assert isinstance(memory, CascadeMemory)
    if decision.escalate:
        assert signals.private is None
        assert 0 <= signals.request_bytes <= conditions.budget_left_bytes
        assert conditions.cloud_use is not CloudUse.NEVER


@pytest.mark.parametrize("wrong", [math.nan, -0.1, 1.1, math.inf])
def test_an_impossible_estimate_is_as_good_as_none(wrong: float) -> None:
    unsure = replace(SURE, recognition=0.3)
    for estimate in (Estimate(wrong, 0.9, 0.0), Estimate(0.1, wrong, 0.0), Estimate(0.1, 0.9, wrong)):
        assert CASCADE.decide(replace(unsure, estimate=estimate), GOOD, FRESH) == CASCADE.decide(unsure, GOOD, FRESH)


@pytest.mark.parametrize("stage", ["recognition", "script", "language", "translation"])
@pytest.mark.parametrize("wrong", [math.nan, -0.1, 1.1, math.inf])
def test_without_an_estimate_an_impossible_confidence_keeps_the_reading(stage: str, wrong: float) -> None:
    signals = replace(replace(SURE, recognition=0.3), **{stage: wrong})
    decision, _ = CASCADE.decide(signals, GOOD, FRESH)
    assert (decision.action, decision.rule) == (Action.KEEP, Rule.FALLBACK)
    assert decision.reason.startswith("kept to be safe: how sure the phone is of the ")
    helped = replace(signals, estimate=Estimate(0.2, 0.5, 0.0))
    assert CASCADE.decide(helped, GOOD, FRESH)[0].escalate  # the estimate does not need them


@pytest.mark.parametrize(
    "wrong",
    [
        {"expected_seconds": math.nan},
        {"expected_seconds": -1.0},
        {"delivery_seconds": math.nan},
        {"delivery_seconds": -2.0},
        {"life_left_seconds": math.nan},
    ],
)
def test_a_time_that_is_not_known_keeps_the_reading(wrong: dict[str, float]) -> None:
    decision, _ = CASCADE.decide(replace(SURE, recognition=0.3), replace(GOOD, **wrong), FRESH)
    assert decision.rule is Rule.FALLBACK
    assert "how long an answer would take" in decision.reason


def test_an_endless_wait_is_too_late() -> None:
    decision, _ = CASCADE.decide(replace(SURE, recognition=0.3), replace(GOOD, expected_seconds=math.inf), FRESH)
    assert decision.rule is Rule.LATE


@pytest.mark.parametrize("battery", [250, -3, 101, 10**400])
def test_a_battery_that_lies_is_an_unknown_one(battery: int) -> None:
    unsure = replace(SURE, recognition=0.3)
    assert CASCADE.decide(unsure, replace(GOOD, battery_percent=battery), FRESH) == CASCADE.decide(
        unsure, replace(GOOD, battery_percent=None), FRESH
    )


def test_a_budget_below_nothing_is_spent() -> None:
    decision, _ = CASCADE.decide(replace(SURE, recognition=0.3), replace(GOOD, budget_left_bytes=-5), FRESH)
    assert decision.rule is Rule.BUDGET


def test_a_call_of_impossible_size_is_not_made() -> None:
    decision, _ = CASCADE.decide(replace(SURE, recognition=0.3, request_bytes=-1), GOOD, FRESH)
    assert decision.rule is Rule.FALLBACK


@pytest.mark.parametrize("value", [math.nan, -1.0, math.inf, 1e9])
def test_an_impossible_value_is_that_of_an_ordinary_sign(value: float) -> None:
    unsure = replace(SURE, recognition=0.3)
    assert CASCADE.decide(replace(unsure, value=value), GOOD, FRESH) == CASCADE.decide(unsure, GOOD, FRESH)
