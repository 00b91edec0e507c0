"""What may change an answer of our own models before it is sent; apart from the external model that does, whose client
takes a while to import."""

from __future__ import annotations

from typing import Protocol

from cloud.reading.validation import ReadJob, TextJob
from shared.messages.wayword.v1 import cloud_pb2, types_pb2


class Improver(Protocol):
    """Called in the event loop after our own models; see `cloud.endpoint.use`. Neither method raises."""

    async def improve_reading(self, reading: types_pb2.Reading, job: ReadJob) -> None:
        """Change the reading where it can be better, and only before the job's deadline."""
        ...

    async def improve_translation(self, reply: cloud_pb2.TranslateReply, job: TextJob) -> None:
        """Likewise."""
        ...
