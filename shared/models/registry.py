"""A registry of published translation models: its catalogue, kept for days without a network, and its packs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from pydantic import TypeAdapter, ValidationError

from shared.clock import Clock, SystemClock
from shared.errors import PackCorrupt, PackError, PackSourceUnreachable, UsageError
from shared.files import replace_file
from shared.limits import MAX_REGISTRY_BYTES, MAX_REGISTRY_RECORDS, MAX_UPSTREAM_MODEL_BYTES
from shared.models.bergamot.layout import FORMAT_VERSION
from shared.models.download import download, fetch
from shared.models.language_tags import direction_of
from shared.models.manifest import PackFile, PackManifest, check_file
from shared.models.native import (
    MOZILLA_LICENCE,
    UNKNOWN_LICENCE,
    NativeDescription,
    NativeOffer,
    prepare,
)
from shared.models.native_files import FileKind, is_version
from shared.models.offers import Offer, Progress, Stage
from shared.models.registry_catalogue import (
    Catalogue,
    RegistryFile,
    RegistryModel,
    is_records,
    parse_json,
    parse_models,
    parse_records,
)
from shared.models.sources import check_url

REGISTRY_VARIABLE: Final = "WAYWORD_REGISTRY"
FIREFOX_REGISTRY: Final = (
    "https://firefox.settings.services.mozilla.com/v1/buckets/main/collections/translations-models/records"
)
"""The public catalogue: what Firefox itself downloads its models from."""
CACHE_FOLDER: Final = ".registry"
"""Folder in the pack store with the last catalogue of each registry."""

_MOZILLA_HOSTS: Final = frozenset({"firefox.settings.services.mozilla.com", "storage.googleapis.com"})
_MOZILLA_BUCKET: Final = "/moz-fx-translations-data--303e-prod-translations-data/"
_MAX_PAGES: Final = 50
_SERVER_INFO_BYTES: Final = 64 * 1024
_CATALOGUE: Final[TypeAdapter[Catalogue]] = TypeAdapter(Catalogue)
_TRY_AGAIN: Final = "Try again; if it stays so, the registry is damaged"


@dataclass(frozen=True)
class Answer:
    """A catalogue, and why it is the remembered one; None when the registry itself answered."""

    catalogue: Catalogue
    offline: PackError | None = None


class Registry:
    """A registry of published models.

    Args:
        url: its catalogue: the records of a Remote Settings collection, or a ``models.json``.
        cache: folder that keeps the last catalogue.
        clock: says when it was fetched.

    Raises:
        UsageError: the URL is neither https nor of this machine.
    """

    def __init__(self, url: str, cache: Path, *, clock: Clock | None = None) -> None:
        check_url(url)
        self.url = url
        self._clock = clock or SystemClock()
        self._cache = cache / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.json"

    def ask(self) -> Answer:
        """The catalogue of now, or the remembered one where the registry cannot be reached or answers nonsense.

        Raises:
            PackSourceUnreachable: it cannot be reached, and nothing is remembered.
            PackCorrupt: what it answers is no catalogue, and nothing is remembered.
        """
        try:
            catalogue = self._fetch()
        except (PackSourceUnreachable, PackCorrupt) as error:
            remembered = self._remembered()
            if remembered is None:
                raise
            return Answer(remembered, error)
        self._remember(catalogue)
        return Answer(catalogue)

    def _fetch(self) -> Catalogue:
        fetched = datetime.fromtimestamp(self._clock.wall(), tz=UTC).isoformat(timespec="seconds")
        page = fetch(self.url, limit=MAX_REGISTRY_BYTES)
        document = parse_json(page.data, origin=self.url)
        if not is_records(document):
            return parse_models(document, url=self.url, fetched=fetched)
        records: list[Any] = list(document["data"])
        left = MAX_REGISTRY_BYTES - len(page.data)
        for _ in range(_MAX_PAGES):
            if not page.next_page or len(records) > MAX_REGISTRY_RECORDS:
                break
            page = fetch(self._same_server(page.next_page), limit=left)
            left -= len(page.data)
            more = parse_json(page.data, origin=self.url).get("data")
            records += more if isinstance(more, list) else []
        return parse_records(records, url=self.url, base=self._attachments(), fetched=fetched)

    def _attachments(self) -> str:
        """Where the server keeps attachments: its root says so (Kinto, ``capabilities.attachments.base_url``)."""
        root, bucket, _ = self.url.partition("/buckets/")
        if not bucket:
            raise PackCorrupt(f"{self.url} lists records, but is no collection of a Remote Settings server")
        info: Any = parse_json(fetch(f"{root}/", limit=_SERVER_INFO_BYTES).data, origin=root)
        for key in ("capabilities", "attachments", "base_url"):
            info = info.get(key) if isinstance(info, dict) else None
        if not isinstance(info, str):
            raise PackCorrupt(f"{root}/ does not say where its attachments are")
        return info

    def _same_server(self, url: str) -> str:
        absolute = urljoin(self.url, url)
        if urlsplit(absolute)[:2] != urlsplit(self.url)[:2]:
            raise PackCorrupt(f"the catalogue of {self.url} goes on at another server")
        return absolute

    def _remember(self, catalogue: Catalogue) -> None:
        try:
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._cache, _CATALOGUE.dump_json(catalogue))
        except OSError:
            return  # a full or read-only store: the catalogue at hand is as good without a copy of it

    def _remembered(self) -> Catalogue | None:
        try:
            if self._cache.stat().st_size > 2 * MAX_REGISTRY_BYTES:
                return None
            catalogue = _CATALOGUE.validate_json(self._cache.read_bytes())
        except (OSError, ValidationError):
            return None  # there is none, or no usable one: the failure of the registry is what matters
        return catalogue if catalogue.url == self.url else None


@dataclass(frozen=True)
class RegistrySource:
    """Models of a registry as packs.

    Attributes:
        registry: the registry.
        architecture: only models of this one; None for the one preferred.
    """

    registry: Registry
    architecture: str | None = None

    def offers(
        self, names: Sequence[str] | None, scratch: Path, downloads: Path, progress: Progress
    ) -> Sequence[Offer]:
        """See `PackSource.offers`; models are downloaded when they are built.

        Raises:
            UsageError: no names are given, or the registry has no such model.
        """
        if not names:
            raise UsageError("a registry has too many models to install them all", hint="Name packs, such as mt-es-en")
        answer = self.registry.ask()
        return [RegistryOffer(self._choose(answer, name), answer, downloads) for name in names]

    def _choose(self, answer: Answer, name: str) -> RegistryModel:
        direction = direction_of(name)
        catalogue = answer.catalogue
        found = catalogue.find(direction, self.architecture)
        if found:
            return found[0]
        when = f"the catalogue of {catalogue.fetched[:10]}" if answer.offline else "the catalogue"
        others = sorted({model.architecture or "unknown" for model in catalogue.find(direction)})
        if others:
            raise UsageError(
                f"{when} of {catalogue.url} has no {self.architecture} model for {name}",
                hint=f"It has {', '.join(others)}",
            )
        raise UsageError(f"{when} of {catalogue.url} has no {name}", hint="see: wayword-phone packs available")


@dataclass(frozen=True)
class RegistryOffer:
    """A model of a registry, downloaded when it is built.

    Attributes:
        model: the model.
        answer: the catalogue it stands in.
        downloads: folder of downloads; whole ones stay there until the pack is made of them.
    """

    model: RegistryModel
    answer: Answer
    downloads: Path

    @property
    def name(self) -> str:
        """See `Offer.name`."""
        return self.model.name

    @property
    def version(self) -> str:
        """The version the pack will have; from the hash of the network where the registry has no versions."""
        if self.model.version:
            return self.model.version
        known = next((file.plain_sha256 for file in self.model.files if file.kind is FileKind.MODEL), None)
        version = f"sha-{known[:12]}" if known else ""
        return version if is_version(version) else ""

    def same(self, installed: PackManifest) -> bool:
        """See `Offer.same`."""
        have = {(file.name, file.sha256) for file in installed.sources}
        known = [(file.name, file.plain_sha256) for file in self.model.files if file.plain_sha256]
        return (
            bool(known)
            and installed.version == self.version
            and installed.encoding.get("conversion") == FORMAT_VERSION
            and all(file in have for file in known)
        )

    def build(self, folder: Path, progress: Progress) -> PackManifest:
        """Download, verify and convert the model; see `Offer.build`."""
        source, target = self.model.direction
        description = NativeDescription(
            source,
            target,
            version=self.version,
            architecture=self.model.architecture,
            licence=_licence(self.answer.catalogue.url),
            origin=f"registry {self.answer.catalogue.url}: {self.model.source} to {self.model.target}"
            f" {self.model.architecture} {self.model.version}".rstrip(),
            figures=self.model.figures,
        )
        self.downloads.mkdir(parents=True, exist_ok=True)
        got: dict[FileKind, tuple[str, Path]] = {}
        with self._offline_told():
            for file in self.model.files:
                got[file.kind] = (file.name, self._get(file, progress))
        upstream = folder / "upstream"
        upstream.mkdir()
        progress(self.name, Stage.EXTRACTING, 0)
        try:
            sources = prepare(got, upstream, description)
            _check_plain(self.model.files, sources, self.answer.catalogue.url)
        except PackError:
            for _, path in got.values():
                path.unlink(missing_ok=True)  # damaged: the next try must not go on with it
            raise
        manifest = NativeOffer(description, upstream, sources).build(folder, progress)
        for _, path in got.values():
            path.unlink(missing_ok=True)
        for path in upstream.iterdir():
            path.unlink()
        upstream.rmdir()
        return manifest

    def _get(self, file: RegistryFile, progress: Progress) -> Path:
        """The file as it is served, downloaded unless an earlier try has it whole."""
        whole = self.downloads / f"{hashlib.sha256(file.url.encode()).hexdigest()[:32]}.whole"
        expected = PackFile(file.name, file.sha256 or "", file.size or 0)
        owner = f"registry {urlsplit(file.url).hostname}"
        if whole.is_file() and file.sha256:
            try:
                check_file(whole, expected, owner=owner, hint=_TRY_AGAIN)
                return whole
            except PackCorrupt:
                whole.unlink()
        download(
            file.url,
            whole,
            self.downloads,
            limit=file.size or MAX_UPSTREAM_MODEL_BYTES,
            progress=lambda done, total: progress(file.name, Stage.DOWNLOADING, done, file.size or total),
        )
        if file.sha256:
            try:
                check_file(whole, expected, owner=owner, hint=_TRY_AGAIN)
            except PackCorrupt:
                whole.unlink()
                raise
        return whole

    @contextmanager
    def _offline_told(self) -> Iterator[None]:
        """Say of a download that fails what the remembered catalogue knows of it."""
        try:
            yield
        except PackSourceUnreachable as error:
            if self.answer.offline is None:
                raise
            size = f", {self.model.size / 1e6:.1f} MB" if self.model.size else ""
            raise PackSourceUnreachable(
                f"cannot download {self.name}: there seems to be no network. The catalogue of "
                f"{self.answer.catalogue.fetched[:10]} lists it ({self.model.architecture or 'architecture unknown'}"
                f"{size})",
                hint="Try again with a connection, or install from a folder with --from",
            ) from error


def _check_plain(files: Sequence[RegistryFile], sources: Sequence[PackFile], url: str) -> None:
    """Hold the unpacked files against what the registry says of them."""
    found = {file.name: file for file in sources}
    for file in files:
        have = found[file.name]
        if file.plain_size is not None and have.size != file.plain_size:
            raise PackCorrupt(
                f"{file.name} of {url} has {have.size} bytes instead of {file.plain_size}", hint=_TRY_AGAIN
            )
        if file.plain_sha256 is not None and have.sha256 != file.plain_sha256:
            raise PackCorrupt(f"{file.name} of {url} has the wrong SHA-256", hint=_TRY_AGAIN)


def _licence(url: str) -> str:
    parts = urlsplit(url)
    mozilla = parts.hostname in _MOZILLA_HOSTS and (
        parts.hostname != "storage.googleapis.com" or parts.path.startswith(_MOZILLA_BUCKET)
    )
    return MOZILLA_LICENCE if mozilla else UNKNOWN_LICENCE
