"""The glasses' end of the link: a GATT peripheral on a Bumble host, over whatever HCI transport Bumble can open."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from bumble.transport import open_transport

from glasses.bonds import BondStore
from glasses.notify_port import NotifyPort
from glasses.pairing import PairingMode, PairingPolicy
from glasses.radio import BUMBLE_FAILURES, POWER_ON_S, Radio
from shared.clock import Clock
from shared.errors import LinkUnavailable, reason_of
from shared.wire.driver import DrivenLink, unknown_battery
from shared.wire.waiting import Backoff, within

DEFAULT_ADDRESS: Final = "F0:57:41:59:57:44"
"""Static random address (two highest bits set) of a single pair of glasses; give every further pair its own."""

_REOPEN_FIRST_S: Final = 0.25
_REOPEN_CAP_S: Final = 5.0


class PeripheralLink(DrivenLink):
    """`shared.link.Link` on the glasses, for phones they are paired with.

    Nothing is sent to a phone, and nothing taken from it, before the connection is encrypted with the key of a bond
    in `bonds`, which holds authenticated Secure Connections bonds only. New phones pair while `pairing` is open.

    Args:
        transport: Bumble transport name, such as "tcp-client:127.0.0.1:9000", "serial:/dev/ttyUSB0" or "usb:0".
        clock: source of time.
        bonds: the phones that are paired.
        pairing: limits of pairing mode.
        name: advertised, and shown to the phone.
        battery_percent: 0..100 or None, asked at every HELLO.
        address: static random Bluetooth address.
        connection_interval_ms: asked of every phone, 7.5..4000 ms; None leaves its choice. A phone may refuse.
        epoch: see `DrivenLink`.
        rng: jitter of the reopening pauses.
        on_status: told in one line when the state of the link changes.
        on_pairing: told those lines that the wearer has to know: pairing mode, numbers to compare, refusals.
    """

    def __init__(
        self,
        transport: str,
        *,
        clock: Clock,
        bonds: BondStore,
        pairing: PairingPolicy | None = None,
        name: str = "Wayword glasses",
        battery_percent: Callable[[], int | None] = unknown_battery,
        address: str = DEFAULT_ADDRESS,
        connection_interval_ms: float | None = None,
        epoch: int | None = None,
        rng: random.Random | None = None,
        on_status: Callable[[str], None] | None = None,
        on_pairing: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(clock=clock, name=name, battery_percent=battery_percent, epoch=epoch, on_status=on_status)
        self._transport_name = transport
        self._name = name
        self._address = address
        self._interval_ms = connection_interval_ms
        self._rng = rng or random.Random()
        self._bonds = bonds
        self._on_pairing = on_pairing
        self._unknown = ""  # the last phone whose key is not known
        self._radio: Radio | None = None
        self.pairing = PairingMode(
            clock=clock, policy=pairing, report=self.tell_wearer, on_change=self._pairing_mode_changed
        )
        """What the button acts on."""

    async def open_pairing(self) -> None:
        """The button was held: let one new phone pair. A phone that is connected is sent away to make room.

        Raises:
            StorageError: a bond could not be kept: the disk is full, say.
        """
        await self._bonds.save()
        self._unknown = ""
        self.pairing.open()
        if self._radio is not None:
            self._radio.make_room()

    async def forget_phones(self) -> int:
        """Forget every paired phone, the connected one too; how many there were.

        Raises:
            StorageError: the file of bonds cannot be written; they are forgotten until this process ends.
        """
        count = len(self._bonds.bonds())
        try:
            await self._bonds.delete_all()
        finally:
            self.tell_wearer("all paired phones are forgotten")
            if self._radio is not None:
                self._radio.drop_connection()
        return count

    async def close(self) -> None:
        await super().close()
        await self._bonds.written()

    def _pairing_mode_changed(self) -> None:
        if self._radio is not None:
            self._radio.look_again()

    async def start(self) -> None:
        """Open the transport and begin to advertise; later losses of the transport are mended in the background.

        Raises:
            LinkUnavailable: the transport cannot be opened, or no controller answers on it.
        """
        radio = await self._open()
        self._ensure_running()
        self._spawn(self._keep_radio(radio), "radio")

    async def _open(self) -> Radio:
        where = f"the Bluetooth controller at {self._transport_name}"
        try:
            transport = await within(self._clock, POWER_ON_S, open_transport(self._transport_name))
        except Exception as error:
            hint = "check that it runs, and the transport name (such as tcp-client:HOST:PORT or usb:0)"
            raise LinkUnavailable(f"cannot open {where}: {reason_of(error)}", hint=hint) from error
        radio = Radio(
            self,
            transport,
            clock=self._clock,
            bonds=self._bonds,
            name=self._name,
            address=self._address,
            connection_interval_ms=self._interval_ms,
        )
        try:
            await radio.power_on()
        except BUMBLE_FAILURES as error:
            await radio.close()
            hint = "check that a Bluetooth controller (HCI) is at the other end"
            raise LinkUnavailable(f"{where} does not start: {reason_of(error)}", hint=hint) from error
        except BaseException:
            await radio.close()
            raise
        return radio

    async def _keep_radio(self, radio: Radio) -> None:
        backoff = Backoff(self._rng, first=_REOPEN_FIRST_S, cap=_REOPEN_CAP_S)
        while True:
            try:
                self._radio = radio
                self._status(f"advertising as {self._name}")
                await radio.serve()
                problem = "its transport ended"
            except BUMBLE_FAILURES as error:
                problem = reason_of(error)
            finally:
                self._radio = None
                self._connection_down()
                await radio.close()
            self._status(f"lost the Bluetooth controller at {self._transport_name}: {problem}; reopening it")
            radio = await self._reopen(backoff)

    async def _reopen(self, backoff: Backoff) -> Radio:
        while True:
            await self._clock.sleep(backoff.next())
            try:
                radio = await self._open()
            except LinkUnavailable as error:
                self._status(error.message)
            else:
                backoff.reset()
                return radio

    # Called by Radio ---------------------------------------------------------------------------------

    def connection_up(self, port: NotifyPort) -> None:
        """The phone listens."""
        self._connection_up(port)

    def connection_down(self, port: NotifyPort) -> None:
        """The phone listens no longer."""
        self._connection_down(port)

    def value_arrived(self, value: bytes) -> None:
        """The phone wrote one value."""
        self._value_arrived(value)

    def report(self, line: str) -> None:
        """Something a log should know."""
        self._status(line)

    def tell_wearer(self, line: str) -> None:
        """Something about pairing, which the wearer should know too."""
        self._status(line)
        if self._on_pairing is not None:
            self._on_pairing(line)

    def phone_unknown(self, address: str) -> None:
        """A phone wanted a connection encrypted with a key that is not known here. It is told once, not every time."""
        if address != self._unknown:
            self._unknown = address
            self.tell_wearer(f"the phone {address} has a key that these glasses have forgotten; pair it again")
