"""The real bluetoothd in the façade's place: its configuration, its bonds, its start.

It takes over the kernel's Bluetooth and /var/lib/bluetooth, so it runs only in the virtual machine of
`simulations.radio.vm`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from dbus_fast import BusType, Message, MessageType
from dbus_fast.aio import MessageBus

from shared.errors import RadioError
from simulations.radio.bonding import Bond, bluetoothd_info, bluetoothd_path, new_bond, write_half
from simulations.radio.stack import BLUETOOTHD_VARIABLE

STORAGE: Final = Path("/var/lib/bluetooth")
MACHINE_MARK: Final = "wayword.vm"
"""Word of the kernel's command line in the virtual machine."""
ADAPTER_S: Final = 30.0
"""bluetoothd has a powered adapter within this time."""

_CONFIG: Final = """\
[General]
ControllerMode = le

[Policy]
AutoEnable = true
"""


def check_machine() -> None:
    """Make sure that this is the virtual machine.

    Raises:
        RadioError: it is not; bluetoothd would take this machine's Bluetooth and its bonds would be removed.
    """
    if MACHINE_MARK not in Path("/proc/cmdline").read_text(encoding="utf-8").split():
        raise RadioError(
            "bluetoothd is started only in the radio's virtual machine", hint="run: python -m simulations.radio.vm"
        )


def reset_storage(phone_address: str, glasses_bonds: Path, *, bonded: bool) -> None:
    """Forget every device; with `bonded`, then bond the adapter and the glasses.

    Args:
        phone_address: public address of the adapter.
        glasses_bonds: the glasses' Bumble key file.
        bonded: whether to write a bond on both sides.

    Raises:
        RadioError: a file cannot be written.
    """
    try:
        for adapter in STORAGE.iterdir() if STORAGE.exists() else ():
            shutil.rmtree(adapter)
        if not bonded:
            return
        bond = new_bond(phone=f"{phone_address}/P")
        write_bond_file(bond)
    except OSError as error:
        raise RadioError(f"{STORAGE} cannot be written: {error.strerror}") from error
    write_half(glasses_bonds, own=bond.glasses, peer=bond.phone, ltk=bond.ltk)


def write_bond_file(bond: Bond) -> None:
    """Write a bond where bluetoothd looks for it at its start."""
    file = bluetoothd_path(bond, storage=STORAGE)
    file.parent.mkdir(parents=True)
    file.write_text(bluetoothd_info(bond), encoding="utf-8")


def program(folder: Path) -> list[str]:
    """Command line of bluetoothd, in the foreground.

    Args:
        folder: where its configuration is written.

    Raises:
        RadioError: ``$WAYWORD_BLUETOOTHD`` is not set, or the configuration cannot be written.
    """
    if not (path := os.environ.get(BLUETOOTHD_VARIABLE)):
        raise RadioError(f"{BLUETOOTHD_VARIABLE} does not say where bluetoothd is")
    config = folder / "bluetooth.conf"
    try:
        config.write_text(_CONFIG, encoding="utf-8")
    except OSError as error:
        raise RadioError(f"cannot write {config}: {error.strerror}") from error
    return [path, "--nodetach", f"--configfile={config}"]


def wait_for_adapter(bus_address: str) -> None:
    """Wait until bluetoothd has a powered adapter. Blocks; may be called on any thread.

    Raises:
        RadioError: it has none within `ADAPTER_S`.
    """
    # A thread of its own, because the caller's may have an event loop already.
    with ThreadPoolExecutor(1) as executor:
        executor.submit(lambda: asyncio.run(_wait_for_adapter(bus_address))).result()


async def _wait_for_adapter(bus_address: str) -> None:
    bus = await MessageBus(bus_address=bus_address, bus_type=BusType.SYSTEM).connect()
    changed = asyncio.Event()
    bus.add_message_handler(lambda _: changed.set())
    try:
        async with asyncio.timeout(ADAPTER_S):
            # The bus is private: all its signals are about this.
            await _call(bus, "org.freedesktop.DBus", "org.freedesktop.DBus", "AddMatch", "type='signal'")
            while not await _has_powered_adapter(bus):
                await changed.wait()
                changed.clear()
    except TimeoutError:
        raise RadioError(f"bluetoothd has no powered adapter after {ADAPTER_S:g} s") from None
    finally:
        bus.disconnect()


async def _has_powered_adapter(bus: MessageBus) -> bool:
    reply = await _call(bus, "org.bluez", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
    if reply is None or reply.message_type is not MessageType.METHOD_RETURN:
        return False
    adapters = (interfaces.get("org.bluez.Adapter1", {}) for interfaces in reply.body[0].values())
    return any("Powered" in adapter and adapter["Powered"].value for adapter in adapters)


async def _call(bus: MessageBus, destination: str, interface: str, member: str, *body: str) -> Message | None:
    return await bus.call(
        Message(
            destination=destination,
            path="/",
            interface=interface,
            member=member,
            signature="s" * len(body),
            body=list(body),
        )
    )
