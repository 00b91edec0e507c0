"""Starts the radio's processes (private D-Bus, emulated air, org.bluez façade) and ends them, whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from shared.errors import RadioError
from simulations.radio import bluetoothd
from simulations.radio.bonding import PHONE_ADDRESS, write_bond
from simulations.radio.bus import ADDRESS_VARIABLE, command_line, find_dbus_daemon, write_config
from simulations.radio.controller import public_address
from simulations.radio.profile import LinkProfile
from simulations.radio.stack import RadioStack

READY_S: Final = 20.0
"""A child is ready within this time or the radio does not start."""
COMMAND_S: Final = 5.0
"""A child answers a command within this time."""
STOP_S: Final = 3.0
"""A child that has not left this long after its pipe closed is killed."""
MAX_REPLY_BYTES: Final = 4096


def phone_address() -> str:
    """Identity address of the phone on the configured stack, as the glasses know it."""
    if RadioStack.configured() is RadioStack.FACADE:
        return PHONE_ADDRESS
    return f"{public_address(1)}/P"  # Bumble's mark of a public address


class _Child:
    """One child process, its pipes and its log."""

    def __init__(self, name: str, arguments: list[str], *, folder: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self._log = folder / f"{name}.log"
        self._buffer = b""
        with self._log.open("wb") as log:
            try:
                # Its own session, so that Ctrl-C reaches only the parent, which then ends the children in order.
                self.process = subprocess.Popen(
                    [sys.executable, "-m", *arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=environment,
                    start_new_session=True,
                )
            except OSError as error:
                raise RadioError(f"the radio's {name} cannot start: {error.strerror}") from error

    def read_line(self, seconds: float) -> str:
        """Next line of its standard output.

        Raises:
            RadioError: it ended, or said nothing in time.
        """
        deadline = time.monotonic() + seconds
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise RadioError(f"the radio's {self.name} did not answer within {seconds:g} s")
                chunk = os.read(self.process.stdout.fileno(), MAX_REPLY_BYTES)
                if not chunk or len(self._buffer) > MAX_REPLY_BYTES:
                    raise RadioError(f"the radio's {self.name} ended", hint=self._last_words())
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode(errors="replace")

    def command(self, line: str) -> None:
        """Send a line and wait until it is done.

        Raises:
            RadioError: it ended, did not answer, or refused.
        """
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise RadioError(f"the radio's {self.name} ended", hint=self._last_words()) from error
        reply = self.read_line(COMMAND_S)
        with contextlib.suppress(ValueError):  # words, as of a program that is not ours, are no refusal
            facts = json.loads(reply)
            if isinstance(facts, dict) and "error" in facts:
                raise RadioError(f"the radio's {self.name} refused {line.split()[0]!r}: {facts['error']}")

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            if lines:
                return f"it said: {lines[-1][:300]}"
        return ""

    def ask_to_end(self) -> None:
        """Close its pipe, which ends our own children, and signal it, which ends dbus-daemon."""
        with contextlib.suppress(OSError):  # a pipe with unsent bytes to a dead child
            assert self.process.stdin is not None
            self.process.stdin.close()
        self.process.terminate()

    def end(self, deadline: float) -> None:
        """Wait for it until `deadline` (monotonic), then kill it."""
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self.process.kill()
        self.process.wait()


class RadioProcesses:
    """The emulated radio, as a context manager (``with`` or ``async with``).

    Inside the context a Bumble host (the glasses) finds its controller at `glasses_hci`, and any BlueZ client (the
    phone, through bleak) finds an adapter on the D-Bus at `dbus_address`. All processes end with the context; if this
    process is killed they end too, by their pipes and, for dbus-daemon, by the parent-death signal. That signal follows
    the *thread* that enters the context, so enter it from a thread that outlives it (the event loop's, say).

    Args:
        profile: rate, interval and conditions of the air.
        bonded: whether the glasses and the phone are bonded already, as after a pairing long ago; else each begins with
            no bonds. Bonds last as long as the context, over `restart_bluez` too.
        late_mtu_s: seconds from resolved services to the ATT MTU exchange; 0: it comes before them, as it mostly does.
        disconnect_s: how long the façade keeps the link when asked to disconnect; see `bluez.delays.Delays`.
        busy_s: how long it then refuses to connect. (Neither changes bluetoothd, which has its own times.)
        log_folder: where the children's logs are kept; None: with the temporary files, gone at the end.
        trace: file for the events of the air's link layer, one JSON line each, as `AirTrace` describes; None: none.

    Raises:
        RadioError: on entry, when a process cannot start; the message says which and why.
    """

    def __init__(
        self,
        profile: LinkProfile | None = None,
        *,
        bonded: bool = True,
        late_mtu_s: float = 0.0,
        disconnect_s: float = 0.0,
        busy_s: float = 0.0,
        log_folder: Path | None = None,
        trace: Path | None = None,
    ) -> None:
        self._profile = profile or LinkProfile()
        self._bonded = bonded
        self._delays = [f"--late-mtu={late_mtu_s}", f"--disconnect={disconnect_s}", f"--busy={busy_s}"]
        self._log_folder = log_folder
        self._trace = trace
        self._stack = RadioStack.configured()
        self._folder: Path | None = None
        self._children: dict[str, _Child] = {}
        self._lock = threading.Lock()
        self._ending = False
        self._dbus_address = ""
        self._ports: list[int] = []

    # What others need to know -------------------------------------------------------------------------

    @property
    def profile(self) -> LinkProfile:
        """Rate, interval and conditions of the air."""
        return self._profile

    @property
    def dbus_address(self) -> str:
        """Value for DBUS_SYSTEM_BUS_ADDRESS."""
        return self._dbus_address

    @property
    def glasses_hci(self) -> str:
        """Bumble transport name of the glasses' controller, such as "tcp-client:127.0.0.1:40123"."""
        return f"tcp-client:127.0.0.1:{self._ports[0]}"

    @property
    def phone_hci(self) -> str:
        """Bumble transport name of the façade's controller, for another host in its place once it was killed."""
        return f"tcp-client:127.0.0.1:{self._ports[1]}"

    @property
    def glasses_bonds(self) -> Path:
        """The glasses' Bumble key file, under the namespace `bonding.GLASSES_ADDRESS`; it may not exist yet."""
        return self._in_folder("glasses-keys.json")

    @property
    def phone_bonds(self) -> Path:
        """The façade's Bumble key file, under the namespace `bonding.PHONE_ADDRESS`; it may not exist yet."""
        return self._in_folder("phone-keys.json")

    def _in_folder(self, name: str) -> Path:
        if self._folder is None:
            raise RadioError("the radio has not started")
        return self._folder / name

    def phone_environment(self) -> dict[str, str]:
        """This process's environment with the D-Bus address, for a phone daemon started as a child."""
        return {**os.environ, ADDRESS_VARIABLE: self._dbus_address}

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name: "bus", "air", "bluez"."""
        return {name: child.process.pid for name, child in self._children.items()}

    def check(self) -> None:
        """Make sure that every process still runs.

        Raises:
            RadioError: one has ended; the message says which.
        """
        for child in self._children.values():
            if (code := child.process.poll()) is not None:
                raise RadioError(f"the radio's {child.name} ended with code {code}", hint=child._last_words())

    # Faults for tests ---------------------------------------------------------------------------------

    def cut_air(self) -> None:
        """Begin an outage: nothing crosses the air; connections end after their supervision timeout.

        Raises:
            RadioError: the air has ended.
        """
        self._children["air"].command("cut")

    def restore_air(self) -> None:
        """End an outage; connections that survived go on.

        Raises:
            RadioError: the air has ended.
        """
        self._children["air"].command("restore")

    def set_profile(self, profile: LinkProfile) -> None:
        """Change what the air is like; connections go on under the new profile, as `AirLink.set_profile` says.

        Raises:
            RadioError: the air has ended.
        """
        self._children["air"].command(f"set {profile}")
        self._profile = profile

    def kill_air(self) -> None:
        """Kill the air with SIGKILL: both hosts lose their controllers."""
        self._children["air"].kill()

    def kill_bluez(self) -> None:
        """Kill the façade with SIGKILL: the phone loses org.bluez, the glasses their central."""
        self._children["bluez"].kill()

    def restart_bluez(self) -> None:
        """Start the façade again after `kill_bluez`.

        Raises:
            RadioError: it cannot start.
        """
        old = self._children.pop("bluez")
        old.ask_to_end()
        old.end(time.monotonic() + STOP_S)
        self._start_bluez()

    # Start and end ------------------------------------------------------------------------------------

    def _spawn(self, name: str, arguments: list[str]) -> _Child:
        with self._lock:
            if self._ending or self._folder is None:
                raise RadioError("the radio is ending")
            folder = self._log_folder or self._folder
            # bluetoothd asks for the system bus; our own children are told in their arguments.
            environment = {**os.environ, "PYTHONUNBUFFERED": "1", ADDRESS_VARIABLE: self._dbus_address}
            child = self._children[name] = _Child(name, arguments, folder=folder, environment=environment)
            return child

    def _launch(self) -> None:
        """Start what has no need to wait for others. Runs on the thread that enters the context."""
        find_dbus_daemon()
        self._folder = Path(tempfile.mkdtemp(prefix="wayword-radio-"))
        if self._stack is RadioStack.BLUETOOTHD:
            bluetoothd.check_machine()
            bluetoothd.reset_storage(public_address(1), self.glasses_bonds, bonded=self._bonded)
        elif self._bonded:
            write_bond(self.glasses_bonds, self.phone_bonds)
        config, self._dbus_address = write_config(self._folder)
        self._spawn("bus", ["simulations.radio.follow", str(os.getpid()), *command_line(config)])
        link = f"--link={self._profile}"
        kernel = ["--vhci"] if self._stack is RadioStack.BLUETOOTHD else []
        trace = [] if self._trace is None else [f"--trace={self._trace.absolute()}"]
        options = ["--controllers=2", *kernel, link, *trace, f"--scratch={self._folder}"]
        self._spawn("air", ["simulations.radio.air", *options])

    def _connect(self) -> None:
        """Wait for the first children, then start the façade on them."""
        self._children["bus"].read_line(READY_S)
        self._ports = self._ready("air")["ports"]
        self._start_bluez()

    def _start_bluez(self) -> None:
        if self._stack is RadioStack.BLUETOOTHD:
            assert self._folder is not None
            program = bluetoothd.program(self._folder)
            self._spawn("bluez", ["simulations.radio.follow", str(os.getpid()), *program])
            bluetoothd.wait_for_adapter(self._dbus_address)
            return
        hci = self.phone_hci
        options = [f"--hci={hci}", f"--bus={self._dbus_address}", f"--keys={self.phone_bonds}"]
        self._spawn("bluez", ["simulations.radio.bluez", *options, *self._delays])
        self._ready("bluez")

    def _ready(self, name: str) -> dict[str, list[int]]:
        line = self._children[name].read_line(READY_S)
        try:
            facts: dict[str, list[int]] = json.loads(line)
        except ValueError as error:
            raise RadioError(f"the radio's {name} said {line[:100]!r} instead of being ready") from error
        return facts

    def close(self) -> None:
        """End all processes and remove the temporary files; safe to call twice."""
        with self._lock:
            self._ending = True
        deadline = time.monotonic() + STOP_S
        try:
            # The façade first, so that it can say goodbye on the bus and on the air.
            for name in ("bluez", "air", "bus"):
                if (child := self._children.get(name)) is not None:
                    child.ask_to_end()
                    child.end(deadline)
        finally:
            for child in self._children.values():
                child.process.kill()
                child.process.wait()
            self._children.clear()
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self._launch()
            self._connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        connecting: asyncio.Future[None] | None = None
        try:
            self._launch()
            connecting = asyncio.ensure_future(asyncio.to_thread(self._connect))
            await asyncio.shield(connecting)
        except BaseException:
            self.close()  # ends the children, which ends the waiting thread
            if connecting is not None:
                await asyncio.wait({connecting})
                connecting.exception()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A few milliseconds when the children are well, at most STOP_S when not; and never interrupted by cancellation.
        self.close()
