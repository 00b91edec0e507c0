"""Keys that tokens are checked with: from a household's secret, from PEM files, from a JWKS file or address.

Each key brings its algorithm. What a token says of its own algorithm only has to agree, so that a public key can never
be taken for a shared secret (RFC 8725, 3.1), and "none" is no algorithm at all.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from shared.errors import StorageError, UsageError

MIN_SECRET_BYTES: Final = 32
"""Shortest secret of HS256: as long as its digest (RFC 7518, 3.2)."""
MIN_RSA_BITS: Final = 2048
"""Smallest RSA key (RFC 7518, 3.3)."""
MAX_KEYS: Final = 64
"""Keys of one set."""
MAX_KEY_FILE_BYTES: Final = 256 * 1024
MAX_KEY_NAME: Final = 128
"""Longest `kid`, in characters."""


class Algorithm(StrEnum):
    """Signatures that are accepted."""

    HS256 = "HS256"
    ES256 = "ES256"
    RS256 = "RS256"
    EDDSA = "EdDSA"


@dataclass(frozen=True, slots=True)
class TokenKey:
    """One key.

    Attributes:
        algorithm: the only one it is used with.
        key: as PyJWT takes it; never shown.
        name: `kid`, empty when it has none.
    """

    algorithm: Algorithm
    key: Any
    name: str = ""

    def __repr__(self) -> str:
        return f"TokenKey({self.algorithm.value}, {self.name!r})"


def secret_key(path: Path) -> TokenKey:
    """The household's secret: one line of base64, as `wayword-cloud token --create` makes it.

    Raises:
        StorageError: it cannot be read, others may read it, or it is too short.
    """
    content = _read(path, private=True)
    try:
        secret = base64.b64decode(content.strip(), validate=True)
    except binascii.Error:
        raise StorageError(f"{path} is no secret in base64") from None
    if len(secret) < MIN_SECRET_BYTES:
        raise StorageError(f"the secret in {path} is shorter than {MIN_SECRET_BYTES} bytes")
    # The name tells two secrets apart and not one bit of either.
    name = hashlib.sha256(b"wayword-token-key" + secret).hexdigest()[:16]
    return TokenKey(Algorithm.HS256, secret, name)


def file_keys(path: Path) -> tuple[TokenKey, ...]:
    """Public keys from a PEM file (one) or a JWKS file.

    Raises:
        StorageError: it cannot be read, or holds something else.
    """
    content = _read(path)
    if content.lstrip().startswith(b"{"):
        return jwks_keys(content, source=str(path))
    if b"PRIVATE KEY" in content:
        raise StorageError(f"{path} holds a private key; the service wants the public one")
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise StorageError(f"{path} is neither a PEM public key nor a JWKS document") from None
    algorithm = algorithm_of(key)
    if algorithm is None:
        raise StorageError(f"the key in {path} is none of Ed25519, P-256 and RSA of {MIN_RSA_BITS} bits or more")
    return (TokenKey(algorithm, key),)


def jwks_keys(content: bytes, *, source: str) -> tuple[TokenKey, ...]:
    """Public keys of a JWKS document (RFC 7517). Keys for other purposes or of other kinds are passed over.

    Args:
        content: the document.
        source: for messages.

    Raises:
        StorageError: it is no such document, or has no key that can be used.
    """
    try:
        document = json.loads(content)
        entries = document["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise StorageError(f"{source} is no JWKS document") from None
    if not isinstance(entries, Sequence) or isinstance(entries, str) or len(entries) > MAX_KEYS:
        raise StorageError(f"{source} is no list of up to {MAX_KEYS} keys")
    found = [key for entry in entries if isinstance(entry, Mapping) and (key := _jwk(entry)) is not None]
    if not found:
        raise StorageError(f"{source} has no key that tokens could be checked with")
    return tuple(found)


def algorithm_of(key: object) -> Algorithm | None:
    """The algorithm that goes with a public or private key; None for a kind or size that is not used."""
    match key:
        case ed25519.Ed25519PublicKey() | ed25519.Ed25519PrivateKey():
            return Algorithm.EDDSA
        case ec.EllipticCurvePublicKey() | ec.EllipticCurvePrivateKey() if isinstance(key.curve, ec.SECP256R1):
            return Algorithm.ES256
        case rsa.RSAPublicKey() | rsa.RSAPrivateKey() if key.key_size >= MIN_RSA_BITS:
            return Algorithm.RS256
    return None


def _jwk(entry: Mapping[str, Any]) -> TokenKey | None:
    # A shared secret has no business in a document that others can read.
    if entry.get("kty") not in ("OKP", "EC", "RSA") or entry.get("use", "sig") != "sig":
        return None
    name = entry.get("kid", "")
    if not isinstance(name, str) or len(name) > MAX_KEY_NAME:
        return None
    try:
        key = jwt.PyJWK({field: entry[field] for field in ("kty", "crv", "x", "y", "n", "e") if field in entry}).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    algorithm = algorithm_of(key)
    if algorithm is None or entry.get("alg", algorithm.value) != algorithm.value:
        return None
    return TokenKey(algorithm, key, name)


def _read(path: Path, *, private: bool = False) -> bytes:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > MAX_KEY_FILE_BYTES:
        raise StorageError(f"{path} is too large for keys")
    if private and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO) & ~stat.S_IRGRP:
        raise StorageError(f"{path} is open to others", hint=f"chmod 600 {path}")
    return content


def is_address(source: str) -> bool:
    """Whether a source of keys is an address rather than a file.

    Raises:
        UsageError: it is an address that is not fetched.
    """
    if source.startswith("https://"):
        return True
    if "://" in source:
        raise UsageError(f"token keys are fetched over https only, not from {source}")
    return False
