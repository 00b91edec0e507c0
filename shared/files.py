"""Files that are whole or not there, whatever is killed or loses power meanwhile."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Put a new file, readable by its owner only, in the place of an old one, in one step.

    Raises:
        OSError: it cannot be written; the old file is as it was.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # made with mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # the first failure is the one to report
            Path(name).unlink()
        raise
    fsync(path.parent)  # or the new name could be lost with the power


def fsync(path: Path) -> None:
    """Have the disk keep a file, or the names in a folder.

    Raises:
        OSError: it cannot.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
