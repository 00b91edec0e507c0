"""`wayword-cloud experiments`: look at what runs, and change it at once.

The commands work on the two files that the service watches, so they need no connection, no token and no running
service, and every replica that shares the files follows. Whoever may write the files may switch.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from cloud.experiments.board import known, weights_of
from cloud.experiments.configuration import CONTROL, Configuration
from cloud.experiments.metrics import ArmKey, ArmMetrics
from cloud.experiments.running import BY_CANARY
from cloud.experiments.state import Off, Share, State, StateFile, switched_off, switched_on, with_share
from cloud.settings import CloudSettings
from shared.clock import Clock
from shared.errors import StorageError, UsageError

FRESH_S: Final = 60.0
"""Age up to which counts are of a service that runs; it writes them anew every few seconds."""
_MAX_COUNTS_BYTES: Final = 16 * 1024 * 1024
BY_OPERATOR: Final = "operator"


def add_experiments_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Describe the command."""
    parser = commands.add_parser("experiments", help="check, watch, switch and ramp experiments")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser("check", help="say whether a file of experiments is sound")
    check.add_argument("file", type=Path, metavar="FILE")
    status = actions.add_parser("status", help="show arms, their shares, and what was counted of them")
    status.add_argument("--json", action="store_true", help="one JSON document")
    switch = actions.add_parser("switch", help="switch an arm off (its devices go to control) or on again")
    switch.add_argument("experiment", metavar="EXPERIMENT")
    switch.add_argument("arm", metavar="ARM")
    switch.add_argument("to", choices=["on", "off"])
    stop = actions.add_parser("stop", help="end an experiment: no device takes part any more")
    stop.add_argument("experiment", metavar="EXPERIMENT")
    start = actions.add_parser("start", help="undo stop")
    start.add_argument("experiment", metavar="EXPERIMENT")
    ramp = actions.add_parser("ramp", help="give an arm this share of the devices; a ramp goes on from there")
    ramp.add_argument("experiment", metavar="EXPERIMENT")
    ramp.add_argument("arm", metavar="ARM")
    ramp.add_argument("share", type=float, metavar="SHARE", help="0 to 1, such as 0.1")
    ramp.add_argument("--hold", action="store_true", help="stay there")
    for action in (status, switch, stop, start, ramp):
        action.add_argument("--experiments", type=Path, metavar="F", help="the file of experiments")
        action.add_argument("--experiments-state", type=Path, metavar="F", help="where decisions are kept")
        action.add_argument("--config", type=Path, metavar="F", help="TOML file of settings")
    return parser


def run_experiments(options: argparse.Namespace, *, clock: Clock) -> int:
    """Do it, and return the exit code.

    Args:
        options: of the command line.
        clock: wall time of decisions.

    Raises:
        UsageError: the file is no configuration, or has no such experiment or arm.
        StorageError: a file cannot be read or written.
    """
    if options.action == "check":
        return _check(options.file)
    given = {
        name: value for name in ("experiments", "experiments_state") if (value := getattr(options, name)) is not None
    }
    settings = CloudSettings.load(options.config, **given)
    path = settings.experiments
    if path is None:
        raise UsageError("no file of experiments is set", hint="give --experiments, or --config")
    configuration = Configuration.load(path)
    file = StateFile(settings.experiments_state_path(path))
    if options.action == "status":
        _status(configuration, file, as_json=options.json, now=clock.wall())
        return 0
    known(configuration, options.experiment, getattr(options, "arm", None))
    state = file.change(_change(options, now=clock.wall()))
    for line in describe(configuration, state, options.experiment, {}):
        _say(line)
    return 0


def _check(path: Path) -> int:
    configuration = Configuration.load(path)
    _say(f"{path} is sound, version {configuration.version}")
    for name, experiment in configuration.experiments.items():
        arms = ", ".join(
            f"{arm} {meant.weight:g}{' (canary)' * meant.canary}" for arm, meant in experiment.arms.items()
        )
        _say(f"  {name}: {arms}")
    return 0


