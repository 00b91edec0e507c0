"""Translation models as Firefox Translations and Bergamot publish them, made into packs.

A published model is three or four files, each as it is or gzip'd::

    model.<pair>.intgemm.alphas.bin   the network
    lex.50.50.<pair>.s2t.bin          the lexical shortlist
    vocab.<pair>.spm                  the vocabulary, or srcvocab.<pair>.spm and trgvocab.<pair>.spm,
                                      or vocab.<language>.spm of each language

Nothing else is needed to install it. A ``reference.tsv`` beside them (source, tab, expected translation) is checked
after the conversion; ``metadata.json``, as Mozilla's exports carry it, says version and architecture.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from shared.errors import PackCorrupt
from shared.limits import MAX_MANIFEST_BYTES
from shared.models.bergamot.layout import FORMAT_VERSION
from shared.models.language_tags import iso_code, pack_name, split_pair
from shared.models.manifest import PackFile, PackManifest, Task, describe_file
from shared.models.native_files import (
    FileKind,
    canonical_name,
    group_names,
    is_version,
    read_references,
    unpack,
)
from shared.models.offers import Progress, Stage
from shared.models.packs import InstalledPack

REFERENCE_NAME: Final = "reference.tsv"
METADATA_NAME: Final = "metadata.json"
MOZILLA_LICENCE: Final = "MPL-2.0"
"""Licence of the models in Mozilla's registry ("The model files are distributed under the MPL 2.0 license", README of
github.com/mozilla/translations)."""
UNKNOWN_LICENCE: Final = "unknown"

_LICENCE_FILES: Final = ("LICENSE", "LICENSE.txt", "LICENCE", "LICENCE.txt", "LICENSE.md")


@dataclass(frozen=True)
class NativeDescription:
    """What is known of a model before it is converted.

    Attributes:
        source: ISO 639-1 code of the source language.
        target: that of the target language.
        version: version, as the source names it; empty for one made from the files' hashes.
        architecture: "tiny", "base-memory", ..., empty where nobody says.
        licence: SPDX expression or `UNKNOWN_LICENCE`.
        origin: where the files came from, for people.
        figures: the publisher's own figures for it.
    """

    source: str
    target: str
    version: str = ""
    architecture: str = ""
    licence: str = UNKNOWN_LICENCE
    origin: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the pack."""
        return pack_name(self.source, self.target)


@dataclass(frozen=True)
class NativeOffer:
    """A published model in a folder of its own, unpacked under the names of `canonical_name`.

    Attributes:
        description: what is known of it.
        folder: holds the files, and `REFERENCE_NAME` where there is one.
        sources: the files, under their own names.
    """

    description: NativeDescription
    folder: Path
    sources: tuple[PackFile, ...]

    @property
    def name(self) -> str:
        """See `Offer.name`."""
        return self.description.name

    @property
    def version(self) -> str:
        """The version the pack will have."""
        if self.description.version:
            return self.description.version
        digest = hashlib.sha256("".join(sorted(file.sha256 for file in self.sources)).encode())
        return f"sha-{digest.hexdigest()[:12]}"

    def same(self, installed: PackManifest) -> bool:
        """See `Offer.same`."""
        return (installed.version, installed.sources, installed.encoding) == (
            self.version,
            self.sources,
            {"conversion": FORMAT_VERSION},
        )

    def build(self, folder: Path, progress: Progress) -> PackManifest:
        """Convert the model, run it once, and hold it against its reference translations; see `Offer.build`."""
        # Here, because a reader of packs needs no converter.
        from shared.models.bergamot.convert import convert_bergamot

        description = self.description
        progress(self.name, Stage.CONVERTING, 0)
        names = convert_bergamot(self.folder, folder)
        manifest = PackManifest(
            name=self.name,
            version=self.version,
            task=Task.TRANSLATION,
            languages=(description.source, description.target),
            direction=(description.source, description.target),
            files=tuple(describe_file(folder / name) for name in sorted(names)),
            encoding_version=1,
            licence=description.licence,
            source=description.origin,
            card=self._card({}),
            encoding={"conversion": FORMAT_VERSION},
            sources=self.sources,
        )
        progress(self.name, Stage.CHECKING, 0)
        checked = _check(InstalledPack(manifest, folder), self._references())
        return replace(manifest, card=self._card(checked))

    def _references(self) -> list[tuple[str, str]]:
        path = self.folder / REFERENCE_NAME
        return read_references(path) if path.is_file() else []

    def _card(self, checked: Mapping[str, object]) -> dict[str, object]:
        architecture = self.description.architecture
        card: dict[str, object] = {"model": f"Firefox Translations {architecture}".rstrip()}
        if self.description.figures:
            card["publisher's figures"] = dict(self.description.figures)
        card.update(checked)
        card["known_failures"] = ["not measured on signs", "all capitals: lower-case the text first"]
        return card


