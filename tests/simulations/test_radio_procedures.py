"""What the emulated controllers answer: advertising reports, connection parameters, PHY and data length."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from bumble import hci
from bumble.core import ConnectionParameterUpdateError
from bumble.device import Connection
from radio_world import World, numbered, under_virtual_time

from simulations.radio.controller import ACL_BYTES


def test_advertisements_and_scan_responses_are_reported_as_the_legacy_kind_that_linux_joins() -> None:
    kinds = hci.HCI_LE_Extended_Advertising_Report_Event.EventType
    legacy = kinds.CONNECTABLE_ADVERTISING | kinds.SCANNABLE_ADVERTISING | kinds.LEGACY_ADVERTISING_PDU_USED

    async def scenario() -> None:
        world = World("40kBps/30ms")
        await world.open()
        heard: asyncio.Queue[int] = asyncio.Queue()
        world.central.host.on("advertising_report", lambda report: heard.put_nowait(int(report.event_type)))
        await world.central.start_scanning(active=True)
        assert {await heard.get() for _ in range(2)} == {legacy, legacy | kinds.SCAN_RESPONSE}

    under_virtual_time(scenario())


async def _update(connection: Connection, low: float, high: float, *, use_l2cap: bool = False) -> None:
    await connection.update_parameters(low, high, 0, 3000, use_l2cap=use_l2cap)


@pytest.mark.parametrize("end", ["central", "peripheral"])
def test_parameters_that_allow_the_profiles_interval_are_taken_and_others_refused(end: str) -> None:
    async def scenario() -> None:
        world = await World.connected("40kBps/30ms")
        asking = world.to_peripheral if end == "central" else world.to_central
        await _update(asking, 15, 30)
        for connection in (world.to_central, world.to_peripheral):
            assert connection.parameters.connection_interval == pytest.approx(30)
            assert connection.parameters.supervision_timeout == pytest.approx(3000)
        with pytest.raises(hci.HCI_Error) as refused:
            await _update(asking, 7.5, 15)
        assert refused.value.error_code == hci.HCI_ErrorCode.UNACCEPTABLE_CONNECTION_PARAMETERS_ERROR
        assert world.to_central.parameters.connection_interval == pytest.approx(30)
        with pytest.raises(hci.HCI_Error) as invalid:
            await asking.update_parameters(30, 30, 0, 50)  # a timeout of less than two intervals
        assert invalid.value.error_code == hci.HCI_ErrorCode.INVALID_COMMAND_PARAMETERS_ERROR
        world.send(world.to_central, b"still here")
        await world.at_central.until(1)

    under_virtual_time(scenario())


@pytest.mark.parametrize("way", ["central", "peripheral", "L2CAP"])
def test_a_free_interval_becomes_what_was_asked_for_and_the_rate_stays(way: str) -> None:
    async def scenario() -> None:
        world = await World.connected("40kBps/50ms,interval=free")
        asking = world.to_peripheral if way == "central" else world.to_central
        changed = asyncio.Event()
        world.to_peripheral.on(Connection.EVENT_CONNECTION_PARAMETERS_UPDATE, changed.set)
        await _update(asking, 7.5, 15, use_l2cap=way == "L2CAP")
        await changed.wait()
        assert world.to_peripheral.parameters.connection_interval == pytest.approx(15)
        start = asyncio.get_running_loop().time()
        world.send(world.to_central, *numbered(200))
        await world.at_central.until(200)
        arrivals = sorted({at for at, _ in world.at_central.got})
        assert min(after - before for before, after in itertools.pairwise(arrivals)) == pytest.approx(0.015)
        seconds = arrivals[-1] - start
        assert 200 * ACL_BYTES / seconds == pytest.approx(40_000, rel=0.02)

    under_virtual_time(scenario())


def test_an_l2cap_request_that_is_refused_leaves_the_connection_as_it_was() -> None:
    async def scenario() -> None:
        world = await World.connected("40kBps/30ms")
        refused = asyncio.Event()
        world.to_peripheral.on(Connection.EVENT_CONNECTION_PARAMETERS_UPDATE_FAILURE, lambda _: refused.set())
        # The central's host says yes on L2CAP, then its controller refuses.
        try:
            await _update(world.to_central, 7.5, 15, use_l2cap=True)
        except ConnectionParameterUpdateError:
            pytest.fail("Bumble's central accepts every request")
        await refused.wait()
        assert world.to_central.parameters.connection_interval == pytest.approx(30)

    under_virtual_time(scenario())


def test_the_2m_phy_is_granted_to_whoever_asks_and_the_rate_stays_the_profiles() -> None:
    async def scenario() -> None:
        world = await World.connected("40kBps/30ms")
        told = asyncio.Event()
        world.to_central.on(Connection.EVENT_CONNECTION_PHY_UPDATE, lambda _: told.set())
        await world.to_central.set_phy([hci.Phy.LE_2M], [hci.Phy.LE_2M])
        await told.wait()
        for connection in (world.to_central, world.to_peripheral):
            phy = await connection.get_phy()
            assert (phy.tx_phy, phy.rx_phy) == (hci.Phy.LE_2M, hci.Phy.LE_2M)
        start = asyncio.get_running_loop().time()
        world.send(world.to_central, *numbered(100))
        await world.at_central.until(100)
        seconds = asyncio.get_running_loop().time() - start
        assert 100 * ACL_BYTES / seconds == pytest.approx(40_000, rel=0.05)

    under_virtual_time(scenario())


def test_data_length_is_answered_and_unknown_commands_are_refused_in_time() -> None:
    async def scenario() -> None:
        world = await World.connected("unshaped")
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        world.to_central.on(Connection.EVENT_CONNECTION_DATA_LENGTH_CHANGE, lambda: told.set_result(None))
        await world.to_central.set_data_length(251, 2120)
        await told
        with pytest.raises(hci.HCI_Error) as refused:
            await world.central.send_async_command(
                hci.HCI_Read_Remote_Version_Information_Command(connection_handle=world.to_peripheral.handle)
            )
        assert refused.value.error_code == hci.HCI_ErrorCode.UNKNOWN_HCI_COMMAND_ERROR

    under_virtual_time(scenario())
