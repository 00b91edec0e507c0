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

RESULTS_VERSION: Final = 1
MAX_RESULTS_BYTES: Final = 128 * 1024 * 1024
"""Largest results file read, in bytes."""
NOMINAL: Final = -1
"""In the place of a sample's number: every constant at its nominal value."""
HYBRID: Final = "hybrid"


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
        design, policy, network, city, phone, glasses, link, privacy: the arm; `policy` is empty without a cascade.
        sample: which drawn set of constants, or `NOMINAL`.
        outcomes: by name; None where a figure does not exist, such as the latency of answers that never came. Joules
            by component are a table of their own.
        changed: for a run that swings one constant.
    """

    design: str
    network: str
    phone: str
    glasses: str
    city: str
    sample: int
    outcomes: Mapping[str, float | Mapping[str, float | None] | None]
    policy: str = ""
    privacy: str = ""
    link: str = ""
    changed: Changed | None = None

    def get(self, name: str) -> float | None:
        """An outcome that is a number; None where it is not there."""
        value = self.outcomes.get(name)
        return None if value is None or isinstance(value, Mapping) else float(value)

    def parts(self, name: str) -> dict[str, float]:
        """An outcome that is a table, without what is unknown."""
        value = self.outcomes.get(name)
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
    source: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Traces:
    """What stood for the models.

    Attributes:
        looks, signs, phrases: how many.
        parts, languages, lights: looks by each.
        machine: on which their milliseconds were measured.
        packs: name and version of what took part.
        sha256: of the file, when known.
    """

    looks: int
    signs: int
    phrases: int = 0
    parts: Mapping[str, int] = field(default_factory=dict)
    languages: Mapping[str, int] = field(default_factory=dict)
    lights: Mapping[str, int] = field(default_factory=dict)
    machine: str = ""
    packs: Mapping[str, str] = field(default_factory=dict)
    sha256: str = ""


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
    """Cascade curves of one recogniser on one part of the traces.

    Attributes:
        recogniser, part: which.
        looks, phrases: how many.
        local, cloud: share right when none and when all are escalated.
        shares: the grid.
        lines: by name of the order.
        arms: policies as shipped, by name: share escalated, and share right.
    """

    recogniser: str
    part: str
    looks: int
    phrases: int
    local: float
    cloud: float
    shares: Sequence[float]
    lines: Mapping[str, CurveLine]
    arms: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """What was run.

    Attributes:
        seed, days, samples: of the sweep.
        command: without paths.
        designs, networks, cities, phones, glasses, policies, links: in the order they were given.
        recogniser: the phone's.
        titles: designs in words.
        notes: for people.
    """

    seed: int
    days: float
    samples: int
    designs: Sequence[str]
    networks: Sequence[str]
    cities: Sequence[str]
    phones: Sequence[str]
    glasses: Sequence[str]
    policies: Sequence[str] = ()
    links: Sequence[str] = ()
    recogniser: str = ""
    command: str = ""
    titles: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Sweep:
    """A whole sweep.

    Attributes:
        version: of the format.
        run: what was run.
        runs: all of them.
        constants: by name.
        samples: drawn values by name, one table a sample.
        traces: what stood for the models.
        cascade: cascade curves on the traces.
        ocr_runs: by device and pipeline: readings that a charge pays for, nominal and the range of the samples.
        ocr_milliseconds: by pipeline, the CPU time of one reading on the trace machine.
    """

    version: int
    run: Settings
    runs: Sequence[Run]
    constants: Mapping[str, Range]
    samples: Sequence[Mapping[str, float]]
    traces: Traces
    cascade: Sequence[CurveGroup] = ()
    ocr_runs: Mapping[str, Mapping[str, tuple[float, float, float]]] = field(default_factory=dict)
    ocr_milliseconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def sampled(self) -> list[Run]:
        """Runs with drawn constants."""
        return [run for run in self.runs if run.sample != NOMINAL and run.changed is None]


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
    for where, number in _numbers(document, ""):
        if not math.isfinite(number):
            raise InputError(f"{origin} has a number that is not finite: {where}")
    try:
        return _SWEEP.validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the top"
        raise InputError(f"{origin} holds no results of a sweep: {where}: {first['msg']}") from error


def _numbers(value: Any, where: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, float):
        yield where, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _numbers(each, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from _numbers(each, f"{where}.{index}")
