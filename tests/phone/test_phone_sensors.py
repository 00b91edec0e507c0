"""What the phone knows of itself: battery, warmth, network, radio; and what it makes of sensors that lie."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from phone.battery import (
    CONFIRM_S,
    GIVE_UP_S,
    STUCK_S,
    Battery,
    BatteryWatch,
    read_battery,
)
from phone.cascade.inputs import NetworkKind, Thermal
from phone.cascade.price import CELLULAR_TAIL_S
from phone.network import NetworkState, judge, kernel_network, read_network
from phone.sensors import FRESH_S, STALE_S, Sensor, in_thread
from phone.thermal import read_thermal
from phone.window import RadioWindow
from simulations import virtual_time
from simulations.virtual_time import VirtualClock


class SetClock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


# Battery ----------------------------------------------------------------------------------------------


def watch(*said: int | Battery | None, step: float = 5.0) -> list[Battery]:
    """What a watch makes of a gauge that says these, one after the other."""
    clock = SetClock()
    gauge = iter([one if isinstance(one, Battery) else Battery(one, charging=False) for one in said])
    watched = BatteryWatch(lambda: next(gauge), clock=clock)
    seen = []
    for _ in said:
        seen.append(watched())
        clock.now += step
    return seen


def levels(seen: list[Battery]) -> list[int | None]:
    return [battery.percent for battery in seen]


def test_a_gauge_that_jumps_about_is_smoothed() -> None:
    assert levels(watch(100, 3, 97, 98, 3, 97)) == [100, 100, 97, 98, 98, 97]


def test_a_fall_that_lasts_is_believed_after_a_while() -> None:
    steady = int(CONFIRM_S / 5.0)
    assert levels(watch(60, *[9] * (steady + 2))) == [60, *[60] * steady, 9, 9]


def test_a_gauge_that_never_comes_to_rest_is_unknown() -> None:
    wild = [5, 95] * int(GIVE_UP_S / 5.0)
    seen = levels(watch(50, *wild))
    assert seen[1] == 50
    assert seen[-1] is None


def test_an_ordinary_day_is_believed_as_it_is() -> None:
    day = [percent for percent in range(100, 10, -1) for _ in range(10)]
    assert levels(watch(*day, step=60.0)) == day


def test_a_stuck_gauge_is_unknown_until_it_moves() -> None:
    hours = int(STUCK_S / 3600.0)
    seen = levels(watch(*[80] * (hours + 3), 79, step=3600.0))
    assert seen[: hours + 1] == [80] * (hours + 1)
    assert seen[hours + 1 :] == [None, None, 79]
    plugged = Battery(80, charging=True)
    assert levels(watch(*[plugged] * (hours + 5), step=3600.0)) == [80] * (hours + 5)


def test_a_battery_that_falls_while_charging_is_not_being_charged() -> None:
    seen = watch(*(Battery(percent, charging=True) for percent in (50, 49, 48, 47, 46, 47, 48)), step=60.0)
    assert [battery.charging for battery in seen] == [True, True, True, False, False, False, True]


def test_a_gauge_that_contradicts_itself_is_unknown() -> None:
    assert levels(watch(Battery(12, charging=True, full=True))) == [None]
    assert levels(watch(Battery(98, charging=True, full=True))) == [98]


def test_a_level_that_is_none_is_unknown(tmp_path: Path) -> None:
    def says(capacity: str) -> Battery:
        files = {"BAT/type": "Battery\n", "BAT/capacity": f"{capacity}\n", "BAT/status": "Discharging\n"}
        return read_battery(tree(tmp_path, files))

    assert [says(text).percent for text in ("101", "0", "255", "-1", "")] == [100, 0, None, None, None]


# Warmth -----------------------------------------------------------------------------------------------


def zone(number: int, temperature: str, **trips: str) -> dict[str, str]:
    files = {f"thermal_zone{number}/temp": f"{temperature}\n", f"thermal_zone{number}/type": "cpu\n"}
    for index, (kind, at) in enumerate(trips.items()):
        files[f"thermal_zone{number}/trip_point_{index}_type"] = f"{kind}\n"
        files[f"thermal_zone{number}/trip_point_{index}_temp"] = f"{at}\n"
    return files


@pytest.mark.parametrize(
    ("temperature", "thermal"),
    [("40000", Thermal.NORMAL), ("86000", Thermal.WARM), ("95000", Thermal.HOT), ("99000", Thermal.HOT)],
)
def test_warmth_is_told_by_where_the_kernel_throttles(tmp_path: Path, temperature: str, thermal: Thermal) -> None:
    root = tree(tmp_path, zone(0, "30000", critical="110000") | zone(1, temperature, active="20000", passive="95000"))
    assert read_thermal(root) is thermal


@pytest.mark.parametrize(
    "files",
    [
        {},
        zone(0, "90000", critical="110000"),
        zone(0, "-274000", passive="95000"),
        zone(0, "warm", passive="95000"),
        zone(0, "90000", passive="0"),
        zone(0, "90000", passive="95000") | {"thermal_zone0/mode": "disabled\n"},
    ],
)
def test_a_zone_that_says_nothing_of_use_leaves_it_unknown(tmp_path: Path, files: dict[str, str]) -> None:
    assert read_thermal(tree(tmp_path, files)) is Thermal.UNKNOWN


# Network ----------------------------------------------------------------------------------------------

_HEADER = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"


def default_route(name: str, metric: int = 600) -> str:
    return f"{name}\t00000000\t0100A8C0\t0003\t0\t0\t{metric}\t00000000\t0\t0\t0\n"


def near_route(name: str) -> str:
    return f"{name}\t0000A8C0\t00000000\t0001\t0\t0\t600\t00FFFFFF\t0\t0\t0\n"


def interface(name: str, *, kind: str = "1", devtype: str = "", device: bool = True) -> dict[str, str]:
    base = f"sys/class/net/{name}"
    uevent = f"INTERFACE={name}\n" + (f"DEVTYPE={devtype}\n" if devtype else "")
    return {f"{base}/type": f"{kind}\n", f"{base}/uevent": uevent} | ({f"{base}/device/x": ""} if device else {})


WLAN = interface("wlp3s0", devtype="wlan")


@pytest.mark.parametrize(
    ("routes", "interfaces", "kind"),
    [
        (default_route("wlp3s0"), WLAN, NetworkKind.WIFI),
        (default_route("wwan0"), interface("wwan0", kind="519"), NetworkKind.CELLULAR),
        (default_route("rmnet_data0"), {}, NetworkKind.CELLULAR),
        (default_route("bnep0"), interface("bnep0"), NetworkKind.CELLULAR),
        (default_route("eth0"), interface("eth0"), NetworkKind.WIFI),
        (default_route("wwan0", 700) + default_route("wlp3s0", 600), WLAN, NetworkKind.WIFI),
        (default_route("wlp3s0", 600) + default_route("wwan0", 100), WLAN, NetworkKind.CELLULAR),
        (default_route("tun0", 50) + default_route("wlp3s0"), interface("tun0", kind="65534") | WLAN, NetworkKind.WIFI),
        (default_route("tun0", 50), interface("tun0", kind="65534"), NetworkKind.UNKNOWN),
        (near_route("wlp3s0"), WLAN, NetworkKind.WIFI),
        (near_route("docker0"), interface("docker0", device=False), NetworkKind.NONE),
        ("", {}, NetworkKind.NONE),
        ("nonsense\n\t\t\n" + default_route("../../etc"), {}, NetworkKind.NONE),
    ],
)
def test_the_network_is_told_by_the_route(
    tmp_path: Path, routes: str, interfaces: dict[str, str], kind: NetworkKind
) -> None:
    root = tree(tmp_path, {"proc/net/route": _HEADER + routes} | interfaces)
    assert kernel_network(root) == NetworkState(kind, metered=kind is NetworkKind.CELLULAR)


def test_a_phone_that_shares_its_network_over_usb_is_cellular(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/net/route": _HEADER + default_route("usb0")} | interface("usb0"))
    (root / "drivers/rndis_host").mkdir(parents=True)
    (root / "sys/class/net/usb0/device/driver").symlink_to(root / "drivers/rndis_host")
    assert kernel_network(root).kind is NetworkKind.CELLULAR


def test_an_ipv6_only_network_is_found_and_a_rejecting_route_is_none(tmp_path: Path) -> None:
    zeros = "0" * 32
    reject = f"{zeros} 00 {zeros} 00 {zeros} ffffffff 00000001 00000000 00200200       lo\n"
    gateway = f"{zeros} 00 {zeros} 00 fe80{'0' * 27}1 00000258 00000001 00000000 00000003 wlp3s0\n"
    files = {"proc/net/route": _HEADER, "proc/net/ipv6_route": reject} | WLAN
    assert kernel_network(tree(tmp_path, files)).kind is NetworkKind.NONE
    assert kernel_network(tree(tmp_path, {"proc/net/ipv6_route": reject + gateway})).kind is NetworkKind.WIFI


def test_a_system_that_says_nothing_is_unknown(tmp_path: Path) -> None:
    assert kernel_network(tmp_path) == NetworkState(NetworkKind.UNKNOWN, metered=False)


@pytest.mark.parametrize(
    ("properties", "kind", "metered"),
    [
        ({}, NetworkKind.WIFI, False),
        ({"Metered": 1, "Connectivity": 4}, NetworkKind.WIFI, True),
        ({"Metered": 3}, NetworkKind.WIFI, True),
        ({"Metered": 0, "Connectivity": 0}, NetworkKind.WIFI, False),
        ({"Connectivity": 2}, NetworkKind.CAPTIVE, False),
        ({"Metered": "yes", "Connectivity": None}, NetworkKind.WIFI, False),
    ],
)
def test_what_network_manager_adds(properties: dict[str, object], kind: NetworkKind, metered: bool) -> None:
    assert judge(NetworkState(NetworkKind.WIFI, metered=False), properties) == NetworkState(kind, metered)


def test_network_manager_knows_better_that_a_cellular_network_is_free() -> None:
    assert judge(NetworkState(NetworkKind.CELLULAR, metered=True), {"Metered": 2}).metered is False


@asynccontextmanager
async def private_bus(folder: Path) -> AsyncIterator[str]:
    """The address of a message bus of this test's own."""
    config = folder / "bus.conf"
    config.write_text(
        f"<busconfig><type>custom</type><listen>unix:path={folder}/bus</listen><policy context='default'>"
        "<allow send_destination='*'/><allow own='*'/><allow receive_sender='*'/></policy></busconfig>"
    )
    daemon = await asyncio.create_subprocess_exec(
        "dbus-daemon", f"--config-file={config}", "--nofork", "--print-address", stdout=asyncio.subprocess.PIPE
    )
    assert daemon.stdout is not None
    try:
        yield (await daemon.stdout.readline()).decode().strip()
    finally:
        daemon.terminate()
        await daemon.wait()


