"""What the virtual machine is made of: QEMU from the host; kernel, bluetoothd and busybox from Debian's packages.

Nothing needs to be installed for the latter three, and nobody needs to be root: ``apt-get download`` and ``dpkg -x``
into a cache folder do.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import platformdirs

from shared.errors import RadioError
from simulations.radio.bus import find_dbus_daemon
from simulations.radio.vm.errors import MachineUnavailable
from simulations.radio.vm.modules import load_order

QEMU: Final = "qemu-system-x86_64"
KERNEL_PACKAGE: Final = "linux-image-amd64"
"""Debian's name for its latest kernel; it depends on the package that has it."""
APT_S: Final = 300.0
"""A download of 75 MB and the unpacking end within this time, or the machine is unavailable."""
CACHE_VARIABLE: Final = "WAYWORD_RADIO_VM_CACHE"

_BLUETOOTHD: Final = ("usr/libexec/bluetooth/bluetoothd", "usr/lib/bluetooth/bluetoothd")
_BUSYBOX: Final = ("bin/busybox", "usr/bin/busybox")
_LIBRARIES: Final = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")
_VERSION_NUMBER: Final = re.compile(r"\d+")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class MachineParts:
    """Where everything is.

    Attributes:
        qemu: the emulator.
        kernel: bzImage.
        modules: ``lib/modules/RELEASE`` of that kernel.
        bluetoothd: BlueZ's daemon.
        busybox: statically linked.
        libraries: folders with libraries that bluetoothd needs and the host lacks.
    """

    qemu: Path
    kernel: Path
    modules: Path
    bluetoothd: Path
    busybox: Path
    libraries: tuple[Path, ...] = ()


def default_cache() -> Path:
    """``$WAYWORD_RADIO_VM_CACHE``, else ``wayword/radio-vm`` in the user's cache folder."""
    if configured := os.environ.get(CACHE_VARIABLE):
        return Path(configured).expanduser()
    return Path(platformdirs.user_cache_dir("wayword", appauthor=False)) / "radio-vm"


def prepare(cache: Path, say: Say) -> MachineParts:
    """Find all parts; download those that neither the cache nor the host has.

    Args:
        cache: folder for downloaded parts.
        say: told what is done, a line each.

    Raises:
        MachineUnavailable: something is missing and cannot be had; the hint says what to do.
    """
    qemu = find_qemu()
    try:
        find_dbus_daemon()
    except RadioError as error:
        raise MachineUnavailable(error.message, hint=error.hint) from error
    tree = cache / "tree"
    roots = (tree, Path("/"))
    missing = [
        package
        for package, found in (
            (KERNEL_PACKAGE, find_kernel(roots)),
            ("bluez", find_program(roots, _BLUETOOTHD)),
            ("busybox-static", find_busybox(roots)),
        )
        if found is None
    ]
    if missing:
        fetch(missing, cache, say)
    kernel, bluetoothd, busybox = find_kernel(roots), find_program(roots, _BLUETOOTHD), find_busybox(roots)
    if kernel is None or bluetoothd is None or busybox is None:
        raise MachineUnavailable(f"{', '.join(missing)} does not contain what the machine needs")
    libraries = tuple(tree / folder for folder in _LIBRARIES if (tree / folder).is_dir())
    check_libraries(bluetoothd, libraries)
    return MachineParts(qemu, *kernel, bluetoothd, busybox, libraries)


# What there is ------------------------------------------------------------------------------------------


