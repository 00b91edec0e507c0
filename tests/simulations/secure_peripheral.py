"""A Bumble peripheral in the test's own process that can pair, keep bonds, and hide an attribute behind encryption."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bumble.core import UUID, AdvertisingData
from bumble.device import Connection, Device, DeviceConfiguration
from bumble.gatt import Characteristic, Service
from bumble.hci import Address
from bumble.keys import JsonKeyStore, PairingKeys
from bumble.pairing import PairingConfig, PairingDelegate
from bumble.transport import open_transport
from radio_peripheral import ADDRESS, SERVICE

SECRET = "5ca1ab1e-0000-4000-8000-000000000101"
OPEN = "5ca1ab1e-0000-4000-8000-000000000102"
IO = PairingDelegate.IoCapability


class User(PairingDelegate):
    """The person at the peripheral: sees numbers, and says yes or no when the test does.

    Args:
        capability: what the peripheral has for its user.
        passkey: what the user enters when asked for a number.
        says: the answers, given at once; None: the test answers.
        takes_just_works: whether a pairing without anybody's eyes is fine.
    """

    def __init__(
        self,
        capability: IO = IO.DISPLAY_OUTPUT_AND_YES_NO_INPUT,
        *,
        says: bool | None = True,
        takes_just_works: bool = True,
    ) -> None:
        super().__init__(capability)
        self.numbers: asyncio.Queue[int] = asyncio.Queue()
        self.answers: asyncio.Queue[bool] = asyncio.Queue()
        self.passkeys: asyncio.Queue[int] = asyncio.Queue()
        self._says = says
        self._takes_just_works = takes_just_works

    async def confirm(self, auto: bool = False) -> bool:
        return self._takes_just_works

    async def compare_numbers(self, number: int, digits: int) -> bool:
        self.numbers.put_nowait(number)
        return await self.answers.get() if self._says is None else self._says

    async def display_number(self, number: int, digits: int) -> None:
        self.numbers.put_nowait(number)

    async def get_number(self) -> int | None:
        return await self.passkeys.get()


class SecurePeripheral:
    """The peripheral and its latest connection."""

    def __init__(self, device: Device, user: User) -> None:
        self.device = device
        self.user = user
        self.connection: Connection | None = None
        self.encrypted = asyncio.Event()
        device.on(Device.EVENT_CONNECTION, self._on_connection)

    def _on_connection(self, connection: Connection) -> None:
        self.connection = connection
        self.encrypted.clear()
        connection.on(Connection.EVENT_CONNECTION_ENCRYPTION_CHANGE, self.encrypted.set)

    async def bonds(self) -> dict[str, PairingKeys]:
        """The bonds it keeps."""
        assert self.device.keystore is not None
        return dict(await self.device.keystore.get_all())

    async def lose_bonds(self) -> None:
        assert self.device.keystore is not None
        await self.device.keystore.delete_all()

    async def leave(self) -> None:
        """End the connection."""
        assert self.connection is not None
        await self.connection.disconnect()


@asynccontextmanager
async def secure_peripheral(
    hci: str, keys: Path, user: User | None = None, *, address: str = ADDRESS
) -> AsyncIterator[SecurePeripheral]:
    """The peripheral, advertising on the controller at `hci`, with its bonds in the file `keys`."""
    user = user or User()
    transport = await open_transport(hci)
    try:
        configuration = DeviceConfiguration(
            name="secure test",
            address=Address(address),
            advertising_interval_min=60,
            advertising_interval_max=60,
        )
        device = Device.from_config_with_hci(configuration, transport.source, transport.sink)
        device.keystore = JsonKeyStore(address, str(keys))
        device.pairing_config_factory = lambda _: PairingConfig(
            sc=True,
            mitm=user.io_capability is not IO.NO_OUTPUT_NO_INPUT,
            bonding=True,
            delegate=user,
            identity_address_type=PairingConfig.AddressType.RANDOM,
        )
        read, permissions = Characteristic.Properties.READ, Characteristic.Permissions
        hidden = permissions.READABLE | permissions.READ_REQUIRES_ENCRYPTION
        device.add_service(
            Service(
                SERVICE,
                [
                    Characteristic(SECRET, read, hidden, b"a secret"),
                    Characteristic(OPEN, read, permissions.READABLE, b"no secret"),
                ],
            )
        )
        peripheral = SecurePeripheral(device, user)
        await device.power_on()
        kind = AdvertisingData.Type.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS
        await device.start_advertising(
            auto_restart=True, advertising_data=bytes(AdvertisingData([(kind, bytes(UUID(SERVICE)))]))
        )
        yield peripheral
    finally:
        await transport.close()
