"""What an experiment may set on a phone, and how arms are named: known to the cloud, which offers, and to the phone,
which takes nothing else.

The list is closed on purpose. It holds what trades time, energy and quality; it holds no privacy setting, no budget, no
address and nothing about the ledger. The wearer's rules (`phone.cascade.rules`) stand above every policy on it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from shared.errors import UsageError

PhoneValue: TypeAlias = str | float | bool
"""A value of a phone's setting."""

NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
"""How experiments and arms are named."""
MAX_EXPERIMENTS: Final = 16
"""Experiments of one configuration."""
MAX_ARMS: Final = 8
"""Arms of one experiment."""
ARMS_METADATA: Final = "wayword-arms"
"""gRPC metadata in which a caller without a name says its arms: "experiment=arm,experiment=arm"."""
MAX_ARMS_CHARACTERS: Final = MAX_EXPERIMENTS * 66
"""Longest such line."""


@dataclass(frozen=True, slots=True)
class PhoneParameter:
    """One setting of the phone that may be set from afar.

    Attributes:
        name: of the field of the phone's settings.
        read: the value from how it is written.
        allowed: what may be written, for people.
    """

    name: str
    read: Callable[[str], PhoneValue]
    allowed: str


def _one_of(*words: str) -> Callable[[str], PhoneValue]:
    def read(text: str) -> PhoneValue:
        if text not in words:
            raise ValueError(text)
        return text

    return read


def _between(low: float, high: float) -> Callable[[str], PhoneValue]:
    def read(text: str) -> PhoneValue:
        value = float(text)
        if not (math.isfinite(value) and low <= value <= high):
            raise ValueError(text)
        return value

    return read


def _on_or_off(text: str) -> PhoneValue:
    return {"true": True, "false": False}[text]


PHONE_PARAMETERS: Final[Mapping[str, PhoneParameter]] = {
    parameter.name: parameter
    for parameter in (
        # Neither "always" nor "random": both send signs for the sake of a comparison, not of the wearer.
        PhoneParameter("policy", _one_of("cascade", "confidence", "never"), "cascade, confidence or never"),
        PhoneParameter("hold_s", _between(0.0, 20.0), "0 to 20 seconds"),
        PhoneParameter("hedging", _on_or_off, "true or false"),
        PhoneParameter("cloud_deadline_s", _between(0.5, 10.0), "0.5 to 10 seconds"),
        PhoneParameter("recogniser", _one_of("auto", "tiny", "small"), "auto, tiny or small"),
    )
}
"""What may be set from afar, by name. Ranges are judgements: what a wearer would not notice as broken."""


def phone_value(name: str, text: str) -> PhoneValue:
    """The value of a parameter as it was sent.

    Args:
        name: of the parameter.
        text: how it is written on the wire.

    Raises:
        UsageError: there is no such parameter, or the value is not allowed.
    """
    parameter = PHONE_PARAMETERS.get(name)
    if parameter is None:
        known = ", ".join(PHONE_PARAMETERS)
        raise UsageError(f"an experiment cannot set {name!r} on a phone", hint=f"it may set {known}")
    try:
        return parameter.read(text)
    except (ValueError, KeyError):
        raise UsageError(f"{name} cannot be {text[:40]!r}", hint=f"write {parameter.allowed}") from None


def written(value: PhoneValue | int) -> str:
    """How a value is sent."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(float(value))


def arms_line(arms: Mapping[str, str]) -> str:
    """Arms in one line, for metadata and the ledger: "experiment=arm,experiment=arm", by name; empty for none."""
    return ",".join(f"{name}={arm}" for name, arm in sorted(arms.items()))


def arms_of_line(line: str) -> dict[str, str]:
    """The arms of such a line. What is malformed is left out: it comes from a stranger, and stands for nothing."""
    arms: dict[str, str] = {}
    for item in line[:MAX_ARMS_CHARACTERS].split(",")[:MAX_EXPERIMENTS]:
        name, equals, arm = item.partition("=")
        if equals and NAME.fullmatch(name) and NAME.fullmatch(arm):
            arms[name] = arm
    return arms
