"""The whole system as processes: radio, cloud, phone, and glasses that play one input after another."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from glasses.button import Press, press
from shared.clock import Clock
from shared.errors import PackMissing, WaywordError
from shared.models.packs import PackStore, default_store_root
from simulations.radio import LinkProfile, RadioProcesses
from simulations.radio.bus import ADDRESS_VARIABLE
from simulations.results import Event, read_events
from simulations.supervisor import ProcessFailed, Supervisor, describe

DEFAULT_PACKS = ("ocr-tiny-det", "ocr-tiny-rec", "ocr-small-det", "ocr-small-rec", "ocr-cls", "mt-pt-en", "mt-en-pt")
START_TIMEOUT_S = 60.0
RESTARTS = 3
POLL_S = 0.05


@dataclass(frozen=True)
class SystemOptions:
    """How a system is set up.

    Attributes:
        link: shape of the Bluetooth link.
        cloud: whether a cloud runs.
        recogniser: the phone's choice, "auto", "tiny" or "small".
        battery: the phone's battery in percent; None for what the machine says.
        store: where the packs are.
        pair: whether glasses and phone are paired by hand first; else they have been paired long ago.
    """

    link: LinkProfile
    store: PackStore
    cloud: bool = True
    recogniser: str = "auto"
    battery: int | None = None
    pair: bool = False


class WaywordSystem:
    """Async context manager around the processes of one run.

    Args:
        options: the set-up.
        clock: for time-outs.
        on_event: told about starts, faults and restarts, a line each.
        folder: where logs, events and sockets go; a temporary folder by default, removed at the end.

    Raises:
        PackMissing: a default pack is not installed.
        RadioError: the emulated radio cannot start.
        ProcessFailed: a tier ended while starting; carries its own error line.
    """

    def __init__(
        self, options: SystemOptions, *, clock: Clock, on_event: Callable[[str], None], folder: Path | None = None
    ) -> None:
        self._options = options
        self._clock = clock
        self._on_event = on_event
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="wayword-"))
        self.supervisor = Supervisor(self.folder, on_event)
        self._stack = AsyncExitStack()
        self._radio: RadioProcesses | None = None
        self._plays = 0

    async def __aenter__(self) -> WaywordSystem:
        try:
            self._check_packs()
            radio = RadioProcesses(self._options.link, bonded=not self._options.pair)
            self._radio = await self._stack.enter_async_context(radio)
            self._stack.push_async_callback(self.supervisor.stop)
            if self._options.cloud:
                await self._start_cloud()
            # The phone loads its models, which takes longer than to pair.
            async with asyncio.TaskGroup() as group:
                group.create_task(self._start_phone())
                if self._options.pair:
                    group.create_task(self._pair())
        except BaseExceptionGroup as group_of_errors:
            await self._end()
            raise group_of_errors.exceptions[0] from group_of_errors
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    def _check_packs(self) -> None:
        store, missing = self._options.store, []
        for name in DEFAULT_PACKS:
            try:
                store.get(name)
            except PackMissing:
                missing.append(name)
        if missing:
            names = "pack " + missing[0] if len(missing) == 1 else "packs " + ", ".join(missing)
            verb = "is" if len(missing) == 1 else "are"
            where = "" if store.root == default_store_root().absolute() else f" --packs {store.root}"
            raise PackMissing(
                f"{names} {verb} not installed in {store.root}", hint=f"run: wayword-phone packs install{where}"
            )

    async def _end(self) -> None:
        await self._stack.aclose()
        if self._temporary:
            await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    @property
    def database(self) -> Path:
        """The phone's database, with the ledger."""
        return self.folder / "phone.sqlite"

    def events(self) -> list[Event]:
        """Everything the tiers logged so far."""
        return read_events(*sorted(self.folder.glob("*.events.jsonl")))

    async def play(
        self, source: list[str], *, out: Path, record: Path | None = None, extra: tuple[str, ...] = ()
    ) -> None:
        """Run the glasses on one input until they end by themselves.

        Args:
            source: glasses arguments that name the input, such as ["--image", "sign.jpg"].
            out: .png or .mp4 to write.
            record: folder for the strips as sent.
            extra: more glasses arguments.

        Raises:
            ProcessFailed: the glasses ended with an error of their own.
        """
        assert self._radio is not None
        self._plays += 1
        command = [
            *self._command("wayword-glasses"),
            *source,
            "--hci",
            self._radio.glasses_hci,
            "--out",
            str(out),
            "--packs",
            str(self._options.store.root),
            *self._event_arguments("glasses"),
            *extra,
        ]
        if record is not None:
            command += ["--record", str(record)]
        child = await self.supervisor.start("glasses", command, environment=self._environment(), restarts=RESTARTS)
        code = await self.supervisor.wait("glasses")
        if code != 0:
            raise ProcessFailed(child.last_line() or f"the glasses ended: {describe(code)}")

    async def start_helper(self, name: str, command: list[str], *, ready: Callable[[], bool]) -> None:
        """Start a process of the run's own, such as the scene, and wait until it is ready.

        Raises:
            ProcessFailed: it ended, or was not ready in time.
        """
        await self.supervisor.start(name, command, environment=self._environment())
        await self._until(ready, name)

    async def _start_cloud(self) -> None:
        port_file = self.folder / "cloud.port"
        await self.supervisor.start(
            "cloud",
            [
                *self._command("wayword-cloud"),
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--port-file",
                str(port_file),
                "--packs",
                str(self._options.store.root),
                "--events",
                str(self._events("cloud")),
            ],
            environment=self._environment(),
        )
        await self._until(port_file.exists, "cloud")
        # A restarted cloud has to be found where the phone looks for it.
        address = f"127.0.0.1:{port_file.read_text(encoding='utf-8').strip().rpartition(':')[2]}"
        child = self.supervisor.children["cloud"]
        child.command = [address if part == "127.0.0.1:0" else part for part in child.command]
        child.restarts_left = RESTARTS
        self._cloud_address = address

    async def _start_phone(self) -> None:
        options = self._options
        command = [
            *self._command("wayword-phone"),
            "run",
            "--database",
            str(self.database),
            "--recogniser",
            options.recogniser,
            "--packs",
            str(options.store.root),
            *self._event_arguments("phone"),
            *(["--cloud", self._cloud_address] if options.cloud else ["--no-cloud"]),
            *(["--battery", str(options.battery)] if options.battery is not None else []),
        ]
        await self.supervisor.start("phone", command, environment=self._environment(), restarts=RESTARTS)
        events = self._events("phone")
        await self._until(
            lambda: events.exists() and any(e["event"] == "started" for e in read_events(events)), "phone"
        )

    async def _pair(self) -> None:
        """Do what a user does: hold the button, run ``wayword-phone pair``, compare the numbers, say yes twice.

        Raises:
            ProcessFailed: glasses or phone ended; with their own error line.
            LinkError: the glasses do not answer.
        """
        assert self._radio is not None
        command = [*self._command("wayword-glasses"), "--idle", "--hci", self._radio.glasses_hci]
        await self.supervisor.start("pairing", command, environment=self._environment())
        await self._until(self._button.exists, "pairing")
        opened = await press(self._button, Press.PAIR, clock=self._clock)
        if not opened.ok:
            raise ProcessFailed(opened.say, hint=opened.hint)
        phone = await asyncio.create_subprocess_exec(
            *self._command("wayword-phone"),
            "pair",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment(),
        )
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                assert phone.stdout is not None
                number = (await phone.stdout.readline()).decode().removeprefix("number").strip()
                shown = await press(self._button, Press.LOOK, clock=self._clock)
                same = bool(number) and number == shown.number
                if number:
                    await press(self._button, Press.YES if same else Press.NO, clock=self._clock)
                _, complaint = await phone.communicate(b"yes\n" if same else b"no\n")
        except TimeoutError as error:
            raise ProcessFailed(f"glasses and phone were not paired within {START_TIMEOUT_S:.0f} s") from error
        finally:
            if phone.returncode is None:
                phone.kill()
                await phone.wait()
        if phone.returncode != 0:
            said = complaint.decode(errors="replace").strip().splitlines()
            # A phone that was killed ends without a word.
            raise ProcessFailed(said[-1] if said else "the phone ended before it was paired")
        self._on_event(f"glasses and phone are paired: both showed {number}")
        await self.supervisor.stop("pairing")

    @property
    def _button(self) -> Path:
        """The glasses' button. Beside the radio's own sockets: a path of a socket must be short."""
        assert self._radio is not None
        return self._radio.glasses_bonds.with_name("button.sock")

    async def _until(self, ready: Callable[[], bool], name: str) -> None:
        """Wait for a child's sign of life; a child that ended first is an error in its own words."""
        deadline = self._clock.monotonic() + START_TIMEOUT_S
        child = self.supervisor.children[name]
        while not ready():
            if child.watcher is not None and child.watcher.done():
                raise ProcessFailed(child.last_line() or f"{name} ended while starting")
            if self._clock.monotonic() > deadline:
                raise ProcessFailed(f"{name} did not start within {START_TIMEOUT_S:.0f} s", hint=child.last_line())
            await self._clock.sleep(POLL_S)

    def _command(self, program: str) -> list[str]:
        """The program that is installed beside this interpreter."""
        path = Path(sys.executable).parent / program
        if not path.exists():
            raise WaywordError(
                f"{program} is not installed beside {sys.executable}", hint="run: pip install 'wayword[sim]'"
            )
        return [str(path)]

    def _event_arguments(self, tier: str) -> list[str]:
        return ["--events", str(self._events(tier)), "--events-content"]

    def _events(self, tier: str) -> Path:
        return self.folder / f"{tier}.events.jsonl"

    def _environment(self) -> dict[str, str]:
        assert self._radio is not None
        return {
            **os.environ,
            ADDRESS_VARIABLE: self._radio.dbus_address,
            "WAYWORD_GLASSES_BONDS": str(self._radio.glasses_bonds),
            "WAYWORD_GLASSES_CONTROL": str(self._button),
            "PYTHONUNBUFFERED": "1",
            # Three tiers share this machine; each would otherwise start a thread a core for every library.
            "OMP_NUM_THREADS": "1",
        }
