"""The glasses ask a phone for the 2M PHY and a connection interval, and go on whatever the answer is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from bumble import hci
from bumble.controller import Controller
from emulated_air import CLOCK, Air, GlassesController, Phone, paired_bonds

from glasses import radio, tuning
from glasses.peripheral import PeripheralLink
from glasses.settings import GlassesSettings
from shared.errors import UsageError
from shared.link import Lane

Handler = Callable[[Controller, hci.HCI_Command], None]


class Glasses:
    """A link that asks for 15 ms, and what it reported."""

    def __init__(self, air: Air) -> None:
        self.air = air
        self.lines: list[str] = []
        self._said = asyncio.Event()
        self.link: PeripheralLink

    async def start(self) -> None:
        self.link = PeripheralLink(
            self.air.hci,
            clock=CLOCK,
            bonds=await paired_bonds(),
            connection_interval_ms=15,
            on_status=self._hear,
        )
        await self.link.start()

    def _hear(self, line: str) -> None:
        self.lines.append(line)
        self._said.set()

    @property
    def outcomes(self) -> list[str]:
        return [line.removeprefix("connection: ") for line in self.lines if line.startswith("connection: ")]

    async def until_outcomes(self, count: int) -> list[str]:
        """The first outcomes of requests, once there are so many."""
        async with asyncio.timeout(20):
            while len(self.outcomes) < count:
                self._said.clear()
                await self._said.wait()
        return self.outcomes[:count]

    async def delivers(self, phone: Phone, payload: bytes) -> None:
        """An object arrives at the phone."""
        deadline = CLOCK.monotonic() + 20
        sending = asyncio.create_task(self.link.send(payload, lane=Lane.CONTROL, deadline=deadline))
        assert await phone.object() == payload
        await sending


@pytest.fixture
async def air(tmp_path: Path) -> AsyncIterator[Air]:
    air = Air(tmp_path)
    await air.start_controller()
    await air.central.power_on()
    yield air
    await air.kill_controller()


@pytest.fixture
async def glasses(air: Air) -> AsyncIterator[Glasses]:
    glasses = Glasses(air)
    await glasses.start()
    yield glasses
    await glasses.link.close()


async def _listening(air: Air) -> Phone:
    phone = await air.connect()
    await phone.listen()
    return phone


def _is_silent(controller: Controller, command: hci.HCI_Command) -> None:
    """Neither the controller nor the phone says anything."""


def _accepts_and_is_silent(controller: Controller, command: hci.HCI_Command) -> None:
    controller._send_hci_command_status(hci.HCI_COMMAND_STATUS_PENDING, command.op_code)


def _fails(controller: Controller, command: hci.HCI_Command) -> None:
    assert isinstance(command, hci.HCI_LE_Set_PHY_Command)
    _accepts_and_is_silent(controller, command)
    controller.send_hci_packet(
        hci.HCI_LE_PHY_Update_Complete_Event(
            status=hci.HCI_ErrorCode.UNSUPPORTED_REMOTE_FEATURE_ERROR,
            connection_handle=command.connection_handle,
            tx_phy=hci.Phy.LE_1M,
            rx_phy=hci.Phy.LE_1M,
        )
    )


def _has_no_link_layer_request(controller: Controller, command: hci.HCI_Command) -> None:
    if controller.name == "phone":
        _update(controller, command)
    else:
        controller._send_hci_command_status(hci.HCI_ErrorCode.UNSUPPORTED_REMOTE_FEATURE_ERROR, command.op_code)


_update: Handler = Controller.on_hci_le_connection_update_command  # type: ignore[assignment]
_grants: Handler = GlassesController.on_hci_le_set_phy_command  # type: ignore[assignment]


@pytest.fixture
def controllers_with(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Give the controllers ways to answer; the list returned fills with the names of the requests of the glasses."""

    def give(*, phy: Handler | None = None, interval: Handler | None = None) -> list[str]:
        asked: list[str] = []

        def noted(handler: Handler) -> Handler:
            def handle(controller: Controller, command: hci.HCI_Command) -> None:
                if controller.name == "glasses":
                    asked.append(command.name)
                handler(controller, command)

            return handle

        if phy is not None:
            monkeypatch.setattr(GlassesController, "on_hci_le_set_phy_command", noted(phy))
        if interval is not None:
            monkeypatch.setattr(Controller, "on_hci_le_connection_update_command", noted(interval))
        return asked

    return give


async def test_a_controller_that_has_no_other_phy_is_not_asked_for_one(
    monkeypatch: pytest.MonkeyPatch, air: Air
) -> None:
    commands = Controller.supported_commands - {hci.HCI_LE_SET_PHY_COMMAND}
    monkeypatch.setattr(GlassesController, "supported_commands", commands)
    glasses = Glasses(air)
    await glasses.start()
    await _listening(air)
    assert await glasses.until_outcomes(2) == ["no 2M PHY (the Bluetooth controller has none)", "interval 15 ms"]
    await glasses.link.close()


