"""Installs that are killed: ``python -m simulations.bench.cloud.updates_kills FOLDER KILLS SEED``, for `updates`.

A process of its own, because it forks: each install runs in a child that gets SIGKILL at a random moment between its
first step and a little after its last one. After each, a fresh process's view of the store is taken: which version
verifies, file by file, and whether its model loads. Prints one JSON object. The control writes the new files over the
old ones in place, as a copy would.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from shared.errors import PackError, StorageError
from shared.models.packs import PackStore
from shared.models.session import open_session
from shared.updates.repositories import FolderRepository
from shared.updates.updater import PackUpdater
from simulations.bench.cloud.updates_world import Shifted

BEYOND: Final = 1.05
"""Kills reach this far: some come when all is done."""
MODEL: Final = "model.onnx"


def main(arguments: list[str]) -> int:
    """See the module's text. FOLDER has `start` (an enrolled store with the old version), `repo`, and `new`."""
    folder, kills, seed = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    name = arguments[3]
    generator = random.Random(seed)
    result: dict[str, object] = {}
    for kind, install in (("update", _update), ("in_place", _in_place)):
        whole = sorted(_timed(folder, name, install) for _ in range(3))[1]
        found: Counter[str] = Counter()
        recovered = 0
        for _ in range(kills):
            store = _fresh(folder)
            _killed(install, folder, store, name, generator.uniform(0.0, BEYOND * whole))
            found[_state(store, name)] += 1
            if kind == "update":
                recovered += _recovers(folder, store, name)
        result[kind] = {"seconds": whole, "found": dict(found), "recovered": recovered}
    print(json.dumps(result))
    return 0


def _update(folder: Path, store: Path, name: str) -> None:
    PackUpdater(PackStore(store), FolderRepository(folder / "repo"), clock=Shifted()).update([name])


def _in_place(folder: Path, store: Path, name: str) -> None:
    for path in sorted((folder / "new").iterdir()):
        shutil.copyfile(path, store / name / path.name)


Install = Callable[[Path, Path, str], None]


def _fresh(folder: Path) -> Path:
    store = folder / "store"
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(folder / "start", store, symlinks=True)
    return store


def _timed(folder: Path, name: str, install: Install) -> float:
    """Seconds of an install that is left alone, in a child like the others."""
    store = _fresh(folder)
    started = time.monotonic()
    _killed(install, folder, store, name, None)
    return time.monotonic() - started


def _killed(install: Install, folder: Path, store: Path, name: str, after: float | None) -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            install(folder, store, name)
            code = 0
        finally:
            os._exit(code)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if after is None and status != 0:
        raise SystemExit("an install that nobody disturbed failed")


def _state(store: Path, name: str) -> str:
    """The version that verifies and loads, or what is wrong."""
    try:
        pack = PackStore(store).verify(name)
        open_session(pack.path(MODEL))
    except (PackError, StorageError):
        return "none"
    return pack.version


def _recovers(folder: Path, store: Path, name: str) -> bool:
    """Whether the next update ends well and leaves nothing else behind."""
    [outcome] = PackUpdater(PackStore(store), FolderRepository(folder / "repo"), clock=Shifted()).update([name])
    left = [*(store / ".staging").iterdir(), *(store / ".packs").iterdir()]
    return outcome.problem is None and len(left) == 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
