"""What the settings of all tiers share: where they come from, what a wrong one is told, and how they are shown."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from shared.errors import UsageError


class TierSettings(BaseSettings):
    """Settings of one tier: command line over environment over TOML file over defaults.

    A tier derives from this class and sets `env_prefix` in its `model_config`, and `show_command`.
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(extra="forbid", frozen=True)
    show_command: ClassVar[str] = ""
    """Command that shows every setting, for hints."""
    _document: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line, then environment, then the TOML file."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, dict(cls._document))

    @classmethod
    def load(cls, config: Path | None = None, **overrides: object) -> Self:
        """Read the settings.

        Args:
            config: a TOML file whose keys are the settings; None for none.
            overrides: settings given on the command line.

        Raises:
            UsageError: the file is missing or broken, or a value is not allowed.
        """
        # The sources are asked by class, so the file's content has to hang on one.
        document = {} if config is None else _read_toml(config)
        source: type[Self] = type(cls.__name__, (cls,), {"_document": document, "__module__": cls.__module__})
        try:
            return source(**overrides)
        except ValidationError as error:
            raise UsageError(explain(error), hint=f"see: {cls.show_command}") from error
        except SettingsError as error:
            raise UsageError(f"a setting in the environment cannot be read: {error}") from error

    def as_toml(self) -> str:
        """The settings as a TOML document that `load` reads back; unset ones are comments."""
        lines = []
        for name, value in self.model_dump(mode="json").items():
            shown = json.dumps(value, ensure_ascii=False)
            lines.append(f"# {name} is not set" if value is None else f"{name} = {shown}")
        return "\n".join(lines)


def explain(error: ValidationError) -> str:
    """The first problem of wrong settings in one line, such as "setting beam: there is no such setting"."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    problem = "there is no such setting" if first["type"] == "extra_forbidden" else first["msg"]
    problem = problem.removeprefix("Value error, ")
    return f"setting {name}: {problem}" if name else problem


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"no settings file {path}") from error
    except OSError as error:
        raise UsageError(f"cannot read the settings file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the settings file {path} is not TOML: {error}") from error
