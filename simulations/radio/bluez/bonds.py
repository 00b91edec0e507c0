"""What the façade remembers of devices over a restart: their bonds and a few properties.

bluetoothd keeps the same in ``/var/lib/bluetooth/ADAPTER/DEVICE/info``. Here the keys are in a Bumble key file, and
the rest is in a file beside it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bumble.hci import Address
from bumble.keys import JsonKeyStore, KeyStore, MemoryKeyStore, PairingKeys

from shared.errors import RadioError

KNOWN_SUFFIX: Final = ".known"
MAX_KNOWN_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Known:
    """What is remembered of a bonded device besides its keys.

    Attributes:
        name: its name; empty: never heard.
        trusted: Device1.Trusted.
    """

    name: str = ""
    trusted: bool = False


class BondStore:
    """Bonds and remembered properties, by identity address.

    Args:
        own: the adapter's identity address, the namespace in the key file.
        file: the Bumble key file, made when first written; None: nothing outlives the process.

    Raises:
        RadioError: the files are not readable as what they should be.
    """

    def __init__(self, own: Address, file: Path | None) -> None:
        self._file = file
        self.keystore: KeyStore = MemoryKeyStore() if file is None else JsonKeyStore(str(own), str(file))
        self._known: dict[str, Known] = {}
        self._bonds: dict[str, PairingKeys] = {}
        beside = self._beside()
        if beside is None or not beside.exists():
            return
        try:
            with beside.open(encoding="utf-8") as source:
                entries = json.loads(source.read(MAX_KNOWN_BYTES))
            self._known = {address: Known(str(e["name"]), bool(e["trusted"])) for address, e in entries.items()}
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise RadioError(f"{beside} cannot be read: {error}") from error

    def _beside(self) -> Path | None:
        return None if self._file is None else self._file.with_name(self._file.name + KNOWN_SUFFIX)

    async def load(self) -> None:
        """Read the bonds, at the start and after every change.

        Raises:
            RadioError: the key file is not readable as one.
        """
        try:
            self._bonds = dict(await self.keystore.get_all())
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise RadioError(f"the key file {self._file} cannot be read: {error}") from error

    @property
    def addresses(self) -> list[Address]:
        """Identity addresses of all bonded devices."""
        return [Address(text) for text in self._bonds]

    def keys(self, address: Address) -> PairingKeys | None:
        """Keys of the bond with a device, or None."""
        return self._bonds.get(str(address))

    def known(self, address: Address) -> Known:
        """What is remembered of a device."""
        return self._known.get(str(address), Known())

    def remember(self, address: Address, known: Known) -> None:
        """Keep properties of a bonded device."""
        if self._known.get(str(address)) != known:
            self._known[str(address)] = known
            self._save()

    async def forget(self, address: Address) -> None:
        """Delete the bond with a device, and all that is remembered of it.

        Raises:
            RadioError: the key file is not readable as one.
        """
        await self.load()
        if str(address) in self._bonds:
            await self.keystore.delete(str(address))
            await self.load()
        if self._known.pop(str(address), None) is not None:
            self._save()

    def _save(self) -> None:
        beside = self._beside()
        if beside is not None:
            temporary = beside.with_name(beside.name + ".new")
            temporary.write_text(json.dumps({address: asdict(known) for address, known in self._known.items()}))
            temporary.replace(beside)
