"""Names of the link's GATT service, known to both ends."""

from __future__ import annotations

from typing import Final

SERVICE_UUID: Final = "04651330-5f3b-4e27-b90a-05b8533cdd60"
"""Advertised by the glasses; the phone scans for it (a name may be missing from the first advertisement)."""
TO_GLASSES_UUID: Final = "04651331-5f3b-4e27-b90a-05b8533cdd60"
"""Characteristic the phone writes without response."""
TO_PHONE_UUID: Final = "04651332-5f3b-4e27-b90a-05b8533cdd60"
"""Characteristic the glasses notify."""
PREFERRED_ATT_MTU: Final = 517
"""Carries a 512-byte value in one write or notification."""
PAIRING_CLOSED: Final = b"\x00"
"""Service data (of `SERVICE_UUID`, in the scan response) of glasses that take no new phone now."""
PAIRING_OPEN: Final = b"\x01"
"""The same while the wearer has opened pairing mode: phones that want to pair look for it, all others stay away."""
