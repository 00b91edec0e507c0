"""The pack of the cascade: a manifest, a graph (`model.onnx`) and what goes with it (`cascade.json`).

One ships inside the package. Another one, made by ``wayword-sim train cascade``, is installed as any pack is
(``wayword-phone packs install --from FOLDER``) and then takes its place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from shared.errors import InputError, PackCorrupt, PackUnsupported, StorageError
from shared.limits import MAX_MANIFEST_BYTES
from shared.models.manifest import MANIFEST_NAME, Task, check_file, check_supported, parse_manifest
from shared.models.packs import InstalledPack
from shared.models.risk import RiskCertificate
from shared.models.sign_features import FEATURES

PACK_NAME: Final = "cascade"
MODEL_NAME: Final = "model.onnx"
DOCUMENT_NAME: Final = "cascade.json"
DOCUMENT_VERSION: Final = 1
BUILTIN: Final = Path(__file__).parent / "data" / PACK_NAME
"""Folder of the pack that ships."""
_OCTAVES: Final = 3.0
"""Further from the usual, training has seen too little."""
_HINT: Final = "make another one with: wayword-sim train cascade"


@dataclass(frozen=True, slots=True)
class TrustModel:
    """P(a recogniser will be right) before anything is read: a logistic regression on what the picture shows.

    Attributes:
        bias: log-odds for an unknown language in the usual picture.
        languages: log-odds a language adds.
        height: log-odds for each octave of height above `usual_height`.
        sharpness: log-odds for each octave of sharpness above `usual_sharpness`.
        brightness: log-odds for full scale, from `usual_brightness`.
        usual_height, usual_sharpness, usual_brightness: medians of the training signs, which stand for what is not
            known.

    Raises:
        InputError: a number is not finite, or a usual size is none.
    """

    bias: float
    languages: Mapping[str, float]
    height: float
    sharpness: float
    brightness: float
    usual_height: float
    usual_sharpness: float
    usual_brightness: float

    def __post_init__(self) -> None:
        weights = (self.bias, self.height, self.sharpness, self.brightness, self.usual_brightness)
        sizes = (self.usual_height, self.usual_sharpness)
        if not all(map(math.isfinite, (*weights, *sizes, *self.languages.values()))) or min(sizes) <= 0:
            raise InputError("the trust model has an impossible number")


@dataclass(frozen=True)
class CascadeDocument:
    """`cascade.json`.

    Attributes:
        version: of this shape.
        features: names of the features the graph takes, in order.
        certificates: by recognition pack; None where no threshold could be certified. The recognisers the graph knows
            are the keys.
        assumption: what the certificates rest on, and how they were made, for people.
        trust: by recognition pack.
        report: what was measured when it was made; the card is written from it.
    """

    version: int
    features: tuple[str, ...]
    certificates: Mapping[str, RiskCertificate | None]
    assumption: str
    trust: Mapping[str, TrustModel]
    report: Mapping[str, object] = field(default_factory=dict)


_DOCUMENT: Final[TypeAdapter[CascadeDocument]] = TypeAdapter(CascadeDocument)


def trusted(
    model: TrustModel, language: str | None, brightness: float | None, sharpness: float | None, height_px: float | None
) -> float:
    """P(the recogniser will be right), 0..1; what is None counts as usual."""
    odds = model.bias + model.languages.get(language or "", 0.0)
    odds += model.brightness * ((model.usual_brightness if brightness is None else brightness) - model.usual_brightness)
    odds += model.sharpness * octaves(sharpness, model.usual_sharpness)
    odds += model.height * octaves(height_px, model.usual_height)
    return 1 / (1 + math.exp(-min(max(odds, -30.0), 30.0)))


def octaves(value: float | None, usual: float) -> float:
    """How far a value is from the usual one, at most three octaves; an unknown one is as usual."""
    return 0.0 if value is None else min(max(math.log2(max(value, 1e-6) / usual), -_OCTAVES), _OCTAVES)


def open_folder(folder: Path) -> InstalledPack:
    """A pack in a folder that is no store: the one that ships, or one just made; every file is checked.

    Raises:
        PackCorrupt: the manifest is damaged, or a file is not what it says.
        PackUnsupported: this runtime does not know the encoding version.
        StorageError: a file cannot be read.
    """
    path = folder / MANIFEST_NAME
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_MANIFEST_BYTES + 1)
    except FileNotFoundError as error:
        raise PackCorrupt(f"{folder} has no {MANIFEST_NAME}", hint=_HINT) from error
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > MAX_MANIFEST_BYTES:
        raise PackCorrupt(f"{path} is larger than any manifest", hint=_HINT)
    manifest = parse_manifest(data, origin=str(folder))
    check_supported(manifest)
    for file in manifest.files:
        check_file(folder / file.name, file, owner=f"pack {manifest.name}", hint=_HINT)
    return InstalledPack(manifest, folder)


def read_document(pack: InstalledPack) -> CascadeDocument:
    """`cascade.json` of a verified pack.

    Raises:
        PackUnsupported: it is no cascade pack, of another version, or made for other features.
        PackCorrupt: it is damaged.
        StorageError: it cannot be read.
    """
    if pack.manifest.task is not Task.CASCADE:
        raise PackUnsupported(f"pack {pack.name} is for {pack.manifest.task}, not for the cascade")
    path = pack.path(DOCUMENT_NAME)
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise PackCorrupt(f"{DOCUMENT_NAME} of pack {pack.name} is too large", hint=_HINT)
        document = _DOCUMENT.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise PackCorrupt(f"{DOCUMENT_NAME} of pack {pack.name}: {where}: {first['msg']}", hint=_HINT) from error
    except InputError as error:  # of a certificate or a trust model
        raise PackCorrupt(f"{DOCUMENT_NAME} of pack {pack.name}: {error.message}", hint=_HINT) from error
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    if document.version != DOCUMENT_VERSION:
        raise PackUnsupported(
            f"{DOCUMENT_NAME} of pack {pack.name} has version {document.version}; this version of wayword knows "
            f"{DOCUMENT_VERSION}",
            hint=_HINT,
        )
    if document.features != FEATURES:
        raise PackUnsupported(f"pack {pack.name} {pack.version} was made for other features", hint=_HINT)
    return document


def dump_document(document: CascadeDocument) -> bytes:
    """The JSON of a document; equal documents give equal bytes."""
    return _DOCUMENT.dump_json(document, indent=1) + b"\n"
