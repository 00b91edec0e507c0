"""Runs one command in the virtual machine: QEMU's command line, the job, the deadline, the results."""

from __future__ import annotations

import contextlib
import os
import selectors
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from simulations.radio.bluetoothd import MACHINE_MARK
from simulations.radio.stack import BLUETOOTHD_VARIABLE, STACK_VARIABLE, RadioStack
from simulations.radio.vm.errors import MachineFailed
from simulations.radio.vm.initrd import build, guest_script
from simulations.radio.vm.parts import MachineParts

MEMORY_MB: Final = 1536
DEFAULT_DEADLINE_S: Final = 3600.0
BOOT_S: Final = 180.0
"""The guest has mounted the host's files within this time, or it never will."""
KILL_S: Final = 5.0
LINE_BYTES: Final = 64 * 1024
EXIT_CODE_FILE: Final = "exit-code"
GUEST_RESULTS: Final = "/run/wayword"
"""Where the guest sees the folder of results."""
_MARK: Final = "wayword-vm: "


class Accelerator(Enum):
    """What executes the guest.

    Attributes:
        TCG: software; works everywhere, some 20 times slower than the host.
        KVM: the processor itself; needs /dev/kvm.
    """

    TCG = "tcg"
    KVM = "kvm"


_PROCESSOR: Final = {
    # The guest's clock counts its instructions, a nanosecond each, while it works (and follows the host's while it
    # idles). So it sees a processor of one steady, sufficient speed, and no deadline of a test knows how slow the
    # emulation is or what else the host does. Such a guest has one processor. Newer ones cost more to emulate.
    Accelerator.TCG: ("-accel", "tcg", "-cpu", "Nehalem", "-smp", "1", "-icount", "shift=0,sleep=on"),
    Accelerator.KVM: ("-accel", "kvm", "-cpu", "host", "-smp", "2"),
}


@dataclass(frozen=True, slots=True)
class MachineOptions:
    """How the machine runs.

    Attributes:
        deadline_s: it is killed this long after its start.
        accelerator: what executes the guest.
        memory_mb: memory in MiB.
    """

    deadline_s: float = DEFAULT_DEADLINE_S
    accelerator: Accelerator = Accelerator.TCG
    memory_mb: int = MEMORY_MB


@dataclass(frozen=True, slots=True)
class MachineResult:
    """What a run gave.

    Attributes:
        exit_code: of the command.
        boot_s: seconds from QEMU's start until the guest reached the command.
        run_s: seconds of the command, by the host's clock.
    """

    exit_code: int
    boot_s: float
    run_s: float


def qemu_command(parts: MachineParts, initrd: Path, results: Path, options: MachineOptions) -> list[str]:
    """QEMU's command line. The guest's console is its standard output."""
    return [
        str(parts.qemu),
        *_PROCESSOR[options.accelerator],
        *("-m", str(options.memory_mb)),
        *("-nodefaults", "-no-user-config", "-no-reboot"),
        *("-display", "none"),
        *("-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"),
        *("-kernel", str(parts.kernel), "-initrd", str(initrd)),
        *("-append", f"console=ttyS0 quiet panic=-1 random.trust_cpu=1 mitigations=off {MACHINE_MARK}"),
        *_share("host", Path("/"), "readonly=on,multidevs=remap"),
        *_share("results", results, "multidevs=remap"),
        *("-device", "virtio-rng-pci"),
    ]


def _share(tag: str, folder: Path, more: str) -> tuple[str, ...]:
    path = str(folder).replace(",", ",,")  # QEMU's escape
    return (
        *("-fsdev", f"local,id={tag},path={path},security_model=none,{more}"),
        *("-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"),
    )


def guest_environment(parts: MachineParts) -> dict[str, str]:
    """Variables of the command in the guest, with this process's Python first on the path."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
        "HOME": str(Path.home()),
        "LANG": "C.UTF-8",
        "TMPDIR": "/run/tmp",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "120",
        STACK_VARIABLE: RadioStack.BLUETOOTHD.value,
        BLUETOOTHD_VARIABLE: str(parts.bluetoothd),
    }
    if parts.libraries:
        environment["LD_LIBRARY_PATH"] = ":".join(map(str, parts.libraries))
    return environment


def write_job(results: Path, command: Sequence[str], *, environment: Mapping[str, str], work: Path) -> None:
    """Write the guest's scripts into the folder that it sees as `GUEST_RESULTS`."""
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())
    (results / "command.sh").write_text(f"{exports}exec {shlex.join(command)}\n", encoding="utf-8")
    job = f"WORK={shlex.quote(str(work))}\n".encode() + guest_script("job.sh")
    (results / "job.sh").write_bytes(job)


def run(
    parts: MachineParts,
    command: Sequence[str],
    *,
    results: Path,
    work: Path,
    options: MachineOptions,
    on_line: Callable[[str], None],
) -> MachineResult:
    """Boot, run `command` in `work`, shut down.

    Whatever happens, QEMU has ended when this returns or raises; if this process is killed, QEMU ends too.

    Args:
        parts: what the machine is made of.
        command: program and arguments, as on the host.
        results: folder of the host that the guest can write to.
        work: working directory, a folder of the host.
        options: how to run.
        on_line: told what the guest's console shows, a line each.

    Raises:
        MachineUnavailable: a part cannot be read.
        MachineFailed: it did not boot, or not end in time.
    """
    for name in (EXIT_CODE_FILE, "kernel.log"):
        (results / name).unlink(missing_ok=True)
    write_job(results, command, environment=guest_environment(parts), work=work)
    initrd = results / "initrd"
    initrd.write_bytes(build(parts))
    started = time.monotonic()
    # QEMU follows no pipe; the parent-death signal ends it. In a session of its own, so that Ctrl-C comes only here.
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "simulations.radio.follow", str(os.getpid())),
            *qemu_command(parts, initrd, results, options),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        booted = follow_console(process, started, options, on_line)
        ended = time.monotonic()
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        initrd.unlink(missing_ok=True)
    try:
        code = int((results / EXIT_CODE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MachineFailed("the virtual machine ended without a result", hint="its last lines say why") from error
    return MachineResult(code, boot_s=booted - started, run_s=ended - booted)


def follow_console(
    process: subprocess.Popen[bytes], started: float, options: MachineOptions, on_line: Callable[[str], None]
) -> float:
    """Pass the console on until it ends; returns the time at which the guest had booted (monotonic).

    Raises:
        MachineFailed: the deadline of the boot or of the whole run passed, or the guest gave up.
    """
    assert process.stdout is not None
    booted: float | None = None
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            limit = options.deadline_s if booted is not None else min(BOOT_S, options.deadline_s)
            if not selector.select(max(0.0, started + limit - time.monotonic())):
                what = "end" if booted is not None else "boot"
                raise MachineFailed(f"the virtual machine did not {what} within {limit:g} s and was killed")
            chunk = os.read(process.stdout.fileno(), LINE_BYTES)
            *lines, pending = (pending + chunk).split(b"\n")
            if not chunk or len(pending) > LINE_BYTES:
                lines.append(pending)
                pending = b""
            for line in lines:
                text = line.decode(errors="replace").rstrip("\r")
                if text == f"{_MARK}booted":
                    booted = time.monotonic()
                elif text or chunk:
                    on_line(text)
            if not chunk:
                break
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(KILL_S)
    if booted is None:
        raise MachineFailed("the virtual machine ended before it had booted", hint="its last lines say why")
    return booted
