"""Starts the processes of a run, keeps them alive, and ends every one of them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shared.errors import DirectionUnsupported, InputError, PackError, StorageError, UsageError, WaywordError

GRACE_S = 8.0
"""A child that has not ended so long after SIGTERM is killed."""


FINAL_CODES = frozenset(
    error.exit_code for error in (UsageError, InputError, StorageError, PackError, DirectionUnsupported)
)
"""Exit codes of failures that would be the same the next time: such a child is not started again."""


class ProcessFailed(WaywordError):
    """A process of the run ended with an error; its last line says why."""


@dataclass
class Child:
    """One supervised process.

    Attributes:
        name: shown in logs.
        command: program and arguments.
        log: where its output goes.
        restarts_left: how often it may be started again after an unexpected end.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    restarts_left: int = 0
    process: asyncio.subprocess.Process | None = None
    watcher: asyncio.Task[int] | None = None
    stopping: bool = False
    starts: list[float] = field(default_factory=list)

    def last_line(self) -> str:
        """The last line it printed, without its own program name."""
        if not self.log.exists():
            return ""
        lines = [line for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        return lines[-1].removeprefix(f"wayword-{self.name}: error: ") if lines else ""


class Supervisor:
    """Owns the children of one run.

    Args:
        logs: folder for one log file a child.
        on_event: told in one line about every start, unexpected end and restart.
    """

    def __init__(self, logs: Path, on_event: Callable[[str], None]) -> None:
        self._logs = logs
        self._on_event = on_event
        self.children: dict[str, Child] = {}

    async def start(
        self, name: str, command: Sequence[str], *, environment: Mapping[str, str], restarts: int = 0
    ) -> Child:
        """Start a child; it ends with this process, whatever happens to it."""
        child = Child(name, command, environment, self._logs / f"{name}.log", restarts)
        self.children[name] = child
        await self._spawn(child)
        return child

    async def wait(self, name: str) -> int:
        """Wait until a child has ended for good (restarts included); returns its exit code."""
        watcher = self.children[name].watcher
        assert watcher is not None
        return await asyncio.shield(watcher)

    def kill(self, name: str, *, for_good: bool) -> None:
        """SIGKILL a child, as a flat battery would; `for_good` keeps it from being started again."""
        child = self.children[name]
        if for_good:
            child.restarts_left = 0
        if child.process is not None and child.process.returncode is None:
            child.process.kill()
            self._on_event(f"fault: killed {name}" + (" for good" if for_good else ""))

    async def stop(self, *names: str) -> None:
        """End children with SIGTERM, then SIGKILL after a grace time; without names, all of them."""
        chosen = [child for name, child in self.children.items() if not names or name in names]
        for child in chosen:
            child.stopping = True
            if child.process is not None and child.process.returncode is None:
                child.process.send_signal(signal.SIGTERM)
        for child in chosen:
            if child.process is None or child.watcher is None:
                continue
            try:
                await asyncio.wait_for(asyncio.shield(child.watcher), GRACE_S)
            except TimeoutError:
                self._on_event(f"{child.name} did not end in {GRACE_S:.0f} s: killed")
                child.process.kill()
                await child.watcher

    async def _spawn(self, child: Child) -> None:
        with child.log.open("ab") as log:
            child.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "simulations.guard",
                str(os.getpid()),
                *child.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                env=dict(child.environment),
                # Ctrl-C reaches only us: we end the children in order.
                start_new_session=True,
            )
        if child.watcher is None:
            child.watcher = asyncio.create_task(self._watch(child), name=f"watch {child.name}")

    async def _watch(self, child: Child) -> int:
        while True:
            assert child.process is not None
            code = await child.process.wait()
            if child.stopping or child.restarts_left == 0 or code == 0 or code in FINAL_CODES:
                return code
            child.restarts_left -= 1
            await self._spawn(child)
            self._on_event(f"{child.name} ended unexpectedly ({describe(code)}): started again")


def describe(code: int) -> str:
    """An exit code in words."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
