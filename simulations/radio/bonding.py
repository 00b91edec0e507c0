"""Bonds made ahead of time, so that the emulated glasses and phone need not be paired by hand first.

What pairing leaves behind on both sides is one random number each way round: the long term key (Core, Vol 3, Part H,
2.4.4). This module writes such a key where each side looks for it: Bumble's key files for the glasses and the
``org.bluez`` façade, and bluetoothd's ``info`` file for the real daemon.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shared.errors import RadioError

GLASSES_ADDRESS: Final = "F0:57:41:59:57:44"
"""Random static address of the emulated glasses (`glasses.peripheral.DEFAULT_ADDRESS`)."""
PHONE_ADDRESS: Final = "E0:57:41:59:57:4F"
"""Random static address of the façade's adapter (Core, Vol 6, Part B, 1.3.2.1): a phone keeps it over a restart."""
LTK_BYTES: Final = 16

_PUBLIC: Final = "/P"  # how Bumble marks a public address in a key file
_TYPE_PUBLIC: Final = 0
_TYPE_RANDOM: Final = 1
_MGMT_LTK_P256_AUTH: Final = 3  # BlueZ, doc/mgmt-api.txt, Load Long Term Keys: "Authenticated P-256 key"


@dataclass(frozen=True, slots=True)
class Bond:
    """What two devices keep from an LE Secure Connections pairing with numeric comparison.

    Attributes:
        ltk: long term key, 16 bytes in the order in which HCI carries them (least significant first).
        glasses: the glasses' identity address, as Bumble writes it: six hexadecimal bytes, "/P" behind a public one.
        phone: the phone's.
    """

    ltk: bytes
    glasses: str = GLASSES_ADDRESS
    phone: str = PHONE_ADDRESS

    def __repr__(self) -> str:
        return f"Bond({self.glasses} with {self.phone})"  # a key has no business in a log


def new_bond(*, glasses: str = GLASSES_ADDRESS, phone: str = PHONE_ADDRESS) -> Bond:
    """A bond with a fresh random key."""
    return Bond(secrets.token_bytes(LTK_BYTES), glasses, phone)


def write_bond(glasses_file: Path, phone_file: Path, bond: Bond | None = None) -> Bond:
    """Write both halves of a bond into two Bumble key files; what else they hold stays.

    Each side finds the bond with ``JsonKeyStore(namespace, filename)``, where the namespace is its own identity address
    (`Bond.glasses`, `Bond.phone`). Bumble's ``JsonKeyStore.from_device`` would take the controller's public address.

    Args:
        glasses_file: the glasses' key file.
        phone_file: the façade's key file.
        bond: None: a new one.

    Returns:
        The bond written.

    Raises:
        RadioError: a file cannot be read or written.
    """
    bond = bond or new_bond()
    write_half(glasses_file, own=bond.glasses, peer=bond.phone, ltk=bond.ltk)
    write_half(phone_file, own=bond.phone, peer=bond.glasses, ltk=bond.ltk)
    return bond


def write_half(file: Path, *, own: str, peer: str, ltk: bytes) -> None:
    """Write one side's half of a bond into a Bumble key file.

    Raises:
        RadioError: the file cannot be read or written.
    """
    try:
        database: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        database.setdefault(own, {})[peer] = {
            "address_type": _TYPE_PUBLIC if peer.endswith(_PUBLIC) else _TYPE_RANDOM,
            "ltk": {"value": ltk.hex(), "authenticated": True},
        }
        temporary = file.with_name(file.name + ".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as output:
            json.dump(database, output, indent=2, sort_keys=True)
        temporary.replace(file)
    except (OSError, ValueError, AttributeError) as error:
        raise RadioError(f"the bond cannot be written to {file}: {error}") from error


def bluetoothd_info(bond: Bond, *, name: str = "Wayword glasses", trusted: bool = True) -> str:
    """A bond as bluetoothd stores it, for the file ``STORAGE/ADAPTER/DEVICE/info`` (see `bluetoothd_path`).

    The format is that of BlueZ's doc/settings-storage.txt. The kernel counts an LE Secure Connections key among
    the "peripheral" ones, since the same key serves both roles; bluetoothd writes it under the old and the new name.
    ``Authenticated`` is the key type of the kernel's management interface: 3, an authenticated P-256 key.
    The daemon reads these files only when it starts.
    """
    groups = [
        "[General]",
        f"Name={name}",
        f"AddressType={'public' if bond.glasses.endswith(_PUBLIC) else 'static'}",
        "SupportedTechnologies=LE;",
        f"Trusted={'true' if trusted else 'false'}",
        "Blocked=false",
        "",
    ]
    for group in ("PeripheralLongTermKey", "SlaveLongTermKey"):
        groups += [
            f"[{group}]",
            f"Key={bond.ltk.hex().upper()}",
            f"Authenticated={_MGMT_LTK_P256_AUTH}",
            f"EncSize={len(bond.ltk)}",
            "EDiv=0",
            "Rand=0",
            "",
        ]
    return "\n".join(groups)


def bluetoothd_path(bond: Bond, *, storage: Path = Path("/var/lib/bluetooth")) -> Path:
    """Where bluetoothd looks for `bluetoothd_info`: by the adapter's address and the device's."""
    return storage / bond.phone.removesuffix(_PUBLIC) / bond.glasses.removesuffix(_PUBLIC) / "info"
