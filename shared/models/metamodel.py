"""A small model that says how likely a reading is right, and what asking the cloud would change.

It is a pack like the others (`cascade_pack`): one ships, another one may be installed and then takes its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from shared.errors import PackMissing, PackUnsupported, SignalsInvalid
from shared.models.cascade_pack import (
    BUILTIN,
    MODEL_NAME,
    PACK_NAME,
    CascadeDocument,
    open_folder,
    read_document,
    trusted,
)
from shared.models.estimate import Estimate
from shared.models.packs import InstalledPack, PackStore
from shared.models.risk import RiskCertificate
from shared.models.session import OnnxSession, open_session
from shared.models.sign_evidence import SignEvidence
from shared.models.sign_features import FEATURES, encode

__all__ = ["Estimate", "Metamodel", "RiskCertificate"]

INPUT: Final = "features"
OUTPUTS: Final = ("right", "helped", "harmed")
"""Names of the graph's input, (n, features) float32, and of its outputs, (n,) float32 each."""
_ROUNDING: Final = 1e-5
_TRUST_RANGES: Final = {"brightness": (0.0, 1.0), "sharpness": (0.0, 64.0), "height": (0.0, 8192.0)}


class Metamodel:
    """What is likely right and what the cloud would change. One thread works on a call; several may call.

    Args:
        pack: where it is from.
        session: its graph.
        document: what goes with the graph.
    """

    def __init__(self, pack: InstalledPack, session: OnnxSession, document: CascadeDocument) -> None:
        self.pack = pack
        self._session = session
        self._document = document
        self.certificates: Mapping[str, RiskCertificate | None] = MappingProxyType(dict(document.certificates))
        """By recognition pack: from which `Estimate.right` on its readings are certified; None for no threshold."""

    @classmethod
    def builtin(cls) -> Metamodel:
        """The one that ships, loaded once per process.

        Raises:
            PackCorrupt: its files are damaged.
            PackUnsupported: they are of another version.
            StorageError: they cannot be read.
        """
        return _builtin()

    @classmethod
    def installed(cls, store: PackStore) -> Metamodel:
        """The one in the store, or the one that ships where none is installed.

        Raises:
            PackCorrupt: its files are damaged.
            PackUnsupported: they are of another version.
            StorageError: they cannot be read.
        """
        try:
            return cls.load(store.get(PACK_NAME))
        except PackMissing:
            return cls.builtin()

    @classmethod
    def load(cls, pack: InstalledPack | Path) -> Metamodel:
        """Load a pack.

        Args:
            pack: verified, or a folder, which is verified here.

        Raises:
            PackCorrupt: a file is damaged.
            PackUnsupported: the pack is of another version, was made for other features, or its graph is none of ours.
            StorageError: a file cannot be read.
        """
        found = open_folder(pack) if isinstance(pack, Path) else pack
        document = read_document(found)
        session = open_session(found.path(MODEL_NAME))
        if session.input_names != (INPUT,) or session.output_names != OUTPUTS:
            raise PackUnsupported(f"the graph of pack {found.name} {found.version} has other inputs or outputs")
        model = cls(found, session, document)
        model._run(np.zeros(len(FEATURES), np.float32))
        return model

    @property
    def recognisers(self) -> frozenset[str]:
        """Recognition packs it knows."""
        return frozenset(self.certificates)

    def certificate_of(self, recogniser: str) -> RiskCertificate | None:
        """The certificate for readings of a recognition pack; None for a pack it does not know."""
        return self.certificates.get(recogniser)

    def estimate(self, evidence: SignEvidence) -> Estimate:
        """What is likely of one sign.

        A recogniser it was not trained with is refused rather than taken for its nearest: what a probability of one
        means was measured with that one, and a certificate would promise what nobody checked. Whoever asks then goes
        by its chances without a metamodel.

        Raises:
            SignalsInvalid: a number is missing, not finite or out of range, or the recogniser is unknown.
        """
        if evidence.recogniser not in self.certificates:
            raise SignalsInvalid(f"the metamodel was not trained with the recogniser {evidence.recogniser}")
        features = encode(evidence)
        try:
            return self._run(features)
        except PackUnsupported as error:  # it loaded, so these numbers are beyond its graph
            raise SignalsInvalid(error.message) from error

    def trust(
        self,
        language: str | None = None,
        *,
        brightness: float | None = None,
        sharpness: float | None = None,
        height_px: float | None = None,
    ) -> dict[str, float]:
        """P(text and translation will be right) of each recognition pack, before anything is read.

        For choosing a recogniser; coarser than `estimate`, which sees the reading. What is not known counts as in the
        usual training sign.

        Args:
            language: expected on the sign, ISO 639-1.
            brightness, sharpness: as `picture_quality` measures them.
            height_px: of the line.

        Raises:
            SignalsInvalid: a number is not finite or out of range.
        """
        for what, value in (("brightness", brightness), ("sharpness", sharpness), ("height", height_px)):
            least, most = _TRUST_RANGES[what]
            if value is not None and not least <= value <= most:
                raise SignalsInvalid(f"{what} is {value:g}, outside {least:g} to {most:g}")
        return {
            pack: trusted(model, language, brightness, sharpness, height_px)
            for pack, model in self._document.trust.items()
        }

    @property
    def report(self) -> Mapping[str, object]:
        """What was measured when it was made."""
        return self._document.report

    def _run(self, features: np.ndarray[tuple[int], np.dtype[np.float32]]) -> Estimate:
        outputs = self._session.run({INPUT: features[None]})
        if any(output.size != 1 for output in outputs):
            raise PackUnsupported(f"the graph of pack {self.pack.name} gives other than one number of each kind")
        right, helped, harmed = (float(output.reshape(-1)[0]) for output in outputs)
        for value in (right, helped, harmed):
            if not -_ROUNDING <= value <= 1 + _ROUNDING:
                raise PackUnsupported(f"the graph of pack {self.pack.name} gives {value:g}, which is no probability")
        return Estimate(_within(right), _within(helped), _within(harmed))


@lru_cache(maxsize=1)
def _builtin() -> Metamodel:
    return Metamodel.load(BUILTIN)


def _within(p: float) -> float:
    return min(max(p, 0.0), 1.0)
