"""Experiments as they run: files that change, arms that are switched, canaries that are stopped, phones that ask."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import signal
import threading
from pathlib import Path

import grpc
import pytest
from experiments_world import TWO_ARMS, World, read_event

from cloud.callers import ANYONE, Caller, called_by, current_caller
from cloud.calls import Call, unary
from cloud.cli import main
from cloud.experiments import running as running_module
from cloud.experiments import state as state_module
from cloud.experiments.arms_told import ToldArms
from cloud.experiments.configuration import Configuration
from cloud.experiments.metrics import observation_of
from cloud.experiments.opening import ArmCollector, open_experiments
from cloud.experiments.running import Experiments
from cloud.experiments.service import ExperimentsService
from cloud.experiments.state import Share, StateFile, switched_off, switched_on, with_share
from cloud.front.metrics import CloudMetrics
from cloud.plans import DEFAULT_PLAN, ReadPlan
from cloud.refusals import Refusal
from cloud.server import CloudServer
from cloud.settings import CloudSettings
from shared.clock import SystemClock
from shared.errors import StorageError, UsageError
from shared.events import EventLog
from shared.experiments import ARMS_METADATA
from shared.messages.wayword.v1 import cloud_pb2, experiments_pb2, experiments_pb2_grpc

RAMP = """
[experiments.beam]
arms.control = { weight = 50 }
arms.wide = { weight = 50, canary = true, plan = { beam = 8 } }
ramp = { arm = "wide", shares = [0.01, 0.1, 1.0], hours = 24 }
"""
HOUR = 3600.0


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def call(device: str = "") -> Call:
    return Call(Caller(device=device), deadline=1e12)


# The file --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("experiments = 3", "experiments"),
        ("[experiments.a", "TOML"),
        ("[experiments.a]\narms.control = { weight = 1 }", "arms"),
        ("[experiments.a]\narms.x = { weight = 1 }\narms.y = { weight = 1 }", "control"),
        ("[experiments.a]\narms.control = { weight = 0 }\narms.y = { weight = 1 }", "weight above 0"),
        ("[experiments.a]\narms.control = { weight = 1 }\narms.y = { weight = -1 }", "greater than"),
        ("[experiments.a]\narms.control = { weight = 1 }\narms.y = { weight = nan }", "finite"),
        ("[experiments.a]\narms.control = { weight = 1, plan = { beam = 2 } }\narms.y = { weight = 1 }", "nothing"),
        ("[experiments.a]\narms.control = { weight = 1 }\narms.y = { weight = 1, plan = { bean = 2 } }", "bean"),
        ("[experiments.a]\narms.control = { weight = 1 }\narms.y = { weight = 1, plan = { beam = 99 } }", "beam"),
        ("[experiments.A]\narms.control = { weight = 1 }\narms.y = { weight = 1 }", "lower-case"),
        ("[experiments.a]\narms.control = { weight = 1 }\narms.'y z' = { weight = 1 }", "lower-case"),
        ("[experiments.a]\nslots = [0, 9]\narms.control = { weight = 1 }\narms.y = { weight = 1 }", "belong together"),
        (RAMP.replace("0.1, 1.0", "0.1, 0.05"), "grow"),
        (RAMP.replace('arm = "wide"', 'arm = "control"'), "ramp"),
    ],
)
def test_a_broken_file_is_told_in_one_line(text: str, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        Configuration.parse(text)

    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["cloud_use", "daily_budget_bytes", "keep_names", "ledger_text", "cloud", "telemetry"])
def test_an_experiment_can_offer_no_setting_of_privacy(name: str) -> None:
    text = (
        f'[experiments.a]\narms.control = {{ weight = 1 }}\narms.y = {{ weight = 1, phone = {{ {name} = "allow" }} }}'
    )

    with pytest.raises(UsageError, match="cannot set"):
        Configuration.parse(text)


def test_two_experiments_may_set_the_same_only_where_they_share_no_device() -> None:
    one = (
        "[experiments.{name}]\n{group}arms.control = {{ weight = 1 }}\n"
        "arms.y = {{ weight = 1, plan = {{ beam = 2 }} }}\n"
    )

    with pytest.raises(UsageError, match="both set beam"):
        Configuration.parse(one.format(name="a", group="") + one.format(name="b", group=""))
    with pytest.raises(UsageError, match="slot 9"):
        Configuration.parse(
            one.format(name="a", group='group = "g"\nslots = [0, 9]\n')
            + one.format(name="b", group='group = "g"\nslots = [9, 20]\n')
        )
    apart = Configuration.parse(
        one.format(name="a", group='group = "g"\nslots = [0, 49]\n')
        + one.format(name="b", group='group = "g"\nslots = [50, 99]\n')
    )
    assert set(apart.experiments) == {"a", "b"}


def test_experiments_of_one_group_never_share_a_device(tmp_path: Path) -> None:
    half = (
        "[experiments.{0}]\ngroup = 'g'\nslots = [{1}, {2}]\n"
        "arms.control = {{ weight = 1 }}\narms.y = {{ weight = 1 }}\n"
    )
    world = World(tmp_path, half.format("a", 0, 49) + half.format("b", 50, 99))

    parts = [set(world.experiments.arms_of(f"device-{number}")) for number in range(300)]

    assert {frozenset(part) for part in parts} == {frozenset({"a"}), frozenset({"b"})}


# What a call is in -----------------------------------------------------------------------------------


def test_a_call_is_read_by_the_plan_of_its_devices_arm(world: World) -> None:
    wide, control = world.device_in("wide"), world.device_in("control")

    assert world.experiments.plan_for(call(wide)) == ReadPlan(beam=8, arm="beam=wide")
    assert world.experiments.plan_for(call(control)) == ReadPlan(arm="beam=control")
    assert world.experiments.plan_for(call()) == DEFAULT_PLAN, "who has no name and says no arms takes no part"


def test_without_a_file_every_call_is_read_as_ever(tmp_path: Path) -> None:
    experiments = open_experiments_now(tmp_path)

    assert experiments.plan_for(call("device")) is DEFAULT_PLAN
    assert experiments.arms_of("device") == {}


def open_experiments_now(tmp_path: Path) -> Experiments:
    settings = CloudSettings.load(None)
    log = EventLog(None, tier="cloud", clock=SystemClock())

    async def opened() -> Experiments:
        return open_experiments(settings, SystemClock(), events=log, warn=str)

    return asyncio.run(opened())


# Files that change -----------------------------------------------------------------------------------


async def test_a_changed_file_is_in_force_with_the_next_look(world: World) -> None:
    device = world.device_in("wide")

    world.path.write_text(TWO_ARMS.replace("beam = 8", "beam = 6"))
    await world.experiments.look()

    assert world.experiments.plan_for(call(device)).beam == 6
    assert len(world.events("experiments_loaded")) == 1


async def test_a_broken_file_leaves_the_old_one_in_force_and_is_reported_once(world: World) -> None:
    device = world.device_in("wide")

    world.path.write_text("[experiments.beam")
    for _ in range(3):
        await world.experiments.look()
    assert not world.experiments.reload()

    assert world.experiments.plan_for(call(device)).beam == 8
    assert len(world.warnings) == 1
    assert len(world.events("experiments_refused")) == 1
    world.path.write_text(TWO_ARMS.replace("beam = 8", "beam = 5"))
    await world.experiments.look()
    assert world.experiments.plan_for(call(device)).beam == 5


async def test_a_file_that_is_gone_leaves_the_old_one_in_force(world: World) -> None:
    device = world.device_in("wide")

    world.path.unlink()
    await world.experiments.look()

    assert world.experiments.plan_for(call(device)).beam == 8


def test_a_service_does_not_start_on_a_broken_file(world: World) -> None:
    world.path.write_text("[experiments.beam")

    with pytest.raises(UsageError, match="TOML"):
        world.start()


async def test_a_signal_has_the_files_looked_at_without_waiting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.experiments.running.LOOK_S", 3600.0)
    running = asyncio.create_task(world.experiments.run())
    device = world.device_in("wide")
    world.path.write_text(TWO_ARMS.replace("beam = 8", "beam = 3"))

    world.experiments.reload_soon()
    async with asyncio.timeout(30):
        while world.experiments.plan_for(call(device)).beam != 3:  # noqa: ASYNC110 - the task has no event
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_sighup_is_such_a_signal_where_there_are_experiments(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud.experiments.running.LOOK_S", 3600.0)
    settings = CloudSettings.load(None, experiments=world.path)
    log = EventLog(None, tier="cloud", clock=SystemClock())
    experiments = open_experiments(settings, SystemClock(), events=log, warn=str)
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(experiments.run())
    device = world.device_in("wide")
    try:
        assert signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL, "or the next line would end this process"
        world.path.write_text(TWO_ARMS.replace("beam = 8", "beam = 3"))
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(30):
            while experiments.plan_for(call(device)).beam != 3:  # noqa: ASYNC110 - the task has no event
                await asyncio.sleep(0.001)
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


# Switching by hand -----------------------------------------------------------------------------------


async def test_a_switched_off_arms_devices_go_to_control_and_come_back(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    wide, control = world.device_in("wide"), world.device_in("control")
    files = ["--experiments", str(world.path), "--experiments-state", str(world.state.path)]

    assert main(["experiments", "switch", "beam", "wide", "off", *files]) == 0
    await world.experiments.look()
    assert [world.experiments.arms_of(device) for device in (wide, control)] == [{"beam": "control"}] * 2
    assert "OFF" in capsys.readouterr().out

    assert main(["experiments", "switch", "beam", "wide", "on", *files]) == 0
    await world.experiments.look()
    assert world.experiments.arms_of(wide) == {"beam": "wide"}
    assert world.experiments.arms_of(control) == {"beam": "control"}


async def test_a_stopped_experiment_has_no_devices_until_it_is_started(world: World) -> None:
    device = world.device_in("wide")
    files = ["--experiments", str(world.path), "--experiments-state", str(world.state.path)]

    main(["experiments", "stop", "beam", *files])
    await world.experiments.look()
    assert world.experiments.arms_of(device) == {}

    main(["experiments", "start", "beam", *files])
    await world.experiments.look()
    assert world.experiments.arms_of(device) == {"beam": "wide"}


async def test_a_share_by_hand_is_in_force_with_the_next_look(world: World) -> None:
    files = ["--experiments", str(world.path), "--experiments-state", str(world.state.path)]

    main(["experiments", "ramp", "beam", "wide", "1.0", *files])
    await world.experiments.look()

    assert {world.experiments.arms_of(f"d{number}")["beam"] for number in range(200)} == {"wide"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["switch", "beam", "control", "off"],
        ["switch", "beam", "narrow", "off"],
        ["stop", "bean"],
        ["ramp", "beam", "wide", "1.5"],
        ["ramp", "beam", "wide", "nan"],
    ],
)
def test_what_cannot_be_switched_is_a_typed_error(world: World, arguments: list[str]) -> None:
    with pytest.raises(UsageError):
        main(["experiments", *arguments, "--experiments", str(world.path)])
    assert not (world.path.parent / "experiments.toml.state.json").exists()


def test_check_says_whether_a_file_is_sound(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiments", "check", str(world.path)]) == 0
    assert "wide 50 (canary)" in capsys.readouterr().out

    world.path.write_text("[experiments.beam]\narms = 3")
    with pytest.raises(UsageError, match=r"experiments\.toml"):
        main(["experiments", "check", str(world.path)])


def test_decisions_made_at_once_by_two_processes_are_both_kept(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from cloud.experiments.state import Off

    def switch(number: int) -> None:
        off = Off(since=0.0, reason="by hand", by="operator")
        StateFile(tmp_path / "state.json").change(lambda state: switched_off(state, f"e/{number}", off))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(switch, range(12)))

    state = StateFile(tmp_path / "state.json").read()
    assert set(state.off) == {f"e/{number}" for number in range(12)}
    assert switched_on(state, "e/3").is_off("e", "3") is None


def test_a_state_file_of_something_else_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"off": 3}')

    with pytest.raises(StorageError, match="no state"):
        StateFile(tmp_path / "state.json").read()


def test_a_process_that_hangs_with_the_state_in_its_hands_is_a_typed_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_module, "LOCK_S", 0.05)
    with (tmp_path / "state.json.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match="another process holds"):
            StateFile(tmp_path / "state.json").change(lambda state: state)
    StateFile(tmp_path / "state.json").change(lambda state: state)


async def test_calls_go_on_while_the_files_are_looked_at_and_a_stop_meanwhile_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, RAMP)
    world.feed("control", 100)
    world.path.write_text(RAMP + "\n# touched")
    loop, fed, load = asyncio.get_running_loop(), threading.Event(), Configuration.load

    def feed() -> None:
        world.feed("wide", 100, agrees=False)
        fed.set()

    def slowly(path: Path) -> Configuration:
        loop.call_soon_threadsafe(feed)
        assert fed.wait(20), "the event loop stands still"
        return load(path)

    monkeypatch.setattr(Configuration, "load", slowly)
    world.clock.now += 24 * HOUR
    await world.experiments.look()

    assert world.events("experiments_loaded")
    assert world.experiments.state.is_off("beam", "wide") is not None
    await world.experiments.look()
    assert "beam/wide" in world.state.read().off


async def test_counts_that_cannot_be_shown_are_told_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(running_module, "replace_file", refuse)
    for _ in range(4):
        world.clock.now += running_module.SNAPSHOT_S
        await world.experiments.look()

    assert len(world.events("experiments_unkept")) == 1


# Ramps -----------------------------------------------------------------------------------------------


async def test_a_ramp_takes_its_steps_by_the_clock_and_only_adds_devices(tmp_path: Path) -> None:
    world = World(tmp_path, RAMP)
    devices = [f"d{number}" for number in range(700)]
    members: list[set[str]] = []

    for _ in range(3):
        members.append({device for device in devices if world.experiments.arms_of(device)["beam"] == "wide"})
        world.clock.now += 23 * HOUR
        await world.experiments.look()
        assert members[-1] == {device for device in devices if world.experiments.arms_of(device)["beam"] == "wide"}
        world.clock.now += 1 * HOUR
        await world.experiments.look()

    assert members[0] < members[1] < members[2] == set(devices)
    assert len(members[0]) < 30
    assert [event["share"] for event in world.events("experiment_ramped")] == [0.01, 0.1, 1.0]


async def test_a_ramp_goes_on_where_it_was_after_a_restart(tmp_path: Path) -> None:
    world = World(tmp_path, RAMP)
    world.clock.now += 24 * HOUR
    await world.experiments.look()

    world.start()

    assert world.experiments.state.shares["beam"].share == 0.1


async def test_a_ramp_held_by_hand_stays(tmp_path: Path) -> None:
    world = World(tmp_path, RAMP)
    held = Share(arm="wide", share=0.1, since=world.clock.now, ramps=False)
    world.state.change(lambda state: with_share(state, "beam", held))

    for _ in range(5):
        world.clock.now += 24 * HOUR
        await world.experiments.look()

    assert world.experiments.state.shares["beam"].share == 0.1


async def test_a_ramp_of_a_stopped_canary_goes_no_further(tmp_path: Path) -> None:
    world = World(tmp_path, RAMP)
    world.feed("control", 100)
    world.feed("wide", 100, outcome="PackCorrupt", confidence=None, agrees=None)
    assert world.experiments.state.is_off("beam", "wide") is not None

    for _ in range(3):
        world.clock.now += 24 * HOUR
        await world.experiments.look()

    assert world.experiments.state.shares["beam"].share == 0.01


# Canaries --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "measure"),
    [
        ({"outcome": "PackCorrupt", "confidence": None, "agrees": None}, "errors"),
        ({"outcome": "cancelled", "in_time": False, "confidence": None, "agrees": None}, "errors"),
        ({"confidence": None}, "empty"),
        ({"agrees": False}, "agreement"),
        ({"seconds": 2.0}, "latency_p95"),
    ],
)
def test_a_canary_in_breach_is_off_for_the_next_call(world: World, facts: dict[str, object], measure: str) -> None:
    device = world.device_in("wide")
    world.feed("control", 200)

    world.feed("wide", 200, **facts)

    assert world.experiments.arms_of(device) == {"beam": "control"}
    assert world.experiments.plan_for(call(device)).beam is None
    (event,) = world.events("canary_stopped")
    assert (event["experiment"], event["arm"], event["measure"]) == ("beam", "wide", measure)
    assert len(world.warnings) == 1


@pytest.mark.parametrize(
    "facts",
    [
        {"outcome": "overloaded"},
        {"outcome": "undecodable"},
        {"outcome": "cancelled", "in_time": True},
        {"remembered": True, "agrees": False},
        {},
    ],
)
def test_what_is_no_fault_of_the_arm_does_not_stop_it(world: World, facts: dict[str, object]) -> None:
    world.feed("control", 200)

    world.feed("wide", 300, **facts)

    assert world.experiments.state.off == {}
    assert world.experiments.metrics["beam", "wide"].calls == 300


async def test_a_stopped_canary_stays_off_after_a_restart_until_somebody_switches_it_on(world: World) -> None:
    device = world.device_in("wide")
    world.feed("control", 100)
    world.feed("wide", 100, agrees=False)
    await world.experiments.look()

    world.start()
    assert world.experiments.arms_of(device) == {"beam": "control"}
    off = world.state.read().off["beam/wide"]
    assert off.by == "canary"
    assert "agreement" in off.reason

    files = ["--experiments", str(world.path), "--experiments-state", str(world.state.path)]
    main(["experiments", "switch", "beam", "wide", "on", *files])
    await world.experiments.look()
    assert world.experiments.arms_of(device) == {"beam": "wide"}


async def test_a_canary_stopped_just_before_the_end_is_kept_by_closing(world: World) -> None:
    world.feed("control", 100)
    world.feed("wide", 100, agrees=False)

    await world.experiments.close()

    assert "beam/wide" in world.state.read().off


async def test_a_stop_that_cannot_be_kept_is_in_force_all_the_same(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.state.path = tmp_path / "nowhere" / "state.json"
    device = world.device_in("wide")
    world.feed("control", 100)
    world.feed("wide", 100, agrees=False)

    for _ in range(3):
        await world.experiments.look()
    world.path.write_text(TWO_ARMS + "\n# touched")
    await world.experiments.look()

    assert world.experiments.arms_of(device) == {"beam": "control"}
    assert any("forget" in warning for warning in world.warnings)


async def test_counts_from_before_a_change_of_weights_do_not_judge_a_canary(world: World) -> None:
    world.feed("control", 100, seconds=5.0, agrees=False)  # as on a bad day, which the canary did not see

    world.path.write_text(TWO_ARMS.replace("arms.wide = { weight = 50", "arms.wide = { weight = 60"))
    await world.experiments.look()
    world.feed("wide", 300, seconds=5.0, agrees=False)

    assert world.experiments.state.off == {}, "there is no control to compare with yet"


def test_late_answers_count_as_errors_and_refusals_as_nothing() -> None:
    late = observation_of(read_event("beam=wide", in_time=False))

    assert late is not None
    assert late.error
    assert observation_of(read_event("beam=wide", outcome="quota")) is None
    expired = observation_of(read_event("beam=wide", outcome="expired"))
    assert expired is not None
    assert expired.error


# What is counted -------------------------------------------------------------------------------------


async def test_status_shows_what_running_services_have_counted(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.feed("wide", 9, seconds=0.2)
    world.feed("wide", 1, outcome="overloaded")
    world.experiments.observe_phone({"beam": "wide", "gone": "arm"}, "confirmed", 0.4)
    world.experiments.plan_for(call(world.device_in("wide")))
    world.experiments.spent(0.25)
    await world.experiments.look()
    files = ["--experiments", str(world.path), "--experiments-state", str(world.state.path)]

    # The command asks its own clock how old the counts are.
    counts = next(world.path.parent.glob("state.json.*.counts"))
    document = json.loads(counts.read_text()) | {"wall": SystemClock().wall()}
    counts.write_text(json.dumps(document))
    assert main(["experiments", "status", "--json", *files]) == 0

    arms = json.loads(capsys.readouterr().out)["experiments"]["beam"]["arms"]
    wide = arms["wide"]
    assert (wide["calls"], wide["refusals"], wide["phone_calls"], wide["cost"]) == (10, 1, 1, 0.25)
    assert wide["p95_ms"] == pytest.approx(200.0, rel=0.02)
    assert wide["agreement"] == 1.0
    assert (wide["share"], arms["control"]["calls"]) == (0.5, 0)
    await world.experiments.close()
    assert not list(world.path.parent.glob("*.counts"))


def test_prometheus_has_the_arms_of_the_file_and_no_others(world: World) -> None:
    metrics = CloudMetrics()
    metrics.collect(ArmCollector(world.experiments))

    world.feed("wide", 3)
    world.experiments.observe(read_event("beam=narrow"))
    world.experiments.observe(read_event("else=wide"))

    page = metrics.page().decode()
    assert 'wayword_arm_calls_total{arm="wide",experiment="beam"} 3.0' in page
    assert "narrow" not in page
    assert "else" not in page


# Phones that ask -------------------------------------------------------------------------------------


def service_of(world: World) -> ExperimentsService:
    return ExperimentsService(world.experiments, clock=SystemClock(), default_deadline_s=5.0)


async def test_a_phone_gets_the_same_arm_again_and_what_it_sets(world: World) -> None:
    service, device = service_of(world), world.device_in("wide")

    replies = [await service.assign(experiments_pb2.AssignRequest(device=device), Call(ANYONE, 1e12)) for _ in range(2)]

    assert replies[0] == replies[1]
    (assignment,) = replies[0].assignments
    assert (assignment.experiment, assignment.arm) == ("beam", "wide")
    assert dict(assignment.parameters) == {"hold_s": "4.0"}
    assert replies[0].refresh_s == 3600


async def test_who_is_known_cannot_choose_another_ones_arm(world: World) -> None:
    service, wide, control = service_of(world), world.device_in("wide"), world.device_in("control")

    reply = await service.assign(experiments_pb2.AssignRequest(device=wide), call(control))

    assert reply.assignments[0].arm == "control"


async def test_a_name_that_is_too_long_is_refused(world: World) -> None:
    with pytest.raises(Refusal):
        await service_of(world).assign(experiments_pb2.AssignRequest(device="x" * 65), Call(ANYONE, 1e12))


async def test_the_version_tells_of_every_change(world: World) -> None:
    versions = [world.experiments.version]
    world.path.write_text(TWO_ARMS + "\n")
    await world.experiments.look()
    versions.append(world.experiments.version)
    world.feed("control", 100)
    world.feed("wide", 100, agrees=False)
    versions.append(world.experiments.version)

    assert len(set(versions)) == 3


async def test_a_caller_without_a_name_is_in_the_arms_it_was_told_over_the_wire(world: World) -> None:
    plans: list[ReadPlan] = []

    class Probe:
        name = "wayword.v1.Reader"

        def handlers(self) -> dict[str, grpc.RpcMethodHandler[bytes, cloud_pb2.ReadStripReply]]:
            async def read(request: cloud_pb2.ReadStripRequest, call: Call) -> cloud_pb2.ReadStripReply:
                with called_by(Caller(device=request.idempotency_key)):
                    plans.append(world.experiments.plan_for(Call(current_caller(), call.deadline)))
                return cloud_pb2.ReadStripReply()

            handler = unary("ReadStrip", cloud_pb2.ReadStripRequest, read, clock=SystemClock(), default_deadline_s=5.0)
            return {"ReadStrip": handler}

        async def upkeep(self) -> None: ...

        async def close(self) -> None: ...

    settings = CloudSettings.load(None, listen="127.0.0.1:0")
    server = CloudServer([Probe(), service_of(world)], settings, interceptors=[ToldArms()])
    host, port = await server.start()
    try:
        async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
            read = channel.unary_unary(
                "/wayword.v1.Reader/ReadStrip",
                request_serializer=cloud_pb2.ReadStripRequest.SerializeToString,
                response_deserializer=cloud_pb2.ReadStripReply.FromString,
            )
            for told in ("beam=wide", "beam=control", "beam=narrow", "beam=wide,else=wide", "=,,=wide"):
                await read(cloud_pb2.ReadStripRequest(), metadata=((ARMS_METADATA, told),), timeout=5)
            await read(cloud_pb2.ReadStripRequest(), timeout=5)
            named = cloud_pb2.ReadStripRequest(idempotency_key=world.device_in("control"))
            await read(named, metadata=((ARMS_METADATA, "beam=wide"),), timeout=5)
            stub = experiments_pb2_grpc.ExperimentsStub(channel)
            reply = await stub.Assign(experiments_pb2.AssignRequest(device=world.device_in("wide")), timeout=5)
    finally:
        await server.drain()

    arms = [plan.arm for plan in plans]
    assert arms == ["beam=wide", "beam=control", "", "beam=wide", "", "", "beam=control"]
    assert reply.assignments[0].arm == "wide"
