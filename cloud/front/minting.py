"""Making tokens: what `wayword-cloud token` does, so that a household needs no issuer."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from cloud.callers import Scope
from cloud.front.token_keys import MAX_KEY_FILE_BYTES, TokenKey, algorithm_of, secret_key
from cloud.front.tokens import DEVICE, TokenRules
from shared.errors import StorageError, UsageError

SECRET_BYTES: Final = 48
MAX_DAYS: Final = 3660.0
_DAY_S: Final = 86_400.0


def mint(
    key: TokenKey,
    *,
    device: str,
    scopes: Iterable[Scope],
    days: float,
    rules: TokenRules,
    now: float,
) -> str:
    """A signed token.

    Args:
        key: with which to sign: a secret or a private key.
        device: whom it is for.
        scopes: what they may do.
        days: for which it holds.
        rules: issuer and audience.
        now: seconds since the epoch.

    Raises:
        UsageError: no device may be called so, or the time is out of range.
    """
    if not DEVICE.fullmatch(device):
        raise UsageError(f"no device can be called {device!r}", hint="use letters, digits and . _ : @ -")
    if not 0 < days <= MAX_DAYS:
        raise UsageError(f"a token holds for more than 0 and at most {MAX_DAYS:.0f} days")
    claims = {
        "iss": rules.issuer,
        "aud": rules.audience,
        "sub": device,
        "scope": " ".join(sorted(scope.value for scope in scopes)),
        "iat": int(now),
        "exp": int(now + days * _DAY_S),
    }
    headers = {"kid": key.name} if key.name else None
    return jwt.encode(claims, key.key, algorithm=key.algorithm.value, headers=headers)


def signing_key(path: Path, *, name: str = "") -> TokenKey:
    """A private key of a PEM file.

    Args:
        path: of the file.
        name: its `kid`; empty for none.

    Raises:
        StorageError: it cannot be read, is encrypted, or is of a kind that is not used.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_KEY_FILE_BYTES)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}", hint="--create makes a new one") from error
    try:
        key = load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise StorageError(f"{path} is no PEM private key without a passphrase") from None
    algorithm = algorithm_of(key)
    if algorithm is None:
        raise StorageError(f"the key in {path} is none of Ed25519, P-256 and RSA of 2048 bits or more")
    return TokenKey(algorithm, key, name)


def create_secret(path: Path) -> None:
    """A new secret for a household, in a file that only its owner can read.

    Raises:
        StorageError: the file exists, or cannot be written.
    """
    write_new(path, base64.b64encode(secrets.token_bytes(SECRET_BYTES)) + b"\n")


def create_key(path: Path) -> Path:
    """A new Ed25519 key in a file that only its owner can read, and its public half beside it.

    Returns:
        The file of the public half, for the service's `token_keys`.

    Raises:
        StorageError: a file exists, or cannot be written.
    """
    key = ed25519.Ed25519PrivateKey.generate()
    public = path.with_name(f"{path.name}.pub")
    write_new(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    write_new(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), mode=0o644)
    return public


def load_secret(path: Path) -> TokenKey:
    """See `token_keys.secret_key`.

    Raises:
        StorageError: it cannot be used.
    """
    try:
        return secret_key(path)
    except StorageError as error:
        raise StorageError(error.message, hint=error.hint or ("" if path.exists() else "--create makes one")) from None


def write_new(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file that is not there yet; who may read it is settled before anything is in it.

    Raises:
        StorageError: it exists, or cannot be written.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise StorageError(f"{path} is there already") from None
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
    except OSError as error:
        # Half a key in the way would have to be found and deleted by hand.
        path.unlink(missing_ok=True)
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
