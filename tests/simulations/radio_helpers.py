"""What the radio's tests share: the peripheral as a process, and bleak on it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from types import TracebackType
from typing import Literal, Self

import pytest
import radio_peripheral
from bleak import BleakScanner
from bleak.backends.bluezdbus import manager
from bleak.backends.device import BLEDevice

from simulations.radio.stack import RadioStack


def shared_scope(fixture_name: str, config: pytest.Config) -> Literal["module", "function"]:
    """How long a radio is shared: on the real bluetoothd, one a machine, it must end before the next starts."""
    return "module" if RadioStack.configured() is RadioStack.FACADE else "function"


class PeripheralProcess:
    """The peripheral in a process of its own, ready when the context is entered."""

    def __init__(self, hci: str) -> None:
        self._hci = hci
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen([sys.executable, radio_peripheral.__file__, self._hci], stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        return self

    def kill(self) -> None:
        """End it with SIGKILL."""
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


async def find() -> BLEDevice:
    """The peripheral, by its service UUID."""
    device = await BleakScanner.find_device_by_filter(
        lambda *_: True, timeout=5, service_uuids=[radio_peripheral.SERVICE]
    )
    assert device is not None
    return device


async def close_bleak() -> None:
    """Close the bus that bleak keeps open for as long as the event loop lives."""
    instance = manager._global_instances.pop(asyncio.get_running_loop(), None)
    if instance is not None and instance._bus is not None:
        instance._bus.disconnect()
        if instance._bus_watcher_task is not None:
            await asyncio.wait({instance._bus_watcher_task})
