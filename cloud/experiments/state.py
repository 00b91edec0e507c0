"""What has been decided about running experiments, in one small file that outlives restarts: what is switched off, and
how far ramps have come.

Several processes may share the file: replicas that watch it, and `wayword-cloud experiments`, which changes it. A
change is made under a lock, on what the file holds then, and put in place in one step.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import StorageError
from shared.files import replace_file

MAX_STATE_BYTES: Final = 256 * 1024
LOCK_S: Final = 2.0
"""How long a change waits for another process's, which takes milliseconds unless that process was stopped in it."""
_LOOK_S: Final = 0.01
_MAX_ENTRIES: Final = 1024


class Off(BaseModel):
    """An arm, or a whole experiment, that is switched off.

    Attributes:
        since: Unix seconds.
        reason: one line.
        by: "canary" or "operator".
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")
    since: float
    reason: Annotated[str, Field(max_length=500)]
    by: str


class Share(BaseModel):
    """A share of the devices that is in force for one arm, in place of its weight.

    Attributes:
        arm: which.
        share: 0..1.
        since: Unix seconds, from which the time of a ramp's step counts.
        ramps: whether the ramp of the file goes on from here.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")
    arm: str
    share: Annotated[float, Field(ge=0, le=1)]
    since: float
    ramps: bool = True


class State(BaseModel):
    """All of it. Keys of `off` are "experiment" or "experiment/arm"."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")
    off: Annotated[dict[str, Off], Field(max_length=_MAX_ENTRIES)] = Field(default_factory=dict)
    shares: Annotated[dict[str, Share], Field(max_length=_MAX_ENTRIES)] = Field(default_factory=dict)

    def is_off(self, experiment: str, arm: str | None = None) -> Off | None:
        """Whether an experiment, or one of its arms, is switched off, and why."""
        return self.off.get(experiment) or (self.off.get(f"{experiment}/{arm}") if arm is not None else None)


class StateFile:
    """The file.

    Args:
        path: it is made with the first change; its folder must be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> State:
        """What stands there; nothing where there is no file.

        Raises:
            StorageError: it cannot be read, or is no such file.
        """
        try:
            with self.path.open("rb") as file:
                content = file.read(MAX_STATE_BYTES + 1)
        except FileNotFoundError:
            return State()
        except OSError as error:
            raise StorageError(f"cannot read {self.path}: {error.strerror}") from error
        try:
            return State.model_validate_json(content)
        except ValidationError as error:
            raise StorageError(
                f"{self.path} is no state of experiments", hint="put it right, or remove it to begin anew"
            ) from error

    def change(self, change: Callable[[State], State]) -> State:
        """Change what stands there, whoever else does meanwhile.

        Raises:
            StorageError: it cannot be read or written, or another process holds it; it is as it was.
        """
        try:
            with _locked(self.path.with_name(self.path.name + ".lock")):
                state = change(self.read())
                replace_file(self.path, state.model_dump_json(indent=1).encode() + b"\n")
                return state
        except OSError as error:
            raise StorageError(f"cannot write {self.path}: {error.strerror}") from error


def switched_off(state: State, key: str, off: Off) -> State:
    """With one more thing switched off. What was off before keeps its reason; above the cap the oldest is forgotten."""
    if key in state.off:
        return state
    newest = sorted(state.off.items(), key=lambda item: item[1].since)[-(_MAX_ENTRIES - 1) :]
    return state.model_copy(update={"off": {**dict(newest), key: off}})


def switched_on(state: State, key: str) -> State:
    """With one thing on again."""
    return state.model_copy(update={"off": {name: off for name, off in state.off.items() if name != key}})


def with_share(state: State, experiment: str, share: Share) -> State:
    """With another share of an experiment's arm."""
    return state.model_copy(update={"shares": {**state.shares, experiment: share}})


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    end = time.monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= end:
                raise StorageError(
                    f"another process holds {path}", hint="end a wayword-cloud experiments that hangs"
                ) from error
        time.sleep(_LOOK_S)
