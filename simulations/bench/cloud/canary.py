"""Canaries that are sound and canaries that are not, and telemetry that phone and cloud may die of at any moment."""

from __future__ import annotations

import argparse
import math
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Final

from shared.errors import UsageError, WaywordError
from simulations.bench.cloud.canary_lives import Arms, Life, configuration, live, share_stopped, wilson_upper
from simulations.bench.cloud.findings import Finding, Findings, Progress
from simulations.bench.cloud.telemetry_peers import counted

NAME: Final = "canary"
HELP: Final = "canaries: false alarms and delays; telemetry: losses and duplicates under kills"
ALPHA: Final = 0.01
MARGIN_ERRORS: Final = 0.01
"""Default margin of `cloud.experiments.canary.CanaryRules`, at which a canary is as bad as it may be."""
SHARE: Final = 0.1
"""Of the calls that the canary gets where delays are measured."""
WORSE: Final[Mapping[str, Arms]] = {
    "errors 1 % -> 5 %": Arms(errors=(0.01, 0.05), share=SHARE),
    "errors 1 % -> 20 %": Arms(errors=(0.01, 0.2), share=SHARE),
    "every call fails": Arms(errors=(0.01, 1.0), share=SHARE),
    "agreement 85 % -> 70 %": Arms(agreement=(0.85, 0.7), share=SHARE),
    "agreement 85 % -> 50 %": Arms(agreement=(0.85, 0.5), share=SHARE),
    "1.6 times as slow": Arms(slower=1.6, share=SHARE),
    "3 times as slow": Arms(slower=3.0, share=SHARE),
}
START_S: Final = 60.0
DRAIN_S: Final = 120.0
_ID: Final = re.compile(r"[0-9a-f]{32}")


class PeerFailed(WaywordError):
    """A process of the bench did not do its part."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of its own."""
    parser.add_argument("--lives", type=int, default=300, help="canaries without a difference (default: 300)")
    parser.add_argument("--bad-lives", type=int, default=25, help="canaries of each kind of trouble (default: 25)")
    parser.add_argument("--calls", type=int, default=2000, help="calls of a sound canary and control (default: 2000)")
    parser.add_argument("--kills", type=int, default=20, help="kills of the phone, and a third as many of the cloud")
    parser.add_argument("--seed", type=int, default=1)


def measure(options: argparse.Namespace, progress: Progress) -> Findings:
    """Measure it.

    Raises:
        UsageError: an option makes no sense.
        PeerFailed: a process of the bench ended by itself.
    """
    if min(options.lives, options.bad_lives, options.calls) < 1 or options.kills < 0:
        raise UsageError("--lives, --bad-lives and --calls must be 1 or more, and --kills 0 or more")
    rows: list[Finding] = []
    with tempfile.TemporaryDirectory(prefix="wayword-canary-") as folder:
        rows += _sound(options, Path(folder), progress)
        rows += _bad(options, Path(folder), progress)
    if options.kills:
        rows += _telemetry(options, progress)
    return Findings(
        "Experiments: canaries and telemetry",
        rows,
        setting={
            "alpha": ALPHA,
            "lives without a difference": options.lives,
            "lives of each kind of trouble": options.bad_lives,
            "calls of a sound life": options.calls,
            "kills of the phone": options.kills,
            "seed": options.seed,
        },
        remarks=(
            "Calls are drawn by seed and go through the service's own code (Experiments.observe); times, rates and "
            "their independence are assumptions. Where devices differ (standard deviation of 0.1 of their agreement) "
            "an arm of few is another arm: the promise does not cover that (docs/experiments.md).",
            "Delays are counted in calls of the canary, which gets one call in ten.",
        ),
    )


