"""Real services for the bench: started, waited for, told to stop, killed, started again at the same address."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from shared.errors import WaywordError

START_SECONDS: Final = 90.0
"""A service that does not serve so long after its start is given up: loading takes 5 s of one free core."""
STOP_SECONDS: Final = 30.0


class ServiceFailed(WaywordError):
    """A service of the bench did not start or did not stop."""


class CloudProcess:
    """One `wayword-cloud` command that serves, and ends with this process, whatever happens to it.

    Args:
        arguments: such as ("serve",); the address is added.
        folder: for its port file and log.
        settings: fields of `CloudSettings`, by name.
        port: to listen on; 0 for any, which is kept when it is started again.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        *,
        settings: Mapping[str, object] | None = None,
        port: int = 0,
    ) -> None:
        self._arguments = tuple(arguments)
        self._folder = Path(tempfile.mkdtemp(prefix="service-", dir=folder))
        self._settings = {f"WAYWORD_CLOUD_{name.upper()}": str(value) for name, value in (settings or {}).items()}
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; `ready` waits until it serves."""
        self._port_file.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "simulations.guard", str(os.getpid())),
                    *(sys.executable, "-m", "cloud.cli", *self._arguments),
                    *("--listen", self.address, "--port-file", str(self._port_file)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._settings},
                start_new_session=True,
            )

    def ready(self, seconds: float = START_SECONDS) -> float:
        """Wait until it serves; returns when, in monotonic seconds.

        Raises:
            ServiceFailed: it ended, or it takes too long.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.port = int(self._port_file.read_text(encoding="utf-8"))
            except (FileNotFoundError, ValueError):
                pass
            else:
                return time.monotonic()
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise ServiceFailed(f"the service does not serve: {self.last_line()}")
            time.sleep(0.02)

    def stop(self) -> float:
        """SIGTERM; `ended` waits. Returns when, in monotonic seconds."""
        self.process.send_signal(signal.SIGTERM)
        return time.monotonic()

    def kill(self) -> float:
        """SIGKILL, and wait until it is gone. Returns when, in monotonic seconds."""
        self.process.kill()
        self.process.wait(STOP_SECONDS)
        return time.monotonic()

    def ended(self) -> int:
        """Wait until it has ended; returns its exit code.

        Raises:
            ServiceFailed: it does not end.
        """
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise ServiceFailed("the service does not stop") from None

    def close(self) -> None:
        """End it, whatever it does."""
        if self._process is not None and self._process.poll() is None:
            self.stop()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()

    def last_line(self) -> str:
        """The last it said."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "it is silent"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process; it has been started."""
        if self._process is None:
            raise ServiceFailed("the service was not started")
        return self._process

    @property
    def _port_file(self) -> Path:
        return self._folder / "port"

    @property
    def _log(self) -> Path:
        return self._folder / "log"


@contextmanager
def running(services: Sequence[CloudProcess]) -> Iterator[None]:
    """Start services together, wait until all serve, and end them in the end."""
    try:
        for service in services:
            service.start()
        for service in services:
            service.ready()
        yield
    finally:
        for service in services:
            service.close()


def free_port() -> int:
    """A port of this machine that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
