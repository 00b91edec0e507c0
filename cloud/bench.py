"""`wayword-cloud bench`: the measurements live in the simulator, which this tier may not import, so it becomes that."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from shared.errors import UsageError

SIMULATOR: Final = "simulations"


def become_bench(arguments: Sequence[str], *, simulator: str = SIMULATOR) -> NoReturn:
    """Turn this process into `wayword-sim bench cloud`: signals and exit code are then the bench's own.

    Args:
        arguments: what stands behind "bench" on the command line.
        simulator: package that has the bench.

    Raises:
        UsageError: it is not part of this installation. (A library that it lacks is its own to tell.)
    """
    if importlib.util.find_spec(simulator) is None:
        raise UsageError("the bench is not part of this installation", hint="install 'wayword[sim]'")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", simulator, "bench", "cloud", *arguments])
