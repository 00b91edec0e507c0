"""Background work of the daemon: none is forgotten, and what breaks ends the daemon, not one sign in silence."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


class Tasks:
    """Tasks that run beside the daemon's own. Make it inside a running event loop."""

    def __init__(self) -> None:
        # A dictionary keeps the order of their beginning: a set of tasks has none that a replay would repeat.
        self._running: dict[asyncio.Task[None], None] = {}
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails with the first task that does."""

    def __len__(self) -> int:
        """Tasks under way."""
        return len(self._running)

    def start(self, work: Coroutine[None, None, None], *, name: str) -> None:
        """Run `work` in the background."""
        task = asyncio.create_task(work, name=name)
        self._running[task] = None
        task.add_done_callback(self._done)

    async def cancel(self) -> None:
        """End them all."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        if not task.cancelled() and (error := task.exception()) and not self.failed.done():
            self.failed.set_exception(error)
