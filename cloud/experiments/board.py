"""What is in force at one moment: the file of experiments, what was decided since, and the weights that follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cloud.experiments.arms import choose, slot_of, weight_of_share
from cloud.experiments.configuration import CONTROL, Configuration, Experiment
from cloud.experiments.state import Share, State
from shared.errors import UsageError


@dataclass(frozen=True, slots=True)
class Board:
    """Immutable: a change is another board.

    Attributes:
        configuration: what the file says.
        state: what was decided since.
        weights: of each experiment's arms, with ramps and switches by hand.
    """

    configuration: Configuration
    state: State
    weights: Mapping[str, Mapping[str, float]]

    def arm_of(self, name: str, device: str) -> str | None:
        """The arm a device is in; None for no part in the experiment."""
        experiment = self.configuration.experiments[name]
        if self.state.is_off(name) is not None:
            return None
        if experiment.group is not None and experiment.slots is not None:
            first, last = experiment.slots
            if not first <= slot_of(experiment.group, device) <= last:
                return None
        return self.in_force(name, choose(experiment.salt or name, device, self.weights[name]))

    def in_force(self, name: str, arm: str) -> str:
        """What a device of an arm is in: control where that is switched off."""
        return arm if self.state.is_off(name, arm) is None else CONTROL


def weights_of(experiment: Experiment, share: Share | None) -> dict[str, float]:
    """Weights of an experiment's arms.

    Args:
        experiment: as the file has it.
        share: in force for one arm in place of its weight; None for none, when a ramp's arm has no device yet.
    """
    weights = {name: arm.weight for name, arm in experiment.arms.items()}
    arm = share.arm if share is not None else experiment.ramp.arm if experiment.ramp is not None else None
    if arm in weights and arm != CONTROL:
        others = sum(weight for name, weight in weights.items() if name != arm)
        weights[arm] = weight_of_share(share.share if share is not None else 0.0, others)
    return weights


def next_share(experiment: Experiment, name: str, state: State, now: float) -> Share | None:
    """The next step of a ramp, where its time has come."""
    ramp, share = experiment.ramp, state.shares.get(name)
    if ramp is None or state.is_off(name, ramp.arm) is not None:
        return None
    if share is None or share.arm != ramp.arm:
        return Share(arm=ramp.arm, share=ramp.shares[0], since=now)
    further = [step for step in ramp.shares if step > share.share]
    if not share.ramps or not further or now - share.since < ramp.hours * 3600:
        return None
    return Share(arm=ramp.arm, share=further[0], since=now)


def known(configuration: Configuration, experiment: str, arm: str | None = None) -> None:
    """Check that there is such an arm.

    Raises:
        UsageError: there is not.
    """
    found = configuration.experiments.get(experiment)
    if found is None:
        names = ", ".join(configuration.experiments) or "none"
        raise UsageError(f"there is no experiment {experiment!r}", hint=f"there are: {names}")
    if arm is not None and arm not in found.arms:
        raise UsageError(f"experiment {experiment} has no arm {arm!r}", hint=f"it has {', '.join(found.arms)}")
