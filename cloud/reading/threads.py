"""Model threads stand back: the event loop answers at once, whatever they compute.

A call that is refused must know within milliseconds, also while every core computes. Three things would keep the event
loop waiting: the interpreter's lock, which a Python thread gives up only every `sys.getswitchinterval` (5 ms by
default, for each thread that is before it); the system's scheduler, to which all threads are alike; and the garbage
collector, which looks at every object there is, loaded phrasebooks among them, with the lock held.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
from typing import Final

SWITCH_S: Final = 0.0005
"""Longest time a thread keeps the interpreter's lock while another wants it."""
NICENESS: Final = 5
"""Of model threads: of a contended core the event loop gets three times their share (sched(7)), when it wants it."""


def put_event_loop_first() -> None:
    """Have threads pass the interpreter's lock on sooner; for the whole process."""
    sys.setswitchinterval(SWITCH_S)


def leave_what_is_loaded() -> None:
    """Have the garbage collector never look again at what is there now: the models stay until the process ends."""
    gc.collect()
    gc.freeze()


def stand_back() -> None:
    """Lower the priority of the calling thread, where the system has priorities of threads and allows it."""
    if sys.platform == "linux":
        # On Linux a thread's own id may stand for a process's: POSIX would have it otherwise, see setpriority(2).
        thread = threading.get_native_id()
        # A sandbox may forbid it; a thread that died of that would leave its callers waiting.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)
