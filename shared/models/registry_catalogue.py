"""The catalogue of a registry of translation models, read from its JSON; no network here.

Two shapes are known, both of Firefox Translations (``docs/packs.md`` says where their description was taken from):

* the records of a Remote Settings collection, ``{"data": [{"name", "fileType", "fromLang", "toLang", "version",
  "attachment": {"hash", "size", "location", ...}, ...}]}``; newer records say ``sourceLanguage``, ``targetLanguage``,
  ``architecture``, ``decompressedHash`` and ``decompressedSize``;
* Mozilla's ``models.json``, ``{"baseUrl", "generated", "models": {"es-en": [{"architecture", "releaseStatus",
  "sourceLanguage", "targetLanguage", "files": {"model": {"path", "uncompressedSize", "uncompressedHash"}, ...}}]}}``.

What comes from a registry is not trusted: whatever does not fit is left out, and nothing of it reaches a file name, a
URL or a terminal unchecked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from shared.errors import PackCorrupt, PackUnsupported
from shared.limits import MAX_REGISTRY_RECORDS, MAX_UPSTREAM_MODEL_BYTES
from shared.models.download import is_loopback
from shared.models.language_tags import iso_code, pack_name
from shared.models.native_files import FileKind, is_version, parse_name

ARCHITECTURES: Final = ("tiny", "base-memory", "")
"""What is preferred, the fastest first; the empty one is that of records that do not say."""

_Json: TypeAlias = Mapping[str, Any]
_KINDS: Final = {kind.value: kind for kind in FileKind}
_KEYS: Final = {
    "model": FileKind.MODEL,
    "lexicalShortlist": FileKind.SHORTLIST,
    "vocab": FileKind.VOCABULARY,
    "srcVocab": FileKind.SOURCE_VOCABULARY,
    "trgVocab": FileKind.TARGET_VOCABULARY,
}
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_PATH: Final = re.compile(r"[A-Za-z0-9._~+@=-]{1,128}(?:/[A-Za-z0-9._~+@=-]{1,128}){0,15}")
_WORD: Final = re.compile(r"[A-Za-z0-9-]{1,24}")
_TAG: Final = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,2}")
_DATE: Final = re.compile(r"[0-9TZ:.+-]{1,40}")
_NUMBERS: Final = re.compile(r"\d{1,9}")


@dataclass(frozen=True)
class RegistryFile:
    """One file of a published model.

    Attributes:
        kind: which of the model's files it is.
        name: its plain name, without the ending of a compression.
        url: where it is.
        size: bytes as it is served; None where the registry does not say.
        sha256: lower-case hex of what is served; None where the registry does not say.
        plain_size: bytes when unpacked, where the registry says.
        plain_sha256: hash when unpacked, where the registry says.
    """

    kind: FileKind
    name: str
    url: str
    size: int | None = None
    sha256: str | None = None
    plain_size: int | None = None
    plain_sha256: str | None = None


@dataclass(frozen=True)
class RegistryModel:
    """One published model.

    Attributes:
        source: language tag of the source, as the registry spells it.
        target: that of the target.
        architecture: "tiny", "base-memory", ..., empty where the registry does not say.
        version: version, empty where the registry has none.
        released: whether its users get it, or only testers.
        files: its files, each kind once.
        figures: the publisher's own figures.
    """

    source: str
    target: str
    architecture: str
    version: str
    released: bool
    files: tuple[RegistryFile, ...]
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def direction(self) -> tuple[str, str]:
        """ISO 639-1 codes.

        Raises:
            PackUnsupported: a language has none of its own.
        """
        return iso_code(self.source), iso_code(self.target)

    @property
    def name(self) -> str:
        """Name of the pack made from it; see `direction` for what it raises."""
        return pack_name(*self.direction)

    @property
    def size(self) -> int | None:
        """Bytes to download; None where the registry does not say all of them."""
        sizes = [file.size for file in self.files]
        return sum(size for size in sizes if size is not None) if None not in sizes else None

    @property
    def plain_size(self) -> int | None:
        """Bytes of the unpacked network: how large the model is, as far as it is known."""
        return next((file.plain_size for file in self.files if file.kind is FileKind.MODEL), None)


@dataclass(frozen=True)
class Catalogue:
    """What a registry offers.

    Attributes:
        url: the registry.
        fetched: when it was asked, ISO 8601, UTC.
        models: its models.
        generated: when the registry says it was made, empty where it does not.
        left_out: records that could not be used.
    """

    url: str
    fetched: str
    models: tuple[RegistryModel, ...]
    generated: str = ""
    left_out: int = 0

    def find(self, direction: tuple[str, str], architecture: str | None = None) -> list[RegistryModel]:
        """The models of a direction of ISO codes, the one to take first.

        Args:
            direction: ISO 639-1 codes.
            architecture: only models of this one; None for any, in the order of `ARCHITECTURES`.
        """
        found = [
            model
            for model in self.models
            if _serves(model, direction) and (architecture is None or model.architecture == architecture)
        ]
        return sorted(found, key=preference, reverse=True)


def preference(model: RegistryModel) -> tuple[bool, int, tuple[bool, tuple[int, ...], str]]:
    """What to prefer among the models of one direction; the greatest is the best."""
    rank = ARCHITECTURES.index(model.architecture) if model.architecture in ARCHITECTURES else len(ARCHITECTURES)
    return model.released, -rank, version_key(model.version)


def version_key(version: str) -> tuple[bool, tuple[int, ...], str]:
    """Orders versions: finished ones behind trials such as 1.0a1, then by their numbers."""
    finished = not any(character.isalpha() for character in version)
    return finished, tuple(int(number) for number in _NUMBERS.findall(version)[:4]), version


def parse_json(data: bytes, *, origin: str) -> _Json:
    """The JSON object of a catalogue.

    Raises:
        PackCorrupt: it is none.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:  # wrong encoding, numbers of a million digits, brackets without end
        raise PackCorrupt(f"the catalogue of {origin} is no JSON") from error
    if not isinstance(document, dict):
        raise PackCorrupt(f"the catalogue of {origin} is no JSON object")
    return document


