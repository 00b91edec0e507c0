"""Which network the phone is in: one for a whole run, or the one that the wearer's day says."""

from __future__ import annotations

from collections.abc import Callable

from simulations.energy.constants import Constants
from simulations.networks.path import NetworkPath
from simulations.networks.presets import network_profile
from simulations.sweep.arms import OF_DAY, Arm
from simulations.sweep.plan import Plan


def ways_of(arm: Arm, plan: Plan, constants: Constants, seed: int) -> Callable[[float], NetworkPath]:
    """The network of an arm by seconds since the first midnight; the same object as long as it is the same network.

    Raises:
        UsageError: there is no such network.
    """
    paths: dict[str, NetworkPath] = {}

    def way(name: str) -> NetworkPath:
        if name not in paths:
            # Networks of their own seeds, so that two of them are not without coverage at the same times.
            profile = network_profile(name, constants, seed=1 + len(name) * 31 + sum(name.encode()))
            paths[name] = NetworkPath(profile, seed)
        return paths[name]

    if arm.network != OF_DAY:
        way(arm.network)
        return lambda at: way(arm.network)
    return lambda at: way(plan.wear.segment_at(at).network)
