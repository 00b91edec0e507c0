"""What is compared: designs, and everything else that tells one run of a sweep from another."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from phone.cascade.privacy import CloudUse
from phone.settings import RecogniserChoice


class Design(StrEnum):
    """Which tier does what."""

    GLASSES = "glasses"
    """All on the glasses: they detect, read and translate; nothing is sent."""
    PHONE = "phone"
    """All on the phone: the product without a cloud."""
    VIDEO = "cloud-video"
    """All in the cloud: the glasses stream H.264 over Wi-Fi, the phone passes it on."""
    STILLS = "cloud-stills"
    """All in the cloud: one compressed picture for each opening of the gate."""
    SPLIT = "split"
    """The glasses cut strips, the phone passes every one on, the cloud reads."""
    HYBRID = "hybrid"
    """The product: the phone reads, the cascade asks the cloud where it helps."""
    TABLE = "table"
    """The phone's tiny recogniser and the phrasebook, no translator and no cloud."""

    @property
    def detects(self) -> bool:
        """Whether the glasses find the text themselves, which takes models."""
        return self not in {Design.VIDEO, Design.STILLS}

    @property
    def asks_cloud(self) -> bool:
        """Whether anything leaves the phone."""
        return self in {Design.VIDEO, Design.STILLS, Design.SPLIT, Design.HYBRID}


OF_DAY: Final = "day"
"""Name of the network that follows the wearer's day: hotel Wi-Fi, street, metro, as the world's segments say."""
DEFAULT_POLICY: Final = "cascade"


@dataclass(frozen=True, slots=True)
class Arm:
    """One cell of the grid.

    Attributes:
        design: which tier does what.
        network: name of a preset, or `OF_DAY`.
        phone, glasses: names of device classes.
        city: name of a destination.
        policy: of the hybrid; empty for a design without one.
        privacy: the wearer's switch; under "ask" no consent is ever given.
        link: name of a preset of the link between glasses and phone.
        recogniser: the phone's, as its setting says it; the table design takes the tiny one whatever this says.
    """

    design: Design
    network: str = OF_DAY
    phone: str = "phone-mid"
    glasses: str = "glasses-xr"
    city: str = "lisbon"
    policy: str = ""
    privacy: CloudUse = CloudUse.ALLOW
    link: str = "ble-mid"
    recogniser: RecogniserChoice = RecogniserChoice.AUTO

    def as_json(self) -> dict[str, str]:
        """As it stands in the results."""
        return {
            "design": self.design.value,
            "network": self.network,
            "phone": self.phone,
            "glasses": self.glasses,
            "city": self.city,
            "policy": self.policy,
            "privacy": self.privacy.value,
            "link": self.link,
            "recogniser": self.recogniser.value,
        }

    def __str__(self) -> str:
        policy = f"/{self.policy}" if self.policy else ""
        return f"{self.design}{policy} {self.network} {self.phone} {self.glasses} {self.city}"
