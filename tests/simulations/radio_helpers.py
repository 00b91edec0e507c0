"""What the radio's tests share: the peripheral as a process, bleak on it, and what the air's trace says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import pytest
import radio_peripheral
from bleak import BleakScanner
from bleak.backends.device import BLEDevice
from bus_caller import ADAPTER, Caller, path_of

from simulations.radio import RadioProcesses
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


@asynccontextmanager
async def connected_peripheral(radio: RadioProcesses, caller: Caller) -> AsyncIterator[PeripheralProcess]:
    """The peripheral, connected to `caller` and resolved; unknown again behind."""
    path = path_of(radio_peripheral.ADDRESS)
    with PeripheralProcess(radio.glasses_hci) as process:
        await caller.found(path)
        await caller.connected(path)
        yield process
    await caller.call(ADAPTER, "org.bluez.Adapter1", "RemoveDevice", "o", path)


async def find() -> BLEDevice:
    """The peripheral, by its service UUID."""
    device = await BleakScanner.find_device_by_filter(
        lambda *_: True, timeout=20, service_uuids=[radio_peripheral.SERVICE]
    )
    assert device is not None
    return device


def lines_of(trace: Path, kind: str) -> list[dict[str, Any]]:
    """The lines of one kind in a trace of the air."""
    lines = [json.loads(line) for line in trace.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["kind"] == kind]
