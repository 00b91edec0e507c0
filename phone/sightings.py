"""What an advertisement of glasses means for this phone."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData

from shared.wire import gatt


class Sighting(Enum):
    """Of one advertisement."""

    OTHER = "other"
    """No glasses."""
    PAIRING = "pairing"
    """Glasses in pairing mode: for a phone that wants to pair; all others stay away, lest they be in its way."""
    BONDED = "bonded"
    """Glasses paired with this phone, or the platform does not say."""
    STRANGER = "stranger"
    """Glasses paired with somebody else."""


def is_bonded(properties: Mapping[str, Any]) -> bool:
    """Whether BlueZ's Device1 properties (unpacked) tell of a bond; before version 5.65 it only says "Paired"."""
    return bool(properties.get("Bonded", properties.get("Paired", False)))


def classify(device: BLEDevice, advertisement: AdvertisementData) -> Sighting:
    """What a scan has heard."""
    # The name may be missing from the first advertisement; the service is in every one.
    if gatt.SERVICE_UUID not in advertisement.service_uuids:
        return Sighting.OTHER
    if advertisement.service_data.get(gatt.SERVICE_UUID) == gatt.PAIRING_OPEN:
        return Sighting.PAIRING
    properties = device.details.get("props") if isinstance(device.details, dict) else None
    if properties is None or is_bonded(properties):
        return Sighting.BONDED
    return Sighting.STRANGER