def prepare(
    files: Mapping[FileKind, tuple[str, Path]], folder: Path, description: NativeDescription
) -> tuple[PackFile, ...]:
    """Unpack a model's files into `folder` under their canonical names; returns them under their own plain names.

    Args:
        files: for each kind, the plain name and where the file is.
        folder: existing folder.
        description: its languages name the files, so that the converter reads ISO codes out of them.

    Raises:
        PackCorrupt: a file is damaged or too long.
        PackUnsupported: one is packed in a way this runtime does not know.
        OSError: the disk refuses.
    """
    described = []
    for kind in sorted(files):
        plain_name, path = files[kind]
        target = folder / canonical_name(kind, description.source + description.target)
        unpack(path, target)
        found = describe_file(target)
        described.append(PackFile(plain_name, found.sha256, found.size))
    return tuple(described)


def folder_offers(folder: Path, scratch: Path) -> list[NativeOffer]:
    """The published models in a folder; an empty list where there is none.

    Args:
        folder: the folder.
        scratch: receives the unpacked files.

    Raises:
        PackCorrupt: a file is damaged.
        PackUnsupported: a language has no code of its own, or a file is packed in an unknown way.
        OSError: a file cannot be read, or the disk is full.
    """
    groups = group_names(path.name for path in folder.iterdir() if path.is_file())
    metadata = read_metadata(folder / METADATA_NAME) if len(groups) == 1 else {}
    offers: list[NativeOffer] = []
    for pair, names in groups.items():
        source, target = split_pair(pair)
        description = NativeDescription(
            iso_code(source),
            iso_code(target),
            version=str(metadata["version"]) if is_version(metadata.get("version")) else "",
            architecture=_word(metadata.get("architecture")),
            licence=_licence_beside(folder),
            origin=f"published model {names[FileKind.MODEL].plain} from a folder",
            figures=_figures(metadata.get("flores")),
        )
        unpacked = scratch / f"native-{description.name}-{len(offers)}"
        unpacked.mkdir(parents=True)
        files = {kind: (name.plain, folder / name.name) for kind, name in names.items()}
        sources = prepare(files, unpacked, description)
        _check_hash(metadata.get("hash"), sources, names[FileKind.MODEL].plain)
        if (folder / REFERENCE_NAME).is_file():
            read_references(folder / REFERENCE_NAME)  # says what is wrong with it before minutes of work
            shutil.copyfile(folder / REFERENCE_NAME, unpacked / REFERENCE_NAME)
        offers.append(NativeOffer(description, unpacked, sources))
    return offers


def read_metadata(path: Path) -> dict[str, object]:
    """A model's ``metadata.json``; empty where there is none.

    Raises:
        PackCorrupt: it is too large or no JSON object.
        OSError: it cannot be read.
    """
    if not path.is_file():
        return {}
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise PackCorrupt(f"{path.name} is too large")
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise PackCorrupt(f"{path.name} is no JSON") from error
    if not isinstance(document, dict):
        raise PackCorrupt(f"{path.name} is no JSON object")
    return document


def _check(pack: InstalledPack, references: list[tuple[str, str]]) -> dict[str, object]:
    """Run a converted pack, and hold it against reference translations; returns what the card says of that.

    Raises:
        PackCorrupt: it does not run, or translates otherwise than its references say.
    """
    from shared.models.bergamot.translator import BergamotTranslator

    translator = BergamotTranslator.load(pack)
    translator.translate("1")
    if not references:
        return {}
    from shared.models.bergamot.verify import check_references

    return {"reference translations": check_references(translator, references)}


def _check_hash(expected: object, sources: tuple[PackFile, ...], model: str) -> None:
    found = next(file.sha256 for file in sources if file.name == model)
    if isinstance(expected, str) and re.fullmatch("[0-9a-fA-F]{64}", expected) and expected.lower() != found:
        raise PackCorrupt(f"{model} has the wrong SHA-256: {METADATA_NAME} beside it names another one")


def _licence_beside(folder: Path) -> str:
    """`MOZILLA_LICENCE` where the folder holds that licence's text."""
    for name in _LICENCE_FILES:
        path = folder / name
        if path.is_file():
            with path.open("rb") as stream:
                if b"Mozilla Public License Version 2.0" in b" ".join(stream.read(4096).split()):
                    return MOZILLA_LICENCE
    return UNKNOWN_LICENCE


def _word(text: object) -> str:
    return text if isinstance(text, str) and re.fullmatch(r"[a-z0-9-]{1,24}", text) else ""


def _figures(document: object) -> dict[str, float]:
    if not isinstance(document, dict):
        return {}
    return {
        f"flores {name}"[:60]: float(value)
        for name, value in list(document.items())[:10]
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6
    }
