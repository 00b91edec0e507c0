"""Serves a repository of packs over gRPC: the catalogue for people, and ranges of its files for devices.

Nothing here has to be believed, and nothing is signed here but what says "this is the newest" (see `upkeep`). The
folder may be served by any https server just as well; publications are picked up when they happen. Who may call is the
front's business (`cloud.front.access`).
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import Message
from tuf.api.metadata import Targets

from cloud.calls import Call, unary
from cloud.hosting import HostedService
from cloud.packs.publishing_files import RepositoryFiles, packs_of
from cloud.packs.publishing_packs import published_manifest
from cloud.refusals import Reason, Refusal
from cloud.settings import CloudSettings
from shared.clock import Clock
from shared.errors import WaywordError
from shared.events import EventLog
from shared.files import stamp
from shared.limits import MAX_FETCH_BYTES
from shared.messages.wayword.v1 import packs_pb2
from shared.models.manifest import MANIFEST_NAME
from shared.updates.published import PublishedPack, current_packs

RequestT = TypeVar("RequestT", bound=Message)
ReplyT = TypeVar("ReplyT", bound=Message)

PACKS_SERVICE: Final = packs_pb2.DESCRIPTOR.services_by_name["Packs"].full_name
MAX_PATH_CHARACTERS: Final = 256
REFRESH_CHECK_S: Final = 3600.0
"""Seconds between two looks at whether signatures should be renewed: a small part of their days."""
_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SERVED: Final = frozenset({"metadata", "targets"})


@dataclass(frozen=True, slots=True)
class _Published:
    """What is on offer; the packs are sorted by release."""

    targets: Targets
    packs: tuple[PublishedPack, ...]


class PacksService:
    """`wayword.v1.Packs` over the folder of a repository. See `cloud.hosting.HostedService`.

    Args:
        repository: the folder.
        clock: of deadlines, and dates of signatures.
        events: told of renewed signatures and of what fails.
        default_deadline_s: deadline of a call that states none.
        online_keys: folders with the snapshot and timestamp keys, to renew what they sign; empty for not at all.
    """

    def __init__(
        self,
        repository: Path,
        *,
        clock: Clock,
        events: EventLog,
        default_deadline_s: float,
        online_keys: Sequence[Path] = (),
    ) -> None:
        self._files = RepositoryFiles(repository.absolute())
        self._clock = clock
        self._events = events
        self._default_deadline_s = default_deadline_s
        self._online_keys = tuple(online_keys)
        self._known: tuple[object, _Published] | None = None

    @property
    def name(self) -> str:
        """See `HostedService.name`."""
        return PACKS_SERVICE

    def handlers(self) -> Mapping[str, grpc.RpcMethodHandler[Any, Any]]:
        """See `HostedService.handlers`."""
        return {
            "Catalogue": self._method("Catalogue", packs_pb2.CatalogueRequest, self.catalogue),
            "Manifest": self._method("Manifest", packs_pb2.ManifestRequest, self.manifest),
            "Fetch": self._method("Fetch", packs_pb2.FetchRequest, self.fetch),
        }

    def _method(
        self, name: str, request: type[RequestT], handler: Callable[[RequestT, Call], Awaitable[ReplyT]]
    ) -> grpc.RpcMethodHandler[bytes, ReplyT]:
        return unary(name, request, handler, clock=self._clock, default_deadline_s=self._default_deadline_s)

    async def catalogue(self, request: packs_pb2.CatalogueRequest, call: Call) -> packs_pb2.CatalogueReply:
        """The newest version of each pack."""
        del request, call
        published = await asyncio.to_thread(self._published)
        return packs_pb2.CatalogueReply(packs=[_entry(pack) for pack in current_packs(published.packs).values()])

    async def manifest(self, request: packs_pb2.ManifestRequest, call: Call) -> packs_pb2.ManifestReply:
        """The manifest of one version."""
        del call
        published = await asyncio.to_thread(self._published)
        wanted = [
            pack for pack in published.packs if pack.name == request.name and request.version in ("", pack.version)
        ]
        if not wanted:
            raise Refusal(Reason.NOT_FOUND, "no such pack or version")
        target = published.targets.targets.get(f"{wanted[-1].path.rpartition('/')[0]}/{MANIFEST_NAME}")
        if target is None:
            raise Refusal(Reason.NOT_FOUND, "this version was published without a manifest of its own")
        data = await asyncio.to_thread(published_manifest, self._files, target)
        return packs_pb2.ManifestReply(manifest_json=data)

    async def fetch(self, request: packs_pb2.FetchRequest, call: Call) -> packs_pb2.FetchReply:
        """A range of one file."""
        del call
        parts = request.path.split("/")
        if (
            len(request.path) > MAX_PATH_CHARACTERS
            or parts[0] not in _SERVED
            or not all(_PART.fullmatch(part) for part in parts)
        ):
            raise Refusal(Reason.MALFORMED, "this path is no file of a repository")
        length = min(request.length or MAX_FETCH_BYTES, MAX_FETCH_BYTES)
        data, total = await asyncio.to_thread(self._range, parts, request.offset, length)
        return packs_pb2.FetchReply(data=data, total=total)

    async def upkeep(self) -> None:
        """Renew what the online keys sign, if they are here, until cancelled. See `HostedService.upkeep`."""
        while self._online_keys:
            try:
                if await asyncio.to_thread(self._refresh):
                    self._events.write("packs_refreshed")
            except WaywordError as error:  # a disk may be full today and not tomorrow
                self._events.write("packs_refresh_failed", reason=error.message)
            await self._clock.sleep(REFRESH_CHECK_S)

    async def close(self) -> None:
        """See `HostedService.close`; calls hold nothing."""

    def _refresh(self) -> bool:
        # Here, because a service without keys signs nothing.
        from cloud.packs.publishing import Publisher, due
        from cloud.packs.publishing_keys import load_keys

        if not due(self._files, wall=self._clock.wall()):
            return False
        Publisher(self._files.folder, clock=self._clock).refresh(load_keys(self._online_keys))
        return True

    def _published(self) -> _Published:
        """What is published now; read again when it changes."""
        if not self._files.exists():
            raise Refusal(Reason.NOT_FOUND, "nothing is published here")
        seen = stamp(self._files.metadata / "timestamp.json")
        known = self._known
        if known is None or known[0] != seen:
            targets = self._files.published_targets().signed
            self._known = known = seen, _Published(targets, tuple(packs_of(targets)))
        return known[1]

    def _range(self, parts: Sequence[str], offset: int, length: int) -> tuple[bytes, int]:
        """At most `length` bytes of a file from `offset` on, and its size."""
        descriptor = _open_below(self._files.folder, parts)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Refusal(Reason.NOT_FOUND, "no such file")
            if offset > status.st_size:
                raise Refusal(Reason.MALFORMED, "the range begins after the end of the file")
            return os.pread(descriptor, length, offset), status.st_size
        finally:
            os.close(descriptor)


def packs_services(settings: CloudSettings, clock: Clock, *, events: EventLog) -> list[HostedService]:
    """What hands out published packs, where the settings say which."""
    if settings.packs_repository is None:
        return []
    service = PacksService(
        settings.packs_repository,
        clock=clock,
        events=events,
        default_deadline_s=settings.default_deadline_s,
        online_keys=settings.packs_online_keys,
    )
    return [service]


def _open_below(folder: Path, parts: Sequence[str]) -> int:
    """Open a file below a folder without following any link, whatever the path says.

    Raises:
        Refusal: there is no such file.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise Refusal(Reason.NOT_FOUND, "nothing is published here") from error
    try:
        for index, part in enumerate(parts):
            kind = 0 if index == len(parts) - 1 else os.O_DIRECTORY
            # Not blocking: a pipe that lies there must not hold a thread.
            below = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | kind, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
    except OSError as error:
        os.close(descriptor)
        raise Refusal(Reason.NOT_FOUND, "no such file") from error
    return descriptor


def _entry(pack: PublishedPack) -> packs_pb2.PackEntry:
    return packs_pb2.PackEntry(
        name=pack.name,
        version=pack.version,
        task=pack.task.value,
        languages=pack.languages,
        bytes=pack.bytes,
        deltas_from=[delta.from_version for delta in pack.deltas],
    )
