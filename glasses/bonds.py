"""The phones these glasses are paired with, in a file that Bumble's own key store could read too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bumble.hci import Address
from bumble.keys import KeyStore, PairingKeys

from shared.clock import Clock
from shared.errors import BondsDamaged, StorageError
from shared.files import replace_file

MAX_BONDS: Final = 8
"""Phones remembered; the one paired longest ago makes room."""
MAX_FILE_BYTES: Final = 65_536
MAX_DEPTH: Final = 8
"""Of the file's objects: Bumble's format has four. Deeper ones would exhaust the parser's stack before its checks."""
KEY_BYTES: Final = 16

_PAIRED: Final = "paired"  # a name of our own beside Bumble's: seconds since the Unix epoch


@dataclass(frozen=True, slots=True)
class Bond:
    """One paired phone.

    Attributes:
        address: its identity address, such as "E0:57:41:59:57:4F" ("/P" at the end marks a public one).
        keys: what was exchanged; the long-term key is authenticated and of Secure Connections.
        paired: when, in seconds since the Unix epoch; None if the file does not say.
    """

    address: str
    keys: PairingKeys
    paired: float | None


def is_authenticated(keys: PairingKeys | None) -> bool:
    """Whether the keys come from Secure Connections pairing with compared numbers.

    Legacy pairing leaves two keys (one a role) and no common one; Just Works leaves one that is not authenticated.
    """
    return keys is not None and keys.ltk is not None and keys.ltk.authenticated and len(keys.ltk.value) == KEY_BYTES


