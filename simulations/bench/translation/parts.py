"""What a part of `wayword-sim bench translation` is: a module with a title, options and a `run`.

A part is a module of this package, named in `PART_NAMES`. One that is absent is simply not offered, so that each can
be taken out or added without touching another.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias, cast

from shared.errors import UsageError

PART_NAMES: Final = ("engines", "phrases", "signs", "quality", "languages", "rerank")
"""Modules of this package that are parts, in the order they run."""

Say: TypeAlias = Callable[[str], None]
"""Tells the user what is going on, one line at a time."""


@dataclass(frozen=True)
class PartResult:
    """What one part found.

    Attributes:
        tables: lines of Markdown for people, in the order they are printed.
        data: the same and more as numbers and texts that JSON can hold.
        failures: one sentence for each target that was missed; empty when all were met.
    """

    tables: list[str]
    data: dict[str, Any]
    failures: list[str] = field(default_factory=list)


class Part(Protocol):
    """The module of one part."""

    TITLE: str

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add the part's own options; ``--shared``, ``--packs``, ``--parts`` and ``--out`` are there already."""

    def run(self, arguments: argparse.Namespace, say: Say) -> PartResult:
        """Measure; may raise any `WaywordError`."""


def available_parts(names: Sequence[str] = PART_NAMES, package: str = __package__) -> dict[str, Part]:
    """The parts whose modules exist, by name."""
    found: dict[str, Part] = {}
    for name in names:
        module = f"{package}.{name}"
        if importlib.util.find_spec(module) is not None:
            found[name] = cast(Part, importlib.import_module(module))
    return found


def choose_parts(available: dict[str, Part], wanted: str | None) -> dict[str, Part]:
    """The parts a comma-separated list names, in the order of `available`; all of them for None.

    Raises:
        UsageError: the list names a part that is not there, or none.
    """
    if wanted is None:
        return available
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    for name in names:
        if name not in available:
            raise UsageError(f"there is no part {name}", hint=f"Parts: {', '.join(available)}")
    if not names:
        raise UsageError("--parts names no part", hint=f"Parts: {', '.join(available)}")
    return {name: part for name, part in available.items() if name in names}
