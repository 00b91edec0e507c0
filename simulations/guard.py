"""Run a command that cannot outlive its parent.

Usage: python -m simulations.guard PARENT_PID COMMAND [ARG ...]

Asks the kernel for SIGTERM at the parent's death (prctl(2), PR_SET_PDEATHSIG), then becomes the command; the request
survives execve(2). So a demo that is killed outright leaves no process behind.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> int:
    if len(sys.argv) < 3 or not sys.argv[1].isdigit():
        print("usage: python -m simulations.guard PARENT_PID COMMAND [ARG ...]", file=sys.stderr)
        return 2
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        print(f"guard: prctl: {os.strerror(ctypes.get_errno())}", file=sys.stderr)
        return 1
    if os.getppid() != int(sys.argv[1]):
        return 1  # the parent died before the request could be made
    try:
        os.execvp(sys.argv[2], sys.argv[2:])
    except OSError as error:
        print(f"guard: {sys.argv[2]}: {error.strerror}", file=sys.stderr)
    return 127


if __name__ == "__main__":
    sys.exit(main())
