"""Settings of the cloud service: command line over environment over TOML file over defaults."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from shared.errors import UsageError
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
    # Callers: certificates, tokens, quotas, metrics, traces ------------------------------------------
    # REST twin ---------------------------------------------------------------------------------------
    # Second engine and external endpoint -------------------------------------------------------------
    # Shared places -----------------------------------------------------------------------------------
    # Packs (TUF repository) --------------------------------------------------------------------------
    # Experiments and telemetry -----------------------------------------------------------------------

    @model_validator(mode="after")
    def _tls_is_whole(self) -> CloudSettings:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together")
        return self

    def address(self) -> tuple[str, int]:
        """Host and port to listen on.

        Raises:
            UsageError: `listen` is not HOST:PORT.
        """
        host, colon, port = self.listen.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not (port.isascii() and port.isdigit() and int(port) < 65536):
            raise UsageError(f"cannot listen on {self.listen!r}", hint="write HOST:PORT, such as 127.0.0.1:50051")
        return host, int(port)
