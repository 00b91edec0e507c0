"""Certificates for a household: an authority of its own, one certificate for the service, one for each device.

P-256 keys (fast handshakes on small machines; NIST SP 800-57 rates them at 128 bits). A city has an authority already
and needs none of this.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cloud.front.minting import write_new
from cloud.front.tokens import DEVICE
from shared.errors import StorageError, UsageError

CA_DAYS: Final = 3650
MAX_CA_FILE_BYTES: Final = 64 * 1024
MAX_NAMES: Final = 100
"""Hosts and devices of one run."""
_HOST: Final = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*"
)
_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
"""A device whose name is to be one of a file, and of a certificate (a common name has 64 characters at most)."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Who signs.

    Attributes:
        certificate: its own.
        key: its private key.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def household(
    folder: Path, *, hosts: Sequence[str], devices: Sequence[str], days: float, now: datetime.datetime
) -> list[Path]:
    """Make what is missing in a folder: the authority, and certificates of the service and of devices.

    A certificate that is there already is left alone: to renew one, delete its two files first.

    Args:
        folder: made when it is not there; only its owner can look into it.
        hosts: names and addresses under which phones reach the service; none to make no certificate for it.
        devices: names of devices.
        days: for which certificates other than the authority's hold.
        now: in UTC.

    Returns:
        The files that are new.

    Raises:
        UsageError: a name cannot be one.
        StorageError: a file cannot be read or written.
    """
    _check_names(hosts, devices, days)
    made: list[Path] = []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if devices:
            (folder / "devices").mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make the folder {folder}: {error.strerror}") from error
    authority = _authority(folder, now, made)
    lifetime = datetime.timedelta(days=days)
    if hosts:
        names = [_general_name(host) for host in hosts]
        usage = ExtendedKeyUsageOID.SERVER_AUTH
        _issue(authority, folder / "server", hosts[0][:64], names, usage, now, lifetime, made)
    for device in devices:
        names = [x509.RFC822Name(device) if "@" in device else x509.DNSName(device)]
        _issue(
            authority, folder / "devices" / device, device, names, ExtendedKeyUsageOID.CLIENT_AUTH, now, lifetime, made
        )
    return made


def _check_names(hosts: Sequence[str], devices: Sequence[str], days: float) -> None:
    if len(hosts) + len(devices) > MAX_NAMES:
        raise UsageError(f"at most {MAX_NAMES} hosts and devices at once")
    if not 0 < days <= CA_DAYS:
        raise UsageError(f"a certificate holds for more than 0 and at most {CA_DAYS} days")
    for device in devices:
        if not DEVICE.fullmatch(device) or not _FILE.fullmatch(device):
            raise UsageError(f"no device can be called {device!r}", hint="use letters, digits and . _ @ -")
    for host in hosts:
        _general_name(host)


def _authority(folder: Path, now: datetime.datetime, made: list[Path]) -> Authority:
    certificate_file, key_file = folder / "ca.pem", folder / "ca-key.pem"
    if not certificate_file.exists() and not key_file.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Wayword household authority")])
        lifetime = datetime.timedelta(days=CA_DAYS)
        builder = _builder(name, name, key, now, lifetime)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
        _write(key_file, certificate_file, key, builder.sign(key, hashes.SHA256()), made)
    try:
        certificate = x509.load_pem_x509_certificate(_read(certificate_file))
        loaded = load_pem_private_key(_read(key_file), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise StorageError(f"{certificate_file} and {key_file} are no certificate and key in PEM") from None
    if not isinstance(loaded, ec.EllipticCurvePrivateKey) or loaded.public_key() != certificate.public_key():
        raise StorageError(f"{key_file} is not the key of {certificate_file}")
    return Authority(certificate, loaded)


def _issue(
    authority: Authority,
    stem: Path,
    common_name: str,
    names: Sequence[x509.GeneralName],
    usage: x509.ObjectIdentifier,
    now: datetime.datetime,
    lifetime: datetime.timedelta,
    made: list[Path],
) -> None:
    certificate_file, key_file = stem.with_name(f"{stem.name}.pem"), stem.with_name(f"{stem.name}-key.pem")
    if certificate_file.exists() and key_file.exists():
        return
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = _builder(subject, authority.certificate.subject, key, now, lifetime)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = builder.add_extension(issuer, critical=False)
    _write(key_file, certificate_file, key, builder.sign(authority.key, hashes.SHA256()), made)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime.datetime,
    lifetime: datetime.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A phone whose clock is a little slow must not find a certificate from the future.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if not _HOST.fullmatch(host):
        raise UsageError(f"{host!r} is neither a host name nor an address")
    return x509.DNSName(host)


def _write(
    key_file: Path,
    certificate_file: Path,
    key: ec.EllipticCurvePrivateKey,
    certificate: x509.Certificate,
    made: list[Path],
) -> None:
    write_new(key_file, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    write_new(certificate_file, certificate.public_bytes(Encoding.PEM), mode=0o644)
    made += [key_file, certificate_file]


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_CA_FILE_BYTES)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