def is_records(document: _Json) -> bool:
    """Whether a catalogue is the list of a Remote Settings collection."""
    return isinstance(document.get("data"), list)


def parse_records(records: list[Any], *, url: str, base: str, fetched: str) -> Catalogue:
    """A catalogue from the records of a Remote Settings collection.

    Args:
        records: the records, of all pages.
        url: the registry.
        base: what the location of an attachment is appended to.
        fetched: when it was asked.

    Raises:
        PackCorrupt: there are too many records, none can be used, or the base is no URL to download from.
    """
    if len(records) > MAX_REGISTRY_RECORDS:
        raise PackCorrupt(f"the catalogue of {url} has more than {MAX_REGISTRY_RECORDS} records")
    check_base(base, url)
    groups: dict[tuple[str, str, str, str], dict[FileKind, tuple[bool, RegistryFile]]] = {}
    used = 0
    for record in records:
        parsed = _record(record, base.rstrip("/"))
        if parsed is None:
            continue
        used += 1
        key, released, file = parsed
        known = groups.setdefault(key, {}).get(file.kind)
        # Trial and release of one version have records of their own; a release replaces a trial.
        if known is None or (released and not known[0]):
            groups[key][file.kind] = (released, file)
    models = []
    for (source, target, architecture, version), files in groups.items():
        released = all(state for state, _ in files.values()) and version_key(version)[0]
        models += _whole(source, target, architecture, version, released, (file for _, file in files.values()))
    return _catalogue(url, fetched, models, "", len(records), used)


def parse_models(document: _Json, *, url: str, fetched: str) -> Catalogue:
    """A catalogue from Mozilla's ``models.json``.

    Raises:
        PackCorrupt: it has another shape, too many models, or none that can be used.
    """
    base, pairs = document.get("baseUrl"), document.get("models")
    if not isinstance(base, str) or not isinstance(pairs, dict):
        raise PackCorrupt(f"the catalogue of {url} has a shape this version of wayword does not know")
    check_base(base, url)
    entries = [entry for group in pairs.values() if isinstance(group, list) for entry in group]
    if len(entries) > MAX_REGISTRY_RECORDS:
        raise PackCorrupt(f"the catalogue of {url} has more than {MAX_REGISTRY_RECORDS} records")
    models: list[RegistryModel] = []
    for entry in entries:
        models += _entry(entry, base.rstrip("/"))
    generated = document.get("generated")
    date = generated if isinstance(generated, str) and _DATE.fullmatch(generated) else ""
    return _catalogue(url, fetched, models, date, len(entries), len(models))


def check_base(base: str, url: str) -> None:
    """Refuse a base that files could be replaced at, or that leads a registry of the world to this machine.

    Raises:
        PackCorrupt: it is one.
    """
    try:
        secure = urlsplit(base).scheme == "https" or (is_loopback(base) and is_loopback(url))
        named = bool(urlsplit(base).hostname) and not urlsplit(base).query and base.isprintable()
    except ValueError:
        secure = named = False
    if not (secure and named):
        raise PackCorrupt(f"the catalogue of {url} names {base[:80]!r} to download from, which is no https address")


def _serves(model: RegistryModel, direction: tuple[str, str]) -> bool:
    try:
        return model.direction == direction
    except PackUnsupported:
        return False


def _catalogue(
    url: str, fetched: str, models: list[RegistryModel], generated: str, records: int, used: int
) -> Catalogue:
    if records and not models:
        raise PackCorrupt(f"the catalogue of {url} lists no model that can be used")
    models.sort(key=lambda model: (model.source, model.target, model.architecture, model.version))
    return Catalogue(url, fetched, tuple(models), generated, records - used)