class BondStore(KeyStore):
    """`bumble.keys.KeyStore` in a JSON file, or in memory only.

    Everything is held in memory; the file is written whole, beside the old one, and put in its place. Bonds that are
    not authenticated are neither read nor kept. A new bond is written behind the caller's back (see `written`): Bumble
    gives up a pairing, and tells nobody, when the phone leaves while the keys are still being stored.

    Args:
        path: the file; None: memory only.
        clock: dates the bonds.
        namespace: name of our part of the file, as in Bumble's format; a file with one part is ours whatever its name.
        report: told about a damaged file, bonds left out, and a bond that could not be written, a typed error each.

    Raises:
        StorageError: the file cannot be read, or a damaged one cannot be set aside.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        clock: Clock,
        namespace: str = "glasses",
        report: Callable[[StorageError], None] | None = None,
    ) -> None:
        self._path = path
        self._clock = clock
        self._namespace = namespace
        self._report = report or (lambda _error: None)
        self._writing = asyncio.Lock()
        self._writers: set[asyncio.Task[None]] = set()
        self._others: dict[str, Any] = {}
        self._bonds: dict[str, Bond] = {}
        if path is not None:
            self._read(path)

    # What is known ------------------------------------------------------------------------------------

    def bonds(self) -> list[Bond]:
        """All of them, the oldest first."""
        return list(self._bonds.values())

    def knows(self, address: str) -> bool:
        """Whether the phone with this identity address is paired."""
        return address in self._bonds

    async def get(self, name: str) -> PairingKeys | None:
        """The keys of one phone."""
        bond = self._bonds.get(name)
        return None if bond is None else bond.keys

    async def get_all(self) -> list[tuple[str, PairingKeys]]:
        """The keys of every phone."""
        return [(bond.address, bond.keys) for bond in self._bonds.values()]

    # Changes ------------------------------------------------------------------------------------------

    async def update(self, name: str, keys: PairingKeys) -> None:
        """Remember a phone, the oldest giving way to it; the file follows, and if it cannot, that is reported.

        Raises:
            StorageError: the bond is not authenticated, and was not kept.
        """
        if not is_authenticated(keys):
            raise StorageError(f"the bond with {name} is not authenticated; it was not kept")
        self._bonds.pop(name, None)
        while len(self._bonds) >= MAX_BONDS:
            del self._bonds[next(iter(self._bonds))]
        self._bonds[name] = Bond(name, keys, self._clock.wall())
        writer = asyncio.get_running_loop().create_task(self._write_behind(name))
        self._writers.add(writer)
        writer.add_done_callback(self._writers.discard)

    async def delete(self, name: str) -> None:
        """Forget one phone; nothing happens if it is not known.

        Raises:
            StorageError: the file cannot be written; the phone is forgotten until this process ends.
        """
        if self._bonds.pop(name, None) is not None:
            await self.save()

    async def delete_all(self) -> None:
        """Forget every phone.

        Raises:
            StorageError: the file cannot be written; the phones are forgotten until this process ends.
        """
        if self._bonds:
            self._bonds.clear()
            await self.save()

    async def _write_behind(self, name: str) -> None:
        try:
            await self.save()
        except StorageError as error:
            problem = f"{name} is remembered only until the glasses restart: {error.message}"
            self._report(StorageError(problem, hint=error.hint))

    async def written(self) -> None:
        """Wait until every new bond is in the file, or its failure was reported."""
        if self._writers:
            await asyncio.wait(self._writers)

    async def save(self) -> None:
        """Write the file; also a way to find out beforehand whether that works.

        Raises:
            StorageError: it cannot be written: the disk is full, say.
        """
        if self._path is None:
            return
        async with self._writing:
            document = json.dumps(self._document(), indent=2).encode()
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                await asyncio.to_thread(replace_file, self._path, document)
            except OSError as error:
                why = f"cannot write the file of paired phones {self._path}: {error.strerror}"
                raise StorageError(why, hint="free some space, or set another file with --bonds") from error

    def _document(self) -> dict[str, Any]:
        ours: dict[str, Any] = {}
        for bond in self._bonds.values():
            ours[bond.address] = bond.keys.to_dict()
            if bond.paired is not None:
                ours[bond.address][_PAIRED] = bond.paired
        return {**self._others, self._namespace: ours}

    # Reading ------------------------------------------------------------------------------------------

    def _read(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(f"cannot read the file of paired phones {path}: {error.strerror}") from error
        try:
            self._take(content)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            self._bonds.clear()
            self._others.clear()
            self._set_aside(path, error)

    def _take(self, content: bytes) -> None:
        if len(content) > MAX_FILE_BYTES:
            raise ValueError(f"it has more than {MAX_FILE_BYTES} bytes")
        if _depth(content) > MAX_DEPTH:
            raise ValueError(f"it is nested deeper than {MAX_DEPTH}")
        document = json.loads(content)
        if not isinstance(document, dict) or not all(isinstance(part, dict) for part in document.values()):
            raise ValueError("it is no object of objects")
        if len(document) == 1:
            (self._namespace,) = document
        ours = document.pop(self._namespace, {})
        self._others = document
        left_out = 0
        for address, entry in ours.items():
            keys = PairingKeys.from_dict(entry)
            Address(address)
            if keys.irk is not None and len(keys.irk.value) != KEY_BYTES:
                raise ValueError("an identity key has the wrong length")
            paired = entry.get(_PAIRED)
            if paired is not None and not isinstance(paired, int | float):
                raise ValueError("a date is no number")
            if is_authenticated(keys):
                self._bonds[address] = Bond(address, keys, paired)
            else:
                left_out += 1
        if left_out:
            self._report(StorageError(f"{left_out} of the bonds in the file are not authenticated; left out"))
        while len(self._bonds) > MAX_BONDS:
            del self._bonds[next(iter(self._bonds))]

    def _set_aside(self, path: Path, why: Exception) -> None:
        aside = next(p for n in range(1, 10_000) if not (p := path.with_name(f"{path.name}.damaged-{n}")).exists())
        try:
            path.rename(aside)
        except OSError as error:
            raise StorageError(
                f"the file of paired phones {path} is damaged and cannot be set aside: {error.strerror}"
            ) from error
        self._report(
            BondsDamaged(
                f"the file of paired phones {path} is damaged ({why}); it was set aside as {aside.name}",
                hint="pair the phones again",
            )
        )


def _depth(content: bytes) -> int:
    """How deep the brackets of a JSON text are nested, at most (those in strings are counted too)."""
    deepest = depth = 0
    for byte in content:
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest
