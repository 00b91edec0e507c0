"""The experiments that run: who is in which arm, what the arms do, and which canary is switched off.

The file (`cloud.experiments.configuration`) says what is wanted, the state (`cloud.experiments.state`) what was decided
since. Both are looked at twice a second and on SIGHUP, and take effect whole or not at all: a broken file is reported
and changes nothing. What is in force is one immutable `Board`, so that no call sees half of a change.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import socket
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from cloud.callers import Caller
from cloud.calls import Call
from cloud.experiments.arms_told import told_arms
from cloud.experiments.board import Board, next_share, weights_of
from cloud.experiments.canary import Breach, CanaryWatch
from cloud.experiments.configuration import CONTROL, Arm, Configuration, plan_of
from cloud.experiments.metrics import ArmKey, ArmMetrics, observation_of
from cloud.experiments.state import Off, State, StateFile, switched_off, with_share
from cloud.plans import DEFAULT_PLAN, ReadPlan
from cloud.reading.observing import ReadEvent
from shared.clock import Clock
from shared.errors import StorageError, WaywordError
from shared.events import EventLog
from shared.experiments import arms_line, arms_of_line
from shared.files import replace_file, stamp
from shared.wire.waiting import Alarm

LOOK_S: Final = 0.5
"""Seconds between two looks at the files."""
SNAPSHOT_S: Final = 5.0
"""Seconds between two snapshots of the counts, for `wayword-cloud experiments status`."""
OLD_S: Final = 86_400.0
"""Age of a snapshot whose service is taken for dead."""
BY_CANARY: Final = "canary"
_ARMS: ContextVar[str] = ContextVar("wayword_plan_arms", default="")
"""Arms of the read that a task serves, for those who count far below it (`Experiments.spent`)."""


class Experiments:
    """Answers for every call what arms it is in and how it is read; counts; switches canaries off.

    Args:
        path: the file of experiments; None for none, which costs nothing.
        state: where decisions are kept; None to keep them in memory only.
        clock: wall time of decisions, and of looking.
        events: told of every change.
        warn: told in one line of what is wrong.

    Raises:
        UsageError: the file is no configuration.
        StorageError: the file or the state cannot be read.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        state: StateFile | None = None,
        clock: Clock,
        events: EventLog,
        warn: Callable[[str], None],
    ) -> None:
        self._path = path
        self._state_file = state
        self._clock = clock
        self._events = events
        self._warn = warn
        self._alarm = Alarm(clock)
        self._tripped: dict[str, Off] = {}
        """Decided, and not yet in the state file."""
        self._said = ""
        self._unshown = False
        """Whether the counts could not be written the last time; told once."""
        self._metrics: dict[ArmKey, ArmMetrics] = {}
        self._watches: dict[ArmKey, CanaryWatch] = {}
        self._turns: dict[ArmKey, int] = {}
        self._fingerprints: dict[str, str] = {}
        self._seen = self._stamps()
        configuration = Configuration() if path is None else Configuration.load(path)
        self._board = self._made(configuration, self._ramped(configuration, self._kept()))
        self._snapshot_at = clock.monotonic()

    # Calls --------------------------------------------------------------------------------------------

    def arms_of(self, device: str) -> dict[str, str]:
        """The arm of a device in every experiment that it takes part in.

        Args:
            device: any name; empty for one that has none, which takes part in nothing.
        """
        board = self._board
        found = {name: board.arm_of(name, device) for name in board.configuration.experiments if device}
        return {name: arm for name, arm in found.items() if arm is not None}

    def arms_of_caller(self, caller: Caller) -> dict[str, str]:
        """The arms of a call: by the caller's name, or as a caller without one says it was told (`Assign`)."""
        if caller.device:
            return self.arms_of(caller.device)
        return self.checked(told_arms())

    def checked(self, told: Mapping[str, str]) -> dict[str, str]:
        """Those of these arms that are in force, with control for what is switched off."""
        board = self._board
        return {
            name: board.in_force(name, arm)
            for name, arm in self.existing(told).items()
            if board.state.is_off(name) is None
        }

    def existing(self, told: Mapping[str, str]) -> dict[str, str]:
        """Those of these arms that there are, on or off."""
        experiments = self._board.configuration.experiments
        return {name: arm for name, arm in told.items() if name in experiments and arm in experiments[name].arms}

    def plan_for(self, call: Call) -> ReadPlan:
        """How a call is read, with its arms."""
        if not self._board.configuration.experiments:
            return DEFAULT_PLAN
        arms = self.arms_of_caller(call.caller)
        plan = replace(plan_of(self._arms(arms)), arm=arms_line(arms)) if arms else DEFAULT_PLAN
        _ARMS.set(plan.arm)
        return plan

    def phone_parameters(self, arms: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """What each experiment's arm sets on a phone."""
        return {name: dict(arm.phone) for name, arm in self._arms(arms).items()}

    def observe(self, event: ReadEvent) -> None:
        """Count a call for its arms; a canary in breach is off for the next one."""
        if not event.plan.arm:
            return
        observation = observation_of(event)
        for name, arm in self.existing(arms_of_line(event.plan.arm)).items():
            self._counts((name, arm)).add(event, observation)
            if observation is None:
                continue
            for (experiment, canary), watch in tuple(self._watches.items()):
                if experiment == name and arm in {canary, CONTROL}:
                    breach = watch.add(observation, of_canary=arm == canary)
                    if breach is not None:
                        self._trip(name, canary, breach)

    def observe_phone(self, arms: Mapping[str, str], outcome: str, seconds: float | None) -> None:
        """Count what a phone reports of a call to the cloud; see `ArmMetrics.add_phone_call`."""
        for name, arm in self.existing(arms).items():
            self._counts((name, arm)).add_phone_call(outcome, seconds)

    def spent(self, money: float) -> None:
        """Count what an external model charged for the read that this task serves."""
        for name, arm in self.existing(arms_of_line(_ARMS.get())).items():
            self._counts((name, arm)).cost += money

    # Looking ------------------------------------------------------------------------------------------

    @property
    def configuration(self) -> Configuration:
        """What the file says, as it is in force."""
        return self._board.configuration

    @property
    def state(self) -> State:
        """What was decided, as it is in force."""
        return self._board.state

    @property
    def version(self) -> str:
        """Changes whenever an assignment may have changed."""
        decided = hashlib.sha256(self._board.state.model_dump_json().encode()).hexdigest()
        return f"{self._board.configuration.version}.{decided[:6]}"

    @property
    def metrics(self) -> Mapping[ArmKey, ArmMetrics]:
        """What is counted, by arm."""
        return self._metrics

    def reload(self) -> bool:
        """Look at the files now. A broken one leaves everything as it is, and is reported once.

        Returns:
            Whether they are sound.
        """
        return self._adopt(self._read())

    def _read(self) -> tuple[Configuration, State] | None:
        """What stands in the files; None, reported, where one is broken. Runs in a thread."""
        self._seen = self._stamps()
        try:
            configuration = Configuration() if self._path is None else Configuration.load(self._path)
            return configuration, self._ramped(configuration, self._kept())
        except WaywordError as error:
            if self._said != error.message:
                self._said = error.message
                self._events.write("experiments_refused", reason=error.message)
                self._warn(f"{error.message}; the experiments go on as they were")
            return None

    def _adopt(self, read: tuple[Configuration, State] | None) -> bool:
        if read is None:
            return False
        self._said = ""
        before = self._board
        configuration, state = read[0], self._with_tripped(read[1])
        self._board = self._made(configuration, state)
        if before.configuration.version != configuration.version:
            self._events.write("experiments_loaded", version=configuration.version)
        if before.state.off != state.off:
            self._events.write("experiments_switched", off=sorted(state.off))
        return True

    def reload_soon(self) -> None:
        """Look at the files at once; for signal handlers."""
        self._seen = ()
        self._alarm.ring()

    async def run(self) -> None:
        """Keep up with the files, ramps and decisions, until cancelled."""
        if self._path is None:
            return
        await asyncio.to_thread(self._sweep)
        try:
            while True:
                await self._alarm.wait(self._clock.monotonic() + LOOK_S)
                await self.look()
        finally:
            self._alarm.cancel()

    async def look(self) -> None:
        """One round of `run`."""
        if self._tripped:
            await asyncio.to_thread(self._keep_tripped)
        # All of the disk in threads: another process may hold the state for a while, and calls go on meanwhile.
        if await asyncio.to_thread(self._stamps) != self._seen:
            self._adopt(await asyncio.to_thread(self._read))
        board = self._board
        if self._stepped(board.configuration, board.state) is not board.state:
            state = await asyncio.to_thread(self._ramped, board.configuration, board.state)
            self._board = self._made(board.configuration, self._with_tripped(state))
        if self._clock.monotonic() >= self._snapshot_at:
            self._snapshot_at = self._clock.monotonic() + SNAPSHOT_S
            await asyncio.to_thread(self._snapshot, self._counted())

    async def close(self) -> None:
        """Keep what was decided, and take the snapshot away."""
        if self._tripped:
            await asyncio.to_thread(self._keep_tripped)
        snapshot = self._snapshot_path()
        if snapshot is not None:
            with contextlib.suppress(OSError):  # `_sweep` of another service takes it away
                snapshot.unlink()

    # Inside -------------------------------------------------------------------------------------------

    def _counts(self, key: ArmKey) -> ArmMetrics:
        counts = self._metrics.get(key)
        if counts is None:
            counts = self._metrics[key] = ArmMetrics()
        return counts

    def _arms(self, arms: Mapping[str, str]) -> dict[str, Arm]:
        experiments = self._board.configuration.experiments
        return {name: experiments[name].arms[arm] for name, arm in arms.items()}

    def _kept(self) -> State:
        return self._with_tripped(State() if self._state_file is None else self._state_file.read())

    def _with_tripped(self, state: State) -> State:
        """With what was decided, perhaps a moment ago, and is not in the file yet."""
        for key, off in dict(self._tripped).items():
            state = switched_off(state, key, off)
        return state

    def _made(self, configuration: Configuration, state: State) -> Board:
        weights = {
            name: weights_of(experiment, state.shares.get(name))
            for name, experiment in configuration.experiments.items()
        }
        self._watch(configuration, state, weights)
        there = {(name, arm) for name, experiment in configuration.experiments.items() for arm in experiment.arms}
        self._metrics = {key: metrics for key, metrics in self._metrics.items() if key in there}
        return Board(configuration, state, weights)

    def _watch(self, configuration: Configuration, state: State, weights: Mapping[str, Mapping[str, float]]) -> None:
        """Begin a comparison anew where what is compared has changed."""
        wanted: set[ArmKey] = set()
        for name, experiment in configuration.experiments.items():
            off = sorted(key for key in state.off if key == name or key.startswith(f"{name}/"))
            fingerprint = f"{experiment.model_dump_json()}{dict(weights[name])}{off}"
            changed = self._fingerprints.get(name) != fingerprint
            self._fingerprints[name] = fingerprint
            for arm, meant in experiment.arms.items():
                if not meant.canary or state.is_off(name, arm) is not None:
                    continue
                wanted.add((name, arm))
                if changed or (name, arm) not in self._watches:
                    turn = self._turns[name, arm] = self._turns.get((name, arm), 0) + 1
                    self._watches[name, arm] = CanaryWatch(experiment.rules, turn=turn)
        self._watches = {key: watch for key, watch in self._watches.items() if key in wanted}
        there = configuration.experiments
        self._fingerprints = {name: value for name, value in self._fingerprints.items() if name in there}
        self._turns = {key: turn for key, turn in self._turns.items() if key[0] in there}

    def _trip(self, name: str, arm: str, breach: Breach) -> None:
        """Off, at once in memory and as soon as may be on disk."""
        off = Off(since=self._clock.wall(), reason=str(breach), by=BY_CANARY)
        self._tripped[f"{name}/{arm}"] = off
        board = self._board
        self._board = self._made(board.configuration, switched_off(board.state, f"{name}/{arm}", off))
        self._events.write(
            "canary_stopped",
            experiment=name,
            arm=arm,
            measure=breach.measure.value,
            canary=breach.canary,
            control=breach.control,
            calls=breach.calls,
        )
        self._warn(f"experiment {name}: arm {arm} is switched off: {breach}")
        self._alarm.ring()

    def _keep_tripped(self) -> None:
        """Write decisions down; runs in a thread. What cannot be written stays in force, and is tried again."""
        tripped = dict(self._tripped)

        def change(state: State) -> State:
            for key, off in tripped.items():
                state = switched_off(state, key, off)
            return state

        if self._change(change):
            for key in tripped:
                self._tripped.pop(key, None)

    def _change(self, change: Callable[[State], State]) -> bool:
        if self._state_file is None:
            return False
        try:
            self._state_file.change(change)
        except StorageError as error:
            if self._said != error.message:
                self._said = error.message
                self._events.write("experiments_unkept", reason=error.message)
                self._warn(f"{error.message}; a restart would forget what was decided")
            return False
        return True

    def _ramped(self, configuration: Configuration, state: State) -> State:
        """The state with those ramps begun, or taken a step further, whose time has come; written down."""
        ramped = self._stepped(configuration, state)
        if ramped is state:
            return state
        # In memory even where it cannot be kept: a ramp begun anew after a restart errs to the careful side.
        self._change(partial(self._stepped, configuration))
        for name, share in ramped.shares.items():
            if share != state.shares.get(name):
                self._events.write("experiment_ramped", experiment=name, arm=share.arm, share=share.share)
        return ramped

    def _stepped(self, configuration: Configuration, state: State) -> State:
        """As `_ramped`, in memory; the very same state where no time has come."""
        now = self._clock.wall()
        for name, experiment in configuration.experiments.items():
            share = next_share(experiment, name, state, now)
            if share is not None:
                state = with_share(state, name, share)
        return state

    def _stamps(self) -> tuple[tuple[int, int, int] | None, ...]:
        paths = [self._path, None if self._state_file is None else self._state_file.path]
        return tuple(None if path is None else stamp(path) for path in paths)

    def _snapshot_path(self) -> Path | None:
        if self._state_file is None or self._path is None:
            return None
        path = self._state_file.path
        return path.with_name(f"{path.name}.{socket.gethostname()}-{os.getpid()}.counts")

    def _sweep(self) -> None:
        """Take away counts of services that were killed long ago; runs in a thread."""
        own = self._snapshot_path()
        if own is None or self._state_file is None:
            return
        for path in own.parent.glob(f"{self._state_file.path.name}.*.counts"):
            with contextlib.suppress(OSError):  # another service may be doing the same
                if self._clock.wall() - path.stat().st_mtime > OLD_S:
                    path.unlink()

    def _counted(self) -> dict[str, object]:
        arms = [[*key, metrics.as_dict()] for key, metrics in self._metrics.items()]
        return {"wall": self._clock.wall(), "version": self._board.configuration.version, "arms": arms}

    def _snapshot(self, document: dict[str, object]) -> None:
        """Write the counts down; runs in a thread."""
        path = self._snapshot_path()
        if path is None:
            return
        try:
            replace_file(path, json.dumps(document).encode())
        except OSError as error:
            if not self._unshown:
                self._events.write("experiments_unkept", reason=error.strerror or "")
            self._unshown = True
        else:
            self._unshown = False
