"""Networks by name, with the constants of a run, and profiles of the link between glasses and phone by name."""

from __future__ import annotations

from typing import Final

from shared.errors import UsageError
from simulations.energy.constants import Constants
from simulations.networks.profile import DEFAULT_SEED, Access, NetworkProfile, OnOff, rounded
from simulations.radio.profile import LinkProfile

PROFILES: Final = (
    "wifi",
    "lte",
    "lte-weak",
    "5g",
    "5g-mmwave",
    "offline",
    "lossy",
    "metered-roaming",
    "captive",
    "train",
)

BLE_PROFILES: Final = {
    "ble-good": "100kBps/15ms,latency=2ms",
    "ble-mid": "40kBps/30ms,latency=5ms,miss=1%",
    "ble-poor": "5kBps/60ms,latency=10ms,jitter=20ms,miss=10%,burst=4,range=120s/3s",
}
"""Links in the words of `simulations.radio.profile`: a good one, a usual one, and one through a body and a bag. The
loss is an assumption."""

_FADED_SHARE: Final = 0.1
"""Rate left in a fade; an assumption."""
_MEGABIT: Final = 125_000.0


def network_profile(name: str, constants: Constants, *, seed: int = DEFAULT_SEED) -> NetworkProfile:
    """A preset with these constants.

    Raises:
        UsageError: there is no such preset.
    """
    match name:
        case "wifi":
            return _profile(Access.WIFI, "wifi", constants, seed)
        case "lte":
            return _profile(Access.LTE, "lte", constants, seed, street=True)
        case "lte-weak":
            return _profile(Access.LTE_WEAK, "weak", constants, seed, street=True)
        case "5g":
            return _profile(Access.FIVE_G, "5g", constants, seed, street=True)
        case "5g-mmwave":
            return _profile(Access.MMWAVE, "mmwave", constants, seed, street=True)
        case "offline":
            return NetworkProfile(Access.OFFLINE, seed=seed)
        case "lossy":
            fade = _on_off("net.lossy.good_seconds", "net.lossy.bad_seconds", constants)
            return _profile(Access.WIFI, "wifi", constants, seed, fade=fade, fail=constants["net.lossy.fail"])
        case "metered-roaming":
            return _profile(
                Access.LTE,
                "lte",
                constants,
                seed,
                street=True,
                rtt_s=constants["net.roaming.rtt_seconds"],
                price=constants["net.roaming.price_per_mb"],
            )
        case "captive":
            return _profile(Access.CAPTIVE, "wifi", constants, seed)
        case "train":
            coverage = _on_off("net.train.covered_seconds", "net.train.uncovered_seconds", constants)
            return _profile(Access.LTE, "lte", constants, seed, street=True, coverage=coverage)
        case _:
            raise UsageError(f"there is no network {name!r}", hint=f"networks: {', '.join(PROFILES)}")


def ble_profile(name: str) -> LinkProfile:
    """A preset of the link between glasses and phone.

    Raises:
        UsageError: there is no such preset.
    """
    if name not in BLE_PROFILES:
        raise UsageError(f"there is no link {name!r}", hint=f"links: {', '.join(BLE_PROFILES)}")
    return LinkProfile.parse(BLE_PROFILES[name])


def _profile(
    access: Access,
    subject: str,
    constants: Constants,
    seed: int,
    *,
    street: bool = False,
    fade: OnOff | None = None,
    coverage: OnOff | None = None,
    fail: float | None = None,
    rtt_s: float | None = None,
    price: float | None = None,
) -> NetworkProfile:
    if street:
        fade = fade or _on_off("net.street.good_seconds", "net.street.bad_seconds", constants)
        coverage = coverage or _on_off("net.street.covered_seconds", "net.street.uncovered_seconds", constants)
    return NetworkProfile(
        access=access,
        up_bytes_per_s=rounded(constants[f"net.{subject}.up_mbps"]) * _MEGABIT,
        down_bytes_per_s=rounded(constants[f"net.{subject}.down_mbps"]) * _MEGABIT,
        rtt_s=rounded((constants[f"net.{subject}.rtt_seconds"] if rtt_s is None else rtt_s) * 1000) / 1000,
        rtt_sigma=rounded(constants["net.rtt_sigma"]),
        rate_sigma=rounded(constants["net.rate_sigma"]),
        fade=fade,
        faded_share=1.0 if fade is None else _FADED_SHARE,
        coverage=coverage,
        fail=rounded((constants["net.fail"] if fail is None else fail) * 100) / 100,
        price_per_mb=None if price is None else rounded(price),
        seed=seed,
    )


def _on_off(good: str, bad: str, constants: Constants) -> OnOff:
    return OnOff(rounded(constants[good]), rounded(constants[bad]))
