"""What a phone may report of how it fares: closed kinds of records, each with closed lists of numbers and words.

The phone makes records by these rules and sends no others (`phone.telemetry`); the cloud refuses others
(`cloud.telemetry.service`). A word is one of a list, or the number of a version. A number is rounded, and cut to a
range. The time of a record is the hour it falls into. What a sign said is in no record but where the wearer opted in to
that; no record holds a place, a device's name, or a number that counts up.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from shared.errors import InputError
from shared.experiments import MAX_EXPERIMENTS, NAME
from shared.limits import MAX_TEXT_CHARACTERS
from shared.messages.wayword.v1 import telemetry_pb2

HOUR_MS: Final = 3_600_000
"""Times of records are multiples of it."""
MAX_RECORDS: Final = 500
"""Records of one call."""
MAX_RECORD_BYTES: Final = 4096
"""Largest record: a text of 512 characters in UTF-8, with all the rest."""
MAX_AGE_DAYS: Final = 14
"""Records older than this are neither sent nor taken, so that the cloud need not remember ids for longer."""
OTHER: Final = "other"
"""Stands for a word that is on no list."""
_VERSION: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6}){0,3}")
_ID: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Number:
    """One number of a kind.

    Attributes:
        unit: of the number, for people.
        step: to whose multiples it is rounded.
        most: cut to 0..most.
    """

    unit: str
    step: float
    most: float

    def coarse(self, value: float) -> float | None:
        """The value as it is reported; None for one that is no number."""
        if not math.isfinite(value):
            return None
        return round(min(max(value, 0.0), self.most) / self.step) * self.step

    def is_coarse(self, value: float) -> bool:
        """Whether a reported value keeps the rule."""
        return self.coarse(value) == value


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of record.

    Attributes:
        numbers: by name.
        labels: words by name.
        versions: names of labels that hold the number of a version.
        text: whether it may have a text, of wearers who opted in.
    """

    numbers: Mapping[str, Number] = field(default_factory=dict)
    labels: Mapping[str, frozenset[str]] = field(default_factory=dict)
    versions: frozenset[str] = frozenset()
    text: bool = False


def _words(*words: str) -> frozenset[str]:
    return frozenset({*words, OTHER})


_MS: Final = Number("ms", 1.0, 600_000.0)
_BYTES: Final = Number("bytes", 64.0, 1_048_576.0)
_YES_NO: Final = _words("yes", "no")
NETWORKS: Final = _words("none", "wifi", "cellular", "captive", "unknown")
FAILURES: Final = _words(
    "reading_failed", "estimate_failed", "storage_failed", "metamodel_failed", "object_refused", "strip_dropped",
    "reading_lost", "database_set_aside", "crash",
)  # fmt: skip
"""Events of the phone's log that are reported as failures."""
ERRORS: Final = _words(
    "UsageError", "InputError", "StorageError", "PackError", "PackMissing", "PackCorrupt", "PackUnsupported",
    "PackSourceUnreachable", "TranslatorFailed", "DirectionUnsupported", "LinkError", "LinkUnavailable", "LinkLost",
    "NotPaired", "BondLost", "PairingFailed", "TransferExpired", "TransferRefused", "VersionMismatch", "FrameMalformed",
    "CloudError", "CloudUnavailable", "CloudDeadline", "CloudRefused", "SignalsInvalid", "MemoryError",
)  # fmt: skip
"""Errors by their type: those of `shared.errors` that a phone can have, and running out of memory."""
PACKS: Final = _words(
    "ocr-tiny-det", "ocr-tiny-rec", "ocr-small-det", "ocr-small-rec", "ocr-cls", "cascade",
    *(f"mt-{code}-en" for code in ("ar", "bg", "cs", "de", "es", "et", "fr", "it", "ja", "ko", "nl", "pl", "pt", "ru",
                                   "tr", "uk", "zh")),
    *(f"mt-en-{code}" for code in ("de", "es", "fr", "it", "ja", "pt", "zh")),
)  # fmt: skip
"""Packs by name; a pack of the wearer's own is "other"."""