async def test_each_connection_is_asked_once(
    controllers_with: Callable[..., list[str]], air: Air, glasses: Glasses
) -> None:
    asked = controllers_with(phy=_grants, interval=_update)
    phone = await _listening(air)
    assert await glasses.until_outcomes(2) == ["2M PHY", "interval 15 ms"]
    await phone.connection.encrypt()  # anew, with the same key
    await phone.connection.disconnect()
    await _listening(air)
    await glasses.until_outcomes(4)
    assert asked == ["HCI_LE_SET_PHY_COMMAND", "HCI_LE_CONNECTION_UPDATE_COMMAND"] * 2


async def test_nothing_is_asked_before_the_connection_is_encrypted(
    controllers_with: Callable[..., list[str]], air: Air, glasses: Glasses
) -> None:
    asked = controllers_with(phy=_grants, interval=_update)
    phone = await air.connect(encrypted=False)
    assert asked == []
    await phone.connection.encrypt()
    await glasses.until_outcomes(2)
    assert len(asked) == 2


async def test_a_refused_phy_is_one_line(
    controllers_with: Callable[..., list[str]], air: Air, glasses: Glasses
) -> None:
    controllers_with(phy=_fails)
    phone = await _listening(air)
    assert await glasses.until_outcomes(2) == ["no 2M PHY (unsupported remote feature)", "interval 15 ms"]
    await glasses.delivers(phone, b"all the same")


async def test_a_phone_without_the_link_layer_request_is_asked_over_l2cap(
    controllers_with: Callable[..., list[str]], air: Air, glasses: Glasses
) -> None:
    controllers_with(phy=_grants, interval=_has_no_link_layer_request)
    phone = await _listening(air)
    assert await glasses.until_outcomes(2) == ["2M PHY", "interval 15 ms"]
    assert phone.connection.parameters.connection_interval == 15


async def test_a_controller_that_answers_nothing_does_not_hold_the_link_up(
    controllers_with: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, air: Air, glasses: Glasses
) -> None:
    monkeypatch.setattr(radio, "_UNANSWERED_S", 3.0)  # a busy machine delivers in that time, too
    asked = controllers_with(phy=_is_silent, interval=_is_silent)
    phone = await _listening(air)
    await glasses.delivers(phone, b"meanwhile")
    assert glasses.outcomes == [], "it was delivered while the controller was still being waited for"
    (line,) = await glasses.until_outcomes(1)
    assert line == "the Bluetooth controller does not answer; PHY and interval stay as they are"
    assert asked == ["HCI_LE_SET_PHY_COMMAND"]
    await phone.connection.disconnect()
    phone = await _listening(air)  # its other commands are not held up either
    await glasses.delivers(phone, b"again")
    assert not any("lost the Bluetooth controller" in line for line in glasses.lines)


async def test_a_phone_that_answers_nothing_does_not_hold_the_link_up(
    controllers_with: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, air: Air, glasses: Glasses
) -> None:
    monkeypatch.setattr(tuning, "ANSWER_S", 2.0)
    controllers_with(phy=_accepts_and_is_silent, interval=_accepts_and_is_silent)
    phone = await _listening(air)
    await glasses.delivers(phone, b"meanwhile")
    assert glasses.outcomes == [], "it was delivered while the phone was still being waited for"
    phy, interval = await glasses.until_outcomes(2)
    assert phy == "no 2M PHY (no answer within 2 s)"
    assert interval.startswith("the interval stays ")
    assert interval.endswith(" ms, not 15 ms (no answer within 2 s)")
    await glasses.delivers(phone, b"afterwards")


async def test_a_connection_that_ends_while_it_is_asked_ends_the_asking(
    controllers_with: Callable[..., list[str]], air: Air, glasses: Glasses
) -> None:
    controllers_with(phy=_accepts_and_is_silent)
    phone = await _listening(air)
    await glasses.delivers(phone, b"before")
    await phone.connection.disconnect()
    controllers_with(phy=_grants)
    await _listening(air)
    assert await glasses.until_outcomes(2) == ["2M PHY", "interval 15 ms"]


async def test_a_connection_that_had_ended_before_it_was_asked_is_no_news(
    controllers_with: Callable[..., list[str]], air: Air, glasses: Glasses
) -> None:
    def knows_no_such_connection(controller: Controller, command: hci.HCI_Command) -> None:
        controller._send_hci_command_status(hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR, command.op_code)

    controllers_with(phy=knows_no_such_connection)
    phone = await _listening(air)
    await phone.connection.disconnect()
    controllers_with(phy=_grants)
    await _listening(air)
    assert await glasses.until_outcomes(2) == ["2M PHY", "interval 15 ms"]


@pytest.mark.parametrize("milliseconds", [0, 7.5, 15, 4000])
def test_possible_intervals_are_taken(milliseconds: float) -> None:
    settings = GlassesSettings.load(connection_interval_ms=milliseconds)
    assert settings.connection_interval_ms == milliseconds


@pytest.mark.parametrize("milliseconds", [-1, 1, 7.4, 4001, float("nan"), float("inf")])
def test_impossible_intervals_are_refused(milliseconds: float) -> None:
    with pytest.raises(UsageError, match=r"connection_interval_ms: use 7\.5 to 4000 ms"):
        GlassesSettings.load(connection_interval_ms=milliseconds)
