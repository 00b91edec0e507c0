"""Which kernel modules the virtual machine loads, and in which order.

Debian's kernel package comes without ``modules.dep`` (depmod makes it where the package is installed), but every module
names what it depends on in its ``.modinfo`` section, as zero-ended ``key=value`` strings.
"""

from __future__ import annotations

import lzma
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from simulations.radio.vm.errors import MachineUnavailable

WANTED: Final = (
    # The host's files and the place for results.
    "virtio_pci",
    "9p",
    "9pnet_virtio",
    "overlay",
    "virtio_rng",
    # What Bluetooth asks the crypto code for by name, so that no module depends on it: AES, and random numbers. drbg
    # asks for the others in turn, and fails for ever if they are not there when it is loaded and tested.
    "aes_generic",
    "ecb",
    "ctr",
    "cmac",
    "hmac",
    "sha512_generic",
    "drbg",
    # bluetoothd does its own sums through sockets.
    "algif_hash",
    "algif_skcipher",
    "bluetooth",
    "hci_vhci",
)
"""Modules by name; those that the kernel has built in are skipped."""

_DEPENDS: Final = re.compile(rb"\0depends=([^\0]*)\0")
_SUFFIX: Final = re.compile(r"\.ko(\.xz)?$")


def canonical(name: str) -> str:
    """A module's name as the kernel writes it: files may have dashes where the kernel has underscores."""
    return name.replace("-", "_")


def read_module(path: Path) -> bytes:
    """The module's ELF image, decompressed.

    Raises:
        MachineUnavailable: it cannot be read.
    """
    try:
        data = path.read_bytes()
        return lzma.decompress(data) if path.suffix == ".xz" else data
    except (OSError, lzma.LZMAError) as error:
        raise MachineUnavailable(f"kernel module {path} cannot be read: {error}") from error


def dependencies(image: bytes) -> list[str]:
    """Names of the modules that must be loaded before this one."""
    match = _DEPENDS.search(image)
    return [canonical(name) for name in match.group(1).decode().split(",") if name] if match else []


def index(folder: Path) -> dict[str, Path]:
    """Modules below `folder` by name."""
    return {canonical(_SUFFIX.sub("", path.name)): path for path in folder.rglob("*.ko*") if _SUFFIX.search(path.name)}


def built_in(folder: Path) -> frozenset[str]:
    """Names of the modules that the kernel of `folder` (``lib/modules/RELEASE``) has built in."""
    try:
        lines = (folder / "modules.builtin").read_text(encoding="utf-8").split()
    except OSError:
        return frozenset()
    return frozenset(canonical(_SUFFIX.sub("", line.rpartition("/")[2])) for line in lines)


def load_order(folder: Path, wanted: Sequence[str] = WANTED) -> list[Path]:
    """Files to load, each after everything it depends on.

    Args:
        folder: ``lib/modules/RELEASE``.
        wanted: module names.

    Raises:
        MachineUnavailable: the kernel has no such module, or modules depend on each other.
    """
    files, inside = index(folder), built_in(folder)
    order: dict[str, Path] = {}
    for name in wanted:
        _visit(canonical(name), files, inside, order, ())
    return list(order.values())


def _visit(
    name: str, files: Mapping[str, Path], inside: frozenset[str], order: dict[str, Path], above: tuple[str, ...]
) -> None:
    if name in order or name in inside:
        return
    if name in above:
        raise MachineUnavailable(f"kernel modules depend on each other: {', '.join((*above, name))}")
    if name not in files:
        needed_by = f", which {above[-1]} needs" if above else ""
        raise MachineUnavailable(f"the kernel has no module {name}{needed_by}")
    for dependency in dependencies(read_module(files[name])):
        _visit(dependency, files, inside, order, (*above, name))
    order[name] = files[name]
