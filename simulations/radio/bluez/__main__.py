"""The façade process: ``python -m simulations.radio.bluez --hci tcp-client:127.0.0.1:PORT --bus unix:path=...``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from shared import cli
from shared.errors import RadioError
from simulations.radio.bluez.delays import Delays
from simulations.radio.bluez.host import open_host
from simulations.radio.bluez.service import BluezService, connect_bus
from simulations.radio.bonding import PHONE_ADDRESS
from simulations.radio.child import announce_ready, until_parent_leaves

GOODBYE_S: Final = 2.0


async def serve(hci: str, bus_address: str, address: str, *, keys: Path | None, delays: Delays) -> None:
    """Serve until the parent leaves.

    Raises:
        RadioError: the controller or the bus cannot be reached, or went away.
    """
    async with open_host(hci, address, keys) as host:
        bus = await connect_bus(bus_address)
        try:
            service = BluezService(bus, host, delays)
            await service.start()
            announce_ready(name="org.bluez", address=address)
            leaving = asyncio.ensure_future(until_parent_leaves())
            bus_gone = asyncio.ensure_future(bus.wait_for_disconnect())  # type: ignore[no-untyped-call]
            await asyncio.wait({leaving, bus_gone, host.lost}, return_when=asyncio.FIRST_COMPLETED)
            if not leaving.done():
                leaving.cancel()
                if bus_gone.done():
                    raise RadioError("the bus went away")
                async with asyncio.timeout(GOODBYE_S):
                    await service.on_controller_lost()
                raise RadioError("the controller went away")
            leaving.result()
            await service.stop()
        finally:
            bus.disconnect()


def main(arguments: Sequence[str] | None = None) -> int:
    """Command body of ``python -m simulations.radio.bluez``."""
    parser = argparse.ArgumentParser(prog="python -m simulations.radio.bluez", description="BlueZ façade on Bumble.")
    parser.add_argument("--hci", required=True, help="Bumble transport name of the controller")
    parser.add_argument("--bus", required=True, help="D-Bus address to serve org.bluez on")
    parser.add_argument(
        "--address", default=PHONE_ADDRESS, help=f"random static address of the adapter (default {PHONE_ADDRESS})"
    )
    parser.add_argument("--keys", type=Path, help="Bumble key file; without one, bonds are forgotten at the end")
    parser.add_argument(
        "--late-mtu",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="put the ATT MTU exchange off until this long after the services are resolved",
    )
    parser.add_argument(
        "--disconnect",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="keep the link for so long when asked to disconnect (bluetoothd: 2; default 0)",
    )
    parser.add_argument(
        "--busy",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="refuse to connect for so long after a disconnection of our own (bluetoothd: 0.01; default 0)",
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    delays = Delays(late_mtu_s=options.late_mtu, disconnect_s=options.disconnect, busy_s=options.busy)
    asyncio.run(serve(options.hci, options.bus, options.address, keys=options.keys, delays=delays))
    return 0


if __name__ == "__main__":
    sys.exit(cli.run("bluez", main))
