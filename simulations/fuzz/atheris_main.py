"""Runs one target under Atheris, which follows the branches that inputs take in `shared.wire`. By hand, not in CI.

Usage: python -m simulations.fuzz.atheris_main TARGET [--stats FILE] [libFuzzer's options and corpus folders]

    pip install -e '.[fuzz]'
    python -m simulations.fuzz.atheris_main session corpus/ -max_total_time=300 -print_final_stats=1
    python -m simulations.fuzz.atheris_main session crash-0123abcd      # run one input again
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["shared.wire"]):
    from simulations.fuzz.material import Observed
    from simulations.fuzz.targets import TARGETS

_STATS_EVERY_S = 1.0


def main(arguments: list[str]) -> None:
    """Hand a target to Atheris, which ends the process itself."""
    if not arguments or arguments[0] not in TARGETS:
        raise SystemExit(f"{__doc__}\nTARGET is one of: {', '.join(TARGETS)}")
    target, options = TARGETS[arguments[0]], arguments[1:]
    stats: Path | None = None
    if options[:1] == ["--stats"]:
        stats, options = Path(options[1]), options[2:]
    observed = Observed()
    run = _counted(target.run, observed, stats) if stats else lambda data: target.run(data, observed)
    atheris.Setup([sys.argv[0], f"-artifact_prefix=fuzz-{target.name}-", *options], run)
    atheris.Fuzz()


def _counted(run: Callable[[bytes, Observed], None], observed: Observed, stats: Path) -> Callable[[bytes], None]:
    """The target, which also writes down every second what it has seen: libFuzzer does not return."""
    executions = 0
    began = written = time.monotonic()

    def counted(data: bytes) -> None:
        nonlocal executions, written
        run(data, observed)
        executions += 1
        now = time.monotonic()
        if now - written >= _STATS_EVERY_S:
            written = now
            figures = {"executions": executions, "seconds": now - began} | observed.figures()
            stats.write_text(json.dumps(figures))

    return counted


if __name__ == "__main__":
    main(sys.argv[1:])
