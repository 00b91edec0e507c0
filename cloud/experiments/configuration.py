"""The file of experiments: what stands in it, and what is wrong with it.

::

    refresh_s = 3600                        # how often phones ask

    [experiments.wide-beam]
    salt = "2026-wide-beam"                 # default: the experiment's name
    group = "translation"                   # experiments of a group never share a device ...
    slots = [0, 49]                         # ... when their slots, of 0 to 99, do not overlap
    arms.control = { weight = 90 }
    arms.wide = { weight = 10, canary = true, plan = { beam = 8 }, phone = { hold_s = 4 } }
    ramp = { arm = "wide", shares = [0.01, 0.1, 0.5, 1.0], hours = 24 }
    canary = { alpha = 0.01, min_calls = 50, errors = 0.01, empty = 0.05, agreement = 0.05, latency = 1.25 }

Every experiment has an arm "control", which changes nothing: devices of an arm that was switched off belong to it.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError, field_validator, model_validator

from cloud.experiments.arms import SLOTS
from cloud.experiments.canary import CanaryRules
from cloud.plans import DEFAULT_PLAN, ReadPlan
from shared.errors import StorageError, UsageError
from shared.experiments import MAX_ARMS, MAX_EXPERIMENTS, NAME, phone_value, written
from shared.settings import explain

CONTROL: Final = "control"
MAX_FILE_BYTES: Final = 256 * 1024
"""Largest file of experiments; one with sixteen has about ten thousand."""
MAX_RAMP_STEPS: Final = 16

_RULES: Final = CanaryRules()
_Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)


class PlanChange(_Part):
    """Fields of `ReadPlan` that an arm sets; None for those it leaves alone."""

    beam: Annotated[int, Field(ge=1, le=16)] | None = None
    second_engine: StrictBool | None = None
    rerank: StrictBool | None = None
    endpoint: StrictBool | None = None

    def fields(self) -> dict[str, Any]:
        """What it sets."""
        return self.model_dump(exclude_none=True)


class Arm(_Part):
    """One arm.

    Attributes:
        weight: share of the devices, in proportion to the other arms'.
        canary: whether it is watched, and switched off when it does worse than control.
        plan: what it changes in the cloud.
        phone: settings it changes on phones, as they are sent.
    """

    weight: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
    canary: StrictBool = False
    plan: PlanChange = PlanChange()
    phone: Mapping[str, str] = Field(default_factory=dict)

    @field_validator("phone", mode="before")
    @classmethod
    def _phone(cls, value: object) -> dict[str, str]:
        if not isinstance(value, dict):
            raise ValueError("must be a table of settings of the phone")
        sent = {}
        for name, wanted in value.items():
            if not isinstance(wanted, str | int | float):
                raise ValueError(f"{name} cannot be {wanted!r}")
            sent[str(name)] = written(wanted)
            try:
                phone_value(str(name), sent[name])
            except UsageError as error:
                raise ValueError(str(error)) from None
        return sent


class Ramp(_Part):
    """An arm that grows by itself.

    Attributes:
        arm: which.
        shares: of all the experiment's devices, growing.
        hours: for which each share holds before the next.
    """

    arm: str
    shares: Annotated[tuple[_Share, ...], Field(min_length=1, max_length=MAX_RAMP_STEPS)]
    hours: Annotated[float, Field(gt=0, le=8760)]

    @field_validator("shares")
    @classmethod
    def _growing(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if list(shares) != sorted(set(shares)):
            raise ValueError("shares must grow from step to step")
        return shares


class Rules(_Part):
    """See `cloud.experiments.canary.CanaryRules`."""

    alpha: Annotated[float, Field(gt=0, le=0.5)] = _RULES.alpha
    min_calls: Annotated[int, Field(ge=1, le=1_000_000)] = _RULES.min_calls
    errors: _Share = _RULES.errors
    empty: _Share = _RULES.empty
    agreement: _Share = _RULES.agreement
    latency: Annotated[float, Field(ge=1, le=100)] = _RULES.latency


class Experiment(_Part):
    """One experiment.

    Attributes:
        salt: key of its lots; None for its name. A new salt deals all devices anew.
        group: devices of a group are shared out by slots; None for all devices.
        slots: first and last slot of the group that this experiment has.
        arms: by name; "control" is one of them.
        ramp: None for fixed weights.
        canary: margins of the arms that are watched.
    """

    salt: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    group: Annotated[str, Field(pattern=NAME.pattern, max_length=32)] | None = None
    slots: tuple[int, int] | None = None
    arms: Annotated[dict[str, Arm], Field(min_length=2, max_length=MAX_ARMS)]
    ramp: Ramp | None = None
    canary: Rules = Rules()

    @model_validator(mode="after")
    def _sound(self) -> Experiment:
        for name in self.arms:
            if not NAME.fullmatch(name):
                raise ValueError(f"arm {name[:40]!r}: names have lower-case letters, digits and hyphens, 32 at most")
        control = self.arms.get(CONTROL)
        if control is None or control.weight <= 0:
            raise ValueError('an experiment needs an arm "control" with a weight above 0')
        if control.canary or control.plan.fields() or control.phone:
            raise ValueError('the arm "control" changes nothing')
        if (self.group is None) != (self.slots is None):
            raise ValueError("group and slots belong together")
        if self.slots is not None and not 0 <= self.slots[0] <= self.slots[1] < SLOTS:
            raise ValueError(f"slots are two numbers of 0 to {SLOTS - 1}, the lesser first")
        if self.ramp is not None and (self.ramp.arm == CONTROL or self.ramp.arm not in self.arms):
            raise ValueError(f"ramp: there is no arm {self.ramp.arm[:40]!r} that could grow")
        return self

    @property
    def touched(self) -> frozenset[str]:
        """All that its arms set, in the cloud and on phones."""
        return frozenset(name for arm in self.arms.values() for name in (*arm.plan.fields(), *arm.phone))

    @property
    def rules(self) -> CanaryRules:
        """Margins of its canaries."""
        return CanaryRules(**self.canary.model_dump())


class _Document(_Part):
    refresh_s: Annotated[int, Field(ge=60, le=604_800)] = 3600
    experiments: Annotated[dict[str, Experiment], Field(max_length=MAX_EXPERIMENTS)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _apart(self) -> _Document:
        taken: dict[tuple[str, int], str] = {}
        for name, experiment in self.experiments.items():
            if not NAME.fullmatch(name):
                raise ValueError(f"experiment {name[:40]!r}: names have lower-case letters, digits and hyphens")
            first, last = experiment.slots or (0, -1)
            for slot in range(first, last + 1):
                other = taken.setdefault((experiment.group or "", slot), name)
                if other != name:
                    raise ValueError(f"{name} and {other} both have slot {slot} of group {experiment.group}")
        for (name, one), (other, two) in combinations(self.experiments.items(), 2):
            both = one.touched & two.touched
            if both and (one.group is None or one.group != two.group):
                raise ValueError(
                    f"{name} and {other} both set {min(both)}: put them into one group, with slots of their own"
                )
        return self


class Configuration:
    """A sound set of experiments; never changes.

    Args:
        experiments: by name.
        refresh_s: seconds after which phones ask again.
        version: of the content.
    """

    def __init__(
        self, experiments: Mapping[str, Experiment] | None = None, *, refresh_s: int = 3600, version: str = "none"
    ) -> None:
        self.experiments: Mapping[str, Experiment] = dict(experiments or {})
        self.refresh_s = refresh_s
        self.version = version

    @classmethod
    def parse(cls, text: str) -> Configuration:
        """The experiments of a document.

        Raises:
            UsageError: with the first problem, in one line.
        """
        try:
            document = _Document.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"this is not TOML: {error}") from error
        except ValidationError as error:
            raise UsageError(explain(error).removeprefix("setting ")) from error
        version = hashlib.sha256(text.encode()).hexdigest()[:12]
        return cls(document.experiments, refresh_s=document.refresh_s, version=version)

    @classmethod
    def load(cls, path: Path) -> Configuration:
        """The experiments of a file.

        Raises:
            UsageError: the file is no configuration.
            StorageError: it cannot be read.
        """
        try:
            with path.open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise StorageError(f"cannot read the experiments {path}: {error.strerror}") from error
        if len(content) > MAX_FILE_BYTES:
            raise UsageError(f"{path} is larger than {MAX_FILE_BYTES} bytes")
        try:
            return cls.parse(content.decode())
        except UnicodeDecodeError as error:
            raise UsageError(f"{path}: this is not UTF-8") from error
        except UsageError as error:
            raise UsageError(f"{path}: {error.message}", hint=error.hint) from error


def plan_of(arms: Mapping[str, Arm]) -> ReadPlan:
    """How a call in these arms is read: the default, with what they set. No two set the same (`Configuration`)."""
    fields: dict[str, Any] = {}
    for arm in arms.values():
        fields.update(arm.plan.fields())
    return ReadPlan(**fields) if fields else DEFAULT_PLAN
