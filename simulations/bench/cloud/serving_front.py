"""Calls a second: a trivial handler behind the whole front of the service, and a bare one (`serving_server`)."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cloud.callers import PHONE_SCOPES
from cloud.settings import CloudSettings
from shared.messages.wayword.v1 import cloud_pb2, types_pb2
from simulations.bench.cloud.findings import Finding, Progress
from simulations.bench.cloud.load import Arrivals, Load, LoadFailed, run_load
from simulations.bench.cloud.serving_server import PORT_FILE

REQUEST_BYTES: Final = 10_000
"""Of the picture in a request: a sign of three lines."""
CALLERS: Final = 16
START_SECONDS: Final = 30.0
_DAY: Final = datetime.timedelta(days=1)


def measure_front(folder: Path, *, rounds: int, seconds: float, progress: Progress) -> list[Finding]:
    """Both servers run, and are loaded in turns."""
    certificate, token = _credentials(folder)
    picture = os.urandom(REQUEST_BYTES)
    request = cloud_pb2.ReadStripRequest(strip=types_pb2.Strip(lines=[types_pb2.StripLine(image=picture)]))
    rates: list[tuple[float, float]] = []
    costs: list[tuple[float, float]] = []
    with ExitStack() as stack:
        bare_port, bare_pid = stack.enter_context(_server("bare", folder))
        full_port, full_pid = stack.enter_context(_server("full", folder))
        sides = {
            "bare": (Load((f"127.0.0.1:{bare_port}",), seconds, arrivals=Arrivals.CLOSED, callers=CALLERS), bare_pid),
            "full": (
                Load(
                    (f"127.0.0.1:{full_port}",),
                    seconds,
                    arrivals=Arrivals.CLOSED,
                    callers=CALLERS,
                    certificate_authority=str(certificate),
                    metadata=(("authorization", f"Bearer {token}"),),
                ),
                full_pid,
            ),
        }
        for number in range(rounds):
            found = {}
            for name in sorted(sides, reverse=bool(number % 2)):
                progress(f"front, round {number + 1} of {rounds}: {name}")
                load, pid = sides[name]
                cpu = _cpu_seconds(pid)
                result = run_load(load, [request])
                answered = int(result.answered.sum())
                if answered < 0.99 * len(result):
                    raise LoadFailed(f"the {name} server answered {answered} of {len(result)} calls: {result.counts()}")
                found[name] = (answered / seconds, (_cpu_seconds(pid) - cpu) / answered)
            rates.append((found["bare"][0], found["full"][0]))
            costs.append((found["bare"][1], found["full"][1]))
    ratio = statistics.median(full / bare for bare, full in rates)
    cost = statistics.median(bare / full for bare, full in costs)
    bare_rate, full_rate = (statistics.median(pair[index] for pair in rates) for index in (0, 1))
    cents = [statistics.median(pair[index] for pair in costs) * 1e3 for index in (0, 1)]
    return [
        Finding(
            "calls/s behind the full front against a bare handler",
            ratio,
            "ratio",
            ">= 0.7",
            ratio >= 0.7,
            f"{full_rate:.0f} and {bare_rate:.0f} calls/s of 10 kB, {CALLERS} callers, median of {rounds} interleaved "
            f"rounds of {seconds:g} s; TLS, token, quotas, metrics, 1 % traced",
        ),
        Finding(
            "CPU time of the server for a call, bare against full",
            cost,
            "ratio",
            note=f"{cents[0]:.2f} and {cents[1]:.2f} ms; the client's share, which grows by TLS too, is not in it",
        ),
    ]


@contextmanager
def _server(kind: str, folder: Path) -> Iterator[tuple[int, int]]:
    """A server process; yields its port and process id."""
    home = folder / kind
    home.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "simulations.guard", str(os.getpid())),
            *(sys.executable, "-m", "simulations.bench.cloud.serving_server", kind, str(home)),
        ]
    )
    try:
        end = time.monotonic() + START_SECONDS
        while not (home / PORT_FILE).is_file():
            if process.poll() is not None or time.monotonic() > end:
                raise LoadFailed(f"the {kind} server does not start")
            time.sleep(0.02)
        yield int((home / PORT_FILE).read_bytes()), process.pid
    finally:
        process.terminate()
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _cpu_seconds(pid: int) -> float:
    """CPU time of a process and the children it waited for (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _credentials(folder: Path) -> tuple[Path, str]:
    """A certificate for this machine with its settings, and a token."""
    home = folder / "full"
    home.mkdir(exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = {kind: home / f"{kind}.pem" for kind in ("certificate", "key", "secret")}
    secret = os.urandom(32)
    paths["certificate"].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    for kind, content in (
        (
            "key",
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        ),
        ("secret", base64.b64encode(secret)),
    ):
        paths[kind].touch(mode=0o600)
        paths[kind].write_bytes(content)
    settings = CloudSettings(
        listen="127.0.0.1:0",
        tls_certificate=paths["certificate"],
        tls_key=paths["key"],
        token_secret_file=paths["secret"],
        quota_calls_per_s=1e6,  # asked for every call as always, and never the answer
        quota_burst_calls=1e6,
        quota_bytes_per_s=1e12,
        quota_burst_bytes=1e12,
        quota_open_calls=10_000,
    )
    (home / "settings.toml").write_text(settings.as_toml(), encoding="utf-8")
    token = jwt.encode(
        {
            "iss": settings.token_issuer,
            "aud": settings.token_audience,
            "sub": "bench",
            "iat": now,
            "exp": now + _DAY,
            "scope": " ".join(scope.value for scope in PHONE_SCOPES),
        },
        secret,
        algorithm="HS256",
    )
    return paths["certificate"], token
