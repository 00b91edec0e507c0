"""Sweep the policy's base price on the calibration part: the only part on which anything is chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from phone.cascade.constants import Policy
from phone.cascade.decision import CascadePolicy
from phone.cascade.policies import Certificates, policy_named
from simulations.bench.cascade.looks import Looks

PRICES: Final = (
    *(round(0.005 * step, 3) for step in range(20)),
    *(round(0.1 + 0.02 * step, 3) for step in range(21)),
)
"""Base prices tried, in signs right: 0 to 0.5, closer together where prices are low."""


@dataclass(frozen=True)
class Setting:
    """One base price.

    Attributes:
        price: of asking at all, in signs right.
        shares: escalated, by recogniser.
        qualities: share of signs right, by recogniser.
    """

    price: float
    shares: Mapping[str, float]
    qualities: Mapping[str, float]

    def only(self, recogniser: str) -> Setting:
        """The same, of one recogniser."""
        return Setting(self.price, {recogniser: self.shares[recogniser]}, {recogniser: self.qualities[recogniser]})

    @property
    def quality(self) -> float:
        """Mean over the recognisers, which count alike: the wearer's battery says which of them reads."""
        return sum(self.qualities.values()) / len(self.qualities)


def priced(price: float, certificates: Certificates) -> CascadePolicy:
    """The production policy with another base price, the same for every recogniser."""
    constants = replace(Policy(), base_price_small=price, base_price_tiny=price)
    return policy_named("cascade", certificates=certificates, constants=constants)


def sweep(
    looks: Sequence[Looks], make: Callable[[float], CascadePolicy], prices: Sequence[float] = PRICES
) -> list[Setting]:
    """What each price gives.

    Args:
        looks: of the calibration part, one for each recogniser.
        make: the policy with a base price.
        prices: to try.
    """
    settings = []
    for price in prices:
        policy = make(price)
        shares, qualities = {}, {}
        for each in looks:
            asked = np.array([decision.escalate for decision in each.decisions(policy)], np.bool_)
            outcomes = each.outcomes
            shares[each.recogniser] = float(asked.mean())
            qualities[each.recogniser] = float(np.where(asked, outcomes.final, outcomes.local).mean())
        settings.append(Setting(price, shares, qualities))
    return settings


def best(settings: Sequence[Setting], target_share: float) -> Setting | None:
    """The setting with the best quality among those that escalate no more than the target with any recogniser.

    Of equal ones the one that asks least; None where none qualifies.
    """
    allowed = [setting for setting in settings if max(setting.shares.values()) <= target_share]
    return max(allowed, key=lambda setting: (round(setting.quality, 9), setting.price), default=None)
