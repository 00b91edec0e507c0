"""Where a service can be reached, told to people and to whoever started it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from shared.errors import StorageError
from shared.files import replace_file


def announce(port_file: Path | None, host: str, port: int, say: Callable[[str], None]) -> None:
    """Write the port file, if there is to be one, in one step, and say where the service is.

    Raises:
        StorageError: the file cannot be written.
    """
    if port_file is not None:
        try:
            replace_file(port_file, f"{port}\n".encode())
        except OSError as error:
            raise StorageError(f"cannot write the port file {port_file}: {error.strerror}") from error
    shown = f"[{host}]" if ":" in host else host
    say(f"listening on {shown}:{port}")
