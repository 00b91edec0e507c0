"""Become another program that ends with its parent.

``python -m simulations.radio.follow PARENT_PID PROGRAM [ARGUMENT...]``, for programs that follow no pipe (dbus-daemon).
The kernel sends SIGTERM to the process when the thread that made it ends, however it ends (prctl(2), PR_SET_PDEATHSIG,
which survives ``exec``).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

from shared import cli
from shared.errors import RadioError, UsageError

_PR_SET_PDEATHSIG: Final = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Set the parent-death signal, then become the program."""
    match list(sys.argv[1:] if arguments is None else arguments):
        case [parent, program, *rest] if parent.isdecimal():
            pass
        case _:
            raise UsageError("give the parent's process id, then the program and its arguments")
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        raise RadioError(f"cannot follow the parent process: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != int(parent):
        return 0  # it ended before it could be followed
    try:
        return os.execv(program, [program, *rest])
    except OSError as error:
        raise RadioError(f"cannot run {program}: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(cli.run("follow", main))
