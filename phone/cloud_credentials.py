"""What the phone shows the cloud of itself: a token from a file, a certificate, and where a token may go at all."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from shared.errors import StorageError, UsageError

MAX_TOKEN_BYTES: Final = 4096
"""Largest token file; a token of the cloud's own making has about 500 bytes."""
MAX_PEM_BYTES: Final = 256 * 1024
"""Largest PEM file; a bundle of all public authorities has about 220 kB."""
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class CloudCredentials:
    """How the phone and the cloud know each other.

    Attributes:
        tls: whether the channel is encrypted; None: unless the cloud runs on this machine.
        certificate_authority: PEM file that signs the cloud's certificate; None for the system's.
        client_certificate: PEM chain by which the cloud knows this phone; None for none.
        client_key: its PEM private key.
        token_file: holds the token that goes with every call, and is read again when it changes; None for none.
    """

    tls: bool | None = None
    certificate_authority: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    token_file: Path | None = None

    def encrypted(self, host: str) -> bool:
        """Whether a channel to this host is.

        Raises:
            UsageError: something that needs encryption is set, and there is none.
        """
        encrypted = self.tls if self.tls is not None else not is_loopback(host)
        if (self.client_certificate is None) != (self.client_key is None):
            raise UsageError("cloud_client_certificate and cloud_client_key belong together")
        if encrypted:
            return True
        if self.client_certificate is not None:
            raise UsageError("a client certificate needs an encrypted channel", hint="set cloud_tls = true")
        if self.token_file is not None and not is_loopback(host):
            raise UsageError(
                f"the token would go to {host} without encryption", hint="leave cloud_tls unset, or set it to true"
            )
        return False

    def of_channel(self) -> grpc.ChannelCredentials:
        """For gRPC. Certificates are read once: a new one counts from the next start.

        Raises:
            StorageError: a PEM file cannot be read.
        """
        return grpc.ssl_channel_credentials(
            _pem(self.certificate_authority), _pem(self.client_key), _pem(self.client_certificate)
        )


class TokenFile:
    """A token on disk. A refusal holds for the token that was refused, so whoever mints a new one need not restart.

    Args:
        path: the file; whitespace around the token does not count.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._token: str | None = None

    def read(self) -> str:
        """The token that stands there now.

        Raises:
            StorageError: there is none, or it cannot be one.
        """
        try:
            status = self._path.stat()
            seen = status.st_mtime_ns, status.st_size, status.st_ino
            if seen != self._seen or self._token is None:
                self._token = self._read()
                self._seen = seen
        except OSError as error:
            self._token = None
            raise StorageError(f"cannot read the token file {self._path}: {error.strerror}") from error
        return self._token

    def _read(self) -> str:
        with self._path.open("rb") as file:
            content = file.read(MAX_TOKEN_BYTES + 1)
        token = content.decode("ascii", errors="replace").strip()
        if len(content) > MAX_TOKEN_BYTES or not _TOKEN.fullmatch(token):
            self._token = None
            raise StorageError(f"the token file {self._path} holds no token")
        return token


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _pem(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_PEM_BYTES:
                raise StorageError(f"{path} is too large for a certificate or a key")
            return file.read(MAX_PEM_BYTES)
    except OSError as error:
        raise StorageError(f"cannot read the certificate {path}: {error.strerror}") from error
