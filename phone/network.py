"""What the phone's traffic would go over: the kernel's routes, and NetworkManager where it runs.

The kernel says over which interface traffic leaves, and what that interface is. Whether bytes cost money, and
whether a portal stands in the way, only NetworkManager knows; without it a cellular or tethered network counts as
metered, as phones assume, and any other does not.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

from dbus_fast import BusType, Message, MessageFlag, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusFastError

from phone.cascade.inputs import NetworkKind

_SERVICE: Final = "org.freedesktop.NetworkManager"
_PATH: Final = "/org/freedesktop/NetworkManager"
_METERED: Final = {1: True, 2: False, 3: True, 4: False}
"""NMMetered: yes, no, and its two guesses; 0 is unknown (NetworkManager's D-Bus API, nm-dbus-types)."""
_PORTAL: Final = 2
"""NMConnectivityState: 2 is a captive portal."""
_CALL_S: Final = 1.0
_MAX_FILE_BYTES: Final = 256 * 1024
"""Routes read; a phone has a dozen of a hundred bytes each."""
_UP: Final = 0x1
_REJECT: Final = 0x200
"""Flags of a route, RTF_UP and RTF_REJECT (linux/route.h): Linux keeps a rejecting default route for IPv6."""
_CELLULAR_NAMES: Final = ("wwan", "rmnet", "ccmni", "ppp", "bnep")
"""How modems call their interfaces (Linux, Qualcomm, MediaTek, dial-up), and Bluetooth tethering."""
_CELLULAR_DRIVERS: Final = frozenset({"rndis_host", "ipheth", "cdc_mbim", "qmi_wwan", "huawei_cdc_ncm"})
"""Drivers of modems and of phones that share their network over USB."""
_TUNNEL_TYPES: Final = frozenset({"65534", "768", "769", "776", "778"})
"""ARPHRD_NONE, TUNNEL, TUNNEL6, SIT and IPGRE (linux/if_arp.h): a tunnel goes over something else."""


@dataclass(frozen=True, slots=True)
class NetworkState:
    """The network as it is now.

    Attributes:
        kind: what traffic leaves over. A cable counts as Wi-Fi: neither has a radio tail to speak of.
        metered: whether bytes cost money.
    """

    kind: NetworkKind
    metered: bool


UNKNOWN: Final = NetworkState(NetworkKind.UNKNOWN, metered=False)


async def read_network(root: Path = Path("/"), *, bus_address: str | None = None) -> NetworkState:
    """The network, within about `_CALL_S`.

    Args:
        root: where /proc and /sys are.
        bus_address: D-Bus address to look for NetworkManager at; None for the system bus.
    """
    state = await asyncio.to_thread(kernel_network, root)
    if state.kind is NetworkKind.NONE:
        return state
    with contextlib.suppress(OSError, EOFError, ValueError, TimeoutError, DBusFastError):  # it need not run
        async with asyncio.timeout(_CALL_S):
            return judge(state, await _manager_properties(bus_address))
    return state


def judge(state: NetworkState, manager: Mapping[str, object]) -> NetworkState:
    """The kernel's view with what NetworkManager's properties add; what they do not say changes nothing."""
    metered, connectivity = manager.get("Metered"), manager.get("Connectivity")
    if isinstance(metered, int) and metered in _METERED:
        state = replace(state, metered=_METERED[metered])
    return replace(state, kind=NetworkKind.CAPTIVE) if connectivity == _PORTAL else state


def kernel_network(root: Path = Path("/")) -> NetworkState:
    """What the kernel's routes and interfaces say."""
    tables = [_ipv4_routes(_text(root / "proc/net/route")), _ipv6_routes(_text(root / "proc/net/ipv6_route"))]
    known = [table for table in tables if table is not None]
    if not known:
        return UNKNOWN
    routes = sorted(route for table in known for route in table)
    interfaces = root / "sys/class/net"
    # Without a way out, a network in the neighbourhood may still have the cloud; bridges of containers do not.
    names = [name for near, _, name in routes if not near or (interfaces / name / "device").exists()]
    if not names:
        return NetworkState(NetworkKind.NONE, metered=False)
    for name in names:
        kind = _kind(interfaces / name, name)
        if kind is not None:
            return NetworkState(kind, metered=kind is NetworkKind.CELLULAR)
    return UNKNOWN


_Route: TypeAlias = tuple[bool, int, str]
"""Whether it leads to neighbours only, its metric, its interface: in this order the best is the least."""


def _ipv4_routes(table: str | None) -> list[_Route] | None:
    """Of /proc/net/route (proc_net(5)); None without such a file."""
    if table is None:
        return None
    found: list[_Route] = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        with contextlib.suppress(ValueError, IndexError):  # a line of another kernel says nothing
            near = int(fields[1], 16) != 0 or int(fields[7], 16) != 0
            if _leads_out(int(fields[3], 16), fields[0]):
                found.append((near, int(fields[6]), fields[0]))
    return found


def _ipv6_routes(table: str | None) -> list[_Route] | None:
    if table is None:
        return None
    found: list[_Route] = []
    for line in table.splitlines():
        fields = line.split()
        with contextlib.suppress(ValueError, IndexError):
            near = int(fields[0], 16) != 0 or int(fields[1], 16) != 0
            if _leads_out(int(fields[8], 16), fields[9]):
                found.append((near, int(fields[5], 16), fields[9]))
    return found


def _leads_out(flags: int, name: str) -> bool:
    return bool(flags & _UP) and not flags & _REJECT and name != "lo" and "/" not in name


def _kind(interface: Path, name: str) -> NetworkKind | None:
    """What an interface is; None for a tunnel, which goes over another one."""
    uevent = (_text(interface / "uevent") or "").splitlines()
    if "DEVTYPE=wwan" in uevent or name.startswith(_CELLULAR_NAMES):
        return NetworkKind.CELLULAR
    if "DEVTYPE=wlan" in uevent or (interface / "wireless").exists() or (interface / "phy80211").exists():
        return NetworkKind.WIFI
    with contextlib.suppress(OSError):
        if (interface / "device/driver").resolve().name in _CELLULAR_DRIVERS:
            return NetworkKind.CELLULAR
    kind = (_text(interface / "type") or "").strip()
    if kind in _TUNNEL_TYPES:
        return None
    return NetworkKind.WIFI if kind == "1" else NetworkKind.UNKNOWN


def _text(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_FILE_BYTES).decode("ascii", "replace")
    except OSError:
        return None


async def _manager_properties(bus_address: str | None) -> dict[str, object]:
    """NetworkManager's properties; empty where it does not run."""
    bus = MessageBus(bus_address=bus_address, bus_type=BusType.SYSTEM)
    await bus.connect()
    try:
        reply = await bus.call(
            Message(
                destination=_SERVICE,
                path=_PATH,
                interface="org.freedesktop.DBus.Properties",
                member="GetAll",
                signature="s",
                body=[_SERVICE],
                # It is asked, not started.
                flags=MessageFlag.NO_AUTOSTART,
            )
        )
    finally:
        bus.disconnect()
    if reply is None or reply.message_type is not MessageType.METHOD_RETURN or reply.signature != "a{sv}":
        return {}
    return {str(name): variant.value for name, variant in reply.body[0].items()}
