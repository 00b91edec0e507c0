"""Keys and signatures of a repository's roles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from securesystemslib.signer import CryptoSigner, Key
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from shared.errors import UsageError

T = TypeVar("T", Root, Timestamp, Snapshot, Targets)

ROLES: Final = ("root", "targets", "snapshot", "timestamp")
MAX_KEYS: Final = 16
"""Keys of one role."""
Signers = Mapping[str, CryptoSigner]
"""Keys at hand, by their ids."""


def set_keys(root: Root, role: str, keys: Sequence[Key], threshold: int) -> None:
    """Give a role these keys and no others.

    Args:
        root: changed in place.
        role: of `ROLES`.
        keys: its keys.
        threshold: signatures it takes.

    Raises:
        UsageError: there are fewer keys than it takes, or too many.
    """
    if not 1 <= threshold <= len(keys) <= MAX_KEYS:
        raise UsageError(
            f"{role} cannot have {len(keys)} keys of which {threshold} sign",
            hint=f"Take 1 to {MAX_KEYS} keys, and at most as many signatures",
        )
    for keyid in list(root.get_delegated_role(role).keyids):
        root.revoke_key(keyid, role)
    for key in keys:
        root.add_key(key, role)
    root.roles[role].threshold = threshold


def found_keys(keyids: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """The key ids that begin as somebody typed them.

    Raises:
        UsageError: none begins so, or several do.
    """
    found = []
    for beginning in wanted:
        matches = [keyid for keyid in keyids if beginning and keyid.startswith(beginning)]
        if len(matches) != 1:
            raise UsageError(f"{len(matches)} keys of this role begin with {beginning!r}")
        found += matches
    return found


def keyids_of(roots: Sequence[Root], role: str) -> list[str]:
    """Ids of a role's keys in any of these roots."""
    return [keyid for root in roots for keyid in root.get_delegated_role(role).keyids]


def sign(metadata: Metadata[T], keyids: Sequence[str], signers: Signers) -> None:
    """Add the signatures of those keys that are at hand."""
    for keyid in dict.fromkeys(keyids):
        if keyid in signers:
            metadata.sign(signers[keyid], append=True)


def verified(root: Root, metadata: Metadata[T]) -> bool:
    """Whether metadata has the signatures that a root asks for."""
    return missing_signatures(root, metadata) <= 0


def missing_signatures(root: Root, metadata: Metadata[T]) -> int:
    """Signatures that metadata lacks under a root."""
    role = metadata.signed.type
    missing: int = root.get_verification_result(role, metadata.signed_bytes, metadata.signatures).missing
    return missing


def missing_keys(root: Root, role: str, signers: Signers) -> int:
    """Keys of a role that would have to be at hand besides, to sign for it."""
    keys = root.get_delegated_role(role)
    missing: int = max(keys.threshold - sum(keyid in signers for keyid in keys.keyids), 0)
    return missing