@pytest.mark.skipif(shutil.which("dbus-daemon") is None, reason="there is no dbus-daemon")
async def test_network_manager_is_asked_over_the_bus_and_need_not_be_there(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", {"proc/net/route": _HEADER + default_route("wlp3s0")} | WLAN)
    plain = NetworkState(NetworkKind.WIFI, metered=False)

    def answer(message: Message) -> Message | None:
        if message.message_type is not MessageType.METHOD_CALL or message.member != "GetAll":
            return None
        values = {"Metered": Variant("u", 1), "Connectivity": Variant("u", 2)}
        return Message.new_method_return(message, "a{sv}", [values])

    async with private_bus(tmp_path) as address:
        assert await read_network(root, bus_address=address) == plain
        manager = await MessageBus(bus_address=address).connect()
        await manager.request_name("org.freedesktop.NetworkManager")
        manager.add_message_handler(answer)
        assert await read_network(root, bus_address=address) == NetworkState(NetworkKind.CAPTIVE, metered=True)
        manager.disconnect()
    assert await read_network(root, bus_address=f"unix:path={tmp_path}/nowhere") == plain


# Radio window and sensors -----------------------------------------------------------------------------


def test_the_radio_stays_open_for_its_tail_and_only_for_its_own_network() -> None:
    clock = SetClock()
    window = RadioWindow(clock)
    assert window.open_seconds(NetworkKind.CELLULAR) == 0.0
    window.passed(NetworkKind.CELLULAR)
    clock.now += 4.0
    assert window.open_seconds(NetworkKind.CELLULAR) == pytest.approx(CELLULAR_TAIL_S - 4.0)
    assert window.open_seconds(NetworkKind.WIFI) == 0.0
    window.passed(NetworkKind.CELLULAR)
    assert window.open_seconds(NetworkKind.CELLULAR) == CELLULAR_TAIL_S
    clock.now += CELLULAR_TAIL_S + 1
    assert window.open_seconds(NetworkKind.CELLULAR) == 0.0
    window.passed(NetworkKind.UNKNOWN)
    assert window.open_seconds(NetworkKind.UNKNOWN) == 0.0


def test_a_sensor_answers_at_once_and_renews_its_value_when_asked() -> None:
    async def main(clock: VirtualClock) -> None:
        readings: list[int] = []

        async def read() -> int:
            await clock.sleep(0.5)
            readings.append(len(readings) + 1)
            return readings[-1]

        sensor = Sensor(read, unknown=0, clock=clock)
        assert sensor() == 0
        await clock.sleep(1)
        assert (sensor(), readings) == (1, [1])
        await clock.sleep(FRESH_S)
        assert (sensor(), sensor()) == (1, 1)  # it is being read, once
        await clock.sleep(1)
        assert (sensor(), readings) == (2, [1, 2])
        await clock.sleep(STALE_S + 1)
        assert sensor() == 0
        await sensor.close()

    virtual_time.run(main)


def test_a_sensor_that_hangs_is_unknown() -> None:
    async def main(clock: VirtualClock) -> None:
        async def read() -> int:
            await clock.sleep(3600)
            return 1

        sensor = Sensor(read, unknown=0, clock=clock)
        assert await sensor.refresh() == 0
        await sensor.close()

    virtual_time.run(main)


def test_a_sensor_that_breaks_is_unknown_and_not_hushed_up() -> None:
    async def main(clock: VirtualClock) -> int:
        def read() -> int:
            raise ZeroDivisionError

        sensor = Sensor(in_thread(read), unknown=0, clock=clock)
        sensor()
        await clock.sleep(1)
        return sensor()

    with pytest.raises(virtual_time.UnhandledFailure):
        virtual_time.run(main)


async def test_a_sensor_that_hangs_takes_one_thread_only() -> None:
    entered, let_go = [], threading.Event()

    def read() -> int:
        entered.append(1)
        let_go.wait(timeout=10)
        return 7

    asked = in_thread(read)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asked(), timeout=0.02)
    assert len(entered) == 1
    let_go.set()
    assert await asked() == 7
    assert (await asked(), len(entered)) == (7, 2)  # and it is read anew once it answers again
