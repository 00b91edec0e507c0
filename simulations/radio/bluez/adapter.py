"""The adapter: discovery sessions with their filters, and the devices they find."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from bumble.core import AdvertisingData
from bumble.device import Advertisement
from bumble.hci import Address
from dbus_fast import Variant

from simulations.radio.bluez.agents import AgentManager
from simulations.radio.bluez.delays import Delays
from simulations.radio.bluez.device import DEVICE, RemoteDevice
from simulations.radio.bluez.errors import does_not_exist, failed, in_progress, invalid_arguments
from simulations.radio.bluez.host import Host, advertised_uuids, uuid_text
from simulations.radio.bluez.objects import Call, Node, ObjectTree, Properties, Reply

ADAPTER: Final = "org.bluez.Adapter1"
ADAPTER_PATH: Final = "/org/bluez/hci0"
MAX_DEVICES: Final = 64
"""Devices remembered; the one heard of longest ago makes room (bluetoothd forgets by time)."""


@dataclass(frozen=True, slots=True)
class DiscoveryFilter:
    """What one client wants to hear of (Adapter1.SetDiscoveryFilter).

    Attributes:
        uuids: any of these service UUIDs; empty: all devices.
        rssi: weakest signal in dBm; None: any.
        pattern: prefix of the address or the name; empty: any.
        duplicates: report every advertisement, not only news.
    """

    uuids: frozenset[str] = frozenset()
    rssi: int | None = None
    pattern: str = ""
    duplicates: bool = False

    @classmethod
    def from_dbus(cls, options: dict[str, Variant]) -> DiscoveryFilter:
        """Read the a{sv} argument.

        Raises:
            BluezError: InvalidArguments for an unknown name, a wrong type, or a transport that is not LE.
        """
        expected = {
            "UUIDs": "as",
            "RSSI": "n",
            "Pathloss": "q",
            "Transport": "s",
            "DuplicateData": "b",
            "Discoverable": "b",
            "Pattern": "s",
        }
        for name, variant in options.items():
            # bleak sends Pathloss as "n", which bluetoothd refuses; nothing here depends on it.
            if name not in expected or (variant.signature != expected[name] and name != "Pathloss"):
                raise invalid_arguments()
        values: dict[str, Any] = {name: variant.value for name, variant in options.items()}
        if values.get("Transport", "auto") not in ("auto", "le"):
            raise invalid_arguments()
        return cls(
            uuids=frozenset(uuid.lower() for uuid in values.get("UUIDs", ())),
            rssi=values.get("RSSI"),
            pattern=values.get("Pattern", ""),
            duplicates=values.get("DuplicateData", False),
        )

    def accepts(self, *, address: str, name: str | None, uuids: frozenset[str], rssi: int) -> bool:
        """Whether a device that advertises so is wanted."""
        if self.uuids and not self.uuids & uuids:
            return False
        if self.rssi is not None and rssi < self.rssi:
            return False
        return not self.pattern or address.startswith(self.pattern) or (name or "").startswith(self.pattern)


class Adapter(Node):
    """/org/bluez/hci0."""

    def __init__(self, host: Host, tree: ObjectTree, agents: AgentManager, delays: Delays) -> None:
        address = host.device.random_address.to_string(False)
        super().__init__(
            ADAPTER_PATH,
            {
                ADAPTER: {
                    "Address": Variant("s", address),
                    "AddressType": Variant("s", "random"),
                    "Name": Variant("s", "phone"),
                    "Alias": Variant("s", "phone"),
                    "Class": Variant("u", 0),
                    "Powered": Variant("b", True),
                    "Discoverable": Variant("b", False),
                    "DiscoverableTimeout": Variant("u", 0),
                    "Pairable": Variant("b", True),
                    "PairableTimeout": Variant("u", 0),
                    "Discovering": Variant("b", False),
                    "UUIDs": Variant("as", []),
                    "Roles": Variant("as", ["central"]),
                }
            },
        )
        self._host = host
        self._tree = tree
        self._agents = agents
        self._delays = delays
        self._filters: dict[str, DiscoveryFilter] = {}
        self._sessions: set[str] = set()
        self._scan_lock = asyncio.Lock()
        self._reported: set[str] = set()
        self.devices: dict[str, RemoteDevice] = {}
        self._dialling = asyncio.Lock()
        self.offer(ADAPTER, "SetDiscoveryFilter", "a{sv}", self._set_filter)
        self.offer(ADAPTER, "StartDiscovery", "", self._start)
        self.offer(ADAPTER, "StopDiscovery", "", self._stop)
        self.offer(ADAPTER, "GetDiscoveryFilters", "", self._get_filters)
        self.offer(ADAPTER, "RemoveDevice", "o", self._remove_device)
        self.writable |= {(ADAPTER, "Alias"), (ADAPTER, "Pairable"), (ADAPTER, "PairableTimeout")}
        host.device.on("advertisement", self._on_advertisement)

    # Devices ------------------------------------------------------------------------------------------

    def list_bonded(self) -> None:
        """Export the devices with which there is a bond: they are known before they are heard."""
        for address in self._host.bonds.addresses:
            if _path_of(address) not in self.devices:
                self._add(address, {})

    def _add(self, address: Address, properties: Properties) -> None:
        self._make_room()
        path = _path_of(address)
        device = RemoteDevice(
            path,
            address,
            properties,
            self._host,
            self._tree,
            self._agents,
            dialling=self._dialling,
            delays=self._delays,
        )
        self.devices[path] = device
        self._tree.add(device)

    # Discovery ----------------------------------------------------------------------------------------

    async def _set_filter(self, call: Call) -> Reply:
        if call.body[0]:
            self._filters[call.sender] = DiscoveryFilter.from_dbus(call.body[0])
        else:
            self._filters.pop(call.sender, None)
        return Reply()

    async def _get_filters(self, call: Call) -> Reply:
        names = ["UUIDs", "RSSI", "Pathloss", "Transport", "DuplicateData", "Discoverable", "Pattern"]
        return Reply("as", (names,))

    async def _start(self, call: Call) -> Reply:
        if call.sender in self._sessions:
            raise in_progress("Operation already in progress")
        self._sessions.add(call.sender)
        # A new listener hears of every device again, as after a restart of the scan in the kernel.
        self._reported.clear()
        await self._scan_as_wanted()
        return Reply()

    async def _stop(self, call: Call) -> Reply:
        if call.sender not in self._sessions:
            raise failed("No discovery started")
        self._sessions.discard(call.sender)
        await self._scan_as_wanted()
        return Reply()

    async def _scan_as_wanted(self) -> None:
        device = self._host.device
        async with self._scan_lock:
            if self._sessions and not device.is_scanning:
                await device.start_scanning(filter_duplicates=False)
            elif not self._sessions and device.is_scanning:
                await device.stop_scanning()
                for path in self.devices:
                    # As bluetoothd does: signal strength is only known while scanning.
                    self._tree.change(path, DEVICE, {}, invalidated=("RSSI", "TxPower"))
            self._tree.change(self.path, ADAPTER, {"Discovering": Variant("b", bool(self._sessions))})

    def _on_advertisement(self, advertisement: Advertisement) -> None:
        data = advertisement.data
        address = advertisement.address.to_string(False)
        path = _path_of(advertisement.address)
        known = self.devices.get(path)
        kinds = AdvertisingData.Type
        name = data.get(kinds.COMPLETE_LOCAL_NAME) or data.get(kinds.SHORTENED_LOCAL_NAME)
        uuids = advertised_uuids(data)
        heard = frozenset(uuids) | (known.uuids if known is not None else frozenset())
        filters = [self._filters.get(client, DiscoveryFilter()) for client in self._sessions]
        wanted = [f for f in filters if f.accepts(address=address, name=name, uuids=heard, rssi=advertisement.rssi)]
        if not wanted:
            return
        properties = _advertised_properties(advertisement, name, uuids, known)
        if known is None:
            self._add(advertisement.address, properties)
        else:
            self.devices[path] = self.devices.pop(path)  # newest last
            news = path not in self._reported or any(f.duplicates for f in wanted)
            rssi = {"RSSI": properties.pop("RSSI")}
            self._tree.change(path, DEVICE, properties)
            self._tree.change(path, DEVICE, rssi, force=news)
            known.remember()
        self._reported.add(path)

    def _make_room(self) -> None:
        while len(self.devices) >= MAX_DEVICES:
            oldest = next((p for p, d in self.devices.items() if d.idle), None)
            if oldest is None:
                return  # every one is in use, which the controller's own limits bound
            self._forget(oldest)

    def _forget(self, path: str) -> None:
        del self.devices[path]
        self._reported.discard(path)
        self._tree.remove(path)

    async def _remove_device(self, call: Call) -> Reply:
        path = call.body[0]
        device = self.devices.get(path)
        if device is None:
            raise does_not_exist()
        await device.forget()
        if path in self.devices:
            self._forget(path)
        return Reply()

    # Clients ------------------------------------------------------------------------------------------

    async def on_client_gone(self, client: str) -> None:
        """A D-Bus client left the bus: its scan, its notifications and, if it was the last, its connections end."""
        self._filters.pop(client, None)
        if client in self._sessions:
            self._sessions.discard(client)
            await self._scan_as_wanted()
        for device in list(self.devices.values()):
            await device.on_client_gone(client)


def _path_of(address: Address) -> str:
    return f"{ADAPTER_PATH}/dev_{address.to_string(False).replace(':', '_')}"


def _advertised_properties(
    advertisement: Advertisement, name: str | None, uuids: list[str], known: RemoteDevice | None
) -> Properties:
    """Device1 properties that come from an advertisement; the scan response adds to what is known."""
    data = advertisement.data
    kinds = AdvertisingData.Type
    properties: Properties = {"RSSI": Variant("n", advertisement.rssi)}
    if name is not None:
        properties |= {"Name": Variant("s", name), "Alias": Variant("s", name)}
    if uuids:
        before = sorted(known.uuids - set(uuids)) if known is not None else []
        properties["UUIDs"] = Variant("as", [*uuids, *before])
    if (power := data.get(kinds.TX_POWER_LEVEL)) is not None:
        properties["TxPower"] = Variant("n", power)
    if makers := data.get_all(kinds.MANUFACTURER_SPECIFIC_DATA):
        properties["ManufacturerData"] = Variant(
            "a{qv}", {company: Variant("ay", bytes(value)) for company, value in makers}
        )
    services = [*data.get_all(kinds.SERVICE_DATA_16_BIT_UUID), *data.get_all(kinds.SERVICE_DATA_128_BIT_UUID)]
    if services:
        properties["ServiceData"] = Variant(
            "a{sv}", {uuid_text(uuid): Variant("ay", bytes(value)) for uuid, value in services}
        )
    return properties
