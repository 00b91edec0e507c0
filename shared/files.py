"""Files that are whole or not there, whatever is killed or loses power meanwhile."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def replace_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Put a new file in the place of an old one, in one step.

    Args:
        path: of the file.
        content: of the new one.
        mode: who may read it; as made, its owner only.

    Raises:
        OSError: it cannot be written; the old file is as it was.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # made with mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # the first failure is the one to report
            Path(name).unlink()
        raise
    fsync(path.parent)  # or the new name could be lost with the power


def stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is replaced or written: its time of change in nanoseconds, its size and its inode.

    Returns:
        None where it cannot be looked at: a file that is gone is another one than before.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


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
