"""The phone's updates: when they run, what is said about them, and where they come from."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from cloud import cli as cloud_cli
from glasses import updates_cli as glasses_updates
from phone import cli as phone_cli
from phone.battery import Battery
from phone.cascade.inputs import NetworkKind
from phone.network import NetworkState
from phone.settings import PhoneSettings
from phone.updates import FIRST_S, RETRY_S, UpdateWatch, parse_events, run_child, start_updates, sweep
from phone.updates_child import update
from phone.updates_source import repository_of
from shared.clock import SystemClock
from shared.errors import StorageError, UpdateUnreachable, UsageError, WaywordError
from shared.events import EventLog
from shared.models.manifest import PackManifest, Task, describe_file, dump_manifest
from shared.models.packs import PackStore
from shared.updates.updater import PackOutcome, PackUpdater, UpdateState

DONE = ({"event": "pack_updated", "pack": "demo", "version": "2"}, {"event": "updates_checked", "packs": 1})
FAILED = ({"event": "updates_failed", "error": "UpdateExpired", "reason": "too old"},)
DAY = 86_400.0


class Steps(SystemClock):
    """Goes forward only by what is slept, and ends the watch after some sleeps."""

    def __init__(self, sleeps: int) -> None:
        self.now = 1_000_000.0
        self.slept: list[float] = []
        self._left = sleeps

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        if self._left == 0:
            raise asyncio.CancelledError
        self._left -= 1
        self.slept.append(seconds)
        self.now += seconds


class Watched:
    """A watch whose conditions and outcomes the test sets."""

    def __init__(self, folder: Path) -> None:
        self.battery = Battery(80, charging=False)
        self.network = NetworkState(NetworkKind.WIFI, metered=False)
        self.outcome: Any = DONE
        self.runs: list[float] = []
        self.said: list[str] = []
        self._folder = folder

    async def run(self, sleeps: int, *, clock: Steps | None = None) -> Steps:
        clock = clock or Steps(sleeps)

        async def update() -> Any:
            self.runs.append(clock.now)
            return self.outcome

        async def network() -> NetworkState:
            return self.network

        events = EventLog(self._folder / "events", tier="phone", clock=clock)
        watch = UpdateWatch(
            run=update,
            battery=lambda: self.battery,
            network=network,
            checked=self._folder / "checked",
            every_s=DAY,
            clock=clock,
            events=events,
            say=self.said.append,
        )
        with pytest.raises(asyncio.CancelledError):
            await watch.watch()
        events.close()
        return clock

    def events(self) -> list[str]:
        lines = (self._folder / "events").read_text().splitlines()
        return [json.loads(line)["event"] for line in lines]


async def test_updates_run_once_a_day_and_what_came_of_them_is_told(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    clock = await watched.run(3)
    assert clock.slept == [FIRST_S, DAY, DAY]
    assert len(watched.runs) == 3
    assert watched.events() == ["pack_updated", "updates_checked"] * 3
    assert watched.said[0] == "pack demo 2 is installed; it counts from the next start"


async def test_a_restart_does_not_ask_again_before_the_day_is_over(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    clock = await watched.run(1)
    later = Steps(1)
    later.now = clock.now + 1000
    assert (await watched.run(1, clock=later)).slept == [DAY - 1000]
    (tmp_path / "checked").write_text("garbage")
    assert (await watched.run(1)).slept == [FIRST_S]


async def test_a_failure_is_tried_again_soon(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.outcome = FAILED
    assert (await watched.run(2)).slept == [FIRST_S, RETRY_S]
    assert watched.said[0] == "warning: no update of the packs: too old"


async def test_a_pack_whose_download_broke_off_is_tried_again_soon_and_a_useless_one_the_next_day(
    tmp_path: Path,
) -> None:
    watched = Watched(tmp_path)
    failed = {"event": "pack_failed", "pack": "demo", "reason": "the link broke"}
    watched.outcome = (failed, {"event": "updates_checked", "packs": 1, "again": True})
    assert (await watched.run(2)).slept == [FIRST_S, RETRY_S]
    assert not (tmp_path / "checked").exists()
    watched.outcome = (failed, {"event": "updates_checked", "packs": 1, "again": False})
    assert (await watched.run(2)).slept == [FIRST_S, DAY]


def low_battery(watched: Watched) -> None:
    watched.battery = Battery(10, charging=False)


def metered(watched: Watched) -> None:
    watched.network = NetworkState(NetworkKind.CELLULAR, metered=True)


def no_network(watched: Watched) -> None:
    watched.network = NetworkState(NetworkKind.NONE, metered=False)


def a_portal(watched: Watched) -> None:
    watched.network = NetworkState(NetworkKind.CAPTIVE, metered=False)


@pytest.mark.parametrize("spoil", [low_battery, metered, no_network, a_portal])
async def test_updates_wait_for_a_better_moment(tmp_path: Path, spoil: Callable[[Watched], None]) -> None:
    watched = Watched(tmp_path)
    spoil(watched)
    assert (await watched.run(2)).slept == [FIRST_S, RETRY_S]
    assert watched.runs == []
    assert watched.events() == ["updates_put_off"] * 2


async def test_a_phone_on_its_charger_or_of_unknown_charge_does_not_wait(tmp_path: Path) -> None:
    for battery in (Battery(10, charging=True), Battery(None, charging=False)):
        watched = Watched(tmp_path)
        watched.battery = battery
        await watched.run(1)
        assert len(watched.runs) == 1


def test_what_the_process_says_is_taken_only_as_far_as_it_makes_sense() -> None:
    output = b'noise\n[1]\n{"event": "shutdown"}\n{"event": "updates_checked", "packs": 2}\n'
    assert parse_events(output, code=0) == [{"event": "updates_checked", "packs": 2}]
    assert parse_events(b"", code=-9)[0]["reason"] == "its process ended with code -9"


@pytest.fixture
def repository(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A repository with one pack."""
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "model.onnx").write_bytes(b"weights" * 100)
    manifest = PackManifest(
        name="demo",
        version="1",
        task=Task.DETECTION,
        languages=(),
        direction=None,
        files=(describe_file(pack / "model.onnx"),),
        encoding_version=1,
        licence="Apache-2.0",
        source="a test",
        card={},
    )
    (pack / "manifest.json").write_bytes(dump_manifest(manifest))
    repo, keys = str(tmp_path / "repo"), str(tmp_path / "keys")
    assert cloud_cli.main(["packs", "init", repo, "--keys", keys]) == 0
    assert cloud_cli.main(["packs", "add", repo, str(pack), "--keys", keys]) == 0
    capsys.readouterr()
    return tmp_path / "repo"


