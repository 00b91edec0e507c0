"""Settings of the cloud service: command line over environment over TOML file over defaults."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from cloud.callers import PHONE_SCOPES, Scope
from cloud.endpoint.mode import Mode
from shared.errors import UsageError
from shared.models.device import Device
from shared.models.ensemble_use import Combining, TesseractUse
from shared.settings import TierSettings


def _cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0))


class CloudSettings(TierSettings):
    """Every knob of `wayword-cloud`. Environment variables are named WAYWORD_CLOUD_<FIELD>."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(env_prefix="WAYWORD_CLOUD_")
    show_command: ClassVar[str] = "wayword-cloud serve --show-settings"

    listen: Annotated[
        str,
        Field(description="HOST:PORT, port 0 for any"),
    ] = "127.0.0.1:50051"
    tls_certificate: Annotated[
        Path | None,
        Field(description="PEM chain; without it the port speaks plain text, which phones accept of loopback only"),
    ] = None
    tls_key: Annotated[Path | None, Field(description="PEM private key of the certificate")] = None
    port_file: Annotated[Path | None, Field(description="the port number is written here once the service answers")] = (
        None
    )
    packs: Annotated[Path | None, Field(description="pack store; None for the user's own")] = None
    events: Annotated[Path | None, Field(description="event log, one JSON object a line, never with content")] = None
    workers: Annotated[int, Field(ge=1, le=256, description="threads that read, each with models of its own")] = Field(
        default_factory=_cores
    )
    max_waiting: Annotated[int, Field(ge=0, le=10_000, description="calls that may wait for a worker")] = 64
    max_calls: Annotated[int, Field(ge=1, le=100_000, description="calls open at once, health checks included")] = 512
    default_deadline_s: Annotated[float, Field(gt=0, le=120, description="deadline of a call that states none")] = 10.0
    grace_s: Annotated[float, Field(ge=0, le=300, description="how long a stop waits for calls in flight")] = 10.0
    beam: Annotated[int, Field(ge=1, le=16, description="width of the translator's search")] = 4
    keep_answers_s: Annotated[float, Field(ge=0, le=3600, description="how long an answer is repeated for its key")] = (
        300.0
    )
    keep_answers: Annotated[int, Field(ge=0, le=100_000, description="answers kept at most, in memory only")] = 1024

    # Serving: batches and sessions -------------------------------------------------------------------
    device: Annotated[
        Device, Field(description="cpu, gpu, or auto: a GPU where ONNX Runtime has a provider for one")
    ] = Device.AUTO
    sessions: Annotated[
        int | None,
        Field(ge=1, le=256, description="recognisers, each with a thread; None for one per core, or 2 on a GPU"),
    ] = None
    max_batch: Annotated[
        int | None, Field(ge=1, le=256, description="lines of one call of the recogniser; None for 1, or 16 on a GPU")
    ] = None
    linger_ms: Annotated[
        float | None,
        Field(ge=0, le=100, description="longest wait for more lines of one width; None for 0, or 2 on a GPU"),
    ] = None
    # Callers: certificates, tokens, quotas, metrics, traces ------------------------------------------
    tls_client_ca: Annotated[
        Path | None, Field(description="PEM of the authority whose client certificates are asked for; None for none")
    ] = None
    certificate_scopes: Annotated[
        tuple[Scope, ...], Field(description="what a caller may do who is known by certificate alone")
    ] = tuple(scope for scope in Scope if scope in PHONE_SCOPES)
    token_secret_file: Annotated[
        Path | None, Field(description="a household's secret for HS256 tokens; see `wayword-cloud token --create`")
    ] = None
    token_keys: Annotated[
        str | None, Field(description="public keys of tokens: a PEM or JWKS file, or the https address of a JWKS")
    ] = None
    token_issuer: Annotated[str, Field(min_length=1, description="issuer (iss) that tokens must have")] = "wayword"
    token_audience: Annotated[str, Field(min_length=1, description="audience (aud) that tokens must be for")] = (
        "wayword-cloud"
    )
    token_leeway_s: Annotated[float, Field(ge=0, le=300, description="by how much clocks may differ")] = 30.0
    bind_tokens: Annotated[
        bool,
        Field(description="with client certificates: a token counts only with the certificate of its own device"),
    ] = True
    denied_devices: Annotated[
        Path | None, Field(description="file of devices that are locked out, one name a line; read when it changes")
    ] = None
    insecure: Annotated[
        bool, Field(description="take tokens in plain text from the network: something in front encrypts")
    ] = False
    quota_calls_per_s: Annotated[float, Field(ge=0, description="calls a second of one device; 0 for no limit")] = 50.0
    quota_burst_calls: Annotated[float, Field(ge=1, description="calls of one device at once, after a pause")] = 200.0
    quota_bytes_per_s: Annotated[float, Field(ge=0, description="request bytes a second of a device; 0: no limit")] = (
        16e6
    )
    quota_burst_bytes: Annotated[float, Field(ge=1, description="request bytes of one device after a pause")] = 64e6
    quota_open_calls: Annotated[int, Field(ge=0, description="calls of one device under way; 0 for no limit")] = 64
    metrics_listen: Annotated[
        str | None, Field(description="HOST:PORT of a Prometheus page, without access control: keep it to yourself")
    ] = None
    otlp_endpoint: Annotated[
        str | None, Field(description="address traces are sent to (OTLP over HTTP, extra cloud-otlp); None for none")
    ] = None
    trace_ratio: Annotated[float, Field(ge=0, le=1, description="share of calls that are traced")] = 0.01
    max_connections: Annotated[int, Field(ge=1, le=100_000, description="connections open at once")] = 1024
    handshake_timeout_s: Annotated[float, Field(gt=0, le=120, description="for TLS and HTTP/2 to be agreed on")] = 10.0
    message_timeout_s: Annotated[float, Field(gt=0, le=120, description="for a call's message to arrive")] = 10.0
    connection_idle_s: Annotated[float, Field(gt=0, description="a connection without calls is closed after it")] = (
        300.0
    )
    connection_age_s: Annotated[
        float, Field(gt=0, description="a connection is closed after it, when its calls are done; clients connect anew")
    ] = 900.0
    # REST twin ---------------------------------------------------------------------------------------
    rest_listen: Annotated[str | None, Field(description="HOST:PORT of the REST twin; None for no twin")] = None
    rest_port_file: Annotated[Path | None, Field(description="the twin's port number is written here")] = None
    rest_max_calls: Annotated[int, Field(ge=1, le=10_000, description="REST calls served at once")] = 64
    rest_max_connections: Annotated[int, Field(ge=2, le=100_000, description="REST connections open at once")] = 256
    # Second engine and external endpoint -------------------------------------------------------------
    tesseract: Annotated[
        TesseractUse, Field(description="auto, or off: whether an installed Tesseract reads what the packs cannot")
    ] = TesseractUse.AUTO
    tesseract_path: Annotated[str, Field(min_length=1, description="program, by path or by its name on PATH")] = (
        "tesseract"
    )
    combining: Annotated[
        Combining | None, Field(description="rule, or weights; None for the better one on rendered lines")
    ] = None
    rerank_weight: Annotated[
        float,
        Field(ge=0, le=1, description="weight of the reverse direction in choosing a translation; 0 for none"),
    ] = 0.0
    endpoint_url: Annotated[
        str | None, Field(description="base address of an OpenAI-compatible service; None for none (docs/endpoint.md)")
    ] = None
    endpoint_model: Annotated[str, Field(max_length=128, description="name of its model")] = ""
    endpoint_mode: Annotated[Mode, Field(description="text, or vision: pictures of lines too")] = Mode.TEXT
    # Excluded: `--show-settings` prints the settings, and must not print this one.
    endpoint_key: Annotated[SecretStr | None, Field(exclude=True, description="its key; rather use a file")] = None
    endpoint_key_file: Annotated[Path | None, Field(description="file that holds its key")] = None
    endpoint_price_in: Annotated[float | None, Field(ge=0, description="money for a million tokens of question")] = None
    endpoint_price_out: Annotated[float | None, Field(ge=0, description="money for a million tokens of answer")] = None
    endpoint_daily_cap: Annotated[float, Field(ge=0, description="most money a day (UTC), as prices count it")] = 1.0
    endpoint_costs: Annotated[
        Path | None, Field(description="file that remembers the day's cost; None for the user's state folder")
    ] = None
    endpoint_timeout_s: Annotated[float, Field(gt=0, le=60, description="longest wait for an answer of it")] = 8.0
    endpoint_calls: Annotated[int, Field(ge=1, le=256, description="questions to it at once")] = 4
    endpoint_targets: Annotated[
        tuple[Annotated[str, Field(pattern="^[a-z]{2}$")], ...],
        Field(max_length=64, description="languages it may translate into that nothing here does (ISO 639-1)"),
    ] = ()
    # Shared places -----------------------------------------------------------------------------------
    places: Annotated[bool, Field(description="whether readings are shared per place, of phones that consent")] = True
    places_folder: Annotated[
        Path | None, Field(description="folder of shared places and of their keys; None for the user's own")
    ] = None
    places_redis: Annotated[
        SecretStr | None,
        Field(description="Redis that replicas share places in, such as redis://HOST:6379/0; None for a file"),
    ] = None
    places_least_devices: Annotated[
        int, Field(ge=3, le=1000, description="devices that must read a sign alike before it is shared")
    ] = 3
    places_retention_days: Annotated[int, Field(ge=1, le=3650, description="days a device's reading is kept")] = 180
    places_key_days: Annotated[
        int, Field(ge=1, le=3650, description="days after which contributors are named by a new key")
    ] = 30
    places_daily: Annotated[int, Field(ge=1, le=100_000, description="readings one device may add in a day")] = 200
    # Packs (TUF repository) --------------------------------------------------------------------------
    packs_repository: Annotated[Path | None, Field(description="signed repository to hand out; None for none")] = None
    packs_online_keys: Annotated[
        tuple[Path, ...],
        Field(description="folders with its snapshot and timestamp keys, to renew what they sign; () for not at all"),
    ] = ()
    # Experiments and telemetry -----------------------------------------------------------------------
    experiments: Annotated[Path | None, Field(description="TOML file of experiments; None for none")] = None
    experiments_state: Annotated[
        Path | None, Field(description="what was decided about them; None for a file beside theirs")
    ] = None
    take_telemetry: Annotated[bool, Field(description="whether phones may report; theirs send only if told to")] = True
    telemetry: Annotated[
        Path | None, Field(description="SQLite file of what phones report, made at the first; None for the user's own")
    ] = None
    telemetry_text: Annotated[bool, Field(description="whether texts of wearers who opted in are kept, too")] = False
    telemetry_days: Annotated[int, Field(ge=1, le=365, description="days for which single records are kept")] = 30
    telemetry_bytes: Annotated[int, Field(ge=1_000_000, description="size of that file at most")] = 256_000_000

    # Gateway and Ray ---------------------------------------------------------------------------------
    backends: Annotated[
        tuple[str, ...],
        Field(description="gateway: HOST:PORT of replicas; a name with several addresses stands for all of them"),
    ] = ()
    backend_certificate_authority: Annotated[
        Path | None, Field(description="gateway: PEM file that signs the replicas' certificates; None for plain text")
    ] = None
    backend_channels: Annotated[int, Field(ge=1, le=64, description="gateway: connections to each replica")] = 2
    backend_calls: Annotated[int, Field(ge=1, le=10_000, description="gateway: calls open at each replica at most")] = (
        128
    )
    ray_replicas: Annotated[int, Field(ge=1, le=1024, description="serve-ray: replicas that read")] = 2
    ray_address: Annotated[
        str | None, Field(description="serve-ray: of a running Ray cluster; None to start one on this machine")
    ] = None
    ray_port: Annotated[
        int, Field(ge=1, le=65534, description="serve-ray: of Ray's own gRPC ingress; the next one is its HTTP's")
    ] = 50061

    @model_validator(mode="after")
    def _tls_is_whole(self) -> CloudSettings:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_client_ca needs tls_certificate and tls_key")
        return self

    def experiments_state_path(self, experiments: Path) -> Path:
        """Where decisions about the experiments of this file are kept."""
        return self.experiments_state or experiments.with_name(f"{experiments.name}.state.json")

    def address(self) -> tuple[str, int]:
        """Host and port to listen on.

        Raises:
            UsageError: `listen` is not HOST:PORT.
        """
        return host_and_port(self.listen)


def host_and_port(address: str) -> tuple[str, int]:
    """Host and port of "HOST:PORT" to listen on.

    Raises:
        UsageError: it is none.
    """
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise UsageError(f"cannot listen on {address!r}", hint="write HOST:PORT, such as 127.0.0.1:50051")
    return host, int(port)
