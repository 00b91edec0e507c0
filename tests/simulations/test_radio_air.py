"""What the emulated air does to a link: two Bumble hosts on it under virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from bumble import hci, ll
from bumble.controller import Controller
from bumble.device import Connection, Device
from radio_helpers import lines_of
from radio_world import L2CAP_HEADER, LINKS, PAYLOAD, PERIPHERAL, World, numbered, under_virtual_time

from simulations.radio import LinkProfile
from simulations.radio.airlink import AirLink
from simulations.radio.controller import ACL_BYTES

TIMEOUT = hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR


# Rate ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", LINKS)
def test_two_bumble_hosts_that_send_all_they_can_reach_the_shaped_rate_each_way(link: str) -> None:
    rate, count = LinkProfile.parse(link).rate_bytes_per_s, 400
    assert rate is not None

    async def scenario() -> None:
        world = await World.connected(link)
        for connection in (world.to_central, world.to_peripheral):
            world.send(connection, *numbered(count))
        for inbox in (world.at_central, world.at_peripheral):
            await inbox.until(count)
            assert inbox.values == numbered(count)
            first, *_, last, _ = sorted({at for at, _ in inbox.got})  # the very last event is not full
            steady = sum(first < at <= last for at, _ in inbox.got)
            assert steady * ACL_BYTES / (last - first) == pytest.approx(rate, rel=0.01)

    under_virtual_time(scenario())


def test_a_controller_with_fewer_buffers_than_an_event_carries_slows_the_link_down() -> None:
    async def scenario() -> None:
        world = await World.connected("100kBps/50ms,buffers=4")
        assert world.controllers[0].total_num_le_acl_data_packets == 4
        world.send(world.to_central, *numbered(40))
        await world.at_central.until(40)
        assert world.at_central.got[-1][0] - world.at_central.got[0][0] == pytest.approx(9 * 0.05)

    under_virtual_time(scenario())


# Latency and jitter -------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", ["40kBps/30ms,latency=20ms,jitter=50ms", "unshaped,latency=20ms,jitter=50ms"])
def test_delayed_data_arrives_in_order_and_within_its_latency_and_jitter(link: str, tmp_path: Path) -> None:
    interval = LinkProfile.parse(link).interval_s or 0.0

    async def scenario() -> list[tuple[float, float]]:
        world = await World.connected(link, trace=tmp_path / "trace")
        sent = []
        for value in numbered(50):
            sent.append(asyncio.get_running_loop().time())
            world.send(world.to_central, value)
            await asyncio.sleep(0.01)
        await world.at_central.until(50)
        assert world.at_central.values == numbered(50)
        world.air.close()
        return [(start, arrival) for start, (arrival, _) in zip(sent, world.at_central.got, strict=True)]

    delays = [arrival - start for start, arrival in under_virtual_time(scenario())]
    assert min(delays) >= 0.02
    assert max(delays) <= interval + 0.07 + 1e-6
    assert max(delays) - min(delays) > 0.03
    again = [arrival - start for start, arrival in under_virtual_time(scenario())]
    assert again == pytest.approx(delays)


def test_a_host_does_not_learn_of_the_end_before_it_has_what_arrived_earlier() -> None:
    async def scenario() -> None:
        world = await World.connected("40kBps/30ms,latency=500ms")
        world.send(world.to_central, b"last words")
        await asyncio.sleep(0.1)  # it has crossed, and is on its way to the host
        assert world.at_central.values == []
        await world.to_central.disconnect()
        await world.at_central.until(values=1, reasons=1)
        assert world.at_central.values == [b"last words"]

    under_virtual_time(scenario())


# Outages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["central", "peripheral"])
def test_who_ends_a_connection_is_told_that_it_did_and_the_other_the_reason_it_gave(end: str) -> None:
    async def scenario() -> None:
        world = await World.connected("40kBps/30ms")
        ends = {
            "central": (world.to_peripheral, world.at_central),
            "peripheral": (world.to_central, world.at_peripheral),
        }
        connection, own = ends.pop(end)
        [(_, other)] = ends.values()
        await connection.disconnect(hci.HCI_REMOTE_DEVICE_TERMINATED_CONNECTION_DUE_TO_POWER_OFF_ERROR)
        await other.until(reasons=1)
        assert own.reasons == [hci.HCI_CONNECTION_TERMINATED_BY_LOCAL_HOST_ERROR]
        assert other.reasons == [hci.HCI_REMOTE_DEVICE_TERMINATED_CONNECTION_DUE_TO_POWER_OFF_ERROR]

    under_virtual_time(scenario())


def test_a_planned_outage_shorter_than_the_supervision_timeout_delays_and_loses_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = await World.connected("40kBps/30ms,out=900ms@100ms", trace=tmp_path / "trace")
        start = asyncio.get_running_loop().time()
        world.send(world.to_central, *numbered(100))  # 0.63 s worth
        await world.at_central.until(100)
        assert world.at_central.values == numbered(100)
        assert asyncio.get_running_loop().time() - start >= 0.9 + 100 * ACL_BYTES / 40_000 - 0.03
        during = [at for at, _ in world.at_central.got if 0.1 + 1e-6 < at - start < 1.0 - 1e-6]
        assert during == []
        assert world.at_central.reasons == []
        world.air.close()

    under_virtual_time(scenario())
    begun, ended = (lines_of(tmp_path / "trace", kind)[0]["t"] for kind in ("out", "in"))
    assert ended - begun == pytest.approx(0.9)


def test_an_outage_longer_than_the_supervision_timeout_ends_the_connection_on_both_sides(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = await World.connected("40kBps/30ms,out=2s@1s", trace=tmp_path / "trace", supervision_ms=700)
        loop = asyncio.get_running_loop()
        start = loop.time()
        world.send(world.to_central, *numbered(1000))
        await asyncio.gather(world.at_central.until(reasons=1), world.at_peripheral.until(reasons=1))
        assert loop.time() - start == pytest.approx(1.7, abs=0.05)
        assert world.at_central.reasons == world.at_peripheral.reasons == [TIMEOUT]
        got = len(world.at_central.got)
        assert world.at_central.values == numbered(1000)[:got]

        # The peripheral advertises again, nobody hears it before the air is back, and then they meet.
        await world.connect()
        assert loop.time() - start == pytest.approx(3.0, abs=0.1)
        world.send(world.to_central, b"again")
        await world.at_central.until(got + 1)
        assert world.at_central.values[-1] == b"again"
        world.air.close()

    under_virtual_time(scenario())
    downs = lines_of(tmp_path / "trace", "down")
    assert {(line["connection"], line["end"], line["reason"]) for line in downs} == {
        (1, "central", TIMEOUT),
        (1, "peripheral", TIMEOUT),
    }
    assert [line["connection"] for line in lines_of(tmp_path / "trace", "up")] == [1, 2]


def test_random_range_loss_ends_connections_and_lets_devices_meet_again() -> None:
    async def scenario() -> int:
        world = await World.connected("40kBps/30ms,range=5s/2s,supervision=1s,seed=3")
        for number in range(1, 4):
            await asyncio.gather(world.at_central.until(reasons=number), world.at_peripheral.until(reasons=number))
            await world.connect()
        assert set(world.at_central.reasons + world.at_peripheral.reasons) == {TIMEOUT}
        return round(asyncio.get_running_loop().time() * 1e6)

    assert under_virtual_time(scenario()) == under_virtual_time(scenario())


@pytest.mark.parametrize(
    ("asked", "profile", "seconds"),
    [
        (500, "40kBps/30ms", 0.5),
        (2000, "40kBps/30ms", 2.0),
        (2000, "40kBps/30ms,supervision=4s", 4.0),
        (2000, "unshaped,supervision=300ms", 0.3),
        (500, "40kBps/400ms", 0.81),  # longer than two intervals
    ],
)
def test_the_supervision_timeout_is_the_centrals_unless_the_profile_says_otherwise(
    asked: float, profile: str, seconds: float
) -> None:
    async def scenario() -> None:
        world = await World.connected(profile, supervision_ms=asked)
        for connection in (world.to_central, world.to_peripheral):
            assert connection.parameters.supervision_timeout == pytest.approx(seconds * 1000)
        start = asyncio.get_running_loop().time()
        world.air.cut()
        await world.at_central.until(reasons=1)
        assert asyncio.get_running_loop().time() - start == pytest.approx(seconds)

    under_virtual_time(scenario())


def test_a_run_of_missed_events_as_long_as_the_supervision_timeout_ends_even_an_idle_connection() -> None:
    async def scenario() -> None:
        world = await World.connected("40kBps/30ms,miss=50%,burst=50,seed=2", supervision_ms=1000)
        await asyncio.gather(world.at_central.until(reasons=1), world.at_peripheral.until(reasons=1))
        assert world.at_central.reasons == world.at_peripheral.reasons == [TIMEOUT]

    under_virtual_time(scenario())


def test_link_control_that_meets_an_outage_or_a_missed_event_waits_like_data() -> None:
    async def scenario() -> None:
        world = await World.connected("40kBps/30ms,miss=30%")
        loop = asyncio.get_running_loop()
        world.air.cut()
        asking = asyncio.ensure_future(world.to_peripheral.get_remote_le_features())
        await asyncio.sleep(0.5)
        assert not asking.done()
        world.air.restore()
        start = loop.time()
        await asking
        assert loop.time() - start > 0.03  # there and back, at connection events

    under_virtual_time(scenario())


class _LostAtTheWorstMoment(AirLink):
    """Goes out while a central connects."""

    def send_advertising_pdu(self, sender_controller: Controller, packet: ll.AdvertisingPdu) -> None:
        super().send_advertising_pdu(sender_controller, packet)
        if isinstance(packet, ll.ConnectInd):
            self.cut()


def test_a_connection_that_never_reaches_the_peripheral_is_reported_as_such() -> None:
    async def scenario() -> None:
        world = World("40kBps/30ms", air=_LostAtTheWorstMoment)
        await world.open()
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def watch(connection: Connection) -> None:
            connection.on(Connection.EVENT_DISCONNECTION, ended.set_result)

        world.central.on(Device.EVENT_CONNECTION, watch)
        await world.central.connect(PERIPHERAL)
        assert await ended == hci.HCI_ErrorCode.CONNECTION_FAILED_TO_BE_ESTABLISHED_ERROR
        assert world.peripheral.connections == {}

    under_virtual_time(scenario())


def test_a_peripheral_that_loses_power_is_missed_after_the_supervision_timeout() -> None:
    async def scenario() -> None:
        world = await World.connected("40kBps/30ms", supervision_ms=500)
        start = asyncio.get_running_loop().time()
        world.controllers[0].power_cycle()
        await world.at_central.until(reasons=1)
        assert world.at_central.reasons == [TIMEOUT]
        assert asyncio.get_running_loop().time() - start == pytest.approx(0.5)

    under_virtual_time(scenario())


# Profile changes at run time ----------------------------------------------------------------------------


def test_a_profile_change_takes_effect_at_once_and_hosts_are_told_the_new_interval() -> None:
    async def scenario() -> None:
        world = await World.connected("100kBps/15ms")
        loop = asyncio.get_running_loop()
        values = numbered(80)
        world.send(world.to_central, *values)
        await world.at_central.until(40)
        world.air.set_profile(LinkProfile.parse("10kBps/50ms"))
        changed, had = loop.time(), len(world.at_central.got)
        await world.at_central.until(80)
        assert world.at_central.values == values
        rate = (80 - had) * ACL_BYTES / (loop.time() - changed)
        assert rate == pytest.approx(10_000, rel=0.05)
        for connection in (world.to_central, world.to_peripheral):
            assert connection.parameters.connection_interval == pytest.approx(50)

        world.air.set_profile(LinkProfile())
        start = loop.time()
        world.send(world.to_central, b"fast")
        await world.at_central.until(81)
        assert loop.time() == start

    under_virtual_time(scenario())


def test_outages_of_a_profile_set_at_run_time_are_counted_from_then() -> None:
    async def scenario() -> None:
        world = await World.connected("40kBps/30ms,out=10s@2s", supervision_ms=700)
        await asyncio.sleep(1.5)
        world.air.set_profile(LinkProfile.parse("40kBps/30ms,out=10s@1s"))
        start = asyncio.get_running_loop().time()
        await world.at_central.until(reasons=1)
        assert asyncio.get_running_loop().time() - start == pytest.approx(1.7)

    under_virtual_time(scenario())


def test_a_manual_cut_and_a_planned_outage_do_not_end_each_other() -> None:
    async def scenario() -> None:
        world = await World.connected("40kBps/30ms,out=1s@1s", supervision_ms=5000)
        await asyncio.sleep(1.5)
        world.air.cut()
        world.air.restore()
        assert world.air.out
        world.air.cut()
        await asyncio.sleep(1)
        assert world.air.out
        world.air.restore()
        assert not world.air.out

    under_virtual_time(scenario())


# The trace ----------------------------------------------------------------------------------------------


def test_one_seed_gives_one_trace_and_the_trace_tells_what_crossed(tmp_path: Path) -> None:
    async def scenario(name: str, seed: int) -> None:
        profile = f"40kBps/30ms,latency=5ms,jitter=20ms,miss=20%,burst=3,range=2s/500ms,supervision=2s,seed={seed}"
        world = await World.connected(profile, trace=tmp_path / name)
        world.send(world.to_central, *numbered(100))
        world.send(world.to_peripheral, *numbered(50))
        await world.at_central.until(100)
        await world.at_peripheral.until(50)
        world.air.close()

    for name, seed in (("first", 7), ("second", 7), ("other", 8)):
        under_virtual_time(scenario(name, seed))
    traces = {name: (tmp_path / name).read_text(encoding="utf-8") for name in ("first", "second", "other")}
    assert traces["first"] == traces["second"]
    assert traces["first"] != traces["other"]
    events = lines_of(tmp_path / "first", "event")
    assert sum(line.get("to_central", 0) for line in events) == 100 * (PAYLOAD + L2CAP_HEADER)
    assert sum(line.get("to_peripheral", 0) for line in events) == 50 * (PAYLOAD + L2CAP_HEADER)
    missed = {line["event"] for line in lines_of(tmp_path / "first", "missed")}
    assert missed
    assert not missed & {line["event"] for line in events}
