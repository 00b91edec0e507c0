"""Certificates of the port: the service's own, and the authority of its clients'; both are read again when they change.

gRPC's own least version is TLS 1.2 and stays so.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Final

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cloud.settings import CloudSettings
from shared.errors import StorageError
from shared.files import stamp

MAX_PEM_BYTES: Final = 256 * 1024

logger = logging.getLogger("wayword.cloud")


def server_credentials(settings: CloudSettings) -> grpc.ServerCredentials | None:
    """Credentials of the port; None for plain text.

    Certificates and keys are looked at with every handshake, and read again when a file changed: a renewed certificate
    counts for the next connection. While a changed file cannot be used the old ones stay.

    Raises:
        StorageError: a file cannot be read, or certificate and key do not belong together.
    """
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    files = CertificateFiles(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
    return grpc.dynamic_ssl_server_credentials(
        files.first(),
        files.changed,  # type: ignore[arg-type]  # None is documented: nothing new
        require_client_authentication=settings.tls_client_ca is not None,
    )


class CertificateFiles:
    """The PEM files of one port.

    Args:
        certificate: chain of the service.
        key: its private key.
        client_ca: authority of client certificates; None where none are asked for.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        self._certificate = certificate
        self._key = key
        self._client_ca = client_ca
        self._stamps = self._look()
        self._lock = threading.Lock()

    def first(self) -> grpc.ServerCertificateConfiguration:
        """What they hold now.

        Raises:
            StorageError: they cannot be used.
        """
        return self._load()

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """What they hold now, where that is new and can be used; called by gRPC's threads."""
        with self._lock:
            stamps = self._look()
            if stamps == self._stamps:
                return None
            self._stamps = stamps
            try:
                configuration = self._load()
            except StorageError as error:
                logger.warning("certificates stay as they were: %s", error.message)
                return None
            logger.info("certificates were read again")
            return configuration

    def _look(self) -> list[tuple[int, int, int] | None]:
        paths = (self._certificate, self._key, self._client_ca)
        return [stamp(path) for path in paths if path is not None]

    def _load(self) -> grpc.ServerCertificateConfiguration:
        key, certificate = _read(self._key), _read(self._certificate)
        authority = None if self._client_ca is None else _read(self._client_ca)
        _check_pair(certificate, key, self._certificate, self._key)
        if authority is not None:
            _certificates(authority, self._client_ca)
        return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=authority)


def _check_pair(certificate: bytes, key: bytes, certificate_path: Path, key_path: Path) -> None:
    """gRPC would accept a key of another certificate, and then fail every handshake without a word."""
    leaf = _certificates(certificate, certificate_path)[0]
    try:
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise StorageError(f"{key_path} is no PEM private key without a passphrase") from None
    if private.public_key() != leaf.public_key():
        raise StorageError(f"{key_path} is not the key of {certificate_path}")


def _certificates(content: bytes, path: Path | None) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except (ValueError, UnsupportedAlgorithm):
        raise StorageError(f"{path} is no PEM certificate") from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_PEM_BYTES + 1)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > MAX_PEM_BYTES:
        raise StorageError(f"{path} is too large for a certificate or a key")
    return content