def _sound(options: argparse.Namespace, folder: Path, progress: Progress) -> list[Finding]:
    """False alarms of canaries that are as good as control, and of those just as bad as they may be."""
    path = folder / "half.toml"
    path.write_text(configuration(0.5, ALPHA))
    kinds = {
        "no difference": Arms(),
        "errors worse by exactly the margin": Arms(errors=(0.01, 0.01 + MARGIN_ERRORS)),
        "no difference, but five devices an arm that differ": Arms(devices=5),
        "no difference, fifty devices an arm that differ": Arms(devices=50),
    }
    rows: list[Finding] = []
    for what, arms in kinds.items():
        lives: list[Life] = []
        wanted = max(options.lives // 3, 1) if arms.devices else options.lives
        for number in range(wanted):
            lives.append(live(path, arms, seed=options.seed * 100_003 + number, calls=options.calls))
            if number % 50 == 49:
                progress(f"{what}: {number + 1} of {wanted} lives")
        rate = share_stopped(lives)
        bound = wilson_upper(round(rate * len(lives)), len(lives))
        rows.append(
            Finding(
                f"sound canaries switched off, {what}",
                rate,
                "share",
                "" if arms.devices else f"<= {ALPHA}",
                None if arms.devices else rate <= ALPHA,
                f"looked at after every 8 calls; {len(lives)} lives exclude {bound:.3f} and more at 95 %",
            )
        )
        if arms == Arms():
            naive = sum(life.naive_alarm for life in lives) / len(lives)
            rows.append(
                Finding(
                    "the same by a fixed test of the error rates at 95 %",
                    naive,
                    "share",
                    note="for contrast: what looking at a dashboard does",
                )
            )
    return rows


def _bad(options: argparse.Namespace, folder: Path, progress: Progress) -> list[Finding]:
    path = folder / "tenth.toml"
    path.write_text(configuration(SHARE, ALPHA))
    rows: list[Finding] = []
    after = 0
    for what, arms in WORSE.items():
        lives = [
            live(path, arms, seed=options.seed * 200_003 + number, calls=20_000) for number in range(options.bad_lives)
        ]
        delays = sorted(math.inf if life.stopped_after is None else life.stopped_after for life in lives)
        stopped = sum(map(math.isfinite, delays))
        after += sum(life.after for life in lives)
        progress(f"{what}: {stopped} of {len(lives)} stopped")
        middle, ninth = median(delays), delays[math.ceil(0.9 * len(delays)) - 1]
        within = f"{ninth:.0f}" if math.isfinite(ninth) else "more than the 2000 that were looked at"
        note = f"nine in ten within {within}; {stopped} of {len(lives)} stopped"
        value = middle if math.isfinite(middle) else None
        rows.append(Finding(f"calls until the stop, {what}", value, "calls", note=note))
    rows.append(Finding("calls of a canary after its stop", after, "calls", "= 0", after == 0))
    return rows


def _telemetry(options: argparse.Namespace, progress: Progress) -> list[Finding]:
    """Kill phone and cloud at random moments, then let the phone finish, and count."""
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="wayword-telemetry-") as name:
        folder = Path(name)
        port = _free_port()
        cloud = _start("cloud", folder, port, "--seed", str(options.seed), "--rate", "0.2")
        cloud_kills = 0
        try:
            _wait_for(port, cloud)
            for kill in range(options.kills):
                before = _promised(folder)
                phone = _start("phone", folder, port)
                _wait_until_it_gathers(folder, before, phone)
                time.sleep(rng.uniform(0.0, 0.6))
                if kill % 3 == 2:
                    _kill(cloud)
                    cloud_kills += 1
                    time.sleep(rng.uniform(0.0, 0.3))
                    _kill(phone)
                    cloud = _start("cloud", folder, port, "--seed", str(options.seed + kill + 1), "--rate", "0.2")
                    _wait_for(port, cloud)
                else:
                    _kill(phone)
                progress(f"telemetry: {kill + 1} of {options.kills} kills, {_promised(folder)} promises")
            drain = _start("phone", folder, port, "--drain")
            try:
                if drain.wait(DRAIN_S) != 0:
                    raise PeerFailed("the phone of the bench could not finish")
            except subprocess.TimeoutExpired as error:
                raise PeerFailed(f"the phone of the bench did not finish within {DRAIN_S:g} s") from error
            finally:
                _kill(drain)
        finally:
            _kill(cloud)
        promised = {line for line in _lines(folder) if _ID.fullmatch(line)}
        records, distinct, ids = counted(folder)
    lost, doubled = len(promised - ids), records - distinct
    note = f"{options.kills} kills of the phone, {cloud_kills} of the cloud; a third of the calls failed by design"
    return [
        Finding("telemetry records promised by the phone", len(promised), "records", note=note),
        Finding("of these lost", lost, "records", "= 0", lost == 0),
        Finding("stored twice", doubled, "records", "= 0", doubled == 0),
    ]


def _start(role: str, folder: Path, port: int, *more: str) -> subprocess.Popen[bytes]:
    module = "simulations.bench.cloud.telemetry_peers"
    command = [sys.executable, "-m", "simulations.guard", str(os.getpid()), sys.executable, "-m", module, role]
    return subprocess.Popen([*command, str(folder), "--port", str(port), *more], stdin=subprocess.DEVNULL)


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _lines(folder: Path) -> list[str]:
    path = folder / "promised"
    return path.read_text(errors="replace").splitlines() if path.exists() else []


def _promised(folder: Path) -> int:
    return len(set(_lines(folder)))


def _wait_until_it_gathers(folder: Path, before: int, phone: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while _promised(folder) == before:
        if phone.poll() is not None or time.monotonic() > deadline:
            raise PeerFailed("the phone of the bench gathers nothing")
        time.sleep(0.02)


def _wait_for(port: int, cloud: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
            return
        except OSError:
            if cloud.poll() is not None or time.monotonic() > deadline:
                raise PeerFailed("the cloud of the bench does not serve") from None
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