def find_qemu() -> Path:
    """The emulator.

    Raises:
        MachineUnavailable: it is not installed, or this is no Linux on x86-64, whose programs the guest runs.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise MachineUnavailable(f"the virtual machine needs Linux on x86-64, not {sys.platform} {platform.machine()}")
    if (program := shutil.which(QEMU)) is None:
        raise MachineUnavailable(f"{QEMU} is not installed", hint="apt install qemu-system-x86")
    return Path(program)


def find_kernel(roots: Iterable[Path]) -> tuple[Path, Path] | None:
    """Kernel and module folder: the newest complete one of the first root that has any."""
    for root in roots:
        for kernel in sorted((root / "boot").glob("vmlinuz-*"), key=_version, reverse=True):
            release = kernel.name.removeprefix("vmlinuz-")
            for modules in (root / "lib/modules" / release, root / "usr/lib/modules" / release):
                if os.access(kernel, os.R_OK) and modules.is_dir() and _is_complete(modules):
                    return kernel, modules
    return None


def _version(kernel: Path) -> list[int]:
    return [int(number) for number in _VERSION_NUMBER.findall(kernel.name)]


def _is_complete(modules: Path) -> bool:
    try:
        load_order(modules)
    except MachineUnavailable:
        return False
    return True


def find_program(roots: Iterable[Path], names: Sequence[str]) -> Path | None:
    """The first of `names` in the first root that has one."""
    return next((root / name for root in roots for name in names if os.access(root / name, os.X_OK)), None)


def find_busybox(roots: Iterable[Path]) -> Path | None:
    """A busybox that needs no libraries."""
    candidates = (root / name for root in roots for name in _BUSYBOX)
    return next((path for path in candidates if os.access(path, os.X_OK) and _is_static(path)), None)


def _is_static(program: Path) -> bool:
    with program.open("rb") as file:
        # The interpreter's path stands right behind the program headers.
        return b"/ld-linux" not in file.read(4096)


def check_libraries(program: Path, folders: Sequence[Path]) -> None:
    """Make sure that a program finds its libraries.

    Raises:
        MachineUnavailable: it does not.
    """
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, folders))}
    listed = _run(["ldd", str(program)], environment=environment)
    if lost := [line.split()[0] for line in listed.splitlines() if "not found" in line]:
        raise MachineUnavailable(f"{program} needs {', '.join(lost)}", hint="apt install bluez")


# What can be had ----------------------------------------------------------------------------------------


def fetch(packages: Sequence[str], cache: Path, say: Say) -> None:
    """Download packages and unpack them into ``cache/tree``.

    Raises:
        MachineUnavailable: there is no apt, no network, or no such package.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise MachineUnavailable(
            f"{', '.join(packages)} not installed, and without apt they cannot be downloaded",
            hint="install a kernel with hci_vhci, BlueZ and a static busybox",
        )
    try:
        (cache / "tree").mkdir(parents=True, exist_ok=True)
        # On the cache's own disk, so that a complete tree can be moved into place.
        with tempfile.TemporaryDirectory(dir=cache, prefix="fetch-") as folder:
            _fetch(list(packages), Path(folder), cache / "tree", say)
    except OSError as error:
        raise MachineUnavailable(f"cannot write to {cache}: {error.strerror}") from error


def _fetch(packages: list[str], folder: Path, tree: Path, say: Say) -> None:
    if KERNEL_PACKAGE in packages:
        packages[packages.index(KERNEL_PACKAGE)] = _kernel_package()
    say(f"downloading {', '.join(packages)}")
    _download(packages, folder)
    if bluez := next(folder.glob("bluez_*.deb"), None):
        libraries = [name for name in _depends(bluez) if name.startswith("lib") and not _is_installed(name)]
        if libraries:
            say(f"downloading {', '.join(libraries)}")
            _download(libraries, folder)
    unpacked = folder / "tree"
    for package in sorted(folder.glob("*.deb")):
        say(f"unpacking {package.name}")
        _run(["dpkg", "-x", str(package), str(unpacked)])
    _keep_loaded_modules(unpacked)
    shutil.copytree(unpacked, tree, symlinks=True, dirs_exist_ok=True)


def _kernel_package() -> str:
    listed = _run(["apt-cache", "depends", KERNEL_PACKAGE])
    names = [line.split()[-1] for line in listed.splitlines() if "Depends: linux-image-" in line]
    if not names:
        raise MachineUnavailable(f"apt knows no {KERNEL_PACKAGE}", hint="run: apt-get update")
    return names[0]


def _download(packages: Sequence[str], folder: Path) -> None:
    _run(["apt-get", "download", *packages], folder=folder, hint="run: apt-get update")


def _depends(package: Path) -> list[str]:
    field = _run(["dpkg-deb", "--field", str(package), "Depends"])
    return [dependency.split("|")[0].split()[0] for dependency in field.split(",") if dependency.strip()]


def _is_installed(package: str) -> bool:
    result = subprocess.run(["dpkg-query", "--show", package], capture_output=True, check=False, timeout=APT_S)
    return result.returncode == 0


def _keep_loaded_modules(tree: Path) -> None:
    """Remove the modules that are never loaded: 350 of 360 MB."""
    for modules in [*(tree / "lib/modules").glob("*"), *(tree / "usr/lib/modules").glob("*")]:
        wanted = set(load_order(modules))
        for path in modules.rglob("*.ko*"):
            if path not in wanted:
                path.unlink()


def _run(
    command: Sequence[str],
    *,
    folder: Path | None = None,
    environment: dict[str, str] | None = None,
    hint: str = "",
) -> str:
    try:
        result = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=APT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MachineUnavailable(f"{command[0]} failed: {error}", hint=hint) from error
    if result.returncode != 0:
        words = (result.stderr.strip().splitlines() or [f"exit code {result.returncode}"])[-1]
        raise MachineUnavailable(f"{' '.join(command[:2])} failed: {words[:300]}", hint=hint)
    return result.stdout
