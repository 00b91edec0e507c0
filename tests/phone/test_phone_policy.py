"""The cascade keeps or escalates for the reasons it states."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from phone.cascade.policy import CloudState, Conditions, Policy, Recogniser, Rule, Signals, Trouble, decide
from phone.cascade.privacy import CloudUse, PrivateKind

SURE = Signals(
    recognition=0.99,
    script=1.0,
    language=1.0,
    translation=0.98,
    trouble=None,
    recogniser=Recogniser.SMALL,
    private=None,
    request_bytes=4_000,
)
UNSURE = replace(SURE, recognition=0.3)
GOOD = Conditions(
    cloud=CloudState.READY,
    cloud_use=CloudUse.ALLOW,
    consent=False,
    frames_allowed=False,
    ledger_writable=True,
    budget_left_bytes=20_000_000,
    battery_percent=80,
    charging=False,
    expected_seconds=0.5,
    life_left_seconds=10.0,
)
POLICY = Policy()

probabilities = st.floats(0, 1)
signals_any = st.builds(
    Signals,
    recognition=probabilities,
    script=probabilities,
    language=probabilities,
    translation=probabilities,
    trouble=st.sampled_from([None, *Trouble]),
    recogniser=st.sampled_from(Recogniser),
    private=st.sampled_from([None, *PrivateKind]),
    request_bytes=st.integers(0, 500_000),
    whole_frame=st.booleans(),
    direction_refused=st.booleans(),
)
conditions_any = st.builds(
    Conditions,
    cloud=st.sampled_from(CloudState),
    cloud_use=st.sampled_from(CloudUse),
    consent=st.booleans(),
    frames_allowed=st.booleans(),
    ledger_writable=st.booleans(),
    budget_left_bytes=st.integers(0, 50_000_000),
    battery_percent=st.none() | st.integers(0, 100),
    charging=st.booleans(),
    expected_seconds=st.floats(0, 60),
    life_left_seconds=st.floats(-5, 60),
)


def test_an_unsure_reading_is_escalated_and_the_reason_names_the_doubt() -> None:
    decision = decide(UNSURE, GOOD, POLICY)
    assert decision.escalate
    assert decision.rule is Rule.UNSURE
    assert "unsure of the text (30%)" in decision.reason
    assert decision.gain > decision.price > 0


def test_a_sure_reading_is_kept() -> None:
    decision = decide(SURE, GOOD, POLICY)
    assert not decision.escalate
    assert decision.rule is Rule.SURE


def test_letters_too_small_to_read_are_not_worth_a_call() -> None:
    decision = decide(replace(SURE, recognition=0.0, translation=0.0, trouble=Trouble.TOO_SMALL), GOOD, POLICY)
    assert not decision.escalate
    assert decision.rule is Rule.HOPELESS


@pytest.mark.parametrize("trouble", [Trouble.SCRIPT, Trouble.DIRECTION, Trouble.LOW_CONFIDENCE])
def test_what_the_cloud_may_do_better_is_escalated(trouble: Trouble) -> None:
    recognition = 0.95 if trouble is Trouble.DIRECTION else 0.1
    assert decide(replace(SURE, recognition=recognition, translation=0.0, trouble=trouble), GOOD, POLICY).escalate


@pytest.mark.parametrize(
    ("signals", "conditions", "rule"),
    [
        ({}, {"cloud_use": CloudUse.NEVER}, Rule.NEVER),
        ({}, {"cloud_use": CloudUse.ASK}, Rule.CONSENT),
        ({"private": PrivateKind.CARD}, {}, Rule.PRIVATE),
        ({"whole_frame": True}, {}, Rule.FRAME),
        ({}, {"ledger_writable": False}, Rule.NO_LEDGER),
        ({}, {"cloud": CloudState.NOT_CONFIGURED}, Rule.NO_CLOUD),
        ({}, {"cloud": CloudState.DOWN}, Rule.CLOUD_DOWN),
        ({}, {"cloud": CloudState.BUSY}, Rule.CLOUD_BUSY),
        ({"direction_refused": True}, {}, Rule.DIRECTION),
        ({}, {"budget_left_bytes": 3_999}, Rule.BUDGET),
        ({}, {"life_left_seconds": 0.4}, Rule.LATE),
        ({}, {"battery_percent": 4}, Rule.BATTERY),
    ],
)
def test_each_rule_that_forbids_a_call_does(
    signals: dict[str, object], conditions: dict[str, object], rule: Rule
) -> None:
    decision = decide(replace(UNSURE, **signals), replace(GOOD, **conditions), POLICY)
    assert not decision.escalate
    assert decision.rule is rule
    assert decision.reason
    assert "\n" not in decision.reason


def test_what_forbids_a_call_stops_doing_so_when_it_is_lifted() -> None:
    assert decide(UNSURE, replace(GOOD, cloud_use=CloudUse.ASK, consent=True), POLICY).escalate
    assert decide(replace(UNSURE, whole_frame=True), replace(GOOD, frames_allowed=True), POLICY).escalate
    assert decide(UNSURE, replace(GOOD, battery_percent=4, charging=True), POLICY).escalate


def test_the_budget_left_has_a_price() -> None:
    plenty = decide(replace(UNSURE, recognition=0.8), GOOD, POLICY)
    scarce = decide(replace(UNSURE, recognition=0.8), replace(GOOD, budget_left_bytes=5_000), POLICY)
    assert plenty.escalate
    assert not scarce.escalate


def test_a_policy_that_would_punish_a_better_reading_is_refused() -> None:
    with pytest.raises(ValueError, match="must help most with the reading"):
        Policy(help_translation=0.9)
    with pytest.raises(ValueError, match="least with the language"):
        Policy(help_language=0.25)


def test_an_unclear_language_alone_is_not_worth_a_call() -> None:
    signals = replace(SURE, trouble=Trouble.LANGUAGE_UNKNOWN, language=0.0, translation=0.0)
    decision = decide(signals, GOOD, POLICY)
    assert not decision.escalate
    assert "the language is not clear" in decision.reason


@given(signals_any, conditions_any)
def test_nothing_forbidden_ever_leaves(signals: Signals, conditions: Conditions) -> None:
    decision = decide(signals, conditions, POLICY)
    forbidden = (
        conditions.cloud_use is CloudUse.NEVER
        or (conditions.cloud_use is CloudUse.ASK and not conditions.consent)
        or signals.private is not None
        or (signals.whole_frame and not conditions.frames_allowed)
        or not conditions.ledger_writable
        or conditions.cloud is not CloudState.READY
        or signals.request_bytes > conditions.budget_left_bytes
        or conditions.expected_seconds >= conditions.life_left_seconds
    )
    assert not (forbidden and decision.escalate)
    assert decision.escalate == (not forbidden and decision.gain > decision.price)


@given(signals_any, st.integers(0, 3), probabilities)
@example(replace(SURE, trouble=Trouble.TOO_SMALL, language=0.0, translation=0.0), 0, 0.0)
def test_a_surer_reading_is_never_escalated_where_a_less_sure_one_is_kept(
    signals: Signals, stage: int, raised: float
) -> None:
    name = ("recognition", "script", "language", "translation")[stage]
    lower, higher = sorted((getattr(signals, name), raised))
    unsure, sure = replace(signals, **{name: lower}), replace(signals, **{name: higher})
    assert decide(unsure, GOOD, POLICY).gain >= decide(sure, GOOD, POLICY).gain - 1e-12
    if decide(sure, GOOD, POLICY).escalate:
        assert decide(unsure, GOOD, POLICY).escalate


@given(signals_any, conditions_any, st.integers(0, 100))
def test_an_emptier_battery_never_makes_a_call_cheaper(signals: Signals, conditions: Conditions, percent: int) -> None:
    fuller = replace(conditions, battery_percent=100)
    emptier = replace(conditions, battery_percent=percent)
    if decide(signals, emptier, POLICY).escalate:
        assert decide(signals, fuller, POLICY).escalate


@given(signals_any, conditions_any)
def test_a_spent_budget_keeps_everything(signals: Signals, conditions: Conditions) -> None:
    charged = replace(signals, request_bytes=max(signals.request_bytes, 1))
    assert not decide(charged, replace(conditions, budget_left_bytes=0), POLICY).escalate
