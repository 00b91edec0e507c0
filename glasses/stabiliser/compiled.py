"""Kernels: functions compiled to machine code, and where the compiled code is kept.

Numba keeps the compiled code in a folder of its own, named after the kernels' source and the versions of Numba and
Python: changing any kernel leaves the old code behind instead of running it (Numba itself looks only at the file that
holds the outermost function). `wayword-glasses --warm` fills the folder, as does the first run.

The folder is `kernels-…` in the user's cache folder, or in ``WAYWORD_GLASSES_KERNELS``.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numba
import platformdirs

F = TypeVar("F", bound=Callable[..., Any])

FLOATING_POINT: Final = {"reassoc", "contract", "arcp", "nsz"}
"""Freedoms given to the compiler. Not "nnan" and "ninf": the kernels must notice numbers that are none."""
FOLDER_VARIABLE: Final = "WAYWORD_GLASSES_KERNELS"


def _fingerprint() -> str:
    digest = hashlib.sha256(f"{numba.__version__} {sys.version_info[:3]}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        source = path.read_bytes()
        # Files with kernels, and those whose constants and types are compiled into them.
        if b"compiled import" in source or path.stem in ("compiled", "limits", "memory"):
            digest.update(source)
    return digest.hexdigest()[:16]


def kernel_folder() -> Path:
    """Where compiled kernels are kept."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    base = Path(chosen) if chosen else platformdirs.user_cache_path("wayword")
    return base / f"kernels-{_fingerprint()}"


WARM_MARK: Final = "warm"
"""A file of this name says that all kernels of its folder have been compiled."""


def is_warm() -> bool:
    """Whether all kernels have been compiled before."""
    return (kernel_folder() / WARM_MARK).exists()


numba.config.CACHE_DIR = str(kernel_folder())


def compiled(function: F) -> F:
    """Compile a function on its first call, once for all runs; it holds no lock of the interpreter while it runs."""
    make = partial(numba.njit, nogil=True, fastmath=FLOATING_POINT, error_model="numpy")
    try:
        return cast(F, make(cache=True)(function))
    except RuntimeError:
        # Nowhere to keep compiled code, as on a disk that cannot be written: every run compiles anew.
        return cast(F, make()(function))


def internal(function: F) -> F:
    """A small function that only kernels call."""
    made = numba.njit(inline="never", nogil=True, fastmath=FLOATING_POINT, error_model="numpy")(function)
    return cast(F, made)
