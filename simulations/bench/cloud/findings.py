"""What every part of the cloud's bench gives back, so that one table, one page and one JSON file show all of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

Progress = Callable[[str], None]
"""Told in one line what is being done now."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One measured value.

    Attributes:
        what: the measure, such as "crops/s against bare ONNX Runtime, two sessions".
        value: measured; None where it could not be (`note` says why).
        unit: such as "ratio", "ms", "calls"; empty for a bare count.
        target: what was asked, as a person reads it, such as ">= 0.9"; empty where nothing was.
        met: whether the target is met; None where there is none, or no value.
        note: one line about how it was measured.
    """

    what: str
    value: float | None
    unit: str = ""
    target: str = ""
    met: bool | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """One part of the bench.

    Attributes:
        title: heading.
        rows: the measured values.
        setting: facts needed to read them (calls made, sizes, versions), name to value.
        remarks: sentences under the table.
    """

    title: str
    rows: Sequence[Finding]
    setting: Mapping[str, object] = field(default_factory=dict)
    remarks: Sequence[str] = ()


class BenchPart(Protocol):
    """A module of this package that measures one part."""

    NAME: str
    """Word on the command line."""
    HELP: str

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Options of its own."""
        ...

    @staticmethod
    def measure(options: argparse.Namespace, progress: Progress) -> Findings:
        """Measure it. Raises `WaywordError` where it cannot run at all."""
        ...
