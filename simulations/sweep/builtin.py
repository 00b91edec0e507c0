"""The trace file that ships: rendered signs without their texts, so that a sweep needs no models."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Final

from shared.errors import InputError
from simulations.traces.records import SignTrace, TraceHeader, TracePart, of_part, parse_traces, read_traces

NAME: Final = "traces.jsonl.gz"


def load_traces(path: Path | None) -> tuple[TraceHeader, list[SignTrace]]:
    """A trace file and the signs of it that a sweep may replay: those of its test part.

    Models were fitted on the other parts, so that a sweep over them would flatter what was fitted. Photographs do not
    tell their light, and stay with the benchmarks.

    Args:
        path: of the file; None for the one that ships.

    Raises:
        StorageError: it cannot be read.
        InputError: it is no trace file, or has no test part.
    """
    if path is not None:
        header, signs = read_traces(path)
    else:
        file = resources.files("simulations") / "data" / NAME
        if not file.is_file():
            raise InputError(
                "no traces ship with this installation",
                hint="give some with --traces; make them with: wayword-sim traces",
            )
        header, signs = parse_traces(file.read_bytes(), origin=f"the built-in {NAME}")
    tested = of_part(signs, TracePart.TEST)
    if not tested:
        raise InputError(f"{path or NAME} has no signs of the test part", hint="make more with: wayword-sim traces")
    return header, tested
