"""Settings of the cloud service: command line over environment over TOML file over defaults."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from shared.errors import UsageError


def _cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0))


class CloudSettings(BaseSettings):
    """Every knob of `wayword-cloud`. Environment variables are named WAYWORD_CLOUD_<FIELD>."""

    model_config = SettingsConfigDict(env_prefix="WAYWORD_CLOUD_", extra="forbid", frozen=True)

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

    @model_validator(mode="after")
    def _tls_is_whole(self) -> CloudSettings:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together")
        return self

    @classmethod
    def load(cls, config: Path | None, overrides: Mapping[str, object]) -> CloudSettings:
        """Read the settings.

        Args:
            config: TOML file whose keys are the fields; None for no file.
            overrides: fields given on the command line.

        Raises:
            UsageError: the file cannot be read, or a value is wrong.
        """
        document = _read_toml(config) if config is not None else {}

        class _FromFile(cls):  # type: ignore[valid-type, misc]  # the file is known only now
            @classmethod
            def settings_customise_sources(
                cls,
                settings_cls: type[BaseSettings],
                init_settings: PydanticBaseSettingsSource,
                env_settings: PydanticBaseSettingsSource,
                dotenv_settings: PydanticBaseSettingsSource,
                file_secret_settings: PydanticBaseSettingsSource,
            ) -> tuple[PydanticBaseSettingsSource, ...]:
                return init_settings, env_settings, _TableSource(settings_cls, document)

        try:
            loaded: CloudSettings = _FromFile(**overrides)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise UsageError(f"settings: {field + ': ' if field else ''}{first['msg']}") from error
        except SettingsError as error:
            raise UsageError(f"a setting in the environment cannot be read: {error}") from error
        return loaded

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


class _TableSource(PydanticBaseSettingsSource):
    """Values of a TOML document that was read already."""

    def __init__(self, settings_cls: type[BaseSettings], document: dict[str, object]) -> None:
        super().__init__(settings_cls)
        self._document = document

    def get_field_value(self, field: object, field_name: str) -> tuple[object, str, bool]:
        return self._document.get(field_name), field_name, False

    def __call__(self) -> dict[str, object]:
        return dict(self._document)


def _read_toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the settings file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the settings file {path} is not TOML: {error}") from error
