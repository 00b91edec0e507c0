"""The initial file system of the virtual machine: busybox, the modules, the first program."""

from __future__ import annotations

import gzip
import stat
from importlib import resources
from pathlib import Path
from typing import Final

from simulations.radio.vm.errors import MachineUnavailable
from simulations.radio.vm.modules import load_order, read_module
from simulations.radio.vm.parts import MachineParts

_TRAILER: Final = "TRAILER!!!"
_PROGRAM: Final = stat.S_IFREG | 0o755
_FILE: Final = stat.S_IFREG | 0o644
_FOLDER: Final = stat.S_IFDIR | 0o755


class CpioArchive:
    """Writer of the "newc" format (Linux, Documentation/driver-api/early-userspace/buffer-format.rst)."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._inode = 0

    def add(self, name: str, data: bytes = b"", *, mode: int) -> None:
        """Add a file or folder; `name` has no leading slash, and a folder comes before what is in it."""
        self._inode += 1
        path = name.encode() + b"\0"
        # Inode, mode, uid, gid, links, time, size, the file's device, its device number, length of the name, checksum.
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
        self._append(b"070701" + b"".join(b"%08X" % field for field in fields) + path)
        self._append(data)

    def _append(self, data: bytes) -> None:
        self._parts.append(data + bytes(-len(data) % 4))

    def finish(self) -> bytes:
        """The archive, ended."""
        self.add(_TRAILER, mode=0)
        return b"".join(self._parts)


def build(parts: MachineParts) -> bytes:
    """The initramfs, compressed.

    Raises:
        MachineUnavailable: a part cannot be read.
    """
    archive = CpioArchive()
    for folder in ("bin", "proc", "sys", "dev", "lower", "upper", "root", "modules"):
        archive.add(folder, mode=_FOLDER)
    try:
        archive.add("bin/busybox", parts.busybox.read_bytes(), mode=_PROGRAM)
    except OSError as error:
        raise MachineUnavailable(f"{parts.busybox} cannot be read: {error.strerror}") from error
    archive.add("init", guest_script("init.sh"), mode=_PROGRAM)
    for number, module in enumerate(load_order(parts.modules)):
        # Numbered, so that the names in their order are the order to load them in.
        archive.add(f"modules/{number:02}-{_plain_name(module)}", read_module(module), mode=_FILE)
    return gzip.compress(archive.finish(), compresslevel=1)


def _plain_name(module: Path) -> str:
    return module.name.removesuffix(".xz")


def guest_script(name: str) -> bytes:
    """A script of the package's ``guest`` folder."""
    return resources.files("simulations.radio.vm").joinpath("guest", name).read_bytes()