def test_the_commands_of_phone_and_glasses(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(repository / "metadata/1.root.json")
    phone = ["--packs", str(tmp_path / "phone"), "--from", str(repository)]
    assert phone_cli.main(["packs", "update", "demo", *phone, "--root", root, "--check"]) == 0
    assert capsys.readouterr().out == "demo 1: instead of nothing, 0.00 MB\n"
    assert phone_cli.main(["packs", "update", *phone, "--check"]) == 0
    assert capsys.readouterr().out == "demo 1: not installed, 0.00 MB\n"
    assert PackStore(tmp_path / "phone").names() == []
    assert phone_cli.main(["packs", "update", "demo", *phone]) == 0
    assert "demo 1: installed instead of nothing" in capsys.readouterr().out
    assert phone_cli.main(["packs", "mirror", str(tmp_path / "card"), "demo", *phone]) == 0
    glasses = ["update", "demo", "--packs", str(tmp_path / "glasses"), "--from", str(tmp_path / "card"), "--root", root]
    assert glasses_updates.main(glasses) == 0
    assert PackStore(tmp_path / "glasses").verify("demo").version == "1"
    with pytest.raises(UsageError, match="nobody has said where"):
        phone_cli.main(["packs", "update", "--packs", str(tmp_path / "phone")])


def test_updates_come_from_what_the_setting_names(tmp_path: Path) -> None:
    settings = PhoneSettings.load()
    for text, problem in (("cloud", "no cloud is set"), ("http://example.org/x", "not taken from")):
        with pytest.raises(UsageError, match=problem), repository_of(text, settings, clock=SystemClock()):
            pass


async def test_the_daemons_update_is_a_process_of_its_own(repository: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    settings = PhoneSettings.load(
        None, packs=store, updates=str(repository), updates_root=repository / "metadata/1.root.json"
    )
    nothing = [{"event": "updates_checked", "packs": 0, "current": 0, "again": False}]
    assert update(settings, clock=SystemClock()) == nothing
    assert list(await run_child(settings, clock=SystemClock())) == nothing


@pytest.mark.parametrize(("error", "again"), [(UpdateUnreachable("gone"), True), (StorageError("full"), False)])
def test_the_process_says_whether_a_failure_may_pass(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: WaywordError, again: bool
) -> None:
    failed = PackOutcome("demo", UpdateState.FAILED, "1", "2", problem=error)
    monkeypatch.setattr(PackUpdater, "update", lambda _: [failed])
    settings = PhoneSettings.load(None, packs=tmp_path / "store", updates=str(repository))
    events = update(settings, clock=SystemClock())
    assert [event["event"] for event in events] == ["pack_failed", "updates_checked"]
    assert events[-1]["again"] is again


async def test_a_cloud_that_was_switched_off_is_not_asked_for_updates_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYWORD_PHONE_CLOUD", "127.0.0.1:1")
    off = PhoneSettings.load(None, packs=tmp_path / "store", updates="cloud", cloud=None)
    [event] = await run_child(off, clock=SystemClock())
    assert "no cloud is set" in str(event["reason"])

    log = EventLog(tmp_path / "events", tier="phone", clock=SystemClock())
    never = PhoneSettings.load(None, packs=tmp_path / "store", updates="cloud", cloud_use="never")
    store = PackStore(tmp_path / "store")
    async with AsyncExitStack() as stack:
        await start_updates(
            never, store, clock=SystemClock(), battery=lambda: Battery(80, charging=True), events=log, say=print,
            stack=stack,
        )  # fmt: skip
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "wayword-updates"]
    log.close()
    assert json.loads((tmp_path / "events").read_text())["event"] == "updates_put_off"


async def test_an_update_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int | None] = []
    start = asyncio.create_subprocess_exec

    async def sleeper(*_: object, **pipes: Any) -> asyncio.subprocess.Process:
        child = await start(sys.executable, "-c", "import time; time.sleep(60)", **pipes)
        wait = child.wait

        async def waited() -> int:
            ended.append(await wait())
            return 0

        monkeypatch.setattr(child, "wait", waited)
        return child

    monkeypatch.setattr(asyncio, "create_subprocess_exec", sleeper)
    [event] = await run_child(PhoneSettings.load(), clock=Steps(1))
    assert event["error"] == "UpdateTooSlow"
    assert ended == [-9]


def test_a_start_sweeps_what_a_killed_update_left(tmp_path: Path) -> None:
    clock = SystemClock()
    store = PackStore(tmp_path / "store")
    for leftover in (".staging/demo-1234", ".packs/demo-1-5678"):
        (store.root / leftover).mkdir(parents=True)
    log = tmp_path / "events"
    events = EventLog(log, tier="phone", clock=clock)
    with store.exclusive():
        (store.root / ".staging/demo-1234").mkdir()
        sweep(PackStore(store.root), clock, events)  # another process is installing
        assert (store.root / ".staging/demo-1234").is_dir()
    sweep(store, clock, events)
    assert list((store.root / ".staging").iterdir()) == []
    assert list((store.root / ".packs").iterdir()) == []
    sweep(PackStore(tmp_path / "none"), clock, events)
    assert not (tmp_path / "none").exists()
    events.close()
    assert [json.loads(line)["event"] for line in log.read_text().splitlines()] == ["store_not_swept"]
