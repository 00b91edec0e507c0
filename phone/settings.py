"""Every setting of the phone, in one typed class: command line over environment over TOML file over defaults."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar

import platformdirs
from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from phone.cascade.privacy import CloudUse
from phone.cascade.privacy_names import PrivacyOptions
from shared.models.apertium_use import ApertiumUse
from shared.settings import TierSettings


class RecogniserChoice(StrEnum):
    """Which recogniser the wearer wants."""

    AUTO = "auto"
    """Small where it is installed, tiny while the battery is low."""
    TINY = "tiny"
    SMALL = "small"


class PolicyChoice(StrEnum):
    """Which policy decides whether the cloud is asked; all obey the same rules that forbid a call."""

    CASCADE = "cascade"
    """Where what it would put right exceeds what it costs."""
    CONFIDENCE = "confidence"
    """Below a threshold of calibrated confidence."""
    ALWAYS = "always"
    NEVER = "never"
    RANDOM = "random"


class ExperimentsUse(StrEnum):
    """Whether the cloud may try things out."""

    ON = "on"
    OFF = "off"


class TelemetryUse(StrEnum):
    """What the phone reports."""

    OFF = "off"
    """Nothing; what had been gathered is deleted."""
    ON = "on"
    TEXT = "text"
    """Also what signs said that the cloud has read."""


class PlacesUse(StrEnum):
    """What is remembered of places, and who is told."""

    OFF = "off"
    OWN = "own"
    """What this phone reads stays on it."""
    SHARED = "shared"
    """What signs say, and in which place cell, is shared with the cloud; never a picture, nor what looks private."""


def _language(code: str) -> str:
    if len(code) != 2 or not code.isascii() or not code.isalpha() or not code.islower():
        raise ValueError("a language is a lower-case ISO 639-1 code, such as en")
    return code


Language = Annotated[str, AfterValidator(_language)]
Positive = Annotated[float, Field(gt=0)]


class PhoneSettings(TierSettings):
    """Settings of the phone daemon. Environment variables are prefixed with ``WAYWORD_PHONE_``; times in seconds.

    Attributes:
        cloud: HOST:PORT of the cloud, or several replicas with commas between; None for none.
        cloud_use: the privacy switch: "never", "ask" (while `wayword-phone consent` lasts) or "allow".
        private_names: names of people; a sign that holds one of them stays on the phone.
        keep_names: whether a sign that looks like anybody's name stays on the phone.
        cloud_tls: whether the channel to the cloud is encrypted; None: unless the cloud runs on this machine.
        cloud_certificate_authority: PEM file that signs the cloud's certificate; None for the system's.
        cloud_token_file: holds the token that goes with every call to the cloud, sent only over TLS or to this machine;
            read again when it changes. None for none.
        cloud_client_certificate: PEM chain by which the cloud knows this phone; None for none.
        cloud_client_key: its PEM private key.
        cloud_deadline_s: longest wait for the cloud, its retry included.
        cloud_calls: calls to the cloud under way at once.
        policy: who decides whether the cloud is asked: "cascade"; the others are for experiments.
        hedging: whether a second attempt may go out when the cloud is slow: for one call in ten at most, and never
            where bytes cost money.
        hold_s: how long an escalation that is not worth waking the radio for may wait for company; 0 for not at all.
        metered: whether bytes cost money; None to ask the machine.
        daily_budget_bytes: bytes that may leave in any 24 hours.
        database: the SQLite file with ledger and translations; None for the user's own.
        ledger_text: whether the ledger also keeps what the signs said.
        remembered_translations: translations kept in the cache.
        target: the wearer's language, into which signs are translated.
        trip_languages: languages of the trip, likeliest first: they help to name the language of short text. Signs in
            others are translated too.
        phrasebook_folder: folder with phrase files of the wearer's own, on top of those that ship; None for none.
        apertium: "auto" to use Apertium, where it is installed, for directions without a pack; "off".
        back_translation: whether an unsure translation is checked by translating it back, where that pack is there.
        recogniser: "auto", "tiny" or "small".
        packs: folder of the pack store; None for the default one.
        battery: percent to assume; None to ask the machine.
        answer_life_s: how long after its arrival a strip is still worth answering.
        waiting_strips: strips that may wait to be read; above it the oldest gives way.
        remembered_strips: answered strips remembered, so that a strip sent again is answered at once.
        updates: where signed updates of the packs come from: a folder, an https URL, or "cloud"; None for none.
        updates_root: file of the root metadata that this phone trusts, until one is pinned.
        updates_every_s: seconds between two looks for updates.
        experiments: whether the cloud may try out other values of a few settings (`shared.experiments`): "on" or "off".
            It changes nothing that the wearer has set, and no privacy.
        telemetry: what the phone reports of how it fares: "off", "on" (numbers and words of closed lists), or "text"
            (also what signs said that the cloud has read anyway).
        telemetry_bytes: bytes of reports that may wait on the phone; the oldest give way.
        places: what signs say where: "off" to remember nothing, "own" for what this phone read, "shared" to share it
            with the cloud as well, which is told the place cell of what it is asked (docs/places.md): your consent.
        position: where the phone is: "LATITUDE,LONGITUDE", "gpsd", "gpsd://HOST:PORT"; None for nobody knows, and then
            no place is remembered.
        remembered_places: signs of places remembered; those the cloud told go first, then the least recently seen.
        places_days: days after which a sign that is not seen again is forgotten.
        events: event log, one JSON object a line; None for none.
        events_content: whether the event log holds what the signs say.
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(env_prefix="WAYWORD_PHONE_")
    show_command: ClassVar[str] = "wayword-phone run --show-settings"

    cloud: str | None = None
    cloud_use: CloudUse = CloudUse.ALLOW
    private_names: tuple[str, ...] = ()
    keep_names: bool = False
    cloud_tls: bool | None = None
    cloud_certificate_authority: Path | None = None
    cloud_token_file: Path | None = None
    cloud_client_certificate: Path | None = None
    cloud_client_key: Path | None = None
    cloud_deadline_s: Annotated[float, Field(gt=0, le=60)] = 3.0
    cloud_calls: Annotated[int, Field(ge=1, le=64)] = 4
    policy: PolicyChoice = PolicyChoice.CASCADE
    hedging: bool = True
    hold_s: Annotated[float, Field(ge=0, le=60)] = 8.0
    metered: bool | None = None
    daily_budget_bytes: Annotated[int, Field(ge=0)] = 20_000_000
    database: Path | None = None
    ledger_text: bool = False
    remembered_translations: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    target: Language = "en"
    trip_languages: tuple[Language, ...] = ()
    phrasebook_folder: Path | None = None
    apertium: ApertiumUse = ApertiumUse.AUTO
    back_translation: bool = False
    recogniser: RecogniserChoice = RecogniserChoice.AUTO
    packs: Path | None = None
    battery: Annotated[int, Field(ge=0, le=100)] | None = None
    answer_life_s: Positive = 20.0
    waiting_strips: Annotated[int, Field(ge=1, le=1024)] = 48
    remembered_strips: Annotated[int, Field(ge=1, le=10_000)] = 256
    updates: str | None = None
    updates_root: Path | None = None
    updates_every_s: Annotated[float, Field(ge=60)] = 86_400.0
    experiments: ExperimentsUse = ExperimentsUse.ON
    telemetry: TelemetryUse = TelemetryUse.OFF
    telemetry_bytes: Annotated[int, Field(ge=10_000, le=100_000_000)] = 1_000_000
    places: PlacesUse = PlacesUse.OWN
    position: str | None = None
    remembered_places: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    places_days: Annotated[int, Field(ge=1, le=3650)] = 365
    events: Path | None = None
    events_content: bool = False

    def database_path(self) -> Path:
        """The SQLite file in use."""
        return self.database or platformdirs.user_data_path("wayword") / "phone.sqlite3"

    def privacy(self) -> PrivacyOptions:
        """What stays on the phone on request.

        Raises:
            UsageError: a private name cannot be one.
        """
        return PrivacyOptions(names=self.private_names, keep_names=self.keep_names)