KINDS: Final[Mapping[str, Kind]] = {
    "reading": Kind(
        numbers={"since_strip_ms": _MS},
        labels={
            "state": _words("provisional", "kept", "refined"),
            "tier": _words("phone", "cloud"),
            "engine": _words("none", "phrasebook", "translator", "copy", "mixed"),
        },
        text=True,
    ),
    "decision": Kind(
        labels={
            "action": _words("keep", "escalate", "hold"),
            "rule": _words(
                "never", "consent", "private", "frame", "no ledger", "no cloud", "no network", "cloud down",
                "cloud busy", "direction", "budget", "late", "battery", "hot", "sure", "hopeless", "dear", "unsure",
                "uncertified", "fallback", "policy", "place",
            ),
            "policy": _words("cascade", "confidence", "always", "never", "random"),
            "network": NETWORKS,
        },
    ),
    "cloud_call": Kind(
        numbers={"ms": _MS, "bytes_out": _BYTES, "bytes_in": _BYTES, "attempts": Number("", 1.0, 8.0)},
        labels={
            "outcome": _words(
                "refined", "confirmed", "no better", "unavailable", "deadline", "refused", "garbled", "shared",
            ),
            "hedged": _YES_NO,
        },
    ),
    "failure": Kind(labels={"what": FAILURES, "error": ERRORS}),
    "power": Kind(
        numbers={"percent": Number("%", 5.0, 100.0), "call_joules": Number("J", 1.0, 10_000.0)},
        labels={
            "charging": _YES_NO,
            "thermal": _words("normal", "warm", "hot", "unknown"),
        },
    ),
    "link": Kind(
        numbers={
            "ms": _MS,
            "bytes": _BYTES,
        },
    ),
    "pack": Kind(labels={"name": PACKS}, versions=frozenset({"version"})),
    "lost": Kind(numbers={"records": Number("records", 1.0, 1e9)}),
}  # fmt: skip
"""All of it. "lost" says how many records the byte cap cost since the last such record."""


def curated(
    kind: str,
    *,
    recorded_s: float,
    numbers: Mapping[str, float] | None = None,
    labels: Mapping[str, str] | None = None,
    text: str | None = None,
    arms: Mapping[str, str] | None = None,
) -> telemetry_pb2.TelemetryRecord:
    """A record by the rules: rounded, cut, and with "other" for every word that is on no list.

    Args:
        kind: one of `KINDS`.
        recorded_s: Unix seconds.
        numbers: by name; those that are no number are left out.
        labels: by name.
        text: where the wearer opted in.
        arms: experiment to arm.

    Raises:
        KeyError: the kind, or a name, is on no list: a mistake in the program.
    """
    rules = KINDS[kind]
    record = telemetry_pb2.TelemetryRecord(id=uuid.uuid4().hex, recorded_ms=hour_of(recorded_s), kind=kind)
    for name, value in (numbers or {}).items():
        coarse = rules.numbers[name].coarse(value)
        if coarse is not None:
            record.numbers[name] = coarse
    for name, word in (labels or {}).items():
        if name in rules.versions:
            record.labels[name] = word if _VERSION.fullmatch(word) else "0"
        else:
            record.labels[name] = word if word in rules.labels[name] else OTHER
    if text is not None and rules.text:
        record.text = text[:MAX_TEXT_CHARACTERS]
    for experiment, arm in list((arms or {}).items())[:MAX_EXPERIMENTS]:
        record.arms[experiment] = arm
    return record


def check(record: telemetry_pb2.TelemetryRecord, *, text_allowed: bool) -> None:
    """Whether a record keeps the rules, whoever made it.

    Raises:
        InputError: it does not; the message names the field, never what is in it.
    """
    if not _ID.fullmatch(record.id):
        raise InputError("a record's id is 32 hexadecimal digits")
    rules = KINDS.get(record.kind)
    if rules is None:
        raise InputError("a record is of no known kind")
    if record.ByteSize() > MAX_RECORD_BYTES:
        raise InputError("a record is too large")
    if record.recorded_ms % HOUR_MS:
        raise InputError("a record's time is no whole hour")
    for name, value in record.numbers.items():
        rule = rules.numbers.get(name)
        if rule is None or not rule.is_coarse(value):
            raise InputError("a number is on no list, or not rounded as it should be")
    for name, word in record.labels.items():
        if name in rules.versions:
            if not _VERSION.fullmatch(word):
                raise InputError("a version is no number")
        elif word not in rules.labels.get(name, ()):
            raise InputError("a word is on no list")
    if record.HasField("text") and not (rules.text and text_allowed):
        raise InputError("texts are not taken")
    if len(record.text) > MAX_TEXT_CHARACTERS:
        raise InputError("a text is too long")
    if len(record.arms) > MAX_EXPERIMENTS or not all(
        NAME.fullmatch(experiment) and NAME.fullmatch(arm) for experiment, arm in record.arms.items()
    ):
        raise InputError("arms are malformed, or too many")


def hour_of(seconds: float) -> int:
    """The hour of a time in Unix seconds, in milliseconds."""
    return int(seconds * 1000) // HOUR_MS * HOUR_MS
