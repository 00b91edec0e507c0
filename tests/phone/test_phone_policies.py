"""Policies to compare the cascade with: they choose differently and obey the same rules."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_world import CERTIFICATE, FRESH, GOOD, POLICY, SURE, certified, conditions_any, memories, signals_any

from phone.cascade.constants import Policy
from phone.cascade.decision import Action, CascadeMemory, Rule
from phone.cascade.inputs import Conditions, Signals, Thermal
from phone.cascade.policies import POLICY_NAMES, Always, Confidence, Random, lot_of, policy_named
from phone.cascade.policy import Cascade
from phone.settings import PolicyChoice
from shared.errors import UsageError

UNSURE = replace(SURE, recognition=0.3)


def test_every_policy_is_found_by_the_name_it_has() -> None:
    assert POLICY_NAMES == ("cascade", "confidence", "always", "never", "random")
    assert [policy_named(name).name for name in POLICY_NAMES] == list(POLICY_NAMES)
    assert [choice.value for choice in PolicyChoice] == list(POLICY_NAMES)
    with pytest.raises(UsageError, match="there is no policy 'oracle'"):
        policy_named("oracle")


def test_the_cascade_gets_its_certificates_and_its_constants() -> None:
    constants = Policy(base_price_small=0.2)
    assert policy_named("cascade", certificates=certified(CERTIFICATE), constants=constants) == Cascade(
        constants, certified(CERTIFICATE)
    )
    assert policy_named("always", constants=constants) == Always(constants)


def test_confidence_asks_below_its_threshold() -> None:
    policy = Confidence(threshold=0.9)
    assert policy.decide(SURE, GOOD, FRESH)[0].rule is Rule.SURE
    assert policy.decide(replace(SURE, language=0.9), GOOD, FRESH)[0].action is Action.ESCALATE


def test_always_asks_about_the_surest_and_never_about_nothing() -> None:
    assert policy_named("always").decide(SURE, GOOD, FRESH)[0].action is Action.ESCALATE
    assert policy_named("never").decide(UNSURE, GOOD, FRESH)[0].action is Action.KEEP


def test_random_asks_about_its_share_and_the_same_sign_draws_the_same_lot() -> None:
    policy = Random(share=0.3)
    asked = [policy.decide(replace(SURE, sign_key=key), GOOD, FRESH)[0].escalate for key in range(2_000)]
    assert asked == [policy.decide(replace(SURE, sign_key=key), GOOD, FRESH)[0].escalate for key in range(2_000)]
    assert sum(asked) / len(asked) == pytest.approx(0.3, abs=0.03)
    assert len({lot_of(key) for key in range(2_000)}) == 2_000


@given(signals_any, conditions_any, memories, st.sampled_from(POLICY_NAMES))
def test_what_a_rule_forbids_no_policy_does(
    signals: Signals, conditions: Conditions, memory: CascadeMemory, name: str
) -> None:
    decision, after = policy_named(name).decide(signals, conditions, memory)
    asked, asked_after = policy_named("always", constants=POLICY).decide(signals, conditions, memory)
    assert after == asked_after
    if decision.escalate:
        assert asked.escalate
    elif not asked.escalate:
        assert decision.rule is asked.rule
        assert decision.reason == asked.reason


def test_a_hot_phone_asks_about_nothing_under_any_policy() -> None:
    for name in POLICY_NAMES:
        assert policy_named(name).decide(UNSURE, replace(GOOD, thermal=Thermal.HOT), FRESH)[0].rule is Rule.HOT
