"""A small Bumble peripheral for the radio's tests: ``python radio_peripheral.py tcp-client:127.0.0.1:PORT``."""

from __future__ import annotations

import asyncio
import struct
import sys
import zlib

from bumble.att import ATT_UNLIKELY_ERROR_ERROR, ATT_Error
from bumble.core import UUID, AdvertisingData
from bumble.device import Connection, Device, DeviceConfiguration
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.hci import Address
from bumble.transport import open_transport

SERVICE = "5ca1ab1e-0000-4000-8000-000000000001"
NAME = "5ca1ab1e-0000-4000-8000-000000000002"
SINK = "5ca1ab1e-0000-4000-8000-000000000003"
DIGEST = "5ca1ab1e-0000-4000-8000-000000000004"
SOURCE = "5ca1ab1e-0000-4000-8000-000000000005"
ECHO = "5ca1ab1e-0000-4000-8000-000000000006"
NEVER = "5ca1ab1e-0000-4000-8000-000000000007"
REFUSED = "5ca1ab1e-0000-4000-8000-000000000008"
ADDRESS = "F1:57:41:59:57:4F"
LOCAL_NAME = "radio test"
CHUNK = 495
"""Fills two link packets of 251 bytes: 2 * 251 less the L2CAP and ATT headers."""


def pattern(length: int) -> bytes:
    """`length` bytes in which every position is told from its neighbours."""
    return b"".join(struct.pack("<I", i) for i in range((length + 3) // 4))[:length]


class Peripheral:
    """What the characteristics do."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.received = 0
        self.crc = 0
        self.tasks: set[asyncio.Task[None]] = set()
        permissions = Characteristic.READABLE | Characteristic.WRITEABLE
        kinds = Characteristic.Properties

        def make(uuid: str, properties: Characteristic.Properties, value: object) -> Characteristic[bytes]:
            return Characteristic(uuid, properties, permissions, value)

        write = kinds.WRITE | kinds.WRITE_WITHOUT_RESPONSE
        self.source = make(SOURCE, kinds.NOTIFY | kinds.WRITE, CharacteristicValue(write=self.on_order))
        self.echo = make(ECHO, kinds.NOTIFY | kinds.WRITE_WITHOUT_RESPONSE, CharacteristicValue(write=self.on_echo))
        characteristics = [
            make(NAME, kinds.READ, b"a peripheral"),
            make(SINK, write, CharacteristicValue(write=self.on_write)),
            make(DIGEST, kinds.READ, CharacteristicValue(read=self.read_digest)),
            self.source,
            self.echo,
            make(NEVER, kinds.READ, CharacteristicValue(read=self.read_never)),
            make(REFUSED, kinds.READ, CharacteristicValue(read=self.read_refused)),
        ]
        device.add_service(Service(SERVICE, characteristics))

    def on_write(self, _: Connection, value: bytes) -> None:
        self.received += len(value)
        self.crc = zlib.crc32(value, self.crc)

    def read_digest(self, _: Connection) -> bytes:
        return struct.pack("<II", self.received, self.crc)

    async def read_never(self, _: Connection) -> bytes:
        await asyncio.Event().wait()
        return b""

    def read_refused(self, _: Connection) -> bytes:
        raise ATT_Error(ATT_UNLIKELY_ERROR_ERROR)

    def start(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def on_order(self, connection: Connection, value: bytes) -> None:
        """Notify as many bytes as asked."""
        (length,) = struct.unpack("<I", value)

        async def send() -> None:
            data = pattern(length)
            for start in range(0, length, CHUNK):
                await self.device.notify_subscriber(connection, self.source, data[start : start + CHUNK])

        self.start(send())

    def on_echo(self, connection: Connection, value: bytes) -> None:
        self.start(self.device.notify_subscriber(connection, self.echo, value))


async def main(hci: str) -> None:
    transport = await open_transport(hci)
    configuration = DeviceConfiguration(
        name=LOCAL_NAME,
        address=Address(ADDRESS, Address.RANDOM_DEVICE_ADDRESS),
        advertising_interval_min=60,
        advertising_interval_max=60,
    )
    device = Device.from_config_with_hci(configuration, transport.source, transport.sink)
    Peripheral(device)
    await device.power_on()
    kinds = AdvertisingData.Type
    await device.start_advertising(
        auto_restart=True,
        advertising_data=bytes(
            AdvertisingData([(kinds.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS, bytes(UUID(SERVICE)))])
        ),
        scan_response_data=bytes(AdvertisingData([(kinds.COMPLETE_LOCAL_NAME, LOCAL_NAME.encode())])),
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await transport.source.terminated


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