def _change(options: argparse.Namespace, *, now: float) -> Callable[[State], State]:
    name = options.experiment
    if options.action == "start":
        return lambda state: switched_on(state, name)
    if options.action == "stop":
        return lambda state: switched_off(state, name, Off(since=now, reason="stopped by hand", by=BY_OPERATOR))
    arm = options.arm
    if arm == CONTROL:
        raise UsageError("control cannot be switched or ramped: it is what the others are compared with")
    if options.action == "switch":
        if options.to == "on":
            return lambda state: switched_on(state, f"{name}/{arm}")
        off = Off(since=now, reason="switched off by hand", by=BY_OPERATOR)
        return lambda state: switched_off(state, f"{name}/{arm}", off)
    if not 0.0 <= options.share <= 1.0:
        raise UsageError("SHARE must be 0 to 1")
    share = Share(arm=arm, share=options.share, since=now, ramps=not options.hold)
    return lambda state: with_share(state, name, share)


def _status(configuration: Configuration, file: StateFile, *, as_json: bool, now: float) -> None:
    state, counts = file.read(), read_counts(file, now=now)
    if as_json:
        document = {
            "version": configuration.version,
            "experiments": {name: _document(configuration, state, name, counts) for name in configuration.experiments},
        }
        _say(json.dumps(document, ensure_ascii=False))
        return
    if not configuration.experiments:
        _say("there are no experiments")
    for name in configuration.experiments:
        for line in describe(configuration, state, name, counts):
            _say(line)


def read_counts(file: StateFile, *, now: float) -> dict[ArmKey, ArmMetrics]:
    """What the services that run have counted, together. A file that is none is passed over: it is being replaced."""
    found: dict[ArmKey, ArmMetrics] = {}
    for path in sorted(file.path.parent.glob(f"{file.path.name}.*.counts")):
        try:
            if path.stat().st_size > _MAX_COUNTS_BYTES:
                continue
            document = json.loads(path.read_bytes())
            if now - float(document["wall"]) > FRESH_S:
                continue
            for experiment, arm, counted in document["arms"]:
                found.setdefault((experiment, arm), ArmMetrics()).merge(ArmMetrics.from_dict(counted))
        except FileNotFoundError:
            continue  # its service has just ended
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}") from error
        except (ValueError, TypeError, KeyError) as error:
            raise StorageError(f"{path} holds no counts", hint="remove it") from error
    return found


def _document(
    configuration: Configuration, state: State, name: str, counts: dict[ArmKey, ArmMetrics]
) -> dict[str, Any]:
    experiment = configuration.experiments[name]
    weights = weights_of(experiment, state.shares.get(name))
    stopped = state.is_off(name)
    arms = {}
    for arm, meant in experiment.arms.items():
        off = state.off.get(f"{name}/{arm}")
        arms[arm] = {
            "share": share_of(weights, arm),
            "canary": meant.canary,
            "off": None if off is None else off.model_dump(),
            **counts.get((name, arm), ArmMetrics()).summary(),
        }
    return {"stopped": None if stopped is None else stopped.model_dump(), "arms": arms}


def share_of(weights: dict[str, float], arm: str) -> float:
    """The share of the devices that an arm's weight gives it."""
    if float("inf") in weights.values():
        return float(weights[arm] == float("inf"))
    return weights[arm] / sum(weights.values())


def describe(configuration: Configuration, state: State, name: str, counts: dict[ArmKey, ArmMetrics]) -> Sequence[str]:
    """An experiment in a few lines, one for each arm."""
    shown = _document(configuration, state, name, counts)
    lines = [f"{name}{_off(shown['stopped'])}"]
    for arm, facts in shown["arms"].items():
        numbers = ", ".join(
            f"{what.replace('_', ' ')} {value:.4g}"
            for what, value in facts.items()
            if what not in {"share", "canary", "off"} and value
        )
        kind = " canary" if facts["canary"] else ""
        lines.append(f"  {arm}{kind}: {facts['share']:.1%} of the devices{_off(facts['off'])}; {numbers or 'no calls'}")
    return lines


def _off(off: dict[str, Any] | None) -> str:
    if off is None:
        return ""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(off["since"]))
    by = "by the canary's watch: " if off["by"] == BY_CANARY else ""
    return f", OFF since {when}, {by}{off['reason']}"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
