"""`results.json` of a sweep as types: what the report reads, checked at the door."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from shared.errors import InputError, StorageError
from simulations.sweep.arms import Design
from simulations.sweep.results import RESULTS_VERSION

MAX_RESULTS_BYTES: Final = 256 * 1024 * 1024
"""Largest results file read, in bytes."""
NOMINAL: Final = 0
"""Number of the sample that has every constant at its nominal value."""
HYBRID: Final = Design.HYBRID.value
VIDEO: Final = Design.VIDEO.value


@dataclass(frozen=True, slots=True)
class ArmOf:
    """Which cell of the grid; see `simulations.sweep.arms.Arm`."""

    design: str
    network: str
    phone: str
    glasses: str
    city: str
    policy: str = ""
    privacy: str = ""
    link: str = ""
    recogniser: str = ""


@dataclass(frozen=True, slots=True)
class Changed:
    """A constant that went to one of its bounds while all others kept their nominal values.

    Attributes:
        constant: its name.
        end: "low" or "high".
    """

    constant: str
    end: str


@dataclass(frozen=True, slots=True)
class Run:
    """One simulated run.

    Attributes:
        arm: which cell.
        sample: which set of constants; `NOMINAL` for the nominal ones.
        metrics: by name; None where a figure does not exist, such as the latency of answers that never came. Joules
            by component are a table of their own.
        why_not: why it could not be run; None where it was.
        changed: for a run that swings one constant.
    """

    arm: ArmOf
    sample: int
    metrics: Mapping[str, float | Mapping[str, float | None] | None]
    why_not: str | None = None
    changed: Changed | None = None

    def get(self, name: str) -> float | None:
        """A metric that is a number; None where it is not there."""
        value = self.metrics.get(name)
        return None if value is None or isinstance(value, Mapping) else float(value)

    def parts(self, name: str) -> dict[str, float]:
        """A metric that is a table, without what is unknown."""
        value = self.metrics.get(name)
        if not isinstance(value, Mapping):
            return {}
        return {key: float(part) for key, part in value.items() if part is not None}


@dataclass(frozen=True, slots=True)
class Range:
    """A constant as the sweep knew it; see `simulations.energy.constants.Constant`."""

    value: float
    low: float
    high: float
    unit: str
    standing: str


@dataclass(frozen=True, slots=True)
class Traces:
    """What stood for the models.

    Attributes:
        signs: looks that were replayed.
        digest: of them.
        seed: of the labelled set.
        machine: on which their milliseconds were measured.
        packs: name and version of what took part.
        command: that made them.
    """

    signs: int
    digest: str = ""
    seed: int = 0
    machine: str = ""
    packs: Mapping[str, str] = field(default_factory=dict)
    command: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many looks of what kind the traces have.

    Attributes:
        signs, phrases: how many different ones.
        languages, lights: looks by each.
    """

    signs: int
    phrases: int
    languages: Mapping[str, int]
    lights: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class CurveLine:
    """A cascade curve of `simulations.bench.cascade.curves`, on a grid of shares escalated.

    Attributes:
        qualities: share of looks right, one for each share of the grid.
        low, high: its interval.
        area: under the curve, with its interval.
    """

    qualities: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    area: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class CurveGroup:
    """Cascade curves of one recogniser.

    Attributes:
        recogniser: which.
        looks, phrases: how many.
        local, cloud: share right when none and when all are escalated.
        shares: the grid.
        lines: by name of the order.
        arms: policies as shipped, by name: share escalated, and share right.
    """

    recogniser: str
    looks: int
    phrases: int
    local: float
    cloud: float
    shares: Sequence[float]
    lines: Mapping[str, CurveLine]
    arms: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeviceRuns:
    """OCR runs per charge of one device.

    Attributes:
        device: its class.
        runs: by pipeline: nominal, and the tenth and ninetieth percentile of the samples.
    """

    device: str
    runs: Mapping[str, tuple[float, float, float]]


@dataclass(frozen=True, slots=True)
class Sweep:
    """A whole sweep; the fields from `ranges` on may be missing, and the report then says less.

    Attributes:
        version: of the format.
        seed, days, hours, samples: what was run; `hours` is None for whole days.
        traces: what stood for the models.
        constants: values by name, one table a sample, the nominal ones first.
        runs: all of them.
        ocr_runs_per_charge: by device.
        speeds: CPU milliseconds of one reading on the trace machine, by pipeline.
        ranges: of the constants.
        counts: of the traces.
        cascade: curves on the traces.
        swings: runs that change one constant at a time.
    """

    version: int
    seed: int
    days: int
    samples: int
    traces: Traces
    constants: Sequence[Mapping[str, float]]
    runs: Sequence[Run]
    hours: float | None = None
    ocr_runs_per_charge: Sequence[DeviceRuns] = ()
    speeds: Mapping[str, float] = field(default_factory=dict)
    ranges: Mapping[str, Range] = field(default_factory=dict)
    counts: Counts | None = None
    cascade: Sequence[CurveGroup] = ()
    swings: Sequence[Run] = ()

    def names(self, field_name: str) -> list[str]:
        """What an arm's field takes, in the order of the runs; without the empty policy of designs that have none."""
        found = dict.fromkeys(str(getattr(run.arm, field_name)) for run in self.runs)
        return [name for name in found if name]


_SWEEP: Final[TypeAdapter[Sweep]] = TypeAdapter(Sweep)


def read_sweep(path: Path) -> Sweep:
    """Read the results of a sweep.

    Raises:
        StorageError: they cannot be read.
        InputError: they are no results, or of another version.
    """
    try:
        if path.stat().st_size > MAX_RESULTS_BYTES:
            raise InputError(f"{path} is larger than any results of a sweep")
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read the results {path}: {error.strerror}") from error
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} holds no results of a sweep", hint="make some with: wayword-sim sweep") from error
    return parse_sweep(document, origin=str(path))


def parse_sweep(document: Any, *, origin: str = "the document") -> Sweep:
    """Check what was read from `results.json`.

    Args:
        document: as `json.loads` gives it.
        origin: where it came from, for messages.

    Raises:
        InputError: it holds no results, is of another version, or has a number that is not finite.
    """
    if isinstance(document, Mapping) and document.get("version", RESULTS_VERSION) != RESULTS_VERSION:
        raise InputError(
            f"{origin} is of version {document['version']} of results, this version of wayword knows {RESULTS_VERSION}",
            hint="run the sweep again",
        )
    for where, number in _numbers(document, "the top"):
        if not math.isfinite(number):
            raise InputError(f"{origin} has a number that is not finite: {where}")
    try:
        sweep = _SWEEP.validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the top"
        raise InputError(f"{origin} holds no results of a sweep: {where}: {first['msg']}") from error
    if not sweep.runs:
        raise InputError(f"{origin} holds no runs")
    if any(not 0 <= run.sample < len(sweep.constants) for run in sweep.runs):
        raise InputError(f"{origin} has a run whose constants are missing")
    return sweep


def _numbers(value: Any, where: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, float):
        yield where, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _numbers(each, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from _numbers(each, f"{where}.{index}")