def _record(record: Any, base: str) -> tuple[tuple[str, str, str, str], bool, RegistryFile] | None:
    """One file of a collection, and the model it belongs to; None where it cannot be used."""
    if not isinstance(record, dict) or not isinstance(record.get("attachment"), dict):
        return None
    attachment = record["attachment"]
    source = record.get("sourceLanguage", record.get("fromLang"))
    target = record.get("targetLanguage", record.get("toLang"))
    version, location = record.get("version"), attachment.get("location")
    kind = _kind(record.get("fileType"))
    name = _plain_name(record.get("name"), kind)
    if not (_is_tag(source) and _is_tag(target) and is_version(version) and _is_path(location) and kind and name):
        return None
    size, sha256 = _size(attachment.get("size")), _sha256(attachment.get("hash"))
    if size is None or sha256 is None:
        return None  # without them the file could be anything
    served = str(attachment.get("filename", ""))
    packed = served.endswith((".gz", ".zst")) or str(location).endswith((".gz", ".zst"))
    file = RegistryFile(
        kind,
        name,
        f"{base}/{location}",
        size=size,
        sha256=sha256,
        plain_size=_size(record.get("decompressedSize")) if packed else size,
        plain_sha256=_sha256(record.get("decompressedHash")) if packed else sha256,
    )
    architecture = record.get("architecture")
    word = architecture if isinstance(architecture, str) and _WORD.fullmatch(architecture) else ""
    return (str(source), str(target), word, str(version)), _is_released(record.get("filter_expression")), file


def _entry(entry: Any, base: str) -> list[RegistryModel]:
    """One model of ``models.json``; empty where it cannot be used."""
    if not isinstance(entry, dict) or not isinstance(entry.get("files"), dict):
        return []
    source, target, architecture = (entry.get(key) for key in ("sourceLanguage", "targetLanguage", "architecture"))
    if not (_is_tag(source) and _is_tag(target) and isinstance(architecture, str) and _WORD.fullmatch(architecture)):
        return []
    files = []
    for key, kind in _KEYS.items():
        found = entry["files"].get(key)
        path = found.get("path") if isinstance(found, dict) else None
        name = _plain_name(path.rpartition("/")[2], kind) if isinstance(path, str) and _is_path(path) else None
        if name is not None:
            size, sha256 = _size(found.get("uncompressedSize")), _sha256(found.get("uncompressedHash"))
            files.append(RegistryFile(kind, name, f"{base}/{path}", plain_size=size, plain_sha256=sha256))
    released = str(entry.get("releaseStatus")).startswith("Release")
    metrics = entry.get("metrics")
    flores = metrics.get("flores200-plus") if isinstance(metrics, dict) else None
    return _whole(str(source), str(target), architecture, "", released, files, _figures(flores))


def _whole(
    source: str,
    target: str,
    architecture: str,
    version: str,
    released: bool,
    files: Iterable[RegistryFile],
    figures: Mapping[str, float] | None = None,
) -> list[RegistryModel]:
    """The model, where its files can make one: a network and either one vocabulary or both."""
    known = {file.kind: file for file in files}
    if FileKind.VOCABULARY in known:
        known.pop(FileKind.SOURCE_VOCABULARY, None)
        known.pop(FileKind.TARGET_VOCABULARY, None)
    elif not {FileKind.SOURCE_VOCABULARY, FileKind.TARGET_VOCABULARY} <= known.keys():
        return []
    if FileKind.MODEL not in known:
        return []
    ordered = tuple(known[kind] for kind in FileKind if kind in known)
    return [RegistryModel(source, target, architecture, version, released, ordered, figures or {})]


def _kind(value: object) -> FileKind | None:
    return _KINDS.get(value) if isinstance(value, str) else None  # others, such as qualityModel, are not needed


def _plain_name(name: object, kind: FileKind | None) -> str | None:
    parsed = parse_name(name) if isinstance(name, str) and len(name) <= 128 else None
    return parsed.plain if parsed is not None and parsed.kind is kind else None


def _is_tag(text: object) -> bool:
    return isinstance(text, str) and _TAG.fullmatch(text) is not None


def _is_path(text: object) -> bool:
    return isinstance(text, str) and _PATH.fullmatch(text) is not None and ".." not in text


def _size(value: object) -> int | None:
    # Some records give the number as text.
    number = int(value) if isinstance(value, str) and _NUMBERS.fullmatch(value) else value
    return number if type(number) is int and 0 < number <= MAX_UPSTREAM_MODEL_BYTES else None


def _sha256(value: object) -> str | None:
    return value.lower() if isinstance(value, str) and _HASH.fullmatch(value.lower()) else None


def _is_released(filter_expression: object) -> bool:
    """Whether a record is for everybody, or for a channel that everybody is on."""
    text = filter_expression if isinstance(filter_expression, str) else ""
    return "channel" not in text or "release" in text


def _figures(document: object) -> dict[str, float]:
    if not isinstance(document, dict):
        return {}
    return {
        f"flores200-plus {name}": float(value)
        for name, value in list(document.items())[:10]
        if _WORD.fullmatch(str(name)) and type(value) in (int, float) and abs(value) < 1e6
    }
