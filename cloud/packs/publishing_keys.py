"""Keys of a repository of packs: files that only their owner can read, known by what they are, not by their names."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner, SSlibKey

from shared.errors import StorageError, UsageError
from shared.files import replace_file

MAX_KEY_BYTES: Final = 16 * 1024
SUFFIX: Final = ".pem"


def make_key(folder: Path, name: str, *, passphrase: bytes | None = None) -> CryptoSigner:
    """Make an Ed25519 key and write it to ``folder/name.pem`` (PKCS#8, mode 0600).

    Args:
        folder: where keys are; made with mode 0700 where it is not there.
        name: of the file.
        passphrase: what the file is encrypted with; None for not at all.

    Raises:
        UsageError: there is a key of that name.
        StorageError: the disk refuses.
    """
    path = folder / f"{name}{SUFFIX}"
    private = Ed25519PrivateKey.generate()
    encryption = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists():
            raise UsageError(f"there is a key {path} already", hint="Keys are never overwritten: choose another folder")
        replace_file(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    except OSError as error:
        raise StorageError(f"cannot write the key {path}: {error.strerror}") from error
    return CryptoSigner(private)


def load_keys(folders: Iterable[Path], *, passphrase: bytes | None = None) -> dict[str, CryptoSigner]:
    """Every key in some folders, by key id.

    Args:
        folders: where keys are; folders, or key files themselves.
        passphrase: of those that are encrypted.

    Raises:
        UsageError: a file is no key, is encrypted with something else, or can be read by others than its owner.
        StorageError: it cannot be read.
    """
    signers: dict[str, CryptoSigner] = {}
    for folder in folders:
        if not folder.exists():
            raise UsageError(f"there are no keys at {folder}")
        for path in sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else [folder]:
            signer = _load(path, passphrase)
            signers[signer.public_key.keyid] = signer
    return signers


def _load(path: Path, passphrase: bytes | None) -> CryptoSigner:
    try:
        status = path.stat()
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise UsageError(f"others than its owner can use the key {path}", hint=f"run: chmod 600 {path}")
        if status.st_size > MAX_KEY_BYTES:
            raise UsageError(f"{path} is too large for a key")
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read the key {path}: {error.strerror}") from error
    encrypted = b"ENCRYPTED" in data
    if encrypted and passphrase is None:
        raise UsageError(f"the key {path} is encrypted", hint="Give its passphrase with --passphrase-file")
    try:
        private = load_pem_private_key(data, passphrase if encrypted else None)
    except (ValueError, TypeError) as error:
        reason = "its passphrase is another one" if encrypted else "it is no PEM key"
        raise UsageError(f"cannot use the key {path}: {reason}") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise UsageError(f"the key {path} is no Ed25519 key")
    return CryptoSigner(private, SSlibKey.from_crypto(private.public_key()))
